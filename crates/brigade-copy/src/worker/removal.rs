//! Removes what the source does not have: compares the listings of both folders, goes down where both have a folder, and takes
//! away the rest with everything below it. Never through a link, never into another file system. Whether and when that is done
//! is decided in scheduler/removal.rs, what one of two folders has and the other has not in removal/listing.rs.

mod listing;
pub(super) mod taking;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::folders::{Pair, Reality, kind_of, list, open_folder};
use super::follow::Extent;
use super::unread::Unread;
use super::{Flaw, Worker};
use crate::calls::{fstat, statat};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome, RemovalCeased};
use crate::names::{Bytes, Kind, Names, joined};
use crate::request::{Backup, Delete, EmptySource};
use crate::selection::Selector;
use crate::task::{Chore, Failure, FolderRef, Identity, OpenRemoval, Removed, Standing};
use listing::{Differences, Filter, compare};
use taking::{Gone, is_mount_point, try_remove};

/// A folder that somebody else fills meanwhile is listed and emptied this often.
const N_ROUNDS: u32 = 4;

/// A folder of the destination that is being worked through.
pub(super) struct Clearing {
    /// Empty for the folder that the item names.
    name: CString,
    standing: Standing,
    /// What goes.
    extra: Unread,
    /// Sub-folders that both sides have.
    common: Unread,
    /// Something was removed or tried, so a common folder has to be finished again.
    is_touched: bool,
    /// Something in it stays, so it stays as well.
    is_kept: bool,
    n_rounds: u32,
    /// How the answer calls it, if work in it is left.
    reported: Option<FolderRef>,
}

impl Clearing {
    fn new(name: &CStr, standing: Standing, extra: Names, common: Names) -> Self {
        Self {
            name: name.to_owned(),
            standing,
            extra: Unread::new(extra),
            common: Unread::new(common),
            is_touched: false,
            is_kept: false,
            n_rounds: 1,
            reported: None,
        }
    }
}

/// Whether a folder has been emptied already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Attempt {
    First,
    Emptied,
}

// One item.
impl Worker {
    /// Does all of it, or gives back what is left.
    pub(super) fn run_chore(&mut self, chore: Chore, entered: Result<Rc<Pair>, Flaw>) {
        self.lane.removing();
        for _ in 0..chore.names().map_or(1, Names::len) {
            self.begin_unit();
        }
        let none = Names::default;
        let clearing = match chore {
            Chore::RemoveFolders(n_folders) => return self.remove_folders(n_folders),
            Chore::CompareTop => match entered {
                Ok(pair) => self.compared(&pair, c""),
                Err(flaw) => return self.cease_unread(Bytes(self.path.clone()), flaw),
            },
            // A common folder that cannot be entered any more has gone on one of the sides.
            Chore::Compare(names) => entered.ok().map(|_| Clearing::new(c"", Standing::Common, none(), names)),
            Chore::RemoveExtra(names) => entered.ok().map(|_| Clearing::new(c"", Standing::Common, names, none())),
            Chore::RemoveBelow(names) => match self.enter_destination(self.root, &self.path.clone()) {
                Ok(_) => Some(Clearing::new(c"", Standing::Extra, names, none())),
                Err(_) => None,
            },
        };
        if let Some(clearing) = clearing {
            self.clearings.push(Clearing { reported: Some(FolderRef::Item(self.item_idx)), ..clearing });
            self.run_clearings();
        }
    }

    fn run_clearings(&mut self) {
        while let Some(clearing) = self.clearings.last_mut() {
            if clearing.extra.n_left() + clearing.common.n_left() == 0 {
                self.leave_clearing();
                continue;
            }
            if self.is_over() {
                break;
            }
            self.n_left = self.n_left.saturating_sub(1);
            let Some(clearing) = self.clearings.last_mut() else { break };
            match (clearing.extra.take_next(), clearing.standing) {
                (Some((kind, name)), Standing::Common) => self.remove_extra(kind, &name),
                (Some((kind, name)), Standing::Extra) => self.remove_below(kind, &name),
                (None, _) => {
                    if let Some((_, name)) = clearing.common.take_next() {
                        self.compare_child(&name);
                    }
                }
            }
        }
        self.give_back_clearings();
    }

