//! What a structure in shared memory needs of the memory it lies in. Ownership of the mapping is elsewhere.

use std::sync::Arc;
use std::time::Duration;

use super::atomics::{AtomicU32, AtomicU64};

/// How a futex wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Somebody woke the sleeper, or a signal did: look at the word again.
    Woken,
    /// The word did not hold the expected value, so nobody slept.
    ValueChanged,
    /// Nobody woke the sleeper in time.
    TimedOut,
}

/// Bytes that other processes may change at any time.
///
/// Words are reached as atomics, all else by copying; no reference to the bytes is ever handed out. Offsets come from our
/// own layout constants or were checked by the caller: an offset out of range is a bug of ours and panics.
pub trait SharedBytes {
    /// The 32-bit word at `offset`, a multiple of 4.
    fn word32(&self, offset: usize) -> &AtomicU32;
    /// The 64-bit word at `offset`, a multiple of 8.
    fn word64(&self, offset: usize) -> &AtomicU64;
    /// Copies bytes out.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies bytes in.
    fn write(&self, offset: usize, from: &[u8]);
    /// Sleeps while the word at `offset` holds `expected`, at most for `timeout`.
    fn futex_wait(&self, offset: usize, expected: u32, timeout: Option<Duration>) -> Wait;
    /// Wakes up to `n_sleepers` who wait on the word at `offset`.
    fn futex_wake(&self, offset: usize, n_sleepers: u32);
}

impl<T: SharedBytes + ?Sized> SharedBytes for Arc<T> {
    fn word32(&self, offset: usize) -> &AtomicU32 {
        (**self).word32(offset)
    }
    fn word64(&self, offset: usize) -> &AtomicU64 {
        (**self).word64(offset)
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        (**self).read(offset, into);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        (**self).write(offset, from);
    }
    fn futex_wait(&self, offset: usize, expected: u32, timeout: Option<Duration>) -> Wait {
        (**self).futex_wait(offset, expected, timeout)
    }
    fn futex_wake(&self, offset: usize, n_sleepers: u32) {
        (**self).futex_wake(offset, n_sleepers);
    }
}
