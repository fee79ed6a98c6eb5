//! What locks and their kin promise: what Python's do, timeouts, and an answer for everybody when a process is killed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use brigade::{
    Event, Lock, LockTimeoutError, OverRelease, OwnerDied, Permit, Process, ReentrantLock, Semaphore, SharedSlice,
    TryLockError,
};

/// Far longer than anything below takes, far shorter than for ever.
const PATIENCE: Duration = Duration::from_secs(20);
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
    let before = Instant::now();
    victim.kill();
    let result = work();
    let took = before.elapsed();
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

mod lock {
    use super::*;

    #[test]
    fn one_at_a_time_holds_it() {
        let lock = Lock::new().unwrap();
        let guard = lock.lock().unwrap();
        assert!(lock.is_locked());
        assert_eq!(format!("{lock:?}"), "Lock { is_locked: true }");
        thread::scope(|scope| {
            let clone = lock.clone();
            scope.spawn(move || assert!(matches!(clone.try_lock(), Err(TryLockError::WouldBlock))));
        });
        assert!(matches!(timed_out(|timeout| lock.lock_timeout(timeout)), Err(LockTimeoutError::Timeout)));
        drop(guard);
        assert!(!lock.is_locked());
        drop(lock.try_lock().unwrap());
        drop(lock.lock_timeout(Duration::ZERO).unwrap());
    }

    #[test]
    fn threads_and_processes_count_without_loss() {
        let lock = Lock::new().unwrap();
        let count = SharedSlice::<u64>::new(1).unwrap();
        let add = |(lock, count): (Lock, SharedSlice<u64>)| {
            let add = || {
                for _ in 0..2000 {
                    let _guard = lock.lock().unwrap();
                    count.store(0, count.load(0) + 1);
                }
            };
            thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(add))));
        };
        let processes: Vec<Process<()>> =
            (0..2).map(|_| brigade::spawn((lock.clone(), count.clone()), add).unwrap()).collect();
        add((lock, count.clone()));
        processes.into_iter().for_each(|process| process.join().unwrap());
        assert_eq!(count.load(0), 3 * 2 * 2000);
    }

    #[test]
    fn a_panic_frees_it() {
        let lock = Lock::new().unwrap();
        let process: Process<()> = brigade::spawn(lock.clone(), |lock| {
            let _guard = lock.lock();
            panic!("on purpose");
        })
        .unwrap();
        assert!(process.join().is_err());
        assert!(lock.lock().is_ok());
    }

    #[test]
    fn a_killed_holder_is_told_of_once() {
        for _ in 0..N_KILLS {
            let (lock, held, waits) = (Lock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
            let holder: Process<()> = brigade::spawn((lock.clone(), held.clone()), |(lock, held)| {
                let _guard = lock.lock().unwrap();
                held.set();
                stay()
            })
            .unwrap();
            assert!(held.wait_timeout(PATIENCE));
            assert!(lock.is_locked());
            let waiter: Process<bool> = brigade::spawn((lock.clone(), waits.clone()), |(lock, waits)| {
                waits.set();
                lock.lock().is_err()
            })
            .unwrap();
            assert!(waits.wait_timeout(PATIENCE));
            let n_told = answered_after_kill(&holder, || {
                let told_here = lock.lock().is_err();
                u32::from(told_here) + u32::from(waiter.join().unwrap())
            });
            assert_eq!(n_told, 1);
            assert!(!lock.is_locked());
            assert!(lock.lock().is_ok());
        }
    }

    #[test]
    fn a_killed_holder_is_told_of_by_every_way_to_lock() {
        let killed_holder = || {
            let lock = Lock::new().unwrap();
            let holder = brigade::spawn(lock.clone(), |lock| {
                let _guard = lock.lock().unwrap();
                std::process::abort();
            });
            let holder: Process<()> = holder.unwrap();
            assert_eq!(holder.wait().signal(), Some(6));
            assert!(!lock.is_locked());
            lock
        };
        assert!(matches!(killed_holder().lock(), Err(OwnerDied(_))));
        assert!(matches!(killed_holder().try_lock(), Err(TryLockError::OwnerDied(_))));
        assert!(matches!(killed_holder().lock_timeout(Duration::ZERO), Err(LockTimeoutError::OwnerDied(_))));
    }

    #[test]
    fn a_killed_waiter_is_forgotten() {
        for _ in 0..N_KILLS {
            let (lock, waits) = (Lock::new().unwrap(), Event::new().unwrap());
            let guard = lock.lock().unwrap();
            let waiter: Process<()> = brigade::spawn((lock.clone(), waits.clone()), |(lock, waits)| {
                waits.set();
                drop(lock.lock());
                stay()
            })
            .unwrap();
            assert!(waits.wait_timeout(PATIENCE));
            answered_after_kill(&waiter, || {
                drop(guard);
                drop(lock.lock().unwrap());
            });
        }
    }

    #[test]
    fn it_refuses_to_be_written_by_another_format() {
        let error = serde_json::to_string(&Lock::new().unwrap()).unwrap_err().to_string();
        assert!(error.contains("brigade::sync::lock::Lock"), "{error}");
    }

    #[test]
    fn a_thousand_locks_cost_no_descriptor() {
        let n_open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let _first = Lock::new().unwrap();
        let before = n_open();
        let locks: Vec<Lock> = (0..1000).map(|_| Lock::new().unwrap()).collect();
        assert!(n_open() <= before + 16);
        drop(locks);
    }
}

