//! The line between a process and the keeper: one socket pair, made when a process first needs it. Its other end goes up from
//! child to parent over the lines they have anyway, until it reaches the first process of the session.
//!
//! ```text
//! request:  what u64 · ticket u64 · number u64, and descriptors with HOLD
//! answer:   number u64, and descriptors to FETCH          (to HOLD and FETCH only)
//! ```
//!
//! | what       | number                | answer                                                                    |
//! |------------|-----------------------|---------------------------------------------------------------------------|
//! | `HOLD`     | the depositor         | 0, or the number of an error                                              |
//! | `FETCH`    | how many it has       | how many there are, and those after the ones it has that fit in a packet  |
//! | `ENTRUST` `LET_GO` `SWEEP` | 0     | none                                                                      |
//!
//! The keeper never waits for a process: an answer that finds no room ends the line.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use brigade_sys::kernel::memory::move_up;
use brigade_sys::kernel::passing::{self, Blocking, Packet};
use brigade_sys::kernel::signals::SignalMask;
use brigade_sys::shared::lock::Owner;
use rustix::event::epoll;
use rustix::io::Errno;

use crate::child::{self, say};
use crate::supervisor;

const HOLD: u64 = 1;
const FETCH: u64 = 2;
const ENTRUST: u64 = 3;
const LET_GO: u64 = 4;
const SWEEP: u64 = 5;
const REQUEST_BYTES: usize = 24;

/// This process's end, once it was needed. The lock is held from a question to its answer.
static LINE: Mutex<Option<OwnedFd>> = Mutex::new(None);

fn line() -> MutexGuard<'static, Option<OwnedFd>> {
    // After a panic between a question and its answer the next answer would be the wrong one: such a line is not used again.
    LINE.lock().unwrap_or_else(|poisoned| {
        let mut line = PoisonError::into_inner(poisoned);
        *line = None;
        LINE.clear_poison();
        line
    })
}

fn request(what: u64, ticket: u64, number: u64) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip([what, ticket, number]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn no_keeper() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the process that keeps descriptors in messages has ended")
}

/// Talks over the line, which is made if there is none. After an error it is given up, and the next call makes another.
fn talk<T>(work: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
    let mut line = line();
    let socket = match line.take() {
        Some(socket) => socket,
        None => {
            let (ours, theirs) = passing::pair()?;
            child::pass_to_parent(say::KEEPER, theirs).map_err(|_| no_keeper())?;
            ours
        }
    };
    let outcome = work(socket.as_fd());
    if outcome.is_ok() {
        *line = Some(socket);
    }
    outcome
}

fn answer(socket: BorrowedFd<'_>) -> io::Result<(u64, Vec<OwnedFd>)> {
    let mut bytes = [0; 8];
    match passing::receive(socket, &mut bytes, Blocking::Wait)? {
        Some(Packet { n_bytes: 8, descriptors }) => Ok((u64::from_le_bytes(bytes), descriptors)),
        _ => Err(no_keeper()),
    }
}

/// Has descriptors kept. Those of one ticket may come in several calls.
pub(super) fn hold(ticket: u64, depositor: Owner, descriptors: &[OwnedFd]) -> io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let error_number = talk(|socket| {
        let request = request(HOLD, ticket, depositor.number().into());
        passing::send(socket, &[&request], &descriptors, Blocking::Wait).map_err(|_| no_keeper())?;
        answer(socket).map(|(error_number, _)| error_number)
    })?;
    if error_number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error_number as i32)) }
}

/// Copies of what is kept.
pub(super) fn fetch(ticket: u64) -> io::Result<Vec<OwnedFd>> {
    talk(|socket| {
        let mut all = Vec::new();
        loop {
            let request = request(FETCH, ticket, all.len() as u64);
            passing::send(socket, &[&request], &[], Blocking::Wait).map_err(|_| no_keeper())?;
            let (n_kept, some) = answer(socket)?;
            let is_end = some.is_empty();
            all.extend(some);
            if is_end || all.len() as u64 >= n_kept {
                return Ok(all);
            }
        }
    })
}

