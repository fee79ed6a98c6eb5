//! Why a task was not taken, or gave no value.

use serde::{Deserialize, Serialize};

use crate::error::SystemError;
use crate::last_words::{self, CrashReport, PanicReport};
use crate::wire::{DecodeError, EncodeError};

/// Why a pool does no more work.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum PoolBroken {
    /// Workers died more often than the restart limit allows.
    #[error("the workers died too often")]
    RestartLimit,
    /// The initializer panicked or ended its worker.
    #[error("the initializer failed: {0}")]
    InitializerFailed(String),
    /// No worker could be started.
    #[error("no worker could be started: {0}")]
    NoWorkers(String),
    /// The pool was terminated.
    #[error("the pool was terminated")]
    Terminated,
}

/// Why a pool could not be made.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of 0 workers was asked for.
    #[error("a pool needs at least one worker")]
    NoWorkers,
    /// The arguments of the initializer cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A worker could not be started; those started with it were ended again.
    #[error("cannot start a worker")]
    Spawn(#[from] crate::SpawnError),
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
    /// The pool does no more work.
    #[error(transparent)]
    Broken(#[from] PoolBroken),
}

/// Why a task was not taken.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The arguments cannot be encoded.
    #[error("cannot encode {type_name}: {message}")]
    Encode {
        /// The type of the arguments.
        type_name: String,
        /// What stood in the way.
        message: String,
    },
    /// The function is in a library, where a worker cannot find it.
    #[error("the function is not in the main program")]
    NotInMainProgram,
    /// This process was made by `fork()`: the pool is its parent's.
    #[error("the pool belongs to the process from which this one was forked")]
    Forked,
    /// The system refused what it takes to send the arguments: descriptors, or memory.
    #[error("cannot {attempt}")]
    System {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        cause: SystemError,
    },
    /// The pool was closed.
    #[error("the pool is closed")]
    Closed,
    /// The pool does no more work.
    #[error(transparent)]
    Broken(#[from] PoolBroken),
}

impl From<EncodeError> for SubmitError {
    fn from(error: EncodeError) -> Self {
        Self::Encode { type_name: error.type_name().to_owned(), message: error.message().to_owned() }
    }
}

/// Why a task gave no value. The pool is whole again after any of these but `Broken`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// Its function panicked.
    #[error("the task panicked: {0}")]
    Panicked(PanicReport),
    /// Its worker was killed while the task ran.
    #[error("worker {pid} was killed by signal {signal} while it ran the task{}{}", if *.out_of_memory { ", for lack of memory" } else { "" }, last_words::behind(.report))]
    Killed {
        /// The signal.
        signal: i32,
        /// The worker.
        pid: u32,
        /// Whether the kernel killed for lack of memory at that time.
        out_of_memory: bool,
        /// What the worker said of it, if it could: of a fault of its own, not of a SIGKILL.
        report: Option<CrashReport>,
    },
    /// Its worker ended while the task ran.
    #[error("worker {pid} ended with code {code} while it ran the task")]
    Exited {
        /// The exit code; -1 if nobody can tell.
        code: i32,
        /// The worker.
        pid: u32,
    },
    /// It took longer than it was given; its worker was ended.
    #[error("the task took too long")]
    TimedOut,
    /// It was cancelled.
    #[error("the task was cancelled")]
    Cancelled,
    /// The worker could not decode the arguments.
    #[error("in the worker")]
    DecodeArgs(#[source] DecodeError),
    /// The worker could not encode the value.
    #[error("in the worker")]
    EncodeResult(#[source] EncodeError),
    /// The value cannot be decoded here.
    #[error(transparent)]
    DecodeResult(DecodeError),
    /// It was not taken.
    #[error(transparent)]
    Submit(SubmitError),
    /// The pool was closed before it was taken.
    #[error("the pool is closed")]
    Closed,
    /// The pool does no more work.
    #[error(transparent)]
    Broken(PoolBroken),
}

impl From<SubmitError> for TaskError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Closed => Self::Closed,
            SubmitError::Broken(broken) => Self::Broken(broken),
            other => Self::Submit(other),
        }
    }
}
