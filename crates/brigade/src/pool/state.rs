//! The pool's private state, and the decisions on it: which worker gets which task, what becomes of the tasks of the dead.
//! It waits for nothing and starts nothing: see dispatch.rs and staff.rs.

use std::collections::VecDeque;
use std::io;
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::cell::{Callback, Outcome, Record};
use super::crew::{Clock, Doom, Member, Misbehaved, Refused};
use super::errors::{PoolBroken, SubmitError};
use super::places::Places;
use super::worker::now_ns;
use crate::parcel::Parcel;
use crate::supervisor::Child;

/// Whether tasks are taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Open,
    Closed,
    Broken(PoolBroken),
}

/// The place of a worker: it stays when a worker dies and another takes over.
#[derive(Default)]
pub(super) struct Place {
    pub(super) member: Option<Member>,
    pub(super) n_restarts: u32,
    /// Workers that ended before they were ready, one after another.
    pub(super) n_false_starts: u32,
    /// When the next worker is to be started, if that has to wait.
    pub(super) hire_at: Option<Instant>,
    /// The pool was made smaller: nobody is to work here any more.
    pub(super) is_closed: bool,
}

impl Place {
    /// Whether this process works here.
    pub(super) fn is_of(&self, child: &Child) -> bool {
        let present = self.member.as_ref().and_then(|member| member.child.as_deref());
        present.is_some_and(|present| std::ptr::eq(present, child))
    }
}

/// Who takes results out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pumper {
    Nobody,
    /// Somebody who waits for a result.
    Getter,
    /// The dispatcher. A getter may take its place at any time.
    Dispatcher,
}

/// How the dispatcher sleeps, if it does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    Awake,
    /// Until it is unparked.
    Parked,
    /// For a short time, after which it looks whether others still move the pool on.
    Watching,
    /// On the bell, where the workers wake it.
    OnBell {
        wants_all: bool,
    },
    /// It has ended, with the pool.
    Ended,
}

pub(super) struct State {
    pub(super) phase: Phase,
    /// Tasks that no worker was given yet, by number.
    pub(super) waiting: VecDeque<Record>,
    /// Tasks whose arguments could not be sent. They are tried again when something has ended.
    refused: Vec<Record>,
    pub(super) places: Vec<Place>,
    pub(super) ranks: Places,
    pub(super) next_number: u64,
    /// Tasks whose arguments keep clones of handles until their worker has counted its own.
    pub(super) n_holding: usize,
    /// Callbacks to run, with what they are called with.
    pub(super) due: VecDeque<(Callback, Outcome)>,
    pub(super) pumper: Pumper,
    pub(super) rest: Rest,
    /// Until when it sleeps, if it does; `None` is until something happens.
    pub(super) rest_until: Option<Instant>,
    /// Threads that wait while another one takes results out.
    pub(super) bystanders: Vec<Thread>,
    /// Grows whenever somebody else than the dispatcher moves the pool on.
    pub(super) n_moves: u64,
    /// When the dispatcher has to look at clocks again.
    pub(super) wake_at: Option<Instant>,
    pub(super) deaths: VecDeque<Instant>,
    /// Workers that ended before their time.
    pub(super) n_lost: u64,
    pub(super) is_dropped: bool,
    busy: Vec<usize>,
}

/// What is let go of once the state is unlocked.
#[derive(Default)]
pub(super) struct Harvest {
    /// Tasks that have ended, how, and the worker that ran it or 0.
    pub(super) ended: Vec<(Record, Outcome, u32)>,
    pub(super) released: Vec<Parcel>,
}

impl Harvest {
    pub(super) const fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.released.is_empty()
    }
}

/// What became of the wish to end one task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Withdrawal {
    Unstarted,
    Running,
    Ended,
}

/// Results taken out at once, before the lock is given to others.
const MAX_HARVEST: usize = 256;
/// How often a task is tried to be given to a worker, if its arguments cannot be sent.
const MAX_REFUSALS: u32 = 3;

