//! What is left to compare, what is with workers, and what was found out: the state behind driver.rs. Like the scheduler of a copy
//! it calls nobody, and is simpler, since nothing has to be finished in an order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Aspect;
use super::task::{Aspects, CompareAnswer, CompareCounts, CompareItem, CompareTask, LinkSeen, Side, UnreadEntry};
use crate::error::{Action, Reason};
use crate::hands::Hands;
use crate::names::{Bytes, Names, joined};
use crate::stuck::{Stuck, StuckPlaces};
use crate::task::{Cause, Identity};

/// Entries in a task at least, if there are as many, and at most, and sub-folders: some milliseconds of work.
const MIN_NAMES: usize = 16;
const MAX_NAMES: usize = 256;
const MAX_FOLDERS: usize = 32;

/// Entries that a worker compares before it answers.
const VISIT: u32 = 1024;

/// Deaths over the same task after which it is cut up, or given up if it is a single entry.
const MAX_DEATHS: u32 = 3;

/// Work, and who has it.
pub(super) struct Books {
    hands: Hands,
    /// Bytes of names up to which a walk runs ahead; 0: whoever lists a folder compares what is in it.
    walk_ahead_bytes: usize,
    /// Names of folders, last in, first out, so that few are waiting however large the tree is.
    folders: Vec<CompareItem>,
    files: Vec<CompareItem>,
    n_waiting_bytes: usize,
    retries: Vec<Flight>,
    /// Tasks whose workers got stuck: done when there is nothing else, since it may get stuck again.
    deferred: Vec<Flight>,
    stuck: StuckPlaces,
    flights: HashMap<u64, Flight>,
    n_walks: usize,
    next_task_id: u64,
    is_stopped: bool,
    pub(super) counts: CompareCounts,
    /// Which file at the destination a file with several names is, and the other way round.
    by_source: HashMap<Identity, Identity>,
    by_destination: HashMap<Identity, Identity>,
}

/// Items on their way.
struct Flight {
    items: Vec<CompareItem>,
    n_entries: u32,
    n_deaths: u32,
}

/// What is to be told of an answer or a death.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) differences: Vec<(Bytes, Aspects)>,
    pub(super) failures: Vec<UnreadEntry>,
}

impl Flight {
    fn is_walk(&self) -> bool {
        self.items.iter().any(|item| item.is_whole || !item.folders.is_empty())
    }

    fn n_units(&self) -> usize {
        self.items.iter().map(CompareItem::n_units).sum()
    }
}

impl Books {
    pub(super) fn new(n_workers: usize, walk_ahead_bytes: usize, first: CompareItem) -> Self {
        let mut books = Self {
            hands: Hands::new(n_workers),
            walk_ahead_bytes,
            folders: Vec::new(),
            files: Vec::new(),
            n_waiting_bytes: 0,
            retries: Vec::new(),
            deferred: Vec::new(),
            stuck: StuckPlaces::default(),
            flights: HashMap::new(),
            n_walks: 0,
            next_task_id: 1,
            is_stopped: false,
            counts: CompareCounts { n_found: first.n_units() as u64, ..CompareCounts::default() },
            by_source: HashMap::new(),
            by_destination: HashMap::new(),
        };
        books.put(first);
        books
    }

    pub(super) fn set_hands(&mut self, hands: Hands) {
        self.hands = hands;
    }

    /// Nearly all workers have something to do, and there is more.
    pub(super) fn are_all_busy(&self) -> bool {
        let n_left = self.counts.n_found.saturating_sub(self.counts.n_done());
        self.hands.are_all_busy(self.flights.len(), n_left, self.is_walk_finished())
    }

    /// The next task for the pool, if there is one and the pool has too few.
    pub(super) fn next_task(&mut self) -> Option<CompareTask> {
        if self.hands.are_full(self.flights.len()) {
            return None;
        }
        let left = self.retries.pop().or_else(|| self.next_flight()).or_else(|| self.deferred.pop());
        let flight = left?;
        let id = self.next_task_id;
        self.next_task_id += 1;
        self.n_walks += usize::from(flight.is_walk());
        let stuck = self.stuck.told();
        let task = CompareTask { id, n_entries: flight.n_entries, items: flight.items.clone(), stuck };
        self.flights.insert(id, flight);
        Some(task)
    }

