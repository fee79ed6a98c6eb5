//! The one thread that starts processes, hears what they say, and learns of their end. It never ends itself, because the
//! kernel kills the children of a *thread* that does (PR_SET_PDEATHSIG). What a child does is in child.rs.

mod record;

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;

use brigade_sys::kernel::child::call_at_exit;
use brigade_sys::kernel::passing::{self, Blocking};
use brigade_sys::kernel::signals::SignalMask;
use brigade_sys::kernel::spawn::{self, Program};
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use serde::{Deserialize, Serialize};

pub(crate) use self::record::Child;
use self::record::State;
use crate::child::{Instructions, MARKER, say};
use crate::current::current;
use crate::entry::{self, EntryPoint};
use crate::error::SystemError;
use crate::object;
use crate::parcel::{self, Arrival, Parcel, Received, Receiver};
use crate::session::{self, Participant};
use crate::status::{End, ExitStatus};
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

/// What becomes of a child when this process ends in good order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AtExit {
    /// It is waited for.
    Join,
    /// It is killed.
    Kill,
}

/// What is called when a child has ended.
pub(crate) type OnExit = Box<dyn FnOnce(&Child) + Send>;

/// A process to start.
pub(crate) struct Order {
    pub(crate) entry: EntryPoint,
    pub(crate) name: String,
    pub(crate) arguments: Parcel,
    pub(crate) at_exit: AtExit,
    /// The thread on whose behalf it is started, if that is not the present one.
    pub(crate) caller: Option<Caller>,
    /// Called on the supervisor's thread once the process has ended and all it said was heard.
    pub(crate) on_exit: Option<OnExit>,
}

/// What the spawning thread passes on of itself.
#[derive(Clone)]
pub(crate) struct Caller {
    blocked: SignalMask,
    processors: Vec<usize>,
    nice: i32,
}

impl Caller {
    pub(crate) fn capture() -> Self {
        let set = rustix::thread::sched_getaffinity(None);
        let processors = set.map_or_else(|_| Vec::new(), |set| (0..1024).filter(|&idx| set.is_set(idx)).collect());
        Self {
            blocked: SignalMask::current(),
            processors,
            nice: rustix::process::getpriority_process(None).unwrap_or(0),
        }
    }
}

type Job = Box<dyn FnOnce(&mut Desk) + Send>;

/// What other threads use of the supervisor.
struct Supervisor {
    pid: u32,
    thread: ThreadId,
    jobs: Mutex<Vec<Job>>,
    bell: OwnedFd,
    children: Mutex<HashMap<u64, Arc<Child>>>,
}

/// What only the supervisor's thread uses.
struct Desk {
    epoll: OwnedFd,
    processors: Vec<usize>,
    next_number: u64,
    talks: HashMap<u64, Talk>,
    oom_kills: crate::oom::Counter,
}

/// The conversation with one child.
struct Talk {
    child: Arc<Child>,
    socket: OwnedFd,
    receiver: Receiver,
    on_exit: Option<OnExit>,
}

const BELL: u64 = u64::MAX;
/// The lowest bit of an event's number says which of a child's descriptors it is about.
const IS_END: u64 = 1;

static SUPERVISOR: OnceLock<Result<Supervisor, SystemError>> = OnceLock::new();

fn supervisor() -> Result<&'static Supervisor, SpawnError> {
    // A constructor of the user's may run before our hook: a child must not come here for what its parent came here for.
    if SUPERVISOR.get().is_none() {
        entry::pin();
    }
    let made = SUPERVISOR.get_or_init(|| Supervisor::start().map_err(|error| SystemError::from(&error)));
    made.as_ref().map_err(|cause| SpawnError::System {
        attempt: "start the supervising thread".to_owned(),
        cause: cause.clone(),
    })
}

