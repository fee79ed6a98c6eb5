//! Leads victims to their death: measures a scenario's window, chooses points in it, kills a fresh victim at each, and has the
//! survivors look. What they look for is the scenario's affair.
//!
//! There are two survivors: this process, which is the victims' parent and hears of their death from the kernel, and a
//! child of its own, which must find out by itself. They take turns.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use brigade::{Process, Queue};
use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use torture::leakcheck::Guard;
use torture::random::Random;
use torture::stepkill::{self, Stop, Victim};
use torture::watchdog::Watchdog;

/// Survivors go on within this time, counted from the kill.
const LIMIT: Duration = Duration::from_secs(1);
/// Whoever waits this long waits for ever.
const FOR_EVER: Duration = Duration::from_secs(20);
/// Longer windows are measured in part.
const MOST_STEPS: usize = 300_000;
/// Windows up to this length get all points that were asked for.
const CHEAP_STEPS: usize = 20_000;
/// A scenario that failed this often has been understood.
const MOST_FAILURES: usize = 3;

/// Why something did not go as it must.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Something that a victim does, and what must hold whenever it is killed.
pub trait Scenario: 'static {
    /// How reports call it.
    const NAME: &'static str;
    /// Whether the victim comes to sleep, and [`relieve`](Self::relieve) wakes it.
    const SLEEPS: bool = false;
    /// Whether somebody [attends](Self::attend), asleep, and is woken by what the victim does.
    const IS_ATTENDED: bool = false;
    /// Which thread of the victim is killed step by step, if not its first.
    const THREAD: Option<&'static str> = None;
    /// The handles that victims and survivors have in common.
    type Shared: Serialize + DeserializeOwned + Clone + Send + Sync;

    /// Whether only the parent can look, for it alone has what it takes.
    const IS_PRIVATE: bool = false;

    /// Makes what is shared.
    fn set_up() -> Result<Self::Shared, Fault>;

    /// In the parent: lets go of what is not in the shared handles.
    fn tear_down() {}

    /// In the parent: starts a victim, or finds one.
    fn launch(shared: &Self::Shared, round: u64) -> Result<Target, Fault>
    where
        Self: Sized,
    {
        Ok(Target::Process(brigade::spawn((shared.clone(), round), be_victim::<Self>)?))
    }

    /// In the parent, before a victim is started.
    fn prepare(_shared: &Self::Shared, _round: u64) -> Result<(), Fault> {
        Ok(())
    }

    /// What the victim has at hand when the window begins.
    type Ready<'a>;

    /// In the victim, before the window: whatever only the first call of its kind does.
    fn arrive(shared: &Self::Shared, round: u64) -> Result<Self::Ready<'_>, Fault>;

    /// In the victim: the window.
    fn act<'a>(shared: &'a Self::Shared, ready: Self::Ready<'a>) -> Result<(), Fault>;

    /// In the parent, when the victim sleeps within the window.
    fn relieve(_shared: &Self::Shared) -> Result<(), Fault> {
        Ok(())
    }

    /// In the parent, on a thread of its own, from before the window on: sleeps until the victim has done something.
    fn attend(_shared: &Self::Shared) -> Result<u64, Fault> {
        Err("nobody attends this".into())
    }

    /// In the parent, after all checks: ends the sleep of who attended in vain.
    fn dismiss(_shared: &Self::Shared) -> Result<(), Fault> {
        Ok(())
    }

    /// In a survivor: goes on, and says what is wrong.
    fn check(shared: &Self::Shared, death: &Death) -> Result<(), Fault>;
}

/// Who is to die.
pub enum Target {
    Process(Process<()>),
    /// The worker of a pool, which buries it.
    Worker(u32),
}

impl Target {
    fn pid(&self) -> u32 {
        match self {
            Self::Process(process) => process.pid(),
            Self::Worker(pid) => *pid,
        }
    }

    fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid().cast_signed()) {
            // It is stopped by its tracer or dead and not collected: the number is its own.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    fn wait(&self) {
        if let Self::Process(process) = self {
            process.wait();
        }
    }
}

/// How a victim came to its end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Death {
    /// Which victim it was.
    pub round: u64,
    /// It had done all of the window.
    pub is_completed: bool,
    /// The parent had woken it.
    pub is_relieved: bool,
    /// What came to who attended, if anything did.
    pub attended: Option<u64>,
}

/// What is asked for.
pub struct Options {
    pub seed: u64,
    pub n_points: usize,
    pub only: Option<String>,
}

