//! Workers come and go here: they are started, buried, replaced, and their number is changed.
//! What becomes of tasks is decided in state.rs.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use brigade_sys::kernel::fork;
use rustix::process::Signal;

use super::cell::{Outcome, Record};
use super::crew::{Doom, Initializer, Member};
use super::errors::{PoolBroken, PoolError};
use super::inner::Inner;
use super::lane::Bell;
use super::state::{Harvest, Phase, Place, State};
use super::worker::{self, Recycling, Setup};
use super::{WorkerInfo, WorkerState};
use crate::entry::{EntryPoint, NotInMainProgram};
use crate::last_words;
use crate::parcel::Parcel;
use crate::process::ProcessGroup;
use crate::status::End;
use crate::supervisor::{self, Caller, Child, Environment, OnParentExit, Order, Remains, SpawnError, Surroundings};

/// How workers are to be.
pub(super) struct Staffing {
    pub(super) initializer: Option<Initializer>,
    pub(super) recycling: Recycling,
    pub(super) restart_limit: (u32, Duration),
    pub(super) process_group: ProcessGroup,
    pub(super) has_environment: bool,
    /// Who made the pool: workers started later are started on its behalf too.
    pub(super) caller: Caller,
}

/// How long the kernel has to end a worker that was killed, before it is left behind.
const KILL_PATIENCE: Duration = Duration::from_secs(1);

/// A place where so many workers ended before they were ready, one after another, gets another one only if elsewhere one
/// became ready: the pool is given up when none did.
const MAX_FALSE_STARTS: u32 = 10;

/// How long to wait before the next start, after so many that failed one after another.
fn back_off(n_false_starts: u32) -> Option<Duration> {
    let n_doublings = n_false_starts.checked_sub(2)?.min(7);
    Some(Duration::from_millis(10 << n_doublings).min(Duration::from_secs(1)))
}

impl Inner {
    /// Starts a pool with all its workers. Nothing is left of it if one of them cannot be started.
    pub(super) fn start(n_workers: usize, n_attempts: u32, staffing: Staffing) -> Result<Arc<Self>, PoolError> {
        let failed = |error: io::Error| SpawnError::system("make the shared memory of a pool", &error);
        let bell = Bell::create().map_err(failed)?;
        let inner = Arc::new(Self::new(bell, staffing, n_workers, n_attempts));
        let started = inner.hire_all(0..n_workers).and_then(|()| {
            inner.start_dispatcher().map_err(|error| SpawnError::system("start the dispatcher thread", &error))
        });
        started.inspect_err(|_| {
            inner.terminate();
            inner.wait_for_workers();
        })?;
        Ok(inner)
    }

