//! Synchronisation between processes, as Python's tests use it, and after deaths.

use std::time::{Duration, Instant};

use brigade::{
    Barrier, BarrierBroken, BarrierError, Condition, Event, Lock, LockTimeoutError, OwnerDied, Process, Queue,
    ReentrantLock, RwLock, Semaphore, SharedSlice, TryLockError,
};

use torture::facts::{Stopwatch, assert_takes_less_than, wait_until, wait_within};

use crate::{checked, sleep_for_ever};

const SHORT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// A process that does something, says so, and then sleeps until it is killed.
fn sleeper<A, F>(args: A, function: F) -> Process<()>
where
    A: serde::Serialize + serde::de::DeserializeOwned,
    F: Fn(A, Queue<()>) + Copy + 'static,
{
    let ready = Queue::bounded(1).unwrap();
    // It captures a function of size zero, so it is of size zero itself.
    let process = brigade::spawn((args, ready.clone()), move |(args, ready)| -> () { function(args, ready) });
    ready.get().unwrap();
    process.unwrap()
}

/// Says that this process has got so far, and sleeps until it is killed.
fn say_and_sleep(ready: &Queue<()>) -> ! {
    ready.put(()).unwrap();
    sleep_for_ever()
}

fn kill<R>(process: Process<R>) {
    process.kill();
    process.wait();
}

#[test]
fn a_held_lock_is_refused_at_once_and_free_after_its_guard() {
    checked(|| {
        let lock = Lock::new().unwrap();
        {
            let _guard = lock.lock().unwrap();
            assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
            let start = Instant::now();
            assert!(matches!(lock.lock_timeout(SHORT), Err(LockTimeoutError::Timeout)));
            assert!(start.elapsed() >= SHORT);
        }
        assert!(lock.try_lock().is_ok());
    });
}

#[test]
fn the_next_locker_after_a_killed_owner_is_told_once() {
    checked(|| {
        let lock = Lock::new().unwrap();
        let holder = sleeper(lock.clone(), |lock, ready| {
            let _guard = lock.lock();
            say_and_sleep(&ready)
        });
        let start = Stopwatch::start();
        kill(holder);
        let OwnerDied(guard) = lock.lock().expect_err("its owner was killed");
        assert!(start.elapsed() < SECOND);
        drop(guard);
        assert!(lock.lock().is_ok());
    });
}

#[test]
fn a_reentrant_lock_is_taken_three_times_by_one_thread() {
    checked(|| {
        let lock = ReentrantLock::new().unwrap();
        let guards = [lock.lock().unwrap(), lock.lock().unwrap(), lock.lock().unwrap()];
        let is_free = |lock: &ReentrantLock| {
            brigade::spawn(lock.clone(), |lock| lock.try_lock().is_ok()).unwrap().join().unwrap()
        };
        for guard in guards {
            assert!(!is_free(&lock));
            drop(guard);
        }
        assert!(is_free(&lock));
    });
}

#[test]
fn whether_a_lock_is_held_can_be_asked() {
    checked(|| {
        let lock = Lock::new().unwrap();
        assert!(!lock.is_locked());
        let holder = sleeper(lock.clone(), |lock, ready| {
            let _guard = lock.lock();
            say_and_sleep(&ready)
        });
        assert!(lock.is_locked());
        kill(holder);
        drop(lock.lock());
        assert!(!lock.is_locked());
    });
}

