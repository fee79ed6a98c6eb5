//! The threads that move a pool on: whoever waits for a result, the dispatcher, and sometimes whoever hands in tasks.
//! What they share, and what is asked of it, is in inner.rs; what happens to workers is in staff.rs.
//!
//! One thread at a time takes results out and sleeps on the bell: the pumper. It is whoever waits for a result, so that a
//! hot round trip wakes no third thread; others who wait stand by, and are unparked when their own task ends or when the
//! pumper leaves. The dispatcher does it while nobody waits and something must go on nevertheless. As long as others come and
//! go it only watches, once in a millisecond, so that it costs nothing in a busy pool; in an idle one it sleeps for good.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use brigade_sys::kernel::fork;
use brigade_sys::shared::event::Wake;

use super::cell::{Goal, Told, run_callback};
use super::inner::Inner;
use super::lane;
use super::state::{Harvest, Phase, Pumper, Rest, State};
use crate::spin::Spin;

/// How often the dispatcher looks whether others still move the pool on.
const WATCH: Duration = Duration::from_millis(1);

impl Inner {
    /// Whether the pool goes on only if somebody takes results out although nobody waits for them.
    fn needs_dispatcher(&self, state: &State) -> bool {
        self.open.n_open() > 0
            && (state.has_backlog() || self.n_listeners.load(Ordering::Acquire) > 0 || state.phase == Phase::Closed)
    }

    /// Sees to it that somebody does what is to be done; called under the lock by whoever changed something.
    pub(super) fn attend(&self, state: &mut State) {
        let is_urgent = !state.due.is_empty() || state.is_dropped || state.sleeps_too_long();
        if !is_urgent && state.pumper == Pumper::Getter {
            return;
        }
        let has_listeners = self.n_listeners.load(Ordering::Acquire) > 0;
        match state.rest {
            Rest::Awake | Rest::Ended => {}
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
                state.rest = Rest::Ended;
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
