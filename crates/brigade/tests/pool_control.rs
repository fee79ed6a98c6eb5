//! What a user may do to the tasks of a pool and to its workers: limit, cancel, await, replace, add and remove.

use std::collections::HashSet;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use brigade::{
    Cancellation, Pool, PoolBroken, PoolError, Queue, Retry, SharedSlice, SubmitError, TaskError, WorkerState,
};
use rustix::process::{Pid, Signal};
use torture::facts::{PATIENCE, wait_until};
use torture::processes::ProcessInfo;

/// A limit for tasks that do not end by themselves.
const SHORT: Duration = Duration::from_millis(30);
/// Within this limit a task does something short, on a busy machine, too.
const KEPT: Duration = Duration::from_secs(2);

fn for_ever(_: ()) {
    loop {
        std::thread::park();
    }
}

fn own_pid(_: u32) -> u32 {
    std::process::id()
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("pids are positive");
    rustix::process::kill_process(pid, signal).expect("it lives, and is ours");
}

/// Says that it has begun, and goes on when it is told to.
fn at_gate((begun, gate): (Queue<()>, Queue<()>)) -> u32 {
    begun.put(()).expect("the test waits");
    gate.get().expect("the test opens it");
    std::process::id()
}

struct Gate {
    begun: Queue<()>,
    gate: Queue<()>,
}

impl Gate {
    fn new() -> Self {
        let queue = || Queue::bounded(64).expect("there is memory for a queue");
        Self { begun: queue(), gate: queue() }
    }

    fn ends(&self) -> (Queue<()>, Queue<()>) {
        (self.begun.clone(), self.gate.clone())
    }

    fn wait_for_begin(&self) {
        self.begun.get_timeout(PATIENCE).expect("a task begins");
    }

    fn open(&self) {
        self.gate.put(()).expect("there is room");
    }
}

#[test]
fn a_task_that_takes_too_long_ends_with_its_worker_only() {
    let pool = Pool::new(2).unwrap();
    let gate = Gate::new();
    let other = pool.apply_async(gate.ends(), at_gate).unwrap();
    gate.wait_for_begin();
    let before = Instant::now();
    assert_eq!(pool.timeout(SHORT).apply((), for_ever), Err(TaskError::TimedOut));
    assert!(before.elapsed() >= SHORT && before.elapsed() < PATIENCE);
    gate.open();
    other.get().unwrap();
    // The pool is whole: its own kill is not a lost worker.
    assert_eq!(pool.timeout(PATIENCE).apply(4, |number: u32| number + 1), Ok(5));
    assert_eq!(pool.lost_workers(), 0);
}

#[test]
fn the_clock_of_a_task_starts_when_a_worker_starts_it() {
    let pool = Pool::new(1).unwrap();
    let gate = Gate::new();
    let first = pool.apply_async(gate.ends(), at_gate).unwrap();
    gate.wait_for_begin();
    let queued: Vec<_> =
        (0..5_u32).map(|number| pool.timeout(KEPT).apply_async(number, |number| number).unwrap()).collect();
    let waited_since = Instant::now();
    wait_until("the limit is over", || waited_since.elapsed() > KEPT);
    gate.open();
    first.get().unwrap();
    for (number, task) in (0..).zip(queued) {
        assert_eq!(task.get(), Ok(number));
    }
}

#[test]
fn the_limit_of_a_task_holds_also_when_it_began_behind_one_without() {
    let pool = Pool::new(1).unwrap();
    let gate = Gate::new();
    let first = pool.apply_async(gate.ends(), at_gate).unwrap();
    gate.wait_for_begin();
    let limited = pool.timeout(SHORT).apply_async((), for_ever).unwrap();
    let waited_since = Instant::now();
    wait_until("the limit is over before it began", || waited_since.elapsed() > 3 * SHORT);
    gate.open();
    first.get().unwrap();
    assert_eq!(limited.get_timeout(PATIENCE).ok(), Some(Err(TaskError::TimedOut)));
}

