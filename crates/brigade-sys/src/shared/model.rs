//! Shared bytes as loom sees them: words are loom's atomics, plain bytes are atomics read and written without order, so that
//! a copy that is not protected by the protocol shows stale values.

use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use super::atomics::{AtomicU32, AtomicU64, Ordering};
use super::bytes::{SharedBytes, Wait};

/// A small piece of modelled memory. A word is one size for good: which offsets hold 64-bit words is told at the start, all
/// else is 32-bit words, also for copies.
#[derive(Debug)]
pub struct Model {
    words32: Vec<AtomicU32>,
    words64: Vec<(usize, AtomicU64)>,
    sleepers: Mutex<()>,
    wake_up: Condvar,
}

impl Model {
    /// Zeroed memory of `n_bytes`, a multiple of 4, with 64-bit words at the given offsets.
    #[must_use]
    pub fn new(n_bytes: usize, words64_at: &[usize]) -> Self {
        Self {
            words32: (0..n_bytes / 4).map(|_| AtomicU32::new(0)).collect(),
            words64: words64_at.iter().map(|&offset| (offset, AtomicU64::new(0))).collect(),
            sleepers: Mutex::new(()),
            wake_up: Condvar::new(),
        }
    }
}

impl SharedBytes for Model {
    fn word32(&self, offset: usize) -> &AtomicU32 {
        &self.words32[offset / 4]
    }

    fn word64(&self, offset: usize) -> &AtomicU64 {
        let found = self.words64.iter().find(|(at, _)| *at == offset);
        &found.expect("the model was told where its 64-bit words are").1
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        for (idx, chunk) in into.chunks_mut(4).enumerate() {
            let word = self.words32[offset / 4 + idx].load(Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        for (idx, chunk) in from.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words32[offset / 4 + idx].store(u32::from_le_bytes(word), Ordering::Relaxed);
        }
    }

    /// Without a timeout a sleeper that nobody wakes is a deadlock, which loom reports; with one it may time out at once.
    fn futex_wait(&self, offset: usize, expected: u32, timeout: Option<Duration>) -> Wait {
        let guard = self.sleepers.lock().expect("no model thread panics while it holds the lock");
        // As in the kernel, the comparison and the going to sleep are one step for wakers.
        if self.word32(offset).load(Ordering::SeqCst) != expected {
            return Wait::ValueChanged;
        }
        if timeout.is_some() {
            drop(guard);
            loom::thread::yield_now();
            return Wait::TimedOut;
        }
        drop(self.wake_up.wait(guard).expect("no model thread panics while it holds the lock"));
        Wait::Woken
    }

    fn futex_wake(&self, _offset: usize, _n_sleepers: u32) {
        let _guard = self.sleepers.lock().expect("no model thread panics while it holds the lock");
        self.wake_up.notify_all();
    }
}
