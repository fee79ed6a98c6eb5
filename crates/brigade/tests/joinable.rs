//! What a joinable queue promises: every value is done in the end, or is there for somebody else, whoever dies.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brigade::{
    Blob, Descriptor, GetError, JoinError, JoinTimeoutError, JoinableConsumer, JoinableQueue, Lease, Process, PutError,
    Queue, Shared, SharedSlice, TryGetError, TryPutError,
};
use serde::{Deserialize, Deserializer, Serialize};
use torture::facts::{PATIENCE, Stopwatch, assert_wakes, wait_until};

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// A consumer that takes one value, says so, and keeps it until it is killed.
fn holder(queue: &JoinableQueue<u32>) -> (Process<()>, Shared<u32>) {
    let has = Shared::new(0_u32).expect("there is memory");
    let consumer = queue.clone().into_consumer().expect("there is memory");
    let process = brigade::spawn((consumer, has.clone()), |(queue, has): (JoinableConsumer<u32>, Shared<u32>)| {
        let lease = queue.get().expect("a value was put");
        has.store(*lease);
        sleep_for_ever()
    });
    (process.expect("processes can be started"), has)
}

fn in_order(lease: Lease<u32>) -> (u32, u32) {
    let attempt = lease.attempt();
    (lease.done(), attempt)
}

#[test]
fn joining_ends_when_four_workers_have_done_every_value() {
    let queue = JoinableQueue::bounded(10).unwrap();
    let n_done = SharedSlice::<u64>::new(1).unwrap();
    let workers: Vec<Process<()>> = (0..4)
        .map(|_| {
            let consumer = queue.clone().into_consumer().unwrap();
            brigade::spawn((consumer, n_done.clone()), |(queue, n_done)| {
                for lease in queue.iter() {
                    let number: u64 = *lease;
                    n_done.fetch_add(0, number);
                    lease.done();
                }
            })
            .unwrap()
        })
        .collect();
    for round in 1..=5 {
        (1..=100_u64).for_each(|number| queue.put(number).unwrap());
        queue.join().unwrap();
        assert_eq!((n_done.load(0), queue.n_open()), (round * 5050, 0));
    }
    queue.close();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(queue.put(1), Err(PutError::Closed(1)));
}

#[test]
fn what_is_done_wakes_who_joins_and_what_is_put_or_comes_back_wakes_who_gets() {
    let queue = JoinableQueue::bounded(1).unwrap();
    let leased = || {
        queue.put(1).unwrap();
        queue.get().unwrap()
    };
    assert_wakes(leased, || queue.join().unwrap(), |lease| _ = lease.done());
    assert_wakes(leased, || assert_eq!(in_order(queue.get().unwrap()), (1, 2)), drop);
    assert_wakes(|| (), || assert_eq!(in_order(queue.get().unwrap()), (1, 1)), |()| queue.put(1).unwrap());
}

#[test]
fn a_lease_that_is_dropped_goes_back_to_the_front_and_keeps_its_place() {
    let queue = JoinableQueue::bounded(10).unwrap();
    (1..=5_u32).for_each(|number| queue.put(number).unwrap());
    let leases: Vec<Lease<u32>> = queue.try_iter().take(3).collect();
    assert_eq!(leases.iter().map(|lease| (**lease, lease.attempt())).collect::<Vec<_>>(), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!((queue.len(), queue.n_open()), (2, 5));
    let mut leases = leases.into_iter();
    drop(leases.next());
    assert_eq!(queue.len(), 3);
    assert_eq!(leases.next().unwrap().done(), 2);
    drop(leases);
    assert_eq!(queue.try_iter().map(in_order).collect::<Vec<_>>(), [(1, 2), (3, 2), (4, 1), (5, 1)]);
    queue.join().unwrap();
}

#[test]
fn a_value_outlives_a_panic_of_its_consumer() {
    let queue = JoinableQueue::bounded(2).unwrap();
    queue.put("work".to_owned()).unwrap();
    let child: Process<()> = brigade::spawn(queue.clone(), |queue: JoinableQueue<String>| {
        let lease = queue.get().unwrap();
        panic!("while working on {}", *lease);
    })
    .unwrap();
    assert!(child.join().is_err());
    let lease = queue.try_get().unwrap();
    assert_eq!((lease.as_str(), lease.attempt()), ("work", 2));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _lease = lease;
        panic!("as the test wants");
    }));
    assert!(panicked.is_err());
    assert_eq!(queue.try_get().unwrap().attempt(), 3);
}

