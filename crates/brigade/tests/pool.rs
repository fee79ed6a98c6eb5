//! What a pool promises: workers are reused, results come once, a death harms one task only.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::Duration;

use brigade::{Pool, PoolBroken, PoolError, Queue, Retry, SharedSlice, SubmitError, TaskError, WorkerState};
use torture::facts::Stopwatch;

fn pid_of_worker(_: u32) -> u32 {
    std::process::id()
}

#[test]
fn ten_tasks_are_done_by_three_workers() {
    let pool = Pool::new(3).unwrap();
    let expected: HashSet<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
    let pids: HashSet<u32> = pool.map(0..10, pid_of_worker).into_iter().map(Result::unwrap).collect();
    assert!(pids.is_subset(&expected), "{pids:?} {expected:?}");
    pool.close();
    pool.join();
    assert!(pool.workers().is_empty());
    assert_eq!(pool.lost_workers(), 0);
}

#[test]
fn results_of_map_are_in_order_and_of_imap_unordered_complete() {
    let pool = Pool::new(2).unwrap();
    let squares: Vec<u64> = pool.map(0..5000_u64, |number| number * number).into_iter().map(Result::unwrap).collect();
    assert_eq!(squares, (0..5000).map(|number| number * number).collect::<Vec<_>>());
    let ordered: Vec<u64> = pool.imap(0..500_u64, |number| number + 1).map(Result::unwrap).collect();
    assert_eq!(ordered, (1..=500).collect::<Vec<_>>());
    let mut any: Vec<u64> = pool.imap_unordered(0..500_u64, |number| number + 1).map(Result::unwrap).collect();
    any.sort_unstable();
    assert_eq!(any, ordered);
}

#[test]
fn a_panic_is_the_error_of_its_task_only() {
    let pool = Pool::new(1).unwrap();
    let bad = pool.apply_async(3, |number: i32| -> i32 { panic!("cannot do {number}") }).unwrap();
    let good = pool.apply_async(4, |number: i32| number).unwrap();
    let Err(TaskError::Panicked(report)) = bad.get() else { panic!("not a panic") };
    assert_eq!(report.message(), "cannot do 3");
    assert!(report.location().unwrap().contains("pool.rs:"));
    assert_eq!(good.get().unwrap(), 4);
}

#[test]
fn a_killed_worker_fails_its_running_task_and_nothing_else() {
    let pool = Pool::new(2).unwrap();
    let doomed = pool.apply_async((), |()| -> () { kill_self() }).unwrap();
    let others: Vec<_> = (0..200_u32).map(|number| pool.apply_async(number, |number| number).unwrap()).collect();
    assert!(matches!(doomed.get(), Err(TaskError::Killed { signal: 9, .. })));
    for (number, task) in (0..).zip(others) {
        assert_eq!(task.get().unwrap(), number);
    }
    // The fresh worker is listed once the kernel has made it.
    while pool.workers().len() < 2 {
        std::thread::yield_now();
    }
    let n_restarts: u32 = pool.workers().iter().map(|worker| worker.restarts).sum();
    assert_eq!((n_restarts, pool.lost_workers()), (1, 1));
}

fn kill_self() {
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::KILL).expect("a process may kill itself");
    loop {
        std::thread::park();
    }
}

