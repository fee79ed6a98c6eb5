//! What a process said last, as its parent tells it: the report of a panic, or of the fault that ended it. How the process
//! says it is in panics.rs and in brigade-sys (`kernel::last_words`); how it came there in backtrace.rs.

mod backtrace;
pub(crate) mod panics;

use std::fmt;

use brigade_sys::kernel::last_words::Crash;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use self::backtrace::Backtrace;
use crate::status::End;

/// A panic in another process.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}", self.place())]
pub struct PanicReport {
    message: String,
    location: Option<String>,
    thread: Option<String>,
    backtrace: Option<Box<Backtrace>>,
}

impl PanicReport {
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

    /// How it came there, function by function; without any, if the panic passed no hook of ours.
    ///
    /// The names are looked up at the first call, in the symbols of this program, which takes up to a second where they are
    /// many. RUST_BACKTRACE is not asked.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_ref().map(|backtrace| backtrace.text())
    }

    fn place(&self) -> String {
        self.location.as_ref().map(|location| format!(" at {location}")).unwrap_or_default()
    }
}

/// What kind of fault ended a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CrashKind {
    /// A thread used up its stack.
    StackOverflow,
    /// Memory was used that is not there, or not for this (SIGSEGV).
    InvalidAccess,
    /// Memory could not be reached, as past the end of a file that is mapped (SIGBUS).
    BusError,
    /// The processor does not know the instruction (SIGILL).
    IllegalInstruction,
    /// A division by zero or its like, done without a check (SIGFPE).
    Arithmetic,
    /// `abort` was called (SIGABRT).
    Aborted,
    /// A breakpoint was met, and nobody traces the process (SIGTRAP).
    Trap,
    /// A system call is forbidden to the process (SIGSYS).
    ForbiddenCall,
    /// Another process, or this one by `kill`, sent the signal; nothing in the program went wrong.
    Sent,
}

/// A fault that ended another process: what it was, where, and on which thread.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// fn dig(depth: u64) -> u64 {
///     if depth == u64::MAX { 0 } else { dig(depth + 1).wrapping_add(std::hint::black_box(depth)) }
/// }
/// let process = brigade::spawn(0, dig)?;
/// let Err(brigade::ProcessError::Killed { report: Some(report), .. }) = process.join() else {
///     panic!("the hole has no end");
/// };
/// assert_eq!(report.kind(), brigade::CrashKind::StackOverflow);
/// assert!(report.backtrace().is_some_and(|backtrace| backtrace.contains("dig")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct CrashReport(Box<Facts>);

#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Facts {
    kind: CrashKind,
    signal: i32,
    address: Option<u64>,
    thread: String,
    sender_pid: Option<u32>,
    is_panicking: bool,
    backtrace: Backtrace,
}

impl CrashReport {
    /// Reads what the handler of a dying process sent.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let crash = Crash::parse(bytes)?;
        Some(Self(Box::new(Facts {
            kind: kind_of(&crash),
            signal: crash.signal,
            address: crash.address,
            thread: if crash.is_main_thread { "main".to_owned() } else { crash.thread },
            sender_pid: crash.sender_pid,
            is_panicking: crash.is_panicking,
            backtrace: Backtrace::new(&crash.frames),
        })))
    }

    /// How the process ends, if nobody else can tell.
    pub(crate) const fn end(&self) -> End {
        let is_overflow = matches!(self.0.kind, CrashKind::StackOverflow);
        let signal = if is_overflow { Signal::ABORT.as_raw() } else { self.0.signal };
        End::Signaled { signal, core_dumped: false }
    }

    /// What kind of fault it was.
    #[must_use]
    pub const fn kind(&self) -> CrashKind {
        self.0.kind
    }

    /// The signal that the fault raised. After a stack overflow the process aborts, as Rust programs do, so its status may
    /// show another one.
    #[must_use]
    pub const fn signal(&self) -> i32 {
        self.0.signal
    }

    /// What happened, in one line.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The address whose use was the fault; for `IllegalInstruction` and `Arithmetic` that of the instruction.
    #[must_use]
    pub const fn address(&self) -> Option<u64> {
        self.0.address
    }

    /// The name of the thread, as the kernel knows it: its first 15 bytes; `main` for the main thread.
    #[must_use]
    pub fn thread(&self) -> &str {
        &self.0.thread
    }

    /// The process that sent the signal, where the kind is [`CrashKind::Sent`].
    #[must_use]
    pub const fn sender_pid(&self) -> Option<u32> {
        self.0.sender_pid
    }

    /// Where it happened: `file:line:column` of the innermost function that is not of Rust's own library.
    ///
    /// The names are looked up at the first call, in the symbols of this program, which takes up to a second where they are
    /// many.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.0.backtrace.place()
    }

    /// How it came there, function by function; `None` if the stack was too broken to tell. Looked up like the location.
    #[must_use]
    pub fn backtrace(&self) -> Option<&str> {
        (!self.0.backtrace.is_empty()).then(|| self.0.backtrace.text())
    }
}

