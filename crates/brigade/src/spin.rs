//! Whether looking again and again makes sense before sleeping, and for how long.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Looks in a row at the start, with a short pause after each, a microsecond or two in all: what comes at once is found with the
/// least delay. More would only be in the way where both sides share a processor: with 200 a ping-pong took 17 µs there.
const N_LOOKS: u32 = 30;
/// Looks after that, each behind an offer of the processor to others: the one who is waited for may need this very processor.
const N_OFFERS: u32 = 100;

/// How many turns a waiter may look before it sleeps: none where only one processor is available, since then the one it waits
/// for cannot run meanwhile.
pub(crate) fn budget(n_turns: u32) -> u32 {
    if has_several_processors() { n_turns } else { 0 }
}

/// Asked once, and of files in /proc and /sys: so it is asked before a process gives up its way to them.
pub(crate) fn has_several_processors() -> bool {
    static HAS_SEVERAL: OnceLock<bool> = OnceLock::new();
    *HAS_SEVERAL.get_or_init(|| crate::current::available_cpus() > 1)
}

/// Looks until `is_ready`, for about as long as a sleep and a wake through the kernel would take. `false` if it did not come
/// to be.
pub(crate) fn until(is_ready: impl Fn() -> bool) -> bool {
    for _ in 0..budget(N_LOOKS) {
        if is_ready() {
            return true;
        }
        std::hint::spin_loop();
    }
    for _ in 0..N_OFFERS {
        if is_ready() {
            return true;
        }
        std::thread::yield_now();
    }
    is_ready()
}

/// How long a waiter looks who waits for a process that may sleep. More than it takes to wake that: otherwise two who wait for
/// each other in turn fall asleep in turn too, and each pays for waking the other for ever.
const PATIENCE: Duration = Duration::from_micros(100);

/// An offer of the processor that took longer than this was taken.
const TAKEN: Duration = Duration::from_micros(2);
/// Looks in a row that are made at least, however often the one who is waited for needed this very processor.
const MIN_LOOKS: u32 = 4;

/// Looking again and again, for those who have more to do between two looks. It learns from one wait to the next: as long as
/// what comes has needed this very processor, the processor is offered sooner.
#[derive(Debug)]
pub(crate) struct Spin {
    n_eager: u32,
    n_turns: u32,
    offers_since: Option<Instant>,
    was_taken: bool,
}

impl Default for Spin {
    fn default() -> Self {
        Self::new(N_LOOKS)
    }
}

impl Spin {
    /// Begins with what an earlier one has learnt.
    pub(crate) const fn new(n_eager: u32) -> Self {
        Self { n_eager, n_turns: 0, offers_since: None, was_taken: false }
    }

    pub(crate) const fn learnt(&self) -> u32 {
        self.n_eager
    }

    /// Passes some time before the next look; `false` if the waiter should sleep instead.
    pub(crate) fn turn(&mut self) -> bool {
        self.n_turns += 1;
        if self.n_turns <= budget(self.n_eager) {
            std::hint::spin_loop();
            return true;
        }
        let now = Instant::now();
        if budget(1) == 0 || now.duration_since(*self.offers_since.get_or_insert(now)) >= PATIENCE {
            return false;
        }
        std::thread::yield_now();
        self.was_taken = now.elapsed() >= TAKEN;
        true
    }

    /// What was waited for has come.
    pub(crate) fn found(&mut self) {
        if self.was_taken {
            self.n_eager = (self.n_eager / 2).max(MIN_LOOKS);
        } else if self.n_turns > 0 {
            self.n_eager = (self.n_eager * 2).min(N_LOOKS);
        }
        self.slept();
    }

    /// The waiter has slept, and begins to look again.
    pub(crate) const fn slept(&mut self) {
        *self = Self::new(self.n_eager);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_offered_sooner_while_the_other_needs_it() {
        let mut spin = Spin::default();
        for _ in 0..10 {
            spin.was_taken = true;
            spin.found();
        }
        assert_eq!(spin.learnt(), MIN_LOOKS);
        for _ in 0..10 {
            spin.n_turns = 1;
            spin.found();
        }
        assert_eq!(spin.learnt(), N_LOOKS);
    }

    #[test]
    fn a_waiter_gives_up_after_some_time() {
        let mut spin = Spin::default();
        while spin.turn() {}
        assert!(spin.n_turns >= budget(N_LOOKS));
    }
}
