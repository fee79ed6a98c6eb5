//! `ReentrantLock`: a lock that the thread which holds it may take again. The words are in brigade-sys, `shared/reentrant.rs`.

use std::marker::PhantomData;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use brigade_sys::shared::reentrant::Reentrant;

use super::{
    LockTimeoutError, OwnerDied, STATE, TryLockError, deadline_after, guard_of, handle, held, shared, told_of_death,
};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::WindowKind;

const STATE_WORDS: Reentrant = Reentrant::at(STATE);

/// A [`Lock`](crate::Lock) that the thread which holds it may take again; it is free when all its guards are dropped.
///
/// What holds for a `Lock` holds for it too, [`OwnerDied`] above all. Its guards stay on the thread that took them.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = brigade::ReentrantLock::new()?;
/// let outer = lock.lock().unwrap_or_else(brigade::OwnerDied::into_inner);
/// let inner = lock.lock().unwrap_or_else(brigade::OwnerDied::into_inner);
/// drop(outer);
/// assert!(lock.is_locked());
/// drop(inner);
/// assert!(!lock.is_locked());
/// # Ok(())
/// # }
/// ```
pub struct ReentrantLock {
    handle: Handle,
}

handle!(ReentrantLock);

/// The lock is held as long as one such guard lives.
#[must_use = "the lock is given up again as soon as the guard is dropped"]
pub struct ReentrantLockGuard<'a> {
    lock: &'a ReentrantLock,
    /// As with guards of the standard library: only the thread that took the lock may free it.
    stays_here: PhantomData<MutexGuard<'a, ()>>,
}

/// A number for the calling thread that no other thread of this process ever has.
fn this_thread() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    thread_local!(static NUMBER: u32 = LAST.fetch_add(1, Ordering::Relaxed) + 1);
    NUMBER.with(|number| *number)
}

impl ReentrantLock {
    /// Makes a lock that is free.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self { handle: Handle::create(WindowKind::ReentrantLock, STATE * 2, |_| {})? })
    }

    /// Takes the lock, waiting for as long as another thread or process has it.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it, if the last holder died with it.
    pub fn lock(&self) -> Result<ReentrantLockGuard<'_>, OwnerDied<ReentrantLockGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = STATE_WORDS.lock(memory, census, this_thread(), None);
        told_of_death(taken.expect("without a deadline a lock is always taken"), self.guard())
    }

    /// Takes the lock if no other thread or process has it. Never waits.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last holder died with it.
    /// - `WouldBlock`: another thread or process has it.
    pub fn try_lock(&self) -> Result<ReentrantLockGuard<'_>, TryLockError<ReentrantLockGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = STATE_WORDS.try_lock(memory, census, this_thread());
        guard_of(taken, TryLockError::WouldBlock, || self.guard())
    }

    /// Takes the lock, waiting at most for `timeout`.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last holder died with it.
    /// - `Timeout`: another thread or process had it all the time.
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ReentrantLockGuard<'_>, LockTimeoutError<ReentrantLockGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = STATE_WORDS.lock(memory, census, this_thread(), deadline_after(timeout));
        guard_of(taken.ok(), LockTimeoutError::Timeout, || self.guard())
    }

    /// Whether somebody who lives has it now, be it this thread.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let (memory, census) = shared(&self.handle);
        let owner = STATE_WORDS.lock_word().owner(memory);
        owner.is_some_and(|owner| !census.is_dead(owner))
    }

    const fn guard(&self) -> ReentrantLockGuard<'_> {
        ReentrantLockGuard { lock: self, stays_here: PhantomData }
    }
}

impl std::fmt::Debug for ReentrantLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (memory, census) = shared(&self.handle);
        let depth = STATE_WORDS.depth(memory, census, this_thread());
        f.debug_struct("ReentrantLock").field("is_locked", &self.is_locked()).field("depth_here", &depth).finish()
    }
}

impl Drop for ReentrantLockGuard<'_> {
    fn drop(&mut self) {
        if let Some((memory, _)) = held(&self.lock.handle) {
            STATE_WORDS.unlock(memory);
        }
    }
}

impl std::fmt::Debug for ReentrantLockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReentrantLockGuard").finish_non_exhaustive()
    }
}
