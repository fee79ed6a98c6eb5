//! A pool after everything that can go wrong with a task, a worker or the system: a definite error, and the pool is whole.

use std::collections::HashSet;
use std::fs::File;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use brigade::{
    Descriptor, Pool, PoolBroken, PoolError, Queue, Retry, SharedSlice, SubmitError, TaskError, WorkerState,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use torture::facts::{PATIENCE, Stopwatch, wait_until};

fn kill(pid: u32) -> bool {
    let pid = Pid::from_raw(pid as i32).expect("pids are positive");
    rustix::process::kill_process(pid, Signal::KILL).is_ok()
}

fn is_there(pid: u32) -> bool {
    let pid = Pid::from_raw(pid as i32).expect("pids are positive");
    rustix::process::test_kill_process(pid).is_ok()
}

fn is_in_worker() -> bool {
    brigade::parent().is_some()
}

/// What a value does when its own code runs, and in which process.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
enum Trap {
    Nothing,
    RefuseDecodingInWorker,
    RefuseEncodingInWorker,
    RefuseDecodingInParent,
    PanicDecodingInWorker,
    PanicEncodingInWorker,
    PanicDroppingInWorker,
}

#[derive(Debug)]
struct Trapped(Trap);

impl Serialize for Trapped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Trap::RefuseEncodingInWorker if is_in_worker() => Err(serde::ser::Error::custom("not from here")),
            Trap::PanicEncodingInWorker if is_in_worker() => panic!("while it was encoded"),
            _ => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Trapped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let trap = Trap::deserialize(deserializer)?;
        match trap {
            Trap::RefuseDecodingInWorker if is_in_worker() => Err(serde::de::Error::custom("not here")),
            Trap::RefuseDecodingInParent if !is_in_worker() => Err(serde::de::Error::custom("not there")),
            Trap::PanicDecodingInWorker if is_in_worker() => panic!("while it was decoded"),
            _ => Ok(Self(trap)),
        }
    }
}

impl Drop for Trapped {
    fn drop(&mut self) {
        if self.0 == Trap::PanicDroppingInWorker && is_in_worker() && !std::thread::panicking() {
            panic!("while it was dropped");
        }
    }
}

fn pass_on(trapped: Trapped) -> Trapped {
    trapped
}

fn make(trap: Trap) -> Trapped {
    Trapped(trap)
}

fn drop_it(_: Trapped) {}

fn says(error: &TaskError, words: &str) -> bool {
    format!("{error:?}").contains(words)
}

#[test]
fn after_every_error_of_a_task_the_pool_is_whole_again() {
    let pool = Pool::new(2).unwrap();
    let is_whole = || {
        let squares: Vec<_> = pool.map(0..20_u64, |number| number * number);
        assert_eq!(squares, (0..20).map(|number| Ok(number * number)).collect::<Vec<_>>());
        wait_until("there are two workers", || pool.workers().len() == 2);
    };
    // The first message of a type is read back by its sender, so a good one goes first.
    assert_eq!(pool.apply(Trapped(Trap::Nothing), pass_on).unwrap().0, Trap::Nothing);
    let refused = pool.apply(Trapped(Trap::RefuseDecodingInWorker), drop_it).unwrap_err();
    assert!(matches!(&refused, TaskError::DecodeArgs(_)) && says(&refused, "not here"), "{refused:?}");
    is_whole();
    let refused = pool.apply(Trap::RefuseEncodingInWorker, make).unwrap_err();
    assert!(matches!(&refused, TaskError::EncodeResult(_)) && says(&refused, "not from here"), "{refused:?}");
    is_whole();
    let refused = pool.apply(Trap::RefuseDecodingInParent, make).unwrap_err();
    assert!(matches!(&refused, TaskError::DecodeResult(_)) && says(&refused, "not there"), "{refused:?}");
    is_whole();
    let panics = [
        pool.apply(Trapped(Trap::PanicDecodingInWorker), drop_it),
        pool.apply(Trap::PanicEncodingInWorker, make).map(drop),
        pool.apply(Trapped(Trap::PanicDroppingInWorker), drop_it),
    ];
    for (panic, words) in panics.into_iter().zip(["decoded", "encoded", "dropped"]) {
        let panic = panic.unwrap_err();
        assert!(matches!(&panic, TaskError::Panicked(_)) && says(&panic, words), "{panic:?}");
        is_whole();
    }
    assert_eq!(pool.lost_workers(), 0);
    let exited = pool.apply(7, |code: i32| -> () { std::process::exit(code) }).unwrap_err();
    assert!(matches!(exited, TaskError::Exited { code: 7, .. }), "{exited:?}");
    is_whole();
    let aborted = pool.apply((), |()| -> () { std::process::abort() }).unwrap_err();
    assert!(matches!(aborted, TaskError::Killed { signal: 6, .. }), "{aborted:?}");
    is_whole();
    let killed = pool.apply((), |()| assert!(kill(std::process::id()))).unwrap_err();
    assert!(matches!(killed, TaskError::Killed { signal: 9, out_of_memory: false, .. }), "{killed:?}");
    is_whole();
    assert_eq!(pool.lost_workers(), 3);
}

