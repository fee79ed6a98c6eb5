//! The errors of a copy: what was attempted, on which path, and why it failed.

use std::io;
use std::path::PathBuf;

use crate::confine::Lack;
use crate::facet::Lost;
use crate::shown;

/// One entry that could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", shown(.path))]
pub struct PathError {
    /// What was attempted.
    pub action: Action,
    /// On which path.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub cause: io::Error,
    /// Which entry of which source it was.
    pub entry: EntryName,
}

/// An entry of a copy: a source, and the name below it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct EntryName {
    /// Which of those that [`Plan::pairs`](crate::Plan::pairs) names.
    pub source_idx: usize,
    /// Relative to the source; empty for the source itself.
    pub path: PathBuf,
}

/// What was attempted. `Display` gives the English verb phrase that follows "cannot".
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Action {
    /// Looking at an entry.
    Stat,
    /// Opening an entry for reading.
    Open,
    /// Going to the place of an entry at the destination, through the folders above it.
    Reach,
    /// Reading the names in a folder.
    List,
    /// Reading the names in a folder of the destination.
    ListDestination,
    /// Reading contents or the target of a symbolic link.
    Read,
    /// Creating a file.
    Create,
    /// Creating a folder.
    CreateDirectory,
    /// Creating a symbolic link.
    CreateSymlink,
    /// Creating a further name of a file.
    CreateHardLink,
    /// Creating a FIFO, a socket or a device.
    CreateSpecial,
    /// Writing contents.
    Write,
    /// Putting the finished file under its name.
    Rename,
    /// Removing an entry.
    Remove,
    /// Renaming what is there to the name of a backup.
    BackUp,
    /// Setting the owner.
    SetOwner,
    /// Setting the mode.
    SetMode,
    /// Reading extended attributes.
    ReadAttributes,
    /// Setting or removing extended attributes, ACLs or capabilities.
    SetAttributes,
    /// Setting the times.
    SetTimes,
    /// Copying it at all, since workers died over it.
    Copy,
    /// Replacing an entry of another type.
    Replace,
    /// Comparing it with its copy.
    Compare,
    /// Sharing the contents of a file with its copy.
    Clone,
    /// Keeping all that an entry has beside its contents.
    Preserve,
    /// Reading what was written.
    Verify,
    /// Making sure that it is on disk.
    Flush,
    /// Giving a file that is on disk its time, its mode and its name.
    Commit,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stat => "stat",
            Self::Open => "open",
            Self::Reach => "reach",
            Self::List | Self::ListDestination => "read folder",
            Self::Read => "read",
            Self::Create => "create file",
            Self::CreateDirectory => "create folder",
            Self::CreateSymlink => "create symbolic link",
            Self::CreateHardLink => "create hard link",
            Self::CreateSpecial => "create special file",
            Self::Write => "write",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::BackUp => "back up",
            Self::SetOwner => "set owner of",
            Self::SetMode => "set mode of",
            Self::ReadAttributes => "read extended attributes of",
            Self::SetAttributes => "set extended attributes of",
            Self::SetTimes => "set times of",
            Self::Copy => "copy",
            Self::Replace => "replace",
            Self::Compare => "compare",
            Self::Clone => "clone",
            Self::Preserve => "keep all of",
            Self::Verify => "verify",
            Self::Flush => "flush",
            Self::Commit => "finish",
        })
    }
}

/// Why an entry failed where it was not the kernel that refused. It is what [`PathError::cause`] then holds, to be had by
/// [`io::Error::get_ref`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// The source was written to while it was being copied, and again each time that was tried.
    #[error("it changed while it was being copied")]
    Changed,
    /// It is no longer what it was when its folder was listed: a file became a folder, or the like.
    #[error("it became something else while it was being copied")]
    BecameOther,
    /// A folder stands where something else must go.
    #[error("a folder is in the way")]
    FolderInTheWay,
    /// Something else stands where a folder must go.
    #[error("something that is not a folder is in the way")]
    NoFolder,
    /// It was written to, or replaced, while it was being compared.
    #[error("it changed while it was being compared")]
    ChangedInComparison,
    /// It is not removed, since another file system is mounted there.
    #[error("another file system is mounted there")]
    MountPoint,
    /// This run has put another entry under this name: the destination takes names for the same that the source does not, as
    /// where upper and lower case are one.
    #[error("another entry of the source has taken this name")]
    NameTaken,
    /// Its file system or its device did not answer for as long as the request says. Nothing below it was tried.
    #[error("its file system does not answer")]
    Stalled,
    /// What was read back was not what was written, twice.
    #[error("what was read back is not what was written, also when it was written again")]
    Spoilt,
    /// Between copying and finishing it, somebody has put something else in its place.
    #[error("something else has taken its place")]
    Replaced,
    /// The kernel makes it up as it is read, and there was no end after 256 MiB.
    #[error("the kernel makes it up without an end")]
    Endless,
    /// A symbolic link that was followed leads to a folder that it lies in.
    #[error("it leads back to a folder above it")]
    LinkLoop,
    /// A symbolic link that was followed leads into a folder that is copied to.
    #[error("it leads into the copy")]
    InsideCopy,
    /// Workers died over it, and over nothing else.
    #[error("every worker process that tried died")]
    WorkersDied,
    /// It is there without these, and nothing was to be lost.
    #[error("lost: {0}")]
    Lost(Lost),
}

