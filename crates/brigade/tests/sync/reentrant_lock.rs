//! A lock that its thread takes again.

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
