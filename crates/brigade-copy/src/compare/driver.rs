//! A comparison that runs: hands tasks to the pool and takes the answers, tells the caller what was found, and ends. What is done
//! next is decided in books.rs.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use brigade::{Descriptor, Pool, TaskError};

use super::books::{Books, Findings};
use super::task::{CompareAnswer, CompareTask, Side, UnreadEntry};
use super::{CompareEvent, Comparison, Opened, Verdict};
use crate::calls;
use crate::error::{EntryName, PathError, Refusal};
use crate::event::Progress;
use crate::lanes::{Lanes, LiveCounts, Words, n_words};
use crate::names::Bytes;
use crate::request::Totals;
use crate::worker::{Examiner, Root};

/// Bytes of names that a walk may be ahead, if totals are wanted: a million names or so.
const WALK_AHEAD_BYTES: usize = 16 << 20;

/// Workers that are silent for so long after the order to stop are ended.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Restarts of workers within ten seconds beyond which something is wrong with more than a file.
const MAX_RESTARTS: u32 = 1000;

type Sink = Box<dyn FnMut(CompareEvent) + Send>;

/// A comparison that runs in worker processes. Dropping it ends the workers, whatever they are doing.
pub struct Comparing {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    has_ended: Condvar,
    sink: Mutex<Sink>,
    pool: RwLock<Option<Pool>>,
    lanes: Lanes,
    source: PathBuf,
    destination: PathBuf,
    n_workers: usize,
    began: Instant,
}

struct Core {
    books: Books,
    stopped_at: Option<Instant>,
    broken: Option<String>,
    /// The most that has been shown, so that nothing ever falls.
    shown: Progress,
    verdict: Option<Verdict>,
}

impl Comparing {
    pub(super) fn start(comparison: Comparison, sink: Sink) -> Result<Self, Refusal> {
        let began = Instant::now();
        let opened = comparison.opened()?;
        // What waits to be written is written once, here: workers can then drop what the cache holds and read what the disk has.
        let _ = calls::openat(&opened.destination, c".", crate::worker::FOLDER, rustix::fs::Mode::empty())
            .and_then(|folder| rustix::fs::syncfs(&folder));
        let shared = Shared::new(comparison, opened, sink, began).map_err(Refusal::Workers)?;
        let shared = Arc::new(shared);
        shared.go_on();
        Ok(Self { shared })
    }

    /// What has been done so far. Takes microseconds, and disturbs no worker.
    pub fn progress(&self) -> Progress {
        let alive = self.shared.pids();
        self.shared.lanes.keep_only(|pid| alive.contains(&pid));
        self.shared.core().progress(&self.shared.lanes, self.shared.n_lost_workers())
    }

    /// Asks for an early end. Returns at once.
    pub fn stop(&self) {
        let mut core = self.shared.core();
        if core.stopped_at.is_some() || core.verdict.is_some() {
            return;
        }
        core.stopped_at = Some(Instant::now());
        core.books.stop();
        self.shared.lanes.stop();
        drop(core);
        self.shared.go_on();
    }

    /// Waits for the end, at most `timeout`. `None`: it still runs. After `Some` every event has been delivered.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Verdict> {
        let deadline = Instant::now() + timeout;
        let mut core = self.shared.core();
        loop {
            let now = Instant::now();
            if core.stopped_at.is_some_and(|stopped_at| stopped_at + STOP_PATIENCE <= now) {
                self.shared.end(&mut core);
            }
            if core.verdict.is_some() || deadline <= now {
                return core.verdict.clone();
            }
            let patience =
                core.stopped_at.map(|stopped_at| (stopped_at + STOP_PATIENCE).saturating_duration_since(now));
            let pause = (deadline - now).min(patience.unwrap_or(Duration::MAX));
            core = self.shared.has_ended.wait_timeout(core, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl std::fmt::Debug for Comparing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparing").finish_non_exhaustive()
    }
}

impl Drop for Comparing {
    fn drop(&mut self) {
        let is_complete = self.shared.core().verdict.as_ref().is_some_and(|verdict| !verdict.interrupted);
        // Taken out here, so that the last handle is never dropped by the pool's own thread.
        let pool = self.shared.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pool) = pool {
            if is_complete {
                pool.close();
            } else {
                pool.terminate();
            }
            pool.join();
        }
    }
}