#[test]
fn what_a_killed_consumer_had_comes_first_and_joining_ends() {
    let queue = JoinableQueue::bounded(4).unwrap();
    for round in 1..=50_u32 {
        queue.put(round * 2).unwrap();
        queue.put(round * 2 + 1).unwrap();
        let (consumer, has) = holder(&queue);
        wait_until("the consumer has the first value", || has.load() == round * 2);
        assert!(queue.join_timeout(Duration::from_millis(1)).unwrap_err() == JoinTimeoutError::Timeout);
        consumer.kill();
        assert_eq!(consumer.wait().signal(), Some(9));
        // The parent has noticed the death before it tells of it.
        assert_eq!(queue.try_get().map(in_order), Ok((round * 2, 2)));
        assert_eq!(queue.try_get().map(in_order), Ok((round * 2 + 1, 1)));
        queue.join().unwrap();
    }
}

#[test]
fn a_waiting_consumer_gets_what_a_killed_one_had_within_a_second() {
    let queue = JoinableQueue::bounded(4).unwrap();
    for round in 1..=5 {
        queue.put(round).unwrap();
        let (consumer, has) = holder(&queue);
        wait_until("the consumer has the value", || has.load() == round);
        // This handle is the only one left that could put, and the queue is empty: but the value may come back.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.get_timeout(PATIENCE).map(in_order));
            consumer.kill();
            let before = Stopwatch::start();
            assert_eq!(waiting.join().unwrap(), Ok((round, 2)));
            assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        });
        queue.join().unwrap();
    }
}

#[test]
fn joining_is_given_up_when_the_last_consumer_is_killed() {
    let queue = JoinableQueue::bounded(4).unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    let (consumer, has) = holder(&queue);
    wait_until("the consumer has the value", || has.load() == 1);
    let producer = queue.into_producer().unwrap();
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| producer.join());
        consumer.kill();
        let before = Stopwatch::start();
        assert_eq!(joining.join().unwrap(), Err(JoinError::Disconnected));
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    });
    assert_eq!((producer.put(3), producer.put(4)), (Ok(()), Ok(())));
    assert_eq!(producer.put(5), Err(PutError::Disconnected(5)));
}

#[test]
fn getting_is_given_up_when_nothing_can_come_any_more() {
    let queue = JoinableQueue::<u32>::bounded(4).unwrap();
    let consumer = queue.clone().into_consumer().unwrap();
    let other = consumer.clone();
    queue.put(1).unwrap();
    drop(queue);
    let lease = consumer.get().unwrap();
    // The value may come back to others, but not to the one who has it.
    assert_eq!(other.try_get().unwrap_err(), TryGetError::Empty);
    assert_eq!(consumer.try_get().unwrap_err(), TryGetError::Disconnected);
    drop(lease);
    assert_eq!(in_order(other.get().unwrap()), (1, 2));
    assert_eq!(other.get().unwrap_err(), GetError::Disconnected);
}

#[test]
fn a_closed_queue_ends_for_those_who_can_get_nothing_back() {
    let queue = JoinableQueue::bounded(4).unwrap();
    (1..=3_u32).for_each(|number| queue.put(number).unwrap());
    queue.close();
    let other = queue.clone();
    // All leases are this handle's own: it ends, and does not wait for itself.
    let leases: Vec<Lease<u32>> = queue.iter().collect();
    assert_eq!(leases.len(), 3);
    assert_eq!(other.try_get().unwrap_err(), TryGetError::Empty);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.iter().map(in_order).collect::<Vec<_>>());
        let mut leases = leases;
        drop(leases.remove(1));
        leases.into_iter().for_each(|lease| assert_ne!(lease.done(), 2));
        assert_eq!(waiting.join().unwrap(), [(2, 2)]);
    });
    assert_eq!(queue.get().unwrap_err(), GetError::Closed);
    queue.join().unwrap();
}

