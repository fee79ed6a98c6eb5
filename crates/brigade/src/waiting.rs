//! How a call waits for what other processes do: for a lock, which is held for microseconds unless its owner was stopped, and for
//! a change of which an event tells. What is locked and what changes is known to those who wait.

use std::time::{Duration, Instant};

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::shared::event::Event;
use brigade_sys::shared::lock::{Owner, TimedOut};
use brigade_sys::shared::nap::nap_before;

use crate::channel::{Patience, Refused};
use crate::session::Session;
use crate::spin;

/// How long a call that does not wait looks at a lock before it asks why it is held: its owner only copies an item meanwhile.
const LONGEST_LOCK: Duration = Duration::from_millis(10);

/// Takes a lock by `take`, which waits until a deadline; `owner` tells who has it. A call that does not wait gives up only if
/// the owner was stopped: mere contention passes, and then there is an answer that is true.
#[inline]
pub(crate) fn for_lock<L>(
    session: &Session,
    patience: Patience,
    take: impl Fn(Option<Instant>) -> Result<L, TimedOut>,
    owner: impl Fn() -> Option<Owner>,
) -> Result<L, Refused> {
    loop {
        let deadline = match patience {
            Patience::Never => Some(Instant::now() + LONGEST_LOCK),
            other => other.deadline(),
        };
        if let Ok(taken) = take(deadline) {
            return Ok(taken);
        }
        let is_stopped = || owner().is_some_and(|owner| session.is_stopped(owner));
        if !matches!(patience, Patience::Never) || is_stopped() {
            return Err(Refused::NotNow);
        }
    }
}

/// Waits until `is_ready`, looking first and then sleeping on `event`. Says whether it slept. `hopeless` tells why waiting would be
/// in vain, if it would.
pub(crate) fn for_change(
    memory: &Mapping,
    event: Event,
    patience: Patience,
    is_ready: impl Fn() -> bool,
    hopeless: impl Fn() -> Option<Refused>,
) -> Result<bool, Refused> {
    for_ample_change(memory, event, patience, &is_ready, &is_ready, hopeless)
}

/// The same, which looks for more than it needs, `is_ample`, before it sleeps until `is_ready`.
pub(crate) fn for_ample_change(
    memory: &Mapping,
    event: Event,
    patience: Patience,
    is_ready: impl Fn() -> bool,
    is_ample: impl Fn() -> bool,
    hopeless: impl Fn() -> Option<Refused>,
) -> Result<bool, Refused> {
    if let Patience::Never = patience {
        let reason = hopeless().unwrap_or(Refused::NotNow);
        // Looked at last: what was put before the last putter went is there now.
        return if is_ready() { Ok(false) } else { Err(reason) };
    }
    if spin::until(is_ample) {
        return Ok(false);
    }
    loop {
        let ticket = event.announce(memory);
        if is_ready() {
            return Ok(true);
        }
        // Whoever drops the last handle on the other side wakes us; whoever dies with it does not, so look now and then.
        if let Some(reason) = hopeless() {
            return if is_ready() { Ok(true) } else { Err(reason) };
        }
        let Some(nap) = nap_before(patience.deadline()) else {
            return Err(Refused::NotNow);
        };
        event.sleep(memory, ticket, Some(nap));
        event.pass_on(memory);
    }
}
