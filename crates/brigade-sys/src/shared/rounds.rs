//! Rounds of a number of parties who wait for each other. Who is a party, and whether one of them died, is known elsewhere: it is
//! told here as one byte.
//!
//! ```text
//! base +  0  lock u32        serializes changes (lock.rs)
//! base +  4  deaths u32      not 0: somebody died who belonged to it
//! base +  8  n_parties u64
//! base + 16  patience u64    how long a party waits by default, in nanoseconds; 0: for ever
//! base + 24  moved u32       an event: the state has changed
//! base + 64  state (flip.rs) round · why it is broken, above how many have arrived · the round after the last that was reset
//! ```
//!
//! | state                            | meaning                                 | left by                                          |
//! |----------------------------------|-----------------------------------------|--------------------------------------------------|
//! | `round`, fewer than all arrived  | those who have arrived wait             | a party: one more; who has no patience: broken   |
//! | `round`, all arrived             | the last does what is to be done first  | the last: `round + 1`, none arrived              |
//! | `round`, broken                  | all who come or wait are told           | reset: `round + 1`, none arrived, no deaths      |
//!
//! `deaths` is looked at under the lock only, by whoever comes, finishes a round or waits: then the state becomes broken.
//!
//! The state changes by one store (flip.rs) under a lock whose dead owner leaves nothing to repair. A waiter remembers its round.
//! When that is over it was completed, unless a reset came: the last reset is kept, and a waiter so late that another
//! reset has come since its own round is told of that one.

use std::time::{Duration, Instant};

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::census::{Census, exclusively};
use super::event::{Event, Wake};
use super::flip::Flip;
use super::lock::OwnedLock;

/// Where, from the base on, it is told that somebody died: one byte that is not 0.
pub const DEATHS: usize = 4;
const N_PARTIES: usize = 8;
const PATIENCE: usize = 16;
const MOVED: usize = 24;
const STATE: usize = 64;
/// Bytes that rounds take.
pub const TOTAL_BYTES: usize = 128;

/// Why the rounds do not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Break {
    /// A party died.
    PartyDied = 1,
    /// A party had no more patience.
    TimedOut = 2,
    /// Somebody wanted it.
    Aborted = 3,
    /// The round was reset.
    Reset = 4,
    /// What the last was to do first panicked.
    ActionPanicked = 5,
}

impl Break {
    /// 0 is no break; any other number that we never write is taken for one that somebody wanted.
    fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::PartyDied,
            2 => Self::TimedOut,
            4 => Self::Reset,
            5 => Self::ActionPanicked,
            _ => Self::Aborted,
        })
    }
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arrival {
    /// One of the round, with its number in it. It waits for the outcome.
    Waits {
        /// Which round.
        round: u64,
        /// How many came before.
        idx: u64,
    },
    /// The last of the round: it finishes it.
    Last {
        /// Which round.
        round: u64,
        /// How many came before.
        idx: u64,
    },
    /// All have arrived, and the last has not finished: come again when that round is over.
    Later {
        /// Which round.
        round: u64,
    },
    /// It is broken.
    Broken(Break),
}

/// The three words of the state, taken apart.
#[derive(Clone, Copy, Debug)]
struct State {
    round: u64,
    broken: Option<Break>,
    n_arrived: u64,
    after_reset: u64,
}

impl State {
    fn from_words([round, progress, after_reset]: [u64; 3]) -> Self {
        Self { round, broken: Break::from_number(progress >> 32), n_arrived: progress & 0xffff_ffff, after_reset }
    }

    fn to_words(self) -> [u64; 3] {
        [self.round, self.broken.map_or(0, |broken| broken as u64) << 32 | self.n_arrived, self.after_reset]
    }
}

/// Rounds at an offset in shared bytes.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    base: usize,
}

impl Rounds {
    /// The rounds at `base`, a multiple of 64.
    #[must_use]
    pub const fn at(base: usize) -> Self {
        Self { base }
    }

