//! The one thread that starts processes, hears what they say, and learns of their end, as other threads see it. It never ends
//! itself, because the kernel kills the children of a *thread* that does (PR_SET_PDEATHSIG). What it does is in
//! supervisor/desk.rs; what a child does is in child.rs.

mod birth;
mod caller;
mod desk;
mod record;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use brigade_sys::kernel::child::{call_at_exit, is_privileged};
use brigade_sys::kernel::fork;
use brigade_sys::kernel::memory::move_up;
use brigade_sys::kernel::signals::SignalMask;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub(crate) use self::birth::{Environment, Surroundings};
pub(crate) use self::caller::Caller;
use self::desk::Desk;
pub(crate) use self::record::{Child, Remains};
use crate::entry::{self, EntryPoint};
use crate::error::SystemError;
use crate::parcel::Parcel;
use crate::wire::EncodeError;

/// Why a process was not started. Nothing is left of the attempt.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The function is not in the main executable but in a library that it loaded, where another process cannot find it.
    #[error("the function is not in the main program")]
    NotInMainProgram,
    /// The arguments cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The calling thread is another user than the rest of the program, or may do less: the process would be started with the
    /// rights of the rest.
    #[error("the calling thread is confined, and the process would not be")]
    CallerConfined,
    /// The file to execute is not this build of this program, so the function is not in it.
    #[error("{path:?} is not this build of this program")]
    WrongProgram {
        /// The file.
        path: String,
    },
    /// This program runs with more rights than who started it has (setuid, file capabilities), and its children could not
    /// trust what they are told.
    #[error("the program has more rights than its user")]
    Privileged,
    /// This process was made by `fork()` from one that uses brigade; what it has of brigade belongs to that.
    #[error("this process was made by fork()")]
    Forked,
    /// The system refused.
    #[error("cannot {attempt}")]
    System {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        cause: SystemError,
    },
}

impl SpawnError {
    pub(crate) fn system(attempt: &str, cause: &io::Error) -> Self {
        Self::System { attempt: attempt.to_owned(), cause: cause.into() }
    }
}

/// What becomes of a process when the one that spawned it ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OnParentExit {
    /// When `main` returns or `exit` is called, the parent waits for it. If the parent dies in any other way, it is killed.
    #[default]
    Join,
    /// When `main` returns or `exit` is called, it is asked to end (SIGTERM), and killed if it has not after a second. If the
    /// parent dies in any other way, it is killed.
    Terminate,
    /// It goes on, whatever becomes of the parent.
    Detach,
}

/// What is called when a child has ended.
pub(crate) type OnExit = Box<dyn FnOnce(&Child) + Send>;

/// A process to start.
pub(crate) struct Order {
    pub(crate) entry: EntryPoint,
    pub(crate) name: String,
    pub(crate) arguments: Parcel,
    pub(crate) on_parent_exit: OnParentExit,
    pub(crate) surroundings: Surroundings,
    /// The thread on whose behalf it is started, if that is not the present one.
    pub(crate) caller: Option<Caller>,
    /// Called on the supervisor's thread once the process has ended and all it said was heard.
    pub(crate) on_exit: Option<OnExit>,
}

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// What other threads use of the supervisor.
struct Supervisor {
    thread: ThreadId,
    jobs: Mutex<Vec<Job>>,
    bell: OwnedFd,
    children: Mutex<HashMap<u64, Arc<Child>>>,
}

static SUPERVISOR: OnceLock<Supervisor> = OnceLock::new();

/// The supervisor, if this process has one. A forked process has not, though it has a copy of what its parent knew.
fn running() -> Option<&'static Supervisor> {
    SUPERVISOR.get().filter(|_| !fork::is_forked())
}

/// The supervisor, started at the first use. A failure is not kept: what was missing may be there the next time.
fn supervisor() -> Result<&'static Supervisor, SpawnError> {
    static STARTING: Mutex<()> = Mutex::new(());
    if fork::is_forked() {
        return Err(SpawnError::Forked);
    }
    if let Some(supervisor) = SUPERVISOR.get() {
        return Ok(supervisor);
    }
    if is_privileged() {
        return Err(SpawnError::Privileged);
    }
    // A constructor of the user's may run before our hook: a child must not come here for what its parent came here for.
    entry::pin();
    let _one_at_a_time = lock(&STARTING);
    if let Some(supervisor) = SUPERVISOR.get() {
        return Ok(supervisor);
    }
    let started = Supervisor::start();
    started.map_err(|error| SpawnError::system("start the supervising thread", &error))
}

