//! What a manager promises when somebody is killed: calls of a dead manager fail within one second, and a dead client disturbs
//! nobody. And that nothing is left behind.

use std::path::Path;
use std::time::Duration;

use brigade::{
    CallError, GetError, ManagedDict, ManagedEvent, ManagedLock, ManagedQueue, Manager, ManagerDied, OwnerDied,
    PutError, Queue, Service, TryGetError, TryLockError,
};
use torture::facts::{Stopwatch, wait_within};
use torture::processes::is_running;

/// Longest time until somebody hears of a death.
const LIMIT: Duration = Duration::from_secs(1);

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a process has a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it has not been waited for");
}

/// What four clients of a killed manager were told.
type Told = (Result<(), CallError>, Result<(), ManagerDied>, Result<bool, ManagerDied>, Result<u8, GetError>);

#[test]
fn whoever_waits_for_a_killed_manager_is_told_within_one_second() {
    for round in 0..20 {
        let manager = Manager::start().unwrap();
        let (service, lock, event) =
            (manager.service((), |()| ()).unwrap(), manager.lock().unwrap(), manager.event().unwrap());
        let queue = manager.queue::<u8>(1).unwrap();
        // Each says that it is about to wait.
        let ready = Queue::<()>::bounded(4).unwrap();
        let never = Queue::<()>::bounded(1).unwrap();
        let guard = lock.lock().unwrap().unwrap();
        let clients = (
            brigade::spawn((service.clone(), ready.clone(), never.clone()), |(service, ready, never)| {
                service.call((ready, never), |(), (ready, never): (Queue<()>, Queue<()>)| {
                    ready.put(()).unwrap();
                    never.get().unwrap();
                })
            })
            .unwrap(),
            brigade::spawn((lock.clone(), ready.clone()), |(lock, ready): (ManagedLock, Queue<()>)| {
                ready.put(()).unwrap();
                lock.lock().map(|_| ())
            })
            .unwrap(),
            brigade::spawn((event.clone(), ready.clone()), |(event, ready): (ManagedEvent, Queue<()>)| {
                ready.put(()).unwrap();
                event.wait_timeout(Duration::from_secs(60))
            })
            .unwrap(),
            brigade::spawn((queue.clone(), ready.clone()), |(queue, ready): (ManagedQueue<u8>, Queue<()>)| {
                ready.put(()).unwrap();
                queue.get()
            })
            .unwrap(),
        );
        (0..4).for_each(|_| ready.get().unwrap());
        // Not to wait for anything, but so that the kill comes at another moment in each round: before they sleep, or after.
        std::thread::sleep(Duration::from_millis(round));
        let before = Stopwatch::start();
        kill(manager.pid());
        let told: Told = (
            clients.0.join().unwrap(),
            clients.1.join().unwrap(),
            clients.2.join().unwrap(),
            clients.3.join().unwrap(),
        );
        assert!(before.elapsed() < LIMIT, "round {round}: {:?}", before.elapsed());
        let died = (Err(CallError::ManagerDied), Err(ManagerDied), Err(ManagerDied), Err(GetError::ManagerDied));
        assert_eq!(told, died, "round {round}");
        drop(guard);
        assert_eq!(service.call((), |(), ()| ()), Err(CallError::ManagerDied));
        assert_eq!(lock.try_lock().map(|_| ()), Err(ManagerDied));
        assert_eq!(event.set(), Err(ManagerDied));
    }
}

/// Clients ask ten times a second whether the manager lives. Whoever is told the last word must not be told the wrong one.
#[test]
fn a_queue_that_is_closed_after_its_manager_died_says_that_it_died() {
    for _ in 0..5 {
        let manager = Manager::start().unwrap();
        let queue = manager.queue::<u32>(3).unwrap();
        // Once it has answered it has a life of its own to lose: before, only who started it can tell.
        let _service = manager.service((), |()| ()).unwrap();
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
        let pid = rustix::process::Pid::from_raw(manager.pid() as i32).unwrap();
        let end = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        kill(manager.pid());
        // Of all its threads: /proc says of the process that it has ended when its first thread has.
        let mut ends = [rustix::event::PollFd::new(&end, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ends, None), Ok(1));
        queue.close();
        assert_eq!(queue.get(), Err(GetError::ManagerDied));
        assert_eq!(queue.put(1), Err(PutError::ManagerDied(1)));
    }
}

