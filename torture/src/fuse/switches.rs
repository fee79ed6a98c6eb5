//! How a `FaultFs` misbehaves, and what it has been asked. Nothing here knows files.

use std::any::Any;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

/// What is settled when a `FaultFs` is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long each request takes more than it would.
    pub delay: Duration,
    /// Whether `A` and `a` are the same name.
    pub spelling: Spelling,
    /// How long the kernel may believe what it was told of names and attributes.
    pub memory: Duration,
    /// Requests that are served at the same time.
    pub n_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { delay: Duration::ZERO, spelling: Spelling::Exact, memory: Duration::from_secs(1), n_threads: 32 }
    }
}

/// Whether names that differ only in the case of ASCII letters differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// They differ.
    Exact,
    /// They are the same; an entry keeps the spelling that it was made with. The kernel then remembers no names.
    CaseInsensitive,
}

macro_rules! operations {
    ($($operation:ident $name:literal,)*) => {
        /// What the kernel may ask of a file system.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[expect(missing_docs, reason = "the names are those of the protocol: fuse(4)")]
        pub enum Operation { $($operation,)* }

        impl Operation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$operation,)*];

            /// Its name in lower case, as in the options of `faultfs`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$operation => $name,)* }
            }
        }
    };
}

operations! {
    Lookup "lookup", Getattr "getattr", Setattr "setattr", Readlink "readlink", Mknod "mknod", Mkdir "mkdir",
    Unlink "unlink", Rmdir "rmdir", Symlink "symlink", Rename "rename", Link "link", Create "create", Open "open",
    Read "read", Write "write", Flush "flush", Release "release", Fsync "fsync", Fallocate "fallocate", Lseek "lseek",
    Opendir "opendir", Readdir "readdir", Releasedir "releasedir", Fsyncdir "fsyncdir", Statfs "statfs",
    Setxattr "setxattr", Getxattr "getxattr", Listxattr "listxattr", Removexattr "removexattr",
}

impl std::str::FromStr for Operation {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|operation| operation.name() == name).ok_or(())
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The request fails, and nothing is done.
    Error(Errno),
    /// The request is never answered.
    Hang,
    /// One bit of the byte at the rule's offset is read, or stored, as its opposite, and nobody is told.
    FlipBit,
}

/// A fault and where it strikes: by itself everywhere.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    operations: Vec<Operation>,
    path: Option<PathBuf>,
    offset: u64,
}

impl Rule {
    /// This happens, whatever is asked, and wherever.
    #[must_use]
    pub const fn new(fault: Fault) -> Self {
        Self { fault, operations: Vec::new(), path: None, offset: 0 }
    }

    /// Only when this is asked; said several times, when one of these is.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Only for the entry with this path below the mount, and for what is below it.
    #[must_use]
    pub fn at(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Only from this byte of a file on, or from this entry of a folder on. A flipped bit is in this very byte.
    #[must_use]
    pub const fn from(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Whether it strikes a request for bytes, or entries, up to `end`.
    fn strikes(&self, operation: Operation, path: Option<&Path>, end: u64) -> bool {
        (self.operations.is_empty() || self.operations.contains(&operation))
            && (self.offset == 0 || self.offset < end)
            && self.path.as_ref().is_none_or(|below| path.is_some_and(|path| path.starts_with(below)))
    }
}

/// What is shared by a mount and those who serve it.
#[derive(Debug)]
pub(super) struct Switches {
    pub(super) options: Options,
    rules: Mutex<Vec<Rule>>,
    counts: Vec<AtomicU64>,
    askers: Mutex<HashSet<u32>>,
    flushed: Mutex<HashSet<u64>>,
    /// What would have answered requests that are never answered.
    hung: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Switches {
    pub(super) fn new(options: Options) -> Self {
        let counts = Operation::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let (askers, flushed) = (Mutex::default(), Mutex::default());
        Self { options, rules: Mutex::default(), counts, askers, flushed, hung: Mutex::default() }
    }

    pub(super) fn add(&self, rule: Rule) {
        lock(&self.rules).push(rule);
    }

    pub(super) fn behave(&self) {
        lock(&self.rules).clear();
        // Dropped unused, an answer is an EIO.
        lock(&self.hung).clear();
    }

    pub(super) fn note(&self, thread: u32, operation: Operation) {
        lock(&self.askers).insert(thread);
        self.counts[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, operation: Operation) -> u64 {
        self.counts[operation as usize].load(Ordering::Relaxed)
    }

    pub(super) fn askers(&self) -> HashSet<u32> {
        lock(&self.askers).clone()
    }

    pub(super) fn note_flushed(&self, number: u64) {
        lock(&self.flushed).insert(number);
    }

    pub(super) fn flushed(&self) -> HashSet<u64> {
        lock(&self.flushed).clone()
    }

    pub(super) fn n_hung(&self) -> usize {
        lock(&self.hung).len()
    }

    pub(super) fn never_answer(&self, reply: impl Send + 'static) {
        lock(&self.hung).push(Box::new(reply));
    }

    /// The error or the silence that a request meets.
    pub(super) fn fault(
        &self,
        operation: Operation,
        path: impl FnOnce() -> Option<PathBuf>,
        end: u64,
    ) -> Option<Fault> {
        let rules = lock(&self.rules);
        if rules.is_empty() {
            return None;
        }
        let path = path();
        let strikes = |rule: &&Rule| rule.fault != Fault::FlipBit && rule.strikes(operation, path.as_deref(), end);
        rules.iter().find(strikes).map(|rule| rule.fault)
    }

    /// Flips those bits of a file's bytes at `offset` that rules are for.
    pub(super) fn flip(
        &self,
        operation: Operation,
        path: impl FnOnce() -> Option<PathBuf>,
        offset: u64,
        bytes: &mut [u8],
    ) {
        let rules = lock(&self.rules);
        if rules.iter().all(|rule| rule.fault != Fault::FlipBit) {
            return;
        }
        let path = path();
        let end = offset + bytes.len() as u64;
        for rule in
            rules.iter().filter(|rule| rule.fault == Fault::FlipBit && rule.strikes(operation, path.as_deref(), end))
        {
            let place = rule.offset.checked_sub(offset).and_then(|place| bytes.get_mut(usize::try_from(place).ok()?));
            if let Some(byte) = place {
                *byte ^= 1;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
