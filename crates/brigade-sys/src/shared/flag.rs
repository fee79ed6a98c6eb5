//! A flag that processes set, clear and wait for. One word; nobody owns it, so no death can harm it.
//!
//! ```text
//! bit 0        somebody may sleep
//! bit 1        set
//! bits 2–31    how often it was set, so that a waiter also notices a flag that was set and cleared again
//! ```
//!
//! | value         | meaning                   | left by                                                       |
//! |---------------|---------------------------|---------------------------------------------------------------|
//! | `4n`          | clear                     | a waiter: `4n + 1`; a setter: `4n + 6`                        |
//! | `4n + 1`      | clear, somebody may sleep | a setter: `4n + 6`, followed by a wake of all                 |
//! | `4n + 2`      | set                       | a clearer: `4n`                                               |
//!
//! A waiter killed at any step leaves at worst the lowest bit, which costs one idle wake. A setter killed between its change
//! and its wake leaves sleepers who look again by themselves within 100 ms.

use std::time::Instant;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::census::nap_before;

const SLEEPER: u32 = 1;
const SET: u32 = 2;
const ONE_TIME: u32 = 4;
const TIMES: u32 = !(SLEEPER | SET);

/// A flag at an offset in shared bytes. Zeroed bytes are a flag that is clear.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    offset: usize,
}

impl Flag {
    /// The flag whose word lies at `offset`, a multiple of 4.
    #[must_use]
    pub const fn at(offset: usize) -> Self {
        Self { offset }
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set<M: SharedBytes>(self, memory: &M) -> bool {
        // Acquire: pairs with the Release CAS in `set`.
        memory.word32(self.offset).load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and wakes all who wait. Makes a system call only if somebody may sleep.
    pub fn set<M: SharedBytes>(self, memory: &M) {
        // A flag that is set already is written all the same: who clears it and then looks at what the flag was set for must
        // see it, and so its clearing must come after this very step, or this step after its clearing.
        let raise =
            |seen: u32| Some(if seen & SET != 0 { seen } else { ((seen & TIMES) | SET).wrapping_add(ONE_TIME) });
        // Release: pairs with the Acquire loads in `is_set` and `wait`, and with the Acquire of the RMW in `clear`.
        let before = memory.word32(self.offset).fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
        if before.is_ok_and(|seen| seen & (SLEEPER | SET) == SLEEPER) {
            memory.futex_wake(self.offset, i32::MAX as u32);
        }
    }

    /// Clears it. Whatever was done before it was set can be seen afterwards.
    pub fn clear<M: SharedBytes>(self, memory: &M) {
        memory.word32(self.offset).fetch_and(!SET, Ordering::AcqRel);
    }

    /// Waits until it is set, or was set since the call began. Whether that came before `deadline`.
    #[must_use]
    pub fn wait<M: SharedBytes>(self, memory: &M, deadline: Option<Instant>) -> bool {
        let word = memory.word32(self.offset);
        // Acquire, here and below: pairs with the Release CAS in `set`.
        let mut seen = word.load(Ordering::Acquire);
        let times = seen & TIMES;
        loop {
            if seen & SET != 0 || seen & TIMES != times {
                return true;
            }
            let Some(nap) = nap_before(deadline) else {
                return false;
            };
            if seen & SLEEPER == 0
                && let Err(now) = word.compare_exchange(seen, seen | SLEEPER, Ordering::AcqRel, Ordering::Acquire)
            {
                seen = now;
                continue;
            }
            memory.futex_wait(self.offset, seen | SLEEPER, Some(nap));
            seen = word.load(Ordering::Acquire);
        }
    }
}
