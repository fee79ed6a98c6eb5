//! `Queue<T>`: a bounded first-in first-out of values between processes. The bytes are kept in channel.rs, the counting of
//! handles is in object.rs.

mod errors;

use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::errors::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};
use crate::channel::{self, Bounds, Patience, Refused};
use crate::endpoint::{Endpoint, get, put};
use crate::error::MemoryError;
use crate::lifeline::Lifeline;
use crate::object::Handle;
use crate::parcel;
use crate::session::{self, Ends, WindowKind};

/// A bounded queue between processes, in the order in which values were put.
///
/// A `Queue` is a handle: clone it, move it to another thread, send it to another process in the arguments of
/// [`spawn`](crate::spawn), of a pool task, or through another queue. All handles see the same queue. It lives as long as
/// a handle does, also one in a message that somebody can still receive. Handles cost no descriptor.
///
/// When [`put`](Self::put) returns, the value is in the queue: the process may end at once. A process killed at any moment
/// leaves the queue whole: its last put is wholly in or wholly out, and a value that it had taken is lost with it.
///
/// Calls that would wait for ever return `Disconnected` instead: `get` on an empty queue when no *other* handle is left that
/// could put, `put` on a full one when none is left that could get. A queue whose consumers hold both ends never ends
/// by itself: narrow the handles by [`into_producer`](Self::into_producer) and [`into_consumer`](Self::into_consumer), or
/// [`close`](Self::close) the queue.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = brigade::Queue::bounded(3)?;
/// queue.put("first".to_owned())?;
/// queue.put("second".to_owned())?;
/// assert_eq!(queue.get()?, "first");
/// assert_eq!(queue.len(), 1);
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    handle: Handle,
    values: PhantomData<fn(T) -> T>,
}

/// A handle to a [`Queue`] that can only put. See [`Queue::into_producer`].
pub struct Producer<T> {
    handle: Handle,
    values: PhantomData<fn(T)>,
}

/// A handle to a [`Queue`] that can only get. See [`Queue::into_consumer`].
pub struct Consumer<T> {
    handle: Handle,
    values: PhantomData<fn() -> T>,
}

impl<T> Queue<T> {
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn mapping(&self) -> &brigade_sys::kernel::memory::Mapping {
        self.handle.object().mapping()
    }

    /// Makes a queue that holds up to `capacity` values.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it; `EINVAL` if `capacity` is 0.
    pub fn bounded(capacity: usize) -> Result<Self, MemoryError> {
        if capacity == 0 {
            let error = io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error());
            return Err(MemoryError::new("make a queue of capacity 0", &error));
        }
        let capacity = capacity as u64;
        let handle = Handle::create(WindowKind::Queue, channel::mapped_bytes(capacity), |object| {
            object.channel().initialize(Bounds::of_items(capacity));
        })?;
        Ok(Self { handle, values: PhantomData })
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Gives up the getting end of this handle.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for counting the handle.
    pub fn into_producer(self) -> Result<Producer<T>, MemoryError> {
        Ok(Producer { handle: self.handle.narrow(Ends::Put)?, values: PhantomData })
    }

    /// Gives up the putting end of this handle.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for counting the handle.
    pub fn into_consumer(self) -> Result<Consumer<T>, MemoryError> {
        Ok(Consumer { handle: self.handle.narrow(Ends::Get)?, values: PhantomData })
    }
}

/// A queue that a manager's process holds: it lives as long as the manager, whatever becomes of the handles.
///
/// The calls are those of a [`Queue`]. They are never `Disconnected`, and give `ManagerDied` once the manager has ended.
/// Values do not pass through the manager's process: they are in shared memory, which it holds.
pub struct ManagedQueue<T> {
    queue: Queue<T>,
    manager: Lifeline,
}

impl<T> ManagedQueue<T> {
    pub(crate) const fn new(queue: Queue<T>, manager: Lifeline) -> Self {
        Self { queue, manager }
    }
}

impl<T> Endpoint for ManagedQueue<T> {
    fn handle(&self) -> &Handle {
        &self.queue.handle
    }

    fn is_gone(&self) -> Option<Refused> {
        self.manager.has_ended().then_some(Refused::ManagerDied)
    }

    fn is_gone_now(&self) -> Option<Refused> {
        self.manager.has_ended_now().then_some(Refused::ManagerDied)
    }

    fn is_put_in_vain(&self) -> Option<Refused> {
        self.is_gone()
    }

    fn is_get_in_vain(&self) -> Option<Refused> {
        self.is_gone()
    }
}

impl<T> Clone for ManagedQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), manager: self.manager.clone() }
    }
}

impl<T> std::fmt::Debug for ManagedQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManagedQueue").field("queue", &self.queue).field("manager", &self.manager).finish()
    }
}

impl<T> Serialize for ManagedQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.queue, &self.manager).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for ManagedQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(Queue<T>, Lifeline)>::deserialize(deserializer).map(|(queue, manager)| Self { queue, manager })
    }
}

