//! Two pipes as one value: each end sends to the other and receives from it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError, try_pipe,
};
use crate::error::MemoryError;

/// Makes two ends that talk to each other: the first sends `A` and receives `B`, the second the other way round.
///
/// # Panics
/// If there is no memory for it: see [`try_duplex`].
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let (ours, theirs) = brigade::duplex::<u32, String>();
/// let process = brigade::spawn(theirs, |theirs| {
///     while let Ok(number) = theirs.recv() {
///         let _ = theirs.send(number.to_string());
///     }
/// })?;
/// ours.send(42)?;
/// assert_eq!(ours.recv()?, "42");
/// drop(ours); // now the process finds no sender any more
/// process.join()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn duplex<A, B>() -> (Duplex<A, B>, Duplex<B, A>) {
    try_duplex().unwrap_or_else(|error| panic!("{error}"))
}

/// [`duplex`] for those who can go on without one.
///
/// # Errors
/// [`MemoryError`] if there is no memory for it.
#[expect(clippy::type_complexity, reason = "it is the pair that was asked for, written out")]
pub fn try_duplex<A, B>() -> Result<(Duplex<A, B>, Duplex<B, A>), MemoryError> {
    let (to_second, from_first) = try_pipe()?;
    let (to_first, from_second) = try_pipe()?;
    Ok((Duplex { sender: to_second, receiver: from_second }, Duplex { sender: to_first, receiver: from_first }))
}

/// One of the two ends that [`duplex`] makes: it sends `A` and receives `B`.
///
/// The calls are those of [`Sender`] and [`Receiver`]. Like them it is a handle, to be cloned and sent anywhere.
pub struct Duplex<A, B> {
    sender: Sender<A>,
    receiver: Receiver<B>,
}

impl<A, B> Duplex<A, B> {
    /// The two halves, for different threads or processes.
    #[must_use]
    pub fn split(self) -> (Sender<A>, Receiver<B>) {
        (self.sender, self.receiver)
    }

    pub(crate) const fn receiver(&self) -> &Receiver<B> {
        &self.receiver
    }

    /// As [`Receiver::poll`].
    #[must_use]
    pub fn poll(&self, timeout: Duration) -> bool {
        self.receiver.poll(timeout)
    }
}

impl<A: Serialize + DeserializeOwned, B> Duplex<A, B> {
    /// As [`Sender::send`].
    ///
    /// # Errors
    /// Those of [`Sender::send`].
    pub fn send(&self, value: A) -> Result<(), SendError<A>> {
        self.sender.send(value)
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    /// Those of [`Sender::try_send`].
    pub fn try_send(&self, value: A) -> Result<(), TrySendError<A>> {
        self.sender.try_send(value)
    }

    /// As [`Sender::send_timeout`].
    ///
    /// # Errors
    /// Those of [`Sender::send_timeout`].
    pub fn send_timeout(&self, value: A, timeout: Duration) -> Result<(), SendTimeoutError<A>> {
        self.sender.send_timeout(value, timeout)
    }
}

impl<A, B: DeserializeOwned> Duplex<A, B> {
    /// As [`Receiver::recv`].
    ///
    /// # Errors
    /// Those of [`Receiver::recv`].
    pub fn recv(&self) -> Result<B, RecvError> {
        self.receiver.recv()
    }

    /// As [`Receiver::try_recv`].
    ///
    /// # Errors
    /// Those of [`Receiver::try_recv`].
    pub fn try_recv(&self) -> Result<B, TryRecvError> {
        self.receiver.try_recv()
    }

    /// As [`Receiver::recv_timeout`].
    ///
    /// # Errors
    /// Those of [`Receiver::recv_timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<B, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }
}

impl<A, B> Clone for Duplex<A, B> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), receiver: self.receiver.clone() }
    }
}

impl<A, B> std::fmt::Debug for Duplex<A, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Duplex").field("sender", &self.sender).field("receiver", &self.receiver).finish()
    }
}

impl<A, B> Serialize for Duplex<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.sender, &self.receiver).serialize(serializer)
    }
}

impl<'de, A, B> Deserialize<'de> for Duplex<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(Sender<A>, Receiver<B>)>::deserialize(deserializer).map(|(sender, receiver)| Self { sender, receiver })
    }
}
