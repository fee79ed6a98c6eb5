//! Starts a program with exactly the descriptors it is to have, together with the descriptor that tells of its end.
//! What the child then does is in child.rs and above.
//!
//! This is `posix_spawn` made by hand: the new process borrows the memory of its maker, on a stack of its own, until it
//! executes the program (CLONE_VM, CLONE_VFORK), so nothing is copied however large the maker is. Made by hand, it does what
//! `posix_spawn` cannot: the kernel hands out the pidfd together with the process (CLONE_PIDFD), so there is no moment at which
//! a host that reaps every child could make us watch another process of the same number; and the process asks to die with
//! its parent before it is a program at all.
#![expect(unsafe_code, reason = "clone, execve, and descriptors known by number")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions};
use rustix::thread::CpuSet;

use super::signals::SignalMask;

/// The number that the first given descriptor has in the child.
pub const FIRST_GIVEN_DESCRIPTOR: i32 = 3;
/// How many descriptors a child can be given.
pub const MAX_GIVEN_DESCRIPTORS: usize = 3;

/// A program to start. Signals are blocked in it when it starts, until it sets a mask itself: a process that was stopped
/// between its making and its program would keep its maker waiting in the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Program<'a> {
    /// The file to execute.
    pub path: &'a CStr,
    /// Its arguments, its name first.
    pub arguments: &'a [CString],
    /// Its environment, `NAME=value`.
    pub environment: &'a [CString],
    /// What it finds open from [`FIRST_GIVEN_DESCRIPTOR`] on, in this order.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// What it finds open as 0 to 2; `None` is what this process has there.
    pub standard: [Option<BorrowedFd<'a>>; 3],
    /// The folder that it starts in, if that is not the present one.
    pub folder: Option<&'a CStr>,
    /// The process group that it is in.
    pub group: Group,
    /// Its nice value, if that is not the calling thread's.
    pub nice: Option<i32>,
    /// The processors that it may use, if they are not the calling thread's.
    pub processors: Option<CpuSet>,
    /// Limits on what it may use.
    pub limits: &'a [(Resource, Rlimit)],
    /// Whether it goes on when its parent ends.
    pub without_parent: WithoutParent,
}

/// The process group that a program starts in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Group {
    /// That of its parent.
    #[default]
    Inherit,
    /// A new one, which it leads.
    Own,
}

/// What becomes of a program when the *thread* that has started it ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WithoutParent {
    /// It goes on.
    #[default]
    Lives,
    /// The kernel kills it.
    Dies,
}

/// A process that was made.
#[derive(Debug)]
pub struct Started {
    /// Its number.
    pub pid: Pid,
    /// Becomes readable when it ends; close-on-exec. It means this process and no other, whoever collects its status.
    pub pidfd: OwnedFd,
}

/// A step on the way to a new program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Making the process.
    Make,
    /// Entering a process group of its own.
    Group,
    /// Going to its folder.
    Folder,
    /// Taking its nice value.
    Nice,
    /// Taking its processors.
    Processors,
    /// Taking a limit.
    Limit,
    /// Putting the descriptors in their places.
    Descriptors,
    /// Executing the file.
    Execute,
}

/// Why a program was not started. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a program: {step:?}")]
pub struct StartError {
    /// What failed.
    pub step: Step,
    /// Why.
    #[source]
    pub cause: io::Error,
}

/// What the new process needs, prepared by its maker: it must not allocate.
struct Birth<'a> {
    program: &'a Program<'a>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    maker: Pid,
    failure: Option<(Step, Errno)>,
}

/// The stack of the new process until it executes the program: a few calls deep, without recursion.
type Stack = [MaybeUninit<u128>; 2048];

/// The exit code of a process that could not execute its program; whoever made it sees `Birth::failure` instead.
const NOT_EXECUTED: c_int = 127;

/// Starts a program. Returns when the kernel has made the process and it executes the file.
///
/// Descriptors that are not close-on-exec in this process reach the child as well; it closes what it was not given
/// (`child::take_given_descriptors`).
///
/// # Errors
/// [`StartError`], among its causes `EAGAIN` when no more processes are allowed.
pub fn spawn(program: &Program<'_>) -> Result<Started, StartError> {
    assert!(program.descriptors.len() <= MAX_GIVEN_DESCRIPTORS, "at most three descriptors are given");
    let mut birth = Birth {
        program,
        arguments: pointers(program.arguments),
        environment: pointers(program.environment),
        maker: rustix::process::getpid(),
        failure: None,
    };
    // In the new process no handler of ours may run: it would run in our memory.
    let cloned = SignalMask::ALL.during(|| clone(&mut birth));
    let started = cloned.map_err(|cause| StartError { step: Step::Make, cause })?;
    match birth.failure {
        None => Ok(started),
        Some((step, errno)) => {
            // Somebody else may have collected it; then there is nothing to do.
            let _ = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(started.pidfd.as_fd()), WaitIdOptions::EXITED)
            });
            Err(StartError { step, cause: errno.into() })
        }
    }
}

fn clone(birth: &mut Birth<'_>) -> io::Result<Started> {
    let mut stack: Box<Stack> = Box::new([MaybeUninit::uninit(); 2048]);
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let top: *mut c_void = stack.as_mut_ptr_range().end.cast();
    // SAFETY:
    // - the stack is ours alone, grows downwards from its aligned end, and outlives its use: with CLONE_VFORK this thread
    //   goes on only when the new process has executed a program or ended;
    // - `birth` lives as long, and nobody touches it meanwhile;
    // - `run` neither allocates, locks, panics nor returns, and no signal handler runs in it, since all are blocked;
    // - for CLONE_PIDFD the kernel writes the descriptor through the fifth argument.
    let pid = unsafe { libc::clone(run, top, flags, ptr::from_mut(birth).cast(), &raw mut pidfd) };
    if pid == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has opened it for us just now, close-on-exec, and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Started { pid: Pid::from_raw(pid).expect("clone gives a positive number on success"), pidfd })
}

