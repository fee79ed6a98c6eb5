//! The manager: containers, objects of one's own, primitives, and what happens when it or a client dies.

use std::time::Duration;

use brigade::{CallError, ManagedDict, ManagedList, ManagedQueue, Manager, ManagerError, Queue, Service};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use torture::facts::{Stopwatch, wait_until, wait_within};
use torture::processes::is_running;

use crate::{checked, signal, sleep_for_ever};

#[test]
fn a_list_is_changed_by_all_and_nested_ones_stay_live() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let list = manager.list::<u32>().unwrap();
        list.extend(0..5).unwrap();
        brigade::spawn(list.clone(), |list| {
            list.push(5).unwrap();
            list.set(0, 10).unwrap();
            list.remove(1).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
        assert_eq!(list.snapshot().unwrap(), [10, 2, 3, 4, 5]);
        assert_eq!((list.len(), list.pop(), list.slice(1..3)), (Ok(5), Ok(Some(5)), Ok(vec![2, 3])));
        let outer = manager.list::<ManagedList<u32>>().unwrap();
        outer.push(list.clone()).unwrap();
        list.push(99).unwrap();
        drop(list);
        let inner = outer.get(0).unwrap().unwrap();
        assert_eq!(inner.snapshot().unwrap(), [10, 2, 3, 4, 99]);
    });
}

#[test]
fn a_dictionary_is_changed_by_all_and_iterated_as_it_was() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let dict = manager.dict::<u32, String>().unwrap();
        brigade::spawn(dict.clone(), |dict| (65..70).for_each(|key| drop(dict.insert(key, key.to_string()).unwrap())))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(dict.get(&66).unwrap().as_deref(), Some("66"));
        let mut n_seen = 0;
        for (key, _) in dict.items().unwrap() {
            // Whatever happens to it meanwhile, it is the snapshot that is iterated.
            dict.clear().unwrap();
            assert!((65..70).contains(&key));
            n_seen += 1;
        }
        assert_eq!((n_seen, dict.len()), (5, Ok(0)));
        let outer = manager.dict::<String, ManagedDict<u32, String>>().unwrap();
        outer.insert("inner".to_owned(), dict.clone()).unwrap();
        dict.insert(1, "one".to_owned()).unwrap();
        drop(dict);
        let inner = outer.get("inner").unwrap().unwrap();
        assert_eq!(inner.get(&1).unwrap().as_deref(), Some("one"));
    });
}

#[test]
fn a_queue_inside_a_container_is_usable() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let list = manager.list::<ManagedQueue<u8>>().unwrap();
        list.push(manager.queue(1).unwrap()).unwrap();
        let dict = manager.dict::<u8, Queue<u8>>().unwrap();
        dict.insert(0, Queue::bounded(1).unwrap()).unwrap();
        brigade::spawn((list.clone(), dict.clone()), |(list, dict)| {
            list.get(0).unwrap().unwrap().put(5).unwrap();
            dict.get(&0).unwrap().unwrap().put(6).unwrap();
        })
        .unwrap()
        .join()
        .unwrap();
        assert_eq!(list.get(0).unwrap().unwrap().get(), Ok(5));
        assert_eq!(dict.get(&0).unwrap().unwrap().get(), Ok(6));
    });
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bag {
    name: String,
    numbers: Vec<i32>,
}

#[test]
fn a_structure_of_ones_own_is_a_service() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let bag = manager.service("Bob".to_owned(), |name| Bag { name, numbers: vec![] }).unwrap();
        brigade::spawn(bag.clone(), |bag: Service<Bag>| bag.call(7, |bag, number| bag.numbers.push(number)).unwrap())
            .unwrap()
            .join()
            .unwrap();
        let whole = bag.call((), |bag, ()| bag.clone()).unwrap();
        assert_eq!(whole, Bag { name: "Bob".to_owned(), numbers: vec![7] });
    });
}

#[test]
fn a_set_is_changed_by_all() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let set = manager.set::<String>().unwrap();
        set.extend(["a".to_owned(), "b".to_owned()]).unwrap();
        brigade::spawn(set.clone(), |set| (set.insert("c".to_owned()), set.remove("a"), set.insert("b".to_owned())))
            .unwrap()
            .join()
            .map(|done| assert_eq!(done, (Ok(true), Ok(true), Ok(false))))
            .unwrap();
        assert_eq!((set.contains("c"), set.contains("a"), set.len()), (Ok(true), Ok(false), Ok(2)));
    });
}

#[test]
fn errors_and_panics_of_a_call_are_the_callers() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let bag = manager.service((), |()| Bag::default()).unwrap();
        let checked_push = |bag: &mut Bag, number: i32| {
            if number < 0 {
                return Err("negative".to_owned());
            }
            bag.numbers.push(number);
            Ok(bag.numbers.len())
        };
        assert_eq!(bag.call(-1, checked_push), Ok(Err("negative".to_owned())));
        assert_eq!(bag.call(1, checked_push), Ok(Ok(1)));
        let other = manager.value(3).unwrap();
        let panicked = bag.call((), |bag, ()| bag.numbers[5]);
        assert!(matches!(panicked, Err(CallError::Panicked(_))), "{panicked:?}");
        assert_eq!((bag.call(1, checked_push), other.get()), (Err(CallError::Poisoned), Ok(3)));
    });
}

