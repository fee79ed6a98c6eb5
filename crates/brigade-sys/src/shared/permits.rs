//! A number of permits that processes take and give back, and who holds how many of them.
//!
//! ```text
//! base +  0  lock u32        serializes taking and giving back (lock.rs)
//! base +  4  n_used u32      entries that were ever used
//! base +  8  n_permits u64
//! base + 16  given u32       an event: a permit was given back
//! base + 64  entries × (owner u32 above held u32 · kept u64)
//! ```
//!
//! | entry            | meaning                            | left by                                                    |
//! |------------------|------------------------------------|------------------------------------------------------------|
//! | `held` is 0      | free                               | a process that takes: `(me, 1)`                            |
//! | `(owner, held)`  | `owner` has so many permits        | its owner: one more or less; after its death: a taker, `0` |
//!
//! What the living hold is the truth, there is no count of what is left: it is worked out from the entries. So every change is
//! one store, a death at any instruction loses no permit, and those of the dead come back when somebody needs them. There
//! are never more owners than permits, so there is an entry for each. `kept` says how many of the permits are held
//! without a guard; only its owner asks.

use std::time::Instant;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::census::{Census, exclusively, nap_before, owned_number, to_owned_number};
use super::event::{Event, Wake};
use super::lock::OwnedLock;

const N_USED: usize = 4;
const N_PERMITS: usize = 8;
const GIVEN: usize = 16;
const ENTRIES: usize = 64;
const ENTRY_BYTES: usize = 16;
const KEPT: usize = 8;

/// How a permit is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// By a guard, which gives it back.
    Guarded,
    /// By the process as such.
    Kept,
}

/// The caller does not hold such a permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotHeld;

/// Permits at an offset in shared bytes. Zeroed bytes are no permits at all.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    base: usize,
    n_entries: usize,
}

impl Permits {
    /// Permits at `base`, a multiple of 64, with room for `n_entries` owners.
    #[must_use]
    pub const fn new(base: usize, n_entries: usize) -> Self {
        Self { base, n_entries }
    }

    /// The same, told by the bytes that there are from `base` on.
    #[must_use]
    pub const fn within(base: usize, n_bytes: usize) -> Self {
        Self::new(base, n_bytes.saturating_sub(ENTRIES) / ENTRY_BYTES)
    }

    /// Bytes that they take.
    #[must_use]
    pub const fn total_bytes(self) -> usize {
        ENTRIES + self.n_entries * ENTRY_BYTES
    }

    /// Says how many permits there are, before anybody else sees them.
    pub fn initialize<M: SharedBytes>(self, memory: &M, n_permits: u32) {
        memory.word64(self.base + N_PERMITS).store(u64::from(n_permits), Ordering::Release);
    }

    /// How many permits there are.
    #[must_use]
    pub fn n_permits<M: SharedBytes>(self, memory: &M) -> u64 {
        memory.word64(self.base + N_PERMITS).load(Ordering::Acquire)
    }

    /// How many of them nobody holds who lives.
    #[must_use]
    pub fn n_available<M: SharedBytes>(self, memory: &M, census: &impl Census) -> u64 {
        let held_by_the_living = |idx| {
            let word = memory.word64(self.entry(idx)).load(Ordering::Relaxed);
            if Self::is_lost(word, census) { 0 } else { u64::from(word as u32) }
        };
        let n_held = self.used(memory).map(held_by_the_living).sum();
        self.n_permits(memory).saturating_sub(n_held)
    }

    /// Takes one, waiting until `deadline`. Whether it did.
    pub fn take<M: SharedBytes>(self, memory: &M, census: &impl Census, deadline: Option<Instant>) -> bool {
        if self.try_take(memory, census, deadline).is_some() {
            return true;
        }
        let given = self.given();
        loop {
            let ticket = given.announce(memory);
            if let Some(n_left) = self.try_take(memory, census, deadline) {
                if n_left > 0 {
                    // The wake that reached us may have been meant for one of several.
                    given.notify(memory, Wake::One);
                }
                return true;
            }
            let Some(nap) = nap_before(deadline) else {
                return false;
            };
            given.sleep(memory, ticket, Some(nap));
            given.pass_on(memory);
        }
    }

    /// Takes one if there is one, and says how many are left. Waits for the lock only, until `deadline`.
    pub fn try_take<M: SharedBytes>(self, memory: &M, census: &impl Census, deadline: Option<Instant>) -> Option<u64> {
        exclusively(self.lock(), memory, census, deadline, || {
            self.take_locked(memory, census).or_else(|| {
                self.forget_the_dead(memory, census);
                self.take_locked(memory, census)
            })
        })?
    }

