//! Owner, mode and times, in this order: a change of owner clears setuid bits, and setting the mode later is safe only once
//! the owner is right. Only what differs is set. What comes between owner and mode is in attributes.rs.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::attributes::{Bearer, Slate};
use super::existing::mtime_of;
use super::keeping::Refuser;
use super::{Flaw, Worker};
use crate::calls::{self, fstat};
use crate::error::Action;
use crate::facet::{Facet, Why};
use crate::request::NewMode;
use crate::task::FileTimes;

pub(super) const SET_ID_BITS: u32 = 0o6000;
const SET_GROUP_ID: u32 = 0o2000;

/// What a mode grants to the group, and to all others.
const OF_GROUP: u32 = 0o070;
const OF_OTHERS: u32 = 0o007;

/// The bits of a mode that say what an entry is, `S_IFMT`.
pub(super) const FILE_TYPE: u32 = 0o170_000;
const FOLDER_TYPE: u32 = 0o040_000;

/// Times of which it is remembered whether a file system holds them. Beyond that everyday ones stay.
const MAX_CLOCKS: usize = 64;

/// Owner and mode as they are, so that only what differs is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl Present {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }
    }

    /// Whether its owner or its group is not that of the source.
    pub(super) fn is_of_another(&self, source: &Stat) -> bool {
        self.uid != source.st_uid || self.gid != source.st_gid
    }
}

/// Whether an entry has the owner of its source now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Same,
    Other,
}

/// Whether a file system holds a time exactly, learnt from reading it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    device: u64,
    time: Time,
    is_exact: bool,
}

/// A time, as far as it matters whether a file system can hold it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Time {
    /// Between 1987 and 2038, which every file system knows, with so many digits of a second. What has whole seconds only may
    /// hold even ones only.
    Everyday { n_digits: u32, is_odd: bool },
    /// Any other.
    Far { seconds: i64, nanoseconds: i64 },
}

impl Time {
    fn of(seconds: i64, nanoseconds: i64) -> Self {
        // The last second that a file system holds it holds without a fraction.
        if !(1 << 29..i64::from(i32::MAX)).contains(&seconds) {
            return Self::Far { seconds, nanoseconds };
        }
        let n_digits =
            (0..9).find(|&n_zeros| nanoseconds % 10_i64.pow(n_zeros + 1) != 0).map_or(0, |n_zeros| 9 - n_zeros);
        Self::Everyday { n_digits, is_odd: n_digits == 0 && seconds % 2 != 0 }
    }
}

impl Worker {
    /// Gives an open file or folder the owner, the attributes and the mode of its source. The mode of what has an ACL shows what
    /// the ACL grants at most, so it opens more than that as long as the ACL is not there.
    pub(super) fn set_all_but_times(
        &mut self,
        entry: BorrowedFd<'_>,
        present: Present,
        source: &Stat,
        original: &Bearer<'_>,
        slate: Slate,
    ) -> Result<(), Flaw> {
        let set_mode = |mode| calls::fchmod(entry, Mode::from_raw_mode(mode));
        let present = self.close_to_new_group(present, source, original, slate, set_mode);
        let owner = self.set_owner(present, source, |uid, gid| calls::fchown(entry, uid, gid))?;
        self.set_attributes(original, &Bearer::open(&entry), source, present.mode, slate)?;
        let Some(mode) = self.mode_for(source, slate, owner) else {
            return Ok(());
        };
        if mode == present.mode && !(present.is_of_another(source) && mode & SET_ID_BITS != 0) {
            return Ok(());
        }
        self.set_mode(entry, mode, Refuser { slate, uid: present.uid })
    }

    /// What was there before, and is to have another group, is closed first to those to whom the source is: that group would have what
    /// the former one has, until the mode is set. Returns what it is now.
    pub(super) fn close_to_new_group(
        &self,
        present: Present,
        source: &Stat,
        original: &Bearer<'_>,
        slate: Slate,
        set_mode: impl FnOnce(u32) -> Result<(), Errno>,
    ) -> Present {
        let is_given_away = self.is_kept(Facet::Ownership) && present.gid != source.st_gid;
        if slate == Slate::Clean || !is_given_away || !self.is_kept(Facet::Mode) {
            return present;
        }
        // Where an ACL is, the mode does not say what it leaves to the group.
        let wanted = if original.has_acl() { source.st_mode & !OF_GROUP } else { source.st_mode };
        let mode = present.mode & (wanted | !(OF_GROUP | OF_OTHERS));
        // Who may not set the mode may not give it to another group either.
        if mode != present.mode && set_mode(mode).is_ok() { Present { mode, ..present } } else { present }
    }