    pub(super) fn n_idle_workers(&self) -> usize {
        self.hands.n_idle(self.flights.len())
    }

    pub(super) fn is_done(&self) -> bool {
        let are_empty = [&self.retries, &self.deferred].map(Vec::is_empty) == [true; 2];
        are_empty && self.flights.is_empty() && self.folders.is_empty() && self.files.is_empty()
    }

    pub(super) fn is_walk_finished(&self) -> bool {
        self.n_walks == 0 && self.folders.is_empty() && !self.retries.iter().chain(&self.deferred).any(Flight::is_walk)
    }

    pub(super) fn is_in_flight(&self, task_id: u64) -> bool {
        self.flights.contains_key(&task_id)
    }

    /// Drops everything that has not been begun.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
        self.folders.clear();
        self.files.clear();
        self.retries.clear();
        self.deferred.clear();
    }

    pub(super) fn on_answer(&mut self, task_id: u64, answer: CompareAnswer) -> Findings {
        let Some(flight) = self.flights.remove(&task_id) else {
            return Findings::default();
        };
        self.n_walks -= usize::from(flight.is_walk());
        self.counts += answer.counts;
        let mut findings = Findings { differences: answer.differences, failures: answer.failures };
        for link in answer.links {
            if !self.is_linked_alike(&link) {
                findings.differences.push((link.path, Aspects::of(Aspect::HardLinks)));
                if !link.is_different {
                    self.counts.n_same -= 1;
                    self.counts.n_different += 1;
                }
            }
        }
        answer.leftovers.into_iter().for_each(|item| self.put(item));
        findings
    }

    /// A worker died over a task: it is given to another, cut up after some deaths, and given up when a single entry is left.
    pub(super) fn on_death(&mut self, task_id: u64) -> Findings {
        let mut findings = Findings::default();
        let Some(mut flight) = self.flights.remove(&task_id) else {
            return findings;
        };
        self.n_walks -= usize::from(flight.is_walk());
        flight.n_deaths += 1;
        if self.is_stopped {
            return findings;
        }
        if flight.n_deaths < MAX_DEATHS {
            self.retries.push(flight);
        } else if flight.n_units() > 1 {
            for item in flight.items.into_iter().flat_map(single_entries) {
                self.retries.push(Flight { items: vec![item], n_entries: flight.n_entries, n_deaths: 0 });
            }
        } else if flight.n_entries > 0 && flight.is_walk() {
            // Listing alone may do, and then it turns out which of its entries it is.
            self.retries.push(Flight { n_entries: 0, n_deaths: 0, ..flight });
        } else {
            findings = self.give_up(&flight);
        }
        findings
    }

    /// A worker got stuck over a task and was given up: the task goes to another, which does not touch the place.
    pub(super) fn on_stall(&mut self, task_id: u64, place: Stuck) -> Findings {
        let Some(flight) = self.flights.remove(&task_id) else {
            return Findings::default();
        };
        self.n_walks -= usize::from(flight.is_walk());
        if self.is_stopped {
            return Findings::default();
        }
        if !self.stuck.note(place) {
            // It got stuck where nothing was to be touched any more: there is nothing left to be tried.
            return self.give_up(&flight);
        }
        self.deferred.push(flight);
        Findings::default()
    }

    fn give_up(&mut self, flight: &Flight) -> Findings {
        let failures: Vec<_> = flight.items.iter().flat_map(given_up).collect();
        self.counts.n_failed += failures.len() as u64;
        Findings { failures, ..Findings::default() }
    }

    fn next_flight(&mut self) -> Option<Flight> {
        let is_walk_due =
            self.walk_ahead_bytes > 0 && self.n_walks == 0 && self.n_waiting_bytes < self.walk_ahead_bytes;
        if !self.folders.is_empty() && (self.files.is_empty() || is_walk_due) {
            let n_entries = if self.walk_ahead_bytes > 0 { 0 } else { VISIT };
            let n_folders = self.hands.portion(n_on_top(&self.folders), 1, MAX_FOLDERS);
            let items = taken(&mut self.folders, n_folders, &mut 0);
            return Some(Flight { items, n_entries, n_deaths: 0 });
        }
        let least = if self.files.last().is_some_and(|next| next.has_large) { 1 } else { MIN_NAMES };
        let n_names = self.hands.portion(n_on_top(&self.files), least, MAX_NAMES);
        let mut n_bytes = 0;
        let items = taken(&mut self.files, n_names, &mut n_bytes);
        self.n_waiting_bytes -= n_bytes;
        (!items.is_empty()).then_some(Flight { items, n_entries: VISIT, n_deaths: 0 })
    }

    fn put(&mut self, item: CompareItem) {
        if self.is_stopped {
            return;
        }
        let CompareItem { folder, files, folders, is_whole, has_large } = item;
        if !files.is_empty() {
            self.n_waiting_bytes += files.n_bytes();
            self.files.push(CompareItem { files, has_large, ..CompareItem::none_in(folder.clone()) });
        }
        if is_whole || !folders.is_empty() {
            self.folders.push(CompareItem { folders, is_whole, ..CompareItem::none_in(folder) });
        }
    }

    /// Whether the names of a file at the source are those of one file at the destination, as far as they have been met.
    fn is_linked_alike(&mut self, link: &LinkSeen) -> bool {
        let is_same = |map: &mut HashMap<Identity, Identity>, one, other| match map.entry(one) {
            Entry::Occupied(known) => *known.get() == other,
            Entry::Vacant(unknown) => {
                unknown.insert(other);
                true
            }
        };
        let is_one_copy = is_same(&mut self.by_source, link.source, link.destination);
        is_same(&mut self.by_destination, link.destination, link.source) && is_one_copy
    }
}