#[test]
fn permits_run_out_and_come_back_and_one_too_many_is_an_error() {
    checked(|| {
        let semaphore = Semaphore::new(2).unwrap();
        assert_eq!((semaphore.permits(), semaphore.available()), (2, 2));
        let (first, second) = (semaphore.acquire(), semaphore.try_acquire().unwrap());
        assert!(semaphore.try_acquire().is_none());
        drop(first);
        assert_eq!(semaphore.available(), 1);
        second.keep();
        semaphore.release().unwrap();
        assert_eq!(semaphore.available(), 2);
        assert!(semaphore.release().is_err());
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn permits_run_out_at_once_or_after_the_timeout() {
    checked(|| {
        let semaphore = Semaphore::new(1).unwrap();
        let _permit = semaphore.acquire();
        assert_takes_less_than(SHORT, || assert!(semaphore.try_acquire().is_none()));
        let start = Instant::now();
        assert!(semaphore.acquire_timeout(SHORT).is_none());
        assert!(start.elapsed() >= SHORT);
    });
}

type Waiting = (Lock, Condition, SharedSlice<u64>);

/// Waits once for the condition, and counts itself as woken.
fn wait_once((lock, condition, woken): Waiting) {
    let guard = lock.lock().unwrap();
    let guard = condition.wait(guard).unwrap();
    woken.fetch_add(0, 1);
    drop(guard);
}

fn waiting() -> Waiting {
    (Lock::new().unwrap(), Condition::new().unwrap(), SharedSlice::new(1).unwrap())
}

/// So many processes that all wait.
fn waiters(n_waiters: usize, waiting: &Waiting) -> Vec<Process<()>> {
    let start = |_| brigade::spawn(waiting.clone(), wait_once).unwrap();
    let processes = (0..n_waiters).map(start).collect();
    wait_until("all wait", || waiting.1.n_waiting() == n_waiters);
    processes
}

#[test]
fn a_notification_wakes_exactly_one_waiter() {
    checked(|| {
        let waiting = waiting();
        let mut processes = waiters(1, &waiting);
        let thread = std::thread::spawn({
            let waiting = waiting.clone();
            move || wait_once(waiting)
        });
        wait_until("both wait", || waiting.1.n_waiting() == 2);
        for n_woken in 1..=2 {
            assert!(waiting.1.notify_one());
            wait_until("one is awake", || waiting.2.load(0) == n_woken);
            // Nobody else is: the other one is still registered, or there is none.
            assert_eq!(waiting.1.n_waiting() as u64, 2 - n_woken);
        }
        assert!(!waiting.1.notify_one());
        thread.join().unwrap();
        processes.remove(0).join().unwrap();
    });
}

#[test]
fn as_many_waiters_wake_as_were_notified() {
    checked(|| {
        let waiting = waiting();
        // Those who gave up leave nothing behind.
        let (_guard, is_notified) = waiting.1.wait_timeout(waiting.0.lock().unwrap(), SHORT).unwrap();
        assert!(!is_notified && waiting.1.n_waiting() == 0);
        drop(_guard);
        let processes = waiters(6, &waiting);
        assert_eq!(waiting.1.notify(2), 2);
        wait_until("two are awake", || waiting.2.load(0) == 2);
        assert_eq!(waiting.1.n_waiting(), 4);
        assert_eq!((waiting.1.notify(4), waiting.1.notify(3)), (4, 0));
        processes.into_iter().for_each(|process| process.join().unwrap());
        let processes = waiters(6, &waiting);
        assert_eq!(waiting.1.notify_all(), 6);
        processes.into_iter().for_each(|process| process.join().unwrap());
        assert_eq!((waiting.2.load(0), waiting.1.n_waiting()), (12, 0));
    });
}

#[test]
fn waiting_for_a_condition_tells_whether_it_timed_out() {
    checked(|| {
        let (lock, condition, _) = waiting();
        let start = Instant::now();
        let (guard, is_notified) = condition.wait_timeout(lock.lock().unwrap(), SHORT).unwrap();
        assert!(!is_notified && start.elapsed() >= SHORT);
        drop(guard);
        let process = brigade::spawn((lock.clone(), condition.clone()), |(lock, condition)| {
            let (_guard, is_notified) = condition.wait_timeout(lock.lock().unwrap(), Duration::from_secs(30)).unwrap();
            is_notified
        });
        wait_until("it waits", || condition.n_waiting() == 1);
        condition.notify_one();
        assert!(process.unwrap().join().unwrap());
    });
}

#[test]
fn a_predicate_is_waited_for_across_processes() {
    checked(|| {
        let (lock, condition, value) = waiting();
        let process = brigade::spawn((lock.clone(), condition.clone(), value.clone()), |(lock, condition, value)| {
            let guard = condition.wait_for(lock.lock().unwrap(), || value.load(0) == 4).unwrap();
            drop(guard);
            value.load(0)
        });
        for _ in 0..4 {
            let guard = lock.lock().unwrap();
            value.fetch_add(0, 1);
            drop(guard);
            condition.notify_one();
        }
        assert_eq!(process.unwrap().join(), Ok(4));
        let start = Instant::now();
        let (_guard, is_so) = condition.wait_for_timeout(lock.lock().unwrap(), SHORT, || value.load(0) == 5).unwrap();
        assert!(!is_so && start.elapsed() >= SHORT);
    });
}

#[test]
fn an_event_set_by_a_child_wakes_the_parent() {
    checked(|| {
        let event = Event::new().unwrap();
        assert_takes_less_than(SHORT, || assert!(!event.wait_timeout(Duration::ZERO)));
        let start = Instant::now();
        assert!(!event.wait_timeout(SHORT) && start.elapsed() >= SHORT);
        event.set();
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
        event.clear();
        assert!(!event.is_set());
        let process = brigade::spawn(event.clone(), |event| event.set());
        event.wait();
        process.unwrap().join().unwrap();
    });
}

#[test]
fn what_is_shown_of_an_event_tells_whether_it_is_set() {
    checked(|| {
        let event = Event::new().unwrap();
        let unset = format!("{event:?}");
        event.set();
        let set = format!("{event:?}");
        assert!(unset.contains("false") && set.contains("true"), "{unset} {set}");
    });
}

/// Runs the same function in so many processes, this one included, and gives what each returned.
fn in_parties<A, R, F>(n_parties: usize, args: &A, function: F) -> Vec<R>
where
    A: Clone + serde::Serialize + serde::de::DeserializeOwned,
    R: serde::Serialize + serde::de::DeserializeOwned,
    F: Fn(A) -> R + Copy + 'static,
{
    let others: Vec<_> = (1..n_parties).map(|_| brigade::spawn(args.clone(), function).unwrap()).collect();
    let mut all = vec![function(args.clone())];
    all.extend(others.into_iter().map(|process| process.join().unwrap()));
    all
}

fn keep_step((barrier, counts, n_rounds): (Barrier, SharedSlice<u64>, u64)) {
    let n_parties = barrier.parties() as u64;
    for round in 0..n_rounds {
        counts.fetch_add(0, 1);
        barrier.wait().unwrap();
        // All have counted this round, and at most all the next one.
        let count = counts.load(0);
        assert!(count >= (round + 1) * n_parties && count <= (round + 2) * n_parties, "{count} in round {round}");
    }
}

#[test]
fn parties_pass_a_barrier_in_lock_step() {
    checked(|| {
        for n_rounds in [1, 10] {
            let barrier = Barrier::new(5).unwrap();
            let counts = SharedSlice::new(1).unwrap();
            in_parties(5, &(barrier.clone(), counts, n_rounds), keep_step);
            assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
        }
    });
}

#[test]
fn exactly_one_party_has_the_index_zero() {
    checked(|| {
        let mut places = in_parties(5, &Barrier::new(5).unwrap(), |barrier| barrier.wait().unwrap());
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn the_action_of_a_barrier_runs_once_for_each_passing() {
    checked(|| {
        let (barrier, runs) = (Barrier::new(5).unwrap(), SharedSlice::<u64>::new(1).unwrap());
        let seen = in_parties(5, &(barrier, runs.clone()), |(barrier, runs)| {
            barrier
                .wait_with(|| {
                    runs.fetch_add(0, 1);
                })
                .unwrap();
            runs.load(0)
        });
        assert_eq!((seen, runs.load(0)), (vec![1; 5], 1));
    });
}

#[test]
fn an_aborted_barrier_is_broken_for_all() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let others: Vec<_> =
            (0..2).map(|_| brigade::spawn(barrier.clone(), |barrier| barrier.wait()).unwrap()).collect();
        wait_until("both wait", || barrier.n_waiting() == 2);
        barrier.abort();
        for other in others {
            assert_eq!(other.join().unwrap(), Err(BarrierError::Broken(BarrierBroken::Aborted)));
        }
        assert!(barrier.is_broken() && barrier.wait().is_err());
    });
}

#[test]
fn a_killed_party_breaks_the_barrier() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let victim = brigade::spawn(barrier.clone(), |barrier: Barrier| barrier.wait().is_ok()).unwrap();
        let other = brigade::spawn(barrier.clone(), |barrier| barrier.wait()).unwrap();
        wait_until("both wait", || barrier.n_waiting() == 2);
        let start = Stopwatch::start();
        kill(victim);
        assert_eq!(other.join().unwrap(), Err(BarrierError::Broken(BarrierBroken::PartyDied)));
        assert!(start.elapsed() < SECOND && barrier.wait().is_err());
    });
}

