//! When a worker is to be replaced by a fresh one although nothing is wrong with it. The worker finds out by itself, after
//! each task; the parent learns of it from a word in the lane and from the worker's end.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// How long workers are used.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recycling {
    pub(super) max_tasks: Option<NonZeroU64>,
    pub(super) max_resident_bytes: Option<NonZeroU64>,
}

/// What a worker knows of its own wear.
pub(super) struct Wear {
    limits: Recycling,
    n_done: u64,
    /// Kept open: reading it again costs less than a microsecond.
    statm: Option<File>,
}

impl Wear {
    pub(super) fn new(limits: Recycling) -> Self {
        let statm = limits.max_resident_bytes.and_then(|_| File::open("/proc/self/statm").ok());
        Self { limits, n_done: 0, statm }
    }

    /// Counts a task; whether it was the last one for this worker.
    pub(super) fn is_over_after_task(&mut self) -> bool {
        self.n_done += 1;
        self.limits.max_tasks.is_some_and(|max_tasks| self.n_done >= max_tasks.get())
            || self.limits.max_resident_bytes.is_some_and(|max_bytes| self.resident_bytes() > max_bytes.get())
    }

    fn resident_bytes(&self) -> u64 {
        let mut text = [0; 128];
        let n_bytes = self.statm.as_ref().map_or(0, |statm| statm.read_at(&mut text, 0).unwrap_or(0));
        n_pages_in(&text[..n_bytes]).unwrap_or(0) * rustix::param::page_size() as u64
    }
}

/// The second number is that of resident pages.
fn n_pages_in(statm: &[u8]) -> Option<u64> {
    std::str::from_utf8(statm).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_over_after_its_last_task() {
        let mut wear = Wear::new(Recycling { max_tasks: NonZeroU64::new(2), ..Recycling::default() });
        assert!(!wear.is_over_after_task());
        assert!(wear.is_over_after_task());
    }

    #[test]
    fn resident_memory_is_seen() {
        let limits = |max_bytes| Recycling { max_resident_bytes: NonZeroU64::new(max_bytes), ..Recycling::default() };
        assert!(Wear::new(limits(1)).is_over_after_task());
        assert!(!Wear::new(limits(u64::MAX)).is_over_after_task());
        assert_eq!(n_pages_in(b"5000 321 200 1 0 90 0\n"), Some(321));
        assert_eq!(n_pages_in(b""), None);
    }
}