#[test]
fn dropping_a_manager_ends_the_waits_for_its_objects() {
    let manager = Manager::start().unwrap();
    let service = manager.service((), |()| ()).unwrap();
    let (begun, never) = (Queue::<()>::bounded(1).unwrap(), Queue::<()>::bounded(1).unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            service.call((begun.clone(), never.clone()), |(), (begun, never)| {
                begun.put(()).unwrap();
                never.get().unwrap();
            })
        });
        begun.get().unwrap();
        let (pid, before) = (manager.pid(), Stopwatch::start());
        let status = manager.shutdown();
        assert_eq!(waiting.join().unwrap(), Err(CallError::ManagerDied));
        assert!(before.elapsed() < LIMIT, "{:?}", before.elapsed());
        assert!(status.success(), "{status}");
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    });
}

#[test]
fn a_client_killed_in_the_midst_of_a_call_disturbs_nobody() {
    let manager = Manager::start().unwrap();
    let service = manager.service(0_u32, |n| n).unwrap();
    for round in 1..=10 {
        let (begun, go_on) = (Queue::<()>::bounded(1).unwrap(), Queue::<()>::bounded(1).unwrap());
        let args = (service.clone(), begun.clone(), go_on.clone());
        let client = brigade::spawn(args, |(service, begun, go_on): (Service<u32>, Queue<()>, Queue<()>)| {
            service.call((begun, go_on), |n, (begun, go_on)| {
                begun.put(()).unwrap();
                go_on.get().unwrap();
                *n += 1;
            })
        })
        .unwrap();
        begun.get().unwrap();
        client.kill();
        let _ = client.wait();
        go_on.put(()).unwrap();
        // Its call has begun, so it runs to its end; ours comes after it.
        assert_eq!(service.timeout(LIMIT).call((), |n, ()| *n), Ok(round));
    }
}

#[test]
fn clients_killed_at_any_moment_leave_whole_calls_behind() {
    let manager = Manager::start().unwrap();
    let dict = manager.dict::<u32, u32>().unwrap();
    let mut random = Random::new();
    for _ in 0..30 {
        let client = brigade::spawn(dict.clone(), |dict: ManagedDict<u32, u32>| {
            for n in 0.. {
                // Two entries in one call: nobody ever sees only one of them.
                dict.update(n % 50, |dict, n| {
                    *dict.entry(n).or_insert(0) += 1;
                    *dict.entry(n + 1000).or_insert(0) += 1;
                })
                .unwrap();
            }
        })
        .unwrap();
        // Only so that the kill comes at another moment each time.
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        client.kill();
        let before = Stopwatch::start();
        let items = dict.timeout(LIMIT).items().unwrap();
        assert!(before.elapsed() < LIMIT);
        let (low, high): (Vec<_>, Vec<_>) = items.into_iter().partition(|(key, _)| *key < 1000);
        assert_eq!(low, high.into_iter().map(|(key, n)| (key - 1000, n)).collect::<Vec<_>>(), "seed {}", random.seed);
        let _ = client.wait();
    }
}

/// Numbers that differ from run to run; the seed is printed by a failing test.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let given = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        let seed = given.unwrap_or_else(clock);
        println!("BRIGADE_SEED={seed}");
        Self { seed, state: seed | 1 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound
    }
}

#[test]
fn a_lock_whose_holder_was_killed_is_free_within_one_second() {
    let manager = Manager::start().unwrap();
    let lock = manager.lock().unwrap();
    for _ in 0..5 {
        let locked = Queue::<()>::bounded(1).unwrap();
        let holder = brigade::spawn((lock.clone(), locked.clone()), |(lock, locked): (ManagedLock, Queue<()>)| {
            let _guard = lock.lock().unwrap().unwrap();
            locked.put(()).unwrap();
            std::thread::park();
        })
        .unwrap();
        locked.get().unwrap();
        assert!(matches!(lock.try_lock(), Ok(Err(TryLockError::WouldBlock))));
        let before = Stopwatch::start();
        holder.kill();
        assert!(matches!(lock.lock(), Ok(Err(OwnerDied(_)))));
        assert!(before.elapsed() < LIMIT, "{:?}", before.elapsed());
        let _ = holder.wait();
    }
}

#[test]
fn a_permit_of_a_killed_client_comes_back() {
    let manager = Manager::start().unwrap();
    let semaphore = manager.semaphore(1).unwrap();
    let taken = Queue::<()>::bounded(1).unwrap();
    let holder = brigade::spawn((semaphore.clone(), taken.clone()), |(semaphore, taken)| {
        let _permit = semaphore.acquire().unwrap();
        taken.put(()).unwrap();
        std::thread::park();
    })
    .unwrap();
    taken.get().unwrap();
    assert!(semaphore.try_acquire().unwrap().is_none());
    holder.kill();
    assert!(semaphore.acquire_timeout(LIMIT).unwrap().is_some());
    let _ = holder.wait();
}

