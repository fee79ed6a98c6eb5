//! What the caller asks for, in plain values. Nothing here touches a file system: see plan.rs.

mod delete;
mod fidelity;
mod policy;
mod resume;
mod safety;
mod sandbox;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// How long a worker may wait in the kernel for one and the same thing, if nothing else is said.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(60);

use crate::selection::Selection;
pub use delete::{Delete, EmptySource};
pub use fidelity::{Fidelity, NewMode, OnLoss, Reflink, Sparse};
pub use policy::{Backup, Existing, Newer, Policy, Sameness, TypeChange, Writing};
pub use resume::Resume;
pub use safety::{Digests, Durability, GroupLimits, SENTINEL, Verify};
pub use sandbox::Sandbox;

/// What to copy, where to, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The files and folders to copy. A trailing slash changes nothing; `SOURCE/.` means its contents.
    pub sources: Vec<PathBuf>,
    /// Where they go.
    pub target: Target,
    /// Which of their entries are copied.
    pub selection: Selection,
    /// Worker processes; `None` takes one for each processor this process may use, and more where they wait and that pays.
    pub workers: Option<NonZeroUsize>,
    /// Whether [`Event::File`](crate::Event::File) is wanted for each entry.
    pub report: Report,
    /// Whether totals are wanted before the copy ends, for a display.
    pub totals: Totals,
    /// Whether the summary is to name the entries that took longest.
    pub times: Times,
    /// What becomes of what is at the destination already.
    pub policy: Policy,
    /// Bytes of contents that all workers together move in a second at most. Reflinks move none.
    pub bytes_per_second: Option<NonZeroU64>,
    /// The nice value of the workers, from -20 (first) to 19 (last); `None`: that of this process.
    pub nice: Option<i32>,
    /// What of the destination is removed after the copy.
    pub delete: Delete,
    /// What that makes of a source without entries.
    pub empty_source: EmptySource,
    /// How faithful the copy is to be.
    pub fidelity: Fidelity,
    /// How long a worker may wait in the kernel for one and the same thing before it is given up; `None`: for ever. A worker
    /// that is slow and moves on is never given up.
    pub stall_timeout: Option<Duration>,
    /// Whether what was written is read back.
    pub verify: Verify,
    /// Whether the hash of each file is wanted.
    pub digests: Digests,
    /// When what was copied is on disk.
    pub durability: Durability,
    /// Whether a run that was cut off is gone on with.
    pub resume: Resume,
    /// How strictly workers are confined.
    pub sandbox: Sandbox,
    /// How much is copied before it is flushed, if it is flushed in groups.
    pub group_limits: GroupLimits,
}

impl Request {
    /// A copy as `cp -a` makes it; what is to be different is then set.
    pub fn new(sources: Vec<PathBuf>, target: Target) -> Self {
        Self {
            sources,
            target,
            workers: None,
            report: Report::Failures,
            totals: Totals::NotNeeded,
            times: Times::NotNeeded,
            policy: Policy::default(),
            selection: Selection::default(),
            bytes_per_second: None,
            nice: None,
            delete: Delete::default(),
            empty_source: EmptySource::default(),
            fidelity: Fidelity::default(),
            stall_timeout: Some(DEFAULT_STALL_TIMEOUT),
            verify: Verify::Nothing,
            digests: Digests::NotNeeded,
            durability: Durability::default(),
            resume: Resume::Never,
            sandbox: Sandbox::default(),
            group_limits: GroupLimits::default(),
        }
    }
}

/// What is to become of an entry that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It gives way.
    Replace,
    /// It stays, and its source counts as skipped.
    Keep,
}

/// How the place of the copy is found, as in `cp`.
#[derive(Clone, Debug)]
pub enum Target {
    /// Into `DESTINATION/NAME` if this is a folder, else as this path itself.
    IntoOrAs(PathBuf),
    /// As this path itself, also if it is a folder (`-T`); one source only.
    Exactly(PathBuf),
    /// Beside the source, under its own name with this suffix, numbered if taken; one source only.
    Beside {
        /// What is appended to the name: `_copy`, `_复件`.
        suffix: String,
        /// What was perhaps appended by a run that was cut off.
        other_suffixes: Vec<String>,
    },
}

impl Target {
    /// The path that it names, if it names one.
    pub(crate) fn named(&self) -> Option<&PathBuf> {
        match self {
            Self::IntoOrAs(path) | Self::Exactly(path) => Some(path),
            Self::Beside { .. } => None,
        }
    }
}

/// Which entries are reported one by one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Report {
    /// Only those that failed.
    Failures,
    /// Every entry.
    EveryEntry,
}

/// Whether workers look at the clock before and after each entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Times {
    /// They do not.
    NotNeeded,
    /// They do, and the summary names the slowest entries.
    Wanted,
}

/// Whether the walk also asks for the size of each file, so that a percentage can be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Totals {
    /// The walk reads names only, which is cheaper.
    NotNeeded,
    /// The walk reads sizes too and runs ahead of the copying.
    Wanted,
}

impl Totals {
    /// Bytes of names up to which a walk may be ahead.
    pub(crate) fn walk_ahead_bytes(self) -> usize {
        /// A million names or so.
        const WALK_AHEAD_BYTES: usize = 16 << 20;
        match self {
            Self::NotNeeded => 0,
            Self::Wanted => WALK_AHEAD_BYTES,
        }
    }
}
