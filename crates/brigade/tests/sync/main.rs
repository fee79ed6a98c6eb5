//! What locks and their kin promise: what Python's do, timeouts, and an answer for everybody when a process is killed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod barrier;
mod condition;
mod event;
mod lock;
mod reentrant_lock;
mod rw_lock;
mod semaphore;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use brigade::{
    Barrier, BarrierBroken, BarrierError, Condition, Event, Lock, LockGuard, LockTimeoutError, OverRelease, OwnerDied,
    Permit, Process, ProcessState, Queue, ReentrantLock, RwLock, Semaphore, SharedSlice, TryLockError,
};
use rustix::process::{Pid, Signal, kill_process};
use torture::facts::{PATIENCE, Stopwatch, assert_takes_less_than, assert_wakes, wait_for_sleep};

/// How long after a death everybody has an answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a call waits that is to time out.
const SHORT: Duration = Duration::from_millis(50);
const N_KILLS: u32 = 20;

/// What a process does that waits for being killed.
fn stay() -> ! {
    loop {
        thread::park();
    }
}

/// Kills a process and runs `work`, which must not take longer than everybody has to wait for an answer.
fn answered_after_kill<T>(victim: &Process<()>, work: impl FnOnce() -> T) -> T {
    let watch = Stopwatch::start();
    victim.kill();
    let result = work();
    let took = watch.elapsed();
    assert!(took < ANSWER, "the answer came after {took:?}");
    assert_eq!(victim.wait().signal(), Some(9));
    result
}

/// Runs a call that is to time out after [`SHORT`].
fn timed_out<T>(call: impl FnOnce(Duration) -> T) -> T {
    let before = Instant::now();
    let result = call(SHORT);
    assert!(before.elapsed() >= SHORT);
    result
}

/// Waits until a condition is true.
#[track_caller]
fn until(is_so: impl FnMut() -> bool) {
    torture::facts::wait_until("what this line says", is_so);
}
