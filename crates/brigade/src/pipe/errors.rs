//! Why a message was not sent or not received. A rejected value comes back in the error.

use serde::{Deserialize, Serialize};

use crate::channel::Refused;
use crate::endpoint::{GetFault, PutFault};
use crate::error::SystemError;
use crate::{DecodeError, EncodeError};

/// Defines the error of one way to send: the variants common to all, and one for those that do not wait for ever.
macro_rules! send_error {
    ($(#[$meta:meta])* $name:ident $(, $(#[$own_meta:meta])* $own:ident, $is_own:ident, $text:literal)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$own_meta])* $own(T),)?
            /// No receiver is left.
            Disconnected(T),
            /// The value cannot be encoded.
            Encode(T, EncodeError),
            /// The system refused, for lack of memory.
            System(T, SystemError),
        }

        impl<T> $name<T> {
            pub(super) fn of(fault: PutFault, value: T) -> Self {
                match fault {
                    $(PutFault::Refused(Refused::NotNow) => Self::$own(value),)?
                    PutFault::Refused(Refused::Disconnected) => Self::Disconnected(value),
                    PutFault::Refused(other) => Self::System(value, other.into()),
                    PutFault::Encode(error) => Self::Encode(value, error),
                }
            }

            /// The value that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$own(value) => value,)?
                    Self::Disconnected(value) | Self::Encode(value, _) | Self::System(value, _) => value,
                }
            }

            $(
                #[doc = concat!("Whether this is `", stringify!($own), "`.")]
                #[must_use]
                pub const fn $is_own(&self) -> bool {
                    matches!(self, Self::$own(_))
                }
            )?

            /// Whether no receiver is left.
            #[must_use]
            pub const fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected(_))
            }
        }

        impl<T> std::fmt::Display for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$own(_) => f.write_str($text),)?
                    Self::Disconnected(_) => f.write_str("nobody is left who could receive from the pipe"),
                    Self::Encode(_, error) => error.fmt(f),
                    Self::System(_, error) => write!(f, "cannot send into the pipe: {error}"),
                }
            }
        }

        impl<T: std::fmt::Debug> std::error::Error for $name<T> {}
    };
}

send_error!(
    /// Why [`send`](super::Sender::send) failed.
    SendError
);
send_error!(
    /// Why [`try_send`](super::Sender::try_send) failed.
    TrySendError,
    /// There is no room now.
    Full, is_full, "the pipe is full"
);
send_error!(
    /// Why [`send_timeout`](super::Sender::send_timeout) failed.
    SendTimeoutError,
    /// There was no room in time.
    Timeout, is_timeout, "the pipe stayed full"
);

/// The same for receiving, where there is no value to give back.
macro_rules! recv_error {
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
            /// No message is left, and no sender.
            #[error("the pipe is empty and nobody is left who could send into it")]
            Disconnected,
            /// The message that was taken could not be decoded; it is gone.
            #[error(transparent)]
            Decode(DecodeError),
            /// The memory of the pipe could not be read.
            #[error("cannot receive from the pipe")]
            System(#[source] SystemError),
        }

        impl $name {
            pub(super) fn of(fault: GetFault) -> Self {
                match fault {
                    $(GetFault::Refused(Refused::NotNow) => Self::$own,)?
                    GetFault::Refused(Refused::Disconnected) => Self::Disconnected,
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

            /// Whether no message is left, and no sender.
            #[must_use]
            pub const fn is_disconnected(&self) -> bool {
                matches!(self, Self::Disconnected)
            }
        }
    };
}

recv_error!(
    /// Why [`recv`](super::Receiver::recv) failed.
    RecvError
);
recv_error!(
    /// Why [`try_recv`](super::Receiver::try_recv) failed.
    TryRecvError,
    /// There is no message now.
    Empty, is_empty, "the pipe is empty"
);
recv_error!(
    /// Why [`recv_timeout`](super::Receiver::recv_timeout) failed.
    RecvTimeoutError,
    /// No message came in time.
    Timeout, is_timeout, "the pipe stayed empty"
);
