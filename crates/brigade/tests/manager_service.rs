//! What a manager's services promise: calls are made one at a time where the object is, and what goes wrong in one is that
//! caller's error.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brigade::{CallError, ManagedDict, ManagedList, Manager, Queue, Service};

#[test]
fn calls_from_many_processes_lose_nothing() {
    let manager = Manager::start().unwrap();
    let counter = manager.service(5_u64, |start| start).unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            brigade::spawn(counter.clone(), |counter: Service<u64>| {
                for _ in 0..500 {
                    counter.call(1_u64, |count, n| *count += n).unwrap();
                }
            })
            .unwrap()
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(counter.call((), |count, ()| *count).unwrap(), 2005);
}

#[test]
fn a_call_runs_in_the_managers_process() {
    let manager = Manager::start().unwrap();
    let service = manager.service((), |()| std::process::id()).unwrap();
    let (made_in, called_in) = service.call((), |made_in, ()| (*made_in, std::process::id())).unwrap();
    assert_eq!((made_in, called_in), (manager.pid(), manager.pid()));
}

#[test]
fn a_panic_is_its_callers_error_and_poisons_that_object_only() {
    let manager = Manager::start().unwrap();
    let poisoned = manager.service(1_u32, |n| n).unwrap();
    let other = manager.service(2_u32, |n| n).unwrap();
    let error = poisoned.call((), |_, ()| -> u32 { panic!("no number at all") }).unwrap_err();
    let CallError::Panicked(report) = error else { panic!("{error:?}") };
    assert_eq!(report.message(), "no number at all");
    assert!(report.location().unwrap().contains("manager_service.rs"));
    assert_eq!(poisoned.call((), |n, ()| *n), Err(CallError::Poisoned));
    assert_eq!(other.call((), |n, ()| *n), Ok(2));
}

#[test]
fn a_constructor_that_panics_is_an_error_and_ends_nothing() {
    let manager = Manager::start().unwrap();
    let error = manager.service((), |()| -> u32 { panic!("not today") }).unwrap_err();
    assert!(
        matches!(&error, brigade::ManagerError::Construction(CallError::Panicked(report)) if report.message() == "not today")
    );
    assert_eq!(manager.value(3).unwrap().get(), Ok(3));
}

/// Waits in a call until something is put.
fn wait_in_call(service: &Service<u32>, queue: &Queue<u32>) -> Result<u32, CallError> {
    service.call(queue.clone(), |_, queue| queue.get().expect("somebody puts"))
}

#[test]
fn a_long_call_of_one_object_does_not_keep_others_waiting() {
    let manager = Manager::start().unwrap();
    let (slow, quick) = (manager.service(0_u32, |n| n).unwrap(), manager.service(7_u32, |n| n).unwrap());
    let queue = Queue::<u32>::bounded(1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait_in_call(&slow, &queue));
        // Only once this many calls have been answered does the slow one get what it waits for.
        for _ in 0..100 {
            assert_eq!(quick.call((), |n, ()| *n), Ok(7));
        }
        queue.put(3).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(3));
    });
}

