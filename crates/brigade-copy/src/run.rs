//! A copy that runs: hands the scheduler's tasks to the pool and the answers back, tells the caller what happens, and ends.
//! The one place that knows the pool. What is done next is decided in scheduler.rs.

pub(crate) mod process;
mod room;
mod stall;
mod start;
mod state;

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use brigade::{Pool, TaskError};

use crate::error::{Action, PathError, Refusal};
use crate::event::{EntryKind, Event, Note, Outcome, Progress, Question, SlowEntry, Summary};
use crate::facet::Lost;
use crate::lanes::{Lanes, Words, n_words};
use crate::plan::Plan;
use crate::request::{Answer, Delete, Digests, Report, Request, Times, Totals, Verify, Writing};
use crate::scheduler::Top;
use crate::task::{CopyAnswer, CopyTask, EntryDone, Failure};
use crate::worker::{Checks, Facts};
use process::{WorkerStart, begin_worker, give, run_task};
use room::Room;
use stall::Silent;
#[cfg(test)]
pub(crate) use start::moment_before_the_first_write;
use start::{Beginning, ShownRoot};
use state::Core;

/// Bytes of names that a walk may be ahead of the copying, if totals are wanted: a million names or so.
const WALK_AHEAD_BYTES: usize = 16 << 20;

/// Workers that are silent for so long after the order to stop are ended.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Restarts of workers within ten seconds beyond which something is wrong with more than a file.
const MAX_RESTARTS: u32 = 1000;

type Sink = Box<dyn FnMut(Event) + Send>;

/// A copy that runs in worker processes. Dropping it ends the workers, whatever they are doing.
pub struct Running {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    has_ended: Condvar,
    sink: Mutex<Sink>,
    pool: RwLock<Option<Pool>>,
    lanes: Lanes,
    roots: Vec<ShownRoot>,
    report: Report,
    delete: Delete,
    writing: Writing,
    n_workers: usize,
    began: Instant,
}

impl Plan {
    /// Starts the workers and the copy, and returns at once. `sink` gets every event, one at a time.
    ///
    /// # Errors
    /// [`Refusal::Workers`] if the worker processes could not be started, [`Refusal::Source`] or [`Refusal::Destination`] if
    /// one of the folders is no longer there.
    pub fn start(self, sink: impl FnMut(Event) + Send + 'static) -> Result<Running, Refusal> {
        Running::start(self, Box::new(sink))
    }
}

impl Running {
    pub(crate) fn start(plan: Plan, sink: Sink) -> Result<Self, Refusal> {
        let began = Instant::now();
        if let Some(nice) = plan.request.nice {
            process::check_nice(nice).map_err(Refusal::Niceness)?;
        }
        let mut beginning = Beginning::new(&plan)?;
        match Shared::new(&plan.request, &mut beginning, sink, began) {
            Ok(shared) => {
                let shared = Arc::new(shared);
                shared.begin(beginning);
                Ok(Self { shared })
            }
            Err(cause) => {
                beginning.undo();
                Err(Refusal::Workers(cause))
            }
        }
    }

    /// What has been done so far. Takes microseconds, and disturbs no worker.
    pub fn progress(&self) -> Progress {
        let mut core = self.shared.core();
        self.shared.free_lanes_of_the_dead();
        core.progress(&self.shared.lanes)
    }

    /// Answers an [`Event::Question`]; an answer that has been given, or comes after [`Running::stop`], changes nothing.
    pub fn answer(&self, question: u64, answer: Answer) {
        let mut core = self.shared.core();
        let done = core.scheduler.on_reply(question, answer);
        drop(core);
        if self.shared.report == Report::EveryEntry {
            self.shared.tell(done.into_iter().map(|entry| self.shared.file_event(&entry)).collect());
        }
        self.shared.go_on();
    }

    /// Asks for an early end: nothing new is begun, partial files are removed, folders get their metadata. Returns at once.
    pub fn stop(&self) {
        let mut core = self.shared.core();
        if core.stopped || core.summary.is_some() {
            return;
        }
        core.stopped = true;
        core.last_sign = Instant::now();
        core.watch.hurry();
        core.scheduler.stop();
        self.shared.lanes.stop();
        drop(core);
        self.shared.go_on();
    }

