//! Decides what is done next: a state machine that hands out tasks and takes answers, and keeps the books. It calls nobody;
//! run.rs connects it with the pool, and tests drive it without one.
//!
//! A *piece* is work in one folder that nobody has finished: it waits in a stack or is in flight with a worker. A folder can
//! be finished when it has no piece and no unfinished sub-folder. Stacks are last in, first out: the walk goes depth first,
//! so few folders are open at a time however large the tree is.

mod answers;
mod commits;
mod deaths;
mod displaced;
mod groups;
mod nodes;
mod pieces;
mod questions;
mod removal;
mod seeds;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::event::Outcome;
use crate::hands::Hands;
use crate::names::{Bytes, Names};
use crate::stuck::StuckPlaces;
use crate::task::{Arrival, Budget, Chore, CopyTask, Counts, Digest, Failure, Item, Place, Position, Work};
pub(crate) use commits::Commits;
use groups::Groups;
use nodes::{NodeIdx, Nodes};
use pieces::{Flight, Job, Piece, Stack};
pub(crate) use questions::Unasked;
use questions::Waiting;
use removal::Removal;

/// Names in a task at most: some milliseconds of work, so that messages cost little and a death costs little.
const MAX_NAMES: usize = 256;

/// Names in a task at least, if there are as many.
const MIN_NAMES: usize = 16;

/// Sub-folders in a task at most. Each may turn out to be large: then a part of it comes back.
const MAX_FOLDERS: usize = 32;

/// What a worker that visits folders may do before it answers.
const VISIT: Budget = Budget { n_copied: 1024, n_listed: 8192 };

/// A walk that only lists, ahead of the copying.
const WALK: Budget = Budget { n_copied: 0, n_listed: 8192 };

/// Hands out tasks and takes answers.
pub(crate) struct Scheduler {
    /// They are given work beside the flushes.
    hands: Hands,
    /// Bytes of names up to which a walk runs ahead of the copying; 0: whoever visits a folder copies what is in it.
    walk_ahead_bytes: usize,
    nodes: Nodes,
    groups: Groups,
    /// Folders to be visited.
    folders: Stack,
    /// Everything else.
    ready: Stack,
    retries: Vec<Flight>,
    /// What was left of tasks whose workers got stuck: done when there is nothing else, since it may get stuck again.
    deferred: Vec<Flight>,
    flights: HashMap<u64, Flight>,
    in_flush: InFlush,
    /// Pieces that may find more entries.
    n_walk_pieces: usize,
    n_walks_in_flight: usize,
    next_task_id: u64,
    /// Entries that wait for an answer.
    waiting: HashMap<u64, Waiting>,
    unasked: Vec<Unasked>,
    next_question_id: u64,
    is_stopped: bool,
    pub(crate) removal: Removal,
    pub(crate) counts: Counts,
    /// Failures that no worker could report.
    failures: Vec<Failure>,
    /// Of files that became whole.
    digests: Vec<Digest>,
    /// Where workers got stuck: told with every task from then on.
    stuck: StuckPlaces,
    pub(crate) commits: Commits,
}

/// How long workers have been flushing whole disks, all of them together.
struct InFlush {
    until: Instant,
    so_far: Duration,
}

/// What is copied from a root.
pub(crate) enum Top {
    /// A folder that is there and counted, by its path below the root.
    Folder { path: Bytes, outcome: Outcome },
    /// Entries below such a folder, by their paths relative to it, and nothing else.
    Entries { path: Bytes, outcome: Outcome, below: Vec<PathBuf> },
    /// Entries that are no folders.
    Files(Names),
}

