//! A copy that runs: hands the scheduler's tasks to the pool and the answers back, tells the caller what happens, and ends.
//! The workers are in crew.rs; what is done next is decided in scheduler.rs.

mod claims;
pub(crate) mod process;
mod room;
mod start;
mod state;
mod undurable;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use brigade::TaskError;

use crate::confine::{Confinement, Found};
use crate::crew::{Crew, Due, Ending, Silent, Waits, Wanted};
use crate::error::{Action, PathError, Refusal};
use crate::event::{EntryKind, Event, Note, Outcome, Progress, Question, SlowEntry, Summary};
use crate::facet::Lost;
use crate::plan::{Journal, Plan};
use crate::request::{Answer, Delete, Digests, Report, Request, Times, Totals, Verify, Writing};
use crate::scheduler::Top;
use crate::task::{CopyAnswer, CopyTask, EntryDone, Failure, Lasts};
use crate::worker::{Checks, Facts};
use claims::Claims;
use process::{GivenRoot, WorkerStart, begin_worker, run_task};
use room::Room;
use start::{Beginning, OpenRoot, ShownRoot};
#[cfg(test)]
pub(crate) use start::{Older, moment_before_the_first_write};
use state::Core;
use undurable::Entry;

type Sink = Box<dyn FnMut(Event) + Send>;

/// A copy that runs in worker processes. Dropping it ends the workers, whatever they are doing.
pub struct Running {
    shared: Arc<Shared>,
    journal: Journal,
    /// Held to the end.
    _held: (Claims, Vec<OwnedFd>),
}

/// A run whose workers are gone. Dropping it forgets the run, unless it was cut off: the same request does not go on with it.
#[derive(Debug)]
pub struct Closed {
    journal: Journal,
    is_whole: bool,
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.is_whole {
            self.journal.forget();
        }
    }
}

struct Shared {
    core: Mutex<Core>,
    has_ended: Condvar,
    sink: Mutex<Sink>,
    crew: Crew,
    waits: Waits,
    roots: Vec<ShownRoot>,
    sandbox: Confinement,
    report: Report,
    delete: Delete,
    writing: Writing,
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
    pub(crate) fn start(mut plan: Plan, sink: Sink) -> Result<Self, Refusal> {
        let began = Instant::now();
        if let Some(nice) = plan.request.nice {
            process::check_nice(nice).map_err(Refusal::Niceness)?;
        }
        let mut journal = std::mem::take(&mut plan.journal);
        let mut beginning = Beginning::new(&plan, &mut journal).inspect_err(|_| journal.withdraw())?;
        match Shared::new(&plan.request, &mut beginning, plan.confinable, sink, began) {
            Ok(shared) => {
                let shared = Arc::new(shared);
                shared.tell(journal.take_notes().into_iter().map(Event::Note));
                let held = (std::mem::take(&mut beginning.claims), std::mem::take(&mut beginning.mounts));
                shared.begin(beginning);
                Ok(Self { shared, journal, _held: held })
            }
            Err(refusal) => {
                beginning.undo();
                journal.withdraw();
                Err(refusal)
            }
        }
    }

    /// Ends the workers, whatever they are doing. Whoever tells of the end does so while he holds what is returned: if he is
    /// ended meanwhile, the same request goes on with this run, and finds nothing to do.
    pub fn close(mut self) -> Closed {
        Closed { is_whole: self.is_whole(), journal: std::mem::take(&mut self.journal) }
    }

    fn is_whole(&self) -> bool {
        self.shared.core().summary.as_ref().is_some_and(|summary| !summary.is_cut_off())
    }

    /// What has been done so far. Takes microseconds, and disturbs no worker.
    pub fn progress(&self) -> Progress {
        let mut core = self.shared.core();
        self.shared.crew.free_lanes_of_the_dead();
        core.progress(&self.shared.crew.lanes)
    }

