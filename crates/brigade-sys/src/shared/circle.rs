//! Bytes at ever-growing positions, kept in a range that is used over and over. Who may touch which is decided elsewhere.

use super::bytes::SharedBytes;

/// A range of shared bytes in which position `p` lies at `p` modulo its size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Circle {
    base: usize,
    n_bytes: usize,
}

impl Circle {
    /// The range of `n_bytes`, a power of two, from `base` on.
    #[must_use]
    pub const fn new(base: usize, n_bytes: usize) -> Self {
        assert!(n_bytes.is_power_of_two());
        Self { base, n_bytes }
    }

    /// Where the byte at a position lies.
    #[must_use]
    #[inline]
    pub const fn offset_of(self, position: u64) -> usize {
        // Truncation is harmless: only the bits below the size, a power of two, are used.
        self.base + (position as usize & (self.n_bytes - 1))
    }

    /// Copies bytes in, in two parts if they pass the end.
    #[inline]
    pub fn write<M: SharedBytes>(self, memory: &M, position: u64, from: &[u8]) {
        let n_first = self.until_end(position);
        if from.len() <= n_first {
            return memory.write(self.offset_of(position), from);
        }
        memory.write(self.offset_of(position), &from[..n_first]);
        memory.write(self.base, &from[n_first..]);
    }

    /// Copies bytes out, in two parts if they pass the end.
    #[inline]
    pub fn read<M: SharedBytes>(self, memory: &M, position: u64, into: &mut [u8]) {
        let n_first = self.until_end(position);
        if into.len() <= n_first {
            return memory.read(self.offset_of(position), into);
        }
        let (first, rest) = into.split_at_mut(n_first);
        memory.read(self.offset_of(position), first);
        memory.read(self.base, rest);
    }

    #[inline]
    const fn until_end(self, position: u64) -> usize {
        self.n_bytes - (position as usize & (self.n_bytes - 1))
    }
}