/// The children of this process that have not ended.
pub(crate) fn children() -> Vec<Arc<Child>> {
    match SUPERVISOR.get() {
        Some(Ok(supervisor)) => lock(&supervisor.children).values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Starts a process. Returns when the kernel has made it.
pub(crate) fn spawn(mut order: Order) -> Result<Arc<Child>, SpawnError> {
    let supervisor = supervisor()?;
    let caller = order.caller.take().unwrap_or_else(Caller::capture);
    let (answer, answered) = mpsc::sync_channel(1);
    supervisor.submit(Box::new(move |desk| {
        let _ = answer.send(desk.start_child(order, &caller));
    }));
    answered.recv().expect("the supervising thread does every job, and never ends")
}

/// Runs something on the supervisor's thread, with the means to start processes from there without waiting.
pub(crate) fn spawn_later(mut order: Order, then: impl FnOnce(Result<Arc<Child>, SpawnError>) + Send + 'static) {
    match supervisor() {
        Ok(supervisor) => {
            let caller = order.caller.take().unwrap_or_else(Caller::capture);
            supervisor.submit(Box::new(move |desk| then(desk.start_child(order, &caller))));
        }
        Err(error) => then(Err(error)),
    }
}

/// Returns once everything that children had said by now was heard.
pub(crate) fn catch_up() {
    if let Ok(supervisor) = supervisor() {
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
    fn start() -> io::Result<Self> {
        let bell =
            rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        let desk = Desk {
            epoll,
            processors: Caller::capture().processors,
            next_number: 0,
            talks: HashMap::new(),
            oom_kills: crate::oom::Counter::new(),
        };
        // No signal is handled on this thread: the host's handlers run on the host's threads.
        let callers_mask = SignalMask::current();
        SignalMask::ALL.apply();
        let spawned = std::thread::Builder::new().name("brigade".to_owned()).spawn(move || desk.run());
        callers_mask.apply();
        call_at_exit(end_children);
        Ok(Self {
            pid: std::process::id(),
            thread: spawned?.thread().id(),
            jobs: Mutex::default(),
            bell,
            children: Mutex::default(),
        })
    }

    fn submit(&self, job: Job) {
        lock(&self.jobs).push(job);
        // The counter cannot overflow by ones, so this neither fails nor waits.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

/// When `main` has returned or `exit` was called: children that are to be joined are waited for, all others are killed.
extern "C" fn end_children() {
    // In a process that the host made by `fork()` they are not ours, and there is no supervisor.
    let is_ours = |supervisor: &Supervisor| supervisor.pid == std::process::id();
    if !SUPERVISOR.get().is_some_and(|made| made.as_ref().is_ok_and(is_ours)) {
        return;
    }
    let children = children();
    for child in children.iter().filter(|child| child.at_exit == AtExit::Kill) {
        child.signal(Signal::KILL);
    }
    if SUPERVISOR
        .get()
        .is_some_and(|made| made.as_ref().is_ok_and(|supervisor| supervisor.thread == std::thread::current().id()))
    {
        return;
    }
    for child in children {
        child.wait(None);
    }
}

impl Desk {
    fn run(mut self) {
        let supervisor = loop {
            if let Some(Ok(supervisor)) = SUPERVISOR.get() {
                break supervisor;
            }
            std::thread::yield_now();
        };
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let waited = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None);
            if waited.is_err() {
                continue;
            }
            // What was said is heard before an end is dealt with, whatever the order in which the kernel lists them.
            let numbers: Vec<u64> = events.iter().map(|event: &epoll::Event| event.data.u64()).collect();
            if numbers.contains(&BELL) {
                let _ = rustix::io::read(&supervisor.bell, &mut [0_u8; 8]);
            }
            for &number in numbers.iter().filter(|&&number| number != BELL && number & IS_END == 0) {
                self.hear(number >> 1);
            }
            for &number in numbers.iter().filter(|&&number| number != BELL && number & IS_END != 0) {
                self.bury(supervisor, number >> 1);
            }
            loop {
                let jobs = std::mem::take(&mut *lock(&supervisor.jobs));
                if jobs.is_empty() {
                    break;
                }
                jobs.into_iter().for_each(|job| job(&mut self));
            }
        }
    }

    fn start_child(&mut self, order: Order, caller: &Caller) -> Result<Arc<Child>, SpawnError> {
        let failed = |attempt| move |error: io::Error| SpawnError::system(attempt, &error);
        let (ours, theirs) = passing::pair().map_err(failed("make a socket pair"))?;
        let session = session::session().ok();
        let no_place = |error| SpawnError::system("find a place in the session", &io::Error::other(error));
        let participant = session.map(|session| session.reserve().map_err(no_place)).transpose()?;
        let mut newborn = Newborn { participant, pid: None };
        let instructions = Parcel::pack(&Instructions {
            build: entry::build_fingerprint(),
            entry: order.entry,
            name: order.name.clone(),
            parent_pid: std::process::id(),
            parent_name: current().name(),
            participant,
            blocked_signals: caller.blocked.0,
            processors: (caller.processors != self.processors).then(|| caller.processors.clone()),
            nice: caller.nice,
            dies_with_parent: true,
        })?;
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend(session.iter().flat_map(|session| [session.arena(), session.tokens()]));
        let pid = start_program(&descriptors, caller).map_err(failed("start a process"))?;
        newborn.pid = Some(pid);
        drop(theirs);
        // We have not reaped it, so the number still is its own, also if it has ended already.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        let pidfd = pidfd.map_err(|error| SpawnError::system("watch a process", &error.into()))?;
        // If the child is gone already, that shows as its end.
        let sent = parcel::send(&ours, 0, &instructions, Blocking::Wait)
            .and_then(|()| parcel::send(&ours, 0, &order.arguments, Blocking::Wait));
        let child = Arc::new(Child {
            pid,
            pidfd,
            name: order.name,
            at_exit: order.at_exit,
            participant,
            state: Mutex::new(State { arguments: Some(order.arguments), ..State::default() }),
            changed: Condvar::new(),
        });
        if let Err(error) = sent {
            child.state().start_failure = Some(format!("cannot send the arguments: {error}"));
            child.signal(Signal::KILL);
        }
        let talk =
            Talk { child: Arc::clone(&child), socket: ours, receiver: Receiver::default(), on_exit: order.on_exit };
        self.watch(talk).map_err(failed("watch a process"))?;
        newborn.entrust();
        Ok(child)
    }

    fn watch(&mut self, talk: Talk) -> io::Result<()> {
        let number = self.next_number;
        self.next_number += 1;
        let add = |descriptor: &OwnedFd, data| {
            epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(data), epoll::EventFlags::IN)
        };
        add(&talk.socket, number << 1).and_then(|()| add(&talk.child.pidfd, number << 1 | IS_END))?;
        if let Some(Ok(supervisor)) = SUPERVISOR.get() {
            lock(&supervisor.children).insert(number, Arc::clone(&talk.child));
        }
        self.talks.insert(number, talk);
        Ok(())
    }

    fn hear_all(&mut self) {
        let numbers: Vec<u64> = self.talks.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.hear(number));
    }

    /// Takes in all that a child has said so far.
    fn hear(&mut self, number: u64) {
        let Some(talk) = self.talks.get_mut(&number) else {
            return;
        };
        loop {
            match talk.receiver.receive(&talk.socket, Blocking::Never) {
                Ok(Received::Parcel { tag, arrival }) => talk.take_in(tag, arrival),
                Ok(Received::NotYet) => return,
                Ok(Received::Gone) => {
                    // Its end follows; until then the closed socket must not wake us again.
                    let _ = epoll::delete(&self.epoll, &talk.socket);
                    return;
                }
                Err(error) => {
                    talk.child.state().start_failure.get_or_insert(format!("cannot hear the process: {error}"));
                    let _ = epoll::delete(&self.epoll, &talk.socket);
                    // It may wait for an answer, which it is not going to get.
                    let _ = rustix::net::shutdown(&talk.socket, rustix::net::Shutdown::Both);
                    return;
                }
            }
        }
    }

    /// Deals with a child that has ended.
    fn bury(&mut self, supervisor: &Supervisor, number: u64) {
        self.hear(number);
        let Some(talk) = self.talks.remove(&number) else {
            return;
        };
        let _ = epoll::delete(&self.epoll, &talk.child.pidfd);
        let status = talk.reap();
        let out_of_memory = status.signal() == Some(Signal::KILL.as_raw()) && self.oom_kills.has_grown();
        if let Some(participant) = talk.child.participant {
            object::reap(participant);
        }
        lock(&supervisor.children).remove(&number);
        let arguments = {
            let mut state = talk.child.state();
            state.status = Some(status);
            state.out_of_memory = out_of_memory;
            state.arguments.take()
        };
        drop(arguments);
        talk.child.changed.notify_all();
        if let Some(on_exit) = talk.on_exit {
            on_exit(&talk.child);
        }
    }
}

/// A child that nobody watches yet: if its start fails half-way, nothing is left of it.
struct Newborn {
    participant: Option<Participant>,
    pid: Option<Pid>,
}

impl Newborn {
    /// The child is watched from now on.
    fn entrust(mut self) {
        (self.participant, self.pid) = (None, None);
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
        }
        if let Some(participant) = self.participant {
            object::reap(participant);
        }
    }
}

