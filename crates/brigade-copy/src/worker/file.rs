//! Copies one regular file so that its name appears whole or not at all where something was, and is removed again where
//! copying fails. How bytes move is in contents.rs, the other kinds of entries in entry.rs.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::{Bearer, Slate, remove_inherited_acl};
use super::committing::{Pending, UNFINISHED_MODE, Wholeness, flush};
use super::contents::{Moved, is_made_up, streams};
use super::existing::{Like, Verdict, mtime_of};
use super::folders::{Newborn, Pair, kind_of};
use super::keeping::Refuser;
use super::metadata::Present;
use super::placing::{Placed, put_where_nothing_is};
use super::verify::ReadBack;
use super::{Done, Flaw, Spot, Worker};
use crate::calls::{self, fstat, openat, statat, unlinkat};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Ground, Outcome};
use crate::facet::{Facet, Facets};
use crate::names::Kind;
use crate::request::Existing;
use crate::task::{Arrival, FileTimes, Identity, Placing, Prior, Step};

/// What changes under our hands is copied this often before we give up.
pub(crate) const N_TRIES: usize = 4;

/// Whether a file with several names is copied or only reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sharing {
    Report,
    /// Its name is the first of its group.
    Copy(Placing),
}

/// Under which name a file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Landing {
    /// Under its own: nothing is there.
    Direct,
    /// Under a temporary one, which becomes its own if nothing is there by then.
    Aside,
    /// Under a temporary one, which then takes the place of what is there.
    Replace(Prior),
}

impl Landing {
    /// Likewise, but nothing is seen under its own name before it is put there.
    fn aside(self) -> Self {
        if self == Self::Direct { Self::Aside } else { self }
    }

    /// How a file gets its name that waits under the temporary one.
    fn step(self) -> Step {
        if let Self::Replace(prior) = self { Step::Replace(prior) } else { Step::Appear }
    }
}

/// What came of naming a file.
enum Named {
    There,
    /// Something has the name.
    Taken,
    /// It cannot be done.
    Never,
}

/// What one try came to.
enum Tried {
    Done(Done),
    /// The source changed meanwhile; nothing is left behind.
    Changed,
    /// What was read back is not what was written; nothing is left behind.
    Spoilt,
    /// Something has this name already.
    Taken,
}

impl Worker {
    pub(super) fn copy_file(&mut self, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        let mut landing = self.landing_of_new();
        if spot.arrival != Arrival::Fresh {
            match self.meet_file(spot, sharing)? {
                Ok(done) => {
                    self.remove_needless_part(spot, &done);
                    return Ok(done);
                }
                Err(found) => landing = found,
            }
        }
        let mut is_spoilt_again = false;
        for _ in 0..N_TRIES {
            match self.try_file(spot, sharing, landing)? {
                Tried::Done(done) => return Ok(done),
                Tried::Changed => {}
                Tried::Spoilt if is_spoilt_again => return Err(Flaw::new(Action::Verify, Reason::Spoilt)),
                Tried::Spoilt => {
                    is_spoilt_again = true;
                    self.answer.counts.n_rewritten += 1;
                }
                Tried::Taken => match self.meet_file(spot, sharing)? {
                    Ok(done) => return Ok(done),
                    Err(found) => landing = found,
                },
            }
        }
        Err(Flaw::new(Action::Read, Reason::Changed))
    }

    /// How a file is written where nothing is. If what exists is kept, a part of a file must never exist: a later run would
    /// keep it.
    fn landing_of_new(&self) -> Landing {
        if self.facts.policy.existing == Existing::Keep { Landing::Aside } else { Landing::Direct }
    }

    /// Looks whether the file is there already. If not, says how it is to be written.
    fn meet_file(&mut self, spot: &Spot<'_>, sharing: Sharing) -> Result<Result<Done, Landing>, Flaw> {
        let source = spot.here.stat_source(spot.name).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        if let Some(done) = self.check_file(&source, sharing)? {
            return Ok(Ok(done));
        }
        let n_bytes = source.st_size as u64;
        let done = |outcome| Ok(Ok(Done::Entry { kind: EntryKind::File, outcome, n_bytes }));
        match self.weigh(spot, &source, Like::Source(Kind::File))? {
            Verdict::Make => Ok(Err(self.landing_of_new())),
            Verdict::Replace(prior) => Ok(Err(Landing::Replace(prior))),
            Verdict::Ask => Ok(Ok(Done::Asked { n_bytes })),
            Verdict::Skip => done(Outcome::Skipped),
            Verdict::Stopped => Ok(Ok(Done::Stopped)),
            Verdict::Keep { present, outcome } => {
                if self.is_in_order(spot, &source, &present) {
                    return done(outcome);
                }
                // It has names that its source has not, and what is changed here would be changed there.
                if present.st_nlink > source.st_nlink {
                    self.why = Some(Ground::Shared);
                    return Ok(if self.must_ask() {
                        Ok(Done::Asked { n_bytes })
                    } else {
                        Err(Landing::Replace(Prior::Before(Kind::File)))
                    });
                }
                self.align_file(spot, &source, &present)?;
                done(outcome)
            }
        }
    }