    /// Removes the folder whose path is the current one, and those above it, as many as this says.
    fn remove_folders(&mut self, n_folders: u32) {
        for _ in 0..n_folders {
            let path = Bytes(self.path.clone());
            let name = self.path.rsplit(|&byte| byte == b'/').next().and_then(|name| CString::new(name).ok());
            self.cut_path();
            let Some(name) = name else { return };
            let gone = self
                .enter_destination(self.root, &self.path.clone())
                .and_then(|folder| self.try_remove(&folder, Kind::Folder, &name, Attempt::Emptied));
            let flaw = match gone {
                Ok(Gone::Removed(kind)) => {
                    self.book_removed(path, kind);
                    continue;
                }
                Ok(Gone::Vanished) => continue,
                Ok(Gone::Full) => Flaw::new(Action::Remove, Errno::NOTEMPTY),
                Err(flaw) => flaw,
            };
            self.fail_removal(path, flaw);
            return self.answer.removal.kept.push(FolderRef::Item(self.item_idx));
        }
        // Nothing to be done if the folder above goes as well.
        if let Ok(pair) = self.enter(self.root) {
            self.finish_again(&pair);
        }
    }
}

// Folders that both sides have.
impl Worker {
    /// Goes to a sub-folder that both sides have, if they still do.
    fn compare_child(&mut self, name: &CStr) {
        self.lane.entry(&self.path, name.to_bytes());
        let Ok(here) = self.chain_current() else { return };
        let source = match open_folder(here.source.as_fd(), name) {
            Ok(source) => source,
            // It went, or became something else, after it was copied: the copy stays.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(errno) => return self.cease_unread(joined(&self.path, name), Flaw::new(Action::Open, errno)),
        };
        // What was not entered in the copy is not entered here: the destination itself, and other file systems with `-x`.
        let Ok(stat) = fstat(&source) else { return };
        let is_entered = matches!(self.extent_of(&here, &source, &stat), Ok(Extent::Whole));
        if !is_entered || self.facts.destinations.contains(&Identity::of(&stat)) {
            return;
        }
        let destination = match open_folder(here.destination.as_fd(), name) {
            Ok(destination) => destination,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
            Err(errno) => return self.fail_removal(joined(&self.path, name), Flaw::new(Action::Reach, errno)),
        };
        let pair = Pair::new(source, destination);
        self.append_to_path(name);
        match self.compared(&pair, name) {
            Some(clearing) => {
                self.chain.push(name, pair);
                self.clearings.push(clearing);
            }
            None => self.cut_path(),
        }
    }

    /// Lists both sides of the folder whose path is the current one. `None`: nothing may be removed in it.
    fn compared(&mut self, pair: &Pair, name: &CStr) -> Option<Clearing> {
        if pair.reality == Reality::Imagined {
            return None;
        }
        self.select_here(Some(pair));
        let mut filter = filter(&mut self.selector, self.facts.delete, &self.facts.policy.backup);
        let compared = compare(pair, &mut self.listing_buffer, &mut filter);
        let path = Bytes(self.path.clone());
        let Differences { extra, common, n_source } = match compared {
            Ok(differences) => differences,
            Err(flaw) if flaw.action == Action::ListDestination => {
                self.fail_removal(path, flaw);
                return None;
            }
            Err(flaw) => {
                self.cease_unread(path, flaw);
                return None;
            }
        };
        let is_top = name.is_empty();
        if is_top && n_source == 0 && !extra.is_empty() && self.facts.empty_source == EmptySource::RemovesNothing {
            self.cease(RemovalCeased::SourceEmpty);
            return None;
        }
        self.n_listed += (n_source + extra.len()) as u64;
        self.n_left += extra.len() + common.len();
        Some(Clearing::new(name, Standing::Common, extra, common))
    }

    /// Removes an entry of a common folder, unless the source has got it meanwhile.
    fn remove_extra(&mut self, kind: Kind, name: &CStr) {
        let Ok(here) = self.chain_current() else { return };
        match statat(&here.source, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(stat) => {
                self.select_here(Some(&here));
                if !filter(&mut self.selector, self.facts.delete, &self.facts.policy.backup).hides(kind_of(&stat), name)
                {
                    return;
                }
            }
            Err(errno) => return self.cease_unread(joined(&self.path, name), Flaw::new(Action::Stat, errno)),
        }
        match self.enter_destination(self.root, &self.path.clone()) {
            Ok(folder) => self.remove(&folder, kind, name),
            Err(flaw) => self.fail_removal(joined(&self.path, name), flaw),
        }
    }

