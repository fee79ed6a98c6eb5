//! Waiting for a change under a lock: who is notified, and what becomes of the notification of a dead one.

use super::*;
use torture::facts::Stopwatch;

/// Waiters that count themselves when they are woken: two processes with a thread each, and a thread of this one.
struct Waiters {
    lock: Lock,
    condition: Condition,
    n_woken: SharedSlice<u64>,
    processes: Vec<Process<()>>,
    thread: thread::JoinHandle<()>,
}

fn wait_once((lock, condition, n_woken): (Lock, Condition, SharedSlice<u64>)) {
    let guard = condition.wait(lock.lock().unwrap()).unwrap();
    n_woken.fetch_add(0, 1);
    drop(guard);
}

impl Waiters {
    fn start() -> Self {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let n_woken = SharedSlice::new(1).unwrap();
        let shared = (lock.clone(), condition.clone(), n_woken.clone());
        let processes = (0..2).map(|_| brigade::spawn(shared.clone(), wait_once).unwrap()).collect();
        let thread = thread::spawn(move || wait_once(shared));
        until(|| condition.n_waiting() == 3);
        Self { lock, condition, n_woken, processes, thread }
    }

    fn n_woken(&self) -> u64 {
        self.n_woken.load(0)
    }

    fn join(self) {
        self.processes.into_iter().for_each(|process| process.join().unwrap());
        self.thread.join().unwrap();
        assert_eq!(self.condition.n_waiting(), 0);
    }
}

#[test]
fn notify_wakes_exactly_one() {
    let waiters = Waiters::start();
    assert_eq!(waiters.n_woken(), 0);
    for n_notified in 1..=3 {
        assert!(waiters.condition.notify_one());
        until(|| waiters.n_woken() == n_notified);
        assert_eq!(waiters.condition.n_waiting() as u64, 3 - n_notified);
        // Longer than sleepers take to look again by themselves.
        thread::sleep(SHORT * 3);
        assert_eq!(waiters.n_woken(), n_notified);
    }
    assert!(!waiters.condition.notify_one());
    waiters.join();
}

#[test]
fn notify_n_wakes_so_many_and_notify_all_wakes_all() {
    let waiters = Waiters::start();
    assert_eq!(waiters.condition.notify(2), 2);
    until(|| waiters.n_woken() == 2);
    assert_eq!(waiters.condition.notify(4), 1);
    assert_eq!(waiters.condition.notify(3), 0);
    waiters.join();
    let waiters = Waiters::start();
    let guard = waiters.lock.lock().unwrap();
    assert_eq!(waiters.condition.notify_all(), 3);
    assert_eq!(waiters.n_woken(), 0);
    drop(guard);
    waiters.join();
}

#[test]
fn the_oldest_is_notified_first() {
    let (lock, condition, order) = (Lock::new().unwrap(), Condition::new().unwrap(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 0..4 {
            let (lock, condition, order) = (&lock, &condition, &order);
            scope.spawn(move || {
                let _guard = condition.wait(lock.lock().unwrap()).unwrap();
                order.lock().unwrap().push(number);
            });
            until(|| condition.n_waiting() == number + 1);
        }
        for n_notified in 1..=4 {
            assert!(condition.notify_one());
            until(|| order.lock().unwrap().len() == n_notified);
        }
    });
    assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3]);
}

/// Those who wait anew meanwhile are not meant, or there might be no end to it.
#[test]
fn notify_all_means_those_who_wait_when_it_is_called() {
    const N_WAITERS: usize = 20;
    let (lock, condition, is_over) = (Lock::new().unwrap(), Condition::new().unwrap(), Event::new().unwrap());
    thread::scope(|scope| {
        for _ in 0..N_WAITERS {
            scope.spawn(|| {
                while !is_over.is_set() {
                    drop(condition.wait(lock.lock().unwrap()).unwrap());
                }
            });
        }
        for _ in 0..200 {
            until(|| condition.n_waiting() == N_WAITERS);
            assert_eq!(condition.notify_all(), N_WAITERS);
        }
        until(|| condition.n_waiting() == N_WAITERS);
        is_over.set();
        condition.notify_all();
    });
}

#[test]
fn a_wait_times_out_and_leaves_no_count_behind() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    for _ in 0..3 {
        let guard = lock.lock().unwrap();
        let (guard, is_notified) = timed_out(|timeout| condition.wait_timeout(guard, timeout)).unwrap();
        assert!(!is_notified);
        assert!(lock.is_locked());
        drop(guard);
    }
    assert_eq!(format!("{condition:?}"), "Condition { n_waiting: 0 }");
    assert_eq!(condition.notify_all(), 0);
}