impl Scheduler {
    pub(crate) fn new(n_workers: usize, walk_ahead_bytes: usize, commits: Commits) -> Self {
        Self {
            hands: Hands::new(n_workers),
            walk_ahead_bytes,
            nodes: Nodes::default(),
            groups: Groups::default(),
            folders: Stack::default(),
            ready: Stack::default(),
            retries: Vec::new(),
            deferred: Vec::new(),
            flights: HashMap::new(),
            in_flush: InFlush { until: Instant::now(), so_far: Duration::ZERO },
            n_walk_pieces: 0,
            n_walks_in_flight: 0,
            next_task_id: 1,
            waiting: HashMap::new(),
            unasked: Vec::new(),
            next_question_id: 1,
            is_stopped: false,
            removal: Removal::default(),
            counts: Counts::default(),
            failures: Vec::new(),
            digests: Vec::new(),
            stuck: StuckPlaces::default(),
            commits,
        }
    }

    pub(crate) fn set_hands(&mut self, hands: Hands) {
        self.hands = hands;
    }

    /// Nearly all workers have something to do, and there is more.
    pub(crate) fn are_all_busy(&self) -> bool {
        let n_left = self.counts.n_found.saturating_sub(self.counts.n_done());
        self.hands.are_all_busy(self.n_working(), n_left, self.is_walk_finished())
    }

    /// Adds what is to be copied. Files are found by this; a folder has been found by whoever made it.
    pub(crate) fn add(&mut self, root: u32, top: Top) {
        match top {
            Top::Folder { path, outcome } => {
                let arrival = if outcome == Outcome::Copied { Arrival::Fresh } else { Arrival::Merged };
                let node = self.nodes.insert_top(root, path, Some(outcome), arrival);
                self.push(node, false, Job::List { from: Position::default() });
            }
            Top::Entries { path, outcome, below } => {
                let node = self.nodes.insert_top(root, path, Some(outcome), Arrival::Merged);
                self.sow(node, &below);
            }
            Top::Files(names) => {
                self.counts.n_found += names.len() as u64;
                let node = self.nodes.insert_top(root, Bytes::default(), None, Arrival::Merged);
                self.push(node, false, Job::Files(names));
            }
        }
    }

    /// The next task for the pool, if there is one and the pool has too few.
    pub(crate) fn next_task(&mut self) -> Option<CopyTask> {
        self.close_full_groups();
        let flight = self.next_flush().or_else(|| self.next_work()).or_else(|| self.next_last_flush())?;
        let id = self.next_task_id;
        self.next_task_id += 1;
        self.n_walks_in_flight += usize::from(flight.is_walk());
        self.time_in_flush();
        let items = flight.pieces.iter().map(|piece| self.item_of(piece)).collect();
        let task = CopyTask { id, budget: flight.budget, stuck: self.stuck.told(), items };
        self.flights.insert(id, flight);
        Some(task)
    }

    /// The next task that is no flush, if the pool has too few.
    fn next_work(&mut self) -> Option<Flight> {
        if self.hands.are_full(self.n_working()) {
            return None;
        }
        let left = self.retries.pop().or_else(|| self.next_flight()).or_else(|| self.deferred.pop());
        left.or_else(|| self.begin_removal())
    }

    /// A flush that is due since nothing else is left to be done.
    fn next_last_flush(&mut self) -> Option<Flight> {
        if self.is_idle() {
            self.begin_last_flushes();
        }
        self.next_flush()
    }

    /// How long workers have been flushing whole disks. It is to be asked for before one begins and after one ends.
    pub(crate) fn time_in_flush(&mut self) -> Duration {
        let n_workers = self.flights.values().filter(|flight| flight.flushes_all()).count();
        let now = Instant::now();
        let since = now.duration_since(std::mem::replace(&mut self.in_flush.until, now));
        self.in_flush.so_far += since * n_workers as u32;
        self.in_flush.so_far
    }

    /// Tasks that are with the pool, flushes left aside.
    fn n_working(&self) -> usize {
        self.flights.values().filter(|flight| !flight.is_flush()).count()
    }

    /// Everything is copied, and what is left is to make it last.
    pub(crate) fn only_flushes(&self) -> bool {
        let are_stacks_empty = self.ready.is_empty() && self.folders.is_empty() && self.retries.is_empty();
        let has_begun = !self.flights.is_empty() && self.flights.values().all(Flight::ends_something);
        are_stacks_empty && has_begun && self.n_walk_pieces == 0
    }

