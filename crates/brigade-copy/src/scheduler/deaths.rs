//! What becomes of the work of a worker that died: it is done again, cut up to find the entry that kills workers, and given
//! up when that entry is alone.

use super::nodes::NodeIdx;
use super::pieces::{Flight, Job, Piece};
use super::{Scheduler, WALK};
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome};
use crate::names::{Bytes, Kind, Names, joined};
use crate::stuck::Stuck;
use crate::task::{Cause, Chore, Failure, Flushed};

/// Deaths with the same task after which it is cut up.
const MAX_DEATHS: u32 = 3;

/// Deaths with a single entry after which it is given up. Somebody who kills workers at random hits the same entry so often
/// only if hardly anything else is being done.
const MAX_DEATHS_ALONE: u32 = 6;

impl Scheduler {
    /// A worker died over a task: it is given to another, cut up after some deaths, and given up when a single entry is left.
    pub(crate) fn on_death(&mut self, task_id: u64) {
        let Some(mut flight) = self.take_flight_to_redo(task_id) else { return };
        flight.n_deaths += 1;
        if self.is_over() {
            flight.pieces.into_iter().for_each(|piece| self.put_back(piece));
        } else if flight.n_deaths < MAX_DEATHS {
            self.retries.push(flight);
        } else if flight.n_units() > 1 {
            self.cut_up(flight);
        } else if flight.n_deaths < MAX_DEATHS_ALONE {
            self.retries.push(flight);
        } else if flight.is_walk() && flight.budget.n_copied > 0 {
            // Listing alone may do, and then it turns out which of its entries it is.
            self.retries.push(Flight { n_deaths: 0, budget: WALK, ..flight });
        } else {
            flight.pieces.into_iter().for_each(|piece| self.give_up(piece));
        }
    }

    /// A worker got stuck over a task and was given up: the task goes to another, which does not touch the place.
    pub(crate) fn on_stall(&mut self, task_id: u64, place: Stuck) {
        let Some(flight) = self.take_flight_to_redo(task_id) else { return };
        if flight.is_flush() {
            for piece in flight.pieces {
                if let Job::Flush { device, scope } = piece.job {
                    self.take_flushed(piece.node, device, scope, Flushed::Failed(Cause::Reason(Reason::Stalled)));
                }
            }
        } else if !self.stuck.note(place) {
            // It got stuck where nothing was to be touched any more: there is nothing left to be tried.
            flight.pieces.into_iter().for_each(|piece| self.give_up(piece));
        } else if self.is_stopped {
            flight.pieces.into_iter().for_each(|piece| self.put_back(piece));
        } else {
            self.deferred.push(flight);
        }
    }

    fn take_flight_to_redo(&mut self, task_id: u64) -> Option<Flight> {
        let mut flight = self.take_flight(task_id)?;
        for piece in &mut flight.pieces {
            piece.is_redone = true;
        }
        Some(flight)
    }

    /// Cuts a task in halves. Their first death cuts them again, but a single entry gets all its chances.
    fn cut_up(&mut self, mut flight: Flight) {
        let n_kept = flight.n_units() / 2;
        let mut n_units = 0;
        let mut second = Vec::new();
        let mut first = Vec::new();
        for mut piece in flight.pieces.drain(..) {
            let n_here = piece.job.n_units();
            let n_first = n_kept.saturating_sub(n_units).min(n_here);
            n_units += n_here;
            if n_first == n_here {
                first.push(piece);
                continue;
            }
            if n_first > 0
                && let Some(names) = piece.job.names_mut()
            {
                let rest = names.split_off(n_first);
                let job = piece.job.with_names(rest);
                self.open_piece(piece.node, job.is_walk());
                second.push(Piece { node: piece.node, is_redone: true, job });
                first.push(piece);
            } else {
                second.push(piece);
            }
        }
        for pieces in [second, first] {
            let mut half = Flight { pieces, n_deaths: 0, budget: flight.budget };
            if half.n_units() > 1 {
                half.n_deaths = MAX_DEATHS - 1;
            }
            self.retries.push(half);
        }
    }

    /// Counts a single entry as failed, and what is below it as never found.
    fn give_up(&mut self, piece: Piece) {
        let node = piece.node;
        match piece.job {
            Job::Flush { device, scope } => {
                let flushed = Flushed::Failed(Cause::Reason(Reason::WorkersDied));
                return self.take_flushed(node, device, scope, flushed);
            }
            Job::Commit { batch, .. } => return self.give_up_commit(node, batch),
            Job::Finish(chain) => {
                for &node in &chain {
                    self.fail_folder(node);
                }
                return self.finished(&chain);
            }
            Job::Sweep(_) => {}
            Job::Remove(ref chore) => self.give_up_removing(node, chore),
            Job::RemoveFolders(chain) => {
                self.give_up_removing(node, &Chore::RemoveFolders(chain.len() as u32));
                return self.finished(&chain);
            }
            Job::List { .. } => self.fail_folder(node),
            Job::Folders(ref names) => self.fail_names(node, names),
            Job::Files(ref names) | Job::Agreed(ref names) => {
                self.fail_names(node, names);
                self.push(node, true, Job::Sweep(names.clone()));
            }
            Job::First(ref member) | Job::Link { ref member, .. } => {
                self.fail_names(node, &member.name);
                self.push(node, true, Job::Sweep(member.name.clone()));
                if matches!(piece.job, Job::First(_)) {
                    self.first_failed(member.identity);
                }
            }
        }
        self.close_piece(node, piece.job.is_walk());
    }

    fn fail_folder(&mut self, node: NodeIdx) {
        if self.nodes.get(node).outcome != Some(Outcome::Failed) {
            self.nodes.get_mut(node).outcome = Some(Outcome::Failed);
            let path = self.nodes.path(node);
            self.note_unread_source();
            self.fail(node, path, EntryKind::Directory);
        }
    }

    fn fail_names(&mut self, node: NodeIdx, names: &Names) {
        for (kind, name) in names.iter() {
            let path = joined(&self.nodes.path(node).0, name);
            if kind == Kind::Folder {
                self.note_unread_source();
            }
            let kind = if kind == Kind::Folder { EntryKind::Directory } else { EntryKind::File };
            self.fail(node, path, kind);
        }
    }

    fn fail(&mut self, node: NodeIdx, path: Bytes, kind: EntryKind) {
        let root = self.nodes.get(node).root;
        self.counts.count(kind, Outcome::Failed, 0);
        self.failures.push(Failure { root, path, action: Action::Copy, cause: Cause::Reason(Reason::WorkersDied) });
    }
}
