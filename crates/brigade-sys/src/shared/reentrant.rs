//! A lock that the thread which holds it may take again. The lock itself is in lock.rs; here is which thread, how often.
//!
//! ```text
//! base +  0  lock u32
//! base +  8  holder: process u32 above thread u32
//! base + 16  depth u64
//! ```
//!
//! | holder              | meaning                                        | left by                                        |
//! |---------------------|------------------------------------------------|------------------------------------------------|
//! | 0                   | nobody, or somebody is just taking the lock    | who has the lock: `(process, thread)`          |
//! | `(process, thread)` | this thread has it, `depth` times              | this thread: 0, before it frees the lock       |
//!
//! A thread asks only whether the holder is itself, and no other thread ever writes that value; so the word needs no order.
//! A holder that died is overwritten by the next.

use std::time::Instant;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::census::{Census, to_owned_number};
use super::lock::{Acquired, OwnedLock, TimedOut};

const HOLDER: usize = 8;
const DEPTH: usize = 16;

/// A lock at an offset in shared bytes. Zeroed bytes are a free lock.
#[derive(Clone, Copy, Debug)]
pub struct Reentrant {
    base: usize,
}

impl Reentrant {
    /// The lock at `base`, a multiple of 8.
    #[must_use]
    pub const fn at(base: usize) -> Self {
        Self { base }
    }

    /// The lock beneath.
    #[must_use]
    pub const fn lock_word(self) -> OwnedLock {
        OwnedLock::at(self.base)
    }

    /// Takes the lock for this thread of the caller, waiting until `deadline`. `thread` is not zero, and never names
    /// two threads of one process.
    ///
    /// # Errors
    /// `TimedOut` if the deadline came first.
    pub fn lock<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        thread: u32,
        deadline: Option<Instant>,
    ) -> Result<Acquired, TimedOut> {
        if self.enter_again(memory, census, thread) {
            return Ok(Acquired::Free);
        }
        let acquired = self.lock_word().lock(memory, census.me(), |owner| census.is_dead(owner), deadline)?;
        self.enter(memory, census, thread);
        Ok(acquired)
    }

    /// Takes the lock if it is free, or this thread has it, or its owner is dead. Never waits.
    pub fn try_lock<M: SharedBytes>(self, memory: &M, census: &impl Census, thread: u32) -> Option<Acquired> {
        if self.enter_again(memory, census, thread) {
            return Some(Acquired::Free);
        }
        let acquired = self.lock_word().try_lock(memory, census.me(), |owner| census.is_dead(owner))?;
        self.enter(memory, census, thread);
        Some(acquired)
    }

    /// Undoes one `lock`. Only the thread that holds it may.
    pub fn unlock<M: SharedBytes>(self, memory: &M) {
        let depth = memory.word64(self.base + DEPTH);
        let left = depth.load(Ordering::Relaxed).saturating_sub(1);
        depth.store(left, Ordering::Relaxed);
        if left == 0 {
            memory.word64(self.base + HOLDER).store(0, Ordering::Relaxed);
            self.lock_word().unlock(memory);
        }
    }

    /// How often this thread holds it.
    #[must_use]
    pub fn depth<M: SharedBytes>(self, memory: &M, census: &impl Census, thread: u32) -> u64 {
        let holder = memory.word64(self.base + HOLDER).load(Ordering::Relaxed);
        let is_mine = holder == to_owned_number(census.me(), thread);
        if is_mine { memory.word64(self.base + DEPTH).load(Ordering::Relaxed) } else { 0 }
    }

    fn enter_again<M: SharedBytes>(self, memory: &M, census: &impl Census, thread: u32) -> bool {
        let depth = self.depth(memory, census, thread);
        if depth > 0 {
            memory.word64(self.base + DEPTH).store(depth.saturating_add(1), Ordering::Relaxed);
        }
        depth > 0
    }

    fn enter<M: SharedBytes>(self, memory: &M, census: &impl Census, thread: u32) {
        memory.word64(self.base + DEPTH).store(1, Ordering::Relaxed);
        memory.word64(self.base + HOLDER).store(to_owned_number(census.me(), thread), Ordering::Relaxed);
    }
}
