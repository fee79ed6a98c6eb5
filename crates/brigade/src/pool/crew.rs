//! One worker as the parent sees it: its lane's other ends, what was given to it, what it has done. Which worker gets which
//! task is decided in pool.rs.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::kernel::passing::{self, Blocking};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::Wake;
use brigade_sys::shared::ring::{Consumer, Producer, PushError};
use rustix::process::Signal;

use super::lane::{self, kind};
use super::task::{Outcome, Record};
use super::worker::{INITIALIZER, Setup, outcome, task_head};
use crate::descriptor::Descriptor;
use crate::entry::EntryPoint;
use crate::parcel::{self, Arrival, Parcel, Received, Receiver};
use crate::supervisor::Child;

/// The initializer of a pool's workers, kept for those that are started later.
pub(super) struct Initializer {
    pub(super) entry: EntryPoint,
    pub(super) arguments: Parcel,
}

/// A task that a worker was given, and where it stands in its ring.
struct Given {
    record: Box<Record>,
    position: u64,
}

/// The worker broke its side of the agreement; it is killed, and what it was given is given to others.
#[derive(Debug)]
pub(super) struct Misbehaved;

/// A worker process.
pub(super) struct Member {
    pub(super) child: Option<Arc<Child>>,
    lane: Arc<Mapping>,
    socket: OwnedFd,
    tasks: Producer<Arc<Mapping>>,
    results: Consumer<Arc<Mapping>>,
    receiver: Receiver,
    given: VecDeque<Given>,
    n_parcels: u64,
    pub(super) n_done: u64,
    /// How long a task takes on average, in nanoseconds; sets how many it is given ahead.
    pub(super) task_ns: u64,
    last_result_at_ns: u64,
    payload: Vec<u8>,
}

impl Member {
    /// Makes the lane of a worker, and what the worker is to be started with.
    pub(super) fn prepare(bell: &lane::Bell, initializer: Option<&Initializer>) -> io::Result<(Self, Setup)> {
        let (memory, mapping) = lane::create_lane()?;
        let (ours, theirs) = passing::pair()?;
        if let Some(initializer) = initializer {
            parcel::send(&ours, INITIALIZER, &initializer.arguments, Blocking::Wait)?;
        }
        let setup = Setup {
            lane: Descriptor::from(memory),
            bell: Descriptor::from(bell.memory.try_clone()?),
            socket: Descriptor::from(theirs),
            initializer: initializer.map(|initializer| initializer.entry),
        };
        let member = Self {
            child: None,
            tasks: Producer::new(Arc::clone(&mapping), lane::TASKS),
            results: Consumer::new(Arc::clone(&mapping), lane::RESULTS),
            lane: mapping,
            socket: ours,
            receiver: Receiver::default(),
            given: VecDeque::new(),
            n_parcels: 0,
            n_done: 0,
            task_ns: FIRST_GUESS_NS,
            last_result_at_ns: 0,
            payload: Vec::new(),
        };
        Ok((member, setup))
    }

    pub(super) fn n_given(&self) -> usize {
        self.given.len()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.lane.word32(lane::IS_READY).load(Ordering::Acquire) != 0
    }

    /// When it began what it does now; `None` while it is idle.
    pub(super) fn busy_since_ns(&self) -> Option<u64> {
        let since = self.lane.word64(lane::BUSY_SINCE).load(Ordering::Relaxed);
        (since != 0).then_some(since)
    }

    /// Gives it a task. `Err` returns the task if there is no room now.
    pub(super) fn give(&mut self, record: Box<Record>) -> Result<(), Box<Record>> {
        let head = task_head(record.number, record.entry);
        let arguments = &record.arguments;
        let is_plain = arguments.descriptors.is_empty()
            && arguments.handles.is_empty()
            && arguments.bytes.len() <= lane::MAX_INLINE_BYTES;
        let pushed = if is_plain {
            self.tasks.push(kind::INLINE, &[&head, &arguments.bytes])
        } else {
            // The parcel goes first, so that it is there when the record is; and only with a record, so that the worker
            // takes each out again.
            if !self.tasks.has_room(head.len()) {
                return Err(record);
            }
            match parcel::send(&self.socket, record.number, arguments, Blocking::Never) {
                Ok(()) => self.tasks.push(kind::PARCEL, &[&head]),
                Err(_) => Err(PushError::Full),
            }
        };
        match pushed {
            Ok(position) => {
                if self.given.is_empty() {
                    self.last_result_at_ns = super::worker::now_ns();
                }
                self.given.push_back(Given { record, position });
                Ok(())
            }
            Err(_) => Err(record),
        }
    }

    /// Wakes it, if it sleeps.
    pub(super) fn wake(&self) {
        lane::TASKS_EVENT.notify(&self.lane, Wake::All);
    }

    /// Lets it end once it has no more tasks.
    pub(super) fn stop(&self) {
        // Release: pairs with the Acquire load in `Worker::is_over`.
        self.lane.word32(lane::STOP).store(1, Ordering::Release);
        self.wake();
    }

