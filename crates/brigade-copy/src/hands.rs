//! How many workers there are to hand work to, and how much of it each gets. Which work that is, is decided in scheduler.rs and
//! compare/books.rs.

/// Tasks per worker that are with the pool, so that a worker never waits for us.
const TASKS_PER_WORKER: usize = 2;

/// The workers that are to be at work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hands {
    n_workers: usize,
    most_tasks: usize,
}

impl Hands {
    pub(crate) fn new(n_workers: usize) -> Self {
        Self { n_workers, most_tasks: n_workers * TASKS_PER_WORKER }
    }

    /// So many of a pool, where each task may go to any of its workers.
    pub(crate) fn of_pool(n_workers: usize, n_in_pool: usize) -> Self {
        if n_workers < n_in_pool { Self { n_workers, most_tasks: n_workers } } else { Self::new(n_workers) }
    }

    /// Whether they have enough to do with so many tasks.
    pub(crate) fn are_full(self, n_tasks: usize) -> bool {
        n_tasks >= self.most_tasks
    }

    /// How many have nothing to do when there are so many tasks.
    pub(crate) fn n_idle(self, n_tasks: usize) -> usize {
        self.n_workers.saturating_sub(n_tasks)
    }

    /// Whether nearly all have something to do, and there is more: entries that were found, or may be found yet.
    pub(crate) fn are_all_busy(self, n_tasks: usize, n_entries_left: u64, is_walk_finished: bool) -> bool {
        self.n_idle(n_tasks) * 4 <= self.n_workers && (!is_walk_finished || n_entries_left > 2 * self.n_workers as u64)
    }

    /// A fair part of so many units for a task, so that the last tasks of a run are small.
    pub(crate) fn portion(self, n_units: usize, least: usize, most: usize) -> usize {
        (n_units / (self.n_workers * TASKS_PER_WORKER)).clamp(least, most)
    }
}
