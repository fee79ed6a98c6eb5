//! Grows a tree with every kind of entry that a copier may meet, from a seed: the same seed on the same kind of file system
//! gives the same tree. What the file system refuses is left out. Entries are made by one name relative to a held folder, so
//! paths may be longer than the kernel takes.

mod contents;
mod names;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, linkat,
    lsetxattr, makedev, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::acl::{Rights, acl};
use crate::random::Random;

/// How large a tree is to be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Folders beside the root.
    pub n_folders: u64,
    /// Everything else; further names of files come on top.
    pub n_entries: u64,
    /// Whether there are also: a path far beyond `PATH_MAX`, in the folder `deep`, and sparse files of 2 and 4 GiB, in the
    /// folder `huge`.
    pub extremes: Extremes,
}

/// Whether a tree has what few tools can read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extremes {
    /// It has not.
    Left,
    /// It has.
    Grown,
}

/// Folders of the path that is too long for a path, each with a name of 200 bytes.
const N_DEEP: usize = 60;

/// Grows a tree as the folder `root`, which is made.
///
/// # Errors
/// What the file system says where something plain fails.
pub fn grow(root: &Path, seed: u64, size: Size) -> io::Result<()> {
    std::fs::create_dir(root)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    let mut garden = Garden {
        random: Random::new(seed),
        folders: vec![Folder { parent: 0, name: CString::from(c"."), held: root }],
        leaves: Vec::new(),
        n_named: 0,
    };
    garden.grow(size)?;
    Ok(())
}

struct Garden {
    random: Random,
    /// The root first; each after its parent.
    folders: Vec<Folder>,
    /// Everything that is no folder, by its folder and name, for further names.
    leaves: Vec<(usize, CString)>,
    n_named: u64,
}

struct Folder {
    parent: usize,
    name: CString,
    held: OwnedFd,
}

impl Garden {
    fn grow(&mut self, size: Size) -> io::Result<()> {
        for _ in 0..size.n_folders {
            let parent = self.any_folder();
            let name = self.name();
            self.add_folder(parent, name)?;
        }
        if size.extremes == Extremes::Grown {
            self.grow_extremes()?;
        }
        for _ in 0..size.n_entries {
            let folder = self.any_folder();
            self.add_leaf(folder)?;
        }
        for _ in 0..size.n_entries / 8 {
            self.add_link()?;
        }
        // What is in a folder changes its time, so the deepest come first.
        for idx in (0..self.folders.len()).rev() {
            self.finish_folder(idx)?;
        }
        Ok(())
    }

    fn any_folder(&mut self) -> usize {
        self.random.below(self.folders.len() as u64) as usize
    }

    /// A name that this tree does not have yet.
    fn name(&mut self) -> CString {
        self.n_named += 1;
        names::name(&mut self.random, self.n_named)
    }

    fn add_folder(&mut self, parent: usize, name: CString) -> io::Result<usize> {
        let above = self.folders[parent].held.as_fd();
        mkdirat(above, &name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat(above, &name, flags, Mode::empty())?;
        self.folders.push(Folder { parent, name, held });
        Ok(self.folders.len() - 1)
    }

    fn grow_extremes(&mut self) -> io::Result<()> {
        let mut parent = self.add_folder(0, c"deep".into())?;
        for _ in 0..N_DEEP {
            let name = CString::new(vec![b'd'; 200])?;
            parent = self.add_folder(parent, name)?;
        }
        self.add_leaf(parent)?;
        self.add_file(parent, c"at the bottom", contents::Style::Random)?;
        let huge = self.add_folder(0, c"huge".into())?;
        for (name, n_bytes) in [(c"2 GiB", (2 << 30) + 1), (c"4 GiB", (4 << 30) - 1), (c"more", (4 << 30) + 1)] {
            self.add_file(huge, name, contents::Style::Huge { n_bytes })?;
        }
        for (idx, &n_bytes) in contents::BORDERS.iter().enumerate() {
            let name = CString::new(format!("border {idx}"))?;
            self.add_file(0, &name, contents::Style::Exactly { n_bytes })?;
        }
        // One that stands for each kind, whatever the seed.
        self.add_file(0, c"comb", contents::Style::Comb)?;
        self.add_file(0, c"unwritten", contents::Style::Unwritten)?;
        self.add_file(0, c"trailing", contents::Style::Trailing)?;
        self.add_folder(0, c"empty".into())?;
        for length in [1023, 1024, 4095] {
            let name = CString::new(format!("link {length}"))?;
            self.add_symlink(0, &name, &CString::new(vec![b't'; length])?)?;
        }
        for (name, value_bytes) in [(c"3 KB", 3_000), (c"8 KB", 8_000), (c"60 KB", 60_000)] {
            self.add_file(0, name, contents::Style::Random)?;
            let _ = self.set(0, name, c"user.large", &vec![b'v'; value_bytes]);
        }
        Ok(())
    }

    fn add_leaf(&mut self, folder: usize) -> io::Result<()> {
        let name = self.name();
        match self.random.below(20) {
            0..12 => {
                let style = contents::Style::any(&mut self.random);
                self.add_file(folder, &name, style)
            }
            12..16 => {
                let target = names::target(&mut self.random);
                self.add_symlink(folder, &name, &target)
            }
            16 | 17 => self.add_special(folder, &name, FileType::Fifo, 0),
            18 => self.add_special(folder, &name, FileType::Socket, 0),
            _ if !is_root() => self.add_special(folder, &name, FileType::Fifo, 0),
            _ => {
                let device = makedev(self.random.below(256) as u32, self.random.below(1 << 20) as u32);
                let is_block = self.random.below(2) == 0;
                let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
                self.add_special(folder, &name, kind, device)
            }
        }
    }

    fn add_file(&mut self, folder: usize, name: &CStr, style: contents::Style) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(self.folder(folder), name, flags, Mode::RUSR | Mode::WUSR)?;
        contents::fill(&file, style, &mut self.random)?;
        self.finish_leaf(folder, name, FileType::RegularFile)
    }

