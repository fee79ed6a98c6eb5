//! `spawn` and `Process`: a function in a process of its own. What it can be given besides its arguments is in
//! process/builder.rs; the starting is done by supervisor.rs.

mod builder;

use std::io::{PipeReader, PipeWriter};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::builder::{ProcessBuilder, ProcessGroup, Resource, Stdio};
use crate::child::PANIC_CODE;
use crate::entry::CallError;
use crate::last_words::{self, CrashReport, PanicReport};
pub use crate::procfs::Usage;
use crate::procfs::{self, Ticks};
use crate::session::Participant;
use crate::status::{End, ExitStatus};
use crate::supervisor::{self, Child, SpawnError};
use crate::wire::{DecodeError, EncodeError};

/// Runs `function` in a new process of this program, with `args`, and returns when the kernel has made the process.
///
/// The function is a `fn` item or a closure that captures nothing; everything it needs is in `args`, which may contain
/// queues and other handles. It runs on the main thread of a process that has only what it is given: descriptors 0 to 2,
/// the environment, the current folder, and the caller's processors, nice value and signal mask. `main` does not run there.
///
/// A closure that captures does not build. Either rustc says so, where the capture is not `Copy`:
/// ```compile_fail
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = String::from("moon");
/// brigade::spawn((), move |()| name.len())?; // the trait `Copy` is not implemented for `String`
/// # Ok(())
/// # }
/// ```
/// or this crate does: *the function captures variables, which cannot follow it into another process*:
/// ```compile_fail
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verses = 3_u32;
/// brigade::spawn((), move |()| verses)?;
/// # Ok(())
/// # }
/// ```
/// The one cure: put it into `args`.
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let verses = 3_u32;
/// let process = brigade::spawn(verses, |verses| verses + 1)?;
/// assert_eq!(process.join()?, 4);
/// # Ok(())
/// # }
/// ```
///
/// A process with another folder, environment, standard output, limits or end is made by [`Process::builder`].
///
/// # Errors
/// - `NotInMainProgram`: the function is in a library that the program loaded.
/// - `Encode`: the arguments cannot be encoded.
/// - `CallerConfined`: the calling thread has other rights than the rest of the program.
/// - `Privileged`, `Forked`: this process must not start others.
/// - `System`: the system refused.
///
/// Nothing is left of the attempt.
pub fn spawn<A, R, F>(args: A, function: F) -> Result<Process<R>, SpawnError>
where
    F: Fn(A) -> R + Copy + 'static,
    A: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    Process::builder().spawn(args, function)
}

/// A process started by [`spawn`], whose function returns `R`.
///
/// Dropping it lets the process run on. When `main` returns, processes that still run are waited for; if this process dies
/// in any other way, they die at once. [`ProcessBuilder::on_parent_exit`] has other ways.
///
/// In a process made from this one by `fork()` it is of no use: signals are not sent, and every status is lost.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let process = brigade::spawn(20_u64, |number| (1..=number).product::<u64>())?;
/// println!("process {} computes", process.pid());
/// assert_eq!(process.join()?, 2_432_902_008_176_640_000);
/// # Ok(())
/// # }
/// ```
pub struct Process<R> {
    child: Arc<Child>,
    pipes: Pipes,
    /// Processor time at the last look, by which running is told from being ready to run.
    ticks: Mutex<Option<Ticks>>,
    result: PhantomData<fn() -> R>,
}

/// The other ends of what was to be piped.
#[derive(Debug, Default)]
struct Pipes {
    stdin: Option<PipeWriter>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
}

/// Where a process is in its life, as the kernel sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProcessState {
    /// It exists; its function is not entered yet.
    Created,
    /// It could run and waits for a processor.
    Ready,
    /// It runs: it could run, and used processor time since the last look. Where /proc is not mounted: it has not ended.
    Running,
    /// It waits for something and can be woken by a signal.
    Waiting,
    /// It waits in the kernel and cannot be woken, usually for a disk or a network file system.
    Blocked,
    /// It was stopped and can be continued.
    Stopped,
    /// It has ended.
    Finished,
}

/// Why a process gave no value.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Its function panicked.
    #[error("the process panicked: {0}")]
    Panicked(PanicReport),
    /// A signal ended it.
    #[error("the process was killed by signal {signal}{}{}", if *.out_of_memory { " for lack of memory" } else { "" }, last_words::behind(.report))]
    Killed {
        /// The signal.
        signal: i32,
        /// Whether a core file was written.
        core_dumped: bool,
        /// Whether the kernel killed for lack of memory at that time.
        out_of_memory: bool,
        /// What the process said of it, if it could: of a fault of its own, not of a SIGKILL.
        report: Option<CrashReport>,
    },
    /// It called `exit` before its function returned.
    #[error("the process ended with code {code} before its function returned")]
    Exited {
        /// The exit code.
        code: i32,
    },
    /// It could not begin.
    #[error("the process could not begin: {reason}")]
    StartFailed {
        /// Why.
        reason: String,
    },
    /// It could not decode its arguments.
    #[error("in the process")]
    DecodeArgs(#[source] DecodeError),
    /// It could not encode what its function returned.
    #[error("in the process")]
    EncodeResult(#[source] EncodeError),
    /// What its function returned cannot be decoded here.
    #[error(transparent)]
    DecodeResult(DecodeError),
    /// It ended, and nobody can tell how: the host program took the status for itself.
    #[error("the process ended and its status is lost")]
    StatusLost,
}

impl Process<()> {
    /// A process with more than arguments: a name, a folder, an environment, standard streams, limits, another end.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::default()
    }
}