/// The new process, in borrowed memory, up to its program.
extern "C" fn run(birth: *mut c_void) -> c_int {
    // SAFETY: `clone` passes a `Birth` that its maker leaves alone until this process has executed a program or ended.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    birth.failure = settle(birth).err();
    if birth.failure.is_none() {
        // SAFETY: the path and the strings behind both arrays are NUL-terminated, the arrays end with a null pointer, and all
        // outlive the call.
        unsafe { libc::execve(birth.program.path.as_ptr(), birth.arguments.as_ptr(), birth.environment.as_ptr()) };
        birth.failure = check(-1).err().map(|errno| (Step::Execute, errno));
    }
    // SAFETY: _exit runs nothing of this program.
    unsafe { libc::_exit(NOT_EXECUTED) }
}

/// Makes the new process what its program is to find. Descriptors come last, since a limit may concern them.
fn settle(birth: &Birth<'_>) -> Result<(), (Step, Errno)> {
    let program = birth.program;
    let at = |step| move |errno| (step, errno);
    forget_stops();
    if program.without_parent == WithoutParent::Dies {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Make))?;
        if rustix::process::getppid() != Some(birth.maker) {
            // It died before the kernel was told that we die with it.
            return Err((Step::Make, Errno::SRCH));
        }
    }
    if program.group == Group::Own {
        rustix::process::setpgid(None, None).map_err(at(Step::Group))?;
    }
    if let Some(folder) = program.folder {
        rustix::process::chdir(folder).map_err(at(Step::Folder))?;
    }
    if let Some(nice) = program.nice {
        rustix::process::setpriority_process(None, nice).map_err(at(Step::Nice))?;
    }
    if let Some(processors) = &program.processors {
        rustix::thread::sched_setaffinity(None, processors).map_err(at(Step::Processors))?;
    }
    place_descriptors(program).map_err(at(Step::Descriptors))?;
    for (resource, limit) in program.limits {
        rustix::process::setrlimit(*resource, *limit).map_err(at(Step::Limit))?;
    }
    Ok(())
}

/// Drops a stop (TSTP, TTIN, TTOU) that is pending when the process begins.
///
/// Linux hands a signal to a process group on to the process that a member is just making, but not a SIGCONT that the member
/// itself has no use for, and so never takes back the stop before it: the new process would be stopped where nobody is, and for
/// good. Nothing is lost. The maker was sent the same stop, and while it is stopped it tells its child nothing; a later signal
/// reaches the child itself.
///
/// # Source
/// `__send_signal_locked` returns for an ignored signal before it comes to `multiprocess`:
/// <https://git.kernel.org/pub/scm/linux/kernel/git/stable/linux.git/tree/kernel/signal.c?h=v6.18>
fn forget_stops() {
    let pending = SignalMask::pending();
    for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        if pending.contains(signal) {
            forget(signal);
        }
    }
}

/// Drops a pending signal: to ignore it does that. What is done with it otherwise stays as it was.
fn forget(signal: c_int) {
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: zeroes are a valid `sigaction`: no flags, an empty mask, the default action.
    let mut ignore = unsafe { std::mem::zeroed::<libc::sigaction>() };
    ignore.sa_sigaction = libc::SIG_IGN;
    // SAFETY: both point to a `sigaction` of this frame. What is done with signals is the new process's own (no CLONE_SIGHAND).
    let result = unsafe { libc::sigaction(signal, &raw const ignore, before.as_mut_ptr()) };
    if result == 0 {
        // SAFETY: the call above has filled it in, and the old action is not asked for.
        unsafe { libc::sigaction(signal, before.as_ptr(), ptr::null_mut()) };
    }
}

/// Puts what the program is to find open in its places.
fn place_descriptors(program: &Program<'_>) -> Result<(), Errno> {
    let mut wanted: [Option<c_int>; N_PLACES] = [None; N_PLACES];
    let given = program.descriptors.iter().copied().map(Some);
    for (number, descriptor) in wanted.iter_mut().zip(program.standard.into_iter().chain(given)) {
        *number = descriptor.map(|descriptor| descriptor.as_raw_fd());
    }
    // First out of the way, so that putting one in its place never destroys another.
    for (target, number) in (0..).zip(&mut wanted) {
        if let Some(source) = *number
            && source != target
            && source < N_PLACES as c_int
        {
            // SAFETY: fcntl with F_DUPFD_CLOEXEC takes no pointer; the copy ends with the execution of the program.
            let copy = unsafe { libc::fcntl(source, libc::F_DUPFD_CLOEXEC, N_PLACES as c_int) };
            *number = Some(check(copy)?);
        }
    }
    for (target, number) in (0..).zip(wanted) {
        let Some(source) = number else { continue };
        if source == target {
            // SAFETY: fcntl with F_SETFD takes no pointer.
            check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) })?;
        } else {
            // SAFETY: the table of descriptors is that of the new process alone, and what stood there is not wanted.
            check(unsafe { libc::dup2(source, target) })?;
        }
    }
    Ok(())
}

/// 0 to 2, and those that are given.
const N_PLACES: usize = FIRST_GIVEN_DESCRIPTOR as usize + MAX_GIVEN_DESCRIPTORS;

fn check(result: c_int) -> Result<c_int, Errno> {
    if result != -1 {
        return Ok(result);
    }
    Err(io::Error::last_os_error().raw_os_error().map_or(Errno::BADF, Errno::from_raw_os_error))
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}
