//! One at a time, and the death of the one.

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
fn who_gives_it_up_wakes_who_waits() {
    let lock = Lock::new().unwrap();
    assert_wakes(|| lock.lock().unwrap(), || drop(lock.lock().unwrap()), drop);
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
