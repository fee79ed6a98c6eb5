//! What a pool shares between its handle, its tasks and its threads, and what is asked of it: to take a task in, to withdraw it,
//! to tell of its end, to close. How it is moved on then is in dispatch.rs; the decisions about tasks are in state.rs.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use brigade_sys::kernel::fork;

use super::at_least_1;
use super::cell::{Callback, Cell, Listener, Openings, Record, run_callback};
use super::errors::{PoolBroken, SubmitError};
use super::lane::Bell;
use super::payload::Arguments;
use super::staff::Staffing;
use super::state::{Harvest, Phase, Rest, Running, State, Withdrawal};
use crate::entry::EntryPoint;
use crate::spin::Spin;

/// Tasks that pile up before whoever hands them in takes results out too.
const PILE: usize = 64;

/// What a pool shares between its handle, its tasks, its dispatcher and the supervisor.
pub(super) struct Inner {
    state: Mutex<State>,
    pub(super) open: Openings,
    /// Callbacks and futures left with tasks that have not ended.
    pub(super) n_listeners: AtomicUsize,
    /// Signalled when a worker has ended.
    pub(super) staff_changed: Condvar,
    pub(super) bell: Bell,
    pub(super) staffing: Staffing,
    n_attempts: u32,
    /// What those who waited for results have learnt; see `Spin`.
    pub(super) n_eager: AtomicU32,
    pub(super) dispatcher: OnceLock<Thread>,
    pub(super) dispatcher_thread: Mutex<Option<JoinHandle<()>>>,
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
        let timeout_ns = timeout.map(|timeout| at_least_1(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)));
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
            timeout_ns,
        };
        state.take_in(record, &mut harvest);
        if !state.waiting.is_empty() && state.waiting.len().is_multiple_of(PILE) {
            state.n_moves += 1;
            state.harvest(&mut harvest);
        }
        self.finish(state, harvest);
        Ok(())
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

    /// Leaves a callback with a task, or has it run if the task has ended; here, if the pool has.
    pub(super) fn call_back(&self, cell: &Cell, callback: Callback) {
        if let Err(Listener::Callback(callback)) = self.listen(cell, Listener::Callback(callback)) {
            let mut state = self.lock();
            if state.rest == Rest::Ended {
                drop(state);
                return run_callback(callback, cell.take());
            }
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

    pub(super) fn n_lost(&self) -> u64 {
        if fork::is_forked() { 0 } else { self.lock().n_lost }
    }
}
