//! Puts a finished entry from its temporary name under its own. Whether it may go there is decided in existing.rs.

use std::ffi::CStr;

use rustix::fs::{AtFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Flaw, Spot, Worker};
use crate::calls::{renameat, statat, unlinkat};
use crate::error::Action;

/// What came of putting an entry where nothing was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Placed {
    /// It is there.
    There,
    /// Something has come between; the entry is removed.
    Taken,
}

impl Worker {
    /// Puts an entry in the place of what is there.
    pub(super) fn put_in_place(&self, spot: &Spot<'_>, temporary: &CStr) -> Result<(), Flaw> {
        let folder = &spot.here.destination;
        renameat(folder, temporary, folder, spot.destination_name()).map_err(|errno| {
            let _ = unlinkat(folder, temporary, AtFlags::empty());
            Flaw::new(Action::Rename, errno)
        })
    }

    /// Puts an entry where nothing is, and replaces nothing.
    pub(super) fn put_where_nothing_is(&self, spot: &Spot<'_>, temporary: &CStr) -> Result<Placed, Flaw> {
        let folder = &spot.here.destination;
        match rename_to_free_name(folder, temporary, spot.destination_name()) {
            Ok(()) => Ok(Placed::There),
            Err(errno) => {
                let _ = unlinkat(folder, temporary, AtFlags::empty());
                if errno == Errno::EXIST { Ok(Placed::Taken) } else { Err(Flaw::new(Action::Rename, errno)) }
            }
        }
    }
}

/// Renames within a folder; `EXIST` if the new name is taken.
pub(super) fn rename_to_free_name(folder: &std::os::fd::OwnedFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    match renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        // Some file systems do not know the flag. Then a look must do.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(folder, from, folder, to),
            Err(errno) => Err(errno),
        },
        renamed => renamed,
    }
}