#[test]
fn a_value_that_cannot_be_encoded_is_refused_with_its_type() {
    #[derive(Debug, Deserialize)]
    struct Unspeakable;
    impl Serialize for Unspeakable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("there are no words"))
        }
    }
    let pool = Pool::new(1).unwrap();
    for _ in 0..2 {
        let Err(SubmitError::Encode { type_name, message }) = pool.apply_async(Unspeakable, |_| ()) else {
            panic!("it was taken");
        };
        assert!(type_name.ends_with("Unspeakable") && message.contains("no words"), "{type_name}: {message}");
    }
    assert_eq!(pool.apply(1, |number: u32| number), Ok(1));
}

#[test]
fn one_poison_task_among_a_thousand_good_ones_is_one_error() {
    let attempts = NonZeroU32::new(3).unwrap();
    let pool = Pool::builder().workers(2).retry(Retry::OnWorkerDeath { attempts }).build().unwrap();
    let runs = SharedSlice::<u64>::new(1001).unwrap();
    let work = |(runs, number): (SharedSlice<u64>, usize)| {
        runs.fetch_add(number, 1);
        if number == 500 {
            kill(std::process::id());
        }
        number
    };
    let results = pool.map((0..1001).map(|number| (runs.clone(), number)), work);
    for (number, result) in results.into_iter().enumerate() {
        match number {
            500 => assert!(matches!(result, Err(TaskError::Killed { signal: 9, .. })), "{result:?}"),
            _ => assert_eq!(result, Ok(number)),
        }
        assert_eq!(runs.load(number), if number == 500 { 3 } else { 1 });
    }
    assert_eq!(pool.lost_workers(), 3);
}

#[test]
fn a_pool_goes_on_when_idle_workers_are_killed() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..5 {
        wait_until("all are idle", || {
            let workers = pool.workers();
            workers.len() == 3 && workers.iter().all(|worker| worker.state == WorkerState::Idle)
        });
        let victims: HashSet<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        assert!(victims.iter().all(|&pid| kill(pid)));
        wait_until("all are gone", || !pool.workers().iter().any(|worker| victims.contains(&worker.pid)));
        let results = pool.map(0..100_u32, |number| number);
        assert_eq!(results, (0..100).map(Ok).collect::<Vec<_>>());
    }
    assert_eq!(pool.lost_workers(), 15);
}

#[test]
fn hundreds_of_descriptors_travel_in_one_task_and_back() {
    let pool = Pool::new(1).unwrap();
    let null = || Descriptor::from(std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()));
    for n_files in [252, 253, 254, 600] {
        let files: Vec<_> = (0..n_files).map(|_| null()).collect();
        let back =
            pool.apply((files, vec![1_u8; 100_000]), |(files, bytes): (Vec<Descriptor>, Vec<u8>)| (files, bytes.len()));
        let (files, n_bytes) = back.unwrap();
        assert_eq!((files.len(), n_bytes), (n_files, 100_000));
    }
}

/// In a process of its own, since it takes away what all tests of a process need.
fn without_descriptors() -> Result<(), String> {
    let pool = Pool::new(2).map_err(|error| error.to_string())?;
    let large = || vec![1_u8; 1 << 20];
    let sum = |bytes: Vec<u8>| bytes.len();
    pool.apply(large(), sum).map_err(|error| error.to_string())?;
    let hog: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let outcomes: Vec<_> = (0..3).map(|_| pool.apply(large(), sum)).collect();
    let small = pool.apply(3, |number: u32| number + 1);
    drop(hog);
    let is_refused = |outcome: &Result<usize, TaskError>| matches!(outcome, Err(TaskError::Submit(SubmitError::System { cause, .. })) if cause.errno() == Some(24));
    if !outcomes.iter().all(is_refused) || small != Ok(4) {
        return Err(format!("{outcomes:?} {small:?}"));
    }
    let again = pool.apply(large(), sum);
    if again == Ok(1 << 20) && pool.lost_workers() == 0 { Ok(()) } else { Err(format!("{again:?}")) }
}