    /// Starts workers in empty places, and waits until the kernel has made them: one after the other, since each needs more
    /// descriptors on the way than it does later.
    fn hire_all(self: &Arc<Self>, place_idxs: impl IntoIterator<Item = usize>) -> Result<(), SpawnError> {
        for place_idx in place_idxs {
            let (answer, answered) = mpsc::sync_channel(1);
            self.hire(place_idx, move |hired| drop(answer.send(hired)))?;
            // Without an answer the pool is gone, and with it the question.
            answered.recv().unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// Has a worker started in an empty place. Tasks can be given to it from now on.
    fn hire(
        self: &Arc<Self>,
        place_idx: usize,
        then: impl FnOnce(Result<(), SpawnError>) + Send + 'static,
    ) -> Result<(), SpawnError> {
        let prepared = Member::prepare(&self.bell, self.staffing.initializer.as_ref(), self.staffing.recycling);
        let (member, setup) =
            prepared.map_err(|error| SpawnError::system("make the shared memory of a worker", &error))?;
        let pool = Arc::downgrade(self);
        let arguments = Parcel::pack(&setup)?;
        drop(setup);
        let order = Order {
            entry: entry_of(worker::run).map_err(|_| SpawnError::NotInMainProgram)?,
            name: format!("worker-{}", place_idx + 1),
            arguments,
            on_parent_exit: OnParentExit::Terminate,
            surroundings: self.surroundings(),
            caller: Some(self.staffing.caller.clone()),
            on_exit: Some(Box::new(move |child| Self::bury(&pool, place_idx, child))),
        };
        self.lock().occupy(place_idx, member, self.open.n_open() > 0);
        let pool = Arc::downgrade(self);
        // On the supervisor's thread, so that the child is known here before its end is.
        supervisor::spawn_later(order, move |spawned| {
            let Some(pool) = pool.upgrade() else {
                // The pool ended while a worker that had done its last task was being replaced, and nobody waits for this one.
                if let Ok(child) = spawned {
                    child.signal(Signal::KILL);
                }
                return;
            };
            then(
                spawned
                    .map(|child| pool.employ(place_idx, child))
                    .inspect_err(|error| pool.has_not_hired(place_idx, error)),
            );
        });
        Ok(())
    }

    fn surroundings(&self) -> Surroundings {
        let environment = Environment { is_cleared: !self.staffing.has_environment, ..Environment::default() };
        Surroundings { group: self.staffing.process_group.into(), environment, ..Surroundings::default() }
    }

    /// Notes which process works in a place.
    fn employ(&self, place_idx: usize, child: Arc<Child>) {
        let mut state = self.lock();
        let is_broken = state.is_broken();
        match &mut state.places[place_idx].member {
            Some(member) => {
                if is_broken || member.is_doomed() {
                    child.signal(Signal::KILL);
                }
                member.child = Some(child);
            }
            // The pool has ended meanwhile.
            None => child.leave_behind(),
        }
    }

    /// No process could be started for a place. It is tried again later; meanwhile the others do its work, if there are any.
    fn has_not_hired(&self, place_idx: usize, error: &SpawnError) {
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        if let Some(member) = state.places[place_idx].member.take() {
            state.take_over(member);
        }
        state.rank(place_idx);
        let is_deserted = state.places.iter().all(|place| place.member.is_none());
        let place = &mut state.places[place_idx];
        place.n_false_starts += 1;
        let is_hopeless = is_deserted && place.n_false_starts >= MAX_FALSE_STARTS;
        let is_closed = place.is_closed;
        if is_hopeless {
            state.break_down(&PoolBroken::NoWorkers(describe(error)), &mut harvest);
        } else if !is_closed && !state.is_broken() {
            state.hire_later(place_idx);
        }
        state.give_out(&mut harvest);
        self.finish(state, harvest);
        self.staff_changed.notify_all();
    }

    /// Starts the workers whose time has come; called by the dispatcher.
    pub(super) fn hire_those_due(self: &Arc<Self>) {
        let now = Instant::now();
        let mut due = Vec::new();
        let mut state = self.lock();
        for (place_idx, place) in state.places.iter_mut().enumerate() {
            if place.hire_at.is_some_and(|hire_at| hire_at <= now) {
                place.hire_at = None;
                due.push(place_idx);
            }
        }
        drop(state);
        due.into_iter().for_each(|place_idx| self.hire_or_try_later(place_idx));
    }

    /// Has a worker started in an empty place, if not now then later.
    pub(super) fn hire_or_try_later(self: &Arc<Self>, place_idx: usize) {
        if let Err(error) = self.hire(place_idx, |_| {}) {
            self.has_not_hired(place_idx, &error);
        }
    }

    /// Deals with a worker that has ended; called by the supervisor.
    fn bury(pool: &Weak<Self>, place_idx: usize, child: &Child) {
        let Some(pool) = pool.upgrade() else { return };
        let mut harvest = Harvest::default();
        let mut state = pool.lock();
        if !state.places[place_idx].is_of(child) {
            // It was left behind, and its place given to another.
            return;
        }
        while state.harvest_place(place_idx, &mut harvest) > 0 {}
        let Some(mut member) = state.places[place_idx].member.take() else {
            return;
        };
        state.rank(place_idx);
        let death = Death::of(&member, child, &state);
        state.n_lost += u64::from(matches!(death, Death::Unforeseen { .. }));
        let doom = member.running().and_then(|number| member.doom_of(number));
        if let Some(running) = state.take_over(member) {
            state.end_or_retry(running, doom, child, &mut harvest);
        }
        let n_open = pool.open.n_open() - harvest.ended.len();
        let is_needed = !state.places[place_idx].is_closed
            && (state.phase == Phase::Open || state.phase == Phase::Closed && n_open > 0);
        let mut hires_now = is_needed;
        if is_needed {
            state.places[place_idx].n_restarts += 1;
            match pool.reason_to_give_up(&mut state, place_idx, &death, child) {
                Some(broken) => {
                    state.break_down(&broken, &mut harvest);
                    hires_now = false;
                }
                None if back_off(state.places[place_idx].n_false_starts).is_some() => {
                    state.hire_later(place_idx);
                    hires_now = false;
                }
                None => {}
            }
        }
        state.give_out(&mut harvest);
        pool.finish(state, harvest);
        if hires_now {
            pool.hire_or_try_later(place_idx);
        }
        let mut harvest = Harvest::default();
        let mut state = pool.lock();
        state.give_out(&mut harvest);
        pool.finish(state, harvest);
        // It may have died between moving the bell and waking who sleeps on it; no other worker would wake that one.
        pool.rouse();
        pool.staff_changed.notify_all();
    }

    /// Why the pool cannot go on after this end of a worker, if it cannot.
    fn reason_to_give_up(
        &self,
        state: &mut State,
        place_idx: usize,
        death: &Death,
        child: &Child,
    ) -> Option<PoolBroken> {
        let Death::Unforeseen { was_ready } = death else {
            return None;
        };
        let place = &mut state.places[place_idx];
        place.n_false_starts = if *was_ready { 0 } else { place.n_false_starts + 1 };
        let has_initializer = self.staffing.initializer.is_some();
        // A worker that somebody killed before it was ready says nothing about the initializer.
        let is_failure = has_initializer && !was_ready && !was_killed(child);
        let is_hopeless = place.n_false_starts >= MAX_FALSE_STARTS
            && !state.places.iter().any(|place| place.member.as_ref().is_some_and(Member::is_ready));
        if is_failure || is_hopeless && has_initializer {
            return Some(PoolBroken::InitializerFailed(words_of(child)));
        }
        (is_hopeless || state.exceeds(self.staffing.restart_limit)).then_some(PoolBroken::RestartLimit)
    }

    /// Changes the number of workers. Those that run a task finish it first.
    pub(super) fn resize(self: &Arc<Self>, n_workers: NonZeroUsize) -> Result<(), PoolError> {
        if fork::is_forked() {
            return Err(SpawnError::Forked.into());
        }
        let _one_at_a_time = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closed => return Err(PoolError::Closed),
            Phase::Broken(broken) => return Err(PoolError::Broken(broken.clone())),
        }
        let n_now = state.places.iter().filter(|place| !place.is_closed).count();
        let added = state.open_places(n_workers.get().saturating_sub(n_now));
        state.close_places(n_now.saturating_sub(n_workers.get()));
        state.give_out(&mut harvest);
        self.finish(state, harvest);
        let hired = self.hire_all(added.iter().copied());
        if let Err(error) = hired {
            let mut state = self.lock();
            added.into_iter().for_each(|place_idx| state.close_place(place_idx));
            return Err(error.into());
        }
        Ok(())
    }

    pub(super) fn n_workers(&self) -> usize {
        self.lock().places.iter().filter(|place| !place.is_closed).count()
    }

    /// Waits until every worker has ended; those that were killed, and that the kernel does not end, are left behind.
    pub(super) fn wait_for_workers(&self) {
        if fork::is_forked() {
            return;
        }
        let mut state = self.lock();
        let mut deadline = None;
        while state.places.iter().any(|place| place.member.is_some()) {
            if !state.is_broken() {
                state = self.staff_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + KILL_PATIENCE);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.leave_all_behind();
                return;
            }
            state = self.staff_changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        if fork::is_forked() {
            return Vec::new();
        }
        // What they have done is known once it was taken out.
        self.look();
        let now_ns = worker::now_ns();
        self.lock().places.iter().filter_map(|place| info(place, now_ns)).collect()
    }
}

fn info(place: &Place, now_ns: u64) -> Option<WorkerInfo> {
    let member = place.member.as_ref()?;
    let running_since = member.busy_since_ns().map(|since_ns| Duration::from_nanos(now_ns.saturating_sub(since_ns)));
    let state = match running_since {
        _ if !member.is_ready() => WorkerState::Starting,
        None => WorkerState::Idle,
        Some(_) => WorkerState::Busy,
    };
    let pid = member.child.as_ref()?.pid();
    Some(WorkerInfo { pid, state, tasks_done: member.n_done, running_since, restarts: place.n_restarts })
}

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Death {
    /// The pool wanted it: for the sake of one task, or because there was nothing left to do.
    Wanted,
    /// It had done its share of tasks.
    WornOut,
    /// Somebody killed it, or a task did.
    Unforeseen { was_ready: bool },
}

impl Death {
    fn of(member: &Member, child: &Child, state: &State) -> Self {
        let is_good_end = child.status().is_some_and(|status| status.success());
        if member.is_doomed() || state.is_broken() || is_good_end && member.was_stopped() {
            Self::Wanted
        } else if is_good_end && member.is_worn_out() {
            Self::WornOut
        } else {
            Self::Unforeseen { was_ready: member.is_ready() }
        }
    }
}

impl State {
    /// Leaves it to the dispatcher to start a worker after some time.
    fn hire_later(&mut self, place_idx: usize) {
        let place = &mut self.places[place_idx];
        let hire_at = Instant::now() + back_off(place.n_false_starts).unwrap_or_default();
        place.hire_at = Some(hire_at);
        self.look_again_at(hire_at);
    }

