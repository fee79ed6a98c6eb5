//! Whether what is left of a task is worth giving to a worker that has nothing to do. How it is given back is said where the task
//! is done.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use rustix::fs::AtFlags;

use super::Worker;
use crate::calls::statat;
use crate::names::Kind;

/// So many names are worth it, however little time they take.
const MANY_NAMES: usize = 32;

/// Fewer are if they take so long.
const LONG: Duration = Duration::from_millis(10);

/// A file of so many bytes takes long.
const LARGE_BYTES: u64 = 4 << 20;

/// Whether `n_left` names are worth sharing, to judge by those that were begun since the task began.
pub(super) fn is_worth_sharing(n_left: usize, n_begun: u64, task_began: Instant) -> bool {
    n_left >= MANY_NAMES || (n_left > 1 && n_begun > 0 && lasts_long(task_began.elapsed(), n_left, n_begun))
}

fn lasts_long(passed: Duration, n_left: usize, n_begun: u64) -> bool {
    passed.as_nanos() * n_left as u128 >= LONG.as_nanos() * u128::from(n_begun)
}

impl Worker {
    /// Whether it is better not to begin with a large file while others have nothing to do, and to give it back with what else is left.
    /// So each of them gets one.
    pub(super) fn is_for_another(&mut self, kind: Kind, name: &CStr) -> bool {
        if kind != Kind::File
            || self.n_left_in_all() < 2
            || !self.lane.is_work_wanted()
            || self.refuse_stuck(name).is_err()
        {
            return false;
        }
        let Ok(pair) = self.chain_current() else { return false };
        self.lane.entry(&self.path, name.to_bytes());
        let found = statat(&pair.source, name, AtFlags::SYMLINK_NOFOLLOW);
        self.is_task_over = found.is_ok_and(|found| found.st_size as u64 >= LARGE_BYTES) && self.lane.take_wish();
        self.is_task_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_worth_sharing_and_few_if_they_take_long() {
        let now = Instant::now();
        assert!(is_worth_sharing(32, 0, now));
        assert!(!is_worth_sharing(31, 0, now) && !is_worth_sharing(31, 1000, now));
        // Half a millisecond each, and five.
        let begun = |milliseconds| now - Duration::from_millis(milliseconds);
        assert!(!is_worth_sharing(2, 10, begun(5)));
        assert!(is_worth_sharing(2, 10, begun(50)) && !is_worth_sharing(1, 10, begun(5000)));
    }
}
