//! A tree to copy, a destination that holds an older copy of it, what lies outside of both, and the pairs of entries that are
//! swapped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, lstat, mknodat, open, renameat_with, statat};
use rustix::io::Errno;

/// Whether the folders that are named in the command are swapped, too. A copy that finds a link there has little to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tops {
    Swapped,
    Left,
}

/// Whether FIFOs take the place of files: some copiers wait for ever for somebody who writes into them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fifos {
    Swapped,
    Left,
}

/// What takes the place of an entry.
#[derive(Clone, Copy, Debug)]
enum Decoy {
    /// A link to what is called the same outside.
    Link,
    /// A second name of what is called the same outside.
    HardLink,
    /// A folder of links to the files that are called the same outside.
    FolderOfLinks,
    /// A folder.
    Folder,
    Fifo,
}

/// A way to lead a copier out of a tree.
struct Kind {
    name: &'static str,
    is_at_source: bool,
    /// What is swapped, below its tree; empty for the tree itself.
    entries: &'static [&'static str],
    decoy: Decoy,
}

const KINDS: [Kind; 14] = [
    kind("source file and link", true, &["a/1", "a/9"], Decoy::Link),
    kind("source folder and link", true, &["b", "c/in"], Decoy::Link),
    kind("source folder and folder of links", true, &["d", "c/on"], Decoy::FolderOfLinks),
    kind("source file and FIFO", true, &["a/2", "b/3"], Decoy::Fifo),
    kind("source file and folder", true, &["a/3", "e/5"], Decoy::Folder),
    kind("source parent and link", true, &["e/p/q/r", "e/t/u"], Decoy::Link),
    kind("source and link", true, &[""], Decoy::Link),
    kind("destination file and link", false, &["a/4", "b/6"], Decoy::Link),
    kind("destination file and hard link", false, &["a/5", "a/6", "d/7"], Decoy::HardLink),
    kind("destination folder and link", false, &["f", "c/to"], Decoy::Link),
    kind("destination folder and folder of links", false, &["g"], Decoy::FolderOfLinks),
    kind("destination file and FIFO", false, &["a/7"], Decoy::Fifo),
    kind("destination parent and link", false, &["h/p/q", "h/t/u"], Decoy::Link),
    kind("destination and link", false, &[""], Decoy::Link),
];