/// What became of the scenarios.
#[derive(Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

/// What became of one scenario.
struct Outcome {
    name: &'static str,
    n_steps: usize,
    n_kills: usize,
    n_asleep: usize,
    longest: Duration,
    took: Duration,
    failures: Vec<String>,
    /// Why the campaign could not be led to its end: that tells nothing of the scenario.
    broken: Option<String>,
}

impl Report {
    /// Runs a scenario, if it was asked for.
    pub fn add<S: Scenario>(&mut self, options: &Options) {
        if options.only.as_ref().is_none_or(|only| S::NAME.contains(only.as_str())) {
            let outcome = run::<S>(options);
            outcome.print();
            self.outcomes.push(outcome);
        }
    }

    pub fn print(&self) {
        let n_kills: usize = self.outcomes.iter().map(|outcome| outcome.n_kills).sum();
        let n_failed = self.outcomes.iter().filter(|outcome| !outcome.is_good()).count();
        println!("{} scenarios, {n_kills} kills, {n_failed} scenarios failed", self.outcomes.len());
    }

    pub fn none_failed(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(Outcome::is_good)
    }

    pub fn all_failed(&self) -> bool {
        let has_failed = |outcome: &Outcome| outcome.broken.is_none() && !outcome.failures.is_empty();
        !self.outcomes.is_empty() && self.outcomes.iter().all(has_failed)
    }
}

impl Outcome {
    const fn is_good(&self) -> bool {
        self.failures.is_empty() && self.broken.is_none()
    }

    fn print(&self) {
        let Self { name, n_steps, n_kills, n_asleep, longest, took, failures, broken } = self;
        let verdict = if self.is_good() { "good" } else { "FAILED" };
        println!(
            "{name:<28} {n_steps:>6} instructions {n_kills:>4} kills ({n_asleep:>2} asleep)  survivors within {:>3} ms  {:>5.1} s  {verdict}",
            longest.as_millis(),
            took.as_secs_f64()
        );
        failures.iter().for_each(|failure| println!("    {failure}"));
        broken.iter().for_each(|reason| println!("    the campaign itself: {reason}"));
    }
}

/// Runs one scenario: measures it, kills at each chosen point, and checks that nothing is left behind.
fn run<S: Scenario>(options: &Options) -> Outcome {
    let start = Instant::now();
    let guard = Guard::new();
    let watchdog = Watchdog::new(FOR_EVER);
    let mut outcome = Outcome {
        name: S::NAME,
        n_steps: 0,
        n_kills: 0,
        n_asleep: 0,
        longest: Duration::ZERO,
        took: Duration::ZERO,
        failures: Vec::new(),
        broken: None,
    };
    if let Err(fault) = kill_all_over::<S>(options, &watchdog, &mut outcome) {
        outcome.broken = Some(fault.to_string());
    }
    drop(watchdog);
    if let Err(leaks) = guard.check() {
        outcome.failures.push(leaks.to_string());
    }
    outcome.took = start.elapsed();
    outcome
}

/// Where a victim is to be killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// After so many instructions, or at the end of the window.
    After(u64),
    AtEnd,
    /// When it sleeps for the second time a look is taken.
    Asleep,
}

fn kill_all_over<S: Scenario>(options: &Options, watchdog: &Watchdog, outcome: &mut Outcome) -> Result<(), Fault> {
    let mut random = Random::new(options.seed);
    let mut stage = Stage::<S>::set_up()?;
    watchdog.feed(format!("{}: measuring", S::NAME));
    let addresses = stage.measure(0)?;
    outcome.n_steps = addresses.len();
    // Each step is a stop, so long windows are given fewer points.
    let n_points = (options.n_points * CHEAP_STEPS / addresses.len().max(1)).clamp(3, options.n_points.max(3));
    let chosen = stepkill::choose_points(&addresses, n_points, &mut random);
    let mut points: Vec<Point> = chosen.into_iter().map(Point::After).collect();
    points.extend(vec![Point::AtEnd; 1 + options.n_points / 100]);
    if S::SLEEPS {
        points.extend(vec![Point::Asleep; options.n_points.div_ceil(20)]);
    }
    for (idx, point) in points.into_iter().enumerate() {
        let round = idx as u64 + 1;
        watchdog.feed(format!("{}, victim {round}, killed {point:?}", S::NAME));
        outcome.n_kills += 1;
        outcome.n_asleep += usize::from(matches!(point, Point::Asleep));
        match stage.kill_one(round, point) {
            Ok(within) => outcome.longest = outcome.longest.max(within),
            Err(fault) => {
                let place = match point {
                    Point::After(n_steps) => addresses.get(n_steps as usize).map_or(0, |&address| address),
                    Point::AtEnd | Point::Asleep => 0,
                };
                outcome.failures.push(format!("victim {round}, killed {point:?} (at {place:#x}): {fault}"));
                if outcome.failures.len() == MOST_FAILURES {
                    break;
                }
                // What is shared may be broken now, and would fail for all that follow.
                stage = Stage::set_up()?;
            }
        }
    }
    stage.clear()
}

