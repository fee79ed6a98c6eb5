//! Flushes a large file piece by piece while it is written, and marks it with how far it is on disk: whoever copies it after a
//! worker or the whole run was cut off goes on there. How bytes move is in contents.rs, how a file gets its name in file.rs.
//!
//! The mark is an extended attribute of the part itself. It holds for one version of one source, in this file under this name,
//! and its seal cannot be made without the key, which is in the record of the run. Whatever is wrong with part, mark or record,
//! the file begins anew.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use blake3::{Hash, Hasher};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::Bearer;
use super::committing::{UNFINISHED_MODE, Wholeness};
use super::file::{create_file, recreate_file, remove_own};
use super::folders::{Pair, kind_of};
use super::litter::temporary_name_of;
use super::{Done, Flaw, Spot, Worker};
use crate::calls::{self, fstat, ftruncate, openat, unlinkat};
use crate::error::Action;
use crate::names::Kind;
use crate::plan::Key;
use crate::request::{Durability, GroupLimits, Sparse};

/// The attribute: how many leading bytes are on disk, the seal, and the name of the source.
const MARK: &CStr = c"user.brigade.part";

/// A large file that is being written.
pub(super) struct Parts {
    /// How the file is marked; `None` if nobody is to go on with it.
    mark: Option<Mark>,
    /// Leading bytes that are on disk.
    n_durable: u64,
    /// Bytes that were written after these, and when these were flushed.
    n_unflushed: u64,
    flushed: Instant,
}

impl Parts {
    fn new(mark: Option<Mark>, n_durable: u64) -> Self {
        Self { mark, n_durable, n_unflushed: 0, flushed: Instant::now() }
    }

    fn is_due(&self, limits: GroupLimits) -> bool {
        self.n_unflushed >= limits.n_bytes || self.flushed.elapsed() >= limits.age
    }

    /// Everything up to `end` is on disk. A mark that cannot be renewed says less than could be said.
    fn note_durable(&mut self, file: BorrowedFd<'_>, end: u64) {
        (self.n_unflushed, self.flushed) = (0, Instant::now());
        if let Some(mark) = &self.mark
            && mark.set(&Bearer::open(&file), end).is_ok()
        {
            self.n_durable = end;
        }
    }
}

/// What a part is of.
#[derive(Clone, Copy)]
struct Origin<'a> {
    name: &'a CStr,
    stat: &'a Stat,
}

/// How one part is marked.
struct Mark {
    /// Everything that it holds for.
    sealed: Hasher,
    source_name: CString,
}

impl Mark {
    fn new(key: Key, part_name: &CStr, part: &Stat, origin: Origin<'_>, sparse: Sparse) -> Self {
        let Origin { name, stat } = origin;
        let mut sealed = keyed(key, b"mark of a part");
        for name in [part_name, name] {
            sealed.update(name.to_bytes_with_nul());
        }
        // No device: its number may be another after the next start of the machine.
        let times = [stat.st_mtime, stat.st_mtime_nsec as i64, stat.st_ctime, stat.st_ctime_nsec as i64];
        let numbers = [part.st_ino, stat.st_ino, stat.st_size as u64, sparse as u64];
        for number in numbers.into_iter().chain(times.map(i64::cast_unsigned)) {
            sealed.update(&number.to_le_bytes());
        }
        Self { sealed, source_name: name.to_owned() }
    }

    fn value(&self, n_durable: u64) -> Vec<u8> {
        let n_durable = n_durable.to_le_bytes();
        let seal: Hash = self.sealed.clone().update(&n_durable).finalize();
        [&n_durable, seal.as_bytes().as_slice(), self.source_name.to_bytes()].concat()
    }

    fn set(&self, part: &Bearer<'_>, n_durable: u64) -> Result<(), Errno> {
        part.set(MARK, &self.value(n_durable))
    }

