//! Compares two trees without writing to either: what is asked for, what is told, and what the end says. How the work is handed
//! out is in compare/driver.rs, how two entries are compared in worker/examiner.rs.

mod books;
mod driver;
mod task;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::confine::Confinement;
use crate::error::{PathError, Refusal};
use crate::names::{Kind, name_of};
use crate::plan::{Place, found_at, send_ahead};
use crate::request::Totals;
use crate::selection::Links;
pub use driver::Comparing;
pub(crate) use task::{Aspects, CompareAnswer, CompareItem, CompareTask, LinkSeen, Side, UnreadEntry};

/// Which two entries to compare, and how.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// What was copied. A symbolic link is compared as a link, unless a slash follows.
    pub source: PathBuf,
    /// What it was copied to: exactly this, also if it is a folder.
    pub destination: PathBuf,
    /// Worker processes; `None` takes one for each processor this process may use, and more where they wait and that pays.
    pub workers: Option<NonZeroUsize>,
    /// Whether totals are wanted before the end, for a display.
    pub totals: Totals,
    /// How long a worker may wait for one answer of a file system before it is given up; `None` is for ever.
    pub stall_timeout: Option<Duration>,
}

/// Something that a comparison has found out.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompareEvent {
    /// Two entries differ, or one of them is missing.
    Different {
        /// The path below both trees; empty for the two entries that were named.
        path: PathBuf,
        /// In what, at least one.
        aspects: Vec<Aspect>,
    },
    /// An entry could not be compared.
    Failed(PathError),
    /// A worker process ended before its time; its task goes to another.
    WorkerLost {
        /// The process that is gone.
        pid: u32,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
    },
    /// A worker got no answer for so long and is given up; what it was at fails, and the others go on.
    WorkerStalled {
        /// The process, which may be left behind.
        pid: u32,
        /// Where it is stuck.
        path: PathBuf,
        /// How long it has shown no sign of life.
        silent_for: Duration,
    },
}

/// In what two entries can differ. `Display` gives the English words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Aspect {
    /// Only the source has it, with all that is below it.
    OnlyAtSource,
    /// Only the destination has it, with all that is below it.
    OnlyAtDestination,
    /// One is a file and the other a folder, or the like.
    Type,
    /// The bytes of a file.
    Contents,
    /// Where a symbolic link points to.
    Target,
    /// The device that a special file stands for.
    Device,
    /// The mode, with setuid, setgid and sticky bits.
    Mode,
    /// User or group.
    Owner,
    /// The modification time, to the nanosecond.
    Time,
    /// Extended attributes that are neither ACLs nor capabilities.
    Attributes,
    /// POSIX ACLs.
    Acls,
    /// File capabilities.
    Capabilities,
    /// Which other names the same file has.
    HardLinks,
}

impl std::fmt::Display for Aspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OnlyAtSource => "only at the source",
            Self::OnlyAtDestination => "only at the destination",
            Self::Type => "type",
            Self::Contents => "contents",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Time => "time",
            Self::Attributes => "extended attributes",
            Self::Acls => "ACLs",
            Self::Capabilities => "capabilities",
            Self::HardLinks => "hard links",
        })
    }
}

/// What a comparison came to. `n_found = n_same + n_different + n_failed`, unless it was cut short.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Entries that either tree has; of a folder that only one of them has, nothing below it is counted.
    pub n_found: u64,
    /// Entries that are the same in both.
    pub n_same: u64,
    /// Entries that differ; each was a [`CompareEvent::Different`].
    pub n_different: u64,
    /// Entries that could not be compared; each was a [`CompareEvent::Failed`].
    pub n_failed: u64,
    /// Bytes of contents that were compared.
    pub bytes: u64,
    /// From the start to the end.
    pub elapsed: Duration,
    /// Worker processes at work.
    pub n_workers: usize,
    /// Worker processes that ended before their time.
    pub n_lost_workers: u64,
    /// How strictly the workers were confined.
    pub sandbox: Confinement,
    /// What was asked to end the run before it was complete.
    pub interrupted: bool,
    /// Why the run could not go on although nobody interrupted it.
    pub broken: Option<String>,
}

/// A comparison that can be started: both entries are there.
#[derive(Debug)]
pub struct Comparison {
    request: CompareRequest,
    source: Ends,
    destination: Ends,
}

/// One of the two entries that were named.
#[derive(Debug)]
struct Ends {
    kind: Kind,
    place: Place,
}

impl Comparison {
    /// Looks whether both entries are there.
    ///
    /// # Errors
    /// [`Refusal::Source`] or [`Refusal::Destination`] if one is not, [`Refusal::NoAnswer`] if its file system does not answer.
    pub fn new(request: CompareRequest) -> Result<Self, Refusal> {
        send_ahead([&request.source, &request.destination].map(|path| (path, Links::Keep)), request.stall_timeout)?;
        let look = |path: &Path| found_at(path).map(|(kind, place)| Ends { kind, place });
        let source = look(&request.source).map_err(|cause| Refusal::Source { path: request.source.clone(), cause })?;
        let destination = look(&request.destination)
            .map_err(|cause| Refusal::Destination { path: request.destination.clone(), cause })?;
        Ok(Self { request, source, destination })
    }

    /// Where the source would be if it had been copied *into* the destination, if something is there: `cp` and `brigade copy`
    /// do that to a folder that exists.
    pub fn copy_within(&self) -> Option<PathBuf> {
        let Place::Named { name, .. } = &self.source.place else {
            return None;
        };
        let within = self.request.destination.join(name);
        let is_there = self.destination.kind == Kind::Folder && found_at(&within).is_ok();
        is_there.then_some(within)
    }

    /// Starts the workers and returns at once. `sink` gets every event, one at a time.
    ///
    /// # Errors
    /// [`Refusal::Workers`] if the worker processes could not be started, [`Refusal::Source`] or [`Refusal::Destination`] if
    /// one of the entries is no longer there.
    pub fn start(self, sink: impl FnMut(CompareEvent) + Send + 'static) -> Result<Comparing, Refusal> {
        Comparing::start(self, Box::new(sink))
    }

    /// What the workers begin with: two folders, and the first task in them.
    fn opened(&self) -> Result<Opened, Refusal> {
        let refuse_source =
            |errno: rustix::io::Errno| Refusal::Source { path: self.request.source.clone(), cause: errno.into() };
        let refuse_destination = |errno: rustix::io::Errno| Refusal::Destination {
            path: self.request.destination.clone(),
            cause: errno.into(),
        };
        if self.source.kind == Kind::Folder && self.destination.kind == Kind::Folder {
            let source = self.source.place.open().map_err(refuse_source)?;
            let destination = self.destination.place.open().map_err(refuse_destination)?;
            return Ok(Opened { source, destination, renamed: None, first: CompareItem::whole() });
        }
        let (source, source_name) = self.source.place.open_above().map_err(refuse_source)?;
        let (destination, destination_name) = self.destination.place.open_above().map_err(refuse_destination)?;
        let first = CompareItem::entry(self.source.kind, &name_of(&source_name));
        Ok(Opened { source, destination, renamed: Some(name_of(&destination_name)), first })
    }
}

/// Two folders, and what is first to be compared in them.
struct Opened {
    source: std::os::fd::OwnedFd,
    destination: std::os::fd::OwnedFd,
    /// The name at the destination, if single entries are compared.
    renamed: Option<std::ffi::CString>,
    first: CompareItem,
}
