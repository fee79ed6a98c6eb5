//! Compares two trees by all that a copy must keep, and says of each difference whether the destination's file system is the
//! reason. It shares no code with the copier, names one component at a time, and so goes deeper than a path can be long.

mod limits;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use limits::Limits;

/// Files up to this size are read whole; of larger ones what is a hole in both is not.
const WHOLE_BYTES: u64 = 8 << 20;

/// Something that is not the same in the copy.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The entry, below the root.
    pub path: Vec<u8>,
    /// What differs, by the name that the copier has for it. `None` for what no copier may change: an entry that is missing.
    pub aspect: Option<&'static str>,
    /// Both values.
    pub text: String,
    /// Whether the destination's file system cannot have it otherwise.
    pub is_predicted: bool,
}

/// All differences between a tree and its copy.
///
/// Compared are names, types, modes, owners, modification times to the nanosecond, contents, targets of links, device
/// numbers, which names are hard links of each other, all extended attributes that this user sees, ACLs and capabilities
/// among them, and holes, as far as blocks of the destination can be. Access times are not.
///
/// # Errors
/// What reading either tree says.
pub fn compare(source: &Path, copy: &Path) -> io::Result<Compared> {
    let (ours, theirs) = (open_parent(source)?, open_parent(copy)?);
    let mut comparison = Comparison { limits: Limits::of(&theirs.0)?, ..Comparison::default() };
    comparison.entry((ours.0.as_fd(), &ours.1), (theirs.0.as_fd(), &theirs.1))?;
    comparison.compare_links();
    let links = comparison.source_links.values().filter(|names| names.len() > 1);
    let first_names = links.flat_map(|names| names.iter().map(|name| Some((name.clone(), names.first()?.clone()))));
    Ok(Compared { differences: comparison.found, first_names: first_names.flatten().collect() })
}

/// What a comparison found.
#[derive(Debug)]
pub struct Compared {
    /// In what the trees differ.
    pub differences: Vec<Difference>,
    /// Of each name of a file with several, the first.
    first_names: HashMap<Vec<u8>, Vec<u8>>,
}

impl Compared {
    /// What all names of a file have in common: the first of them, as text.
    #[must_use]
    pub fn file_of(&self, path: &[u8]) -> String {
        format!("{:?}", OsStr::from_bytes(self.first_names.get(path).map_or(path, Vec::as_slice)))
    }
}

/// An inode of one of the trees.
type Inode = (u64, u64);
/// An entry: the folder it is in and its name.
type Entry<'a> = (BorrowedFd<'a>, &'a CStr);

#[derive(Default)]
struct Comparison {
    limits: Limits,
    path: Vec<u8>,
    found: Vec<Difference>,
    /// Names of one inode, in either tree.
    source_links: HashMap<Inode, BTreeSet<Vec<u8>>>,
    copy_links: HashMap<Inode, BTreeSet<Vec<u8>>>,
}

impl Comparison {
    fn entry(&mut self, source: Entry<'_>, copy: Entry<'_>) -> io::Result<()> {
        let ours = look(source)?;
        let theirs = match look(copy) {
            Err(Errno::NOENT) => {
                let is_predicted = self.limits.cannot_hold(&ours);
                self.differ(None, "is missing in the copy".to_owned(), is_predicted);
                return Ok(());
            }
            theirs => theirs?,
        };
        self.facts(&ours, &theirs);
        self.attributes(source, copy)?;
        if kind(&ours) != kind(&theirs) {
            return Ok(());
        }
        if kind(&ours) == FileType::Directory {
            return self.folder(source, copy);
        }
        self.source_links.entry((ours.st_dev, ours.st_ino)).or_default().insert(self.path.clone());
        self.copy_links.entry((theirs.st_dev, theirs.st_ino)).or_default().insert(self.path.clone());
        match kind(&ours) {
            FileType::Symlink => {
                let targets = (readlinkat(source.0, source.1, Vec::new())?, readlinkat(copy.0, copy.1, Vec::new())?);
                self.fact(None, "target", targets.0, targets.1);
            }
            FileType::RegularFile if ours.st_size == theirs.st_size => self.contents(source, copy, &ours, &theirs)?,
            FileType::RegularFile => self.fact(None, "size", ours.st_size, theirs.st_size),
            _ => {}
        }
        Ok(())
    }

