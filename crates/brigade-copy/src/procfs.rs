//! Reads what the kernel tells in /proc. What it means is known to those who ask.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;

/// A whole file; empty if the kernel does not tell.
pub(crate) fn read(path: &CStr) -> Vec<u8> {
    contents(openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))
}

/// Opens /proc, so that what is told of processes later can be read by one component after another.
pub(crate) fn hold() -> Option<&'static OwnedFd> {
    static PROC: OnceLock<Option<OwnedFd>> = OnceLock::new();
    PROC.get_or_init(|| folder(CWD, c"/proc").ok()).as_ref()
}

/// What the kernel tells of a process in the file of this name; empty if it does not.
pub(crate) fn of_process(pid: u32, name: &CStr) -> Vec<u8> {
    let Some(proc) = hold() else { return Vec::new() };
    let number = CString::new(pid.to_string()).expect("digits hold no zero byte");
    contents(
        folder(proc, &number).and_then(|process| {
            openat(process, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        }),
    )
}

fn folder(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn contents(file: Result<OwnedFd, Errno>) -> Vec<u8> {
    let Ok(file) = file else { return Vec::new() };
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(4 << 10);
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) | Err(_) => return bytes,
            Ok(_) => {}
        }
    }
}

/// Descriptors that this process has, and some more; 0 if the kernel does not tell.
pub(crate) fn n_descriptors() -> usize {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, c"/proc/self/fd", flags, Mode::empty()).and_then(Dir::new).map_or(0, Iterator::count)
}
