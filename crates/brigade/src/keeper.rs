//! Descriptors that wait in messages: who keeps them between the put and the get.
//!
//! Bytes can wait in shared memory, descriptors cannot: some process must hold them, and the one that put them may end at once.
//! So the first process of the session keeps them, which outlives all others. A message carries the number (the *ticket*)
//! under which they are kept.
//!
//! - A put hands them over, waits until they are kept, and only then commits its message: whoever sees it can have them.
//! - A get takes copies while the message is still there, so a getter killed half-way leaves both to the next one. Once the
//!   message is its own it says so, and they are let go of.
//! - What a death leaves behind is swept: a ticket goes if no message carries it, and none is going to, since its depositor has
//!   committed its message or is dead.
//!
//! | a ticket is        | left by                                                                             |
//! |--------------------|-------------------------------------------------------------------------------------|
//! | held for a put     | the putter: entrusted, or let go of when the put fails; its death: as entrusted     |
//! | entrusted          | the getter: let go of; a sweep that finds it in no message: let go of               |
//!
//! Other processes talk with the keeper over a line of their own (keeper/line.rs). The keeper's side of it is here; who sweeps
//! is never its thread, since a getter may hold a lock on a queue that the sweep needs while it waits for the keeper.

mod line;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use brigade_sys::kernel::passing::MAX_DESCRIPTORS;
use brigade_sys::shared::lock::Owner;

pub(crate) use self::line::receive as receive_line;
use crate::object;
use crate::session::{self, session};

/// What is kept in this process, if it is the first of its session.
static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct Kept {
    by_ticket: HashMap<u64, Held>,
    /// When there are twice as many as the last sweep left, it is time for another.
    n_after_sweep: usize,
}

#[derive(Debug)]
struct Held {
    descriptors: Vec<OwnedFd>,
    depositor: Owner,
    is_entrusted: bool,
}

fn kept() -> MutexGuard<'static, Kept> {
    // Every change is whole, so a panic elsewhere under the lock is no reason to stop.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Below this many a sweep is not worth the trouble.
const MIN_FOR_SWEEP: usize = 64;

/// Descriptors handed over for a message that is not put yet. Dropped, they are let go of.
#[derive(Debug)]
pub(crate) struct Deposit {
    ticket: u64,
}

impl Deposit {
    pub(crate) const fn ticket(&self) -> u64 {
        self.ticket
    }

    /// The message is there: from now on it is what keeps them.
    pub(crate) fn entrust(self) {
        if is_keeper() {
            entrust(self.ticket);
        } else {
            line::entrust(self.ticket);
        }
        std::mem::forget(self);
    }
}

impl Drop for Deposit {
    fn drop(&mut self) {
        let_go(self.ticket);
    }
}

fn is_keeper() -> bool {
    session::existing().is_some_and(|session| session.own_slot() == 0)
}

/// Has descriptors kept for a message that is about to be put. `None` if there are none.
///
/// # Errors
/// `EMFILE` or the like if the first process of the session may not hold more; `EPIPE` if it has ended.
pub(crate) fn deposit(descriptors: Vec<OwnedFd>) -> io::Result<Option<Deposit>> {
    if descriptors.is_empty() {
        return Ok(None);
    }
    let session = session().map_err(io::Error::other)?;
    let deposit = Deposit { ticket: session.next_ticket() };
    if is_keeper() {
        if hold(deposit.ticket, session.owner(), descriptors) {
            sweep();
        }
    } else {
        for some in descriptors.chunks(MAX_DESCRIPTORS) {
            line::hold(deposit.ticket, session.owner(), some)?;
        }
    }
    Ok(Some(deposit))
}

/// Copies of the descriptors under a ticket; none if nobody knows it any more.
///
/// # Errors
/// `EMFILE` if this process may not hold them; `EPIPE` if the first process of the session has ended.
pub(crate) fn fetch(ticket: u64) -> io::Result<Vec<OwnedFd>> {
    if !is_keeper() {
        return line::fetch(ticket);
    }
    let kept = kept();
    let held = kept.by_ticket.get(&ticket).map_or(&[][..], |held| &held.descriptors);
    held.iter().map(OwnedFd::try_clone).collect()
}

/// Nobody needs them any more.
pub(crate) fn let_go(ticket: u64) {
    if is_keeper() {
        release(ticket);
    } else {
        line::let_go(ticket);
    }
}

/// Lets go of what no message carries any more.
pub(crate) fn sweep() {
    if session::existing().is_none_or(|session| !session.has_tickets()) {
        return;
    }
    if !is_keeper() {
        return line::ask_for_sweep();
    }
    // First who may go, then what is there: whoever commits its message in between is not among the first.
    let mut candidates = candidates();
    if candidates.is_empty() {
        return;
    }
    let carried = object::tickets_in_queues();
    candidates.retain(|ticket| !carried.contains(ticket));
    candidates.into_iter().for_each(release);
    let mut kept = kept();
    kept.n_after_sweep = kept.by_ticket.len();
}

/// Tickets whose messages are committed, or will never be.
fn candidates() -> Vec<u64> {
    let Ok(session) = session() else { return Vec::new() };
    let kept = kept();
    let may_go = |held: &Held| held.is_entrusted || session.is_dead(held.depositor);
    kept.by_ticket.iter().filter(|(_, held)| may_go(held)).map(|(&ticket, _)| ticket).collect()
}

/// Keeps descriptors; those under a ticket that is there already come after its own. `true` if it is time for a sweep.
fn hold(ticket: u64, depositor: Owner, descriptors: Vec<OwnedFd>) -> bool {
    let mut kept = kept();
    let held = || Held { descriptors: Vec::new(), depositor, is_entrusted: false };
    kept.by_ticket.entry(ticket).or_insert_with(held).descriptors.extend(descriptors);
    kept.by_ticket.len() > MIN_FOR_SWEEP.max(2 * kept.n_after_sweep)
}

fn entrust(ticket: u64) {
    if let Some(held) = kept().by_ticket.get_mut(&ticket) {
        held.is_entrusted = true;
    }
}

fn release(ticket: u64) {
    let held = kept().by_ticket.remove(&ticket);
    // Closing may take its time, as with a file on a network: not under the lock.
    drop(held);
}

/// Calls `send` with how many descriptors there are under a ticket, and those from `start` on that fit into one packet.
fn with_some<T>(ticket: u64, start: usize, send: impl FnOnce(usize, &[BorrowedFd<'_>]) -> T) -> T {
    let kept = kept();
    let held = kept.by_ticket.get(&ticket).map_or(&[][..], |held| &held.descriptors);
    let some: Vec<BorrowedFd<'_>> = held.iter().skip(start).take(MAX_DESCRIPTORS).map(AsFd::as_fd).collect();
    send(held.len(), &some)
}