mod reentrant_lock {
    use super::*;

    #[test]
    fn its_thread_takes_it_three_times_and_others_wait_for_the_third_release() {
        let lock = ReentrantLock::new().unwrap();
        let is_free_elsewhere = || thread::scope(|scope| scope.spawn(|| lock.try_lock().is_ok()).join().unwrap());
        let first = lock.lock().unwrap();
        let second = lock.try_lock().unwrap();
        let third = lock.lock_timeout(Duration::ZERO).unwrap();
        assert_eq!(format!("{lock:?}"), "ReentrantLock { is_locked: true, depth_here: 3 }");
        for guard in [first, third, second] {
            assert!(!is_free_elsewhere());
            drop(guard);
        }
        assert!(!lock.is_locked());
        assert!(is_free_elsewhere());
    }

    #[test]
    fn a_killed_holder_is_told_of_once_however_deep_it_was() {
        for _ in 0..N_KILLS {
            let (lock, held) = (ReentrantLock::new().unwrap(), Event::new().unwrap());
            let holder: Process<()> = brigade::spawn((lock.clone(), held.clone()), |(lock, held)| {
                let _guards = [lock.lock().unwrap(), lock.lock().unwrap()];
                held.set();
                stay()
            })
            .unwrap();
            assert!(held.wait_timeout(PATIENCE));
            assert!(matches!(timed_out(|timeout| lock.lock_timeout(timeout)), Err(LockTimeoutError::Timeout)));
            let guard = answered_after_kill(&holder, || lock.lock().unwrap_err().into_inner());
            // Not the depth that the dead one had.
            drop(guard);
            assert!(!lock.is_locked());
            assert!(lock.lock().is_ok());
        }
    }
}

mod semaphore {
    use super::*;

