//! The first steps of a run: opens the folders that a plan names, makes the top folders, and puts together what the workers
//! are given. This is where the first write happens. What comes after is in run.rs.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::claims::Claims;
use super::random_number;
use crate::calls::{fstat, mkdirat, openat, statat, unlinkat};
use crate::confine::{Enclosed, Found, Walls};
use crate::error::{Action, EntryName, PathError, Refusal};
use crate::event::Outcome;
use crate::names::{Bytes, Kind, Names, name_of};
use crate::plan::{Journal, Key, Pair, Part, Place, Plan, is_any_mount_doubtful, open_mark};
use crate::request::{Policy, Writing};
use crate::scheduler::Top;
use crate::task::Identity;
use crate::worker::{Bearer, FOLDER, remove_inherited_acl};

/// Entries that one worker copies in less time than a process takes to start, with the folder itself and the one above:
/// some 15 µs each, against a millisecond or two.
const N_SMALL: usize = 66;
/// Bytes that are written in that time.
const SMALL_BYTES: u64 = 2 << 20;

/// A clock that was set back is not waited for.
const MAX_LOOKS_AT_CLOCK: u32 = 200;

/// Everything that a run begins with.
#[derive(Default)]
pub(super) struct Beginning {
    /// A moment before the first write, by the clock that stamps files.
    pub(super) started: (i64, i64),
    /// Likewise of the run that is gone on with.
    pub(super) resumed: Option<(i64, i64)>,
    /// Of this run and of that, if it is remembered.
    pub(super) key: Option<Key>,
    writing: Writing,
    /// The folders that are copied to, as other runs see it.
    pub(super) claims: Claims,
    /// Through which workers see those folders, to be held as long as they work.
    pub(super) mounts: Vec<OwnedFd>,
    pub(super) roots: Vec<OpenRoot>,
    pub(super) tops: Vec<(u32, Top)>,
    /// As many workers as could have something to do at a time.
    pub(super) n_useful_workers: usize,
    /// The folders that are copied to.
    pub(super) destinations: Vec<Identity>,
    /// Top folders that could not be made.
    pub(super) failures: Vec<PathError>,
    /// Roots that pairs of files share, by their folders.
    shared: HashMap<(PathBuf, PathBuf), u32>,
    files: HashMap<u32, Names>,
    /// Folders that were made, to be removed if the workers cannot be started.
    made: Vec<(OwnedFd, CString)>,
}

/// Two folders that correspond to each other.
pub(super) struct OpenRoot {
    pub(super) source: OwnedFd,
    pub(super) destination: OwnedFd,
    pub(super) renamed: Option<CString>,
    /// The path in the transfer of the source folder, if that is itself a source.
    pub(super) called: Option<Bytes>,
    pub(super) shown: ShownRoot,
}

impl OpenRoot {
    /// The file system that is copied to. Of one that no longer answers nothing is known, and everything will fail.
    pub(super) fn device(&self) -> u64 {
        fstat(&self.destination).map_or(0, |stat| stat.st_dev)
    }
}

/// How the entries of a root are shown to the operator.
#[derive(Debug)]
pub(super) struct ShownRoot {
    source: PathBuf,
    destination: PathBuf,
    renamed: Option<CString>,
    /// The sources in it, by their names there; the root itself has none.
    source_idxs: HashMap<Vec<u8>, usize>,
}

impl ShownRoot {
    fn new(source: &Path, destination: &Path, renamed: Option<CString>) -> Self {
        let [source, destination] = [source, destination].map(Path::to_owned);
        Self { source, destination, renamed, source_idxs: HashMap::new() }
    }

    pub(super) fn source_path(&self, path: &[u8]) -> PathBuf {
        joined(&self.source, path)
    }

    pub(super) fn destination_path(&self, path: &[u8]) -> PathBuf {
        joined(&self.destination, self.renamed.as_ref().map_or(path, |name| name.to_bytes()))
    }

    /// Which entry of which source is meant by a path below the root.
    pub(super) fn entry(&self, path: &[u8]) -> EntryName {
        let named = |name: &[u8], rest: &[u8]| {
            let source_idx = *self.source_idxs.get(name)?;
            Some(EntryName { source_idx, path: OsStr::from_bytes(rest).into() })
        };
        let end = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
        let rest = path.get(end + 1..).unwrap_or_default();
        named(b"", path).or_else(|| named(&path[..end], rest)).unwrap_or_default()
    }
}

fn joined(folder: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { folder.to_owned() } else { folder.join(OsStr::from_bytes(path)) }
}

