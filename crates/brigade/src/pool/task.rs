//! A task as its submitter sees it: a cell that is filled once, and what happens then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;

use super::errors::{PoolBroken, TaskError};
use crate::entry::{CallError, EntryPoint};
use crate::last_words::{CrashReport, PanicReport};
use crate::parcel::{Arrival, Parcel};

/// How a task ended, before its value is decoded.
#[derive(Debug)]
pub(super) enum Outcome {
    Value(Arrival),
    Panicked(PanicReport),
    CallError(CallError),
    Killed { signal: i32, pid: u32, out_of_memory: bool, report: Option<CrashReport> },
    Exited { code: i32, pid: u32 },
    Broken(PoolBroken),
}

impl Outcome {
    /// Decodes the value on the thread that wants it.
    pub(super) fn into_result<R: DeserializeOwned>(self) -> Result<R, TaskError> {
        match self {
            Self::Value(arrival) => arrival.unpack().map_err(TaskError::DecodeResult),
            Self::Panicked(report) => Err(TaskError::Panicked(report)),
            Self::CallError(CallError::DecodeArgs(error)) => Err(TaskError::DecodeArgs(error)),
            Self::CallError(CallError::EncodeResult(error)) => Err(TaskError::EncodeResult(error)),
            Self::Killed { signal, pid, out_of_memory, report } => {
                Err(TaskError::Killed { signal, pid, out_of_memory, report })
            }
            Self::Exited { code, pid } => Err(TaskError::Exited { code, pid }),
            Self::Broken(broken) => Err(TaskError::Broken(broken)),
        }
    }
}

pub(super) type Callback = Box<dyn FnOnce(Outcome) + Send>;

/// Who is told when a task ends.
enum Listener {
    /// Whoever calls `get`: the outcome waits in the cell.
    Getter,
    /// A callback, which the dispatcher thread runs.
    Callback(Callback),
}

/// Where the outcome of a task appears.
pub(super) struct Cell {
    is_ready: AtomicBool,
    state: Mutex<(Option<Outcome>, Listener)>,
}

impl Cell {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { is_ready: AtomicBool::new(false), state: Mutex::new((None, Listener::Getter)) })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Fills the cell. Returns the callback if one was waiting, with the outcome that is now its own.
    pub(super) fn fill(&self, outcome: Outcome) -> Option<(Callback, Outcome)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut state.1, Listener::Getter) {
            Listener::Callback(callback) => Some((callback, outcome)),
            Listener::Getter => {
                state.0 = Some(outcome);
                self.is_ready.store(true, Ordering::Release);
                None
            }
        }
    }

    /// Takes the outcome, which must be there.
    pub(super) fn take(&self) -> Outcome {
        let outcome = self.state.lock().unwrap_or_else(PoisonError::into_inner).0.take();
        outcome.expect("the caller has seen that the cell is ready, and is the only one who takes")
    }

    /// Leaves a callback; returns it if the outcome is there already.
    pub(super) fn listen(&self, callback: Callback) -> Option<(Callback, Outcome)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.0.take() {
            Some(outcome) => Some((callback, outcome)),
            None => {
                state.1 = Listener::Callback(callback);
                None
            }
        }
    }
}

/// A task as the pool keeps it. The truth about it is here and not in any segment.
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) entry: EntryPoint,
    pub(super) arguments: Parcel,
    pub(super) cell: Arc<Cell>,
    /// Runs that are left, the present one included.
    pub(super) n_attempts_left: u32,
}
