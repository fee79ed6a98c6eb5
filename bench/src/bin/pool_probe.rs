//! Times our pool from inside: prints nanoseconds, and those of processor time with the workers' included.
//! Its counterpart is ../pool_probe.py; the order of things is in ../pool.rs.
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// Enough for both workers to have run, and for their code to be warm.
const N_WARM_UP: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let words: Vec<String> = std::env::args().collect();
    let [_, what, n_workers, n_tasks] = words.as_slice() else {
        return Err("usage: pool_probe round-trip|throughput WORKERS TASKS".into());
    };
    let n_tasks: usize = n_tasks.parse()?;
    let pool = brigade::Pool::new(n_workers.parse()?)?;
    for _ in 0..N_WARM_UP {
        pool.apply((), noop)?;
    }
    let took = match what.as_str() {
        "round-trip" => round_trip(&pool, n_tasks)?,
        "throughput" => throughput(&pool, n_tasks)?,
        _ => return Err(format!("{what} is not known").into()),
    };
    pool.close();
    pool.join();
    println!("{} {}", took.as_nanos(), processor_time()?.as_nanos());
    Ok(())
}

fn noop(_: ()) {}

/// The median of one task at a time.
fn round_trip(pool: &brigade::Pool, n_tasks: usize) -> Result<Duration, Box<dyn Error>> {
    let mut took = Vec::with_capacity(n_tasks);
    for _ in 0..n_tasks {
        let started = Instant::now();
        pool.apply((), noop)?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    Ok(took[n_tasks / 2])
}

/// All tasks handed in, then all results taken.
fn throughput(pool: &brigade::Pool, n_tasks: usize) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let mut tasks = Vec::with_capacity(n_tasks);
    for _ in 0..n_tasks {
        tasks.push(pool.apply_async((), noop)?);
    }
    for task in tasks {
        task.get()?;
    }
    Ok(started.elapsed())
}

/// Of this process and of its workers, which have ended.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let mut total = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            total += Duration::new(u64::try_from(time.tv_sec())?, u32::try_from(time.tv_usec() * 1000)?);
        }
    }
    Ok(total)
}