/// What the items on top of a stack name.
fn n_on_top(stack: &[CompareItem]) -> usize {
    stack.iter().rev().take(MAX_NAMES).map(CompareItem::n_units).sum()
}

/// Takes about `n_units` names off a stack; an item that has more is cut.
fn taken(stack: &mut Vec<CompareItem>, n_units: usize, n_bytes: &mut usize) -> Vec<CompareItem> {
    let mut items = Vec::new();
    let mut n_left = n_units;
    while n_left > 0 {
        let Some(mut item) = stack.pop() else { break };
        if item.n_units() > n_left {
            let files = item.files.take_last(n_left);
            let folders = item.folders.take_last(n_left);
            let has_large = item.has_large;
            let end = CompareItem { files, folders, has_large, ..CompareItem::none_in(item.folder.clone()) };
            stack.push(std::mem::replace(&mut item, end));
        }
        n_left = n_left.saturating_sub(item.n_units().max(1));
        *n_bytes += item.files.n_bytes();
        items.push(item);
    }
    items
}

/// The same work, an item for each entry.
fn single_entries(item: CompareItem) -> Vec<CompareItem> {
    let none = || CompareItem::none_in(item.folder.clone());
    let files = item.files.iter().map(|(kind, name)| CompareItem { files: Names::one(kind, name), ..none() });
    let folders = item.folders.iter().map(|(kind, name)| CompareItem { folders: Names::one(kind, name), ..none() });
    let whole = item.is_whole.then(|| CompareItem { is_whole: true, ..none() });
    files.chain(folders).chain(whole).collect()
}

fn given_up(item: &CompareItem) -> Vec<UnreadEntry> {
    let failed = |path| UnreadEntry {
        path,
        side: Side::Source,
        action: Action::Compare,
        cause: Cause::Reason(Reason::WorkersDied),
    };
    let names = item.files.iter().chain(item.folders.iter());
    let whole = item.is_whole.then(|| item.folder.clone());
    whole.into_iter().chain(names.map(|(_, name)| joined(&item.folder.0, name))).map(failed).collect()
}
