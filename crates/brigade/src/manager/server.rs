//! The manager's process: takes requests, calls functions with the objects they name, answers.
//! Whose turn it is is kept in objects.rs.
//!
//! One thread is at the reception: it takes a request, does what is asked, answers, and takes the next one. So a short call
//! wakes nobody but its caller. A long call must not keep the others waiting, so the main thread looks in from time to time:
//! if the reception has been busy with one request since the last look, another thread is put there, and the busy one ends
//! when it is done. While nothing is asked the main thread sleeps.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use brigade_sys::kernel::child::ignore_interrupts;

use super::errors::CallError;
use super::line::Line;
use super::objects::{Objects, State, Turn};
use super::request::{Kind, Order, Request, answer_bytes};
use crate::channel::{Patience, Refused};
use crate::entry;
use crate::entry::EntryPoint;
use crate::error::MemoryError;
use crate::parcel::{Arrival, Parcel};

/// How often the main thread looks whether the reception is busy, which is how long a call can delay those of other objects.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Looks at a reception where nothing is asked, before the main thread sleeps.
const N_IDLE_LOOKS: u32 = 100;

/// The server of this process, if it is a manager's.
static SERVER: OnceLock<Server> = OnceLock::new();

#[derive(Debug)]
struct Server {
    requests: Line,
    objects: Objects,
    main_thread: Thread,
    /// Whether the main thread must be woken to look.
    is_main_asleep: AtomicBool,
    is_over: AtomicBool,
}

/// A thread's time at the reception.
#[derive(Debug, Default)]
struct Term {
    /// Grows when a request is taken and when it is done with: odd while the thread is busy.
    n_steps: AtomicU64,
    is_replaced: AtomicBool,
}

/// The function that every manager's process runs, until its requests are closed.
pub(super) fn run(requests: Line) {
    // A terminal sends SIGINT to the whole group; the manager ends with its owner.
    ignore_interrupts();
    let server = SERVER.get_or_init(|| Server {
        requests,
        objects: Objects::default(),
        main_thread: thread::current(),
        is_main_asleep: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
    });
    server.look_after_reception();
}

impl Server {
    /// What the main thread does.
    fn look_after_reception(&'static self) {
        let Some(mut term) = self.begin_term() else { return };
        let (mut n_seen, mut n_idle_looks) = (0, 0);
        while !self.is_over.load(Ordering::SeqCst) {
            if n_idle_looks >= N_IDLE_LOOKS {
                self.objects.sweep();
                self.sleep_until_something_is_asked(&term, n_seen);
                n_idle_looks = 0;
            }
            thread::park_timeout(LOOK_EVERY);
            let n_before = std::mem::replace(&mut n_seen, term.n_steps.load(Ordering::SeqCst));
            let is_busy = n_seen % 2 == 1;
            if n_seen != n_before {
                n_idle_looks = 0;
            } else if !is_busy {
                n_idle_looks += 1;
            } else if let Some(next) = self.begin_term() {
                term.is_replaced.store(true, Ordering::Relaxed);
                (term, n_seen) = (next, 0);
            }
        }
    }

    fn sleep_until_something_is_asked(&self, term: &Term, n_seen: u64) {
        self.is_main_asleep.store(true, Ordering::SeqCst);
        // SeqCst on both words and on both sides: either we see the step, or the reception sees that we sleep.
        while term.n_steps.load(Ordering::SeqCst) == n_seen && !self.is_over.load(Ordering::SeqCst) {
            thread::park();
        }
        self.is_main_asleep.store(false, Ordering::SeqCst);
    }

    /// Puts a new thread at the reception. `None` if there can be none now.
    fn begin_term(&'static self) -> Option<Arc<Term>> {
        let term = Arc::new(Term::default());
        let its_term = Arc::clone(&term);
        let work = move || self.receive(&its_term);
        thread::Builder::new().name("reception".to_owned()).spawn(work).ok().map(|_| term)
    }

