//! What parent and workers say to each other about removing what the source does not have. When it is done is decided in
//! scheduler/removal.rs, how in worker/removal.rs.

use serde::{Deserialize, Serialize};

use super::{Failure, FolderRef};
use crate::event::{EntryKind, RemovalCeased};
use crate::names::{Bytes, Names};

/// One step of removing what the source does not have, in the folder that the item names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Chore {
    /// Compare the top folder with its source.
    CompareTop,
    /// Compare these sub-folders, which both sides have.
    Compare(Names),
    /// Remove these entries, which the source of the folder does not have.
    RemoveExtra(Names),
    /// Remove these entries of a folder that goes as well.
    RemoveBelow(Names),
    /// Remove so many folders in which nothing is left: this one, the one above it, and so on.
    RemoveFolders(u32),
}

impl Chore {
    /// The names that are worked through one after another, where there are some.
    pub(crate) fn names_mut(&mut self) -> Option<&mut Names> {
        match self {
            Self::Compare(names) | Self::RemoveExtra(names) | Self::RemoveBelow(names) => Some(names),
            Self::CompareTop | Self::RemoveFolders(_) => None,
        }
    }

    pub(crate) fn names(&self) -> Option<&Names> {
        match self {
            Self::Compare(names) | Self::RemoveExtra(names) | Self::RemoveBelow(names) => Some(names),
            Self::CompareTop | Self::RemoveFolders(_) => None,
        }
    }
}

/// What becomes of a folder of the destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// The source has it as well: it stays.
    Common,
    /// It goes, when everything in it has.
    Extra,
}

/// What an answer says about removing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RemovalAnswer {
    /// Folders that were entered and in which work is left. A parent stands before its children.
    pub(crate) folders: Vec<OpenRemoval>,
    /// What is left in them.
    pub(crate) leftovers: Vec<(FolderRef, Chore)>,
    /// Folders that would have gone, but hold something that stays.
    pub(crate) kept: Vec<FolderRef>,
    /// Entries that could not be removed.
    pub(crate) failures: Vec<Failure>,
    /// Every entry that is gone, if asked for.
    pub(crate) removed: Vec<Removed>,
    /// Why nothing more is to be removed, if so.
    pub(crate) ceased: Option<RemovalCeased>,
}

/// A folder that an answer speaks of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenRemoval {
    pub(crate) parent: FolderRef,
    pub(crate) name: Bytes,
    pub(crate) standing: Standing,
}

/// An entry that is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Removed {
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) kind: EntryKind,
}