    /// How many workers have nothing to do and can be given nothing.
    pub(crate) fn n_idle_workers(&self) -> usize {
        self.hands.n_idle(self.n_working())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_idle() && !self.removal.is_due() && self.commits.is_done()
    }

    /// Nothing new is begun.
    fn is_over(&self) -> bool {
        self.is_stopped || self.removal.has_ceased()
    }

    fn is_idle(&self) -> bool {
        let are_empty = [&self.retries, &self.deferred].map(Vec::is_empty) == [true; 2];
        let are_stacks_empty = self.ready.is_empty() && self.folders.is_empty();
        let is_nothing_due = self.commits.is_nothing_due() && self.waiting.is_empty();
        self.flights.is_empty() && are_empty && are_stacks_empty && is_nothing_due
    }

    /// Everything has been found.
    pub(crate) fn is_walk_finished(&self) -> bool {
        self.n_walk_pieces == 0
    }

    /// Whether a task is with a worker, and not answered yet.
    pub(crate) fn is_in_flight(&self, task_id: u64) -> bool {
        self.flights.contains_key(&task_id)
    }

    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    pub(crate) fn take_digests(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.digests)
    }

    /// Drops everything that has not been begun. Folders that are there are still finished.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        self.removal.cancel();
        self.drop_waiting();
    }

    /// Drops everything that has not been begun, but for what finishes folders.
    fn drop_waiting(&mut self) {
        let mut dropped = Vec::new();
        for stack in [&mut self.folders, &mut self.ready] {
            while let Some(piece) = stack.pop() {
                dropped.push(piece);
            }
        }
        dropped.extend(self.retries.drain(..).chain(self.deferred.drain(..)).flat_map(|flight| flight.pieces));
        self.drop_questions();
        for member in self.groups.drain_waiting() {
            self.close_piece(member.node, false);
        }
        for piece in dropped {
            self.drop_piece(piece);
        }
    }
}

// Handing out.
impl Scheduler {
    fn next_flight(&mut self) -> Option<Flight> {
        if let Some(commit) = self.next_commit() {
            return Some(commit);
        }
        if self.commits.is_held_up() {
            return None;
        }
        let is_walk_due =
            self.walk_ahead_bytes > 0 && self.n_walks_in_flight == 0 && self.ready.n_bytes < self.walk_ahead_bytes;
        if self.folders.is_empty() || (!self.ready.is_empty() && !is_walk_due) {
            let most = MAX_NAMES.min(self.commits.limits().n_files as usize);
            let least = if self.is_large_next() { 1 } else { MIN_NAMES.min(most) };
            let n_units = self.hands.portion(self.ready.n_units, least, most);
            return self.take(Side::Ready, n_units, self.visit());
        }
        let budget = if self.walk_ahead_bytes > 0 { WALK } else { self.visit() };
        let n_units = self.hands.portion(self.folders.n_units, 1, MAX_FOLDERS);
        self.take(Side::Folders, n_units, budget)
    }

    /// Whether what is next is in a folder with large files.
    fn is_large_next(&self) -> bool {
        self.ready.last().is_some_and(|piece| self.nodes.get(piece.node).has_large)
    }

    /// What a worker that visits folders may do before it answers: never more than a group of files is.
    fn visit(&self) -> Budget {
        Budget { n_copied: VISIT.n_copied.min(self.commits.limits().n_files), ..VISIT }
    }

