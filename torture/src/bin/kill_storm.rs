//! Kills workers of a pool at random while it works through very many tasks, and then looks whether the books are right.
//!
//! Every run of a task marks its start in shared memory, with the number of its worker, and every result names the worker
//! that gave it. So each run is known to be the one that gave the result or one whose worker was killed; there is no third.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use brigade::{Pool, Retry, SharedSlice, Task, TaskError, WorkerState};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use torture::arguments::Arguments;
use torture::leakcheck::Guard;
use torture::processes::ProcessInfo;
use torture::random::Random;
use torture::watchdog::Watchdog;

const USAGE: &str =
    "usage: kill_storm [--seed N] [--tasks N] [--kills N] [--workers N] [--retry never|on-worker-death] [--red]

  --seed N      the same tasks, and kills chosen alike
  --tasks N     tasks (20000)
  --kills N     workers to kill meanwhile (200)
  --workers N   workers (4)
  --retry HOW   what becomes of a task whose worker was killed (on-worker-death)
  --red         the same idea on Python's Pool and ProcessPoolExecutor: there it must fail";

/// Tasks that are submitted and not yet asked for.
const MOST_OPEN: usize = 2000;
/// Nothing at all happens only if everything hangs.
const FOR_EVER: Duration = Duration::from_secs(30);
const LARGEST_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    n_tasks: u64,
    n_kills: u64,
    n_workers: usize,
    is_retried: bool,
}

fn main() -> ExitCode {
    brigade::init();
    let mut arguments = Arguments::of_program(USAGE);
    let plan = Plan {
        seed: arguments.number("--seed").unwrap_or_else(Random::fresh_seed),
        n_tasks: arguments.number("--tasks").unwrap_or(20_000),
        n_kills: arguments.number("--kills").unwrap_or(200),
        n_workers: arguments.number("--workers").unwrap_or(4) as usize,
        is_retried: arguments.one_of("--retry", &["on-worker-death", "never"]) == 0,
    };
    let is_red = arguments.flag("--red");
    arguments.finish();
    if is_red {
        return torture::red::run("kill_storm.py");
    }
    let guard = Guard::new();
    let watchdog = Watchdog::new(FOR_EVER);
    println!("kill_storm: {plan:?}");
    let books = match storm(&plan, &watchdog) {
        Ok(books) => books,
        Err(fault) => {
            println!("kill_storm: {fault}");
            return ExitCode::FAILURE;
        }
    };
    drop(watchdog);
    let mut wrong = books.audit(&plan);
    drop(books);
    if let Err(leaks) = guard.check() {
        wrong.push(leaks.to_string());
    }
    wrong.iter().take(20).for_each(|line| println!("WRONG: {line}"));
    println!("kill_storm: {}", if wrong.is_empty() { "good" } else { "FAILED" });
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What workers write down in shared memory.
#[derive(Clone, Serialize, Deserialize)]
struct Slate {
    /// How many workers there have been; each takes the next number.
    n_workers: SharedSlice<u64>,
    /// The process number of each worker.
    pids: SharedSlice<u64>,
    /// The task that each worker began last, plus one.
    last: SharedSlice<u64>,
    /// For each task its runs: their number, and the sum of their workers' numbers; both grow by one addition.
    marks: SharedSlice<u64>,
}

/// One run in a mark; the rest is the sum of workers.
const ONE_RUN: u64 = 1 << 40;

static SLATE: OnceLock<(Slate, u64)> = OnceLock::new();

fn begin_worker(slate: Slate) {
    let worker = slate.n_workers.fetch_add(0, 1);
    slate.pids.store(worker as usize, u64::from(std::process::id()));
    assert!(SLATE.set((slate, worker)).is_ok(), "a worker is initialized once");
}

/// The arguments of a task.
#[derive(Serialize, Deserialize)]
struct Job {
    number: u64,
    busy: Duration,
    text: String,
    result_bytes: u64,
    /// Some tasks carry a handle.
    slate: Option<SharedSlice<u64>>,
}

/// The result of a task.
#[derive(Serialize, Deserialize)]
struct Answer {
    number: u64,
    worker: u64,
    /// The arguments arrived whole.
    is_whole: bool,
    text: String,
}

fn run(job: Job) -> Answer {
    let (slate, worker) = SLATE.get().expect("the initializer has run");
    // First who, then what: a run that is marked has a worker that can be found.
    slate.last.store(*worker as usize, job.number + 1);
    job.slate.as_ref().unwrap_or(&slate.marks).fetch_add(job.number as usize, ONE_RUN + worker);
    let start = Instant::now();
    if job.busy > Duration::from_micros(100) {
        std::thread::sleep(job.busy);
    }
    while start.elapsed() < job.busy {
        std::hint::spin_loop();
    }
    let is_whole = is_text(&job.text, job.number);
    Answer { number: job.number, worker: *worker, is_whole, text: text(job.number + 1, job.result_bytes) }
}

/// Text without a pattern, of a length that no power of two divides.
static BLOCK: LazyLock<String> = LazyLock::new(|| {
    let mut random = Random::new(8191);
    (0..8191).map(|_| char::from(b' ' + random.below(90) as u8)).collect()
});

fn chunks(key: u64) -> impl Iterator<Item = &'static str> {
    let (end, begin) = BLOCK.split_at((key % 8191) as usize);
    [begin, end].into_iter().cycle()
}

