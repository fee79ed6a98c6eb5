//! The threads that move a pool on: whoever waits, the dispatcher, and the supervisor when a worker
//! has ended.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use brigade_sys::shared::event::Wake;
use rustix::process::Signal;

use super::crew::{Initializer, Member};
use super::errors::{PoolBroken, PoolError, SubmitError};
use super::lane::{self, Bell};
use super::state::{Harvest, Phase, Place, State};
use super::task::{Callback, Cell, Outcome, Record};
use super::worker::{self, Setup};
use super::{WorkerInfo, WorkerState};
use crate::entry::{EntryPoint, NotInMainProgram};
use crate::last_words;
use crate::parcel::Parcel;
use crate::spin;
use crate::status::End;
use crate::supervisor::{self, Caller, Child, OnParentExit, Order, Remains, SpawnError, Surroundings};

/// Turns of looking for a result before sleeping; see `spin`. A turn takes a lock that nobody else wants: some 30 ns.
const N_SPINS: u32 = 2000;

/// What a pool shares between its handle, its tasks, its dispatcher and the supervisor.
pub(super) struct Inner {
    state: Mutex<State>,
    /// Signalled when a task has ended, or when somebody must take over the taking out.
    turn: Condvar,
    bell: Bell,
    initializer: Option<Initializer>,
    n_attempts: u32,
    restart_limit: (u32, Duration),
    n_workers: usize,
    /// Who made the pool: workers started later are started on its behalf too.
    caller: Caller,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

/// How the taking out sleeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pumper {
    /// Somebody who waits for a result, and wants it at once.
    Getter,
    /// The dispatcher, which is woken for a result only if somebody listens.
    Dispatcher,
}

impl Inner {
    pub(super) fn start(
        n_workers: usize,
        initializer: Option<Initializer>,
        n_attempts: u32,
        restart_limit: (u32, Duration),
    ) -> Result<Arc<Self>, PoolError> {
        let failed = |error: io::Error| SpawnError::system("make the shared memory of a pool", &error);
        let inner = Arc::new(Self {
            state: Mutex::new(State::new(n_workers)),
            turn: Condvar::new(),
            bell: Bell::create().map_err(failed)?,
            initializer,
            n_attempts,
            restart_limit,
            n_workers,
            caller: Caller::capture(),
            dispatcher: Mutex::new(None),
        });
        inner.start_all().inspect_err(|_| {
            inner.terminate();
            inner.wait_for_workers();
        })?;
        Ok(inner)
    }

    fn start_all(self: &Arc<Self>) -> Result<(), SpawnError> {
        let (answer, answers) = mpsc::channel();
        for place_idx in 0..self.n_workers {
            let answer = answer.clone();
            self.hire(place_idx, move |hired| drop(answer.send(hired)))?;
        }
        drop(answer);
        answers.iter().take(self.n_workers).collect::<Result<(), SpawnError>>()?;
        let dispatcher = Arc::clone(self);
        let thread = std::thread::Builder::new().name("brigade-pool".to_owned());
        let thread = thread.spawn(move || dispatcher.dispatch());
        *self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(thread.map_err(|error| SpawnError::system("start the dispatcher thread", &error))?);
        Ok(())
    }

