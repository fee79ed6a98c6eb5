//! `Managed<H>`: a lock, or one of its kin, that a manager's process holds. What it does is done where it lies, in sync/; here is
//! only that the manager must be alive.

use std::time::Duration;

use brigade_sys::shared::nap::unless_in_vain;
use serde::{Deserialize, Serialize};

use super::errors::ManagerDied;
use crate::lifeline::Lifeline;
use crate::sync::{
    Barrier, BarrierError, Condition, Event, Lock, LockGuard, LockTimeoutError, OverRelease, OwnerDied, Permit,
    ReadGuard, ReentrantLock, ReentrantLockGuard, RwLock, Semaphore, TryLockError, WriteGuard,
};

/// Longer than any process lives: a wait that has a deadline looks whether it is in vain, one that has none does not.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// A [`Lock`], or one of its kin, that a manager's process holds: it lives as long as the manager, whatever becomes of the
/// handles.
///
/// The calls are those of the plain handle, and give what they give, or [`ManagerDied`]. Whoever waits when the manager ends is
/// told within one second. Nothing passes through the manager's process: it only holds the object, so a stopped manager
/// delays nobody. A process that is killed with a managed lock gives it back as with a plain one.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let manager = brigade::Manager::start()?;
/// let (lock, ready) = (manager.lock()?, manager.event()?);
/// let process = brigade::spawn((lock.clone(), ready.clone()), |(lock, ready)| {
///     let _guard = lock.lock()?;
///     ready.set()
/// })?;
/// ready.wait()?;
/// let guard = lock.lock()?.unwrap_or_else(brigade::OwnerDied::into_inner);
/// # drop(guard);
/// process.join()??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Managed<H> {
    inner: H,
    manager: Lifeline,
}

/// A [`Lock`] that a manager holds. Made by [`Manager::lock`](crate::Manager::lock).
pub type ManagedLock = Managed<Lock>;
/// A [`ReentrantLock`] that a manager holds. Made by [`Manager::reentrant_lock`](crate::Manager::reentrant_lock).
pub type ManagedReentrantLock = Managed<ReentrantLock>;
/// An [`RwLock`] that a manager holds. Made by [`Manager::rwlock`](crate::Manager::rwlock).
pub type ManagedRwLock = Managed<RwLock>;
/// A [`Semaphore`] that a manager holds. Made by [`Manager::semaphore`](crate::Manager::semaphore).
pub type ManagedSemaphore = Managed<Semaphore>;
/// An [`Event`] that a manager holds. Made by [`Manager::event`](crate::Manager::event).
pub type ManagedEvent = Managed<Event>;
/// A [`Condition`] that a manager holds. Made by [`Manager::condition`](crate::Manager::condition).
pub type ManagedCondition = Managed<Condition>;
/// A [`Barrier`] that a manager holds. Made by [`Manager::barrier`](crate::Manager::barrier).
pub type ManagedBarrier = Managed<Barrier>;

impl<H> Managed<H> {
    pub(super) const fn new(inner: H, manager: Lifeline) -> Self {
        Self { inner, manager }
    }

    /// A call that does not wait.
    fn now<'a, R>(&'a self, call: impl FnOnce(&'a H) -> R) -> Result<R, ManagerDied> {
        if self.manager.has_ended() { Err(ManagerDied) } else { Ok(call(&self.inner)) }
    }

    /// A call that waits until its own deadline, and ends before if the manager does.
    fn waiting<'a, R>(&'a self, call: impl FnOnce(&'a H) -> R) -> Result<R, ManagerDied> {
        let manager = self.manager.clone();
        let outcome = self.now(|inner| unless_in_vain(move || manager.has_ended(), || call(inner)))?;
        // If it ended for the manager's sake, what it gave is of no use; if just then, nobody can tell.
        if self.manager.has_ended() { Err(ManagerDied) } else { Ok(outcome) }
    }

    /// A call that waits until it has what it waits for, and ends before if the manager does.
    fn wait_for_ever<'a, R>(&'a self, call: impl Fn(&'a H, Duration) -> Option<R>) -> Result<R, ManagerDied> {
        loop {
            if let Some(outcome) = self.waiting(|inner| call(inner, FOR_EVER))? {
                return Ok(outcome);
            }
        }
    }
}

/// What a wait gave that had a deadline beyond all times: `None` if it ended all the same.
fn unless_late<G>(taken: Result<G, LockTimeoutError<G>>) -> Option<Result<G, OwnerDied<G>>> {
    match taken {
        Ok(guard) => Some(Ok(guard)),
        Err(LockTimeoutError::OwnerDied(guard)) => Some(Err(OwnerDied(guard))),
        Err(LockTimeoutError::Timeout) => None,
    }
}

