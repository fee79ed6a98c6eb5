//! How a process ended: plain data that can be sent on. What it said last is in last_words.rs.

use serde::{Deserialize, Serialize};

/// How a process ended. The methods are those of [`std::process::ExitStatus`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub struct ExitStatus(pub(crate) End);

#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub(crate) enum End {
    Exited(i32),
    Signaled { signal: i32, core_dumped: bool },
    Lost,
}

impl ExitStatus {
    /// Whether it ended by itself with code 0.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self.0, End::Exited(0))
    }

    /// The exit code, if it ended by itself.
    #[must_use]
    pub const fn code(&self) -> Option<i32> {
        if let End::Exited(code) = self.0 { Some(code) } else { None }
    }

    /// The signal that ended it, if one did.
    #[must_use]
    pub const fn signal(&self) -> Option<i32> {
        if let End::Signaled { signal, .. } = self.0 { Some(signal) } else { None }
    }

    /// Whether a signal ended it and a core file was written.
    #[must_use]
    pub const fn core_dumped(&self) -> bool {
        matches!(self.0, End::Signaled { core_dumped: true, .. })
    }

    /// Whether nobody can tell, because the host program took the status for itself (`waitpid(-1)`, SIGCHLD ignored).
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.0, End::Lost)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            End::Exited(code) => write!(f, "exit code {code}"),
            End::Signaled { signal, core_dumped: false } => write!(f, "signal {signal}"),
            End::Signaled { signal, core_dumped: true } => write!(f, "signal {signal}, core dumped"),
            End::Lost => f.write_str("unknown exit status"),
        }
    }
}
