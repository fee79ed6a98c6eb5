//! What a freshly started child does to itself before it runs code of the user.
#![expect(unsafe_code, reason = "signal dispositions, descriptors known by number, exit handlers")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use super::spawn::FIRST_GIVEN_DESCRIPTOR;

/// Whether the program runs with more rights than who started it has (AT_SECURE), and must not trust its environment.
#[must_use]
pub fn is_privileged() -> bool {
    // SAFETY: getauxval has no preconditions.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Looks at a descriptor that is known by its number only; `None` if it is not open.
///
/// For a process that has one thread: nobody can close the descriptor meanwhile.
pub fn with_descriptor<T>(number: i32, look: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
    // SAFETY: fcntl with F_GETFD takes no pointer; a bad number is answered by EBADF.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return None;
    }
    // SAFETY: it is open, as fcntl has just shown, and the reference ends before this function does.
    Some(look(unsafe { BorrowedFd::borrow_raw(number) }))
}

/// Takes over the descriptors that this process was given at its start and closes all others above 2.
///
/// # Errors
/// What close_range(2) and fcntl(2) say; `EBADF` if one of them is not there, and then nothing was closed.
///
/// # Safety
/// Nobody else in this process may own the descriptors from [`FIRST_GIVEN_DESCRIPTOR`] on; that is so in a constructor that
/// runs before `main`, if the parent says so in a way that only the parent can.
pub unsafe fn take_given_descriptors(n_given: usize) -> io::Result<Vec<OwnedFd>> {
    let first_other = FIRST_GIVEN_DESCRIPTOR + n_given as i32;
    for number in FIRST_GIVEN_DESCRIPTOR..first_other {
        // SAFETY: fcntl with F_SETFD takes no pointer; a bad number is answered by EBADF.
        if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the caller says that nobody owns these descriptors. The raw call is used since older C libraries lack it.
    if unsafe { libc::syscall(libc::SYS_close_range, first_other, libc::c_uint::MAX, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let own = |number| {
        // SAFETY: it is open, as fcntl has just shown, and the caller says that nobody owns it.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    Ok((FIRST_GIVEN_DESCRIPTOR..first_other).map(own).collect())
}

/// Ignores SIGPIPE, as Rust programs do: writing to a closed pipe is an error and not the end.
pub fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN is a valid disposition; no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Ignores SIGINT: a terminal sends it to a whole group, and this process leaves the answer to its parent.
pub fn ignore_interrupts() {
    // SAFETY: SIG_IGN is a valid disposition; no handler is installed.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
}

/// Opens /dev/null for those of the descriptors 0 to 2 that are closed, as std does before `main`.
///
/// # Errors
/// What open(2) says.
pub fn fill_standard_descriptors() -> io::Result<()> {
    let look = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut looks = [look(0), look(1), look(2)];
    // SAFETY: the array has as many elements as the call is told, and lives through it.
    let n_closed_at_most = unsafe { libc::poll(looks.as_mut_ptr(), 3, 0) };
    if n_closed_at_most >= 0 && looks.iter().all(|look| look.revents & libc::POLLNVAL == 0) {
        return Ok(());
    }
    loop {
        let descriptor = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
        let number = std::os::fd::IntoRawFd::into_raw_fd(descriptor);
        if number > 2 {
            // SAFETY: it was opened just now by us and is owned by nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
            return Ok(());
        }
    }
}

/// Has a function called when the program ends by `exit` or by returning from `main`.
pub fn call_at_exit(function: extern "C" fn()) {
    // SAFETY: the function is valid for as long as the program.
    unsafe { libc::atexit(function) };
}

/// Has a function called with the exit code when the program ends by `exit` or by returning from `main`, after all functions
/// that are registered later. Where the C library cannot tell the code (musl), it is not called.
pub fn call_at_exit_with_code(function: extern "C" fn(libc::c_int)) {
    #[cfg(target_env = "gnu")]
    {
        use libc::{c_int, c_void};
        unsafe extern "C" {
            fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }
        extern "C" fn call(code: c_int, function: *mut c_void) {
            // SAFETY: it is the function that was registered below, which has this type.
            let function: extern "C" fn(c_int) = unsafe { std::mem::transmute(function) };
            function(code);
        }
        // SAFETY: both functions are valid for as long as the program.
        unsafe { on_exit(call, function as *mut c_void) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = function;
}
