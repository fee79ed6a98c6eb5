//! procspawn: processes and its pool.
#![forbid(unsafe_code)]

#[path = "../../../src/probe.rs"]
mod probe;

use std::error::Error;
use std::time::{Duration, Instant};

const N_WARM_UP: usize = 100;
const N_WORKERS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    procspawn::init();
    let (what, count) = probe::arguments()?;
    let pool = procspawn::Pool::new(N_WORKERS)?;
    for _ in 0..N_WARM_UP {
        pool.spawn((), |()| ()).join()?;
    }
    let measured = probe::measure(|| match what.as_str() {
        "round-trip" => probe::median(count, || Ok(pool.spawn((), |()| ()).join()?)),
        "throughput" => throughput(&pool, count),
        "start-join" => probe::median(count, || Ok(procspawn::spawn((), |()| ()).join()?)),
        _ => Err(format!("{what} is not known").into()),
    })?;
    probe::answer(&measured)
}

fn throughput(pool: &procspawn::Pool, count: usize) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..count).map(|_| pool.spawn((), |()| ())).collect();
    for task in tasks {
        task.join()?;
    }
    Ok(started.elapsed())
}
