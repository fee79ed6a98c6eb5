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
}

/// What becomes of an entry that is at the destination.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Existing {
    /// It gives way, unless it is the same as its source.
    #[default]
    Replace,
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