    /// Whether owner, mode, attributes and times are as they should be. Looking by name costs less than opening.
    fn is_in_order(&mut self, spot: &Spot<'_>, source: &Stat, present: &Stat) -> bool {
        let original = Bearer::of_source(&spot.here, spot.name);
        let copy = Bearer::of_destination(&spot.here, spot.destination_name());
        let is_owner_same = present.st_uid == source.st_uid && present.st_gid == source.st_gid;
        let looked_at = [
            (Facet::Ownership, is_owner_same),
            (Facet::Mode, present.st_mode == source.st_mode),
            (Facet::Timestamps, mtime_of(present) == mtime_of(source)),
        ];
        let wanted = looked_at.into_iter().filter(|&(facet, _)| self.is_kept(facet));
        let is_same = wanted.clone().all(|(_, is_same)| is_same);
        let had: Facets = wanted.map(|(facet, _)| facet).collect();
        let is_same = is_same && self.is_in_line(&original, &copy);
        if is_same {
            self.keeping.had = self.keeping.had.union(had);
        }
        is_same
    }

    /// Brings owner, mode, attributes and times of a file that need not be copied into line. Changes are made to what was
    /// opened.
    fn align_file(&mut self, spot: &Spot<'_>, source: &Stat, present: &Stat) -> Result<(), Flaw> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = |access| openat(&spot.here.destination, spot.destination_name(), flags | access, Mode::empty());
        let file = match open(OFlags::RDONLY) {
            // A file that may be written but not read.
            Err(Errno::ACCESS) => open(OFlags::WRONLY),
            other => other,
        }
        .map_err(|errno| Flaw::new(Action::SetMode, errno))?;
        // What was put in its place since it was looked at may be a name of a file that lies elsewhere.
        let opened = fstat(&file).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        if Identity::of(&opened) != Identity::of(present) || opened.st_nlink > present.st_nlink {
            return Err(Flaw::new(Action::SetMode, Errno::STALE));
        }
        self.touch_file(&spot.here);
        let original = Bearer::of_source(&spot.here, spot.name);
        self.set_all_but_times(file.as_fd(), Present::of(present), source, &original, Slate::Used)?;
        if mtime_of(present) == mtime_of(source) {
            return Ok(());
        }
        let refuser = Refuser { slate: Slate::Used, uid: present.st_uid };
        self.set_times(file.as_fd(), present.st_dev, FileTimes::of(source), refuser)
    }