/// The children of this process that have not ended.
pub(crate) fn children() -> Vec<Arc<Child>> {
    running().map_or_else(Vec::new, |supervisor| lock(&supervisor.children).values().cloned().collect())
}

/// Starts a process. Returns when the kernel has made it.
pub(crate) fn spawn(order: Order) -> Result<Arc<Child>, SpawnError> {
    let (answer, answered) = mpsc::sync_channel(1);
    spawn_later(order, move |spawned| drop(answer.send(spawned)));
    answered.recv().expect("the supervising thread does every job, and never ends")
}

/// Has a process started, and returns at once. `then` is called on the supervisor's thread when the kernel has made it; at once,
/// here, if there can be no such thread.
pub(crate) fn spawn_later(mut order: Order, then: impl FnOnce(Result<Arc<Child>, SpawnError>) + Send + 'static) {
    match supervisor() {
        Ok(supervisor) => {
            let caller = order.caller.take().unwrap_or_else(Caller::capture);
            supervisor.submit(Box::new(move |desk| then(desk.start_child(order, &caller))));
        }
        Err(error) => then(Err(error)),
    }
}

/// Does something on the supervisor's thread, if there is one.
pub(crate) fn later(work: impl FnOnce() + Send + 'static) {
    if let Some(supervisor) = running() {
        supervisor.submit(Box::new(|_| work()));
    }
}

/// Returns once everything that children had said by now was heard.
pub(crate) fn catch_up() {
    if let Some(supervisor) = running() {
        let (answer, answered) = mpsc::sync_channel(1);
        supervisor.submit(Box::new(move |desk| {
            desk.hear_all();
            answer.send(()).expect("the one who asked waits for the answer")
        }));
        let _ = answered.recv();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks protect is whole at every instant.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervisor {
    /// Starts the thread. The caller sees to it that there is one only.
    fn start() -> io::Result<&'static Self> {
        fork::remember_this_process()?;
        let bell =
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK)?;
        let bell = move_up(bell)?;
        let desk = Desk::new(&bell)?;
        // No signal is handled on this thread: the host's handlers run on the host's threads.
        let thread = std::thread::Builder::new().name("brigade".to_owned());
        let spawned = SignalMask::ALL.during(|| thread.spawn(move || desk.run()));
        let supervisor =
            Self { thread: spawned?.thread().id(), jobs: Mutex::default(), bell, children: Mutex::default() };
        call_at_exit(end_children);
        Ok(SUPERVISOR.get_or_init(|| supervisor))
    }

    fn submit(&self, job: Job) {
        lock(&self.jobs).push(job);
        // The counter cannot overflow by ones, so this neither waits nor fails, but for what a sandbox may interrupt.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&self.bell, &1_u64.to_ne_bytes()));
    }
}

/// How long a child has to end after SIGTERM, when this process ends.
const GRACE: Duration = Duration::from_secs(1);
/// How long the kernel has to end a process after SIGKILL, before it is named and left behind.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// When `main` has returned or `exit` was called: each child gets what was agreed for it.
extern "C" fn end_children() {
    let Some(supervisor) = running() else { return };
    let mut children = children();
    children.retain(|child| !child.is_left_behind());
    let with = |wish| children.iter().filter(move |child| child.on_parent_exit == wish);
    with(OnParentExit::Terminate).for_each(|child| child.signal(Signal::TERM));
    if supervisor.thread == std::thread::current().id() {
        // A child's end was being dealt with when `exit` was called: nobody is left who could hear of any other.
        return;
    }
    for child in with(OnParentExit::Detach) {
        // It holds what its arguments refer to only once it has entered its function.
        child.wait_until_entered();
    }
    let deadline = Instant::now() + GRACE;
    for child in with(OnParentExit::Terminate) {
        if child.wait(Some(deadline)).is_none() {
            child.signal(Signal::KILL);
            if child.wait(Some(Instant::now() + KILL_PATIENCE)).is_none() {
                let text = format!("brigade: process {} ({}) cannot be ended\n", child.pid(), child.name());
                let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            }
        }
    }
    for child in with(OnParentExit::Join) {
        child.wait(None);
    }
}
