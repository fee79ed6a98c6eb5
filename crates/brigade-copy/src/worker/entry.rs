//! Copies symbolic links, FIFOs, sockets and devices, and gives files further names. Regular files are in file.rs, folders
//! in visit.rs.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, Stat, StatxFlags, linkat, mknodat, readlinkat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use super::attributes::{Bearer, Slate, is_acl_inherited, remove_inherited_acl};
use super::existing::Verdict;
use super::file::{Sharing, report_sharing};
use super::folders::kind_of;
use super::metadata::{Present, set_mode_by_name, set_owner_by_name, set_times_by_name};
use super::{Done, Flaw, Spot, Worker};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome};
use crate::names::Kind;
use crate::task::{Arrival, Cause};

impl Worker {
    pub(super) fn copy_entry(&mut self, kind: Kind, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        if spot.arrival == Arrival::Redone {
            self.remove_temporary(spot);
        }
        match kind {
            Kind::File => self.copy_file(spot, sharing),
            Kind::Symlink => self.copy_symlink(spot, sharing),
            Kind::Special => self.copy_special(spot, sharing),
            // A listing never sends a folder here.
            Kind::Folder => Err(Flaw::new(Action::Open, Reason::BecameOther)),
        }
    }

    fn copy_symlink(&mut self, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        let source = stat_source(spot, Kind::Symlink)?;
        if let Some(done) = report_sharing(&source, sharing) {
            return Ok(done);
        }
        let target = read_link(spot.here.source.as_fd(), spot.name).map_err(|errno| Flaw::new(Action::Read, errno))?;
        let make = |name: &CStr| symlinkat(target.as_c_str(), &spot.here.destination, name);
        let is_same = |present: &Stat| {
            kind_of(present) == Kind::Symlink
                && read_link(spot.here.destination.as_fd(), spot.destination_name()).is_ok_and(|there| there == target)
        };
        let outcome = self.make_or_keep(spot, &source, Action::CreateSymlink, make, is_same)?;
        self.finish_by_name(spot, &source, outcome)?;
        Ok(Done::Entry { kind: EntryKind::Symlink, outcome, n_bytes: 0 })
    }

    fn copy_special(&mut self, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        let source = stat_source(spot, Kind::Special)?;
        if let Some(done) = report_sharing(&source, sharing) {
            return Ok(done);
        }
        let file_type = FileType::from_raw_mode(source.st_mode);
        let mode = Mode::from_raw_mode(source.st_mode & 0o7777);
        let make = |name: &CStr| mknodat(&spot.here.destination, name, file_type, mode, source.st_rdev);
        // Its mode could be changed only by opening it or by following its name, so another mode makes it another entry.
        let is_same = |present: &Stat| present.st_mode == source.st_mode && present.st_rdev == source.st_rdev;
        let outcome = self.make_or_keep(spot, &source, Action::CreateSpecial, make, is_same)?;
        self.finish_by_name(spot, &source, outcome)?;
        Ok(Done::Entry { kind: EntryKind::Special, outcome, n_bytes: 0 })
    }

    /// Makes an entry that is made in one call, unless the same is there; replaces what else is there.
    fn make_or_keep(
        &mut self,
        spot: &Spot<'_>,
        source: &Stat,
        action: Action,
        make: impl Fn(&CStr) -> Result<(), Errno>,
        is_same: impl FnOnce(&Stat) -> bool,
    ) -> Result<Outcome, Flaw> {
        match make(spot.destination_name()) {
            Ok(()) => return Ok(Outcome::Copied),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(Flaw::new(action, errno)),
        }
        match self.weigh(spot, source, |_, present, _| Ok(is_same(present).into()))? {
            Verdict::Keep { outcome, .. } => Ok(outcome),
            Verdict::Skip => Ok(Outcome::Skipped),
            Verdict::Make | Verdict::Replace | Verdict::Stopped => {
                let temporary = self.temporary_name(spot.destination_name());
                make(&temporary).map_err(|errno| Flaw::new(action, errno))?;
                self.put_in_place(spot, &temporary)?;
                Ok(Outcome::Copied)
            }
        }
    }

