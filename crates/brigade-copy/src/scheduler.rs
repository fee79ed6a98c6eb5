//! Decides what is done next: a state machine that hands out tasks and takes answers, and keeps the books. It calls nobody;
//! run.rs connects it with the pool, and tests drive it without one.
//!
//! A *piece* is work in one folder that nobody has finished: it waits in a stack or is in flight with a worker. A folder can
//! be finished when it has no piece and no unfinished sub-folder. Stacks are last in, first out: the walk goes depth first,
//! so few folders are open at a time however large the tree is.

mod groups;
mod nodes;

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Action;
use crate::event::{EntryKind, Outcome};
use crate::lanes::LiveCounts;
use crate::names::{Bytes, Kind, Names};
use crate::task::{
    Arrival, Budget, Cause, CopyAnswer, CopyTask, Counts, Failure, FolderRef, Identity, Item,
    Joined, Place, Work,
};
use groups::{Groups, Member, Turn};
use nodes::{NodeIdx, Nodes};

/// Names in a task at most. More made no difference; fewer cost more in messages than they gain in balance.
const MAX_NAMES: usize = 256;

/// Names in a task at least, if there are as many.
const MIN_NAMES: usize = 16;

/// Sub-folders in a task at most. Each may turn out to be large: then a part of it comes back.
const MAX_FOLDERS: usize = 32;

/// Tasks per worker that are with the pool, so that a worker never waits for us.
const TASKS_PER_WORKER: usize = 2;

/// What a worker that visits folders may do before it answers.
const VISIT: Budget = Budget {
    n_copied: 1024,
    n_listed: 8192,
};

/// A walk that only lists, ahead of the copying.
const WALK: Budget = Budget {
    n_copied: 0,
    n_listed: 8192,
};

/// Deaths with the same task after which it is cut up.
const MAX_DEATHS: u32 = 3;

/// Deaths with a single entry after which it is given up. Somebody who kills workers at random hits the same entry so often
/// only if hardly anything else is being done.
const MAX_DEATHS_ALONE: u32 = 6;

/// Hands out tasks and takes answers.
pub(crate) struct Scheduler {
    n_workers: usize,
    /// Bytes of names up to which a walk runs ahead of the copying; 0: whoever visits a folder copies what is in it.
    walk_ahead_bytes: usize,
    nodes: Nodes,
    groups: Groups,
    /// Folders to be visited.
    folders: Stack,
    /// Everything else.
    ready: Stack,
    retries: Vec<Flight>,
    flights: HashMap<u64, Flight>,
    /// Pieces that may find more entries.
    n_walk_pieces: usize,
    n_walks_in_flight: usize,
    next_task_id: u64,
    is_stopped: bool,
    pub(crate) counts: Counts,
    /// Failures that no worker could report.
    failures: Vec<Failure>,
}

/// What is copied from a root.
pub(crate) enum Top {
    /// A folder that is there and counted, by its path below the root.
    Folder { path: Bytes, outcome: Outcome },
    /// Entries that are no folders.
    Files(Names),
}

#[derive(Debug)]
struct Piece {
    node: NodeIdx,
    /// A worker died over it.
    is_redone: bool,
    job: Job,
}

#[derive(Debug)]
enum Job {
    List,
    Folders(Names),
    Files(Names),
    First(Member),
    Link {
        member: Member,
        first: Arc<Place>,
    },
    /// Folders, each the parent of the one before it.
    Finish(Vec<NodeIdx>),
    Sweep(Names),
}

impl Job {
    fn n_units(&self) -> usize {
        match self {
            Self::Folders(names) | Self::Files(names) => names.len(),
            _ => 1,
        }
    }

    fn n_bytes(&self) -> usize {
        match self {
            Self::Folders(names) | Self::Files(names) => names.n_bytes(),
            _ => 0,
        }
    }

    fn is_walk(&self) -> bool {
        matches!(self, Self::List | Self::Folders(_))
    }
}

/// Pieces on their way: with a worker, or to be given to another after one died.
#[derive(Debug)]
struct Flight {
    pieces: Vec<Piece>,
    n_deaths: u32,
    budget: Budget,
}