    /// Gives the folder whose path is the current one its times and mode back.
    fn finish_again(&mut self, pair: &Pair) {
        if let Err(flaw) = self.try_finish(pair, None, Outcome::Unchanged) {
            self.fail_removal(Bytes(self.path.clone()), flaw);
        }
    }
}

// Folders that go.
impl Worker {
    /// Removes an entry, or says what a run that writes nothing would find.
    fn try_remove(&self, folder: &OwnedFd, kind: Kind, name: &CStr, attempt: Attempt) -> Result<Gone, Flaw> {
        match (kind, attempt) {
            _ if !self.is_rehearsal() => try_remove(folder, kind, name),
            (Kind::Folder, Attempt::First) => Ok(Gone::Full),
            _ => Ok(Gone::Removed(entry_kind(kind))),
        }
    }

    fn remove_below(&mut self, kind: Kind, name: &CStr) {
        match self.destination_chain.current() {
            Ok(folder) => self.remove(&folder, kind, name),
            Err(flaw) => self.fail_removal(joined(&self.path, name), flaw),
        }
    }

    /// Removes an entry, or goes into it if it is a folder with something in it.
    fn remove(&mut self, folder: &OwnedFd, kind: Kind, name: &CStr) {
        self.lane.entry(&self.path, name.to_bytes());
        self.n_copied += 1;
        if let Some(clearing) = self.clearings.last_mut() {
            clearing.is_touched = true;
        }
        let done = self.try_remove(folder, kind, name, Attempt::First).and_then(|gone| match gone {
            Gone::Removed(kind) => {
                self.book_removed(joined(&self.path, name), kind);
                Ok(())
            }
            Gone::Vanished => Ok(()),
            Gone::Full => self.enter_extra(folder, name, 1),
        });
        if let Err(flaw) = done {
            self.keep(joined(&self.path, name), flaw);
        }
    }

    /// Goes into a folder that goes with everything in it.
    fn enter_extra(&mut self, parent: &OwnedFd, name: &CStr, n_rounds: u32) -> Result<(), Flaw> {
        let folder = open_folder(parent.as_fd(), name).map_err(|errno| Flaw::new(Action::Remove, errno))?;
        if is_mount_point(parent, &folder)? {
            return Err(Flaw::new(Action::Remove, Reason::MountPoint));
        }
        self.append_to_path(name);
        self.select_here(None);
        let mut filter = filter(&mut self.selector, self.facts.delete, &self.facts.policy.backup);
        let mut extra = Names::default();
        let mut is_kept = false;
        let listed = list(&folder, &mut self.listing_buffer, |kind, name| match filter.protects(kind, name) {
            true => is_kept = true,
            false => extra.push(kind, name),
        });
        self.n_listed += extra.len() as u64;
        self.n_left += extra.len();
        let clearing = Clearing::new(name, Standing::Extra, extra, Names::default());
        self.destination_chain.push(name, folder);
        self.clearings.push(Clearing { n_rounds, is_kept, ..clearing });
        if let Err(errno) = listed {
            // What was read before the error goes nevertheless.
            self.keep(Bytes(self.path.clone()), Flaw::new(Action::ListDestination, errno));
        }
        Ok(())
    }

    /// Leaves a folder in which nothing is left to do.
    fn leave_clearing(&mut self) {
        let Some(clearing) = self.clearings.pop() else { return };
        if clearing.standing == Standing::Common {
            if clearing.is_touched
                && let Ok(pair) = self.chain_current()
            {
                self.finish_again(&pair);
            }
            self.climb(&clearing);
        } else if clearing.name.is_empty() {
            if clearing.is_kept {
                self.answer.removal.kept.extend(clearing.reported);
            }
        } else {
            self.climb(&clearing);
            match self.clearings.last_mut() {
                Some(above) if clearing.is_kept => above.is_kept = true,
                _ => self.remove_cleared(&clearing),
            }
        }
    }

