//! `JoinableQueue<T>`: a queue whose values are worked on until they are done, and come back if whoever had one fails.
//! The bytes and who waits for them are in store.rs; what a consumer has in its hands is in lease.rs.

mod errors;
mod extents;
mod lease;
mod store;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::errors::{JoinError, JoinTimeoutError};
use self::lease::Hold;
pub use self::lease::Lease;
pub(crate) use self::store::Store;
use crate::channel::{Patience, Refused};
use crate::endpoint::{self, Endpoint, GetFault, PutFault, why_gone};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::parcel;
use crate::queue::{GetError, GetTimeoutError, Iter, PutError, PutTimeoutError, TryGetError, TryPutError};
use crate::session::{self, Ends, WindowKind};

/// A bounded queue between processes whose values have to be *done*, not only taken.
///
/// [`get`](Self::get) gives a [`Lease`]: the value, until [`done`](Lease::done) is called. A lease that is dropped before, lost
/// to a panic, or lost with its process puts the value back to the front of the queue, and somebody else gets it, with
/// [`attempt`](Lease::attempt) telling how often it was given out. [`join`](Self::join) waits until every value is done. So
/// work is done at least once, whoever dies.
///
/// Otherwise it is a [`Queue`](crate::Queue): a handle to be cloned and sent, in the arguments of a process, of a pool task, or in
/// another queue. `capacity` bounds the values that wait; those that are worked on do not count. Values come in the order in
/// which they were put, and a value that came back comes before all that were put later.
///
/// A `get` on an empty queue waits also while others work on values, even if the queue is closed: a value may come back. It
/// does not wait for leases that were taken through the very same handle.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let pages = brigade::JoinableQueue::bounded(10)?;
/// let worker = brigade::spawn(pages.clone().into_consumer()?, |pages| {
///     for page in pages.iter() {
///         let number: u32 = *page;
///         // … the work …
///         page.done();
///     }
/// })?;
/// for number in 0..100_u32 {
///     pages.put(number)?;
/// }
/// pages.join()?; // all 100 are done
/// pages.close();
/// worker.join()?;
/// # Ok(())
/// # }
/// ```
pub struct JoinableQueue<T> {
    end: End,
    values: PhantomData<fn(T) -> T>,
}

/// A handle to a [`JoinableQueue`] that can put and join, but not get. See [`JoinableQueue::into_producer`].
pub struct JoinableProducer<T> {
    end: End,
    values: PhantomData<fn(T)>,
}

/// A handle to a [`JoinableQueue`] that can get and join, but not put. See [`JoinableQueue::into_consumer`].
pub struct JoinableConsumer<T> {
    end: End,
    values: PhantomData<fn() -> T>,
}

/// A handle, and how many leases were taken through it.
#[derive(Debug)]
struct End {
    handle: Handle,
    n_leases: Arc<AtomicU64>,
}

impl End {
    fn new(handle: Handle) -> Self {
        Self { handle, n_leases: Arc::default() }
    }

    fn store(&self) -> Store<'_> {
        self.handle.object().store()
    }

    fn n_own_leases(&self) -> u64 {
        self.n_leases.load(Ordering::SeqCst)
    }
}

impl Endpoint for End {
    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn is_get_in_vain(&self) -> Option<Refused> {
        let n_own = self.n_own_leases();
        self.store()
            .is_get_in_vain(n_own, || self.handle.is_without_putters_but(n_own).then_some(Refused::Disconnected))
    }
}

impl<T> JoinableQueue<T> {
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn mapping(&self) -> &brigade_sys::kernel::memory::Mapping {
        self.end.handle.object().mapping()
    }

    /// Makes a queue in which up to `capacity` values wait.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it; `EINVAL` if `capacity` is 0.
    pub fn bounded(capacity: usize) -> Result<Self, MemoryError> {
        if capacity == 0 {
            return Err(MemoryError::invalid("make a queue of capacity 0"));
        }
        let capacity = capacity as u64;
        let (n_bytes, n_allocated) = (store::mapped_bytes(capacity), store::ALLOCATED_BYTES);
        let handle = Handle::create_growing(WindowKind::JoinableQueue, n_bytes, n_allocated, |object| {
            object.store().initialize(capacity);
        })?;
        Ok(Self { end: End::new(handle), values: PhantomData })
    }

