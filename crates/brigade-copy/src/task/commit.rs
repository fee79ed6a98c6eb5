//! Files that are copied and not yet whole: what their workers say of them, and what is to be done to make them whole once
//! their bytes are on disk. When that is due is decided in scheduler/commits.rs.

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};

use super::{FolderRef, Identity};
use crate::names::{Kind, Names};

/// Files of one folder that are copied and not yet whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Uncommitted {
    pub(crate) folder: FolderRef,
    pub(crate) device: u64,
    pub(crate) medium: Medium,
    pub(crate) batch: Batch,
}

/// Where the bytes of a file system are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Medium {
    /// In memory, and nowhere else.
    Memory,
    /// On a disk that `syncfs` writes to.
    Disk,
    /// With somebody else, whom only `fsync` asks to keep them: a process, another host.
    Elsewhere,
}

/// Files of one folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// As the source has them.
    pub(crate) names: Names,
    /// One for each name.
    pub(crate) files: Vec<PendingFile>,
}

impl Batch {
    pub(crate) fn n_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.n_bytes).sum()
    }

    /// In parts of so many files at most.
    pub(crate) fn cut(mut self, n_files: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        while !self.files.is_empty() {
            let names = self.names.split_off(n_files);
            let files = self.files.split_off(n_files.min(self.files.len()));
            parts.push(std::mem::replace(&mut self, Self { names, files }));
        }
        parts
    }

    /// Its files by what has become of them.
    pub(crate) fn sorted(self, amiss: &Amiss) -> Sorted {
        let mut sorted = Sorted::default();
        for (idx, ((kind, name), file)) in (0..).zip(self.names.iter().zip(&self.files)) {
            let side = match (amiss.failed.contains(&idx), amiss.displaced.contains(&idx)) {
                (true, _) => &mut sorted.failed,
                (false, true) => &mut sorted.displaced,
                (false, false) => &mut sorted.kept,
            };
            side.names.push(kind, name);
            side.files.push(*file);
        }
        sorted
    }
}

/// Which files of a batch are not as they were left, by their places in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Amiss {
    /// These failed, and each was reported.
    pub(crate) failed: Vec<u32>,
    /// Somebody else has put something in the places of these, or has removed them.
    pub(crate) displaced: Vec<u32>,
}

impl Amiss {
    pub(crate) fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.displaced.is_empty()
    }

    pub(crate) fn contains(&self, idx: u32) -> bool {
        self.failed.contains(&idx) || self.displaced.contains(&idx)
    }
}

/// The files of a batch, by what has become of them.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) kept: Batch,
    pub(crate) failed: Batch,
    pub(crate) displaced: Batch,
}

/// What is still to be done about a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PendingFile {
    /// By which it is known again.
    pub(crate) inode: u64,
    pub(crate) mode: Option<u32>,
    pub(crate) times: FileTimes,
    pub(crate) n_bytes: u64,
    pub(crate) step: Step,
    /// Of the source, if other names wait for this one.
    pub(crate) shared: Option<Identity>,
    /// It counts as failed, though it is there.
    pub(crate) is_failed: bool,
    /// BLAKE3 of it, if a manifest wants that: it has no line there before it is whole.
    pub(crate) hash: Option<[u8; 32]>,
}

/// How a file gets its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// It has it.
    Stay,
    /// It has a temporary one, and nothing is in its place.
    Appear,
    /// It has a temporary one, and takes the place of this.
    Replace(Prior),
}

/// What gives way to an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Prior {
    /// What was there before this run.
    Before(Kind),
    /// What a worker of this run left when it died; nobody misses it.
    Ours,
    /// What has the looks of something that a run did not finish. That run may be under way, and finish it.
    Unfinished,
    /// Nothing: it went away after it was looked at.
    Nothing,
}

/// Seconds and nanoseconds of the last access and the last modification.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileTimes {
    pub(crate) access: (i64, i64),
    pub(crate) modification: (i64, i64),
}

impl FileTimes {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            access: (stat.st_atime, stat.st_atime_nsec as i64),
            modification: (stat.st_mtime, stat.st_mtime_nsec as i64),
        }
    }
}

/// What is flushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Scope {
    /// The whole file system, which has this number.
    FileSystem { device: u64 },
    /// These files, and the folder.
    Files(Batch),
}
