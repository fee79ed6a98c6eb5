//! What every probe does alike, ours and those of the peers: medians, and the processor time of a whole process group.
//! A probe runs in a process group of its own and prints `TIME PROCESSOR IDLE` in nanoseconds. What it measures is in its
//! own file; this one is also a part of the package bench/peers.

use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// How long a probe looks on afterwards, while nothing is to be done.
const IDLE: Duration = Duration::from_secs(1);

/// A measured time, and the processor time that went with it.
pub struct Measured {
    time: Duration,
    processor: Duration,
}

/// Runs `work`, which returns the time that counts, and sees to the processor time of all processes of this group.
pub fn measure(work: impl FnOnce() -> Result<Duration, Box<dyn Error>>) -> Result<Measured, Box<dyn Error>> {
    let before = processor_time()?;
    let time = work()?;
    Ok(Measured { time, processor: processor_time()?.saturating_sub(before) })
}

/// Looks on for a second, and prints what was measured with what that second took.
pub fn answer(measured: &Measured) -> Result<(), Box<dyn Error>> {
    let before = processor_time()?;
    std::thread::sleep(IDLE);
    let idle = processor_time()?.saturating_sub(before);
    println!("{} {} {}", measured.time.as_nanos(), measured.processor.as_nanos(), idle.as_nanos());
    Ok(())
}

/// The median time of `n_runs` runs.
pub fn median(n_runs: usize, mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut took = Vec::with_capacity(n_runs);
    for _ in 0..n_runs {
        let started = Instant::now();
        run()?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    took.get(n_runs / 2).copied().ok_or_else(|| "nothing was run".into())
}

/// `WHAT COUNT`, the command line of a probe.
pub fn arguments() -> Result<(String, usize), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    match (words.next(), words.next().map(|count| count.parse())) {
        (Some(what), Some(Ok(count))) => Ok((what, count)),
        _ => Err("usage: PROBE WHAT COUNT".into()),
    }
}

/// Of this process with all threads that it has had, of the children that have ended, and of the others of this group.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let mut total = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            total += Duration::new(u64::try_from(time.tv_sec())?, u32::try_from(time.tv_usec() * 1000)?);
        }
    }
    let own_pid = std::process::id().to_string();
    let own_group = group_of("self").ok_or("/proc/self/stat cannot be read")?;
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        if pid != own_pid && group_of(pid).as_deref() == Some(own_group.as_str()) {
            total += time_on_processors(pid);
        }
    }
    Ok(total)
}

/// The process group, the fifth word of the line; the second, in parentheses, may hold anything.
fn group_of(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(2).map(str::to_owned)
}

/// Over all threads; a process that has just ended counts with the ended children.
fn time_on_processors(pid: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
