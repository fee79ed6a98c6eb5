//! How a process ended, and what it said last: plain data that can be sent on.

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

/// A panic in another process.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}", self.place())]
pub struct PanicReport {
    message: String,
    location: Option<String>,
    thread: Option<String>,
    backtrace: Option<String>,
}

impl PanicReport {
    pub(crate) fn capture(info: &std::panic::PanicHookInfo<'_>) -> Self {
        let backtrace = std::backtrace::Backtrace::capture();
        let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        Self {
            message: info.payload_as_str().unwrap_or("a panic with a value that is no text").to_owned(),
            location: info.location().map(ToString::to_string),
            thread: std::thread::current().name().map(str::to_owned),
            backtrace: captured.then(|| backtrace.to_string()),
        }
    }

    /// The report of a panic that passed no hook: what its payload says.
    pub(crate) fn of_payload(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("a panic with a value that is no text").to_owned();
        Self { message, location: None, thread: None, backtrace: None }
    }

    /// What the panic said.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it happened: `file:line:column`.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The name of the thread that panicked, if it has one.
    #[must_use]
    pub fn thread(&self) -> Option<&str> {
        self.thread.as_deref()
    }

    /// How it came there, if RUST_BACKTRACE asks for it.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }

    fn place(&self) -> String {
        self.location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
    }
}
