//! What a queue promises: order, bounds, ends, and that no death harms it.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use brigade::{Consumer, GetError, Process, Producer, PutError, Queue, TryGetError, TryPutError};
use rustix::process::{Pid, Signal, kill_process};
use torture::facts::{Stopwatch, assert_wakes, wait_until};
use torture::processes::ProcessInfo;

#[test]
fn values_come_out_in_order_and_the_bound_holds() {
    let queue = Queue::bounded(3).unwrap();
    for number in 1..=3 {
        queue.try_put(number).unwrap();
    }
    assert!(queue.is_full());
    assert_eq!(queue.try_put(4), Err(TryPutError::Full(4)));
    let before = Instant::now();
    assert!(queue.put_timeout(4, Duration::from_millis(50)).unwrap_err().is_timeout());
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert_eq!(queue.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    assert!(queue.is_empty());
}

#[test]
fn a_queue_of_capacity_0_is_refused() {
    assert_eq!(Queue::<u8>::bounded(0).unwrap_err().errno(), Some(22));
}

#[test]
fn items_of_any_size_and_more_than_the_ring_holds_pass_in_order() {
    let queue = Queue::bounded(100_000).unwrap();
    let sizes = [0_usize, 1, 100, 300_000, 5, 2_000_000, 64, 4096];
    for round in 0..8 {
        for (idx, size) in sizes.into_iter().enumerate() {
            queue.put((round, idx, vec![idx as u8; size])).unwrap();
        }
    }
    for round in 0..8 {
        for (idx, size) in sizes.into_iter().enumerate() {
            assert_eq!(queue.get().unwrap(), (round, idx, vec![idx as u8; size]));
        }
    }
}

#[test]
fn a_hundred_thousand_small_items_wait_in_one_queue() {
    let queue = Queue::bounded(100_000).unwrap();
    (0..100_000_u32).for_each(|number| queue.put(number).unwrap());
    assert!(queue.is_full());
    assert!((0..100_000_u32).all(|number| queue.get() == Ok(number)));
}

#[test]
fn closing_lets_gets_drain_and_refuses_puts() {
    let queue = Queue::bounded(3).unwrap();
    queue.put("left".to_owned()).unwrap();
    queue.close();
    assert_eq!(queue.put("late".to_owned()), Err(PutError::Closed("late".to_owned())));
    assert_eq!(queue.get().unwrap(), "left");
    assert_eq!(queue.get(), Err(GetError::Closed));
}

#[test]
fn puts_gets_and_closing_wake_who_sleeps() {
    let queue = Queue::bounded(1).unwrap();
    assert_wakes(|| (), || assert_eq!(queue.get(), Ok(1)), |()| queue.put(1).unwrap());
    queue.put(0).unwrap();
    assert_wakes(|| (), || queue.put(0).unwrap(), |()| assert_eq!(queue.get(), Ok(0)));
    let next = Mutex::new(None);
    let open = || {
        let queue = Queue::<u32>::bounded(1).unwrap();
        *next.lock().unwrap() = Some(queue.clone());
        queue
    };
    let closed = || assert_eq!(next.lock().unwrap().take().unwrap().get(), Err(GetError::Closed));
    let mut kept = Vec::new();
    assert_wakes(open, closed, |queue| {
        queue.close();
        // To drop it would wake too.
        kept.push(queue);
    });
}

#[test]
fn trying_is_answered_though_a_stopped_process_may_have_the_lock() {
    let queue = Queue::bounded(10).unwrap();
    let other: Process<()> = brigade::spawn(queue.clone(), |queue: Queue<u32>| {
        // Full it may be, where getting was refused.
        while !queue.try_put(1).is_err_and(|error| error.is_closed()) {
            let _ = queue.try_get();
        }
    })
    .unwrap();
    // Once it is at it.
    assert_eq!(queue.get(), Ok(1));
    let signal = |signal| kill_process(Pid::from_raw(other.pid() as i32).unwrap(), signal).unwrap();
    for round in 0..100 {
        signal(Signal::STOP);
        wait_until("it is stopped", || ProcessInfo::of(other.pid()).is_some_and(|other| other.state == 'T'));
        std::thread::scope(|scope| {
            let (say, said) = mpsc::channel();
            let queue = &queue;
            scope.spawn(move || {
                let _ = queue.try_put(2);
                let _ = queue.try_get();
                // Nobody hears it if it came too late.
                let _ = say.send(());
            });
            let answer = said.recv_timeout(Duration::from_secs(5));
            signal(Signal::CONT);
            assert!(answer.is_ok(), "round {round}");
        });
    }
    queue.close();
    other.wait();
}

#[test]
fn iteration_ends_when_the_last_producer_has_ended() {
    let queue = Queue::bounded(2).unwrap();
    let producers: Vec<Process<()>> = (0..3_u32)
        .map(|producer| {
            brigade::spawn((queue.clone(), producer), |(queue, producer)| {
                (0..20).for_each(|number| queue.put((producer, number)).unwrap());
            })
            .unwrap()
        })
        .collect();
    let got: Vec<(u32, u32)> = queue.iter().collect();
    assert_eq!(got.len(), 60);
    for producer in 0..3 {
        let of_one: Vec<u32> = got.iter().filter(|(who, _)| *who == producer).map(|(_, number)| *number).collect();
        assert_eq!(of_one, (0..20).collect::<Vec<_>>());
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
}

#[test]
fn a_put_on_a_full_queue_ends_when_the_last_getter_is_killed() {
    let queue = Queue::bounded(1).unwrap();
    queue.put(1).unwrap();
    let getter = brigade::spawn(queue.clone().into_consumer().unwrap(), |_queue: Consumer<i32>| {
        loop {
            std::thread::park();
        }
    });
    let getter: Process<()> = getter.unwrap();
    assert!(queue.put_timeout(2, Duration::from_millis(20)).unwrap_err().is_timeout());
    let putter = queue.clone().into_producer().unwrap();
    drop(queue);
    getter.kill();
    let before = Stopwatch::start();
    assert_eq!(putter.put(2), Err(PutError::Disconnected(2)));
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_queue_travels_through_a_queue_and_lives_while_it_does() {
    let outer = Queue::bounded(2).unwrap();
    let inner = Queue::bounded(2).unwrap();
    inner.put(42).unwrap();
    outer.put(inner.clone()).unwrap();
    let consumer = inner.into_consumer().unwrap();
    // The handle in the message could put, so this is no disconnection.
    assert_eq!(consumer.get().unwrap(), 42);
    assert_eq!(consumer.try_get(), Err(TryGetError::Empty));
    let child =
        brigade::spawn(outer.clone(), |outer: Queue<Queue<i32>>| outer.get().unwrap().put(43).unwrap()).unwrap();
    assert_eq!(consumer.get().unwrap(), 43);
    child.join().unwrap();
    assert_eq!(consumer.get(), Err(GetError::Disconnected));
}

#[test]
fn a_handle_refuses_to_be_written_by_another_format() {
    let queue = Queue::<u8>::bounded(1).unwrap();
    let error = serde_json::to_string(&queue).unwrap_err().to_string();
    assert!(error.contains("Queue"), "{error}");
}

#[test]
fn a_thousand_queues_and_ten_thousand_clones_cost_at_most_16_descriptors() {
    let n_open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = n_open();
    let queues: Vec<Queue<u64>> = (0..1000).map(|_| Queue::bounded(4).unwrap()).collect();
    let clones: Vec<Queue<u64>> = queues.iter().flat_map(|queue| (0..10).map(|_| queue.clone())).collect();
    assert!(n_open() <= before + 16);
    clones[9_999].put(1).unwrap();
    assert_eq!(queues[999].get().unwrap(), 1);
}

#[test]
fn killed_producers_and_consumers_leave_the_queue_whole() {
    let queue = Queue::bounded(8).unwrap();
    for round in 0..20_u32 {
        let putter: Process<()> = brigade::spawn((queue.clone(), round), |(queue, round)| {
            loop {
                if queue.put((round, vec![round as u8; 100])).is_err() {
                    return;
                }
            }
        })
        .unwrap();
        let getter: Process<()> = brigade::spawn(queue.clone(), |queue: Queue<(u32, Vec<u8>)>| {
            loop {
                let Ok((round, bytes)) = queue.get() else {
                    return;
                };
                assert!(bytes.iter().all(|&byte| byte == round as u8));
            }
        })
        .unwrap();
        let (round, bytes) = queue.get_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(bytes, vec![round as u8; 100]);
        putter.kill();
        getter.kill();
        assert_eq!((putter.wait().signal(), getter.wait().signal()), (Some(9), Some(9)));
    }
    while queue.try_get().is_ok() {}
    queue.put((99, vec![99])).unwrap();
    assert_eq!(queue.get().unwrap(), (99, vec![99]));
}

#[test]
fn all_consumers_end_when_the_last_producer_is_killed() {
    let queue = Queue::<u32>::bounded(4).unwrap();
    let consumers: Vec<Process<(usize, bool)>> = (0..3)
        .map(|_| {
            brigade::spawn(queue.clone().into_consumer().unwrap(), |queue: Consumer<u32>| {
                let mut values = queue.iter();
                (values.by_ref().count(), values.error() == Some(&GetError::Disconnected))
            })
            .unwrap()
        })
        .collect();
    let (said, heard) = brigade::pipe::<()>();
    let args = (queue.into_producer().unwrap(), said);
    let producer: Process<()> = brigade::spawn(args, |(queue, said): (Producer<u32>, brigade::Sender<()>)| {
        (0..50).for_each(|number| queue.put(number).unwrap());
        said.send(()).unwrap();
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    heard.recv().unwrap();
    producer.kill();
    let outcomes: Vec<(usize, bool)> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
    assert_eq!(outcomes.iter().map(|outcome| outcome.0).sum::<usize>(), 50);
    assert!(outcomes.iter().all(|outcome| outcome.1), "{outcomes:?}");
}

#[test]
fn a_handle_in_a_lost_message_keeps_nobody_waiting() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let carrier = Queue::<Producer<u32>>::bounded(1).unwrap();
    carrier.put(queue.clone().into_producer().unwrap()).unwrap();
    let consumer = queue.into_consumer().unwrap();
    // Whoever receives the message could put.
    assert_eq!(consumer.try_get(), Err(TryGetError::Empty));
    let holder: Process<()> = brigade::spawn(carrier, |_carrier: Queue<Producer<u32>>| {
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    assert!(consumer.get_timeout(Duration::from_millis(20)).unwrap_err().is_timeout());
    holder.kill();
    holder.wait();
    let start = Stopwatch::start();
    assert_eq!(consumer.get(), Err(GetError::Disconnected));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn empty_is_said_of_an_empty_queue_only_however_many_ask() {
    let queue = Queue::bounded(20_000).unwrap();
    (0..20_000_u32).for_each(|number| queue.put(number).unwrap());
    let getters: Vec<Process<(u32, bool)>> = (0..6)
        .map(|_| {
            brigade::spawn(queue.clone(), |queue: Queue<u32>| {
                let mut n_got = 0;
                while queue.try_get().is_ok() {
                    n_got += 1;
                }
                // Nobody puts any more, so what was empty still is.
                (n_got, queue.is_empty())
            })
            .unwrap()
        })
        .collect();
    let outcomes: Vec<(u32, bool)> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
    assert_eq!(outcomes.iter().map(|outcome| outcome.0).sum::<u32>(), 20_000);
    assert!(outcomes.iter().all(|outcome| outcome.1), "{outcomes:?}");
}

#[test]
fn a_consumer_that_is_killed_while_it_waits_delays_nobody_beyond_a_second() {
    let (wanted, given) = (Queue::<()>::bounded(10).unwrap(), Queue::<u32>::bounded(1).unwrap());
    let args = || (wanted.clone().into_producer().unwrap(), given.clone().into_consumer().unwrap());
    for number in 0..10 {
        let victim: Process<()> = brigade::spawn(args(), |(wanted, given): (Producer<()>, Consumer<u32>)| {
            wanted.put(()).unwrap();
            let _ = given.get();
        })
        .unwrap();
        wanted.get().unwrap();
        let survivor = brigade::spawn(args(), |(wanted, given): (Producer<()>, Consumer<u32>)| {
            wanted.put(()).unwrap();
            given.get().unwrap()
        })
        .unwrap();
        wanted.get().unwrap();
        victim.kill();
        victim.wait();
        let start = Stopwatch::start();
        given.put(number).unwrap();
        assert_eq!(survivor.join().unwrap(), number);
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