#[test]
fn tasks_behind_one_that_takes_too_long_are_done_once() {
    let runs = SharedSlice::<u64>::new(200).unwrap();
    let pool = Pool::new(1).unwrap();
    let mut tasks = Vec::new();
    for number in 0..200_usize {
        let task = pool.timeout(KEPT).apply_async((runs.clone(), number), |(runs, number)| {
            runs.fetch_add(number, 1);
            if number.is_multiple_of(50) {
                for_ever(());
            }
            number
        });
        tasks.push(task.unwrap());
    }
    for (number, task) in tasks.into_iter().enumerate() {
        let expected = if number.is_multiple_of(50) { Err(TaskError::TimedOut) } else { Ok(number) };
        assert_eq!(task.get(), expected);
    }
    assert!(runs.read(0..200).into_iter().all(|n_runs| n_runs == 1));
}

/// A limit was forgotten where the thread that waited for one task gave another one out: the dispatcher slept on, since it is
/// told of a time only by who hands a task in. Now whoever takes results out tells it.
#[test]
fn the_limit_holds_of_a_task_that_a_waiting_thread_gives_out() {
    let pool = Pool::new(1).unwrap();
    let gate = Gate::new();
    // The worker is given two at a time, so the last two wait for somebody to give them out.
    let mut before: Vec<_> = (0..3).map(|_| pool.apply_async(gate.ends(), at_gate).unwrap()).collect();
    let limited = pool.timeout(SHORT).apply_async((), for_ever).unwrap();
    let last = before.pop().expect("there are three");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| last.get());
        for _ in 0..3 {
            gate.wait_for_begin();
            // Time for the dispatcher to see that somebody waits, and to sleep.
            let begun = Instant::now();
            wait_until("the dispatcher has had its time", || begun.elapsed() > SHORT);
            gate.open();
        }
        waiter.join().expect("it does not panic").expect("the task ends well");
    });
    let ended = limited.get_timeout(PATIENCE).expect("it ends at its limit");
    assert_eq!(ended, Err(TaskError::TimedOut));
}

#[test]
fn a_timeout_is_not_retried() {
    let runs = SharedSlice::<u64>::new(1).unwrap();
    let attempts = NonZeroU32::new(5).unwrap();
    let pool = Pool::builder().workers(1).retry(Retry::OnWorkerDeath { attempts }).build().unwrap();
    let result = pool.timeout(KEPT).apply(runs.clone(), |runs: SharedSlice<u64>| {
        runs.fetch_add(0, 1);
        for_ever(());
    });
    assert_eq!((result, runs.load(0)), (Err(TaskError::TimedOut), 1));
}

#[test]
fn a_stopped_worker_is_ended_by_the_limit_of_its_task() {
    let pool = Pool::new(1).unwrap();
    let result = pool.timeout(SHORT).apply((), |()| signal(std::process::id(), Signal::STOP));
    assert_eq!(result, Err(TaskError::TimedOut));
    assert_eq!(pool.apply(1, |number: u32| number), Ok(1));
}

#[test]
fn all_ways_to_hand_in_take_a_limit() {
    // So many that those which take too long do so at the same time.
    let pool = Pool::new(6).unwrap();
    let limited = pool.timeout(KEPT);
    let work = |number: u32| {
        if number == 1 {
            for_ever(());
        }
        number
    };
    let expected = [Ok(0), Err(TaskError::TimedOut), Ok(2)];
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(limited.map(0..3, work), expected));
        scope.spawn(|| assert_eq!(limited.starmap(0..3, work), expected));
        scope.spawn(|| assert_eq!(limited.map_async(0..3, work).get(), expected));
        scope.spawn(|| assert_eq!(limited.imap(0..3, work).collect::<Vec<_>>(), expected));
        let mut unordered: Vec<_> = limited.imap_unordered(0..3, work).collect();
        unordered.sort_by_key(|result| result.clone().unwrap_or(1));
        assert_eq!(unordered, expected);
    });
}