#[test]
fn the_capacity_bounds_what_waits_and_not_what_is_worked_on() {
    assert_eq!(JoinableQueue::<u8>::bounded(0).unwrap_err().errno(), Some(22));
    let queue = JoinableQueue::bounded(1).unwrap();
    queue.put(1).unwrap();
    assert_eq!(queue.try_put(2), Err(TryPutError::Full(2)));
    let lease = queue.get().unwrap();
    queue.try_put(2).unwrap();
    assert!(queue.is_full());
    assert!(queue.put_timeout(3, Duration::from_millis(20)).unwrap_err().is_timeout());
    lease.done();
    assert_eq!(queue.get_timeout(PATIENCE).unwrap().done(), 2);
    assert!(queue.get_timeout(Duration::from_millis(20)).unwrap_err().is_timeout());
}

#[test]
fn a_hundred_thousand_values_of_all_sizes_wait_and_are_worked_on_together() {
    let queue = JoinableQueue::bounded(100_000).unwrap();
    let n_bytes_of = |number: usize| if number.is_multiple_of(1000) { 100_000 } else { number % 300 };
    (0..100_000).for_each(|number| queue.put(vec![number as u8; n_bytes_of(number)]).unwrap());
    let leases: Vec<Lease<Vec<u8>>> = queue.try_iter().collect();
    assert_eq!((leases.len(), queue.n_open()), (100_000, 100_000));
    for (number, lease) in leases.into_iter().enumerate() {
        assert_eq!(*lease, vec![number as u8; n_bytes_of(number)]);
        lease.done();
    }
    queue.join().unwrap();
}

#[test]
fn a_handle_in_a_value_lives_until_the_value_is_done() {
    let queue = JoinableQueue::bounded(2).unwrap();
    let inner = Queue::bounded(2).unwrap();
    inner.put(42_u32).unwrap();
    queue.put(inner.clone()).unwrap();
    let consumer = inner.into_consumer().unwrap();
    assert_eq!(consumer.get().unwrap(), 42);
    // Nobody has a handle that could put, except for whoever gets the value.
    assert_eq!(consumer.try_get(), Err(TryGetError::Empty));
    let child: Process<()> = brigade::spawn(queue.clone(), |queue: JoinableQueue<Queue<u32>>| {
        let lease = queue.get().unwrap();
        lease.put(43).unwrap();
        sleep_for_ever()
    })
    .unwrap();
    assert_eq!(consumer.get_timeout(PATIENCE), Ok(43));
    child.kill();
    child.wait();
    let lease = queue.try_get().unwrap();
    lease.put(44).unwrap();
    assert_eq!((consumer.get(), lease.attempt()), (Ok(44), 2));
    drop(lease.done());
    assert_eq!(consumer.get(), Err(GetError::Disconnected));
}

#[test]
fn descriptors_and_blobs_in_a_value_outlive_the_death_of_a_consumer() {
    use std::io::{Read, Seek, Write};

    let a_consumer_dies_with_them = || {
        let queue = JoinableQueue::bounded(2).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"written").unwrap();
        queue.put((Descriptor::from(file), Blob::from_slice(b"sealed").unwrap())).unwrap();
        let child: Process<()> = brigade::spawn(queue.clone(), |queue: JoinableQueue<(Descriptor, Blob)>| {
            let lease = queue.get().unwrap();
            assert_eq!(&*lease.1, b"sealed");
            std::process::abort()
        })
        .unwrap();
        assert!(child.join().is_err());
        let lease = queue.try_get().unwrap();
        assert_eq!((lease.attempt(), &*lease.1), (2, &b"sealed"[..]));
        let (descriptor, _blob) = lease.done();
        let (mut file, mut text) = (std::fs::File::from(descriptor.into_owned_fd()), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "written");
    };
    // The first time a process gets what it keeps: a supervisor, a session, a keeper.
    a_consumer_dies_with_them();
    let n_open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = n_open();
    a_consumer_dies_with_them();
    // Other tests of this process have descriptors too: wait for a moment with no more than before.
    wait_until("no descriptor is kept any more", || n_open() <= before);
}

