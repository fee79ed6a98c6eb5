//! `RwLock`: many readers or one writer. Who is inside is kept in brigade-sys, `shared/gate.rs`.

use std::time::Duration;

use brigade_sys::shared::gate::Gate;

use super::{
    LockTimeoutError, OwnerDied, STATE, TryLockError, deadline_after, guard_of, handle, held, shared, told_of_death,
};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::{MAX_PARTICIPANTS, WindowKind};

const GATE: Gate = Gate::new(STATE, MAX_PARTICIPANTS);

/// A lock between processes, and between threads of one, that many can hold for reading or one for writing.
///
/// An `RwLock` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. Taking a free one and giving it up makes no
/// system call. It takes 36 KiB of memory.
///
/// A reader that dies holds nothing any more. If a writer dies with the lock, the next who takes it, to read or to write, gets
/// the guard in an error, [`OwnerDied`], within a tenth of a second; whoever comes later gets it as if nothing had
/// been. A process that was stopped is alive: only a timeout helps.
///
/// Nobody starves: readers who come after a waiting writer wait for it, and the next writer lets in first who waited for this
/// one. So a thread that reads must not ask to read again, or it may wait for a writer who waits for it.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let lock = brigade::RwLock::new()?;
/// let reading = lock.read().unwrap_or_else(brigade::OwnerDied::into_inner);
/// let process = brigade::spawn(lock.clone(), |lock| (lock.try_read().is_ok(), lock.try_write().is_ok()))?;
/// assert_eq!(process.join()?, (true, false));
/// drop(reading);
/// assert!(lock.try_write().is_ok());
/// # Ok(())
/// # }
/// ```
pub struct RwLock {
    handle: Handle,
}

handle!(RwLock);

/// The lock is held for reading as long as this lives.
#[must_use = "the lock is given up as soon as the guard is dropped"]
pub struct ReadGuard<'a> {
    lock: &'a RwLock,
}

/// The lock is held for writing as long as this lives.
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct WriteGuard<'a> {
    lock: &'a RwLock,
}

impl RwLock {
    /// Makes a lock that is free.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self { handle: Handle::create(WindowKind::RwLock, STATE + GATE.total_bytes(), |_| {})? })
    }

    /// Takes the lock for reading, waiting for as long as somebody writes or waited earlier to write.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it, if the last writer died with it.
    pub fn read(&self) -> Result<ReadGuard<'_>, OwnerDied<ReadGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = GATE.read(memory, census, None);
        told_of_death(taken.expect("without a deadline a lock is always taken"), ReadGuard { lock: self })
    }

    /// Takes the lock for reading if nobody writes or waits to write. Never waits.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last writer died with it.
    /// - `WouldBlock`: somebody writes or waits to write.
    pub fn try_read(&self) -> Result<ReadGuard<'_>, TryLockError<ReadGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = GATE.try_read(memory, census);
        guard_of(taken, TryLockError::WouldBlock, || ReadGuard { lock: self })
    }

    /// Takes the lock for reading, waiting at most for `timeout`.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last writer died with it.
    /// - `Timeout`: somebody wrote, or waited to write, all the time.
    pub fn read_timeout(&self, timeout: Duration) -> Result<ReadGuard<'_>, LockTimeoutError<ReadGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = GATE.read(memory, census, deadline_after(timeout));
        guard_of(taken.ok(), LockTimeoutError::Timeout, || ReadGuard { lock: self })
    }

    /// Takes the lock for writing, waiting for as long as somebody else has it.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it, if the last writer died with it.
    pub fn write(&self) -> Result<WriteGuard<'_>, OwnerDied<WriteGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = GATE.write(memory, census, None);
        told_of_death(taken.expect("without a deadline a lock is always taken"), WriteGuard { lock: self })
    }

    /// Takes the lock for writing if nobody has it. Never waits.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last writer died with it.
    /// - `WouldBlock`: somebody has it.
    pub fn try_write(&self) -> Result<WriteGuard<'_>, TryLockError<WriteGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = GATE.try_write(memory, census);
        guard_of(taken, TryLockError::WouldBlock, || WriteGuard { lock: self })
    }

    /// Takes the lock for writing, waiting at most for `timeout`.
    ///
    /// # Errors
    /// - `OwnerDied`, with the guard in it: the last writer died with it.
    /// - `Timeout`: somebody had it all the time.
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteGuard<'_>, LockTimeoutError<WriteGuard<'_>>> {
        let (memory, census) = shared(&self.handle);
        let taken = GATE.write(memory, census, deadline_after(timeout));
        guard_of(taken.ok(), LockTimeoutError::Timeout, || WriteGuard { lock: self })
    }

    /// Whether somebody who lives has it now, to read or to write.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.is_write_locked() || self.n_readers() > 0
    }

    /// Whether somebody who lives has it now for writing.
    #[must_use]
    pub fn is_write_locked(&self) -> bool {
        let (memory, census) = shared(&self.handle);
        GATE.has_writer(memory, census)
    }

    fn n_readers(&self) -> u64 {
        let (memory, census) = shared(&self.handle);
        GATE.n_readers(memory, census)
    }
}

impl std::fmt::Debug for RwLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RwLock")
            .field("n_readers", &self.n_readers())
            .field("is_write_locked", &self.is_write_locked())
            .finish()
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        if let Some((memory, census)) = held(&self.lock.handle) {
            GATE.leave(memory, census);
        }
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if let Some((memory, _)) = held(&self.lock.handle) {
            GATE.open(memory);
        }
    }
}

impl std::fmt::Debug for ReadGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadGuard").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WriteGuard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteGuard").finish_non_exhaustive()
    }
}