    /// Gives up the getting end of this handle.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for counting the handle.
    pub fn into_producer(self) -> Result<JoinableProducer<T>, MemoryError> {
        Ok(JoinableProducer { end: End::new(self.end.handle.narrow(Ends::Put)?), values: PhantomData })
    }

    /// Gives up the putting end of this handle.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for counting the handle.
    pub fn into_consumer(self) -> Result<JoinableConsumer<T>, MemoryError> {
        Ok(JoinableConsumer { end: End::new(self.end.handle.narrow(Ends::Get)?), values: PhantomData })
    }
}

fn put<T: Serialize + DeserializeOwned>(end: &End, value: &T, patience: Patience) -> Result<(), PutFault> {
    endpoint::put_by(end, value, |bytes, notes| end.store().put(bytes, notes, patience, || end.is_put_in_vain()))
}

fn get<T: DeserializeOwned>(end: &End, patience: Patience) -> Result<Lease<T>, GetFault> {
    if let Some(reason) = why_gone(end) {
        return Err(GetFault::Refused(reason));
    }
    let leased = end.store().get(patience, || end.is_get_in_vain()).map_err(GetFault::Refused)?;
    let hold = Hold::new(&end.handle, leased, &end.n_leases).map_err(GetFault::Refused)?;
    hold.decode()
}

fn join(end: &End, patience: Patience) -> Result<(), Refused> {
    match why_gone(end) {
        Some(reason) => Err(reason),
        None => end.store().join(patience, || end.is_put_in_vain()),
    }
}

/// What every kind of handle can do, and how it is cloned, shown and sent.
macro_rules! common {
    ($($name:ident),*) => {$(
        impl<T> $name<T> {
            /// How many values wait now. Those that are worked on are not counted.
            #[must_use]
            pub fn len(&self) -> usize {
                self.end.store().counts().n_queued as usize
            }

            /// Whether no value waits now.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether as many values wait as can now.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.len() >= self.capacity()
            }

            /// How many values can wait.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.end.store().capacity() as usize
            }

            /// How many values are not done: those that wait, and those that are worked on.
            #[must_use]
            pub fn n_open(&self) -> usize {
                self.end.store().counts().n_open() as usize
            }

            /// Closes the queue for all: further puts fail; gets take what is left, also what comes back, and then fail.
            pub fn close(&self) {
                if session::refuse_forked().is_ok() {
                    self.end.store().close();
                }
            }

            /// Waits until all values are done. Without any it returns at once.
            ///
            /// # Errors
            /// - `Disconnected`: values wait, and nobody else is left who could get them.
            /// - `System`: the memory of the queue could not be read.
            pub fn join(&self) -> Result<(), JoinError> {
                join(&self.end, Patience::Forever).map_err(JoinError::of)
            }

            /// Waits until all values are done, at most for `timeout`.
            ///
            /// # Errors
            /// As [`join`](Self::join), and `Timeout` if they were not done in time.
            pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinTimeoutError> {
                join(&self.end, Patience::at_most(timeout)).map_err(JoinTimeoutError::of)
            }
        }

        impl<T> Endpoint for $name<T> {
            fn handle(&self) -> &Handle {
                &self.end.handle
            }

            fn is_get_in_vain(&self) -> Option<Refused> {
                self.end.is_get_in_vain()
            }
        }

        impl<T> Clone for $name<T> {
            /// Another handle to the same queue.
            ///
            /// # Panics
            /// If there is no memory for counting the handle.
            fn clone(&self) -> Self {
                let handle = self.end.handle.try_clone();
                let handle = handle.expect("the page in which this handle is counted is there already");
                Self { end: End::new(handle), values: PhantomData }
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("len", &self.len()).field("capacity", &self.capacity()).finish()
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                parcel::serialize_handle(&self.end.handle, std::any::type_name::<Self>(), serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = std::any::type_name::<Self>();
                let handle = parcel::deserialize_handle_to(WindowKind::JoinableQueue, name, deserializer)?;
                Ok(Self { end: End::new(handle), values: PhantomData })
            }
        }
    )*};
}

