//! Decides which entries of a source are copied at all. It looks at names and at what they are; whoever lists a folder asks
//! for each name, so that what is left out costs nothing more. The same answers hold for the names at the destination.

mod ignore_files;
mod list;
mod rules;
mod wildcards;

use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

pub use list::{BadList, Depth, NameList};
pub use rules::{Choice, Lines, NoPattern, Rules};

pub(crate) use list::Child;

use ignore_files::IgnoreStack;
use list::Mark;
use rules::Framed;

/// Which entries of the sources are copied. The default is all of them, links as links.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Selection {
    /// The names that are copied, if not all. The one source is then the root of paths, and is itself a folder.
    pub list: Option<NameList>,
    /// Rules about names and paths. The root of a path is where `rsync` has it: a source with a name is itself the first
    /// component, whether or not a slash follows; `SOURCE/.` is the root.
    pub rules: Rules,
    /// What the `.gitignore` files in the sources mean. Rules are asked first.
    pub ignore_files: IgnoreFiles,
    /// What is done where another file system is mounted.
    pub mounts: Mounts,
    /// What is done with symbolic links.
    pub links: Links,
}

/// What `.gitignore` files mean.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum IgnoreFiles {
    /// Nothing.
    #[default]
    Disregard,
    /// What git ignores because of those in the source folder and below is left out.
    Obey,
}

/// What is done where a folder lies on another device than the one above it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Mounts {
    /// It is copied as any other.
    #[default]
    Enter,
    /// It becomes an empty folder.
    LeaveEmpty,
}

/// What is done with symbolic links in the sources.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Links {
    /// They are copied as links.
    #[default]
    Keep,
    /// A source that is one is what it points to; others are copied as links.
    FollowSources,
    /// What they point to is copied in their place.
    Follow,
}

/// The selection as a worker applies it, folder by folder.
#[derive(Debug)]
pub(crate) struct Selector {
    selection: Selection,
    /// The path of the entry that was asked for last, between two slashes.
    path: Vec<u8>,
    /// The part of it that all names in the folder have in common.
    n_folder_bytes: usize,
    ignored: IgnoreStack,
}

/// Which entries of a folder are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    All,
    /// Those in the list.
    Listed,
    /// All, and the list names some of them, which must be there.
    AllAndListed,
}

/// A folder of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) root: u32,
    pub(crate) root_folder: BorrowedFd<'a>,
    /// The path of the root in the transfer, if the root is itself a source; else it holds the sources.
    pub(crate) called: Option<&'a [u8]>,
    /// The folder's path below the root.
    pub(crate) path: &'a [u8],
    /// The folder, if there is one.
    pub(crate) folder: Option<BorrowedFd<'a>>,
}

impl Selector {
    pub(crate) fn new(selection: Selection) -> Self {
        Self { selection, path: Vec::new(), n_folder_bytes: 0, ignored: IgnoreStack::default() }
    }

    /// Whether names need to be asked for.
    pub(crate) fn is_needed(&self) -> bool {
        !self.selection.rules.is_empty() || self.selection.ignore_files == IgnoreFiles::Obey
    }

    /// Goes to a folder.
    pub(crate) fn enter(&mut self, place: Place<'_>) {
        self.path.clear();
        self.path.push(b'/');
        for part in [place.called.unwrap_or_default(), place.path].into_iter().filter(|part| !part.is_empty()) {
            self.path.extend_from_slice(part);
            self.path.push(b'/');
        }
        self.n_folder_bytes = self.path.len();
        if self.selection.ignore_files == IgnoreFiles::Obey {
            self.ignored.enter(place, &self.path, self.selection.links);
        }
    }

    /// Whether an entry of the folder is left out, and with it everything below it.
    pub(crate) fn excludes(&mut self, name: &[u8], is_folder: bool) -> bool {
        self.path.truncate(self.n_folder_bytes);
        self.path.extend_from_slice(name);
        self.path.push(b'/');
        let path = Framed::new(&self.path, self.n_folder_bytes);
        let decided = self.selection.rules.decide(path, is_folder).or_else(|| self.ignored.decide(path, is_folder));
        decided == Some(Choice::Exclude)
    }

    /// Which entries of a folder are asked for, by its path below the root.
    pub(crate) fn wanted_in(&self, folder: &[u8]) -> Wanted {
        let Some(list) = &self.selection.list else {
            return Wanted::All;
        };
        match (self.is_taken_whole(list, folder), list.children_of(folder)) {
            (false, _) => Wanted::Listed,
            (true, None) => Wanted::All,
            (true, Some(_)) => Wanted::AllAndListed,
        }
    }

    /// Whether the list names a folder or something in it.
    pub(crate) fn is_listed(&self, folder: &[u8]) -> bool {
        let list = self.selection.list.as_ref();
        list.is_some_and(|list| list.mark_of(folder).is_some() || list.children_of(folder).is_some())
    }

    /// The entry of a folder that begins at this place of the list; 0 is the folder's first, as no other's.
    pub(crate) fn listed_at(&self, folder: &[u8], start: usize) -> Option<Child> {
        let list = self.selection.list.as_ref()?;
        let start = if start == 0 { list.children_of(folder)? } else { start };
        list.child_at(folder, start)
    }

    fn is_taken_whole(&self, list: &NameList, folder: &[u8]) -> bool {
        let is_named = |path: &[u8]| match list.depth() {
            Depth::Shallow => list.mark_of(path) == Some(Mark::Contents),
            Depth::Whole => list.mark_of(path).is_some(),
        };
        if list.depth() == Depth::Shallow {
            return is_named(folder) && !self.excludes_folder(folder);
        }
        let slashes = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(idx, _)| idx);
        let ends = slashes.chain((!folder.is_empty()).then_some(folder.len()));
        // A folder that a rule excludes is one only because the list names something in it.
        ends.fold(is_named(b""), |is_whole, end| {
            let path = &folder[..end];
            (is_whole || is_named(path)) && !self.excludes_folder(path)
        })
    }

    /// Whether a rule excludes a folder by its path below the root.
    fn excludes_folder(&self, folder: &[u8]) -> bool {
        if folder.is_empty() || self.selection.rules.is_empty() {
            return false;
        }
        let framed = [b"/", folder, b"/"].concat();
        let name_start = framed[..framed.len() - 1].iter().rposition(|&byte| byte == b'/').map_or(1, |slash| slash + 1);
        self.selection.rules.decide(Framed::new(&framed, name_start), true) == Some(Choice::Exclude)
    }
}

impl Selection {
    /// Whether a source itself is left out. The contents of a folder have no name that a rule could match, and the ignore files
    /// of a folder do not speak of the folder.
    pub(crate) fn excludes_source(&self, called: &[u8], is_folder: bool) -> bool {
        let framed = [b"/", called, b"/"].concat();
        !called.is_empty() && self.rules.decide(Framed::new(&framed, 1), is_folder) == Some(Choice::Exclude)
    }
}
