//! A lock whose word names its owner, so that the death of the owner can be found out. What it protects is not its
//! business; nothing is repaired here: the state behind it must be whole at every instant (see flip.rs).
//!
//! | value             | meaning                          | left by                                                        |
//! |-------------------|----------------------------------|----------------------------------------------------------------|
//! | 0                 | free                             | a locker: `owner` (or `owner + W` after a sleep)               |
//! | `owner`           | held, nobody sleeps              | its owner: 0; a locker: `owner + W`; after its death: the next |
//! | `owner + W`       | held, somebody may sleep         | its owner: 0 and a wake; after its death: the next             |
//!
//! `W` is the highest bit. A sleeper looks every 100 ms whether the owner is still alive, so neither a killed owner nor a
//! wake that was given to a process that died delays anybody longer than that.

use std::time::Instant;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::nap::nap_before;

const WAITERS: u32 = 1 << 31;
/// Turns before sleeping: about a microsecond, longer than any of our critical sections without a system call.
const N_SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

/// Who holds a lock: not zero, below 2³¹.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner(u32);

impl Owner {
    /// The owner with this number.
    ///
    /// # Panics
    /// If it is zero or too large.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self::from_number(number).expect("owners are numbered from 1 to 2³¹ - 1")
    }

    /// The owner with this number, if there can be one: a number that was read from shared bytes may be anything.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        if number != 0 && number < WAITERS { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// How the lock came to the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acquired {
    /// It was free.
    Free,
    /// Its owner had died with it.
    FromTheDead(Owner),
}

/// The lock was not free before the deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimedOut;

/// A lock at an offset in shared bytes. Zeroed bytes are a free lock.
#[derive(Clone, Copy, Debug)]
pub struct OwnedLock {
    offset: usize,
}

impl OwnedLock {
    /// The lock whose word lies at `offset`, a multiple of 4.
    #[must_use]
    pub const fn at(offset: usize) -> Self {
        Self { offset }
    }

    /// Takes the lock for `me`, waiting until `deadline`. `is_dead` tells whether an owner no longer lives.
    ///
    /// # Errors
    /// `TimedOut` if the deadline came first.
    #[inline]
    pub fn lock<M: SharedBytes>(
        self,
        memory: &M,
        me: Owner,
        is_dead: impl Fn(Owner) -> bool,
        deadline: Option<Instant>,
    ) -> Result<Acquired, TimedOut> {
        // Acquire: pairs with the Release swap in `unlock`.
        if memory.word32(self.offset).compare_exchange(0, me.0, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Ok(Acquired::Free);
        }
        self.lock_contended(memory, me, is_dead, deadline)
    }

    fn lock_contended<M: SharedBytes>(
        self,
        memory: &M,
        me: Owner,
        is_dead: impl Fn(Owner) -> bool,
        deadline: Option<Instant>,
    ) -> Result<Acquired, TimedOut> {
        let word = memory.word32(self.offset);
        for _ in 0..N_SPINS {
            // Looked at first, so that those who wait share the line until the owner has done with it.
            // Acquire: pairs with the Release swap in `unlock`.
            if word.load(Ordering::Relaxed) == 0
                && word.compare_exchange(0, me.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Ok(Acquired::Free);
            }
            std::hint::spin_loop();
        }
        loop {
            let seen = word.load(Ordering::Relaxed);
            if seen == 0 {
                // Others may sleep behind us, so the bit is set to be on the safe side.
                if word.compare_exchange(0, me.0 | WAITERS, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Ok(Acquired::Free);
                }
                continue;
            }
            if seen & WAITERS == 0
                && word.compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed).is_err()
            {
                continue;
            }
            let Some(nap) = nap_before(deadline) else {
                // Sleeping may have been too short for asking whether the owner lives.
                return self.take_from_the_dead(memory, me, &is_dead).map(Acquired::FromTheDead).ok_or(TimedOut);
            };
            memory.futex_wait(self.offset, seen | WAITERS, Some(nap));
            if let Some(dead) = self.take_from_the_dead(memory, me, &is_dead) {
                return Ok(Acquired::FromTheDead(dead));
            }
        }
    }

    /// Takes the lock if it is free or its owner is dead. Never waits.
    pub fn try_lock<M: SharedBytes>(self, memory: &M, me: Owner, is_dead: impl Fn(Owner) -> bool) -> Option<Acquired> {
        let word = memory.word32(self.offset);
        if word.compare_exchange(0, me.0, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return Some(Acquired::Free);
        }
        self.take_from_the_dead(memory, me, &is_dead).map(Acquired::FromTheDead)
    }

    /// Gives the lock up. Only its owner may.
    #[inline]
    pub fn unlock<M: SharedBytes>(self, memory: &M) {
        // Release: pairs with the Acquire CAS of the next locker.
        if memory.word32(self.offset).swap(0, Ordering::Release) & WAITERS != 0 {
            memory.futex_wake(self.offset, 1);
        }
    }

    /// Who has it, dead or alive.
    #[must_use]
    pub fn owner<M: SharedBytes>(self, memory: &M) -> Option<Owner> {
        Owner::from_number(memory.word32(self.offset).load(Ordering::Relaxed) & !WAITERS)
    }

    fn take_from_the_dead<M: SharedBytes>(
        self,
        memory: &M,
        me: Owner,
        is_dead: &impl Fn(Owner) -> bool,
    ) -> Option<Owner> {
        let word = memory.word32(self.offset);
        let seen = word.load(Ordering::Relaxed);
        let owner = seen & !WAITERS;
        if owner == 0 || owner == me.0 || !is_dead(Owner(owner)) {
            return None;
        }
        // Acquire: whatever the dead owner stored before it died is visible to who learnt of its death from the kernel.
        let taken = word.compare_exchange(seen, me.0 | WAITERS, Ordering::Acquire, Ordering::Relaxed).is_ok();
        taken.then_some(Owner(owner))
    }
}
