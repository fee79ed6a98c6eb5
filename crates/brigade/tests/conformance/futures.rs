//! Tasks as Python's `concurrent.futures` tests use futures: deadlocks that were, shutdown, callbacks, waiting for several.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use brigade::{
    Cancellation, Event, Pool, PoolBroken, PoolError, Process, Queue, SharedSlice, Stdio, SubmitError, Task, TaskError,
};
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use torture::facts::{Stopwatch, wait_until};

use crate::{checked, signal, sleep_for_ever};

fn square(number: u64) -> u64 {
    number * number
}

#[test]
fn a_failing_item_fails_at_its_place() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let mut results = pool.imap([2_u64, 0, 5], |divisor| 10 / divisor);
        assert_eq!(results.next(), Some(Ok(5)));
        assert!(matches!(results.next(), Some(Err(TaskError::Panicked(_)))));
        assert_eq!((results.next(), results.next()), (Some(Ok(2)), None));
    });
}

#[test]
fn a_result_that_is_late_is_told_and_comes_later() {
    checked(|| {
        let (pool, go) = (Pool::new(2).unwrap(), Event::new().unwrap());
        let early = pool.apply_async(3, square).unwrap();
        let late = pool.apply_async(go.clone(), |go| go.wait()).unwrap();
        assert!(early.get_timeout(Duration::from_secs(10)).is_ok_and(|result| result == Ok(9)));
        let late = late.get_timeout(Duration::from_millis(50)).expect_err("it waits");
        assert!(!late.is_ready());
        go.set();
        assert_eq!(late.get(), Ok(()));
    });
}

#[test]
fn closing_while_others_submit_does_not_hang() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        std::thread::scope(|scope| {
            let submit = || {
                let mut tasks = Vec::new();
                loop {
                    match pool.apply_async(1, square) {
                        Ok(task) => tasks.push(task),
                        Err(error) => return (tasks, error),
                    }
                }
            };
            let submitters = [scope.spawn(submit), scope.spawn(submit)];
            wait_until("tasks come back", || pool.workers().iter().any(|worker| worker.tasks_done > 100));
            pool.close();
            for submitter in submitters {
                let (tasks, error) = submitter.join().unwrap();
                assert_eq!(error, SubmitError::Closed);
                assert!(tasks.into_iter().all(|task| task.get() == Ok(1)));
            }
        });
        pool.join();
    });
}

#[test]
fn only_the_task_of_the_killed_worker_fails() {
    checked(|| {
        let pool = Pool::new(3).unwrap();
        let (pids, go) = (Queue::bounded(3).unwrap(), Event::new().unwrap());
        let task = |(pids, go): (Queue<u32>, Event)| {
            pids.put(std::process::id()).unwrap();
            go.wait();
        };
        let tasks: Vec<_> = (0..3).map(|_| pool.apply_async((pids.clone(), go.clone()), task).unwrap()).collect();
        let victim = pids.get().unwrap();
        let _others = (pids.get().unwrap(), pids.get().unwrap());
        signal(victim, Signal::KILL);
        go.set();
        let outcomes: Vec<_> = tasks.into_iter().map(Task::get).collect();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "{outcomes:?}");
        let told = |outcome: &Result<(), TaskError>| matches!(outcome, Err(TaskError::Killed { signal: 9, pid, .. }) if *pid == victim);
        assert!(outcomes.iter().any(told), "{outcomes:?}");
        assert_eq!(pool.apply(4, square), Ok(16));
        wait_until("three work again", || pool.workers().len() == 3);
    });
}

#[test]
fn a_worker_lets_go_of_arguments_after_the_task() {
    checked(|| {
        let pool = Pool::new(1).unwrap();
        let queue = Queue::<u8>::bounded(1).unwrap();
        pool.apply(queue.clone(), drop).unwrap();
        wait_until("ours is the only handle", || queue.try_get() == Err(brigade::TryGetError::Disconnected));
    });
}

#[test]
fn many_blocked_tasks_start_no_more_workers() {
    checked(|| {
        let (pool, go) = (Pool::new(2).unwrap(), Event::new().unwrap());
        let mut before: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        let tasks = pool.map_async(vec![go.clone(); 30], |go| go.wait());
        assert_eq!(pool.workers().len(), 2);
        go.set();
        assert!(tasks.get().into_iter().all(|outcome| outcome.is_ok()));
        let mut after: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
    });
}

/// What happens where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Fault {
    Error,
    Panic,
    Exit,
    Crash,
}

impl Fault {
    fn strike<E: serde::de::Error>(self) -> E {
        match self {
            Self::Error => E::custom("a fault on purpose"),
            Self::Panic => panic!("a panic on purpose"),
            Self::Exit => std::process::exit(3),
            Self::Crash => {
                signal(std::process::id(), Signal::KILL);
                sleep_for_ever()
            }
        }
    }
}

