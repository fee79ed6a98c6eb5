//! Visits folders: makes the copy of a folder, lists it, copies what is in it, goes down, and finishes it on the way back.
//! When the budget is spent or another worker has nothing to do, what was found and not begun is given back.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use rustix::fs::{FileType, Mode, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::attributes::{Bearer, Slate, remove_inherited_acl};
use super::file::Sharing;
use super::folders::{Pair, kind_of, open_folder};
use super::follow::Extent;
use super::keeping::{Keeping, Refuser};
use super::metadata::Present;
use super::positions::has_lasting_positions;
use super::{Flaw, Worker};
use crate::calls::{self, Patience, fstat, mkdirat};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome};
use crate::names::{Bytes, Kind, Names};
use crate::selection::{Links, Wanted};
use crate::task::{Arrival, Asked, FolderRef, Identity, Leftover, OpenFolder, Position, SharedFile};

/// A folder that is being visited.
pub(super) struct Frame {
    name: CString,
    /// Where it was read, before its names were. None for a folder that the parent finishes.
    source: Option<Stat>,
    outcome: Outcome,
    arrival: Arrival,
    files: Unread,
    folders: Unread,
    /// Where the names begin that were not read for now.
    rest: Option<Position>,
    /// How the answer calls it, if it cannot be finished here.
    reported: Option<FolderRef>,
}

/// Names of which some have been begun.
#[derive(Default)]
pub(super) struct Unread {
    names: Names,
    offset: usize,
    n_begun: usize,
}

impl Unread {
    pub(super) fn new(names: Names) -> Self {
        Self { names, offset: 0, n_begun: 0 }
    }

    /// The next one, and where the one after it begins.
    pub(super) fn next(&self) -> Option<(Kind, &CStr, usize)> {
        self.names.at(self.offset)
    }

    pub(super) fn n_left(&self) -> usize {
        self.names.len() - self.n_begun
    }

    pub(super) fn advance(&mut self, next: usize) {
        self.offset = next;
        self.n_begun += 1;
    }

    /// Takes the next one.
    pub(super) fn take_next(&mut self) -> Option<(Kind, CString)> {
        let (kind, name, next) = self.names.at(self.offset)?;
        let name = name.to_owned();
        self.advance(next);
        Some((kind, name))
    }

    pub(super) fn take_rest(&mut self) -> Names {
        let unread = std::mem::take(self);
        unread.names.rest_from(unread.offset, unread.n_begun)
    }
}

/// Why a folder was not gone to, where nothing failed.
enum Unvisited {
    /// It is the destination itself, met through a bind mount.
    Itself,
    /// Something that is no folder is there, and somebody must be asked about it.
    Asked,
}

/// How much a folder weighs against a file when it is asked whether there is enough to share.
const FOLDER_WEIGHT: usize = 16;

/// Less than this is not worth giving back.
const LEAST_TO_SHARE: usize = 32;

impl Worker {
    /// Visits the folder that an item names, which is there and is finished by the parent.
    pub(super) fn visit_root(&mut self, entered: Result<Rc<Pair>, Flaw>, from: Position, arrival: Arrival) {
        let pair = match entered {
            Ok(pair) => pair,
            Err(flaw) => {
                self.answer.failed_items.push(self.item_idx);
                self.answer.source_unread = true;
                return self.fail_here(flaw);
            }
        };
        let is_listed = self.selector.wanted_in(&self.path) == Wanted::Listed;
        // The descriptor may have been read before, by a task that was cut short.
        if !is_listed
            && let Err(errno) = calls::seek(&pair.source, SeekFrom::Start(from.0))
            && from != Position::default()
        {
            self.answer.failed_items.push(self.item_idx);
            self.answer.source_unread = true;
            return self.fail_here(Flaw::new(Action::List, errno));
        }
        let mut frame = Frame {
            name: CString::default(),
            source: None,
            outcome: Outcome::Copied,
            arrival,
            files: Unread::default(),
            folders: Unread::default(),
            rest: None,
            reported: Some(FolderRef::Item(self.item_idx)),
        };
        self.list(&pair, &mut frame, from);
        if frame.outcome == Outcome::Failed {
            self.answer.failed_items.push(self.item_idx);
        }
        self.enter_frame(frame);
        self.run_frames();
    }