fn text(key: u64, n_bytes: u64) -> String {
    let mut text = String::with_capacity(n_bytes as usize);
    for chunk in chunks(key) {
        let n_left = n_bytes as usize - text.len();
        text.push_str(&chunk[..chunk.len().min(n_left)]);
        if text.len() == n_bytes as usize {
            break;
        }
    }
    text
}

fn is_text(text: &str, key: u64) -> bool {
    let mut rest = text;
    for chunk in chunks(key) {
        if rest.is_empty() {
            break;
        }
        let (here, there) = rest.split_at(chunk.len().min(rest.len()));
        if !chunk.starts_with(here) {
            return false;
        }
        rest = there;
    }
    true
}

fn job(number: u64, slate: &Slate, random: &mut Random) -> Job {
    // Most are short; every now and then one is as large as they get.
    let n_bytes = |random: &mut Random| match random.below(1024) {
        0 => LARGEST_BYTES,
        1..64 => random.any_magnitude(LARGEST_BYTES),
        _ => random.any_magnitude(4096),
    };
    let most_us = if random.below(100) == 0 { 5_000 } else { 500 };
    Job {
        number,
        busy: Duration::from_micros(random.any_magnitude(most_us)),
        text: text(number, n_bytes(random)),
        result_bytes: n_bytes(random),
        slate: (random.below(64) == 0).then(|| slate.marks.clone()),
    }
}