/// Strikes when it is encoded.
struct FaultyToEncode(Fault);

impl Serialize for FaultyToEncode {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        let error: serde::de::value::Error = self.0.strike();
        Err(serde::ser::Error::custom(error))
    }
}

impl<'de> Deserialize<'de> for FaultyToEncode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Fault::deserialize(deserializer).map(Self)
    }
}

/// Strikes when it is decoded in another process than where it was made: a sender tries first whether it can be decoded.
struct FaultyToDecode(Fault, u32);

impl FaultyToDecode {
    fn new(fault: Fault) -> Self {
        Self(fault, std::process::id())
    }
}

impl Serialize for FaultyToDecode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FaultyToDecode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fault, made_in) = <(Fault, u32)>::deserialize(deserializer)?;
        if made_in == std::process::id() { Ok(Self(fault, made_in)) } else { Err(fault.strike()) }
    }
}

/// Whether an outcome is what a fault in the worker leads to.
fn is_told(fault: Fault, outcome: &TaskError, is_error: fn(&TaskError) -> bool) -> bool {
    match fault {
        Fault::Error => is_error(outcome),
        Fault::Panic => matches!(outcome, TaskError::Panicked(report) if report.message().contains("on purpose")),
        Fault::Exit => matches!(outcome, TaskError::Exited { code: 3, .. }),
        Fault::Crash => matches!(outcome, TaskError::Killed { signal: 9, .. }),
    }
}

const FAULTS: [Fault; 4] = [Fault::Error, Fault::Panic, Fault::Exit, Fault::Crash];

#[test]
fn encoding_the_argument_fails_at_submit() {
    checked(|| {
        let pool = Pool::new(1).unwrap();
        let refused = pool.apply_async(FaultyToEncode(Fault::Error), |_| ()).map(drop);
        assert!(matches!(refused, Err(SubmitError::Encode { .. })), "{refused:?}");
        assert_eq!(pool.apply(2, square), Ok(4));
    });
}

#[test]
fn decoding_the_argument_may_fail_exit_or_crash() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        for fault in FAULTS {
            let outcome = pool.apply(FaultyToDecode::new(fault), |_| ()).unwrap_err();
            assert!(
                is_told(fault, &outcome, |error| matches!(error, TaskError::DecodeArgs(_))),
                "{fault:?}: {outcome:?}"
            );
            assert_eq!(pool.apply(2, square), Ok(4));
        }
    });
}

#[test]
fn the_function_may_crash_exit_or_panic() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        for fault in [Fault::Panic, Fault::Exit, Fault::Crash] {
            let strike = |fault: Fault| drop(fault.strike::<serde::de::value::Error>());
            let outcome = pool.apply(fault, strike).unwrap_err();
            assert!(is_told(fault, &outcome, |_| false), "{fault:?}: {outcome:?}");
            assert_eq!(pool.apply(2, square), Ok(4));
        }
    });
}

#[test]
fn encoding_the_result_may_fail_exit_or_crash() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        for fault in FAULTS {
            let outcome = pool.apply(fault, FaultyToEncode).map(drop).unwrap_err();
            let is_error: fn(&TaskError) -> bool = |error| matches!(error, TaskError::EncodeResult(_));
            assert!(is_told(fault, &outcome, is_error), "{fault:?}: {outcome:?}");
            assert_eq!(pool.apply(2, square), Ok(4));
        }
    });
}

#[test]
fn decoding_the_result_may_fail_in_the_parent() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let outcome = pool.apply(Fault::Error, FaultyToDecode::new).map(drop).unwrap_err();
        assert!(matches!(outcome, TaskError::DecodeResult(_)), "{outcome:?}");
        assert_eq!(pool.apply(2, square), Ok(4));
    });
}

#[test]
fn a_crash_after_closing_does_not_hang() {
    checked(|| {
        for fault in [Fault::Crash, Fault::Exit] {
            let pool = Pool::new(2).unwrap();
            let strike = |fault: Fault| drop(fault.strike::<serde::de::value::Error>());
            let tasks: Vec<_> = (0..4).map(|_| pool.apply_async(fault, strike).unwrap()).collect();
            pool.close();
            pool.join();
            assert!(tasks.into_iter().all(|task| task.get().is_err()));
        }
    });
}