    /// Takes about `n_units` off a stack; a piece that is larger is cut.
    fn take(&mut self, side: Side, n_units: usize, budget: Budget) -> Option<Flight> {
        let mut pieces = Vec::new();
        let mut n_left = n_units;
        while n_left > 0 {
            let stack = self.stack(side);
            let Some(mut piece) = stack.pop() else { break };
            if let Some(names) = piece.job.names_mut()
                && names.len() > n_left
            {
                let taken = names.take_last(n_left);
                let taken = Piece { node: piece.node, is_redone: piece.is_redone, job: piece.job.with_names(taken) };
                stack.push(std::mem::replace(&mut piece, taken));
                self.open_piece(piece.node, piece.job.is_walk());
            }
            n_left = n_left.saturating_sub(piece.job.n_units());
            pieces.push(piece);
        }
        (!pieces.is_empty()).then_some(Flight { pieces, n_deaths: 0, budget })
    }

    fn item_of(&self, piece: &Piece) -> Item {
        let node = self.nodes.get(piece.node);
        let work = match &piece.job {
            Job::List { from } => Work::List { from: *from },
            Job::Folders(names) => Work::Folders(names.clone()),
            Job::Files(names) => Work::Files(names.clone()),
            Job::Agreed(names) => Work::Agreed(names.clone()),
            Job::First(member) => {
                Work::First { name: member.name.clone(), place: member.placing, identity: member.identity }
            }
            Job::Link { member, first } => {
                Work::Link { name: member.name.clone(), first: Place::clone(first), identity: member.identity }
            }
            Job::Finish(chain) => Work::Finish(
                chain.iter().map(|&node| self.nodes.get(node).outcome.unwrap_or(Outcome::Unchanged)).collect(),
            ),
            Job::Sweep(names) => Work::Sweep(names.clone()),
            Job::Flush { scope, .. } => Work::Flush(scope.clone()),
            Job::Commit { batch, .. } => Work::Commit(batch.clone()),
            Job::Remove(chore) => Work::Remove(chore.clone()),
            Job::RemoveFolders(chain) => Work::Remove(Chore::RemoveFolders(chain.len() as u32)),
        };
        let arrival = if piece.is_redone { Arrival::Redone } else { node.arrival };
        Item { root: node.root, folder: self.nodes.path(piece.node), arrival, work }
    }

    fn stack(&mut self, side: Side) -> &mut Stack {
        match side {
            Side::Folders => &mut self.folders,
            Side::Ready => &mut self.ready,
        }
    }

    fn push(&mut self, node: NodeIdx, is_redone: bool, job: Job) {
        self.open_piece(node, job.is_walk());
        self.put_back(Piece { node, is_redone, job });
    }

    /// Puts an open piece on its stack, or drops it once nothing new is begun.
    fn put_back(&mut self, piece: Piece) {
        if self.is_over() && !piece.job.ends_something() {
            self.drop_piece(piece);
        } else if matches!(piece.job, Job::Flush { .. } | Job::Commit { .. }) {
            self.commits.put_back(piece);
        } else if piece.job.is_walk() {
            self.folders.push(piece);
        } else {
            self.ready.push(piece);
        }
    }

    fn drop_piece(&mut self, piece: Piece) {
        match piece.job {
            Job::Finish(_) => self.ready.push(piece),
            Job::Flush { .. } | Job::Commit { .. } => self.commits.put_back(piece),
            Job::RemoveFolders(chain) => self.finished(&chain),
            job => self.close_piece(piece.node, job.is_walk()),
        }
    }

    fn open_piece(&mut self, node: NodeIdx, is_walk: bool) {
        self.nodes.get_mut(node).n_open += 1;
        self.n_walk_pieces += usize::from(is_walk);
    }

    fn close_piece(&mut self, node: NodeIdx, is_walk: bool) {
        self.n_walk_pieces -= usize::from(is_walk);
        self.close_one(node);
    }

    /// One thing less is open in a folder; if it was the last, the folder is due to be finished.
    fn close_one(&mut self, node: NodeIdx) {
        if let Some(chain) = self.nodes.close_one(node) {
            // Not a piece of the folder: nothing else can be in it any more.
            let job = if self.removal.has_begun() { Job::RemoveFolders(chain) } else { Job::Finish(chain) };
            self.put_back(Piece { node, is_redone: false, job });
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Folders,
    Ready,
}
