//! What the thread that spawns passes on of itself: another thread, the supervisor's, makes the process.

use brigade_sys::kernel::rights::Rights;
use brigade_sys::kernel::signals::SignalMask;
use rustix::thread::CpuSet;

/// What the spawning thread passes on of itself.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(super) blocked: SignalMask,
    pub(super) processors: CpuSet,
    pub(super) nice: i32,
    rights: Rights,
}

impl Caller {
    /// The calling thread.
    pub(crate) fn capture() -> Self {
        Self {
            blocked: SignalMask::current(),
            // Not more than 1 024 processors can be asked for with this set; without an answer all are allowed, as they
            // are for the supervisor.
            processors: rustix::thread::sched_getaffinity(None).unwrap_or_default(),
            nice: rustix::process::getpriority_process(None).unwrap_or(0),
            rights: Rights::current(),
        }
    }

    /// Whether a process made by the calling thread could do what this caller must not.
    pub(super) fn is_confined(&self) -> bool {
        self.rights.are_narrower_than(&Rights::current())
    }
}