common!(JoinableQueue, JoinableProducer, JoinableConsumer);

/// What a handle with the putting end can do.
macro_rules! putting {
    ($($name:ident),*) => {$(
        impl<T: Serialize + DeserializeOwned> $name<T> {
            /// Puts a value at the end, waiting for room.
            ///
            /// # Errors
            /// - `Closed`: the queue was closed.
            /// - `Disconnected`: it is full, and nobody else is left who could get.
            /// - `Encode`: the value cannot be encoded; the queue is unchanged.
            /// - `System`: there is no memory for it; the queue is unchanged.
            ///
            /// Each carries the value.
            pub fn put(&self, value: T) -> Result<(), PutError<T>> {
                put(&self.end, &value, Patience::Forever).map_err(|fault| PutError::of(fault, value))
            }

            /// Puts a value at the end, if there is room. Never waits.
            ///
            /// # Errors
            /// As [`put`](Self::put), and `Full` if there is no room now.
            pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
                put(&self.end, &value, Patience::Never).map_err(|fault| TryPutError::of(fault, value))
            }

            /// Puts a value at the end, waiting for room at most for `timeout`.
            ///
            /// # Errors
            /// As [`put`](Self::put), and `Timeout` if there was no room in time.
            pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
                put(&self.end, &value, Patience::at_most(timeout)).map_err(|fault| PutTimeoutError::of(fault, value))
            }
        }
    )*};
}

putting!(JoinableQueue, JoinableProducer);

/// What a handle with the getting end can do.
macro_rules! getting {
    ($($name:ident),*) => {$(
        impl<T: DeserializeOwned> $name<T> {
            /// Gives the oldest value out, waiting for one.
            ///
            /// # Errors
            /// - `Closed`: the queue was closed, no value waits, and none can come back.
            /// - `Disconnected`: no value waits, and nobody else is left who could put one, or put one back.
            /// - `Decode`: the value could not be decoded; it counts as done.
            /// - `System`: the memory of the queue could not be read.
            pub fn get(&self) -> Result<Lease<T>, GetError> {
                get(&self.end, Patience::Forever).map_err(GetError::of)
            }

            /// Gives the oldest value out, if there is one. Never waits.
            ///
            /// # Errors
            /// As [`get`](Self::get), and `Empty` if none waits now.
            pub fn try_get(&self) -> Result<Lease<T>, TryGetError> {
                get(&self.end, Patience::Never).map_err(TryGetError::of)
            }

            /// Gives the oldest value out, waiting for one at most for `timeout`.
            ///
            /// # Errors
            /// As [`get`](Self::get), and `Timeout` if none came in time.
            pub fn get_timeout(&self, timeout: Duration) -> Result<Lease<T>, GetTimeoutError> {
                get(&self.end, Patience::at_most(timeout)).map_err(GetTimeoutError::of)
            }

            /// Gives values out until the queue is closed or disconnected, waiting for each.
            ///
            /// An error of another kind ends the iteration too: [`Iter::error`] tells them apart.
            pub fn iter(&self) -> Iter<'_, Lease<T>> {
                Iter::new(|| self.get())
            }

            /// Gives out the values that wait now. Never waits.
            pub fn try_iter(&self) -> impl Iterator<Item = Lease<T>> + '_ {
                std::iter::from_fn(|| self.try_get().ok())
            }
        }

        impl<T> crate::select::sealed::Source for $name<T> {
            fn is_ready(&self) -> bool {
                let is_there = self.end.store().counts().n_queued > 0;
                is_there || why_gone(&self.end).or_else(|| self.end.is_get_in_vain()).is_some()
            }

            fn watch(&self) {
                self.end.store().watch();
            }
        }

        impl<T> crate::select::Waitable for $name<T> {}
    )*};
}

getting!(JoinableQueue, JoinableConsumer);
