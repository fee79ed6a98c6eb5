//! `Manager`: a process that holds objects for others, so that they live as long as it does.
//! Objects in shared memory are used where they are, and the manager only holds them; the others are called in its process:
//! see manager/client.rs for the way there and manager/server.rs for what is done.

mod builder;
mod client;
mod containers;
mod errors;
mod held;
mod line;
mod objects;
mod request;
mod server;
mod service;

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::builder::ManagerBuilder;
use self::client::Link;
pub use self::containers::{ManagedDict, ManagedList, ManagedSet, ManagedValue};
pub use self::errors::{CallError, ManagerDied, ManagerError};
pub use self::held::{
    Managed, ManagedBarrier, ManagedCondition, ManagedEvent, ManagedLock, ManagedReentrantLock, ManagedRwLock,
    ManagedSemaphore,
};
use self::request::{Deadline, Kind, Order};
pub use self::service::Service;
use crate::object::Handle;
use crate::parcel::Parcel;
use crate::process::Process;
use crate::queue::{ManagedQueue, Queue};
use crate::session::refuse_forked;
use crate::status::ExitStatus;
use crate::sync::{Barrier, Condition, Event, Lock, ReentrantLock, RwLock, Semaphore};

/// How long a manager has to end by itself when it is dropped; it has nothing to do but let go.
const GRACE: Duration = Duration::from_secs(1);

/// A process that holds objects for others.
///
/// What it holds lives as long as it does, or until no handle is left by which it could be reached. Handles may be sent
/// anywhere, as those of a [`Queue`] are. Dropping the `Manager` ends the process at once; calls of its objects, also those
/// that wait, then give `ManagerDied`, as they do within one second if it is killed.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let manager = brigade::Manager::start()?;
/// let names = manager.queue::<String>(10)?;
/// let lengths = manager.dict::<String, usize>()?;
/// let process = brigade::spawn((names.clone(), lengths.clone()), |(names, lengths)| {
///     let name = names.get().ok()?;
///     lengths.insert(name.clone(), name.len()).ok()
/// })?;
/// names.put("a.txt".to_owned())?;
/// assert!(process.join()?.is_some());
/// assert_eq!(lengths.get("a.txt")?, Some(5));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Manager {
    process: Process<()>,
    link: Link,
}

impl Manager {
    /// Starts a manager.
    ///
    /// # Errors
    /// [`ManagerError`]; no process is left then.
    pub fn start() -> Result<Self, ManagerError> {
        Self::builder().start()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Makes an object of your own in the manager's process: whatever `function` returns there for `args`.
    ///
    /// The function is a `fn` item or a closure that captures nothing, as for [`spawn`](crate::spawn). The object itself
    /// never crosses to another process; [`Service::call`] brings functions to it.
    ///
    /// # Errors
    /// - `ManagerDied`: the manager has ended.
    /// - `Construction`: the function panicked, or its arguments could not be sent.
    /// - `Memory`: there is no memory for it.
    pub fn service<A, S, F>(&self, args: A, function: F) -> Result<Service<S>, ManagerError>
    where
        F: Fn(A) -> S + Copy + 'static,
        A: Serialize + DeserializeOwned,
        S: Send + 'static,
    {
        Ok(Service::make(self.link.clone(), args, function)?)
    }

    /// Makes an empty dictionary.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn dict<K: Ord + Send + 'static, V: Send + 'static>(&self) -> Result<ManagedDict<K, V>, ManagerError> {
        self.service((), |()| std::collections::BTreeMap::new()).map(ManagedDict::over)
    }

