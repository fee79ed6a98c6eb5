//! A value into a channel, a value out of a channel: what queues and pipes have in common. The bytes are kept in channel.rs.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Note, Patience, Refused};
use crate::error::SystemError;
use crate::keeper;
use crate::object::Handle;
use crate::parcel::{self, Enclosed, Enclosures};
use crate::scratch;
use crate::session;
use crate::{DecodeError, EncodeError};

/// What the calls below need to know of the handle that they are made on.
pub(crate) trait Endpoint {
    fn handle(&self) -> &Handle;

    /// Why no call makes sense any more, if so: as of a moment ago, since it is asked at each call.
    fn is_gone(&self) -> Option<Refused> {
        None
    }

    /// The same as of now.
    fn is_gone_now(&self) -> Option<Refused> {
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
#[inline]
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
    let channel = end.handle().object().channel();
    put_by(end, value, |bytes, notes| {
        channel.put(bytes, notes, patience, || end.is_put_in_vain()).map_err(|reason| in_truth(end, reason))
    })
}

/// The same, with `put` for what puts the bytes and the notes of the message.
pub(crate) fn put_by<T>(
    end: &impl Endpoint,
    value: &T,
    put: impl FnOnce(&[u8], &[Note]) -> Result<(), Refused>,
) -> Result<(), PutFault>
where
    T: Serialize + DeserializeOwned,
{
    if let Some(reason) = why_gone(end) {
        return Err(PutFault::Refused(reason));
    }
    let mut bytes = scratch::take();
    bytes.clear();
    let outcome = match parcel::pack_into(value, &mut bytes) {
        Ok(None) => put(&bytes, &[]).map_err(PutFault::Refused),
        Ok(Some(enclosed)) => put_enclosed(*enclosed, |notes| put(&bytes, notes)).map_err(PutFault::Refused),
        Err(error) => Err(PutFault::Encode(error)),
    };
    scratch::give_back(bytes);
    outcome
}

/// Makes notes of what a value encloses, and keeps it until `put` has put them. Most values enclose nothing.
#[cold]
fn put_enclosed(enclosed: Enclosed, put: impl FnOnce(&[Note]) -> Result<(), Refused>) -> Result<(), Refused> {
    let Enclosed { descriptors, handles } = enclosed;
    let mut notes: Vec<Note> = handles.iter().map(|handle| handle.note().into()).collect();
    // Before the message: whoever sees the message can have them.
    let deposit = keeper::deposit(descriptors).map_err(Refused::Memory)?;
    notes.extend(deposit.as_ref().map(|deposit| Note::Descriptors(deposit.ticket())));
    put(&notes)?;
    if let Some(deposit) = deposit {
        deposit.entrust();
    }
    Ok(())
}

pub(crate) fn get<T: DeserializeOwned>(end: &impl Endpoint, patience: Patience) -> Result<T, GetFault> {
    if let Some(reason) = why_gone(end) {
        return Err(GetFault::Refused(reason));
    }
    let (mut buffer, mut attached) = (scratch::take(), Vec::new());
    let channel = end.handle().object().channel();
    let value = match channel.get(&mut buffer, &mut attached, attach, patience, || end.is_get_in_vain()) {
        Ok(n_bytes) => {
            let enclosures = if attached.is_empty() {
                None
            } else {
                let (descriptors, handles) = settle(attached);
                Enclosures::new(descriptors, handles)
            };
            parcel::unpack_from(&buffer[..n_bytes], enclosures).map_err(GetFault::Decode)
        }
        Err(reason) => Err(GetFault::Refused(in_truth(end, reason))),
    };
    scratch::give_back(buffer);
    value
}

/// Who finds a channel closed may have been late to see that it is gone: that is the last word, and has to be the right one.
#[cold]
fn in_truth(end: &impl Endpoint, reason: Refused) -> Refused {
    match reason {
        Refused::Closed => end.is_gone_now().unwrap_or(reason),
        other => other,
    }
}

/// What a note stood for, now that it is this process's own.
pub(crate) enum Attached {
    /// `None` where the handle could not be counted: the value that needs it does not decode.
    Handle(Option<Handle>),
    Descriptors(u64, Vec<OwnedFd>),
}

/// Makes what a note stands for this process's own. It stays where it is as well.
pub(crate) fn attach(note: Note) -> io::Result<Attached> {
    Ok(match note {
        Note::Handle(note) => Attached::Handle(Handle::arrive(note).ok()),
        Note::Descriptors(ticket) => Attached::Descriptors(ticket, keeper::fetch(ticket)?),
    })
}

/// The message is taken: what came with it is nobody else's any more. Most messages come alone.
#[cold]
pub(crate) fn settle(attached: Vec<Attached>) -> (Vec<OwnedFd>, Vec<Option<Handle>>) {
    let (mut descriptors, mut handles) = (Vec::new(), Vec::with_capacity(attached.len()));
    for attached in attached {
        match attached {
            Attached::Handle(handle) => handles.push(handle),
            Attached::Descriptors(ticket, ours) => {
                keeper::let_go(ticket);
                descriptors.extend(ours);
            }
        }
    }
    (descriptors, handles)
}

/// Waits until a get would not wait, at most for `timeout`; whether it came to be.
pub(crate) fn is_readable_within(end: &impl Endpoint, timeout: Duration) -> bool {
    why_gone(end).is_some()
        || end.handle().object().channel().is_readable_within(Patience::at_most(timeout), || end.is_get_in_vain())
}