#[test]
fn a_cancelled_task_that_has_not_started_never_runs() {
    let runs = SharedSlice::<u64>::new(100).unwrap();
    let pool = Pool::new(1).unwrap();
    let gate = Gate::new();
    let first = pool.apply_async(gate.ends(), at_gate).unwrap();
    gate.wait_for_begin();
    let mark = |(runs, number): (SharedSlice<u64>, usize)| runs.fetch_add(number, 1);
    let tasks: Vec<_> = (0..100).map(|number| pool.apply_async((runs.clone(), number), mark).unwrap()).collect();
    for task in tasks.iter().step_by(2) {
        assert_eq!(task.cancel(), Cancellation::Unstarted);
        assert_eq!(task.cancel(), Cancellation::Ended);
    }
    gate.open();
    first.get().unwrap();
    for (number, task) in tasks.into_iter().enumerate() {
        let is_cancelled = number.is_multiple_of(2);
        assert_eq!(task.get(), if is_cancelled { Err(TaskError::Cancelled) } else { Ok(0) });
        assert_eq!(runs.load(number), u64::from(!is_cancelled));
    }
}

#[test]
fn cancelling_a_running_task_ends_its_worker_only() {
    let pool = Pool::new(2).unwrap();
    let gate = Gate::new();
    let (doomed, other) =
        (pool.apply_async(gate.ends(), at_gate).unwrap(), pool.apply_async(gate.ends(), at_gate).unwrap());
    gate.wait_for_begin();
    gate.wait_for_begin();
    let behind = pool.apply_async(7, |number: u32| number).unwrap();
    let (pid, other_pid) = (doomed.worker_pid().unwrap(), other.worker_pid().unwrap());
    assert_ne!(pid, other_pid);
    assert_eq!(behind.worker_pid(), None);
    assert_eq!(doomed.cancel(), Cancellation::Running);
    assert_eq!(doomed.get(), Err(TaskError::Cancelled));
    assert_eq!(behind.get(), Ok(7));
    gate.open();
    assert_eq!(other.get(), Ok(other_pid));
    assert_eq!(pool.lost_workers(), 0);
    let ended = pool.apply_async(1, own_pid).unwrap();
    wait_until("the task has ended", || ended.is_ready());
    assert_eq!(ended.cancel(), Cancellation::Ended);
    let pid = ended.worker_pid();
    assert_eq!(ended.get().ok(), pid);
}

/// The one may end while it is being cancelled, and the other begin.
#[test]
fn a_cancel_at_any_moment_harms_no_other_task() {
    let pool = Pool::new(1).unwrap();
    let spin = |duration_us: u64| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(duration_us) {
            std::hint::spin_loop();
        }
        duration_us
    };
    for round in 0..3000 {
        let (doomed, other) = (pool.apply_async(50, spin).unwrap(), pool.apply_async(100, spin).unwrap());
        spin(round % 250);
        doomed.cancel();
        assert_eq!(other.get(), Ok(100), "round {round}");
        let outcome = doomed.get();
        assert!(matches!(outcome, Ok(50) | Err(TaskError::Cancelled)), "round {round}: {outcome:?}");
    }
    assert_eq!(pool.lost_workers(), 0);
}

