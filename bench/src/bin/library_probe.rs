//! Times our library from inside. Its counterparts are ../library_probe.py and the package bench/peers; the order of things
//! is in ../library.rs.
#![forbid(unsafe_code)]

#[path = "../probe.rs"]
mod probe;

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use brigade::{Blob, Pool, Queue, WorkerState};

/// Enough for both sides to have run, and for their code to be warm.
const N_WARM_UP: usize = 1000;
const N_WORKERS: usize = 2;
const CAPACITY: usize = 1024;
/// Producers, and as many consumers.
const N_ENDS: usize = 4;
const LEAVE: &str = "leave";

/// 64 bytes, as large as a message of the others.
type Message = [u64; 8];
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    brigade::init();
    if std::env::args().nth(1).as_deref() == Some(LEAVE) {
        return Ok(());
    }
    let (what, count) = probe::arguments()?;
    match what.as_str() {
        "throughput" => with_pool(|pool| throughput(pool, count)),
        "round-trip" => with_pool(|pool| probe::median(count, || Ok(pool.apply((), |()| ())?))),
        "idle" => idle(count),
        "queue" => alone(|| queue(count)),
        "many" => alone(|| many(count)),
        "ping-pong" => alone(|| ping_pong(count)),
        "start-join" => alone(|| probe::median(count, || Ok(brigade::spawn((), |()| ())?.join()?))),
        "blob" => blob(count),
        "bare-spawn" => alone(|| probe::median(count, bare_spawn)),
        _ => Err(format!("{what} is not known").into()),
    }
}

fn alone(work: impl FnOnce() -> Outcome<Duration>) -> Outcome<()> {
    probe::answer(&probe::measure(work)?)
}

fn with_pool(work: impl FnOnce(&Pool) -> Outcome<Duration>) -> Outcome<()> {
    let pool = Pool::new(N_WORKERS)?;
    for _ in 0..N_WARM_UP {
        pool.apply((), |()| ())?;
    }
    probe::answer(&probe::measure(|| work(&pool))?)?;
    pool.close();
    pool.join();
    Ok(())
}

/// All tasks handed in, then all results taken.
fn throughput(pool: &Pool, count: usize) -> Outcome<Duration> {
    let started = Instant::now();
    let mut tasks = Vec::with_capacity(count);
    for _ in 0..count {
        tasks.push(pool.apply_async((), |()| ())?);
    }
    for task in tasks {
        task.get()?;
    }
    Ok(started.elapsed())
}

/// How often anything of a pool of `count` idle workers woke up in a second, printed as if it were nanoseconds.
fn idle(count: usize) -> Outcome<()> {
    const LOOKED_AT: Duration = Duration::from_secs(5);
    const SETTLED_AFTER: Duration = Duration::from_secs(1);
    let pool = Pool::new(count)?;
    pool.map(vec![(); 10 * count], |()| ());
    while pool.workers().iter().any(|worker| worker.state != WorkerState::Idle) {
        std::thread::sleep(SETTLED_AFTER / 100);
    }
    std::thread::sleep(SETTLED_AFTER);
    let mut pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
    pids.push(std::process::id());
    let before = n_switches(&pids);
    // Sleeping is one wake-up of our own.
    std::thread::sleep(LOOKED_AT);
    let n_woken = n_switches(&pids).saturating_sub(before + 1);
    println!("{} 0 0", n_woken / LOOKED_AT.as_secs());
    Ok(())
}

fn queue(count: usize) -> Outcome<Duration> {
    let messages = Queue::<Message>::bounded(CAPACITY)?;
    let producer = brigade::spawn((messages.clone(), count + N_WARM_UP), |(messages, count)| {
        (0..count).all(|number| messages.put([number as u64; 8]).is_ok())
    })?;
    for _ in 0..N_WARM_UP {
        messages.get()?;
    }
    let started = Instant::now();
    for number in N_WARM_UP..N_WARM_UP + count {
        assert_eq!(messages.get()?[0], number as u64);
    }
    let took = started.elapsed();
    assert!(producer.join()?);
    Ok(took)
}

fn many(count: usize) -> Outcome<Duration> {
    let messages = Queue::<Message>::bounded(CAPACITY)?;
    let start = Queue::<()>::bounded(2 * N_ENDS)?;
    let mut processes = Vec::new();
    let ready = Queue::<()>::bounded(2 * N_ENDS)?;
    for _ in 0..N_ENDS {
        let share = count / N_ENDS;
        processes.push(brigade::spawn(
            (messages.clone(), ready.clone(), start.clone(), share),
            |(messages, ready, start, share)| {
                ready.put(()).is_ok()
                    && start.get().is_ok()
                    && (0..share).all(|number| messages.put([number as u64; 8]).is_ok())
            },
        )?);
        processes.push(brigade::spawn(
            (messages.clone(), ready.clone(), start.clone(), share),
            |(messages, ready, start, share)| {
                ready.put(()).is_ok() && start.get().is_ok() && (0..share).all(|_| messages.get().is_ok())
            },
        )?);
    }
    for _ in 0..2 * N_ENDS {
        ready.get()?;
    }
    let started = Instant::now();
    for _ in 0..2 * N_ENDS {
        start.put(())?;
    }
    for process in processes {
        assert!(process.join()?);
    }
    Ok(started.elapsed())
}

fn ping_pong(count: usize) -> Outcome<Duration> {
    let (questions, answers) = (Queue::<Message>::bounded(1)?, Queue::<Message>::bounded(1)?);
    let echo =
        brigade::spawn((questions.clone(), answers.clone(), count + N_WARM_UP), |(questions, answers, count)| {
            (0..count).all(|_| questions.get().is_ok_and(|message| answers.put(message).is_ok()))
        })?;
    let round_trip = || -> Outcome<()> {
        questions.put([7; 8])?;
        answers.get()?;
        Ok(())
    };
    for _ in 0..N_WARM_UP {
        round_trip()?;
    }
    let took = probe::median(count, round_trip)?;
    assert!(echo.join()?);
    Ok(took)
}

/// A gibibyte, made beforehand: until the other side has seen its first and last byte.
fn blob(count: usize) -> Outcome<()> {
    let (blobs, answers) = (brigade::pipe::<Blob>(), brigade::pipe::<u8>());
    let reader = brigade::spawn((blobs.1, answers.0, count), |(blobs, answers, count)| {
        (0..count).all(|_| blobs.recv().is_ok_and(|blob| answers.send(blob[0] + blob[blob.len() - 1]).is_ok()))
    })?;
    let blob = Blob::from_slice(&vec![1_u8; 1 << 30])?;
    alone(|| {
        probe::median(count, || {
            blobs.0.send(blob.clone())?;
            assert_eq!(answers.1.recv()?, 2);
            Ok(())
        })
    })?;
    assert!(reader.join()?);
    Ok(())
}

/// This same program, started by the standard library's `posix_spawn` and leaving at once.
fn bare_spawn() -> Outcome<()> {
    let status = Command::new("/proc/self/exe").arg(LEAVE).status()?;
    if status.success() { Ok(()) } else { Err(format!("a bare start ended with {status}").into()) }
}

/// How often the threads of these processes have left a processor, of their own will or not.
fn n_switches(pids: &[u32]) -> u64 {
    let threads = pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten());
    let counts = threads.map(|thread| {
        let text = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains("ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    });
    counts.sum()
}
