//! Results as an iterator, with a bounded number of items taken ahead.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cell::{Gathering, Listener, Told};
use super::submit::Submitter;
use super::{SubmitError, Task, TaskError};

/// Items taken ahead for each worker: enough that none waits while the caller handles a result.
const N_AHEAD_PER_WORKER: usize = 16;

fn n_ahead(submitter: &Submitter<'_>) -> usize {
    submitter.inner.n_workers() * N_AHEAD_PER_WORKER
}

type Submitted<R> = Result<Task<R>, SubmitError>;

fn result_of<R: DeserializeOwned>(task: Submitted<R>) -> Result<R, TaskError> {
    task.map_err(TaskError::from)?.get()
}

/// Results in the order of the items. Made by [`Pool::imap`](super::Pool::imap). Dropping it cancels what has not started.
#[must_use = "items are taken as results are asked for"]
pub struct Imap<'a, I, R, F> {
    submitter: Submitter<'a>,
    items: Fuse<I>,
    function: F,
    under_way: VecDeque<Submitted<R>>,
}

impl<'a, I: Iterator, R, F> Imap<'a, I, R, F> {
    pub(super) fn new(submitter: Submitter<'a>, items: I, function: F) -> Self {
        Self { submitter, items: items.fuse(), function, under_way: VecDeque::new() }
    }
}

impl<I, R, F> Iterator for Imap<'_, I, R, F>
where
    I: Iterator,
    F: Fn(I::Item) -> R + Copy + 'static,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let n_ahead = n_ahead(&self.submitter);
        while self.under_way.len() < n_ahead {
            let Some(item) = self.items.next() else { break };
            self.under_way.push_back(self.submitter.apply_async(item, self.function));
        }
        self.under_way.pop_front().map(result_of)
    }
}

impl<I, R, F> Drop for Imap<'_, I, R, F> {
    fn drop(&mut self) {
        self.under_way.iter().rev().flatten().for_each(Task::cancel_unstarted);
    }
}

/// Results in the order in which they come. Made by [`Pool::imap_unordered`](super::Pool::imap_unordered). Dropping it cancels
/// what has not started.
#[must_use = "items are taken as results are asked for"]
pub struct ImapUnordered<'a, I, R, F> {
    submitter: Submitter<'a>,
    items: Fuse<I>,
    function: F,
    /// Tasks under way, by the number that they have in the gathering.
    under_way: Vec<Option<Submitted<R>>>,
    free: Vec<usize>,
    gathering: Arc<Gathering>,
}

impl<'a, I: Iterator, R, F> ImapUnordered<'a, I, R, F> {
    pub(super) fn new(submitter: Submitter<'a>, items: I, function: F) -> Self {
        let gathering = Arc::default();
        Self { submitter, items: items.fuse(), function, under_way: Vec::new(), free: Vec::new(), gathering }
    }
}

impl<I, R, F> ImapUnordered<'_, I, R, F> {
    fn n_under_way(&self) -> usize {
        self.under_way.len() - self.free.len()
    }
}

impl<I, R, F> ImapUnordered<'_, I, R, F>
where
    I: Iterator,
    F: Fn(I::Item) -> R + Copy + 'static,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    fn top_up(&mut self) {
        let n_ahead = n_ahead(&self.submitter);
        while self.n_under_way() < n_ahead {
            let Some(item) = self.items.next() else { return };
            let idx = self.free.last().copied().unwrap_or(self.under_way.len());
            let listener = Listener::Gathering(Arc::clone(&self.gathering), idx);
            let submitted = self.submitter.hand_in(item, self.function, listener);
            if submitted.is_err() {
                // Nobody but us waits for this gathering.
                let (Told::Nobody | Told::Thread(_) | Told::Waker(_) | Told::Callback(..)) = self.gathering.add(idx);
            }
            // Only now, for the item's own code may have panicked.
            match self.free.pop() {
                Some(idx) => self.under_way[idx] = Some(submitted),
                None => self.under_way.push(Some(submitted)),
            }
        }
    }
}

impl<I, R, F> Iterator for ImapUnordered<'_, I, R, F>
where
    I: Iterator,
    F: Fn(I::Item) -> R + Copy + 'static,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.top_up();
        if self.n_under_way() == 0 {
            return None;
        }
        self.submitter.inner.wait(&*self.gathering, None);
        let idx = self.gathering.pop()?;
        self.free.push(idx);
        self.under_way[idx].take().map(result_of)
    }
}

impl<I, R, F> Drop for ImapUnordered<'_, I, R, F> {
    fn drop(&mut self) {
        self.under_way.iter().flatten().flatten().for_each(Task::cancel_unstarted);
    }
}

impl<I, R, F> std::fmt::Debug for Imap<'_, I, R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("n_under_way", &self.under_way.len()).finish_non_exhaustive()
    }
}

impl<I, R, F> std::fmt::Debug for ImapUnordered<'_, I, R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImapUnordered").field("n_under_way", &self.n_under_way()).finish_non_exhaustive()
    }
}
