//! Visits folders: makes the copy of a folder, copies what is in it, goes down, and finishes it on the way back. How names are
//! read is in visit/reading.rs, what is given back when the budget is spent or another worker has nothing to do in
//! visit/sharing.rs.

mod reading;
mod sharing;

use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use rustix::fs::{Mode, SeekFrom, Stat};
use rustix::io::Errno;

use super::attributes::{Bearer, Slate, remove_inherited_acl};
use super::committing::flush;
use super::file::Sharing;
use super::folders::{Pair, open_folder};
use super::follow::Extent;
use super::keeping::{Keeping, Refuser};
use super::metadata::Present;
use super::unread::Unread;
use super::{Flaw, Worker};
use crate::calls::{self, fstat, mkdirat};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome};
use crate::names::Kind;
use crate::selection::Wanted;
use crate::task::{Arrival, FileTimes, FolderRef, Identity, Position};

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

/// Why a folder was not gone to, where nothing failed.
enum Unvisited {
    /// It is the destination itself, met through a bind mount.
    Itself,
    /// Something that is no folder is there, and somebody must be asked about it.
    Asked,
}

/// How much a folder weighs against a file when it is asked whether there is enough to share.
const FOLDER_WEIGHT: usize = 16;

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
            if self.is_over() || self.is_for_another(kind, name) {
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
        self.has_left_to_commit = false;
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
        let original = Bearer::open(&pair.source);
        self.set_all_but_times(pair.destination.as_fd(), Present::of(&present), &source, &original, slate)?;
        let refuser = Refuser { slate, uid: present.st_uid };
        self.set_times(pair.destination.as_fd(), present.st_dev, FileTimes::of(&source), refuser)?;
        // The flush at the end may not reach it.
        if self.must_flush_by_itself(pair) { flush(&pair.destination) } else { Ok(()) }
    }
}
