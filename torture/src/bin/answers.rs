//! Somebody who holds, waits or takes part is killed: everybody else gets an answer within one second. And a task that kills every
//! worker that touches it harms no other task.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use brigade::{
    Barrier, Condition, Event, Lock, Manager, OwnerDied, Pool, Process, Queue, Retry, RwLock, Semaphore, TaskError,
};
use torture::arguments::Arguments;
use torture::leakcheck::Guard;
use torture::watchdog::Watchdog;

const USAGE: &str = "usage: answers [--rounds N] [--red]

  --rounds N    how often each is killed (5)
  --red         the same questions to Python's multiprocessing: some must stay without an answer";

const LIMIT: Duration = Duration::from_secs(1);
const FOR_EVER: Duration = Duration::from_secs(20);

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Question = fn() -> Result<Duration, Fault>;

const QUESTIONS: [(&str, Question); 9] = [
    ("the holder of a lock", lock_holder),
    ("a waiter at a condition", condition_waiter),
    ("a party of a barrier", barrier_party),
    ("the holder of a permit", permit_holder),
    ("a reader", reader),
    ("a writer", writer),
    ("a consumer in get", consumer),
    ("a client of a manager", client),
    ("whoever touches one task of a thousand", poison),
];

fn main() -> ExitCode {
    brigade::init();
    let mut arguments = Arguments::of_program(USAGE);
    let n_rounds = arguments.number("--rounds").unwrap_or(5);
    let is_red = arguments.flag("--red");
    arguments.finish();
    if is_red {
        return torture::red::run("answers.py");
    }
    // A process that has called a manager keeps the line for the next call: that is there before anything is counted.
    if let Err(fault) = client() {
        println!("answers: {fault}");
        return ExitCode::FAILURE;
    }
    let mut n_failed = 0;
    for (who, question) in QUESTIONS {
        let mut longest = Duration::ZERO;
        let outcome = (0..n_rounds).try_for_each(|round| -> Result<(), Fault> {
            let guard = Guard::new();
            let watchdog = Watchdog::new(FOR_EVER);
            watchdog.feed(format!("{who}, round {round}"));
            let answered = question();
            drop(watchdog);
            let left = guard.check();
            longest = longest.max(answered?);
            Ok(left?)
        });
        let is_late = longest > LIMIT;
        n_failed += u32::from(outcome.is_err() || is_late);
        let verdict = match outcome {
            Ok(()) if !is_late => "good".to_owned(),
            Ok(()) => "FAILED: too late".to_owned(),
            Err(fault) => format!("FAILED: {fault}"),
        };
        println!("{who:<40} killed {n_rounds} times, answers within {:>4} ms: {verdict}", longest.as_millis());
    }
    println!("answers: {}", if n_failed == 0 { "good" } else { "FAILED" });
    if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Kills a process that has said that it is where it is to be killed; when that was.
fn kill<R>(process: &Process<R>, is_there: &Event) -> Result<Instant, Fault> {
    if !is_there.wait_timeout(FOR_EVER) {
        return Err("the victim did not come so far".into());
    }
    // It says so just before it waits; whether it waits already makes no difference to the answer.
    let killed = Instant::now();
    process.kill();
    Ok(killed)
}

fn lock_holder() -> Result<Duration, Fault> {
    let (lock, is_there) = (Lock::new()?, Event::new()?);
    let holder = brigade::spawn((lock.clone(), is_there.clone()), |(lock, is_there): (Lock, Event)| {
        let _guard = lock.lock();
        is_there.set();
        std::thread::park();
    })?;
    let killed = kill(&holder, &is_there)?;
    if lock.lock().is_ok() {
        return Err("the owner's death was not told".into());
    }
    drop(lock.lock().map_err(|_| "the owner's death was told twice")?);
    Ok(killed.elapsed())
}

fn condition_waiter() -> Result<Duration, Fault> {
    let shared = (Lock::new()?, Condition::new()?, Event::new()?);
    let wait = |(lock, condition, is_there): (Lock, Condition, Event)| {
        let guard = lock.lock().unwrap_or_else(OwnerDied::into_inner);
        is_there.set();
        drop(condition.wait(guard));
    };
    let victim = brigade::spawn(shared.clone(), wait)?;
    kill(&victim, &shared.2)?;
    victim.wait();
    shared.2.clear();
    let other = brigade::spawn(shared.clone(), wait)?;
    shared.2.wait();
    // The one notification must reach the one who lives.
    drop(shared.0.lock().unwrap_or_else(OwnerDied::into_inner));
    let asked = Instant::now();
    while !shared.1.notify_one() {
        std::thread::yield_now();
    }
    other.join()?;
    Ok(asked.elapsed())
}

fn barrier_party() -> Result<Duration, Fault> {
    let (barrier, is_there) = (Barrier::new(2)?, Event::new()?);
    let party = brigade::spawn((barrier.clone(), is_there.clone()), |(_barrier, is_there): (Barrier, Event)| {
        is_there.set();
        std::thread::park();
    })?;
    let killed = kill(&party, &is_there)?;
    if barrier.wait().is_ok() { Err("a dead party came".into()) } else { Ok(killed.elapsed()) }
}

fn permit_holder() -> Result<Duration, Fault> {
    let (semaphore, is_there) = (Semaphore::new(1)?, Event::new()?);
    let holder = brigade::spawn((semaphore.clone(), is_there.clone()), |(semaphore, is_there): (Semaphore, Event)| {
        let _permit = semaphore.acquire();
        is_there.set();
        std::thread::park();
    })?;
    let killed = kill(&holder, &is_there)?;
    drop(semaphore.acquire());
    Ok(killed.elapsed())
}

fn reader() -> Result<Duration, Fault> {
    let (lock, is_there) = (RwLock::new()?, Event::new()?);
    let holder = brigade::spawn((lock.clone(), is_there.clone()), |(lock, is_there): (RwLock, Event)| {
        let _guard = lock.read();
        is_there.set();
        std::thread::park();
    })?;
    let killed = kill(&holder, &is_there)?;
    drop(lock.write().map_err(|_| "a dead reader counts as a writer")?);
    Ok(killed.elapsed())
}

fn writer() -> Result<Duration, Fault> {
    let (lock, is_there) = (RwLock::new()?, Event::new()?);
    let holder = brigade::spawn((lock.clone(), is_there.clone()), |(lock, is_there): (RwLock, Event)| {
        let _guard = lock.write();
        is_there.set();
        std::thread::park();
    })?;
    let killed = kill(&holder, &is_there)?;
    if lock.write().is_ok() { Err("the writer's death was not told".into()) } else { Ok(killed.elapsed()) }
}

fn consumer() -> Result<Duration, Fault> {
    let (queue, is_there) = (Queue::<u64>::bounded(2)?, Event::new()?);
    let victim = brigade::spawn((queue.clone(), is_there.clone()), |(queue, is_there): (Queue<u64>, Event)| {
        is_there.set();
        queue.get().is_ok()
    })?;
    let killed = kill(&victim, &is_there)?;
    victim.wait();
    for number in 0..10 {
        queue.put(number)?;
        if queue.get()? != number {
            return Err("an item went to the dead".into());
        }
    }
    // With the consumer the only other handle is gone.
    if queue.get().is_ok() { Err("nobody could have put".into()) } else { Ok(killed.elapsed()) }
}

fn client() -> Result<Duration, Fault> {
    let manager = Manager::start()?;
    let (value, lock, is_there) = (manager.value(1_u64)?, manager.lock()?, Event::new()?);
    let victim = brigade::spawn(
        (value.clone(), lock.clone(), is_there.clone()),
        |(value, lock, is_there): (brigade::ManagedValue<u64>, brigade::ManagedLock, Event)| {
            let _guard = lock.lock();
            is_there.set();
            while value.get().is_ok() {}
        },
    )?;
    let killed = kill(&victim, &is_there)?;
    // Whoever comes after is told of the death, or gets the lock: in any case there is an answer.
    drop(lock.lock());
    let got = value.get()?;
    let within = killed.elapsed();
    manager.shutdown();
    if got == 1 { Ok(within) } else { Err(format!("1 became {got}").into()) }
}

/// A thousand good tasks and one that kills every worker that touches it.
fn poison() -> Result<Duration, Fault> {
    let attempts = NonZeroU32::new(3).ok_or("3 is not 0")?;
    let pool = Pool::builder().workers(3).retry(Retry::OnWorkerDeath { attempts }).build()?;
    let work = |number: u64| {
        if number == 500 {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        }
        number + 1
    };
    let outcomes = pool.map(0..1001_u64, work);
    let n_good = outcomes.iter().zip(1..).filter(|(outcome, number)| **outcome == Ok(*number)).count();
    let is_told = matches!(outcomes[500], Err(TaskError::Killed { signal: 9, .. }));
    if n_good == 1000 && is_told && pool.lost_workers() == 3 {
        return Ok(Duration::ZERO);
    }
    Err(format!("{n_good} good, {:?}, {} workers lost", outcomes[500], pool.lost_workers()).into())
}
