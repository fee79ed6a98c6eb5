//! The pool as Python's own tests use it.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use brigade::{
    Event, Pool, PoolBroken, PoolError, Process, Queue, Resource, Retry, SharedSlice, Stdio, SubmitError, TaskError,
};
use serde::{Deserialize, Serialize};
use torture::facts::{Stopwatch, wait_until};

use crate::{checked, sleep_for_ever};

const SHORT: Duration = Duration::from_millis(200);

fn square(number: u64) -> u64 {
    number * number
}

fn squares(range: std::ops::Range<u64>) -> Vec<Result<u64, TaskError>> {
    range.map(|number| Ok(square(number))).collect()
}

#[test]
fn apply_gives_what_the_function_gives() {
    checked(|| {
        let pool = Pool::new(4).unwrap();
        assert_eq!(pool.apply(5, square), Ok(25));
        assert_eq!(pool.apply((2, "x".to_owned()), |(n, text)| text.repeat(n)), Ok("xx".to_owned()));
    });
}

#[test]
fn map_gives_all_results_in_order() {
    checked(|| {
        let pool = Pool::new(4).unwrap();
        assert_eq!(pool.map(0..1000, square), squares(0..1000));
        assert_eq!(pool.starmap([(2_u64, 3), (4, 5)], |(a, b)| a * b), [Ok(6), Ok(20)]);
        assert_eq!(pool.map_async(0..100, square).get(), squares(0..100));
    });
}

#[test]
fn callbacks_get_the_result_or_the_error_once() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let (say, hear) = mpsc::channel();
        for number in [1, 0] {
            let say = say.clone();
            let task = pool.apply_async(number, |number: u32| assert_ne!(number, 0, "nothing to do")).unwrap();
            task.on_done(move |outcome| say.send(outcome).unwrap());
        }
        drop(say);
        let mut outcomes: Vec<Result<(), TaskError>> = hear.iter().collect();
        outcomes.sort_by_key(Result::is_err);
        assert!(matches!(outcomes.as_slice(), [Ok(()), Err(TaskError::Panicked(_))]), "{outcomes:?}");
    });
}

/// Cannot be encoded if it is `true`.
#[derive(Debug)]
struct Odd(bool);

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 { Err(serde::ser::Error::custom("it is odd")) } else { serializer.serialize_unit() }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self(false))
    }
}

#[test]
fn an_argument_that_cannot_be_encoded_is_refused() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let refused = pool.apply_async(Odd(true), |_| ()).map(drop);
        let Err(SubmitError::Encode { type_name, message }) = refused else { panic!("{refused:?}") };
        assert!(type_name.contains("Odd") && message.contains("it is odd"), "{type_name}: {message}");
        let outcomes = pool.map([Odd(false), Odd(true), Odd(false)], |_| 1);
        assert!(matches!(outcomes.as_slice(), [Ok(1), Err(_), Ok(1)]), "{outcomes:?}");
    });
}

#[test]
fn no_items_no_waiting() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        assert!(pool.map(0..0, square).is_empty());
        assert!(pool.map_async(0..0, square).get().is_empty());
        assert!(pool.imap(0..0, square).next().is_none());
        assert!(pool.imap_unordered(0..0, square).next().is_none());
    });
}

#[test]
fn a_failing_input_is_the_callers_and_the_pool_goes_on() {
    /// Fails after so many items.
    fn failing(n_items: u64) -> impl Iterator<Item = u64> {
        (0..).inspect(move |number| assert!(*number < n_items, "the input fails"))
    }
    checked(|| {
        let pool = Pool::new(2).unwrap();
        std::panic::set_hook(Box::new(|_| ()));
        for n_items in [0, 1, 30] {
            for _ in 0..2 {
                let in_map =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.map(failing(n_items), square)));
                assert!(in_map.is_err());
            }
            let mut seen = Vec::new();
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.imap(failing(n_items), square).for_each(|result| seen.push(result));
            }));
            assert!(caught.is_err());
            // What had been delivered before the input failed is right and in order.
            assert_eq!(seen, squares(0..seen.len() as u64));
        }
        drop(std::panic::take_hook());
        assert_eq!(pool.apply(6, square), Ok(36));
    });
}

#[test]
fn a_result_is_waited_for_also_with_a_timeout() {
    checked(|| {
        let (pool, go) = (Pool::new(1).unwrap(), Event::new().unwrap());
        let task = pool.apply_async(go.clone(), |go| go.wait()).unwrap();
        let start = Instant::now();
        let task = task.get_timeout(SHORT).expect_err("it waits");
        assert!(start.elapsed() >= SHORT);
        go.set();
        assert_eq!(task.get(), Ok(()));
    });
}

