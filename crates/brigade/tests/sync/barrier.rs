//! Parties that wait for each other, and what breaks that.

use super::*;
use torture::facts::Stopwatch;

const fn broken(why: BarrierBroken) -> Result<usize, BarrierError> {
    Err(BarrierError::Broken(why))
}

/// Starts processes that wait at the barrier once.
fn parties(barrier: &Barrier, n_parties: usize) -> Vec<Process<Result<usize, BarrierError>>> {
    let waiting = barrier.n_waiting();
    let processes =
        (0..n_parties).map(|_| brigade::spawn(barrier.clone(), |barrier| barrier.wait()).unwrap()).collect();
    until(|| barrier.n_waiting() >= waiting + n_parties);
    processes
}

fn join_all(processes: Vec<Process<Result<usize, BarrierError>>>, expected: Result<usize, BarrierError>) {
    processes.into_iter().for_each(|process| assert_eq!(process.join().unwrap(), expected));
}

#[test]
fn all_go_on_together_and_each_has_its_place() {
    let barrier = Barrier::new(3).unwrap();
    assert_eq!(barrier.parties(), 3);
    let processes = parties(&barrier, 2);
    assert_eq!(format!("{barrier:?}"), "Barrier { parties: 3, n_waiting: 2, is_broken: false }");
    let mut places = vec![barrier.wait().unwrap()];
    places.extend(processes.into_iter().map(|process| process.join().unwrap().unwrap()));
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2]);
    assert_eq!(barrier.n_waiting(), 0);
    assert!(!barrier.is_broken());
}

#[test]
fn a_thousand_rounds_of_five_parties_stay_in_step() {
    let barrier = Barrier::new(5).unwrap();
    let n_passed = SharedSlice::<u64>::new(1000).unwrap();
    let run = |(barrier, n_passed): (Barrier, SharedSlice<u64>)| {
        for round in 0..1000 {
            n_passed.fetch_add(round, 1);
            barrier.wait().unwrap();
            // All have come before anybody goes on.
            assert_eq!(n_passed.load(round), 5);
        }
    };
    let processes: Vec<Process<()>> =
        (0..2).map(|_| brigade::spawn((barrier.clone(), n_passed.clone()), run).unwrap()).collect();
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| run((barrier.clone(), n_passed.clone())))));
    });
    processes.into_iter().for_each(|process| process.join().unwrap());
    assert_eq!(barrier.n_waiting(), 0);
    assert!(!barrier.is_broken());
}

#[test]
fn one_party_never_waits_and_no_party_is_refused() {
    let barrier = Barrier::new(1).unwrap();
    (0..3).for_each(|_| assert_eq!(barrier.wait_timeout(Duration::ZERO), Ok(0)));
    assert_eq!(Barrier::new(0).unwrap_err().errno(), Some(22));
}

#[test]
fn the_action_runs_once_before_anybody_goes_on() {
    let barrier = Barrier::new(4).unwrap();
    let n_runs = AtomicU32::new(0);
    for round in 1..=10 {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait_with(|| _ = n_runs.fetch_add(1, Ordering::Relaxed)).unwrap();
                    assert_eq!(n_runs.load(Ordering::Relaxed), round);
                });
            }
        });
    }
}

#[test]
fn an_action_that_panics_breaks_it() {
    let barrier = Barrier::new(2).unwrap();
    let processes = parties(&barrier, 1);
    let clone = barrier.clone();
    let panicked = thread::spawn(move || clone.wait_with(|| panic!("on purpose"))).join();
    assert!(panicked.is_err());
    join_all(processes, broken(BarrierBroken::ActionPanicked));
    assert!(barrier.is_broken());
}

#[test]
fn abort_breaks_it_for_all_and_reset_makes_it_whole() {
    let barrier = Barrier::new(3).unwrap();
    let processes = parties(&barrier, 2);
    barrier.abort();
    join_all(processes, broken(BarrierBroken::Aborted));
    assert!(barrier.is_broken());
    assert_eq!(barrier.wait(), broken(BarrierBroken::Aborted));
    barrier.reset();
    assert!(!barrier.is_broken());
    let processes = parties(&barrier, 2);
    barrier.reset();
    join_all(processes, broken(BarrierBroken::Reset));
    assert_eq!(barrier.n_waiting(), 0);
    let processes = parties(&barrier, 2);
    assert_eq!(barrier.wait(), Ok(2));
    processes.into_iter().for_each(|process| assert!(process.join().unwrap().is_ok()));
}

