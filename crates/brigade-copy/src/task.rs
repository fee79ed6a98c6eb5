//! What the parent and its workers say to each other: plain data, so that a worker can be confined, killed, replaced, or
//! live elsewhere. Who does what when is decided in scheduler.rs, how it is done in worker.rs.

mod commit;
mod removal;

use std::io;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Action, Reason};
use crate::event::{EntryKind, Ground, Outcome};
use crate::facet::{FidelityReport, Lost};
use crate::names::{Bytes, Names};
use crate::stuck::Stuck;
pub(crate) use commit::{Amiss, Batch, FileTimes, Medium, PendingFile, Prior, Scope, Sorted, Step, Uncommitted};
pub(crate) use removal::{Chore, OpenRemoval, RemovalAnswer, Removed, Standing};

/// A piece of work for one worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CopyTask {
    /// Ties the live counts of a worker to this task. Never used twice, also not for a task that is done again.
    pub(crate) id: u64,
    /// How much may be done beyond what the items name before the worker answers.
    pub(crate) budget: Budget,
    /// What is not to be touched.
    pub(crate) stuck: Vec<Stuck>,
    pub(crate) items: Vec<Item>,
}

/// When a worker that visits folders answers although it could go on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Budget {
    /// Entries that are no folders and that it may copy while it visits folders. 0 makes it a walk that only lists.
    pub(crate) n_copied: u32,
    /// Names that it may read from folders.
    pub(crate) n_listed: u32,
}

/// Work in one folder, which is named by its path relative to a root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) root: u32,
    pub(crate) folder: Bytes,
    /// The destination folder was made by this run and nobody else works on these names: they cannot be there yet.
    pub(crate) arrival: Arrival,
    pub(crate) work: Work,
}

/// What may be met at the destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Arrival {
    /// Nothing: this run has made the folder. (If something is there nevertheless, it is treated as in `Merged`.)
    Fresh,
    /// Entries from before this run.
    Merged,
    /// Entries from before this run, and whatever a worker had finished before it died with the same work.
    Redone,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Visit the folder itself, which is there and counted.
    List { from: Position },
    /// Make and visit these sub-folders, and finish those that are done with everything below them.
    Folders(Names),
    /// Copy these entries, none of which is a folder.
    Files(Names),
    /// Copy this entry, or make this folder, in the place of what is there: that was asked for.
    Agreed(Names),
    /// Copy this file although it has several names: it is the first of them.
    First { name: Names, place: Placing, identity: Identity },
    /// Give the file that the first name became this further name.
    Link { name: Names, first: Place, identity: Identity },
    /// Set the final metadata of the folder, then of as many of its ancestors as there are further outcomes.
    Finish(Vec<Outcome>),
    /// Remove what workers that died over this entry have left of it.
    Sweep(Names),
    /// Remove what the source does not have.
    Remove(Chore),
    /// Make sure that these are on disk.
    Flush(Scope),
    /// Make these files whole, whose bytes are on disk.
    Commit(Batch),
}

/// How the first name of a file came to be that.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Placing {
    /// It was met first.
    Met,
    /// It could not become a further name of the file that it belongs to.
    Refused,
}

impl Work {
    /// How many units there are; an answer says how many of them were begun.
    pub(crate) fn n_units(&self) -> usize {
        match self {
            Self::Folders(names) | Self::Files(names) => names.len(),
            Self::Remove(chore) => chore.names().map_or(1, Names::len),
            _ => 1,
        }
    }
}

/// Where something was made or altered: as many folders as can be flushed one by one, and no more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Touched {
    pub(crate) folders: Vec<(u32, Bytes)>,
    /// There are more, or what was altered is not told by its folder.
    pub(crate) is_much: bool,
}

impl Touched {
    /// More folders than this are not flushed one by one.
    const MOST: usize = 64;

    pub(crate) fn note(&mut self, root: u32, folder: &[u8]) {
        // Nearly always it is the last.
        if self.is_much || self.folders.iter().rev().any(|known| known.0 == root && known.1.0 == folder) {
            return;
        }
        if self.folders.len() == Self::MOST {
            return self.overflow();
        }
        self.folders.push((root, Bytes(folder.to_vec())));
    }

    pub(crate) fn overflow(&mut self) {
        *self = Self { folders: Vec::new(), is_much: true };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.folders.is_empty() && !self.is_much
    }
}

/// A place in the list of a folder's names, as its file system counts; 0 is the beginning.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position(pub(crate) u64);

/// A name in a folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) root: u32,
    pub(crate) folder: Bytes,
    pub(crate) name: Names,
}