impl Flight {
    fn n_units(&self) -> usize {
        self.pieces.iter().map(|piece| piece.job.n_units()).sum()
    }

    fn is_walk(&self) -> bool {
        self.pieces.iter().any(|piece| piece.job.is_walk())
    }
}

#[derive(Debug, Default)]
struct Stack {
    pieces: Vec<Piece>,
    n_units: usize,
    n_bytes: usize,
}

impl Stack {
    fn push(&mut self, piece: Piece) {
        self.n_units += piece.job.n_units();
        self.n_bytes += piece.job.n_bytes();
        self.pieces.push(piece);
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop()?;
        self.n_units -= piece.job.n_units();
        self.n_bytes -= piece.job.n_bytes();
        Some(piece)
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

impl Scheduler {
    pub(crate) fn new(n_workers: usize, walk_ahead_bytes: usize) -> Self {
        Self {
            n_workers,
            walk_ahead_bytes,
            nodes: Nodes::default(),
            groups: Groups::default(),
            folders: Stack::default(),
            ready: Stack::default(),
            retries: Vec::new(),
            flights: HashMap::new(),
            n_walk_pieces: 0,
            n_walks_in_flight: 0,
            next_task_id: 1,
            is_stopped: false,
            counts: Counts::default(),
            failures: Vec::new(),
        }
    }

    /// Adds what is to be copied. Files are found by this; a folder has been found by whoever made it.
    pub(crate) fn add(&mut self, root: u32, top: Top) {
        match top {
            Top::Folder { path, outcome } => {
                let arrival = if outcome == Outcome::Copied {
                    Arrival::Fresh
                } else {
                    Arrival::Merged
                };
                let node = self.nodes.insert_top(root, path, Some(outcome), arrival);
                self.push(node, false, Job::List);
            }
            Top::Files(names) => {
                self.counts.n_found += names.len() as u64;
                let node = self
                    .nodes
                    .insert_top(root, Bytes::default(), None, Arrival::Merged);
                self.push(node, false, Job::Files(names));
            }
        }
    }

    /// The next task for the pool, if there is one and the pool has too few.
    pub(crate) fn next_task(&mut self) -> Option<CopyTask> {
        if self.flights.len() >= self.n_workers * TASKS_PER_WORKER {
            return None;
        }
        let flight = self.retries.pop().or_else(|| self.next_flight())?;
        let id = self.next_task_id;
        self.next_task_id += 1;
        self.n_walks_in_flight += usize::from(flight.is_walk());
        let items = flight
            .pieces
            .iter()
            .map(|piece| self.item_of(piece))
            .collect();
        let task = CopyTask {
            id,
            budget: flight.budget,
            items,
        };
        self.flights.insert(id, flight);
        Some(task)
    }

    /// How many workers have nothing to do and can be given nothing.
    pub(crate) fn n_idle_workers(&self) -> usize {
        self.n_workers.saturating_sub(self.flights.len())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.flights.is_empty()
            && self.retries.is_empty()
            && self.ready.is_empty()
            && self.folders.is_empty()
    }

    /// Everything has been found.
    pub(crate) fn is_walk_finished(&self) -> bool {
        self.n_walk_pieces == 0
    }

    /// Adds up what workers have done of tasks that are not answered yet.
    pub(crate) fn live(&self, lanes: impl Iterator<Item = LiveCounts>) -> LiveCounts {
        let mut sum = LiveCounts::default();
        for lane in lanes.filter(|lane| self.flights.contains_key(&lane.task_id)) {
            sum.n_found += lane.n_found;
            sum.n_done += lane.n_done;
            sum.n_bytes += lane.n_bytes;
        }
        sum
    }

    pub(crate) fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.failures)
    }

