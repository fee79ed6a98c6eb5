//! Whether two paths are the same entry, or one lies inside the other, whatever they are called: by device and inode, and
//! through bind mounts. What follows from that is decided in plan.rs.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, StatxFlags};
use rustix::io::Errno;

use crate::calls::{fstat, openat, readlinkat, statat, statx};
use crate::names::Kind;
use crate::procfs;
use crate::task::Identity;

/// An entry that is there.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) kind: Kind,
}

/// What a look at a path found.
#[derive(Debug)]
pub(super) enum Found {
    Entry(Entry),
    /// No such entry, in the kernel's words.
    Nothing(io::Error),
}

/// Looks at an entry itself, also if it is a link.
pub(super) fn look(path: &Path) -> io::Result<Found> {
    found(statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW))
}

/// Looks at what a link points to.
pub(super) fn follow(path: &Path) -> io::Result<Found> {
    found(statat(CWD, path, AtFlags::empty()))
}

/// What a path leads to after all links.
pub(super) fn target_of(path: &Path) -> Option<Identity> {
    statat(CWD, path, AtFlags::empty()).ok().as_ref().map(Identity::of)
}

fn found(result: Result<Stat, Errno>) -> io::Result<Found> {
    match result {
        Ok(stat) => {
            let kind = Kind::of(rustix::fs::FileType::from_raw_mode(stat.st_mode));
            Ok(Found::Entry(Entry { identity: Identity::of(&stat), kind }))
        }
        Err(errno @ Errno::NOENT) => Ok(Found::Nothing(errno.into())),
        Err(errno) => Err(errno.into()),
    }
}

/// A folder and all folders above it.
pub(super) struct Lineage {
    identities: Vec<Identity>,
    /// Where it lies within its file system, if the kernel tells.
    origin: Option<Origin>,
}

/// A place within a file system, which is the same through every mount of it.
#[derive(Debug, Eq, PartialEq)]
struct Origin {
    device: Vec<u8>,
    path: PathBuf,
}

/// The lineages that have been looked at, and the mounts by which they are reached, which are read once.
#[derive(Default)]
pub(super) struct Lineages {
    known: HashMap<PathBuf, Rc<Lineage>>,
    mounts: Option<Vec<u8>>,
}

impl Lineages {
    pub(super) fn of(&mut self, folder: &Path) -> io::Result<Rc<Lineage>> {
        if let Some(lineage) = self.known.get(folder) {
            return Ok(Rc::clone(lineage));
        }
        let lineage = Rc::new(self.look(folder)?);
        self.known.insert(folder.to_owned(), Rc::clone(&lineage));
        Ok(lineage)
    }

    fn look(&mut self, folder: &Path) -> io::Result<Lineage> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, super::place::or_here(folder), flags, Mode::empty())?;
        let origin = self.origin_of(&folder);
        let mut identities = vec![Identity::of(&fstat(&folder)?)];
        let mut here = folder;
        loop {
            // A folder above may be closed to us; then nothing above it can be told.
            let Ok(above) = openat(&here, c"..", flags, Mode::empty()) else {
                break;
            };
            let identity = Identity::of(&fstat(&above)?);
            if identities.last() == Some(&identity) {
                break;
            }
            identities.push(identity);
            here = above;
        }
        Ok(Lineage { identities, origin })
    }

    /// Finds the mount a folder is reached by, and adds the folder's place in the mount to the mount's place in its file system.
    fn origin_of(&mut self, folder: &OwnedFd) -> Option<Origin> {
        let mount = statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        if mount.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            return None;
        }
        let link = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        let path = readlinkat(CWD, &link, Vec::new()).ok()?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes()));
        let mounts = self.mounts.get_or_insert_with(|| procfs::read(c"/proc/self/mountinfo"));
        mounts.split(|&byte| byte == b'\n').find_map(|line| origin_by(line, mount.stx_mnt_id, &path))
    }
}

impl Lineage {
    pub(super) fn contains(&self, identity: Identity) -> bool {
        self.identities.contains(&identity)
    }

    /// Whether this folder is the other, or lies below it, by another way than its own path: through a bind mount.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        match (&self.origin, &other.origin) {
            (Some(ours), Some(theirs)) => ours.device == theirs.device && ours.path.starts_with(&theirs.path),
            _ => false,
        }
    }
}

/// Reads a line of mountinfo: mount, parent, device, root within the file system, mount point, …
fn origin_by(line: &[u8], mount_id: u64, path: &Path) -> Option<Origin> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id: u64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    if id != mount_id {
        return None;
    }
    let device = fields.nth(1)?.to_vec();
    let root = unescape(fields.next()?);
    let mount_point = unescape(fields.next()?);
    let within = path.strip_prefix(&mount_point).ok()?;
    Some(Origin { device, path: root.join(within) })
}

/// Blanks and backslashes are written as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(unescaped) => {
                bytes.push(unescaped);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_blanks_in_its_names() {
        let line = b"36 35 98:0 /sub\\040folder /mnt/a\\134b rw,noatime master:1 - ext3 /dev/root rw";
        let origin = origin_by(line, 36, Path::new("/mnt/a\\b/c")).unwrap();
        assert_eq!(origin, Origin { device: b"98:0".to_vec(), path: "/sub folder/c".into() });
        assert_eq!(origin_by(line, 37, Path::new("/mnt/a\\b/c")), None);
        assert_eq!(origin_by(line, 36, Path::new("/elsewhere")), None);
    }
}
