//! This process: who it is, and who started it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

/// What a child is told about itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) parent_pid: u32,
    pub(crate) parent_name: String,
    /// Opened when somebody asks; `None` inside if the parent had ended by then.
    pub(crate) parent_pidfd: OnceLock<Option<OwnedFd>>,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();

pub(crate) fn set_identity(identity: Identity) {
    let set = IDENTITY.set(identity);
    assert!(set.is_ok(), "a child is told who it is once, before any other code runs");
}

/// This process.
#[must_use]
pub const fn current() -> Current {
    Current(())
}

/// This process. Made by [`current`].
#[derive(Clone, Copy, Debug)]
pub struct Current(());

impl Current {
    /// The number of this process.
    #[must_use]
    pub fn pid(self) -> u32 {
        std::process::id()
    }

    /// The number of the process that started this one.
    #[must_use]
    pub fn parent_pid(self) -> u32 {
        rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32)
    }

    /// The name given to this process by who spawned it; the program's name in the first process.
    #[must_use]
    pub fn name(self) -> String {
        IDENTITY.get().map_or_else(program_name, |identity| identity.name.clone())
    }

    /// The arguments of the program. A spawned process has those of its parent.
    pub fn args(self) -> impl Iterator<Item = OsString> {
        std::env::args_os()
    }
}

fn program_name() -> String {
    let argument = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&argument).file_name().unwrap_or(&argument);
    // A name for people; the bytes themselves are in `args`.
    String::from_utf8_lossy(name.as_encoded_bytes()).into_owned()
}

/// The process that spawned this one; `None` in a process that was not started by brigade.
#[must_use]
pub fn parent() -> Option<Parent> {
    IDENTITY.get().map(|identity| Parent { identity })
}

/// The process that spawned this one. Made by [`parent`].
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    identity: &'static Identity,
}

impl Parent {
    /// Its number.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.identity.parent_pid
    }

    /// Its name.
    #[must_use]
    #[expect(clippy::misnamed_getters, reason = "the identity's own name is that of this process")]
    pub fn name(self) -> &'static str {
        &self.identity.parent_name
    }

    /// Whether it is still alive.
    #[must_use]
    pub fn is_alive(self) -> bool {
        !self.has_ended_within(Some(Duration::ZERO))
    }

    /// Waits until it has ended. Only a detached process can see that.
    pub fn wait(self) {
        while !self.has_ended_within(None) {}
    }

    fn has_ended_within(self, timeout: Option<Duration>) -> bool {
        let Some(pidfd) = self.identity.parent_pidfd.get_or_init(|| open_parent(self.pid())) else {
            return true;
        };
        let timeout = timeout.map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: 0 });
        let mut descriptors = [PollFd::new(pidfd, PollFlags::IN)];
        rustix::event::poll(&mut descriptors, timeout.as_ref()).is_ok_and(|n_ready| n_ready > 0)
    }
}

/// A descriptor that becomes readable when the parent ends; `None` if it has ended.
fn open_parent(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid.try_into().ok()?)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // While it is our parent the number is its own; afterwards it may mean another process.
    (rustix::process::getppid() == Some(pid)).then_some(pidfd)
}

/// How many processors this process may use: those of its affinity mask, or fewer where a quota of its control group is
/// smaller (rounded down, but at least one).
#[must_use]
pub fn available_cpus() -> usize {
    // std looks at both; it fails only where neither can be read, and one processor is always there.
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
