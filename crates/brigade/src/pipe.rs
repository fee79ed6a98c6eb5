//! `pipe` and `duplex`: messages from one place to another, and both ways. The bytes are kept in channel.rs, the counting of
//! ends is in object.rs.

mod duplex;
mod errors;

use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::duplex::{Duplex, duplex, try_duplex};
pub use self::errors::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use crate::channel::{self, Bounds, Patience, Refused};
use crate::endpoint::{Endpoint, get, is_readable_within, put};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::parcel;
use crate::queue::Iter;
use crate::session::{Ends, WindowKind};

/// How much may wait in a pipe: enough that a sender seldom waits for a receiver that is a little behind. One message may be
/// larger, if it waits alone.
const BOUNDS: Bounds = Bounds { n_items: 1024, n_bytes: 1 << 20 };

/// Makes a pipe: what goes into the [`Sender`] comes out of the [`Receiver`], message by message, in order.
///
/// Both ends are handles: clone them, move them to other threads, send them to other processes in arguments, pool tasks, and
/// messages. Each message goes to one receiver. They cost no descriptor. Messages are of any size, are never merged or cut,
/// and wait in shared memory: a sender may end at once. Up to 1 024 messages or 1 MiB wait; a sender of more waits for room.
///
/// Unlike a [`Queue`](crate::Queue) a pipe tells both sides of the other's end. Once every sender is dropped or dead, `recv`
/// gives what is left and then `Disconnected`; once every receiver is, `send` gives `Disconnected` though there is room.
///
/// # Panics
/// If there is no memory for it: see [`try_pipe`].
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let (sender, receiver) = brigade::pipe::<String>();
/// let process = brigade::spawn(sender, |sender| sender.send("hello".to_owned()).is_ok())?;
/// assert_eq!(receiver.recv()?, "hello");
/// assert!(receiver.recv().is_err()); // the only sender has gone with its process
/// assert!(process.join()?);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn pipe<T>() -> (Sender<T>, Receiver<T>) {
    try_pipe().unwrap_or_else(|error| panic!("{error}"))
}

/// [`pipe`] for those who can go on without one.
///
/// # Errors
/// [`MemoryError`] if there is no memory for it.
pub fn try_pipe<T>() -> Result<(Sender<T>, Receiver<T>), MemoryError> {
    let both = Handle::create(WindowKind::Queue, channel::mapped_bytes(BOUNDS.n_items), |object| {
        object.channel().initialize(BOUNDS);
    })?;
    let sending = both.try_clone()?.narrow(Ends::Put)?;
    let receiving = both.narrow(Ends::Get)?;
    Ok((Sender { handle: sending, values: PhantomData }, Receiver { handle: receiving, values: PhantomData }))
}

/// The end of a [`pipe`] into which messages go.
pub struct Sender<T> {
    handle: Handle,
    values: PhantomData<fn(T)>,
}

/// The end of a [`pipe`] out of which messages come.
pub struct Receiver<T> {
    handle: Handle,
    values: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a message, waiting for room. Once it returns, the message is in the pipe: the process may end at once.
    ///
    /// # Errors
    /// - `Disconnected`: no receiver is left. A killed one is noticed within a tenth of a second.
    /// - `Encode`: the value cannot be encoded.
    /// - `System`: there is no memory for it.
    ///
    /// Each carries the value, and nothing was sent.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        put(self, &value, Patience::Forever).map_err(|fault| SendError::of(fault, value))
    }

    /// Sends a message, if there is room. Never waits.
    ///
    /// # Errors
    /// As [`send`](Self::send), and `Full` if there is no room now.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        put(self, &value, Patience::Never).map_err(|fault| TrySendError::of(fault, value))
    }

    /// Sends a message, waiting for room at most for `timeout`.
    ///
    /// # Errors
    /// As [`send`](Self::send), and `Timeout` if there was no room in time.
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        put(self, &value, Patience::at_most(timeout)).map_err(|fault| SendTimeoutError::of(fault, value))
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives the oldest message, waiting for one.
    ///
    /// # Errors
    /// - `Disconnected`: no message is left, and no sender.
    /// - `Decode`: the message could not be decoded; it is gone.
    /// - `System`: the memory of the pipe could not be read.
    pub fn recv(&self) -> Result<T, RecvError> {
        get(self, Patience::Forever).map_err(RecvError::of)
    }

    /// Receives the oldest message, if there is one. Never waits.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `Empty` if there is none now.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        get(self, Patience::Never).map_err(TryRecvError::of)
    }

    /// Receives the oldest message, waiting for one at most for `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and `Timeout` if none came in time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        get(self, Patience::at_most(timeout)).map_err(RecvTimeoutError::of)
    }

    /// Receives messages until no sender is left, waiting for each.
    ///
    /// An error of another kind ends the iteration too: [`Iter::error`] tells them apart.
    pub fn iter(&self) -> Iter<'_, T, RecvError> {
        Iter::new(|| self.recv())
    }

    /// Receives the messages that are there now. Never waits.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_recv().ok())
    }
}

impl<T> Receiver<T> {
    /// Waits until [`recv`](Self::recv) would not wait, at most for `timeout`. `true` if a message is there or no sender is left; another
    /// receiver may be faster.
    #[must_use]
    pub fn poll(&self, timeout: Duration) -> bool {
        is_readable_within(self, timeout)
    }
}

/// How an end is counted, cloned, shown and sent.
macro_rules! end {
    ($name:ident, $is_gone:expr) => {
        impl<T> Endpoint for $name<T> {
            fn handle(&self) -> &Handle {
                &self.handle
            }

            fn is_gone(&self) -> Option<Refused> {
                let is_gone: fn(&Handle) -> bool = $is_gone;
                is_gone(&self.handle).then_some(Refused::Disconnected)
            }
        }

        impl<T> Clone for $name<T> {
            /// Another handle to the same end.
            ///
            /// # Panics
            /// If there is no memory for counting the handle.
            fn clone(&self) -> Self {
                let handle =
                    self.handle.try_clone().expect("the page in which this handle is counted is there already");
                Self { handle, values: PhantomData }
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("waiting", &self.handle.object().channel().len()).finish()
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
    };
}

end!(Sender, Handle::has_lost_getters);
end!(Receiver, |_| false);