    fn add_symlink(&mut self, folder: usize, name: &CStr, target: &CStr) -> io::Result<()> {
        match symlinkat(target, self.folder(folder), name) {
            // Too long for this file system.
            Err(Errno::NAMETOOLONG) => Ok(()),
            made => made.map_err(io::Error::from).and_then(|()| self.finish_leaf(folder, name, FileType::Symlink)),
        }
    }

    fn add_special(&mut self, folder: usize, name: &CStr, kind: FileType, device: u64) -> io::Result<()> {
        match mknodat(self.folder(folder), name, kind, Mode::RUSR, device) {
            // A number that is too large for this file system.
            Err(Errno::INVAL) => Ok(()),
            made => made.map_err(io::Error::from).and_then(|()| self.finish_leaf(folder, name, kind)),
        }
    }

    /// A further name of something, in any folder.
    fn add_link(&mut self) -> io::Result<()> {
        if self.leaves.is_empty() {
            return Ok(());
        }
        let (from, old) = self.leaves[self.random.below(self.leaves.len() as u64) as usize].clone();
        let (to, name) = (self.any_folder(), self.name());
        Ok(linkat(self.folder(from), &old, self.folder(to), &name, AtFlags::empty())?)
    }

    fn finish_leaf(&mut self, folder: usize, name: &CStr, kind: FileType) -> io::Result<()> {
        self.leaves.push((folder, name.to_owned()));
        self.give_metadata(folder, name, kind)
    }

    fn finish_folder(&mut self, idx: usize) -> io::Result<()> {
        let (parent, name) = (self.folders[idx].parent, self.folders[idx].name.clone());
        if idx == 0 {
            // The root of a tree stays open to whoever looks into it.
            return self.set_time(parent, &name);
        }
        self.give_metadata(parent, &name, FileType::Directory)
    }

    /// Owner, mode, attributes and time, in the order in which none undoes the other.
    fn give_metadata(&mut self, folder: usize, name: &CStr, kind: FileType) -> io::Result<()> {
        if is_root() && self.random.below(3) == 0 {
            let (uid, gid) = (self.random.below(70_000) as u32, self.random.below(70_000) as u32);
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            chownat(self.folder(folder), name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
        }
        if kind != FileType::Symlink {
            let modes = [0, 0o400, 0o444, 0o555, 0o600, 0o644, 0o711, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6711];
            let mode = modes[self.random.below(modes.len() as u64) as usize];
            chmodat(self.folder(folder), name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        if self.random.below(3) == 0 {
            self.give_attributes(folder, name, kind);
        }
        self.set_time(folder, name)
    }

    /// What this file system or user cannot have is left out.
    fn give_attributes(&mut self, folder: usize, name: &CStr, kind: FileType) {
        let n_bytes = [0, 1, 40, 300, 1_200][self.random.below(5) as usize];
        let value: Vec<u8> = (0..n_bytes).map(|_| self.random.number() as u8).collect();
        let chosen = self.random.below(6);
        let is_plain = matches!(kind, FileType::RegularFile | FileType::Directory);
        let _ = match chosen {
            0 | 1 if is_plain => self.set(folder, name, c"user.of treegen\n\xff", &value),
            2 if kind != FileType::Symlink => self.set(folder, name, c"system.posix_acl_access", &self.acl()),
            3 if kind == FileType::Directory => self.set(folder, name, c"system.posix_acl_default", &self.acl()),
            4 if kind == FileType::RegularFile => self.set(folder, name, c"security.capability", &NET_RAW),
            5 => self.set(folder, name, c"security.of_treegen", &value),
            _ => self.set(folder, name, c"trusted.of_treegen", &value),
        };
    }

    fn set(&self, folder: usize, name: &CStr, attribute: &CStr, value: &[u8]) -> Result<(), Errno> {
        let mut path = format!("/proc/self/fd/{}/", self.folder(folder).as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        lsetxattr(path, attribute, value, XattrFlags::empty())
    }

    fn acl(&self) -> Vec<u8> {
        let rights = self.random.clone().below(8) as u16;
        acl(Rights { user: rights, others: rights & 4 })
    }

    fn set_time(&mut self, folder: usize, name: &CStr) -> io::Result<()> {
        let edge = 1_i64 << [31, 32, 33, 34][self.random.below(4) as usize];
        let seconds = match self.random.below(8) {
            0 => 0,
            1 => -1,
            2 => -edge,
            3 => edge,
            4 => edge - 1,
            5 => -(self.random.below(2_000_000_000) as i64),
            _ => self.random.below(1 << 31) as i64,
        };
        let nanoseconds = [0, 1, 123_456_789, 999_999_999, 500_000_000][self.random.below(5) as usize];
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(self.folder(folder), name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn folder(&self, idx: usize) -> BorrowedFd<'_> {
        self.folders[idx].held.as_fd()
    }
}

/// `cap_net_raw=ep`, as the kernel stores it: revision 2 with the effective bit, then permitted and inheritable, low and high.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
