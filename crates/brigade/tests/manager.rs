//! What a manager promises: its objects live as long as it does, and nobody waits for one that has died.

use std::time::Duration;

use brigade::{GetError, ManagedQueue, Manager, ManagerError, TryPutError};
use torture::facts::Stopwatch;

#[test]
fn a_managed_queue_carries_values_between_processes() {
    let manager = Manager::start().unwrap();
    let queue = manager.queue::<u32>(10).unwrap();
    let workers: Vec<_> = (0..3_u32)
        .map(|number| {
            brigade::spawn((queue.clone(), number), |(queue, number): (ManagedQueue<u32>, u32)| {
                queue.put(number).unwrap()
            })
            .unwrap()
        })
        .collect();
    let mut got: Vec<u32> = (0..3).map(|_| queue.get().unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2]);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_ne!(manager.pid(), std::process::id());
}

#[test]
fn every_call_gives_manager_died_within_a_second_of_its_death() {
    let manager = Manager::start().unwrap();
    let queue = manager.queue::<u32>(1).unwrap();
    queue.put(1).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    let waiting = brigade::spawn(queue.clone(), |queue: ManagedQueue<u32>| queue.get()).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(manager.pid() as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let before = Stopwatch::start();
    assert_eq!(waiting.join().unwrap(), Err(GetError::ManagerDied));
    assert!(before.elapsed() < Duration::from_secs(1));
    // An answer of the kernel is good for a tenth of a second, so a call may still be taken in until then.
    while queue.try_put(2) != Err(TryPutError::ManagerDied(2)) {
        assert!(before.elapsed() < Duration::from_secs(1));
    }
    while manager.queue::<u32>(1).is_ok() {
        assert!(before.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(manager.queue::<u32>(1).unwrap_err(), ManagerError::ManagerDied);
}

#[test]
fn a_client_killed_while_it_waits_disturbs_nobody() {
    let manager = Manager::start().unwrap();
    let queue = manager.queue::<u32>(1).unwrap();
    for number in 0..10 {
        let client = brigade::spawn(queue.clone(), |queue: ManagedQueue<u32>| drop(queue.get())).unwrap();
        client.kill();
        let _ = client.wait();
        queue.put(number).unwrap();
        assert_eq!(queue.get().unwrap(), number);
    }
}

#[test]
fn dropping_a_manager_ends_its_process() {
    let manager = Manager::start().unwrap();
    let pid = manager.pid();
    let queue = manager.queue::<u32>(1).unwrap();
    drop(manager);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(
        queue.get_timeout(Duration::from_secs(5)).unwrap_err().to_string(),
        "the manager of the queue has ended"
    );
}
