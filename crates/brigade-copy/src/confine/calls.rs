//! System calls, with seccomp: those that copying and comparing make are allowed, everything else is answered as not permitted. A call
//! that takes a path is allowed only where a path is what copying needs; where the path lies is for the other walls.

use std::collections::BTreeMap;

use libc::{c_int, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::{Lack, Purpose, Wall};

/// Calls that say something about a file or read it, whatever their arguments.
const READING: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_fadvise64,
    libc::SYS_fchdir,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
    libc::SYS_syncfs,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
];

/// Calls that change a file that is open, or make, rename and remove names.
const WRITING: &[c_long] = &[
    libc::SYS_copy_file_range,
    libc::SYS_sync_file_range,
    libc::SYS_fchown,
    libc::SYS_fchmod,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    // FIFOs and devices cannot be opened for it.
    libc::SYS_lsetxattr,
    libc::SYS_lremovexattr,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
];

/// What a process needs to live: memory, time, waiting, its end, and its line to the parent.
const LIVING: &[c_long] = &[
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_memfd_create,
    libc::SYS_pwrite64,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_clock_getres,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcwd,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_ppoll,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// `FICLONE` and `FICLONERANGE` of ioctl_ficlonerange(2), by which files share their contents.
const SHARING: [u64; 2] = [0x4004_9409, 0x4020_940d];

/// What fcntl(2) may be asked for. Not among it: signals to others, leases and notices.
const DESCRIPTOR_COMMANDS: [c_int; 11] = [
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

/// Allows the calling thread, and all that it starts, no other calls any more.
pub(super) fn restrict(purpose: Purpose) -> Result<(), Lack> {
    let program = program(purpose).map_err(|error| Wall::SystemCalls.lacking(std::io::Error::other(error)))?;
    seccompiler::apply_filter(&program).map_err(|error| {
        Wall::SystemCalls.lacking(match error {
            seccompiler::Error::Prctl(cause) | seccompiler::Error::Seccomp(cause) => cause,
            other => std::io::Error::other(other),
        })
    })
}

fn program(purpose: Purpose) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(READING.iter().chain(LIVING).map(|&call| (call, Vec::new())));
    rules.insert(libc::SYS_fcntl, any_of(1, DESCRIPTOR_COMMANDS.map(|command| command as u64))?);
    // To end of an abort, and no signal to anybody else.
    rules.insert(libc::SYS_tgkill, any_of(0, [u64::from(std::process::id())])?);
    // The limits of this process, to be read.
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![is(0, 0)?, is(2, 0)?])?]);
    if purpose != Purpose::Comparing {
        rules.extend(WRITING.iter().map(|&call| (call, Vec::new())));
        rules.insert(libc::SYS_ioctl, any_of(1, SHARING)?);
        rules.insert(libc::SYS_fchownat, with_flag(4)?);
        rules.insert(libc::SYS_fchmodat2, with_flag(3)?);
        // By descriptor: there is no path.
        let mut times = vec![SeccompRule::new(vec![is(1, 0)?])?];
        times.extend(with_flag(3)?);
        rules.insert(libc::SYS_utimensat, times);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow, arch)?.try_into()
}

/// If the argument with this number has this value.
fn is(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

/// If the argument with this number has one of these values.
fn any_of<const N: usize>(argument: u8, values: [u64; N]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let equal = |value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    };
    values.into_iter().map(equal).collect()
}

/// If the argument with this number says that a link is not followed, or that the descriptor itself is meant.
fn with_flag(argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let set = |flag: c_int| {
        let flag = flag as u64;
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag)?;
        SeccompRule::new(vec![condition])
    };
    [libc::AT_SYMLINK_NOFOLLOW, libc::AT_EMPTY_PATH].into_iter().map(set).collect()
}
