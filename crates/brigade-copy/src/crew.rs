//! The worker processes of a run, whether it copies or compares: started, given tasks, counted, given up and ended here. The one
//! place that knows the pool. Which tasks, and what their answers mean, is decided in run.rs and compare/driver.rs.

mod adapt;
mod snapshot;
mod stall;
mod waits;
mod width;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use brigade::{Pool, TaskError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lanes::{Lanes, Words, n_words};
use crate::procfs;
pub(crate) use adapt::Adapts;
pub(crate) use snapshot::Answered;
pub(crate) use stall::{Due, Silent, StallWatch};
pub(crate) use waits::Waits;
use width::MOST_WORKERS;
pub(crate) use width::{Look, Width, n_steps};

/// Restarts of workers within ten seconds beyond which something is wrong with more than a file.
const MAX_RESTARTS: u32 = 1000;

type StartError = Box<dyn std::error::Error + Send + Sync>;

/// The worker processes of a run. Once they are [dismissed](Crew::dismiss), everything else does nothing.
pub(crate) struct Crew {
    pool: RwLock<Option<Pool>>,
    pub(crate) lanes: Lanes,
    n_workers: AtomicUsize,
}

/// The shared words that a worker is given.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Board {
    pub(crate) words: Words,
    pub(crate) n_lanes: usize,
}

/// How a run has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// All is done: workers have nothing to do any more.
    Whole,
    /// Workers are to be ended, whatever they are doing.
    Early,
}

impl Crew {
    /// Starts as many workers as are wanted, or as many as the limits on processes, files and memory allow. `begin` runs in each
    /// of them with what `start` makes.
    pub(crate) fn start<S: Serialize + DeserializeOwned>(
        Wanted { at_first, most }: Wanted,
        start: impl FnOnce(Board) -> S,
        begin: impl Fn(S) + Copy + 'static,
    ) -> Result<Self, StartError> {
        // Workers are watched by what the kernel tells of them.
        procfs::hold();
        // Twice as many lanes as workers: a successor may start before the lane of the dead is free.
        let n_lanes = most * 2;
        let words = Words::new(n_words(n_lanes))?;
        let lanes = Lanes::new(words.clone(), n_lanes);
        let pool = Pool::builder()
            .workers(1)
            .env_clear()
            .restart_limit(MAX_RESTARTS, Duration::from_secs(10))
            .initializer(start(Board { words, n_lanes }), begin)
            .build()?;
        let n_workers = AtomicUsize::new(widen(&pool, 1, at_first));
        Ok(Self { pool: RwLock::new(Some(pool)), lanes, n_workers })
    }

    /// How many workers there are.
    pub(crate) fn n_workers(&self) -> usize {
        self.n_workers.load(Ordering::Relaxed)
    }

    /// Sees to it that there are so many workers, if the limits allow it. Those that are there stay.
    fn widen(&self, n_wanted: usize) {
        if let Some(pool) = self.pool().as_ref() {
            self.n_workers.store(widen(pool, self.n_workers(), n_wanted), Ordering::Relaxed);
        }
    }

    /// For how long the workers together have run, or have waited for a processor. `None` where the kernel does not tell.
    fn busy(&self) -> Option<Duration> {
        self.pids()?.into_iter().map(busy).sum()
    }

    /// Hands a task to the pool, whose own thread runs `on_done`. The error says why nothing can be handed in any more.
    pub(crate) fn submit<T, R>(
        &self,
        task: T,
        run: impl Fn(T) -> R + Copy + 'static,
        on_done: impl FnOnce(Result<R, TaskError>) + Send + 'static,
    ) -> Result<(), String>
    where
        T: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let pool = self.pool();
        let Some(pool) = pool.as_ref() else { return Ok(()) };
        let submitted = pool.apply_async(task, run).map_err(|error| error.to_string())?;
        submitted.on_done(on_done);
        Ok(())
    }

    /// The processes, or `None` where they have been dismissed.
    pub(crate) fn pids(&self) -> Option<HashSet<u32>> {
        self.pool().as_ref().map(|pool| pool.workers().iter().map(|worker| worker.pid).collect())
    }

    /// How many ended before their time; also those that came and went between two looks.
    pub(crate) fn n_lost(&self) -> Option<u64> {
        self.pool().as_ref().map(Pool::lost_workers)
    }

    pub(crate) fn free_lanes_of_the_dead(&self) {
        if let Some(pids) = self.pids() {
            self.lanes.keep_only(|pid| pids.contains(&pid));
        }
    }

    /// Gives up a worker that is stuck. What follows for its task is told by the pool. `false`: it has no task.
    pub(crate) fn abandon(&self, pid: u32) -> bool {
        let is_given_up = self.pool().as_ref().is_some_and(|pool| pool.abandon(pid));
        if is_given_up {
            self.lanes.keep_only(|alive| alive != pid);
        }
        is_given_up
    }

    /// Ends the workers, and waits for none.
    pub(crate) fn terminate(&self) {
        if let Some(pool) = self.pool().as_ref() {
            pool.terminate();
        }
    }

    /// Ends the workers and waits until they are gone.
    pub(crate) fn dismiss(&self, ending: Ending) {
        // Taken out here, so that the last handle is never dropped by the pool's own thread.
        let pool = self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pool) = pool {
            match ending {
                Ending::Whole => pool.close(),
                Ending::Early => pool.terminate(),
            }
            pool.join();
        }
    }

    fn pool(&self) -> RwLockReadGuard<'_, Option<Pool>> {
        self.pool.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many workers a run is to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) at_first: usize,
    pub(crate) most: usize,
}

impl Wanted {
    /// As many as were asked for, or one for each processor and more if they wait; but no more than are useful.
    pub(crate) fn new(asked: Option<NonZeroUsize>, are_more_tried: bool, n_useful: usize) -> Self {
        let wanted = asked.map_or_else(brigade::available_cpus, usize::from);
        let most = if asked.is_none() && are_more_tried { MOST_WORKERS.max(wanted) } else { wanted };
        Self { at_first: wanted.min(n_useful).max(1), most: most.min(n_useful).max(1) }
    }
}

/// For how long a process has run, or has waited for a processor.
fn busy(pid: u32) -> Option<Duration> {
    let text = String::from_utf8(procfs::of_process(pid, c"schedstat")).ok()?;
    let mut fields = text.split_whitespace().map(|word| word.parse().map(Duration::from_nanos));
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

/// Starts more workers, as many as the limits on processes, files and memory allow. Returns how many there are then.
fn widen(pool: &Pool, n_now: usize, n_wanted: usize) -> usize {
    let narrower = std::iter::successors(Some(n_wanted), |n_workers| Some(n_workers / 2));
    narrower
        .take_while(|&n_workers| n_workers > n_now)
        .find(|&n_workers| pool.resize(n_workers).is_ok())
        .unwrap_or(n_now)
}
