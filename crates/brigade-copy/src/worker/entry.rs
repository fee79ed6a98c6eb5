//! Copies symbolic links, FIFOs, sockets and devices, and gives files further names. Regular files are in file.rs, folders
//! in visit.rs.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Statx, StatxFlags};
use rustix::io::Errno;

use super::attributes::{Bearer, Slate, remove_inherited_acl};
use super::committing::Wholeness;
use super::existing::{Like, Verdict, mtime_of};
use super::file::{N_TRIES, Sharing};
use super::folders::{Pair, kind_of};
use super::keeping::Refuser;
use super::metadata::{FILE_TYPE, Owner, Present, SET_ID_BITS, set_mode_of_mark};
use super::placing::{Placed, put_where_nothing_is};
use super::{Done, Flaw, Spot, Worker};
use crate::calls::{self, fstat, linkat, mknodat, openat, readlinkat, statat, symlinkat, unlinkat};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome};
use crate::facet::Facet;
use crate::names::Kind;
use crate::request::Existing;
use crate::task::{Arrival, Cause, FileTimes, Identity, Prior};

/// A copy that is not to be opened, held by a descriptor that marks its place.
struct Mark {
    entry: OwnedFd,
    stat: Stat,
}

/// What came of making an entry.
enum Put {
    /// It is there, or something else stays there. `finished`: what came of its metadata, if that was set already.
    Settled { outcome: Outcome, finished: Option<Result<(), Flaw>> },
    /// That is not decided, or cannot be.
    Open(Done),
}

impl Put {
    fn unfinished(outcome: Outcome) -> Self {
        Self::Settled { outcome, finished: None }
    }
}

/// A file has too many names, lies on another device, or its file system knows no hard links.
const REFUSALS_TO_LINK: [Errno; 5] = [Errno::MLINK, Errno::XDEV, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS];

/// The longest step of the clock by which the beginning of a run is known. Within it, what was there before cannot be told from
/// what came later, since files may be stamped by a finer clock.
const TICK_NANOSECONDS: i64 = 10_000_000;

impl Worker {
    pub(super) fn copy_entry(&mut self, kind: Kind, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        if self.is_rehearsal() {
            return self.rehearse_entry(kind, spot, sharing);
        }
        if spot.arrival == Arrival::Redone {
            self.remove_temporary(spot);
        }
        // A name of several is reported before it is looked at what is in its place; a question must come before that.
        if sharing == Sharing::Report && self.must_ask() && spot.arrival != Arrival::Fresh {
            let source = stat_source(spot, kind)?;
            if source.st_nlink > 1 && matches!(self.weigh(spot, &source, Like::Source(kind))?, Verdict::Ask) {
                return Ok(Done::Asked { n_bytes: n_bytes_of(&source) });
            }
        }
        match kind {
            Kind::File => self.copy_file(spot, sharing),
            Kind::Symlink => self.copy_symlink(spot, sharing),
            Kind::Special => self.copy_special(spot, sharing),
            // A listing never sends a folder here.
            Kind::Folder | Kind::Unknown => Err(Flaw::new(Action::Open, Reason::BecameOther)),
        }
    }

    fn copy_symlink(&mut self, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        let source = stat_source(spot, Kind::Symlink)?;
        if let Some(done) = self.report_sharing(&source, sharing) {
            return Ok(done);
        }
        let target = read_link(spot.here.source.as_fd(), spot.name).map_err(|errno| Flaw::new(Action::Read, errno))?;
        let make = |name: &CStr| symlinkat(target.as_c_str(), &spot.here.destination, name);
        self.make_and_finish(spot, &source, Action::CreateSymlink, make, EntryKind::Symlink)
    }