#[test]
fn a_reset_frees_the_waiters_and_the_barrier_is_usable_again() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let others: Vec<_> =
            (0..2).map(|_| brigade::spawn(barrier.clone(), |barrier| barrier.wait()).unwrap()).collect();
        wait_until("both wait", || barrier.n_waiting() == 2);
        barrier.reset();
        assert!(others.into_iter().all(|other| other.join().unwrap().is_err()));
        assert_eq!(in_parties(3, &barrier, |barrier| barrier.wait().is_ok()), [true; 3]);
        barrier.abort();
        assert!(barrier.wait().is_err());
        barrier.reset();
        assert_eq!(in_parties(3, &barrier, |barrier| barrier.wait().is_ok()), [true; 3]);
    });
}

#[test]
fn a_late_party_breaks_the_barrier_for_all() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let other = brigade::spawn(barrier.clone(), |barrier| barrier.wait()).unwrap();
        wait_until("it waits", || barrier.n_waiting() == 1);
        let late = Err(BarrierError::Broken(BarrierBroken::TimedOut));
        assert_eq!(barrier.wait_timeout(SHORT), late);
        assert_eq!((other.join().unwrap(), barrier.wait()), (late, late));
        let impatient = Barrier::with_timeout(2, SHORT).unwrap();
        let start = Instant::now();
        assert_eq!(impatient.wait(), late);
        assert!(start.elapsed() >= SHORT);
    });
}