    /// Owner, attributes and times of an entry that is not opened. What is right already is left alone.
    fn finish_by_name(&mut self, spot: &Spot<'_>, source: &Stat, outcome: Outcome) -> Result<(), Flaw> {
        if outcome == Outcome::Skipped {
            return Ok(());
        }
        let (folder, name) = (spot.here.destination.as_fd(), spot.destination_name());
        let present =
            statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let owner = set_owner_by_name(folder, name, Present::of(&present), source)?;
        self.note_owner(owner);
        let (original, copy) = (Bearer::named(&spot.here.source, spot.name), Bearer::named(folder, name));
        let is_new = outcome == Outcome::Copied;
        // Links have no ACL.
        if is_new && kind_of(source) == Kind::Special && is_acl_inherited(&spot.here, spot.arrival) {
            remove_inherited_acl(&copy).map_err(|errno| Flaw::new(Action::SetAttributes, errno))?;
            set_mode_by_name(folder, name, source)?;
        }
        self.set_attributes(&original, &copy, if is_new { Slate::Clean } else { Slate::Used })?;
        if present.st_mtime == source.st_mtime && present.st_mtime_nsec == source.st_mtime_nsec {
            return Ok(());
        }
        set_times_by_name(folder, name, source)
    }

    /// Gives the file that `first` names, in the folder `first_folder` of the destination, the further name of `spot`.
    /// `None`: this file system takes no further name for it.
    pub(super) fn link(
        &mut self,
        kind: Kind,
        spot: &Spot<'_>,
        first_folder: &OwnedFd,
        first: &CStr,
    ) -> Result<Option<Done>, Flaw> {
        let source = stat_source(spot, kind)?;
        let there = statat(first_folder, first, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Flaw::new(Action::CreateHardLink, errno))?;
        let n_bytes = if kind == Kind::File { source.st_size as u64 } else { 0 };
        let done = |outcome| Ok(Some(Done::Entry { kind: EntryKind::HardLink, outcome, n_bytes }));
        let make = |name: &CStr| linkat(first_folder, first, &spot.here.destination, name, AtFlags::empty());
        let is_same = |present: &Stat| present.st_dev == there.st_dev && present.st_ino == there.st_ino;
        if spot.arrival == Arrival::Redone {
            self.remove_temporary(spot);
        }
        match self.make_or_keep(spot, &source, Action::CreateHardLink, make, is_same) {
            // A link has no birth of its own: what a dead worker linked and what was there before look the same.
            Ok(Outcome::Unchanged) if spot.arrival == Arrival::Redone => done(Outcome::Copied),
            Ok(outcome) => done(outcome),
            Err(Flaw { action: Action::CreateHardLink, cause: Cause::Errno(errno) })
                if [Errno::MLINK, Errno::XDEV].iter().any(|refused| refused.raw_os_error() == errno) =>
            {
                Ok(None)
            }
            Err(flaw) => Err(flaw),
        }
    }

    /// Removes what workers have left of an entry when they died over it.
    pub(super) fn sweep(&self, spot: &Spot<'_>) {
        self.remove_temporary(spot);
        let folder = &spot.here.destination;
        let Ok(present) = statat(folder, spot.destination_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        let is_whole = statat(&spot.here.source, spot.name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|source| source.st_mtime == present.st_mtime && source.st_mtime_nsec == present.st_mtime_nsec);
        if !is_whole && kind_of(&present) != Kind::Folder && self.is_born_in_this_run(folder, spot.destination_name()) {
            let _ = unlinkat(folder, spot.destination_name(), AtFlags::empty());
        }
    }

    fn remove_temporary(&self, spot: &Spot<'_>) {
        let temporary = self.temporary_name(spot.destination_name());
        let _ = unlinkat(&spot.here.destination, temporary.as_c_str(), AtFlags::empty());
    }

    /// Whether an entry came into being after this run began; its last change counts where births are not recorded.
    pub(super) fn is_born_in_this_run(&self, folder: impl AsFd, name: &CStr) -> bool {
        let mask = StatxFlags::BTIME | StatxFlags::CTIME;
        let Ok(present) = rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, mask) else {
            return false;
        };
        let born = if present.stx_mask & StatxFlags::BTIME.bits() != 0 { present.stx_btime } else { present.stx_ctime };
        (born.tv_sec, i64::from(born.tv_nsec)) >= self.facts.started
    }
}

fn stat_source(spot: &Spot<'_>, kind: Kind) -> Result<Stat, Flaw> {
    let source = statat(&spot.here.source, spot.name, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Flaw::new(Action::Stat, errno))?;
    if kind_of(&source) == kind { Ok(source) } else { Err(Flaw::new(Action::Stat, Reason::BecameOther)) }
}

fn read_link(folder: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    readlinkat(folder, name, Vec::new())
}
