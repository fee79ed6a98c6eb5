//! How tasks are handed in, with or without a limit on their time. What happens to them then is in dispatch.rs.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cell::{Cell, Listener};
use super::inner::{Inner, Submission};
use super::payload::Arguments;
use super::{Imap, ImapUnordered, MapTask, SubmitError, Task, TaskError};
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
        self.hand_in(args, function, Listener::Nobody)
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

    /// Results as an iterator, in the order of the items. Items are taken from `items` as results are taken out of the
    /// iterator, on the caller's thread, some ahead. Dropping it cancels what has not started.
    pub fn imap<I, R, F>(&self, items: I, function: F) -> Imap<'a, I::IntoIter, R, F>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> R + Copy + 'static,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        Imap::new(*self, items.into_iter(), function)
    }

    /// Like [`imap`](Self::imap), with results in the order in which they come.
    pub fn imap_unordered<I, R, F>(&self, items: I, function: F) -> ImapUnordered<'a, I::IntoIter, R, F>
    where
        I: IntoIterator,
        F: Fn(I::Item) -> R + Copy + 'static,
        I::Item: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        ImapUnordered::new(*self, items.into_iter(), function)
    }
}

impl std::fmt::Debug for Submitter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submitter").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
