//! A value into a channel, a value out of a channel: what queues and pipes have in common. The bytes are kept in channel.rs.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Patience, Refused};
use crate::error::SystemError;
use crate::object::Handle;
use crate::parcel::{self, Parcel};
use crate::scratch;
use crate::session;
use crate::{DecodeError, EncodeError};

/// What the calls below need to know of the handle that they are made on.
pub(crate) trait Endpoint {
    fn handle(&self) -> &Handle;

    /// Why no call makes sense any more, if so.
    fn is_gone(&self) -> Option<Refused> {
        None
    }

    /// Why waiting for room would be in vain, if it would.
    fn is_put_in_vain(&self) -> Option<Refused> {
        self.handle().is_without_getters().then_some(Refused::Disconnected)
    }

    /// Why waiting for a value would be in vain, if it would.
    fn is_get_in_vain(&self) -> Option<Refused> {
        self.handle().is_without_putters().then_some(Refused::Disconnected)
    }
}

/// Why no call on a handle makes sense, if so.
pub(crate) fn why_gone(end: &impl Endpoint) -> Option<Refused> {
    let forked = session::refuse_forked().err();
    forked.map(|error| Refused::Memory(io::Error::other(error))).or_else(|| end.is_gone())
}

/// Why a put failed, before the rejected value is added to it.
pub(crate) enum PutFault {
    Refused(Refused),
    Encode(EncodeError),
}

/// Why a get failed.
pub(crate) enum GetFault {
    Refused(Refused),
    Decode(DecodeError),
}

/// What is left when no variant of its own fits.
impl From<Refused> for SystemError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Memory(error) => (&error).into(),
            _ => (&io::Error::new(io::ErrorKind::InvalidData, "the shared memory of the channel is damaged")).into(),
        }
    }
}

pub(crate) fn put<T>(end: &impl Endpoint, value: &T, patience: Patience) -> Result<(), PutFault>
where
    T: Serialize + DeserializeOwned,
{
    if let Some(reason) = why_gone(end) {
        return Err(PutFault::Refused(reason));
    }
    let parcel = Parcel::pack_into(value, scratch::take()).map_err(PutFault::Encode)?;
    if !parcel.descriptors.is_empty() {
        let error = io::Error::other("descriptors travel to processes and pool tasks, not through queues");
        return Err(PutFault::Refused(Refused::Memory(error)));
    }
    let channel = end.handle().object().channel();
    let outcome = channel.put(&parcel.bytes, &parcel.notes(), patience, || end.is_put_in_vain());
    scratch::give_back(parcel.bytes);
    outcome.map_err(PutFault::Refused)
}

pub(crate) fn get<T: DeserializeOwned>(end: &impl Endpoint, patience: Patience) -> Result<T, GetFault> {
    if let Some(reason) = why_gone(end) {
        return Err(GetFault::Refused(reason));
    }
    let attach = |note| Handle::arrive(note).ok();
    let mut buffer = scratch::take();
    let taken = end.handle().object().channel().get(&mut buffer, patience, attach, || end.is_get_in_vain());
    let value = match taken {
        Ok(taken) => {
            parcel::unpack_from(&buffer[..taken.payload_bytes], Vec::new(), taken.handles).map_err(GetFault::Decode)
        }
        Err(reason) => Err(GetFault::Refused(reason)),
    };
    scratch::give_back(buffer);
    value
}

/// Waits until a get would not wait, at most for `timeout`; whether it came to be.
pub(crate) fn is_readable_within(end: &impl Endpoint, timeout: Duration) -> bool {
    why_gone(end).is_some()
        || end.handle().object().channel().is_readable_within(Patience::at_most(timeout), || end.is_get_in_vain())
}
