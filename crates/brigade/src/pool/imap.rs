//! Results as an iterator, with a bounded number of items taken ahead.

use std::collections::VecDeque;
use std::iter::Fuse;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Pool, SubmitError, Task, TaskError};

/// Items taken ahead for each worker: enough that none waits while the caller handles a result.
const N_AHEAD_PER_WORKER: usize = 16;

/// Tasks under way, topped up from the input.
struct Window<'a, I, R, F> {
    pool: &'a Pool,
    items: Fuse<I>,
    function: F,
    n_ahead: usize,
    under_way: VecDeque<Result<Task<R>, SubmitError>>,
}

impl<'a, I, R, F> Window<'a, I, R, F>
where
    I: Iterator,
    F: Fn(I::Item) -> R + Copy + 'static,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    fn new(pool: &'a Pool, items: I, function: F) -> Self {
        let n_ahead = pool.inner.n_workers() * N_AHEAD_PER_WORKER;
        Self { pool, items: items.fuse(), function, n_ahead, under_way: VecDeque::new() }
    }

    fn top_up(&mut self) {
        while self.under_way.len() < self.n_ahead {
            let Some(item) = self.items.next() else {
                return;
            };
            self.under_way.push_back(self.pool.apply_async(item, self.function));
        }
    }
}

fn result_of<R: DeserializeOwned>(task: Result<Task<R>, SubmitError>) -> Result<R, TaskError> {
    task.map_err(TaskError::from)?.get()
}

/// Results in the order of the items. Made by [`Pool::imap`].
#[must_use = "items are taken as results are asked for"]
pub struct Imap<'a, I, R, F>(Window<'a, I, R, F>);

/// Results in the order in which they come. Made by [`Pool::imap_unordered`].
#[must_use = "items are taken as results are asked for"]
pub struct ImapUnordered<'a, I, R, F>(Window<'a, I, R, F>);

impl<'a, I, R, F> Imap<'a, I, R, F>
where
    I: Iterator,
    F: Fn(I::Item) -> R + Copy + 'static,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    pub(super) fn new(pool: &'a Pool, items: I, function: F) -> Self {
        Self(Window::new(pool, items, function))
    }
}

impl<'a, I, R, F> ImapUnordered<'a, I, R, F>
where
    I: Iterator,
    F: Fn(I::Item) -> R + Copy + 'static,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    pub(super) fn new(pool: &'a Pool, items: I, function: F) -> Self {
        Self(Window::new(pool, items, function))
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
        self.0.top_up();
        self.0.under_way.pop_front().map(result_of)
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
        let window = &mut self.0;
        window.top_up();
        if window.under_way.is_empty() {
            return None;
        }
        let is_ended = |task: &Result<Task<R>, SubmitError>| task.as_ref().map_or(true, |task| task.cell.is_ready());
        window.pool.inner.wait_until(|_| window.under_way.iter().any(is_ended), None);
        let idx = window.under_way.iter().position(is_ended)?;
        window.under_way.swap_remove_back(idx).map(result_of)
    }
}

impl<I, R, F> std::fmt::Debug for Imap<'_, I, R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imap").field("n_under_way", &self.0.under_way.len()).finish_non_exhaustive()
    }
}

impl<I, R, F> std::fmt::Debug for ImapUnordered<'_, I, R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImapUnordered").field("n_under_way", &self.0.under_way.len()).finish_non_exhaustive()
    }
}
