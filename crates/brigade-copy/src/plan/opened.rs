//! Opens the places that a plan names, as marks: enough to reach entries by name, without the right to read.

use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::Place;
use super::place::or_here;
use crate::calls::openat;
use crate::names::name_of;

/// Marks a place: enough to reach entries by name, and possible without the right to read.
const MARK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Place {
    /// The folder that is here.
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        match self {
            Self::Folder(folder) => open_mark(folder),
            Self::Named { folder, name } => {
                let name: &CStr = &name_of(name);
                openat(open_mark(folder)?.as_fd(), name, MARK | OFlags::NOFOLLOW, Mode::empty())
            }
        }
    }

    /// A folder and the name by which the entry is reached in it.
    pub(crate) fn open_above(&self) -> Result<(OwnedFd, OsString), Errno> {
        match self {
            Self::Folder(folder) => Ok((open_mark(folder)?, OsString::from("."))),
            Self::Named { folder, name } => Ok((open_mark(folder)?, name.clone())),
        }
    }
}

/// A folder, through the links in its path.
pub(crate) fn open_mark(folder: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, or_here(folder), MARK, Mode::empty())
}