    fn remove_cleared(&mut self, clearing: &Clearing) {
        let removed = self.destination_chain.current().and_then(|folder| {
            match self.try_remove(&folder, Kind::Folder, &clearing.name, Attempt::Emptied)? {
                Gone::Removed(kind) => {
                    self.book_removed(joined(&self.path, &clearing.name), kind);
                    Ok(())
                }
                Gone::Vanished => Ok(()),
                Gone::Full if clearing.n_rounds < N_ROUNDS => {
                    self.enter_extra(&folder, &clearing.name, clearing.n_rounds + 1)
                }
                Gone::Full => Err(Flaw::new(Action::Remove, Errno::NOTEMPTY)),
            }
        });
        if let Err(flaw) = removed {
            self.keep(joined(&self.path, &clearing.name), flaw);
        }
    }

    fn climb(&mut self, clearing: &Clearing) {
        if clearing.name.is_empty() {
            return;
        }
        match clearing.standing {
            Standing::Common => self.chain.pop(),
            Standing::Extra => self.destination_chain.pop(),
        }
        self.cut_path();
    }
}

// The books, and what is given back.
impl Worker {
    fn book_removed(&mut self, path: Bytes, kind: EntryKind) {
        self.answer.counts.n_deleted += 1;
        if self.facts.wants_entries {
            self.answer.removal.removed.push(Removed { root: self.root, path, kind });
        }
    }

    fn fail_removal(&mut self, path: Bytes, Flaw { action, cause }: Flaw) {
        self.answer.counts.n_undeleted += 1;
        self.answer.removal.failures.push(Failure { root: self.root, path, action, cause });
    }

    /// Something stays, and so does the folder that it is in.
    fn keep(&mut self, path: Bytes, flaw: Flaw) {
        self.fail_removal(path, flaw);
        if let Some(clearing) = self.clearings.last_mut() {
            clearing.is_kept = true;
        }
    }

    /// Some of the source cannot be read, so nothing more is removed.
    fn cease_unread(&mut self, path: Bytes, flaw: Flaw) {
        self.fail_removal(path, flaw);
        self.cease(RemovalCeased::SourceUnread);
    }

    fn cease(&mut self, why: RemovalCeased) {
        self.answer.removal.ceased = Some(why);
        self.is_task_over = true;
    }

    /// Reports everything that was not begun, and leaves all folders.
    fn give_back_clearings(&mut self) {
        for idx in 0..self.clearings.len() {
            let clearing = &mut self.clearings[idx];
            let (extra, common) = (clearing.extra.take_rest(), clearing.common.take_rest());
            let chore = match clearing.standing {
                Standing::Common => Chore::RemoveExtra(extra),
                Standing::Extra => Chore::RemoveBelow(extra),
            };
            for chore in [chore, Chore::Compare(common)] {
                if chore.names().is_some_and(|names| !names.is_empty()) {
                    let folder = self.report_clearing(idx);
                    self.answer.removal.leftovers.push((folder, chore));
                }
            }
        }
        while let Some(clearing) = self.clearings.pop() {
            if clearing.is_kept {
                self.answer.removal.kept.extend(clearing.reported);
            }
            if clearing.standing == Standing::Common
                && clearing.is_touched
                && let Ok(pair) = self.chain_current()
            {
                self.finish_again(&pair);
            }
            self.climb(&clearing);
        }
        self.n_left = 0;
    }

    /// Enters a folder, after those above it, into the answer as one in which work is left.
    fn report_clearing(&mut self, idx: usize) -> FolderRef {
        let n_reported = self.clearings[..=idx].iter().rposition(|clearing| clearing.reported.is_some());
        let mut parent =
            n_reported.and_then(|idx| self.clearings[idx].reported).unwrap_or(FolderRef::Item(self.item_idx));
        for clearing in &mut self.clearings[n_reported.map_or(0, |idx| idx + 1)..=idx] {
            let folder = FolderRef::New(self.answer.removal.folders.len() as u32);
            let name = Bytes(clearing.name.as_bytes().to_vec());
            self.answer.removal.folders.push(OpenRemoval { parent, name, standing: clearing.standing });
            clearing.reported = Some(folder);
            parent = folder;
        }
        parent
    }
}

/// What is excluded, in the folder that the selector was sent to.
fn filter<'a>(selector: &'a mut Selector, delete: Delete, backup: &'a Backup) -> Filter<'a> {
    let is_needed = selector.is_needed();
    Filter { selector: is_needed.then_some(selector), delete, backup }
}

pub(crate) fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::File,
        Kind::Folder => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Special | Kind::Unknown => EntryKind::Special,
    }
}
