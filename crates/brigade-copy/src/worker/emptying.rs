//! Folders that give way to something else, and empty ones that something else gives way to. A folder goes with everything in it,
//! one component at a time by held descriptors, never
//! through a link and never into another file system. A worker that dies on the way leaves the rest where it is, and whoever
//! does its task again goes on with that.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::folders::{Chain, list, open_folder};
use super::placing::Way;
use super::removal::taking::is_mount_point;
use super::unread::Unread;
use super::{Flaw, Spot, Worker};
use crate::calls::{mkdirat, openat, unlinkat};
use crate::error::{Action, Reason};
use crate::event::Ground;
use crate::names::{Kind, Names};
use crate::request::TypeChange;
use crate::task::Prior;

/// A folder that is being emptied.
struct Level {
    name: CString,
    /// Its sub-folders.
    folders: Unread,
}

impl Worker {
    /// Removes the folder that stands in the place of an entry.
    pub(super) fn remove_folder(&mut self, spot: &Spot<'_>) -> Result<Way, Flaw> {
        let mut chain = Chain::new(self.max_held);
        chain.enter(0, b"", || rustix::io::fcntl_dupfd_cloexec(&spot.here.destination, 0).map_err(not_removed))?;
        let folders = Unread::new(Names::one(Kind::Folder, spot.destination_name()));
        let mut levels = vec![Level { name: CString::default(), folders }];
        while let Some(level) = levels.last_mut() {
            if self.lane.must_stop() {
                return Ok(Way::Stopped);
            }
            if let Some((_, name)) = level.folders.take_next() {
                let here = chain.current()?;
                if let Some((folder, folders)) = self.enter_to_empty(&here, &name)? {
                    chain.push(&name, folder);
                    levels.push(Level { name, folders });
                }
                continue;
            }
            let is_last = levels.len() == 1;
            let done = levels.pop();
            if let Some(Level { name, .. }) = done.filter(|_| !is_last) {
                chain.pop();
                let above = chain.current()?;
                remove(&above, &name, AtFlags::REMOVEDIR)?;
            }
        }
        Ok(Way::Free)
    }

    /// Whether this folder of the source may take the place of something that is no folder.
    pub(super) fn may_replace_by(&mut self, source: &OwnedFd) -> Result<bool, Flaw> {
        if self.facts.policy.type_change == TypeChange::Refused {
            return Ok(false);
        }
        is_empty(source).map_err(|errno| Flaw::new(Action::List, errno))
    }

    /// Makes an empty folder in the place of something that is none. Returns whether it did: somebody must be asked first.
    pub(super) fn put_folder_in_place(&mut self, spot: &Spot<'_>) -> Result<bool, Flaw> {
        if self.must_ask() {
            self.why = Some(Ground::TypeDiffers);
            return Ok(false);
        }
        let (folder, name) = (&spot.here.destination, spot.destination_name());
        let way = self.make_way(spot, Prior::Before(Kind::File))?;
        if matches!(way, Way::Free) {
            unlinkat(folder, name, AtFlags::empty()).map_err(|errno| Flaw::new(Action::Remove, errno))?;
        }
        mkdirat(folder, name, Mode::RWXU).map_err(|errno| Flaw::new(Action::CreateDirectory, errno))?;
        Ok(true)
    }

    /// Opens a folder, removes what is no folder in it, and says which sub-folders there are. `None`: it is gone.
    fn enter_to_empty(&mut self, parent: &OwnedFd, name: &CStr) -> Result<Option<(OwnedFd, Unread)>, Flaw> {
        let folder = match open_folder(parent.as_fd(), name) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(not_removed(errno)),
        };
        if is_mount_point(parent, &folder)? {
            return Err(Flaw::new(Action::Remove, Reason::MountPoint));
        }
        let (mut files, mut folders) = (Names::default(), Names::default());
        let listed = list(&folder, &mut self.listing_buffer, |kind, name| match kind {
            Kind::Folder => folders.push(kind, name),
            _ => files.push(kind, name),
        });
        listed.map_err(not_removed)?;
        for (_, name) in files.iter() {
            remove(&folder, name, AtFlags::empty())?;
        }
        Ok(Some((folder, Unread::new(folders))))
    }
}

fn remove(folder: &OwnedFd, name: &CStr, flags: AtFlags) -> Result<(), Flaw> {
    match unlinkat(folder, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(not_removed(errno)),
    }
}

fn not_removed(errno: Errno) -> Flaw {
    Flaw::new(Action::Remove, errno)
}

/// Whether nothing is in a folder. It is opened anew, so that whoever lists it begins at its beginning.
fn is_empty(folder: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(folder, c".", flags, Mode::empty())?;
    for entry in Dir::new(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
