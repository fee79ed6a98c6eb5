//! The life of a worker process: take a task, run it, put the result, sleep when there is none. The other end of its lane is
//! in crew.rs.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use brigade_sys::kernel::child::ignore_interrupts;
use brigade_sys::kernel::memory::Mapping;
use brigade_sys::kernel::passing::Blocking;
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::Wake;
use brigade_sys::shared::ring::{Consumer, Producer, PushError, Record};
use serde::{Deserialize, Serialize};

use super::lane::{self, kind};
use super::payload;
pub(super) use super::recycling::Recycling;
use super::recycling::Wear;
use crate::descriptor::Descriptor;
use crate::entry::{CallError, EntryPoint};
use crate::last_words::panics;
use crate::object::Handle;
use crate::parcel::{self, Arrival, Parcel, Received, Receiver};
use crate::spin::{self, Spin};
use crate::wire::{DecodeError, EncodeError};

/// What a worker is started with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) lane: Descriptor,
    pub(super) bell: Descriptor,
    pub(super) socket: Descriptor,
    /// The function to run before the first task; its arguments are the first parcel on the socket.
    pub(super) initializer: Option<EntryPoint>,
    pub(super) recycling: Recycling,
}

/// How a task ended; the first byte of a result's payload, after the task's number.
pub(super) mod outcome {
    pub(crate) const VALUE: u8 = 0;
    pub(crate) const PANIC: u8 = 1;
    pub(crate) const CALL_ERROR: u8 = 2;
}

/// The number of a task, its entry point: what goes ahead of the arguments.
pub(super) const TASK_HEAD_BYTES: usize = 24;

pub(super) fn task_head(number: u64, entry: EntryPoint) -> [u8; TASK_HEAD_BYTES] {
    let mut head = [0; TASK_HEAD_BYTES];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&entry.to_bytes());
    head
}

struct Worker {
    lane: Arc<Mapping>,
    bell: Mapping,
    socket: Descriptor,
    tasks: Consumer<Arc<Mapping>>,
    results: Producer<Arc<Mapping>>,
    receiver: Receiver,
    /// Results whose handles the parent has not counted yet.
    on_the_way: VecDeque<Vec<Handle>>,
    n_sent: u64,
    n_entered: u64,
    wear: Wear,
    payload: Vec<u8>,
}

/// What a worker does after a task.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Afterwards {
    GoOn,
    End,
}

/// The function that every worker process runs.
pub(super) fn run(setup: Setup) {
    ignore_interrupts();
    let worker = Worker::new(setup);
    worker.expect("the parent has passed whole segments of the right size").work();
}

impl Worker {
    fn new(setup: Setup) -> io::Result<Self> {
        let lane = Arc::new(lane::map_lane(&setup.lane)?);
        let mut worker = Self {
            tasks: Consumer::new(Arc::clone(&lane), lane::TASKS),
            results: Producer::new(Arc::clone(&lane), lane::RESULTS),
            lane,
            bell: lane::map_bell(&setup.bell)?,
            socket: setup.socket,
            receiver: Receiver::default(),
            on_the_way: VecDeque::new(),
            n_sent: 0,
            n_entered: 0,
            wear: Wear::new(setup.recycling),
            payload: Vec::new(),
        };
        // The initializer may confine this process.
        spin::has_several_processors();
        if let Some(entry) = setup.initializer {
            let arguments = worker.receive_parcel(INITIALIZER)?;
            let initialize =
                entry.caller().ok_or_else(|| io::Error::other("the initializer is not in this program"))?;
            if let Err(error) = initialize(arguments, &mut || {}) {
                return Err(io::Error::other(format!("the initializer's arguments or result: {error:?}")));
            }
        }
        worker.lane.word32(lane::IS_READY).store(1, Ordering::Release);
        // Others may have more than they can do now.
        lane::BELL.notify(&worker.bell, Wake::All);
        Ok(worker)
    }