pub(super) fn entrust(ticket: u64) {
    say_only(ENTRUST, ticket);
}

pub(super) fn let_go(ticket: u64) {
    say_only(LET_GO, ticket);
}

pub(super) fn ask_for_sweep() {
    say_only(SWEEP, 0);
}

/// Says something that has no answer. If it does not arrive, a sweep does the same later.
fn say_only(what: u64, ticket: u64) {
    let _ = talk(|socket| passing::send(socket, &[&request(what, ticket, 0)], &[], Blocking::Wait));
}

/// The keeper's ends of all lines, with the thread that listens to them.
struct Exchange {
    epoll: OwnedFd,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    by_number: HashMap<u64, Arc<OwnedFd>>,
    next_number: u64,
}

static EXCHANGE: OnceLock<Exchange> = OnceLock::new();

/// Takes the other end of somebody's line: up it goes, or it is where it belongs. If that fails it is closed, which its maker sees.
pub(crate) fn receive(theirs: OwnedFd) {
    if super::is_keeper() {
        let _ = listen(theirs);
    } else {
        let _ = child::pass_to_parent(say::KEEPER, theirs);
    }
}

/// Called by the supervisor's thread only.
fn listen(theirs: OwnedFd) -> io::Result<()> {
    let exchange = match EXCHANGE.get() {
        Some(exchange) => exchange,
        None => {
            let epoll = move_up(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
            // No signal is handled on that thread: the host's handlers run on the host's threads.
            let thread = std::thread::Builder::new().name("brigade-keeper".to_owned());
            // First of all, so that nobody is listened to by a thread that does not exist.
            SignalMask::ALL.during(|| thread.spawn(|| EXCHANGE.wait().run()))?;
            EXCHANGE.get_or_init(|| Exchange { epoll, lines: Mutex::default() })
        }
    };
    let mut lines = exchange.lines();
    let number = lines.next_number;
    lines.next_number += 1;
    epoll::add(&exchange.epoll, &theirs, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
    lines.by_number.insert(number, Arc::new(theirs));
    Ok(())
}

impl Exchange {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        loop {
            events.clear();
            if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
                continue;
            }
            for event in &events {
                let number = event.data.u64();
                let Some(socket) = self.lines().by_number.get(&number).map(Arc::clone) else { continue };
                if serve(socket.as_fd()).is_err() {
                    let _ = epoll::delete(&self.epoll, &socket);
                    self.lines().by_number.remove(&number);
                    // Its process may have died with descriptors that no message carries.
                    supervisor::later(super::sweep);
                }
            }
        }
    }
}

/// Answers one request. An error means that the line is at its end.
fn serve(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut bytes = [0; REQUEST_BYTES];
    let (descriptors, refused) = match passing::receive(socket, &mut bytes, Blocking::Never) {
        Ok(Some(Packet { n_bytes: REQUEST_BYTES, descriptors })) => (descriptors, 0),
        // The bytes are there, the descriptors found no room.
        Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            (Vec::new(), Errno::MFILE.raw_os_error() as u64)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        _ => return Err(no_keeper()),
    };
    let word = |idx: usize| bytes[idx * 8..][..8].try_into().map_or(0, u64::from_le_bytes);
    let (what, ticket, number) = (word(0), word(1), word(2));
    match what {
        HOLD => {
            let depositor = u32::try_from(number).ok().and_then(Owner::from_number).ok_or_else(no_keeper)?;
            if refused == 0 && super::hold(ticket, depositor, descriptors) {
                supervisor::later(super::sweep);
            }
            passing::send(socket, &[&refused.to_le_bytes()], &[], Blocking::Never)
        }
        FETCH => super::with_some(ticket, usize::try_from(number).unwrap_or(usize::MAX), |n_kept, some| {
            passing::send(socket, &[&(n_kept as u64).to_le_bytes()], some, Blocking::Never)
        }),
        ENTRUST => {
            super::entrust(ticket);
            Ok(())
        }
        LET_GO => {
            super::release(ticket);
            Ok(())
        }
        SWEEP => {
            supervisor::later(super::sweep);
            Ok(())
        }
        _ => Err(no_keeper()),
    }
}
