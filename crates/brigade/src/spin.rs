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
    static HAS_SEVERAL: OnceLock<bool> = OnceLock::new();
    let has_several = *HAS_SEVERAL.get_or_init(|| crate::current::available_cpus() > 1);
    if has_several { n_turns } else { 0 }
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

/// Looking again and again, for those who have more to do between two looks.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    n_turns: u32,
    offers_since: Option<Instant>,
}

impl Spin {
    /// Passes some time before the next look; `false` if the waiter should sleep instead.
    pub(crate) fn turn(&mut self) -> bool {
        self.n_turns += 1;
        if self.n_turns <= budget(N_LOOKS) {
            std::hint::spin_loop();
            return true;
        }
        let now = Instant::now();
        if budget(1) == 0 || now.duration_since(*self.offers_since.get_or_insert(now)) >= PATIENCE {
            return false;
        }
        std::thread::yield_now();
        true
    }
}