    /// Answers an [`Event::Question`]; an answer that has been given, or comes after [`Running::stop`], changes nothing.
    pub fn answer(&self, question: u64, answer: Answer) {
        let mut core = self.shared.core();
        let done = core.scheduler.on_reply(question, answer);
        drop(core);
        if self.shared.report == Report::EveryEntry {
            self.shared.tell(done.into_iter().map(|entry| self.shared.file_event(&entry)));
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
        core.watch.hurry(Instant::now());
        core.scheduler.stop();
        self.shared.crew.lanes.stop();
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
            let until_flush = core.scheduler.commits.due().map(|due| due.saturating_duration_since(now));
            if until_flush == Some(Duration::ZERO) {
                drop(core);
                self.shared.go_on();
                core = self.shared.core();
            }
            let until_look = core.width.as_ref().map(|width| width.due().saturating_duration_since(now));
            if until_look == Some(Duration::ZERO) {
                drop(core);
                self.shared.adapt();
                core = self.shared.core();
                continue;
            }
            let pause = match core.watch.due(&self.shared.crew.lanes, now) {
                Due::Pause(pause) => {
                    let others = [until_flush.filter(|pause| !pause.is_zero()), until_look];
                    let first = others.into_iter().flatten().min().unwrap_or(Duration::MAX);
                    pause.min(first).min(deadline.saturating_duration_since(now))
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
        self.shared.crew.dismiss(if has_ended { Ending::Whole } else { Ending::Early });
        if self.is_whole() {
            self.journal.forget();
        }
    }
}

impl Shared {
    /// Starts the workers.
    fn new(
        request: &Request,
        beginning: &mut Beginning,
        found: Found,
        sink: Sink,
        began: Instant,
    ) -> Result<Self, Refusal> {
        let room = match (beginning.roots.as_slice(), request.totals) {
            ([root], Totals::Wanted) => Room::between(&root.source, &root.destination),
            _ => Room::default(),
        };
        let devices: Vec<u64> = beginning.roots.iter().map(OpenRoot::device).collect();
        let walls = beginning.enclose(found)?;
        let sandbox = walls.level();
        let (given, roots) = std::mem::take(&mut beginning.roots)
            .into_iter()
            .map(|root| (GivenRoot::new(root.source, root.destination, root.renamed, root.called), root.shown))
            .unzip();
        let facts = facts_for(request, beginning);
        let start = |board| WorkerStart { facts, roots: given, board, nice: request.nice, walls };
        // Who waits for the sake of a limit is not waiting for want of workers.
        let are_more_tried = request.bytes_per_second.is_none();
        let wanted = Wanted::new(request.workers, are_more_tried, beginning.n_useful_workers);
        let crew = Crew::start(wanted, start, begin_worker).map_err(Refusal::Workers)?;
        let mut core = Core::new(request, crew.n_workers(), wanted.most, room);
        (0..).zip(devices).for_each(|(root, device)| core.scheduler.commits.note_root(root, device));
        Ok(Self {
            core: Mutex::new(core),
            has_ended: Condvar::new(),
            sink: Mutex::new(sink),
            crew,
            waits: Waits::default(),
            roots,
            sandbox,
            report: request.report,
            delete: request.delete,
            writing: request.policy.writing,
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
                self.crew.lanes.want(core.scheduler.n_idle_workers());
                break;
            };
            drop(core);
            self.submit(task);
        }
        self.end_if_done();
    }

    fn submit(self: &Arc<Self>, task: CopyTask) {
        let task_id = task.id;
        let shared = Arc::clone(self);
        let submitted = self.crew.submit(task, run_task, move |result| shared.on_result(task_id, result));
        if let Err(cause) = submitted {
            self.core().broken = Some(cause);
        }
    }

    /// Runs on the pool's dispatcher thread.
    fn on_result(self: &Arc<Self>, task_id: u64, result: Result<CopyAnswer, TaskError>) {
        let mut events = Vec::new();
        let mut core = self.core();
        if core.summary.is_some() {
            return;
        }
        core.watch.on_answer(Instant::now());
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
            core.is_out_of_room |= failure.cause.is_no_room();
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
            if entry.lasts == Lasts::AtLast {
                let EntryDone { root, kind, n_bytes, .. } = entry;
                core.undurable.push(Entry { root, kind, n_bytes, path: &entry.path.0 });
            }
        }
        if let Some(slow) = answer.slowest.take() {
            let path = self.roots[slow.root as usize].source_path(&slow.path.0);
            core.note_slow(SlowEntry { path, elapsed: slow.elapsed });
        }
        let digests = std::mem::take(&mut answer.digests);
        core.scheduler.on_answer(task_id, answer);
        for digest in digests.into_iter().chain(core.scheduler.take_digests()) {
            let destination = self.roots[digest.root as usize].destination_path(&digest.path.0);
            events.push(Event::Digest { destination, hash: digest.hash });
        }
        for durable in core.scheduler.commits.take_durable() {
            events.push(self.durable_event(durable.root, &durable.path.0, EntryKind::File, durable.n_bytes));
        }
        events.extend(core.room.exceeded(&core.scheduler.counts).into_iter().map(Event::Note));
    }

    fn adapt(self: &Arc<Self>) {
        self.waits.look(&self.crew.lanes);
        if !self.crew.adapt(|| self.core()) {
            return;
        }
        let mut events = Vec::new();
        self.look_at_workers(&mut self.core(), &mut events);
        self.tell(events);
        self.go_on();
    }

    fn lose_patience(&self, due: Due) {
        match due {
            Due::Abandon(silent) => silent.into_iter().for_each(|silent| self.abandon(silent)),
            Due::BreakOff => self.break_off(),
            Due::Pause(_) => {}
        }
    }

    /// Gives up a worker that is stuck, so that what else was in its task can go on.
    fn abandon(&self, silent: Silent) {
        let Silent { pid, task_id, silent_for } = silent;
        let Some(place) = self.crew.lanes.whereabouts(pid) else { return };
        let path = self.roots[place.root as usize].source_path(&place.path.0);
        let mut core = self.core();
        core.stalled.insert(task_id, place);
        core.known_pids.remove(&pid);
        core.lost_pids.insert(pid);
        drop(core);
        if self.crew.abandon(pid) {
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
        self.crew.lanes.keep_only(|alive| alive != pid);
        if core.lost_pids.insert(pid) {
            core.n_lost_workers += 1;
            events.push(Event::WorkerLost { pid, signal });
        }
    }

    /// Finds workers that are new, and those that were lost while they had no task.
    fn look_at_workers(&self, core: &mut Core, events: &mut Vec<Event>) {
        let Some(pids) = self.crew.pids() else { return };
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

    fn durable_event(&self, root: u32, path: &[u8], kind: EntryKind, bytes: u64) -> Event {
        let root = &self.roots[root as usize];
        let (source, destination) = (root.source_path(path), root.destination_path(path));
        Event::Durable { source, destination, kind, bytes }
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

    fn tell(&self, events: impl IntoIterator<Item = Event>) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        events.into_iter().for_each(&mut *sink);
    }

    fn end_if_done(&self) {
        let mut core = self.core();
        if core.summary.is_none() && (core.broken.is_some() || core.scheduler.is_done()) {
            let mut events = Vec::new();
            self.look_at_workers(&mut core, &mut events);
            events.extend(core.scheduler.removal.ceased.map(|why| Event::Note(Note::RemovalCeased(why))));
            let undurable = std::mem::take(&mut core.undurable);
            let is_durable = core.scheduler.commits.is_all_durable();
            drop(core);
            self.tell(events);
            if is_durable {
                // One by one, since there may be millions.
                let told = |entry: Entry<'_>| self.durable_event(entry.root, entry.path, entry.kind, entry.n_bytes);
                self.tell(undurable.iter().map(told));
            }
            self.end();
        }
    }

    /// Ends a run whose workers do not answer any more. The end comes first, so that nobody takes what follows for an accident.
    fn break_off(&self) {
        self.end();
        self.crew.terminate();
    }

    fn end(&self) {
        let mut core = self.core();
        if core.summary.is_none() {
            core.n_lost_workers = self.crew.n_lost().unwrap_or(core.n_lost_workers);
            if !core.scheduler.is_done() {
                core.scheduler.forget_uncommitted();
            }
            let (n_workers, elapsed, limited_by) = (self.crew.n_workers(), self.began.elapsed(), self.waits.most());
            core.summary = Some(core.summarize(self.sandbox, n_workers, elapsed, limited_by, self.writing));
            self.has_ended.notify_all();
        }
    }
}

fn facts_for(request: &Request, beginning: &mut Beginning) -> Facts {
    Facts {
        secret: [random_number(), random_number()],
        started: beginning.started,
        resumed: beginning.resumed,
        removes_litter: beginning.claims.are_undisputed(),
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
        durability: request.durability,
        group_limits: request.group_limits,
        key: beginning.key,
    }
}

/// From the system's source of randomness, which the standard library seeds its hash maps with.
fn random_number() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0)
}
