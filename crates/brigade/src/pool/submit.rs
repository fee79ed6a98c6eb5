//! How tasks are handed in, with or without a limit on their time. What happens to them then is in dispatch.rs.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cell::{Cell, Listener};
use super::inner::{Inner, Submission};
use super::payload::Arguments;
use super::{Imap, ImapUnordered, MapTask, Pool, SubmitError, Task, TaskError};
use crate::entry::EntryPoint;

/// Hands tasks to a pool with a limit on how long each may run. Made by [`Pool::timeout`](super::Pool::timeout).
///
/// The clock of a task starts when a worker starts it. When its time is over its worker is killed and replaced, and the
/// task gives [`TaskError::TimedOut`]; no other task is affected, and it is not run again, whatever [`Retry`](super::Retry) says.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// use std::time::Duration;
/// let pool = brigade::Pool::new(1)?;
/// let slow = pool.timeout(Duration::from_millis(20)).apply(60, |seconds| std::thread::sleep(Duration::from_secs(seconds)));
/// assert_eq!(slow, Err(brigade::TaskError::TimedOut));
/// assert_eq!(pool.apply(2, |number| number + 1)?, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Submitter<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) timeout: Option<Duration>,
}

impl<'a> Submitter<'a> {
    const fn submitter(&self) -> Self {
        *self
    }

    pub(super) fn hand_in<A, R, F>(&self, args: A, _function: F, listener: Listener) -> Result<Task<R>, SubmitError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let entry = EntryPoint::of::<F, A, R>().map_err(|_| SubmitError::NotInMainProgram)?;
        let arguments = Arguments::pack(&args)?;
        // Handles in `args` go now; those on the way are counted by the parcel's clones.
        drop(args);
        let cell = Cell::new(listener);
        self.inner.submit(Submission { entry, arguments, timeout: self.timeout }, &cell)?;
        Ok(Task::new(cell, Arc::clone(self.inner)))
    }
}

impl Pool {
    /// Hands in tasks that may run for `limit` each, by the same methods.
    #[must_use]
    pub const fn timeout(&self, limit: Duration) -> Submitter<'_> {
        Submitter { inner: &self.inner, timeout: Some(limit) }
    }

    const fn submitter(&self) -> Submitter<'_> {
        Submitter { inner: &self.inner, timeout: None }
    }
}

/// The ways to hand tasks in: those of a pool set no limit, those of a [`Submitter`] its own. `$pool` is for how long the pool is
/// borrowed.
macro_rules! handing_in {
    ($name:ident$(<$own:lifetime>)?, $pool:lifetime) => {
        impl$(<$own>)? $name$(<$own>)? {
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
            pub fn apply_async<A, R, F>(&self, args: A, function: F) -> Result<Task<R>, SubmitError>
            where
                F: Fn(A) -> R + Copy + 'static,
                A: Serialize + DeserializeOwned,
                R: Serialize + DeserializeOwned,
            {
                self.submitter().hand_in(args, function, Listener::Nobody)
            }

            /// Runs `function` with each of `items`, and returns the results in their order when all have ended.
            pub fn map<I, R, F>(&self, items: I, function: F) -> Vec<Result<R, TaskError>>
            where
                I: IntoIterator,
                F: Fn(I::Item) -> R + Copy + 'static,
                I::Item: Serialize + DeserializeOwned,
                R: Serialize + DeserializeOwned,
            {
                self.map_async(items, function).get()
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

            /// Has `function` run with each of `items`, and returns once all are handed in.
            pub fn map_async<I, R, F>(&self, items: I, function: F) -> MapTask<R>
            where
                I: IntoIterator,
                F: Fn(I::Item) -> R + Copy + 'static,
                I::Item: Serialize + DeserializeOwned,
                R: Serialize + DeserializeOwned,
            {
                MapTask::new(items.into_iter().map(|item| self.apply_async(item, function)).collect())
            }

            /// Runs `function` with each of `items` and yields the results in their order. Items are taken from `items` on this
            /// thread as results are asked for, a bounded number ahead. Dropping the iterator cancels what has not started.
            pub fn imap<I, R, F>(&self, items: I, function: F) -> Imap<$pool, I::IntoIter, R, F>
            where
                I: IntoIterator,
                F: Fn(I::Item) -> R + Copy + 'static,
                I::Item: Serialize + DeserializeOwned,
                R: Serialize + DeserializeOwned,
            {
                Imap::new(self.submitter(), items.into_iter(), function)
            }

            /// Like [`imap`](Self::imap), with the results in the order in which they come.
            pub fn imap_unordered<I, R, F>(&self, items: I, function: F) -> ImapUnordered<$pool, I::IntoIter, R, F>
            where
                I: IntoIterator,
                F: Fn(I::Item) -> R + Copy + 'static,
                I::Item: Serialize + DeserializeOwned,
                R: Serialize + DeserializeOwned,
            {
                ImapUnordered::new(self.submitter(), items.into_iter(), function)
            }
        }
    };
}

handing_in!(Pool, '_);
handing_in!(Submitter<'a>, 'a);

impl std::fmt::Debug for Submitter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submitter").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
