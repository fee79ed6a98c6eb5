//! What a copy does to be sure of the contents, and to let others be sure of them later.

use std::time::Duration;

/// Whether what was written is read back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Verify {
    /// The kernel's word is taken for it.
    #[default]
    Nothing,
    /// Each file that this run writes is flushed, read again past the page cache, and compared by BLAKE3 with what was read from its
    /// source. One that is wrong is copied again; if it is wrong a second time it fails.
    Written,
}

/// Whether [`Event::Digest`](crate::Event::Digest) is wanted for each file of the copy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Digests {
    /// Nothing is hashed.
    #[default]
    NotNeeded,
    /// Of files that were copied, that were there already, and of all names of a file.
    Wanted,
}

/// When what was copied is on disk, and how a file looks until then: with mode 0600 and [`SENTINEL`] as its time, or under a
/// temporary name. Where files are in memory only, nothing is ever flushed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Durability {
    /// Files are flushed in groups, while others are copied; everything is on disk when the run ends.
    #[default]
    Batch,
    /// All files are flushed at the end.
    End,
    /// Each file is flushed before it gets its time; everything is on disk when the run ends.
    File,
    /// Nothing is flushed, and a file has its time at once.
    Never,
}

/// When a group of files is flushed: as soon as it has so much of anything. That is what a run that is cut off has to do again, for
/// each of at most four groups; so no task copies more files either.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GroupLimits {
    /// The bytes of its files. A file that has more is a group by itself, and is flushed each time that so much of it, or what
    /// was written for as long as `age`, is not on disk.
    pub n_bytes: u64,
    /// Its files, whose names are kept in memory.
    pub n_files: u32,
    /// The age of the first of them.
    pub age: Duration,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { n_bytes: 256 << 20, n_files: 8 << 10, age: Duration::from_secs(2) }
    }
}

/// The time of modification of a file that is copied but not known to be on disk, in seconds and nanoseconds since 1970:
/// 1902-01-01T00:00:00.123456789Z. With mode 0600 it says that the file is unfinished.
pub const SENTINEL: (i64, i64) = (-2_145_916_800, 123_456_789);
