//! Deaths of those for whose put or get somebody sleeps: if it was done, the sleeper wakes, though nobody may be left to wake it.
//! And of those who hold a lease: what was not done comes back.
#![forbid(unsafe_code)]

use std::time::Duration;

use brigade::{JoinableQueue, Queue};

use crate::campaign::{Death, Fault, Scenario};

/// Put by survivors.
const PREPARED: u64 = 1 << 32;

/// A put into an empty queue from which somebody wants to get.
pub struct PutForSleeper;

impl Scenario for PutForSleeper {
    const NAME: &'static str = "queue: put for a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = Queue<u64>;
    type Ready<'a> = u64;

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok(Queue::bounded(4)?)
    }

    fn arrive(_queue: &Self::Shared, round: u64) -> Result<u64, Fault> {
        let other = Queue::bounded(1)?;
        other.put(1)?;
        Ok(round + other.get()? - 1)
    }

    fn act(queue: &Self::Shared, round: u64) -> Result<(), Fault> {
        Ok(queue.put(round)?)
    }

    fn attend(queue: &Self::Shared) -> Result<u64, Fault> {
        Ok(queue.get()?)
    }

    fn dismiss(queue: &Self::Shared) -> Result<(), Fault> {
        Ok(queue.put(PREPARED)?)
    }

    fn check(queue: &Self::Shared, death: &Death) -> Result<(), Fault> {
        let n_left = queue.len();
        match death.attended {
            Some(number) if number == death.round && n_left == 0 => Ok(()),
            Some(number) => Err(format!("{number} came, and {n_left} are left").into()),
            None if death.is_completed || n_left > 0 => Err("the item is there, and who waits for it sleeps on".into()),
            None => Ok(()),
        }
    }
}

/// A get from a full queue into which somebody wants to put.
pub struct GetForSleeper;

impl Scenario for GetForSleeper {
    const NAME: &'static str = "queue: get for a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = Queue<u64>;
    type Ready<'a> = ();

    fn set_up() -> Result<Self::Shared, Fault> {
        let queue = Queue::bounded(1)?;
        queue.put(PREPARED)?;
        Ok(queue)
    }

    fn arrive(_queue: &Self::Shared, _round: u64) -> Result<(), Fault> {
        let other = Queue::bounded(1)?;
        other.put(1)?;
        other.get()?;
        Ok(())
    }

    fn act(queue: &Self::Shared, (): ()) -> Result<(), Fault> {
        queue.get()?;
        Ok(())
    }

    /// Leaves the queue as full as it was.
    fn attend(queue: &Self::Shared) -> Result<u64, Fault> {
        queue.put(PREPARED)?;
        Ok(1)
    }

    fn dismiss(queue: &Self::Shared) -> Result<(), Fault> {
        queue.get()?;
        Ok(())
    }

    fn check(queue: &Self::Shared, death: &Death) -> Result<(), Fault> {
        if death.attended.is_none() && (death.is_completed || queue.is_empty()) {
            return Err("there is room, and who waits for it sleeps on".into());
        }
        if queue.len() == 1 { Ok(()) } else { Err(format!("{} items where there is one", queue.len()).into()) }
    }
}

/// Taking a value on lease, and getting it done.
pub struct LeaseAndDone;

/// Longer than anybody who goes on has to wait.
const PATIENCE: Duration = Duration::from_secs(5);

impl Scenario for LeaseAndDone {
    const NAME: &'static str = "joinable queue: lease, done";
    type Shared = JoinableQueue<u64>;
    type Ready<'a> = ();

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok(JoinableQueue::bounded(4)?)
    }

    fn prepare(queue: &Self::Shared, round: u64) -> Result<(), Fault> {
        Ok(queue.put(round)?)
    }

    fn arrive(_queue: &Self::Shared, _round: u64) -> Result<(), Fault> {
        let other = JoinableQueue::<u64>::bounded(1)?;
        other.put(1)?;
        other.get()?.done();
        Ok(())
    }

    fn act(queue: &Self::Shared, (): ()) -> Result<(), Fault> {
        queue.get()?.done();
        Ok(())
    }

    fn check(queue: &Self::Shared, death: &Death) -> Result<(), Fault> {
        queue.put(PREPARED)?;
        let mut done = Vec::new();
        while queue.n_open() > 0 {
            done.push(queue.get_timeout(PATIENCE)?.done());
        }
        queue.join_timeout(PATIENCE)?;
        done.sort_unstable();
        let (with, without) = (vec![death.round, PREPARED], vec![PREPARED]);
        let is_good = done == without || done == with && !death.is_completed;
        if is_good { Ok(()) } else { Err(format!("{done:?} came after {death:?}").into()) }
    }
}
