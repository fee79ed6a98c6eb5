//! Folders that give way to something else, and empty ones that something else gives way to. A folder goes with everything in it,
//! one component at a time by held descriptors, never
//! through a link and never into another file system. A worker that dies on the way leaves the rest where it is, and whoever
//! does its task again goes on with that.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::folders::{Chain, kind_of, open_folder};
use super::placing::Way;
use super::removal::taking::is_mount_point;
use super::{Flaw, Spot, Worker};
use crate::calls::{mkdirat, openat, statat, unlinkat};
use crate::error::{Action, Reason};
use crate::event::Ground;
use crate::names::{Kind, Names};
use crate::request::TypeChange;
use crate::task::Prior;

/// A folder that is being emptied.
struct Level {
    name: CString,
    /// Its sub-folders, from `offset` on.
    folders: Names,
    offset: usize,
}

impl Worker {
    /// Removes the folder that stands in the place of an entry.
    pub(super) fn remove_folder(&mut self, spot: &Spot<'_>) -> Result<Way, Flaw> {
        let mut chain = Chain::new(self.max_held);
        chain.enter(0, b"", || rustix::io::fcntl_dupfd_cloexec(&spot.here.destination, 0).map_err(not_removed))?;
        let folders = Names::one(Kind::Folder, spot.destination_name());
        let mut levels = vec![Level { name: CString::default(), folders, offset: 0 }];
        while let Some(level) = levels.last_mut() {
            if self.lane.must_stop() {
                return Ok(Way::Stopped);
            }
            if let Some((_, name, next)) = level.folders.at(level.offset) {
                let name = name.to_owned();
                level.offset = next;
                let here = chain.current()?;
                if let Some((folder, folders)) = self.enter_to_empty(&here, &name)? {
                    chain.push(&name, folder);
                    levels.push(Level { name, folders, offset: 0 });
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
    fn enter_to_empty(&mut self, parent: &OwnedFd, name: &CStr) -> Result<Option<(OwnedFd, Names)>, Flaw> {
        let folder = match open_folder(parent.as_fd(), name) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(not_removed(errno)),
        };
        if is_mount_point(parent, &folder)? {
            return Err(Flaw::new(Action::Remove, Reason::MountPoint));
        }
        let (mut files, mut folders) = (Names::default(), Names::default());
        let mut listing = std::mem::take(&mut self.listing_buffer);
        let listed = list(&folder, &mut listing, &mut files, &mut folders);
        self.listing_buffer = listing;
        listed.map_err(not_removed)?;
        for (_, name) in files.iter() {
            remove(&folder, name, AtFlags::empty())?;
        }
        Ok(Some((folder, folders)))
    }
}

/// Reads the names in a folder.
fn list(folder: &OwnedFd, listing: &mut Vec<u8>, files: &mut Names, folders: &mut Names) -> Result<(), Errno> {
    let mut entries = RawDir::new(folder, listing.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            rustix::fs::FileType::Unknown => kind_of(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?),
            listed => Kind::of(listed),
        };
        match kind {
            Kind::Folder => folders.push(kind, name),
            _ => files.push(kind, name),
        }
    }
    Ok(())
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
