//! `Pool`: workers that are reused. Which task goes to which worker, and what becomes of tasks whose worker died.
//!
//! A star: each worker has its own segment, and no lock is shared with it (lane.rs). The state below, private to this process,
//! is the truth about every task. Results are taken out by whoever waits for one, so a hot round trip wakes no third thread;
//! the dispatcher thread does it while nobody waits but something must go on: tasks that are not given out yet, callbacks.

mod crew;
mod dispatch;
mod errors;
mod imap;
mod lane;
mod state;
mod task;
mod worker;

use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::crew::Initializer;
use self::dispatch::Inner;
pub use self::errors::{PoolBroken, PoolError, SubmitError, TaskError};
pub use self::imap::{Imap, ImapUnordered};
use self::task::Cell;
use crate::entry::EntryPoint;
use crate::parcel::Parcel;
use crate::supervisor::SpawnError;

/// Whether a task whose worker died is run again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub enum Retry {
    /// It runs at most once; the death is its error.
    #[default]
    Never,
    /// It runs at least once, and again after each death, up to `attempts` runs in all. Its side effects may happen twice;
    /// its result is delivered once.
    OnWorkerDeath {
        /// All runs, the first included.
        attempts: NonZeroU32,
    },
}

/// Worker processes that run tasks, one after another.
///
/// Only the task that was running in a worker that died is affected by its death; a fresh worker takes its place, and tasks
/// that it had not started go to others. No task waits behind a running one while a worker is idle.
///
/// Dropping a pool is [`terminate`](Self::terminate) and [`join`](Self::join).
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let pool = brigade::Pool::new(3)?;
/// let squares: Result<Vec<u64>, _> = pool.map(1..=4_u64, |number| number * number).into_iter().collect();
/// assert_eq!(squares?, [1, 4, 9, 16]);
/// pool.close();
/// pool.join();
/// # Ok(())
/// # }
/// ```
pub struct Pool {
    inner: Arc<Inner>,
}

/// How a pool is to be. Made by [`Pool::builder`].
#[must_use]
pub struct PoolBuilder {
    n_workers: usize,
    initializer: Option<Result<Initializer, PoolError>>,
    retry: Retry,
    restart_limit: (u32, Duration),
}

/// What one worker of a pool is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerInfo {
    /// The process.
    pub pid: u32,
    /// Whether it works.
    pub state: WorkerState,
    /// Tasks that it has finished.
    pub tasks_done: u64,
    /// How long the present task has been running.
    pub running_since: Option<Duration>,
    /// How many workers have died in this place before it.
    pub restarts: u32,
}

/// Whether a worker works.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkerState {
    /// It is starting, or runs the initializer.
    Starting,
    /// It waits for a task.
    Idle,
    /// It runs a task.
    Busy,
}

impl PoolBuilder {
    /// The number of worker processes.
    pub const fn workers(mut self, n_workers: usize) -> Self {
        self.n_workers = n_workers;
        self
    }

    /// A function that each worker runs before its first task.
    pub fn initializer<A, F>(mut self, args: A, _function: F) -> Self
    where
        F: Fn(A) + Copy + 'static,
        A: Serialize + DeserializeOwned,
    {
        let entry = EntryPoint::of::<F, A, ()>().map_err(|_| PoolError::Spawn(SpawnError::NotInMainProgram));
        let made = entry.and_then(|entry| Ok(Initializer { entry, arguments: Parcel::pack(&args)? }));
        self.initializer = Some(made);
        self
    }

    /// Whether tasks whose worker died are run again; by default they are not.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Gives the pool up once more than `n_restarts` workers have died within `period`; by default 1000 in a minute.
    pub const fn restart_limit(mut self, n_restarts: u32, period: Duration) -> Self {
        self.restart_limit = (n_restarts, period);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`PoolError`]; no process is left then.
    pub fn build(self) -> Result<Pool, PoolError> {
        if self.n_workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        let n_attempts = match self.retry {
            Retry::Never => 1,
            Retry::OnWorkerDeath { attempts } => attempts.get(),
        };
        let inner = Inner::start(self.n_workers, self.initializer.transpose()?, n_attempts, self.restart_limit)?;
        Ok(Pool { inner })
    }
}

impl Pool {
    /// Starts a pool of `n_workers` processes.
    ///
    /// # Errors
    /// [`PoolError`]; no process is left then.
    pub fn new(n_workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(n_workers).build()
    }

