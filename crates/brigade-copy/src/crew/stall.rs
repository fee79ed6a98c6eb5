//! Notices workers that wait in the kernel for something that does not come: a dead mount, a device that hangs; and, after the
//! order to stop, that no answer comes at all. What is done about it then is decided in run.rs and scheduler/deaths.rs.
//!
//! A sign of life is whatever the worker shows in its lane, which changes with every entry and every block of bytes; and, looked
//! at only where a lane stands still, that the kernel says that it runs or has been woken since. So each completed system
//! call counts that had to wait at all, and a copy is never too slow for this.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::lanes::{Lanes, Sign};
use crate::pulse::Pulse;

/// Workers that are silent for so long after the order to stop are not waited for.
const STOP_SILENCE: Duration = Duration::from_millis(800);

/// If no answer has come for so long after the order to stop, all workers are ended.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// A disk may take long to write what is in memory, and says nothing meanwhile. So long at least it is waited for, and after the
/// order to stop.
const FLUSH_PATIENCE: Duration = Duration::from_secs(600);
const STOP_FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// The longest and the shortest time between two looks.
const MAX_STEP: Duration = Duration::from_secs(1);
const MIN_STEP: Duration = Duration::from_millis(10);

/// Watches the lanes of all workers.
pub(crate) struct StallWatch {
    timeout: Option<Duration>,
    /// When the order to stop came, or the last task after it ended.
    last_answer: Option<Instant>,
    last_look: Instant,
    watched: HashMap<u32, Watched>,
}

/// What is to be done by whoever waits for the end.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Due {
    /// These are to be given up.
    Abandon(Vec<Silent>),
    /// All are to be ended.
    BreakOff,
    /// Nothing for so long.
    Pause(Duration),
}

/// A worker that is at work.
struct Watched {
    sign: Sign,
    /// Felt once its lane stands still.
    pulse: Pulse,
}

/// A worker that is stuck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Silent {
    pub(crate) pid: u32,
    pub(crate) task_id: u64,
    pub(crate) silent_for: Duration,
}

impl StallWatch {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, last_answer: None, last_look: Instant::now(), watched: HashMap::new() }
    }

    /// From now on there is less patience, also where there was no limit.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.timeout = Some(self.timeout.map_or(STOP_SILENCE, |timeout| timeout.min(STOP_SILENCE)));
        self.last_answer = Some(now);
    }

    /// A task has come to an end.
    pub(crate) fn on_answer(&mut self, now: Instant) {
        if let Some(last_answer) = &mut self.last_answer {
            *last_answer = now;
        }
    }

    /// What is to be done now.
    pub(crate) fn due(&mut self, lanes: &Lanes, now: Instant) -> Due {
        let silent = self.look(lanes, now);
        if !silent.is_empty() {
            return Due::Abandon(silent);
        }
        let is_flushing = lanes.signs().any(|(_, sign)| sign.is_flushing());
        let patience = if is_flushing { STOP_FLUSH_PATIENCE } else { STOP_PATIENCE };
        let patience = self.last_answer.map(|last| (last + patience).saturating_duration_since(now));
        if patience == Some(Duration::ZERO) {
            return Due::BreakOff;
        }
        let until_next_look = self.step().map(|step| (self.last_look + step).saturating_duration_since(now));
        Due::Pause(patience.into_iter().chain(until_next_look).min().unwrap_or(Duration::MAX))
    }

    fn step(&self) -> Option<Duration> {
        Some((self.timeout? / 8).clamp(MIN_STEP, MAX_STEP))
    }

    /// Looks at all workers, if it is time. Returns those that are stuck.
    fn look(&mut self, lanes: &Lanes, now: Instant) -> Vec<Silent> {
        let (Some(timeout), Some(step)) = (self.timeout, self.step()) else {
            return Vec::new();
        };
        if now < self.last_look + step {
            return Vec::new();
        }
        // Time in which this process itself was stopped says nothing about the workers.
        let passed = now.duration_since(self.last_look).min(step * 2);
        self.last_look = now;
        let mut before = std::mem::take(&mut self.watched);
        let mut silent = Vec::new();
        for (pid, sign) in lanes.signs() {
            let watched = Watched::next(before.remove(&pid), pid, sign, passed);
            let patience = match (sign.is_flushing(), self.last_answer) {
                (false, _) => timeout,
                (true, None) => timeout.max(FLUSH_PATIENCE),
                (true, Some(_)) => STOP_FLUSH_PATIENCE,
            };
            if watched.pulse.silent_for >= patience {
                silent.push(Silent { pid, task_id: sign.task_id, silent_for: watched.pulse.silent_for });
            }
            self.watched.insert(pid, watched);
        }
        silent
    }
}

impl Watched {
    fn next(before: Option<Self>, pid: u32, sign: Sign, passed: Duration) -> Self {
        match before {
            Some(mut same) if same.sign == sign => {
                same.pulse.feel(pid, passed);
                same
            }
            _ => Self { sign, pulse: Pulse::default() },
        }
    }
}
