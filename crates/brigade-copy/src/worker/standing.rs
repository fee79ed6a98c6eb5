//! Goes to a folder that is held, for the few calls that take a name and no folder: those on the attributes of what is not
//! opened. A worker has no /proc through which it could reach them. Which calls these are is in attributes.rs.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::calls::fchdir;

/// The next number of a place. 0 is none.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The place where this process stands. A worker has one thread, and nobody else in it goes anywhere.
static CURRENT: AtomicU64 = AtomicU64::new(0);

/// A folder that is held, under a number that no other folder of this process ever has. Descriptors are numbered anew, so
/// they do not tell.
#[derive(Debug)]
pub(super) struct Standing(u64);

impl Standing {
    pub(super) fn new() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes this the current folder, unless it is.
    pub(super) fn go_to(&self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        if CURRENT.load(Ordering::Relaxed) == self.0 {
            return Ok(());
        }
        fchdir(folder)?;
        CURRENT.store(self.0, Ordering::Relaxed);
        Ok(())
    }
}
