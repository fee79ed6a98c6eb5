//! A worker that the kernel cannot end: it waits for a file system that never answers. It costs its own task, and nobody waits for it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use brigade::{Pool, TaskError};
use torture::facts::Stopwatch;
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule};
use torture::mounts::{Scratch, need_root};

const LIMIT: Duration = Duration::from_secs(10);

/// A file that nobody can open: unlike a read, the kernel cannot break that off.
struct Trap {
    fault_fs: FaultFs,
    scratch: Scratch,
}

impl Trap {
    fn new() -> Self {
        need_root();
        let scratch = Scratch::new();
        scratch.file("behind/file");
        let fault_fs = FaultFs::mount(&scratch.path("behind"), &scratch.folder("point"), Options::default()).unwrap();
        fault_fs.add(Rule::new(Fault::Hang).on(Operation::Open));
        Self { fault_fs, scratch }
    }

    fn file(&self) -> String {
        self.scratch.path("point/file").to_str().unwrap().to_owned()
    }

    fn wait_for_victim(&self) {
        torture::facts::wait_until("a worker hangs", || self.fault_fs.n_hung() > 0);
    }
}

fn read(path: String) -> usize {
    std::fs::read(path).map_or(0, |bytes| bytes.len())
}

#[test]
fn an_abandoned_worker_costs_its_own_task_and_nobody_waits_for_it() {
    let trap = Trap::new();
    let began = Stopwatch::start();
    let pool = Pool::new(1).unwrap();
    let stuck = pool.apply_async(trap.file(), read).unwrap();
    trap.wait_for_victim();
    let behind_it: Vec<_> = (0..10).map(|number: u64| pool.apply_async(number, |number| number + 1).unwrap()).collect();
    let pid = stuck.worker_pid().unwrap();
    assert!(pool.abandon(pid));
    assert!(matches!(stuck.get(), Err(TaskError::Killed { pid: killed, .. }) if killed == pid));
    for (number, task) in (1..).zip(behind_it) {
        assert_eq!(task.get(), Ok(number));
    }
    assert!(!pool.abandon(pid), "it is gone");
    assert_eq!(pool.lost_workers(), 1);
    pool.join();
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "the kernel cannot have ended it");
}

#[test]
fn an_idle_worker_is_not_abandoned() {
    let pool = Pool::new(1).unwrap();
    let pid = pool.apply((), |()| std::process::id()).unwrap();
    assert!(!pool.abandon(pid));
    assert!(!pool.abandon(0));
    assert_eq!(pool.apply((), |()| std::process::id()), Ok(pid));
}

#[test]
fn a_dropped_pool_leaves_a_worker_behind_that_cannot_be_ended() {
    let trap = Trap::new();
    let pool = Pool::new(2).unwrap();
    let _stuck = pool.apply_async(trap.file(), read).unwrap();
    trap.wait_for_victim();
    let began = Stopwatch::start();
    drop(pool);
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}
