//! Who wants to be told of a change, one bit for each, taken by whoever tells them. How they are told is not known here:
//! each has a doorbell of its own (an event, see event.rs).
//!
//! ```text
//! flag   u32            not 0: some bit may be set; lies where the teller looks in any case
//! bits   n × u64        one bit for each watcher
//! ```
//!
//! | flag · bit | meaning                                    | left by                                                  |
//! |------------|--------------------------------------------|----------------------------------------------------------|
//! | 0 · 0      | not watched                                | a watcher: 0 · 1, then 1 · 1                             |
//! | 0 · 1      | a watcher died or is about to set the flag | the watcher: 1 · 1; any teller that finds the flag set   |
//! | 1 · 1      | to be told                                 | a teller: 0 · 1, then 0 · 0, then it rings the doorbell  |
//! | 1 · 0      | told already                               | a teller: 0 · 0                                          |
//!
//! A watcher announces to sleep on its doorbell, registers, looks at its condition *once more*, and sleeps. A teller makes the
//! condition true, passes a full fence, and looks at the flag. So one of them sees the other. Bits of the dead cost one ring
//! that nobody hears. A teller that dies after it took a bit and before it rang leaves a watcher asleep: watchers look again
//! now and then.

use super::atomics::{Ordering, fence};
use super::bytes::SharedBytes;

/// Watchers at two offsets in shared bytes. Zeroed bytes are watched by nobody.
#[derive(Clone, Copy, Debug)]
pub struct Watchers {
    flag: usize,
    bits: usize,
    n_words: usize,
}

impl Watchers {
    /// Watchers 0 to `n_watchers`, with the flag at a multiple of 4 and `n_watchers / 8` bytes of bits at a multiple of 8.
    #[must_use]
    pub const fn at(flag: usize, bits: usize, n_watchers: usize) -> Self {
        assert!(n_watchers.is_multiple_of(64) && bits.is_multiple_of(8) && flag.is_multiple_of(4));
        Self { flag, bits, n_words: n_watchers / 64 }
    }

    /// Asks for one ring. The caller has announced to sleep on its doorbell, and looks at its condition after this.
    ///
    /// # Panics
    /// If there is no such watcher.
    pub fn register<M: SharedBytes>(self, memory: &M, watcher: usize) {
        assert!(watcher / 64 < self.n_words, "watcher {watcher} of {}", self.n_words * 64);
        // Release: pairs with the swap of the word in `take`; who rings sees that the watcher has announced to sleep.
        memory.word64(self.word(watcher / 64)).fetch_or(1 << (watcher % 64), Ordering::AcqRel);
        // After the bit. Release: pairs with the swap of the flag in `take`.
        memory.word32(self.flag).store(1, Ordering::Release);
        // Before the condition is looked at again: pairs with the teller's fence.
        fence(Ordering::SeqCst);
    }

    /// Whether anybody may want to be told. The caller passed a full fence since its change, as [`Event::notify`] does.
    ///
    /// [`Event::notify`]: super::event::Event::notify
    #[must_use]
    #[inline]
    pub fn is_watched<M: SharedBytes>(self, memory: &M) -> bool {
        memory.word32(self.flag).load(Ordering::Relaxed) != 0
    }

    /// Takes the bits of all who want to be told, and calls `ring` for each.
    pub fn take<M: SharedBytes>(self, memory: &M, mut ring: impl FnMut(usize)) {
        // Before the bits are taken: a watcher that comes in between sets it again.
        memory.word32(self.flag).swap(0, Ordering::AcqRel);
        for word_idx in 0..self.n_words {
            let word = memory.word64(self.word(word_idx));
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut taken = word.swap(0, Ordering::AcqRel);
            while taken != 0 {
                ring(word_idx * 64 + taken.trailing_zeros() as usize);
                taken &= taken - 1;
            }
        }
    }

    const fn word(self, word_idx: usize) -> usize {
        self.bits + word_idx * 8
    }
}
