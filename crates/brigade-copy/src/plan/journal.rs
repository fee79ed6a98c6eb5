//! Remembers in a folder of the user which runs were begun and have not come to their end, so that the same request goes on with
//! one: to the same place, although something is there by now. A record only says that there was such a run: which places a
//! request may choose from is known without it, so one that is lost or wrong costs work and never leads elsewhere. The folder and
//! the places of a request are found by path, as in plan.rs; records by name in the folder that is held. What stands in a
//! record is in journal/record.rs.

mod record;

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, StatxFlags, flock};
use rustix::io::Errno;

use super::place::or_here;
use super::{Pair, Place, Source};
use crate::calls::{fstat, fsync, ftruncate, openat, pread, pwrite, statat, statx, unlinkat};
use crate::event::Note;
use crate::request::{Request, Resume, Writing};
use crate::task::Identity;
use record::{Birth, Record, Top};
pub(crate) use record::{Form, Key};

/// No record is as long. One that is longer is not read.
const MAX_RECORD_BYTES: usize = 1024;

/// How long a run must last before its record is worth being flushed: many are over by then, and a flush takes as long as they
/// do. Until then nothing of the copy is flushed either, unless somebody else asks the kernel for it.
const UNTIL_FLUSH: Duration = Duration::from_millis(100);

/// The runs that are remembered, and the one that is being begun.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    shelf: Option<Shelf>,
    /// Who the sources are, in a form to be hashed.
    sources: Vec<u8>,
    writing: Writing,
    page: Option<Page>,
    notes: Vec<Note>,
}

/// The folder of records. It may not be there yet.
#[derive(Debug)]
struct Shelf {
    path: PathBuf,
    folder: Option<Arc<OwnedFd>>,
}

/// The record of one run, which nobody else takes while this is held.
#[derive(Debug)]
struct Page {
    name: String,
    form: Form,
    /// Locked; `None` if there is no such file yet.
    file: Option<Arc<OwnedFd>>,
    /// What it says, if it says anything that is true.
    record: Option<Record>,
    /// Whether the place of the copy was there.
    top: Top,
    /// This run has written it.
    is_new: bool,
    /// The run that it is of lasts as long as this.
    lasts: Option<Sender<()>>,
}

impl Journal {
    /// Opens the folder of records, if there is one.
    pub(super) fn open(request: &Request, sources: &[Source]) -> Self {
        let Resume::Recorded(path) = &request.resume else {
            return Self::default();
        };
        let Some(sources) = sources.iter().map(identity_of).collect::<Option<Vec<_>>>() else {
            return Self::default();
        };
        let mut journal = Self { sources: sources.concat(), writing: request.policy.writing, ..Self::default() };
        match open_shelf(path) {
            Ok(folder) => journal.shelf = Some(Shelf { path: path.clone(), folder: folder.map(Arc::new) }),
            Err(note) => journal.notes.push(note),
        }
        journal
    }

    /// Whether a run in this form made this place, which is there, and did not come to its end. If so, it is this run's now.
    pub(super) fn has_unfinished(&mut self, place: &Place, form: Form) -> bool {
        let page = self.page_of(&[place], form);
        let made_it = |record: &Record| record.form == form && matches!(record.top, Top::New(_));
        match page {
            Some(page) if page.record.as_ref().is_some_and(made_it) => {
                self.page = Some(page);
                true
            }
            _ => false,
        }
    }

    /// Finds the record of a run from the sources to these places, or prepares one.
    pub(super) fn choose(&mut self, pairs: &[Pair], form: Form) {
        if self.page.is_none() {
            let places: Vec<_> = pairs.iter().map(|pair| &pair.destination_place).collect();
            self.page = self.page_of(&places, form);
        }
    }

    /// The moment before the first write of the run that is gone on with.
    pub(crate) fn resumed(&self) -> Option<(i64, i64)> {
        let page = self.page.as_ref().filter(|page| !page.is_new)?;
        Some(page.record?.started)
    }

    /// What tells parts of files that this run may go on with, or a later one may that goes on with this.
    pub(crate) fn key(&self) -> Option<Key> {
        Some(self.page.as_ref()?.record?.key)
    }

