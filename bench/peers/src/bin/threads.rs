//! The bound within one process: crossbeam-channel and rayon, where nothing crosses a border and nothing is encoded.
#![forbid(unsafe_code)]

#[path = "../../../src/probe.rs"]
mod probe;

use std::error::Error;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

const CAPACITY: usize = 1024;
const N_WORKERS: usize = 2;
const N_ENDS: usize = 4;

/// 64 bytes, as large as a message of the others.
type Message = [u64; 8];

fn main() -> Result<(), Box<dyn Error>> {
    let (what, count) = probe::arguments()?;
    let measured = probe::measure(|| match what.as_str() {
        "queue" => queue(1, count),
        "many" => queue(N_ENDS, count),
        "ping-pong" => ping_pong(count),
        "throughput" => throughput(count),
        "round-trip" => round_trip(count),
        _ => Err(format!("{what} is not known").into()),
    })?;
    probe::answer(&measured)
}

fn queue(n_ends: usize, count: usize) -> Result<Duration, Box<dyn Error>> {
    let (sender, receiver) = bounded::<Message>(CAPACITY);
    let start = Arc::new(Barrier::new(2 * n_ends + 1));
    let mut threads = Vec::new();
    for _ in 0..n_ends {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        let starts = [Arc::clone(&start), Arc::clone(&start)];
        let [putting, getting] = starts;
        threads.push(thread::spawn(move || {
            putting.wait();
            (0..count / n_ends).for_each(|number| sender.send([number as u64; 8]).expect("somebody receives"));
        }));
        threads.push(thread::spawn(move || {
            getting.wait();
            (0..count / n_ends).for_each(|_| assert!(receiver.recv().is_ok()));
        }));
    }
    start.wait();
    let started = Instant::now();
    threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    Ok(started.elapsed())
}

fn ping_pong(count: usize) -> Result<Duration, Box<dyn Error>> {
    let (question, questions) = bounded::<Message>(1);
    let (answers, answer) = bounded::<Message>(1);
    let echo = thread::spawn(move || questions.iter().for_each(|message| answers.send(message).expect("it waits")));
    let took = probe::median(count, || {
        question.send([7; 8])?;
        answer.recv()?;
        Ok(())
    })?;
    drop(question);
    echo.join().expect("it does not panic");
    Ok(took)
}

fn throughput(count: usize) -> Result<Duration, Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(N_WORKERS).build()?;
    let started = Instant::now();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..count {
        let sender = sender.clone();
        pool.spawn(move || sender.send(()).expect("all are received"));
    }
    for _ in 0..count {
        receiver.recv()?;
    }
    Ok(started.elapsed())
}

fn round_trip(count: usize) -> Result<Duration, Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(N_WORKERS).build()?;
    probe::median(count, || {
        pool.install(|| ());
        Ok(())
    })
}
