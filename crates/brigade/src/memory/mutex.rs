//! `SharedMutex<T>`: one value of plain data behind a lock. Whoever has the lock works on a copy of its own, which becomes
//! the value by one store; how that is done is in whole.rs.

use std::ops::{Deref, DerefMut};
use std::thread::panicking;
use std::time::{Duration, Instant};

use brigade_sys::kernel::fork;
use bytemuck::Pod;
use serde::{Deserialize, Serialize};

use super::whole::{Whole, handle_to_value};
use crate::error::MemoryError;
use crate::session::WindowKind;

/// One value of plain data that one process at a time works on.
///
/// A `SharedMutex` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. [`lock`](Self::lock) hands out a
/// private copy of the value; dropping the guard makes the copy the value, as a whole and by one store. So whatever ends
/// the one who holds the lock, the value is as it was before it was locked or as it was meant to be after:
///
/// - A process killed while it holds the lock leaves the value as it was, and the next one simply gets the lock. Nobody is told that the owner died: there is no half-done change to be warned of.
/// - A panic while the lock is held discards the copy, for the same reason. There is no poison.
///
/// The lock is not reentrant: a thread that locks again what it has locked waits for ever. A process that was stopped while it
/// holds the lock is alive, and only [`lock_timeout`](Self::lock_timeout) and [`try_lock`](Self::try_lock) get around it.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let pair = brigade::SharedMutex::new([0_u64, 0])?;
/// let process = brigade::spawn(pair.clone(), |pair| {
///     let mut locked = pair.lock()?;
///     locked[0] += 1;
///     locked[1] += 1; // both or neither, also for kill -9 between the two
///     Ok::<(), brigade::SharedMutexError>(())
/// })?;
/// process.join()??;
/// assert_eq!(*pair.lock()?, [1, 1]);
/// # Ok(())
/// # }
/// ```
pub struct SharedMutex<T> {
    whole: Whole<T>,
}

/// Why a [`SharedMutex`] was not locked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SharedMutexError {
    /// This process was made by `fork()`, and its handles belong to its parent.
    #[error("this process was made by fork(), and what it has a copy of belongs to its parent")]
    Forked,
    /// Somebody else holds the lock now; only [`SharedMutex::try_lock`] gives this.
    #[error("the value is locked")]
    WouldBlock,
    /// Somebody else kept the lock for too long; only [`SharedMutex::lock_timeout`] gives this.
    #[error("the value stayed locked")]
    Timeout,
}

impl<T: Pod> SharedMutex<T> {
    /// Shares a value behind a lock.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new(value: T) -> Result<Self, MemoryError> {
        Ok(Self { whole: Whole::create(WindowKind::Mutex, &value)? })
    }

    /// Locks the value, waiting until nobody else has it locked, and hands out a copy to work on.
    ///
    /// # Errors
    /// `Forked` in a process made by `fork()`.
    pub fn lock(&self) -> Result<SharedMutexGuard<'_, T>, SharedMutexError> {
        refuse_forked()?;
        self.whole.lock(None).map_err(|_| SharedMutexError::Timeout)?;
        Ok(self.guard())
    }

    /// Locks the value if nobody else has it locked. Never waits.
    ///
    /// # Errors
    /// `WouldBlock` if somebody has; `Forked` in a process made by `fork()`.
    pub fn try_lock(&self) -> Result<SharedMutexGuard<'_, T>, SharedMutexError> {
        refuse_forked()?;
        if self.whole.try_lock() { Ok(self.guard()) } else { Err(SharedMutexError::WouldBlock) }
    }

    /// Locks the value, waiting at most for `timeout`.
    ///
    /// # Errors
    /// `Timeout` if somebody else had it locked all the time; `Forked` in a process made by `fork()`.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<SharedMutexGuard<'_, T>, SharedMutexError> {
        refuse_forked()?;
        // A deadline beyond what the clock can say is no deadline. A wait may be too short for asking whether the holder lives.
        let is_taken = self.whole.lock(Instant::now().checked_add(timeout)).is_ok() || self.whole.try_lock();
        if is_taken { Ok(self.guard()) } else { Err(SharedMutexError::Timeout) }
    }

    /// The value as it was committed last, without locking and without waiting for whoever has it locked.
    #[must_use]
    pub fn load(&self) -> T {
        self.whole.load()
    }

    fn guard(&self) -> SharedMutexGuard<'_, T> {
        SharedMutexGuard {
            whole: &self.whole,
            copy: self.whole.load_locked(),
            fate: Fate::Unchanged,
            was_panicking: panicking(),
        }
    }
}

/// Whatever a forked process locked would be locked in its parent's name.
fn refuse_forked() -> Result<(), SharedMutexError> {
    if fork::is_forked() { Err(SharedMutexError::Forked) } else { Ok(()) }
}

/// What becomes of a guard's copy when it is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Unchanged,
    Committed,
}

/// A locked [`SharedMutex`], with a private copy of its value. Dropping it commits the copy and unlocks.
#[must_use = "the value is unlocked again when the guard is dropped"]
pub struct SharedMutexGuard<'a, T: Pod> {
    whole: &'a Whole<T>,
    copy: T,
    fate: Fate,
    /// Whether this thread was already unwinding when it took the lock; then the panic is not about this copy.
    was_panicking: bool,
}

impl<T: Pod> SharedMutexGuard<'_, T> {
    /// Unlocks and leaves the value as it was before it was locked.
    pub fn discard(mut self) {
        self.fate = Fate::Unchanged;
    }
}

impl<T: Pod> Deref for SharedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.copy
    }
}

impl<T: Pod> DerefMut for SharedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.fate = Fate::Committed;
        &mut self.copy
    }
}

impl<T: Pod> Drop for SharedMutexGuard<'_, T> {
    fn drop(&mut self) {
        if fork::is_forked() {
            // The lock is the parent's.
            return;
        }
        if self.fate == Fate::Committed && panicking() == self.was_panicking {
            self.whole.store_locked(&self.copy);
        }
        self.whole.unlock();
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for SharedMutexGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.copy.fmt(f)
    }
}

handle_to_value!(SharedMutex, Mutex);
