//! Many readers or one writer, nobody starved, and deaths on both sides.

use super::*;

#[test]
fn many_read_or_one_writes() {
    let lock = RwLock::new().unwrap();
    let readers = [lock.read().unwrap(), lock.try_read().unwrap(), lock.read_timeout(SHORT).unwrap()];
    assert_eq!(format!("{lock:?}"), "RwLock { n_readers: 3, is_write_locked: false }");
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    assert!(matches!(timed_out(|timeout| lock.write_timeout(timeout)), Err(LockTimeoutError::Timeout)));
    drop(readers);
    let writer = lock.write().unwrap();
    assert!(lock.is_locked() && lock.is_write_locked());
    assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
    assert!(matches!(timed_out(|timeout| lock.read_timeout(timeout)), Err(LockTimeoutError::Timeout)));
    assert!(matches!(timed_out(|timeout| lock.write_timeout(timeout)), Err(LockTimeoutError::Timeout)));
    drop(writer);
    assert!(!lock.is_locked());
    drop(lock.write_timeout(Duration::ZERO).unwrap());
    drop(lock.try_read().unwrap());
    drop(lock.try_write().unwrap());
}

#[test]
fn readers_never_see_half_of_a_change() {
    let lock = RwLock::new().unwrap();
    let pair = SharedSlice::<u64>::new(2).unwrap();
    let work = |(lock, pair): (RwLock, SharedSlice<u64>)| {
        let write = || {
            for _ in 0..500 {
                let _guard = lock.write().unwrap();
                pair.store(0, pair.load(0) + 1);
                pair.store(1, pair.load(1) + 1);
            }
        };
        let read = || {
            for _ in 0..500 {
                let _guard = lock.read().unwrap();
                assert_eq!(pair.load(0), pair.load(1));
            }
        };
        thread::scope(|scope| {
            scope.spawn(write);
            scope.spawn(read);
            scope.spawn(read);
        });
    };
    let process: Process<()> = brigade::spawn((lock.clone(), pair.clone()), work).unwrap();
    work((lock, pair.clone()));
    process.join().unwrap();
    assert_eq!(pair.load(0), 1000);
}

#[test]
fn a_waiting_writer_is_not_starved_by_readers_nor_a_reader_by_writers() {
    let (lock, is_over) = (RwLock::new().unwrap(), Event::new().unwrap());
    // At every moment somebody reads.
    let (first, second) = (lock.clone(), lock.clone());
    let end = &is_over;
    thread::scope(|scope| {
        for lock in [first, second] {
            scope.spawn(move || {
                while !end.is_set() {
                    let guard = lock.read().unwrap();
                    thread::yield_now();
                    drop(guard);
                }
            });
        }
        for _ in 0..20 {
            drop(lock.write_timeout(PATIENCE).unwrap());
        }
        end.set();
    });
    is_over.clear();
    let writers = [lock.clone(), lock.clone()];
    thread::scope(|scope| {
        for lock in writers {
            scope.spawn(move || {
                while !end.is_set() {
                    drop(lock.write().unwrap());
                }
            });
        }
        for _ in 0..20 {
            drop(lock.read_timeout(PATIENCE).unwrap());
        }
        end.set();
    });
}