type Commands = Queue<Death>;
type Answers = Queue<Result<(), String>>;

/// What a scenario plays on: the shared handles, and the other survivor.
struct Stage<S: Scenario> {
    shared: S::Shared,
    survivor: Process<()>,
    commands: Commands,
    answers: Answers,
}

impl<S: Scenario> Stage<S> {
    fn set_up() -> Result<Self, Fault> {
        let shared = S::set_up()?;
        let (commands, answers) = (Commands::bounded(4)?, Answers::bounded(4)?);
        let survivor = brigade::spawn((shared.clone(), commands.clone(), answers.clone()), survive::<S>)?;
        Ok(Self { shared, survivor, commands, answers })
    }

    fn clear(self) -> Result<(), Fault> {
        S::tear_down();
        self.commands.close();
        Ok(self.survivor.join()?)
    }

    fn start(&self, round: u64) -> Result<(Target, Victim), Fault> {
        S::prepare(&self.shared, round)?;
        let target = S::launch(&self.shared, round)?;
        let begun = Victim::at_begin(target.pid()).and_then(|victim| match S::THREAD {
            Some(name) => victim.thread(name),
            None => Ok(victim),
        });
        Ok((target, begun.map_err(|error| format!("the victim did not begin: {error}"))?))
    }

    /// Lets one victim do the whole window, and tells the address of each instruction, as it lies in the program's file.
    fn measure(&self, round: u64) -> Result<Vec<u64>, Fault> {
        let mut addresses = Vec::new();
        self.with_victim(round, Relief::Wake, |pid, victim| {
            let base = base_address(pid);
            let traced = victim.trace(MOST_STEPS)?;
            addresses.extend(traced.into_iter().map(|address| address.wrapping_sub(base)));
            Ok(if addresses.len() < MOST_STEPS { Stop::AtEnd } else { Stop::Within })
        })?;
        Ok(addresses)
    }

    /// Kills one victim at a point; how long the survivors took to go on.
    fn kill_one(&self, round: u64, point: Point) -> Result<Duration, Fault> {
        let relief = if matches!(point, Point::Asleep) { Relief::Kill } else { Relief::Wake };
        let within = self.with_victim(round, relief, |_, victim| match point {
            Point::After(n_steps) => Ok(victim.steps(n_steps)?),
            Point::AtEnd | Point::Asleep => Ok(victim.to_end()?),
        })?;
        if within > LIMIT { Err(format!("the survivors took {within:?}").into()) } else { Ok(within) }
    }

    /// Starts a victim, does `step_it`, kills it, and lets the survivors look; how long they took.
    fn with_victim(
        &self,
        round: u64,
        relief: Relief,
        step_it: impl FnOnce(u32, &Victim) -> Result<Stop, Fault>,
    ) -> Result<Duration, Fault> {
        std::thread::scope(|scope| {
            let (tell, told) = mpsc::channel();
            if S::IS_ATTENDED {
                let shared = &self.shared;
                let attend = move || tell.send(S::attend(shared).map_err(|fault| fault.to_string()));
                let attendant = scope.spawn(attend);
                wait_for_sleep(&attendant);
            }
            let (target, victim) = self.start(round)?;
            let pinned = Pinned::with(target.pid())?;
            let stepped = self.with_relief(target.pid(), relief, || step_it(target.pid(), &victim));
            drop(pinned);
            let killed = Instant::now();
            target.kill();
            victim.bury();
            target.wait();
            let (is_relieved, stop) = stepped?;
            // A thread is stepped until its process is killed at the end of the window.
            let is_completed = stop == Stop::AtEnd || S::THREAD.is_some() && stop == Stop::Gone;
            let attended = if S::IS_ATTENDED { told.recv_timeout(LIMIT / 2).ok().transpose()? } else { None };
            // Where nothing came there may have been nothing to come.
            let in_vain = if attended.is_none() && S::IS_ATTENDED { LIMIT / 2 } else { Duration::ZERO };
            let death = Death { round, is_completed, is_relieved, attended };
            let checked = self.check(&death);
            let within = killed.elapsed().saturating_sub(in_vain);
            if S::IS_ATTENDED && attended.is_none() {
                S::dismiss(&self.shared)?;
                told.recv()??;
            }
            checked.map(|()| within)
        })
    }

