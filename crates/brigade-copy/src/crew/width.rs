//! Finds out, while a run goes on, how many workers do the most: more where they wait for a disk, a network or a slow file system,
//! fewer where they are in each other's way. It only judges; what it wants is done in adapt.rs.
//!
//! Workers that wait in the kernel leave the processors to others: with a share `w` of their time spent so, about
//! `processors / (1 - w)` of them keep the processors busy. So many are tried at once, and kept if more is done than before;
//! else the run goes back, tries the other direction, and after each failure waits twice as long before it tries again.

use std::time::{Duration, Instant};

/// As many workers as are ever tried.
pub(crate) const MOST_WORKERS: usize = 64;

/// The time between two looks: short at first, since a short run must not be over before anything is found out.
const SHORTEST_LOOK: Duration = Duration::from_millis(25);
const LONGEST_LOOK: Duration = Duration::from_millis(400);

/// After a trial that did not pay none follows for so long; twice as long after each further one.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The share of waiting from which another number of workers is tried.
const MUCH_WAITING: f64 = 0.4;

/// How many times as many workers are tried at once, at most.
const MOST_TIMES: usize = 8;

/// How many times as much must be done by more workers, and by fewer.
const GAIN_OF_MORE: f64 = 1.15;
const GAIN_OF_FEWER: f64 = 1.05;

/// Looks at a trial that does not pay before it is given up, but for the last.
const MOST_LOOKS: u32 = 2;

/// So few steps say nothing about a rate.
const FEWEST_STEPS: u64 = 16;

/// What there is to see of a run at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    /// What has been done, in [steps](n_steps).
    pub(crate) n_steps: u64,
    /// For how long the workers together have run, or have waited for a processor.
    pub(crate) busy: Duration,
}

/// Steps that take about the same time: entries and blocks.
pub(crate) fn n_steps(n_entries: u64, n_bytes: u64) -> u64 {
    const BLOCK_BYTES: u64 = 128 << 10;
    n_entries + n_bytes / BLOCK_BYTES
}

/// Judges the number of workers.
#[derive(Debug)]
pub(crate) struct Width {
    n_processors: usize,
    most: usize,
    n_workers: usize,
    last: Look,
    pause: Duration,
    trial: Option<Trial>,
    /// What is tried next.
    next: Direction,
    rest: Duration,
    rests_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    n_before: usize,
    /// Steps per second that must be reached.
    least_rate: f64,
    /// So many looks more are taken before it is given up: work has to reach those who are new.
    n_looks: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    More,
    Fewer,
}