    /// What somebody should know of the records.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Remembers the run, with a key of its own, unless it is remembered already. This is before its first write.
    pub(crate) fn begin(&mut self, started: (i64, i64), key: Key) {
        let (Writing::Real, Some(shelf), Some(page)) = (self.writing, &mut self.shelf, &mut self.page) else { return };
        if page.record.is_some() {
            return page.flush_later(shelf);
        }
        let record = Record { form: page.form, started, key, top: page.top };
        match page.write(shelf, &record) {
            Ok(()) => {
                page.record = Some(record);
                page.is_new = true;
                page.flush_later(shelf);
            }
            // Somebody else has begun the same meanwhile.
            Err(Errno::EXIST | Errno::AGAIN) => self.page = None,
            Err(errno) => {
                self.notes.push(Note::RunNotRecorded { folder: shelf.path.clone(), errno: errno.raw_os_error() });
                self.page = None;
            }
        }
    }

    /// Remembers which folder the run made for the copy.
    pub(crate) fn note_top(&mut self, parent: &OwnedFd, name: &CStr) {
        let Some(page) = &mut self.page else { return };
        let Some(record) = page.record.as_mut().filter(|record| record.top == Top::New(None)) else { return };
        record.top = Top::New(birth_of(parent, name));
        if let Some(file) = &page.file {
            // Without it the folder is told by its age alone.
            let _ = pwrite(file, record.text(&page.name).as_bytes(), 0);
        }
    }

    /// Forgets the run if nothing came of it.
    pub(crate) fn withdraw(&mut self) {
        if self.page.as_ref().is_some_and(|page| page.is_new) {
            self.forget();
        }
    }

    /// Forgets the run: it has come to its end.
    pub(crate) fn forget(&mut self) {
        let (Writing::Real, Some(shelf), Some(page)) = (self.writing, &self.shelf, self.page.take()) else { return };
        if let (Some(folder), Some(_)) = (&shelf.folder, &page.file) {
            let _ = unlinkat(folder, page.name.as_str(), AtFlags::empty());
        }
    }

    /// The record of a run from the sources to these places, as far as it can be had and is true.
    fn page_of(&mut self, places: &[&Place], form: Form) -> Option<Page> {
        let shelf = self.shelf.as_ref()?;
        let name = name_of_run(&self.sources, places)?;
        let top = match places {
            [place] if !is_there(place) => Top::New(None),
            _ => Top::There,
        };
        let mut page = Page { name, form, file: None, record: None, top, is_new: false, lasts: None };
        let Some(folder) = &shelf.folder else { return Some(page) };
        match open_record(folder, &page.name, self.writing) {
            Ok(file) => {
                let text = read(&file);
                page.record = text.as_deref().and_then(|text| Record::read(text, &page.name));
                if page.record.is_none() && text.is_none_or(|text| !text.is_empty()) {
                    self.notes.push(Note::RecordIgnored { path: shelf.path.join(&page.name) });
                }
                if page.record.is_some_and(|record| !is_of_today(&record, places)) {
                    page.record = None;
                }
                page.file = Some(file.into());
                Some(page)
            }
            Err(Errno::NOENT) => Some(page),
            // A run that is under way has it.
            Err(Errno::AGAIN) => None,
            Err(_) => {
                self.notes.push(Note::RecordIgnored { path: shelf.path.join(&page.name) });
                None
            }
        }
    }
}

impl Page {
    fn write(&mut self, shelf: &mut Shelf, record: &Record) -> Result<(), Errno> {
        let file = match self.file.take() {
            Some(file) => file,
            None => create_record(shelf, &self.name)?.into(),
        };
        ftruncate(&file, 0)?;
        let text = record.text(&self.name);
        let written = pwrite(&file, text.as_bytes(), 0);
        if written != Ok(text.len()) {
            if let Some(folder) = &shelf.folder {
                let _ = unlinkat(folder, self.name.as_str(), AtFlags::empty());
            }
            return Err(written.err().unwrap_or(Errno::NOSPC));
        }
        self.file = Some(file);
        Ok(())
    }

    /// Has the record flushed, unless the run is over soon. Nobody waits for that.
    fn flush_later(&mut self, shelf: &Shelf) {
        let (Some(file), Some(folder)) = (self.file.clone(), shelf.folder.clone()) else { return };
        let (lasts, ended) = channel();
        self.lasts = Some(lasts);
        let flush = move || {
            if ended.recv_timeout(UNTIL_FLUSH) == Err(RecvTimeoutError::Timeout) {
                let _ = fsync(&file).and_then(|()| fsync(&folder));
            }
        };
        // Where no thread can be had, the kernel writes it out in its own time.
        let _ = std::thread::Builder::new().name("record".to_owned()).spawn(flush);
    }
}

