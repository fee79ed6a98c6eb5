//! Permits, who holds them, and how they come back from the dead.

use super::*;

#[test]
fn permits_go_and_come_back_and_no_more_than_were_taken() {
    let semaphore = Semaphore::new(2).unwrap();
    let first = semaphore.acquire();
    let second = semaphore.acquire_timeout(Duration::ZERO).unwrap();
    assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 2, available: 0 }");
    assert_takes_less_than(SHORT, || assert!(semaphore.try_acquire().is_none()));
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
fn a_permit_given_back_wakes_who_waits() {
    let semaphore = Semaphore::new(1).unwrap();
    assert_wakes(|| semaphore.acquire(), || drop(semaphore.acquire()), drop);
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