    /// How much is on disk of a part that has this mark.
    fn read(&self, value: &[u8]) -> Option<u64> {
        let n_durable = u64::from_le_bytes(*value.first_chunk()?);
        (value == self.value(n_durable)).then_some(n_durable)
    }
}

/// The name of the source that a mark says that it is about.
fn source_name_in(value: &[u8]) -> Option<CString> {
    CString::new(value.get(size_of::<u64>() + blake3::OUT_LEN..)?).ok()
}

fn keyed(key: Key, purpose: &[u8]) -> Hasher {
    let mut bytes = [0; blake3::KEY_LEN];
    for (part, number) in bytes.chunks_exact_mut(size_of::<u64>()).zip(key) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    let mut hasher = Hasher::new_keyed(&bytes);
    hasher.update(purpose).update(b"\0");
    hasher
}

/// The temporary name of the part of a file with this name. A later run that goes on with this one finds it again.
fn part_name(key: Key, name: &CStr) -> CString {
    let hash = keyed(key, b"name of a part").update(name.to_bytes()).finalize();
    let [high, low] = [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|idx| hash.as_bytes()[at + idx])));
    temporary_name_of(high, low)
}

impl Worker {
    /// Begins the account of a file that is to be written. If it is large, opens the part that is there, or makes one, and says
    /// its name; `None` if it is written as others are.
    pub(super) fn begin_parts(
        &mut self,
        spot: &Spot<'_>,
        source: &Stat,
        wholeness: Wholeness,
    ) -> Result<Option<(OwnedFd, CString)>, Flaw> {
        self.parts = None;
        if !self.is_flushed_in_parts(source.st_size as u64, wholeness) {
            return Ok(None);
        }
        // What shares its contents is there at once.
        let is_cloned =
            spot.here.newborn.get().is_some_and(|newborn| self.clones_between(source.st_dev, newborn.device));
        let key = self.facts.key.filter(|_| !is_cloned && self.is_older_than_the_run(source));
        let part = match key {
            Some(key) => self.open_or_make_part(spot, source, key)?,
            None => None,
        };
        let (mark, n_durable, opened) = match part {
            Some(Part { file, name, mark, n_durable }) => (Some(mark), n_durable, Some((file, name))),
            None => (None, 0, None),
        };
        self.parts = Some(Parts::new(mark, n_durable));
        Ok(opened)
    }

    fn is_flushed_in_parts(&self, n_bytes: u64, wholeness: Wholeness) -> bool {
        n_bytes > self.facts.group_limits.n_bytes
            && wholeness != Wholeness::AtOnce
            && self.facts.durability != Durability::End
    }

    /// Whether a source was not touched since the first run began that could have copied it: else it may be another without
    /// looking so.
    fn is_older_than_the_run(&self, source: &Stat) -> bool {
        (source.st_ctime, source.st_ctime_nsec as i64) < self.facts.resumed.unwrap_or(self.facts.started)
    }

    fn open_or_make_part(&self, spot: &Spot<'_>, source: &Stat, key: Key) -> Result<Option<Part>, Flaw> {
        let here = &spot.here;
        let name = part_name(key, spot.destination_name());
        let origin = Origin { name: spot.name, stat: source };
        let file = match create_file(here, &name, self.access_to_new()) {
            Ok(file) => file,
            Err(Errno::EXIST) => match self.open_part(here, name.clone(), origin, key, self.access_to_new()) {
                Some(part) if ftruncate(&part.file, part.n_durable).is_ok() => return Ok(Some(part)),
                _ => recreate_file(here, &name, self.access_to_new())?,
            },
            Err(errno) => return Err(Flaw::new(Action::Create, errno)),
        };
        let stat = fstat(&file).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let mark = Mark::new(key, &name, &stat, origin, self.facts.fidelity.sparse);
        if mark.set(&Bearer::open(&file), 0).is_err() {
            // Nobody would know it again.
            remove_own(here, &name, &file);
            return Ok(None);
        }
        Ok(Some(Part { file, name, mark, n_durable: 0 }))
    }