impl Talk {
    fn take_in(&self, tag: u64, arrival: Arrival) {
        let mut dropped_outside_of_the_lock = None;
        let mut state = self.child.state();
        match tag {
            say::ENTERED => {
                state.has_entered = true;
                dropped_outside_of_the_lock = state.arguments.take();
            }
            say::RESULT => {
                if !arrival.handles.is_empty() {
                    // They are counted here now, so the child may let go of its own.
                    let _ = parcel::send(&self.socket, 0, &Parcel::default(), Blocking::Never);
                }
                state.result = Some(arrival);
            }
            say::CALL_ERROR => state.call_error = arrival.unpack().ok(),
            say::PANIC => state.panic = arrival.unpack().ok(),
            say::START_FAILED => state.start_failure = arrival.unpack().ok(),
            // A child of the same build says nothing else.
            _ => {}
        }
        drop(state);
        drop(dropped_outside_of_the_lock);
    }

    /// Collects the status, so that no zombie is left.
    fn reap(&self) -> ExitStatus {
        let waited = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.child.pidfd.as_fd()), WaitIdOptions::EXITED)
        });
        let end = match waited {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => End::Exited(code),
                (None, Some(signal)) => End::Signaled { signal, core_dumped: status.dumped() },
                (None, None) => End::Lost,
            },
            // The host took it by `waitpid(-1)`, or ignores SIGCHLD. A result is the last thing a good process says.
            _ if self.child.state().result.is_some() => End::Exited(0),
            _ => End::Lost,
        };
        ExitStatus(end)
    }
}

fn start_program(descriptors: &[std::os::fd::BorrowedFd<'_>], caller: &Caller) -> io::Result<Pid> {
    let no_nul = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::from);
    let arguments: Vec<CString> =
        std::env::args_os().map(|argument| no_nul(argument.into_vec())).collect::<Result<_, _>>()?;
    let mut environment = Vec::new();
    for (name, value) in std::env::vars_os() {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        environment.push(no_nul(entry)?);
    }
    environment.push(no_nul(format!("{MARKER}={}", descriptors.len()).into_bytes())?);
    spawn::spawn(&Program {
        path: c"/proc/self/exe",
        arguments: &arguments,
        environment: &environment,
        descriptors,
        blocked: caller.blocked.with(SignalMask::TERMINAL_STOPS),
    })
}
