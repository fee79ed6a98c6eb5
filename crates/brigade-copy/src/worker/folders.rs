//! The folders a worker holds open: the chain from a root down to where it works, opened one component at a time and never
//! through a symbolic link. What is done in a folder is not known here.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::Flaw;
use super::placing::NumberedBackups;
use super::standing::Standing;
use crate::calls::{self, Patience, fstat, openat, statat};
use crate::error::Action;
use crate::names::Kind;
use crate::selection::Links;
use crate::task::{Identity, Medium};

/// How a folder is opened, in either tree, but for links that are followed in the source.
pub(crate) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a file is opened whose place anything may have taken since it was looked at.
pub(super) const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A folder that is held open.
pub(super) trait Held: Sized {
    /// Opens a folder in this one. An error says in which tree it could not be opened.
    fn open_child(&self, name: &CStr) -> Result<Self, Flaw>;

    /// Device and inode of the source folder, where somebody may ask for them later.
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// A folder and its copy.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) source: OwnedFd,
    pub(super) destination: OwnedFd,
    pub(super) source_standing: Standing,
    pub(super) destination_standing: Standing,
    links: Links,
    /// Of the source folder, once that was asked.
    identity: Cell<Option<Identity>>,
    /// What a file that we make in the destination folder is born with, once one has been made.
    pub(super) newborn: Cell<Option<Newborn>>,
    /// Whether what we make in the destination folder inherits an ACL from it, once that was asked.
    pub(super) is_acl_inherited: Cell<Option<bool>>,
    /// The numbered backups in the destination folder, once they were looked for.
    numbered_backups: RefCell<Option<NumberedBackups>>,
    pub(super) reality: Reality,
    /// Where the bytes of files in the destination folder are, once that was asked.
    pub(super) medium: Cell<Option<Medium>>,
}

/// What the destination folder of a pair is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reality {
    /// A folder to write to.
    Real,
    /// A folder, but nothing is written in this run.
    Rehearsed,
    /// None: it would be made. Its descriptor stands for something else, and nothing is looked for in it.
    Imagined,
}

/// Owner, group and device of a new file. Which they are depends on mount options and modes, so we look instead of guessing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newborn {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) device: u64,
}

impl Pair {
    pub(super) fn new(source: OwnedFd, destination: OwnedFd) -> Self {
        let (newborn, is_acl_inherited) = (Cell::new(None), Cell::new(None));
        Self {
            source,
            destination,
            source_standing: Standing::new(),
            destination_standing: Standing::new(),
            links: Links::Keep,
            identity: Cell::new(None),
            newborn,
            is_acl_inherited,
            numbered_backups: RefCell::new(None),
            reality: Reality::Real,
            medium: Cell::new(None),
        }
    }

    /// Says what links in the source folder stand for; without this, for themselves.
    pub(super) fn with_links(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// Whether a link in the source stands for what it points to.
    pub(super) fn follows(&self) -> bool {
        self.links == Links::Follow
    }

    /// How an entry of the source is opened.
    pub(super) fn source_flags(&self) -> OFlags {
        if self.follows() { OFlags::CLOEXEC } else { OFlags::CLOEXEC | OFlags::NOFOLLOW }
    }

    /// Looks at an entry of the source.
    pub(super) fn stat_source(&self, name: &CStr) -> Result<Stat, Errno> {
        let flags = if self.follows() { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        statat(&self.source, name, flags)
    }

    pub(super) fn open_source_folder(&self, name: &CStr) -> Result<OwnedFd, Errno> {
        openat(&self.source, name, OFlags::RDONLY | OFlags::DIRECTORY | self.source_flags(), Mode::empty())
    }

    /// A pair in a run that writes nothing. A destination that cannot be opened as a folder is imagined.
    pub(super) fn rehearsed(
        source: OwnedFd,
        destination: Result<OwnedFd, Errno>,
        stand_in: BorrowedFd<'_>,
    ) -> Result<Self, Errno> {
        let (destination, reality) = match destination {
            Ok(destination) => (destination, Reality::Rehearsed),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                (rustix::io::fcntl_dupfd_cloexec(stand_in, 0)?, Reality::Imagined)
            }
            Err(errno) => return Err(errno),
        };
        Ok(Self { reality, ..Self::new(source, destination) })
    }

    /// The highest number of a backup of this name.
    pub(super) fn last_numbered_backup(&self, name: &CStr) -> Option<u64> {
        let mut backups = self.numbered_backups.borrow_mut();
        backups.get_or_insert_with(|| NumberedBackups::in_folder(&self.destination)).last(name)
    }

    pub(super) fn note_numbered_backup(&self, name: &CStr, number: u64) {
        if let Some(backups) = self.numbered_backups.borrow_mut().as_mut() {
            backups.note(name.to_bytes(), number);
        }
    }
}

impl Held for Pair {
    fn open_child(&self, name: &CStr) -> Result<Self, Flaw> {
        let source = self.open_source_folder(name).map_err(|errno| Flaw::new(Action::Open, errno))?;
        let destination = match self.reality {
            Reality::Real => {
                return Ok(Self::new(source, self.destination.open_child(name)?).with_links(self.links));
            }
            Reality::Rehearsed => open_folder(self.destination.as_fd(), name),
            Reality::Imagined => Err(Errno::NOENT),
        };
        Self::rehearsed(source, destination, self.destination.as_fd())
            .map(|pair| pair.with_links(self.links))
            .map_err(|errno| Flaw::new(Action::Reach, errno))
    }