/// Three ways to take a lock, and whether it is taken.
macro_rules! taking {
    ($lock:ident, $guard:ident, $take:ident, $try_take:ident, $take_timeout:ident) => {
        #[doc = concat!("As [`", stringify!($lock), "::", stringify!($take), "`].")]
        ///
        /// # Errors
        /// [`ManagerDied`].
        pub fn $take(&self) -> Result<Result<$guard<'_>, OwnerDied<$guard<'_>>>, ManagerDied> {
            self.wait_for_ever(|lock, timeout| unless_late(lock.$take_timeout(timeout)))
        }

        #[doc = concat!("As [`", stringify!($lock), "::", stringify!($try_take), "`]. Never waits.")]
        ///
        /// # Errors
        /// [`ManagerDied`].
        pub fn $try_take(&self) -> Result<Result<$guard<'_>, TryLockError<$guard<'_>>>, ManagerDied> {
            self.now($lock::$try_take)
        }

        #[doc = concat!("As [`", stringify!($lock), "::", stringify!($take_timeout), "`].")]
        ///
        /// # Errors
        /// [`ManagerDied`].
        pub fn $take_timeout(
            &self,
            timeout: Duration,
        ) -> Result<Result<$guard<'_>, LockTimeoutError<$guard<'_>>>, ManagerDied> {
            self.waiting(|lock| lock.$take_timeout(timeout))
        }
    };
}

/// Calls that neither wait nor fail.
macro_rules! plain {
    ($type:ident: $($call:ident -> $gives:ty),+) => {
        impl Managed<$type> {
            $(
                #[doc = concat!("As [`", stringify!($type), "::", stringify!($call), "`]. Never waits.")]
                ///
                /// # Errors
                /// [`ManagerDied`].
                pub fn $call(&self) -> Result<$gives, ManagerDied> {
                    self.now($type::$call)
                }
            )+
        }
    };
}

impl Managed<Lock> {
    taking!(Lock, LockGuard, lock, try_lock, lock_timeout);
}

plain!(Lock: is_locked -> bool);

impl Managed<ReentrantLock> {
    taking!(ReentrantLock, ReentrantLockGuard, lock, try_lock, lock_timeout);
}

plain!(ReentrantLock: is_locked -> bool);

impl Managed<RwLock> {
    taking!(RwLock, ReadGuard, read, try_read, read_timeout);
    taking!(RwLock, WriteGuard, write, try_write, write_timeout);
}

plain!(RwLock: is_locked -> bool, is_write_locked -> bool);

impl Managed<Semaphore> {
    /// As [`Semaphore::acquire`].
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn acquire(&self) -> Result<Permit<'_>, ManagerDied> {
        self.wait_for_ever(Semaphore::acquire_timeout)
    }

    /// As [`Semaphore::acquire_timeout`].
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<Permit<'_>>, ManagerDied> {
        self.waiting(|semaphore| semaphore.acquire_timeout(timeout))
    }
}

plain!(Semaphore: try_acquire -> Option<Permit<'_>>, release -> Result<(), OverRelease>, permits -> usize, available -> usize);

impl Managed<Event> {
    /// As [`Event::wait`].
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait(&self) -> Result<(), ManagerDied> {
        self.wait_for_ever(|event, timeout| event.wait_timeout(timeout).then_some(()))
    }

    /// As [`Event::wait_timeout`].
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerDied> {
        self.waiting(|event| event.wait_timeout(timeout))
    }
}

plain!(Event: is_set -> bool, set -> (), clear -> ());

/// What a wait of a condition gives: the guard, and whether it was notified.
type Waited<'a> = Result<(LockGuard<'a>, bool), OwnerDied<(LockGuard<'a>, bool)>>;

impl Managed<Condition> {
    /// As [`Condition::wait`]. The lock may be any; it is free if the manager has ended.
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait<'a>(
        &self,
        guard: LockGuard<'a>,
    ) -> Result<Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>>, ManagerDied> {
        let waited = self.wait_timeout(guard, FOR_EVER)?;
        Ok(waited.map(|(guard, _)| guard).map_err(|OwnerDied((guard, _))| OwnerDied(guard)))
    }

    /// As [`Condition::wait_timeout`]. The lock may be any; it is free if the manager has ended.
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait_timeout<'a>(&self, guard: LockGuard<'a>, timeout: Duration) -> Result<Waited<'a>, ManagerDied> {
        self.waiting(|condition| condition.wait_timeout(guard, timeout))
    }

    /// As [`Condition::wait_for`]. The lock may be any; it is free if the manager has ended.
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait_for<'a>(
        &self,
        mut guard: LockGuard<'a>,
        mut predicate: impl FnMut() -> bool,
    ) -> Result<Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>>, ManagerDied> {
        while !predicate() {
            match self.wait(guard)? {
                Ok(taken) => guard = taken,
                Err(owner_died) => return Ok(Err(owner_died)),
            }
        }
        Ok(Ok(guard))
    }

    /// As [`Condition::notify`]. Never waits.
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn notify(&self, n_waiters: usize) -> Result<usize, ManagerDied> {
        self.now(|condition| condition.notify(n_waiters))
    }
}

plain!(Condition: notify_one -> bool, notify_all -> usize, n_waiting -> usize);

impl Managed<Barrier> {
    /// As [`Barrier::wait`].
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait(&self) -> Result<Result<usize, BarrierError>, ManagerDied> {
        self.wait_timeout(FOR_EVER)
    }

    /// As [`Barrier::wait_timeout`].
    ///
    /// # Errors
    /// [`ManagerDied`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Result<usize, BarrierError>, ManagerDied> {
        let outcome = self.waiting(|barrier| barrier.wait_timeout(timeout))?;
        // The manager is a party too, so its death may have broken the barrier just now.
        if outcome.is_err() && self.manager.has_ended_now() { Err(ManagerDied) } else { Ok(outcome) }
    }
}

plain!(Barrier: abort -> (), reset -> (), is_broken -> bool, parties -> usize, n_waiting -> usize);
