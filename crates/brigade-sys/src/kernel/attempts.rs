//! System calls that nobody in this project makes, for tests of what becomes of them.
#![expect(unsafe_code, reason = "calls by number")]

use std::io;

/// Calls that with arguments of zero change no memory of the caller, and mean nothing that would succeed.
pub const ATTEMPTS: [(&str, libc::c_long); 29] = [
    ("ptrace", libc::SYS_ptrace),
    ("bpf", libc::SYS_bpf),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("name_to_handle_at", libc::SYS_name_to_handle_at),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("kexec_load", libc::SYS_kexec_load),
    ("quotactl", libc::SYS_quotactl),
    ("acct", libc::SYS_acct),
    ("swapon", libc::SYS_swapon),
    ("pivot_root", libc::SYS_pivot_root),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("fspick", libc::SYS_fspick),
    ("setns", libc::SYS_setns),
    ("truncate", libc::SYS_truncate),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
];

/// Makes one of the [`ATTEMPTS`] with arguments of zero.
///
/// # Errors
/// What the kernel says.
pub fn attempt(idx: usize) -> io::Result<()> {
    // SAFETY: with null pointers and lengths of zero none of the calls in the list reads or writes memory of this process, ends it
    // or replaces it; that is what the list is for.
    let result = unsafe { libc::syscall(ATTEMPTS[idx].1, 0, 0, 0, 0, 0, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