    pub(super) const fn n_workers(&self) -> usize {
        self.n_workers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of the user runs under this lock, and ours leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a worker started in an empty place. Tasks can be given to it from now on.
    fn hire(
        self: &Arc<Self>,
        place_idx: usize,
        then: impl FnOnce(Result<(), SpawnError>) + Send + 'static,
    ) -> Result<(), SpawnError> {
        let prepared = Member::prepare(&self.bell, self.initializer.as_ref());
        let (member, setup) =
            prepared.map_err(|error| SpawnError::system("make the shared memory of a worker", &error))?;
        let pool = Arc::downgrade(self);
        let order = Order {
            entry: entry_of(worker::run).map_err(|_| SpawnError::NotInMainProgram)?,
            name: format!("worker-{}", place_idx + 1),
            arguments: Parcel::pack(&setup)?,
            on_parent_exit: OnParentExit::Terminate,
            surroundings: Surroundings::default(),
            caller: Some(self.caller.clone()),
            on_exit: Some(Box::new(move |child| Self::bury(&pool, place_idx, child))),
        };
        self.lock().places[place_idx].member = Some(member);
        let pool = Arc::downgrade(self);
        // On the supervisor's thread, so that the child is known here before its end is.
        supervisor::spawn_later(order, move |spawned| {
            let Some(pool) = pool.upgrade() else { return };
            match spawned {
                Ok(child) => {
                    pool.employ(place_idx, child);
                    then(Ok(()));
                }
                Err(error) => {
                    pool.give_up_place(place_idx, &error);
                    then(Err(error));
                }
            }
        });
        Ok(())
    }

    /// Notes which process works in a place.
    fn employ(&self, place_idx: usize, child: Arc<Child>) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Broken(_)) {
            child.signal(Signal::KILL);
        }
        if let Some(member) = &mut state.places[place_idx].member {
            member.child = Some(child);
        }
    }

    /// No process could be started for a place: the others do its work, if there are any.
    fn give_up_place(&self, place_idx: usize, error: &SpawnError) {
        let mut state = self.lock();
        let mut harvest = Harvest::default();
        if let Some(member) = state.places[place_idx].member.take() {
            state.take_over(member);
        }
        if state.places.iter().all(|place| place.member.is_none()) {
            harvest = state.break_down(&PoolBroken::NoWorkers(describe(error)));
        }
        state.give_out();
        self.turn.notify_all();
        self.deliver(state, harvest);
    }

    pub(super) fn submit(&self, entry: EntryPoint, arguments: Parcel, cell: &Arc<Cell>) -> Result<(), SubmitError> {
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closed => return Err(SubmitError::Closed),
            Phase::Broken(broken) => return Err(SubmitError::Broken(broken.clone())),
        }
        let number = state.next_number;
        state.next_number += 1;
        state.n_open += 1;
        state.n_holding += usize::from(!arguments.handles.is_empty());
        let record = Record { number, entry, arguments, cell: Arc::clone(cell), n_attempts_left: self.n_attempts };
        state.waiting.push_back(Box::new(record));
        state.give_out();
        if state.needs_dispatcher() && !state.has_pumper {
            self.turn.notify_all();
        }
        Ok(())
    }

    /// Leaves a callback with a task, or has it run if the task has ended.
    pub(super) fn listen(&self, cell: &Arc<Cell>, callback: Callback) {
        let mut state = self.lock();
        match cell.listen(callback) {
            Some(due) => state.due.push_back(due),
            None => state.n_listeners += 1,
        }
        self.call_pumper(&state);
    }

    /// Makes whoever takes results out look again at whom it does that for.
    fn call_pumper(&self, state: &State) {
        if state.has_pumper {
            lane::BELL.notify(&self.bell.mapping, Wake::All);
        } else {
            self.turn.notify_all();
        }
    }

    /// Waits until `is_done`, which the end of some task makes true, or until the deadline.
    pub(super) fn wait_until(&self, is_done: impl Fn(&State) -> bool, deadline: Option<Instant>) {
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut state = self.lock();
        while !is_done(&state) && !is_late() {
            if !state.has_pumper {
                state.has_pumper = true;
                drop(state);
                self.pump(Pumper::Getter, |state| is_done(state) || is_late(), deadline);
                state = self.lock();
                state.has_pumper = false;
                if state.n_bystanders > 0 || state.needs_dispatcher() {
                    self.turn.notify_all();
                }
                return;
            }
            state.n_bystanders += 1;
            self.call_pumper(&state);
            state = match deadline {
                None => self.turn.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.n_bystanders -= 1;
        }
        // Whoever gave the taking out up may have left it to us, and we do not need it.
        if !state.has_pumper && (state.n_bystanders > 0 || state.needs_dispatcher()) {
            self.turn.notify_all();
        }
    }

    /// Takes out what is there, without waiting; also while somebody who does that sleeps, since not every result wakes it.
    pub(super) fn look(&self) {
        let mut state = self.lock();
        let harvest = state.harvest();
        if state.has_pumper && !harvest.is_empty() {
            self.call_pumper(&state);
        }
        self.deliver(state, harvest);
    }

    /// Takes results out and gives tasks out until `is_over`. The caller has made itself the pumper.
    fn pump(&self, pumper: Pumper, is_over: impl Fn(&State) -> bool, deadline: Option<Instant>) {
        let n_spins = if pumper == Pumper::Getter { spin::budget(N_SPINS) } else { 0 };
        let mut n_looks = 0;
        let mut ticket = None;
        loop {
            let mut state = self.lock();
            let harvest = state.harvest();
            let is_idle = harvest.is_empty();
            let wants_all = pumper == Pumper::Getter || state.n_listeners > 0;
            self.deliver(state, harvest);
            if is_over(&self.lock()) {
                return;
            }
            match ticket.take() {
                _ if !is_idle => n_looks = 0,
                None if n_looks < n_spins => {
                    n_looks += 1;
                    std::hint::spin_loop();
                }
                // Announce, look once more, and only then sleep.
                None => ticket = Some((self.bell.announce(wants_all), wants_all)),
                // Somebody began to listen after the announcement was decided on.
                Some((_, announced)) if announced != wants_all => {}
                Some((ticket, _)) => {
                    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    lane::BELL.sleep(&self.bell.mapping, ticket, left);
                    n_looks = 0;
                }
            }
        }
    }

    /// Fills the cells of tasks that have ended. Handles are let go of once the state is unlocked.
    fn deliver(&self, mut state: MutexGuard<'_, State>, harvest: Harvest) {
        if harvest.ended.is_empty() {
            drop(state);
            return;
        }
        let mut records = Vec::with_capacity(harvest.ended.len());
        for (record, outcome) in harvest.ended {
            state.n_open -= 1;
            state.n_holding -= usize::from(!record.arguments.handles.is_empty());
            if let Some(due) = record.cell.fill(outcome) {
                state.n_listeners -= 1;
                state.due.push_back(due);
            }
            records.push(record);
        }
        if state.n_open == 0 && state.phase == Phase::Closed {
            state.stop_workers();
        }
        if state.n_bystanders > 0 || !state.due.is_empty() || state.n_open == 0 {
            self.turn.notify_all();
        }
        drop(state);
        drop(records);
    }

    /// The dispatcher thread: takes results out while something must go on and nobody waits, and runs callbacks.
    fn dispatch(&self) {
        let mut state = self.lock();
        loop {
            if let Some((callback, outcome)) = state.due.pop_front() {
                drop(state);
                run_callback(callback, outcome);
                state = self.lock();
            } else if state.is_dropped && state.n_listeners == 0 {
                return;
            } else if state.needs_dispatcher() && !state.has_pumper && state.n_bystanders == 0 {
                state.has_pumper = true;
                drop(state);
                let is_over =
                    |state: &State| !state.due.is_empty() || state.n_bystanders > 0 || !state.needs_dispatcher();
                self.pump(Pumper::Dispatcher, is_over, None);
                state = self.lock();
                state.has_pumper = false;
                if state.n_bystanders > 0 {
                    self.turn.notify_all();
                }
            } else {
                state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Deals with a worker that has ended; called by the supervisor.
    fn bury(pool: &Weak<Self>, place_idx: usize, child: &Child) {
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.lock();
        let mut harvest = Harvest::default();
        state.harvest_place(place_idx, &mut harvest);
        let Some(member) = state.places[place_idx].member.take() else {
            return;
        };
        let was_ready = member.is_ready();
        let is_good_end = child.status().is_some_and(|status| status.success()) && state.phase == Phase::Closed;
        state.n_lost += u64::from(!is_good_end && !matches!(state.phase, Phase::Broken(_)));
        if let Some(mut running) = state.take_over(member) {
            running.n_attempts_left -= 1;
            if running.n_attempts_left == 0 {
                harvest.ended.push((running, outcome_of(child)));
            } else {
                state.waiting.push_front(running);
            }
        }
        let is_needed =
            state.phase == Phase::Open || state.phase == Phase::Closed && state.n_open > harvest.ended.len();
        if is_needed {
            // A worker that somebody killed before it was ready says nothing about the initializer.
            let broken = if pool.initializer.is_some() && !was_ready && !was_killed(child) {
                Some(PoolBroken::InitializerFailed(last_words(child)))
            } else {
                state.exceeds(pool.restart_limit).then_some(PoolBroken::RestartLimit)
            };
            match broken {
                Some(broken) => {
                    let rest = state.break_down(&broken);
                    harvest.ended.extend(rest.ended);
                }
                None => state.places[place_idx].n_restarts += 1,
            }
        }
        let is_broken = matches!(state.phase, Phase::Broken(_));
        pool.deliver(state, harvest);
        if is_needed
            && !is_broken
            && let Err(error) = pool.hire(place_idx, |_| {})
        {
            pool.give_up_place(place_idx, &error);
        }
        let mut state = pool.lock();
        state.give_out();
        pool.turn.notify_all();
        lane::BELL.notify(&pool.bell.mapping, Wake::All);
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        if state.n_open == 0 {
            state.stop_workers();
        }
        // Somebody must see the last task end.
        self.turn.notify_all();
    }

    pub(super) fn terminate(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Broken(_)) {
            return;
        }
        let harvest = state.break_down(&PoolBroken::Terminated);
        self.call_pumper(&state);
        self.deliver(state, harvest);
        self.turn.notify_all();
    }

    /// Waits until every task and every worker has ended.
    pub(super) fn join(&self) {
        self.wait_until(|state| state.n_open == 0, None);
        self.wait_for_workers();
    }

    fn wait_for_workers(&self) {
        let mut state = self.lock();
        while state.places.iter().any(|place| place.member.is_some()) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the dispatcher, once it has run the callbacks that are due.
    pub(super) fn end_dispatcher(&self) {
        self.lock().is_dropped = true;
        self.turn.notify_all();
        let dispatcher = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = dispatcher.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            // Panics of callbacks are caught, so it ends in good order.
            let _ = thread.join();
        }
    }

    pub(super) fn n_lost(&self) -> u64 {
        self.lock().n_lost
    }

    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        let now_ns = worker::now_ns();
        let state = self.lock();
        let info = |place: &Place| {
            let member = place.member.as_ref()?;
            let running_since =
                member.busy_since_ns().map(|since_ns| Duration::from_nanos(now_ns.saturating_sub(since_ns)));
            let state = match running_since {
                _ if !member.is_ready() => WorkerState::Starting,
                None => WorkerState::Idle,
                Some(_) => WorkerState::Busy,
            };
            Some(WorkerInfo {
                pid: member.child.as_ref()?.pid(),
                state,
                tasks_done: member.n_done,
                running_since,
                restarts: place.n_restarts,
            })
        };
        state.places.iter().filter_map(info).collect()
    }
}

fn entry_of<F: Fn(Setup) + Copy + 'static>(_function: F) -> Result<EntryPoint, NotInMainProgram> {
    EntryPoint::of::<F, Setup, ()>()
}

fn run_callback(callback: Callback, outcome: Outcome) {
    // A panic goes no further than the program's panic hook, which has told what and where.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| callback(outcome)));
}

/// How the end of a worker is told to the task that it was running.
fn outcome_of(child: &Child) -> Outcome {
    let pid = child.pid();
    let Remains { status, panic, crash, out_of_memory, .. } = child.remains();
    match status.0 {
        // A program built with `panic=abort` ends its worker by a panic; the hook has told of it first.
        End::Signaled { signal, .. } => match last_words::of_signal(signal, panic, crash) {
            Ok(report) => Outcome::Panicked(report),
            Err(report) => Outcome::Killed { signal, pid, out_of_memory, report },
        },
        End::Exited(code) => Outcome::Exited { code, pid },
        End::Lost => Outcome::Exited { code: -1, pid },
    }
}

fn was_killed(child: &Child) -> bool {
    let killed = Signal::KILL.as_raw();
    matches!(child.status().map(|status| status.0), Some(End::Signaled { signal, .. }) if signal == killed)
}

fn last_words(child: &Child) -> String {
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