    fn copy_special(&mut self, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        let source = stat_source(spot, Kind::Special)?;
        if let Some(done) = self.report_sharing(&source, sharing) {
            return Ok(done);
        }
        let file_type = FileType::from_raw_mode(source.st_mode);
        // Until it has its owner and its ACL it is open to nobody.
        let mode = Mode::RUSR | Mode::WUSR;
        let make = |name: &CStr| mknodat(&spot.here.destination, name, file_type, mode, source.st_rdev);
        self.make_and_finish(spot, &source, Action::CreateSpecial, make, EntryKind::Special)
    }

    fn make_and_finish(
        &mut self,
        spot: &Spot<'_>,
        source: &Stat,
        action: Action,
        make: impl Fn(&CStr) -> Result<(), Errno>,
        kind: EntryKind,
    ) -> Result<Done, Flaw> {
        match self.make_or_keep(spot, source, action, make, Like::Source(kind_of(source)))? {
            Put::Settled { outcome, finished } => {
                finished.unwrap_or_else(|| self.finish_marked(spot, source, outcome))?;
                Ok(Done::Entry { kind, outcome, n_bytes: 0 })
            }
            Put::Open(done) => Ok(done),
        }
    }

    /// Makes an entry that is made in one call, unless the same is there; replaces what else is there.
    fn make_or_keep(
        &mut self,
        spot: &Spot<'_>,
        source: &Stat,
        action: Action,
        make: impl Fn(&CStr) -> Result<(), Errno>,
        like: Like,
    ) -> Result<Put, Flaw> {
        let is_made_aside = matches!(like, Like::Source(_)) && self.must_appear_whole(&spot.here);
        for _ in 0..N_TRIES {
            if !is_made_aside {
                match make(spot.destination_name()) {
                    Ok(()) => return Ok(Put::unfinished(Outcome::Copied)),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Flaw::new(action, errno)),
                }
            }
            let prior = match self.weigh(spot, source, like)? {
                Verdict::Keep { outcome, .. } => return Ok(Put::unfinished(outcome)),
                Verdict::Skip => return Ok(Put::unfinished(Outcome::Skipped)),
                Verdict::Ask => return Ok(Put::Open(Done::Asked { n_bytes: 0 })),
                Verdict::Stopped => return Ok(Put::Open(Done::Stopped)),
                Verdict::Make => Prior::Nothing,
                Verdict::Replace(prior) => prior,
            };
            let temporary = self.temporary_name(spot.destination_name());
            make(&temporary).map_err(|errno| Flaw::new(action, errno))?;
            let finished = is_made_aside.then(|| {
                let aside = Spot { here: Rc::clone(&spot.here), renamed: Some(temporary.as_c_str().into()), ..*spot };
                self.finish_marked(&aside, source, Outcome::Copied)
            });
            let placed = match prior {
                Prior::Nothing if is_made_aside => {
                    put_where_nothing_is(&spot.here.destination, &temporary, spot.destination_name())?
                }
                prior => self.put_in_place(spot, &temporary, prior)?,
            };
            match placed {
                Placed::There => return Ok(Put::Settled { outcome: Outcome::Copied, finished }),
                Placed::Stopped => return Ok(Put::Open(Done::Stopped)),
                // Somebody else was at work in its place meanwhile.
                Placed::Taken => {}
            }
        }
        Err(Flaw::new(action, Reason::Replaced))
    }

    /// Whether a link or a special file gets its metadata before its name. If what exists is kept, it must be whole when it appears:
    /// a later run would keep it as it is. And on a disk, a power cut must not leave it with a time of now: others would take it
    /// for something newer than its source.
    fn must_appear_whole(&self, here: &Pair) -> bool {
        self.facts.policy.existing == Existing::Keep || self.wholeness_in(here) != Wholeness::AtOnce
    }

    /// Owner, mode, attributes and times of an entry that is not opened but only marked. What is right already is left alone.
    fn finish_marked(&mut self, spot: &Spot<'_>, source: &Stat, outcome: Outcome) -> Result<(), Flaw> {
        if outcome == Outcome::Skipped {
            return Ok(());
        }
        let mark = open_mark(spot, source)?;
        let slate = if outcome == Outcome::Copied { Slate::Clean } else { Slate::Used };
        let refuser = Refuser { slate, uid: mark.stat.st_uid };
        let original = Bearer::of_source(&spot.here, spot.name);
        let copy = Bearer::of_destination(&spot.here, spot.destination_name());
        // Links have neither modes nor ACLs.
        let is_special = kind_of(source) == Kind::Special;
        let mut present = Present::of(&mark.stat);
        if is_special {
            let set_mode = |mode| set_mode_of_mark(mark.entry.as_fd(), &copy, mode);
            present = self.close_to_new_group(present, source, &original, slate, set_mode);
        }
        let owner = self.set_owner_of_mark(mark.entry.as_fd(), present, source)?;
        if is_special && slate == Slate::Clean && self.is_acl_inherited(&spot.here, spot.arrival) {
            remove_inherited_acl(&copy).map_err(|errno| Flaw::new(Action::SetAttributes, errno))?;
        }
        self.set_attributes(&original, &copy, source, present.mode, slate)?;
        if is_special {
            self.set_mode_of_special(&mark, present, &copy, source, owner, refuser)?;
        }
        if mtime_of(&mark.stat) == mtime_of(source) {
            return Ok(());
        }
        self.set_times_of_mark(mark.entry.as_fd(), mark.stat.st_dev, FileTimes::of(source), refuser)
    }

    fn set_mode_of_special(
        &mut self,
        mark: &Mark,
        present: Present,
        copy: &Bearer<'_>,
        source: &Stat,
        owner: Owner,
        refuser: Refuser,
    ) -> Result<(), Flaw> {
        // A change of owner cleared these.
        let is_owner_new = present.is_of_another(source);
        match self.mode_for(source, refuser.slate, owner) {
            Some(mode) if mode != present.mode || (is_owner_new && mode & SET_ID_BITS != 0) => {
                set_mode_of_mark(mark.entry.as_fd(), copy, mode)
                    .or_else(|errno| self.refused(Facet::Mode, Action::SetMode, errno, refuser))
            }
            _ => Ok(()),
        }
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
        self.keeping.had.insert(Facet::Links);
        let n_bytes = n_bytes_of(&source);
        let done = |outcome| Ok(Some(Done::Entry { kind: EntryKind::HardLink, outcome, n_bytes }));
        let make = |name: &CStr| linkat(first_folder, first, &spot.here.destination, name, AtFlags::empty());
        if spot.arrival == Arrival::Redone {
            self.remove_temporary(spot);
        }
        match self.make_or_keep(spot, &source, Action::CreateHardLink, make, Like::First(Identity::of(&there))) {
            // A link has no birth of its own: what a dead worker linked and what was there before look the same.
            Ok(Put::Settled { outcome: Outcome::Unchanged, .. }) if spot.arrival == Arrival::Redone => {
                done(Outcome::Copied)
            }
            Ok(Put::Settled { outcome, .. }) => done(outcome),
            Ok(Put::Open(open)) => Ok(Some(open)),
            Err(Flaw { action: Action::CreateHardLink, cause: Cause::Errno(errno) })
                if REFUSALS_TO_LINK.iter().any(|refused| refused.raw_os_error() == errno) =>
            {
                Ok(None)
            }
            Err(flaw) => Err(flaw),
        }
    }

    /// Removes what workers have left of an entry when they died over it.
    pub(super) fn sweep(&self, spot: &Spot<'_>) {
        let source = spot.here.stat_source(spot.name);
        self.remove_unless(spot, |present| source.is_ok_and(|source| mtime_of(&source) == mtime_of(present)));
    }

    /// Likewise, without touching the source; the entry cannot be whole.
    pub(super) fn sweep_unfinished(&self, spot: &Spot<'_>) {
        self.remove_unless(spot, |_| false);
    }

    fn remove_unless(&self, spot: &Spot<'_>, is_whole: impl FnOnce(&Stat) -> bool) {
        self.remove_temporary(spot);
        self.remove_part(spot);
        let folder = &spot.here.destination;
        let Ok(present) = statat(folder, spot.destination_name(), AtFlags::SYMLINK_NOFOLLOW) else {
            return;
        };
        if !is_whole(&present)
            && kind_of(&present) != Kind::Folder
            && self.is_born_in_this_run(folder, spot.destination_name())
        {
            let _ = unlinkat(folder, spot.destination_name(), AtFlags::empty());
        }
    }

    fn remove_temporary(&self, spot: &Spot<'_>) {
        let temporary = self.temporary_name(spot.destination_name());
        let _ = unlinkat(&spot.here.destination, temporary.as_c_str(), AtFlags::empty());
    }

    /// Whether an entry came into being after this run began; its last change counts where births are not recorded.
    pub(super) fn is_born_in_this_run(&self, folder: impl AsFd, name: &CStr) -> bool {
        self.is_born_since(folder, name, self.facts.started)
    }

    pub(super) fn is_born_since(&self, folder: impl AsFd, name: &CStr, began: (i64, i64)) -> bool {
        let mask = StatxFlags::BTIME | StatxFlags::CTIME;
        let Ok(present) = calls::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, mask) else {
            return false;
        };
        birth_of(&present) >= began
    }

    /// Whether a name of the source is one of the file that was met there. A number that was given to another inode since
    /// then is told by the birth of that.
    pub(super) fn is_name_of(&self, name: &CStr, entered: &Result<Rc<Pair>, Flaw>, identity: Identity) -> bool {
        let Ok(pair) = entered else { return false };
        let mask = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::CTIME;
        let flags = if pair.follows() { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        match calls::statx(&pair.source, name, flags, mask) {
            Ok(present) => {
                let device = rustix::fs::makedev(present.stx_dev_major, present.stx_dev_minor);
                let (seconds, nanoseconds) = self.facts.started;
                let nanoseconds = nanoseconds + TICK_NANOSECONDS;
                let began = (seconds + nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
                Identity { device, inode: present.stx_ino } == identity && birth_of(&present) <= began
            }
            // Any other error is told by whoever links it, if it lasts.
            Err(errno) => errno != Errno::NOENT,
        }
    }
}

fn open_mark(spot: &Spot<'_>, source: &Stat) -> Result<Mark, Flaw> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = openat(&spot.here.destination, spot.destination_name(), flags, Mode::empty())
        .map_err(|errno| Flaw::new(Action::Stat, errno))?;
    let stat = fstat(&entry).map_err(|errno| Flaw::new(Action::Stat, errno))?;
    if stat.st_mode & FILE_TYPE != source.st_mode & FILE_TYPE {
        return Err(Flaw::new(Action::Stat, Errno::STALE));
    }
    Ok(Mark { entry, stat })
}

/// When an entry came into being, or was last changed where that is not recorded.
pub(super) fn birth_of(present: &Statx) -> (i64, i64) {
    let born = if present.stx_mask & StatxFlags::BTIME.bits() != 0 { present.stx_btime } else { present.stx_ctime };
    (born.tv_sec, i64::from(born.tv_nsec))
}

/// Bytes of contents.
pub(super) fn n_bytes_of(stat: &Stat) -> u64 {
    if kind_of(stat) == Kind::File { stat.st_size as u64 } else { 0 }
}

pub(super) fn stat_source(spot: &Spot<'_>, kind: Kind) -> Result<Stat, Flaw> {
    let source = spot.here.stat_source(spot.name).map_err(|errno| Flaw::new(Action::Stat, errno))?;
    if kind_of(&source) == kind { Ok(source) } else { Err(Flaw::new(Action::Stat, Reason::BecameOther)) }
}

fn read_link(folder: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    readlinkat(folder, name, Vec::new())
}