    fn work(mut self) {
        let mut spin = Spin::default();
        loop {
            match self.tasks.peek().expect("the parent writes sound rings") {
                Some(record) => {
                    spin.found();
                    if !self.tasks.claim(record) {
                        self.pass_over(record);
                    } else if self.do_task(record) == Afterwards::End {
                        return self.end_worn_out();
                    }
                }
                None if spin.turn() => {}
                None => {
                    spin.slept();
                    self.forget_what_was_received();
                    if self.is_over() {
                        return;
                    }
                    self.sleep();
                }
            }
        }
    }

    fn is_over(&mut self) -> bool {
        // Acquire: pairs with the Release store in `Member::stop`; tasks pushed before it are seen.
        self.lane.word32(lane::STOP).load(Ordering::Acquire) != 0 && matches!(self.tasks.peek(), Ok(None))
    }

    /// Sleeps without a deadline: the parent wakes us, and if it dies the kernel ends us.
    fn sleep(&mut self) {
        let ticket = lane::TASKS_EVENT.announce(&self.lane);
        let is_nothing_there = matches!(self.tasks.peek(), Ok(None)) && !self.can_forget();
        if is_nothing_there && self.lane.word32(lane::STOP).load(Ordering::Acquire) == 0 {
            lane::TASKS_EVENT.sleep(&self.lane, ticket, None);
        }
    }

    /// A task that was taken back: its parcel goes too, and nothing in it is counted here, for it may be gone already.
    fn pass_over(&mut self, record: Record) {
        if record.kind == kind::PARCEL {
            // If there is no room for its descriptors here, they are gone just as well.
            let _ = self.receiver.discard(&self.socket);
        }
        self.tasks.pop(record);
    }

    /// Ends this process, which has done its share. What it was given besides is given to others.
    fn end_worn_out(mut self) {
        self.lane.word32(lane::IS_WORN_OUT).store(1, Ordering::Release);
        loop {
            let ticket = lane::TASKS_EVENT.announce(&self.lane);
            self.forget_what_was_received();
            if self.on_the_way.is_empty() {
                return;
            }
            // Handles in results are ours until the parent has counted its own.
            lane::BELL.notify(&self.bell, Wake::All);
            lane::TASKS_EVENT.sleep(&self.lane, ticket, None);
        }
    }

    fn do_task(&mut self, record: Record) -> Afterwards {
        self.lane.word64(lane::BUSY_SINCE).store(now_ns(), Ordering::Relaxed);
        let mut payload = std::mem::take(&mut self.payload);
        self.tasks.read(record, &mut payload);
        let (number, entry) = parse_task_head(&payload).expect("the parent writes whole tasks");
        let is_parcel = record.kind == kind::PARCEL;
        let arguments = if is_parcel {
            self.receive_parcel(number)
        } else {
            Ok(Arrival { bytes: payload.split_off(TASK_HEAD_BYTES), ..Arrival::default() })
        };
        self.payload = payload;
        let outcome = match arguments {
            Ok(arguments) => self.call(entry, arguments, is_parcel),
            // As when this process may not hold the descriptors that came.
            Err(error) => self.fail(&CallError::DecodeArgs(DecodeError::not_received(&error))),
        };
        self.put_result(number, outcome);
        // Only now: until the result is committed, the claimed record says which task was running.
        self.tasks.pop(record);
        self.lane.word64(lane::BUSY_SINCE).store(0, Ordering::Relaxed);
        let is_over = self.wear.is_over_after_task();
        let is_out_of_tasks = is_over || matches!(self.tasks.peek(), Ok(None));
        lane::ring_for_result(&self.bell, is_out_of_tasks);
        if is_over { Afterwards::End } else { Afterwards::GoOn }
    }

