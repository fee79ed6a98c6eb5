//! Processes for Rust: start a function in a process of its own, pass values between processes, keep a pool of workers.
//!
//! The names are those of Python's `multiprocessing`, the habits those of the standard library. Values cross by serde;
//! handles (queues, shared memory, open files) may stand anywhere inside such a value. Whatever a process holds, it may be
//! killed at any instruction: nothing is corrupted, and nobody waits for ever.
//!
//! ```
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     brigade::init();
//!     let songs = brigade::Queue::<String>::bounded(3)?;
//!     let singer = brigade::spawn((songs.clone(), 3u32), |(songs, verses)| {
//!         for verse in 0..verses {
//!             songs.put(format!("verse {verse}"))?;
//!         }
//!         Ok::<u32, brigade::PutError<String>>(verses)
//!     })?;
//!     for song in songs.iter() {
//!         println!("{song}"); // ends: no other handle that could put is left
//!     }
//!     println!("{} verses", singer.join()??);
//!     Ok(())
//! }
//! ```

#![doc = include_str!("../course.md")]

mod at_exit;
mod channel;
mod child;
mod current;
mod descriptor;
mod endpoint;
mod entry;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod joinable;
mod keeper;
mod last_words;
mod lifeline;
mod manager;
mod memory;
mod object;
mod oom;
mod parcel;
mod pipe;
mod pool;
mod process;
mod procfs;
mod queue;
mod scratch;
mod select;
mod session;
mod spin;
mod status;
mod supervisor;
mod sync;
mod waiting;
mod wire;

pub use at_exit::at_exit;
pub use current::{Current, Parent, available_cpus, current, parent};
pub use descriptor::Descriptor;
pub use error::{MemoryError, SystemError};
pub use joinable::{JoinError, JoinTimeoutError, JoinableConsumer, JoinableProducer, JoinableQueue, Lease};
pub use last_words::{CrashKind, CrashReport, PanicReport};
pub use manager::{
    CallError, Managed, ManagedBarrier, ManagedCondition, ManagedDict, ManagedEvent, ManagedList, ManagedLock,
    ManagedReentrantLock, ManagedRwLock, ManagedSemaphore, ManagedSet, ManagedValue, Manager, ManagerBuilder,
    ManagerDied, ManagerError, Service,
};
pub use memory::{Blob, BlobBuilder, Shared, SharedMutex, SharedMutexError, SharedMutexGuard, SharedSlice};
pub use pipe::{
    Duplex, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
    duplex, pipe, try_duplex, try_pipe,
};
pub use pool::{
    Cancellation, Imap, ImapUnordered, MapTask, Pool, PoolBroken, PoolBuilder, PoolError, Retry, SubmitError,
    Submitter, Task, TaskError, WorkerInfo, WorkerState,
};
pub use process::{
    ChildInfo, Process, ProcessBuilder, ProcessError, ProcessGroup, ProcessState, Resource, Stdio, Usage,
    active_children, spawn,
};
pub use queue::{
    Consumer, GetError, GetTimeoutError, Iter, ManagedQueue, Producer, PutError, PutTimeoutError, Queue, TryGetError,
    TryPutError,
};
pub use select::{Waitable, wait};
pub use status::ExitStatus;
pub use supervisor::{OnParentExit, SpawnError};
pub use sync::{
    Barrier, BarrierBroken, BarrierError, Condition, Event, Lock, LockGuard, LockTimeoutError, OverRelease, OwnerDied,
    Permit, ReadGuard, ReentrantLock, ReentrantLockGuard, RwLock, Semaphore, TryLockError, WriteGuard,
};
pub use wire::{DecodeError, EncodeError};

/// Makes this program able to start processes of itself. The first statement of `main`.
///
/// In a process that was started by [`spawn`] or a pool it does not return: the process does its work and ends. Where the
/// loader runs constructors, children never come here, and programs work without it too; calling it makes sure.
pub fn init() {
    entry::pin();
}

/// The pages whose Rust blocks are tests too. Their Chinese twins have the same blocks, as `cargo xtask tidy` makes sure.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/coming-from-multiprocessing.md")]
    struct ComingFromMultiprocessing;
    #[doc = include_str!("../../../docs/program-process-thread.md")]
    struct ProgramProcessThread;
}
