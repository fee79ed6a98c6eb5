//! Waits for facts of which nobody tells: what /proc shows of another process, a count that others change, a task that is only
//! to be looked at. Where there is something to wait on, as a process's end, that is waited on.

use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::processes::ProcessInfo;

/// Far longer than any fact takes to come, far shorter than for ever.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Measures how long something takes while this machine runs us: what is promised within a second is not late because a busy host
/// let nobody run for two. Beside the clock a thread wakes often; where it could not, that time does not count.
#[derive(Debug)]
pub struct Stopwatch {
    running: Arc<Mutex<Running>>,
    /// Ends the thread when it is dropped.
    _end: mpsc::Sender<()>,
}

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    pub fn start() -> Self {
        let running = Arc::new(Mutex::new(Running::since(Instant::now())));
        let (end, ended) = mpsc::channel();
        let beating = Arc::clone(&running);
        std::thread::spawn(move || {
            while ended.recv_timeout(Running::BEAT) == Err(mpsc::RecvTimeoutError::Timeout) {
                locked(&beating).beat(Instant::now());
            }
        });
        Self { running, _end: end }
    }

    /// The time since the start in which this process could run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let mut running = locked(&self.running);
        running.beat(Instant::now());
        running.time()
    }
}

fn locked(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time in which somebody who wakes every [`Running::BEAT`] could do so.
#[derive(Debug)]
struct Running {
    start: Instant,
    last_beat: Instant,
    standstill: Duration,
}

impl Running {
    const BEAT: Duration = Duration::from_millis(10);
    /// Longer than a thread that may run waits for its turn.
    const LATE: Duration = Duration::from_millis(100);

    const fn since(start: Instant) -> Self {
        Self { start, last_beat: start, standstill: Duration::ZERO }
    }

    /// What passed since the last beat was work of our own.
    fn work(&mut self, now: Instant) {
        self.last_beat = now;
    }

    fn beat(&mut self, now: Instant) {
        let since = now - self.last_beat;
        if since > Self::LATE {
            self.standstill += since - Self::BEAT;
        }
        self.last_beat = now;
    }

    fn time(&self) -> Duration {
        self.last_beat - self.start - self.standstill
    }
}

/// Looks again and again until something is so.
///
/// # Panics
/// If that takes longer than [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, is_so);
}

/// The same, for what is promised within a time.
///
/// # Panics
/// If it takes longer than `limit`.
#[track_caller]
pub fn wait_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let mut running = Running::since(Instant::now());
    while !is_so() {
        running.work(Instant::now());
        assert!(running.time() < limit, "not within {limit:?}: {what}");
        // There is nothing that would wake us.
        std::thread::sleep(Duration::from_millis(1));
        running.beat(Instant::now());
    }
}

/// Sleeps until a child ends and collects its status; `None` if it runs on after `limit`.
///
/// # Errors
/// What pidfd_open(2), poll(2) and waitid(2) say.
pub fn end_of(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let pidfd = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => return child.wait().map(Some),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until a thread, known by its number, sleeps in the kernel.
///
/// # Panics
/// If that takes longer than [`PATIENCE`].
#[track_caller]
pub fn wait_for_sleep(thread: u32) {
    wait_until("the thread sleeps", || ProcessInfo::of(thread).is_some_and(|thread| thread.state == 'S'));
}

/// After `prepare` has `sleep` wait on a thread of its own, and gives `wake` what was prepared once that sleeps; again and again.
///
/// # Panics
/// If those who slept were not woken, but found out when they looked by themselves, as they do ten times a second.
#[track_caller]
pub fn assert_wakes<P>(mut prepare: impl FnMut() -> P, mut sleep: impl FnMut() + Send, mut wake: impl FnMut(P)) {
    const N_TIMES: usize = 20;
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let times = (0..N_TIMES).map(|_| {
        let prepared = prepare();
        std::thread::scope(|scope| {
            let (say, said) = mpsc::channel();
            let sleep = &mut sleep;
            let sleeper = scope.spawn(move || {
                say.send(rustix::thread::gettid()).expect("somebody hears it");
                sleep();
            });
            let thread = said.recv().expect("the thread says who it is");
            wait_for_sleep(thread.as_raw_nonzero().get().cast_unsigned());
            let start = Instant::now();
            wake(prepared);
            sleeper.join().expect("the sleeper finds what it waits for");
            start.elapsed()
        })
    });
    let mut slept_on: Vec<Duration> = times.collect();
    // Most of them: on a busy machine single ones are held up, by as much as they would have slept.
    slept_on.sort_unstable();
    assert!(slept_on[N_TIMES / 2] < LOOK_EVERY / 2, "{N_TIMES} sleepers slept on for {slept_on:?}");
}

/// Calls something that is promised to take less than `limit`, several times. What counts is the fastest call: on a busy machine any
/// single one may be held up.
///
/// # Panics
/// If none was so fast.
#[track_caller]
pub fn assert_takes_less_than(limit: Duration, mut call: impl FnMut()) {
    const N_TIMES: usize = 20;
    let times = (0..N_TIMES).map(|_| {
        let start = Instant::now();
        call();
        start.elapsed()
    });
    let fastest = times.min().unwrap_or_default();
    assert!(fastest < limit, "the fastest of {N_TIMES} calls took {fastest:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_while_nobody_runs_does_not_count() {
        let start = Instant::now();
        let mut running = Running::since(start);
        for (beat_ms, time_ms) in [(10, 10), (30, 30), (2000, 40), (2090, 130), (9000, 140)] {
            running.beat(start + Duration::from_millis(beat_ms));
            assert_eq!(running.time(), Duration::from_millis(time_ms), "at {beat_ms} ms");
        }
        running.work(start + Duration::from_secs(19));
        assert_eq!(running.time(), Duration::from_millis(10_140));
    }

    #[test]
    fn what_passes_while_somebody_waits_counts() {
        let watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(300));
        assert!(watch.elapsed() > Duration::from_millis(200), "{:?}", watch.elapsed());
    }

    #[test]
    fn the_end_of_a_child_is_heard_and_not_waited_for_too_long() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(end_of(&mut child, Duration::from_millis(10)).unwrap(), None);
        child.kill().unwrap();
        assert!(end_of(&mut child, PATIENCE).unwrap().is_some_and(|status| !status.success()));
    }
}
