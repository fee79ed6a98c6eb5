//! Keeps all workers together below a number of bytes per second. One shared word says when the next byte may move; whoever wants
//! to move some pushes it ahead by the time that these take and sleeps until where it stood. Who moves bytes is in
//! worker/contents.rs.
//!
//! A worker that is killed has at most paid for one portion that it did not move. Nobody holds anything.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::lanes::{PACE, Words};

/// Portions take about this part of a second, so that bytes move smoothly and an order to stop is obeyed soon.
const PORTIONS_PER_SECOND: u64 = 32;

/// Time that was not used is made up for, up to this much: a worker that slept too long, or a slow device.
const MOST_ARREARS_NANOS: u64 = 100_000_000;

/// The longest sleep between two looks at the order to stop.
const NAP: Duration = Duration::from_millis(40);

/// The pace of one worker's bytes, shared with all others.
pub(crate) struct Pace {
    words: Words,
    bytes_per_second: Option<NonZeroU64>,
}

/// Whether bytes may move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    Now,
    /// The order to stop came first.
    Never,
}

impl Pace {
    pub(crate) fn new(words: Words, bytes_per_second: Option<NonZeroU64>) -> Self {
        Self { words, bytes_per_second }
    }

    /// The most bytes that may move at once.
    pub(crate) fn portion_bytes(&self) -> u64 {
        self.bytes_per_second.map_or(u64::MAX, |rate| (rate.get() / PORTIONS_PER_SECOND).max(1))
    }

    /// Waits until it is these bytes' turn. Costs nothing where there is no limit.
    pub(crate) fn wait(&self, n_bytes: u64, must_stop: impl Fn() -> bool) -> Turn {
        let Some(rate) = self.bytes_per_second else {
            return Turn::Now;
        };
        let begin = self.reserve(n_bytes, rate);
        loop {
            let left = Duration::from_nanos(begin.saturating_sub(now_nanos()));
            if left.is_zero() {
                return Turn::Now;
            }
            if must_stop() {
                return Turn::Never;
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    /// Takes the time that these bytes need, and returns when it begins.
    fn reserve(&self, n_bytes: u64, rate: NonZeroU64) -> u64 {
        let cost = u128::from(n_bytes) * 1_000_000_000 / u128::from(rate.get());
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        loop {
            let next = self.words.load(PACE);
            let now = now_nanos();
            // The first one of all finds nothing to make up for.
            let begin = if next == 0 { now } else { next.max(now.saturating_sub(MOST_ARREARS_NANOS)) };
            if self.words.compare_exchange(PACE, next, begin.saturating_add(cost)).is_ok() {
                return begin;
            }
        }
    }
}

/// The clock that is the same in all processes.
fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::lanes::n_words;

    fn pace(words: &Words, rate: u64) -> Pace {
        Pace::new(words.clone(), NonZeroU64::new(rate))
    }

    #[test]
    fn several_share_one_rate() {
        let words = Words::new(n_words(1)).unwrap();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let pace = pace(&words, 1 << 20);
                    for _ in 0..20 {
                        assert_eq!(pace.wait(pace.portion_bytes(), || false), Turn::Now);
                    }
                });
            }
        });
        // The last portion is paid for by whoever comes next.
        let expected = 59.0 / 32.0;
        let seconds = began.elapsed().as_secs_f64();
        assert!(seconds > expected * 0.98, "{seconds} s instead of {expected} s");
    }

    #[test]
    fn an_order_to_stop_ends_the_wait() {
        let words = Words::new(n_words(1)).unwrap();
        let pace = pace(&words, 1);
        assert_eq!(pace.wait(1_000_000, || false), Turn::Now);
        assert_eq!(pace.wait(1, || true), Turn::Never);
    }

    #[test]
    fn without_a_limit_nothing_is_written_or_awaited() {
        let words = Words::new(n_words(1)).unwrap();
        assert_eq!(pace(&words, 0).wait(u64::MAX, || false), Turn::Now);
        assert_eq!(words.load(PACE), 0);
        assert_eq!(pace(&words, 0).portion_bytes(), u64::MAX);
    }
}