#[test]
fn a_timeout_bounds_the_wait_and_what_has_not_begun_never_begins() {
    let manager = Manager::start().unwrap();
    let slow = manager.service(0_u32, |n| n).unwrap();
    let queue = Queue::<u32>::bounded(1).unwrap();
    std::thread::scope(|scope| {
        let (begun_in, begun) = brigade_pair();
        let waiting = scope.spawn({
            let (slow, queue) = (slow.clone(), queue.clone());
            move || {
                slow.call((queue, begun_in), |n, (queue, begun)| {
                    begun.put(()).unwrap();
                    *n += queue.get().unwrap();
                })
            }
        });
        begun.get().unwrap();
        let before = Instant::now();
        let impatient = slow.timeout(Duration::from_millis(50));
        assert_eq!(impatient.call((), |n, ()| *n += 1000), Err(CallError::TimedOut));
        assert!(before.elapsed() >= Duration::from_millis(50) && before.elapsed() < Duration::from_secs(1));
        queue.put(3).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    assert_eq!(slow.call((), |n, ()| *n), Ok(3));
}

fn brigade_pair() -> (Queue<()>, Queue<()>) {
    let queue = Queue::bounded(1).expect("there is memory");
    (queue.clone(), queue)
}

#[test]
fn a_late_answer_is_not_taken_for_another() {
    let manager = Manager::start().unwrap();
    let service = manager.service(0_u32, |n| n).unwrap();
    let gate = Queue::<()>::bounded(1).unwrap();
    let late = service.timeout(Duration::from_millis(10)).call(gate.clone(), |_, gate| {
        gate.get().expect("it is opened");
        1000
    });
    assert_eq!(late, Err(CallError::TimedOut));
    gate.put(()).unwrap();
    assert_eq!(service.call(1, |_, number| number), Ok(1));
    // And around the moment when it comes.
    for number in 0..50_u32 {
        let late =
            service.timeout(Duration::from_micros(u64::from(number) * 20)).call(number, |_, number| number + 1000);
        assert!(matches!(late, Err(CallError::TimedOut)) || late == Ok(number + 1000), "{late:?}");
        assert_eq!(service.call(number, |_, number| number), Ok(number));
    }
}

#[test]
fn a_call_can_call_other_objects_of_its_manager() {
    let manager = Manager::start().unwrap();
    let inner = manager.service(10_u32, |n| n).unwrap();
    let outer = manager.service(inner.clone(), |inner| inner).unwrap();
    let sum = outer.call(5, |inner, n| {
        inner.call(n, |inner, n| {
            *inner += n;
            *inner
        })
    });
    assert_eq!(sum, Ok(Ok(15)));
    assert_eq!(inner.call((), |n, ()| *n), Ok(15));
}

#[test]
fn a_call_that_would_wait_for_itself_is_an_error() {
    let manager = Manager::start().unwrap();
    let service = manager.service(1_u32, |n| n).unwrap();
    let inner = service.call(service.clone(), |_, myself| myself.call((), |n, ()| *n));
    assert_eq!(inner, Ok(Err(CallError::WouldDeadlock)));
    assert_eq!(service.call((), |n, ()| *n), Ok(1));
}

#[test]
fn of_two_calls_that_wait_for_each_other_one_gets_an_error() {
    let manager = Manager::start().unwrap();
    let left = manager.service(1_u32, |n| n).unwrap();
    let right = manager.service(2_u32, |n| n).unwrap();
    let (here, there) = (Queue::<()>::bounded(1).unwrap(), Queue::<()>::bounded(1).unwrap());
    // Each says that it is inside, waits until the other is, and then calls the other's object.
    let cross = |mine: &Service<u32>, other: &Service<u32>, say: &Queue<()>, hear: &Queue<()>| {
        mine.call((other.clone(), say.clone(), hear.clone()), |_, (other, say, hear)| {
            say.put(()).unwrap();
            hear.get().unwrap();
            other.call((), |n, ()| *n)
        })
        .unwrap()
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| cross(&left, &right, &here, &there));
        let two = cross(&right, &left, &there, &here);
        (one.join().unwrap(), two)
    });
    let n_deadlocks = [&one, &two].into_iter().filter(|outcome| **outcome == Err(CallError::WouldDeadlock)).count();
    assert!(n_deadlocks == 1 && (one == Ok(2) || two == Ok(1)), "{one:?} {two:?}");
}

#[test]
fn a_dictionary_does_what_a_map_does() {
    let manager = Manager::start().unwrap();
    let dict = manager.dict::<String, u32>().unwrap();
    let mut model = BTreeMap::new();
    for n in 0..20_u32 {
        let key = format!("key {}", n % 7);
        assert_eq!(dict.insert(key.clone(), n), Ok(model.insert(key, n)));
    }
    assert_eq!(dict.len(), Ok(model.len()));
    assert_eq!(dict.get("key 3"), Ok(model.get("key 3").copied()));
    assert_eq!(dict.get("no key"), Ok(None));
    assert_eq!(dict.remove("key 3"), Ok(model.remove("key 3")));
    assert_eq!(dict.contains_key("key 3"), Ok(false));
    assert_eq!(dict.set_default("key 3".to_owned(), 1), Ok(1));
    assert_eq!(dict.set_default("key 3".to_owned(), 2), Ok(1));
    model.insert("key 3".to_owned(), 1);
    assert_eq!(dict.items(), Ok(model.clone().into_iter().collect()));
    assert_eq!(dict.keys(), Ok(model.keys().cloned().collect()));
    assert_eq!(dict.values(), Ok(model.values().copied().collect()));
    assert_eq!(dict.pop_first(), Ok(model.pop_first()));
    dict.extend([("z".to_owned(), 26)]).unwrap();
    assert_eq!(dict.update((), |dict, ()| dict.values().sum::<u32>()), Ok(model.values().sum::<u32>() + 26));
    dict.clear().unwrap();
    assert_eq!(dict.is_empty(), Ok(true));
}