#[test]
fn a_barrier_of_one_never_waits() {
    checked(|| {
        let barrier = Barrier::new(1).unwrap();
        assert_eq!((barrier.wait(), barrier.wait()), (Ok(0), Ok(0)));
    });
}

#[test]
fn a_thousand_rounds_of_five_keep_step() {
    checked(|| {
        let all = (Barrier::new(5).unwrap(), SharedSlice::new(1).unwrap(), 1000);
        in_parties(5, &all, keep_step);
        assert_eq!(all.1.load(0), 5000);
    });
}

#[test]
fn killed_waiters_never_hold_up_a_notification() {
    checked(|| {
        for _ in 0..5 {
            let (lock, condition, _) = waiting();
            let (event, semaphore) = (Event::new().unwrap(), Semaphore::new(1).unwrap());
            let permit = semaphore.acquire();
            let victims = [
                sleeper((lock.clone(), condition.clone()), |(lock, condition), ready| {
                    ready.put(()).unwrap();
                    drop(condition.wait(lock.lock().unwrap()));
                }),
                sleeper(event.clone(), |event, ready| {
                    ready.put(()).unwrap();
                    event.wait();
                }),
                sleeper(semaphore.clone(), |semaphore, ready| {
                    ready.put(()).unwrap();
                    drop(semaphore.acquire());
                }),
            ];
            wait_until("one waits for the condition", || condition.n_waiting() == 1);
            victims.into_iter().for_each(kill);
            let start = Stopwatch::start();
            condition.notify_all();
            event.set();
            drop(permit);
            assert!(lock.lock().is_ok() && event.wait_timeout(SECOND) && semaphore.acquire_timeout(SECOND).is_some());
            assert!(start.elapsed() < SECOND);
        }
    });
}

#[test]
fn a_killed_holders_permit_comes_back() {
    checked(|| {
        let semaphore = Semaphore::new(1).unwrap();
        let holder = sleeper(semaphore.clone(), |semaphore, ready| {
            let _permit = semaphore.acquire();
            say_and_sleep(&ready)
        });
        assert!(semaphore.try_acquire().is_none());
        kill(holder);
        assert!(semaphore.acquire_timeout(SECOND).is_some());
    });
}

#[test]
fn a_killed_reader_does_not_hold_up_a_writer() {
    checked(|| {
        let lock = RwLock::new().unwrap();
        let reader = sleeper(lock.clone(), |lock, ready| {
            let _guard = lock.read();
            say_and_sleep(&ready)
        });
        assert!(lock.try_read().is_ok());
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        kill(reader);
        wait_within(SECOND, "a writer gets in", || lock.try_write().is_ok());
        let writer = sleeper(lock.clone(), |lock, ready| {
            let _guard = lock.write();
            say_and_sleep(&ready)
        });
        kill(writer);
        assert!(lock.read().is_err());
    });
}
