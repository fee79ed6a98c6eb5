//! A child from its first instruction to its last: taken over from the loader, told who it is, made ready, run, ended.
//! The other side of the conversation is in supervisor.rs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use brigade_sys::kernel::child as this_process;
use brigade_sys::kernel::passing::Blocking;
use brigade_sys::kernel::signals::SignalMask;
use rustix::net::{SocketType, sockopt};
use serde::{Deserialize, Serialize};

use crate::current::{self, Identity};
use crate::entry::{self, CallError, EntryPoint};
use crate::last_words::panics;
use crate::parcel::{self, Parcel, Received, Receiver};
use crate::session::{self, Participant};
use crate::wire::EncodeError;

/// The variable that tells a child that it is one: how many descriptors it was given.
pub(crate) const MARKER: &str = "__BRIGADE_CHILD";
/// The exit code of a process whose function panicked, as in Rust programs.
pub(crate) const PANIC_CODE: i32 = 101;
/// The exit code of a process that could not begin.
const START_FAILED_CODE: i32 = 70;

/// What a child is told first; the arguments of its function follow in the same parcel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) build: u64,
    pub(crate) entry: EntryPoint,
    pub(crate) name: String,
    pub(crate) parent_pid: u32,
    pub(crate) parent_name: String,
    pub(crate) participant: Option<Participant>,
    pub(crate) blocked_signals: u64,
    pub(crate) is_detached: bool,
}

/// What the variable [`MARKER`] says.
pub(crate) struct Marker {
    pub(crate) n_given: usize,
    /// The parent of a process that goes on without it, and may come to see the light after its parent's end.
    pub(crate) detached_from: Option<u32>,
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.n_given)?;
        self.detached_from.map_or(Ok(()), |pid| write!(f, " {pid}"))
    }
}

impl Marker {
    fn parse(text: &str) -> Option<Self> {
        let (n_given, detached_from) = text.split_once(' ').map_or((text, None), |(first, rest)| (first, Some(rest)));
        let n_given = n_given.parse().ok().filter(|n_given| (1..=3).contains(n_given))?;
        Some(Self { n_given, detached_from: detached_from.map(str::parse).transpose().ok()? })
    }
}

/// What a child says, told apart by the tag of the parcel.
pub(crate) mod say {
    /// The arguments have arrived and been decoded; the function is entered.
    pub(crate) const ENTERED: u64 = 1;
    /// The result follows: the end of a good process.
    pub(crate) const RESULT: u64 = 2;
    /// A [`CallError`](crate::entry::CallError) follows.
    pub(crate) const CALL_ERROR: u64 = 3;
    /// A [`PanicReport`](crate::PanicReport) follows. It counts if the process then ends as one that panicked.
    pub(crate) const PANIC: u64 = 4;
    /// A text follows: why the process could not begin.
    pub(crate) const START_FAILED: u64 = 5;
    /// The code follows with which the process ends by `exit`.
    pub(crate) const LEAVING: u64 = 6;
    /// What brigade-sys writes about a fatal signal follows. It counts if the process then ends by that signal.
    pub(crate) const CRASH: u64 = 7;
    /// A socket follows, for the first process of the session: whoever made it wants to talk with the keeper (keeper.rs).
    pub(crate) const KEEPER: u64 = 8;
}

/// Runs this process as a child if it is one, and never returns then.
pub(crate) fn take_over_if_child() {
    let Some(marker) = std::env::var_os(MARKER) else {
        return;
    };
    // Whatever it says, nobody below us may inherit it.
    entry::remove_marker(MARKER);
    let Some(marker) = marker.to_str().and_then(Marker::parse) else { return };
    match peer(marker.detached_from) {
        // It must not trust what it is told, and to run `main` would be to do again what its parent did.
        Peer::Parent if this_process::is_privileged() => std::process::exit(START_FAILED_CODE),
        Peer::Parent => {}
        // Our parent died while the kernel started us. To go on would be to run `main`, as an orphan that nobody asked for.
        Peer::Other if !this_process::is_privileged() => std::process::exit(START_FAILED_CODE),
        Peer::Other | Peer::NoSocket => return,
    }
    match entry::take_given_descriptors(marker.n_given) {
        Ok(given) => run(given),
        Err(_) => std::process::exit(START_FAILED_CODE),
    }
}

/// Who made the first given descriptor.
enum Peer {
    Parent,
    Other,
    /// It is no socket of ours at all: a variable alone proves nothing.
    NoSocket,
}

fn peer(detached_from: Option<u32>) -> Peer {
    let number = brigade_sys::kernel::spawn::FIRST_GIVEN_DESCRIPTOR;
    this_process::with_descriptor(number, |socket| {
        if sockopt::socket_type(socket) != Ok(SocketType::SEQPACKET) {
            return Peer::NoSocket;
        }
        let Ok(credentials) = sockopt::socket_peercred(socket) else { return Peer::Other };
        let is_parent = Some(credentials.pid) == rustix::process::getppid();
        let is_former_parent = Some(credentials.pid.as_raw_nonzero().get() as u32) == detached_from;
        if is_parent || is_former_parent { Peer::Parent } else { Peer::Other }
    })
    .unwrap_or(Peer::NoSocket)
}

/// The line to the parent, and the process whose line it is: one that is forked from it has a copy.
static CONTROL: OnceLock<(OwnedFd, u32)> = OnceLock::new();
/// Whether the parent knows already how this process is going to end.
static HAS_SAID_END: AtomicBool = AtomicBool::new(false);

fn control() -> BorrowedFd<'static> {
    CONTROL.get().expect("set when the child was taken over").0.as_fd()
}

