//! Queues: order, bounds, ends, deaths.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use brigade::{GetError, JoinableQueue, Process, PutError, Queue, TryGetError, TryPutError};
use torture::facts::assert_takes_less_than;

use crate::{checked, sleep_for_ever};

const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_full_queue_refuses_at_once_or_after_the_timeout() {
    checked(|| {
        let (queue, go) = (Queue::bounded(6).unwrap(), Queue::bounded(1).unwrap());
        let process = brigade::spawn((queue.clone(), go.clone()), |(queue, go): (Queue<u8>, Queue<()>)| {
            go.get().unwrap();
            (0..6).map(|_| queue.get().unwrap()).collect::<Vec<_>>()
        });
        queue.put(1).unwrap();
        queue.try_put(2).unwrap();
        queue.put_timeout(3, SHORT).unwrap();
        (4..=6).for_each(|number| queue.put(number).unwrap());
        assert!(queue.is_full() && !queue.is_empty());
        assert_takes_less_than(SHORT, || assert_eq!(queue.try_put(7), Err(TryPutError::Full(7))));
        let start = Instant::now();
        assert!(queue.put_timeout(7, SHORT).unwrap_err().is_timeout());
        assert!(start.elapsed() >= SHORT);
        go.put(()).unwrap();
        assert_eq!(process.unwrap().join().unwrap(), [1, 2, 3, 4, 5, 6]);
        assert!(queue.is_empty() && !queue.is_full());
    });
}

#[test]
fn an_empty_queue_says_so_at_once_or_after_the_timeout() {
    checked(|| {
        let queue = Queue::bounded(10).unwrap();
        let process = brigade::spawn(queue.clone(), |queue| (2..=5).for_each(|number| queue.put(number).unwrap()));
        process.unwrap().join().unwrap();
        assert_eq!((queue.get(), queue.try_get(), queue.get_timeout(SHORT)), (Ok(2), Ok(3), Ok(4)));
        assert_eq!(queue.iter().next(), Some(5));
        // The child has ended, so an empty queue could only wait for ever; a second handle keeps it open.
        let another = queue.clone();
        assert_takes_less_than(SHORT, || assert_eq!(queue.try_get(), Err(TryGetError::Empty)));
        let start = Instant::now();
        assert!(queue.get_timeout(SHORT).unwrap_err().is_timeout());
        assert!(start.elapsed() >= SHORT && another.is_empty());
    });
}

#[test]
fn all_arrive_from_parent_and_child_each_in_order() {
    checked(|| {
        let queue = Queue::bounded(100).unwrap();
        (0..10).for_each(|number| queue.put((0, number)).unwrap());
        let process = brigade::spawn(queue.clone(), |queue| (0..10).for_each(|number| queue.put((1, number)).unwrap()));
        process.unwrap().join().unwrap();
        let all: Vec<(u8, u8)> = queue.try_iter().collect();
        assert_eq!(all.len(), 20);
        for from in 0..2 {
            let numbers: Vec<u8> = all.iter().filter(|item| item.0 == from).map(|item| item.1).collect();
            assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        }
    });
}

#[test]
fn the_length_follows_puts_and_gets() {
    checked(|| {
        let queue = Queue::bounded(10).unwrap();
        let mut lengths = vec![queue.len()];
        for is_put in [true, true, false, false] {
            if is_put {
                queue.put(1).unwrap();
            } else {
                queue.get().unwrap();
            }
            lengths.push(queue.len());
        }
        assert_eq!(lengths, [0, 1, 2, 1, 0]);
    });
}

#[test]
fn join_returns_once_every_value_is_done() {
    checked(|| {
        let queue = JoinableQueue::bounded(10).unwrap();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let work = |queue: JoinableQueue<u32>| {
                    let mut n_done = 0;
                    for lease in queue.iter() {
                        lease.done();
                        n_done += 1;
                    }
                    n_done
                };
                brigade::spawn(queue.clone(), work).unwrap()
            })
            .collect();
        (0..50).for_each(|number| queue.put(number).unwrap());
        queue.join().unwrap();
        assert_eq!(queue.n_open(), 0);
        queue.close();
        assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<i32>(), 50);
    });
}

#[test]
fn a_killed_worker_gives_its_value_back() {
    checked(|| {
        let (queue, taken) = (JoinableQueue::bounded(10).unwrap(), Queue::bounded(1).unwrap());
        (0..3).for_each(|number| queue.put(number).unwrap());
        let victim = brigade::spawn((queue.clone(), taken.clone()), |(queue, taken): (JoinableQueue<u32>, _)| -> () {
            let lease = queue.get().unwrap();
            let taken: Queue<u32> = taken;
            taken.put(*lease).unwrap();
            sleep_for_ever()
        });
        let victim = victim.unwrap();
        assert_eq!(taken.get(), Ok(0));
        victim.kill();
        victim.wait();
        let worker = brigade::spawn(queue.clone(), |queue: JoinableQueue<u32>| {
            let seen = |_| {
                let lease = queue.get().unwrap();
                let seen = (*lease, lease.attempt());
                lease.done();
                seen
            };
            (0..3).map(seen).collect::<Vec<_>>()
        });
        queue.join().unwrap();
        assert_eq!(worker.unwrap().join().unwrap(), [(0, 2), (1, 1), (2, 1)]);
    });
}

#[test]
fn a_queue_works_inside_a_lazy_static() {
    static ANSWER: LazyLock<u32> = LazyLock::new(|| {
        let queue = Queue::bounded(1).unwrap();
        let process = brigade::spawn(queue.clone(), |queue| queue.put(42).unwrap()).unwrap();
        let answer = queue.get().unwrap();
        process.join().unwrap();
        answer
    });
    checked(|| assert_eq!(*ANSWER, 42));
}

