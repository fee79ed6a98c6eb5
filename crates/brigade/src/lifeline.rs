//! Whether one certain process still lives, for those who must ask often. How the kernel tells is in session.rs.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::session::{Participant, session};

/// Says when to ask the kernel again: that takes a system call, so an answer is good for a tenth of a second.
#[derive(Debug, Default)]
pub(crate) struct Cadence {
    /// In milliseconds since this process first asked for anything.
    asked_at_ms: AtomicU64,
}

impl Cadence {
    const GOOD_FOR_MS: u64 = 100;

    /// Whether the last answer is too old. Whoever is told so asks; others go on with the old answer meanwhile.
    pub(crate) fn is_due(&self) -> bool {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now_ms = START.elapsed().as_millis() as u64 + Self::GOOD_FOR_MS;
        if now_ms - self.asked_at_ms.load(Ordering::Relaxed).min(now_ms) < Self::GOOD_FOR_MS {
            return false;
        }
        self.asked_at_ms.store(now_ms, Ordering::Relaxed);
        true
    }
}

/// Whether one certain process is still alive, to be asked often.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lifeline {
    of: Participant,
    #[serde(skip)]
    cadence: Cadence,
    #[serde(skip)]
    has_ended: AtomicBool,
}

impl Lifeline {
    pub(crate) fn of(participant: Participant) -> Self {
        Self { of: participant, cadence: Cadence::default(), has_ended: AtomicBool::new(false) }
    }

    /// Whether it is the process that asks.
    pub(crate) fn is_of_this_process(&self) -> bool {
        session().is_ok_and(|session| session.owner() == self.of.owner())
    }

    pub(crate) fn has_ended(&self) -> bool {
        if !self.has_ended.load(Ordering::Relaxed) && self.cadence.is_due() {
            return self.has_ended_now();
        }
        self.has_ended.load(Ordering::Relaxed)
    }

    /// The same, asked of the kernel at this moment.
    pub(crate) fn has_ended_now(&self) -> bool {
        let is_dead = session().map_or(true, |session| session.is_dead(self.of.owner()));
        self.has_ended.fetch_or(is_dead, Ordering::Relaxed) || is_dead
    }
}

impl Clone for Lifeline {
    fn clone(&self) -> Self {
        Self::of(self.of)
    }
}
