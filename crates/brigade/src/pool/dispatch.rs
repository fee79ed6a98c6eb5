//! The threads that move a pool on: whoever waits for a result, the dispatcher, and sometimes whoever hands in tasks.
//! What happens to workers is in staff.rs; the decisions about tasks are in state.rs.
//!
//! One thread at a time takes results out and sleeps on the bell: the pumper. It is whoever waits for a result, so that a
//! hot round trip wakes no third thread; others who wait stand by, and are unparked when their own task ends or when the
//! pumper leaves. The dispatcher does it while nobody waits and something must go on nevertheless. As long as others come and
//! go it only watches, once in a millisecond, so that it costs nothing in a busy pool; in an idle one it sleeps for good.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use brigade_sys::kernel::fork;
use brigade_sys::shared::event::Wake;

use super::cell::{Callback, Cell, Goal, Listener, Openings, Outcome, Record, Told};
use super::errors::{PoolBroken, SubmitError};
use super::lane::{self, Bell};
use super::payload::Arguments;
use super::staff::Staffing;
use super::state::{Harvest, Phase, Pumper, Rest, Running, State, Withdrawal};
use crate::entry::EntryPoint;
use crate::spin::Spin;

/// How often the dispatcher looks whether others still move the pool on.
const WATCH: Duration = Duration::from_millis(1);
/// Tasks that pile up before whoever hands them in takes results out too.
const PILE: usize = 64;

/// What a pool shares between its handle, its tasks, its dispatcher and the supervisor.
pub(super) struct Inner {
    state: Mutex<State>,
    pub(super) open: Openings,
    /// Callbacks and futures left with tasks that have not ended.
    n_listeners: AtomicUsize,
    /// Signalled when a worker has ended.
    pub(super) staff_changed: Condvar,
    pub(super) bell: Bell,
    pub(super) staffing: Staffing,
    n_attempts: u32,
    /// What those who waited for results have learnt; see `Spin`.
    n_eager: AtomicU32,
    dispatcher: OnceLock<Thread>,
    dispatcher_thread: Mutex<Option<JoinHandle<()>>>,
    /// Held while the number of workers is changed.
    pub(super) resizing: Mutex<()>,
}

/// A task to be taken in.
pub(super) struct Submission {
    pub(super) entry: EntryPoint,
    pub(super) arguments: Arguments,
    pub(super) timeout: Option<Duration>,
}

