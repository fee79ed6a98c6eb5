//! The snapshot for a display: what is answered, and what workers have done since. When one is taken is decided by the caller.

use crate::event::Progress;
use crate::lanes::{Lanes, LiveCounts};

/// What the books of a run say of the tasks that are answered.
pub(crate) struct Answered {
    pub(crate) n_found: u64,
    pub(crate) n_done: u64,
    pub(crate) bytes_found: u64,
    pub(crate) bytes_done: u64,
    pub(crate) walk_finished: bool,
    pub(crate) is_flushing: bool,
    pub(crate) bytes_unflushed: u64,
}

impl Answered {
    /// Brings a snapshot up to date. Nothing that is shown ever falls, so `shown` is what was shown last.
    pub(crate) fn show(self, live: LiveCounts, lanes: &Lanes, n_lost_workers: u64, shown: &mut Progress) {
        shown.n_found = shown.n_found.max(self.n_found + live.n_found);
        shown.n_done = shown.n_done.max(self.n_done + live.n_done).min(shown.n_found);
        shown.bytes_found = self.bytes_found;
        shown.bytes_done = shown.bytes_done.max(self.bytes_done + live.n_bytes);
        shown.walk_finished = self.walk_finished;
        shown.is_flushing = self.is_flushing;
        shown.bytes_unflushed = self.bytes_unflushed;
        if shown.walk_finished && shown.bytes_found > 0 {
            // Files may have grown since they were listed.
            shown.bytes_found = shown.bytes_found.max(shown.bytes_done);
        }
        shown.lanes = lanes.snapshot();
        shown.n_lost_workers = n_lost_workers;
    }
}