#[test]
fn a_dropped_manager_has_ended() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let (pid, value) = (manager.pid(), manager.value(1).unwrap());
        drop(manager);
        assert!(!is_running(pid));
        assert_eq!(value.get(), Err(CallError::ManagerDied));
    });
}

#[test]
fn managers_are_started_again_at_once() {
    checked(|| {
        for number in 0..10 {
            let manager = Manager::start().unwrap();
            assert_eq!(manager.value(number).unwrap().get(), Ok(number));
        }
    });
}

#[test]
fn the_initializer_runs_in_the_manager() {
    checked(|| {
        let ran_in = Queue::bounded(1).unwrap();
        let initialize = |ran_in: Queue<u32>| ran_in.put(std::process::id()).unwrap();
        let manager = Manager::builder().initializer(ran_in.clone(), initialize).start().unwrap();
        assert_eq!(ran_in.get(), Ok(manager.pid()));
        let failed = Manager::builder().initializer((), |()| panic!("no")).start();
        assert!(matches!(failed, Err(ManagerError::Initializer(_))), "{failed:?}");
    });
}

#[test]
fn primitives_of_a_manager_work_across_processes() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let (lock, rwlock) = (manager.lock().unwrap(), manager.rwlock().unwrap());
        let (event, semaphore) = (manager.event().unwrap(), manager.semaphore(2).unwrap());
        let barrier = manager.barrier(2).unwrap();
        let all = (lock.clone(), rwlock.clone(), event.clone(), semaphore.clone(), barrier.clone());
        let process = brigade::spawn(all, |(lock, rwlock, event, semaphore, barrier)| {
            let locked = lock.lock().is_ok();
            let written = rwlock.write().is_ok();
            let acquired = semaphore.acquire().is_ok();
            event.set().unwrap();
            barrier.wait().unwrap().unwrap();
            locked && written && acquired
        });
        event.wait().unwrap();
        barrier.wait().unwrap().unwrap();
        assert!(process.unwrap().join().unwrap());
        assert!(lock.try_lock().is_ok() && rwlock.try_read().is_ok() && semaphore.try_acquire().is_ok());
    });
}

#[test]
fn containers_of_a_manager_work_across_processes() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let (queue, value) = (manager.queue(5).unwrap(), manager.value(0).unwrap());
        let (dict, list, set) = (manager.dict().unwrap(), manager.list().unwrap(), manager.set().unwrap());
        let all = (queue.clone(), value.clone(), dict.clone(), list.clone(), set.clone());
        let process = brigade::spawn(all, |(queue, value, dict, list, set)| {
            queue.put(5).unwrap();
            value.update(1, |value, more| *value += more).unwrap();
            dict.insert("x".to_owned(), 5).unwrap();
            list.push(5).unwrap();
            set.insert(5).unwrap();
        });
        process.unwrap().join().unwrap();
        assert_eq!((queue.get(), value.get(), dict.get("x")), (Ok(5), Ok(1), Ok(Some(5))));
        assert_eq!((list.snapshot(), set.contains(&5)), (Ok(vec![5]), Ok(true)));
        // Besides the manager nobody is left.
        wait_until("one child is left", || brigade::active_children().len() == 1);
    });
}

#[test]
fn a_killed_manager_is_told_within_a_second() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let (value, queue) = (manager.value(1).unwrap(), manager.queue::<u8>(1).unwrap());
        let event = manager.event().unwrap();
        let waiters = [
            brigade::spawn(queue.clone(), |queue| queue.get().is_err()).unwrap(),
            brigade::spawn(event.clone(), |event| event.wait().is_err()).unwrap(),
        ];
        signal(manager.pid(), Signal::KILL);
        let start = Stopwatch::start();
        let told = || value.get() == Err(CallError::ManagerDied);
        wait_within(Duration::from_secs(1), "a call says so", told);
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
        assert!(start.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn a_killed_client_disturbs_nobody() {
    checked(|| {
        let manager = Manager::start().unwrap();
        let (lock, value) = (manager.lock().unwrap(), manager.value(0_u64).unwrap());
        for _ in 0..10 {
            let ready = Queue::bounded(1).unwrap();
            let holder = brigade::spawn((lock.clone(), ready.clone()), |(lock, ready)| -> () {
                let _guard = lock.lock();
                ready.put(()).unwrap();
                sleep_for_ever()
            });
            let caller = brigade::spawn(value.clone(), |value| -> () {
                loop {
                    value.update((), |value, ()| *value += 1).unwrap();
                }
            });
            let (holder, caller) = (holder.unwrap(), caller.unwrap());
            ready.get().unwrap();
            caller.kill();
            holder.kill();
            let start = Stopwatch::start();
            // Whether it tells of the death or not, the lock is ours.
            drop(lock.lock());
            assert!(value.get().is_ok());
            assert!(start.elapsed() < Duration::from_secs(1));
            holder.wait();
            caller.wait();
        }
    });
}
