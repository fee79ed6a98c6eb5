//! What a manager promises of locks and their kin that it holds: they do what the plain ones do, and end with the manager.

use std::time::Duration;

use brigade::{
    LockTimeoutError, ManagedBarrier, ManagedCondition, ManagedEvent, ManagedLock, ManagedReentrantLock, ManagedRwLock,
    ManagedSemaphore, Manager, ManagerDied, OwnerDied, Queue, TryLockError,
};
use torture::facts::Stopwatch;

/// Longest time until somebody hears of a death.
const LIMIT: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(10);

#[test]
fn a_managed_lock_excludes() {
    let manager = Manager::start().unwrap();
    let (lock, counter) = (manager.lock().unwrap(), brigade::SharedSlice::<u64>::new(1).unwrap());
    let clients: Vec<_> = (0..3)
        .map(|_| {
            brigade::spawn((lock.clone(), counter.clone()), |(lock, counter)| {
                for _ in 0..300 {
                    let _guard = lock.lock().unwrap().unwrap();
                    counter.store(0, counter.load(0) + 1);
                }
            })
            .unwrap()
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(counter.load(0), 900);
    let _guard = lock.lock().unwrap().unwrap();
    assert_eq!(lock.is_locked(), Ok(true));
    assert!(matches!(lock.try_lock(), Ok(Err(TryLockError::WouldBlock))));
    assert!(matches!(lock.lock_timeout(SOON), Ok(Err(LockTimeoutError::Timeout))));
}

#[test]
fn all_of_them_carry_state_to_another_process() {
    let manager = Manager::start().unwrap();
    let lock = manager.lock().unwrap();
    let reentrant = manager.reentrant_lock().unwrap();
    let rw_lock = manager.rwlock().unwrap();
    let semaphore = manager.semaphore(2).unwrap();
    let event = manager.event().unwrap();
    let condition = manager.condition().unwrap();
    let barrier = manager.barrier(2).unwrap();
    let other = brigade::spawn(
        (
            lock.clone(),
            reentrant.clone(),
            rw_lock.clone(),
            semaphore.clone(),
            event.clone(),
            condition.clone(),
            barrier.clone(),
        ),
        |(lock, reentrant, rw_lock, semaphore, event, condition, barrier): Everything| {
            let _outer = reentrant.lock().unwrap().unwrap();
            let _inner = reentrant.try_lock().unwrap().unwrap();
            let _reader = rw_lock.read().unwrap().unwrap();
            let _permit = semaphore.acquire().unwrap();
            event.set().unwrap();
            barrier.wait().unwrap().unwrap();
            // The other has the lock until it waits for the condition.
            drop(lock.lock().unwrap().unwrap());
            assert_eq!(condition.notify_one(), Ok(true));
            barrier.wait().unwrap().unwrap();
        },
    )
    .unwrap();
    event.wait().unwrap();
    assert_eq!((event.is_set(), event.clear()), (Ok(true), Ok(())));
    assert_eq!(event.wait_timeout(SOON), Ok(false));
    assert!(matches!(reentrant.try_lock(), Ok(Err(TryLockError::WouldBlock))));
    assert!(matches!(reentrant.lock_timeout(SOON), Ok(Err(LockTimeoutError::Timeout))));
    assert!(matches!(rw_lock.try_write(), Ok(Err(TryLockError::WouldBlock))));
    assert!(matches!(rw_lock.write_timeout(SOON), Ok(Err(LockTimeoutError::Timeout))));
    drop(rw_lock.try_read().unwrap().unwrap());
    drop(rw_lock.read_timeout(SOON).unwrap().unwrap());
    assert_eq!((rw_lock.is_locked(), rw_lock.is_write_locked()), (Ok(true), Ok(false)));
    assert_eq!((semaphore.permits(), semaphore.available()), (Ok(2), Ok(1)));
    semaphore.try_acquire().unwrap().unwrap().keep();
    assert!(semaphore.acquire_timeout(SOON).unwrap().is_none());
    assert!(semaphore.release().unwrap().is_ok() && semaphore.release().unwrap().is_err());
    assert_eq!(barrier.parties(), Ok(2));
    let guard = lock.lock().unwrap().unwrap();
    barrier.wait().unwrap().unwrap();
    let (guard, notified) = condition.wait_timeout(guard, Duration::from_secs(60)).unwrap().unwrap();
    assert!(notified);
    let (guard, notified) = condition.wait_timeout(guard, SOON).unwrap().unwrap();
    assert!(!notified);
    drop(guard);
    barrier.wait().unwrap().unwrap();
    other.join().unwrap();
    drop(rw_lock.write().unwrap().unwrap());
    assert_eq!((barrier.is_broken(), barrier.n_waiting()), (Ok(false), Ok(0)));
}

type Everything = (
    ManagedLock,
    ManagedReentrantLock,
    ManagedRwLock,
    ManagedSemaphore,
    ManagedEvent,
    ManagedCondition,
    ManagedBarrier,
);

/// Starts waiting for something in a thread, kills the manager, and returns what the wait gave, if it came in time.
fn told_of_death<H, R>(make: impl Fn(&Manager) -> H, wait: impl Fn(&H) -> R + Send + Sync) -> R
where
    H: Sync,
    R: Send,
{
    let manager = Manager::start().expect("there is a process to be had");
    let object = make(&manager);
    std::thread::scope(|scope| {
        let (started, begun) = std::sync::mpsc::channel();
        let waiting = scope.spawn({
            let (object, wait) = (&object, &wait);
            move || {
                started.send(()).expect("the test waits for it");
                wait(object)
            }
        });
        begun.recv().expect("the thread begins");
        let watch = Stopwatch::start();
        let pid = rustix::process::Pid::from_raw(manager.pid() as i32).expect("a process has a number");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("nobody has waited for it");
        let outcome = waiting.join().expect("the wait does not panic");
        assert!(watch.elapsed() < LIMIT, "{:?}", watch.elapsed());
        outcome
    })
}

#[test]
fn every_wait_ends_within_a_second_of_the_managers_death() {
    let taken_lock = |manager: &Manager| {
        let lock = manager.lock().unwrap();
        std::mem::forget(lock.lock().unwrap().unwrap());
        lock
    };
    let taken_rw_lock = |manager: &Manager| {
        let lock = manager.rwlock().unwrap();
        std::mem::forget(lock.write().unwrap().unwrap());
        lock
    };
    assert_eq!(told_of_death(taken_lock, |lock| lock.lock().map(|_| ())), Err(ManagerDied));
    assert_eq!(told_of_death(taken_lock, |lock| lock.lock_timeout(LIMIT * 60).map(|_| ())), Err(ManagerDied));
    assert_eq!(told_of_death(taken_rw_lock, |lock| lock.read().map(|_| ())), Err(ManagerDied));
    assert_eq!(told_of_death(taken_rw_lock, |lock| lock.write().map(|_| ())), Err(ManagerDied));
    assert_eq!(told_of_death(|manager| manager.event().unwrap(), ManagedEvent::wait), Err(ManagerDied));
    let taken_semaphore = |manager: &Manager| {
        let semaphore = manager.semaphore(1).unwrap();
        semaphore.acquire().unwrap().keep();
        semaphore
    };
    assert_eq!(told_of_death(taken_semaphore, |semaphore| semaphore.acquire().map(|_| ())), Err(ManagerDied));
    assert_eq!(told_of_death(|manager| manager.barrier(2).unwrap(), ManagedBarrier::wait), Err(ManagerDied));
    let lock_and_condition = |manager: &Manager| (manager.lock().unwrap(), manager.condition().unwrap());
    let wait = |(lock, condition): &(ManagedLock, ManagedCondition)| {
        condition.wait_for(lock.lock()?.unwrap_or_else(OwnerDied::into_inner), || false).map(|_| ())
    };
    assert_eq!(told_of_death(lock_and_condition, wait), Err(ManagerDied));
}

#[test]
fn a_managed_lock_outlives_every_handle_but_those_that_travel() {
    let manager = Manager::start().unwrap();
    let letters = Queue::<ManagedLock>::bounded(1).unwrap();
    letters.put(manager.lock().unwrap()).unwrap();
    let lock = letters.get().unwrap();
    assert!(lock.lock().unwrap().is_ok());
}
