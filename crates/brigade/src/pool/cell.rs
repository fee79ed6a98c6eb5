//! Where the outcome of a task appears: a cell that is filled once, and whoever wants to know. Who fills it is in dispatch.rs.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::Thread;

use serde::de::DeserializeOwned;

use super::errors::{PoolBroken, SubmitError, TaskError};
use super::payload::{Arguments, Value};
use crate::entry::{CallError, EntryPoint};
use crate::last_words::{CrashReport, PanicReport};
use crate::wire::DecodeError;

/// How a task ended, before its value is decoded.
#[derive(Debug)]
pub(super) enum Outcome {
    Value(Value),
    Panicked(Box<PanicReport>),
    CallError(Box<CallError>),
    Killed {
        signal: i32,
        pid: u32,
        out_of_memory: bool,
        report: Option<Box<CrashReport>>,
    },
    Exited {
        code: i32,
        pid: u32,
    },
    TimedOut,
    Cancelled,
    /// The arguments could not be given to a worker.
    NotSent(Box<SubmitError>),
    /// The value came, and could not be taken in here.
    NotReceived(Box<DecodeError>),
    Broken(PoolBroken),
}

impl Outcome {
    /// Decodes the value on the thread that wants it.
    pub(super) fn into_result<R: DeserializeOwned>(self) -> Result<R, TaskError> {
        Err(match self {
            Self::Value(value) => return value.unpack().map_err(TaskError::DecodeResult),
            Self::Panicked(report) => TaskError::Panicked(*report),
            Self::CallError(error) => match *error {
                CallError::DecodeArgs(error) => TaskError::DecodeArgs(error),
                CallError::EncodeResult(error) => TaskError::EncodeResult(error),
            },
            Self::Killed { signal, pid, out_of_memory, report } => {
                TaskError::Killed { signal, pid, out_of_memory, report: report.map(|report| *report) }
            }
            Self::Exited { code, pid } => TaskError::Exited { code, pid },
            Self::TimedOut => TaskError::TimedOut,
            Self::Cancelled => TaskError::Cancelled,
            Self::NotSent(error) => TaskError::from(*error),
            Self::NotReceived(error) => TaskError::DecodeResult(*error),
            Self::Broken(broken) => TaskError::Broken(broken),
        })
    }
}

pub(super) type Callback = Box<dyn FnOnce(Outcome) + Send>;

pub(super) fn run_callback(callback: Callback, outcome: Outcome) {
    // A panic goes no further than the program's panic hook, which has told what and where.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| callback(outcome)));
}

/// Who is told when a task ends.
pub(super) enum Listener {
    /// Nobody: the outcome waits in the cell.
    Nobody,
    /// A thread that sleeps until then.
    Thread(Thread),
    /// A future's executor.
    Waker(Waker),
    /// One of several tasks that are waited for together, with its number among them.
    Gathering(Arc<Gathering>, usize),
    /// A function, which takes the outcome with it.
    Callback(Callback),
}

/// What has happened by filling a cell, for whoever fills it to act on once all locks are free.
pub(super) enum Told {
    Nobody,
    Thread(Thread),
    Waker(Waker),
    Callback(Callback, Outcome),
}

enum Slot {
    Open(Listener),
    Ready(Outcome),
    Taken,
}

/// Where a task is, as far as [`Cell::place`] tells.
const NOWHERE: u32 = 0;

/// Where the outcome of a task appears.
pub(super) struct Cell {
    is_ready: AtomicBool,
    /// The place whose worker the task was given to, counted from 1; written under the pool's lock.
    place: AtomicU32,
    /// The worker that ran it; 0 before it has ended.
    pid: AtomicU32,
    /// The task's number; written under the pool's lock.
    number: AtomicU64,
    slot: Mutex<Slot>,
}

impl Cell {
    pub(super) fn new(listener: Listener) -> Arc<Self> {
        Arc::new(Self {
            is_ready: AtomicBool::new(false),
            place: AtomicU32::new(NOWHERE),
            pid: AtomicU32::new(0),
            number: AtomicU64::new(0),
            slot: Mutex::new(Slot::Open(listener)),
        })
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        // Each change is one assignment.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ready(&self) -> bool {
        // Acquire: pairs with the Release store in `fill`.
        self.is_ready.load(Ordering::Acquire)
    }

    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    pub(super) fn set_number(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
    }