#[test]
fn a_value_that_cannot_be_encoded_is_refused_by_put() {
    #[derive(Debug)]
    struct Odd;
    impl serde::Serialize for Odd {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it never can be"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Odd {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    checked(|| {
        let queue = Queue::bounded(2).unwrap();
        let refused = queue.put(Some(Odd)).unwrap_err();
        let PutError::Encode(_, cause) = &refused else { panic!("{refused}") };
        let text = cause.to_string();
        assert!(text.contains("Odd") && text.contains("it never can be"), "{text}");
        assert!(queue.is_empty());
        queue.put(None).unwrap();
        assert!(queue.get().unwrap().is_none());
    });
}

#[test]
fn a_closed_queue_drains_and_then_says_closed() {
    checked(|| {
        let never_used = Queue::<u8>::bounded(1).unwrap();
        never_used.close();
        assert!(never_used.is_empty());
        let queue = Queue::bounded(2).unwrap();
        queue.put(1).unwrap();
        queue.close();
        assert_eq!(queue.put(2), Err(PutError::Closed(2)));
        assert_eq!(queue.try_put(2), Err(TryPutError::Closed(2)));
        assert_eq!(queue.get(), Ok(1));
        assert_eq!((queue.get(), queue.try_get()), (Err(GetError::Closed), Err(TryGetError::Closed)));
        assert!(queue.is_empty());
    });
}

#[test]
fn emptiness_is_seen_across_processes_and_closing_twice_is_harmless() {
    checked(|| {
        let (queue, go) = (Queue::bounded(10).unwrap(), Queue::bounded(1).unwrap());
        let process = brigade::spawn((queue.clone(), go.clone()), |(queue, go): (Queue<Option<bool>>, Queue<()>)| {
            go.get().unwrap();
            [Some(true), None].into_iter().for_each(|value| queue.put(value).unwrap());
        });
        assert!(queue.is_empty());
        go.put(()).unwrap();
        process.unwrap().join().unwrap();
        assert!(!queue.is_empty());
        assert_eq!((queue.get(), queue.get()), (Ok(Some(true)), Ok(None)));
        queue.close();
        queue.close();
        assert!(queue.is_empty());
    });
}

#[test]
fn a_queue_without_producers_drains_and_then_says_disconnected() {
    checked(|| {
        let queue = Queue::bounded(10).unwrap();
        let process = brigade::spawn(queue.clone().into_producer().unwrap(), |queue| {
            (1..=3).for_each(|number| queue.put(number).unwrap())
        });
        let consumer = queue.into_consumer().unwrap();
        assert_eq!(consumer.iter().collect::<Vec<i32>>(), [1, 2, 3]);
        assert_eq!(consumer.get(), Err(GetError::Disconnected));
        assert_eq!(consumer.try_get(), Err(TryGetError::Disconnected));
        process.unwrap().join().unwrap();
    });
}

#[test]
fn a_full_queue_without_consumers_says_disconnected() {
    checked(|| {
        let queue = Queue::bounded(1).unwrap();
        let process = brigade::spawn(queue.clone().into_consumer().unwrap(), |queue| queue.get().unwrap());
        let producer = queue.into_producer().unwrap();
        producer.put(1).unwrap();
        assert_eq!(process.unwrap().join().unwrap(), 1);
        producer.put(2).unwrap();
        assert_eq!(producer.put(3), Err(PutError::Disconnected(3)));
    });
}

#[test]
fn a_producer_exits_right_after_put_and_nothing_is_lost() {
    checked(|| {
        let queue = Queue::bounded(10).unwrap();
        let process = brigade::spawn(queue.clone(), |queue| -> () {
            queue.put(vec![7_u8; 3 << 20]).unwrap();
            std::process::exit(0);
        });
        // Nobody reads, and waiting for the producer is no deadlock.
        assert!(process.unwrap().wait().success());
        assert!(queue.get().unwrap() == vec![7; 3 << 20]);
    });
}

#[test]
fn killed_producers_and_consumers_leave_the_others_working() {
    checked(|| {
        let queue = Queue::<u64>::bounded(4).unwrap();
        for round in 0..20 {
            let producer =
                brigade::spawn(queue.clone(), |queue| (0..u64::MAX).for_each(|number| queue.put(number).unwrap()));
            let consumer = brigade::spawn(queue.clone(), |queue| queue.iter().for_each(drop));
            let (producer, consumer): (Process<()>, Process<()>) = (producer.unwrap(), consumer.unwrap());
            queue.get().unwrap();
            let (first, second) = if round % 2 == 0 { (&producer, &consumer) } else { (&consumer, &producer) };
            first.kill();
            first.wait();
            second.kill();
            second.wait();
        }
        queue.try_iter().for_each(drop);
        queue.put(1).unwrap();
        assert_eq!(queue.get(), Ok(1));
    });
}

#[test]
fn queues_are_sent_through_queues() {
    checked(|| {
        let outer = Queue::<Queue<String>>::bounded(1).unwrap();
        let process = brigade::spawn(outer.clone(), |outer| {
            let inner = outer.get().unwrap();
            inner.put("inside".to_owned()).unwrap();
        });
        let inner = Queue::bounded(1).unwrap();
        outer.put(inner.clone()).unwrap();
        assert_eq!(inner.get().unwrap(), "inside");
        process.unwrap().join().unwrap();
    });
}
