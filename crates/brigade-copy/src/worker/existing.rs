//! Decides what is to be done about an entry, seeing what is at the destination. It changes nothing: what it decides is carried
//! out in file.rs and entry.rs, folders are merged in visit.rs.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::committing::is_unfinished;
use super::contents::{CHUNK_BYTES, read_full};
use super::file::is_same_version;
use super::folders::kind_of;
use super::metadata::FILE_TYPE;
use super::{Flaw, Spot, Worker};
use crate::calls::{fstat, openat, readlinkat, statat};
use crate::error::{Action, Reason};
use crate::event::{Ground, Outcome};
use crate::names::Kind;
use crate::request::{Existing, Newer, Sameness, TypeChange};
use crate::task::{Arrival, Identity, Prior};

/// What is to be done about an entry.
pub(super) enum Verdict {
    /// Nothing is there: it is made.
    Make,
    /// The same is there.
    Keep { present: Box<Stat>, outcome: Outcome },
    /// What is there gives way.
    Replace(Prior),
    /// Somebody must be asked whether it does.
    Ask,
    /// What is there stays.
    Skip,
    /// The order to stop came while it was compared.
    Stopped,
}

/// With what an entry at the destination is compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Like {
    /// With its source, which is of this kind.
    Source(Kind),
    /// With the file that it is to be a further name of.
    First(Identity),
}

/// How an entry at the destination compares with its source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alike {
    Same,
    Different,
    /// The order to stop came before that was known.
    Unknown,
}

/// Where what is at the destination comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// It was there before this run.
    Before,
    /// A worker of this run made it before it died.
    ThisRun,
}

impl Worker {
    /// Looks at what is there, and decides.
    pub(super) fn weigh(&mut self, spot: &Spot<'_>, source: &Stat, like: Like) -> Result<Verdict, Flaw> {
        self.why = Some(Ground::New);
        let present = match statat(&spot.here.destination, spot.destination_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(present) => present,
            Err(Errno::NOENT) => return Ok(Verdict::Make),
            Err(errno) => return Err(Flaw::new(Action::Replace, errno)),
        };
        if spot.arrival == Arrival::Fresh {
            // The folder is of this run, and so is what is in it: the destination takes two names of the source for one.
            return Err(Flaw::new(Action::Replace, Reason::NameTaken));
        }
        if is_unfinished(&present) && kind_of(source) == Kind::File {
            return Ok(Verdict::Replace(Prior::Unfinished));
        }
        let origin = self.origin_of_present(spot);
        if origin == Origin::Before
            && !self.is_of_the_run_before(spot, source, &present)?
            && let Some(why) = self.reason_to_leave(source, &present)
        {
            self.why = Some(why);
            return Ok(Verdict::Skip);
        }
        if kind_of(&present) == Kind::Folder && self.facts.policy.type_change == TypeChange::Refused {
            return Err(Flaw::new(Action::Replace, Reason::FolderInTheWay));
        }
        Ok(match self.compare(spot, source, &present, origin, like)? {
            Alike::Unknown => Verdict::Stopped,
            Alike::Same => {
                let outcome = if origin == Origin::ThisRun { Outcome::Copied } else { Outcome::Unchanged };
                Verdict::Keep { present: Box::new(present), outcome }
            }
            Alike::Different if origin == Origin::ThisRun => Verdict::Replace(Prior::Ours),
            Alike::Different if self.must_ask() => Verdict::Ask,
            Alike::Different => Verdict::Replace(Prior::Before(kind_of(&present))),
        })
    }

    /// Whether the same is there since the run that this one goes on with. Then it is not what was to be kept, but what that run
    /// made: further names of it are linked to it, its metadata are brought into line, and where the names of one file were
    /// taken in another order then, it gives way to the link that it is to be.
    fn is_of_the_run_before(&mut self, spot: &Spot<'_>, source: &Stat, present: &Stat) -> Result<bool, Flaw> {
        let Some(began) = self.facts.resumed.filter(|_| self.facts.policy.existing == Existing::Keep) else {
            return Ok(false);
        };
        let is_born_since = self.is_born_since(&spot.here.destination, spot.destination_name(), began);
        let like = Like::Source(kind_of(source));
        Ok(is_born_since && self.compare(spot, source, present, Origin::Before, like)? == Alike::Same)
    }

    /// Whether nothing may be replaced without an answer.
    pub(super) fn must_ask(&self) -> bool {
        self.facts.policy.existing == Existing::Ask && !self.is_agreed
    }

