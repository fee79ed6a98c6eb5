//! Stops a process after any number of instructions, so that it can be killed there. What it does meanwhile, and what must hold
//! afterwards, is said by scenarios: see the program `stepkill`.
//!
//! The victim marks a window by two signals to itself: [`mark_begin`] and [`mark_end`]. The tracer, a thread of the victim's
//! parent, lets it run to the first mark and then lets it do one instruction at a time. Tracer and victim share a processor:
//! waking another one costs ten times the step itself.
//!
//! The parent's other threads may wait for the victim as if there were no tracer: it looks at stops without taking them, and
//! leaves the end to them.

use std::io;

use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::processes::ProcessInfo;
use crate::random::Random;

const BEGIN: Signal = Signal::USR1;
const END: Signal = Signal::USR2;
/// How a step is told: as a trap of the processor.
const TRAP: Signal = Signal::TRAP;

/// In the victim: waits until somebody traces it, and begins the window.
pub fn mark_begin() {
    while !is_traced() {
        std::thread::yield_now();
    }
    mark(BEGIN);
}

/// In the victim: ends the window.
pub fn mark_end() {
    mark(END);
}

fn mark(signal: Signal) {
    // The tracer takes the signal away, so it ends nobody; a process may always send one to itself.
    let sent = rustix::process::kill_process(rustix::process::getpid(), signal);
    assert!(sent.is_ok(), "a process may send a signal to itself");
}

fn is_traced() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).is_some_and(|pid| pid.trim() != "0")
}

/// A process or thread under the hand of this thread, which must be one of its parent.
#[derive(Debug)]
pub struct Victim {
    /// The thread that is stepped.
    pid: Pid,
    is_first_thread: bool,
}

/// Where a victim is after it was let go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// In the window, one instruction further.
    Within,
    /// At the end of the window.
    AtEnd,
    /// It has ended.
    Gone,
}

impl Victim {
    /// Takes hold of a process that is on its way to [`mark_begin`], and lets it run there.
    ///
    /// # Errors
    /// What the kernel says; `UnexpectedEof` if it ended before.
    pub fn at_begin(pid: u32) -> io::Result<Self> {
        let victim = Self { pid: Pid::from_raw(pid.cast_signed()), is_first_thread: true };
        ptrace::seize(victim.pid, Options::empty())?;
        loop {
            match victim.wait()? {
                Some(signal) if signal == BEGIN.as_raw() => return Ok(victim),
                // Whatever else reaches it is its own affair.
                Some(signal) => ptrace::cont(victim.pid, nix::sys::signal::Signal::try_from(signal & 0x7f).ok())?,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Takes hold of another thread instead, by its name, and lets the first one run into the window.
    ///
    /// # Errors
    /// What the kernel says; `NotFound` if there is no such thread.
    pub fn thread(self, name: &str) -> io::Result<Self> {
        let is_it = |folder: &std::path::Path| {
            std::fs::read_to_string(folder.join("comm")).is_ok_and(|found| found.trim_end() == name)
        };
        let listed = std::fs::read_dir(format!("/proc/{}/task", self.pid))?.flatten();
        let found = listed.map(|entry| entry.path()).find(|folder| is_it(folder));
        let number = found.and_then(|folder| folder.file_name()?.to_str()?.parse().ok());
        let thread = Self { pid: Pid::from_raw(number.ok_or(io::ErrorKind::NotFound)?), is_first_thread: false };
        ptrace::seize(thread.pid, Options::empty())?;
        ptrace::interrupt(thread.pid)?;
        thread.wait()?;
        ptrace::cont(self.pid, None)?;
        Ok(thread)
    }

    /// After it was killed: takes note of the end of a thread that only its tracer hears of.
    pub fn bury(self) {
        if !self.is_first_thread
            && let Some(pid) = rustix::process::Pid::from_raw(self.pid.as_raw())
        {
            let options = WaitIdOptions::EXITED;
            // Whatever this says, nothing is left to be done.
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options));
        }
    }

    /// Lets it do one instruction.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn step(&self) -> io::Result<Stop> {
        self.after(ptrace::step(self.pid, None))
    }