#[test]
fn imap_gives_results_in_order_and_imap_unordered_in_any() {
    checked(|| {
        let pool = Pool::new(4).unwrap();
        assert_eq!(pool.imap(0..200, square).collect::<Vec<_>>(), squares(0..200));
        let mut any: Vec<u64> = pool.imap_unordered(0..200, square).map(Result::unwrap).collect();
        any.sort_unstable();
        assert_eq!(any, (0..200).map(square).collect::<Vec<_>>());
    });
}

#[test]
fn input_is_read_a_bounded_number_ahead() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let n_read = std::cell::Cell::new(0);
        let mut results = pool.imap((0..1_000_000).inspect(|_| n_read.set(n_read.get() + 1)), square);
        for number in 0..100 {
            assert_eq!(results.next(), Some(Ok(square(number))));
            assert!(n_read.get() - number < 10_000, "{} items were read ahead", n_read.get() - number);
        }
    });
}

#[test]
fn a_pool_has_as_many_workers_as_were_asked_for() {
    checked(|| {
        assert_eq!(Pool::new(0).map(drop).unwrap_err(), PoolError::NoWorkers);
        let pool = Pool::new(3).unwrap();
        assert_eq!(pool.workers().len(), 3);
    });
}

#[test]
fn terminating_with_ten_thousand_waiting_tasks_is_quick() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let tasks: Vec<_> =
            (0..10_000).map(|_| pool.apply_async((), |()| -> () { sleep_for_ever() }).unwrap()).collect();
        let start = Stopwatch::start();
        pool.terminate();
        pool.join();
        assert!(start.elapsed() < Duration::from_secs(5));
        for task in tasks {
            let outcome: Result<(), TaskError> = task.get();
            assert_eq!(outcome, Err(TaskError::Broken(PoolBroken::Terminated)));
        }
    });
}

#[test]
fn a_closed_or_terminated_pool_takes_nothing() {
    checked(|| {
        let pool = Pool::new(1).unwrap();
        pool.close();
        assert_eq!(pool.apply_async(1, square).map(drop), Err(SubmitError::Closed));
        assert_eq!(pool.apply(1, square), Err(TaskError::Closed));
        pool.join();
        let pool = Pool::new(1).unwrap();
        pool.terminate();
        let terminated = PoolBroken::Terminated;
        assert_eq!(pool.apply_async(1, square).map(drop), Err(SubmitError::Broken(terminated)));
    });
}

#[test]
fn a_panic_tells_message_place_and_backtrace() {
    fn fails(number: u32) {
        assert_ne!(number, 123, "a message");
    }
    checked(|| {
        let pool = Pool::new(1).unwrap();
        let Err(TaskError::Panicked(report)) = pool.apply(123, fails) else { panic!("no report") };
        assert!(report.message().contains("a message"), "{report}");
        assert!(report.location().unwrap().contains("conformance/pool.rs:"), "{report}");
        assert!(report.backtrace().unwrap().contains("fails"), "{report}");
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    TooLarge { limit: u64 },
}

#[test]
fn errors_keep_their_types() {
    checked(|| {
        let pool = Pool::new(1).unwrap();
        let limited = |number| if number > 3 { Err(Refusal::TooLarge { limit: 3 }) } else { Ok(number) };
        assert_eq!(pool.map([1, 4], limited), [Ok(Ok(1)), Ok(Err(Refusal::TooLarge { limit: 3 }))]);
    });
}

#[test]
fn all_items_run_although_one_fails() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let runs = SharedSlice::<u64>::new(1).unwrap();
        let items = (0..23).map(|number| (number, runs.clone()));
        let outcomes = pool.map(items, |(number, runs): (u32, SharedSlice<u64>)| {
            runs.fetch_add(0, 1);
            if number == 0 { Err("x".repeat(1 << 20)) } else { Ok(()) }
        });
        assert_eq!((runs.load(0), outcomes.len()), (23, 23));
        assert_eq!(outcomes[0].as_ref().unwrap().as_ref().unwrap_err().len(), 1 << 20);
    });
}

#[test]
fn arguments_and_results_are_let_go_of() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let queue = Queue::<u8>::bounded(1).unwrap();
        for back in pool.map(vec![queue.clone(); 20], |queue| queue) {
            drop(back.unwrap());
        }
        // While the pool lives on, ours is the only handle again.
        wait_until("no other handle is left", || queue.try_get() == Err(brigade::TryGetError::Disconnected));
    });
}