    fn identity(&self) -> Option<Identity> {
        if self.identity.get().is_none() {
            self.identity.set(fstat(&self.source).ok().as_ref().map(Identity::of));
        }
        self.identity.get()
    }
}

impl Held for OwnedFd {
    fn open_child(&self, name: &CStr) -> Result<Self, Flaw> {
        open_folder(self.as_fd(), name).map_err(|errno| Flaw::new(Action::Reach, errno))
    }
}

pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(parent, name, FOLDER, Mode::empty())
}

/// A chain of open folders. Only the deepest are held, so that neither depth nor the limit on open files matters.
pub(super) struct Chain<H> {
    root: Option<(u32, Rc<H>)>,
    levels: Vec<Level<H>>,
    /// Levels before this one are closed, all others are open.
    first_held: usize,
    max_held: usize,
}

struct Level<H> {
    name: CString,
    held: Option<Rc<H>>,
    /// Of a folder that was closed for its depth.
    identity: Option<Identity>,
}

impl<H: Held> Chain<H> {
    pub(super) fn new(max_held: usize) -> Self {
        Self { root: None, levels: Vec::new(), first_held: 0, max_held }
    }

    /// Goes to the folder `path` below a root, which is opened with `open_root` if it is not the current one.
    pub(super) fn enter(
        &mut self,
        root: u32,
        path: &[u8],
        open_root: impl FnOnce() -> Result<H, Flaw>,
    ) -> Result<Rc<H>, Flaw> {
        if self.root.as_ref().is_none_or(|(current, _)| *current != root) {
            self.leave();
            self.root = Some((root, Rc::new(open_root()?)));
        }
        let mut n_common = 0;
        for component in components(path) {
            if self.levels.get(n_common).is_some_and(|level| level.name.as_bytes() == component) {
                n_common += 1;
                continue;
            }
            self.levels.truncate(n_common);
            let name = CString::new(component).map_err(|_| Flaw::new(Action::Open, Errno::INVAL))?;
            self.levels.push(Level { name, held: None, identity: None });
            n_common += 1;
        }
        self.levels.truncate(n_common);
        let entered = self.current();
        if entered.is_err() {
            // What is open so far is not trusted to be in step with the names.
            self.leave();
        }
        entered
    }

    /// The folder we are in, reopened if it had been closed for its depth.
    pub(super) fn current(&mut self) -> Result<Rc<H>, Flaw> {
        let n_open = self.levels.iter().rposition(|level| level.held.is_some()).map_or(0, |idx| idx + 1);
        if n_open == 0 {
            self.first_held = 0;
        }
        let mut here = match n_open {
            0 => self.root.as_ref().map(|(_, root)| Rc::clone(root)),
            _ => self.levels[n_open - 1].held.clone(),
        }
        .ok_or(Flaw::new(Action::Open, Errno::BADF))?;
        for level_idx in n_open..self.levels.len() {
            here = Rc::new(here.open_child(&self.levels[level_idx].name)?);
            self.levels[level_idx].held = Some(Rc::clone(&here));
            self.close_shallow(level_idx + 1);
        }
        Ok(here)
    }

    /// Goes down into a folder that has just been opened in the current one.
    pub(super) fn push(&mut self, name: &CStr, held: H) {
        if self.levels.last().is_none_or(|level| level.held.is_none()) {
            self.first_held = self.levels.len();
        }
        self.levels.push(Level { name: name.to_owned(), held: Some(Rc::new(held)), identity: None });
        self.close_shallow(self.levels.len());
    }

    /// The folders on the way to the current one, from the deepest upwards, as far as they are open without a gap.
    pub(super) fn held(&self) -> impl Iterator<Item = &H> {
        let open = self.levels.iter().rev().map_while(|level| level.held.as_deref());
        let root = self.root.as_ref().filter(|_| self.levels.iter().all(|level| level.held.is_some()));
        open.chain(root.map(|(_, root)| &**root))
    }