/// Opens the folder of records; `None` if it is not there.
fn open_shelf(path: &Path) -> Result<Option<OwnedFd>, Note> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(CWD, path, flags, Mode::empty()) {
        Ok(folder) if is_private(&folder, FileType::Directory) => Ok(Some(folder)),
        Ok(_) => Err(Note::RecordIgnored { path: path.to_owned() }),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Note::RunNotRecorded { folder: path.to_owned(), errno: errno.raw_os_error() }),
    }
}

/// Opens the record of this name, and keeps all others from it; `AGAIN` if another run has it.
fn open_record(folder: &OwnedFd, name: &str, writing: Writing) -> Result<OwnedFd, Errno> {
    let access = if writing == Writing::Real { OFlags::RDWR } else { OFlags::RDONLY };
    // Whatever else has this name holds nobody up.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty())?;
    if !is_private(&file, FileType::RegularFile) {
        return Err(Errno::PERM);
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    // Whoever had it may have come to his end meanwhile.
    let (own, present) = (fstat(&file)?, statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
    if Identity::of(&own) == Identity::of(&present) { Ok(file) } else { Err(Errno::AGAIN) }
}

fn create_record(shelf: &mut Shelf, name: &str) -> Result<OwnedFd, Errno> {
    if shelf.folder.is_none() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&shelf.path);
        made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        shelf.folder = open_shelf(&shelf.path).map_err(|_| Errno::PERM)?.map(Arc::new);
    }
    let folder = shelf.folder.as_ref().ok_or(Errno::NOENT)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Whether something belongs to this user, nobody else may write to it, and it is what it should be.
fn is_private(file: &OwnedFd, wanted: FileType) -> bool {
    fstat(file).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == wanted
            && stat.st_uid == rustix::process::geteuid().as_raw()
            && stat.st_mode & 0o022 == 0
    })
}

fn read(file: &OwnedFd) -> Option<Vec<u8>> {
    let mut text = vec![0; MAX_RECORD_BYTES];
    let n_read = pread(file, &mut text, 0).ok()?;
    text.truncate(n_read);
    (n_read < MAX_RECORD_BYTES).then_some(text)
}

/// The name of a record says whose it is: from which sources, to which places.
fn name_of_run(sources: &[u8], places: &[&Place]) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    add(&mut hasher, sources);
    for place in places {
        add(&mut hasher, resolved(place)?.as_os_str().as_bytes());
    }
    Some(format!("{}.run", &hasher.finalize().to_hex()[..32]))
}

fn add(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Path, inode and birth: device numbers may be others after the next start of the machine.
fn identity_of(source: &Source) -> Option<Vec<u8>> {
    let place = source.place();
    let path = resolved(&place)?;
    let born = birth_at(&place).map_or((0, 0), |birth| birth.born);
    let mut identity = Vec::new();
    for part in
        [path.as_os_str().as_bytes(), &source.entry.identity.inode.to_le_bytes(), format!("{born:?}").as_bytes()]
    {
        identity.extend_from_slice(&(part.len() as u64).to_le_bytes());
        identity.extend_from_slice(part);
    }
    Some(identity)
}

/// A path without links, but for the entry's own.
fn resolved(place: &Place) -> Option<PathBuf> {
    match place {
        Place::Folder(folder) => folder.canonicalize().ok(),
        Place::Named { folder, name } => Some(or_here(folder).canonicalize().ok()?.join(name)),
    }
}

fn path_of(place: &Place) -> PathBuf {
    match place {
        Place::Folder(folder) => folder.join("."),
        Place::Named { folder, name } => folder.join(name),
    }
}

fn is_there(place: &Place) -> bool {
    statat(CWD, &path_of(place), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn birth_at(place: &Place) -> Option<Birth> {
    birth_of(CWD, &path_of(place))
}

fn birth_of(folder: impl AsFd, name: impl rustix::path::Arg + Copy) -> Option<Birth> {
    let stat = statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::BTIME).ok()?;
    let is_known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let born = if is_known { (stat.stx_btime.tv_sec, i64::from(stat.stx_btime.tv_nsec)) } else { (0, 0) };
    Some(Birth { inode: stat.stx_ino, born })
}

/// Whether the place of a copy is still the one that a record is about: not another that was made since.
fn is_of_today(record: &Record, places: &[&Place]) -> bool {
    let [place] = places else { return true };
    let present = birth_at(place);
    match (record.top, present) {
        (Top::There, present) => present.is_some(),
        (Top::New(None), None) => true,
        // The run was cut off between making the folder and noting which it is.
        (Top::New(None), Some(present)) => present.born == (0, 0) || present.born >= record.started,
        (Top::New(made), present) => made == present,
    }
}