    /// Gives an open file or folder its mode.
    pub(super) fn set_mode(&mut self, entry: BorrowedFd<'_>, mode: u32, refuser: Refuser) -> Result<(), Flaw> {
        if let Err(errno) = calls::fchmod(entry, Mode::from_raw_mode(mode)) {
            return self.refused(Facet::Mode, Action::SetMode, errno, refuser);
        }
        // The kernel takes this bit without a word from who is not in the group.
        if mode & SET_GROUP_ID != 0 && self.user != 0 && fstat(entry).is_ok_and(|stat| stat.st_mode & SET_GROUP_ID == 0)
        {
            self.keeping.lose(Facet::Mode, Why::Denied);
        }
        Ok(())
    }

    /// The mode that an entry gets; `None` for one that was there before and is to keep its own.
    pub(super) fn mode_for(&mut self, source: &Stat, slate: Slate, owner: Owner) -> Option<u32> {
        let mode = source.st_mode & 0o7777;
        if !self.is_kept(Facet::Mode) {
            return (slate == Slate::Clean).then(|| self.new_mode(source));
        }
        self.keeping.had.insert(Facet::Mode);
        if owner == Owner::Other && mode & SET_ID_BITS != 0 {
            self.keeping.lose(Facet::Mode, Why::Denied);
            return Some(mode & !SET_ID_BITS);
        }
        Some(mode)
    }

    /// The mode of a new entry where modes are not kept.
    pub(super) fn new_mode(&self, source: &Stat) -> u32 {
        let wanted = match self.facts.fidelity.new_mode {
            NewMode::OfSource => source.st_mode & 0o777,
            NewMode::Plain if source.st_mode & FILE_TYPE == FOLDER_TYPE => 0o777,
            NewMode::Plain => 0o666,
        };
        wanted & !self.umask
    }

    /// Gives an open file or folder the times of its source.
    pub(super) fn set_times(
        &mut self,
        entry: BorrowedFd<'_>,
        device: u64,
        wanted: FileTimes,
        refuser: Refuser,
    ) -> Result<(), Flaw> {
        self.set_times_by(entry, device, wanted, refuser, |times| calls::futimens(entry, times))
    }

    /// Gives the times of its source to an entry that is marked but not opened.
    pub(super) fn set_times_of_mark(
        &mut self,
        mark: BorrowedFd<'_>,
        device: u64,
        wanted: FileTimes,
        refuser: Refuser,
    ) -> Result<(), Flaw> {
        let set = |times: &_| calls::utimensat(mark, c"", times, AtFlags::EMPTY_PATH);
        self.set_times_by(mark, device, wanted, refuser, set)
    }

    fn set_times_by(
        &mut self,
        entry: BorrowedFd<'_>,
        device: u64,
        wanted: FileTimes,
        refuser: Refuser,
        set: impl FnOnce(&Timestamps) -> Result<(), Errno>,
    ) -> Result<(), Flaw> {
        if !self.is_kept(Facet::Timestamps) {
            return Ok(());
        }
        self.keeping.had.insert(Facet::Timestamps);
        match set(&timestamps(wanted)) {
            Ok(()) => self.check_times(device, wanted, || fstat(entry)),
            Err(errno) => self.refused(Facet::Timestamps, Action::SetTimes, errno, refuser),
        }
    }

    /// File systems round times and take the nearest that they can hold, without a word. So a time that none was like
    /// before is read back.
    fn check_times(
        &mut self,
        device: u64,
        wanted: FileTimes,
        look: impl FnOnce() -> Result<Stat, Errno>,
    ) -> Result<(), Flaw> {
        if !self.is_time_held(device, wanted.modification, look)? {
            self.keeping.lose(Facet::Timestamps, Why::Unsupported);
        }
        Ok(())
    }

    /// Whether a file system holds a time, if a like one was read back.
    pub(super) fn known_to_be_held(&self, device: u64, wanted: (i64, i64)) -> Option<bool> {
        let time = Time::of(wanted.0, wanted.1);
        let known = self.clocks.iter().find(|clock| clock.device == device && clock.time == time);
        known.map(|clock| clock.is_exact)
    }

