//! When what the source does not have is removed: after everything is copied, and only if all of the source was seen. The work
//! is handed out like any other; how it is done is in worker/removal.rs.

use super::Scheduler;
use super::nodes::NodeIdx;
use super::pieces::{Flight, Job, Piece};
use crate::error::{Action, Reason};
use crate::event::{Outcome, RemovalCeased};
use crate::names::{Bytes, joined};
use crate::task::{Arrival, Cause, Chore, CopyAnswer, Failure, FolderRef, Standing};

/// How far removing has got.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    /// The top folder, until its turn comes. Nothing is removed where there is none.
    due: Option<(u32, Bytes)>,
    has_begun: bool,
    /// Some of the source was not seen.
    is_source_unread: bool,
    /// Why nothing, or nothing more, is removed.
    pub(crate) ceased: Option<RemovalCeased>,
}

impl Removal {
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Nothing more is to be removed.
    pub(super) fn has_ceased(&self) -> bool {
        self.ceased.is_some()
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    pub(super) fn cancel(&mut self) {
        self.due = None;
    }
}

impl Scheduler {
    /// Has what the source of this top folder does not have removed once everything is copied.
    pub(crate) fn add_removal(&mut self, root: u32, path: Bytes) {
        self.removal.due = Some((root, path));
    }

    /// The first task of removing, if everything is copied.
    pub(super) fn begin_removal(&mut self) -> Option<Flight> {
        if !self.is_idle() || !self.commits.are_empty() {
            return None;
        }
        let (root, path) = self.removal.due.take()?;
        if self.removal.is_source_unread {
            self.removal.ceased = Some(RemovalCeased::SourceUnread);
            return None;
        }
        self.removal.has_begun = true;
        let top = self.nodes.insert_top(root, path, None, Arrival::Merged);
        self.push(top, false, Job::Remove(Chore::CompareTop));
        self.next_flight()
    }

    /// Some of the source was not seen, so it is not known what it has.
    pub(super) fn note_unread_source(&mut self) {
        self.removal.is_source_unread = true;
    }

    pub(super) fn take_removal(&mut self, pieces: &[Piece], answer: &CopyAnswer) {
        if answer.source_unread {
            self.note_unread_source();
        }
        let removal = &answer.removal;
        let mut new_nodes: Vec<NodeIdx> = Vec::with_capacity(removal.folders.len());
        let resolve = |folder: FolderRef, new_nodes: &[NodeIdx]| match folder {
            FolderRef::Item(idx) => pieces.get(idx as usize).map(|piece| piece.node),
            FolderRef::New(idx) => new_nodes.get(idx as usize).copied(),
        };
        for folder in &removal.folders {
            let Some(parent) = resolve(folder.parent, &new_nodes) else { continue };
            // A folder that goes is finished by being removed.
            let outcome = (folder.standing == Standing::Extra).then_some(Outcome::Copied);
            new_nodes.push(self.nodes.insert(parent, &folder.name, outcome, Arrival::Merged));
        }
        for &folder in &removal.kept {
            if let Some(node) = resolve(folder, &new_nodes) {
                self.nodes.leave(node);
            }
        }
        for (folder, chore) in &removal.leftovers {
            if let Some(node) = resolve(*folder, &new_nodes) {
                self.push(node, false, Job::Remove(chore.clone()));
            }
        }
        if let Some(ceased) = removal.ceased
            && self.removal.ceased.is_none()
        {
            self.removal.ceased = Some(ceased);
            self.drop_waiting();
        }
    }

    /// Workers died over one step of it.
    pub(super) fn give_up_removing(&mut self, node: NodeIdx, chore: &Chore) {
        let mut paths = vec![self.nodes.path(node)];
        if let Some(names) = chore.names() {
            let folder = paths.remove(0);
            paths.extend(names.iter().map(|(_, name)| joined(&folder.0, name)));
        }
        self.nodes.leave(node);
        self.counts.n_undeleted += paths.len() as u64;
        let root = self.nodes.get(node).root;
        let failures = paths.into_iter().map(|path| Failure {
            root,
            path,
            action: Action::Remove,
            cause: Cause::Reason(Reason::WorkersDied),
        });
        self.failures.extend(failures);
    }
}
