//! What a copy takes of the machine: bytes per second, the workers' nice value, and how many workers there are.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use brigade_copy::{Event, Limit, Plan, Request, Running, Summary, Target};
use torture::facts::Stopwatch;
use torture::fuse::{FaultFs, Options};
use torture::mounts::{Scratch, need_root};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

fn request(scratch: &Scratch, bytes_per_second: u64) -> Request {
    Request {
        workers: NonZeroUsize::new(3),
        bytes_per_second: NonZeroU64::new(bytes_per_second),
        ..Request::new(vec![scratch.path("source")], Target::Exactly(scratch.path("destination")))
    }
}

fn start(request: Request) -> Running {
    let complain = |event| {
        if let Event::Failed(error) = event {
            panic!("{error}: {}", error.cause);
        }
    };
    Plan::new(request).unwrap().start(complain).unwrap()
}

fn copied(request: Request) -> Summary {
    let summary = start(request).wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    assert_eq!((summary.n_failed, summary.broken.clone()), (0, None));
    summary
}

fn assert_same(source: &Path, destination: &Path) {
    let differences = torture::tree::differences(source, destination).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn one_large_file_and_many_small_ones_keep_to_the_rate() {
    const RATE: u64 = 4 << 20;
    let large = |scratch: &Scratch| fs::write(scratch.path("source/large"), vec![1; 5 << 20]).unwrap();
    let small = |scratch: &Scratch| {
        for idx in 0..640 {
            fs::write(scratch.path(format!("source/{idx}")), vec![1; 8 << 10]).unwrap();
        }
    };
    for fill in [&large as &dyn Fn(&Scratch), &small] {
        let scratch = Scratch::new();
        scratch.folder("source");
        fill(&scratch);
        let summary = copied(request(&scratch, RATE));
        assert_same(&scratch.path("source"), &scratch.path("destination"));
        let expected = (5 << 20) as f64 / RATE as f64;
        let seconds = summary.elapsed.as_secs_f64();
        // How much longer it takes is up to the machine.
        assert!(seconds > expected * 0.95, "{seconds} s instead of {expected} s");
    }
}

#[test]
fn holes_are_not_paid_for() {
    let scratch = Scratch::new();
    scratch.folder("source");
    let file = fs::File::create(scratch.path("source/sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"data", 1 << 30).unwrap();
    let summary = copied(request(&scratch, 1 << 20));
    assert_eq!(summary.bytes, 1 << 40);
    assert_eq!(fs::metadata(scratch.path("destination/sparse")).unwrap().len(), 1 << 40);
}

#[test]
fn an_order_to_stop_does_not_wait_for_the_rate() {
    let scratch = Scratch::new();
    scratch.folder("source");
    for idx in 0..6 {
        fs::write(scratch.path(format!("source/{idx}")), vec![1; 1 << 20]).unwrap();
    }
    let running = start(request(&scratch, 64 << 10));
    torture::facts::wait_until("bytes move", || running.progress().bytes_done > 0);
    let began = Stopwatch::start();
    running.stop();
    let summary = running.wait_timeout(WATCHDOG).unwrap();
    assert!(summary.interrupted);
    // Workers that are silent for longer are killed; these end by themselves.
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(summary.n_lost_workers, 0);
    let left: Vec<_> = fs::read_dir(scratch.path("destination")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in left {
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20, "{path:?} is a part");
    }
}

#[test]
fn a_killed_worker_holds_nobody_up() {
    let scratch = Scratch::new();
    scratch.folder("source");
    for idx in 0..30 {
        fs::write(scratch.path(format!("source/{idx}")), vec![1; 200_000]).unwrap();
    }
    let running = start(request(&scratch, 4 << 20));
    for _ in 0..3 {
        torture::facts::wait_until("somebody works", || !running.progress().lanes.is_empty());
        if let Some(lane) = running.progress().lanes.first() {
            let pid = rustix::process::Pid::from_raw(lane.pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let summary = running.wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    assert_eq!(summary.n_failed, 0);
    assert_same(&scratch.path("source"), &scratch.path("destination"));
}

/// A tree of 1 200 files, and where it can be seen through a file system that takes its time for everything.
fn slow_source(scratch: &Scratch) -> FaultFs {
    for folder in 0..12 {
        scratch.folder(format!("files/{folder}"));
        for idx in 0..100 {
            fs::write(scratch.path(format!("files/{folder}/{idx}")), idx.to_string()).unwrap();
        }
    }
    let options = Options { delay: Duration::from_millis(2), n_threads: 64, ..Options::default() };
    FaultFs::mount(&scratch.path("files"), &scratch.folder("source"), options).unwrap()
}

#[test]
fn a_source_that_takes_its_time_gets_more_workers() {
    need_root();
    let scratch = Scratch::in_memory();
    let _slow = slow_source(&scratch);
    let summary = copied(Request { workers: None, bytes_per_second: None, ..request(&scratch, 1) });
    let n_processors = brigade::available_cpus();
    assert!(summary.n_workers > n_processors, "{} workers, {n_processors} processors", summary.n_workers);
    assert_eq!((summary.n_lost_workers, summary.limited_by), (0, Some(Limit::Source)));
    assert_same(&scratch.path("files"), &scratch.path("destination"));
}

#[test]
fn as_many_workers_as_were_asked_for_are_as_many_as_there_are() {
    need_root();
    let scratch = Scratch::in_memory();
    let _slow = slow_source(&scratch);
    let summary = copied(Request { bytes_per_second: None, ..request(&scratch, 1) });
    assert_eq!(summary.n_workers, 3);
}