/// What a file system lacks to be written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Want {
    /// It is mounted read-only.
    #[error("is read-only")]
    Writable,
    /// Not one block is free.
    #[error("is full")]
    Bytes,
    /// Not one inode is free.
    #[error("has no free inodes")]
    Entries,
    /// The file is larger than its files can be.
    #[error("holds no files of this size")]
    LargeFiles,
}

/// Why a request was refused before the first write. The command ends with 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No source was named.
    #[error("no source given")]
    NoSource,
    /// A source is not there or cannot be looked at.
    #[error("cannot stat {}", shown(.path))]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file system of a source or of the destination does not answer.
    #[error("{} does not answer: its file system seems to be dead", shown(.path))]
    NoAnswer {
        /// What was looked at.
        path: PathBuf,
        /// The process that waits for the answer, and is left behind.
        pid: u32,
    },
    /// The destination cannot be looked at, or the folder it would go into is missing.
    #[error("cannot use destination {}", shown(.path))]
    Destination {
        /// The destination.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The source and its destination are one and the same.
    #[error("{} and {} are the same", shown(.source_path), shown(.destination))]
    SameEntry {
        /// The source.
        source_path: PathBuf,
        /// The destination.
        destination: PathBuf,
    },
    /// The destination lies inside the source.
    #[error("cannot copy {} into itself, {}", shown(.source_path), shown(.destination))]
    InsideSource {
        /// The source.
        source_path: PathBuf,
        /// The destination.
        destination: PathBuf,
    },
    /// The source lies inside the destination that it would be merged over.
    #[error("{} lies inside its own destination {}", shown(.source_path), shown(.destination))]
    InsideDestination {
        /// The source.
        source_path: PathBuf,
        /// The destination.
        destination: PathBuf,
    },
    /// A folder must go where something else is, or the other way round.
    #[error("cannot put {what} over {}, which is {there}", shown(.destination))]
    TypeMismatch {
        /// The destination.
        destination: PathBuf,
        /// What should go there: "a folder", "a file".
        what: &'static str,
        /// What is there: "a folder", "not a folder".
        there: &'static str,
    },
    /// Several sources need a folder to go into.
    #[error("destination {} is not a folder, and there are several sources", shown(.destination))]
    NotAFolder {
        /// The destination.
        destination: PathBuf,
    },
    /// Two sources would go to the same place.
    #[error("two sources would both become {}", shown(.destination))]
    Collision {
        /// The place.
        destination: PathBuf,
    },
    /// `-T` and a copy beside the source take exactly one source.
    #[error("only one source can be copied to exactly one place")]
    SeveralSources,
    /// What the source does not have can be removed only where there is one source, and that a folder.
    #[error("with --delete there is exactly one source, and it is a folder")]
    DeleteNeedsOneFolder,
    /// The names in a list are those of entries of one folder.
    #[error("with a list of names there is exactly one source, and it is a folder")]
    ListNeedsOneFolder,
    /// What a list does not name cannot be told from what the source does not have.
    #[error("with a list of names nothing can be deleted")]
    ListWithDelete,
    /// The root folder has no name to put a copy beside.
    #[error("the root folder cannot be copied beside itself")]
    RootBeside,
    /// Workers are to be confined as strictly as can be for this user, and cannot be.
    #[error("workers cannot be confined as is required")]
    Sandbox(#[source] Lack),
    /// Something has to be written at the destination, and cannot be.
    #[error("cannot write {}: its file system {want}", shown(.destination))]
    NoRoom {
        /// The destination.
        destination: PathBuf,
        /// What its file system lacks.
        want: Want,
    },
    /// The workers may not have the nice value that was asked for.
    #[error("cannot give the workers this nice value")]
    Niceness(#[source] io::Error),
    /// The worker processes could not be started.
    #[error("cannot start the worker processes")]
    Workers(#[source] Box<dyn std::error::Error + Send + Sync>),
}