fn storm(plan: &Plan, watchdog: &Watchdog) -> Result<Books, Fault> {
    let mut random = Random::new(plan.seed);
    let most_workers = (plan.n_kills * 2) as usize + plan.n_workers + 1000;
    let slate = Slate {
        n_workers: SharedSlice::new(1)?,
        pids: SharedSlice::new(most_workers)?,
        last: SharedSlice::new(most_workers)?,
        marks: SharedSlice::new(plan.n_tasks as usize)?,
    };
    let retry = if plan.is_retried { Retry::OnWorkerDeath { attempts: NonZeroU32::MAX } } else { Retry::Never };
    let pool = Pool::builder()
        .workers(plan.n_workers)
        .initializer(slate.clone(), begin_worker)
        .retry(retry)
        .restart_limit(u32::MAX, Duration::from_secs(3600))
        .build()?;
    let start = Instant::now();
    let (n_ended, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (ends, killed) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill_workers(&pool, plan, &n_ended, &is_over));
        let mut open: VecDeque<Task<Answer>> = VecDeque::new();
        let mut ends = Vec::with_capacity(plan.n_tasks as usize);
        for number in 0..plan.n_tasks {
            let job = job(number, &slate, &mut random);
            open.push_back(pool.apply_async(job, run)?);
            while open.len() > MOST_OPEN || number + 1 == plan.n_tasks && !open.is_empty() {
                let Some(task) = open.pop_front() else { break };
                ends.push(End::of(task.get()));
                if n_ended.fetch_add(1, Ordering::Relaxed) % 256 == 0 {
                    watchdog.feed(format!("task {}", ends.len()));
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let killed = killer.join().map_err(|_| "the killer panicked")??;
        Ok::<_, Fault>((ends, killed))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    watchdog.feed("the end of the pool");
    pool.close();
    pool.join();
    let n_lost = pool.lost_workers();
    println!("{} tasks in {seconds:.1} s: {:.0} a second", plan.n_tasks, plan.n_tasks as f64 / seconds);
    Ok(Books { slate, ends, killed, n_lost })
}

/// How a task ended.
#[derive(Clone, Debug)]
enum End {
    /// Its result came, from this worker.
    Good { worker: u64 },
    /// Its worker was killed.
    Killed { pid: u32 },
    /// What must not be.
    Wrong(String),
}

impl End {
    fn of(outcome: Result<Answer, TaskError>) -> Self {
        match outcome {
            Ok(answer) if !answer.is_whole => Self::Wrong(format!("task {}: torn arguments", answer.number)),
            Ok(answer) if !is_text(&answer.text, answer.number + 1) => {
                Self::Wrong(format!("task {}: torn result", answer.number))
            }
            Ok(answer) => Self::Good { worker: answer.worker },
            Err(TaskError::Killed { pid, signal: 9, .. }) => Self::Killed { pid },
            Err(error) => Self::Wrong(error.to_string()),
        }
    }
}

/// Kills as many workers as planned, spread over the tasks; returns the process numbers.
fn kill_workers(pool: &Pool, plan: &Plan, n_ended: &AtomicU64, is_over: &AtomicBool) -> Result<Vec<Killed>, Fault> {
    let mut random = Random::new(!plan.seed);
    let mut killed = Vec::new();
    let mut seen = HashSet::new();
    while (killed.len() as u64) < plan.n_kills && !is_over.load(Ordering::Relaxed) {
        // The last are due when nine tenths of the tasks have ended.
        let due = killed.len() as u64 * plan.n_tasks / plan.n_kills * 9 / 10;
        if n_ended.load(Ordering::Relaxed) < due {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        std::thread::sleep(Duration::from_micros(random.any_magnitude(1000)));
        let workers = pool.workers();
        let candidates: Vec<_> = workers.into_iter().filter(|worker| !seen.contains(&worker.pid)).collect();
        if candidates.is_empty() {
            continue;
        }
        let worker = &candidates[random.below(candidates.len() as u64) as usize];
        if kill_child(worker.pid)? {
            seen.insert(worker.pid);
            killed.push(Killed { pid: worker.pid, state: worker.state });
        }
    }
    Ok(killed)
}

#[derive(Clone, Copy, Debug)]
struct Killed {
    pid: u32,
    state: WorkerState,
}

/// Kills a child of this process; `false` if there is none of that number any more.
fn kill_child(pid: u32) -> Result<bool, Fault> {
    let Some(number) = Pid::from_raw(pid.cast_signed()) else { return Ok(false) };
    let Ok(descriptor) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { return Ok(false) };
    // The descriptor stays with whom it was opened for; so if that is a child of ours, no stranger is killed.
    if ProcessInfo::of(pid).is_none_or(|process| process.parent_pid != std::process::id() || process.state == 'Z') {
        return Ok(false);
    }
    Ok(rustix::process::pidfd_send_signal(&descriptor, Signal::KILL).is_ok())
}

/// All that is known at the end.
struct Books {
    slate: Slate,
    ends: Vec<End>,
    killed: Vec<Killed>,
    n_lost: u64,
}

impl Books {
    /// Says what does not add up, and prints the figures.
    fn audit(&self, plan: &Plan) -> Vec<String> {
        let mut wrong = Vec::new();
        let n_workers = self.slate.n_workers.load(0) as usize;
        let pids = self.slate.pids.read(0..n_workers);
        let last = self.slate.last.read(0..n_workers);
        let marks = self.slate.marks.read(0..plan.n_tasks as usize);
        let killed: HashSet<u32> = self.killed.iter().map(|killed| killed.pid).collect();
        if killed.len() as u64 != self.n_lost {
            wrong.push(format!("{} workers were killed, {} lost", killed.len(), self.n_lost));
        }
        // Killed workers by the task that they began last.
        let mut dead_in: HashMap<u64, Vec<u64>> = HashMap::new();
        for worker in (0..n_workers).filter(|&worker| last[worker] != 0 && killed.contains(&(pids[worker] as u32))) {
            dead_in.entry(last[worker] - 1).or_default().push(worker as u64);
        }
        let none = Vec::new();
        let mut count = Count::default();
        for (number, (end, mark)) in self.ends.iter().zip(&marks).enumerate() {
            let run = Runs { n_runs: mark / ONE_RUN, workers: mark % ONE_RUN };
            let dead = dead_in.get(&(number as u64)).unwrap_or(&none);
            if let Err(reason) = count.add(end, &run, dead, &pids, plan.is_retried) {
                wrong.push(format!("task {number}: {reason} ({end:?}, {run:?}, killed in it: {dead:?})"));
            }
        }
        if self.ends.len() as u64 != plan.n_tasks {
            wrong.push(format!("{} tasks were submitted, {} ended", plan.n_tasks, self.ends.len()));
        }
        let n_runs: u64 = marks.iter().map(|mark| mark / ONE_RUN).sum();
        let n_starting = self.killed.iter().filter(|killed| killed.state == WorkerState::Starting).count();
        println!(
            "{} workers killed, {n_starting} of them while they started; {n_workers} workers in all",
            killed.len()
        );
        println!("{} kills hit a worker that was running a task", count.n_hit);
        println!("{n_runs} runs, {} results, {} errors", count.n_good, count.n_errors);
        println!(
            "{} kills between two notes of a run, {} before its first note",
            count.n_half_marked, count.n_unmarked
        );
        if plan.is_retried && n_runs != plan.n_tasks + count.n_hit {
            wrong.push(format!("{n_runs} runs are not {} tasks and {} hits", plan.n_tasks, count.n_hit));
        }
        if !plan.is_retried && count.n_errors != count.n_hit + count.n_half_marked + count.n_unmarked {
            wrong.push(format!("{} errors are not {} hits and those before their note", count.n_errors, count.n_hit));
        }
        if (killed.len() as u64) < plan.n_kills {
            wrong.push(format!("only {} of {} kills were made: more tasks are needed", killed.len(), plan.n_kills));
        }
        if plan.n_kills >= 100 && count.n_hit * 10 < plan.n_kills * 3 {
            wrong.push(format!("only {} of {} kills hit a running task", count.n_hit, plan.n_kills));
        }
        wrong
    }
}

/// The runs of one task as they were marked.
#[derive(Debug)]
struct Runs {
    n_runs: u64,
    /// The sum of their workers' numbers.
    workers: u64,
}

#[derive(Default)]
struct Count {
    n_good: u64,
    n_errors: u64,
    /// Runs whose worker was killed.
    n_hit: u64,
    /// Workers killed after they had named the task and before they had marked the run.
    n_half_marked: u64,
    /// Tasks that had begun for the pool, but not yet for themselves.
    n_unmarked: u64,
}

impl Count {
    fn add(&mut self, end: &End, runs: &Runs, dead: &[u64], pids: &[u64], is_retried: bool) -> Result<(), String> {
        match end {
            End::Wrong(reason) => return Err(reason.clone()),
            End::Good { worker } => {
                self.n_good += 1;
                // A worker may give its result and be killed before it begins another task.
                let cut: Vec<u64> = dead.iter().copied().filter(|other| other != worker).collect();
                let n_cut = runs.n_runs.checked_sub(1).ok_or("a result without a run")?;
                let sum = runs.workers.checked_sub(*worker).ok_or("a result of a worker that did not run it")?;
                self.n_hit += n_cut;
                self.match_cut(&cut, n_cut, sum)?;
                if n_cut > 0 && !is_retried {
                    return Err("it ran twice".to_owned());
                }
            }
            End::Killed { .. } if is_retried => return Err("an error in spite of retry".to_owned()),
            End::Killed { pid } => {
                self.n_errors += 1;
                if runs.n_runs > 1 {
                    return Err("it ran twice".to_owned());
                }
                self.n_hit += runs.n_runs;
                self.match_cut(dead, runs.n_runs, runs.workers)?;
                if dead.is_empty() {
                    self.n_unmarked += 1;
                } else if !dead.iter().any(|&worker| pids[worker as usize] == u64::from(*pid)) {
                    return Err("another worker was killed in it".to_owned());
                }
            }
        }
        Ok(())
    }

    /// Each run without a result belongs to a worker that was killed in it.
    fn match_cut(&mut self, dead: &[u64], n_cut: u64, sum: u64) -> Result<(), String> {
        let n_more = (dead.len() as u64).checked_sub(n_cut).ok_or("a run without a result whose worker lives on")?;
        let sum_of_more = dead.iter().sum::<u64>().checked_sub(sum).ok_or("the runs are not those of the killed")?;
        self.n_half_marked += n_more;
        let is_explained = match n_more {
            0 => sum_of_more == 0,
            1 => dead.contains(&sum_of_more),
            // Two such accidents in one task: their numbers cannot be told from the sum.
            _ => true,
        };
        if is_explained { Ok(()) } else { Err("the runs are not those of the killed".to_owned()) }
    }
}