#[test]
fn wait_for_waits_for_the_predicate() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let level = SharedSlice::<u64>::new(1).unwrap();
    let shared = (lock.clone(), condition.clone(), level.clone());
    let process: Process<()> = brigade::spawn(shared, |(lock, condition, level)| {
        for _ in 0..4 {
            let guard = lock.lock().unwrap();
            level.fetch_add(0, 1);
            condition.notify_one();
            drop(guard);
        }
    })
    .unwrap();
    let guard = condition.wait_for(lock.lock().unwrap(), || level.load(0) == 4).unwrap();
    process.join().unwrap();
    let wait = |timeout| condition.wait_for_timeout(guard, timeout, || level.load(0) == 5);
    let (guard, is_so) = timed_out(wait).unwrap();
    assert!(!is_so);
    assert!(condition.wait_for_timeout(guard, Duration::ZERO, || true).unwrap().1);
}

#[test]
fn no_notification_is_lost_between_the_lock_and_the_wait() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let turn = SharedSlice::<u64>::new(1).unwrap();
    let play = |(lock, condition, turn, mine): (Lock, Condition, SharedSlice<u64>, u64)| {
        let mut guard = lock.lock().unwrap();
        for round in 0..500 {
            // A notification that is lost is a wait without end: the other one waits too.
            guard = condition.wait_for(guard, || turn.load(0) == 2 * round + mine).unwrap();
            turn.fetch_add(0, 1);
            condition.notify_one();
        }
    };
    let process: Process<()> = brigade::spawn((lock.clone(), condition.clone(), turn.clone(), 1), play).unwrap();
    play((lock, condition, turn.clone(), 0));
    process.join().unwrap();
    assert_eq!(turn.load(0), 1000);
}

#[test]
fn more_waiters_than_there_is_room_for_are_notified_too() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let is_over = Event::new().unwrap();
    thread::scope(|scope| {
        for _ in 0..1030 {
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn_scoped(scope, || drop(condition.wait_for(lock.lock().unwrap(), || is_over.is_set())))
                .unwrap();
        }
        until(|| condition.n_waiting() == 1024);
        is_over.set();
        condition.notify_all();
    });
    assert_eq!(condition.n_waiting(), 0);
}

#[test]
fn a_killed_waiter_is_forgotten() {
    for _ in 0..N_KILLS {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let shared = (lock.clone(), condition.clone());
        let wait = |(lock, condition): (Lock, Condition)| drop(condition.wait(lock.lock().unwrap()).unwrap());
        let victim: Process<()> = brigade::spawn(shared.clone(), wait).unwrap();
        until(|| condition.n_waiting() == 1);
        let other: Process<()> = brigade::spawn(shared, wait).unwrap();
        until(|| condition.n_waiting() == 2);
        victim.kill();
        victim.wait();
        // The dead one waited longer, and yet the notification is for the one who lives.
        let before = Stopwatch::start();
        assert_eq!(condition.notify(1), 1);
        other.join().unwrap();
        assert!(before.elapsed() < ANSWER);
        assert_eq!(condition.n_waiting(), 0);
    }
}

#[test]
fn a_waiter_killed_after_it_was_notified_passes_the_notification_on() {
    for _ in 0..N_KILLS {
        let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
        let shared = (lock.clone(), condition.clone());
        let wait = |(lock, condition): (Lock, Condition)| drop(condition.wait(lock.lock().unwrap()));
        let victim: Process<()> = brigade::spawn(shared.clone(), wait).unwrap();
        until(|| condition.n_waiting() == 1);
        let other: Process<()> = brigade::spawn(shared, wait).unwrap();
        until(|| condition.n_waiting() == 2);
        let guard: LockGuard<'_> = lock.lock().unwrap();
        assert!(condition.notify_one());
        // The victim cannot have the lock yet, so it has not gone on.
        answered_after_kill(&victim, || {
            drop(guard);
            other.join().unwrap();
        });
    }
}

#[test]
fn a_holder_killed_while_others_wait_is_told_of() {
    for _ in 0..N_KILLS {
        let (lock, condition, held) = (Lock::new().unwrap(), Condition::new().unwrap(), Event::new().unwrap());
        let shared = (lock.clone(), condition.clone());
        let waiter: Process<bool> =
            brigade::spawn(shared.clone(), |(lock, condition)| condition.wait(lock.lock().unwrap()).is_err()).unwrap();
        until(|| condition.n_waiting() == 1);
        let holder: Process<()> = brigade::spawn((shared, held.clone()), |((lock, condition), held)| {
            let _guard = lock.lock().unwrap();
            condition.notify_one();
            held.set();
            stay()
        })
        .unwrap();
        assert!(held.wait_timeout(PATIENCE));
        assert!(answered_after_kill(&holder, || waiter.join().unwrap()));
    }
}