    /// Whether a folder is one of those on the way to the current one.
    pub(super) fn passes(&self, identity: Identity) -> bool {
        let of_root = self.root.as_ref().and_then(|(_, root)| root.identity());
        let of_level = |level: &Level<H>| level.held.as_ref().map_or(level.identity, |held| held.identity());
        of_root == Some(identity) || self.levels.iter().any(|level| of_level(level) == Some(identity))
    }

    pub(super) fn pop(&mut self) {
        self.levels.pop();
    }

    fn leave(&mut self) {
        self.root = None;
        self.levels.clear();
        self.first_held = 0;
    }

    fn close_shallow(&mut self, n_levels: usize) {
        while self.first_held + self.max_held < n_levels {
            let level = &mut self.levels[self.first_held];
            level.identity = level.held.take().and_then(|held| held.identity());
            self.first_held += 1;
        }
    }
}

/// The parts of a path relative to a root.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
}

/// Hands out every entry of a folder, from its beginning.
pub(super) fn list(folder: &OwnedFd, buffer: &mut Vec<u8>, mut each: impl FnMut(Kind, &CStr)) -> Result<(), Errno> {
    // A root that may not be read is held by a descriptor that only marks its place.
    let denied = |errno| if errno == Errno::BADF { Errno::ACCESS } else { errno };
    calls::seek(folder, SeekFrom::Start(0)).map_err(denied)?;
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    let mut patience = Patience::default();
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(errno) if patience.allows(errno) => continue,
            entry => entry.map_err(denied)?,
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            // One that has vanished since is found missing when its turn comes.
            FileType::Unknown => {
                statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_or(Kind::File, |stat| kind_of(&stat))
            }
            known => Kind::of(known),
        };
        each(kind, name);
    }
    Ok(())
}

/// What an entry is according to a fresh look, without following a link.
pub(super) fn kind_of(stat: &Stat) -> Kind {
    Kind::of(FileType::from_raw_mode(stat.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of folders that counts how many are open.
    struct Counted {
        n_open: Rc<Cell<usize>>,
        n_opened: Rc<Cell<usize>>,
        path: String,
    }

    impl Counted {
        fn root() -> Self {
            Self { n_open: Rc::default(), n_opened: Rc::default(), path: String::new() }
        }
    }

    impl Held for Counted {
        fn open_child(&self, name: &CStr) -> Result<Self, Flaw> {
            self.n_open.set(self.n_open.get() + 1);
            self.n_opened.set(self.n_opened.get() + 1);
            let path = format!("{}/{}", self.path, name.to_str().unwrap());
            Ok(Self { n_open: Rc::clone(&self.n_open), n_opened: Rc::clone(&self.n_opened), path })
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.n_open.set(self.n_open.get().saturating_sub(1));
        }
    }

    #[test]
    fn a_deep_path_holds_few_folders_and_can_be_climbed_back() {
        let mut chain = Chain::new(8);
        let root = Counted::root();
        let (n_open, n_opened) = (Rc::clone(&root.n_open), Rc::clone(&root.n_opened));
        let path = (0..100).map(|depth| format!("d{depth}")).collect::<Vec<_>>().join("/");
        let deepest = chain.enter(0, path.as_bytes(), || Ok(root)).unwrap();
        assert_eq!(deepest.path, format!("/{path}"));
        drop(deepest);
        assert_eq!(n_open.get(), 8);
        let mut expected: Vec<_> = path.split('/').collect();
        while !expected.is_empty() {
            assert_eq!(chain.current().unwrap().path, format!("/{}", expected.join("/")));
            assert!(n_open.get() <= 9, "{} open", n_open.get());
            chain.pop();
            expected.pop();
        }
        assert!(n_opened.get() < 100 * 100 / 8 + 200, "{} opened", n_opened.get());
    }

    #[test]
    fn a_neighbouring_folder_reopens_only_what_differs() {
        let mut chain = Chain::new(8);
        let root = Counted::root();
        let n_opened = Rc::clone(&root.n_opened);
        chain.enter(0, b"a/b/c", || Ok(root)).unwrap();
        assert_eq!(n_opened.get(), 3);
        assert_eq!(chain.enter(0, b"a/b/d", || panic!("the root is open")).unwrap().path, "/a/b/d");
        assert_eq!(n_opened.get(), 4);
        assert_eq!(chain.enter(0, b"a", || panic!("the root is open")).unwrap().path, "/a");
        assert_eq!(n_opened.get(), 4);
        assert_eq!(chain.enter(0, b"", || panic!("the root is open")).unwrap().path, "");
    }
}
