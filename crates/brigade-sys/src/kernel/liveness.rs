//! Tokens that the kernel takes away when a process ends: record locks, one byte for each process, on memory that is used
//! for nothing else. They tell of the death of processes that are neither parent nor child.
//!
//! These are *process-owned* locks: a child made by `fork()` does not inherit them (an open-file-description lock would live
//! on in it). They have one trap: closing *any* descriptor of this memory in a process drops all of its locks, so the
//! descriptor is never closed.
#![expect(unsafe_code, reason = "fcntl with struct flock is not in rustix for byte ranges")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

pub(super) fn record(kind: libc::c_int, byte: u32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: libc::off_t::from(byte),
        l_len: 1,
        l_pid: 0,
    }
}

pub(super) fn call(memory: BorrowedFd<'_>, command: libc::c_int, record: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY:
        // - the descriptor is open for as long as it is borrowed;
        // - for these commands fcntl takes a pointer to a `flock`, which `record` is, and keeps none.
        let result = unsafe { libc::fcntl(memory.as_raw_fd(), command, std::ptr::from_mut(record)) };
        if result != -1 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Takes the token of `byte` for this process. Never waits.
///
/// # Errors
/// `EAGAIN` if another process has it; `ENOLCK`.
pub fn hold(memory: BorrowedFd<'_>, byte: u32) -> io::Result<()> {
    call(memory, libc::F_SETLK, &mut record(libc::F_WRLCK, byte))
}

/// Whether some other process has the token of `byte`.
///
/// # Errors
/// `EBADF`.
pub fn is_held(memory: BorrowedFd<'_>, byte: u32) -> io::Result<bool> {
    Ok(holder(memory, byte)?.is_some())
}

/// The number of the other process that has the token of `byte`, as this process's namespace knows it.
///
/// # Errors
/// `EBADF`.
pub fn holder(memory: BorrowedFd<'_>, byte: u32) -> io::Result<Option<libc::pid_t>> {
    let mut record = record(libc::F_WRLCK, byte);
    call(memory, libc::F_GETLK, &mut record)?;
    Ok((libc::c_int::from(record.l_type) != libc::F_UNLCK).then_some(record.l_pid))
}