/// An executor for one future: sleeps until it is woken.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn a_task_is_a_future_that_needs_no_runtime() {
    fn needs_unpin<T: Unpin + Send>(_: &T) {}
    let pool = Pool::new(2).unwrap();
    let task = pool.apply_async(6, |number: u32| number * 7).unwrap();
    needs_unpin(&task);
    assert_eq!(block_on(task), Ok(42));
    let sum = block_on(async {
        let mut sum = 0;
        for number in 0..100_u64 {
            sum += pool.apply_async(number, |number| number).unwrap().await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 4950);
    let squares = block_on(pool.map_async(0..100_u64, |number| number * number));
    assert_eq!(squares, (0..100).map(|number| Ok(number * number)).collect::<Vec<_>>());
    let failed = block_on(pool.apply_async((), |()| -> () { panic!("no") }).unwrap());
    assert!(matches!(failed, Err(TaskError::Panicked(_))));
}

#[test]
fn a_future_is_woken_although_nobody_else_waits_and_also_by_a_cancel() {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }
    let pool = Pool::new(1).unwrap();
    let gate = Gate::new();
    let mut first = pool.apply_async(gate.ends(), at_gate).unwrap();
    let mut second = pool.apply_async((), |()| ()).unwrap();
    let flags = [(); 2].map(|()| Arc::new(Flag(AtomicBool::new(false))));
    let wakers = flags.each_ref().map(|flag| Waker::from(Arc::clone(flag)));
    assert!(pin!(&mut first).poll(&mut Context::from_waker(&wakers[0])).is_pending());
    assert!(pin!(&mut second).poll(&mut Context::from_waker(&wakers[1])).is_pending());
    second.cancel();
    wait_until("the cancelled one is woken", || flags[1].0.load(Ordering::Acquire));
    assert_eq!(second.get(), Err(TaskError::Cancelled));
    gate.open();
    wait_until("the first one is woken", || flags[0].0.load(Ordering::Acquire));
    assert!(first.get().is_ok());
    // A future that is dropped, or waited for otherwise, leaves nobody behind who waits.
    let mut third = pool.apply_async((), |()| ()).unwrap();
    let _ = pin!(&mut third).poll(&mut Context::from_waker(&wakers[0]));
    drop(third);
}