    /// Opens what has the name of a part, if it is one of this version of this source, and nobody else could write to it.
    fn open_part(&self, here: &Pair, name: CString, origin: Origin<'_>, key: Key, access: OFlags) -> Option<Part> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&here.destination, name.as_c_str(), flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        let is_own = kind_of(&stat) == Kind::File
            && stat.st_mode & 0o7777 == UNFINISHED_MODE
            && stat.st_uid == self.user
            && stat.st_nlink == 1;
        let mark = Mark::new(key, &name, &stat, origin, self.facts.fidelity.sparse);
        let n_durable = mark.read(&Bearer::open(&file).get(MARK).ok()?)?;
        (is_own && n_durable <= stat.st_size as u64).then_some(Part { file, name, mark, n_durable })
    }

    /// Whether something under a temporary name is a part that can be gone on with.
    pub(super) fn is_part(&self, here: &Pair, name: &CStr) -> bool {
        let Some(key) = self.facts.key else { return false };
        let part = || {
            let source_name = source_name_in(&Bearer::of_destination(here, name).get(MARK).ok()?)?;
            let stat = here.stat_source(&source_name).ok()?;
            self.open_part(here, name.to_owned(), Origin { name: &source_name, stat: &stat }, key, OFlags::RDONLY)
        };
        part().is_some()
    }

    /// Whether the file that is being copied is flushed on the way.
    pub(super) fn is_in_parts(&self) -> bool {
        self.parts.is_some()
    }

    /// Leading bytes of the file that is being copied which need not be.
    pub(super) fn n_kept(&self) -> u64 {
        self.parts.as_ref().map_or(0, |parts| parts.n_durable)
    }

    /// Bytes that may be written to the file that is being copied before it is flushed.
    pub(super) fn n_until_flush(&self) -> u64 {
        let until = |parts: &Parts| self.facts.group_limits.n_bytes.saturating_sub(parts.n_unflushed).max(1);
        self.parts.as_ref().map_or(u64::MAX, until)
    }

    /// So much was written to the file that is being copied, which has everything up to `end` now.
    pub(super) fn note_written(&mut self, file: BorrowedFd<'_>, n_bytes: u64, end: u64) -> Result<(), Flaw> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        parts.n_unflushed += n_bytes;
        if parts.is_due(self.facts.group_limits) {
            self.lane.flushing();
            calls::fdatasync(file).map_err(|errno| Flaw::new(Action::Flush, errno))?;
            self.lane.copying();
            parts.note_durable(file, end);
        }
        Ok(())
    }

    /// Whether what is left of the file that was being copied can be gone on with.
    pub(super) fn leaves_part(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.mark.is_some() && parts.n_durable > 0)
    }

    /// The file that was copied is no part any more.
    pub(super) fn end_parts(&mut self, file: &OwnedFd) -> Result<(), Flaw> {
        match self.parts.take().and_then(|parts| parts.mark) {
            Some(_) => Bearer::open(file).remove(MARK).map_err(|errno| Flaw::new(Action::SetAttributes, errno)),
            None => Ok(()),
        }
    }

    /// Removes what there is of a file that nobody goes on with.
    pub(super) fn remove_part(&self, spot: &Spot<'_>) {
        if let Some(key) = self.facts.key {
            let name = part_name(key, spot.destination_name());
            let _ = unlinkat(&spot.here.destination, name.as_c_str(), AtFlags::empty());
        }
    }

    /// Likewise, after it was decided what becomes of an entry without copying it: the run before may have begun to.
    pub(super) fn remove_needless_part(&self, spot: &Spot<'_>, done: &Done) {
        if let Done::Entry { n_bytes, .. } = *done
            && self.facts.resumed.is_some()
            && n_bytes > self.facts.group_limits.n_bytes
        {
            self.remove_part(spot);
        }
    }
}

/// A file of which a part is there.
struct Part {
    file: OwnedFd,
    name: CString,
    mark: Mark,
    n_durable: u64,
}