impl Beginning {
    pub(super) fn new(plan: &Plan, journal: &mut Journal) -> Result<Self, Refusal> {
        let policy = &plan.request.policy;
        let is_into_nothing = plan.pairs.iter().all(|pair| pair.destination_place.open().is_err());
        let older =
            if is_into_nothing && *policy == Policy::default() { Older::IsNoMatter } else { Older::IsToldApart };
        let started = moment_before_the_first_write(older);
        let resumed = journal.resumed();
        journal.begin(started, std::array::from_fn(|_| random_number()));
        let key = journal.key();
        let mut beginning = Self { started, resumed, key, writing: policy.writing, ..Self::default() };
        for (source_idx, pair) in plan.pairs.iter().enumerate() {
            let begun = match (plan.share.of_source(source_idx), pair.kind) {
                (Part::Nothing, _) => Ok(()),
                (part, Kind::Folder) => beginning.begin_folder(pair, source_idx, part),
                _ => beginning.begin_file(pair, source_idx),
            };
            if let Err(refusal) = begun {
                beginning.undo();
                return Err(refusal);
            }
        }
        if let [(parent, name)] = beginning.made.as_slice() {
            journal.note_top(parent, name);
        }
        for &root in beginning.files.keys().filter(|_| policy.writing == Writing::Real) {
            beginning.claims.take_new(&beginning.roots[root as usize].destination);
        }
        let files = std::mem::take(&mut beginning.files);
        beginning.tops.extend(files.into_iter().map(|(root, names)| (root, Top::Files(names))));
        Ok(beginning)
    }

    /// Puts the trees behind walls.
    pub(super) fn enclose(&mut self, found: Found) -> Result<Walls, Refusal> {
        let mut trees: Vec<_> = self.roots.iter_mut().map(|root| (&mut root.source, &mut root.destination)).collect();
        let Enclosed { walls, mounts } = found.enclose(&mut trees).map_err(Refusal::Sandbox)?;
        for (_, destination) in trees {
            open_if_readable(destination);
        }
        self.mounts = mounts;
        Ok(walls)
    }

    /// Removes the folders that were made.
    pub(super) fn undo(&mut self) {
        while let Some((parent, name)) = self.made.pop() {
            let _ = unlinkat(&parent, name.as_c_str(), AtFlags::REMOVEDIR);
        }
    }

    fn begin_file(&mut self, pair: &Pair, source_idx: usize) -> Result<(), Refusal> {
        let (Place::Named { folder: from, name }, Place::Named { folder: to, name: new_name }) =
            (&pair.source_place, &pair.destination_place)
        else {
            return Err(Refusal::Source { path: pair.source.clone(), cause: Errno::NOTDIR.into() });
        };
        let root =
            if name == new_name { self.shared_root(pair, from, to)? } else { self.renaming_root(pair, from, to)? };
        self.note_source(root, name.as_bytes(), source_idx);
        self.files.entry(root).or_default().push(pair.kind, &name_of(name));
        self.n_useful_workers = self.n_useful_workers.saturating_add(1);
        Ok(())
    }

    fn begin_folder(&mut self, pair: &Pair, source_idx: usize, part: Part<'_>) -> Result<(), Refusal> {
        let outcome = match self.make_top(pair)? {
            Ok(outcome) => outcome,
            Err(errno) => {
                self.failures.push(PathError {
                    action: Action::CreateDirectory,
                    path: pair.destination.clone(),
                    cause: errno.into(),
                    entry: EntryName { source_idx, path: PathBuf::new() },
                });
                return Ok(());
            }
        };
        let destination = match self.writing {
            Writing::Rehearsed if outcome == Outcome::Copied => open_no_folder(),
            _ => pair.destination_place.open(),
        }
        .map_err(|errno| refused_destination(pair, errno))?;
        let stat = fstat(&destination).map_err(|errno| refused_destination(pair, errno))?;
        self.destinations.push(Identity::of(&stat));
        match (self.writing, outcome) {
            (Writing::Rehearsed, _) => {}
            (Writing::Real, Outcome::Copied) => self.claims.take_new(&destination),
            (Writing::Real, _) => self.claims.take_old(&destination),
        }
        let (root, path) = match (&pair.source_place, &pair.destination_place) {
            (Place::Named { folder: from, name }, Place::Named { folder: to, name: new_name }) if name == new_name => {
                (self.shared_root(pair, from, to)?, Bytes(name.as_bytes().to_vec()))
            }
            _ => {
                let source = pair.source_place.open().map_err(|errno| refused_source(pair, errno))?;
                let shown = ShownRoot::new(&pair.source, &pair.destination, None);
                let called = Some(Bytes(pair.called.as_bytes().to_vec()));
                (self.add_root(OpenRoot { source, destination, renamed: None, called, shown }), Bytes::default())
            }
        };
        self.note_source(root, &path.0, source_idx);
        // Nothing is asked here of a mount that may not answer.
        let n_useful = if !is_any_mount_doubtful() && is_small(&pair.source_place) { 1 } else { usize::MAX };
        self.n_useful_workers = self.n_useful_workers.saturating_add(n_useful);
        let top = match part {
            Part::Entries(below) => Top::Entries { path, outcome, below: below.to_vec() },
            Part::Whole | Part::Nothing => Top::Folder { path, outcome },
        };
        self.tops.push((root, top));
        Ok(())
    }