/// What became of a task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CopyAnswer {
    /// Units of the items, in their order, that were begun; the rest was not touched.
    pub(crate) n_reached: u64,
    /// Folders that were made and listed, but are not finished. A parent stands before its children.
    pub(crate) folders: Vec<OpenFolder>,
    /// What was found in them and not begun.
    pub(crate) leftovers: Vec<Leftover>,
    /// A large file was not begun, so that others who have nothing to do get some of what is left.
    pub(crate) has_large: bool,
    /// Files with several names, found and not copied.
    pub(crate) shared: Vec<SharedFile>,
    /// Entries in whose places there is something, which somebody must be asked about.
    pub(crate) asked: Vec<Asked>,
    /// For each `First` and `Link` that was begun, in the order of the items.
    pub(crate) joined: Vec<Joined>,
    /// Items whose folder itself failed and has been counted.
    pub(crate) failed_items: Vec<u32>,
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<Failure>,
    /// Every entry that is done, if asked for.
    pub(crate) entries: Vec<EntryDone>,
    /// The hash of every file of the copy, if asked for.
    pub(crate) digests: Vec<Digest>,
    /// The entry that took longest, if asked for.
    pub(crate) slowest: Option<Slow>,
    /// Some of the source could not be seen: a folder could not be entered, or not be read to its end.
    pub(crate) source_unread: bool,
    pub(crate) removal: RemovalAnswer,
    /// Files that are copied and not yet whole. A name stands in one batch only.
    pub(crate) uncommitted: Vec<Uncommitted>,
    /// For each `Commit` that was begun, in the order of the items.
    pub(crate) committed: Vec<Amiss>,
    /// For each `Flush` that was begun, in the order of the items.
    pub(crate) flushed: Vec<Flushed>,
    /// Folders in which something was made or altered.
    pub(crate) touched: Touched,
}

/// What came of a flush.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Flushed {
    /// Everything is on disk.
    Done,
    /// These files of it are not.
    Except(Amiss),
    /// Nothing is known to be.
    Failed(Cause),
}

/// A folder that an answer speaks of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum FolderRef {
    /// The folder of the item with this index.
    Item(u32),
    /// The folder with this index in the answer.
    New(u32),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenFolder {
    pub(crate) parent: FolderRef,
    pub(crate) name: Bytes,
    /// What its outcome will be if finishing succeeds; `Failed` if it has already been counted as that.
    pub(crate) outcome: Outcome,
    pub(crate) arrival: Arrival,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Leftover {
    pub(crate) folder: FolderRef,
    pub(crate) folders: Names,
    pub(crate) files: Names,
    /// Where the folder's other names begin, if it was not read to its end.
    pub(crate) rest: Option<Position>,
}

/// A file with several names: device, inode, and how many names it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SharedFile {
    pub(crate) folder: FolderRef,
    pub(crate) name: Names,
    pub(crate) identity: Identity,
    pub(crate) n_links: u64,
}

/// An entry that is copied only if the answer is yes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) folder: FolderRef,
    pub(crate) name: Names,
    pub(crate) why: Option<Ground>,
    pub(crate) n_bytes: u64,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    pub(crate) fn of(stat: &rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// What became of one of several names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Joined {
    /// It is there.
    Done,
    /// It will be there once it is committed.
    Later,
    /// It is there, but is no longer a name of the file that was met: nothing may be linked to it.
    Apart,
    /// It failed and has been counted.
    Failed,
    /// What was there stays, so nothing may be linked to it.
    Skipped,
    /// The file system takes no further name for the first one's file; nothing has been counted.
    Refused,
}

/// An entry that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) action: Action,
    pub(crate) cause: Cause,
}

/// Ground an entry failed, in a form that can travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Cause {
    Errno(i32),
    Reason(Reason),
}

impl Cause {
    /// The file system is full, or this user's share of it.
    pub(crate) fn is_no_room(self) -> bool {
        use rustix::io::Errno;
        matches!(self, Self::Errno(errno) if [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error).contains(&errno))
    }
}

impl From<rustix::io::Errno> for Cause {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Errno(errno.raw_os_error())
    }
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

impl From<Cause> for io::Error {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Errno(errno) => Self::from_raw_os_error(errno),
            Cause::Reason(reason) => Self::other(reason),
        }
    }
}

/// One entry that is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EntryDone {
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) kind: EntryKind,
    pub(crate) outcome: Outcome,
    pub(crate) why: Option<Ground>,
    pub(crate) n_bytes: u64,
    pub(crate) lost: Lost,
    pub(crate) lasts: Lasts,
}

/// When an entry that is done is on disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Lasts {
    /// Nobody sees to it, or there is no disk.
    Unknown,
    /// Once it is committed, and flushed after that.
    OnceCommitted,
    /// When the last flush of the run has ended.
    AtLast,
}