    /// Drops everything that has not been begun. Folders that are there are still finished.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        let mut dropped = Vec::new();
        for stack in [&mut self.folders, &mut self.ready] {
            while let Some(piece) = stack.pop() {
                dropped.push(piece);
            }
        }
        dropped.extend(self.retries.drain(..).flat_map(|flight| flight.pieces));
        for member in self.groups.drain_waiting() {
            self.close_piece(member.node, false);
        }
        for piece in dropped {
            self.drop_piece(piece);
        }
    }

    /// Takes the answer to a task. Failures and entries in it are the caller's to report.
    pub(crate) fn on_answer(&mut self, task_id: u64, answer: CopyAnswer) {
        let Some(flight) = self.flights.remove(&task_id) else {
            return;
        };
        self.n_walks_in_flight -= usize::from(flight.is_walk());
        self.counts += answer.counts;
        self.take_found(&flight.pieces, &answer);
        let mut joined = answer.joined.into_iter();
        let mut n_reached = answer.n_reached;
        for piece in flight.pieces {
            let n_units = piece.job.n_units() as u64;
            if n_reached >= n_units {
                n_reached -= n_units;
                self.complete(piece, &mut joined);
            } else {
                let rest = skip_units(piece, std::mem::take(&mut n_reached) as usize);
                self.put_back(rest);
            }
        }
    }

    /// A worker died over a task: it is given to another, cut up after some deaths, and given up when a single entry is left.
    pub(crate) fn on_death(&mut self, task_id: u64) {
        let Some(mut flight) = self.flights.remove(&task_id) else {
            return;
        };
        self.n_walks_in_flight -= usize::from(flight.is_walk());
        for piece in &mut flight.pieces {
            piece.is_redone = true;
        }
        flight.n_deaths += 1;
        if self.is_stopped {
            flight
                .pieces
                .into_iter()
                .for_each(|piece| self.put_back(piece));
        } else if flight.n_deaths < MAX_DEATHS {
            self.retries.push(flight);
        } else if flight.n_units() > 1 {
            self.cut_up(flight);
        } else if flight.n_deaths < MAX_DEATHS_ALONE {
            self.retries.push(flight);
        } else if flight.is_walk() && flight.budget.n_copied > 0 {
            // Listing alone may do, and then it turns out which of its entries it is.
            self.retries.push(Flight {
                n_deaths: 0,
                budget: WALK,
                ..flight
            });
        } else {
            flight
                .pieces
                .into_iter()
                .for_each(|piece| self.give_up(piece));
        }
    }
}

// Handing out.
impl Scheduler {
    fn next_flight(&mut self) -> Option<Flight> {
        let is_walk_due = self.walk_ahead_bytes > 0
            && self.n_walks_in_flight == 0
            && self.ready.n_bytes < self.walk_ahead_bytes;
        if self.folders.is_empty() || (!self.ready.is_empty() && !is_walk_due) {
            let n_units = portion(self.ready.n_units, self.n_workers, MIN_NAMES, MAX_NAMES);
            return self.take(Side::Ready, n_units, VISIT);
        }
        let budget = if self.walk_ahead_bytes > 0 {
            WALK
        } else {
            VISIT
        };
        let n_units = portion(self.folders.n_units, self.n_workers, 1, MAX_FOLDERS);
        self.take(Side::Folders, n_units, budget)
    }

    /// Takes about `n_units` off a stack; a piece that is larger is cut.
    fn take(&mut self, side: Side, n_units: usize, budget: Budget) -> Option<Flight> {
        let mut pieces = Vec::new();
        let mut n_left = n_units;
        while n_left > 0 {
            let stack = self.stack(side);
            let Some(mut piece) = stack.pop() else { break };
            if let Job::Folders(names) | Job::Files(names) = &mut piece.job
                && names.len() > n_left
            {
                let taken = names.take_last(n_left);
                let job = if side == Side::Folders {
                    Job::Folders(taken)
                } else {
                    Job::Files(taken)
                };
                let taken = Piece {
                    node: piece.node,
                    is_redone: piece.is_redone,
                    job,
                };
                stack.push(std::mem::replace(&mut piece, taken));
                self.open_piece(piece.node, piece.job.is_walk());
            }
            n_left = n_left.saturating_sub(piece.job.n_units());
            pieces.push(piece);
        }
        (!pieces.is_empty()).then_some(Flight {
            pieces,
            n_deaths: 0,
            budget,
        })
    }