    fn facts(&mut self, ours: &Stat, theirs: &Stat) {
        self.fact(None, "type", kind(ours), kind(theirs));
        self.fact(Some("ownership"), "owner", (ours.st_uid, ours.st_gid), (theirs.st_uid, theirs.st_gid));
        self.fact(None, "device", ours.st_rdev, theirs.st_rdev);
        if kind(ours) != FileType::Symlink {
            let modes = [ours, theirs].map(|stat| format!("{:o}", stat.st_mode));
            self.fact(Some("mode"), "mode", &modes[0], &modes[1]);
        }
        let [time, copied] = [ours, theirs].map(|stat| (stat.st_mtime, stat.st_mtime_nsec as i64));
        if time != copied {
            let text = format!("time {time:?}, in the copy {copied:?}");
            self.differ(Some("timestamps"), text, self.limits.turn_into(time, copied));
        }
    }

    fn attributes(&mut self, source: Entry<'_>, copy: Entry<'_>) -> io::Result<()> {
        let (ours, theirs) = (attributes_of(source)?, attributes_of(copy)?);
        if ours == theirs {
            return Ok(());
        }
        let n_bytes = ours.iter().map(|(name, value)| name.len() + value.0.len() + 16).sum();
        let lost: Vec<_> = ours.iter().filter(|(name, value)| theirs.get(*name) != Some(*value)).collect();
        // What the copy has instead is no limit of its file system.
        let is_less = theirs.keys().all(|name| ours.contains_key(name))
            && lost.iter().all(|(name, _)| !theirs.contains_key(*name));
        let is_predicted = is_less && lost.iter().all(|(_, value)| !self.limits.takes(value.0.len(), n_bytes));
        let mut aspects: Vec<_> = lost.iter().map(|(name, _)| aspect_of(name)).collect();
        aspects.dedup();
        for aspect in if is_predicted { aspects } else { vec!["xattr"] } {
            self.differ(Some(aspect), format!("extended attributes {ours:?}, in the copy {theirs:?}"), is_predicted);
        }
        Ok(())
    }

    fn folder(&mut self, source: Entry<'_>, copy: Entry<'_>) -> io::Result<()> {
        let (ours, theirs) = (open(source, OFlags::DIRECTORY)?, open(copy, OFlags::DIRECTORY)?);
        let mut others = names_in(&theirs)?;
        let n_bytes = self.path.len();
        for name in names_in(&ours)? {
            others.remove(&name);
            if n_bytes > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            self.entry((ours.as_fd(), &name), (theirs.as_fd(), &name))?;
            self.path.truncate(n_bytes);
        }
        for name in others {
            self.differ(None, format!("{name:?} in it is in the copy only"), false);
        }
        Ok(())
    }

    fn contents(&mut self, source: Entry<'_>, copy: Entry<'_>, ours: &Stat, theirs: &Stat) -> io::Result<()> {
        let files = (open(source, OFlags::empty())?, open(copy, OFlags::empty())?);
        let n_bytes = ours.st_size as u64;
        let (data, copied) = (data_in(&files.0, n_bytes)?, data_in(&files.1, n_bytes)?);
        let ranges = match n_bytes {
            ..=WHOLE_BYTES => vec![(0, n_bytes)],
            _ => data.iter().chain(&copied).copied().collect(),
        };
        for range in ranges {
            if !is_same(&files.0, &files.1, range)? {
                self.differ(None, "the contents differ".to_owned(), false);
                return Ok(());
            }
        }
        // A source that is allocated throughout may be written out, whatever of it is marked as zeros.
        let is_sparse = (ours.st_blocks as u64) * 512 < n_bytes;
        let block = (theirs.st_blksize as u64).max(4096);
        if is_sparse && let Some(range) = copied.iter().find(|range| !is_within(**range, &data, block)) {
            let text = format!("a hole of the source is data in the copy, at {range:?} of {copied:?}, not {data:?}");
            self.differ(Some("holes"), text, !self.limits.has_holes);
        }
        Ok(())
    }

