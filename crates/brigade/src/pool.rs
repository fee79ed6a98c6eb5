//! `Pool`: workers that are reused. Which task goes to which worker, and what becomes of tasks whose worker died.
//!
//! A star: each worker has its own segment, and no lock is shared with it (lane.rs). The state below, private to this process,
//! is the truth about every task. Results are taken out by whoever waits for one, so a hot round trip wakes no third thread;
//! the dispatcher thread does it while nobody waits but something must go on: tasks that are not given out yet, callbacks.

mod cell;
mod crew;
mod dispatch;
mod errors;
mod imap;
mod inner;
mod lane;
mod payload;
mod places;
mod recycling;
mod staff;
mod state;
mod stuck;
mod submit;
mod task;
mod worker;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::crew::Initializer;
pub use self::errors::{PoolBroken, PoolError, SubmitError, TaskError};
pub use self::imap::{Imap, ImapUnordered};
use self::inner::Inner;
use self::recycling::Recycling;
use self::staff::Staffing;
pub use self::submit::Submitter;
pub use self::task::{Cancellation, MapTask, Task};
use crate::entry::EntryPoint;
use crate::parcel::Parcel;
use crate::process::ProcessGroup;
use crate::supervisor::{Caller, SpawnError};

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
    recycling: Recycling,
    retry: Retry,
    restart_limit: (u32, Duration),
    process_group: ProcessGroup,
    has_environment: bool,
}

/// What one worker of a pool is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WorkerInfo {
    /// The process.
    pub pid: u32,
    /// Whether it works.
    pub state: WorkerState,
    /// Tasks that it has finished, whose results have been taken out of it.
    pub tasks_done: u64,
    /// How long the present task has been running.
    pub running_since: Option<Duration>,
    /// How many workers were in this place before it: they died, or had done their share.
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

const fn at_least_1(number: u64) -> NonZeroU64 {
    match NonZeroU64::new(number) {
        Some(number) => number,
        None => NonZeroU64::MIN,
    }
}

impl PoolBuilder {
    /// The number of worker processes.
    pub const fn workers(mut self, n_workers: usize) -> Self {
        self.n_workers = n_workers;
        self
    }

    /// A function that each worker runs before its first task. If it panics, or ends the worker, the pool is broken:
    /// [`PoolBroken::InitializerFailed`].
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

    /// Has each worker replaced by a fresh one after this many tasks; 0 is taken for 1.
    pub const fn max_tasks_per_worker(mut self, n_tasks: u64) -> Self {
        self.recycling.max_tasks = Some(at_least_1(n_tasks));
        self
    }

    /// Has a worker replaced by a fresh one after a task that leaves it with more resident memory than this. Each worker
    /// asks the kernel (`/proc/self/statm`) after each task; where that cannot be read, no worker is replaced.
    pub const fn max_rss_per_worker(mut self, n_bytes: u64) -> Self {
        self.recycling.max_resident_bytes = Some(at_least_1(n_bytes));
        self
    }

    /// Gives the pool up once more than `n_restarts` workers have died within `period`; by default 1000 in a minute. Workers
    /// that die one after another before they are ready are replaced ever more slowly. Those that the pool itself ends, for a
    /// timeout, a cancelled task or to replace them, do not count.
    pub const fn restart_limit(mut self, n_restarts: u32, period: Duration) -> Self {
        self.restart_limit = (n_restarts, period);
        self
    }

    /// Whether each worker leads a process group of its own; by default all are in that of this process.
    pub const fn process_group(mut self, group: ProcessGroup) -> Self {
        self.process_group = group;
        self
    }

    /// Starts workers with an empty environment; by default they have that of this process.
    pub const fn env_clear(mut self) -> Self {
        self.has_environment = false;
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
        let staffing = Staffing {
            initializer: self.initializer.transpose()?,
            recycling: self.recycling,
            restart_limit: self.restart_limit,
            process_group: self.process_group,
            has_environment: self.has_environment,
            caller: Caller::capture(),
        };
        Ok(Pool { inner: Inner::start(self.n_workers, n_attempts, staffing)? })
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
            recycling: Recycling::default(),
            retry: Retry::Never,
            restart_limit: (1000, Duration::from_secs(60)),
            process_group: ProcessGroup::Inherit,
            has_environment: true,
        }
    }

    /// Changes the number of workers. Further ones are started before this returns; those that are too many end once they have
    /// done the task that they run.
    ///
    /// # Errors
    /// [`PoolError`]; the number of workers is then what it was.
    pub fn resize(&self, n_workers: usize) -> Result<(), PoolError> {
        self.inner.resize(NonZeroUsize::new(n_workers).ok_or(PoolError::NoWorkers)?)
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

    /// Gives up the worker with this pid: kills it, and does not wait until the kernel has ended it, which it cannot as long as a
    /// file system or a device does not answer. The task that it runs gives [`TaskError::Killed`] now, tasks that it has not
    /// started go to others, and a fresh worker takes its place. Nobody waits for it any more: if the kernel cannot end it, it
    /// is still there when this process has ended. `false`, and nothing is done, if no such worker runs a task.
    ///
    /// Without this a worker that cannot be ended keeps its place and its task, and `join` waits for it, unless the pool was
    /// terminated: then it is left behind after a second.
    pub fn abandon(&self, pid: u32) -> bool {
        self.inner.abandon(pid)
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
