//! Those who wait for a condition, each with an entry of its own, and how the oldest of them are notified. The lock that a
//! waiter gives up meanwhile is not known here.
//!
//! ```text
//! base +  0  n_used u32       entries that were ever used
//! base +  8  next ticket u64
//! base + 64  entries × (state u32 · owner u32 · ticket u64)
//! ```
//!
//! | owner    | state      | meaning                          | left by                                                     |
//! |----------|------------|----------------------------------|-------------------------------------------------------------|
//! | 0        | `IDLE`     | free                             | a waiter: it becomes the owner                              |
//! | a waiter | `IDLE`     | just coming, or just going       | its owner: `WAITING`, or owner 0                            |
//! | a waiter | `WAITING`  | waits                            | a notifier: `NOTIFIED`; its owner, out of patience: `IDLE`  |
//! | a waiter | `NOTIFIED` | was notified, has not gone on    | its owner: `IDLE`                                           |
//! | the dead | any        | nobody                           | whoever comes by: makes itself the owner, then frees it     |
//!
//! There is no lock: each step is one exchange of one word. Whoever makes itself the owner of a dead waiter's entry that was
//! `NOTIFIED` notifies another one before it frees the entry: a notification is never lost with a process, at worst
//! given twice where two die. No waiter is ever waited for, so a waiter may be killed or stopped at any step.

use std::time::Instant;

use super::atomics::Ordering;
use super::bytes::{SharedBytes, Wait};
use super::census::{Census, nap_before};
use super::lock::Owner;

const NEXT_TICKET: usize = 8;
const ENTRIES: usize = 64;
const ENTRY_BYTES: usize = 16;
const OWNER: usize = 4;
const TICKET: usize = 8;

const IDLE: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;

/// Waiters at an offset in shared bytes. Zeroed bytes are no waiters.
#[derive(Clone, Copy, Debug)]
pub struct Waiters {
    base: usize,
    n_entries: usize,
}

/// An entry of the caller.
#[derive(Debug)]
pub struct Waiter {
    entry: usize,
}

impl Waiters {
    /// Waiters at `base`, a multiple of 64: at most `n_entries` at a time.
    #[must_use]
    pub const fn new(base: usize, n_entries: usize) -> Self {
        Self { base, n_entries }
    }

    /// Bytes that they take.
    #[must_use]
    pub const fn total_bytes(self) -> usize {
        ENTRIES + self.n_entries * ENTRY_BYTES
    }

    /// Registers the caller as a waiter: from now on it can be notified. `None` if there is no room.
    pub fn register<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Option<Waiter> {
        // A notification that was meant for those who waited before us must not reach us.
        self.pass_on_what_the_dead_had(memory, census);
        let entry = self.claim(memory, census)?;
        let ticket = memory.word64(self.base + NEXT_TICKET).fetch_add(1, Ordering::Relaxed);
        memory.word64(entry + TICKET).store(ticket, Ordering::Relaxed);
        // Release: pairs with the Acquire load in `oldest`; the ticket is there.
        memory.word32(entry).store(WAITING, Ordering::Release);
        Some(Waiter { entry })
    }

