//! The pool's private state, and the decisions on it: which worker gets which task, what becomes of the tasks of the dead.
//! It waits for nothing and starts nothing: see dispatch.rs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::crew::{Member, Misbehaved};
use super::errors::PoolBroken;
use super::task::{Callback, Outcome, Record};
use crate::parcel::Parcel;

/// Whether tasks are taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Open,
    Closed,
    Broken(PoolBroken),
}

/// The place of a worker: it stays when a worker dies and another takes over.
pub(super) struct Place {
    pub(super) member: Option<Member>,
    pub(super) n_restarts: u32,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// Tasks that no worker was given yet.
    pub(super) waiting: VecDeque<Box<Record>>,
    pub(super) places: Vec<Place>,
    pub(super) next_number: u64,
    /// Tasks that have not ended.
    pub(super) n_open: usize,
    /// Callbacks left with tasks that have not ended.
    pub(super) n_listeners: usize,
    /// Tasks whose arguments keep clones of handles until their worker has counted its own.
    pub(super) n_holding: usize,
    /// Callbacks to run, with what they are called with.
    pub(super) due: VecDeque<(Callback, Outcome)>,
    /// Somebody takes results out.
    pub(super) has_pumper: bool,
    /// Threads that wait for somebody else to do it.
    pub(super) n_bystanders: usize,
    pub(super) deaths: VecDeque<Instant>,
    /// Workers that ended before their time.
    pub(super) n_lost: u64,
    pub(super) is_dropped: bool,
}

/// What is let go of once the state is unlocked.
#[derive(Default)]
pub(super) struct Harvest {
    pub(super) ended: Vec<(Box<Record>, Outcome)>,
    pub(super) released: Vec<Parcel>,
}

impl Harvest {
    pub(super) const fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.released.is_empty()
    }
}

impl State {
    pub(super) fn new(n_places: usize) -> Self {
        Self {
            phase: Phase::Open,
            waiting: VecDeque::new(),
            places: (0..n_places).map(|_| Place { member: None, n_restarts: 0 }).collect(),
            next_number: 1,
            n_open: 0,
            n_listeners: 0,
            n_holding: 0,
            due: VecDeque::new(),
            has_pumper: false,
            n_bystanders: 0,
            deaths: VecDeque::new(),
            n_lost: 0,
            is_dropped: false,
        }
    }

    pub(super) fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.places.iter_mut().filter_map(|place| place.member.as_mut())
    }

    /// Whether something goes on only if results are taken out although nobody waits for them.
    pub(super) fn needs_dispatcher(&self) -> bool {
        let has_backlog = |place: &Place| place.member.as_ref().is_some_and(|member| member.n_given() > 1);
        let goes_on = !self.waiting.is_empty()
            || self.n_listeners > 0
            || self.n_holding > 0
            || self.places.iter().any(has_backlog);
        self.n_open > 0 && (goes_on || self.phase == Phase::Closed)
    }

    /// Takes all results out, and gives out what waits.
    pub(super) fn harvest(&mut self) -> Harvest {
        let mut harvest = Harvest::default();
        for place_idx in 0..self.places.len() {
            self.harvest_place(place_idx, &mut harvest);
        }
        if !harvest.is_empty() || !self.waiting.is_empty() {
            self.give_out();
        }
        harvest
    }

    pub(super) fn harvest_place(&mut self, place_idx: usize, harvest: &mut Harvest) {
        let Some(member) = &mut self.places[place_idx].member else {
            return;
        };
        let n_before = harvest.ended.len();
        loop {
            match member.take_result() {
                Ok(Some(ended)) => harvest.ended.push(ended),
                Ok(None) => break,
                Err(Misbehaved) => {
                    member.kill();
                    break;
                }
            }
        }
        member.learn_pace((harvest.ended.len() - n_before) as u64);
        if self.n_holding > 0
            && let Some(parcel) = member.forget_entered()
        {
            self.n_holding -= 1;
            harvest.released.push(parcel);
        }
    }

    /// Gives waiting tasks to the workers that have the fewest, and to idle ones what others have not started.
    pub(super) fn give_out(&mut self) {
        while let Some(record) = self.waiting.pop_front() {
            let candidates = self.members().filter(|member| member.n_given() < member.limit());
            let Some(member) = candidates.min_by_key(|member| member.n_given()) else {
                self.waiting.push_front(record);
                return;
            };
            match member.give(record) {
                Ok(()) => member.wake(),
                Err(record) => {
                    self.waiting.push_front(record);
                    return;
                }
            }
        }
        self.share_with_idle();
    }

    pub(super) fn share_with_idle(&mut self) {
        while let Some(idle_idx) = self.place_with(|n_given| n_given == 0) {
            let Some(donor_idx) = self.place_with(|n_given| n_given > 1) else {
                return;
            };
            let record = self.places[donor_idx].member.as_mut().and_then(Member::take_back);
            let (Some(record), Some(idle)) = (record, &mut self.places[idle_idx].member) else {
                return;
            };
            match idle.give(record) {
                Ok(()) => idle.wake(),
                Err(record) => {
                    self.waiting.push_front(record);
                    return;
                }
            }
        }
    }

    /// The place with the most tasks given, among those with a fitting number.
    pub(super) fn place_with(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let n_given =
            |idx: &usize| self.places[*idx].member.as_ref().map(Member::n_given).filter(|&n_given| fits(n_given));
        (0..self.places.len()).filter(|idx| n_given(idx).is_some()).max_by_key(n_given)
    }

    /// Puts what a dead worker had not started back in front, and returns what it was running.
    pub(super) fn take_over(&mut self, member: Member) -> Option<Box<Record>> {
        let (running, rest) = member.into_leftovers();
        rest.rev().for_each(|record| self.waiting.push_front(record));
        running
    }

    /// Counts a death; says whether there were too many.
    pub(super) fn exceeds(&mut self, (n_allowed, period): (u32, Duration)) -> bool {
        let now = Instant::now();
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|&death| now.duration_since(death) > period) {
            self.deaths.pop_front();
        }
        self.deaths.len() > n_allowed as usize
    }

    /// Ends everything: all tasks with this reason, and all workers.
    pub(super) fn break_down(&mut self, broken: &PoolBroken) -> Harvest {
        self.phase = Phase::Broken(broken.clone());
        let mut records: Vec<_> = self.waiting.drain(..).collect();
        for member in self.members() {
            records.extend(member.abandon());
            member.kill();
        }
        let ended = records.into_iter().map(|record| (record, Outcome::Broken(broken.clone()))).collect();
        Harvest { ended, ..Harvest::default() }
    }

    pub(super) fn stop_workers(&mut self) {
        self.members().for_each(|member| member.stop());
    }
}