    fn compare(
        &mut self,
        spot: &Spot<'_>,
        source: &Stat,
        present: &Stat,
        origin: Origin,
        like: Like,
    ) -> Result<Alike, Flaw> {
        match like {
            Like::First(first) => Ok(self.alike(Identity::of(present) == first, Ground::NotLinked)),
            Like::Source(kind) if kind_of(present) != kind => Ok(self.alike(false, Ground::TypeDiffers)),
            Like::Source(Kind::File) => self.compare_file(spot, source, present, origin),
            Like::Source(Kind::Symlink) => {
                let target = |folder, name| readlinkat(folder, name, Vec::new());
                let wanted = target(&spot.here.source, spot.name).map_err(|errno| Flaw::new(Action::Read, errno))?;
                let is_same =
                    target(&spot.here.destination, spot.destination_name()).is_ok_and(|there| there == wanted);
                Ok(self.alike(is_same, Ground::TargetDiffers))
            }
            Like::Source(Kind::Special | Kind::Folder | Kind::Unknown) => {
                let is_same =
                    present.st_mode & FILE_TYPE == source.st_mode & FILE_TYPE && present.st_rdev == source.st_rdev;
                Ok(self.alike(is_same, Ground::TypeDiffers))
            }
        }
    }

    /// Remembers in what an entry differs.
    fn alike(&mut self, is_same: bool, why: Ground) -> Alike {
        self.why = (!is_same).then_some(why);
        if is_same { Alike::Same } else { Alike::Different }
    }

    /// What a worker finished before it died counts as copied.
    fn origin_of_present(&self, spot: &Spot<'_>) -> Origin {
        let is_ours = spot.arrival == Arrival::Redone
            && self.is_born_in_this_run(&spot.here.destination, spot.destination_name());
        if is_ours { Origin::ThisRun } else { Origin::Before }
    }

    fn reason_to_leave(&self, source: &Stat, present: &Stat) -> Option<Ground> {
        let policy = &self.facts.policy;
        if policy.existing == Existing::Keep {
            return Some(Ground::Exists);
        }
        let is_newer = mtime_of(present) > mtime_of(source);
        (policy.newer == Newer::Keep && is_newer).then_some(Ground::NewerThere)
    }

    /// Whether a regular file is at the destination already, as far as the policy goes.
    fn compare_file(&mut self, spot: &Spot<'_>, source: &Stat, present: &Stat, origin: Origin) -> Result<Alike, Flaw> {
        if present.st_size != source.st_size {
            return Ok(self.alike(false, Ground::SizeDiffers));
        }
        match (self.facts.policy.sameness, origin) {
            (Sameness::SizeAndTime, Origin::Before) if self.was_touched_since(source) => {
                Ok(self.alike(false, Ground::ChangedSince))
            }
            // What a worker of this run has finished has the time of its source; all the rest has not.
            (_, Origin::ThisRun) | (Sameness::SizeAndTime, _) => {
                Ok(self.alike(mtime_of(present) == mtime_of(source), Ground::TimeDiffers))
            }
            (Sameness::Contents, _) => {
                let alike = self.compare_contents(spot, source)?;
                self.why = (alike == Alike::Different).then_some(Ground::ContentsDiffer);
                Ok(alike)
            }
            (Sameness::Never, _) => Ok(self.alike(false, Ground::TimesIgnored)),
        }
    }

    /// Whether a source may have been written to since a run began that was cut off. Then its size and time prove nothing: that
    /// run may have copied what it was before, and times can be set.
    fn was_touched_since(&self, source: &Stat) -> bool {
        let changed = (source.st_ctime, source.st_ctime_nsec as i64);
        self.facts.resumed.is_some_and(|began| changed >= began)
    }

    /// Reads both files up to the first difference. That needs no digest: both are here, and most that differ do so early.
    fn compare_contents(&mut self, spot: &Spot<'_>, before: &Stat) -> Result<Alike, Flaw> {
        let source = open_to_read(spot.here.source.as_fd(), spot.name, spot.here.source_flags())
            .map_err(|errno| Flaw::new(Action::Open, errno))?;
        // A copy that cannot be read is not known to be the same, and is replaced.
        let Ok(copy) = open_to_read(spot.here.destination.as_fd(), spot.destination_name(), OFlags::NOFOLLOW) else {
            return Ok(Alike::Different);
        };
        self.forget_cached(&copy).map_err(|errno| Flaw::new(Action::Verify, errno))?;
        let mut offset = 0;
        loop {
            if self.lane.must_stop() {
                return Ok(Alike::Unknown);
            }
            let (ours, theirs) = self.buffer.split_at_mut(CHUNK_BYTES / 2);
            let n_read = read_full(&source, ours, offset).map_err(|errno| Flaw::new(Action::Read, errno))?;
            if !matches!(read_full(&copy, &mut theirs[..ours.len()], offset), Ok(n_there) if n_there == n_read)
                || ours[..n_read] != theirs[..n_read]
            {
                return Ok(Alike::Different);
            }
            offset += n_read as u64;
            if n_read < ours.len() {
                break;
            }
        }
        // What was written to meanwhile is copied, with the care that this takes.
        let after = fstat(&source).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        Ok(if is_same_version(before, &after) { Alike::Same } else { Alike::Different })
    }
}

/// Seconds and nanoseconds of the last modification.
pub(super) fn mtime_of(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn open_to_read(folder: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}