#[test]
fn a_manager_in_a_child_ends_with_the_child() {
    let pids = Queue::<u32>::bounded(1).unwrap();
    let child = brigade::spawn(pids.clone(), |pids: Queue<u32>| {
        let manager = Manager::start().unwrap();
        let value = manager.value(3).unwrap();
        assert_eq!(value.get(), Ok(3));
        pids.put(manager.pid()).unwrap();
        std::thread::park();
    })
    .unwrap();
    let pid = pids.get().unwrap();
    child.kill();
    let _ = child.wait();
    wait_within(LIMIT, "the manager ends with its owner", || !is_running(pid));
}

#[test]
fn an_interrupt_from_the_terminal_does_not_end_a_manager() {
    let manager = Manager::start().unwrap();
    let value = manager.value(1).unwrap();
    let pid = rustix::process::Pid::from_raw(manager.pid() as i32).unwrap();
    for _ in 0..10 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        value.update((), |value, ()| *value += 1).unwrap();
    }
    assert_eq!(value.get(), Ok(11));
    assert!(manager.shutdown().success());
}

#[test]
fn an_initializer_runs_in_the_manager_before_anything_else() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let manager = Manager::builder().initializer(7, |n| NUMBER.store(n, Ordering::Relaxed)).start().unwrap();
    let service = manager.service((), |()| NUMBER.load(Ordering::Relaxed)).unwrap();
    assert_eq!(service.call((), |n, ()| *n), Ok(7));
    assert_eq!(NUMBER.load(Ordering::Relaxed), 0);
}

#[test]
fn an_initializer_that_fails_is_an_error_and_leaves_no_process() {
    let name = "failing manager";
    let error = Manager::builder().name(name).initializer((), |()| panic!("not here")).start().unwrap_err();
    assert!(
        matches!(&error, brigade::ManagerError::Initializer(CallError::Panicked(report)) if report.message() == "not here"),
        "{error:?}"
    );
    let error = Manager::builder().name(name).initializer((), |()| std::process::exit(3)).start().unwrap_err();
    assert_eq!(error, brigade::ManagerError::Initializer(CallError::ManagerDied));
    assert!(brigade::active_children().iter().all(|child| child.name != name));
}

#[test]
fn tasks_of_a_pool_can_use_a_manager() {
    let manager = Manager::start().unwrap();
    let (counter, dict) = (manager.value(0_u32).unwrap(), manager.dict::<u32, u32>().unwrap());
    let pool = brigade::Pool::new(2).unwrap();
    let tasks = (0..50_u32).map(|n| (counter.clone(), dict.clone(), n));
    let results = pool.map(tasks, |(counter, dict, n): (brigade::ManagedValue<u32>, ManagedDict<u32, u32>, u32)| {
        dict.insert(n, n * n).unwrap();
        counter.update(1, |counter, n| *counter += n).unwrap();
    });
    results.into_iter().for_each(|result| result.unwrap());
    assert_eq!(counter.get(), Ok(50));
    assert_eq!(dict.items(), Ok((0..50).map(|n| (n, n * n)).collect()));
}

#[test]
fn managers_leave_neither_processes_nor_descriptors() {
    // In a process of its own, for other tests start processes in this one meanwhile.
    let child = brigade::spawn((), |()| {
        let n_descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        drop(Manager::start().unwrap());
        let before = n_descriptors();
        for _ in 0..10 {
            let manager = Manager::start().unwrap();
            let dict = manager.dict::<String, Vec<u8>>().unwrap();
            dict.insert("big".to_owned(), vec![1; 1 << 20]).unwrap();
            assert_eq!(dict.get("big").unwrap().unwrap().len(), 1 << 20);
            let lock = manager.lock().unwrap();
            drop(lock.lock());
        }
        assert!(brigade::active_children().is_empty());
        // The thread that heard of a manager's end may just be putting its descriptors away.
        let since = Stopwatch::start();
        while n_descriptors() > before {
            assert!(since.elapsed() < LIMIT, "{} descriptors more", n_descriptors() - before);
            std::thread::yield_now();
        }
    });
    child.unwrap().join().unwrap();
}
