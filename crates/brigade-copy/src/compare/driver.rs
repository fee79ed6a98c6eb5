//! A comparison that runs: hands tasks to the pool and takes the answers, tells the caller what was found, and ends. What is done
//! next is decided in books.rs.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use brigade::TaskError;

use super::books::{Books, Findings};
use super::task::{CompareAnswer, CompareTask, Side, UnreadEntry};
use super::{CompareEvent, Comparison, Opened, Verdict};
use crate::confine::{self, Confinement, Enclosed, Purpose, Walls};
use crate::crew::{Adapts, Answered, Board, Crew, Due, Ending, Look, Silent, StallWatch, Wanted, Width, n_steps};
use crate::error::{EntryName, PathError, Refusal};
use crate::event::Progress;
use crate::hands::Hands;
use crate::lanes::Lanes;
use crate::request::{Sandbox, Totals};
use crate::run::process::{EndsByPanic, GivenRoot, close_in, let_go_of_standard_streams};
use crate::stuck::Stuck;
use crate::worker::Examiner;

type Sink = Box<dyn FnMut(CompareEvent) + Send>;

/// A comparison that runs in worker processes. Dropping it ends the workers, whatever they are doing.
pub struct Comparing {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    has_ended: Condvar,
    sink: Mutex<Sink>,
    crew: Crew,
    sandbox: Confinement,
    source: PathBuf,
    destination: PathBuf,
    /// Two entries are compared that are no folders.
    is_single: bool,
    began: Instant,
}

struct Core {
    books: Books,
    stopped: bool,
    watch: StallWatch,
    /// `None`: the kernel does not tell how long workers wait.
    width: Option<Width>,
    /// Where the workers of these tasks got stuck and are being given up.
    stalled: HashMap<u64, Stuck>,
    broken: Option<String>,
    /// The most that has been shown, so that nothing ever falls.
    shown: Progress,
    verdict: Option<Verdict>,
}

impl Comparing {
    pub(super) fn start(comparison: Comparison, sink: Sink) -> Result<Self, Refusal> {
        let began = Instant::now();
        let opened = comparison.opened()?;
        let shared = Shared::new(comparison, opened, sink, began)?;
        let shared = Arc::new(shared);
        shared.go_on();
        Ok(Self { shared })
    }

    /// What has been done so far. Takes microseconds, and disturbs no worker.
    pub fn progress(&self) -> Progress {
        self.shared.crew.free_lanes_of_the_dead();
        self.shared.core().progress(&self.shared.crew)
    }

    /// Asks for an early end. Returns at once.
    pub fn stop(&self) {
        let mut core = self.shared.core();
        if core.stopped || core.verdict.is_some() {
            return;
        }
        core.stopped = true;
        core.watch.hurry(Instant::now());
        core.books.stop();
        self.shared.crew.lanes.stop();
        drop(core);
        self.shared.go_on();
    }

    /// Waits for the end, at most `timeout`. `None`: it still runs. After `Some` every event has been delivered.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Verdict> {
        let deadline = Instant::now() + timeout;
        let mut core = self.shared.core();
        loop {
            if core.verdict.is_some() {
                return core.verdict.clone();
            }
            let now = Instant::now();
            let until_look = core.width.as_ref().map(|width| width.due().saturating_duration_since(now));
            if until_look == Some(Duration::ZERO) {
                drop(core);
                self.shared.adapt();
                core = self.shared.core();
                continue;
            }
            let pause = match core.watch.due(&self.shared.crew.lanes, now) {
                Due::Pause(pause) => {
                    pause.min(until_look.unwrap_or(Duration::MAX)).min(deadline.saturating_duration_since(now))
                }
                due => {
                    drop(core);
                    self.shared.lose_patience(due);
                    core = self.shared.core();
                    continue;
                }
            };
            if deadline <= now {
                return None;
            }
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
        self.shared.crew.dismiss(if is_complete { Ending::Whole } else { Ending::Early });
    }
}

