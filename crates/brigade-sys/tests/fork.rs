//! A process made by `fork()` knows that it is one, however it was made.
#![expect(unsafe_code, reason = "fork, by the C library and by a bare system call")]

use brigade_sys::kernel::fork::{is_forked, remember_this_process};

/// The exit code of a process that `fork` makes, whose only work is to ask.
fn ask_in_a_process_made_by(fork: fn() -> libc::pid_t) -> i32 {
    let pid = fork();
    if pid == 0 {
        // SAFETY: _exit runs nothing of this program.
        unsafe { libc::_exit(i32::from(is_forked())) }
    }
    let mut status = 0;
    // SAFETY: the pointer is valid for writing the status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WEXITSTATUS(status)
}

#[test]
fn a_fork_is_told_from_the_process_that_remembered_itself() {
    assert!(!is_forked());
    remember_this_process().unwrap();
    remember_this_process().unwrap();
    assert!(!is_forked());
    // SAFETY: the new process only loads two words and ends.
    assert_eq!(ask_in_a_process_made_by(|| unsafe { libc::fork() }), 1);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    assert_eq!(ask_in_a_process_made_by(|| unsafe { libc::syscall(libc::SYS_fork) as libc::pid_t }), 1);
    assert!(!is_forked());
}