impl Shared {
    fn new(
        comparison: Comparison,
        opened: Opened,
        sink: Sink,
        began: Instant,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let request = comparison.request;
        let n_wanted = request.workers.map_or_else(brigade::available_cpus, usize::from);
        let n_workers = if opened.first.is_whole { n_wanted.max(1) } else { 1 };
        let n_lanes = n_workers * 2;
        let words = Words::new(n_words(n_lanes))?;
        let lanes = Lanes::new(words.clone(), n_lanes);
        let walk_ahead_bytes = if request.totals == Totals::Wanted { WALK_AHEAD_BYTES } else { 0 };
        let start = ExaminerStart {
            source: opened.source.into(),
            destination: opened.destination.into(),
            renamed: opened.renamed.map(|name| Bytes(name.into_bytes())),
            words,
            n_lanes,
            wants_sizes: request.totals == Totals::Wanted,
        };
        let pool = Pool::builder()
            .workers(n_workers)
            .restart_limit(MAX_RESTARTS, Duration::from_secs(10))
            .initializer(start, begin_examiner)
            .build()?;
        Ok(Self {
            core: Mutex::new(Core {
                books: Books::new(n_workers, walk_ahead_bytes, opened.first),
                stopped_at: None,
                broken: None,
                shown: Progress::default(),
                verdict: None,
            }),
            has_ended: Condvar::new(),
            sink: Mutex::new(sink),
            pool: RwLock::new(Some(pool)),
            lanes,
            source: request.source,
            destination: request.destination,
            n_workers,
            began,
        })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what there is to do, and ends the run when there is nothing left.
    fn go_on(self: &Arc<Self>) {
        loop {
            let mut core = self.core();
            if core.verdict.is_some() {
                return;
            }
            let next = if core.broken.is_some() { None } else { core.books.next_task() };
            let Some(task) = next else {
                self.lanes.want(core.books.n_idle_workers());
                if core.broken.is_some() || core.books.is_done() {
                    self.end(&mut core);
                }
                return;
            };
            drop(core);
            self.submit(task);
        }
    }

    fn submit(self: &Arc<Self>, task: CompareTask) {
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
    fn on_result(self: &Arc<Self>, task_id: u64, result: Result<CompareAnswer, TaskError>) {
        let mut core = self.core();
        if core.verdict.is_some() {
            return;
        }
        let mut events = Vec::new();
        let findings = match result {
            Ok(answer) => core.books.on_answer(task_id, answer),
            Err(TaskError::Killed { pid, signal, .. }) => {
                events.push(CompareEvent::WorkerLost { pid, signal: Some(signal) });
                core.books.on_death(task_id)
            }
            Err(TaskError::Exited { pid, .. }) => {
                events.push(CompareEvent::WorkerLost { pid, signal: None });
                core.books.on_death(task_id)
            }
            Err(TaskError::Panicked(_)) => core.books.on_death(task_id),
            // Anything else is no accident of one worker: the pool is at its end, or we are at fault.
            Err(other) => {
                core.broken.get_or_insert(other.to_string());
                Findings::default()
            }
        };
        drop(core);
        self.tell(events, findings);
        self.go_on();
    }

    fn tell(&self, events: Vec<CompareEvent>, findings: Findings) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().for_each(&mut *sink);
        for (path, aspects) in findings.differences {
            let path = PathBuf::from(OsStr::from_bytes(&path.0));
            sink(CompareEvent::Different { path, aspects: aspects.list() });
        }
        for failure in findings.failures {
            sink(CompareEvent::Failed(self.path_error(failure)));
        }
    }

    fn path_error(&self, failure: UnreadEntry) -> PathError {
        let tree: &Path = match failure.side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        };
        let path = match failure.path.0.as_slice() {
            b"" => tree.to_owned(),
            path => tree.join(OsStr::from_bytes(path)),
        };
        let entry = EntryName { source_idx: 0, path: OsStr::from_bytes(&failure.path.0).into() };
        PathError { action: failure.action, path, cause: failure.cause.into(), entry }
    }

    fn pids(&self) -> HashSet<u32> {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        pool.iter().flat_map(Pool::workers).map(|worker| worker.pid).collect()
    }

    fn n_lost_workers(&self) -> u64 {
        let pool = self.pool.read().unwrap_or_else(PoisonError::into_inner);
        pool.as_ref().map_or(0, Pool::lost_workers)
    }

    fn end(&self, core: &mut Core) {
        if core.verdict.is_some() {
            return;
        }
        let counts = core.books.counts;
        core.verdict = Some(Verdict {
            n_found: counts.n_found,
            n_same: counts.n_same,
            n_different: counts.n_different,
            n_failed: counts.n_failed,
            bytes: counts.bytes_compared,
            elapsed: self.began.elapsed(),
            n_workers: self.n_workers,
            n_lost_workers: self.n_lost_workers(),
            interrupted: core.stopped_at.is_some(),
            broken: core.broken.clone(),
        });
        self.has_ended.notify_all();
    }
}

impl Core {
    fn progress(&mut self, lanes: &Lanes, n_lost_workers: u64) -> Progress {
        let counts = self.books.counts;
        let mut live = LiveCounts::default();
        for lane in lanes.live_counts().filter(|lane| self.books.is_in_flight(lane.task_id)) {
            live.n_found += lane.n_found;
            live.n_done += lane.n_done;
            live.n_bytes += lane.n_bytes;
        }
        let shown = &mut self.shown;
        shown.n_found = shown.n_found.max(counts.n_found + live.n_found);
        shown.n_done = shown.n_done.max(counts.n_done() + live.n_done).min(shown.n_found);
        shown.bytes_done = shown.bytes_done.max(counts.bytes_done + live.n_bytes);
        shown.walk_finished = self.books.is_walk_finished();
        shown.bytes_found =
            if shown.walk_finished { counts.bytes_found.max(shown.bytes_done) } else { counts.bytes_found };
        shown.lanes = lanes.snapshot();
        shown.n_lost_workers = n_lost_workers;
        shown.clone()
    }
}

/// What a worker process is given when it starts.
#[derive(serde::Serialize, serde::Deserialize)]
struct ExaminerStart {
    source: Descriptor,
    destination: Descriptor,
    renamed: Option<Bytes>,
    words: Words,
    n_lanes: usize,
    wants_sizes: bool,
}

thread_local! {
    static EXAMINER: std::cell::RefCell<Option<Examiner>> = const { std::cell::RefCell::new(None) };
}

/// Runs once in each worker process.
fn begin_examiner(start: ExaminerStart) {
    let root = Root {
        source: start.source.into_owned_fd(),
        destination: start.destination.into_owned_fd(),
        renamed: start.renamed.and_then(|name| CString::new(name.0).ok()).map(Into::into),
        called: None,
    };
    let pid = brigade::current().pid();
    EXAMINER.set(Some(Examiner::new(root, start.words, start.n_lanes, pid, start.wants_sizes)));
}

fn run_task(task: CompareTask) -> CompareAnswer {
    EXAMINER.with_borrow_mut(|examiner| {
        examiner.as_mut().expect("the pool runs the initializer before the first task").run(task)
    })
}
