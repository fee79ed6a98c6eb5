//! Reads what the kernel tells in /proc. What it means is known to those who ask.

use std::ffi::CStr;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// A whole file; empty if the kernel does not tell.
pub(crate) fn read(path: &CStr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 << 10);
    let Ok(file) = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return bytes;
    };
    loop {
        bytes.reserve(32 << 10);
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) | Err(_) => return bytes,
            Ok(_) => {}
        }
    }
}