    fn take_locked<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Option<u64> {
        let (mut n_held, mut mine, mut free) = (0, None, None);
        for idx in self.used(memory) {
            let (owner, held) = owned_number(memory.word64(self.entry(idx)).load(Ordering::Relaxed));
            match (owner, held) {
                (_, 0) => free = free.or(Some(idx)),
                (Some(owner), held) if owner == census.me() => mine = Some((idx, held)),
                _ => {}
            }
            n_held += u64::from(held);
        }
        let n_left = self.n_permits(memory).checked_sub(n_held)?.checked_sub(1)?;
        if let Some((idx, held)) = mine {
            let word = to_owned_number(census.me(), held.checked_add(1)?);
            memory.word64(self.entry(idx)).store(word, Ordering::Relaxed);
            return Some(n_left);
        }
        let n_used = self.used(memory).end;
        let idx = free.unwrap_or(n_used);
        if idx >= self.n_entries {
            return None;
        }
        memory.word64(self.entry(idx) + KEPT).store(0, Ordering::Relaxed);
        memory.word64(self.entry(idx)).store(to_owned_number(census.me(), 1), Ordering::Relaxed);
        memory.word32(self.base + N_USED).store(n_used.max(idx + 1) as u32, Ordering::Relaxed);
        Some(n_left)
    }

    /// Gives one back that is held in this way.
    ///
    /// # Errors
    /// `NotHeld`: the caller holds none, and nothing was changed.
    pub fn give_back<M: SharedBytes>(self, memory: &M, census: &impl Census, hold: Hold) -> Result<(), NotHeld> {
        self.with_own(memory, census, |entry, held, kept| {
            match hold {
                Hold::Guarded if u64::from(held) > kept => {}
                Hold::Kept if kept > 0 => memory.word64(entry + KEPT).store(kept - 1, Ordering::Relaxed),
                _ => return Err(NotHeld),
            }
            memory.word64(entry).store(to_owned_number(census.me(), held - 1), Ordering::Relaxed);
            Ok(())
        })?;
        self.given().notify(memory, Wake::One);
        Ok(())
    }

    /// Keeps one that a guard held: it now is given back as `Kept`.
    ///
    /// # Errors
    /// `NotHeld`: the caller holds none, and nothing was changed.
    pub fn keep<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Result<(), NotHeld> {
        self.with_own(memory, census, |entry, held, kept| {
            if u64::from(held) <= kept {
                return Err(NotHeld);
            }
            memory.word64(entry + KEPT).store(kept + 1, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Runs `work` on the caller's entry: its offset, how many are held, how many of these without a guard.
    fn with_own<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        work: impl FnOnce(usize, u32, u64) -> Result<(), NotHeld>,
    ) -> Result<(), NotHeld> {
        exclusively(self.lock(), memory, census, None, || {
            let own = self.used(memory).find_map(|idx| {
                let (owner, held) = owned_number(memory.word64(self.entry(idx)).load(Ordering::Relaxed));
                (owner == Some(census.me()) && held > 0).then(|| (self.entry(idx), held))
            });
            let (entry, held) = own.ok_or(NotHeld)?;
            work(entry, held, memory.word64(entry + KEPT).load(Ordering::Relaxed))
        })
        .unwrap_or(Err(NotHeld))
    }

    fn forget_the_dead<M: SharedBytes>(self, memory: &M, census: &impl Census) {
        for idx in self.used(memory) {
            let word = memory.word64(self.entry(idx));
            if Self::is_lost(word.load(Ordering::Relaxed), census) {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Whether an entry is of a process that died, or is nothing that we ever write.
    fn is_lost(word: u64, census: &impl Census) -> bool {
        let (owner, held) = owned_number(word);
        held > 0 && owner.is_none_or(|owner| owner != census.me() && census.is_dead(owner))
    }

    fn used<M: SharedBytes>(self, memory: &M) -> std::ops::Range<usize> {
        0..(memory.word32(self.base + N_USED).load(Ordering::Relaxed) as usize).min(self.n_entries)
    }

    const fn entry(self, idx: usize) -> usize {
        self.base + ENTRIES + idx * ENTRY_BYTES
    }

    const fn lock(self) -> OwnedLock {
        OwnedLock::at(self.base)
    }

    const fn given(self) -> Event {
        Event::at(self.base + GIVEN)
    }
}