/// An entry, and how long it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slow {
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) elapsed: Duration,
}

/// BLAKE3 of a file of the copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) hash: [u8; 32],
}

/// The books. Entries are found when a folder is listed and get their outcome when they are done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) n_found: u64,
    /// Bytes in regular files that were found, if sizes were asked for.
    pub(crate) bytes_found: u64,
    /// Of these, what takes room at the destination for certain: blocks of files in folders that are new.
    pub(crate) bytes_needed: u64,
    /// Entries that were found in folders that are new.
    pub(crate) n_needed: u64,
    pub(crate) n_copied: u64,
    pub(crate) n_unchanged: u64,
    pub(crate) n_skipped: u64,
    pub(crate) n_failed: u64,
    pub(crate) n_changed: u64,
    pub(crate) n_files: u64,
    pub(crate) n_directories: u64,
    pub(crate) n_symlinks: u64,
    pub(crate) n_hard_links: u64,
    pub(crate) n_special: u64,
    /// Bytes in regular files that are dealt with, copied or not.
    pub(crate) bytes_done: u64,
    pub(crate) bytes_copied: u64,
    /// Parts of these that did not have to be written.
    pub(crate) bytes_reflinked: u64,
    pub(crate) bytes_in_holes: u64,
    pub(crate) bytes_kept: u64,
    pub(crate) bytes_unchanged: u64,
    pub(crate) fidelity: FidelityReport,
    /// Files that were read back and found right.
    pub(crate) n_verified: u64,
    /// Files that were read back, found wrong, and written again.
    pub(crate) n_rewritten: u64,
    /// Entries that the source does not have and that are gone.
    pub(crate) n_deleted: u64,
    /// Such entries that could not be removed.
    pub(crate) n_undeleted: u64,
    /// Flushes at the end that failed: what was copied may not be on disk.
    pub(crate) n_unflushed: u64,
}

impl Counts {
    pub(crate) fn n_done(&self) -> u64 {
        self.n_copied + self.n_unchanged + self.n_skipped + self.n_failed
    }

    pub(crate) fn count(&mut self, kind: EntryKind, outcome: Outcome, n_bytes: u64) {
        self.bytes_done += n_bytes;
        match outcome {
            Outcome::Unchanged => {
                self.n_unchanged += 1;
                self.bytes_unchanged += n_bytes;
            }
            Outcome::Skipped => self.n_skipped += 1,
            Outcome::Failed => self.n_failed += 1,
            Outcome::Copied => {
                self.n_copied += 1;
                if kind == EntryKind::File {
                    self.bytes_copied += n_bytes;
                }
                *match kind {
                    EntryKind::File => &mut self.n_files,
                    EntryKind::Directory => &mut self.n_directories,
                    EntryKind::Symlink => &mut self.n_symlinks,
                    EntryKind::HardLink => &mut self.n_hard_links,
                    EntryKind::Special => &mut self.n_special,
                } += 1;
            }
        }
    }
}

impl Counts {
    /// A file that was counted as copied is not whole, and will not be.
    pub(crate) fn revoke(&mut self, n_bytes: u64) {
        self.n_copied -= 1;
        self.n_files -= 1;
        self.bytes_copied -= n_bytes;
        self.n_failed += 1;
    }

    /// A file that was counted as copied is begun again.
    pub(crate) fn take_back(&mut self, n_bytes: u64) {
        self.n_copied -= 1;
        self.n_files -= 1;
        self.bytes_copied -= n_bytes;
        self.bytes_done -= n_bytes;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.n_found += other.n_found;
        self.bytes_found += other.bytes_found;
        self.bytes_needed += other.bytes_needed;
        self.n_needed += other.n_needed;
        self.n_copied += other.n_copied;
        self.n_unchanged += other.n_unchanged;
        self.n_skipped += other.n_skipped;
        self.n_failed += other.n_failed;
        self.n_changed += other.n_changed;
        self.n_files += other.n_files;
        self.n_directories += other.n_directories;
        self.n_symlinks += other.n_symlinks;
        self.n_hard_links += other.n_hard_links;
        self.n_special += other.n_special;
        self.bytes_done += other.bytes_done;
        self.bytes_copied += other.bytes_copied;
        self.bytes_reflinked += other.bytes_reflinked;
        self.bytes_in_holes += other.bytes_in_holes;
        self.bytes_kept += other.bytes_kept;
        self.bytes_unchanged += other.bytes_unchanged;
        self.fidelity += other.fidelity;
        self.n_verified += other.n_verified;
        self.n_rewritten += other.n_rewritten;
        self.n_deleted += other.n_deleted;
        self.n_undeleted += other.n_undeleted;
        self.n_unflushed += other.n_unflushed;
    }
}
