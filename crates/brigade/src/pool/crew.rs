//! One worker as the parent sees it: its lane's other ends, what was given to it, what it has done. Which worker gets which
//! task is decided in state.rs.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::kernel::passing::{self, Blocking};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::Wake;
use brigade_sys::shared::ring::{Consumer, Producer};
use rustix::process::Signal;

use super::cell::{Outcome, Record};
use super::lane::{self, kind};
use super::payload::Value;
use super::places::Rank;
use super::worker::{INITIALIZER, Recycling, Setup, now_ns, outcome, task_head};
use crate::descriptor::Descriptor;
use crate::entry::EntryPoint;
use crate::parcel::{self, Arrival, Parcel, Received, Receiver};
use crate::supervisor::Child;
use crate::wire::DecodeError;

/// The initializer of a pool's workers, kept for those that are started later.
pub(super) struct Initializer {
    pub(super) entry: EntryPoint,
    pub(super) arguments: Parcel,
}

/// A task that a worker was given, and where it stands in its ring.
struct Given {
    record: Record,
    position: u64,
}

/// The worker broke its side of the agreement; it is killed, and what it was given is given to others.
#[derive(Debug)]
pub(super) struct Misbehaved;

/// Why a worker was not given a task, which comes back.
pub(super) enum Refused {
    /// There is no room now.
    Full(Record),
    /// The arguments cannot be sent.
    Unsendable(Record, io::Error),
}

/// Why the pool itself ends a worker, for the sake of the task that it runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Doom {
    TimedOut,
    Cancelled,
}

impl From<Doom> for Outcome {
    fn from(doom: Doom) -> Self {
        match doom {
            Doom::TimedOut => Self::TimedOut,
            Doom::Cancelled => Self::Cancelled,
        }
    }
}

/// What is known of the time that the present task of a worker has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Clock {
    /// No task that was given to it has a limit.
    Unlimited,
    /// Look again in so many nanoseconds: none can be over before.
    LookAgainIn(u64),
    /// The time of the task with this number is over.
    Over(u64),
}

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
    is_ready: bool,
    /// There was no room in its ring or its socket when it was last given something.
    is_stuffed: bool,
    /// The task for whose sake it is being killed.
    doom: Option<(u64, Doom)>,
    /// It ends when it has done what it was given.
    is_leaving: bool,
    /// Tasks that it may still be given, if it is replaced after some number of them.
    n_tasks_left: Option<u64>,
    /// How many tasks it may have at a time, by the pace of its results.
    n_ahead: usize,
    /// How long a task takes on average, in nanoseconds; sets how many it is given ahead.
    task_ns: u64,
    last_result_at_ns: u64,
    payload: Vec<u8>,
}