    /// Says how many parties there are and how long each waits, before anybody else sees the bytes.
    pub fn initialize<M: SharedBytes>(self, memory: &M, n_parties: u32, patience: Option<Duration>) {
        let nanoseconds = patience.map_or(0, |patience| u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX).max(1));
        memory.word64(self.base + PATIENCE).store(nanoseconds, Ordering::Relaxed);
        memory.word64(self.base + N_PARTIES).store(u64::from(n_parties), Ordering::Release);
    }

    /// How many parties there are.
    #[must_use]
    pub fn n_parties<M: SharedBytes>(self, memory: &M) -> u64 {
        memory.word64(self.base + N_PARTIES).load(Ordering::Acquire)
    }

    /// How long a party waits by default.
    #[must_use]
    pub fn patience<M: SharedBytes>(self, memory: &M) -> Option<Duration> {
        let nanoseconds = memory.word64(self.base + PATIENCE).load(Ordering::Relaxed);
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    /// How many wait in this round; 0 if it is broken.
    #[must_use]
    pub fn n_waiting<M: SharedBytes>(self, memory: &M) -> u64 {
        let state = State::from_words(self.state().load(memory));
        if state.broken.is_some() { 0 } else { state.n_arrived }
    }

    /// Why the rounds do not go on, if so. Waits while somebody else changes the state.
    #[must_use]
    pub fn broken<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Option<Break> {
        self.change(memory, census, None, |state| state.broken)?
    }

    /// Whether a death was told since the last reset.
    #[must_use]
    pub fn has_deaths<M: SharedBytes>(self, memory: &M) -> bool {
        memory.word32(self.base + DEATHS).load(Ordering::Acquire) != 0
    }

    /// The caller arrives. `None` if somebody was stopped while changing the state and did not go on before `deadline`.
    pub fn arrive<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        deadline: Option<Instant>,
    ) -> Option<Arrival> {
        let n_parties = self.n_parties(memory);
        self.change(memory, census, deadline, |state| {
            let State { round, n_arrived: idx, .. } = *state;
            if let Some(why) = state.broken {
                return Arrival::Broken(why);
            }
            if idx >= n_parties {
                return Arrival::Later { round };
            }
            state.n_arrived += 1;
            if state.n_arrived == n_parties { Arrival::Last { round, idx } } else { Arrival::Waits { round, idx } }
        })
    }

    /// Finishes a round in which the caller was the last, if nothing has broken it.
    ///
    /// # Errors
    /// Why it is broken.
    pub fn finish<M: SharedBytes>(self, memory: &M, census: &impl Census, round: u64) -> Result<(), Break> {
        let changed = self.change(memory, census, None, |state| {
            if state.round != round {
                return Err(Break::Reset);
            }
            if let Some(why) = state.broken {
                return Err(why);
            }
            *state = State { round: round.wrapping_add(1), broken: None, n_arrived: 0, ..*state };
            Ok(())
        });
        self.moved().notify(memory, Wake::All);
        changed.unwrap_or(Err(Break::Aborted))
    }

    /// Breaks a round, or the present one if none is named, unless it is over or broken already.
    pub fn break_off<M: SharedBytes>(self, memory: &M, census: &impl Census, round: Option<u64>, why: Break) {
        self.change(memory, census, None, |state| {
            if round.is_none_or(|round| round == state.round) && state.broken.is_none() {
                state.broken = Some(why);
            }
        });
        self.moved().notify(memory, Wake::All);
    }

    /// Begins anew. Those who wait are told, and deaths so far are forgotten.
    pub fn reset<M: SharedBytes>(self, memory: &M, census: &impl Census) {
        self.change(memory, census, None, |state| {
            let next = state.round.wrapping_add(1);
            // Before the commit: a death that is told in between breaks the new round, as it should.
            memory.word32(self.base + DEATHS).store(0, Ordering::SeqCst);
            *state = State { round: next, broken: None, n_arrived: 0, after_reset: next };
        });
        self.moved().notify(memory, Wake::All);
    }

    /// How a round ended; `None` while it has not.
    #[must_use]
    pub fn outcome<M: SharedBytes>(self, memory: &M, round: u64) -> Option<Result<(), Break>> {
        let state = State::from_words(self.state().load(memory));
        if state.round == round {
            return state.broken.map(Err);
        }
        // The round after ours began by a reset, or a later one did.
        Some(if state.after_reset > round { Err(Break::Reset) } else { Ok(()) })
    }

    /// The event on which parties wait for the state to change.
    #[must_use]
    pub const fn moved(self) -> Event {
        Event::at(self.base + MOVED)
    }

    fn change<M: SharedBytes, T>(
        self,
        memory: &M,
        census: &impl Census,
        deadline: Option<Instant>,
        work: impl FnOnce(&mut State) -> T,
    ) -> Option<T> {
        exclusively(OwnedLock::at(self.base), memory, census, deadline, || {
            let before = self.state().load_exclusive(memory);
            let mut state = State::from_words(before);
            if state.broken.is_none() && self.has_deaths(memory) {
                state.broken = Some(Break::PartyDied);
            }
            let result = work(&mut state);
            if state.to_words() != before {
                self.state().store(memory, state.to_words());
            }
            result
        })
    }

    const fn state(self) -> Flip {
        Flip::at(self.base + STATE)
    }
}