    /// Lets it run to the end of the window.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn to_end(&self) -> io::Result<Stop> {
        self.after(ptrace::cont(self.pid, None))
    }

    fn after(&self, let_go: nix::Result<()>) -> io::Result<Stop> {
        match let_go {
            // Somebody has killed it: its end is on the way.
            Ok(()) | Err(nix::Error::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(match self.wait()? {
            Some(signal) if signal == END.as_raw() => Stop::AtEnd,
            Some(signal) if signal & 0x7f == TRAP.as_raw() => Stop::Within,
            Some(signal) => return Err(io::Error::other(format!("the victim was stopped by signal {signal}"))),
            None => Stop::Gone,
        })
    }

    /// Steps it `n_steps` times, or to the end of the window.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn steps(&self, n_steps: u64) -> io::Result<Stop> {
        for _ in 0..n_steps {
            let stop = self.step()?;
            if stop != Stop::Within {
                return Ok(stop);
            }
        }
        Ok(Stop::Within)
    }

    /// Steps it to the end of the window, at most `n_most` times, and tells the address of every instruction.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn trace(&self, n_most: usize) -> io::Result<Vec<u64>> {
        let mut addresses = Vec::new();
        loop {
            addresses.push(self.program_counter()?);
            match self.step()? {
                Stop::Within if addresses.len() < n_most => {}
                Stop::Within | Stop::AtEnd | Stop::Gone => return Ok(addresses),
            }
        }
    }

    /// Where it is, as an address in its memory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn program_counter(&self) -> io::Result<u64> {
        let registers = ptrace::getregs(self.pid)?;
        #[cfg(target_arch = "x86_64")]
        return Ok(registers.rip);
        #[cfg(target_arch = "aarch64")]
        return Ok(registers.pc);
    }

    /// The signal that stopped it, which stays with the kernel; `None` if it has ended.
    fn wait(&self) -> io::Result<Option<i32>> {
        let pid = rustix::process::Pid::from_raw(self.pid.as_raw()).expect("a process that exists is not number 0");
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options)) {
            Ok(Some(status)) => Ok(status.trapping_signal().or(status.stopping_signal())),
            // Its parent has collected it already.
            Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Chooses after how many steps to kill, given where each step of a whole window was: every one of them if that is not more
/// than `n_points`, else the first and the last time that each instruction is done, and others by chance.
#[must_use]
pub fn choose_points(addresses: &[u64], n_points: usize, random: &mut Random) -> Vec<u64> {
    if addresses.len() <= n_points {
        return (0..addresses.len() as u64).collect();
    }
    let mut first_and_last = std::collections::HashMap::new();
    for (idx, address) in addresses.iter().enumerate() {
        first_and_last.entry(address).or_insert((idx, idx)).1 = idx;
    }
    let telling = first_and_last.values().flat_map(|&(first, last)| [first, last]);
    let mut telling: Vec<usize> = telling.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    // A third is left to chance, where instructions are done often: what they do differs from time to time.
    while telling.len() > n_points * 2 / 3 {
        telling.swap_remove(random.below(telling.len() as u64) as usize);
    }
    let mut points: std::collections::BTreeSet<u64> = telling.into_iter().map(|idx| idx as u64).collect();
    while points.len() < n_points {
        points.insert(random.below(addresses.len() as u64));
    }
    points.into_iter().collect()
}

/// Whether a process sleeps in the kernel, and not because it was stopped.
#[must_use]
pub fn is_asleep(pid: u32) -> bool {
    ProcessInfo::of(pid).is_some_and(|process| process.state == 'S')
}

/// Whether the first thread of a victim, of which another one is stepped, has come to the end of the window.
#[must_use]
pub fn is_at_end(pid: u32) -> bool {
    ProcessInfo::of(pid).is_some_and(|process| process.state == 't')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_window_is_covered_step_by_step() {
        assert_eq!(choose_points(&[9, 9, 7], 3, &mut Random::new(1)), [0, 1, 2]);
    }

    #[test]
    fn each_instruction_of_a_long_loop_is_met_first_and_last() {
        let mut addresses: Vec<u64> = (0..10_000).map(|idx| 100 + idx % 5).collect();
        addresses.insert(0, 1);
        addresses.push(2);
        let points = choose_points(&addresses, 100, &mut Random::new(1));
        assert_eq!(points.len(), 100);
        for idx in [0, 1, 2, 3, 4, 5, 9_996, 9_997, 9_998, 9_999, 10_000, 10_001] {
            assert!(points.contains(&idx), "{idx} is not in {points:?}");
        }
    }
}