    /// Visits a sub-folder of the current folder, and all that is below it.
    pub(super) fn visit(&mut self, name: &CStr, arrival: Arrival) {
        self.descend(name, arrival);
        self.run_frames();
    }

    fn run_frames(&mut self) {
        while let Some(frame) = self.frames.last() {
            if frame.files.n_left() > 0 {
                if self.is_over() {
                    break;
                }
                self.copy_files();
            } else if let Some((_, name, next)) = frame.folders.next() {
                let (name, arrival) = (name.to_owned(), frame.arrival);
                if self.is_over() {
                    break;
                }
                if let Some(frame) = self.frames.last_mut() {
                    frame.folders.advance(next);
                }
                self.n_left -= FOLDER_WEIGHT.min(self.n_left);
                self.descend(&name, arrival);
            } else if frame.rest.is_some() {
                break;
            } else {
                self.ascend();
            }
        }
        self.give_back();
    }

    /// Makes and opens a sub-folder and reads its names. If that fails, it is counted and we stay where we are.
    fn descend(&mut self, name: &CStr, arrival: Arrival) {
        self.lane.entry(&self.path, name.to_bytes());
        self.lane.listing();
        match self.refuse_stuck(name).and_then(|()| self.open_both(name, arrival)) {
            Ok(Ok((pair, mut frame, extent))) => {
                self.append_to_path(name);
                // What is named is wanted also where another file system begins.
                if extent == Extent::Whole || self.selector.is_listed(&self.path) {
                    self.list(&pair, &mut frame, Position::default());
                }
                self.chain.push(name, pair);
                self.enter_frame(frame);
            }
            Ok(Err(Unvisited::Asked)) => self.ask(Kind::Folder, name, 0),
            Ok(Err(Unvisited::Itself)) => self.book_entry(name, EntryKind::Directory, Outcome::Skipped, 0),
            Err(flaw) => self.book_unread(name, flaw),
        }
    }