impl Member {
    /// Makes the lane of a worker, and what the worker is to be started with.
    pub(super) fn prepare(
        bell: &lane::Bell,
        initializer: Option<&Initializer>,
        recycling: Recycling,
    ) -> io::Result<(Self, Setup)> {
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
            recycling,
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
            is_ready: false,
            is_stuffed: false,
            doom: None,
            is_leaving: false,
            n_tasks_left: recycling.max_tasks.map(std::num::NonZeroU64::get),
            n_ahead: ahead(FIRST_GUESS_NS),
            task_ns: FIRST_GUESS_NS,
            last_result_at_ns: 0,
            payload: Vec::new(),
        };
        Ok((member, setup))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, |child| child.pid())
    }

    pub(super) fn n_given(&self) -> usize {
        self.given.len()
    }

    /// Whether it has run its initializer.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready || self.lane.word32(lane::IS_READY).load(Ordering::Acquire) != 0
    }

    /// Whether it has ended itself to be replaced by a fresh one.
    pub(super) fn is_worn_out(&self) -> bool {
        self.lane.word32(lane::IS_WORN_OUT).load(Ordering::Acquire) != 0
    }

    /// Whether it was let end.
    pub(super) const fn was_stopped(&self) -> bool {
        self.is_leaving
    }

    /// When it began what it does now; `None` while it is idle.
    pub(super) fn busy_since_ns(&self) -> Option<u64> {
        let since = self.lane.word64(lane::BUSY_SINCE).load(Ordering::Relaxed);
        (since != 0).then_some(since)
    }

    pub(super) fn rank(&mut self) -> Rank {
        self.is_ready = self.is_ready();
        let n_given = self.given.len();
        if self.is_stuffed || n_given >= self.limit() {
            return Rank::Full;
        }
        match n_given {
            0 if self.is_ready => Rank::Idle,
            0 => Rank::Fresh,
            1 => Rank::Light,
            _ => Rank::Loaded,
        }
    }

    /// How many tasks it may have at a time: the one that runs, one more, and as many short ones as fill the time that
    /// passes until it is given others.
    fn limit(&self) -> usize {
        if self.doom.is_some() || self.is_leaving {
            return 0;
        }
        let n_left = self.n_tasks_left.map_or(usize::MAX, |n_left| self.given.len() + n_left as usize);
        // While it starts nobody knows how long that takes.
        n_left.min(if self.is_ready { self.n_ahead } else { 1 })
    }

    /// Gives it a task.
    pub(super) fn give(&mut self, record: Record) -> Result<(), Refused> {
        let head = task_head(record.number, record.entry);
        let pushed = match record.arguments.inline() {
            Ok(bytes) => self.tasks.push(kind::INLINE, &[&head, bytes]).ok(),
            // The parcel goes first, so that it is there when the record is; and only with a record, so that the worker
            // takes each out again.
            Err(_) if !self.tasks.has_room(head.len()) => None,
            Err(parcel) => match parcel::send(&self.socket, record.number, parcel, Blocking::Never) {
                Ok(()) => self.tasks.push(kind::PARCEL, &[&head]).ok(),
                Err(error) if is_for_lack_of_room(&error) => None,
                Err(error) => return Err(Refused::Unsendable(record, error)),
            },
        };
        let Some(position) = pushed else {
            self.is_stuffed = true;
            return Err(Refused::Full(record));
        };
        if self.given.is_empty() {
            self.last_result_at_ns = now_ns();
        }
        if let Some(n_left) = &mut self.n_tasks_left {
            *n_left -= 1;
        }
        self.given.push_back(Given { record, position });
        Ok(())
    }

    /// Wakes it, if it sleeps.
    pub(super) fn wake(&self) {
        lane::TASKS_EVENT.notify(&self.lane, Wake::All);
    }

    /// Lets it end once it has no more tasks.
    pub(super) fn stop(&mut self) {
        self.is_leaving = true;
        // Release: pairs with the Acquire load in `Worker::is_over`.
        self.lane.word32(lane::STOP).store(1, Ordering::Release);
        self.wake();
    }

    /// Takes back the task that was given last, unless the worker has started it.
    pub(super) fn take_back_last(&mut self) -> Option<Record> {
        self.take_back_at(self.given.len().checked_sub(1)?)
    }

    /// Takes back the task with this number. `None` if the worker has started it.
    pub(super) fn take_back(&mut self, number: u64) -> Option<Record> {
        self.take_back_at(self.given.iter().position(|given| given.record.number == number)?)
    }

    fn take_back_at(&mut self, idx: usize) -> Option<Record> {
        let is_ours = self.tasks.revoke(self.given.get(idx)?.position).unwrap_or(false);
        if !is_ours {
            return None;
        }
        if let Some(n_left) = &mut self.n_tasks_left {
            *n_left += 1;
        }
        self.given.remove(idx).map(|given| given.record)
    }

    /// Whether tasks may be taken back from it: all but the one that it runs, or will run next.
    pub(super) fn has_backlog(&self) -> bool {
        self.given.len() > usize::from(self.is_ready)
    }

    /// The task that it runs now, as far as its results were taken out.
    pub(super) fn running(&mut self) -> Option<u64> {
        let front = self.given.front()?;
        // A broken ring tells nothing; then the front counts as started, so that nothing runs twice.
        self.tasks.is_claimed(front.position).unwrap_or(true).then_some(front.record.number)
    }

    /// Whether a task that was given to it may only take a certain time.
    pub(super) fn has_limits(&self) -> bool {
        self.given.iter().any(|given| given.record.timeout_ns.is_some())
    }

    /// Whether the time of the task that it runs is over. Its results must have been taken out.
    pub(super) fn clock(&mut self, now_ns: u64) -> Clock {
        let Some(shortest_ns) = self.given.iter().filter_map(|given| given.record.timeout_ns).min() else {
            return Clock::Unlimited;
        };
        let front = &self.given.front().expect("at least one task has a limit").record;
        let (number, limit_ns) = (front.number, front.timeout_ns);
        match (self.running(), limit_ns) {
            (Some(_), Some(limit_ns)) => {
                // The worker says since when; a claim about the future is none.
                let ran_ns = now_ns.saturating_sub(self.busy_since_ns().unwrap_or(now_ns));
                match limit_ns.get().checked_sub(ran_ns) {
                    None | Some(0) => Clock::Over(number),
                    Some(left_ns) => Clock::LookAgainIn(left_ns),
                }
            }
            // None with a limit has begun.
            _ => Clock::LookAgainIn(shortest_ns.get().max(MIN_LOOK_NS)),
        }
    }

    /// Ends it for the sake of the task that it runs.
    pub(super) fn doom(&mut self, number: u64, doom: Doom) {
        self.doom = Some((number, doom));
        self.kill();
    }

    /// Why the pool has ended it, if it was for the sake of this task.
    pub(super) fn doom_of(&self, number: u64) -> Option<Doom> {
        self.doom.filter(|&(doomed, _)| doomed == number).map(|(_, doom)| doom)
    }

    pub(super) const fn is_doomed(&self) -> bool {
        self.doom.is_some()
    }

    /// Lets go of the clones of handles in the arguments of the task that runs now: the worker has counted its own.
    /// Not if the task may be run again.
    pub(super) fn forget_entered(&mut self) -> Option<Box<Parcel>> {
        let n_entered = self.lane.word64(lane::N_ENTERED).load(Ordering::Acquire);
        let n_done = self.n_done;
        let front = self.given.front_mut()?;
        let may_go = n_entered > n_done && front.record.n_attempts_left == 1 && front.record.arguments.has_handles();
        if may_go { front.record.arguments.forget() } else { None }
    }

    /// The next result that it has committed, with its task.
    pub(super) fn take_result(&mut self) -> Result<Option<(Record, Outcome)>, Misbehaved> {
        let Some(record) = self.results.peek().map_err(|_| Misbehaved)? else {
            return Ok(None);
        };
        let mut payload = std::mem::take(&mut self.payload);
        self.results.read(record, &mut payload);
        self.results.pop(record);
        let outcome = self.outcome(record.kind, &payload)?;
        self.payload = payload;
        self.n_done += 1;
        self.is_stuffed = false;
        let given = self.given.pop_front().ok_or(Misbehaved)?;
        Ok(Some((given.record, outcome)))
    }

    fn outcome(&mut self, kind: u32, payload: &[u8]) -> Result<Outcome, Misbehaved> {
        let (number, rest) = payload.split_first_chunk().ok_or(Misbehaved)?;
        let (&how, value) = rest.split_first().ok_or(Misbehaved)?;
        let number = u64::from_le_bytes(*number);
        // Results come in the order in which tasks were given.
        if self.given.front().is_none_or(|given| given.record.number != number) {
            return Err(Misbehaved);
        }
        let value = if kind == kind::PARCEL {
            match self.receive_parcel(number)? {
                Ok(arrival) => Value::arrived(arrival),
                Err(error) => return Ok(Outcome::NotReceived(Box::new(error))),
            }
        } else {
            Value::inline(value)
        };
        Ok(match how {
            outcome::VALUE => Outcome::Value(value),
            outcome::PANIC => Outcome::Panicked(value.unpack().map_err(|_| Misbehaved)?),
            outcome::CALL_ERROR => Outcome::CallError(value.unpack().map_err(|_| Misbehaved)?),
            _ => return Err(Misbehaved),
        })
    }

    /// After results were taken out: the worker may wait for room. Learns how long tasks take.
    pub(super) fn took(&mut self, n_results: u64) {
        lane::SPACE_EVENT.notify(&self.lane, Wake::All);
        let now = now_ns();
        if let Some(each) = now.saturating_sub(self.last_result_at_ns).checked_div(n_results) {
            self.task_ns = (self.task_ns * 3 + each) / 4;
            self.n_ahead = ahead(self.task_ns);
            self.last_result_at_ns = now;
        }
    }

    fn receive_parcel(&mut self, number: u64) -> Result<Result<Arrival, DecodeError>, Misbehaved> {
        match self.receiver.receive(&self.socket, Blocking::Never) {
            Ok(Received::Parcel { tag, arrival }) if tag == number => {
                self.count_parcel();
                Ok(Ok(arrival))
            }
            Ok(_) => Err(Misbehaved),
            // The packet is gone from the socket, and with it the descriptors for which there was no room here.
            Err(error) => {
                self.count_parcel();
                Ok(Err(DecodeError::not_received(&error)))
            }
        }
    }

    fn count_parcel(&mut self) {
        self.n_parcels += 1;
        // Release: our handles are counted; the worker may let go of its own.
        self.lane.word64(lane::N_RECEIVED).store(self.n_parcels, Ordering::Release);
        self.wake();
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        if let Some(child) = &self.child {
            child.signal(Signal::KILL);
        }
    }

    /// Takes all tasks away from it, as when the pool ends.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = Record> {
        self.given.drain(..).map(|given| given.record)
    }

    /// After its death: the task that it was running, if any, and those that it had not started, oldest first.
    pub(super) fn into_leftovers(mut self) -> (Option<Record>, impl DoubleEndedIterator<Item = Record>) {
        let was_running = self.running().is_some();
        let running = if was_running { self.given.pop_front().map(|given| given.record) } else { None };
        (running, self.given.into_iter().map(|given| given.record))
    }
}

/// Whether the worker has only not read what was sent before.
fn is_for_lack_of_room(error: &io::Error) -> bool {
    // A worker that has ended takes nothing either; its tasks are given to others once that was noticed.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// How soon to look again at the earliest whether a task with a limit has begun: one with hardly any time may wait long for
/// another that has all the time in the world.
const MIN_LOOK_NS: u64 = 1_000_000;
/// Before any result: as if a task took a millisecond, so that at first workers get few ahead.
const FIRST_GUESS_NS: u64 = 1_000_000;
/// Tasks are given ahead for this long: far more than a wake takes, far less than anybody notices.
const AHEAD: Duration = Duration::from_micros(500);
const MAX_AHEAD: u64 = 1024;

fn ahead(task_ns: u64) -> usize {
    2 + (AHEAD.as_nanos() as u64 / task_ns.max(1)).min(MAX_AHEAD) as usize
}
