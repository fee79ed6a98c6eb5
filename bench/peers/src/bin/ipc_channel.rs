//! ipc-channel, between this program and copies of it that it starts itself.
#![forbid(unsafe_code)]

#[path = "../../../src/probe.rs"]
mod probe;

use std::error::Error;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender, IpcSharedMemory};
use serde::{Deserialize, Serialize};

const N_WARM_UP: usize = 1000;

/// 64 bytes, as large as a message of the others.
type Message = [u64; 8];
type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a copy of this program is to do: it gets this through a channel that it was told the name of.
#[derive(Serialize, Deserialize)]
enum Job {
    Produce(IpcSender<Message>),
    Echo(IpcReceiver<Message>, IpcSender<Message>),
    Look(IpcReceiver<IpcSharedMemory>, IpcSender<u8>),
}

fn main() -> Outcome<()> {
    let (what, count) = probe::arguments()?;
    if let Some(name) = what.strip_prefix("child:") {
        return child(name, count);
    }
    let measured = probe::measure(|| match what.as_str() {
        "queue" => queue(count),
        "ping-pong" => ping_pong(count),
        "blob" => blob(count),
        _ => Err(format!("{what} is not known").into()),
    })?;
    probe::answer(&measured)
}

fn start(job: Job, count: usize) -> Outcome<Child> {
    let (server, name) = IpcOneShotServer::<IpcSender<Job>>::new()?;
    let child = Command::new(std::env::current_exe()?).args([format!("child:{name}"), count.to_string()]).spawn()?;
    let (_, jobs) = server.accept()?;
    jobs.send(job)?;
    Ok(child)
}

fn child(name: &str, count: usize) -> Outcome<()> {
    let (jobs, receiver) = ipc::channel::<Job>()?;
    IpcSender::connect(name.to_owned())?.send(jobs)?;
    match receiver.recv()? {
        Job::Produce(sender) => {
            for number in 0..count {
                sender.send([number as u64; 8])?;
            }
        }
        Job::Echo(questions, answers) => {
            for _ in 0..count {
                answers.send(questions.recv()?)?;
            }
        }
        Job::Look(memories, answers) => {
            for _ in 0..count {
                let memory = memories.recv()?;
                answers.send(memory[0] + memory[memory.len() - 1])?;
            }
        }
    }
    Ok(())
}

fn queue(count: usize) -> Outcome<Duration> {
    let (sender, receiver) = ipc::channel::<Message>()?;
    let mut producer = start(Job::Produce(sender), count + N_WARM_UP)?;
    for _ in 0..N_WARM_UP {
        receiver.recv()?;
    }
    let started = Instant::now();
    for number in N_WARM_UP..N_WARM_UP + count {
        assert_eq!(receiver.recv()?[0], number as u64);
    }
    let took = started.elapsed();
    producer.wait()?;
    Ok(took)
}

fn ping_pong(count: usize) -> Outcome<Duration> {
    let (question, questions) = ipc::channel::<Message>()?;
    let (answers, answer) = ipc::channel::<Message>()?;
    let mut echo = start(Job::Echo(questions, answers), count + N_WARM_UP)?;
    let round_trip = || -> Outcome<()> {
        question.send([7; 8])?;
        answer.recv()?;
        Ok(())
    };
    for _ in 0..N_WARM_UP {
        round_trip()?;
    }
    let took = probe::median(count, round_trip)?;
    echo.wait()?;
    Ok(took)
}

/// A gibibyte of shared memory, made beforehand: until the other side has seen its first and last byte.
fn blob(count: usize) -> Outcome<Duration> {
    let (sender, receiver) = ipc::channel::<IpcSharedMemory>()?;
    let (answers, answer) = ipc::channel::<u8>()?;
    let mut reader = start(Job::Look(receiver, answers), count)?;
    let memory = IpcSharedMemory::from_byte(1, 1 << 30);
    let took = probe::median(count, || {
        sender.send(memory.clone())?;
        assert_eq!(answer.recv()?, 2);
        Ok(())
    })?;
    reader.wait()?;
    Ok(took)
}
