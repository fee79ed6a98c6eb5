//! A copy that runs: hands the scheduler's tasks to the pool and the answers back, tells the caller what happens, and ends.
//! The one place that knows the pool. What is done next is decided in scheduler.rs.

mod start;

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use brigade::{Descriptor, Pool, TaskError};

use crate::error::{Action, PathError, Refusal};
use crate::event::{EntryKind, Event, Note, Outcome, Progress, Summary};
use crate::lanes::{Lanes, Words, n_words};
use crate::names::Bytes;
use crate::plan::Plan;
use crate::request::{Report, Request, Totals};
use crate::scheduler::{Scheduler, Top};
use crate::task::{CopyAnswer, CopyTask, Failure};
use crate::worker::{Facts, Root, Worker};
use start::{Beginning, ShownRoot};

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
    n_workers: usize,
    began: Instant,
}

/// What changes while a copy runs.
struct Core {
    scheduler: Scheduler,
    known_pids: HashSet<u32>,
    n_lost_workers: u64,
    said_owners_lost: bool,
    said_walk_finished: bool,
    stopped: bool,
    broken: Option<String>,
    last_sign: Instant,
    /// The most that has been shown, so that nothing ever falls.
    shown: Progress,
    summary: Option<Summary>,
}

/// What a worker process is given when it starts.
#[derive(serde::Serialize, serde::Deserialize)]
struct WorkerStart {
    facts: Facts,
    roots: Vec<GivenRoot>,
    words: Words,
    n_lanes: usize,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct GivenRoot {
    source: Descriptor,
    destination: Descriptor,
    renamed: Option<Bytes>,
}

thread_local! {
    static WORKER: std::cell::RefCell<Option<Worker>> = const { std::cell::RefCell::new(None) };
}

/// Runs once in each worker process.
fn begin_worker(start: WorkerStart) {
    let roots = start.roots.into_iter().map(|root| Root {
        source: root.source.into_owned_fd(),
        destination: root.destination.into_owned_fd(),
        renamed: root
            .renamed
            .and_then(|name| CString::new(name.0).ok())
            .map(Into::into),
    });
    let worker = Worker::new(
        start.facts,
        roots.collect(),
        start.words,
        start.n_lanes,
        brigade::current().pid(),
    );
    WORKER.set(Some(worker));
}

fn run_task(task: CopyTask) -> CopyAnswer {
    WORKER.with_borrow_mut(|worker| {
        worker
            .as_mut()
            .expect("the pool runs the initializer before the first task")
            .run(task)
    })
}

impl Running {
    pub(crate) fn start(plan: Plan, sink: Sink) -> Result<Self, Refusal> {
        let began = Instant::now();
        let coarse = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let mut beginning = Beginning::new(&plan.pairs)?;
        let n_workers = n_workers_for(&plan.request, &beginning.tops);
        // Twice as many lanes as workers: a successor may start before the lane of the dead is free.
        let n_lanes = n_workers * 2;
        let refuse = |cause: Box<dyn std::error::Error + Send + Sync>| Refusal::Workers(cause);
        let words = match Words::new(n_words(n_lanes)) {
            Ok(words) => words,
            Err(error) => {
                beginning.undo();
                return Err(refuse(error.into()));
            }
        };
        let facts = Facts {
            secret: [random_number(), random_number()],
            started: (coarse.tv_sec, coarse.tv_nsec),
            destinations: std::mem::take(&mut beginning.destinations),
            wants_sizes: plan.request.totals == Totals::Wanted,
            wants_entries: plan.request.report == Report::EveryEntry,
        };
        let lanes = Lanes::new(words.clone(), n_lanes);
        let (given, roots) = std::mem::take(&mut beginning.roots)
            .into_iter()
            .map(|root| {
                (
                    give(root.source, root.destination, root.renamed),
                    root.shown,
                )
            })
            .unzip();
        let start = WorkerStart {
            facts,
            roots: given,
            words,
            n_lanes,
        };
        let pool = Pool::builder()
            .workers(n_workers)
            .restart_limit(MAX_RESTARTS, Duration::from_secs(10))
            .initializer(start, begin_worker)
            .build();
        let pool = match pool {
            Ok(pool) => pool,
            Err(error) => {
                beginning.undo();
                return Err(refuse(error.into()));
            }
        };
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(&plan.request, n_workers)),
            has_ended: Condvar::new(),
            sink: Mutex::new(sink),
            pool: RwLock::new(Some(pool)),
            lanes,
            roots,
            report: plan.request.report,
            n_workers,
            began,
        });
        shared.begin(beginning);
        Ok(Self { shared })
    }

    /// What has been done so far. Takes microseconds, and disturbs no worker.
    pub fn progress(&self) -> Progress {
        let mut core = self.shared.core();
        self.shared.free_lanes_of_the_dead();
        core.progress(&self.shared.lanes)
    }

    /// Asks for an early end: nothing new is begun, partial files are removed, folders get their metadata. Returns at once.
    pub fn stop(&self) {
        let mut core = self.shared.core();
        if core.stopped || core.summary.is_some() {
            return;
        }
        core.stopped = true;
        core.last_sign = Instant::now();
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
            let mut pause = deadline.saturating_duration_since(now);
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
            core = self
                .shared
                .has_ended
                .wait_timeout(core, pause)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
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
        let pool = self
            .shared
            .pool
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
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
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, beginning: Beginning) {
        let mut core = self.core();
        for (root, top) in beginning.tops {
            core.scheduler.counts.n_found += u64::from(matches!(top, Top::Folder { .. }));
            core.scheduler.add(root, top);
        }
        for _ in &beginning.failures {
            core.scheduler.counts.n_found += 1;
            core.scheduler
                .counts
                .count(EntryKind::Directory, Outcome::Failed, 0);
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
            Ok(answer) => self.take_answer(&mut core, task_id, answer, &mut events),
            Err(error) => self.take_error(&mut core, task_id, &error, &mut events),
        }
        for failure in core.scheduler.take_failures() {
            events.push(Event::Failed(self.path_error(failure)));
        }
        if core.scheduler.is_walk_finished() && !core.said_walk_finished && !core.stopped {
            core.said_walk_finished = true;
            events.push(Event::WalkFinished);
        }
        drop(core);
        self.tell(events);
        self.go_on();
    }

    fn take_answer(
        &self,
        core: &mut Core,
        task_id: u64,
        mut answer: CopyAnswer,
        events: &mut Vec<Event>,
    ) {
        for failure in answer.failures.drain(..) {
            if self.report == Report::EveryEntry {
                events.push(self.failed_entry(&failure));
            }
            events.push(Event::Failed(self.path_error(failure)));
        }
        for entry in answer.entries.drain(..) {
            let root = &self.roots[entry.root as usize];
            events.push(Event::File {
                source: root.source_path(&entry.path.0),
                destination: root.destination_path(&entry.path.0),
                kind: entry.kind,
                outcome: entry.outcome,
                bytes: entry.n_bytes,
            });
        }
        if answer.owners_lost && !core.said_owners_lost {
            core.said_owners_lost = true;
            events.push(Event::Note(Note::OwnersNotKept));
        }
        core.scheduler.on_answer(task_id, answer);
    }

    fn take_error(
        &self,
        core: &mut Core,
        task_id: u64,
        error: &TaskError,
        events: &mut Vec<Event>,
    ) {
        match error {
            TaskError::Killed { pid, signal, .. } => self.lost(core, *pid, Some(*signal), events),
            TaskError::Exited { pid, .. } => self.lost(core, *pid, None, events),
            TaskError::Panicked(_) => {}
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

    fn lost(&self, core: &mut Core, pid: u32, signal: Option<i32>, events: &mut Vec<Event>) {
        core.known_pids.remove(&pid);
        core.n_lost_workers += 1;
        self.lanes.keep_only(|alive| alive != pid);
        events.push(Event::WorkerLost { pid, signal });
    }

    /// Finds workers that are new, and those that were lost while they had no task.
    fn look_at_workers(&self, core: &mut Core, events: &mut Vec<Event>) {
        let Some(pids) = self.pids() else { return };
        for pid in core
            .known_pids
            .iter()
            .copied()
            .filter(|pid| !pids.contains(pid))
            .collect::<Vec<_>>()
        {
            self.lost(core, pid, None, events);
        }
        for pid in pids {
            if core.known_pids.insert(pid) {
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
        pool.as_ref()
            .map(|pool| pool.workers().iter().map(|worker| worker.pid).collect())
    }

    fn path_error(&self, failure: Failure) -> PathError {
        let root = &self.roots[failure.root as usize];
        let path = match failure.action {
            Action::Stat | Action::Open | Action::List | Action::Read | Action::Copy => {
                root.source_path(&failure.path.0)
            }
            _ => root.destination_path(&failure.path.0),
        };
        PathError {
            action: failure.action,
            path,
            cause: failure.cause.into(),
        }
    }

    fn failed_entry(&self, failure: &Failure) -> Event {
        let root = &self.roots[failure.root as usize];
        Event::File {
            source: root.source_path(&failure.path.0),
            destination: root.destination_path(&failure.path.0),
            kind: EntryKind::File,
            outcome: Outcome::Failed,
            bytes: 0,
        }
    }

    fn tell(&self, events: Vec<Event>) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().for_each(|event| sink(event));
    }

    fn end_if_done(&self) {
        let mut core = self.core();
        if core.summary.is_none() && (core.broken.is_some() || core.scheduler.is_done()) {
            let mut events = Vec::new();
            self.look_at_workers(&mut core, &mut events);
            drop(core);
            self.tell(events);
            self.end();
        }
    }

    /// Ends a run whose workers do not answer any more.
    fn break_off(&self) {
        if let Some(pool) = self
            .pool
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            pool.terminate();
        }
        self.end();
    }

    fn end(&self) {
        let mut core = self.core();
        if core.summary.is_none() {
            core.summary = Some(core.summarize(self.n_workers, self.began.elapsed()));
            self.has_ended.notify_all();
        }
    }
}

impl Core {
    fn new(request: &Request, n_workers: usize) -> Self {
        let walk_ahead_bytes = if request.totals == Totals::Wanted {
            WALK_AHEAD_BYTES
        } else {
            0
        };
        Self {
            scheduler: Scheduler::new(n_workers, walk_ahead_bytes),
            known_pids: HashSet::new(),
            n_lost_workers: 0,
            said_owners_lost: false,
            said_walk_finished: false,
            stopped: false,
            broken: None,
            last_sign: Instant::now(),
            shown: Progress::default(),
            summary: None,
        }
    }

    fn progress(&mut self, lanes: &Lanes) -> Progress {
        let counts = &self.scheduler.counts;
        let live = self.scheduler.live(lanes.live_counts());
        let shown = &mut self.shown;
        shown.n_found = shown.n_found.max(counts.n_found + live.n_found);
        shown.n_done = shown
            .n_done
            .max(counts.n_done() + live.n_done)
            .min(shown.n_found);
        shown.bytes_found = counts.bytes_found;
        shown.bytes_done = shown.bytes_done.max(counts.bytes_done + live.n_bytes);
        shown.walk_finished = self.scheduler.is_walk_finished();
        if shown.walk_finished && shown.bytes_found > 0 {
            // Files may have grown since they were listed.
            shown.bytes_found = shown.bytes_found.max(shown.bytes_done);
        }
        shown.lanes = lanes.snapshot();
        shown.n_lost_workers = self.n_lost_workers;
        shown.clone()
    }

    fn summarize(&self, n_workers: usize, elapsed: Duration) -> Summary {
        let counts = self.scheduler.counts;
        let is_cut_short = self.stopped || self.broken.is_some();
        let mut summary = Summary {
            // What was found and not reached is not in the books of a run that was cut short.
            n_found: if is_cut_short {
                counts.n_done()
            } else {
                counts.n_found
            },
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
            bytes: counts.bytes_copied,
            elapsed,
            n_workers,
            n_lost_workers: self.n_lost_workers,
            interrupted: self.stopped,
            broken: self.broken.clone(),
        };
        if summary.n_found != counts.n_done() {
            summary.broken = Some(format!(
                "{} entries were found, but {} are accounted for",
                counts.n_found,
                counts.n_done()
            ));
        }
        summary
    }
}

/// One for each processor, but no more than there are files where there is no folder.
fn n_workers_for(request: &Request, tops: &[(u32, Top)]) -> usize {
    let n_wanted = request
        .workers
        .map_or_else(brigade::available_cpus, usize::from);
    let n_useful = tops
        .iter()
        .map(|(_, top)| match top {
            Top::Folder { .. } => usize::MAX,
            Top::Files(names) => names.len(),
        })
        .fold(0, usize::saturating_add);
    n_wanted.min(n_useful).max(1)
}

fn give(source: OwnedFd, destination: OwnedFd, renamed: Option<CString>) -> GivenRoot {
    GivenRoot {
        source: source.into(),
        destination: destination.into(),
        renamed: renamed.map(|name| Bytes(name.into_bytes())),
    }
}

/// From the system's source of randomness, which the standard library seeds its hash maps with.
fn random_number() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0)
}
