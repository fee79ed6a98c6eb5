//! `Manager`: a process that holds shared objects, so that they live as long as it does. The objects' calls are where the
//! objects are (queue.rs); they ask the kernel, not the manager, whether it still lives.

use std::time::Duration;

use brigade_sys::kernel::child::ignore_interrupts;
use serde::{Deserialize, Serialize};

use crate::error::MemoryError;
use crate::lifeline::Lifeline;
use crate::process::{Process, spawn_named};
use crate::queue::{Consumer, ManagedQueue, Producer, PutError, Queue};

use crate::supervisor::{OnParentExit, SpawnError};

/// Objects that may be on their way to the manager at a time; who asks for more waits for it.
const N_UNDER_WAY: usize = 64;
/// How long a manager has to end by itself when it is dropped; it has nothing to do but let go.
const GRACE: Duration = Duration::from_secs(1);

/// Why a manager could not be started or did not take an object.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// Its process could not be started.
    #[error("cannot start the manager")]
    Spawn(#[from] SpawnError),
    /// There is no memory for the object.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Its process has ended.
    #[error("the manager has ended")]
    ManagerDied,
}

/// A process that holds shared objects.
///
/// What it holds lives as long as it does, even while no other process has a handle. Handles may be sent anywhere, as those
/// of a [`Queue`] are. Dropping the `Manager` ends it; calls on its objects then give `ManagerDied`.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let manager = brigade::Manager::start()?;
/// let names = manager.queue::<String>(10)?;
/// let process = brigade::spawn(names.clone(), |names| names.put("a.txt".to_owned()).is_ok())?;
/// assert_eq!(names.get()?, "a.txt");
/// assert!(process.join()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Manager {
    process: Process<()>,
    objects: Producer<Queue<()>>,
    lifeline: Lifeline,
}

impl Manager {
    /// Starts a manager.
    ///
    /// # Errors
    /// [`ManagerError`]; no process is left then.
    pub fn start() -> Result<Self, ManagerError> {
        let objects = Queue::bounded(N_UNDER_WAY)?;
        let receiving = objects.clone().into_consumer()?;
        let process = spawn_named("manager".to_owned(), receiving, hold, OnParentExit::Terminate)?;
        // A queue was made just now, so there is a session, and every process has a place in it.
        let participant = process.participant().ok_or(ManagerError::ManagerDied)?;
        Ok(Self { process, objects: objects.into_producer()?, lifeline: Lifeline::of(participant) })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Makes a queue of up to `capacity` values and gives it to the manager to hold.
    ///
    /// # Errors
    /// - `Memory`: there is no memory for it, or `capacity` is 0.
    /// - `ManagerDied`: the manager has ended.
    pub fn queue<T>(&self, capacity: usize) -> Result<ManagedQueue<T>, ManagerError> {
        let queue = Queue::<T>::bounded(capacity)?;
        if self.lifeline.has_ended() {
            return Err(ManagerError::ManagerDied);
        }
        // The manager only holds the handle, whatever the values are.
        match self.objects.put(queue.untyped()?) {
            Ok(()) => Ok(ManagedQueue::new(queue, self.lifeline.clone())),
            Err(PutError::System(_, cause)) => {
                Err(ManagerError::Memory(MemoryError::caused_by("hand an object over", cause)))
            }
            Err(_) => Err(ManagerError::ManagerDied),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.objects.close();
        if self.process.wait_timeout(GRACE).is_none() {
            self.process.kill();
            self.process.wait();
        }
    }
}

/// What the manager's process does: hold every object until it is told to end.
fn hold(objects: Consumer<Queue<()>>) {
    // A terminal sends SIGINT to the whole group; the manager ends with its owner.
    ignore_interrupts();
    let mut held: Vec<Queue<()>> = Vec::new();
    for object in objects.iter() {
        // What only we hold can be reached by nobody any more.
        held.retain(|object| !object.is_sole_handle());
        held.push(object);
    }
}
