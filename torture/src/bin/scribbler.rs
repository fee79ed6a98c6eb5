//! A worker writes random bytes over the memory that it shares with others, and then it is looked at what became of the others.
//!
//! Two campaigns. *lane*: over the segment between the worker and its parent. What is promised: the parent goes on, tasks of other
//! workers are right, and the worker's own tasks end, however. *session*: over the directory of the whole session, which all
//! its processes must be able to write. What is promised is less: nobody crashes, and nobody waits for ever.
#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use brigade::{Pool, Queue, SharedSlice, Task, TaskError};
use torture::arguments::Arguments;
use torture::leakcheck::Guard;
use torture::random::Random;
use torture::watchdog::{self, Watchdog};

const USAGE: &str = "usage: scribbler [--seed N] [--rounds N] [--red]

  --seed N      the same bytes
  --rounds N    rounds of each campaign (5)
  --red         the same with a reader that trusts what it reads: here it must fail";

/// How long one scribbler writes.
const SCRIBBLES: Duration = Duration::from_millis(100);
const FOR_EVER: Duration = Duration::from_secs(20);
/// Bytes at the beginning of the session's memory that tell who is alive and what there is.
const DIRECTORY_BYTES: u64 = 2 << 20;

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Campaign = (&'static str, fn(u64) -> Result<String, Fault>);

const CAMPAIGNS: [Campaign; 2] = [("lane", lane), ("session", session)];
const RED_CAMPAIGNS: [Campaign; 1] = [("trusting reader", trusting)];

fn main() -> ExitCode {
    brigade::init();
    let mut arguments = Arguments::of_program(USAGE);
    let seed = arguments.number("--seed").unwrap_or_else(Random::fresh_seed);
    let n_rounds = arguments.number("--rounds").unwrap_or(5);
    let wrecked = arguments.number(WRECK);
    let trusted = arguments.number(TRUST);
    let is_red = arguments.flag("--red");
    arguments.finish();
    if let Some(seed) = wrecked {
        return live_in_a_wreck(seed);
    }
    if let Some(seed) = trusted {
        return trust_a_lane(seed);
    }
    println!("scribbler: seed {seed}");
    let campaigns: &[Campaign] = if is_red { &RED_CAMPAIGNS } else { &CAMPAIGNS };
    let mut n_failed = 0;
    for round in 0..n_rounds {
        for (name, campaign) in campaigns {
            match campaign(seed + round) {
                Ok(told) => println!("{name} {}: {told}", seed + round),
                Err(fault) => {
                    n_failed += 1;
                    println!("{name} {}: FAILED: {fault}", seed + round);
                }
            }
        }
    }
    // A red control shows that the campaign can fail: there every round has to.
    let is_good = n_failed == if is_red { n_rounds } else { 0 };
    println!("scribbler: {}", if is_good { "good" } else { "FAILED" });
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes random words over the mappings of this process whose name begins so, at most their first `n_most` bytes.
fn scribble(seed: u64, name: &str, n_most: u64) -> io::Result<u64> {
    let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let ranges: Vec<(u64, u64)> = maps.lines().filter_map(|line| range_of(line, name, n_most)).collect();
    if ranges.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("nothing called {name} is mapped")));
    }
    let mut random = Random::new(seed);
    let (start, mut n_written) = (Instant::now(), 0);
    while start.elapsed() < SCRIBBLES {
        let (first, n_bytes) = ranges[random.below(ranges.len() as u64) as usize];
        let near = random.any_magnitude(n_bytes - 8);
        // Small numbers and small changes come further than noise.
        let value = if random.below(2) == 0 { random.number() } else { random.any_magnitude(1 << 20) };
        n_written += memory.write_at(&value.to_le_bytes(), first + near / 4 * 4)? as u64;
    }
    Ok(n_written)
}

/// Where a mapping lies, and how many of its bytes are scribbled over, if it is the one that is meant.
fn range_of(line: &str, name: &str, n_most: u64) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (first, last) = words.next()?.split_once('-')?;
    let offset = words.nth(1)?;
    let is_meant = words.nth(2)? == name && u64::from_str_radix(offset, 16).ok()? == 0;
    let (first, last) = (u64::from_str_radix(first, 16).ok()?, u64::from_str_radix(last, 16).ok()?);
    is_meant.then_some((first, (last - first).min(n_most)))
}

fn scribble_lane(seed: u64) -> Option<u64> {
    scribble(seed, "/memfd:brigade-lane", u64::MAX).ok()
}

fn square(number: u64) -> u64 {
    std::thread::sleep(Duration::from_micros(200));
    number * number
}

/// One worker of three scribbles over its lane while the pool, and another pool, work.
fn lane(seed: u64) -> Result<String, Fault> {
    let guard = Guard::new();
    let watchdog = Watchdog::new(FOR_EVER);
    let (pool, other) = (Pool::new(3)?, Pool::new(2)?);
    let scribbler = pool.apply_async(seed, scribble_lane)?;
    let tasks: Vec<Task<u64>> = (0..1000).map(|number| pool.apply_async(number, square)).collect::<Result<_, _>>()?;
    let elsewhere: Vec<_> = other.map(0..500, square);
    if !elsewhere.iter().zip(0_u64..).all(|(outcome, number)| *outcome == Ok(number * number)) {
        return Err("tasks of another pool went wrong".into());
    }
    let (mut n_good, mut n_errors, mut n_wrong) = (0, 0, 0);
    for (task, number) in tasks.into_iter().zip(0_u64..) {
        match task.get() {
            Ok(value) if value == number * number => n_good += 1,
            Ok(_) => n_wrong += 1,
            Err(_) => n_errors += 1,
        }
    }
    let end = match scribbler.get() {
        Ok(n_written) => format!("returned after {n_written:?} bytes"),
        Err(error) => format!("ended: {error}"),
    };
    // A scribbler's worker may take part in a few tasks before it is found out; whatever it says of those is its own.
    if n_good < 900 || pool.map(0..100, square) != (0..100).map(|number| Ok(number * number)).collect::<Vec<_>>() {
        return Err(format!("{n_good} of 1000 tasks were right, {n_errors} errors, {n_wrong} wrong").into());
    }
    let n_lost = pool.lost_workers();
    drop((pool, other, watchdog));
    guard.check()?;
    Ok(format!("{end}; of 1000 tasks {n_good} right, {n_errors} errors, {n_wrong} wrong; {n_lost} workers replaced"))
}

