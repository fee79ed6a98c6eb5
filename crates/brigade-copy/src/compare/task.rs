//! What the parent and its workers say to each other when they compare: plain data, as in a copy. What is done with it is in
//! driver.rs and worker/examiner.rs.

use std::ffi::CStr;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::Aspect;
use crate::error::Action;
use crate::names::{Bytes, Kind, Names};
use crate::stuck::Stuck;
use crate::task::{Cause, Identity};

/// A piece of work for one worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CompareTask {
    /// Ties the live counts of a worker to this task. Never used twice.
    pub(crate) id: u64,
    /// Entries to compare before the worker answers; 0 makes it a walk that only lists.
    pub(crate) n_entries: u32,
    pub(crate) items: Vec<CompareItem>,
    /// Places that are not to be touched. Their root is the [`Side`] that does not answer.
    pub(crate) stuck: Vec<Stuck>,
}

/// Work in one folder, which is named by its path below the two trees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CompareItem {
    pub(crate) folder: Bytes,
    /// Entries that are no folders.
    pub(crate) files: Names,
    /// Folders, to be compared with all that is below them.
    pub(crate) folders: Names,
    /// The folder itself is to be compared, too, and then what is in it.
    pub(crate) is_whole: bool,
    /// Some of the files are large: they are handed out one by one.
    pub(crate) has_large: bool,
}

impl CompareItem {
    /// Nothing yet, in this folder.
    pub(crate) fn none_in(folder: Bytes) -> Self {
        Self { folder, files: Names::default(), folders: Names::default(), is_whole: false, has_large: false }
    }

    /// The two trees themselves.
    pub(crate) fn whole() -> Self {
        Self { is_whole: true, ..Self::none_in(Bytes::default()) }
    }

    /// One entry in the folders that are held.
    pub(crate) fn entry(kind: Kind, name: &CStr) -> Self {
        Self { files: Names::one(kind, name), ..Self::none_in(Bytes::default()) }
    }

    /// How many entries it names.
    pub(crate) fn n_units(&self) -> usize {
        self.files.len() + self.folders.len() + usize::from(self.is_whole)
    }
}

/// What a worker found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CompareAnswer {
    /// What was found or given and not begun.
    pub(crate) leftovers: Vec<CompareItem>,
    pub(crate) differences: Vec<(Bytes, Aspects)>,
    pub(crate) failures: Vec<UnreadEntry>,
    pub(crate) links: Vec<LinkSeen>,
    pub(crate) counts: CompareCounts,
}

/// Which of the two trees.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    /// The root in whose place it stands in a lane.
    pub(crate) fn root(self) -> u32 {
        self as u32
    }

    pub(crate) fn of_root(root: u32) -> Self {
        if root == Self::Source.root() { Self::Source } else { Self::Destination }
    }
}

/// An entry that could not be compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UnreadEntry {
    pub(crate) path: Bytes,
    pub(crate) side: Side,
    pub(crate) action: Action,
    pub(crate) cause: Cause,
}

/// A file that has several names in at least one of the trees: which file it is in each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkSeen {
    pub(crate) path: Bytes,
    pub(crate) source: Identity,
    pub(crate) destination: Identity,
    /// It has been counted as different for another reason.
    pub(crate) is_different: bool,
}

/// The books.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CompareCounts {
    pub(crate) n_found: u64,
    /// Bytes in regular files that were found, if sizes were asked for.
    pub(crate) bytes_found: u64,
    pub(crate) n_same: u64,
    pub(crate) n_different: u64,
    pub(crate) n_failed: u64,
    /// Bytes in regular files that are dealt with, read or not.
    pub(crate) bytes_done: u64,
    pub(crate) bytes_compared: u64,
}

impl CompareCounts {
    pub(crate) fn n_done(&self) -> u64 {
        self.n_same + self.n_different + self.n_failed
    }
}

impl AddAssign for CompareCounts {
    fn add_assign(&mut self, other: Self) {
        self.n_found += other.n_found;
        self.bytes_found += other.bytes_found;
        self.n_same += other.n_same;
        self.n_different += other.n_different;
        self.n_failed += other.n_failed;
        self.bytes_done += other.bytes_done;
        self.bytes_compared += other.bytes_compared;
    }
}

/// A set of aspects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aspects(u16);

/// All aspects, in the order in which they are told.
const ALL: [Aspect; 13] = [
    Aspect::OnlyAtSource,
    Aspect::OnlyAtDestination,
    Aspect::Type,
    Aspect::Contents,
    Aspect::Target,
    Aspect::Device,
    Aspect::Mode,
    Aspect::Owner,
    Aspect::Time,
    Aspect::Attributes,
    Aspect::Acls,
    Aspect::Capabilities,
    Aspect::HardLinks,
];

impl Aspects {
    pub(crate) fn of(aspect: Aspect) -> Self {
        let mut aspects = Self::default();
        aspects.note(aspect, true);
        aspects
    }

    /// Adds an aspect if the entries differ in it.
    pub(crate) fn note(&mut self, aspect: Aspect, differs: bool) {
        self.0 |= u16::from(differs) << aspect as u16;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn list(self) -> Vec<Aspect> {
        ALL.into_iter().filter(|&aspect| self.0 & (1 << aspect as u16) != 0).collect()
    }
}