    /// Makes the top folder, unless it is there.
    fn make_top(&mut self, pair: &Pair) -> Result<Result<Outcome, Errno>, Refusal> {
        let Place::Named { folder, name } = &pair.destination_place else {
            return Ok(Ok(Outcome::Unchanged));
        };
        let parent = open_mark(folder).map_err(|errno| refused_destination(pair, errno))?;
        let name = name_of(name);
        if self.writing == Writing::Rehearsed {
            let is_there = statat(&parent, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
            return Ok(Ok(if is_there { Outcome::Unchanged } else { Outcome::Copied }));
        }
        match mkdirat(&parent, name.as_c_str(), Mode::RWXU) {
            Ok(()) => {
                // A default ACL of the folder above is not the source's.
                let made = openat(&parent, name.as_c_str(), FOLDER, Mode::empty())
                    .and_then(|folder| remove_inherited_acl(&Bearer::open(&folder)));
                self.made.push((parent, name));
                Ok(made.map(|()| Outcome::Copied))
            }
            Err(Errno::EXIST) => Ok(Ok(Outcome::Unchanged)),
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// The root for entries that keep their names, one for all that come from the same folder and go to the same.
    fn shared_root(&mut self, pair: &Pair, from: &Path, to: &Path) -> Result<u32, Refusal> {
        let key = (from.to_owned(), to.to_owned());
        if let Some(&root) = self.shared.get(&key) {
            return Ok(root);
        }
        let root = self.open_root(pair, from, to, None)?;
        self.shared.insert(key, root);
        Ok(root)
    }

    fn renaming_root(&mut self, pair: &Pair, from: &Path, to: &Path) -> Result<u32, Refusal> {
        let renamed = pair.destination.file_name().map(name_of);
        self.open_root(pair, from, to, renamed)
    }

    fn open_root(&mut self, pair: &Pair, from: &Path, to: &Path, renamed: Option<CString>) -> Result<u32, Refusal> {
        let source = open_mark(from).map_err(|errno| refused_source(pair, errno))?;
        let destination = open_mark(to).map_err(|errno| refused_destination(pair, errno))?;
        let shown = ShownRoot::new(from, to, renamed.clone());
        Ok(self.add_root(OpenRoot { source, destination, renamed, called: None, shown }))
    }

    fn note_source(&mut self, root: u32, name: &[u8], source_idx: usize) {
        self.roots[root as usize].shown.source_idxs.insert(name.to_vec(), source_idx);
    }

    fn add_root(&mut self, root: OpenRoot) -> u32 {
        self.roots.push(root);
        u32::try_from(self.roots.len() - 1).expect("a command line holds fewer than four thousand million sources")
    }
}

/// Opens a folder of which only the place was marked: what goes wrong with any write from now on is told to this descriptor when
/// it is flushed, and to none that is opened later for sure.
fn open_if_readable(mark: &mut OwnedFd) {
    if let Ok(folder) = openat(&*mark, c".", FOLDER, Mode::empty()) {
        *mark = folder;
    }
}

/// Something that is no folder, in the place of one that would be made: whoever looks for entries in it finds none.
fn open_no_folder() -> Result<OwnedFd, Errno> {
    openat(CWD, c"/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// What is older than the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Older {
    /// Nothing of it can be taken for ours, and there is no litter.
    IsNoMatter,
    /// It is told from what this run makes by its stamps.
    IsToldApart,
}

/// A moment by the clock that stamps files. That clock moves in steps of some milliseconds, late ones on a busy machine, but a
/// stamp may be finer than a step. So where it matters that nothing from before the run is taken for ours, a step beyond the
/// true time is waited for.
pub(crate) fn moment_before_the_first_write(older: Older) -> (i64, i64) {
    let read = |clock| {
        let now = clock_gettime(clock);
        (now.tv_sec, now.tv_nsec)
    };
    let true_time = read(ClockId::Realtime);
    for _ in 0..MAX_LOOKS_AT_CLOCK {
        if older == Older::IsNoMatter || read(ClockId::RealtimeCoarse) > true_time {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    read(ClockId::RealtimeCoarse)
}

/// Whether a folder has no sub-folders and so little in it that starting a second worker takes longer than copying it all.
fn is_small(place: &Place) -> bool {
    // A folder that cannot be read gives its worker an error to report, and nothing else to do.
    n_bytes_if_few(place).map_or(true, |n_bytes| n_bytes.is_some_and(|n_bytes| n_bytes <= SMALL_BYTES))
}

/// The size of all files together; `None` where there are sub-folders or many entries.
fn n_bytes_if_few(place: &Place) -> Result<Option<u64>, Errno> {
    let mark = place.open()?;
    let folder = openat(&mark, c".", OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC), Mode::empty())?;
    let mut n_bytes = 0;
    for (idx, entry) in Dir::read_from(&folder)?.enumerate() {
        let entry = entry?;
        if idx >= N_SMALL {
            return Ok(None);
        }
        match entry.file_type() {
            FileType::RegularFile => {
                let stat = statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                n_bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
            FileType::Symlink => {}
            _ if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(n_bytes))
}

fn refused_source(pair: &Pair, errno: Errno) -> Refusal {
    Refusal::Source { path: pair.source.clone(), cause: errno.into() }
}

fn refused_destination(pair: &Pair, errno: Errno) -> Refusal {
    Refusal::Destination { path: pair.destination.clone(), cause: errno.into() }
}