    /// Lets a worker have a place: tasks can be given to it, unless it came too late.
    fn occupy(&mut self, place_idx: usize, mut member: Member, has_open_tasks: bool) {
        if self.places[place_idx].is_closed || self.phase == Phase::Closed && !has_open_tasks {
            member.stop();
        }
        self.places[place_idx].member = Some(member);
        self.rank(place_idx);
    }

    /// Decides on the task that a worker was running when it ended.
    fn end_or_retry(&mut self, mut running: Record, doom: Option<Doom>, child: &Child, harvest: &mut Harvest) {
        if let Some(doom) = doom {
            return self.end(running, doom.into(), child.pid(), harvest);
        }
        running.n_attempts_left -= 1;
        if running.n_attempts_left == 0 {
            self.end(running, outcome_of(child), child.pid(), harvest);
        } else {
            self.requeue(running);
        }
    }

    /// Makes places for more workers, and returns them.
    fn open_places(&mut self, n_more: usize) -> Vec<usize> {
        let vacant = |place: &Place| place.is_closed && place.member.is_none();
        let mut opened: Vec<_> =
            (0..self.places.len()).filter(|&place_idx| vacant(&self.places[place_idx])).take(n_more).collect();
        opened.iter().for_each(|&place_idx| self.places[place_idx] = Place::default());
        while opened.len() < n_more {
            opened.push(self.places.len());
            self.places.push(Place::default());
        }
        opened
    }

