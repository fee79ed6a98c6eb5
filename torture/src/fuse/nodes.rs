//! The entries and open files that the kernel knows of a `FaultFs`, by number, and their attributes in its form.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;

use super::switches::Spelling;

const MARK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The entries that the kernel knows: each is held by a descriptor that only marks it, so renames and removals do not matter.
#[derive(Debug)]
pub(super) struct Nodes {
    folder: PathBuf,
    root: Arc<OwnedFd>,
    spelling: Spelling,
    known: Mutex<HashMap<u64, Node>>,
}

#[derive(Debug)]
struct Node {
    mark: Arc<OwnedFd>,
    /// As often as the kernel was told of it and has not forgotten.
    n_told: u64,
}

impl Nodes {
    pub(super) fn new(folder: PathBuf, spelling: Spelling) -> Result<Self, Errno> {
        let root = Arc::new(openat(CWD, &folder, MARK | OFlags::DIRECTORY, Mode::empty())?);
        Ok(Self { folder, root, spelling, known: Mutex::default() })
    }

    pub(super) fn mark(&self, number: INodeNo) -> Result<Arc<OwnedFd>, Errno> {
        if number == INodeNo::ROOT {
            return Ok(Arc::clone(&self.root));
        }
        self.known().get(&number.0).map(|node| Arc::clone(&node.mark)).ok_or(Errno::STALE)
    }

    /// Tells the kernel of an entry.
    pub(super) fn tell(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let mark = openat(&self.mark(parent)?, name, MARK, Mode::empty())?;
        let attributes = attributes_of(&fstat(&mark)?);
        let mut known = self.known();
        known.entry(attributes.ino.0).or_insert_with(|| Node { mark: Arc::new(mark), n_told: 0 }).n_told += 1;
        Ok(attributes)
    }

    pub(super) fn forget(&self, number: INodeNo, n_told: u64) {
        let mut known = self.known();
        if let Some(node) = known.get_mut(&number.0) {
            node.n_told = node.n_told.saturating_sub(n_told);
            if node.n_told == 0 {
                known.remove(&number.0);
            }
        }
    }

    pub(super) fn attributes(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        let attributes = attributes_of(&fstat(&self.mark(number)?)?);
        Ok(FileAttr { ino: number, ..attributes })
    }

    /// The path of an entry below the mount.
    pub(super) fn path(&self, number: INodeNo) -> Option<PathBuf> {
        let target = readlinkat(CWD, way_to(&*self.mark(number).ok()?), Vec::new()).ok()?;
        let path = PathBuf::from(OsString::from_vec(target.into_bytes()));
        Some(path.strip_prefix(&self.folder).ok()?.to_owned())
    }

    /// The name by which an entry is there, which may be spelt in another way.
    pub(super) fn spelt(&self, parent: INodeNo, name: &OsStr) -> Result<OsString, Errno> {
        if self.spelling == Spelling::CaseInsensitive {
            let folder = open_folder(&*self.mark(parent)?)?;
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                if entry.file_name().to_bytes().eq_ignore_ascii_case(name.as_bytes()) {
                    return Ok(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
                }
            }
        }
        Ok(name.to_owned())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Node>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path that leads to what a descriptor marks, for calls that take no descriptor.
pub(super) fn way_to(mark: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", mark.as_raw_fd())
}

pub(super) fn open_folder(mark: &OwnedFd) -> Result<OwnedFd, Errno> {
    openat(mark, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// An entry of a folder that was opened.
pub(super) struct Listed {
    pub(super) number: INodeNo,
    pub(super) kind: FileType,
    pub(super) name: OsString,
}

pub(super) fn list(mark: &OwnedFd) -> Result<Vec<Listed>, Errno> {
    let folder = open_folder(mark)?;
    let mut listed = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let kind = match entry.file_type() {
            rustix::fs::FileType::Unknown => {
                let stat = rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                rustix::fs::FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        listed.push(Listed { number: INodeNo(entry.ino()), kind: kind_of(kind), name });
    }
    Ok(listed)
}

fn kind_of(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn attributes_of(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.st_ino),
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: moment(stat.st_atime, stat.st_atime_nsec),
        mtime: moment(stat.st_mtime, stat.st_mtime_nsec),
        ctime: moment(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: kind_of(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: packed_device(stat.st_rdev),
        blksize: stat.st_blksize as u32,
        flags: 0,
    }
}

fn moment(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    base + Duration::from_nanos(nanoseconds)
}

/// A device number as the kernel packs it into 32 bits.
fn packed_device(device: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

pub(super) fn unpacked_device(packed: u32) -> u64 {
    rustix::fs::makedev((packed & 0xf_ff00) >> 8, (packed & 0xff) | ((packed >> 12) & 0xf_ff00))
}