    fn fact<T: PartialEq + std::fmt::Debug>(&mut self, aspect: Option<&'static str>, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differ(aspect, format!("{what} {ours:?}, in the copy {theirs:?}"), false);
        }
    }

    fn differ(&mut self, aspect: Option<&'static str>, text: String, is_predicted: bool) {
        self.found.push(Difference { path: self.path.clone(), aspect, text, is_predicted });
    }

    /// Both trees have the same groups of names, whatever the inodes are called.
    fn compare_links(&mut self) {
        let groups = |links: &HashMap<Inode, BTreeSet<Vec<u8>>>| -> BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> {
            let several = links.values().filter(|names| names.len() > 1);
            several.filter_map(|names| Some((names.first()?.clone(), names.clone()))).collect()
        };
        let (ours, theirs) = (groups(&self.source_links), groups(&self.copy_links));
        for (first, names) in &ours {
            if theirs.get(first) != Some(names) {
                self.path.clone_from(first);
                let shown: Vec<_> = names.iter().map(|name| OsStr::from_bytes(name)).collect();
                self.differ(Some("links"), format!("{shown:?} are one file, but not in the copy"), false);
            }
        }
        for (first, names) in theirs.iter().filter(|(first, _)| !ours.contains_key(*first)) {
            self.path.clone_from(first);
            self.differ(Some("links"), format!("it is one of {} names in the copy only", names.len()), false);
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", OsStr::from_bytes(&self.path), self.text)
    }
}

/// Values are shown by their length and first bytes, since they may be long.
#[derive(PartialEq)]
struct Value(Vec<u8>);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {:02x?}", self.0.len(), &self.0[..self.0.len().min(32)])
    }
}

/// What the kernel tells of an entry itself, never of what a link points to.
fn attributes_of((folder, name): Entry<'_>) -> io::Result<BTreeMap<String, Value>> {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    let path = CString::new(path)?;
    let mut names = vec![0_u8; 64 << 10];
    let n_bytes = match rustix::fs::llistxattr(path.as_c_str(), &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        listed => listed?,
    };
    let mut attributes = BTreeMap::new();
    for name in names[..n_bytes].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        // How XFS stores an ACL, which is listed under its own name, too.
        if name.starts_with(b"trusted.SGI_ACL_") {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        let n_bytes = rustix::fs::lgetxattr(path.as_c_str(), name, &mut value[..])?;
        value.truncate(n_bytes);
        attributes.insert(name.escape_ascii().to_string(), Value(value));
    }
    Ok(attributes)
}

fn aspect_of(name: &str) -> &'static str {
    match name {
        "system.posix_acl_access" | "system.posix_acl_default" => "acl",
        "security.capability" => "capabilities",
        "security.selinux" => "context",
        _ => "xattr",
    }
}

/// The folder above a path, and the path's last component.
fn open_parent(path: &Path) -> io::Result<(OwnedFd, CString)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => (parent, name),
        (_, Some(name)) => (Path::new("."), name),
        _ => (path, OsStr::new(".")),
    };
    Ok((openat(CWD, parent, flags, Mode::empty())?, CString::new(name.as_bytes())?))
}

fn open((folder, name): Entry<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(folder, name, flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn look((folder, name): Entry<'_>) -> Result<Stat, Errno> {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn names_in(folder: &OwnedFd) -> io::Result<BTreeSet<CString>> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if name.as_bytes() != b"." && name.as_bytes() != b".." {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Where a file is no hole, in order.
fn data_in(file: &OwnedFd, n_bytes: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut found = Vec::new();
    let mut offset = 0;
    while offset < n_bytes {
        let begin = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Err(Errno::NXIO) => break,
            begin => begin?,
        };
        offset = rustix::fs::seek(file, SeekFrom::Hole(begin))?;
        found.push((begin, offset.min(n_bytes)));
    }
    Ok(found)
}

/// Whether every block of `range` has something of `data` in it.
fn is_within(range: (u64, u64), data: &[(u64, u64)], block: u64) -> bool {
    let mut position = range.0;
    for &(begin, end) in data {
        let (begin, end) = (begin / block * block, end.div_ceil(block) * block);
        if begin <= position && position < end {
            position = end;
        }
    }
    position >= range.1
}

fn is_same(one: &OwnedFd, other: &OwnedFd, (mut offset, end): (u64, u64)) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    while offset < end {
        let n_wanted = usize::try_from(end - offset).map_or(1 << 20, |left| left.min(1 << 20));
        read_exactly(one, &mut ours[..n_wanted], offset)?;
        read_exactly(other, &mut theirs[..n_wanted], offset)?;
        if ours[..n_wanted] != theirs[..n_wanted] {
            return Ok(false);
        }
        offset += n_wanted as u64;
    }
    Ok(true)
}

fn read_exactly(file: &OwnedFd, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match rustix::io::pread(file, &mut *buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n_read => {
                buffer = &mut buffer[n_read..];
                offset += n_read as u64;
            }
        }
    }
    Ok(())
}
