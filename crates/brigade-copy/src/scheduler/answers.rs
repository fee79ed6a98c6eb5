//! Takes what workers answer: new folders, what was found in them, names that share a file, and what is left of the task.

use super::Scheduler;
use super::groups::{Member, Turn};
use super::nodes::NodeIdx;
use super::pieces::{Flight, Job, Piece};
use crate::event::Outcome;
use crate::names::joined;
use crate::task::{
    Amiss, Arrival, Batch, CopyAnswer, Digest, Flushed, FolderRef, Identity, Joined, Place, Placing, SharedFile,
};

/// What an answer says of pieces of one kind each, in the order of the pieces.
struct Results {
    joined: std::vec::IntoIter<Joined>,
    committed: std::vec::IntoIter<Amiss>,
    flushed: std::vec::IntoIter<Flushed>,
}

impl Scheduler {
    /// Takes the answer to a task. Failures and entries in it are the caller's to report.
    pub(crate) fn on_answer(&mut self, task_id: u64, mut answer: CopyAnswer) {
        let Some(flight) = self.take_flight(task_id) else { return };
        self.counts += answer.counts;
        self.take_found(&flight.pieces, &mut answer);
        self.take_removal(&flight.pieces, &answer);
        let mut results = Results {
            joined: answer.joined.into_iter(),
            committed: answer.committed.into_iter(),
            flushed: answer.flushed.into_iter(),
        };
        let mut n_reached = answer.n_reached;
        for piece in flight.pieces {
            let n_units = piece.job.n_units() as u64;
            if n_reached >= n_units {
                n_reached -= n_units;
                self.complete(piece, &mut results);
            } else {
                self.nodes.get_mut(piece.node).has_large |= answer.has_large;
                let rest = skip_units(piece, std::mem::take(&mut n_reached) as usize);
                self.put_back(rest);
            }
        }
    }

    /// A task that is with no worker any more.
    pub(super) fn take_flight(&mut self, task_id: u64) -> Option<Flight> {
        self.time_in_flush();
        let flight = self.flights.remove(&task_id)?;
        self.n_walks_in_flight -= usize::from(flight.is_walk());
        Some(flight)
    }

    fn take_found(&mut self, pieces: &[Piece], answer: &mut CopyAnswer) {
        let mut new_nodes: Vec<NodeIdx> = Vec::with_capacity(answer.folders.len());
        let resolve = |folder: FolderRef, new_nodes: &[NodeIdx]| match folder {
            FolderRef::Item(idx) => pieces.get(idx as usize).map(|piece| piece.node),
            FolderRef::New(idx) => new_nodes.get(idx as usize).copied(),
        };
        // What a dead worker may have made in a folder: in one that a task was about, that tells whether the task is done again.
        let is_redone = |scheduler: &Self, folder: FolderRef, node: NodeIdx| match folder {
            FolderRef::Item(idx) => pieces[idx as usize].is_redone,
            FolderRef::New(_) => scheduler.nodes.get(node).arrival == Arrival::Redone,
        };
        for folder in &answer.folders {
            let Some(parent) = resolve(folder.parent, &new_nodes) else {
                continue;
            };
            let node = self.nodes.insert(parent, &folder.name, Some(folder.outcome), folder.arrival);
            // Held until all that is said of it is taken note of: after the order to stop things are dropped at once.
            self.open_piece(node, false);
            new_nodes.push(node);
        }
        for &item_idx in &answer.failed_items {
            if let Some(node) = resolve(FolderRef::Item(item_idx), &new_nodes) {
                self.nodes.get_mut(node).outcome = Some(Outcome::Failed);
            }
        }
        for leftover in answer.leftovers.drain(..) {
            let Some(node) = resolve(leftover.folder, &new_nodes) else {
                continue;
            };
            let is_redone = is_redone(self, leftover.folder, node);
            self.nodes.get_mut(node).has_large |= answer.has_large;
            // The last that is pushed is done first: what is known goes before what is not, so that little waits.
            if let Some(from) = leftover.rest {
                self.push(node, is_redone, Job::List { from });
            }
            if !leftover.folders.is_empty() {
                self.push(node, is_redone, Job::Folders(leftover.folders));
            }
            if !leftover.files.is_empty() {
                self.push(node, is_redone, Job::Files(leftover.files));
            }
        }
        for asked in &answer.asked {
            if let Some(node) = resolve(asked.folder, &new_nodes) {
                self.take_question(node, asked);
            }
        }
        for shared in &answer.shared {
            let Some(node) = resolve(shared.folder, &new_nodes) else {
                continue;
            };
            self.take_shared(node, shared, is_redone(self, shared.folder, node));
        }
        for uncommitted in answer.uncommitted.drain(..) {
            if let Some(node) = resolve(uncommitted.folder, &new_nodes) {
                self.take_uncommitted(node, uncommitted);
            }
        }
        self.take_touched(std::mem::take(&mut answer.touched));
        for node in new_nodes {
            self.close_piece(node, false);
        }
    }

