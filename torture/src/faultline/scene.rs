//! The small tree with every kind of entry that a campaign copies, and what stands at the destination before. What must have
//! become of it is said in judge.rs.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// More than is read and written in one go, so that the kernel is asked to copy it.
const BIG_BYTES: usize = 600 << 10;

/// What stands at the destination before a run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Before {
    Nothing,
    /// Some entries as they should be, some different, some of another type.
    Others,
}

/// Source and destination.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) source: PathBuf,
    pub(super) destination: PathBuf,
    before: Before,
}

impl Scene {
    /// Makes the source in an existing folder.
    pub(super) fn new(folder: &Path, before: Before) -> io::Result<Self> {
        // Paths as the kernel shows them.
        let folder = folder.canonicalize()?.join(format!("{before:?}"));
        let scene = Self { source: folder.join("source"), destination: folder.join("destination"), before };
        fs::create_dir_all(&scene.source)?;
        scene.fill_source()?;
        Ok(scene)
    }

    /// Where calls are not that count as being on neither tree: on the trees, and on what the kernel makes up to wake somebody,
    /// which never fails.
    pub(super) fn outside(&self) -> Vec<PathBuf> {
        let made_up = ["anon_inode:[eventfd]", "anon_inode:[eventpoll]"].map(PathBuf::from);
        [self.source.clone(), self.destination.clone()].into_iter().chain(made_up).collect()
    }

    /// Brings the destination back to what it was.
    pub(super) fn reset(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.destination) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.before == Before::Others { self.fill_destination() } else { Ok(()) }
    }

    fn fill_source(&self) -> io::Result<()> {
        let at = |name: &str| self.source.join(name);
        for folder in ["deep", "deep/er", "deep/er/still", "hollow", "inheriting"] {
            fs::create_dir(at(folder))?;
        }
        for name in ["plain", "deep/inner", "deep/er/lowest", "deep/er/still/here", "inheriting/child"] {
            fs::write(at(name), name)?;
        }
        fs::write(at("empty"), "")?;
        fs::write(at("big"), (0..BIG_BYTES).map(|idx| (idx / 7) as u8).collect::<Vec<_>>())?;
        sparse(&at("sparse"))?;
        fs::write(at("linked"), "one file")?;
        fs::hard_link(at("linked"), at("deep/linked"))?;
        fs::hard_link(at("linked"), at("deep/er/linked"))?;
        std::os::unix::fs::symlink("plain", at("link"))?;
        std::os::unix::fs::symlink("nowhere/at/all", at("deep/dangling"))?;
        mknod(&at("pipe"), FileType::Fifo, 0)?;
        mknod(&at("deep/socket"), FileType::Socket, 0)?;
        mknod(&at("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3))?;
        fs::write(at("attributed"), "attributes")?;
        set(&at("attributed"), "user.note", b"kept")?;
        set(&at("attributed"), "system.posix_acl_access", &acl())?;
        set(&at("inheriting"), "system.posix_acl_default", &acl())?;
        fs::write(at("capable"), "capabilities")?;
        std::os::unix::fs::chown(at("capable"), Some(1234), Some(1234))?;
        // CAP_NET_RAW, effective and permitted: `struct vfs_cap_data` of linux/capability.h, version 2.
        set(&at("capable"), "security.capability", &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        fs::write(at("deep/owned"), "another's")?;
        std::os::unix::fs::chown(at("deep/owned"), Some(1234), Some(4321))?;
        fs::set_permissions(at("deep/owned"), fs::Permissions::from_mode(0o4751))?;
        fs::set_permissions(at("deep"), fs::Permissions::from_mode(0o2750))?;
        fs::set_permissions(at("hollow"), fs::Permissions::from_mode(0o1777))?;
        age(&self.source)
    }

    /// Entries that are right, wrong in their metadata, wrong in their contents, and of another type.
    fn fill_destination(&self) -> io::Result<()> {
        let at = |name: &str| self.destination.join(name);
        fs::create_dir_all(at("deep"))?;
        for name in ["plain", "deep/inner", "capable"] {
            fs::copy(self.source.join(name), at(name))?;
            set_time(&at(name), 1_000_000_000)?;
        }
        fs::set_permissions(at("deep/inner"), fs::Permissions::from_mode(0o600))?;
        fs::write(at("big"), "small")?;
        fs::write(at("link"), "no link")?;
        fs::write(at("linked"), "another file")?;
        std::os::unix::fs::symlink("elsewhere", at("deep/dangling"))?;
        mknod(&at("pipe"), FileType::Fifo, 0)?;
        set(&at("plain"), "user.stale", b"goes")
    }
}

fn sparse(path: &Path) -> io::Result<()> {
    let file = fs::File::create(path)?;
    file.set_len(1 << 20)?;
    file.write_all_at(b"an island", 256 << 10)?;
    file.write_all_at(b"another", 512 << 10)
}

fn mknod(path: &Path, kind: FileType, device: u64) -> io::Result<()> {
    Ok(rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device)?)
}

fn set(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())?)
}

/// An ACL with a named user, as linux/posix_acl_xattr.h has it: tag, permissions and id of each entry.
fn acl() -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1, 6, u32::MAX), (2, 4, 1234), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend_from_slice(&[tag, 0, permissions, 0]);
        bytes.extend_from_slice(&u32::to_le_bytes(id));
    }
    bytes
}

/// Gives everything below a folder, and then the folder, a time of long ago.
pub(super) fn age(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() { age(&path)? } else { set_time(&path, 1_000_000_000)? }
    }
    set_time(folder, 1_100_000_000)
}

fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