    fn open_both(&mut self, name: &CStr, arrival: Arrival) -> Result<Result<(Pair, Frame, Extent), Unvisited>, Flaw> {
        let here = self.chain_current()?;
        let source = here.open_source_folder(name).map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP if !here.follows() && self.facts.selection.list.is_none() => {
                Flaw::new(Action::Open, Reason::BecameOther)
            }
            errno => Flaw::new(Action::Open, errno),
        })?;
        let stat = fstat(&source).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        if self.facts.destinations.contains(&Identity::of(&stat)) {
            return Ok(Err(Unvisited::Itself));
        }
        let extent = self.extent_of(&here, &source, &stat)?;
        let frame = |outcome, arrival| Frame {
            name: name.to_owned(),
            source: Some(stat),
            outcome,
            arrival,
            files: Unread::default(),
            folders: Unread::default(),
            rest: None,
            reported: None,
        };
        if self.is_rehearsal() {
            let (pair, outcome) = self.rehearse_folder(&here, name, source)?;
            let pair = pair.with_links(self.facts.selection.links);
            return Ok(Ok((pair, frame(outcome, Arrival::Merged), extent)));
        }
        let mut is_made = match mkdirat(&here.destination, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) if arrival == Arrival::Fresh => {
                return Err(Flaw::new(Action::CreateDirectory, Reason::NameTaken));
            }
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(Flaw::new(Action::CreateDirectory, errno)),
        };
        let mut opened = open_folder(here.destination.as_fd(), name);
        if matches!(opened, Err(Errno::NOTDIR | Errno::LOOP)) && self.may_replace_by(&source)? {
            let spot = self.spot(Rc::clone(&here), name, arrival);
            if !self.put_folder_in_place(&spot)? {
                return Ok(Err(Unvisited::Asked));
            }
            is_made = true;
            opened = open_folder(here.destination.as_fd(), name);
        }
        let destination = opened.map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => Flaw::new(Action::Replace, Reason::NoFolder),
            errno => Flaw::new(Action::CreateDirectory, errno),
        })?;
        let is_redone = arrival == Arrival::Redone && self.is_born_in_this_run(&here.destination, name);
        if (is_made || is_redone) && self.is_acl_inherited(&here, arrival) {
            remove_inherited_acl(&Bearer::open(&destination))
                .map_err(|errno| Flaw::new(Action::SetAttributes, errno))?;
        }
        let outcome = if is_made || is_redone { Outcome::Copied } else { Outcome::Unchanged };
        let arrival = match arrival {
            _ if is_made => Arrival::Fresh,
            Arrival::Redone => Arrival::Redone,
            _ => Arrival::Merged,
        };
        let pair = Pair::new(source, destination).with_links(self.facts.selection.links);
        Ok(Ok((pair, frame(outcome, arrival), extent)))
    }

    /// Finds the entries of the folder whose path is the current one.
    fn list(&mut self, pair: &Pair, frame: &mut Frame, from: Position) {
        let mut files = Names::default();
        let mut folders = Names::default();
        let mut listing = std::mem::take(&mut self.listing_buffer);
        if self.selector.is_needed() {
            self.select_here(Some(pair));
        }
        let wanted = self.selector.wanted_in(&self.path);
        if wanted == Wanted::AllAndListed && from == Position::default() {
            self.take_listed_apart(pair, frame.arrival, &mut files, &mut folders);
        }
        let read = match wanted {
            Wanted::Listed => Ok(self.take_listed(pair, frame.arrival, from, &mut files, &mut folders)),
            _ => self.read_names(pair, frame.arrival, &mut listing, &mut files, &mut folders),
        };
        self.listing_buffer = listing;
        match read {
            Ok(rest) => frame.rest = rest,
            Err(errno) => {
                // A root that may not be read is held by a descriptor that only marks its place.
                let errno = if errno == Errno::BADF { Errno::ACCESS } else { errno };
                // What was read before the error is copied nevertheless.
                frame.outcome = Outcome::Failed;
                self.answer.source_unread = true;
                self.fail_here(Flaw::new(Action::List, errno));
            }
        }
        let n_found = (files.len() + folders.len()) as u64;
        self.answer.counts.n_found += n_found;
        self.lane.found(n_found);
        self.n_listed += n_found;
        if frame.arrival == Arrival::Fresh {
            self.answer.counts.n_needed += n_found;
        }
        self.n_left += files.len() + FOLDER_WEIGHT * folders.len();
        frame.files = Unread::new(files);
        frame.folders = Unread::new(folders);
    }

    fn read_names(
        &mut self,
        pair: &Pair,
        arrival: Arrival,
        listing: &mut Vec<u8>,
        files: &mut Names,
        folders: &mut Names,
    ) -> Result<Option<Position>, Errno> {
        let is_selective = self.selector.is_needed();
        let mut entries = RawDir::new(&pair.source, listing.spare_capacity_mut());
        let mut patience = Patience::default();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(errno) if patience.allows(errno) => continue,
                entry => entry?,
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let listed = match entry.file_type() {
                FileType::Unknown => type_of(pair, name),
                FileType::Symlink if pair.follows() => type_of(pair, name),
                listed => listed,
            };
            if is_selective && self.selector.excludes(name.to_bytes(), listed == FileType::Directory) {
                continue;
            }
            let kind = Kind::of(listed);
            if kind == Kind::File && self.facts.wants_sizes {
                self.count_found(pair, name, arrival);
            }
            match kind {
                Kind::Folder => folders.push(kind, name),
                _ => files.push(kind, name),
            }
            let position = Position(entry.next_entry_cookie());
            // Whoever has time goes on from here, so that no answer grows with the folder.
            let n_read = self.n_listed + (files.len() + folders.len()) as u64;
            if n_read >= u64::from(self.budget.n_listed) && entries.is_buffer_empty() && has_lasting_positions(pair) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Counts the size of a file, and what it takes of the room at the destination if it cannot be there yet.
    pub(super) fn count_found(&mut self, pair: &Pair, name: &CStr, arrival: Arrival) {
        let Ok(stat) = pair.stat_source(name) else { return };
        let n_bytes = stat.st_size as u64;
        let counts = &mut self.answer.counts;
        counts.bytes_found += n_bytes;
        // Further names of a file take no room, and which is the first is not known here.
        if arrival == Arrival::Fresh && stat.st_nlink == 1 {
            counts.bytes_needed += n_bytes.min(stat.st_blocks as u64 * 512);
        }
    }

    /// What an entry is that no listing has found.
    pub(super) fn kind_of_named(&mut self, pair: &Pair, name: &CStr) -> Result<Kind, Flaw> {
        let stat = pair.stat_source(name).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let kind = kind_of(&stat);
        if self.facts.wants_sizes && kind == Kind::File {
            self.answer.counts.bytes_found += stat.st_size as u64;
        }
        Ok(kind)
    }

    fn enter_frame(&mut self, frame: Frame) {
        self.frames.push(frame);
        if self.budget.n_copied == 0 {
            self.give_files_back();
        }
    }

    /// Copies files of the current folder until they or the budget end.
    fn copy_files(&mut self) {
        let pair = self.chain_current();
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let (mut files, arrival) = (std::mem::take(&mut frame.files), frame.arrival);
        while let Some((kind, name, next)) = files.next() {
            if self.is_over() {
                break;
            }
            match &pair {
                Ok(pair) => {
                    let spot = self.spot(Rc::clone(pair), name, arrival);
                    self.copy_and_book(kind, &spot, Sharing::Report);
                }
                Err(flaw) => self.book_failure(name, *flaw),
            }
            self.n_copied += 1;
            self.n_left -= 1.min(self.n_left);
            files.advance(next);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.files = files;
        }
    }

    /// Leaves the current folder, finished unless something in it is still open.
    fn ascend(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if frame.reported.is_none() {
            match self.chain_current() {
                Ok(pair) => self.finish(&pair, frame.source, frame.outcome),
                Err(flaw) => self.finish_failed(flaw, frame.outcome),
            }
        }
        if !frame.name.is_empty() {
            self.chain.pop();
            self.cut_path();
        }
    }

    /// Sets the final metadata of the folder whose path is the current one, and counts it.
    pub(super) fn finish(&mut self, pair: &Pair, source: Option<Stat>, outcome: Outcome) {
        self.lane.entry(&self.path, b"");
        match self.try_finish(pair, source, outcome) {
            Err(flaw) => self.finish_failed(flaw, outcome),
            Ok(()) if outcome == Outcome::Failed => {}
            Ok(()) => self.book_here(EntryKind::Directory, outcome),
        }
    }

    /// A folder that has been counted as failed already is not counted again.
    pub(super) fn finish_failed(&mut self, flaw: Flaw, outcome: Outcome) {
        if outcome != Outcome::Failed {
            self.fail_here(flaw);
        }
    }

    pub(super) fn try_finish(&mut self, pair: &Pair, source: Option<Stat>, outcome: Outcome) -> Result<(), Flaw> {
        if self.is_rehearsal() {
            return Ok(());
        }
        let source = match source {
            Some(source) => source,
            None => fstat(&pair.source).map_err(|errno| Flaw::new(Action::Stat, errno))?,
        };
        self.keeping = Keeping::default();
        let present = fstat(&pair.destination).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let slate = if outcome == Outcome::Copied { Slate::Clean } else { Slate::Used };
        self.set_owner_and_mode(pair.destination.as_fd(), Present::of(&present), &source, slate)?;
        self.set_attributes(&Bearer::open(&pair.source), &Bearer::open(&pair.destination), slate)?;
        let refuser = Refuser { slate, uid: present.st_uid };
        self.set_times(pair.destination.as_fd(), present.st_dev, &source, refuser)
    }

    /// Reports a file with several names; its folder cannot be finished before the parent has decided about it.
    pub(super) fn share(&mut self, kind: Kind, name: &CStr, identity: Identity, n_links: u64) {
        let folder = match self.frames.len() {
            0 => FolderRef::Item(self.item_idx),
            n_frames => self.report(n_frames - 1),
        };
        // Links that were followed are names, too, and nobody has counted those.
        let n_links = if self.facts.selection.links == Links::Follow { u64::MAX } else { n_links };
        self.answer.shared.push(SharedFile { folder, name: Names::one(kind, name), identity, n_links });
    }

    /// Reports an entry that somebody must be asked about, likewise.
    pub(super) fn ask(&mut self, kind: Kind, name: &CStr, n_bytes: u64) {
        let folder = match self.frames.len() {
            0 => FolderRef::Item(self.item_idx),
            n_frames => self.report(n_frames - 1),
        };
        let why = self.why.take();
        self.answer.asked.push(Asked { folder, name: Names::one(kind, name), why, n_bytes });
    }

    /// Enters a folder, after its ancestors, into the answer as one that is not finished.
    fn report(&mut self, frame_idx: usize) -> FolderRef {
        // Not recursive, since folders may be nested deeper than a stack is.
        let n_reported = self.frames[..=frame_idx].iter().rposition(|frame| frame.reported.is_some());
        let mut parent = n_reported.and_then(|idx| self.frames[idx].reported).unwrap_or(FolderRef::Item(self.item_idx));
        for frame in &mut self.frames[n_reported.map_or(0, |idx| idx + 1)..=frame_idx] {
            let folder = FolderRef::New(self.answer.folders.len() as u32);
            self.answer.folders.push(OpenFolder {
                parent,
                name: Bytes(frame.name.as_bytes().to_vec()),
                outcome: frame.outcome,
                arrival: frame.arrival,
            });
            frame.reported = Some(folder);
            parent = folder;
        }
        parent
    }

    /// A walk copies nothing: the files of a folder go to whoever copies.
    fn give_files_back(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if frame.files.n_left() == 0 {
            return;
        }
        let files = frame.files.take_rest();
        let rest = frame.rest.take();
        self.n_left -= files.len().min(self.n_left);
        self.n_given += files.len();
        let folder = self.report(self.frames.len() - 1);
        self.answer.leftovers.push(Leftover { folder, folders: Names::default(), files, rest });
    }

    /// Reports everything that has been found and not begun, and leaves all folders.
    fn give_back(&mut self) {
        for frame_idx in 0..self.frames.len() {
            let frame = &mut self.frames[frame_idx];
            let (files, folders, rest) = (frame.files.take_rest(), frame.folders.take_rest(), frame.rest.take());
            if !files.is_empty() || !folders.is_empty() || rest.is_some() {
                let folder = self.report(frame_idx);
                self.answer.leftovers.push(Leftover { folder, folders, files, rest });
            }
        }
        while let Some(frame) = self.frames.pop() {
            if !frame.name.is_empty() {
                self.chain.pop();
                self.cut_path();
            }
        }
        self.n_left = 0;
    }

    /// Whether nothing new may be begun in this task. Once it is, it stays so.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.is_task_over {
            self.is_task_over = self.lane.must_stop()
                || (self.budget.n_copied > 0 && self.n_copied >= u64::from(self.budget.n_copied))
                || self.n_listed >= u64::from(self.budget.n_listed)
                || (self.lane.is_work_wanted() && self.has_enough_to_share() && self.lane.take_wish());
        }
        self.is_task_over
    }

    fn has_enough_to_share(&self) -> bool {
        self.n_left + self.n_items_left + self.n_given >= LEAST_TO_SHARE
    }
}

/// What an entry is where the listing does not say so. One that has vanished since is found missing when it is copied.
fn type_of(pair: &Pair, name: &CStr) -> FileType {
    pair.stat_source(name).map_or(FileType::RegularFile, |stat| FileType::from_raw_mode(stat.st_mode))
}
