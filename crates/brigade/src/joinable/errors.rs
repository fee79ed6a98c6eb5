//! Why waiting for all values to be done ended before they were. Putting and getting fail as with a queue (queue/errors.rs).

use serde::{Deserialize, Serialize};

use crate::channel::Refused;
use crate::error::SystemError;

/// Why [`join`](super::JoinableQueue::join) failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Values wait, and no other handle is left that could get them.
    #[error("values wait in the queue and nobody is left who could take them")]
    Disconnected,
    /// The memory of the queue could not be read.
    #[error("cannot wait for the queue")]
    System(#[source] SystemError),
}

/// Why [`join_timeout`](super::JoinableQueue::join_timeout) failed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinTimeoutError {
    /// Values were not done in time.
    #[error("values of the queue were not done in time")]
    Timeout,
    /// Values wait, and no other handle is left that could get them.
    #[error("values wait in the queue and nobody is left who could take them")]
    Disconnected,
    /// The memory of the queue could not be read.
    #[error("cannot wait for the queue")]
    System(#[source] SystemError),
}

impl JoinError {
    pub(super) fn of(refused: Refused) -> Self {
        match refused {
            Refused::Disconnected => Self::Disconnected,
            other => Self::System(other.into()),
        }
    }
}

impl JoinTimeoutError {
    pub(super) fn of(refused: Refused) -> Self {
        match refused {
            Refused::NotNow => Self::Timeout,
            Refused::Disconnected => Self::Disconnected,
            other => Self::System(other.into()),
        }
    }
}
