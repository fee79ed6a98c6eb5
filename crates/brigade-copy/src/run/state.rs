//! What changes while a copy runs, and the two accounts of it: the snapshot for a display and the summary at the end.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::room::Room;
use super::undurable::Undurable;
use crate::confine::Confinement;
use crate::crew::{Adapts, Answered, Look, StallWatch, Width, n_steps};
use crate::event::{Limit, Progress, SlowEntry, Summary};
use crate::hands::Hands;
use crate::lanes::Lanes;
use crate::request::{Report, Request, Writing};
use crate::scheduler::{Commits, Scheduler};
use crate::stuck::Stuck;

/// Entries that a summary names as the slowest.
const N_SLOWEST: usize = 3;

/// What changes while a copy runs.
pub(super) struct Core {
    pub(super) scheduler: Scheduler,
    pub(super) room: Room,
    pub(super) known_pids: HashSet<u32>,
    /// Those that were told to be lost.
    pub(super) lost_pids: HashSet<u32>,
    pub(super) n_lost_workers: u64,
    pub(super) said_walk_finished: bool,
    pub(super) walk_elapsed: Option<Duration>,
    /// The slowest first.
    slowest: Vec<SlowEntry>,
    pub(super) stopped: bool,
    pub(super) broken: Option<String>,
    /// An entry failed since there was no room for it.
    pub(super) is_out_of_room: bool,
    pub(super) watch: StallWatch,
    /// `None`: the kernel does not tell how long workers wait.
    pub(super) width: Option<Width>,
    /// Where the workers of these tasks got stuck and are being given up.
    pub(super) stalled: HashMap<u64, Stuck>,
    /// The most that has been shown, so that nothing ever falls.
    pub(super) shown: Progress,
    pub(super) summary: Option<Summary>,
    /// Entries that the last flush makes durable, if each is to be told.
    pub(super) undurable: Undurable,
}

impl Adapts for Core {
    fn width(&mut self) -> &mut Option<Width> {
        &mut self.width
    }

    /// A flush of a whole disk keeps its worker busy, too: more workers do not hasten it.
    fn look(&mut self, lanes: &Lanes, busy: Duration) -> Look {
        let counts = self.scheduler.counts;
        let live = lanes.live_counts(|task_id| self.scheduler.is_in_flight(task_id));
        let n_steps = n_steps(counts.n_done() + live.n_done, counts.bytes_done + live.n_bytes);
        Look { at: Instant::now(), n_steps, busy: busy + self.scheduler.time_in_flush() }
    }

    fn are_all_busy(&self) -> bool {
        self.scheduler.are_all_busy() && !self.stopped
    }

    fn set_hands(&mut self, hands: Hands) {
        self.scheduler.set_hands(hands);
    }
}

impl Core {
    pub(super) fn new(request: &Request, n_workers: usize, most_workers: usize, room: Room) -> Self {
        let commits = Commits::new(request.durability, request.group_limits, request.report == Report::EveryEntry);
        Self {
            width: Some(Width::new(brigade::available_cpus(), n_workers, most_workers, Instant::now())),
            scheduler: Scheduler::new(n_workers, request.totals.walk_ahead_bytes(), commits),
            room,
            known_pids: HashSet::new(),
            lost_pids: HashSet::new(),
            n_lost_workers: 0,
            said_walk_finished: false,
            walk_elapsed: None,
            slowest: Vec::new(),
            stopped: false,
            broken: None,
            is_out_of_room: false,
            watch: StallWatch::new(request.stall_timeout),
            stalled: HashMap::new(),
            shown: Progress::default(),
            summary: None,
            undurable: Undurable::default(),
        }
    }

    pub(super) fn progress(&mut self, lanes: &Lanes) -> Progress {
        let counts = &self.scheduler.counts;
        let answered = Answered {
            n_found: counts.n_found,
            n_done: counts.n_done(),
            bytes_found: counts.bytes_found,
            bytes_done: counts.bytes_done,
            walk_finished: self.scheduler.is_walk_finished(),
            is_flushing: self.scheduler.only_flushes(),
            bytes_unflushed: self.scheduler.commits.n_bytes(),
        };
        let live = lanes.live_counts(|task_id| self.scheduler.is_in_flight(task_id));
        answered.show(live, lanes, self.n_lost_workers, &mut self.shown);
        self.shown.clone()
    }

    /// Keeps the entry if it is one of the slowest so far.
    pub(super) fn note_slow(&mut self, entry: SlowEntry) {
        let rank = self.slowest.partition_point(|other| other.elapsed >= entry.elapsed);
        self.slowest.insert(rank, entry);
        self.slowest.truncate(N_SLOWEST);
    }

    pub(super) fn summarize(
        &self,
        sandbox: Confinement,
        n_workers: usize,
        elapsed: Duration,
        limited_by: Option<Limit>,
        writing: Writing,
    ) -> Summary {
        let counts = self.scheduler.counts;
        let is_cut_short = self.stopped || self.broken.is_some();
        let mut summary = Summary {
            // What was found and not reached is not in the books of a run that was cut short.
            n_found: if is_cut_short { counts.n_done() } else { counts.n_found },
            n_copied: counts.n_copied,
            n_unchanged: counts.n_unchanged,
            n_skipped: counts.n_skipped,
            n_failed: counts.n_failed,
            n_changed: counts.n_changed,
            n_files: counts.n_files,
            n_directories: counts.n_directories,
            n_symlinks: counts.n_symlinks,
            n_hard_links: counts.n_hard_links,
            n_special: counts.n_special,
            fidelity: counts.fidelity,
            n_verified: counts.n_verified,
            n_rewritten: counts.n_rewritten,
            sandbox,
            n_deleted: counts.n_deleted,
            n_undeleted: counts.n_undeleted,
            durable: self.scheduler.commits.is_all_durable(),
            n_unflushed: counts.n_unflushed,
            removal_ceased: self.scheduler.removal.ceased,
            bytes: counts.bytes_copied,
            bytes_reflinked: counts.bytes_reflinked,
            bytes_in_holes: counts.bytes_in_holes,
            bytes_kept: counts.bytes_kept,
            bytes_unchanged: counts.bytes_unchanged,
            elapsed,
            walk_elapsed: self.walk_elapsed,
            slowest: self.slowest.clone(),
            n_workers,
            n_lost_workers: self.n_lost_workers,
            limited_by,
            writing,
            interrupted: self.stopped,
            broken: self.broken.clone(),
            is_out_of_room: self.is_out_of_room,
        };
        if summary.n_found != counts.n_done() {
            summary.broken =
                Some(format!("{} entries were found, but {} are accounted for", counts.n_found, counts.n_done()));
        }
        summary
    }
}