    fn try_file(&mut self, spot: &Spot<'_>, sharing: Sharing, landing: Landing) -> Result<Tried, Flaw> {
        // Neither a FIFO nor a terminal that took the file's place after it was listed can hold us up.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | spot.here.source_flags();
        let source = openat(&spot.here.source, spot.name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP if spot.here.follows() => Flaw::new(Action::Open, errno),
            Errno::LOOP | Errno::NXIO => Flaw::new(Action::Open, Reason::BecameOther),
            // A confined worker may open no device.
            Errno::ACCESS if is_no_file(spot) => Flaw::new(Action::Open, Reason::BecameOther),
            errno => Flaw::new(Action::Open, errno),
        })?;
        let before = fstat(&source).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        if let Some(done) = self.check_file(&before, sharing)? {
            return Ok(Tried::Done(done));
        }
        let wholeness = self.wholeness_in(&spot.here);
        // What is not whole at once is not seen before it has its looks.
        let landing = if wholeness == Wholeness::AtOnce { landing } else { landing.aside() };
        if let Some((destination, name)) = self.begin_parts(spot, &before, wholeness)? {
            // It was flushed but for the rest.
            let open = Open { source, destination, before, wholeness: Wholeness::Flushed, birth: Birth::Named };
            return self.fill_and_place(spot, open, landing, &name);
        }
        let temporary = (landing != Landing::Direct).then(|| self.temporary_name(spot.destination_name()));
        let name = temporary.as_deref().unwrap_or(spot.destination_name());
        let unnamed = if wholeness == Wholeness::AtOnce { None } else { self.create_unnamed(&spot.here)? };
        let (destination, birth) = match unnamed {
            Some(file) => (file, Birth::Unnamed),
            None => match create_file(&spot.here, name, self.access_to_new()) {
                Ok(destination) => (destination, Birth::Named),
                Err(Errno::EXIST) if landing == Landing::Direct => return Ok(Tried::Taken),
                Err(Errno::EXIST) => (recreate_file(&spot.here, name, self.access_to_new())?, Birth::Named),
                Err(errno) => return Err(Flaw::new(Action::Create, errno)),
            },
        };
        self.fill_and_place(spot, Open { source, destination, before, wholeness, birth }, landing, name)
    }

    /// Creates a file without a name, so that nothing of it is left by whatever ends this process. `None` where the file system
    /// knows no such files.
    fn create_unnamed(&self, here: &Pair) -> Result<Option<OwnedFd>, Flaw> {
        if !self.makes_unnamed {
            return Ok(None);
        }
        let flags = self.access_to_new() | OFlags::TMPFILE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&here.destination, c".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(Flaw::new(Action::Create, errno)),
        }
    }

    /// Fills a new file, which is called `name` if it has a name, and puts it under its own name, or removes it. If it is not
    /// whole, it waits there, or under `name`, until it is committed.
    fn fill_and_place(&mut self, spot: &Spot<'_>, open: Open, landing: Landing, name: &CStr) -> Result<Tried, Flaw> {
        let remove = |tried| {
            if open.birth == Birth::Named {
                remove_own(&spot.here, name, &open.destination);
            }
            tried
        };
        let n_bytes = match self.fill(spot, &open) {
            Ok(Filled::Whole(n_bytes)) => n_bytes,
            Ok(Filled::Changed) => return remove(Ok(Tried::Changed)),
            Ok(Filled::Spoilt) => return remove(Ok(Tried::Spoilt)),
            Ok(Filled::Stopped) if self.leaves_part() => return Ok(Tried::Done(Done::Stopped)),
            Ok(Filled::Stopped) => return remove(Ok(Tried::Done(Done::Stopped))),
            Err(flaw) => return remove(Err(flaw)),
        };
        let finished = match self.finish_file(spot, &open, landing, n_bytes) {
            Err(flaw) if flaw.action == Action::Flush => return remove(Err(flaw)),
            finished => finished,
        };
        self.remember_digest(&open.before, &open.destination);
        // A file whose metadata cannot be kept still has its contents, so it stays; it is counted as failed.
        let (pending, failure) = match finished {
            Ok(pending) => (pending, None),
            Err(flaw) => (None, Some(flaw)),
        };
        let waits_aside = pending.as_ref().is_some_and(|pending| pending.step != Step::Stay);
        let is_named_at_once = open.birth == Birth::Unnamed && landing == Landing::Aside && !waits_aside;
        let name = if is_named_at_once { spot.destination_name() } else { name };
        if open.birth == Birth::Unnamed {
            match self.name_file(&spot.here, &open.destination, name, is_named_at_once)? {
                Named::There => {}
                Named::Taken => return Ok(Tried::Taken),
                Named::Never => return Ok(Tried::Changed),
            }
        }
        // Some file systems say only when a file is closed that they could not keep what was written.
        if let Err(errno) = calls::close(open.destination) {
            self.remove_closed(spot, name);
            return Err(Flaw::new(Action::Write, errno));
        }
        let placed = match landing {
            _ if is_named_at_once || waits_aside => Placed::There,
            Landing::Direct => Placed::There,
            Landing::Aside => put_where_nothing_is(&spot.here.destination, name, spot.destination_name())?,
            Landing::Replace(prior) => self.put_in_place(spot, name, prior)?,
        };
        match placed {
            Placed::There => {}
            Placed::Taken => return Ok(Tried::Taken),
            Placed::Stopped => return Ok(Tried::Done(Done::Stopped)),
        }
        if let Some(flaw) = failure {
            return Err(flaw);
        }
        if let Some(pending) = pending {
            self.leave_to_commit(spot, pending, &open.before);
        }
        Ok(Tried::Done(Done::Entry { kind: EntryKind::File, outcome: Outcome::Copied, n_bytes }))
    }

    /// Gives a file that has no name one.
    fn name_file(&mut self, here: &Pair, file: &OwnedFd, name: &CStr, is_own: bool) -> Result<Named, Flaw> {
        let linked = match calls::link_unnamed(file, &here.destination, name) {
            // A worker that died has left it.
            Err(Errno::EXIST) if !is_own => {
                unlinkat(&here.destination, name, AtFlags::empty())
                    .map_err(|errno| Flaw::new(Action::Remove, errno))?;
                calls::link_unnamed(file, &here.destination, name)
            }
            linked => linked,
        };
        match linked {
            Ok(()) => Ok(Named::There),
            Err(Errno::EXIST) => Ok(Named::Taken),
            // This kernel cannot, or not without /proc. Files are made with names from now on.
            Err(Errno::NOENT | Errno::OPNOTSUPP | Errno::NOSYS) if self.makes_unnamed => {
                self.makes_unnamed = false;
                Ok(Named::Never)
            }
            Err(errno) => Err(Flaw::new(Action::Create, errno)),
        }
    }

    /// Removes what this run has made under a name, although nothing is held any more by which it could be told for sure.
    fn remove_closed(&self, spot: &Spot<'_>, name: &CStr) {
        if self.is_born_in_this_run(&spot.here.destination, name) {
            let _ = unlinkat(&spot.here.destination, name, AtFlags::empty());
        }
    }

    fn fill(&mut self, spot: &Spot<'_>, open: &Open) -> Result<Filled, Flaw> {
        let device = newborn(&spot.here, &open.destination)?.device;
        let moved = self.move_contents(streams(&open.source, &open.destination), &open.before, device)?;
        let Moved::Bytes(n_bytes) = moved else {
            return Ok(Filled::Stopped);
        };
        let read_back = self.check_copy(&open.source, &open.destination, n_bytes)?;
        let after = fstat(&open.source).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let is_whole = n_bytes == open.before.st_size as u64 || is_size_unknown(&open.before, &open.source);
        Ok(match read_back {
            ReadBack::Stopped => Filled::Stopped,
            _ if !is_whole || !is_same_version(&open.before, &after) => Filled::Changed,
            ReadBack::Wrong => Filled::Spoilt,
            ReadBack::Right => Filled::Whole(n_bytes),
        })
    }

    /// Sets what is kept of the source. Of a file that is to become whole later, says what is still to be done.
    fn finish_file(
        &mut self,
        spot: &Spot<'_>,
        open: &Open,
        landing: Landing,
        n_bytes: u64,
    ) -> Result<Option<Pending>, Flaw> {
        let newborn = newborn(&spot.here, &open.destination)?;
        let mut present = Present { uid: newborn.uid, gid: newborn.gid, mode: 0o600 };
        let (original, copy) = (Bearer::open(&open.source), Bearer::open(&open.destination));
        if self.is_acl_inherited(&spot.here, spot.arrival) {
            remove_inherited_acl(&copy).map_err(|errno| Flaw::new(Action::SetAttributes, errno))?;
            // The ACL had a say in the mode, too.
            let stat = fstat(&open.destination).map_err(|errno| Flaw::new(Action::Stat, errno))?;
            present = Present::of(&stat);
        }
        let medium = match open.wholeness {
            // What has no contents has nothing that could be missing.
            Wholeness::Later(medium) if n_bytes > 0 => Some(medium),
            Wholeness::Later(_) | Wholeness::AtOnce => None,
            Wholeness::Flushed => {
                flush(&open.destination)?;
                self.end_parts(&open.destination)?;
                None
            }
        };
        let mut step = landing.step();
        let mut mode = None;
        if medium.is_some()
            && step == Step::Appear
            && self.may_wait_under_its_name(&open.destination, newborn.device, &open.before)?
        {
            step = Step::Stay;
            mode = self.finish_for_now(open, present, newborn.device)?;
        } else {
            self.set_all_but_times(open.destination.as_fd(), present, &open.before, &original, Slate::Clean)?;
            let refuser = Refuser { slate: Slate::Clean, uid: present.uid };
            self.set_times(open.destination.as_fd(), newborn.device, FileTimes::of(&open.before), refuser)?;
        }
        let Some(medium) = medium else { return Ok(None) };
        let inode = fstat(&open.destination).map_err(|errno| Flaw::new(Action::Stat, errno))?.st_ino;
        Ok(Some(Pending { device: newborn.device, medium, inode, n_bytes, mode, step }))
    }

    /// Sets all but the mode and the times, which tell that a file is whole. Returns the mode that it is to get.
    fn finish_for_now(&mut self, open: &Open, present: Present, device: u64) -> Result<Option<u32>, Flaw> {
        let file = open.destination.as_fd();
        let owner = self.set_owner(present, &open.before, |uid, gid| calls::fchown(file, uid, gid))?;
        let mode = self.mode_for(&open.before, Slate::Clean, owner);
        self.hide_from_others(file, present.mode)?;
        self.is_acl_veiled = true;
        let copy = Bearer::open(&open.destination);
        let set = self.set_attributes(&Bearer::open(&open.source), &copy, &open.before, UNFINISHED_MODE, Slate::Clean);
        self.is_acl_veiled = false;
        set?;
        let refuser = Refuser { slate: Slate::Clean, uid: present.uid };
        self.mark_unfinished(file, device, FileTimes::of(&open.before), refuser)?;
        Ok(mode)
    }

    /// Refuses what is no longer a file, and reports a file with several names if its group decides who is first.
    fn check_file(&self, source: &Stat, sharing: Sharing) -> Result<Option<Done>, Flaw> {
        if FileType::from_raw_mode(source.st_mode) != FileType::RegularFile {
            return Err(Flaw::new(Action::Open, Reason::BecameOther));
        }
        Ok(self.report_sharing(source, sharing))
    }

    /// An entry with several names is reported if its group decides which of them is first.
    pub(super) fn report_sharing(&self, source: &Stat, sharing: Sharing) -> Option<Done> {
        (source.st_nlink > 1 && sharing == Sharing::Report && self.is_kept(Facet::Links))
            .then(|| Done::Shared { identity: Identity::of(source), n_links: source.st_nlink })
    }
}

