//! Runs one program and says what it took: wall time, its own processor time, and what other processes took meanwhile.
//! How often to run and which runs count is decided in race.rs and library.rs.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::{BenchError, interrupt, machine};

/// What one run took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// From just before the start to just after the end.
    pub wall: Duration,
    /// Processor time of the program and of all its descendants that were waited for.
    pub processor: Duration,
    /// Processor time that was spent in the same span by anybody else, kernel threads included.
    pub others: Duration,
}

/// Less than this is the kernel's own housekeeping and the coarseness of /proc/stat.
const QUIET: Duration = Duration::from_millis(60);
/// Shorter runs cannot be judged one by one: /proc/stat counts in hundredths of a second.
const SHORTEST_JUDGED: Duration = Duration::from_millis(200);
/// The part of all processors' time that others may take before a run counts as disturbed.
const QUIET_SHARE: f64 = 0.06;

impl Timing {
    /// Processor time of others for each second of the run.
    pub fn others_share(&self) -> f64 {
        self.others.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Whether other processes took enough to spoil the figure.
    pub fn is_disturbed(&self) -> bool {
        let available = self.wall.mul_f64(machine::n_processors() as f64);
        self.wall >= SHORTEST_JUDGED && self.others > QUIET + available.mul_f64(QUIET_SHARE)
    }
}

/// Runs the program in a process group of its own and waits for its end.
pub fn run(command: &mut Command) -> Result<(Timing, ExitStatus), BenchError> {
    interrupt::check()?;
    command.process_group(0);
    let busy_before = machine::busy_time()?;
    let (own_before, children_before) =
        (processor_time(UsageWho::RUSAGE_SELF)?, processor_time(UsageWho::RUSAGE_CHILDREN)?);
    let started = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    interrupt::set_running(Some(child.id()));
    let status = child.wait()?;
    let wall = started.elapsed();
    interrupt::set_running(None);
    interrupt::check()?;
    let processor = processor_time(UsageWho::RUSAGE_CHILDREN)?.saturating_sub(children_before);
    let own = processor_time(UsageWho::RUSAGE_SELF)?.saturating_sub(own_before);
    let busy = machine::busy_time()?.saturating_sub(busy_before);
    let others = busy.saturating_sub(processor).saturating_sub(own);
    Ok((Timing { wall, processor, others }, status))
}

fn processor_time(who: UsageWho) -> Result<Duration, BenchError> {
    let usage = getrusage(who)?;
    let total = usage.user_time() + usage.system_time();
    Ok(Duration::new(u64::try_from(total.tv_sec())?, u32::try_from(total.tv_usec() * 1000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_processor_time_is_its_own() {
        let (busy, status) =
            run(Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"])).unwrap();
        assert!(status.success());
        // What children of other tests use meanwhile counts, too: there is a time without any.
        let sleep = || run(Command::new("sleep").arg("0.2")).unwrap().0;
        let idle = (0..50).map(|_| sleep()).find(|idle| idle.processor < busy.processor / 10);
        assert!(idle.is_some_and(|idle| idle.wall >= Duration::from_millis(200)), "{busy:?}");
    }

    #[test]
    fn much_work_of_others_disturbs_a_run() {
        let wall = Duration::from_secs(2);
        let quiet = Timing { wall, processor: wall, others: Duration::from_millis(50) };
        assert!(!quiet.is_disturbed());
        let everything = wall.mul_f64(machine::n_processors() as f64);
        assert!(Timing { others: everything, ..quiet }.is_disturbed());
    }
}