#[test]
fn a_list_does_what_a_vector_does() {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u32>().unwrap();
    list.extend([5, 3, 5, 1]).unwrap();
    list.push(4).unwrap();
    list.insert(0, 9).unwrap();
    list.insert(100, 8).unwrap();
    assert_eq!(list.snapshot(), Ok(vec![9, 5, 3, 5, 1, 4, 8]));
    assert_eq!((list.get(2), list.get(7)), (Ok(Some(3)), Ok(None)));
    assert_eq!((list.set(2, 7), list.set(7, 7)), (Ok(Some(3)), Ok(None)));
    assert_eq!((list.remove(0), list.remove(50)), (Ok(Some(9)), Ok(None)));
    assert_eq!((list.index_of(5), list.index_of(50)), (Ok(Some(0)), Ok(None)));
    assert_eq!(list.count(5), Ok(2));
    assert_eq!(list.slice(1..3), Ok(vec![7, 5]));
    assert_eq!((list.slice(4..=100), list.slice(50..)), (Ok(vec![4, 8]), Ok(vec![])));
    list.sort().unwrap();
    list.reverse().unwrap();
    assert_eq!(list.snapshot(), Ok(vec![8, 7, 5, 5, 4, 1]));
    assert_eq!(list.pop(), Ok(Some(1)));
    list.truncate(2).unwrap();
    assert_eq!(list.len(), Ok(2));
    let mut seen = Vec::new();
    for value in list.iter() {
        seen.push(value.unwrap());
        if seen.len() == 1 {
            list.push(6).unwrap();
        }
    }
    assert_eq!(seen, [8, 7, 6]);
    list.clear().unwrap();
    assert_eq!((list.pop(), list.is_empty()), (Ok(None), Ok(true)));
}

#[test]
fn a_set_does_what_a_set_does() {
    let manager = Manager::start().unwrap();
    let set = manager.set::<u32>().unwrap();
    assert_eq!((set.insert(1), set.insert(1)), (Ok(true), Ok(false)));
    set.extend([2, 3, 4, 5]).unwrap();
    assert_eq!((set.contains(&3), set.contains(&9)), (Ok(true), Ok(false)));
    assert_eq!((set.remove(&3), set.remove(&3)), (Ok(true), Ok(false)));
    set.intersect_with([2, 4, 5, 6]).unwrap();
    set.subtract([5]).unwrap();
    assert_eq!(set.snapshot(), Ok([2, 4].into()));
    assert_eq!((set.is_subset_of([1, 2, 4]), set.is_subset_of([2])), (Ok(true), Ok(false)));
    assert_eq!((set.is_disjoint_from([1, 3]), set.is_disjoint_from([4])), (Ok(true), Ok(false)));
    assert_eq!((set.pop_first(), set.len()), (Ok(Some(2)), Ok(1)));
}

#[test]
fn objects_inside_objects_stay_live_after_the_first_handle_is_gone() {
    let manager = Manager::start().unwrap();
    let outer = manager.dict::<String, ManagedList<u32>>().unwrap();
    let inner = manager.list::<u32>().unwrap();
    outer.insert("list".to_owned(), inner).unwrap();
    // Enough new objects for the manager to look for ones that cannot be reached.
    (0..100).for_each(|n| drop(manager.value(n).unwrap()));
    let inner = outer.get("list").unwrap().unwrap();
    inner.push(4).unwrap();
    let again = outer.get("list").unwrap().unwrap();
    assert_eq!(again.snapshot(), Ok(vec![4]));
    let lengths = outer.update((), |outer, ()| outer.values().map(|list| list.len().unwrap()).collect::<Vec<_>>());
    assert_eq!(lengths, Ok(vec![1]));
}