    /// What a thread at the reception does.
    fn receive(&self, term: &Term) {
        while !term.is_replaced.load(Ordering::Relaxed) {
            let taken = self.requests.receive(Patience::Forever, || None);
            term.n_steps.fetch_add(1, Ordering::SeqCst);
            if self.is_main_asleep.load(Ordering::SeqCst) {
                self.main_thread.unpark();
            }
            // Once the manager is told to end, what still lies there is for nobody. It also ends where there is no memory for
            // taking a request, or what comes was written by no client: somebody may wait for an answer who would never hear.
            let request = taken.ok().filter(|_| !self.requests.is_closed()).and_then(Request::from_record);
            let Some(request) = request else {
                self.is_over.store(true, Ordering::SeqCst);
                self.main_thread.unpark();
                return;
            };
            self.do_what_is_asked(request);
            term.n_steps.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn do_what_is_asked(&self, mut request: Request) {
        self.remember_line_of(&request);
        match (request.kind, request.anchor.take()) {
            (Kind::Call, _) => self.take_turns(self.objects.begin(request)),
            (_, None) => {}
            (Kind::Keep, Some(object)) => self.objects.insert(object, None),
            (Kind::Make, Some(object)) => {
                let (state, outcome) = call(None, request.entry, request.arguments);
                if let Some(state) = state {
                    self.objects.insert(object, Some(state));
                }
                answer(request.answer.as_ref(), outcome);
            }
        }
    }

    /// Calls of one object, one after the other, until none is left.
    fn take_turns(&self, mut turn: Option<Turn>) {
        while let Some(now) = turn {
            turn = match now {
                Turn::Run(state, request) => {
                    let (state, outcome) = call(Some(state), request.entry, request.arguments);
                    let next = self.objects.end(request.object, state);
                    answer(request.answer.as_ref(), outcome);
                    next
                }
                Turn::Refuse(request) => {
                    answer(request.answer.as_ref(), Err(CallError::Poisoned));
                    self.objects.next(request.object)
                }
            };
        }
    }

    /// Holds on to a line for answers until its client is gone, so that it is mapped once and not for every answer.
    fn remember_line_of(&self, request: &Request) {
        if let Some(line) = &request.answer
            && !self.objects.contains(line.0.note().window)
            && let Ok(line) = line.0.try_clone()
        {
            self.objects.insert(line, None);
        }
    }
}

/// Answers. Never waits: the line is used for one call at a time. If it cannot be written to, its client is gone.
fn answer(line: Option<&Line>, mut outcome: Result<Parcel, CallError>) {
    let Some(line) = line else { return };
    let notes = outcome.as_ref().map(Parcel::notes).unwrap_or_default();
    let descriptors = outcome.as_mut().map(|value| std::mem::take(&mut value.descriptors)).unwrap_or_default();
    let sent = line.send(&answer_bytes(&outcome), &notes, descriptors, Patience::Never, || None);
    if let Err(Refused::Memory(error)) = sent {
        let error = Err(CallError::Memory(MemoryError::new("send the answer", &error)));
        let _ = line.send(&answer_bytes(&error), &[], Vec::new(), Patience::Never, || None);
    }
}

thread_local! {
    /// What the function that is being called works on.
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// Calls a function with the state of an object; gives the state back unless the function lost it in a panic.
fn call(state: Option<State>, entry: EntryPoint, arguments: Arrival) -> (Option<State>, Result<Parcel, CallError>) {
    let Some(caller) = entry.caller() else { return (state, Err(CallError::NotInMainProgram)) };
    let outer = STATE.replace(state);
    let outcome = crate::last_words::panics::catch(|| caller(arguments, &mut || {}));
    let state = STATE.replace(outer);
    let outcome = match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(entry::CallError::DecodeArgs(error))) => Err(CallError::DecodeArgs(error)),
        Ok(Err(entry::CallError::EncodeResult(error))) => Err(CallError::EncodeResult(error)),
        Err(report) => Err(CallError::Panicked(report)),
    };
    (state, outcome)
}

/// Leaves a new state for [`call`] to find.
pub(super) fn put_state<S: Send + 'static>(state: S) {
    STATE.set(Some(Box::new(state)));
}

/// Runs `work` with the state that [`call`] has put there. If it panics the state is lost.
pub(super) fn with_state<S: 'static, R>(work: impl FnOnce(&mut S) -> R) -> R {
    // Taken out meanwhile: the function may call another object of this manager.
    let mut state = STATE.take().expect("a call puts the state there before it calls");
    let result = work(state.downcast_mut().expect("an object's handle names the type of its state"));
    STATE.set(Some(state));
    result
}

/// A call that is made in the manager's own process, mostly from inside another call: done at once, by this thread.
pub(super) fn call_here(order: Order<'_>) -> Result<Arrival, CallError> {
    let server = SERVER.get().ok_or(CallError::ManagerDied)?;
    let entry = order.entry.ok_or(CallError::NotInMainProgram)?;
    let object = order.object.note().window;
    let state = server.objects.begin_here(object, order.deadline)?;
    let (state, outcome) = call(Some(state), entry, order.arguments.into());
    if server.objects.end_here(object, state) {
        let work = move || server.take_turns(server.objects.next(object));
        if thread::Builder::new().name("turns".to_owned()).spawn(work).is_err() {
            work();
        }
    }
    outcome.map(Arrival::from)
}