    /// Waits for the end, at most `timeout`. `None`: it still runs. After `Some` every event has been delivered.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Summary> {
        let deadline = Instant::now() + timeout;
        let mut core = self.shared.core();
        loop {
            if core.summary.is_some() {
                return core.summary.clone();
            }
            let now = Instant::now();
            let silent = core.watch.look(&self.shared.lanes, now);
            if !silent.is_empty() {
                drop(core);
                silent.into_iter().for_each(|silent| self.shared.abandon(silent));
                core = self.shared.core();
                continue;
            }
            let mut pause = deadline.saturating_duration_since(now);
            if let Some(until_next_look) = core.watch.pause(now) {
                pause = pause.min(until_next_look);
            }
            if core.stopped {
                let patience = (core.last_sign + STOP_PATIENCE).saturating_duration_since(now);
                if patience.is_zero() {
                    drop(core);
                    self.shared.break_off();
                    core = self.shared.core();
                    continue;
                }
                pause = pause.min(patience);
            }
            if deadline <= now {
                return None;
            }
            core = self.shared.has_ended.wait_timeout(core, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end, however long it takes. After it every event has been delivered.
    pub fn wait(&self) -> Summary {
        loop {
            if let Some(summary) = self.wait_timeout(Duration::from_secs(3600)) {
                return summary;
            }
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let has_ended = self.shared.core().summary.is_some();
        // Taken out here, so that the last handle is never dropped by the pool's own thread.
        let pool = self.shared.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pool) = pool {
            if has_ended {
                pool.close();
            } else {
                pool.terminate();
            }
            pool.join();
        }
    }
}

impl Shared {
    /// Starts the workers.
    fn new(
        request: &Request,
        beginning: &mut Beginning,
        sink: Sink,
        began: Instant,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let n_wanted = request.workers.map_or_else(brigade::available_cpus, usize::from);
        let n_workers = n_wanted.min(beginning.n_useful_workers).max(1);
        // Twice as many lanes as workers: a successor may start before the lane of the dead is free.
        let n_lanes = n_workers * 2;
        let words = Words::new(n_words(n_lanes))?;
        let lanes = Lanes::new(words.clone(), n_lanes);
        let room = match (beginning.roots.as_slice(), request.totals) {
            ([root], Totals::Wanted) => Room::between(&root.source, &root.destination),
            _ => Room::default(),
        };
        let (given, roots) = std::mem::take(&mut beginning.roots)
            .into_iter()
            .map(|root| (give(root.source, root.destination, root.renamed, root.called), root.shown))
            .unzip();
        let start =
            WorkerStart { facts: facts_for(request, beginning), roots: given, words, n_lanes, nice: request.nice };
        let pool = Pool::builder()
            .workers(1)
            .restart_limit(MAX_RESTARTS, Duration::from_secs(10))
            .initializer(start, begin_worker)
            .build()?;
        let n_workers = widen(&pool, n_workers);
        Ok(Self {
            core: Mutex::new(Core::new(request, n_workers, room)),
            has_ended: Condvar::new(),
            sink: Mutex::new(sink),
            pool: RwLock::new(Some(pool)),
            lanes,
            roots,
            report: request.report,
            delete: request.delete,
            writing: request.policy.writing,
            n_workers,
            began,
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, beginning: Beginning) {
        let mut core = self.core();
        for (root, top) in beginning.tops {
            if let Top::Folder { path, .. } = &top
                && self.delete != Delete::Nothing
            {
                core.scheduler.add_removal(root, path.clone());
            }
            core.scheduler.counts.n_found += u64::from(!matches!(top, Top::Files(_)));
            core.scheduler.add(root, top);
        }
        for _ in &beginning.failures {
            core.scheduler.counts.n_found += 1;
            core.scheduler.counts.count(EntryKind::Directory, Outcome::Failed, 0);
        }
        let mut events: Vec<_> = beginning.failures.into_iter().map(Event::Failed).collect();
        self.look_at_workers(&mut core, &mut events);
        drop(core);
        self.tell(events);
        self.go_on();
    }

    /// Hands out what there is to do, and ends the run when there is nothing left.
    fn go_on(self: &Arc<Self>) {
        loop {
            let mut core = self.core();
            if core.summary.is_some() || core.broken.is_some() {
                break;
            }
            let Some(task) = core.scheduler.next_task() else {
                self.lanes.want(core.scheduler.n_idle_workers());
                break;
            };
            drop(core);
            self.submit(task);
        }
        self.end_if_done();
    }

    fn submit(self: &Arc<Self>, task: CopyTask) {
        let task_id = task.id;
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        let Some(pool) = pool.as_ref() else { return };
        match pool.apply_async(task, run_task) {
            Ok(submitted) => {
                let shared = Arc::clone(self);
                submitted.on_done(move |result| shared.on_result(task_id, result));
            }
            Err(error) => self.core().broken = Some(error.to_string()),
        }
    }

    /// Runs on the pool's dispatcher thread.
    fn on_result(self: &Arc<Self>, task_id: u64, result: Result<CopyAnswer, TaskError>) {
        let mut events = Vec::new();
        let mut core = self.core();
        if core.summary.is_some() {
            return;
        }
        core.last_sign = Instant::now();
        match result {
            Ok(answer) => {
                core.stalled.remove(&task_id);
                self.take_answer(&mut core, task_id, answer, &mut events);
            }
            Err(error) => self.take_error(&mut core, task_id, &error, &mut events),
        }
        for question in core.scheduler.take_unasked() {
            let root = &self.roots[question.root as usize];
            events.push(Event::Question(Question {
                id: question.id,
                source: root.source_path(&question.path.0),
                destination: root.destination_path(&question.path.0),
                why: question.why,
            }));
        }
        for failure in core.scheduler.take_failures() {
            events.push(Event::Failed(self.path_error(failure)));
        }
        if core.scheduler.is_walk_finished() && !core.said_walk_finished && !core.stopped {
            core.said_walk_finished = true;
            core.walk_elapsed = Some(self.began.elapsed());
            events.push(Event::WalkFinished);
        }
        drop(core);
        self.tell(events);
        self.go_on();
    }

    fn take_answer(&self, core: &mut Core, task_id: u64, mut answer: CopyAnswer, events: &mut Vec<Event>) {
        for failure in answer.failures.drain(..) {
            if self.report == Report::EveryEntry {
                events.push(self.failed_entry(&failure));
            }
            events.push(Event::Failed(self.path_error(failure)));
        }
        for failure in answer.removal.failures.drain(..) {
            events.push(Event::Failed(self.path_error(failure)));
        }
        for removed in answer.removal.removed.drain(..) {
            let path = self.roots[removed.root as usize].destination_path(&removed.path.0);
            events.push(Event::Removed { path, kind: removed.kind, writing: self.writing });
        }
        for entry in answer.entries.drain(..) {
            events.push(self.file_event(&entry));
        }
        if let Some(slow) = answer.slowest.take() {
            let path = self.roots[slow.root as usize].source_path(&slow.path.0);
            core.note_slow(SlowEntry { path, elapsed: slow.elapsed });
        }
        for digest in answer.digests.drain(..) {
            let destination = self.roots[digest.root as usize].destination_path(&digest.path.0);
            events.push(Event::Digest { destination, hash: digest.hash });
        }
        core.scheduler.on_answer(task_id, answer);
        events.extend(core.room.exceeded(&core.scheduler.counts).into_iter().map(Event::Note));
    }

    /// Gives up a worker that is stuck, so that what else was in its task can go on.
    fn abandon(&self, silent: Silent) {
        let Silent { pid, task_id, silent_for } = silent;
        let Some(place) = self.lanes.whereabouts(pid) else { return };
        let path = self.roots[place.root as usize].source_path(&place.path.0);
        let mut core = self.core();
        core.stalled.insert(task_id, place);
        core.known_pids.remove(&pid);
        core.lost_pids.insert(pid);
        drop(core);
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        // What follows for the task is told by the pool.
        if pool.as_ref().is_some_and(|pool| pool.abandon(pid)) {
            drop(pool);
            self.lanes.keep_only(|alive| alive != pid);
            self.core().n_lost_workers += 1;
            self.tell(vec![Event::WorkerStalled { pid, path, silent_for }]);
        } else {
            let mut core = self.core();
            core.stalled.remove(&task_id);
            core.known_pids.insert(pid);
            core.lost_pids.remove(&pid);
        }
    }

    fn take_error(&self, core: &mut Core, task_id: u64, error: &TaskError, events: &mut Vec<Event>) {
        if let Some(place) = core.stalled.remove(&task_id) {
            core.scheduler.on_stall(task_id, place);
            return self.look_at_workers(core, events);
        }
        match error {
            TaskError::Killed { pid, signal, .. } => self.lost(core, *pid, Some(*signal), events),
            TaskError::Exited { pid, .. } => self.lost(core, *pid, None, events),
            TaskError::Panicked(report) => events.push(Event::Note(Note::WorkerPanicked(report.to_string()))),
            // Anything else is no accident of one worker: the pool is at its end, or we are at fault.
            other => {
                if core.broken.is_none() {
                    core.broken = Some(other.to_string());
                }
                return;
            }
        }
        core.scheduler.on_death(task_id);
        self.look_at_workers(core, events);
    }

    /// Tells of a worker that is gone, once: its task knows of it, and so does a look at the pool.
    fn lost(&self, core: &mut Core, pid: u32, signal: Option<i32>, events: &mut Vec<Event>) {
        core.known_pids.remove(&pid);
        self.lanes.keep_only(|alive| alive != pid);
        if core.lost_pids.insert(pid) {
            core.n_lost_workers += 1;
            events.push(Event::WorkerLost { pid, signal });
        }
    }

    /// Finds workers that are new, and those that were lost while they had no task.
    fn look_at_workers(&self, core: &mut Core, events: &mut Vec<Event>) {
        let Some(pids) = self.pids() else { return };
        for pid in core.known_pids.iter().copied().filter(|pid| !pids.contains(pid)).collect::<Vec<_>>() {
            self.lost(core, pid, None, events);
        }
        for pid in pids {
            if core.known_pids.insert(pid) {
                core.lost_pids.remove(&pid);
                events.push(Event::WorkerStarted { pid });
            }
        }
    }

    fn free_lanes_of_the_dead(&self) {
        if let Some(pids) = self.pids() {
            self.lanes.keep_only(|pid| pids.contains(&pid));
        }
    }

    fn pids(&self) -> Option<HashSet<u32>> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        pool.as_ref().map(|pool| pool.workers().iter().map(|worker| worker.pid).collect())
    }

    fn path_error(&self, failure: Failure) -> PathError {
        let root = &self.roots[failure.root as usize];
        let path = match failure.action {
            Action::Stat | Action::Open | Action::List | Action::Read | Action::ReadAttributes | Action::Copy => {
                root.source_path(&failure.path.0)
            }
            _ => root.destination_path(&failure.path.0),
        };
        let entry = root.entry(&failure.path.0);
        PathError { action: failure.action, path, cause: failure.cause.into(), entry }
    }

    fn file_event(&self, entry: &EntryDone) -> Event {
        let root = &self.roots[entry.root as usize];
        Event::File {
            source: root.source_path(&entry.path.0),
            destination: root.destination_path(&entry.path.0),
            kind: entry.kind,
            outcome: entry.outcome,
            writing: self.writing,
            why: entry.why,
            bytes: entry.n_bytes,
            lost: entry.lost,
        }
    }

    fn failed_entry(&self, failure: &Failure) -> Event {
        let root = &self.roots[failure.root as usize];
        Event::File {
            source: root.source_path(&failure.path.0),
            destination: root.destination_path(&failure.path.0),
            kind: EntryKind::File,
            outcome: Outcome::Failed,
            writing: self.writing,
            why: None,
            bytes: 0,
            lost: Lost::default(),
        }
    }

    fn tell(&self, events: Vec<Event>) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().for_each(&mut *sink);
    }

    fn end_if_done(&self) {
        let mut core = self.core();
        if core.summary.is_none() && (core.broken.is_some() || core.scheduler.is_done()) {
            let mut events = Vec::new();
            self.look_at_workers(&mut core, &mut events);
            events.extend(core.scheduler.removal.ceased.map(|why| Event::Note(Note::RemovalCeased(why))));
            drop(core);
            self.tell(events);
            self.end();
        }
    }

    /// Ends a run whose workers do not answer any more. The end comes first, so that nobody takes what follows for an accident.
    fn break_off(&self) {
        self.end();
        if let Some(pool) = self.pool.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            pool.terminate();
        }
    }

    fn end(&self) {
        let mut core = self.core();
        if core.summary.is_none() {
            // The pool has counted also those that came and went between two looks.
            let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
            core.n_lost_workers = pool.as_ref().map_or(core.n_lost_workers, Pool::lost_workers);
            core.summary = Some(core.summarize(self.n_workers, self.began.elapsed(), self.writing));
            self.has_ended.notify_all();
        }
    }
}

/// Starts the other workers, as many as the limits on processes, files and memory allow. Returns how many there are then.
fn widen(pool: &Pool, n_wanted: usize) -> usize {
    let narrower = std::iter::successors(Some(n_wanted), |n_workers| Some(n_workers / 2));
    narrower.take_while(|&n_workers| n_workers > 1).find(|&n_workers| pool.resize(n_workers).is_ok()).unwrap_or(1)
}

fn facts_for(request: &Request, beginning: &mut Beginning) -> Facts {
    Facts {
        secret: [random_number(), random_number()],
        started: beginning.started,
        destinations: std::mem::take(&mut beginning.destinations),
        wants_sizes: request.totals == Totals::Wanted,
        wants_entries: request.report == Report::EveryEntry,
        wants_times: request.times == Times::Wanted,
        policy: request.policy.clone(),
        selection: request.selection.clone(),
        bytes_per_second: request.bytes_per_second,
        delete: request.delete,
        empty_source: request.empty_source,
        fidelity: request.fidelity,
        checks: Checks {
            verifies: request.verify == Verify::Written,
            wants_digests: request.digests == Digests::Wanted,
        },
    }
}

/// From the system's source of randomness, which the standard library seeds its hash maps with.
fn random_number() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0)
}
