//! A task, and several tasks, as their submitter sees them: waited for, polled, awaited, cancelled.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Listener};
use super::inner::Inner;
use super::state::{Running, Withdrawal};
use super::{SubmitError, TaskError};

/// A task of a pool, whose function returns `R`. Dropping it lets the task run on; its result is discarded.
///
/// It is also a future, which is woken without any runtime: by whichever thread takes results out of the pool.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let pool = brigade::Pool::new(2)?;
/// let task = pool.apply_async((3_u64, 4_u64), |(a, b)| a * b)?;
/// assert_eq!(task.get()?, 12);
/// # Ok(())
/// # }
/// ```
#[must_use = "the result of a task, and its error, are known only to who gets it"]
pub struct Task<R> {
    cell: Arc<Cell>,
    inner: Arc<Inner>,
    /// A waker was left in the cell.
    is_polled: bool,
    value: PhantomData<fn() -> R>,
}

/// What a task was doing when it was cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Cancellation {
    /// It had not started, and now never will: it gives [`TaskError::Cancelled`].
    Unstarted,
    /// It was running. Its worker is being killed, and it gives [`TaskError::Cancelled`] once that is dead; or its result, if
    /// that came in the same instant.
    Running,
    /// It had ended already, and gives its result.
    Ended,
}

impl<R> Task<R> {
    pub(super) fn new(cell: Arc<Cell>, inner: Arc<Inner>) -> Self {
        Self { cell, inner, is_polled: false, value: PhantomData }
    }

    /// Whether the task has ended. Never waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.cell.is_ready() || {
            self.inner.look();
            self.cell.is_ready()
        }
    }

    /// Ends the task if it has not ended. Never waits.
    ///
    /// One that has not started is taken back; one that is running ends with its worker, which is killed and replaced. No
    /// other task is affected.
    pub fn cancel(&self) -> Cancellation {
        match self.inner.withdraw(&self.cell, Running::Stop) {
            Withdrawal::Unstarted => Cancellation::Unstarted,
            Withdrawal::Running => Cancellation::Running,
            Withdrawal::Ended => Cancellation::Ended,
        }
    }

    /// Takes the task back unless it has started.
    pub(super) fn cancel_unstarted(&self) {
        self.inner.withdraw(&self.cell, Running::Leave);
    }

    /// The worker that runs the task, or that ran it last; `None` as long as it has not started.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        self.inner.worker_of(&self.cell)
    }

    /// Takes a waker out again that [`poll`](Future::poll) left.
    fn forget_waker(&mut self) {
        if std::mem::take(&mut self.is_polled) {
            // If the outcome came meanwhile, the waker went with it.
            let _ = self.inner.listen(&self.cell, Listener::Nobody);
        }
    }
}

impl<R: DeserializeOwned> Task<R> {
    /// Waits until the task has ended, and returns its value.
    ///
    /// # Errors
    /// [`TaskError`] if it gave none.
    pub fn get(mut self) -> Result<R, TaskError> {
        self.forget_waker();
        if !self.inner.wait(&*self.cell, None) {
            return Err(SubmitError::Forked.into());
        }
        self.cell.take().into_result()
    }

    /// Waits until the task has ended, at most for `timeout`.
    ///
    /// # Errors
    /// The task itself if it has not ended in time.
    pub fn get_timeout(mut self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        self.forget_waker();
        // Also if there is no time at all: what has come is taken out.
        if self.is_ready() || self.inner.wait(&*self.cell, Instant::now().checked_add(timeout)) {
            return Ok(self.cell.take().into_result());
        }
        Err(self)
    }

    /// Has `callback` called with the result, on the pool's one dispatcher thread; on this one if the pool has been dropped. A
    /// panic in it is caught; the program's panic hook has told of it.
    ///
    /// While it runs the dispatcher does nothing else: other callbacks wait, and so does the end of tasks that take longer than
    /// they may. So it should be short, and must not wait for a task with a limit.
    pub fn on_done(mut self, callback: impl FnOnce(Result<R, TaskError>) + Send + 'static) {
        self.forget_waker();
        self.inner.call_back(&self.cell, Box::new(move |outcome| callback(outcome.into_result())));
    }
}