    /// Whether a file system holds the time that an entry was just given.
    pub(super) fn is_time_held(
        &mut self,
        device: u64,
        wanted: (i64, i64),
        look: impl FnOnce() -> Result<Stat, Errno>,
    ) -> Result<bool, Flaw> {
        let time = Time::of(wanted.0, wanted.1);
        let is_exact = match self.known_to_be_held(device, wanted) {
            Some(is_exact) => is_exact,
            None => {
                let there = look().map_err(|errno| Flaw::new(Action::Stat, errno))?;
                let is_exact = mtime_of(&there) == wanted;
                if self.clocks.len() >= MAX_CLOCKS {
                    self.clocks.retain(|clock| matches!(clock.time, Time::Everyday { .. }));
                }
                self.clocks.push(Clock { device, time, is_exact });
                is_exact
            }
        };
        Ok(is_exact)
    }

    /// Gives the owner of its source to an entry that is marked but not opened.
    pub(super) fn set_owner_of_mark(
        &mut self,
        mark: BorrowedFd<'_>,
        present: Present,
        source: &Stat,
    ) -> Result<Owner, Flaw> {
        self.set_owner(present, source, |uid, gid| calls::chownat(mark, c"", uid, gid, AtFlags::EMPTY_PATH))
    }

    /// Sets the owner. Who may not give files away may still give them to a group of his, as cp does.
    pub(super) fn set_owner(
        &mut self,
        present: Present,
        source: &Stat,
        chown: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> Result<Owner, Flaw> {
        let uid = (present.uid != source.st_uid).then(|| Uid::from_raw(source.st_uid));
        let gid = (present.gid != source.st_gid).then(|| Gid::from_raw(source.st_gid));
        let is_same = uid.is_none() && gid.is_none();
        if !self.is_kept(Facet::Ownership) {
            return Ok(if is_same { Owner::Same } else { Owner::Other });
        }
        self.keeping.had.insert(Facet::Ownership);
        if is_same {
            return Ok(Owner::Same);
        }
        let why = match chown(uid, gid) {
            Ok(()) => return Ok(Owner::Same),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Why::Unsupported,
            // Not allowed to this user, or nobody in this user namespace.
            Err(Errno::PERM | Errno::ACCESS | Errno::INVAL) => Why::Denied,
            Err(errno) => return Err(Flaw::new(Action::SetOwner, errno)),
        };
        if uid.is_some() && gid.is_some() {
            // Refused too: the group is lost with the owner.
            let _ = chown(None, gid);
        }
        self.keeping.lose(Facet::Ownership, why);
        Ok(Owner::Other)
    }
}

/// Gives a mode to a FIFO, a socket or a device.
pub(super) fn set_mode_of_mark(mark: BorrowedFd<'_>, named: &Bearer<'_>, mode: u32) -> Result<(), Errno> {
    match calls::set_mode_of_mark(mark, mode) {
        // An ACL that was set has set the permissions, too.
        Err(Errno::NOSYS) if named.has_acl() => Ok(()),
        // Before Linux 6.6 every other way of changing a mode follows links, or opens what must not be opened.
        Err(Errno::NOSYS) => named.set_permissions(mode),
        set => set,
    }
}

pub(super) fn timestamps(times: FileTimes) -> Timestamps {
    let timespec = |(seconds, nanoseconds): (i64, i64)| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps { last_access: timespec(times.access), last_modification: timespec(times.modification) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_a_file_system_holds_alike_are_one() {
        let now = 1_700_000_001;
        assert_eq!(Time::of(now, 123_456_789), Time::of(now + 1, 1));
        assert_eq!(Time::of(now, 120_000_000), Time::Everyday { n_digits: 2, is_odd: false });
        assert_eq!(Time::of(now, 0), Time::Everyday { n_digits: 0, is_odd: true });
        assert_ne!(Time::of(now, 0), Time::of(now + 1, 0));
        assert_eq!(Time::of(-1, 5), Time::Far { seconds: -1, nanoseconds: 5 });
        assert_ne!(Time::of(1 << 31, 5), Time::of((1 << 31) + 1, 5));
    }
}