    /// A pool with one worker for each available processor, to be changed.
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            n_workers: crate::available_cpus(),
            initializer: None,
            retry: Retry::Never,
            restart_limit: (1000, Duration::from_secs(60)),
        }
    }

    /// Runs `function` with `args` in a worker and waits for its value.
    ///
    /// # Errors
    /// [`TaskError`].
    pub fn apply<A, R, F>(&self, args: A, function: F) -> Result<R, TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.apply_async(args, function)?.get()
    }

    /// Has `function` run with `args` in a worker, and returns at once.
    ///
    /// # Errors
    /// [`SubmitError`] if the task was not taken.
    pub fn apply_async<A, R, F>(&self, args: A, _function: F) -> Result<Task<R>, SubmitError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let entry = EntryPoint::of::<F, A, R>().map_err(|_| SubmitError::NotInMainProgram)?;
        let arguments = Parcel::pack(&args)?;
        // Handles in `args` go now; those on the way are counted by the parcel's clones.
        drop(args);
        let cell = Cell::new();
        self.inner.submit(entry, arguments, &cell)?;
        Ok(Task { cell, inner: Arc::clone(&self.inner), value: PhantomData })
    }

    /// Runs `function` with each of `items`, and returns the results in their order when all have ended.
    pub fn map<I, R, F>(&self, items: I, function: F) -> Vec<Result<R, TaskError>>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> R + Copy + 'static,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let tasks: Vec<_> = items.into_iter().map(|item| self.apply_async(item, function)).collect();
        tasks.into_iter().map(|task| task.map_err(TaskError::from)?.get()).collect()
    }

    /// [`map`](Self::map) under the name that it has in Python for tuples of arguments.
    pub fn starmap<I, R, F>(&self, items: I, function: F) -> Vec<Result<R, TaskError>>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> R + Copy + 'static,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.map(items, function)
    }

    /// Runs `function` with each of `items` and yields the results in their order. Items are taken from the iterator on
    /// this thread, a bounded number ahead.
    pub fn imap<I, R, F>(&self, items: I, function: F) -> Imap<'_, I::IntoIter, R, F>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> R + Copy + 'static,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Imap::new(self, items.into_iter(), function)
    }

    /// The same with the results in the order in which they come.
    pub fn imap_unordered<I, R, F>(&self, items: I, function: F) -> ImapUnordered<'_, I::IntoIter, R, F>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> R + Copy + 'static,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        ImapUnordered::new(self, items.into_iter(), function)
    }

    /// Takes no more tasks. Those taken are done, then the workers end.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Closes the pool, waits until every task has ended, and until every worker has.
    pub fn join(&self) {
        self.inner.close();
        self.inner.join();
    }

    /// Ends the workers at once. Tasks that have not ended give [`PoolBroken::Terminated`].
    pub fn terminate(&self) {
        self.inner.terminate();
    }

    /// How many workers have ended before their time: killed, or by `exit` in a task.
    #[must_use]
    pub fn lost_workers(&self) -> u64 {
        self.inner.n_lost()
    }

    /// What each worker is doing now.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.inner.workers()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.inner.terminate();
        self.inner.join();
        self.inner.end_dispatcher();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers()).finish()
    }
}

/// A task of a pool, whose function returns `R`. Dropping it lets the task run on; its result is discarded.
#[must_use = "the result of a task, and its error, are known only to who gets it"]
pub struct Task<R> {
    cell: Arc<Cell>,
    inner: Arc<Inner>,
    value: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Task<R> {
    /// Waits until the task has ended, and returns its value.
    ///
    /// # Errors
    /// [`TaskError`] if it gave none.
    pub fn get(self) -> Result<R, TaskError> {
        self.inner.wait_until(|_| self.cell.is_ready(), None);
        self.cell.take().into_result()
    }

    /// Waits until the task has ended, at most for `timeout`.
    ///
    /// # Errors
    /// The task itself if it has not ended in time.
    pub fn get_timeout(self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        self.inner.wait_until(|_| self.cell.is_ready(), Instant::now().checked_add(timeout));
        if self.is_ready() { Ok(self.cell.take().into_result()) } else { Err(self) }
    }

    /// Has `callback` called with the result, on the pool's one dispatcher thread. Its panic is caught and logged.
    pub fn on_done(self, callback: impl FnOnce(Result<R, TaskError>) + Send + 'static) {
        self.inner.listen(&self.cell, Box::new(move |outcome| callback(outcome.into_result())));
    }
}

impl<R> Task<R> {
    /// Whether the task has ended. Never waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.cell.is_ready() || {
            self.inner.look();
            self.cell.is_ready()
        }
    }
}

impl<R> std::fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("is_ready", &self.cell.is_ready()).finish_non_exhaustive()
    }
}