#[test]
fn a_party_that_does_not_come_in_time_breaks_it_for_all() {
    let barrier = Barrier::new(4).unwrap();
    let processes = parties(&barrier, 2);
    assert_eq!(timed_out(|timeout| barrier.wait_timeout(timeout)), broken(BarrierBroken::TimedOut));
    join_all(processes, broken(BarrierBroken::TimedOut));
    let barrier = Barrier::with_timeout(2, SHORT).unwrap();
    assert_eq!(timed_out(|_| barrier.wait()), broken(BarrierBroken::TimedOut));
}

#[test]
fn a_killed_party_breaks_it_for_all_who_wait_and_all_who_come() {
    for round in 0..N_KILLS {
        let (barrier, works) = (Barrier::new(4).unwrap(), Event::new().unwrap());
        // One that waits, or one that has not come yet.
        let victim = if round % 2 == 0 {
            brigade::spawn(barrier.clone(), |barrier| _ = barrier.wait())
        } else {
            brigade::spawn((barrier.clone(), works.clone()), |(_barrier, works)| {
                works.set();
                stay()
            })
        };
        let victim: Process<()> = victim.unwrap();
        until(|| barrier.n_waiting() == 1 || works.is_set());
        let processes = parties(&barrier, 2);
        answered_after_kill(&victim, || join_all(processes, broken(BarrierBroken::PartyDied)));
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), broken(BarrierBroken::PartyDied));
        barrier.reset();
        let processes = parties(&barrier, 3);
        assert_eq!(barrier.wait(), Ok(3));
        processes.into_iter().for_each(|process| assert!(process.join().unwrap().is_ok()));
    }
}

#[test]
fn a_death_breaks_it_though_nobody_waits() {
    let barrier = Barrier::new(1).unwrap();
    let victim: Process<()> = brigade::spawn(barrier.clone(), |_barrier| stay()).unwrap();
    barrier.wait().unwrap();
    victim.kill();
    victim.wait();
    assert!(barrier.is_broken());
    assert_eq!(barrier.wait(), broken(BarrierBroken::PartyDied));
}

#[test]
fn the_last_party_wakes_the_others() {
    let barrier = Barrier::new(2).unwrap();
    let wait = || _ = barrier.wait().unwrap();
    assert_wakes(|| (), wait, |()| wait());
}

#[test]
fn a_party_killed_at_its_very_start_breaks_it() {
    for round in 0..N_KILLS {
        let barrier = Barrier::new(3).unwrap();
        let victim: Process<()> = brigade::spawn(barrier.clone(), |barrier| _ = barrier.wait()).unwrap();
        // Before its handle has arrived, or just afterwards.
        thread::sleep(Duration::from_micros(200) * round);
        let outcome = answered_after_kill(&victim, || barrier.wait_timeout(PATIENCE));
        assert_eq!(outcome, broken(BarrierBroken::PartyDied));
    }
}

#[test]
fn a_death_is_found_out_even_while_the_parent_of_the_dead_is_stopped() {
    let (barrier, pids) = (Barrier::new(3).unwrap(), Queue::<u32>::bounded(1).unwrap());
    let parent: Process<()> = brigade::spawn((barrier.clone(), pids.clone()), |(barrier, pids)| {
        let victim: Process<()> = brigade::spawn(barrier, |barrier| _ = barrier.wait()).unwrap();
        pids.put(victim.pid()).unwrap();
        victim.wait();
    })
    .unwrap();
    until(|| barrier.n_waiting() == 1);
    // Before the parent is stopped, which may not have said it yet.
    let victim = pids.get().unwrap();
    let signal = |pid: u32, signal| kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
    signal(parent.pid(), Signal::STOP);
    let others = parties(&barrier, 1);
    let before = Stopwatch::start();
    signal(victim, Signal::KILL);
    join_all(others, broken(BarrierBroken::PartyDied));
    assert!(before.elapsed() < ANSWER);
    parent.kill();
    parent.wait();
}

#[test]
fn a_party_that_panics_breaks_it() {
    let barrier = Barrier::new(2).unwrap();
    let process: Process<()> = brigade::spawn(barrier.clone(), |_barrier| panic!("on purpose")).unwrap();
    assert_eq!(barrier.wait_timeout(PATIENCE), broken(BarrierBroken::PartyDied));
    assert!(process.join().is_err());
}

#[test]
fn a_process_that_ends_in_good_order_does_not_break_it() {
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..3 {
        let process = brigade::spawn(barrier.clone(), |barrier| barrier.wait()).unwrap();
        barrier.wait().unwrap();
        process.join().unwrap().unwrap();
    }
    let idle: Process<()> = brigade::spawn(barrier.clone(), drop).unwrap();
    idle.join().unwrap();
    assert!(!barrier.is_broken());
}
