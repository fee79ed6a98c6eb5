//! A word that says "something changed" and lets processes sleep until it does. What changed is not its business.
//!
//! The word is a counter in steps of two; the lowest bit says that somebody sleeps, or is about to.
//!
//! | value        | meaning                 | left by                                                        |
//! |--------------|-------------------------|----------------------------------------------------------------|
//! | `2n`         | nobody sleeps           | a sleeper: `2n + 1` (announce)                                 |
//! | `2n + 1`     | somebody may sleep      | a notifier: `2n + 2`, followed by a wake                       |
//!
//! A sleeper announces, looks at its condition *once more*, and sleeps on the exact value it announced. A notifier first
//! makes the condition true, then looks at the word. A full fence stands between the two steps on both sides, so one of
//! them sees the other. A sleeper killed at any step leaves at worst the bit set, which costs one idle wake. A notifier
//! killed between its change and its wake leaves a sleeper asleep: whoever can lose its notifier waits with a deadline
//! or is [roused](Event::rouse) by the reaper of the dead: a mere notification would find that nobody sleeps any more.

use std::time::Duration;

use super::atomics::{Ordering, fence};
use super::bytes::{SharedBytes, Wait};

const SLEEPER: u32 = 1;

/// How many sleepers a notification wakes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wake {
    /// One; it must call [`Event::pass_on`] once it is done, since others may sleep behind it.
    One,
    /// All.
    All,
}

/// An event at an offset in shared bytes.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    offset: usize,
}

/// What a sleeper announced.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u32);

impl Event {
    /// The event whose word lies at `offset`, a multiple of 4. Zeroed bytes are a valid event.
    #[must_use]
    pub const fn at(offset: usize) -> Self {
        Self { offset }
    }

    /// Says that the caller is about to sleep. It must then look at its condition again, and sleep only if that is
    /// still false.
    pub fn announce<M: SharedBytes>(self, memory: &M) -> Ticket {
        // AcqRel: pairs with the CAS in `notify`, so a sleeper that sees a new count sees what was published before it.
        let before = memory.word32(self.offset).fetch_or(SLEEPER, Ordering::AcqRel);
        // The announcement must be visible before the condition is read: pairs with the fence in `notify`.
        fence(Ordering::SeqCst);
        Ticket(before | SLEEPER)
    }

    /// Sleeps until a notification comes after the announcement, at most for `timeout`.
    pub fn sleep<M: SharedBytes>(self, memory: &M, ticket: Ticket, timeout: Option<Duration>) -> Wait {
        memory.futex_wait(self.offset, ticket.0, timeout)
    }

    /// Says that something changed; makes a system call only if somebody announced to sleep.
    #[inline]
    pub fn notify<M: SharedBytes>(self, memory: &M, wake: Wake) {
        // The change must be visible before the word is read: pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
        let word = memory.word32(self.offset);
        let seen = word.load(Ordering::Relaxed);
        if seen & SLEEPER == 0 {
            return;
        }
        // One attempt is enough: the CAS fails only if another notifier has just moved the count, and that one wakes.
        // A sleeper that announced since then re-reads its condition after our change.
        if word.compare_exchange(seen, seen.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let n_sleepers = match wake {
                Wake::One => 1,
                Wake::All => i32::MAX as u32,
            };
            memory.futex_wake(self.offset, n_sleepers);
        }
    }

    /// Wakes all, also those whose notifier died after it had moved the word and before it woke them. For the reaper of
    /// a process that may have been a notifier.
    pub fn rouse<M: SharedBytes>(self, memory: &M) {
        // Moved too, so that whoever has announced and not looked again does not fall asleep now.
        memory.word32(self.offset).fetch_add(2, Ordering::AcqRel);
        memory.futex_wake(self.offset, i32::MAX as u32);
    }

    /// Whether somebody announced to sleep and was not notified since.
    #[must_use]
    pub fn has_sleeper<M: SharedBytes>(self, memory: &M) -> bool {
        fence(Ordering::SeqCst);
        // Acquire: pairs with the RMW in `announce`; what the sleeper stored before it is visible.
        memory.word32(self.offset).load(Ordering::Acquire) & SLEEPER != 0
    }

    /// After a sleep that [`Wake::One`] may have ended: lets the next notification reach those who still sleep.
    pub fn pass_on<M: SharedBytes>(self, memory: &M) {
        memory.word32(self.offset).fetch_or(SLEEPER, Ordering::AcqRel);
    }
}