impl<R: DeserializeOwned> Future for Task<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_ready() {
            self.is_polled = true;
            if self.inner.listen(&self.cell, Listener::Waker(context.waker().clone())).is_ok() {
                return Poll::Pending;
            }
        }
        self.is_polled = false;
        Poll::Ready(self.cell.take().into_result())
    }
}

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        self.forget_waker();
    }
}

impl<R> std::fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("is_ready", &self.cell.is_ready()).finish_non_exhaustive()
    }
}

/// Tasks handed in together, whose results come in their order. Made by [`Pool::map_async`](super::Pool::map_async).
///
/// Dropping it lets the tasks run on. It is also a future.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let pool = brigade::Pool::new(2)?;
/// let squares = pool.map_async([1, 2, 3], |number: u32| number * number);
/// assert_eq!(squares.get(), [Ok(1), Ok(4), Ok(9)]);
/// # Ok(())
/// # }
/// ```
#[must_use = "the results of tasks, and their errors, are known only to who gets them"]
pub struct MapTask<R> {
    tasks: Vec<Pending<R>>,
    /// Those before this one are done.
    next_idx: usize,
}

enum Pending<R> {
    Open(Task<R>),
    Done(Option<Result<R, TaskError>>),
}

// Nothing in it is ever borrowed across a poll.
impl<R> Unpin for MapTask<R> {}

impl<R> MapTask<R> {
    pub(super) fn new(tasks: Vec<Result<Task<R>, SubmitError>>) -> Self {
        let pending = |task: Result<Task<R>, SubmitError>| match task {
            Ok(task) => Pending::Open(task),
            Err(error) => Pending::Done(Some(Err(error.into()))),
        };
        Self { tasks: tasks.into_iter().map(pending).collect(), next_idx: 0 }
    }

    /// How many tasks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether all have ended. Never waits.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.tasks.iter().all(|pending| match pending {
            Pending::Open(task) => task.is_ready(),
            Pending::Done(_) => true,
        })
    }

    /// Cancels those that have not ended, as [`Task::cancel`] does.
    pub fn cancel(&self) {
        // From the last to the first, so that none starts because one before it was ended.
        for pending in self.tasks.iter().rev() {
            if let Pending::Open(task) = pending {
                task.cancel();
            }
        }
    }
}

impl<R: DeserializeOwned> MapTask<R> {
    /// Waits until all have ended, and returns their results in the order of the items.
    #[must_use]
    pub fn get(self) -> Vec<Result<R, TaskError>> {
        let result = |pending| match pending {
            Pending::Open(task) => Task::get(task),
            Pending::Done(result) => result.expect("results are given away all at once, by value"),
        };
        self.tasks.into_iter().map(result).collect()
    }

    /// Waits until all have ended, at most for `timeout`.
    ///
    /// # Errors
    /// The tasks themselves if one has not ended in time.
    pub fn get_timeout(mut self, timeout: Duration) -> Result<Vec<Result<R, TaskError>>, Self> {
        let deadline = Instant::now().checked_add(timeout);
        while let Some(pending) = self.tasks.get_mut(self.next_idx) {
            if let Pending::Open(task) = pending {
                if !(task.is_ready() || task.inner.wait(&*task.cell, deadline)) {
                    return Err(self);
                }
                let result = task.cell.take().into_result();
                *pending = Pending::Done(Some(result));
            }
            self.next_idx += 1;
        }
        Ok(self.get())
    }
}

impl<R: DeserializeOwned> Future for MapTask<R> {
    type Output = Vec<Result<R, TaskError>>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let map = &mut *self;
        while let Some(pending) = map.tasks.get_mut(map.next_idx) {
            if let Pending::Open(task) = pending {
                match Pin::new(task).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(result) => *pending = Pending::Done(Some(result)),
                }
            }
            map.next_idx += 1;
        }
        let tasks = std::mem::take(&mut map.tasks);
        Poll::Ready(Self { tasks, next_idx: 0 }.get())
    }
}

impl<R> std::fmt::Debug for MapTask<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapTask").field("len", &self.len()).finish_non_exhaustive()
    }
}
