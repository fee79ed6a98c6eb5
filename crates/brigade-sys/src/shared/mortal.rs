//! A process that may die at any step, for models: memory that stops being shared after a number of accesses.
//!
//! Whoever works on it goes on, but on bytes of its own that nobody else sees: what it does after its death has no effect.
//! So a model tries a death at every step by trying every number of accesses, and the code under test needs no hooks.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::AtomicBool;

use super::atomics::{AtomicU32, AtomicU64, Ordering};
use super::bytes::{SharedBytes, Wait};
use super::model::Model;

/// Tells the living who is dead, as the kernel does: only after the last step.
#[derive(Debug)]
pub struct Grave(AtomicBool);

impl Grave {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(false)))
    }

    pub fn is_filled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Shared bytes as one process sees them that dies before its access number `n_accesses`.
#[derive(Debug)]
pub struct Mortal {
    memory: Arc<Model>,
    afterlife: Model,
    /// Counted outside of the model: how far a process has come is no step of it.
    n_left: std::sync::atomic::AtomicU32,
    grave: Arc<Grave>,
}

impl Mortal {
    pub fn new(memory: Arc<Model>, afterlife: Model, n_accesses: u32, grave: Arc<Grave>) -> Self {
        Self { memory, afterlife, n_left: n_accesses.into(), grave }
    }

    /// Whether the process got to the end of its work before its time was over.
    pub fn has_survived(&self) -> bool {
        self.n_left.load(Ordering::Relaxed) > 0
    }

    /// The memory for the next access.
    fn next(&self) -> &Model {
        let step = |left: u32| Some(left.saturating_sub(1));
        let before = self.n_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        if before.unwrap_or(0) > 0 { &self.memory } else { &self.afterlife }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if !self.has_survived() {
            self.grave.0.store(true, Ordering::Release);
        }
    }
}

impl SharedBytes for Mortal {
    fn word32(&self, offset: usize) -> &AtomicU32 {
        self.next().word32(offset)
    }
    fn word64(&self, offset: usize) -> &AtomicU64 {
        self.next().word64(offset)
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.next().read(offset, into);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.next().write(offset, from);
    }
    fn futex_wait(&self, offset: usize, expected: u32, timeout: Option<Duration>) -> Wait {
        self.next().futex_wait(offset, expected, timeout)
    }
    fn futex_wake(&self, offset: usize, n_sleepers: u32) {
        self.next().futex_wake(offset, n_sleepers);
    }
}