#[test]
fn an_idle_worker_that_is_killed_is_replaced() {
    let pool = Pool::new(1).unwrap();
    pool.apply((), |()| ()).unwrap();
    let victim = pool.workers()[0].pid;
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(victim as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_ne!(pool.apply(0, pid_of_worker).unwrap_or(0), victim);
    assert_eq!(pool.apply(5, |number: u32| number + 1).unwrap(), 6);
}

#[test]
fn with_retry_a_task_runs_again_after_the_death_of_its_worker() {
    let runs = SharedSlice::<u64>::new(1).unwrap();
    let attempts = NonZeroU32::new(3).unwrap();
    let pool = Pool::builder().workers(2).retry(Retry::OnWorkerDeath { attempts }).build().unwrap();
    let value = pool.apply(runs.clone(), |runs: SharedSlice<u64>| {
        if runs.fetch_add(0, 1) < 2 {
            kill_self();
        }
        "done".to_owned()
    });
    assert_eq!((value.unwrap(), runs.load(0)), ("done".to_owned(), 3));
    let poison = pool.apply(runs.clone(), |runs: SharedSlice<u64>| {
        runs.fetch_add(0, 1);
        kill_self();
    });
    assert!(matches!(poison, Err(TaskError::Killed { signal: 9, .. })));
    assert_eq!(runs.load(0), 6);
}

#[test]
fn unstarted_tasks_move_to_an_idle_worker() {
    let pool = Pool::new(2).unwrap();
    let gate = Queue::<()>::bounded(1).unwrap();
    let stuck = pool.apply_async(gate.clone(), |gate: Queue<()>| gate.get().unwrap()).unwrap();
    let rest: Vec<_> = (0..20_u32).map(|number| pool.apply_async(number, |number| number).unwrap()).collect();
    for (number, task) in (0..).zip(rest) {
        assert_eq!(task.get().unwrap(), number);
    }
    assert!(!stuck.is_ready());
    let n_busy = || pool.workers().iter().filter(|worker| worker.state == WorkerState::Busy).count();
    // The other worker is idle as soon as it has put its last result.
    while n_busy() != 1 {
        std::thread::yield_now();
    }
    gate.put(()).unwrap();
    stuck.get().unwrap();
}

#[test]
fn a_handle_in_a_running_task_is_not_counted_twice() {
    let pool = Pool::new(1).unwrap();
    let queue = Queue::bounded(4).unwrap();
    let summed = pool.apply_async(queue.clone(), |queue: Queue<u64>| queue.iter().sum::<u64>()).unwrap();
    for number in 1..=4 {
        queue.put(number).unwrap();
    }
    drop(queue);
    // The iteration ends only when no other handle is left: neither ours nor the one that travelled.
    assert_eq!(summed.get().unwrap(), 10);
}

#[test]
fn large_arguments_and_results_and_handles_in_results_cross() {
    let pool = Pool::new(1).unwrap();
    let bytes = vec![7_u8; 1_500_000];
    assert!(pool.apply(bytes.clone(), |bytes: Vec<u8>| bytes).unwrap() == bytes);
    let queue = pool
        .apply((), |()| {
            let queue = Queue::bounded(2).unwrap();
            queue.put("from the worker".to_owned()).unwrap();
            queue
        })
        .unwrap();
    assert_eq!(queue.get().unwrap(), "from the worker");
}

#[test]
fn the_initializer_runs_in_each_worker_and_its_failure_breaks_the_pool() {
    let n_runs = SharedSlice::<u64>::new(1).unwrap();
    let pool = Pool::builder()
        .workers(3)
        .initializer(n_runs.clone(), |n_runs: SharedSlice<u64>| {
            n_runs.fetch_add(0, 1);
        })
        .build()
        .unwrap();
    pool.map(0..50, pid_of_worker).into_iter().for_each(|pid| assert!(pid.is_ok()));
    pool.close();
    pool.join();
    assert_eq!(n_runs.load(0), 3);
    let broken = Pool::builder().workers(1).initializer((), |()| panic!("no licence")).build().unwrap();
    match broken.apply((), |()| ()) {
        Err(TaskError::Broken(PoolBroken::InitializerFailed(reason))) => {
            assert!(reason.contains("no licence"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_killed_in_its_initializer_is_replaced() {
    let n_runs = SharedSlice::<u64>::new(1).unwrap();
    let pool = Pool::builder()
        .workers(1)
        .initializer(n_runs.clone(), |n_runs: SharedSlice<u64>| {
            if n_runs.fetch_add(0, 1) == 0 {
                let own_pid = rustix::process::getpid();
                rustix::process::kill_process(own_pid, rustix::process::Signal::KILL).unwrap();
            }
        })
        .build()
        .unwrap();
    assert!(pool.apply(0, pid_of_worker).is_ok());
    assert_eq!(n_runs.load(0), 2);
}

#[test]
fn callbacks_run_on_one_thread_and_may_submit() {
    let pool = std::sync::Arc::new(Pool::new(2).unwrap());
    let (sender, receiver) = mpsc::channel();
    for number in 0..20_u32 {
        let (sender, again) = (sender.clone(), std::sync::Arc::clone(&pool));
        pool.apply_async(number, |number| number).unwrap().on_done(move |result| {
            let first = result.unwrap();
            let thread = std::thread::current().id();
            again.apply_async(first, |number| number + 100).unwrap().on_done(move |result| {
                assert_eq!(std::thread::current().id(), thread);
                sender.send((first, result.unwrap())).unwrap();
            });
        });
    }
    drop(sender);
    let mut got: Vec<_> = receiver.iter().collect();
    got.sort_unstable();
    assert_eq!(got, (0..20).map(|number| (number, number + 100)).collect::<Vec<_>>());
}

#[test]
fn a_closed_pool_refuses_and_a_terminated_one_ends_at_once() {
    assert_eq!(Pool::new(0).unwrap_err(), PoolError::NoWorkers);
    let pool = Pool::new(2).unwrap();
    pool.close();
    assert_eq!(pool.apply_async((), |()| ()).unwrap_err(), SubmitError::Closed);
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<_> = (0..100)
        .map(|_| pool.apply_async((), |()| std::thread::park_timeout(Duration::from_secs(60))).unwrap())
        .collect();
    let before = Stopwatch::start();
    pool.terminate();
    pool.join();
    assert!(before.elapsed() < Duration::from_secs(5));
    for task in tasks {
        assert!(matches!(task.get(), Err(TaskError::Broken(PoolBroken::Terminated))));
    }
}

#[test]
fn random_kills_lose_no_task_and_repeat_none_that_had_not_started() {
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_122_u64);
    println!("BRIGADE_SEED={seed}");
    let attempts = NonZeroU32::new(1000).unwrap();
    let pool = Pool::builder().workers(2).retry(Retry::OnWorkerDeath { attempts }).build().unwrap();
    let n_tasks = 20_000_usize;
    let runs = SharedSlice::<u64>::new(n_tasks).unwrap();
    let mut random = seed;
    let mut n_kills = 0;
    let mut tasks = Vec::new();
    for number in 0..n_tasks {
        let args = (runs.clone(), number, vec![1_u8; number % 300]);
        tasks.push(
            pool.apply_async(args, |(runs, number, bytes): (SharedSlice<u64>, usize, Vec<u8>)| {
                runs.fetch_add(number, 1);
                (number, bytes.len())
            })
            .unwrap(),
        );
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (random >> 33).is_multiple_of(400)
            && let Some(worker) = pool.workers().first()
        {
            n_kills += u64::from(brigade_kill(worker.pid));
        }
    }
    for (number, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.get().unwrap(), (number, number % 300));
    }
    let n_runs: u64 = runs.read(0..n_tasks).into_iter().sum();
    println!("{n_kills} kills, {} tasks run again", n_runs - n_tasks as u64);
    assert!(n_kills > 10 && n_runs <= n_tasks as u64 + n_kills, "{n_runs} runs, {n_kills} kills");
}

fn brigade_kill(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("pids are positive");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
}
