//! `Condition`: waiting for what another process does under the same lock. Who waits is kept in brigade-sys, `shared/waiters.rs`.

use std::time::{Duration, Instant};

use brigade_sys::shared::census::nap_before;
use brigade_sys::shared::waiters::Waiters;

use super::{LockGuard, OwnerDied, STATE, deadline_after, handle, shared};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::WindowKind;

/// More than that many who wait at the same time look every tenth of a second instead.
const MAX_WAITERS: usize = 1024;
const WAITERS: Waiters = Waiters::new(STATE, MAX_WAITERS);

/// What a wait with a timeout gives: the guard, and whether the wait ended in time.
type Waited<'a> = Result<(LockGuard<'a>, bool), OwnerDied<(LockGuard<'a>, bool)>>;

/// A place to wait, with a [`Lock`](crate::Lock) given up meanwhile, until somebody notifies.
///
/// A `Condition` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. One who waits gives the lock up and is
/// registered in one step as others see it: who takes the lock later and notifies, reaches it. The oldest are
/// notified first. If one dies that was notified and had not taken the lock again, another is notified in its place; nobody
/// waits for those who were notified, so they may die or be stopped.
///
/// As with every condition: a wait may end without a notification (here only when more than 1 024 wait, or two processes
/// die at a bad moment), so look again at what you wait for, or leave that to [`wait_for`](Self::wait_for).
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let (lock, changed) = (brigade::Lock::new()?, brigade::Condition::new()?);
/// let level = brigade::SharedSlice::<u64>::new(1)?;
/// let process = brigade::spawn((lock.clone(), changed.clone(), level.clone()), |(lock, changed, level)| {
///     let guard = lock.lock().unwrap_or_else(brigade::OwnerDied::into_inner);
///     level.store(0, 7);
///     drop(guard);
///     changed.notify_all();
/// })?;
/// let guard = lock.lock().unwrap_or_else(brigade::OwnerDied::into_inner);
/// let guard = changed.wait_for(guard, || level.load(0) >= 7).unwrap_or_else(brigade::OwnerDied::into_inner);
/// assert_eq!(level.load(0), 7);
/// # drop(guard);
/// process.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Condition {
    handle: Handle,
}

handle!(Condition);

impl Condition {
    /// Makes a condition for which nobody waits.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self { handle: Handle::create(WindowKind::Condition, STATE + WAITERS.total_bytes(), |_| {})? })
    }

    /// Gives the lock up, waits for a notification, and takes the lock again.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it, if a holder of the lock died meanwhile.
    pub fn wait<'a>(&self, guard: LockGuard<'a>) -> Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>> {
        self.wait_until(guard, None).map(|(guard, _)| guard).map_err(|OwnerDied((guard, _))| OwnerDied(guard))
    }

    /// Gives the lock up, waits for a notification at most for `timeout`, and takes the lock again, however long that takes.
    /// Returns the guard, and whether it was notified.
    ///
    /// # Errors
    /// [`OwnerDied`], with the same in it, if a holder of the lock died meanwhile.
    pub fn wait_timeout<'a>(&self, guard: LockGuard<'a>, timeout: Duration) -> Waited<'a> {
        self.wait_until(guard, deadline_after(timeout))
    }

    /// Waits until `predicate` is true. It is called with the lock taken, first at once, then after each notification.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it, if a holder of the lock died meanwhile; the predicate may be false then.
    pub fn wait_for<'a>(
        &self,
        guard: LockGuard<'a>,
        predicate: impl FnMut() -> bool,
    ) -> Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>> {
        self.wait_for_until(guard, None, predicate)
            .map(|(guard, _)| guard)
            .map_err(|OwnerDied((guard, _))| OwnerDied(guard))
    }

    /// Waits until `predicate` is true, at most for `timeout`. It is called with the lock taken, first at once, then after each
    /// notification, and a last time when the time is over. Returns the guard, and what the predicate said last.
    ///
    /// # Errors
    /// [`OwnerDied`], with the guard in it and `false`, if a holder of the lock died meanwhile.
    pub fn wait_for_timeout<'a>(
        &self,
        guard: LockGuard<'a>,
        timeout: Duration,
        predicate: impl FnMut() -> bool,
    ) -> Waited<'a> {
        self.wait_for_until(guard, deadline_after(timeout), predicate)
    }

    /// Notifies the one who waits longest. Whether there was one. Never waits.
    pub fn notify_one(&self) -> bool {
        self.notify(1) == 1
    }

    /// Notifies the `n_waiters` who wait longest. How many there were. Never waits.
    pub fn notify(&self, n_waiters: usize) -> usize {
        let (memory, census) = shared(&self.handle);
        WAITERS.notify(memory, census, n_waiters)
    }

    /// Notifies all who wait. How many there were. Never waits.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    /// How many wait now and have not been notified.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        let (memory, census) = shared(&self.handle);
        WAITERS.n_waiting(memory, census)
    }

    fn wait_for_until<'a>(
        &self,
        mut guard: LockGuard<'a>,
        deadline: Option<Instant>,
        mut predicate: impl FnMut() -> bool,
    ) -> Waited<'a> {
        loop {
            if predicate() {
                return Ok((guard, true));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok((guard, false));
            }
            (guard, _) = self.wait_until(guard, deadline).map_err(|OwnerDied((guard, _))| OwnerDied((guard, false)))?;
        }
    }

    fn wait_until<'a>(&self, guard: LockGuard<'a>, deadline: Option<Instant>) -> Waited<'a> {
        let (memory, census) = shared(&self.handle);
        let lock = guard.lock();
        let Some(waiter) = WAITERS.register(memory, census) else {
            drop(guard);
            // Too many wait. This one looks again after a while, as if it had been notified.
            let nap = nap_before(deadline);
            std::thread::sleep(nap.unwrap_or_default());
            return again(lock.lock(), nap.is_some());
        };
        drop(guard);
        let is_notified = WAITERS.wait(memory, census, &waiter, deadline);
        let taken = lock.lock();
        if is_notified {
            // Only now: had we died before we had the lock, another would have been notified.
            WAITERS.consume(memory, waiter);
        }
        again(taken, is_notified)
    }
}

/// The lock as it was taken again, with what the wait gave.
fn again<'a>(taken: Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>>, is_notified: bool) -> Waited<'a> {
    match taken {
        Ok(guard) => Ok((guard, is_notified)),
        Err(OwnerDied(guard)) => Err(OwnerDied((guard, is_notified))),
    }
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("n_waiting", &self.n_waiting()).finish()
    }
}