    /// Closes so many places: those first whose workers have the least to do.
    fn close_places(&mut self, n_fewer: usize) {
        let n_given = |place: &Place| place.member.as_ref().map_or(0, Member::n_given);
        let mut open: Vec<_> = (0..self.places.len()).filter(|&place_idx| !self.places[place_idx].is_closed).collect();
        // Of two that have as much to do the later one goes.
        open.sort_by_key(|&place_idx| (n_given(&self.places[place_idx]), std::cmp::Reverse(place_idx)));
        open.truncate(n_fewer);
        open.into_iter().for_each(|place_idx| self.close_place(place_idx));
    }

    fn close_place(&mut self, place_idx: usize) {
        self.places[place_idx].is_closed = true;
        self.places[place_idx].hire_at = None;
        self.unload(place_idx);
        if let Some(member) = &mut self.places[place_idx].member {
            member.stop();
        }
        self.rank(place_idx);
    }
}

fn entry_of<F: Fn(Setup) + Copy + 'static>(_function: F) -> Result<EntryPoint, NotInMainProgram> {
    EntryPoint::of::<F, Setup, ()>()
}

/// How the end of a worker is told to the task that it was running.
fn outcome_of(child: &Child) -> Outcome {
    let pid = child.pid();
    let Remains { status, panic, crash, out_of_memory, .. } = child.remains();
    match status.0 {
        // A program built with `panic=abort` ends its worker by a panic; the hook has told of it first.
        End::Signaled { signal, .. } => match last_words::of_signal(signal, panic, crash) {
            Ok(report) => Outcome::Panicked(Box::new(report)),
            Err(report) => Outcome::Killed { signal, pid, out_of_memory, report: report.map(Box::new) },
        },
        End::Exited(code) => Outcome::Exited { code, pid },
        End::Lost => Outcome::Exited { code: -1, pid },
    }
}

fn was_killed(child: &Child) -> bool {
    let killed = Signal::KILL.as_raw();
    matches!(child.status().map(|status| status.0), Some(End::Signaled { signal, .. }) if signal == killed)
}

fn words_of(child: &Child) -> String {
    let remains = child.remains();
    match (remains.panic, remains.start_failure) {
        (Some(report), _) => report.to_string(),
        (None, Some(reason)) => reason,
        (None, None) => remains.status.to_string(),
    }
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_costs_no_time_and_later_ones_ever_more() {
        assert_eq!((back_off(0), back_off(1)), (None, None));
        assert_eq!(back_off(2), Some(Duration::from_millis(10)));
        assert_eq!(back_off(5), Some(Duration::from_millis(80)));
        assert_eq!(back_off(100), Some(Duration::from_secs(1)));
    }
}
