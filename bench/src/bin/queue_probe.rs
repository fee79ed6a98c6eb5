//! Times our queue from inside: prints nanoseconds per message, and those of processor time of all sides together.
//! What is compared with what is not decided here.
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};

use brigade::{Consumer, Process, Producer, Queue};
use nix::sys::resource::{UsageWho, getrusage};

/// Messages that may wait in the queue: as many as fill a ring of the usual size.
const CAPACITY: usize = 1024;
const MESSAGE: [u8; 64] = [7; 64];

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (took, n_messages) = match words.as_slice() {
        [_, "one-to-one", n_messages] => (one_to_one(n_messages.parse()?)?, n_messages),
        [_, "ping-pong", n_rounds] => (ping_pong(n_rounds.parse()?)?, n_rounds),
        [_, "many", n_each, n_messages] => (many(n_each.parse()?, n_messages.parse()?)?, n_messages),
        _ => return Err("usage: queue_probe one-to-one MESSAGES | ping-pong ROUNDS | many PROCESSES MESSAGES".into()),
    };
    let n_messages: f64 = n_messages.parse()?;
    let per_message = |duration: Duration| duration.as_nanos() as f64 / n_messages;
    println!("{:.1} {:.1}", per_message(took), per_message(processor_time()?));
    Ok(())
}

/// Another process puts, this one gets.
fn one_to_one(n_messages: usize) -> Result<Duration, Box<dyn Error>> {
    let queue = Queue::<Vec<u8>>::bounded(CAPACITY)?;
    let putter = brigade::spawn((queue.clone().into_producer()?, n_messages + 1), put_many)?;
    queue.get()?;
    let started = Instant::now();
    for _ in 0..n_messages {
        queue.get()?;
    }
    let took = started.elapsed();
    putter.join()?;
    Ok(took)
}

fn put_many((queue, n_messages): (Producer<Vec<u8>>, usize)) {
    for _ in 0..n_messages {
        queue.put(MESSAGE.to_vec()).expect("the consumer lives as long as this process");
    }
}

/// A number goes there and comes back, over two queues.
fn ping_pong(n_rounds: usize) -> Result<Duration, Box<dyn Error>> {
    let (there, back) = (Queue::<u64>::bounded(1)?, Queue::<u64>::bounded(1)?);
    let echo: Process<()> =
        brigade::spawn((there.clone().into_consumer()?, back.clone().into_producer()?), |(there, back)| {
            for number in there.iter() {
                if back.put(number).is_err() {
                    return;
                }
            }
        })?;
    let mut took = Vec::with_capacity(n_rounds);
    for number in 0..n_rounds as u64 {
        let started = Instant::now();
        there.put(number)?;
        back.get()?;
        took.push(started.elapsed());
    }
    there.close();
    echo.join()?;
    took.sort_unstable();
    Ok(took[n_rounds / 2] * n_rounds as u32)
}

/// Several processes put, as many get.
fn many(n_each: usize, n_messages: usize) -> Result<Duration, Box<dyn Error>> {
    let queue = Queue::<Vec<u8>>::bounded(CAPACITY)?;
    let mut getters: Vec<Process<usize>> = Vec::new();
    for _ in 0..n_each {
        let ours = queue.clone().into_consumer()?;
        getters.push(brigade::spawn(ours, |queue: Consumer<Vec<u8>>| queue.iter().count())?);
    }
    let started = Instant::now();
    let mut putters = Vec::new();
    for _ in 0..n_each {
        putters.push(brigade::spawn((queue.clone().into_producer()?, n_messages / n_each), put_many)?);
    }
    for putter in putters {
        putter.join()?;
    }
    queue.close();
    let mut n_got = 0;
    for getter in getters {
        n_got += getter.join()?;
    }
    assert_eq!(n_got, n_messages / n_each * n_each);
    Ok(started.elapsed())
}

/// Of this process and of the others, which have ended.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let mut total = Duration::ZERO;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            total += Duration::new(u64::try_from(time.tv_sec())?, u32::try_from(time.tv_usec() * 1000)?);
        }
    }
    Ok(total)
}