impl State {
    pub(super) fn new(n_places: usize) -> Self {
        Self {
            phase: Phase::Open,
            waiting: VecDeque::new(),
            refused: Vec::new(),
            places: (0..n_places).map(|_| Place::default()).collect(),
            ranks: Places::default(),
            next_number: 1,
            n_holding: 0,
            due: VecDeque::new(),
            pumper: Pumper::Nobody,
            rest: Rest::Awake,
            rest_until: None,
            bystanders: Vec::new(),
            n_moves: 0,
            wake_at: None,
            deaths: VecDeque::new(),
            n_lost: 0,
            is_dropped: false,
            busy: Vec::new(),
        }
    }

    pub(super) fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        self.places.iter_mut().filter_map(|place| place.member.as_mut())
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.phase, Phase::Broken(_))
    }

    /// Notes what may be done with a place after its worker has changed.
    pub(super) fn rank(&mut self, place_idx: usize) {
        let rank = self.places[place_idx].member.as_mut().map(Member::rank);
        self.ranks.set(place_idx, rank);
    }

    /// Whether somebody must look at the workers so that tasks go on.
    pub(super) fn has_backlog(&self) -> bool {
        !self.waiting.is_empty() || !self.refused.is_empty() || self.n_holding > 0 || self.ranks.has_backlog()
    }

    /// Takes in a new task, and returns its number.
    pub(super) fn take_in(&mut self, record: Record, harvest: &mut Harvest) {
        self.n_holding += usize::from(record.arguments.has_handles());
        if self.waiting.is_empty() {
            if let Some(record) = self.give(record, harvest) {
                self.waiting.push_back(record);
            }
        } else {
            self.waiting.push_back(record);
        }
    }

    /// Takes results out, and gives out what waits.
    pub(super) fn harvest(&mut self, harvest: &mut Harvest) {
        let mut busy = std::mem::take(&mut self.busy);
        self.ranks.collect_busy(&mut busy);
        for &place_idx in &busy {
            self.harvest_place(place_idx, harvest);
        }
        self.busy = busy;
        self.give_out(harvest);
    }

    /// Takes results of one worker out; how many there were.
    pub(super) fn harvest_place(&mut self, place_idx: usize, harvest: &mut Harvest) -> usize {
        let Some(member) = &mut self.places[place_idx].member else {
            return 0;
        };
        let pid = member.pid();
        let n_before = harvest.ended.len();
        while harvest.ended.len() - n_before < MAX_HARVEST {
            match member.take_result() {
                Ok(Some((record, outcome))) => {
                    self.n_holding -= usize::from(record.arguments.has_handles());
                    harvest.ended.push((record, outcome, pid));
                }
                Ok(None) => break,
                Err(Misbehaved) => {
                    member.kill();
                    break;
                }
            }
        }
        let n_results = harvest.ended.len() - n_before;
        if n_results > 0 {
            member.took(n_results as u64);
        }
        if self.n_holding > 0
            && let Some(parcel) = member.forget_entered()
        {
            self.n_holding -= 1;
            harvest.released.push(*parcel);
        }
        self.rank(place_idx);
        if n_results > 0 {
            self.readmit();
        }
        n_results
    }

    /// Something has ended: what could not be sent before may be sent now.
    fn readmit(&mut self) {
        std::mem::take(&mut self.refused).into_iter().for_each(|record| self.requeue(record));
    }

    /// Gives waiting tasks to the workers that have the fewest, and to idle ones what others have not started.
    pub(super) fn give_out(&mut self, harvest: &mut Harvest) {
        while let Some(record) = self.waiting.pop_front() {
            if let Some(record) = self.give(record, harvest) {
                self.waiting.push_front(record);
                return;
            }
        }
        self.share_with_idle(harvest);
    }

    /// Gives a task to the worker that should have it. It comes back if none has room.
    fn give(&mut self, mut record: Record, harvest: &mut Harvest) -> Option<Record> {
        while let Some(place_idx) = self.ranks.with_room() {
            match self.give_to(place_idx, record, harvest) {
                Some(back) => record = back,
                None => return None,
            }
        }
        Some(record)
    }

    /// Gives a task to this worker. It comes back if there is no room now.
    fn give_to(&mut self, place_idx: usize, record: Record, harvest: &mut Harvest) -> Option<Record> {
        let member = self.places[place_idx].member.as_mut().expect("ranks are of places where somebody works");
        record.cell.set_place(Some(place_idx));
        let timeout_ns = record.timeout_ns;
        let given = member.give(record);
        if given.is_ok() {
            member.wake();
        }
        self.rank(place_idx);
        match given {
            Ok(()) => {
                if let Some(timeout_ns) = timeout_ns {
                    self.look_again_in(timeout_ns.get());
                }
                None
            }
            Err(Refused::Full(record)) => {
                record.cell.set_place(None);
                Some(record)
            }
            Err(Refused::Unsendable(record, error)) => self.refuse(record, &error, harvest),
        }
    }

    /// The arguments of a task cannot be sent: for lack of something that others may give back, or at all.
    fn refuse(&mut self, mut record: Record, error: &io::Error, harvest: &mut Harvest) -> Option<Record> {
        record.cell.set_place(None);
        record.n_refusals += 1;
        let others_may_end = self.ranks.has_work();
        if others_may_end && record.n_refusals < MAX_REFUSALS {
            self.refused.push(record);
            return None;
        }
        let error = SubmitError::System { attempt: "send the arguments to a worker".to_owned(), cause: error.into() };
        self.end(record, Outcome::NotSent(Box::new(error)), 0, harvest);
        None
    }

    /// Notes the end of a task that brought no result.
    pub(super) fn end(&mut self, record: Record, outcome: Outcome, pid: u32, harvest: &mut Harvest) {
        self.n_holding -= usize::from(record.arguments.has_handles());
        harvest.ended.push((record, outcome, pid));
    }

    fn share_with_idle(&mut self, harvest: &mut Harvest) {
        while let Some(idle_idx) = self.ranks.idle() {
            let shared = self.take_share();
            if shared.is_empty() {
                return;
            }
            for record in shared {
                if let Some(record) = self.give_to(idle_idx, record, harvest) {
                    self.requeue(record);
                }
            }
        }
    }

    /// Takes back half of what some worker has not started, oldest first.
    fn take_share(&mut self) -> VecDeque<Record> {
        let mut shared = VecDeque::new();
        let donors: Vec<_> = self.ranks.with_backlog().collect();
        for donor_idx in donors {
            let Some(donor) = self.places[donor_idx].member.as_mut() else { continue };
            let n_wanted = donor.n_given().div_ceil(2);
            while shared.len() < n_wanted && donor.has_backlog() {
                let Some(record) = donor.take_back_last() else { break };
                shared.push_front(record);
            }
            self.rank(donor_idx);
            if !shared.is_empty() {
                break;
            }
        }
        shared
    }

    /// Puts a task back among those that wait, where its number belongs.
    pub(super) fn requeue(&mut self, record: Record) {
        record.cell.set_place(None);
        let at = self.waiting.partition_point(|waiting| waiting.number < record.number);
        self.waiting.insert(at, record);
    }

    /// Puts what a dead worker had not started back in front, and returns what it was running.
    pub(super) fn take_over(&mut self, member: Member) -> Option<Record> {
        let (running, rest) = member.into_leftovers();
        rest.rev().for_each(|record| self.requeue(record));
        self.readmit();
        running
    }

    /// Takes back all that a worker has not started.
    pub(super) fn unload(&mut self, place_idx: usize) {
        while let Some(record) = self.places[place_idx].member.as_mut().and_then(Member::take_back_last) {
            self.requeue(record);
        }
        self.rank(place_idx);
    }

    /// Ends a task that has not ended, if `running` allows also one that is running.
    pub(super) fn withdraw(
        &mut self,
        number: u64,
        place: Option<usize>,
        running: Running,
        harvest: &mut Harvest,
    ) -> Withdrawal {
        let Some(place_idx) = place else {
            self.readmit();
            let Ok(idx) = self.waiting.binary_search_by_key(&number, |record| record.number) else {
                return Withdrawal::Ended;
            };
            let record = self.waiting.remove(idx).expect("it was found there");
            self.end(record, Outcome::Cancelled, 0, harvest);
            return Withdrawal::Unstarted;
        };
        if let Some(record) = self.places[place_idx].member.as_mut().and_then(|member| member.take_back(number)) {
            self.rank(place_idx);
            self.end(record, Outcome::Cancelled, 0, harvest);
            return Withdrawal::Unstarted;
        }
        match running {
            Running::Stop if self.sacrifice(place_idx, number, Doom::Cancelled, harvest) => Withdrawal::Running,
            Running::Stop => Withdrawal::Ended,
            Running::Leave => Withdrawal::Running,
        }
    }

    /// Ends a worker for the sake of the task that it runs; `false` if the task has ended meanwhile.
    pub(super) fn sacrifice(&mut self, place_idx: usize, number: u64, doom: Doom, harvest: &mut Harvest) -> bool {
        // First nothing else must be left for the worker to begin: no other task may suffer.
        self.unload(place_idx);
        self.harvest_place(place_idx, harvest);
        let Some(member) = self.places[place_idx].member.as_mut() else {
            return false;
        };
        if member.running() != Some(number) {
            return false;
        }
        if !member.is_doomed() {
            member.doom(number, doom);
        }
        self.rank(place_idx);
        true
    }

    /// Has the dispatcher look at the clocks in so many nanoseconds, or before.
    fn look_again_in(&mut self, left_ns: u64) {
        if let Some(at) = Instant::now().checked_add(Duration::from_nanos(left_ns)) {
            self.look_again_at(at);
        }
    }

    /// Has the dispatcher look at the clocks at this time, or before.
    pub(super) fn look_again_at(&mut self, at: Instant) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at)));
    }

    /// Whether the dispatcher would sleep past the time at which it has to look at the clocks.
    pub(super) fn sleeps_too_long(&self) -> bool {
        self.wake_at.is_some_and(|wake_at| self.rest_until.is_none_or(|rest_until| wake_at < rest_until))
    }

    /// Ends the tasks whose time is over, and notes when to look again.
    pub(super) fn look_at_clocks(&mut self, harvest: &mut Harvest) {
        self.wake_at = self.places.iter().filter_map(|place| place.hire_at).min();
        for place_idx in 0..self.places.len() {
            let has_limits = self.places[place_idx].member.as_ref().is_some_and(Member::has_limits);
            if !has_limits {
                continue;
            }
            self.harvest_place(place_idx, harvest);
            let clock = self.places[place_idx].member.as_mut().map(|member| member.clock(now_ns()));
            match clock {
                Some(Clock::Over(number)) => {
                    self.sacrifice(place_idx, number, Doom::TimedOut, harvest);
                }
                Some(Clock::LookAgainIn(left_ns)) => self.look_again_in(left_ns),
                Some(Clock::Unlimited) | None => {}
            }
        }
        self.give_out(harvest);
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
    pub(super) fn break_down(&mut self, broken: &PoolBroken, harvest: &mut Harvest) {
        self.phase = Phase::Broken(broken.clone());
        self.readmit();
        let mut records: Vec<_> = self.waiting.drain(..).collect();
        for place in &mut self.places {
            place.hire_at = None;
        }
        for member in self.members() {
            records.extend(member.abandon());
            member.kill();
        }
        for record in records {
            self.end(record, Outcome::Broken(broken.clone()), 0, harvest);
        }
    }

    /// Waits no more for workers that were killed and have not ended.
    pub(super) fn leave_all_behind(&mut self) {
        for place in &mut self.places {
            if let Some(child) = place.member.take().and_then(|member| member.child) {
                child.leave_behind();
            }
        }
    }

    pub(super) fn stop_workers(&mut self) {
        self.members().for_each(Member::stop);
    }
}

/// What is done with a task that is to be withdrawn and runs already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Running {
    Stop,
    Leave,
}