impl Width {
    /// Begins with so many workers; there may be `most`.
    pub(crate) fn new(n_processors: usize, n_workers: usize, most: usize, now: Instant) -> Self {
        Self {
            n_processors,
            most,
            n_workers,
            last: Look { at: now, n_steps: 0, busy: Duration::ZERO },
            pause: SHORTEST_LOOK,
            trial: None,
            next: Direction::More,
            rest: SHORTEST_REST,
            rests_until: None,
        }
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Instant {
        self.last.at + self.pause
    }

    /// How many workers are to be at work from now on, if another number. `are_all_busy`: all of them have something to do, and there
    /// is more.
    pub(crate) fn judge(&mut self, look: Look, are_all_busy: bool) -> Option<usize> {
        let n_steps = look.n_steps.saturating_sub(self.last.n_steps);
        if are_all_busy && n_steps < FEWEST_STEPS && self.pause < LONGEST_LOOK {
            self.pause *= 2;
            return None;
        }
        let passed = look.at.duration_since(self.last.at).as_secs_f64();
        let busy = look.busy.saturating_sub(self.last.busy).as_secs_f64();
        let (rate, at_work) = (n_steps as f64 / passed, busy / passed);
        self.last = look;
        // Where nothing moves, more workers would get stuck, too.
        if !are_all_busy || n_steps == 0 {
            self.trial = None;
            return None;
        }
        match self.trial.take() {
            Some(trial) if rate < trial.least_rate && trial.n_looks > 0 => {
                self.pause *= 2;
                self.trial = Some(Trial { n_looks: trial.n_looks - 1, ..trial });
                None
            }
            Some(trial) if rate < trial.least_rate => Some(self.give_up(trial, look.at)),
            _ => self.try_another(rate, at_work, look.at),
        }
    }

    /// So many workers are there, and have been since `look`.
    pub(crate) fn set(&mut self, n_workers: usize, look: Look) {
        self.n_workers = n_workers;
        self.last = look;
        self.pause = SHORTEST_LOOK * 2;
    }

    fn give_up(&mut self, trial: Trial, now: Instant) -> usize {
        self.rests_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(LONGEST_REST);
        self.next = match self.next {
            Direction::More => Direction::Fewer,
            Direction::Fewer => Direction::More,
        };
        trial.n_before
    }

    fn try_another(&mut self, rate: f64, at_work: f64, now: Instant) -> Option<usize> {
        let n_before = self.n_workers;
        let waiting = 1.0 - at_work / n_before as f64;
        let (n_tried, gain) = match self.next {
            Direction::More => (self.enough(at_work), GAIN_OF_MORE),
            Direction::Fewer => (n_before / 2, GAIN_OF_FEWER),
        };
        let is_resting = self.rests_until.is_some_and(|until| now < until);
        if is_resting || waiting < MUCH_WAITING || n_tried == 0 || n_tried == n_before {
            self.pause = (self.pause * 2).min(LONGEST_LOOK);
            return None;
        }
        self.trial = Some(Trial { n_before, least_rate: rate * gain, n_looks: MOST_LOOKS });
        Some(n_tried)
    }

    /// As many workers as keep the processors busy, if each of them keeps busy for as long as now.
    fn enough(&self, at_work: f64) -> usize {
        let each = (at_work / self.n_workers as f64).max(1e-3);
        let wanted = (self.n_processors as f64 / each).ceil() as usize;
        wanted.min(self.n_workers * MOST_TIMES).clamp(self.n_workers, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in which `rate(n)` steps are done in a second by `n` workers, who are busy for `busy(n)` seconds together meanwhile.
    /// How many workers there are after each look, for so long.
    fn widths(seconds: u64, rate: impl Fn(usize) -> f64, busy: impl Fn(usize) -> f64) -> Vec<usize> {
        let start = Instant::now();
        let mut look = Look { at: start, n_steps: 0, busy: Duration::ZERO };
        let (mut width, mut n_workers) = (Width::new(2, 2, MOST_WORKERS, start), 2);
        let mut seen = Vec::new();
        let mut steps = 0.0;
        while look.at < start + Duration::from_secs(seconds) {
            let due = width.due();
            let passed = due.duration_since(look.at).as_secs_f64();
            steps += rate(n_workers) * passed;
            let busy = look.busy + Duration::from_secs_f64(busy(n_workers) * passed);
            look = Look { at: due, n_steps: steps as u64, busy };
            if let Some(wanted) = width.judge(look, true) {
                n_workers = wanted;
                width.set(n_workers, look);
            }
            seen.push(n_workers);
        }
        seen
    }

    fn usual(widths: &[usize]) -> usize {
        let mut sorted = widths.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    }

    #[test]
    fn workers_that_wait_get_company_within_a_fifth_of_a_second() {
        let start = Instant::now();
        let mut width = Width::new(2, 2, MOST_WORKERS, start);
        let mut look = Look { at: start, n_steps: 0, busy: Duration::ZERO };
        let mut n_workers = 2;
        while n_workers < MOST_WORKERS {
            let passed = width.due().duration_since(look.at);
            look.at = width.due();
            look.n_steps += (n_workers as f64 * 1000.0 * passed.as_secs_f64()) as u64;
            look.busy += passed.mul_f64(0.02 * n_workers as f64);
            if let Some(wanted) = width.judge(look, true) {
                n_workers = wanted;
                width.set(n_workers, look);
            }
            assert!(look.at < start + Duration::from_millis(200), "{n_workers} workers");
        }
    }

    #[test]
    fn workers_that_keep_the_processors_busy_stay_as_they_are() {
        assert!(widths(60, |_| 100_000.0, |n| n as f64 * 0.9).iter().all(|&n| n == 2));
    }

    #[test]
    fn as_many_as_pay_stay() {
        // A device with sixteen places.
        let seen = widths(60, |n| n.min(16) as f64 * 1000.0, |n| n.min(16) as f64 * 0.05);
        assert!((16..=32).contains(&usual(&seen)), "{seen:?}");
    }

    #[test]
    fn a_disk_that_moves_its_head_gets_one() {
        let seen = widths(60, |n| 1000.0 / n as f64, |_| 0.05);
        assert_eq!(usual(&seen), 1, "{seen:?}");
    }

    #[test]
    fn what_never_pays_is_hardly_ever_tried() {
        let seen = widths(120, |_| 5000.0, |_| 0.2);
        assert_eq!(usual(&seen), 2);
        let n_trials = seen.windows(2).filter(|two| two[0] == 2 && two[1] != 2).count();
        assert!((2..12).contains(&n_trials), "{n_trials}");
    }

    #[test]
    fn nothing_is_tried_when_work_runs_out_or_nothing_moves() {
        let start = Instant::now();
        for (n_steps, are_all_busy) in [(1000, false), (0, true)] {
            let mut width = Width::new(2, 2, MOST_WORKERS, start);
            for idx in 1..100 {
                let n_steps = u64::from(idx) * n_steps;
                let look = Look { at: start + LONGEST_LOOK * idx, n_steps, busy: Duration::ZERO };
                assert_eq!(width.judge(look, are_all_busy), None);
            }
        }
    }
}