#[test]
fn get_timeout_gives_the_task_back() {
    let pool = Pool::new(1).unwrap();
    let gate = Gate::new();
    let task = pool.apply_async(gate.ends(), at_gate).unwrap();
    let map = pool.map_async(0..3_u32, |number| number);
    let task = task.get_timeout(Duration::from_millis(5)).unwrap_err();
    let map = map.get_timeout(Duration::ZERO).unwrap_err();
    assert!(!map.is_ready() && map.len() == 3);
    gate.open();
    assert!(task.get_timeout(PATIENCE).unwrap().is_ok());
    assert_eq!(map.get_timeout(PATIENCE).unwrap(), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn cancelling_a_map_ends_all_of_it() {
    let pool = Pool::new(2).unwrap();
    let map = pool.map_async(0..50_u32, |_| for_ever(()));
    wait_until("both work", || pool.workers().iter().all(|worker| worker.state == WorkerState::Busy));
    map.cancel();
    assert!(map.get().into_iter().all(|result| result == Err(TaskError::Cancelled)));
    assert_eq!(pool.apply(1, |number: u32| number), Ok(1));
}

#[test]
fn imap_takes_few_items_ahead_on_the_callers_thread_and_cancels_the_rest_when_dropped() {
    let pool = Pool::new(2).unwrap();
    let runs = SharedSlice::<u64>::new(1).unwrap();
    let caller = std::thread::current().id();
    let n_pulled = std::cell::Cell::new(0_u64);
    let items = || {
        std::iter::repeat_with(|| {
            assert_eq!(std::thread::current().id(), caller);
            n_pulled.set(n_pulled.get() + 1);
            (n_pulled.get(), runs.clone())
        })
    };
    let work = |(number, runs): (u64, SharedSlice<u64>)| {
        runs.fetch_add(0, 1);
        number
    };
    let firsts: Vec<_> = pool.imap(items(), work).take(1000).map(Result::unwrap).collect();
    assert_eq!(firsts, (1..=1000).collect::<Vec<_>>());
    assert!(n_pulled.get() < 1200, "{} items were taken for 1000 results", n_pulled.get());
    let before = n_pulled.get();
    assert_eq!(pool.imap_unordered(items(), work).take(1000).filter(Result::is_ok).count(), 1000);
    assert!(n_pulled.get() - before < 1200);
    // One task that does not end, and behind it what was taken ahead: dropped, it never runs.
    let gate = Gate::new();
    let blocked: Vec<_> = (0..2).map(|_| pool.apply_async(gate.ends(), at_gate).unwrap()).collect();
    (0..2).for_each(|_| gate.wait_for_begin());
    // Only now: what ran when the iterator before was dropped has ended.
    let n_runs = runs.load(0);
    std::thread::scope(|scope| {
        let mut results = pool.imap(items(), work);
        // Not before the items were taken.
        scope.spawn(|| {
            wait_until("items are taken", || pool.workers().iter().all(|worker| worker.state == WorkerState::Busy));
            gate.open();
        });
        results.next().unwrap().unwrap();
    });
    gate.open();
    blocked.into_iter().for_each(|task| assert!(task.get().is_ok()));
    pool.close();
    pool.join();
    let n_more = runs.load(0) - n_runs;
    assert!((1..=32).contains(&n_more), "some of those that were taken ahead, and no other: {n_more}");
}

#[test]
fn what_was_taken_ahead_and_has_not_begun_never_runs_when_the_iterator_is_dropped() {
    for is_ordered in [true, false] {
        let pool = Pool::new(1).unwrap();
        let (gate, runs) = (Gate::new(), SharedSlice::<u64>::new(1).unwrap());
        let items = (0..10).map(|number| (runs.clone(), (number == 1).then(|| gate.ends())));
        let mut results: Box<dyn Iterator<Item = Result<(), TaskError>>> =
            if is_ordered { Box::new(pool.imap(items, step)) } else { Box::new(pool.imap_unordered(items, step)) };
        results.next().unwrap().unwrap();
        gate.wait_for_begin();
        drop(results);
        gate.open();
        pool.close();
        pool.join();
        assert_eq!(runs.load(0), 2);
    }
}

type Step = (SharedSlice<u64>, Option<(Queue<()>, Queue<()>)>);

/// Counts itself, and waits at its gate, if it has one.
fn step((runs, ends): Step) {
    runs.fetch_add(0, 1);
    ends.map(at_gate);
}

#[test]
fn an_input_that_panics_leaves_the_pool_usable() {
    let pool = Pool::new(2).unwrap();
    let items = || (0..100_u32).inspect(|&number| assert!(number < 20, "no more input"));
    let is_caught = |work: &dyn Fn()| {
        let hook = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(hook.is_err());
    };
    is_caught(&|| drop(pool.map(items(), |number| number)));
    is_caught(&|| pool.imap(items(), |number| number).for_each(drop));
    is_caught(&|| pool.imap_unordered(items(), |number| number).for_each(drop));
    assert_eq!(pool.map(0..3_u32, |number| number), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn workers_are_replaced_after_their_share_of_tasks() {
    for n_each in [1, 2, 7] {
        let pool = Pool::builder().workers(2).max_tasks_per_worker(n_each).build().unwrap();
        let pids: Vec<u32> = pool.map(0..60, own_pid).into_iter().map(Result::unwrap).collect();
        let distinct: HashSet<u32> = pids.iter().copied().collect();
        for pid in &distinct {
            let n_done = pids.iter().filter(|done_by| *done_by == pid).count() as u64;
            assert!(n_done <= n_each, "{pid} did {n_done} of {n_each}");
        }
        assert!(distinct.len() as u64 >= 60 / n_each);
        assert_eq!(pool.lost_workers(), 0);
        pool.close();
        pool.join();
    }
}

/// Nobody waits for the result, so nobody counts the handle in it; until then it is the worker's.
#[test]
fn a_worker_that_is_to_be_replaced_stays_until_the_handles_in_its_result_were_counted() {
    let pool = Pool::builder().workers(1).max_tasks_per_worker(1).build().unwrap();
    let begun = SharedSlice::<u64>::new(1).unwrap();
    let worker = pool.workers()[0].pid;
    let made = pool.apply_async(begun.clone(), |begun: SharedSlice<u64>| {
        let queue = Queue::<u32>::bounded(1).unwrap();
        queue.put(7).unwrap();
        begun.store(0, 1);
        queue
    });
    wait_until("the task runs", || begun.load(0) == 1);
    let is_asleep = || ProcessInfo::of(worker).is_some_and(|worker| worker.state == 'S');
    let is_buried = || brigade::active_children().iter().all(|child| child.pid != worker);
    let mut n_asleep = 0;
    wait_until("the worker waits, or is gone", || {
        n_asleep = if is_asleep() { n_asleep + 1 } else { 0 };
        n_asleep == 50 || is_buried()
    });
    assert_eq!(made.unwrap().get().unwrap().get(), Ok(7));
    wait_until("the worker is replaced", || pool.workers().iter().any(|other| other.pid != worker));
}

#[test]
fn a_worker_that_has_grown_too_large_is_replaced() {
    let pool = Pool::builder().workers(1).max_rss_per_worker(256 << 20).build().unwrap();
    let small = pool.apply(0, own_pid).unwrap();
    assert_eq!(pool.apply(0, own_pid).unwrap(), small);
    let large = pool.apply((), |()| {
        std::mem::forget(vec![1_u8; 300 << 20]);
        std::process::id()
    });
    assert_eq!(large.unwrap(), small);
    assert_ne!(pool.apply(0, own_pid).unwrap(), small);
    assert_eq!((pool.lost_workers(), pool.workers()[0].restarts), (0, 1));
}

#[test]
fn a_pool_that_shrinks_lets_those_go_who_have_nothing_to_do() {
    let pool = Pool::new(3).unwrap();
    let gate = Gate::new();
    let running = pool.apply_async(gate.ends(), at_gate).unwrap();
    gate.wait_for_begin();
    let busy = running.worker_pid();
    pool.resize(1).unwrap();
    wait_until("the idle ones are gone", || pool.workers().len() == 1);
    assert_eq!(Some(pool.workers()[0].pid), busy);
    gate.open();
    assert_eq!(running.get().ok(), busy);
}

#[test]
fn a_pool_grows_and_shrinks_while_it_works() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.resize(0).unwrap_err(), PoolError::NoWorkers);
    let gate = Gate::new();
    let running: Vec<_> = (0..2).map(|_| pool.apply_async(gate.ends(), at_gate).unwrap()).collect();
    (0..2).for_each(|_| gate.wait_for_begin());
    let stuck = pool.apply_async(gate.ends(), at_gate).unwrap();
    pool.resize(4).unwrap();
    gate.wait_for_begin();
    assert_eq!(pool.workers().len(), 4);
    let waiting: Vec<_> = (0..100_u32).map(|number| pool.apply_async(number, |number| number).unwrap()).collect();
    pool.resize(1).unwrap();
    (0..3).for_each(|_| gate.open());
    running.into_iter().chain([stuck]).for_each(|task| assert!(task.get().is_ok()));
    for (number, task) in (0..).zip(waiting) {
        assert_eq!(task.get(), Ok(number));
    }
    wait_until("one worker is left", || pool.workers().len() == 1);
    pool.resize(3).unwrap();
    wait_until("three work", || {
        let pids: HashSet<_> = pool.map(0..50, own_pid).into_iter().map(Result::unwrap).collect();
        pids.len() == 3
    });
    assert_eq!(pool.lost_workers(), 0);
    pool.close();
    assert_eq!(pool.resize(2).unwrap_err(), PoolError::Closed);
    pool.terminate();
    assert_eq!(pool.resize(2).unwrap_err(), PoolError::Broken(PoolBroken::Terminated));
}

#[test]
fn deaths_long_ago_do_not_count_for_the_restart_limit() {
    let period = Duration::from_millis(100);
    let pool = Pool::builder().workers(1).restart_limit(2, period).build().unwrap();
    for _ in 0..5 {
        let killed = pool.apply((), |()| signal(std::process::id(), Signal::KILL));
        assert!(matches!(killed, Err(TaskError::Killed { signal: 9, .. })), "{killed:?}");
        let since = Instant::now();
        wait_until("the period is over", || since.elapsed() > period);
    }
    assert_eq!((pool.apply(1, |number: u32| number), pool.lost_workers()), (Ok(1), 5));
}

#[test]
fn workers_that_always_die_break_the_pool_by_the_restart_limit() {
    let attempts = NonZeroU32::new(1000).unwrap();
    let pool = Pool::builder()
        .workers(2)
        .retry(Retry::OnWorkerDeath { attempts })
        .restart_limit(5, Duration::from_secs(60))
        .build()
        .unwrap();
    let poison = pool.apply_async((), |()| std::process::abort()).unwrap();
    let broken = Err(TaskError::Broken(PoolBroken::RestartLimit));
    assert_eq!(poison.get(), broken);
    assert_eq!(pool.apply((), |()| ()), broken);
    assert_eq!(pool.apply_async((), |()| ()).unwrap_err(), SubmitError::Broken(PoolBroken::RestartLimit));
    assert_eq!(pool.lost_workers(), 6);
    pool.join();
}

#[test]
fn workers_that_are_killed_at_their_start_break_the_pool_in_the_end() {
    let before = Instant::now();
    let starts = SharedSlice::<u64>::new(1).unwrap();
    let pool = Pool::builder()
        .workers(1)
        .initializer(starts.clone(), |starts: SharedSlice<u64>| {
            starts.fetch_add(0, 1);
            signal(std::process::id(), Signal::KILL);
        })
        .build()
        .unwrap();
    assert!(matches!(pool.apply((), |()| ()), Err(TaskError::Broken(PoolBroken::InitializerFailed(_)))));
    assert_eq!(starts.load(0), 10);
    // With ever longer pauses in between: ten starts alone take a twentieth of a second.
    assert!(before.elapsed() > Duration::from_secs(2), "ten starts within {:?}", before.elapsed());
}

#[test]
fn an_initializer_that_exits_breaks_the_pool() {
    let pool = Pool::builder().workers(2).initializer((), |()| std::process::exit(3)).build().unwrap();
    match pool.apply((), |()| ()) {
        Err(TaskError::Broken(PoolBroken::InitializerFailed(reason))) => assert!(reason.contains('3'), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn callbacks_of_cancelled_and_terminated_tasks_are_called() {
    let pool = Pool::new(1).unwrap();
    let (said, heard) = mpsc::channel();
    let gate = Gate::new();
    let running = pool.apply_async(gate.ends(), at_gate).unwrap();
    gate.wait_for_begin();
    let waiting = pool.apply_async((), for_ever).unwrap();
    let sender = said.clone();
    waiting.on_done(move |result| sender.send(result.map(|()| 0)).unwrap());
    running.on_done(move |result| said.send(result).unwrap());
    pool.terminate();
    for _ in 0..2 {
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(TaskError::Broken(PoolBroken::Terminated)));
    }
    pool.join();
}

/// It was put behind those that are due, for a thread that had ended with the pool.
#[test]
fn a_callback_that_comes_after_the_pools_end_is_called() {
    let pool = Pool::new(1).unwrap();
    let done = pool.apply_async(20_u32, |number| number + 1).unwrap();
    wait_until("the task has ended", || done.is_ready());
    let terminated = pool.apply_async((), for_ever).unwrap();
    drop(pool);
    let (told, heard) = mpsc::channel();
    done.on_done({
        let told = told.clone();
        move |result| told.send(result).unwrap()
    });
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Ok(21));
    terminated.on_done(move |result| told.send(result.map(|()| 0)).unwrap());
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Err(TaskError::Broken(PoolBroken::Terminated)));
}
