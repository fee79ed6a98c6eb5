//! How a process has ended, also where somebody else has collected its status.
#![expect(unsafe_code, reason = "an ioctl that rustix lacks")]

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

/// How a process has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Signaled {
        /// The signal.
        signal: i32,
        /// Whether a core file was written.
        core_dumped: bool,
    },
}

/// Collects the status of a child that has ended, so that no zombie is left of it.
///
/// The host program may have been faster (`waitpid(-1)`), or may let the kernel do it (SIGCHLD ignored). Then the kernel still
/// tells whoever holds the pidfd, from 6.15 on. `None` if nobody can tell.
pub fn collect(pidfd: impl AsFd) -> Option<Ending> {
    let pidfd = pidfd.as_fd();
    let waited =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)).ok()??;
    match (waited.exit_status(), waited.terminating_signal()) {
        (Some(code), _) => Some(Ending::Exited(code)),
        (None, Some(signal)) => Some(Ending::Signaled { signal, core_dumped: waited.dumped() }),
        (None, None) => None,
    }
}

/// What the kernel remembers of the end of a process whose status was collected by somebody else.
///
/// Linux 6.15 and later do, for as long as somebody holds the pidfd. The status may be set a moment after the process is gone;
/// this waits for it a tenth of a second at most.
pub fn remembered(pidfd: impl AsFd) -> Option<Ending> {
    let deadline = Instant::now() + Duration::from_millis(100);
    loop {
        match ask(&pidfd) {
            Answer::Status(status) => return Some(from_wait_status(status)),
            Answer::NotYet if Instant::now() < deadline => std::thread::yield_now(),
            _ => return None,
        }
    }
}

enum Answer {
    Status(i32),
    NotYet,
    /// This kernel does not know the question.
    Unknown,
}

/// `struct pidfd_info` in its first version.
#[repr(C)]
#[derive(Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    /// pid, tgid, ppid, then eight user and group numbers.
    numbers: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

fn ask(pidfd: impl AsFd) -> Answer {
    /// `_IOWR(0xFF, 11, struct pidfd_info)`
    const PIDFD_GET_INFO: u64 = 3 << 30 | 64 << 16 | 0xff << 8 | 11;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY:
    // - the descriptor is open for as long as it is borrowed;
    // - the number of the request holds the size of the structure, beyond which the kernel does not write.
    let result = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if result == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
        return Answer::Status(info.exit_code);
    }
    let error = std::io::Error::last_os_error().raw_os_error();
    // Before its status is set, a process that is gone is `ESRCH` to a kernel that knows the question.
    if result == 0 || error == Some(Errno::SRCH.raw_os_error()) { Answer::NotYet } else { Answer::Unknown }
}

fn from_wait_status(status: i32) -> Ending {
    match status & 0x7f {
        0 => Ending::Exited((status >> 8) & 0xff),
        signal => Ending::Signaled { signal, core_dumped: status & 0x80 != 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_codes_signals_and_cores_apart() {
        assert_eq!(from_wait_status(7 << 8), Ending::Exited(7));
        assert_eq!(from_wait_status(9), Ending::Signaled { signal: 9, core_dumped: false });
        assert_eq!(from_wait_status(0x80 | 11), Ending::Signaled { signal: 11, core_dumped: true });
    }
}
