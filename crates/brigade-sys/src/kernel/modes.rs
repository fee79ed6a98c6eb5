//! Gives a mode to what a descriptor marks without having opened it, as FIFOs, sockets and devices must not be opened.
#![expect(unsafe_code, reason = "fchmodat2(2), which rustix does not have")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Sets the mode of what was opened with `O_PATH`.
///
/// # Errors
/// `ENOSYS` before Linux 6.6, and else what chmod(2) says.
///
/// # Source
/// chmod(2), `AT_EMPTY_PATH`: <https://man7.org/linux/man-pages/man2/chmod.2.html>
pub fn set_mode_of_mark(mark: impl AsFd, mode: u32) -> io::Result<()> {
    // SAFETY:
    // - the path is a C string that lives for ever; the kernel reads it only.
    // - the descriptor is open for as long as it is borrowed.
    let set = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            mark.as_fd().as_raw_fd(),
            c"".as_ptr(),
            mode as libc::mode_t,
            libc::AT_EMPTY_PATH,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
