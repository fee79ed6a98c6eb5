//! A value of any size in shared bytes that changes as a whole, by one store. Who may write is decided elsewhere: see lock.rs.
//!
//! ```text
//! base + 0        version  u64    the lowest bit says which copy is valid
//! base + 64       copy 0   n words
//! base + 64 + n'  copy 1   n words; n' is n words, rounded up to a cache line
//! ```
//!
//! | version | meaning                                             | left by                                          |
//! |---------|-----------------------------------------------------|--------------------------------------------------|
//! | even    | copy 0 is the value, copy 1 is the writer's         | the writer, once copy 1 is filled: + 1           |
//! | odd     | copy 1 is the value, copy 0 is the writer's         | the writer, once copy 0 is filled: + 1           |
//!
//! A writer killed at any instruction leaves the old value or the new one. A reader never waits for a writer: the copy that
//! it reads is left alone until the version has moved, and if it has, the reader is told to look again. The copies are read
//! and written word by word, as atomics, since a reader that is overtaken reads words that are being written.

use super::atomics::{Ordering, fence};
use super::bytes::SharedBytes;

const WORD_BYTES: usize = 8;
const LINE_BYTES: usize = 64;

/// A value at an offset in shared bytes. Zeroed bytes are a valid value of zeros.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    base: usize,
    n_bytes: usize,
}

/// The value was replaced while it was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overtaken;

impl Value {
    /// The value of `n_bytes` at `base`, a multiple of 64.
    #[must_use]
    pub const fn at(base: usize, n_bytes: usize) -> Self {
        assert!(base.is_multiple_of(LINE_BYTES));
        Self { base, n_bytes }
    }

    /// How many bytes a value of `n_bytes` takes up, from its base on; `None` if that is beyond any memory.
    #[must_use]
    pub const fn total_bytes(n_bytes: usize) -> Option<usize> {
        // Half of the address space is far more than any mapping, and leaves room for the sum below.
        if n_bytes > usize::MAX / 4 {
            return None;
        }
        Some(LINE_BYTES + 2 * n_bytes.next_multiple_of(LINE_BYTES))
    }

    /// Copies the value out. Never waits.
    ///
    /// # Errors
    /// `Overtaken` if the value was replaced meanwhile; `into` then holds garbage.
    pub fn load<M: SharedBytes>(self, memory: &M, into: &mut [u8]) -> Result<(), Overtaken> {
        // Acquire: pairs with the Release store in `store`; the copy it names is whole.
        let version = memory.word64(self.base).load(Ordering::Acquire);
        self.copy_out(memory, version, into);
        // The words are read before the version is read again, so a writer that reused the copy is noticed.
        fence(Ordering::Acquire);
        if memory.word64(self.base).load(Ordering::Relaxed) == version { Ok(()) } else { Err(Overtaken) }
    }

    /// Copies the value out, for the one who may write it.
    pub fn load_exclusive<M: SharedBytes>(self, memory: &M, into: &mut [u8]) {
        let version = memory.word64(self.base).load(Ordering::Acquire);
        self.copy_out(memory, version, into);
    }

    /// Replaces the value. The caller is the only writer.
    pub fn store<M: SharedBytes>(self, memory: &M, from: &[u8]) {
        let next = memory.word64(self.base).load(Ordering::Relaxed).wrapping_add(1);
        // A reader that sees one of the stores below also sees the version move: pairs with the fence in `load`.
        fence(Ordering::Release);
        let start = self.copy_at(next, from.len());
        for (idx, chunk) in from.chunks(WORD_BYTES).enumerate() {
            let mut word = [0; WORD_BYTES];
            word[..chunk.len()].copy_from_slice(chunk);
            memory.word64(start + idx * WORD_BYTES).store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        // Release: pairs with the Acquire load in `load`. This is the commit.
        memory.word64(self.base).store(next, Ordering::Release);
    }

    fn copy_out<M: SharedBytes>(self, memory: &M, version: u64, into: &mut [u8]) {
        let start = self.copy_at(version, into.len());
        for (idx, chunk) in into.chunks_mut(WORD_BYTES).enumerate() {
            let word = memory.word64(start + idx * WORD_BYTES).load(Ordering::Relaxed);
            chunk.copy_from_slice(&word.to_ne_bytes()[..chunk.len()]);
        }
    }

    fn copy_at(self, version: u64, n_bytes: usize) -> usize {
        assert_eq!(n_bytes, self.n_bytes, "the bytes given are as many as the value has");
        let copy_bytes = self.n_bytes.next_multiple_of(LINE_BYTES);
        self.base + LINE_BYTES + (version & 1) as usize * copy_bytes
    }
}