fn run(mut given: Vec<OwnedFd>) -> ! {
    let session_descriptors = (given.len() == 3).then(|| (given.remove(1), given.remove(1)));
    let socket = given.pop().expect("at least the socket was given");
    assert!(CONTROL.set((socket, std::process::id())).is_ok(), "a process is taken over once");
    this_process::call_at_exit_with_code(say_code);
    // Without memory for it, a crash is told by its signal alone.
    let _ = brigade_sys::kernel::last_words::install(control(), parcel::head_of_plain(say::CRASH));
    let code = match begin(session_descriptors) {
        Ok((instructions, arguments)) => work(&instructions, arguments),
        Err(error) => {
            let mut text = error.to_string();
            text.insert_str(0, "cannot begin: ");
            tell(say::START_FAILED, &text);
            START_FAILED_CODE
        }
    };
    std::process::exit(code)
}

/// Passes a descriptor to the parent.
pub(crate) fn pass_to_parent(tag: u64, descriptor: OwnedFd) -> io::Result<()> {
    if CONTROL.get().is_none_or(|&(_, pid)| pid != std::process::id()) {
        return Err(no_parent());
    }
    let parcel = Parcel { descriptors: vec![descriptor], ..Parcel::default() };
    parcel::send(control(), tag, &parcel, Blocking::Wait)
}

/// Says with which code this process ends: a host that collects every status itself would keep it from us.
extern "C" fn say_code(code: i32) {
    if !HAS_SAID_END.load(Ordering::Relaxed) {
        tell(say::LEAVING, &code);
    }
}

/// Sends a value to the parent. That the parent is gone is no concern of ours: we die with it, or are detached.
fn tell<T: Serialize + serde::de::DeserializeOwned>(tag: u64, value: &T) {
    if CONTROL.get().is_none_or(|&(_, pid)| pid != std::process::id()) {
        return;
    }
    if let Ok(parcel) = Parcel::pack(value) {
        let _ = parcel::send(control(), tag, &parcel, Blocking::Wait);
    }
}

fn begin(session_descriptors: Option<(OwnedFd, OwnedFd)>) -> io::Result<(Instructions, parcel::Arrival)> {
    // Before anything is received, so that no descriptor of the user takes one of these places.
    this_process::fill_standard_descriptors()?;
    let mut receiver = Receiver::default();
    // Two parcels: the instructions, and the arguments, whose handles count in the session that the first one joins.
    let Received::Parcel { arrival, .. } = receiver.receive(control(), Blocking::Wait)? else {
        return Err(no_parent());
    };
    let instructions: Instructions = arrival.unpack().map_err(io::Error::other)?;
    if instructions.build != entry::build_fingerprint() {
        return Err(io::Error::other("the program is another build than its parent"));
    }
    if let (Some((arena, tokens)), Some(participant)) = (session_descriptors, instructions.participant) {
        session::set_passed(arena, tokens, participant);
        if instructions.is_detached {
            // The place is ours only once we have taken it, and the one who reserved it may die.
            session::session().map_err(io::Error::other)?;
        }
    }
    let Received::Parcel { arrival, .. } = receiver.receive(control(), Blocking::Wait)? else {
        return Err(no_parent());
    };
    settle(&instructions)?;
    Ok((instructions, arrival))
}

fn no_parent() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the parent is gone")
}

/// Makes the process what `main` would find, with the name that it was given.
fn settle(instructions: &Instructions) -> io::Result<()> {
    this_process::ignore_broken_pipes();
    let short_name: Vec<u8> = instructions.name.bytes().filter(|&byte| byte != 0).take(15).collect();
    rustix::thread::set_name(&std::ffi::CString::new(short_name)?)?;
    current::set_identity(Identity {
        name: instructions.name.clone(),
        parent_pid: instructions.parent_pid,
        parent_name: instructions.parent_name.clone(),
        parent_pidfd: OnceLock::new(),
    });
    SignalMask(instructions.blocked_signals).apply();
    Ok(())
}

fn work(instructions: &Instructions, arguments: parcel::Arrival) -> i32 {
    let Some(caller) = instructions.entry.caller() else {
        tell(say::START_FAILED, &"the function is not in this program".to_owned());
        return START_FAILED_CODE;
    };
    panics::report(|report| tell(say::PANIC, report));
    let mut entered = || {
        // The parent may now give up its clones of the handles in our arguments.
        let _ = parcel::send(control(), say::ENTERED, &Parcel::default(), Blocking::Wait);
    };
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| caller(arguments, &mut entered)));
    match outcome {
        Ok(Ok(result)) => {
            // The clones of handles in the result live until the parent has counted its own: it says so by closing.
            match parcel::send(control(), say::RESULT, &result, Blocking::Wait) {
                Ok(()) => wait_for_receipt(&result),
                Err(error) => tell(say::CALL_ERROR, &CallError::EncodeResult(EncodeError::unsent("the result", error))),
            }
            HAS_SAID_END.store(true, Ordering::Relaxed);
            0
        }
        Ok(Err(error)) => {
            tell(say::CALL_ERROR, &error);
            HAS_SAID_END.store(true, Ordering::Relaxed);
            0
        }
        Err(payload) => {
            tell(say::PANIC, &panics::report_of(&*payload));
            PANIC_CODE
        }
    }
}

/// A result with handles in it must not be let go of before the parent has counted them.
fn wait_for_receipt(result: &Parcel) {
    if !result.handles.is_empty() {
        let mut receiver = Receiver::default();
        let _ = receiver.receive(control(), Blocking::Wait);
    }
}