fn limit_descriptors(n_files: u64) {
    let limit = Rlimit { current: Some(n_files), maximum: rustix::process::getrlimit(Resource::Nofile).maximum };
    rustix::process::setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
}

#[test]
fn arguments_that_cannot_be_sent_are_an_error_of_their_task() {
    let process = brigade::spawn((), |()| {
        limit_descriptors(100);
        without_descriptors()
    });
    assert_eq!(process.unwrap().join().unwrap(), Ok(()));
}

#[test]
fn a_pool_that_could_not_grow_is_as_large_as_it_was() {
    let process = brigade::spawn((), |()| {
        let pool = Pool::new(2).unwrap();
        let n_open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        // So that some of them do start.
        limit_descriptors(n_open + 20);
        let refused = pool.resize(40);
        limit_descriptors(1000);
        assert!(matches!(refused, Err(PoolError::Spawn(_))), "{refused:?}");
        wait_until("those that did start have gone", || pool.workers().len() == 2);
        // A place that was left open would be filled within a tenth of a second.
        let since = Instant::now();
        wait_until("a while is over", || since.elapsed() > Duration::from_millis(500));
        assert_eq!(pool.map(0..10_u32, |number| number).len(), 10);
        pool.workers().len()
    });
    assert_eq!(process.unwrap().join().unwrap(), 2);
}

#[test]
fn a_pool_of_which_one_worker_cannot_start_is_not_made_and_leaves_nothing() {
    let process = brigade::spawn((), |()| {
        // The supervisor and the session have theirs already; so many are left for the pool.
        drop(Pool::new(1));
        let n_open = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        // The supervisor lets go of a child it has buried a moment after others know of its end.
        let watches_nobody = || {
            let mut targets =
                std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path().read_link());
            !targets.any(|target| target.is_ok_and(|target| target.to_string_lossy().contains("pidfd")))
        };
        wait_until("nobody is watched", watches_nobody);
        let n_before = n_open();
        // A bell, and about five for each worker.
        limit_descriptors(n_before + 18);
        let failed = Pool::new(5);
        let is_refused = matches!(failed, Err(PoolError::Spawn(_)));
        let n_left = brigade::active_children().len();
        limit_descriptors(n_before + 200);
        let works = Pool::new(5).map(|pool| pool.apply(1, |number: u32| number + 1) == Ok(2));
        drop(failed);
        wait_until("nobody is watched again", watches_nobody);
        (is_refused, n_left, works, n_open() - n_before)
    });
    assert_eq!(process.unwrap().join().unwrap(), (true, 0, Ok(true), 0));
}

#[test]
fn two_hundred_workers_are_as_good_as_two() {
    let pool = Pool::new(200).unwrap();
    let before = Instant::now();
    let results = pool.map(0..20_000_u64, |number| number + 1);
    assert_eq!(results, (1..=20_000).map(Ok).collect::<Vec<_>>());
    println!("20 000 tasks by 200 workers took {:?}", before.elapsed());
    assert_eq!(pool.workers().len(), 200);
    assert_eq!(pool.lost_workers(), 0);
}

/// How often the threads of a process have gone to sleep of their own accord.
fn n_sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |path: std::path::PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(|task| of_thread(task.path())).sum()
}

#[test]
fn an_idle_pool_of_64_sleeps() {
    // In a process of its own, so that nothing else wakes there.
    let process = brigade::spawn((), |()| {
        let pool = Pool::new(64).expect("64 workers can be started");
        // Something was done, so that all that is done lazily was done too.
        assert!(pool.map(0..1000_u32, |number| number).iter().all(Result::is_ok));
        wait_until("all are idle", || pool.workers().iter().all(|worker| worker.state == WorkerState::Idle));
        let pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).chain([std::process::id()]).collect();
        let count = || pids.iter().map(|&pid| n_sleeps(pid)).sum::<u64>();
        // What was begun before has ended when nothing happens for a while.
        let mut before = count();
        wait_until("nothing happens", || {
            std::thread::park_timeout(Duration::from_millis(200));
            // To wait here is to sleep twice.
            std::mem::replace(&mut before, count()) + 2 >= before
        });
        let before = count();
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) {
            std::thread::park_timeout(Duration::from_secs(3) - since.elapsed());
        }
        (count() - before) as f64 / since.elapsed().as_secs_f64()
    });
    let n_per_second = process.unwrap().join().unwrap();
    println!("{n_per_second:.1} wake-ups a second in 65 processes");
    assert!(n_per_second <= 10.0, "{n_per_second} wake-ups a second");
}

