//! Decides which entries of a source are copied at all. It looks at names and at what they are; whoever lists a folder asks
//! for each name, so that what is left out costs nothing more. The same answers hold for the names at the destination.

mod rules;
mod wildcards;

use serde::{Deserialize, Serialize};

pub use rules::{Choice, Lines, NoPattern, Rules};

use rules::Framed;

/// Which entries of the sources are copied. The default is all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Selection {
    /// Rules about names and paths. The root of a path is where `rsync` has it: a source with a name is itself the first
    /// component, whether or not a slash follows; `SOURCE/.` is the root.
    pub rules: Rules,
}

/// The selection as a worker applies it, folder by folder.
#[derive(Debug)]
pub(crate) struct Selector {
    selection: Selection,
    /// The path of the entry that was asked for last, between two slashes.
    path: Vec<u8>,
    /// The part of it that all names in the folder have in common.
    n_folder_bytes: usize,
}

impl Selector {
    pub(crate) fn new(selection: Selection) -> Self {
        Self { selection, path: Vec::new(), n_folder_bytes: 0 }
    }

    /// Whether names need to be asked for.
    pub(crate) fn is_needed(&self) -> bool {
        !self.selection.rules.is_empty()
    }

    /// Goes to a folder, by its path below one that has the path `prefix` in the transfer; either may be empty.
    pub(crate) fn enter(&mut self, prefix: &[u8], folder: &[u8]) {
        self.path.clear();
        self.path.push(b'/');
        for part in [prefix, folder].into_iter().filter(|part| !part.is_empty()) {
            self.path.extend_from_slice(part);
            self.path.push(b'/');
        }
        self.n_folder_bytes = self.path.len();
    }

    /// Whether a source itself is left out. The contents of a folder have no name that a rule could match.
    pub(crate) fn excludes_top(&mut self, name: &[u8], is_folder: bool) -> bool {
        self.enter(b"", b"");
        !name.is_empty() && self.excludes(name, is_folder)
    }

    /// Whether an entry of the folder is left out, and with it everything below it.
    pub(crate) fn excludes(&mut self, name: &[u8], is_folder: bool) -> bool {
        self.path.truncate(self.n_folder_bytes);
        self.path.extend_from_slice(name);
        self.path.push(b'/');
        self.selection.rules.exclude(Framed::new(&self.path, self.n_folder_bytes), is_folder)
    }
}