/// A list of lists of lists: a type for an object that is in itself.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Nested(ManagedList<Nested>);

#[test]
fn an_object_can_be_inside_itself() {
    let manager = Manager::start().unwrap();
    let list = manager.list::<Nested>().unwrap();
    list.push(Nested(list.clone())).unwrap();
    let inside = list.get(0).unwrap().unwrap();
    inside.0.push(Nested(list.clone())).unwrap();
    assert_eq!(list.len(), Ok(2));
}

#[test]
fn a_queue_inside_a_dictionary_is_the_same_queue() {
    let manager = Manager::start().unwrap();
    let dict: ManagedDict<u8, Queue<String>> = manager.dict().unwrap();
    let queue = Queue::bounded(2).unwrap();
    dict.insert(1, queue.clone()).unwrap();
    dict.get(&1).unwrap().unwrap().put("through it".to_owned()).unwrap();
    assert_eq!(queue.get().unwrap(), "through it");
}

#[test]
fn an_object_lives_until_nobody_can_reach_it() {
    let manager = Manager::start().unwrap();
    let life = Queue::<u32>::bounded(1).unwrap();
    // The service holds the only other handle that can put: when it is gone, `get` would wait for ever.
    let service = manager.service(life.clone(), |life| life).unwrap();
    let life = life.into_consumer().unwrap();
    let copy = service.clone();
    drop(service);
    copy.call(5, |life, n| life.put(n).unwrap()).unwrap();
    assert_eq!(life.get(), Ok(5));
    drop(copy);
    assert_eq!(life.get_timeout(Duration::from_secs(5)), Err(brigade::GetTimeoutError::Disconnected));
}

#[test]
fn big_arguments_and_results_cross_whole() {
    let manager = Manager::start().unwrap();
    let bytes = manager.value(Vec::<u8>::new()).unwrap();
    let big: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    bytes.set(big.clone()).unwrap();
    assert!(bytes.get().unwrap() == big);
}

#[test]
fn what_cannot_be_encoded_is_an_error_on_the_side_where_it_is() {
    let manager = Manager::start().unwrap();
    let service = manager.service((), |()| ()).unwrap();
    let unlucky = || Unlucky;
    assert!(matches!(service.call(unlucky(), |(), _: Unlucky| ()), Err(CallError::Encode(_))));
    assert!(matches!(service.call((), |(), ()| Unlucky).map(drop), Err(CallError::EncodeResult(_))));
    assert_eq!(service.call((), |(), ()| 4), Ok(4));
}

/// A type that refuses to be encoded.
#[derive(serde::Deserialize)]
struct Unlucky;

impl serde::Serialize for Unlucky {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not this one"))
    }
}

#[test]
fn a_handle_is_sent_by_brigade_only_and_the_error_names_it() {
    let manager = Manager::start().unwrap();
    let list = manager.list::<u32>().unwrap();
    let error = serde_json::to_string(&list).unwrap_err().to_string();
    assert!(error.contains("ManagedList<u32>"), "{error}");
}

#[test]
fn threads_of_one_process_call_at_the_same_time() {
    let manager = Manager::start().unwrap();
    let total = manager.value(0_u64).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..200).for_each(|_| total.update(1, |total, n| *total += n).unwrap()));
        }
    });
    assert_eq!(total.get(), Ok(1600));
}

#[test]
fn open_files_travel_to_a_manager_and_back() {
    use std::io::{Read, Write};
    let manager = Manager::start().unwrap();
    let keeper = manager.service(None, |file: Option<brigade::Descriptor>| file).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    keeper.call(Some(brigade::Descriptor::from(writer)), |kept, file| *kept = file).unwrap();
    let back = keeper.call((), |kept, ()| kept.take()).unwrap().unwrap();
    std::fs::File::from(back.into_owned_fd()).write_all(b"there and back").unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "there and back");
}
