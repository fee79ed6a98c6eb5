//! Errors that more than one part of the library gives. Those of one operation stand beside it.

use serde::{Deserialize, Serialize};

/// An error of the operating system, as plain data: it can cross to another process, which `io::Error` cannot.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct SystemError {
    errno: Option<i32>,
    text: String,
}

impl SystemError {
    /// The error number, where the system gave one.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        self.errno
    }
}

impl From<&std::io::Error> for SystemError {
    fn from(error: &std::io::Error) -> Self {
        Self { errno: error.raw_os_error(), text: error.to_string() }
    }
}

/// Shared memory could not be made, allocated or mapped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot {attempt}")]
pub struct MemoryError {
    attempt: String,
    #[source]
    cause: SystemError,
}

impl MemoryError {
    pub(crate) fn new(attempt: &str, cause: &std::io::Error) -> Self {
        Self { attempt: attempt.to_owned(), cause: cause.into() }
    }

    /// What was asked for makes no sense: `EINVAL`.
    pub(crate) fn invalid(attempt: &str) -> Self {
        Self::new(attempt, &rustix::io::Errno::INVAL.into())
    }

    /// The error number, where the system gave one.
    #[must_use]
    pub const fn errno(&self) -> Option<i32> {
        self.cause.errno()
    }
}