impl Shared {
    fn new(comparison: Comparison, mut opened: Opened, sink: Sink, began: Instant) -> Result<Self, Refusal> {
        let Enclosed { walls, .. } = confine::find(Sandbox::Auto, Purpose::Comparing)
            .and_then(|found| found.enclose(&mut [(&mut opened.source, &mut opened.destination)]))
            .map_err(Refusal::Sandbox)?;
        let sandbox = walls.level();
        let request = comparison.request;
        let is_single = !opened.first.is_whole;
        let wanted = Wanted::new(request.workers, true, if is_single { 1 } else { usize::MAX });
        let root = GivenRoot::new(opened.source, opened.destination, opened.renamed, None);
        let wants_sizes = request.totals == Totals::Wanted;
        let crew = Crew::start(wanted, |board| ExaminerStart { root, board, wants_sizes, walls }, begin_examiner)
            .map_err(Refusal::Workers)?;
        let n_workers = crew.n_workers();
        Ok(Self {
            core: Mutex::new(Core {
                books: Books::new(n_workers, request.totals.walk_ahead_bytes(), opened.first),
                width: Some(Width::new(brigade::available_cpus(), n_workers, wanted.most, Instant::now())),
                stopped: false,
                watch: StallWatch::new(request.stall_timeout),
                stalled: HashMap::new(),
                broken: None,
                shown: Progress::default(),
                verdict: None,
            }),
            has_ended: Condvar::new(),
            sink: Mutex::new(sink),
            crew,
            sandbox,
            source: request.source,
            destination: request.destination,
            is_single,
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
                self.crew.lanes.want(core.books.n_idle_workers());
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
        let shared = Arc::clone(self);
        let submitted = self.crew.submit(task, run_task, move |result| shared.on_result(task_id, result));
        if let Err(cause) = submitted {
            self.core().broken = Some(cause);
        }
    }

    /// Runs on the pool's dispatcher thread.
    fn on_result(self: &Arc<Self>, task_id: u64, result: Result<CompareAnswer, TaskError>) {
        let mut core = self.core();
        if core.verdict.is_some() {
            return;
        }
        core.watch.on_answer(Instant::now());
        let mut events = Vec::new();
        let findings = match (result, core.stalled.remove(&task_id)) {
            (Ok(answer), _) => core.books.on_answer(task_id, answer),
            (Err(_), Some(place)) => core.books.on_stall(task_id, place),
            (Err(TaskError::Killed { pid, signal, .. }), None) => {
                events.push(CompareEvent::WorkerLost { pid, signal: Some(signal) });
                core.books.on_death(task_id)
            }
            (Err(TaskError::Exited { pid, .. }), None) => {
                events.push(CompareEvent::WorkerLost { pid, signal: None });
                core.books.on_death(task_id)
            }
            (Err(TaskError::Panicked(_)), None) => core.books.on_death(task_id),
            // Anything else is no accident of one worker: the pool is at its end, or we are at fault.
            (Err(other), None) => {
                core.broken.get_or_insert(other.to_string());
                Findings::default()
            }
        };
        drop(core);
        self.tell(events, findings);
        self.go_on();
    }

    fn adapt(self: &Arc<Self>) {
        if self.crew.adapt(|| self.core()) {
            self.go_on();
        }
    }

    fn lose_patience(&self, due: Due) {
        match due {
            Due::Abandon(silent) => silent.into_iter().for_each(|silent| self.abandon(silent)),
            Due::BreakOff => self.end(&mut self.core()),
            Due::Pause(_) => {}
        }
    }

    /// Gives up a worker that is stuck, so that what else was in its task can go on.
    fn abandon(&self, silent: Silent) {
        let Silent { pid, task_id, silent_for } = silent;
        let Some(place) = self.crew.lanes.whereabouts(pid) else { return };
        let path = self.path_of(Side::of_root(place.root), &place.path.0);
        self.core().stalled.insert(task_id, place);
        if self.crew.abandon(pid) {
            self.tell(vec![CompareEvent::WorkerStalled { pid, path, silent_for }], Findings::default());
        } else {
            self.core().stalled.remove(&task_id);
        }
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
        let path = self.path_of(failure.side, &failure.path.0);
        let entry = EntryName { source_idx: 0, path: OsStr::from_bytes(&failure.path.0).into() };
        PathError { action: failure.action, path, cause: failure.cause.into(), entry }
    }

    fn path_of(&self, side: Side, path: &[u8]) -> PathBuf {
        let tree: &Path = match side {
            Side::Source => &self.source,
            Side::Destination => &self.destination,
        };
        if path.is_empty() || self.is_single { tree.to_owned() } else { tree.join(OsStr::from_bytes(path)) }
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
            n_workers: self.crew.n_workers(),
            n_lost_workers: self.crew.n_lost().unwrap_or(0),
            sandbox: self.sandbox,
            interrupted: core.stopped,
            broken: core.broken.clone(),
        });
        self.has_ended.notify_all();
    }
}

impl Adapts for Core {
    fn width(&mut self) -> &mut Option<Width> {
        &mut self.width
    }

    fn look(&mut self, lanes: &Lanes, busy: Duration) -> Look {
        let counts = self.books.counts;
        let live = lanes.live_counts(|task_id| self.books.is_in_flight(task_id));
        let n_steps = n_steps(counts.n_done() + live.n_done, counts.bytes_done + live.n_bytes);
        Look { at: Instant::now(), n_steps, busy }
    }

    fn are_all_busy(&self) -> bool {
        self.books.are_all_busy() && !self.stopped
    }

    fn set_hands(&mut self, hands: Hands) {
        self.books.set_hands(hands);
    }
}

impl Core {
    fn progress(&mut self, crew: &Crew) -> Progress {
        let counts = self.books.counts;
        let answered = Answered {
            n_found: counts.n_found,
            n_done: counts.n_done(),
            bytes_found: counts.bytes_found,
            bytes_done: counts.bytes_done,
            walk_finished: self.books.is_walk_finished(),
            is_flushing: false,
            bytes_unflushed: 0,
        };
        let live = crew.lanes.live_counts(|task_id| self.books.is_in_flight(task_id));
        answered.show(live, &crew.lanes, crew.n_lost().unwrap_or(0), &mut self.shown);
        self.shown.clone()
    }
}

/// What a worker process is given when it starts.
#[derive(serde::Serialize, serde::Deserialize)]
struct ExaminerStart {
    root: GivenRoot,
    board: Board,
    wants_sizes: bool,
    walls: Walls,
}

thread_local! {
    static EXAMINER: std::cell::RefCell<Option<Examiner>> = const { std::cell::RefCell::new(None) };
}

/// Runs once in each worker process.
fn begin_examiner(start: ExaminerStart) {
    let_go_of_standard_streams();
    let ExaminerStart { root, board: Board { words, n_lanes }, wants_sizes, walls } = start;
    let pid = brigade::current().pid();
    let examiner = Examiner::new(root.into_root(), words, n_lanes, pid, wants_sizes);
    close_in(walls, std::slice::from_ref(examiner.root()));
    EXAMINER.set(Some(examiner));
}

fn run_task(task: CompareTask) -> CompareAnswer {
    let _ends = EndsByPanic;
    EXAMINER.with_borrow_mut(|examiner| {
        examiner.as_mut().expect("the pool runs the initializer before the first task").run(task)
    })
}
