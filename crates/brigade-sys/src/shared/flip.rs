//! A few words in shared bytes that change together by one store. Who may write is decided elsewhere: see lock.rs.
//!
//! ```text
//! base + 0   version  u64    the lowest bit says which copy is valid
//! base + 8   copy 0   3 × u64
//! base + 32  copy 1   3 × u64
//! ```
//!
//! A writer fills the copy that is not valid and then stores the next version: killed at any instruction, it leaves the
//! old state or the new one. A reader that meets a moving version reads again. All seven words share a cache line.

use super::atomics::{Ordering, fence};
use super::bytes::SharedBytes;

/// Words in the state.
pub const N_WORDS: usize = 3;
const COPY_0: usize = 8;
const COPY_1: usize = 32;
const _: () = assert!(COPY_1 == COPY_0 + N_WORDS * 8);

/// The state at an offset in shared bytes. Zeroed bytes are a valid state of zeros.
#[derive(Clone, Copy, Debug)]
pub struct Flip {
    base: usize,
}

impl Flip {
    /// The state at `base`, a multiple of 64.
    #[must_use]
    pub const fn at(base: usize) -> Self {
        assert!(base.is_multiple_of(64));
        Self { base }
    }

    /// The state as of some moment during the call.
    #[inline]
    pub fn load<M: SharedBytes>(self, memory: &M) -> [u64; N_WORDS] {
        let version_word = memory.word64(self.base);
        loop {
            // Acquire: pairs with the Release store in `store`; the copy it names is whole.
            let version = version_word.load(Ordering::Acquire);
            let words = self.copy_of(memory, version);
            // The words are read before the version is read again, so a writer that reused the copy is noticed.
            fence(Ordering::Acquire);
            if version_word.load(Ordering::Relaxed) == version {
                return words;
            }
            wait_a_little();
        }
    }

    /// The state, for the one who may write it.
    #[inline]
    pub fn load_exclusive<M: SharedBytes>(self, memory: &M) -> [u64; N_WORDS] {
        let version = memory.word64(self.base).load(Ordering::Acquire);
        self.copy_of(memory, version)
    }

    /// Replaces the state. The caller is the only writer.
    #[inline]
    pub fn store<M: SharedBytes>(self, memory: &M, words: [u64; N_WORDS]) {
        let version_word = memory.word64(self.base);
        let next = version_word.load(Ordering::Relaxed).wrapping_add(1);
        // A reader that sees one of the stores below also sees the version move: pairs with the fence in `load`.
        fence(Ordering::Release);
        for (idx, word) in words.into_iter().enumerate() {
            memory.word64(self.word_offset(next, idx)).store(word, Ordering::Relaxed);
        }
        // Release: pairs with the Acquire load in `load`. This is the commit.
        version_word.store(next, Ordering::Release);
    }

    #[inline]
    fn copy_of<M: SharedBytes>(self, memory: &M, version: u64) -> [u64; N_WORDS] {
        std::array::from_fn(|idx| memory.word64(self.word_offset(version, idx)).load(Ordering::Relaxed))
    }

    #[inline]
    const fn word_offset(self, version: u64, word_idx: usize) -> usize {
        self.base + COPY_0 + (version & 1) as usize * (COPY_1 - COPY_0) + word_idx * 8
    }
}

fn wait_a_little() {
    #[cfg(not(loom))]
    std::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