impl Inner {
    pub(super) fn new(bell: Bell, staffing: Staffing, n_workers: usize, n_attempts: u32) -> Self {
        Self {
            state: Mutex::new(State::new(n_workers)),
            open: Openings::default(),
            n_listeners: AtomicUsize::new(0),
            staff_changed: Condvar::new(),
            bell,
            staffing,
            n_attempts,
            n_eager: AtomicU32::new(Spin::default().learnt()),
            dispatcher: OnceLock::new(),
            dispatcher_thread: Mutex::new(None),
            resizing: Mutex::new(()),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No code of the user runs under this lock, and ours leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a task in, or says why not.
    pub(super) fn submit(&self, submission: Submission, cell: &Arc<Cell>) -> Result<(), SubmitError> {
        if fork::is_forked() {
            return Err(SubmitError::Forked);
        }
        let Submission { entry, arguments, timeout } = submission;
        let timeout_ns = timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1));
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closed => return Err(SubmitError::Closed),
            Phase::Broken(broken) => return Err(SubmitError::Broken(broken.clone())),
        }
        let number = state.next_number;
        state.next_number += 1;
        cell.set_number(number);
        self.open.add();
        let record = Record {
            number,
            entry,
            arguments,
            cell: Arc::clone(cell),
            n_attempts_left: self.n_attempts,
            n_refusals: 0,
            timeout_ns: timeout_ns.and_then(std::num::NonZeroU64::new),
        };
        state.take_in(record, &mut harvest);
        if !state.waiting.is_empty() && state.waiting.len().is_multiple_of(PILE) {
            state.n_moves += 1;
            state.harvest(&mut harvest);
        }
        self.finish(state, harvest);
        Ok(())
    }

    /// Whether the pool goes on only if somebody takes results out although nobody waits for them.
    fn needs_dispatcher(&self, state: &State) -> bool {
        self.open.n_open() > 0
            && (state.has_backlog() || self.n_listeners.load(Ordering::Acquire) > 0 || state.phase == Phase::Closed)
    }

    /// Sees to it that somebody does what is to be done; called under the lock by whoever changed something.
    fn attend(&self, state: &mut State) {
        let is_urgent = !state.due.is_empty() || state.is_dropped || state.sleeps_too_long();
        if !is_urgent && state.pumper == Pumper::Getter {
            return;
        }
        let has_listeners = self.n_listeners.load(Ordering::Acquire) > 0;
        match state.rest {
            Rest::Awake => {}
            Rest::Parked if is_urgent || self.needs_dispatcher(state) => self.unpark_dispatcher(state),
            Rest::Watching if is_urgent || has_listeners => self.unpark_dispatcher(state),
            Rest::OnBell { wants_all } if is_urgent || has_listeners && !wants_all => {
                state.rest = Rest::Awake;
                self.ring();
            }
            Rest::Parked | Rest::Watching | Rest::OnBell { .. } => {}
        }
    }

    /// What follows a change of the state: somebody attends to what is to be done, and what has ended is delivered.
    pub(super) fn finish(&self, mut state: MutexGuard<'_, State>, harvest: Harvest) {
        self.attend(&mut state);
        drop(state);
        self.deliver_for_others(harvest);
    }

    fn unpark_dispatcher(&self, state: &mut State) {
        state.rest = Rest::Awake;
        if let Some(dispatcher) = self.dispatcher.get() {
            dispatcher.unpark();
        }
    }

    /// Makes whoever sleeps on the bell look again.
    fn ring(&self) {
        lane::BELL.notify(&self.bell.mapping, Wake::All);
    }

    /// The same, also if the bell says that nobody sleeps: whoever said so may have died before it woke the sleeper.
    pub(super) fn rouse(&self) {
        lane::BELL.rouse(&self.bell.mapping);
    }

    /// Lets somebody else take results out, if that is needed.
    fn hand_over(&self, state: &mut State) {
        if state.pumper == Pumper::Getter {
            return;
        }
        match state.bystanders.last() {
            Some(thread) => thread.unpark(),
            None => self.attend(state),
        }
    }

    /// Waits until the goal is reached, or until the deadline; whether it is. In a fork of this process nobody reaches any.
    pub(super) fn wait(&self, goal: &impl Goal, deadline: Option<Instant>) -> bool {
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if goal.is_reached() || fork::is_forked() {
            return goal.is_reached();
        }
        let mut state = self.lock();
        while !goal.is_reached() && !is_late() {
            if state.pumper != Pumper::Getter {
                state.pumper = Pumper::Getter;
                state.n_moves += 1;
                drop(state);
                self.pump(goal, deadline);
                return goal.is_reached();
            }
            // Under the lock, so that the pumper does not leave meanwhile.
            if !goal.enlist(std::thread::current()) {
                break;
            }
            state.bystanders.push(std::thread::current());
            drop(state);
            park_until(deadline);
            goal.delist();
            state = self.lock();
            let own = std::thread::current().id();
            state.bystanders.retain(|thread| thread.id() != own);
        }
        // The pumper may have left it to us, and we do not need it.
        self.hand_over(&mut state);
        goal.is_reached()
    }

    /// Takes results out and gives tasks out until the goal is reached. The caller has made itself the pumper.
    fn pump(&self, goal: &impl Goal, deadline: Option<Instant>) {
        let mut spin = Spin::new(self.n_eager.load(Ordering::Relaxed));
        let mut ticket = None;
        loop {
            let is_idle = !self.move_on();
            if goal.is_reached() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                if !is_idle {
                    spin.found();
                }
                break;
            }
            match ticket.take() {
                _ if !is_idle => spin.found(),
                None if spin.turn() => {}
                // Announce, look once more, and only then sleep.
                None => {
                    let _state = self.lock();
                    ticket = Some(self.bell.announce(true));
                }
                Some(ticket) => {
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    lane::BELL.sleep(&self.bell.mapping, ticket, left);
                    spin.slept();
                }
            }
        }
        self.n_eager.store(spin.learnt(), Ordering::Relaxed);
        let mut state = self.lock();
        state.pumper = Pumper::Nobody;
        self.hand_over(&mut state);
    }

    /// Takes out what is there, without waiting.
    fn take_out(&self) -> Harvest {
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        state.harvest(&mut harvest);
        self.attend(&mut state);
        harvest
    }

    /// Takes out what is there, without waiting; whether there was anything.
    fn move_on(&self) -> bool {
        let harvest = self.take_out();
        let has_moved = !harvest.is_empty();
        self.deliver(harvest);
        has_moved
    }

    /// Takes out what is there, without waiting; also while somebody who does that sleeps, since not every result wakes it.
    pub(super) fn look(&self) {
        if !fork::is_forked() {
            self.deliver_for_others(self.take_out());
        }
    }

    /// Like [`deliver`](Self::deliver), where another thread may sleep on the bell and wait for what is delivered.
    fn deliver_for_others(&self, harvest: Harvest) {
        if !harvest.is_empty() {
            self.deliver(harvest);
            self.ring();
        }
    }

    /// Fills the cells of tasks that have ended, and tells those who want to know. The state must be unlocked: handles are
    /// let go of here, and a future's executor may run.
    fn deliver(&self, harvest: Harvest) {
        let n_ended = harvest.ended.len();
        if n_ended == 0 {
            return;
        }
        let mut due = Vec::new();
        for (record, outcome, pid) in harvest.ended {
            match record.cell.fill(outcome, pid) {
                Told::Nobody => {}
                Told::Thread(thread) => thread.unpark(),
                Told::Waker(waker) => {
                    self.n_listeners.fetch_sub(1, Ordering::AcqRel);
                    // A panic is the executor's affair, and must not keep the others from their results.
                    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                Told::Callback(callback, outcome) => {
                    self.n_listeners.fetch_sub(1, Ordering::AcqRel);
                    due.push((callback, outcome));
                }
            }
        }
        let is_last = self.open.remove(n_ended);
        if is_last || !due.is_empty() {
            let mut state = self.lock();
            state.due.extend(due);
            if self.open.n_open() == 0 && state.phase == Phase::Closed {
                state.stop_workers();
            }
            self.attend(&mut state);
        }
    }

    /// Puts another listener in the place of the present one; gives it back if the outcome is there.
    pub(super) fn listen(&self, cell: &Cell, listener: Listener) -> Result<(), Listener> {
        let counts = |listener: &Listener| usize::from(matches!(listener, Listener::Waker(_) | Listener::Callback(_)));
        // Counted before it is there, so that whoever fills the cell does not count it down first.
        let n_new = counts(&listener);
        self.n_listeners.fetch_add(n_new, Ordering::AcqRel);
        let (n_gone, refused) = match cell.listen(listener) {
            Ok(old) => (counts(&old), Ok(())),
            Err(back) => (n_new, Err(back)),
        };
        self.n_listeners.fetch_sub(n_gone, Ordering::AcqRel);
        if n_new > n_gone {
            self.attend(&mut self.lock());
        }
        refused
    }

    /// Leaves a callback with a task, or has it run if the task has ended.
    pub(super) fn call_back(&self, cell: &Cell, callback: Callback) {
        if let Err(Listener::Callback(callback)) = self.listen(cell, Listener::Callback(callback)) {
            let mut state = self.lock();
            state.due.push_back((callback, cell.take()));
            self.attend(&mut state);
        }
    }

    /// Ends a task that has not ended, if `running` allows also one that is running.
    pub(super) fn withdraw(&self, cell: &Cell, running: Running) -> Withdrawal {
        if fork::is_forked() {
            return Withdrawal::Ended;
        }
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        state.harvest(&mut harvest);
        let withdrawal = if cell.is_ready() {
            Withdrawal::Ended
        } else {
            state.withdraw(cell.number(), cell.place(), running, &mut harvest)
        };
        state.give_out(&mut harvest);
        self.finish(state, harvest);
        withdrawal
    }

    /// The worker that runs the task, or that ran it.
    pub(super) fn worker_of(&self, cell: &Cell) -> Option<u32> {
        self.look();
        if cell.is_ready() || fork::is_forked() {
            return cell.pid();
        }
        let mut state = self.lock();
        let member = state.places[cell.place()?].member.as_mut()?;
        (member.running() == Some(cell.number())).then(|| member.pid()).filter(|&pid| pid != 0)
    }

    pub(super) fn close(&self) {
        if fork::is_forked() {
            return;
        }
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        if self.open.n_open() == 0 && state.phase == Phase::Closed {
            state.stop_workers();
        }
        // Somebody must see the last task end.
        self.attend(&mut state);
    }

    pub(super) fn terminate(&self) {
        if fork::is_forked() {
            return;
        }
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        if state.is_broken() {
            return;
        }
        state.harvest(&mut harvest);
        state.break_down(&PoolBroken::Terminated, &mut harvest);
        self.finish(state, harvest);
        self.staff_changed.notify_all();
    }

    /// Waits until every task and every worker has ended.
    pub(super) fn join(&self) {
        self.wait(&self.open, None);
        self.wait_for_workers();
    }

    pub(super) fn start_dispatcher(self: &Arc<Self>) -> std::io::Result<()> {
        let inner = Arc::clone(self);
        let thread = std::thread::Builder::new().name("brigade-pool".to_owned());
        let thread = thread.spawn(move || {
            // Whoever finds it asleep must be able to wake it.
            let _ = inner.dispatcher.set(std::thread::current());
            inner.dispatch();
        })?;
        *self.dispatcher_thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }

    /// Ends the dispatcher, once it has run the callbacks that are due.
    pub(super) fn end_dispatcher(&self) {
        if fork::is_forked() {
            return;
        }
        let mut state = self.lock();
        state.is_dropped = true;
        self.attend(&mut state);
        drop(state);
        let dispatcher = self.dispatcher_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = dispatcher.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // Panics of callbacks are caught, so it ends in good order.
            let _ = thread.join();
        }
    }

    /// The dispatcher thread: runs callbacks, looks at clocks, and takes results out while something must go on and nobody
    /// else does it.
    fn dispatch(self: &Arc<Self>) {
        let mut n_moves_seen = 0;
        loop {
            let mut state = self.lock();
            state.rest = Rest::Awake;
            if state.pumper == Pumper::Dispatcher {
                state.pumper = Pumper::Nobody;
            }
            if let Some((callback, outcome)) = state.due.pop_front() {
                drop(state);
                run_callback(callback, outcome);
            } else if state.wake_at.is_some_and(|wake_at| wake_at <= Instant::now()) {
                drop(state);
                self.look_at_clocks();
            } else if state.is_dropped && self.n_listeners.load(Ordering::Acquire) == 0 {
                return;
            } else {
                self.rest(state, &mut n_moves_seen);
            }
        }
    }

    fn look_at_clocks(self: &Arc<Self>) {
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        state.look_at_clocks(&mut harvest);
        self.finish(state, harvest);
        self.hire_those_due();
    }

    /// Sleeps until there is something to do, or takes results out.
    fn rest(&self, mut state: MutexGuard<'_, State>, n_moves_seen: &mut u64) {
        let has_others = std::mem::replace(n_moves_seen, state.n_moves) != state.n_moves;
        let is_needed = self.needs_dispatcher(&state);
        let has_listeners = self.n_listeners.load(Ordering::Acquire) > 0;
        state.rest_until = state.wake_at;
        if has_others && is_needed && (state.pumper == Pumper::Getter || !has_listeners) {
            let watch_until = Instant::now() + WATCH;
            state.rest_until = Some(state.wake_at.map_or(watch_until, |wake_at| wake_at.min(watch_until)));
            park(state, Rest::Watching);
        } else if is_needed && state.pumper == Pumper::Nobody {
            self.pump_as_dispatcher(state);
        } else {
            // The one who takes results out lets us know when it leaves.
            park(state, Rest::Parked);
        }
    }

    /// Sleeps on the bell, unless there is something to take out.
    fn pump_as_dispatcher(&self, mut state: MutexGuard<'_, State>) {
        state.pumper = Pumper::Dispatcher;
        let wants_all = self.n_listeners.load(Ordering::Acquire) > 0;
        // Whoever finds that this sleep is too long moves the bell, and then it ends at once.
        let ticket = self.bell.announce(wants_all);
        state.rest = Rest::OnBell { wants_all };
        let until = state.rest_until;
        drop(state);
        let has_moved = || {
            let harvest = self.take_out();
            let has_moved = !harvest.is_empty();
            // A getter may have taken our place.
            self.deliver_for_others(harvest);
            has_moved
        };
        if has_moved() {
            return;
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        lane::BELL.sleep(&self.bell.mapping, ticket, left);
        has_moved();
    }

    pub(super) fn n_lost(&self) -> u64 {
        if fork::is_forked() { 0 } else { self.lock().n_lost }
    }
}

/// Lets the dispatcher sleep.
fn park(mut state: MutexGuard<'_, State>, rest: Rest) {
    state.rest = rest;
    let until = state.rest_until;
    drop(state);
    park_until(until);
}

fn park_until(deadline: Option<Instant>) {
    match deadline {
        None => std::thread::park(),
        Some(deadline) => std::thread::park_timeout(deadline.saturating_duration_since(Instant::now())),
    }
}

fn run_callback(callback: Callback, outcome: Outcome) {
    // A panic goes no further than the program's panic hook, which has told what and where.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| callback(outcome)));
}
