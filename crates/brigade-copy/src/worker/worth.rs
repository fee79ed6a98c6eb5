//! Whether what is left of a task, or a file, is better given to a worker that has nothing to do. How it is given back is said where the task is done.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::AtFlags;

use super::Worker;
use crate::calls::statat;
use crate::names::Kind;

/// Fewer names than this are not worth giving back.
pub(super) const LEAST_TO_SHARE: usize = 32;

/// A file of so many bytes takes longer than it takes to give it away.
const LARGE_BYTES: u64 = 4 << 20;

impl Worker {
    /// Whether it is better not to begin with a large file while others have nothing to do, and to give it back with what else is left.
    /// So each of them gets one.
    pub(super) fn is_for_another(&mut self, kind: Kind, name: &CStr) -> bool {
        let is_asked = kind == Kind::File && self.n_left_in_all() > 1 && self.lane.is_work_wanted();
        if !is_asked || self.refuse_stuck(name).is_err() {
            return false;
        }
        let Ok(pair) = self.chain_current() else { return false };
        self.lane.entry(&self.path, name.to_bytes());
        self.is_task_over = is_large(&pair.source, name) && self.lane.take_wish();
        self.answer.has_large |= self.is_task_over;
        self.is_task_over
    }
}

pub(super) fn is_large(folder: &OwnedFd, name: &CStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| found.st_size as u64 >= LARGE_BYTES)
}
