//! What goes wrong with locks and their kin.

use serde::{Deserialize, Serialize};

/// The process that held the lock died with it. The lock is now the caller's: this error holds the guard.
///
/// What the lock protects may be half changed. It is reported once, to the next who gets the lock; that one repairs what is to
/// be repaired, or goes on as if nothing had been: [`into_inner`](Self::into_inner) gives the guard.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = brigade::Lock::new()?;
/// let guard = lock.lock().unwrap_or_else(brigade::OwnerDied::into_inner);
/// # drop(guard);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("the process that held the lock died with it")]
pub struct OwnerDied<G>(pub G);

impl<G> OwnerDied<G> {
    /// The guard: the caller has the lock.
    pub fn into_inner(self) -> G {
        self.0
    }

    /// The guard, to look at.
    pub const fn get_ref(&self) -> &G {
        &self.0
    }
}

/// Why a lock was not taken at once, or not without a word of warning.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TryLockError<G> {
    /// The caller has the lock, but the process that held it before died with it: see [`OwnerDied`].
    #[error("the process that held the lock died with it")]
    OwnerDied(G),
    /// Somebody has it.
    #[error("the lock is held")]
    WouldBlock,
}

/// Why a lock was not taken in time, or not without a word of warning.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LockTimeoutError<G> {
    /// The caller has the lock, but the process that held it before died with it: see [`OwnerDied`].
    #[error("the process that held the lock died with it")]
    OwnerDied(G),
    /// It was held all the time.
    #[error("the lock stayed held")]
    Timeout,
}

impl<G> From<OwnerDied<G>> for TryLockError<G> {
    fn from(error: OwnerDied<G>) -> Self {
        Self::OwnerDied(error.0)
    }
}

impl<G> From<OwnerDied<G>> for LockTimeoutError<G> {
    fn from(error: OwnerDied<G>) -> Self {
        Self::OwnerDied(error.0)
    }
}

/// This process holds no permit that it could give back in this way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("this process keeps no permit of the semaphore that it could release")]
pub struct OverRelease;