static REFUSES: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Serialize)]
struct Moody(u32);

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if REFUSES.load(Ordering::SeqCst) { Err(serde::de::Error::custom("not now")) } else { Ok(Self(number)) }
    }
}

#[test]
fn a_value_that_does_not_decode_is_done() {
    let queue = JoinableQueue::bounded(2).unwrap();
    queue.put(Moody(1)).unwrap();
    queue.put(Moody(2)).unwrap();
    REFUSES.store(true, Ordering::SeqCst);
    assert!(matches!(queue.get(), Err(GetError::Decode(_))));
    REFUSES.store(false, Ordering::SeqCst);
    assert_eq!(queue.get().unwrap().done().0, 2);
    queue.join().unwrap();
}

#[test]
fn a_joinable_queue_can_be_waited_for_and_refuses_other_formats() {
    let queue = JoinableQueue::<u32>::bounded(2).unwrap();
    let other = Queue::<u32>::bounded(2).unwrap();
    assert!(brigade::wait(&[&queue, &other], Some(Duration::ZERO)).is_empty());
    let child: Process<()> = brigade::spawn(queue.clone(), |queue| queue.put(1).unwrap()).unwrap();
    assert_eq!(brigade::wait(&[&other, &queue], Some(PATIENCE)), [1]);
    child.join().unwrap();
    let error = serde_json::to_string(&queue).unwrap_err().to_string();
    assert!(error.contains("JoinableQueue"), "{error}");
}

#[test]
fn killed_producers_and_consumers_lose_no_value() {
    const N_VALUES: usize = 3000;
    let queue = JoinableQueue::bounded(8).unwrap();
    let n_put = Shared::new(0_u64).unwrap();
    let n_runs = SharedSlice::<u64>::new(N_VALUES).unwrap();
    let spawn_consumer = || -> Process<()> {
        let consumer = queue.clone().into_consumer().unwrap();
        brigade::spawn((consumer, n_runs.clone()), |(queue, n_runs)| {
            for lease in queue.iter() {
                let (number, bytes): &(usize, Vec<u8>) = &lease;
                assert!(bytes.len() == number % 700 && bytes.iter().all(|&byte| byte == *number as u8));
                n_runs.fetch_add(*number, 1);
                lease.done();
            }
        })
        .unwrap()
    };
    // Puts from where the last one was killed: its last value may be in although it was not counted.
    let spawn_producer = || -> Process<()> {
        brigade::spawn((queue.clone().into_producer().unwrap(), n_put.clone()), |(queue, n_put)| {
            while n_put.load() < N_VALUES as u64 {
                let number = n_put.load() as usize;
                queue.put((number, vec![number as u8; number % 700])).unwrap();
                n_put.fetch_add(1);
            }
        })
        .unwrap()
    };
    let mut consumers = [spawn_consumer(), spawn_consumer()];
    let mut n_kills = 0;
    while n_put.load() < N_VALUES as u64 {
        let producer = spawn_producer();
        let (n_before, next) = (n_put.load(), n_kills % 2);
        wait_until("something is put", || n_put.load() > n_before + 5 || n_put.load() == N_VALUES as u64);
        consumers[next].kill();
        consumers[next] = spawn_consumer();
        if n_kills % 3 == 0 {
            producer.kill();
        }
        producer.wait();
        n_kills += 1;
    }
    queue.join().unwrap();
    let missing: BTreeSet<usize> = (0..N_VALUES).filter(|&number| n_runs.load(number) == 0).collect();
    assert!(missing.is_empty(), "{missing:?} after {n_kills} kills");
    queue.close();
    consumers.into_iter().for_each(|consumer| assert!(consumer.wait().code().is_some()));
}