/// A file that is being copied.
struct Open {
    source: OwnedFd,
    destination: OwnedFd,
    /// The source before its first byte was read.
    before: Stat,
    wholeness: Wholeness,
    birth: Birth,
}

/// Whether a new file has a name while it is filled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Birth {
    Named,
    Unnamed,
}

enum Filled {
    Whole(u64),
    Changed,
    Spoilt,
    Stopped,
}

pub(super) fn create_file(here: &Pair, name: &CStr, access: OFlags) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&here.destination, name, flags, Mode::RUSR | Mode::WUSR)
}

/// Creates a temporary file in place of one that a worker left behind when it died.
pub(super) fn recreate_file(here: &Pair, name: &CStr, access: OFlags) -> Result<OwnedFd, Flaw> {
    unlinkat(&here.destination, name, AtFlags::empty()).map_err(|errno| Flaw::new(Action::Remove, errno))?;
    create_file(here, name, access).map_err(|errno| Flaw::new(Action::Create, errno))
}

fn is_no_file(spot: &Spot<'_>) -> bool {
    spot.here.stat_source(spot.name).is_ok_and(|stat| kind_of(&stat) != Kind::File)
}

/// Removes a file that this worker has made, unless another copier has put something else under its name.
pub(super) fn remove_own(here: &Pair, name: &CStr, file: &OwnedFd) {
    let is_own = match (fstat(file), statat(&here.destination, name, AtFlags::SYMLINK_NOFOLLOW)) {
        (Ok(own), Ok(present)) => Identity::of(&own) == Identity::of(&present),
        _ => false,
    };
    if is_own {
        let _ = unlinkat(&here.destination, name, AtFlags::empty());
    }
}

/// What our files are born with in this folder, asked of the first one.
fn newborn(here: &Pair, file: impl AsFd) -> Result<Newborn, Flaw> {
    if let Some(newborn) = here.newborn.get() {
        return Ok(newborn);
    }
    let stat = fstat(file).map_err(|errno| Flaw::new(Action::Stat, errno))?;
    let newborn = Newborn { uid: stat.st_uid, gid: stat.st_gid, device: stat.st_dev };
    here.newborn.set(Some(newborn));
    Ok(newborn)
}

/// The sizes that the kernel gives for files it makes up are not to be believed: as in /proc they say that they are empty, or
/// as in /sys that they are longer than they are. They have no blocks; but so have short files on some disks.
fn is_size_unknown(source: &Stat, file: &OwnedFd) -> bool {
    source.st_blocks == 0 && (source.st_size == 0 || is_made_up(file.as_fd()))
}

pub(super) fn is_same_version(before: &Stat, after: &Stat) -> bool {
    before.st_size == after.st_size
        && before.st_mtime == after.st_mtime
        && before.st_mtime_nsec == after.st_mtime_nsec
        && before.st_ctime == after.st_ctime
        && before.st_ctime_nsec == after.st_ctime_nsec
}