#[test]
fn a_dropped_pool_leaves_nothing() {
    checked(|| {
        let pool = Pool::new(3).unwrap();
        drop(pool.apply_async((), |()| -> () { sleep_for_ever() }).unwrap());
        drop(pool);
        assert!(brigade::active_children().is_empty());
    });
}

#[test]
fn a_result_that_cannot_be_encoded_costs_no_worker() {
    checked(|| {
        let pool = Pool::new(2).unwrap();
        let mut before: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        for _ in 0..20 {
            let Err(TaskError::EncodeResult(cause)) = pool.apply((), |()| Odd(true)).map(drop) else {
                panic!("it came")
            };
            assert!(cause.to_string().contains("it is odd"), "{cause}");
        }
        let mut after: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        before.sort_unstable();
        after.sort_unstable();
        assert_eq!(before, after);
    });
}

fn own_pid(_: u32) -> u32 {
    std::process::id()
}

#[test]
fn workers_are_replaced_after_their_tasks() {
    checked(|| {
        let pool = Pool::builder().workers(3).max_tasks_per_worker(10).build().unwrap();
        let first: HashSet<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        let pids: Vec<u32> = pool.map(0..100, own_pid).into_iter().map(Result::unwrap).collect();
        for pid in &pids {
            assert!(pids.iter().filter(|other| *other == pid).count() <= 10);
        }
        wait_until("all were replaced", || pool.workers().iter().all(|worker| !first.contains(&worker.pid)));
    });
}

#[test]
fn workers_are_replaced_also_after_an_early_close() {
    checked(|| {
        let pool = Pool::builder().workers(3).max_tasks_per_worker(1).build().unwrap();
        let tasks: Vec<_> = (0..6).map(|number| pool.apply_async(number, square).unwrap()).collect();
        pool.close();
        pool.join();
        let results: Vec<_> = tasks.into_iter().map(brigade::Task::get).collect();
        assert_eq!(results, squares(0..6));
    });
}

#[test]
fn a_worker_must_be_allowed_one_task() {
    checked(|| {
        // A limit of no tasks is taken for one of one task, so that a pool always goes on.
        let pool = Pool::builder().workers(1).max_tasks_per_worker(0).build().unwrap();
        let pids: HashSet<u32> = pool.map(0..5, own_pid).into_iter().map(Result::unwrap).collect();
        assert_eq!(pids.len(), 5);
    });
}

#[test]
fn a_pool_in_a_static_ends_with_the_program() {
    static POOL: std::sync::OnceLock<Pool> = std::sync::OnceLock::new();
    checked(|| {
        let process = Process::builder().stderr(Stdio::Piped).spawn((), |()| {
            let pool = POOL.get_or_init(|| Pool::new(2).unwrap());
            pool.apply(7, square).unwrap()
        });
        let mut process = process.unwrap();
        let mut said = process.take_stderr().unwrap();
        assert_eq!(process.wait().code(), Some(0));
        assert_eq!(process.join(), Ok(49));
        assert_eq!(std::io::read_to_string(&mut said).unwrap(), "");
    });
}

#[test]
fn if_one_worker_cannot_start_none_is_left() {
    checked(|| {
        // A child that may open few more files than it has: some workers start, then one cannot.
        let process = Process::builder().rlimit(Resource::OpenFiles, 24, 24).spawn((), |()| {
            let refused = Pool::new(20).map(drop);
            (refused, brigade::active_children().len(), brigade::spawn(3, square).unwrap().join())
        });
        let (refused, n_left, after) = process.unwrap().join().unwrap();
        assert!(matches!(refused, Err(PoolError::Spawn(_))), "{refused:?}");
        assert_eq!((n_left, after), (0, Ok(9)));
    });
}

#[test]
fn the_initializer_runs_once_in_each_worker() {
    checked(|| {
        let runs = SharedSlice::<u64>::new(1).unwrap();
        let pool = Pool::builder().workers(3).initializer(runs.clone(), |runs: SharedSlice<u64>| {
            runs.fetch_add(0, 1);
        });
        let pool = pool.build().unwrap();
        assert_eq!(pool.map(0..50, square), squares(0..50));
        wait_until("all three have run it", || runs.load(0) == 3);
    });
}

#[test]
fn two_hundred_workers_map() {
    checked(|| {
        let retry = Retry::OnWorkerDeath { attempts: NonZeroU32::MIN };
        let pool = Pool::builder().workers(200).retry(retry).build().unwrap();
        assert_eq!(pool.map(0..1000, square), squares(0..1000));
    });
}