/// What every kind of handle can do.
macro_rules! common {
    ($($name:ident),*) => {$(
        impl<T> $name<T> {
            /// How many values are in the queue now.
            #[must_use]
            pub fn len(&self) -> usize {
                self.handle().object().channel().len() as usize
            }

            /// Whether the queue is empty now.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether the queue holds as many values as it can now.
            #[must_use]
            pub fn is_full(&self) -> bool {
                self.len() >= self.capacity()
            }

            /// How many values the queue can hold.
            #[must_use]
            pub fn capacity(&self) -> usize {
                self.handle().object().channel().capacity() as usize
            }

            /// Closes the queue for all: further puts fail; gets take what is left and then fail.
            pub fn close(&self) {
                if session::refuse_forked().is_ok() {
                    self.handle().object().channel().close();
                }
            }
        }
    )*};
}

common!(Queue, Producer, Consumer, ManagedQueue);

/// How a handle is cloned, shown and sent.
macro_rules! plain_handle {
    ($($name:ident),*) => {$(
        impl<T> Endpoint for $name<T> {
            fn handle(&self) -> &Handle {
                &self.handle
            }
        }

        impl<T> Clone for $name<T> {
            /// Another handle to the same queue.
            ///
            /// # Panics
            /// If there is no memory for counting the handle.
            fn clone(&self) -> Self {
                let handle = self.handle.try_clone().expect("the page in which this handle is counted is there already");
                Self { handle, values: PhantomData }
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("len", &self.len()).field("capacity", &self.capacity()).finish()
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                parcel::serialize_handle(&self.handle, std::any::type_name::<Self>(), serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = std::any::type_name::<Self>();
                let handle = parcel::deserialize_handle_to(WindowKind::Queue, name, deserializer)?;
                Ok(Self { handle, values: PhantomData })
            }
        }
    )*};
}

plain_handle!(Queue, Producer, Consumer);

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
            /// - `ManagerDied`: the manager that held the queue has ended; a plain `Queue` has none.
            /// - `System`: there is no memory for it; the queue is unchanged.
            ///
            /// Each carries the value.
            pub fn put(&self, value: T) -> Result<(), PutError<T>> {
                put(self, &value, Patience::Forever).map_err(|fault| PutError::of(fault, value))
            }

            /// Puts a value at the end, if there is room. Never waits.
            ///
            /// # Errors
            /// As [`put`](Self::put), and `Full` if there is no room now.
            pub fn try_put(&self, value: T) -> Result<(), TryPutError<T>> {
                put(self, &value, Patience::Never).map_err(|fault| TryPutError::of(fault, value))
            }

            /// Puts a value at the end, waiting for room at most for `timeout`.
            ///
            /// # Errors
            /// As [`put`](Self::put), and `Timeout` if there was no room in time.
            pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
                put(self, &value, Patience::at_most(timeout)).map_err(|fault| PutTimeoutError::of(fault, value))
            }
        }
    )*};
}

putting!(Queue, Producer, ManagedQueue);

/// What a handle with the getting end can do.
macro_rules! getting {
    ($($name:ident),*) => {$(
        impl<T: DeserializeOwned> $name<T> {
            /// Takes the oldest value, waiting for one.
            ///
            /// # Errors
            /// - `Closed`: the queue is empty and was closed.
            /// - `Disconnected`: it is empty, and nobody else is left who could put.
            /// - `Decode`: the value could not be decoded; it is gone.
            /// - `ManagerDied`: the manager that held the queue has ended; a plain `Queue` has none.
            /// - `System`: the memory of the queue could not be read.
            pub fn get(&self) -> Result<T, GetError> {
                get(self, Patience::Forever).map_err(GetError::of)
            }

            /// Takes the oldest value, if there is one. Never waits.
            ///
            /// # Errors
            /// As [`get`](Self::get), and `Empty` if there is none now.
            pub fn try_get(&self) -> Result<T, TryGetError> {
                get(self, Patience::Never).map_err(TryGetError::of)
            }

            /// Takes the oldest value, waiting for one at most for `timeout`.
            ///
            /// # Errors
            /// As [`get`](Self::get), and `Timeout` if none came in time.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
                get(self, Patience::at_most(timeout)).map_err(GetTimeoutError::of)
            }

            /// Takes values until the queue is closed or disconnected, waiting for each.
            ///
            /// An error of another kind ends the iteration too: [`Iter::error`] tells them apart.
            pub fn iter(&self) -> Iter<'_, T> {
                Iter::new(|| self.get())
            }

            /// Takes the values that are there now. Never waits.
            pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
                std::iter::from_fn(|| self.try_get().ok())
            }
        }
    )*};
}

getting!(Queue, Consumer, ManagedQueue);

/// The values of a queue or a pipe as they come. Made by [`Queue::iter`] and [`Receiver::iter`](crate::Receiver::iter).
pub struct Iter<'a, T, E = GetError> {
    next: Box<dyn FnMut() -> Result<T, E> + 'a>,
    error: Option<E>,
}

impl<'a, T, E> Iter<'a, T, E> {
    pub(crate) fn new(next: impl FnMut() -> Result<T, E> + 'a) -> Self {
        Self { next: Box::new(next), error: None }
    }

    /// What ended the iteration: `Closed` and `Disconnected` are its natural ends.
    #[must_use]
    pub const fn error(&self) -> Option<&E> {
        self.error.as_ref()
    }
}

impl<T, E> Iterator for Iter<'_, T, E> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.error.is_some() {
            return None;
        }
        match (self.next)() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

impl<T, E: std::fmt::Debug> std::fmt::Debug for Iter<'_, T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").field("error", &self.error).finish_non_exhaustive()
    }
}