    /// Takes back the task that was given last, unless the worker has started it.
    pub(super) fn take_back(&mut self) -> Option<Box<Record>> {
        let last = self.given.back()?;
        let is_ours = self.tasks.revoke(last.position).unwrap_or(false);
        is_ours.then(|| self.given.pop_back().map(|given| given.record)).flatten()
    }

    /// Lets go of the clones of handles in the arguments of the task that runs now: the worker has counted its own.
    /// Not if the task may be run again.
    pub(super) fn forget_entered(&mut self) -> Option<Parcel> {
        let n_entered = self.lane.word64(lane::N_ENTERED).load(Ordering::Acquire);
        let n_done = self.n_done;
        let front = self.given.front_mut()?;
        let may_go =
            n_entered > n_done && front.record.n_attempts_left == 1 && !front.record.arguments.handles.is_empty();
        may_go.then(|| std::mem::take(&mut front.record.arguments))
    }

    /// The next result that it has committed, with its task.
    pub(super) fn take_result(&mut self) -> Result<Option<(Box<Record>, Outcome)>, Misbehaved> {
        let Some(record) = self.results.peek().map_err(|_| Misbehaved)? else {
            return Ok(None);
        };
        let mut payload = std::mem::take(&mut self.payload);
        self.results.read(record, &mut payload);
        self.results.pop(record);
        lane::SPACE_EVENT.notify(&self.lane, Wake::All);
        let (number, rest) = payload.split_first_chunk().ok_or(Misbehaved)?;
        let (&how, value) = rest.split_first().ok_or(Misbehaved)?;
        let number = u64::from_le_bytes(*number);
        // Results come in the order in which tasks were given.
        if self.given.front().is_none_or(|given| given.record.number != number) {
            return Err(Misbehaved);
        }
        let arrival = if record.kind == kind::PARCEL {
            self.receive_parcel(number)?
        } else {
            Arrival { bytes: value.to_vec(), ..Arrival::default() }
        };
        self.payload = payload;
        let outcome = match how {
            outcome::VALUE => Outcome::Value(arrival),
            outcome::PANIC => Outcome::Panicked(arrival.unpack().map_err(|_| Misbehaved)?),
            outcome::CALL_ERROR => Outcome::CallError(arrival.unpack().map_err(|_| Misbehaved)?),
            _ => return Err(Misbehaved),
        };
        self.n_done += 1;
        let given = self.given.pop_front().ok_or(Misbehaved)?;
        Ok(Some((given.record, outcome)))
    }

    /// Learns how long tasks take, from the number that ended since the last look.
    pub(super) fn learn_pace(&mut self, n_results: u64) {
        let now = super::worker::now_ns();
        if let Some(each) = now.saturating_sub(self.last_result_at_ns).checked_div(n_results) {
            self.task_ns = (self.task_ns * 3 + each) / 4;
            self.last_result_at_ns = now;
        }
    }

    fn receive_parcel(&mut self, number: u64) -> Result<Arrival, Misbehaved> {
        match self.receiver.receive(&self.socket, Blocking::Never) {
            Ok(Received::Parcel { tag, arrival }) if tag == number => {
                self.n_parcels += 1;
                // Release: our handles are counted; the worker may let go of its own.
                self.lane.word64(lane::N_RECEIVED).store(self.n_parcels, Ordering::Release);
                if !arrival.handles.is_empty() {
                    self.wake();
                }
                Ok(arrival)
            }
            _ => Err(Misbehaved),
        }
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        if let Some(child) = &self.child {
            child.signal(Signal::KILL);
        }
    }

    /// Takes all tasks away from it, as when the pool ends.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Box<Record>> {
        self.given.drain(..).map(|given| given.record)
    }

    /// After its death: the task that it was running, if any, and those that it had not started, oldest first.
    pub(super) fn into_leftovers(mut self) -> (Option<Box<Record>>, impl DoubleEndedIterator<Item = Box<Record>>) {
        let front = self.given.front().map(|given| given.position);
        // A broken ring tells nothing; then the front counts as started, so that nothing runs twice.
        let was_running = front.is_some_and(|position| self.tasks.is_claimed(position).unwrap_or(true));
        let running = if was_running { self.given.pop_front().map(|given| given.record) } else { None };
        (running, self.given.into_iter().map(|given| given.record))
    }
}

/// Before any result: as if a task took a millisecond, so that at first workers get few ahead.
const FIRST_GUESS_NS: u64 = 1_000_000;
/// Tasks are given ahead for this long: far more than a wake takes, far less than anybody notices.
const AHEAD_NS: u64 = 500_000;
const MAX_AHEAD: u64 = 1024;

impl Member {
    /// How many tasks it may have at a time: the one that runs, one more, and as many short ones as fill the time that
    /// passes until it is given others.
    pub(super) fn limit(&self) -> usize {
        2 + (AHEAD_NS / self.task_ns.max(1)).min(MAX_AHEAD) as usize
    }
}