const WRECK: &str = "--wreck-own-session";
const TRUST: &str = "--trust-own-lane";

/// The same program, in a session of its own which one of its processes wrecks.
fn session(seed: u64) -> Result<String, Fault> {
    in_a_program_of_its_own(WRECK, seed)
}

/// The same program, which reads what one of its processes scribbles, and takes it for what it says.
fn trusting(seed: u64) -> Result<String, Fault> {
    in_a_program_of_its_own(TRUST, seed)
}

fn in_a_program_of_its_own(role: &str, seed: u64) -> Result<String, Fault> {
    let guard = Guard::new();
    let mut command = Command::new(std::env::current_exe()?);
    command.args([role, &seed.to_string()]).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = command.stdout(Stdio::piped()).output()?;
    let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    guard.check()?;
    match output.status.code() {
        Some(0) => Ok(told),
        Some(watchdog::EXIT_CODE) => Err(format!("hangs: {}", String::from_utf8_lossy(&output.stderr)).into()),
        _ => Err(format!("{}: {told} {}", output.status, String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn scribble_session((seed, _queue): (u64, Queue<u64>)) -> Result<u64, String> {
    scribble(seed, "/memfd:brigade", DIRECTORY_BYTES).map_err(|error| error.to_string())
}

/// Does what can be done in a session whose directory is noise. Every call comes back, with whatever it has to say.
fn live_in_a_wreck(seed: u64) -> ExitCode {
    let watchdog = Watchdog::new(FOR_EVER);
    let told = (|| -> Result<Vec<String>, Fault> {
        let queue = Queue::<u64>::bounded(4)?;
        let pool = Pool::new(2)?;
        let before = pool.map(0..10, square).len();
        let scribbler = brigade::spawn((seed, queue.clone()), scribble_session)?;
        let mut told = vec![format!("{before} tasks before")];
        let start = Instant::now();
        let (mut n_good, mut n_errors) = (0, 0);
        while start.elapsed() < SCRIBBLES * 3 {
            let second = Duration::from_millis(50);
            let put = queue.put_timeout(7, second).is_ok();
            let got = queue.get_timeout(second).is_ok();
            let ran: Result<u64, TaskError> = pool.apply(3, square);
            let made = Queue::<u64>::bounded(2).is_ok();
            let started = brigade::spawn(5, square).is_ok_and(|process| process.join() == Ok(25));
            for is_good in [put, got, ran == Ok(9), made, started] {
                if is_good { n_good += 1 } else { n_errors += 1 }
            }
            watchdog.feed(format!("{n_good} good calls, {n_errors} errors"));
        }
        // It may have hit what it needs itself; but it must not have failed to write at all.
        match scribbler.join() {
            Ok(Err(error)) => return Err(format!("nothing was written: {error}").into()),
            end => told.push(format!("the scribbler ended: {end:?}")),
        }
        told.push(format!("{n_good} calls good, {n_errors} gave an error"));
        Ok(told)
    })();
    match told {
        Ok(told) => println!("{}", told.join("; ")),
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Records in the lane below, of which its writer writes half before it goes wrong.
const N_RECORDS: u64 = 200;
/// The first word says how many words are written; then come records, the number of words in front of each.
const LANE_WORDS: u64 = 1 + 4 * N_RECORDS;

fn record(number: u64) -> Vec<u64> {
    vec![number * number; 1 + number as usize % 3]
}

fn write_then_scribble((seed, lane): (u64, SharedSlice<u64>)) {
    let mut end = 1;
    for record in (0..N_RECORDS / 2).map(record) {
        lane.store(end, record.len() as u64);
        lane.write(end + 1, &record);
        end += 1 + record.len();
        lane.store(0, end as u64);
    }
    let (mut random, start) = (Random::new(seed), Instant::now());
    while start.elapsed() < SCRIBBLES {
        lane.store(random.below(LANE_WORDS) as usize, random.any_magnitude(u64::MAX));
    }
}

/// Red: a reader that has no doubts. It crashes, reads nonsense, or waits for what is never written.
fn trust_a_lane(seed: u64) -> ExitCode {
    let _watchdog = Watchdog::new(FOR_EVER);
    let outcome = (|| -> Result<(), Fault> {
        let lane = SharedSlice::<u64>::new(LANE_WORDS as usize)?;
        let _writer = brigade::spawn((seed, lane.clone()), write_then_scribble)?;
        let mut at = 1;
        for number in 0..N_RECORDS {
            while lane.load(0) <= at as u64 {
                std::thread::yield_now();
            }
            let n_words = lane.load(at) as usize;
            let words = lane.read(at + 1..at + 1 + n_words);
            if words != record(number) {
                return Err(format!("record {number} has {n_words} words that nobody meant").into());
            }
            at += 1 + n_words;
        }
        Ok(())
    })();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}
