//! What becomes of what is at the destination already, as the caller wants it. It is carried out in worker/existing.rs.

use serde::{Deserialize, Serialize};

/// What becomes of what is at the destination already. Folders are merged, whatever is said here.
///
/// The default is the copy's own rule: what is the same stays, everything else gives way.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What becomes of an entry whose name is taken.
    pub existing: Existing,
    /// What becomes of one that is newer than its source.
    pub newer: Newer,
    /// When a file counts as the same as its source.
    pub sameness: Sameness,
    /// Whether an entry may take the place of one of another type.
    pub type_change: TypeChange,
    /// What is kept of an entry that gives way.
    pub backup: Backup,
    /// Whether anything is done at all.
    pub writing: Writing,
}

/// What becomes of an entry that is at the destination.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Existing {
    /// It gives way, unless it is the same as its source.
    #[default]
    Replace,
    /// It gives way if the answer to [`Event::Question`](crate::Event::Question) says so.
    Ask,
    /// It stays, whatever it is, and its source counts as skipped.
    Keep,
}

/// What becomes of an entry whose modification time is later than that of its source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Newer {
    /// It is treated as any other.
    #[default]
    Replace,
    /// It stays, and its source counts as skipped.
    Keep,
}

/// When a regular file at the destination counts as the same as its source: then only its metadata is brought into line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Sameness {
    /// With the same size and the same modification time, to the nanosecond.
    #[default]
    SizeAndTime,
    /// With the same contents.
    Contents,
    /// Never: every file is copied.
    Never,
}

/// Whether an entry may take the place of one of another type, where one of both is a folder.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum TypeChange {
    /// No: it fails, and what is there stays.
    #[default]
    Refused,
    /// What is no folder may replace a folder, with everything in it, and an empty folder what is none.
    Allowed,
}

/// What is kept of an entry that gives way. An entry that is the same as its source gives way to nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Backup {
    /// Nothing.
    #[default]
    Never,
    /// All of it, under its name with a suffix, which replaces an older backup.
    Simple {
        /// Such as `~`; neither empty nor with a slash in it.
        suffix: Vec<u8>,
    },
    /// All of it, under the next free of the names `NAME.~1~`, `NAME.~2~`, ….
    Numbered,
    /// Numbered where the entry has numbered backups, else simple.
    Existing {
        /// As for [`Backup::Simple`].
        suffix: Vec<u8>,
    },
}

/// Whether anything is done at all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Writing {
    /// It is.
    #[default]
    Real,
    /// Nothing is written: events and summary say what would be done, and why.
    Rehearsed,
}
