//! Pieces of work, alone, on their way and in stacks. When they move is decided in scheduler.rs.

use std::sync::Arc;

use super::groups::Member;
use super::nodes::NodeIdx;
use crate::names::{Kind, Names};
use crate::task::{Batch, Budget, Chore, Place, Position, Scope};

/// Work in one folder that nobody has finished.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) node: NodeIdx,
    /// A worker died over it.
    pub(super) is_redone: bool,
    pub(super) job: Job,
}

#[derive(Debug)]
pub(super) enum Job {
    List {
        from: Position,
    },
    Folders(Names),
    Files(Names),
    /// One name, in whose place something may be replaced.
    Agreed(Names),
    First(Member),
    Link {
        member: Member,
        first: Arc<Place>,
    },
    /// Folders, each the parent of the one before it.
    Finish(Vec<NodeIdx>),
    Sweep(Names),
    /// Of a group of this file system; without one, at the end of the run.
    Flush {
        device: Option<u64>,
        scope: Scope,
    },
    Commit {
        device: u64,
        batch: Batch,
    },
    /// Something about removing, but for `RemoveFolders`.
    Remove(Chore),
    /// Folders that go, each the parent of the one before it; nothing is left in the first.
    RemoveFolders(Vec<NodeIdx>),
}

impl Job {
    /// The names that are worked through one after another, where there are some. Such work can be cut.
    pub(super) fn names_mut(&mut self) -> Option<&mut Names> {
        match self {
            Self::Folders(names) | Self::Files(names) => Some(names),
            Self::Remove(chore) => chore.names_mut(),
            _ => None,
        }
    }

    fn names(&self) -> Option<&Names> {
        match self {
            Self::Folders(names) | Self::Files(names) => Some(names),
            Self::Remove(chore) => chore.names(),
            _ => None,
        }
    }

    /// The same work with these names instead.
    pub(super) fn with_names(&self, names: Names) -> Self {
        match self {
            Self::Folders(_) => Self::Folders(names),
            Self::Remove(Chore::Compare(_)) => Self::Remove(Chore::Compare(names)),
            Self::Remove(Chore::RemoveExtra(_)) => Self::Remove(Chore::RemoveExtra(names)),
            Self::Remove(Chore::RemoveBelow(_)) => Self::Remove(Chore::RemoveBelow(names)),
            _ => Self::Files(names),
        }
    }

    pub(super) fn n_units(&self) -> usize {
        self.names().map_or(1, Names::len)
    }

    pub(super) fn n_bytes(&self) -> usize {
        self.names().map_or(0, Names::n_bytes)
    }

    /// It makes what is there whole, and is done also after the order to stop.
    pub(super) fn ends_something(&self) -> bool {
        matches!(self, Self::Finish(_) | Self::Flush { .. } | Self::Commit { .. })
    }

    pub(super) fn is_walk(&self) -> bool {
        match self {
            Self::List { .. } | Self::Folders(_) => true,
            Self::Agreed(name) => name.iter().any(|(kind, _)| kind == Kind::Folder),
            _ => false,
        }
    }
}

/// Pieces on their way: with a worker, or to be given to another after one died.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) pieces: Vec<Piece>,
    pub(super) n_deaths: u32,
    pub(super) budget: Budget,
}

impl Flight {
    pub(super) fn n_units(&self) -> usize {
        self.pieces.iter().map(|piece| piece.job.n_units()).sum()
    }

    pub(super) fn ends_something(&self) -> bool {
        self.pieces.iter().all(|piece| piece.job.ends_something())
    }

    /// It waits for a disk, alone.
    pub(super) fn is_flush(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece.job, Job::Flush { .. }))
    }

    /// It waits for all that a disk has been given, alone; more workers do not hasten that.
    pub(super) fn flushes_all(&self) -> bool {
        let first = self.pieces.first().map(|piece| &piece.job);
        matches!(first, Some(Job::Flush { scope: Scope::FileSystem { .. }, .. }))
    }

    pub(super) fn is_walk(&self) -> bool {
        self.pieces.iter().any(|piece| piece.job.is_walk())
    }
}

#[derive(Debug, Default)]
pub(super) struct Stack {
    pieces: Vec<Piece>,
    pub(super) n_units: usize,
    pub(super) n_bytes: usize,
}

impl Stack {
    pub(super) fn push(&mut self, piece: Piece) {
        self.n_units += piece.job.n_units();
        self.n_bytes += piece.job.n_bytes();
        self.pieces.push(piece);
    }

    pub(super) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop()?;
        self.n_units -= piece.job.n_units();
        self.n_bytes -= piece.job.n_bytes();
        Some(piece)
    }

    /// What is popped next.
    pub(super) fn last(&self) -> Option<&Piece> {
        self.pieces.last()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}