    fn call(&mut self, entry: EntryPoint, arguments: Arrival, is_parcel: bool) -> (u8, Parcel) {
        let caller = entry.caller().expect("the parent is the same program and has looked the function up");
        self.n_entered += 1;
        let (lane, bell, n_entered) = (&self.lane, &self.bell, self.n_entered);
        let mut entered = || {
            // Release: our handles are counted; the parent may let go of its clones.
            lane.word64(lane::N_ENTERED).store(n_entered, Ordering::Release);
            if is_parcel {
                lane::BELL.notify(bell, Wake::All);
            }
        };
        match panics::catch(|| caller(arguments, &mut entered)) {
            Ok(Ok(value)) => (outcome::VALUE, value),
            Ok(Err(error)) => self.fail(&error),
            Err(report) => (outcome::PANIC, Parcel::pack(&report).expect("reports are plain text")),
        }
    }

    fn fail(&self, error: &CallError) -> (u8, Parcel) {
        (outcome::CALL_ERROR, Parcel::pack(error).expect("errors are plain text"))
    }

    fn put_result(&mut self, number: u64, (how, value): (u8, Parcel)) {
        if payload::is_plain(&value) {
            self.push(kind::INLINE, &[&result_head(number, how), &value.bytes]);
        } else if let Err(error) = self.send(number, &value) {
            let (how, value) = self.fail(&CallError::EncodeResult(EncodeError::unsent("a value", &error)));
            self.push(kind::INLINE, &[&result_head(number, how), &value.bytes]);
        } else {
            self.push(kind::PARCEL, &[&result_head(number, how)]);
            self.n_sent += 1;
            self.on_the_way.push_back(value.handles);
            self.forget_what_was_received();
        }
    }

    fn send(&self, number: u64, value: &Parcel) -> io::Result<()> {
        match parcel::send(&self.socket, number, value, Blocking::Never) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The parent may be waiting for something else; parcels that pile up are a reason to look.
                lane::BELL.notify(&self.bell, Wake::All);
                parcel::send(&self.socket, number, value, Blocking::Wait)
            }
            sent => sent,
        }
    }

    /// Lets go of the handles in results that the parent has counted.
    fn forget_what_was_received(&mut self) {
        while self.can_forget() {
            self.on_the_way.pop_front();
        }
    }

    fn can_forget(&self) -> bool {
        // Acquire: pairs with the Release store in `Member::receive_parcel`.
        let n_received = self.lane.word64(lane::N_RECEIVED).load(Ordering::Acquire);
        !self.on_the_way.is_empty() && self.n_sent - (self.on_the_way.len() as u64) < n_received
    }

    fn push(&mut self, kind: u32, parts: &[&[u8]]) {
        loop {
            match self.results.push(kind, parts) {
                Ok(_) => return,
                Err(PushError::Corrupt(error)) => panic!("results: {error}"),
                Err(PushError::Full) => {
                    let ticket = lane::SPACE_EVENT.announce(&self.lane);
                    // The parent may be waiting for something else; results that pile up are a reason to look.
                    lane::BELL.notify(&self.bell, Wake::All);
                    if self.results.push(kind, parts).is_ok() {
                        return;
                    }
                    lane::SPACE_EVENT.sleep(&self.lane, ticket, None);
                }
            }
        }
    }

    /// The parcel with this tag. Earlier ones belong to tasks that were taken back.
    fn receive_parcel(&mut self, wanted: u64) -> io::Result<Arrival> {
        loop {
            match self.receiver.receive(&self.socket, Blocking::Wait)? {
                Received::Parcel { tag, arrival } if tag == wanted => return Ok(arrival),
                Received::Parcel { .. } | Received::NotYet => {}
                Received::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
}

/// The tag of the initializer's arguments; tasks are numbered from 1.
pub(super) const INITIALIZER: u64 = 0;

fn result_head(number: u64, how: u8) -> [u8; 9] {
    let mut head = [how; 9];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head
}

fn parse_task_head(payload: &[u8]) -> Option<(u64, EntryPoint)> {
    let (number, rest) = payload.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), EntryPoint::from_bytes(rest.first_chunk()?)))
}

/// Nanoseconds of CLOCK_MONOTONIC, never 0.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64).max(1)
}
