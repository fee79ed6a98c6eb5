//! What only root can build: each tree seen through a mount of its own, an empty root folder, and few of root's rights left.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use brigade_sys::kernel::mounts::{self, Restrictions};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsmount, fsopen, open_tree,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::{Lack, Purpose, Trees, Wall};
use crate::calls::{fstat, kernel_version};
use crate::procfs;
use crate::task::Identity;

/// The rights of root that a worker keeps, if it has them. Five are about whose file it is and who may do what with it, one about
/// the last blocks of a file system and a quota, which root may use, two about capabilities of files and about devices. The last shows
/// and sets attributes in `trusted.` and
/// `security.`; none of the calls that it opens else is left to a worker (calls.rs).
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SYS_ADMIN);

/// The first Linux that lets files of different mounts share their contents.
const CLONES_ACROSS_MOUNTS: (u32, u32) = (5, 18);

/// Which tree of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    /// It is only read.
    Source,
    Destination,
}

/// How much of a tree of mounts is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Depth {
    /// The uppermost mount, which is enough to find out whether it works.
    Top,
    /// All that are mounted below it now.
    All,
}

/// Whether this is the strictest that there is for this user: for root it is, also where a container has taken the rights for it.
pub(super) fn is_for_this_user() -> bool {
    rustix::process::geteuid().is_root()
}

/// Finds out what would make a copy from the jail another one than from outside.
pub(super) fn check(purpose: Purpose) -> Result<(), Lack> {
    if purpose == Purpose::CopyingWhatLinksPointTo {
        return Err(Lack::LinksFollowed);
    }
    if kernel_version().is_none_or(|version| version < CLONES_ACROSS_MOUNTS) {
        return Err(Lack::OldKernel);
    }
    let mounts = procfs::read(c"/proc/self/mountinfo");
    if mounts.is_empty() || mounts.split(|&byte| byte == b'\n').any(is_unbindable) {
        return Err(Lack::HiddenMount);
    }
    Ok(())
}

/// Whether a line of mountinfo is about a mount that is left out when what it lies in is seen from another place.
fn is_unbindable(line: &[u8]) -> bool {
    let fields = line.split(|&byte| byte == b' ').skip(6);
    fields.take_while(|&field| field != b"-").any(|field| field == b"unbindable")
}

/// Has each tree seen through a mount of its own, and returns those of the destinations. After an error nothing is changed.
pub(super) fn build(trees: &mut [Trees<'_>], purpose: Purpose) -> Result<Vec<OwnedFd>, Lack> {
    check(purpose)?;
    let side = if purpose == Purpose::Comparing { Side::Source } else { Side::Destination };
    let mut destinations = Clones { side, made: Vec::new() };
    let mut clones = Vec::with_capacity(trees.len());
    for (source, destination) in &*trees {
        clones.push((clone_tree(source, Side::Source, Depth::All)?, destinations.of(destination)?));
    }
    for ((source, destination), (new_source, new_destination)) in trees.iter_mut().zip(clones) {
        **source = new_source;
        **destination = new_destination;
    }
    Ok(destinations.made.into_iter().map(|(_, clone)| clone).collect())
}

/// The mount of its own through which a tree is seen.
pub(super) fn clone_tree(tree: &OwnedFd, side: Side, depth: Depth) -> Result<OwnedFd, Lack> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if depth == Depth::All {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let clone = open_tree(tree, c"", flags).map_err(|errno| Wall::Mounts.lacking(errno))?;
    let restrictions = match side {
        Side::Source => Restrictions::READ_ONLY,
        Side::Destination => Restrictions::NOTHING_ACTIVE,
    };
    mounts::restrict(&clone, restrictions.without_links()).map_err(|error| Wall::Mounts.lacking(error))?;
    Ok(clone)
}

/// The mounts through which destinations are seen. Nothing can be linked or renamed from one mount to another, so folders that
/// lie in each other are seen through the same.
struct Clones {
    side: Side,
    made: Vec<(PathBuf, OwnedFd)>,
}

impl Clones {
    fn of(&mut self, tree: &OwnedFd) -> Result<OwnedFd, Lack> {
        let path = path_of(tree);
        let known = self.made.iter().find_map(|(top, clone)| within(clone, path.strip_prefix(top).ok()?, tree));
        if let Some(known) = known {
            return Ok(known);
        }
        let clone = clone_tree(tree, self.side, Depth::All)?;
        let kept = clone.try_clone().map_err(|error| Wall::Mounts.lacking(error))?;
        self.made.push((path, kept));
        Ok(clone)
    }
}

/// The folder at this path in a clone, if it is the one that is meant.
fn within(clone: &OwnedFd, path: &std::path::Path, wanted: &OwnedFd) -> Option<OwnedFd> {
    if path.as_os_str().is_empty() {
        return (identity(clone)? == identity(wanted)?).then(|| clone.try_clone().ok())?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let folder = openat2(clone, path, flags, Mode::empty(), resolve).ok()?;
    (identity(&folder)? == identity(wanted)?).then_some(folder)
}

fn identity(folder: impl AsFd) -> Option<Identity> {
    Some(Identity::of(&fstat(folder).ok()?))
}

/// Where a folder is; empty if that is not known.
fn path_of(folder: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let path = crate::calls::readlinkat(rustix::fs::CWD, link.as_str(), Vec::new()).unwrap_or_default();
    PathBuf::from(OsStr::from_bytes(path.as_bytes()))
}

/// Makes an empty folder in which nothing can be made the root and the current folder.
pub(super) fn enter_cell() -> Result<(), Lack> {
    let cell = new_cell().map_err(|errno| Wall::Mounts.lacking(errno))?;
    let entered = rustix::process::fchdir(&cell).and_then(|()| rustix::process::chroot(c"."));
    entered.map_err(|errno| Wall::Root.lacking(errno))
}

fn new_cell() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Gives up all rights of root but those that copying needs.
pub(super) fn give_up_capabilities() -> Result<(), Lack> {
    let given_up = capabilities(None).and_then(|present| {
        let permitted = present.permitted.intersection(KEPT);
        let effective = present.effective.intersection(KEPT);
        set_capabilities(None, CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })
    });
    given_up.map_err(|errno| Wall::Capabilities.lacking(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_cannot_be_seen_from_another_place_is_known_by_its_line() {
        let line = b"41 30 0:37 / /mnt rw,relatime unbindable - tmpfs unbindable rw";
        assert!(is_unbindable(line));
        assert!(!is_unbindable(b"41 30 0:37 / /mnt rw,relatime shared:1 - tmpfs unbindable rw"));
        assert!(!is_unbindable(b""));
    }
}
