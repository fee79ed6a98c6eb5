//! Takes one entry away, whatever it has become since it was listed. What goes is decided in removal.rs.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::super::Flaw;
use super::entry_kind;
use crate::calls::{fchmod, fstat, statx, unlinkat};
use crate::error::{Action, Reason};
use crate::event::EntryKind;
use crate::names::Kind;

/// What became of an entry that was to go.
pub(in crate::worker) enum Gone {
    Removed(EntryKind),
    /// Somebody else was faster.
    Vanished,
    /// It is a folder that is not empty.
    Full,
}

/// Removes an entry, whatever it has become, unless it is a folder with something in it.
pub(in crate::worker) fn try_remove(folder: &OwnedFd, mut kind: Kind, name: &CStr) -> Result<Gone, Flaw> {
    let mut may_write = true;
    // Each error but the last has one remedy.
    for _ in 0..4 {
        let flags = if kind == Kind::Folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match unlinkat(folder, name, flags) {
            Ok(()) => return Ok(Gone::Removed(entry_kind(kind))),
            Err(Errno::NOENT) => return Ok(Gone::Vanished),
            Err(Errno::NOTEMPTY | Errno::EXIST) if kind == Kind::Folder => return Ok(Gone::Full),
            Err(Errno::ISDIR) if kind != Kind::Folder => kind = Kind::Folder,
            Err(Errno::NOTDIR) if kind == Kind::Folder => kind = Kind::File,
            // The kernel answers so for a folder on which something is mounted, before it looks into it.
            Err(Errno::BUSY) if kind == Kind::Folder => return Err(Flaw::new(Action::Remove, Reason::MountPoint)),
            Err(Errno::ACCESS) if may_write && make_writable(folder) => may_write = false,
            Err(errno) => return Err(Flaw::new(Action::Remove, errno)),
        }
    }
    Err(Flaw::new(Action::Remove, Reason::BecameOther))
}

/// Gives its owner, if that is us, the right to change what is in a folder. A common folder gets its mode back afterwards.
fn make_writable(folder: &OwnedFd) -> bool {
    fstat(folder).is_ok_and(|stat| fchmod(folder, Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700)).is_ok())
}

/// A second look after the kernel did not say so: something may have been mounted since, or be a file system of its own
/// without a mount, as sub-volumes of btrfs are.
pub(in crate::worker) fn is_mount_point(parent: &OwnedFd, folder: &OwnedFd) -> Result<bool, Flaw> {
    let look = |folder| {
        statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            .map_err(|errno| Flaw::new(Action::Remove, errno))
    };
    let (above, here) = (look(parent)?, look(folder)?);
    let is_root = here.stx_attributes & here.stx_attributes_mask & StatxAttributes::MOUNT_ROOT;
    let is_other = (above.stx_dev_major, above.stx_dev_minor) != (here.stx_dev_major, here.stx_dev_minor);
    Ok(is_other || !is_root.is_empty())
}
