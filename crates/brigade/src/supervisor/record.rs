//! What this process knows of a child: who it is, what it said, how it ended. The supervisor writes it, everybody reads it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use brigade_sys::kernel::fork;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use super::OnParentExit;
use crate::entry::CallError;
use crate::last_words::{CrashReport, PanicReport};
use crate::parcel::{Arrival, Parcel};
use crate::session::Participant;
use crate::status::{End, ExitStatus};

/// A process that this one has started.
pub(crate) struct Child {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) name: String,
    pub(super) on_parent_exit: OnParentExit,
    pub(super) participant: Option<Participant>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    /// Nobody waits for its end any more.
    pub(super) is_left_behind: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) has_entered: bool,
    pub(super) result: Option<Arrival>,
    pub(super) call_error: Option<CallError>,
    pub(super) panic: Option<PanicReport>,
    pub(super) crash: Option<CrashReport>,
    pub(super) start_failure: Option<String>,
    /// The exit code that it has said it is going to end with.
    pub(super) last_code: Option<i32>,
    pub(super) status: Option<ExitStatus>,
    pub(super) out_of_memory: bool,
    /// Keeps the handles in the arguments counted until the child has counted its own.
    pub(super) arguments: Option<Parcel>,
}

/// What a child left when it ended.
pub(crate) struct Remains {
    pub(crate) has_entered: bool,
    pub(crate) status: ExitStatus,
    pub(crate) result: Option<Arrival>,
    pub(crate) call_error: Option<CallError>,
    pub(crate) panic: Option<PanicReport>,
    pub(crate) crash: Option<CrashReport>,
    pub(crate) start_failure: Option<String>,
    pub(crate) out_of_memory: bool,
}

impl Child {
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// Who it is in the session, if there is one.
    pub(crate) const fn participant(&self) -> Option<Participant> {
        self.participant
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is whole, so a panic elsewhere under the lock is no reason to stop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_entered(&self) -> bool {
        self.state().has_entered
    }

    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.state().status
    }

    /// Whether the process has ended, as the kernel says now; its status may not be known yet.
    pub(crate) fn has_ended(&self) -> bool {
        let mut pidfd = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::event::poll(&mut pidfd, Some(&Timespec::default())).is_ok_and(|n_ready| n_ready > 0)
    }

    /// Waits until the function of the child is entered, or will not be.
    pub(super) fn wait_until_entered(&self) {
        let state = self.state();
        let entered = self.changed.wait_while(state, |state| !state.has_entered && state.status.is_none());
        drop(entered);
    }

    /// Waits for the end, until the deadline. In a process forked from the parent nobody hears of ends: there every status is
    /// lost.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<ExitStatus> {
        if fork::is_forked() {
            return Some(self.state().status.unwrap_or(ExitStatus(End::Lost)));
        }
        let mut state = self.state();
        while state.status.is_none() {
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.status
    }

    /// Takes what the child left, once the caller has waited for its end.
    pub(crate) fn remains(&self) -> Remains {
        let mut state = self.state();
        Remains {
            has_entered: state.has_entered,
            status: state.status.unwrap_or(ExitStatus(End::Lost)),
            result: state.result.take(),
            call_error: state.call_error.take(),
            panic: state.panic.take(),
            crash: state.crash.take(),
            start_failure: state.start_failure.take(),
            out_of_memory: state.out_of_memory,
        }
    }

    /// Kills it and waits for it no more, also not when this process ends: it may be where the kernel cannot end it.
    pub(crate) fn leave_behind(&self) {
        self.is_left_behind.store(true, Ordering::Relaxed);
        self.signal(Signal::KILL);
    }

    pub(super) fn is_left_behind(&self) -> bool {
        self.is_left_behind.load(Ordering::Relaxed)
    }

    /// Sends a signal. A process that has ended is no error; a process forked from the parent has no say in it.
    pub(crate) fn signal(&self, signal: Signal) {
        if fork::is_forked() {
            return;
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }
}