    fn claim<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Option<usize> {
        let me = census.me().number();
        let is_claimed = |&idx: &usize| {
            let owner = memory.word32(self.entry(idx) + OWNER);
            // Acquire: pairs with the Release store in `free`.
            owner.load(Ordering::Relaxed) == 0
                && owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        if let Some(idx) = (0..self.n_entries).find(is_claimed) {
            memory.word32(self.base).fetch_max(idx as u32 + 1, Ordering::AcqRel);
            return Some(self.entry(idx));
        }
        self.used(memory).find(|&entry| self.take_over(memory, census, entry))
    }

    /// Sleeps until the waiter is notified, at most until `deadline`. Whether it was; if so, it must go on to
    /// [`consume`](Self::consume), and if not, it waits no more.
    pub fn wait<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        waiter: &Waiter,
        deadline: Option<Instant>,
    ) -> bool {
        let state = memory.word32(waiter.entry);
        loop {
            // Acquire: pairs with the Release CAS in `notify_oldest`.
            if state.load(Ordering::Acquire) != WAITING {
                return true;
            }
            let Some(nap) = nap_before(deadline) else {
                let gave_up = state.compare_exchange(WAITING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
                if gave_up {
                    self.free(memory, waiter.entry);
                }
                return !gave_up;
            };
            if memory.futex_wait(waiter.entry, WAITING, Some(nap)) == Wait::TimedOut {
                self.pass_on_what_the_dead_had(memory, census);
            }
        }
    }

    /// The waiter goes on. Until then its death passes its notification on to another.
    pub fn consume<M: SharedBytes>(self, memory: &M, waiter: Waiter) {
        self.free(memory, waiter.entry);
    }

    /// Notifies up to `n_waiters` of those who wait now, the oldest first. How many they were.
    pub fn notify<M: SharedBytes>(self, memory: &M, census: &impl Census, n_waiters: usize) -> usize {
        // Those who come while we are at it are not meant.
        let end = memory.word64(self.base + NEXT_TICKET).load(Ordering::Relaxed);
        let mut n_notified = 0;
        while n_notified < n_waiters && self.notify_oldest(memory, census, end) {
            n_notified += 1;
        }
        n_notified
    }

    fn notify_oldest<M: SharedBytes>(self, memory: &M, census: &impl Census, end: u64) -> bool {
        while let Some(entry) = self.oldest(memory, end) {
            // A dead waiter is freed instead; the loop goes on with the next.
            if self.take_over(memory, census, entry) {
                self.free(memory, entry);
                continue;
            }
            // Release: pairs with the Acquire load in `wait`.
            let state = memory.word32(entry);
            if state.compare_exchange(WAITING, NOTIFIED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                memory.futex_wake(entry, 1);
                return true;
            }
        }
        false
    }

    /// The waiting entry with the lowest ticket below `end`.
    fn oldest<M: SharedBytes>(self, memory: &M, end: u64) -> Option<usize> {
        let waiting = self.used(memory).filter(|&entry| memory.word32(entry).load(Ordering::Acquire) == WAITING);
        let with_ticket = waiting.map(|entry| (memory.word64(entry + TICKET).load(Ordering::Relaxed), entry));
        with_ticket.filter(|&(ticket, _)| ticket < end).min().map(|(_, entry)| entry)
    }

    /// How many wait who live and have not been notified.
    #[must_use]
    pub fn n_waiting<M: SharedBytes>(self, memory: &M, census: &impl Census) -> usize {
        let is_waiting = |&entry: &usize| {
            memory.word32(entry).load(Ordering::Acquire) == WAITING && !self.is_lost(memory, census, entry)
        };
        self.used(memory).filter(is_waiting).count()
    }

    fn pass_on_what_the_dead_had<M: SharedBytes>(self, memory: &M, census: &impl Census) {
        for entry in self.used(memory) {
            if memory.word32(entry).load(Ordering::Relaxed) == NOTIFIED && self.take_over(memory, census, entry) {
                self.free(memory, entry);
            }
        }
    }

    /// Makes the caller the owner of a dead waiter's entry, which is `IDLE` then; a notification in it goes to another waiter.
    fn take_over<M: SharedBytes>(self, memory: &M, census: &impl Census, entry: usize) -> bool {
        let owner = memory.word32(entry + OWNER);
        let seen = owner.load(Ordering::Relaxed);
        if !self.is_lost(memory, census, entry)
            || owner.compare_exchange(seen, census.me().number(), Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        let ended = memory.word32(entry).compare_exchange(WAITING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if ended == Err(NOTIFIED) {
            // First to another, then free: if we die in between, the entry still says that there is one to pass on.
            self.notify(memory, census, 1);
            memory.word32(entry).store(IDLE, Ordering::Release);
        }
        true
    }

    /// Whether an entry belongs to a dead process, or to nobody that there could be.
    fn is_lost<M: SharedBytes>(self, memory: &M, census: &impl Census, entry: usize) -> bool {
        let owner = memory.word32(entry + OWNER).load(Ordering::Relaxed);
        owner != 0 && Owner::from_number(owner).is_none_or(|owner| owner != census.me() && census.is_dead(owner))
    }

    fn free<M: SharedBytes>(self, memory: &M, entry: usize) {
        memory.word32(entry).store(IDLE, Ordering::Relaxed);
        // Release: pairs with the Acquire CAS in `claim`, so the next owner's state does not come before ours.
        memory.word32(entry + OWNER).store(0, Ordering::Release);
    }

    fn used<M: SharedBytes>(self, memory: &M) -> impl Iterator<Item = usize> {
        // Acquire: pairs with the RMW in `claim`.
        let n_used = memory.word32(self.base).load(Ordering::Acquire) as usize;
        (0..n_used.min(self.n_entries)).map(move |idx| self.entry(idx))
    }

    const fn entry(self, idx: usize) -> usize {
        self.base + ENTRIES + idx * ENTRY_BYTES
    }
}