const fn kind(name: &'static str, is_at_source: bool, entries: &'static [&'static str], decoy: Decoy) -> Kind {
    Kind { name, is_at_source, entries, decoy }
}

/// All folders of the tree, each with files of these names in it.
const FOLDERS: [&str; 17] = [
    "a",
    "b",
    "c/in",
    "c/on",
    "c/to",
    "d",
    "e",
    "e/p",
    "e/p/q/r",
    "e/p/q/r/s",
    "e/t/u",
    "f",
    "g",
    "h/p/q",
    "h/p/q/r",
    "h/t/u",
    "i",
];
const N_FILES: usize = 24;

/// Two entries that are swapped. The folder of the one in a tree is held: it may be swapped itself.
#[derive(Debug)]
pub(super) struct Swapped {
    pub(super) kind: &'static str,
    folder: OwnedFd,
    name: OsString,
    path: PathBuf,
    partner: PathBuf,
    decoy: Decoy,
    /// What the decoy leads to.
    outside: PathBuf,
}

impl Swapped {
    /// Whether a path is that of one of the two, or below it.
    pub(super) fn is_on_the_way_to(&self, path: &Path) -> bool {
        path.starts_with(&self.path) || path.starts_with(&self.partner)
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        path == self.path || path == self.partner
    }

    pub(super) fn swap(&self) -> Result<(), Errno> {
        renameat_with(&self.folder, &self.name, CWD, &self.partner, RenameFlags::EXCHANGE)
    }

    /// Makes the decoy if it is gone: a copier that is not led astray may remove it.
    pub(super) fn repair(&self) -> io::Result<()> {
        if self.is_decoy(self.folder.as_fd(), Path::new(&self.name)) || self.is_decoy(CWD, &self.partner) {
            return Ok(());
        }
        remove(&self.partner)?;
        match self.decoy {
            Decoy::Link => symlink(&self.outside, &self.partner),
            Decoy::HardLink => fs::hard_link(&self.outside, &self.partner),
            Decoy::Folder => fs::create_dir(&self.partner),
            Decoy::Fifo => Ok(mknodat(CWD, &self.partner, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?),
            Decoy::FolderOfLinks => {
                fs::create_dir(&self.partner)?;
                (0..N_FILES)
                    .try_for_each(|idx| symlink(self.outside.join(idx.to_string()), self.partner.join(idx.to_string())))
            }
        }
    }

    fn is_decoy(&self, folder: BorrowedFd<'_>, path: &Path) -> bool {
        let look = |path: &Path| statat(folder, path, AtFlags::SYMLINK_NOFOLLOW);
        let Ok(found) = look(path) else { return false };
        let is = |wanted: FileType| FileType::from_raw_mode(found.st_mode) == wanted;
        match self.decoy {
            Decoy::Link => is(FileType::Symlink),
            Decoy::Fifo => is(FileType::Fifo),
            Decoy::Folder => is(FileType::Directory),
            Decoy::HardLink => lstat(&self.outside).is_ok_and(|outside| outside.st_ino == found.st_ino),
            Decoy::FolderOfLinks => {
                let inside = look(&path.join("0")).map(|inside| FileType::from_raw_mode(inside.st_mode));
                is(FileType::Directory) && inside == Ok(FileType::Symlink)
            }
        }
    }
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Scene {
    folder: PathBuf,
    /// Must never be seen in the destination.
    pub(super) canary: String,
}

impl Scene {
    /// Makes what lies outside.
    pub(super) fn new(folder: &Path, number: u64) -> io::Result<Self> {
        let scene = Self { folder: folder.to_owned(), canary: format!("canary {number:016x}") };
        for (side, text) in [("secrets", scene.canary.as_str()), ("victims", "of the victim")] {
            make_tree(&scene.outside().join(side), |idx| format!("{text}, file {idx}"))?;
        }
        for path in scene.all_outside()? {
            // Of the victims only the modes differ from those of the source, so that some look unchanged but for them.
            let mode = if path.is_dir() { 0o751 } else { 0o604 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        Ok(scene)
    }

    pub(super) fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// What is copied into.
    pub(super) fn into(&self) -> PathBuf {
        self.folder.join("into")
    }

    fn copy(&self) -> PathBuf {
        self.into().join("source")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the copier may keep what it wants to remember.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn partners(&self) -> PathBuf {
        self.folder.join("partners")
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.folder.join("outside")
    }

    /// All that lies outside, folders before what is in them.
    pub(super) fn all_outside(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = vec![self.outside()];
        let mut next = 0;
        while next < found.len() {
            if fs::symlink_metadata(&found[next])?.is_dir() {
                let mut inside =
                    fs::read_dir(&found[next])?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
                inside.sort();
                found.extend(inside);
            }
            next += 1;
        }
        Ok(found)
    }

    /// What the copier may read and write.
    pub(super) fn inside(&self) -> [PathBuf; 2] {
        [self.into(), self.partners()]
    }

    /// Makes both trees anew. Half of the copies in the destination are older, the others are as they should be.
    pub(super) fn reset(&self) -> io::Result<()> {
        for folder in [self.into(), self.partners()] {
            remove(&folder)?;
            fs::create_dir(folder)?;
        }
        self.reset_source()?;
        make_tree(&self.copy(), |idx| if idx % 2 == 0 { text(idx) } else { format!("older {idx}") })?;
        for folder in ["a", "d"] {
            // The copies of some look unchanged but for their modes, and so do the victims' second names.
            for idx in [5, 6, 7] {
                for (tree, mode) in [(self.source(), 0o640), (self.copy(), 0o600)] {
                    let path = tree.join(folder).join(idx.to_string());
                    fs::write(&path, format!("of the victim, file {idx}"))?;
                    age(&path)?;
                    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn reset_source(&self) -> io::Result<()> {
        remove(&self.source())?;
        make_tree(&self.source(), text)?;
        symlink("a/1", self.source().join("link"))
    }

    /// Everything that is to be swapped, ready for it.
    pub(super) fn swapped(&self, tops: Tops, fifos: Fifos) -> io::Result<Vec<Swapped>> {
        let mut all: Vec<Swapped> = Vec::new();
        for kind in KINDS.iter().filter(|kind| fifos == Fifos::Swapped || !matches!(kind.decoy, Decoy::Fifo)) {
            for entry in kind.entries.iter().filter(|entry| tops == Tops::Swapped || !entry.is_empty()) {
                let (tree, side) =
                    if kind.is_at_source { (self.source(), "secrets") } else { (self.copy(), "victims") };
                let path = if entry.is_empty() { tree } else { tree.join(entry) };
                let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
                all.push(Swapped {
                    kind: kind.name,
                    folder: open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
                    name: name.to_owned(),
                    path: path.clone(),
                    partner: self.partners().join(all.len().to_string()),
                    decoy: kind.decoy,
                    outside: self.outside().join(side).join(entry),
                });
            }
        }
        all.iter().try_for_each(Swapped::repair)?;
        Ok(all)
    }
}

fn text(idx: usize) -> String {
    format!("contents of {idx}")
}

fn make_tree(root: &Path, text: impl Fn(usize) -> String) -> io::Result<()> {
    for folder in FOLDERS {
        let folder = root.join(folder);
        fs::create_dir_all(&folder)?;
        for idx in 0..N_FILES {
            let path = folder.join(idx.to_string());
            fs::write(&path, text(idx))?;
            age(&path)?;
        }
    }
    Ok(())
}

/// All files are of one age, so that those of one size look alike.
fn age(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
}

/// Removes whatever it is, links not followed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
