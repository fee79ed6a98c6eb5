//! Starts a program with exactly the descriptors it is to have. What the child then does is in child.rs and above.
#![expect(unsafe_code, reason = "posix_spawn")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::process::Pid;

use super::signals::SignalMask;

/// The number that the first given descriptor has in the child; 0 to 2 are inherited as they are.
pub const FIRST_GIVEN_DESCRIPTOR: i32 = 3;
/// How many descriptors a child can be given; ours are kept above these (see `memory::move_up`), so that putting one in
/// its place never destroys another.
pub const MAX_GIVEN_DESCRIPTORS: usize = 3;

/// A program to start.
#[derive(Debug)]
pub struct Program<'a> {
    /// The file to execute.
    pub path: &'a CStr,
    /// Its arguments, its name first.
    pub arguments: &'a [CString],
    /// Its environment, `NAME=value`.
    pub environment: &'a [CString],
    /// What it finds open from [`FIRST_GIVEN_DESCRIPTOR`] on, in this order.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// The signals that are blocked in it when it starts.
    pub blocked: SignalMask,
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: `self.0` was initialized when this value was made, and is destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: `self.0` was initialized when this value was made, and is destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

fn check(error_number: libc::c_int) -> io::Result<()> {
    if error_number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error_number)) }
}

/// Starts a program. Returns when the kernel has made the process and it executes the file.
///
/// Descriptors that are not close-on-exec in this process reach the child as well; it closes what it was not given
/// (`child::close_all_but`).
///
/// # Errors
/// What posix_spawn(3) says, among it `EAGAIN` when no more processes are allowed.
pub fn spawn(program: &Program<'_>) -> io::Result<Pid> {
    assert!(program.descriptors.len() <= MAX_GIVEN_DESCRIPTORS, "at most three descriptors are given");
    let actions = file_actions(program.descriptors)?;
    let attributes = attributes(program.blocked)?;
    let arguments = pointers(program.arguments);
    let environment = pointers(program.environment);
    let mut pid = 0;
    // SAFETY:
    // - `path` and the strings behind both arrays are NUL-terminated and outlive the call;
    // - both arrays end with a null pointer (see `pointers`);
    // - actions and attributes are initialized; `pid` is written on success only.
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    };
    check(result)?;
    Ok(Pid::from_raw(pid).expect("posix_spawn gives a positive pid on success"))
}

fn file_actions(descriptors: &[BorrowedFd<'_>]) -> io::Result<FileActions> {
    let mut actions = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for writing the structure.
    check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
    // SAFETY: init succeeded.
    let mut actions = FileActions(unsafe { actions.assume_init() });
    for (target, descriptor) in (FIRST_GIVEN_DESCRIPTOR..).zip(descriptors) {
        // SAFETY: the actions are initialized; dup2 clears close-on-exec in the child.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, descriptor.as_raw_fd(), target) })?;
    }
    Ok(actions)
}

fn attributes(blocked: SignalMask) -> io::Result<Attributes> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the pointer is valid for writing the structure.
    check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: init succeeded.
    let mut attributes = Attributes(unsafe { attributes.assume_init() });
    let set = blocked.to_set();
    // SAFETY: both structures are initialized.
    check(unsafe { libc::posix_spawnattr_setsigmask(&raw mut attributes.0, &raw const set) })?;
    // SAFETY: the structure is initialized.
    check(unsafe {
        libc::posix_spawnattr_setflags(&raw mut attributes.0, libc::POSIX_SPAWN_SETSIGMASK as libc::c_short)
    })?;
    Ok(attributes)
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}
