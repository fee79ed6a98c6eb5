//! Whether a process that shows nothing is alive all the same, as the kernel counts it. What follows from that is decided by others.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::procfs;

/// The pulse of a process: for how long it has been waiting in the kernel for one and the same thing.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    wakings: Option<u64>,
    pub(crate) silent_for: Duration,
}

impl Pulse {
    /// Feels it again after some time.
    pub(crate) fn feel(&mut self, pid: u32, passed: Duration) {
        let wakings = wakings(pid);
        let has_moved = self.wakings.is_some() && wakings != self.wakings;
        self.silent_for = if has_moved { Duration::ZERO } else { self.silent_for + passed };
        self.wakings = wakings;
    }
}

/// How often the kernel has let a process run; never the same number while it runs or is stopped. `None` where the kernel does
/// not tell.
fn wakings(pid: u32) -> Option<u64> {
    // Nothing in this file waits for a lock of the process or for a file system.
    let status = String::from_utf8(procfs::of_process(pid, c"status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if !field("State:")?.starts_with(['S', 'D', 'I']) {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        return Some(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    let waited: u64 = field("voluntary_ctxt_switches:")?.parse().ok()?;
    let preempted: u64 = field("nonvoluntary_ctxt_switches:")?.parse().ok()?;
    Some(waited + preempted)
}
