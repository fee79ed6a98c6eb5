//! `Lock`: one holder at a time. The word is in brigade-sys, `shared/lock.rs`.

use std::time::Duration;

use brigade_sys::shared::lock::OwnedLock;

use super::{
    LockTimeoutError, OwnerDied, STATE, TryLockError, deadline_after, guard_of, handle, held, shared, told_of_death,
};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::WindowKind;

const WORD: OwnedLock = OwnedLock::at(STATE);

/// A lock between processes, and between threads of one.
///
/// A `Lock` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is; all handles are the same lock. It is free when
/// made. Taking a free lock and giving it up makes no system call.
///
/// If the process that holds it dies, the next who takes it gets the guard in an error, [`OwnerDied`], within a tenth of
/// a second; whoever comes later gets it as if nothing had been. A process that was stopped is alive: only a timeout helps. A
/// panic frees the lock as it drops the guard. A thread that takes a lock again that it holds waits for ever: see
/// [`ReentrantLock`](crate::ReentrantLock).
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let lock = brigade::Lock::new()?;
/// let sums = brigade::SharedSlice::<u64>::new(1)?;
/// let add = |(lock, sums): (brigade::Lock, brigade::SharedSlice<u64>)| {
///     for _ in 0..100 {
///         let guard = lock.lock().unwrap_or_else(brigade::OwnerDied::into_inner);
///         sums.store(0, sums.load(0) + 1);
///         drop(guard);
///     }
/// };
/// let process = brigade::spawn((lock.clone(), sums.clone()), add)?;
/// add((lock, sums.clone()));
/// process.join()?;
/// assert_eq!(sums.load(0), 200);
/// # Ok(())
/// # }
/// ```
pub struct Lock {
    handle: Handle,
}

handle!(Lock);

/// The lock is held as long as this lives.
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
}

impl Lock {
    /// Makes a lock that is free.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self { handle: Handle::create(WindowKind::Lock, STATE * 2, |_| {})? })
    }

    /// Takes the lock, waiting for as long as somebody has it.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it, if the last holder died with it.
    pub fn lock(&self) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = WORD.lock(memory, census.owner(), |owner| census.is_dead(owner), None);
        told_of_death(taken.expect("without a deadline a lock is always taken"), LockGuard { lock: self })
    }

    /// Takes the lock if nobody has it. Never waits.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last holder died with it.
    /// - `WouldBlock`: somebody has it.
    pub fn try_lock(&self) -> Result<LockGuard<'_>, TryLockError<LockGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = WORD.try_lock(memory, census.owner(), |owner| census.is_dead(owner));
        guard_of(taken, TryLockError::WouldBlock, || LockGuard { lock: self })
    }

    /// Takes the lock, waiting at most for `timeout`.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last holder died with it.
    /// - `Timeout`: somebody had it all the time.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockTimeoutError<LockGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let deadline = deadline_after(timeout);
        let taken = WORD.lock(memory, census.owner(), |owner| census.is_dead(owner), deadline);
        guard_of(taken.ok(), LockTimeoutError::Timeout, || LockGuard { lock: self })
    }

    /// Whether somebody who lives has it now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        let (memory, census) = shared(&self.handle);
        WORD.owner(memory).is_some_and(|owner| !census.is_dead(owner))
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").field("is_locked", &self.is_locked()).finish()
    }
}

impl<'a> LockGuard<'a> {
    /// The lock that it holds.
    pub(super) const fn lock(&self) -> &'a Lock {
        self.lock
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        if let Some((memory, _)) = held(&self.lock.handle) {
            WORD.unlock(memory);
        }
    }
}

impl std::fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}
