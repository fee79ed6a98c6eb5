//! Why a manager could not be started, did not make an object, or gave no value for a call.

use serde::{Deserialize, Serialize};

use crate::error::MemoryError;
use crate::last_words::PanicReport;
use crate::supervisor::SpawnError;
use crate::wire::{DecodeError, EncodeError};

/// Why a manager could not be started or did not make an object.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// Its process could not be started.
    #[error("cannot start the manager")]
    Spawn(#[from] SpawnError),
    /// Its initializer gave no value; the process has been ended.
    #[error("the manager's initializer failed")]
    Initializer(#[source] CallError),
    /// There is no memory for the object.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Its process has ended.
    #[error("the manager has ended")]
    ManagerDied,
    /// The function that makes the object gave none.
    #[error("the manager could not make the object")]
    Construction(#[source] CallError),
}

/// The manager that held an object has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("the manager has ended")]
pub struct ManagerDied;

impl From<CallError> for ManagerError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::ManagerDied => Self::ManagerDied,
            CallError::Memory(error) => Self::Memory(error),
            other => Self::Construction(other),
        }
    }
}

/// Why a call of an object in a manager's process gave no value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The manager has ended. Whether the call ran before is not known.
    #[error("the manager has ended")]
    ManagerDied,
    /// An earlier call panicked and may have left the object half changed. It takes no calls any more.
    #[error("an earlier call of this object panicked")]
    Poisoned,
    /// This call panicked. The object is [`Poisoned`](Self::Poisoned) from now on, if it was being called when that happened.
    #[error("the call panicked: {0}")]
    Panicked(PanicReport),
    /// No answer came in time. A call that has not begun by now will not begin; one that has begun runs to its end.
    #[error("no answer came in time")]
    TimedOut,
    /// The call was made from inside a call that the object is waiting for, of this object or of another: it would wait for
    /// itself.
    #[error("the call would wait for itself")]
    WouldDeadlock,
    /// The function is in a library that the program loaded: the manager's process cannot find it.
    #[error("the function is not in the main program")]
    NotInMainProgram,
    /// The arguments cannot be encoded; nothing was called.
    #[error(transparent)]
    Encode(EncodeError),
    /// The manager could not decode the arguments; nothing was called.
    #[error("in the manager")]
    DecodeArgs(#[source] DecodeError),
    /// The call ran, and what it returned cannot be encoded.
    #[error("in the manager")]
    EncodeResult(#[source] EncodeError),
    /// The call ran, and what it returned cannot be decoded here.
    #[error(transparent)]
    DecodeResult(DecodeError),
    /// There is no memory for the call or its answer. In the second case it has run.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}