    pub(super) fn place(&self) -> Option<usize> {
        (self.place.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    pub(super) fn set_place(&self, place: Option<usize>) {
        let number = place.map_or(NOWHERE, |place_idx| place_idx as u32 + 1);
        self.place.store(number, Ordering::Relaxed);
    }

    /// The worker that ran the task, once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }

    /// Fills the cell; `pid` is that of the worker, or 0.
    pub(super) fn fill(&self, outcome: Outcome, pid: u32) -> Told {
        self.pid.store(pid, Ordering::Relaxed);
        let mut slot = self.slot();
        let listener = match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Open(Listener::Callback(callback)) => return Told::Callback(callback, outcome),
            Slot::Open(listener) => listener,
            Slot::Ready(_) | Slot::Taken => unreachable!("a record ends once, and it alone fills its cell"),
        };
        *slot = Slot::Ready(outcome);
        // Release: pairs with the Acquire load in `is_ready`.
        self.is_ready.store(true, Ordering::Release);
        drop(slot);
        match listener {
            Listener::Nobody | Listener::Callback(_) => Told::Nobody,
            Listener::Thread(thread) => Told::Thread(thread),
            Listener::Waker(waker) => Told::Waker(waker),
            Listener::Gathering(gathering, idx) => gathering.add(idx),
        }
    }

    /// Takes the outcome, which must be there.
    pub(super) fn take(&self) -> Outcome {
        match std::mem::replace(&mut *self.slot(), Slot::Taken) {
            Slot::Ready(outcome) => outcome,
            Slot::Open(_) | Slot::Taken => {
                unreachable!("the caller has seen that the cell is ready, and is the only one who takes")
            }
        }
    }

    /// Puts another listener in the place of the present one, which it returns; `Err` gives back what is no longer needed
    /// since the outcome is there.
    pub(super) fn listen(&self, listener: Listener) -> Result<Listener, Listener> {
        match &mut *self.slot() {
            Slot::Open(present) => Ok(std::mem::replace(present, listener)),
            Slot::Ready(_) | Slot::Taken => Err(listener),
        }
    }
}

/// Something that a thread waits for.
pub(super) trait Goal {
    fn is_reached(&self) -> bool;

    /// Has the thread unparked when the goal is reached; `false` if it is.
    fn enlist(&self, thread: Thread) -> bool;

    /// Undoes that, after the thread was unparked for another reason.
    fn delist(&self);
}

impl Goal for Cell {
    fn is_reached(&self) -> bool {
        self.is_ready()
    }

    fn enlist(&self, thread: Thread) -> bool {
        self.listen(Listener::Thread(thread)).is_ok()
    }

    fn delist(&self) {
        drop(self.listen(Listener::Nobody));
    }
}

/// Tasks of which the next to end is waited for, whichever it is.
#[derive(Default)]
pub(super) struct Gathering {
    state: Mutex<(Vec<usize>, Option<Thread>)>,
}

impl Gathering {
    fn state(&self) -> MutexGuard<'_, (Vec<usize>, Option<Thread>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, idx: usize) -> Told {
        let mut state = self.state();
        state.0.push(idx);
        state.1.take().map_or(Told::Nobody, Told::Thread)
    }

    /// One that has ended.
    pub(super) fn pop(&self) -> Option<usize> {
        self.state().0.pop()
    }
}

impl Goal for Gathering {
    fn is_reached(&self) -> bool {
        !self.state().0.is_empty()
    }

    fn enlist(&self, thread: Thread) -> bool {
        let mut state = self.state();
        state.1 = Some(thread);
        state.0.is_empty()
    }

    fn delist(&self) {
        self.state().1 = None;
    }
}

/// How many tasks have not ended, and who waits until all have.
#[derive(Default)]
pub(super) struct Openings {
    n_open: AtomicUsize,
    waiters: Mutex<Vec<Thread>>,
}

impl Openings {
    pub(super) fn n_open(&self) -> usize {
        self.n_open.load(Ordering::Acquire)
    }

    pub(super) fn add(&self) {
        self.n_open.fetch_add(1, Ordering::Relaxed);
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts tasks that have ended; whether no other is left.
    pub(super) fn remove(&self, n_ended: usize) -> bool {
        // AcqRel: whoever sees 0 sees the filled cells too.
        let is_last = self.n_open.fetch_sub(n_ended, Ordering::AcqRel) == n_ended;
        if is_last {
            let waiters = std::mem::take(&mut *self.waiters());
            waiters.into_iter().for_each(|thread| thread.unpark());
        }
        is_last
    }
}

impl Goal for Openings {
    fn is_reached(&self) -> bool {
        self.n_open() == 0
    }

    fn enlist(&self, thread: Thread) -> bool {
        let mut waiters = self.waiters();
        waiters.push(thread);
        // Looked at under the lock: whoever counts the last one down takes the lock afterwards.
        !self.is_reached()
    }

    fn delist(&self) {
        let own = std::thread::current().id();
        self.waiters().retain(|thread| thread.id() != own);
    }
}

/// A task as the pool keeps it. The truth about it is here and not in any segment.
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) entry: EntryPoint,
    pub(super) arguments: Arguments,
    pub(super) cell: Arc<Cell>,
    /// Runs that are left, the present one included.
    pub(super) n_attempts_left: u32,
    /// Times that it could not be given to a worker.
    pub(super) n_refusals: u32,
    /// Nanoseconds that a run may take.
    pub(super) timeout_ns: Option<std::num::NonZeroU64>,
}
