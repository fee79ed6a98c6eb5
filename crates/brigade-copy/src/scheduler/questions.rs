//! Entries in whose places there is something, until the answer comes. Whoever is asked is not known here.

use super::Scheduler;
use super::nodes::NodeIdx;
use super::pieces::Job;
use crate::event::{EntryKind, Ground, Outcome};
use crate::facet::Lost;
use crate::names::{Bytes, Names, joined};
use crate::request::Answer;
use crate::task::{Asked, EntryDone, Lasts};
use crate::worker::entry_kind;

/// An entry that waits for an answer, and keeps its folder open.
#[derive(Debug)]
pub(super) struct Waiting {
    node: NodeIdx,
    name: Names,
    n_bytes: u64,
}

/// A question that nobody has been asked yet.
#[derive(Debug)]
pub(crate) struct Unasked {
    pub(crate) id: u64,
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) why: Option<Ground>,
}

impl Scheduler {
    pub(super) fn take_question(&mut self, node: NodeIdx, asked: &Asked) {
        let id = self.next_question_id;
        self.next_question_id += 1;
        let Some((path, _)) = self.path_of(node, &asked.name) else { return };
        self.open_piece(node, false);
        self.unasked.push(Unasked { id, root: self.nodes.get(node).root, path, why: asked.why });
        self.waiting.insert(id, Waiting { node, name: asked.name.clone(), n_bytes: asked.n_bytes });
    }

    pub(crate) fn take_unasked(&mut self) -> Vec<Unasked> {
        std::mem::take(&mut self.unasked)
    }

    /// Takes an answer. An entry that stays is done, and returned to be told.
    pub(crate) fn on_reply(&mut self, id: u64, answer: Answer) -> Option<EntryDone> {
        let Waiting { node, name, n_bytes } = self.waiting.remove(&id)?;
        let done = match answer {
            Answer::Replace => {
                self.push(node, false, Job::Agreed(name));
                None
            }
            Answer::Keep => self.path_of(node, &name).map(|(path, kind)| {
                let (root, outcome, why) = (self.nodes.get(node).root, Outcome::Skipped, Some(Ground::Declined));
                self.counts.count(kind, outcome, n_bytes);
                EntryDone { root, path, kind, outcome, why, n_bytes, lost: Lost::default(), lasts: Lasts::Unknown }
            }),
        };
        self.close_piece(node, false);
        done
    }

    /// Nobody answers any more.
    pub(super) fn drop_questions(&mut self) {
        self.unasked.clear();
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            self.close_piece(waiting.node, false);
        }
    }

    fn path_of(&self, node: NodeIdx, name: &Names) -> Option<(Bytes, EntryKind)> {
        let (kind, name, _) = name.at(0)?;
        Some((joined(&self.nodes.path(node).0, name), entry_kind(kind)))
    }
}
