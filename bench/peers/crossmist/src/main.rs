//! crossmist: its channels between processes that it starts. It needs `unsafe` nowhere in our code, yet its macros do.

#[path = "../../../src/probe.rs"]
mod probe;

use std::error::Error;
use std::time::{Duration, Instant};

const N_WARM_UP: usize = 1000;

/// 64 bytes, as large as a message of the others.
type Message = [u64; 8];

#[crossmist::func]
fn produce(mut sender: crossmist::Sender<Message>, count: usize) {
    for number in 0..count {
        sender.send(&[number as u64; 8]).expect("the receiver waits for every message");
    }
}

#[crossmist::func]
fn echo(mut ends: crossmist::Duplex<Message, Message>) {
    while let Some(message) = ends.recv().expect("the other side sends messages") {
        ends.send(&message).expect("the other side waits for every answer");
    }
}

#[crossmist::func]
fn nothing() {}

#[crossmist::main]
fn main() {
    if let Err(error) = run() {
        eprintln!("crossmist: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (what, count) = probe::arguments()?;
    let measured = probe::measure(|| match what.as_str() {
        "queue" => queue(count),
        "ping-pong" => ping_pong(count),
        "start-join" => probe::median(count, || Ok(nothing.spawn()?.join()?)),
        _ => Err(format!("{what} is not known").into()),
    })?;
    probe::answer(&measured)
}

fn queue(count: usize) -> Result<Duration, Box<dyn Error>> {
    let (sender, mut receiver) = crossmist::channel::<Message>()?;
    let producer = produce.spawn(sender, count + N_WARM_UP)?;
    let mut next = || -> Result<Message, Box<dyn Error>> { receiver.recv()?.ok_or_else(|| "it ended early".into()) };
    for _ in 0..N_WARM_UP {
        next()?;
    }
    let started = Instant::now();
    for number in N_WARM_UP..N_WARM_UP + count {
        assert_eq!(next()?[0], number as u64);
    }
    let took = started.elapsed();
    producer.join()?;
    Ok(took)
}

fn ping_pong(count: usize) -> Result<Duration, Box<dyn Error>> {
    let (mut ours, theirs) = crossmist::duplex::<Message, Message>()?;
    let process = echo.spawn(theirs)?;
    for _ in 0..N_WARM_UP {
        ours.request(&[7; 8])?;
    }
    let took = probe::median(count, || {
        ours.request(&[7; 8])?;
        Ok(())
    })?;
    drop(ours);
    process.join()?;
    Ok(took)
}