    fn take_shared(&mut self, node: NodeIdx, shared: &SharedFile, is_redone: bool) {
        let member =
            Member { node, name: shared.name.clone(), identity: shared.identity, is_redone, placing: Placing::Met };
        let turn = self.groups.meet(member, shared.n_links);
        self.take_turn(turn);
    }

    /// Work for one of several names of a file; its folder stays open until it is done.
    fn take_turn(&mut self, turn: Turn) {
        let (member, job) = match turn {
            Turn::First(member) => (member.clone(), Job::First(member)),
            Turn::Link(member, first) => (member.clone(), Job::Link { member, first }),
            Turn::Wait(node) => return self.open_piece(node, false),
        };
        self.push(member.node, member.is_redone, job);
    }

    /// Work for a member that has waited, and whose folder was kept open.
    fn end_wait(&mut self, turn: Turn) {
        let (node, is_redone, job) = match turn {
            Turn::First(member) => (member.node, member.is_redone, Job::First(member)),
            Turn::Link(member, first) => (member.node, member.is_redone, Job::Link { member, first }),
            Turn::Wait(_) => return,
        };
        self.put_back(Piece { node, is_redone, job });
    }

    fn complete(&mut self, piece: Piece, results: &mut Results) {
        let node = piece.node;
        let is_walk = piece.job.is_walk();
        match piece.job {
            Job::Finish(chain) | Job::RemoveFolders(chain) => return self.finished(&chain),
            Job::Flush { device, scope } => {
                let flushed = results.flushed.next().unwrap_or(Flushed::Done);
                return self.take_flushed(node, device, scope, flushed);
            }
            Job::Commit { device, batch } => {
                let amiss = results.committed.next().unwrap_or_default();
                self.take_digests_of(node, &batch, &amiss);
                return self.take_committed(node, device, batch, &amiss);
            }
            Job::First(member) => match results.joined.next() {
                Some(Joined::Done) => self.first_is_there(&member),
                // When it is committed.
                Some(Joined::Later) => {}
                _ => self.first_failed(member.identity),
            },
            Job::Link { member, first } if results.joined.next() == Some(Joined::Refused) => {
                // The next attempt makes it the first name of a file of its own, and others are linked to that.
                let turn = self.groups.refused(member, &first);
                return self.end_wait(turn);
            }
            _ => {}
        }
        self.close_piece(node, is_walk);
    }

    /// Notes the hashes of files that are whole now.
    fn take_digests_of(&mut self, node: NodeIdx, batch: &Batch, amiss: &Amiss) {
        let (root, folder) = (self.nodes.get(node).root, self.nodes.path(node));
        for (idx, ((_, name), file)) in (0..).zip(batch.names.iter().zip(&batch.files)) {
            if let Some(hash) = file.hash
                && !file.is_failed
                && !amiss.contains(idx)
            {
                self.digests.push(Digest { root, path: joined(&folder.0, name), hash });
            }
        }
    }

    pub(super) fn first_is_there(&mut self, member: &Member) {
        let node = self.nodes.get(member.node);
        let place = Place { root: node.root, folder: self.nodes.path(member.node), name: member.name.clone() };
        for turn in self.groups.first_is_there(member.identity, place) {
            self.end_wait(turn);
        }
    }

    pub(super) fn first_failed(&mut self, identity: Identity) {
        if let Some(turn) = self.groups.first_failed(identity) {
            self.end_wait(turn);
        }
    }

    pub(super) fn finished(&mut self, chain: &[NodeIdx]) {
        let mut parent = None;
        for &node in chain {
            parent = self.nodes.remove(node);
        }
        if let Some(parent) = parent {
            self.close_one(parent);
        }
    }
}

fn skip_units(mut piece: Piece, n_units: usize) -> Piece {
    if let Some(names) = piece.job.names_mut() {
        *names = names.split_off(n_units);
    }
    piece
}