#[test]
fn a_crash_with_much_data_under_way_does_not_hang() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let large = vec![0_u8; 1 << 20];
        let task = |(number, bytes): (usize, Vec<u8>)| {
            if number == 0 {
                signal(std::process::id(), Signal::KILL);
            }
            bytes
        };
        let tasks: Vec<_> = (0..20).map(|number| pool.apply_async((number, large.clone()), task).unwrap()).collect();
        for (number, task) in tasks.into_iter().enumerate() {
            match task.get() {
                Ok(bytes) => assert!(number != 0 && bytes == large),
                Err(error) => assert!(number == 0 && matches!(error, TaskError::Killed { .. }), "{number}: {error:?}"),
            }
        }
    });
}

#[test]
fn full_rings_hold_nobody_up() {
    checked(|| {
        // Far more and larger than any buffer between the processes holds, and nobody takes a result before all are in.
        let pool = Pool::new(2).unwrap();
        let item = vec![1_u8; 200_000];
        let tasks: Vec<_> = (0..100).map(|_| pool.apply_async(item.clone(), |item| item).unwrap()).collect();
        assert!(tasks.into_iter().all(|task| task.get() == Ok(item.clone())));
    });
}

#[test]
fn a_program_that_ends_without_closing_is_quiet() {
    checked(|| {
        let process = Process::builder().stderr(Stdio::Piped).spawn((), |()| {
            let pool = Pool::new(2).unwrap();
            let task = pool.apply_async(2, square).unwrap();
            brigade::at_exit(|| assert!(Pool::new(1).map(|pool| pool.apply(1, square)).is_ok_and(|one| one == Ok(1))));
            std::mem::forget(pool);
            task.get().unwrap()
        });
        let mut process = process.unwrap();
        let said = process.take_stderr().unwrap();
        assert_eq!(process.wait().code(), Some(0));
        assert_eq!(process.join(), Ok(4));
        assert_eq!(std::io::read_to_string(said).unwrap(), "");
    });
}

#[test]
fn closing_runs_all_and_cancelling_runs_few() {
    checked(|| {
        let runs = SharedSlice::<u64>::new(1).unwrap();
        let count = |runs: SharedSlice<u64>| {
            runs.fetch_add(0, 1);
        };
        let pool = Pool::new(2).unwrap();
        (0..50).for_each(|_| drop(pool.apply_async(runs.clone(), count).unwrap()));
        pool.close();
        pool.join();
        assert_eq!(runs.load(0), 50);
        let (pool, go) = (Pool::new(2).unwrap(), Event::new().unwrap());
        let gates: Vec<_> = (0..2).map(|_| pool.apply_async(go.clone(), |go| go.wait()).unwrap()).collect();
        let tasks: Vec<_> = (0..50).map(|_| pool.apply_async(runs.clone(), count).unwrap()).collect();
        let n_cancelled = tasks.iter().filter(|task| task.cancel() == Cancellation::Unstarted).count();
        assert!(n_cancelled > 20, "{n_cancelled}");
        go.set();
        pool.close();
        pool.join();
        assert!(gates.into_iter().all(|gate| gate.get().is_ok()));
        let n_errors =
            tasks.into_iter().filter_map(|task| task.get().err()).filter(|e| *e == TaskError::Cancelled).count();
        assert_eq!((n_errors, runs.load(0)), (n_cancelled, 100 - n_cancelled as u64));
    });
}

#[test]
fn submit_cancel_close_does_not_hang() {
    checked(|| {
        for _ in 0..20 {
            let pool = Pool::new(1).unwrap();
            let task = pool.apply_async(1, square).unwrap();
            task.cancel();
            pool.close();
            pool.join();
            assert!(matches!(task.get(), Ok(1) | Err(TaskError::Cancelled)));
        }
    });
}

#[test]
fn results_stay_readable_after_the_pool_is_gone() {
    checked(|| {
        let tasks = {
            let pool = Pool::new(2).unwrap();
            let tasks: Vec<_> = (0..5).map(|number| pool.apply_async(number, square).unwrap()).collect();
            wait_until("all are ready", || tasks.iter().all(Task::is_ready));
            tasks
        };
        assert!(brigade::active_children().is_empty());
        let results: Vec<u64> = tasks.into_iter().map(|task| task.get().unwrap()).collect();
        assert_eq!(results, [0, 1, 4, 9, 16]);
    });
}

