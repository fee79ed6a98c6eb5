//! `Barrier`: parties that wait for each other, round after round. The rounds are in brigade-sys, `shared/rounds.rs`; which
//! processes died with a handle is known in session.rs.

use std::time::{Duration, Instant};

use brigade_sys::shared::bytes::Wait;
use brigade_sys::shared::census::nap_before;
use brigade_sys::shared::rounds::{self, Arrival, Break, Rounds};
use serde::{Deserialize, Serialize};

use super::{STATE, deadline_after, handle, held, shared};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::{BARRIER_DEATHS, WindowKind};

const ROUNDS: Rounds = Rounds::at(STATE);
const _: () = assert!(BARRIER_DEATHS == (STATE + rounds::DEATHS) as u64);

/// Why a barrier is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierBroken {
    /// A process died that had a handle to it, or a panic dropped a handle.
    #[error("a party died")]
    PartyDied,
    /// A party waited longer than it wanted to.
    #[error("a party came too late")]
    TimedOut,
    /// Somebody called [`abort`](Barrier::abort).
    #[error("it was aborted")]
    Aborted,
    /// Somebody called [`reset`](Barrier::reset) while parties waited. It can be used again.
    #[error("it was reset")]
    Reset,
    /// The action of the last party panicked.
    #[error("the action of the last party panicked")]
    ActionPanicked,
}

/// Why a party was not let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken, for all parties, until it is [reset](Barrier::reset).
    #[error("the barrier is broken")]
    Broken(#[source] BarrierBroken),
}

impl From<Break> for BarrierError {
    fn from(why: Break) -> Self {
        Self::Broken(match why {
            Break::PartyDied => BarrierBroken::PartyDied,
            Break::TimedOut => BarrierBroken::TimedOut,
            Break::Aborted => BarrierBroken::Aborted,
            Break::Reset => BarrierBroken::Reset,
            Break::ActionPanicked => BarrierBroken::ActionPanicked,
        })
    }
}

/// A number of parties, processes or threads, that wait for each other; then all go on, and the next round begins.
///
/// A `Barrier` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. If one party cannot come, no party can go on:
/// so the barrier is *broken*, for all parties, when one of them waits too long, when somebody aborts it, and when a
/// process dies that has a handle to it, be it that it waits, works, or has not begun. A handle that a panic drops breaks it too. A
/// process that drops its handle and ends in good order does not: it may have done its part.
///
/// All who wait are told within a tenth of a second, and all who come later, until it is [reset](Self::reset).
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let barrier = brigade::Barrier::new(2)?;
/// let process = brigade::spawn(barrier.clone(), |barrier| barrier.wait())?;
/// let place = barrier.wait()?;
/// assert_eq!(place + process.join()??, 1); // one is 0, the other 1
/// # Ok(())
/// # }
/// ```
pub struct Barrier {
    handle: Handle,
}

handle!(Barrier);

impl Barrier {
    /// Makes a barrier for so many parties, each of which waits for as long as it takes.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it; `EINVAL` if there are to be no parties, or more than 2³² − 1.
    pub fn new(n_parties: usize) -> Result<Self, MemoryError> {
        Self::make(n_parties, None)
    }