/// The one who waited is stopped, so that it is seen how the next writer waits for it: for 10 ms at most.
#[test]
fn the_next_writer_lets_those_in_first_who_waited_for_the_last() {
    for _ in 0..5 {
        let (lock, waits) = (RwLock::new().unwrap(), Event::new().unwrap());
        let guard = lock.write().unwrap();
        let reader: Process<()> = brigade::spawn((lock.clone(), waits.clone()), |(lock, waits)| {
            waits.set();
            drop(lock.read().unwrap());
        })
        .unwrap();
        assert!(waits.wait_timeout(PATIENCE));
        wait_for_sleep(reader.pid());
        let pid = Pid::from_raw(reader.pid() as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        until(|| reader.state() == ProcessState::Stopped);
        thread::scope(|scope| {
            let (say, said) = mpsc::channel();
            let lock = &lock;
            let next = scope.spawn(move || {
                say.send(rustix::thread::gettid()).unwrap();
                drop(lock.write().unwrap());
                Instant::now()
            });
            wait_for_sleep(said.recv().unwrap().as_raw_nonzero().get().cast_unsigned());
            let left_at = Instant::now();
            drop(guard);
            assert!(next.join().unwrap() - left_at >= Duration::from_millis(9));
        });
        kill_process(pid, Signal::CONT).unwrap();
        reader.join().unwrap();
    }
}

#[test]
fn who_leaves_wakes_readers_and_writers() {
    let lock = RwLock::new().unwrap();
    assert_wakes(|| lock.write().unwrap(), || drop(lock.write().unwrap()), drop);
    assert_wakes(|| lock.write().unwrap(), || drop(lock.read().unwrap()), drop);
    assert_wakes(|| lock.read().unwrap(), || drop(lock.write().unwrap()), drop);
}

#[test]
fn a_killed_reader_does_not_block_a_writer() {
    for _ in 0..N_KILLS {
        let (lock, held) = (RwLock::new().unwrap(), Event::new().unwrap());
        let reader: Process<()> = brigade::spawn((lock.clone(), held.clone()), |(lock, held)| {
            let _guards = [lock.read().unwrap(), lock.read().unwrap()];
            held.set();
            stay()
        })
        .unwrap();
        assert!(held.wait_timeout(PATIENCE));
        assert!(matches!(lock.try_write(), Err(TryLockError::WouldBlock)));
        answered_after_kill(&reader, || drop(lock.write().unwrap()));
        assert_eq!(format!("{lock:?}"), "RwLock { n_readers: 0, is_write_locked: false }");
    }
}

#[test]
fn a_killed_writer_is_told_of_once_be_it_to_a_reader_or_a_writer() {
    for round in 0..N_KILLS {
        let (lock, held, waits) = (RwLock::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
        let writer: Process<()> = brigade::spawn((lock.clone(), held.clone()), |(lock, held)| {
            let _guard = lock.write().unwrap();
            held.set();
            stay()
        })
        .unwrap();
        assert!(held.wait_timeout(PATIENCE));
        let other: Process<bool> = brigade::spawn((lock.clone(), waits.clone()), |(lock, waits)| {
            waits.set();
            lock.read().is_err()
        })
        .unwrap();
        assert!(waits.wait_timeout(PATIENCE));
        let n_told = answered_after_kill(&writer, || {
            let told_here = if round % 2 == 0 { lock.read().is_err() } else { lock.write().is_err() };
            u32::from(told_here) + u32::from(other.join().unwrap())
        });
        assert_eq!(n_told, 1);
        assert!(!lock.is_locked());
        drop(lock.write().unwrap());
        drop(lock.read().unwrap());
    }
}

#[test]
fn a_killed_writer_that_only_waited_is_forgotten() {
    for _ in 0..N_KILLS {
        let (lock, waits) = (RwLock::new().unwrap(), Event::new().unwrap());
        let guard = lock.read().unwrap();
        let writer: Process<()> = brigade::spawn((lock.clone(), waits.clone()), |(lock, waits)| {
            waits.set();
            drop(lock.write());
            stay()
        })
        .unwrap();
        assert!(waits.wait_timeout(PATIENCE));
        // It has barred the gate now, or is about to.
        until(|| matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
        answered_after_kill(&writer, || drop(lock.read().unwrap()));
        drop(guard);
        drop(lock.write().unwrap());
    }
}

#[test]
fn a_killed_reader_that_only_waited_is_forgotten() {
    for _ in 0..N_KILLS {
        let (lock, waits) = (RwLock::new().unwrap(), Event::new().unwrap());
        let guard = lock.write().unwrap();
        let reader: Process<()> = brigade::spawn((lock.clone(), waits.clone()), |(lock, waits)| {
            waits.set();
            drop(lock.read());
            stay()
        })
        .unwrap();
        assert!(waits.wait_timeout(PATIENCE));
        answered_after_kill(&reader, || {
            drop(guard);
            drop(lock.write().unwrap());
        });
        assert!(!lock.is_locked());
    }
}