#[test]
fn callbacks_come_for_result_error_and_cancel_and_may_panic() {
    checked(|| {
        let (pool, go) = (Pool::new(1).unwrap(), Event::new().unwrap());
        let (say, hear) = mpsc::channel();
        let tell = |name: &'static str| {
            let say = say.clone();
            move |outcome: Result<u64, TaskError>| say.send((name, outcome)).unwrap()
        };
        std::panic::set_hook(Box::new(|_| ()));
        pool.apply_async(2, square).unwrap().on_done(|_| panic!("a callback may"));
        let done = pool.apply_async(3, square).unwrap();
        wait_until("it is done", || done.is_ready());
        done.on_done(tell("done already"));
        assert_eq!(hear.recv().unwrap(), ("done already", Ok(9)));
        pool.apply_async(0, |zero: u64| 1 / zero).unwrap().on_done(tell("panic"));
        assert!(matches!(hear.recv().unwrap(), ("panic", Err(TaskError::Panicked(_)))));
        let gate = pool.apply_async(go.clone(), |go| go.wait()).unwrap();
        wait_until("the worker is busy", || gate.worker_pid().is_some());
        let waiting = pool.apply_async(4, square).unwrap();
        assert_eq!(waiting.cancel(), Cancellation::Unstarted);
        waiting.on_done(tell("cancelled"));
        assert_eq!(hear.recv().unwrap(), ("cancelled", Err(TaskError::Cancelled)));
        go.set();
        gate.get().unwrap();
        drop(pool);
        drop(std::panic::take_hook());
    });
}

#[test]
fn a_waiting_task_is_cancelled_and_a_finished_one_is_not() {
    checked(|| {
        let (pool, go) = (Pool::new(1).unwrap(), Event::new().unwrap());
        let gate = pool.apply_async(go.clone(), |go| go.wait()).unwrap();
        wait_until("the worker is busy", || gate.worker_pid().is_some());
        let waiting = pool.apply_async(1, square).unwrap();
        assert_eq!((waiting.cancel(), waiting.cancel()), (Cancellation::Unstarted, Cancellation::Ended));
        assert_eq!(waiting.get(), Err(TaskError::Cancelled));
        go.set();
        gate.get().unwrap();
        let finished = pool.apply_async(5, square).unwrap();
        wait_until("it is done", || finished.is_ready());
        assert_eq!((finished.cancel(), finished.get()), (Cancellation::Ended, Ok(25)));
    });
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park_timeout(Duration::from_secs(10));
    }
}

/// The first of several tasks, with its place.
struct First<'a, R>(&'a mut [Task<R>]);

impl<R> Future for First<'_, R>
where
    Task<R>: Future + Unpin,
{
    type Output = (usize, <Task<R> as Future>::Output);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        for (idx, task) in self.0.iter_mut().enumerate() {
            if let Poll::Ready(output) = Pin::new(task).poll(context) {
                return Poll::Ready((idx, output));
            }
        }
        Poll::Pending
    }
}

#[test]
fn the_first_and_all_of_several_tasks_are_awaited() {
    checked(|| {
        let (pool, go) = (Pool::new(2).unwrap(), Event::new().unwrap());
        let wait_or_not =
            |go: Option<Event>| go.map_or(1, |go| if go.wait_timeout(Duration::from_secs(30)) { 2 } else { 3 });
        let mut tasks = vec![
            pool.apply_async(Some(go.clone()), wait_or_not).unwrap(),
            pool.apply_async(None, wait_or_not).unwrap(),
        ];
        assert_eq!(block_on(First(&mut tasks)), (1, Ok(1)));
        go.set();
        assert_eq!(block_on(tasks.swap_remove(0)), Ok(2));
        let all = pool.map_async(0..100, square);
        assert!(block_on(all).into_iter().enumerate().all(|(idx, result)| result == Ok(square(idx as u64))));
    });
}

#[test]
fn results_come_as_they_are_ready() {
    checked(|| {
        let (pool, go) = (Pool::new(2).unwrap(), Event::new().unwrap());
        let items = [Some(go.clone()), None, None];
        let mut results = pool.imap_unordered(items.into_iter().enumerate(), |(idx, go): (usize, Option<Event>)| {
            if let Some(go) = go {
                go.wait();
            }
            idx
        });
        let mut first = [results.next().unwrap().unwrap(), results.next().unwrap().unwrap()];
        first.sort_unstable();
        assert_eq!(first, [1, 2]);
        go.set();
        assert_eq!((results.next(), results.next()), (Some(Ok(0)), None));
    });
}

#[test]
fn a_failing_initializer_breaks_the_pool() {
    checked(|| {
        let start = Stopwatch::start();
        let made = Pool::builder().workers(2).initializer((), |()| panic!("not today")).build();
        let told = match made {
            Ok(pool) => pool.apply(1, square).unwrap_err().to_string(),
            Err(PoolError::Broken(PoolBroken::InitializerFailed(reason))) => reason,
            Err(other) => panic!("{other:?}"),
        };
        assert!(told.contains("not today"), "{told}");
        assert!(start.elapsed() < Duration::from_secs(10));
        wait_until("no worker is left", || brigade::active_children().is_empty());
    });
}
