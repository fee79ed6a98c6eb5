//! The system calls by name, with the argument that says which file each is about. Nothing is done with them here.

use std::path::PathBuf;

use nix::libc;

use super::Asked;

/// A system call.
#[derive(Debug)]
pub struct Syscall {
    /// What it is called.
    pub name: &'static str,
    /// Its number on this machine.
    pub number: u32,
    about: About,
}

/// Which arguments name the file.
#[derive(Clone, Copy, Debug)]
enum About {
    NoFile,
    /// A descriptor.
    Open(usize),
    /// The descriptor of a folder and a name in it; without a name the descriptor itself.
    In(usize, usize),
    /// A path, from the current folder on.
    Named(usize),
}

impl Syscall {
    pub(super) fn subject(&self, asked: &Asked) -> Option<PathBuf> {
        match self.about {
            NoFile => None,
            Open(descriptor) => asked.descriptor(descriptor),
            Named(path) => Some(asked.current_folder()?.join(asked.text(path)?)),
            In(_, name) if asked.call.arguments[name] == 0 => asked.descriptor(name - 1),
            In(folder, name) => Some(asked.descriptor(folder)?.join(asked.text(name)?)),
        }
    }
}

/// No call has a number as high as this, whatever machine.
pub(super) const AFTER_ALL: u32 = 512;

/// The call of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Syscall> {
    ALL.iter().find(|call| call.name == name)
}

/// The call with this number.
#[must_use]
pub fn numbered(number: u32) -> Option<&'static Syscall> {
    ALL.iter().find(|call| call.number == number)
}

macro_rules! calls {
    ($($about:expr => $($name:ident $constant:ident),+;)+) => {
        /// All that may be chosen. How a process ends is not among them, and nothing can be said in place of the kernel to
        /// calls that return from a signal.
        pub static ALL: &[Syscall] = &[
            $($(Syscall { name: stringify!($name), number: libc::$constant as u32, about: $about },)+)+
        ];
    };
}

use About::{In, Named, NoFile, Open};

calls! {
    Open(0) => read SYS_read, write SYS_write, pread64 SYS_pread64, pwrite64 SYS_pwrite64, readv SYS_readv, writev SYS_writev,
        copy_file_range SYS_copy_file_range, ioctl SYS_ioctl, close SYS_close, fstat SYS_fstat, fchmod SYS_fchmod,
        fchown SYS_fchown, ftruncate SYS_ftruncate, lseek SYS_lseek, getdents64 SYS_getdents64, flistxattr SYS_flistxattr,
        fgetxattr SYS_fgetxattr, fsetxattr SYS_fsetxattr, fremovexattr SYS_fremovexattr, fsync SYS_fsync,
        fdatasync SYS_fdatasync, syncfs SYS_syncfs, sync_file_range SYS_sync_file_range, fadvise64 SYS_fadvise64,
        fallocate SYS_fallocate, fstatfs SYS_fstatfs, fcntl SYS_fcntl, dup SYS_dup, dup3 SYS_dup3, fchdir SYS_fchdir,
        flock SYS_flock, sendfile SYS_sendfile;
    In(0, 1) => openat SYS_openat, openat2 SYS_openat2, newfstatat SYS_newfstatat, statx SYS_statx, mkdirat SYS_mkdirat,
        unlinkat SYS_unlinkat, mknodat SYS_mknodat, utimensat SYS_utimensat, fchownat SYS_fchownat, fchmodat SYS_fchmodat,
        fchmodat2 SYS_fchmodat2,
        readlinkat SYS_readlinkat, faccessat SYS_faccessat, faccessat2 SYS_faccessat2,
        name_to_handle_at SYS_name_to_handle_at;
    // What is made counts, not what it is made of.
    In(1, 2) => symlinkat SYS_symlinkat;
    In(2, 3) => linkat SYS_linkat, renameat SYS_renameat, renameat2 SYS_renameat2;
    Named(0) => llistxattr SYS_llistxattr, lgetxattr SYS_lgetxattr, lsetxattr SYS_lsetxattr, lremovexattr SYS_lremovexattr,
        listxattr SYS_listxattr, getxattr SYS_getxattr, setxattr SYS_setxattr, removexattr SYS_removexattr,
        statfs SYS_statfs, execve SYS_execve, chdir SYS_chdir, chroot SYS_chroot, umount2 SYS_umount2;
    NoFile => mmap SYS_mmap, munmap SYS_munmap, mprotect SYS_mprotect, madvise SYS_madvise, mremap SYS_mremap, brk SYS_brk,
        futex SYS_futex, memfd_create SYS_memfd_create, clone SYS_clone, clone3 SYS_clone3, wait4 SYS_wait4,
        waitid SYS_waitid, pidfd_open SYS_pidfd_open, pidfd_send_signal SYS_pidfd_send_signal,
        pidfd_getfd SYS_pidfd_getfd, epoll_create1 SYS_epoll_create1, epoll_ctl SYS_epoll_ctl,
        epoll_pwait SYS_epoll_pwait, ppoll SYS_ppoll, eventfd2 SYS_eventfd2, timerfd_create SYS_timerfd_create,
        timerfd_settime SYS_timerfd_settime, socket SYS_socket, socketpair SYS_socketpair, sendmsg SYS_sendmsg,
        recvmsg SYS_recvmsg, sendto SYS_sendto, recvfrom SYS_recvfrom, prctl SYS_prctl, prlimit64 SYS_prlimit64,
        getrandom SYS_getrandom, sched_getaffinity SYS_sched_getaffinity, sched_setaffinity SYS_sched_setaffinity,
        kill SYS_kill, tgkill SYS_tgkill, setpriority SYS_setpriority, getpriority SYS_getpriority, pipe2 SYS_pipe2,
        clock_nanosleep SYS_clock_nanosleep, rt_sigaction SYS_rt_sigaction, rt_sigprocmask SYS_rt_sigprocmask,
        rt_sigtimedwait SYS_rt_sigtimedwait, signalfd4 SYS_signalfd4, sigaltstack SYS_sigaltstack,
        set_robust_list SYS_set_robust_list, rseq SYS_rseq, unshare SYS_unshare, setns SYS_setns, mount SYS_mount,
        seccomp SYS_seccomp, capget SYS_capget, capset SYS_capset, getgroups SYS_getgroups, setsid SYS_setsid,
        setpgid SYS_setpgid, uname SYS_uname, sysinfo SYS_sysinfo, umask SYS_umask, kcmp SYS_kcmp,
        process_vm_readv SYS_process_vm_readv, getrusage SYS_getrusage;
}

#[cfg(target_arch = "x86_64")]
pub use x86_64::FIRST_AFTER_5_10;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    /// `epoll_pwait2`, the first call that came after Linux 5.10. All numbers above it are later still: `mount_setattr` 5.12,
    /// `quotactl_fd` and `memfd_secret` 5.14, `landlock_*` 5.13, `process_mrelease` 5.15, `futex_waitv` 5.16, `cachestat` 6.5,
    /// `fchmodat2` 6.6, `futex_wake` 6.7, `statmount` 6.8, `mseal` 6.10, `setxattrat` 6.13, `file_getattr` 6.17.
    pub const FIRST_AFTER_5_10: u32 = 441;
}