    fn check(&self, death: &Death) -> Result<(), Fault> {
        if S::IS_PRIVATE || death.round.is_multiple_of(2) {
            return S::check(&self.shared, death);
        }
        self.commands.put(*death)?;
        Ok(self.answers.get()??)
    }

    /// Does `work`, which steps a victim, while another thread looks whether it sleeps and relieves it. Says whether it did.
    fn with_relief<T>(
        &self,
        pid: u32,
        relief: Relief,
        work: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<(bool, T), Fault> {
        if !S::SLEEPS && S::THREAD.is_none() {
            return Ok((false, work()?));
        }
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| relieve_sleeper::<S>(&self.shared, pid, relief, &is_over));
            let done = work();
            is_over.store(true, Ordering::Release);
            let is_relieved = watcher.join().map_err(|_| "the relief panicked")??;
            Ok((is_relieved, done?))
        })
    }
}

/// What is done for a victim that sleeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Relief {
    Wake,
    Kill,
}

fn relieve_sleeper<S: Scenario>(
    shared: &S::Shared,
    pid: u32,
    relief: Relief,
    is_over: &AtomicBool,
) -> Result<bool, Fault> {
    let mut n_asleep = 0;
    while !is_over.load(Ordering::Acquire) {
        let is_due = if S::THREAD.is_some() { stepkill::is_at_end(pid) } else { stepkill::is_asleep(pid) };
        n_asleep = if is_due { n_asleep + 1 } else { 0 };
        if n_asleep == 2 && relief == Relief::Wake && S::THREAD.is_none() {
            S::relieve(shared)?;
            return Ok(true);
        }
        if n_asleep == 2
            && let Some(pid) = Pid::from_raw(pid.cast_signed())
        {
            // Nobody but this process collects it, and not before it is killed: the number is its own.
            rustix::process::kill_process(pid, Signal::KILL)?;
            return Ok(false);
        }
        // A process that falls asleep tells nobody.
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(false)
}

/// Gives a thread the time to fall asleep: nothing but a sleeper without a deadline is to be seen, and it may look around first.
fn wait_for_sleep<T>(thread: &std::thread::ScopedJoinHandle<'_, T>) {
    let start = Instant::now();
    while !thread.is_finished() && start.elapsed() < Duration::from_millis(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The calling thread and a victim on one processor, until dropped.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn with(pid: u32) -> Result<Self, Fault> {
        let before = rustix::thread::sched_getaffinity(None)?;
        let first = (0..CpuSet::MAX_CPU).find(|&processor| before.is_set(processor)).unwrap_or(0);
        let mut one = CpuSet::new();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one)?;
        rustix::thread::sched_setaffinity(Pid::from_raw(pid.cast_signed()), &one)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // These are processors that the thread had, so it may have them again.
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}

/// Where the program's file lies in the memory of a process.
fn base_address(pid: u32) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let is_program = |line: &&str| line.ends_with(&*program.to_string_lossy());
    let first = maps.lines().find(is_program).and_then(|line| line.split('-').next());
    first.and_then(|address| u64::from_str_radix(address, 16).ok()).unwrap_or(0)
}

fn be_victim<S: Scenario>((shared, round): (S::Shared, u64)) {
    let ready = match S::arrive(&shared, round) {
        Ok(ready) => ready,
        Err(fault) => panic!("before the window: {fault}"),
    };
    stepkill::mark_begin();
    let outcome = S::act(&shared, ready);
    stepkill::mark_end();
    // Nobody comes here: a victim that reaches the end of the window is killed there.
    panic!("outlived its window: {outcome:?}");
}

fn survive<S: Scenario>((shared, commands, answers): (S::Shared, Commands, Answers)) {
    for death in commands.iter() {
        let answer = S::check(&shared, &death).map_err(|fault| format!("{fault} (in the other survivor)"));
        if answers.put(answer).is_err() {
            return;
        }
    }
}