    /// Makes a barrier for so many parties, whose [`wait`](Self::wait) waits at most for `timeout`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_timeout(n_parties: usize, timeout: Duration) -> Result<Self, MemoryError> {
        Self::make(n_parties, Some(timeout))
    }

    fn make(n_parties: usize, patience: Option<Duration>) -> Result<Self, MemoryError> {
        let Some(number) = u32::try_from(n_parties).ok().filter(|&number| number > 0) else {
            return Err(MemoryError::invalid("make a barrier for that many parties"));
        };
        let handle = Handle::create(WindowKind::Barrier, STATE + rounds::TOTAL_BYTES, |object| {
            ROUNDS.initialize(object.mapping(), number, patience);
        })?;
        Ok(Self { handle })
    }

    /// Waits until all parties have come. Returns how many came before in this round: for exactly one party that is 0.
    ///
    /// # Errors
    /// `Broken`: it is broken, or was while this party waited.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_with(|| {})
    }

    /// As [`wait`](Self::wait), at most for `timeout`; if that is not enough, the barrier is broken for all parties.
    ///
    /// # Errors
    /// `Broken`: it is broken, or was while this party waited.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_until(deadline_after(timeout), || {})
    }

    /// As [`wait`](Self::wait); if this party is the last, `action` runs before any party goes on. So of the actions that the
    /// parties bring along exactly one runs. If it panics, the barrier is broken.
    ///
    /// # Errors
    /// `Broken`: it is broken, or was while this party waited, or while its action ran.
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<usize, BarrierError> {
        let patience = ROUNDS.patience(shared(&self.handle).0);
        self.wait_until(patience.and_then(deadline_after), action)
    }

    /// Breaks the barrier: all who wait, and all who come, get an error until it is reset.
    pub fn abort(&self) {
        self.break_off(None, Break::Aborted);
    }

    /// Makes the barrier whole again. Those who wait get an error.
    pub fn reset(&self) {
        let (memory, census) = shared(&self.handle);
        // Those who died so far are to be forgotten, not to be found later.
        census.tell_of_dead_holders(self.handle.object().window());
        ROUNDS.reset(memory, census);
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let (memory, census) = shared(&self.handle);
        census.tell_of_dead_holders(self.handle.object().window());
        ROUNDS.broken(memory, census).is_some()
    }

    /// How many parties have to come in each round.
    #[must_use]
    pub fn parties(&self) -> usize {
        ROUNDS.n_parties(shared(&self.handle).0) as usize
    }

    /// How many parties wait now.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        ROUNDS.n_waiting(shared(&self.handle).0) as usize
    }

    fn wait_until(&self, deadline: Option<Instant>, action: impl FnOnce()) -> Result<usize, BarrierError> {
        let (memory, census) = shared(&self.handle);
        loop {
            let arrival = ROUNDS.arrive(memory, census, deadline);
            match arrival.unwrap_or(Arrival::Broken(Break::TimedOut)) {
                Arrival::Waits { round, idx } => {
                    return Ok(self.outcome(round, deadline).map(|()| idx as usize)?);
                }
                Arrival::Last { round, idx } => {
                    return Ok(self.finish(round, action).map(|()| idx as usize)?);
                }
                // The round that is under way is not ours.
                Arrival::Later { round } => self.outcome(round, deadline)?,
                Arrival::Broken(why) => return Err(why.into()),
            }
        }
    }

    /// Waits until a round is over, and breaks it if that takes too long.
    fn outcome(&self, round: u64, deadline: Option<Instant>) -> Result<(), Break> {
        let (memory, census) = shared(&self.handle);
        let moved = ROUNDS.moved();
        loop {
            let ticket = moved.announce(memory);
            if let Some(outcome) = ROUNDS.outcome(memory, round) {
                return outcome;
            }
            let Some(nap) = nap_before(deadline) else {
                self.break_off(Some(round), Break::TimedOut);
                continue;
            };
            if moved.sleep(memory, ticket, Some(nap)) == Wait::TimedOut {
                census.tell_of_dead_holders(self.handle.object().window());
            }
            if ROUNDS.has_deaths(memory) {
                self.break_off(Some(round), Break::PartyDied);
            }
        }
    }

    /// Does what the last party does.
    fn finish(&self, round: u64, action: impl FnOnce()) -> Result<(), Break> {
        /// Breaks the round if the action unwinds.
        struct Running<'a>(&'a Barrier, u64);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                self.0.break_off(Some(self.1), Break::ActionPanicked);
            }
        }
        let running = Running(self, round);
        action();
        std::mem::forget(running);
        let (memory, census) = shared(&self.handle);
        ROUNDS.finish(memory, census, round)
    }

    fn break_off(&self, round: Option<u64>, why: Break) {
        let (memory, census) = shared(&self.handle);
        ROUNDS.break_off(memory, census, round, why);
    }
}

impl Drop for Barrier {
    /// A panic that takes a handle along takes a party along.
    fn drop(&mut self) {
        if std::thread::panicking() && held(&self.handle).is_some() {
            self.break_off(None, Break::PartyDied);
        }
    }
}

impl std::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("n_waiting", &self.n_waiting())
            .field("is_broken", &self.is_broken())
            .finish()
    }
}
