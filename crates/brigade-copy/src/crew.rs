//! The worker processes of a run, whether it copies or compares: started, given tasks, counted, given up and ended here. The one
//! place that knows the pool. Which tasks, and what their answers mean, is decided in run.rs and compare/driver.rs.

mod snapshot;
mod stall;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use brigade::{Pool, TaskError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lanes::{Lanes, Words, n_words};
pub(crate) use snapshot::Answered;
pub(crate) use stall::{Due, Silent, StallWatch};

/// Restarts of workers within ten seconds beyond which something is wrong with more than a file.
const MAX_RESTARTS: u32 = 1000;

type StartError = Box<dyn std::error::Error + Send + Sync>;

/// The worker processes of a run. Once they are [dismissed](Crew::dismiss), everything else does nothing.
pub(crate) struct Crew {
    pool: RwLock<Option<Pool>>,
    pub(crate) lanes: Lanes,
    pub(crate) n_workers: usize,
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
    /// Starts so many workers, or as many as the limits on processes, files and memory allow. `begin` runs in each of them with what
    /// `start` makes.
    pub(crate) fn start<S: Serialize + DeserializeOwned>(
        n_wanted: usize,
        start: impl FnOnce(Board) -> S,
        begin: impl Fn(S) + Copy + 'static,
    ) -> Result<Self, StartError> {
        // Twice as many lanes as workers: a successor may start before the lane of the dead is free.
        let n_lanes = n_wanted * 2;
        let words = Words::new(n_words(n_lanes))?;
        let lanes = Lanes::new(words.clone(), n_lanes);
        let pool = Pool::builder()
            .workers(1)
            .env_clear()
            .restart_limit(MAX_RESTARTS, Duration::from_secs(10))
            .initializer(start(Board { words, n_lanes }), begin)
            .build()?;
        let n_workers = widen(&pool, n_wanted);
        Ok(Self { pool: RwLock::new(Some(pool)), lanes, n_workers })
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

/// As many workers as were asked for, or one for each processor.
pub(crate) fn n_workers_wanted(asked: Option<NonZeroUsize>) -> usize {
    asked.map_or_else(brigade::available_cpus, usize::from)
}

/// Starts the other workers, as many as the limits on processes, files and memory allow. Returns how many there are then.
fn widen(pool: &Pool, n_wanted: usize) -> usize {
    let narrower = std::iter::successors(Some(n_wanted), |n_workers| Some(n_workers / 2));
    narrower.take_while(|&n_workers| n_workers > 1).find(|&n_workers| pool.resize(n_workers).is_ok()).unwrap_or(1)
}
