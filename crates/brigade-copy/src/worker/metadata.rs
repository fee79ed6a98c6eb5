//! Owner, mode and times, in this order: a change of owner clears setuid bits, and setting the mode later is safe only once
//! the owner is right. Only what differs is set. What comes between mode and times is in attributes.rs.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, fstat, openat};
use rustix::io::Errno;

use super::Flaw;
use crate::error::Action;

const SET_ID_BITS: u32 = 0o6000;

/// The bits of a mode that say what an entry is, `S_IFMT`.
const FILE_TYPE: u32 = 0o170_000;

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
}

/// Whether an owner could be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Kept,
    Lost,
}

/// Gives an open file or folder the owner and the mode of its source.
pub(super) fn set_owner_and_mode(entry: impl AsFd, present: Present, source: &Stat) -> Result<Owner, Flaw> {
    let entry = entry.as_fd();
    let owner = set_owner(present, source, |uid, gid| rustix::fs::fchown(entry, uid, gid))?;
    let mode = match owner {
        Owner::Kept => source.st_mode & 0o7777,
        Owner::Lost => source.st_mode & 0o7777 & !SET_ID_BITS,
    };
    let is_owner_new = present.uid != source.st_uid || present.gid != source.st_gid;
    if mode != present.mode || (is_owner_new && mode & SET_ID_BITS != 0) {
        rustix::fs::fchmod(entry, Mode::from_raw_mode(mode)).map_err(|errno| Flaw::new(Action::SetMode, errno))?;
    }
    Ok(owner)
}

/// Gives an open file or folder the times of its source.
pub(super) fn set_times(entry: impl AsFd, source: &Stat) -> Result<(), Flaw> {
    rustix::fs::futimens(entry, &times_of(source)).map_err(|errno| Flaw::new(Action::SetTimes, errno))
}

/// Gives the owner of its source to an entry that cannot be opened.
pub(super) fn set_owner_by_name(
    folder: BorrowedFd<'_>,
    name: &CStr,
    present: Present,
    source: &Stat,
) -> Result<Owner, Flaw> {
    set_owner(present, source, |uid, gid| rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
}

/// Gives the mode of its source to a FIFO, a socket or a device.
pub(super) fn set_mode_by_name(folder: BorrowedFd<'_>, name: &CStr, source: &Stat) -> Result<(), Flaw> {
    let set = || {
        let entry = openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if fstat(&entry)?.st_mode & FILE_TYPE != source.st_mode & FILE_TYPE {
            return Err(Errno::STALE);
        }
        // fchmod(2) does not take a descriptor that only marks a place.
        let path = format!("/proc/self/fd/{}", entry.as_raw_fd());
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(source.st_mode & 0o7777), AtFlags::empty())
    };
    set().map_err(|errno| Flaw::new(Action::SetMode, errno))
}

/// Gives the times of its source to an entry that cannot be opened.
pub(super) fn set_times_by_name(folder: BorrowedFd<'_>, name: &CStr, source: &Stat) -> Result<(), Flaw> {
    rustix::fs::utimensat(folder, name, &times_of(source), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Flaw::new(Action::SetTimes, errno))
}

/// Sets the owner. Who may not give files away may still give them to a group of his, as cp does.
fn set_owner(
    present: Present,
    source: &Stat,
    chown: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
) -> Result<Owner, Flaw> {
    let uid = (present.uid != source.st_uid).then(|| Uid::from_raw(source.st_uid));
    let gid = (present.gid != source.st_gid).then(|| Gid::from_raw(source.st_gid));
    if uid.is_none() && gid.is_none() {
        return Ok(Owner::Kept);
    }
    match chown(uid, gid) {
        Ok(()) => Ok(Owner::Kept),
        Err(errno) if is_not_permitted(errno) => {
            if uid.is_some() && gid.is_some() {
                // Refused too: the group is lost with the owner, which is said once for both.
                let _ = chown(None, gid);
            }
            Ok(Owner::Lost)
        }
        Err(errno) => Err(Flaw::new(Action::SetOwner, errno)),
    }
}

/// Not allowed to this user, or not possible in this user namespace or on this file system.
fn is_not_permitted(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS)
}

fn times_of(source: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: source.st_atime, tv_nsec: source.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: source.st_mtime, tv_nsec: source.st_mtime_nsec as _ },
    }
}
