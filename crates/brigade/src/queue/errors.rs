//! Why a value was not put or not got. A rejected value comes back in the error.

use serde::{Deserialize, Serialize};

use crate::channel::Refused;
use crate::endpoint::{GetFault, PutFault};
use crate::error::SystemError;
use crate::{DecodeError, EncodeError};

/// Defines the error of one way to put: the variants common to all, and one for those that do not wait for ever.
macro_rules! put_error {
    ($(#[$meta:meta])* $name:ident $(, $(#[$own_meta:meta])* $own:ident, $is_own:ident, $text:literal)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$own_meta])* $own(T),)?
            /// The queue was closed.
            Closed(T),
            /// The queue is full, and no other handle is left that could get.
            Disconnected(T),
            /// The manager that held the queue has ended.
            ManagerDied(T),
            /// The value cannot be encoded.
            Encode(T, EncodeError),
            /// The system refused, for lack of memory.
            System(T, SystemError),
        }

        impl<T> $name<T> {
            pub(crate) fn of(fault: PutFault, value: T) -> Self {
                match fault {
                    $(PutFault::Refused(Refused::NotNow) => Self::$own(value),)?
                    PutFault::Refused(Refused::Closed) => Self::Closed(value),
                    PutFault::Refused(Refused::Disconnected) => Self::Disconnected(value),
                    PutFault::Refused(Refused::ManagerDied) => Self::ManagerDied(value),
                    PutFault::Refused(other) => Self::System(value, other.into()),
                    PutFault::Encode(error) => Self::Encode(value, error),
                }
            }

            /// The value that was not put.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$own(value) => value,)?
                    Self::Closed(value) | Self::Disconnected(value) | Self::ManagerDied(value) => value,
                    Self::Encode(value, _) | Self::System(value, _) => value,
                }
            }

            $(
                #[doc = concat!("Whether this is `", stringify!($own), "`.")]
                #[must_use]
                pub const fn $is_own(&self) -> bool {
                    matches!(self, Self::$own(_))
                }
            )?

            /// Whether the queue was closed.
            #[must_use]
            pub const fn is_closed(&self) -> bool {
                matches!(self, Self::Closed(_))
            }

            /// Whether waiting would have been waiting for ever.
            #[must_use]
            pub const fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected(_))
            }
        }

        impl<T> std::fmt::Display for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$own(_) => f.write_str($text),)?
                    Self::Closed(_) => f.write_str("the queue is closed"),
                    Self::Disconnected(_) => f.write_str("the queue is full and nobody is left who could take from it"),
                    Self::ManagerDied(_) => f.write_str("the manager of the queue has ended"),
                    Self::Encode(_, error) => error.fmt(f),
                    Self::System(_, error) => write!(f, "cannot put into the queue: {error}"),
                }
            }
        }

        impl<T: std::fmt::Debug> std::error::Error for $name<T> {}
    };
}

put_error!(
    /// Why [`put`](super::Queue::put) failed.
    PutError
);
put_error!(
    /// Why [`try_put`](super::Queue::try_put) failed.
    TryPutError,
    /// There is no room now.
    Full, is_full, "the queue is full"
);
put_error!(
    /// Why [`put_timeout`](super::Queue::put_timeout) failed.
    PutTimeoutError,
    /// There was no room in time.
    Timeout, is_timeout, "the queue stayed full"
);

/// The same for getting, where there is no value to give back.
macro_rules! get_error {
    ($(#[$meta:meta])* $name:ident $(, $(#[$own_meta:meta])* $own:ident, $is_own:ident, $text:literal)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
        #[non_exhaustive]
        pub enum $name {
            $(
                $(#[$own_meta])*
                #[error($text)]
                $own,
            )?
            /// The queue is empty and was closed.
            #[error("the queue is closed")]
            Closed,
            /// The queue is empty, and no other handle is left that could put.
            #[error("the queue is empty and nobody is left who could put into it")]
            Disconnected,
            /// The manager that held the queue has ended.
            #[error("the manager of the queue has ended")]
            ManagerDied,
            /// The value that was taken could not be decoded; it is gone.
            #[error(transparent)]
            Decode(DecodeError),
            /// The memory of the queue could not be read.
            #[error("cannot get from the queue")]
            System(#[source] SystemError),
        }

        impl $name {
            pub(crate) fn of(fault: GetFault) -> Self {
                match fault {
                    $(GetFault::Refused(Refused::NotNow) => Self::$own,)?
                    GetFault::Refused(Refused::Closed) => Self::Closed,
                    GetFault::Refused(Refused::Disconnected) => Self::Disconnected,
                    GetFault::Refused(Refused::ManagerDied) => Self::ManagerDied,
                    GetFault::Refused(other) => Self::System(other.into()),
                    GetFault::Decode(error) => Self::Decode(error),
                }
            }

            $(
                #[doc = concat!("Whether this is `", stringify!($own), "`.")]
                #[must_use]
                pub const fn $is_own(&self) -> bool {
                    matches!(self, Self::$own)
                }
            )?

            /// Whether the queue was closed.
            #[must_use]
            pub const fn is_closed(&self) -> bool {
                matches!(self, Self::Closed)
            }

            /// Whether waiting would have been waiting for ever.
            #[must_use]
            pub const fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected)
            }
        }
    };
}

get_error!(
    /// Why [`get`](super::Queue::get) failed.
    GetError
);
get_error!(
    /// Why [`try_get`](super::Queue::try_get) failed.
    TryGetError,
    /// There is no value now.
    Empty, is_empty, "the queue is empty"
);
get_error!(
    /// Why [`get_timeout`](super::Queue::get_timeout) failed.
    GetTimeoutError,
    /// No value came in time.
    Timeout, is_timeout, "the queue stayed empty"
);
