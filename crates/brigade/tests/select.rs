//! What `wait` promises: whatever becomes ready first wakes it, in whichever process it happens.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use brigade::{Consumer, Process, Queue, Receiver, Sender, pipe, wait};
use torture::facts::{Stopwatch, assert_wakes};

/// Far longer than anything below takes, far shorter than for ever.
const PATIENCE: Option<Duration> = Some(torture::facts::PATIENCE);

fn park(_: ()) {
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_to_wait_for_is_no_wait() {
    let start = Stopwatch::start();
    assert!(wait(&[], None).is_empty());
    assert!(wait(&[], PATIENCE).is_empty());
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_zero_timeout_only_looks_and_a_short_one_is_kept() {
    let queue = Queue::<u8>::bounded(1).unwrap();
    assert!(wait(&[&queue], Some(Duration::ZERO)).is_empty());
    let start = Instant::now();
    assert!(wait(&[&queue], Some(Duration::from_millis(30))).is_empty());
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn all_that_is_ready_is_named_also_what_was_given_twice() {
    let (full, empty) = (Queue::bounded(1).unwrap(), Queue::<u8>::bounded(1).unwrap());
    full.put(1_u8).unwrap();
    let (sender, receiver) = pipe::<u8>();
    sender.send(1).unwrap();
    assert_eq!(wait(&[&full, &empty, &receiver, &full], None), [0, 2, 3]);
}

#[test]
fn a_put_in_another_process_wakes_the_waiter() {
    let queues: Vec<Queue<u32>> = (0..10).map(|_| Queue::bounded(1).unwrap()).collect();
    let (go, gone) = pipe::<usize>();
    let process = brigade::spawn((queues.clone(), gone), |(queues, gone): (Vec<Queue<u32>>, Receiver<usize>)| {
        for idx in gone.iter() {
            queues[idx].put(idx as u32).unwrap();
        }
    })
    .unwrap();
    let items: Vec<&dyn brigade::Waitable> = queues.iter().map(|queue| queue as &dyn brigade::Waitable).collect();
    for round in 0..200 {
        let idx = round % queues.len();
        go.send(idx).unwrap();
        assert_eq!(wait(&items, PATIENCE), [idx]);
        assert_eq!(queues[idx].get().unwrap(), idx as u32);
    }
    drop(go);
    process.join().unwrap();
}

#[test]
fn whatever_becomes_ready_wakes_who_sleeps() {
    let (queue, other) = (Queue::<u8>::bounded(1).unwrap(), Queue::<u8>::bounded(1).unwrap());
    let first_ready = || {
        assert_eq!(wait(&[&other, &queue], PATIENCE), [1]);
        queue.get().unwrap();
    };
    assert_wakes(|| (), first_ready, |()| queue.put(1).unwrap());
    let next = Mutex::new(None);
    let start = || {
        let process = Arc::new(brigade::spawn((), park).unwrap());
        *next.lock().unwrap() = Some(Arc::clone(&process));
        process
    };
    let ended = || {
        let process = next.lock().unwrap().take().unwrap();
        assert_eq!(wait(&[&other, &*process], PATIENCE), [1]);
    };
    assert_wakes(start, ended, |process| process.kill());
}

#[test]
fn the_end_of_a_process_wakes_the_waiter_whether_it_returns_or_is_killed() {
    let (long, short) = (brigade::spawn((), park).unwrap(), brigade::spawn((), |()| ()).unwrap());
    assert_eq!(wait(&[&long, &short], PATIENCE), [1]);
    let queue = Queue::<u8>::bounded(1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&[&queue, &long], PATIENCE));
        long.kill();
        assert_eq!(waiting.join().unwrap(), [1]);
    });
}

#[test]
fn a_closed_queue_and_a_pipe_without_senders_are_ready() {
    let (queue, other) = (Queue::<u8>::bounded(1).unwrap(), Queue::<u8>::bounded(1).unwrap());
    let (sender, receiver) = pipe::<u8>();
    let closing = std::thread::spawn({
        let queue = queue.clone();
        move || queue.close()
    });
    assert_eq!(wait(&[&other, &queue, &receiver], PATIENCE), [1]);
    closing.join().unwrap();
    let dropping = std::thread::spawn(move || drop(sender));
    assert_eq!(wait(&[&other, &receiver], PATIENCE), [1]);
    dropping.join().unwrap();
}

#[test]
fn a_killed_sender_makes_its_pipe_ready() {
    let (sender, receiver) = pipe::<u8>();
    let other = Queue::<u8>::bounded(1).unwrap();
    let process: Process<()> = brigade::spawn(sender, |sender: Sender<u8>| {
        sender.send(1).unwrap();
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    assert_eq!(wait(&[&other, &receiver], PATIENCE), [1]);
    assert_eq!(receiver.recv(), Ok(1));
    process.kill();
    assert_eq!(wait(&[&other, &receiver], PATIENCE), [1]);
    assert!(receiver.recv().unwrap_err().is_disconnected());
}

#[test]
fn all_processes_that_wait_for_one_queue_wake() {
    let gate = Queue::<()>::bounded(1).unwrap();
    let (said, heard) = pipe();
    let waiters: Vec<Process<Vec<usize>>> = (0..4)
        .map(|_| {
            let args = (gate.clone().into_consumer().unwrap(), said.clone());
            brigade::spawn(args, |(gate, said): (Consumer<()>, Sender<()>)| {
                said.send(()).unwrap();
                wait(&[&gate], PATIENCE)
            })
            .unwrap()
        })
        .collect();
    for _ in &waiters {
        heard.recv_timeout(PATIENCE.unwrap()).unwrap();
    }
    // Nobody takes the value, so it is there for all of them, however late they come to wait.
    gate.put(()).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), [0]);
    }
}

#[test]
fn waiters_that_are_killed_disturb_nobody() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    for round in 0..10 {
        let (said, heard) = pipe();
        let args = (queue.clone().into_consumer().unwrap(), said);
        let waiter: Process<()> = brigade::spawn(args, |(queue, said): (Consumer<u32>, Sender<()>)| {
            said.send(()).unwrap();
            wait(&[&queue], None);
        })
        .unwrap();
        heard.recv().unwrap();
        waiter.kill();
        queue.put(round).unwrap();
        assert_eq!(wait(&[&queue], PATIENCE), [0]);
        assert_eq!(queue.get().unwrap(), round);
        waiter.wait();
    }
}
