//! Closes a descriptor and says what the kernel says to that. Dropping an `OwnedFd` closes it, too, but keeps that for itself.
#![expect(unsafe_code, reason = "close(2) by number")]

use std::io;
use std::os::fd::{IntoRawFd as _, OwnedFd};

/// Closes a descriptor. It is gone in any case.
///
/// # Errors
/// What close(2) says: `EIO`, `ENOSPC`, `EDQUOT` if what was written before could not be kept, `EINTR`.
pub fn close(descriptor: OwnedFd) -> io::Result<()> {
    // SAFETY: the number is that of a descriptor which we own and nobody uses after this, as it was given away.
    let closed = unsafe { libc::close(descriptor.into_raw_fd()) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