fn kind_of(crash: &Crash) -> CrashKind {
    match Signal::from_named_raw(crash.signal) {
        _ if crash.is_stack_overflow => CrashKind::StackOverflow,
        Some(Signal::ABORT) => CrashKind::Aborted,
        // The kernel's own codes are positive.
        _ if crash.code <= 0 => CrashKind::Sent,
        Some(Signal::BUS) => CrashKind::BusError,
        Some(Signal::ILL) => CrashKind::IllegalInstruction,
        Some(Signal::FPE) => CrashKind::Arithmetic,
        Some(Signal::TRAP) => CrashKind::Trap,
        Some(Signal::SYS) => CrashKind::ForbiddenCall,
        _ => CrashKind::InvalidAccess,
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            CrashKind::StackOverflow => "stack overflow",
            CrashKind::InvalidAccess => "invalid memory access",
            CrashKind::BusError => "memory that cannot be reached",
            CrashKind::IllegalInstruction => "illegal instruction",
            CrashKind::Arithmetic => "arithmetic error",
            CrashKind::Aborted => "abort",
            CrashKind::Trap => "breakpoint",
            CrashKind::ForbiddenCall => "forbidden system call",
            CrashKind::Sent => "the signal was sent",
        })?;
        match (self.0.kind, self.0.address, self.0.sender_pid) {
            (CrashKind::Sent, _, Some(pid)) => write!(f, " by process {pid}")?,
            (_, Some(address), _) => write!(f, " at address {address:#x}")?,
            _ => {}
        }
        write!(f, " on thread '{}'", self.0.thread)
    }
}

/// What the end by a signal means, given what was said before it: a panic that aborted, or else a fault of which there may be
/// a report.
pub(crate) fn of_signal(
    signal: i32,
    panic: Option<PanicReport>,
    crash: Option<CrashReport>,
) -> Result<PanicReport, Option<CrashReport>> {
    let is_abort = signal == Signal::ABORT.as_raw();
    // What was said of one signal does not explain another.
    let crash = crash.filter(|crash| matches!(crash.end(), End::Signaled { signal: said, .. } if said == signal));
    // Without a report, the user's code has replaced our handler.
    let may_be_panic = crash.as_ref().is_none_or(|crash| crash.0.is_panicking && crash.0.kind == CrashKind::Aborted);
    panic.filter(|_| is_abort && may_be_panic).ok_or(crash)
}

/// A report behind the sentence that it belongs to.
pub(crate) fn behind(report: &Option<CrashReport>) -> String {
    report.as_ref().map(|report| format!(": {report}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use brigade_sys::kernel::last_words::Frames;

    use super::*;

    #[test]
    fn what_was_said_of_one_signal_does_not_explain_another() {
        let (kind, address, thread) = (CrashKind::InvalidAccess, Some(0), "main".to_owned());
        let backtrace = Backtrace::new(&Frames { image: 0..1, addresses: Vec::new() });
        let signal = Signal::SEGV.as_raw();
        let facts = Facts { kind, signal, address, thread, sender_pid: None, is_panicking: false, backtrace };
        let report = CrashReport(Box::new(facts));
        assert_eq!(of_signal(signal, None, Some(report.clone())), Err(Some(report.clone())));
        assert_eq!(of_signal(Signal::KILL.as_raw(), None, Some(report)), Err(None));
    }
}