    /// Makes an empty list.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn list<T: Send + 'static>(&self) -> Result<ManagedList<T>, ManagerError> {
        self.service((), |()| Vec::new()).map(ManagedList::over)
    }

    /// Makes an empty set.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn set<T: Ord + Send + 'static>(&self) -> Result<ManagedSet<T>, ManagerError> {
        self.service((), |()| std::collections::BTreeSet::new()).map(ManagedSet::over)
    }

    /// Makes a single value.
    ///
    /// # Errors
    /// As [`service`](Self::service).
    pub fn value<T>(&self, initial: T) -> Result<ManagedValue<T>, ManagerError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.service(initial, |initial| initial).map(ManagedValue::over)
    }

    /// Makes a queue of up to `capacity` values, which the manager holds. Its values do not pass through the manager.
    ///
    /// # Errors
    /// - `Memory`: there is no memory for it, or `capacity` is 0.
    /// - `ManagerDied`: the manager has ended.
    pub fn queue<T>(&self, capacity: usize) -> Result<ManagedQueue<T>, ManagerError> {
        let queue = Queue::bounded(capacity)?;
        self.keep(queue.handle())?;
        Ok(ManagedQueue::new(queue, self.link.manager.clone()))
    }

    /// Makes a lock, which the manager holds.
    ///
    /// # Errors
    /// - `Memory`: there is no memory for it.
    /// - `ManagerDied`: the manager has ended.
    pub fn lock(&self) -> Result<ManagedLock, ManagerError> {
        self.hold(Lock::new()?, Lock::handle)
    }

    /// Makes a lock that its holder can take again, which the manager holds.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn reentrant_lock(&self) -> Result<ManagedReentrantLock, ManagerError> {
        self.hold(ReentrantLock::new()?, ReentrantLock::handle)
    }

    /// Makes a lock for many readers or one writer, which the manager holds.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn rwlock(&self) -> Result<ManagedRwLock, ManagerError> {
        self.hold(RwLock::new()?, RwLock::handle)
    }

    /// Makes a semaphore with so many permits, which the manager holds.
    ///
    /// # Errors
    /// As [`lock`](Self::lock); `Memory` also if [`Semaphore::new`] refuses the number.
    pub fn semaphore(&self, n_permits: usize) -> Result<ManagedSemaphore, ManagerError> {
        self.hold(Semaphore::new(n_permits)?, Semaphore::handle)
    }

    /// Makes an event that is clear, which the manager holds.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn event(&self) -> Result<ManagedEvent, ManagerError> {
        self.hold(Event::new()?, Event::handle)
    }

    /// Makes a condition for which nobody waits, which the manager holds.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub fn condition(&self) -> Result<ManagedCondition, ManagerError> {
        self.hold(Condition::new()?, Condition::handle)
    }

    /// Makes a barrier for so many parties, which the manager holds.
    ///
    /// # Errors
    /// As [`lock`](Self::lock); `Memory` also if [`Barrier::new`] refuses the number.
    pub fn barrier(&self, n_parties: usize) -> Result<ManagedBarrier, ManagerError> {
        self.hold(Barrier::new(n_parties)?, Barrier::handle)
    }

    fn hold<H>(&self, object: H, handle: fn(&H) -> &Handle) -> Result<Managed<H>, ManagerError> {
        self.keep(handle(&object))?;
        Ok(Managed::new(object, self.link.manager.clone()))
    }

    /// Ends the manager, as dropping it does, and tells how it ended: by itself with code 0, unless something had ended it
    /// before, or it did not end within a second and was killed.
    pub fn shutdown(self) -> ExitStatus {
        self.end()
    }

    fn end(&self) -> ExitStatus {
        // After a `fork()` it is still the manager of the process that was forked. Here every status is lost.
        if refuse_forked().is_ok() {
            self.link.requests.close();
        }
        self.process.wait_timeout(GRACE).unwrap_or_else(|| {
            self.process.kill();
            self.process.wait()
        })
    }

    /// Gives an object in shared memory to the manager to hold.
    fn keep(&self, object: &Handle) -> Result<(), ManagerError> {
        let arguments = Parcel::default();
        let order = Order { kind: Kind::Keep, object, entry: None, arguments, deadline: Deadline::NONE };
        Ok(self.link.tell(order)?)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.end();
    }
}
