//! What a running copy tells its caller: events as they happen, a snapshot for the display, a summary at the end.
//! Nothing here prints.

use std::path::PathBuf;
use std::time::Duration;

use crate::confine::Confinement;
use crate::error::PathError;
use crate::facet::{FidelityReport, Lost};
use crate::request::Writing;

/// Something that happened, in the order in which it did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An entry is done; sent only if [`Report::EveryEntry`](crate::Report::EveryEntry) was asked for.
    File {
        /// Where it was read.
        source: PathBuf,
        /// Where it now is.
        destination: PathBuf,
        /// What it is.
        kind: EntryKind,
        /// What was done, or would be.
        outcome: Outcome,
        /// Whether it was done.
        writing: Writing,
        /// Ground; nothing for what is unchanged or failed.
        why: Option<Ground>,
        /// Bytes of content, 0 for all but regular files.
        bytes: u64,
        /// What could not be kept of it.
        lost: Lost,
    },
    /// An entry that was copied is on disk; sent only if [`Report::EveryEntry`](crate::Report::EveryEntry) was asked for, after
    /// its [`Event::File`].
    Durable {
        /// Where it was read.
        source: PathBuf,
        /// Where it is.
        destination: PathBuf,
        /// What it is.
        kind: EntryKind,
        /// Bytes of content, 0 for all but regular files.
        bytes: u64,
    },
    /// An entry could not be copied.
    Failed(PathError),
    /// What a file of the copy holds; sent only if [`Digests::Wanted`](crate::Digests::Wanted).
    Digest {
        /// Where it is.
        destination: PathBuf,
        /// Its BLAKE3.
        hash: [u8; 32],
    },
    /// Something is in the place of an entry, and [`Running::answer`](crate::Running::answer) is to say what becomes of it.
    Question(Question),
    /// Something the user should know although nothing failed.
    Note(Note),
    /// An entry of the destination is gone since the source does not have it; sent only if
    /// [`Report::EveryEntry`](crate::Report::EveryEntry) was asked for.
    Removed {
        /// Where it was.
        path: PathBuf,
        /// What it was.
        kind: EntryKind,
        /// Whether it was removed.
        writing: Writing,
    },
    /// A worker process ended before its time; its task goes to another.
    WorkerLost {
        /// The process that is gone.
        pid: u32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// A worker process waits for a file system or a device that does not answer. It is killed and no longer waited for, though
    /// the kernel may be unable to end it; the entry fails, and what else was in its task goes to another.
    WorkerStalled {
        /// The process.
        pid: u32,
        /// Where it got stuck, in the source. If its path is longer than 4 KiB, only the end.
        path: PathBuf,
        /// For how long it had done nothing.
        silent_for: Duration,
    },
    /// A worker process was started, at the beginning or in place of a lost one.
    WorkerStarted {
        /// The new process.
        pid: u32,
    },
    /// The walk has found everything; totals in [`Progress`] are final from here on.
    WalkFinished,
}

/// What becomes of something that is in the place of an entry?
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// What the answer names.
    pub id: u64,
    /// The entry.
    pub source: PathBuf,
    /// What is in its place.
    pub destination: PathBuf,
    /// How they differ.
    pub why: Option<Ground>,
}

/// Ground an entry was copied or skipped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Ground {
    /// Nothing was there.
    New,
    /// What was there was of another type.
    TypeDiffers,
    /// The file that was there had another size.
    SizeDiffers,
    /// It had another modification time.
    TimeDiffers,
    /// It had other contents.
    ContentsDiffer,
    /// The symbolic link that was there had another target.
    TargetDiffers,
    /// The name that was there was none of the same file.
    NotLinked,
    /// It differs in metadata, which it shares with names that its source has not.
    Shared,
    /// Every file is copied.
    TimesIgnored,
    /// Its source was changed since the run began that this one goes on with.
    ChangedSince,
    /// What exists is kept.
    Exists,
    /// What is newer is kept.
    NewerThere,
    /// The answer to a question was no.
    Declined,
}

/// A remark that is neither success nor failure.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// The walk has found more in new folders than was free at the destination, in bytes; said once.
    BytesShort {
        /// What was found so far takes so much.
        needed_bytes: u64,
        /// What was free when the run began.
        free_bytes: u64,
    },
    /// Likewise, in inodes.
    EntriesShort {
        /// So many entries were found so far.
        n_needed: u64,
        /// What was free when the run began.
        n_free: u64,
    },
    /// Nothing, or nothing more, is removed although that was asked for.
    RemovalCeased(RemovalCeased),
    /// A worker had a defect; its task is done again. What it said, and where.
    WorkerPanicked(String),
    /// Something is in the place of the record of a run, or of the folder of records, that is none of this user, or not whole.
    RecordIgnored {
        /// Where it is.
        path: PathBuf,
    },
    /// If this run is cut off, the same request will not know of it.
    RunNotRecorded {
        /// Where records are kept.
        folder: PathBuf,
        /// The number of the kernel's reason.
        errno: i32,
    },
}

/// Ground what the source does not have was not removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum RemovalCeased {
    /// Some of the source could not be read, so it is not known what it has.
    SourceUnread,
    /// The source has nothing at all, as if it were not mounted.
    SourceEmpty,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum EntryKind {
    /// A regular file with contents of its own.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A further name of a file that this run has already copied.
    HardLink,
    /// A FIFO, a socket or a device.
    Special,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// It is at the destination because of this run.
    Copied,
    /// It was at the destination already, with the same type, size and time.
    Unchanged,
    /// It was left out on purpose.
    Skipped,
    /// It is not, or not wholly, at the destination.
    Failed,
}