    fn item_of(&self, piece: &Piece) -> Item {
        let node = self.nodes.get(piece.node);
        let work = match &piece.job {
            Job::List => Work::List,
            Job::Folders(names) => Work::Folders(names.clone()),
            Job::Files(names) => Work::Files(names.clone()),
            Job::First(member) => Work::First(member.name.clone()),
            Job::Link { member, first } => Work::Link {
                name: member.name.clone(),
                first: Place::clone(first),
            },
            Job::Finish(chain) => Work::Finish(
                chain
                    .iter()
                    .map(|&node| self.nodes.get(node).outcome.unwrap_or(Outcome::Unchanged))
                    .collect(),
            ),
            Job::Sweep(names) => Work::Sweep(names.clone()),
        };
        let arrival = if piece.is_redone {
            Arrival::Redone
        } else {
            node.arrival
        };
        Item {
            root: node.root,
            folder: self.nodes.path(piece.node),
            arrival,
            work,
        }
    }

    fn stack(&mut self, side: Side) -> &mut Stack {
        match side {
            Side::Folders => &mut self.folders,
            Side::Ready => &mut self.ready,
        }
    }

    fn push(&mut self, node: NodeIdx, is_redone: bool, job: Job) {
        self.open_piece(node, job.is_walk());
        self.put_back(Piece {
            node,
            is_redone,
            job,
        });
    }

    /// Puts an open piece on its stack, or drops it after the order to stop.
    fn put_back(&mut self, piece: Piece) {
        if self.is_stopped && !matches!(piece.job, Job::Finish(_)) {
            self.drop_piece(piece);
        } else if piece.job.is_walk() {
            self.folders.push(piece);
        } else {
            self.ready.push(piece);
        }
    }