    #[test]
    fn permits_go_and_come_back_and_no_more_than_were_taken() {
        let semaphore = Semaphore::new(2).unwrap();
        let first = semaphore.acquire();
        let second = semaphore.acquire_timeout(Duration::ZERO).unwrap();
        assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 2, available: 0 }");
        let before = Instant::now();
        assert!(semaphore.try_acquire().is_none());
        assert!(before.elapsed() < SHORT);
        assert!(timed_out(|timeout| semaphore.acquire_timeout(timeout)).is_none());
        // What guards hold cannot be released behind their backs.
        assert_eq!(semaphore.release(), Err(OverRelease));
        drop(first);
        assert_eq!(semaphore.available(), 1);
        second.keep();
        assert_eq!(semaphore.available(), 1);
        assert_eq!(semaphore.release(), Ok(()));
        assert_eq!(semaphore.release(), Err(OverRelease));
        assert_eq!(semaphore.available(), 2);
    }

    #[test]
    fn a_semaphore_without_permits_is_refused() {
        assert_eq!(Semaphore::new(0).unwrap_err().errno(), Some(22));
        assert_eq!(Semaphore::new(1 << 32).unwrap_err().errno(), Some(22));
    }

    #[test]
    fn no_more_are_inside_than_there_are_permits() {
        let semaphore = Semaphore::new(3).unwrap();
        let inside = SharedSlice::<u64>::new(1).unwrap();
        let enter = |(semaphore, inside): (Semaphore, SharedSlice<u64>)| {
            let enter = || {
                for _ in 0..500 {
                    let _permit = semaphore.acquire();
                    assert!(inside.fetch_add(0, 1) < 3);
                    thread::yield_now();
                    inside.fetch_add(0, u64::MAX);
                }
            };
            thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(enter))));
        };
        let process: Process<()> = brigade::spawn((semaphore.clone(), inside.clone()), enter).unwrap();
        enter((semaphore.clone(), inside));
        process.join().unwrap();
        assert_eq!(semaphore.available(), 3);
    }

    #[test]
    fn permits_released_together_reach_all_who_wait() {
        let semaphore = Semaphore::new(3).unwrap();
        let permits: Vec<Permit<'_>> = (0..3).map(|_| semaphore.acquire()).collect();
        let n_through = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let permit = semaphore.acquire_timeout(PATIENCE).unwrap();
                    n_through.fetch_add(1, Ordering::Relaxed);
                    // Nobody gives one back until all have one.
                    while n_through.load(Ordering::Relaxed) < 3 {
                        thread::yield_now();
                    }
                    drop(permit);
                });
            }
            drop(permits);
        });
    }

    #[test]
    fn a_killed_holder_gives_its_permits_back() {
        for _ in 0..N_KILLS {
            let (semaphore, held, waits) = (Semaphore::new(3).unwrap(), Event::new().unwrap(), Event::new().unwrap());
            let holder: Process<()> = brigade::spawn((semaphore.clone(), held.clone()), |(semaphore, held)| {
                let _permit = semaphore.acquire();
                semaphore.acquire().keep();
                held.set();
                stay()
            })
            .unwrap();
            assert!(held.wait_timeout(PATIENCE));
            let _own = semaphore.acquire();
            assert_eq!(semaphore.available(), 0);
            let waiter: Process<bool> = brigade::spawn((semaphore.clone(), waits.clone()), |(semaphore, waits)| {
                waits.set();
                semaphore.acquire_timeout(PATIENCE).is_some()
            })
            .unwrap();
            assert!(waits.wait_timeout(PATIENCE));
            answered_after_kill(&holder, || {
                drop(semaphore.acquire());
                assert!(waiter.join().unwrap());
            });
            assert_eq!(semaphore.available(), 2);
        }
    }

    #[test]
    fn a_killed_waiter_is_forgotten() {
        for _ in 0..N_KILLS {
            let (semaphore, waits) = (Semaphore::new(1).unwrap(), Event::new().unwrap());
            let permit = semaphore.acquire();
            let waiter: Process<()> = brigade::spawn((semaphore.clone(), waits.clone()), |(semaphore, waits)| {
                waits.set();
                let _permit = semaphore.acquire();
                stay()
            })
            .unwrap();
            assert!(waits.wait_timeout(PATIENCE));
            answered_after_kill(&waiter, || {
                drop(permit);
                drop(semaphore.acquire());
            });
            assert_eq!(semaphore.available(), 1);
        }
    }
}

mod event {
    use super::*;

    #[test]
    fn it_is_waited_for_set_and_cleared() {
        let event = Event::new().unwrap();
        assert!(!event.wait_timeout(Duration::ZERO));
        assert!(!timed_out(|timeout| event.wait_timeout(timeout)));
        assert_eq!(format!("{event:?}"), "Event { is_set: false }");
        let process: Process<()> = brigade::spawn(event.clone(), |event| event.set()).unwrap();
        event.wait();
        assert_eq!(format!("{event:?}"), "Event { is_set: true }");
        assert!(event.wait_timeout(Duration::ZERO));
        process.join().unwrap();
        event.clear();
        assert!(!event.is_set());
        assert!(!event.wait_timeout(Duration::ZERO));
    }

    #[test]
    fn a_wait_ends_even_if_the_event_is_cleared_at_once() {
        let (event, waits, through) = (Event::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
        thread::scope(|scope| {
            for _ in 0..50 {
                waits.clear();
                let waiter = scope.spawn(|| {
                    waits.set();
                    event.wait();
                    through.set();
                });
                waits.wait();
                // The waiter may not have begun yet when the event is set the first time.
                while !through.is_set() {
                    event.set();
                    event.clear();
                    thread::yield_now();
                }
                waiter.join().unwrap();
                through.clear();
            }
        });
    }

    #[test]
    fn a_killed_waiter_disturbs_nobody() {
        for _ in 0..N_KILLS {
            let (event, waits) = (Event::new().unwrap(), Event::new().unwrap());
            let waiter = |(event, waits): (Event, Event)| {
                waits.set();
                event.wait();
            };
            let victim: Process<()> = brigade::spawn((event.clone(), waits.clone()), waiter).unwrap();
            assert!(waits.wait_timeout(PATIENCE));
            waits.clear();
            let other: Process<()> = brigade::spawn((event.clone(), waits.clone()), waiter).unwrap();
            assert!(waits.wait_timeout(PATIENCE));
            answered_after_kill(&victim, || {
                event.set();
                other.join().unwrap();
            });
        }
    }
}