/// The state of a running copy, for a display; taken at any time, at little cost.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Entries that the walk has found so far.
    pub n_found: u64,
    /// Entries done so far, whatever their outcome.
    pub n_done: u64,
    /// Bytes in the files that the walk has found so far; 0 without [`Totals::Wanted`](crate::Totals::Wanted).
    pub bytes_found: u64,
    /// Bytes dealt with so far, those of files in progress included. Never falls.
    pub bytes_done: u64,
    /// The walk has ended: `n_found` and `bytes_found` are final.
    pub walk_finished: bool,
    /// One for each worker process, in a stable order.
    pub lanes: Vec<Lane>,
    /// Worker processes lost so far.
    pub n_lost_workers: u64,
    /// Everything is copied, and what is left is to get it on disk.
    pub is_flushing: bool,
    /// Bytes of files that are copied and not known to be on disk.
    pub bytes_unflushed: u64,
}

/// What one worker process is doing.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The process.
    pub pid: u32,
    /// Whether it has work.
    pub state: LaneState,
    /// The entry it works on, relative to the source; the beginning may be cut off.
    pub path: PathBuf,
}

/// Whether a worker has work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LaneState {
    /// It waits for a task.
    Idle,
    /// It reads a folder.
    Listing,
    /// It copies.
    Copying,
    /// It compares what is at the destination with what should be there.
    Verifying,
    /// It removes what the source does not have.
    Removing,
    /// It waits until the disk has what was written.
    Flushing,
}

/// An entry that took long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlowEntry {
    /// Where it was read.
    pub path: PathBuf,
    /// From its first system call to its last.
    pub elapsed: Duration,
}

/// The account of a whole run. `n_found = n_copied + n_unchanged + n_skipped + n_failed`, always.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Entries found.
    pub n_found: u64,
    /// Entries that are at the destination because of this run.
    pub n_copied: u64,
    /// Entries that were there already.
    pub n_unchanged: u64,
    /// Entries left out on purpose.
    pub n_skipped: u64,
    /// Entries that failed; each was an [`Event::Failed`].
    pub n_failed: u64,
    /// Entries that changed while they were read, even after retries; they count as failed too.
    pub n_changed: u64,
    /// Copied regular files.
    pub n_files: u64,
    /// Copied folders.
    pub n_directories: u64,
    /// Copied symbolic links.
    pub n_symlinks: u64,
    /// Copied further names of files.
    pub n_hard_links: u64,
    /// Copied FIFOs, sockets and devices.
    pub n_special: u64,
    /// How many entries kept what they had beside their contents, and how many did not.
    pub fidelity: FidelityReport,
    /// Files that were read back after they were written and found right, if that was asked for.
    pub n_verified: u64,
    /// Files that were read back, found wrong, and written again.
    pub n_rewritten: u64,
    /// How strictly the workers were confined.
    pub sandbox: Confinement,
    /// Entries that were removed because the source does not have them.
    pub n_deleted: u64,
    /// Such entries that could not be removed; each was an [`Event::Failed`].
    pub n_undeleted: u64,
    /// Ground not everything that the source does not have was removed, if that was asked for.
    pub removal_ceased: Option<RemovalCeased>,
    /// Bytes of content copied.
    pub bytes: u64,
    /// Of these, bytes that the file system shares with the source.
    pub bytes_reflinked: u64,
    /// Of these, bytes in holes, which were not written.
    pub bytes_in_holes: u64,
    /// Of these, bytes that were on disk already, in parts of files that whoever was cut off had written.
    pub bytes_kept: u64,
    /// Bytes of content that was at the destination already.
    pub bytes_unchanged: u64,
    /// Whether everything that was copied is on disk.
    pub durable: bool,
    /// Flushes at the end that failed; each was an [`Event::Failed`]. What was copied may not be on disk.
    pub n_unflushed: u64,
    /// From the start to the end.
    pub elapsed: Duration,
    /// From the start to the end of the walk, if it came to its end.
    pub walk_elapsed: Option<Duration>,
    /// The entries that took longest, if [`Times::Wanted`](crate::Times::Wanted): the slowest first.
    pub slowest: Vec<SlowEntry>,
    /// Worker processes at work.
    pub n_workers: usize,
    /// Worker processes that ended before their time.
    pub n_lost_workers: u64,
    /// What workers were at most of the time. `None`: the run was too short to say, or the kernel does not tell.
    pub limited_by: Option<Limit>,
    /// Whether anything was written. If not, the counts are of what would be.
    pub writing: Writing,
    /// What was asked to end the run before it was complete; what was not reached is not in the counts.
    pub interrupted: bool,
    /// Ground the run could not go on although nobody interrupted it.
    pub broken: Option<String>,
    /// The destination ran full, so the same request may come further when there is room.
    pub is_out_of_room: bool,
}

/// What limits a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Workers run.
    Processor,
    /// They wait for answers about the source, or for its contents.
    Source,
    /// They wait until the destination has taken something.
    Destination,
    /// They wait for each other, since only one at a time can make anything in a folder.
    DestinationFolder,
    /// They wait until the disk has taken what is in memory.
    Disk,
}

impl Limit {
    pub(crate) const ALL: [Self; 5] =
        [Self::Processor, Self::Source, Self::Destination, Self::DestinationFolder, Self::Disk];

    /// Its name for a program.
    pub fn word(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::DestinationFolder => "destination-folder",
            Self::Disk => "disk",
        }
    }
}

impl Summary {
    /// Whether the run was cut off, so that the same request goes on with it.
    pub fn is_cut_off(&self) -> bool {
        self.interrupted || self.broken.is_some() || self.is_out_of_room
    }
}