    fn drop_piece(&mut self, piece: Piece) {
        match piece.job {
            Job::Finish(_) => self.ready.push(piece),
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
            self.ready.push(Piece {
                node,
                is_redone: false,
                job: Job::Finish(chain),
            });
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Folders,
    Ready,
}

/// A fair part of what there is, so that the last tasks of a run are small.
fn portion(n_units: usize, n_workers: usize, least: usize, most: usize) -> usize {
    (n_units / (n_workers * TASKS_PER_WORKER)).clamp(least, most)
}

fn skip_units(mut piece: Piece, n_units: usize) -> Piece {
    if let Job::Folders(names) | Job::Files(names) = &mut piece.job {
        *names = names.split_off(n_units);
    }
    piece
}

// Taking answers.
impl Scheduler {
    fn take_found(&mut self, pieces: &[Piece], answer: &CopyAnswer) {
        let mut new_nodes: Vec<NodeIdx> = Vec::with_capacity(answer.folders.len());
        let resolve = |folder: FolderRef, new_nodes: &[NodeIdx]| match folder {
            FolderRef::Item(idx) => pieces.get(idx as usize).map(|piece| piece.node),
            FolderRef::New(idx) => new_nodes.get(idx as usize).copied(),
        };
        for folder in &answer.folders {
            let Some(parent) = resolve(folder.parent, &new_nodes) else {
                continue;
            };
            new_nodes.push(
                self.nodes
                    .insert(parent, &folder.name, folder.outcome, folder.arrival),
            );
        }
        for &item_idx in &answer.failed_items {
            if let Some(node) = resolve(FolderRef::Item(item_idx), &new_nodes) {
                self.nodes.get_mut(node).outcome = Some(Outcome::Failed);
            }
        }
        for leftover in &answer.leftovers {
            let Some(node) = resolve(leftover.folder, &new_nodes) else {
                continue;
            };
            let is_redone = self.nodes.get(node).arrival == Arrival::Redone;
            if !leftover.folders.is_empty() {
                self.push(node, is_redone, Job::Folders(leftover.folders.clone()));
            }
            if !leftover.files.is_empty() {
                self.push(node, is_redone, Job::Files(leftover.files.clone()));
            }
        }
        for shared in &answer.shared {
            let Some(node) = resolve(shared.folder, &new_nodes) else {
                continue;
            };
            let is_redone = match shared.folder {
                FolderRef::Item(idx) => pieces
                    .get(idx as usize)
                    .is_some_and(|piece| piece.is_redone),
                FolderRef::New(_) => self.nodes.get(node).arrival == Arrival::Redone,
            };
            let member = Member {
                node,
                name: shared.name.clone(),
                identity: shared.identity,
                is_redone,
            };
            let turn = self.groups.meet(member, shared.n_links);
            self.take_turn(turn);
        }
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
            Turn::Link(member, first) => {
                (member.node, member.is_redone, Job::Link { member, first })
            }
            Turn::Wait(_) => return,
        };
        self.put_back(Piece {
            node,
            is_redone,
            job,
        });
    }

    fn complete(&mut self, piece: Piece, joined: &mut impl Iterator<Item = Joined>) {
        let node = piece.node;
        let is_walk = piece.job.is_walk();
        match piece.job {
            Job::Finish(chain) => return self.finished(&chain),
            Job::First(member) => match joined.next() {
                Some(Joined::Done) => self.first_is_there(&member),
                _ => self.first_failed(member.identity),
            },
            Job::Link { member, first } if joined.next() == Some(Joined::Refused) => {
                // The next attempt makes it the first name of a file of its own, and others are linked to that.
                let turn = self.groups.refused(member, &first);
                return self.end_wait(turn);
            }
            _ => {}
        }
        self.close_piece(node, is_walk);
    }

    fn first_is_there(&mut self, member: &Member) {
        let node = self.nodes.get(member.node);
        let place = Place {
            root: node.root,
            folder: self.nodes.path(member.node),
            name: member.name.clone(),
        };
        for turn in self.groups.first_is_there(member.identity, place) {
            self.end_wait(turn);
        }
    }

    fn first_failed(&mut self, identity: Identity) {
        if let Some(turn) = self.groups.first_failed(identity) {
            self.end_wait(turn);
        }
    }

    fn finished(&mut self, chain: &[NodeIdx]) {
        let mut parent = None;
        for &node in chain {
            parent = self.nodes.remove(node);
        }
        if let Some(parent) = parent {
            self.close_one(parent);
        }
    }
}

// After deaths.
impl Scheduler {
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
                && let Job::Folders(names) | Job::Files(names) = &mut piece.job
            {
                let rest = names.split_off(n_first);
                let is_walk = matches!(piece.job, Job::Folders(_));
                let job = if is_walk {
                    Job::Folders(rest)
                } else {
                    Job::Files(rest)
                };
                second.push(Piece {
                    node: piece.node,
                    is_redone: true,
                    job,
                });
                self.open_piece(piece.node, is_walk);
                first.push(piece);
            } else {
                second.push(piece);
            }
        }
        for pieces in [second, first] {
            let mut half = Flight {
                pieces,
                n_deaths: 0,
                budget: flight.budget,
            };
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
            Job::Finish(chain) => {
                for &node in &chain {
                    self.fail_folder(node);
                }
                return self.finished(&chain);
            }
            Job::Sweep(_) => {}
            Job::List => self.fail_folder(node),
            Job::Folders(ref names) => self.fail_names(node, names),
            Job::Files(ref names) => {
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
            self.fail(node, path, EntryKind::Directory);
        }
    }

    fn fail_names(&mut self, node: NodeIdx, names: &Names) {
        for (kind, name) in names.iter() {
            let mut path = self.nodes.path(node);
            if !path.0.is_empty() {
                path.0.push(b'/');
            }
            path.0.extend_from_slice(name.to_bytes());
            let kind = if kind == Kind::Folder {
                EntryKind::Directory
            } else {
                EntryKind::File
            };
            self.fail(node, path, kind);
        }
    }

    fn fail(&mut self, node: NodeIdx, path: Bytes, kind: EntryKind) {
        let root = self.nodes.get(node).root;
        self.counts.count(kind, Outcome::Failed, 0);
        self.failures.push(Failure {
            root,
            path,
            action: Action::Copy,
            cause: Cause::WorkersDied,
        });
    }
}