impl<R> Process<R> {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn participant(&self) -> Option<Participant> {
        self.child.participant()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.child.name()
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.child.status().is_none()
    }

    /// How it ended; `None` while it has not.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.status()
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        if self.child.status().is_some() {
            return ProcessState::Finished;
        }
        if !self.child.has_entered() {
            supervisor::catch_up();
        }
        let is_entered = self.child.has_entered();
        let Some(look) = procfs::look(self.pid()) else {
            return match (self.child.has_ended(), is_entered) {
                (true, _) => ProcessState::Finished,
                (false, true) => ProcessState::Running,
                (false, false) => ProcessState::Created,
            };
        };
        let before = self.ticks.lock().unwrap_or_else(PoisonError::into_inner).replace(look.ticks);
        if !is_entered && !matches!(look.letter, b'Z' | b'X') {
            return ProcessState::Created;
        }
        match look.letter {
            b'R' if before.is_none_or(|before| before != look.ticks) => ProcessState::Running,
            b'R' => ProcessState::Ready,
            b'D' => ProcessState::Blocked,
            b'T' | b't' => ProcessState::Stopped,
            b'Z' | b'X' => ProcessState::Finished,
            _ => ProcessState::Waiting,
        }
    }

    /// What it uses now, over all its threads; `None` once it has ended.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.child.status().is_none().then(|| procfs::usage(self.pid())).flatten()
    }

    /// Waits until it has ended. The value of its function stays to be fetched by [`join`](Self::join).
    pub fn wait(&self) -> ExitStatus {
        self.child.wait(None).expect("without a deadline the wait ends with the process")
    }

    /// Waits until it has ended, at most for `timeout`; `None` if it has not.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<ExitStatus> {
        self.child.wait(Instant::now().checked_add(timeout))
    }

    /// What it reads as standard input, if that was [`Stdio::Piped`]; given out once.
    pub fn take_stdin(&mut self) -> Option<PipeWriter> {
        self.pipes.stdin.take()
    }

    /// What it writes to standard output, if that was [`Stdio::Piped`]; given out once.
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.pipes.stdout.take()
    }

    /// What it writes to standard error, if that was [`Stdio::Piped`]; given out once.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.pipes.stderr.take()
    }

    /// Asks it to stop what it does, as Ctrl-C would (SIGINT). A program that is started with SIGINT ignored, as a script starts
    /// what it has run by `&`, and that leaves it so, has children that ignore it.
    pub fn interrupt(&self) {
        self.child.signal(Signal::INT);
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.child.signal(Signal::TERM);
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self) {
        self.child.signal(Signal::KILL);
    }
}

impl<R: DeserializeOwned> Process<R> {
    /// Waits until it has ended and returns what its function returned. A piped standard input is closed first.
    ///
    /// # Errors
    /// [`ProcessError`] if its function did not return. An `Err` that the function returned is a value like any other.
    pub fn join(mut self) -> Result<R, ProcessError> {
        drop(self.take_stdin());
        let _ = self.child.wait(None);
        let remains = self.child.remains();
        if let Some(result) = remains.result {
            return result.unpack().map_err(ProcessError::DecodeResult);
        }
        if let Some(reason) = remains.start_failure {
            return Err(ProcessError::StartFailed { reason });
        }
        match remains.call_error {
            Some(CallError::DecodeArgs(error)) => return Err(ProcessError::DecodeArgs(error)),
            Some(CallError::EncodeResult(error)) => return Err(ProcessError::EncodeResult(error)),
            None => {}
        }
        Err(match (remains.status.0, remains.panic) {
            (End::Exited(PANIC_CODE), Some(report)) => ProcessError::Panicked(report),
            (End::Exited(code), _) if !remains.has_entered => {
                ProcessError::StartFailed { reason: format!("it ended with code {code} before it could begin") }
            }
            (End::Exited(code), _) => ProcessError::Exited { code },
            (End::Signaled { signal, core_dumped }, panic) => {
                match last_words::of_signal(signal, panic, remains.crash) {
                    Ok(report) => ProcessError::Panicked(report),
                    Err(report) => {
                        ProcessError::Killed { signal, core_dumped, out_of_memory: remains.out_of_memory, report }
                    }
                }
            }
            (End::Lost, _) => ProcessError::StatusLost,
        })
    }
}

impl<R> AsFd for Process<R> {
    /// The pidfd: readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd().as_fd()
    }
}

impl<R> std::fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("name", &self.name())
            .field("exit_status", &self.exit_status())
            .finish()
    }
}

/// A child of this process that has not ended. Made by [`active_children`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChildInfo {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// The processes spawned by this one that have not ended, pool workers and managers among them.
#[must_use]
pub fn active_children() -> Vec<ChildInfo> {
    supervisor::children()
        .into_iter()
        .map(|child| ChildInfo { pid: child.pid(), name: child.name().to_owned() })
        .collect()
}