#[test]
fn a_child_may_have_a_pool_of_its_own() {
    let process = brigade::spawn(4_u64, |number| {
        let pool = Pool::new(2).expect("a child may start processes");
        pool.map(0..number, |number| number * 2).into_iter().map(|result| result.unwrap_or(0)).sum::<u64>()
    });
    assert_eq!(process.unwrap().join().unwrap(), 12);
    let pool = Pool::new(1).unwrap();
    let nested = pool.apply(5_u64, |number| {
        let inner = Pool::new(1).expect("a worker may start processes");
        inner.apply(number, |number| number + 1).unwrap_or(0)
    });
    assert_eq!(nested, Ok(6));
}

#[test]
fn many_threads_may_use_a_pool_in_a_static() {
    static POOL: OnceLock<Pool> = OnceLock::new();
    let pool = POOL.get_or_init(|| Pool::new(2).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            scope.spawn(move || {
                for number in 0..300 {
                    assert_eq!(pool.apply((thread, number), |(a, b)| a * 1000 + b), Ok(thread * 1000 + number));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(move || {
                let sums = pool.imap_unordered(0..2000_u64, |number| number).map(Result::unwrap).sum::<u64>();
                assert_eq!(sums, 1_999_000);
            });
        }
    });
}

#[test]
fn a_program_that_ends_without_shutdown_leaves_no_worker() {
    let process = brigade::spawn((), |()| {
        static POOL: OnceLock<Pool> = OnceLock::new();
        let pool = POOL.get_or_init(|| Pool::new(2).expect("two workers can be started"));
        for _ in 0..10 {
            let task = pool.apply_async((), |()| std::thread::park_timeout(PATIENCE)).expect("the pool is open");
            std::mem::forget(task);
        }
        pool.workers().iter().map(|worker| worker.pid).collect::<Vec<_>>()
    });
    let before = Stopwatch::start();
    let pids = process.unwrap().join().unwrap();
    assert_eq!(pids.len(), 2);
    wait_until("the workers are gone", || !pids.iter().any(|&pid| is_there(pid)));
    assert!(before.elapsed() < PATIENCE);
}

#[test]
fn a_slow_task_does_not_hold_up_what_was_given_ahead_of_time() {
    let pool = Pool::new(2).unwrap();
    // Short tasks first, so that many are given ahead.
    assert!(pool.map(0..5000_u32, |number| number).iter().all(Result::is_ok));
    let gate = Queue::<()>::bounded(1).unwrap();
    let work = |(number, gate): (u32, Option<Queue<()>>)| {
        if let Some(gate) = gate {
            gate.get().unwrap_or_default();
        }
        number
    };
    let tasks: Vec<_> = (0..500)
        .map(|number| pool.apply_async((number, (number == 100).then(|| gate.clone())), work).unwrap())
        .collect();
    for (number, task) in (0..).zip(tasks) {
        if number == 100 {
            // All behind it end although it does not.
            task.on_done(|result| assert_eq!(result, Ok(100)));
        } else {
            assert_eq!(task.get_timeout(PATIENCE).expect("it does not wait for a running one"), Ok(number));
        }
    }
    gate.put(()).unwrap();
    pool.close();
    pool.join();
}

#[test]
fn closed_and_terminated_pools_say_which() {
    let pool = Arc::new(Pool::new(1).unwrap());
    pool.close();
    assert_eq!(pool.apply((), |()| ()), Err(TaskError::Closed));
    assert_eq!(
        pool.imap(0..2, |number: u32| number).collect::<Vec<_>>(),
        [Err(TaskError::Closed), Err(TaskError::Closed)]
    );
    assert_eq!(pool.imap_unordered(0..2, |number: u32| number).count(), 2);
    pool.terminate();
    assert_eq!(pool.map_async(0..1, |number: u32| number).get(), [Err(TaskError::Broken(PoolBroken::Terminated))]);
    pool.join();
    pool.join();
    let pool = Pool::new(1).unwrap();
    pool.terminate();
    assert_eq!(pool.apply_async((), |()| ()).unwrap_err(), SubmitError::Broken(PoolBroken::Terminated));
}
