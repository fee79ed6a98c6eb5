//! Records with handles between a manager and its clients: one line for all requests, one for each answer that is awaited.
//! The bytes move in channel.rs; what they mean is in request.rs.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::channel::{self, Bounds, HandleNote, Note, Patience, Refused};
use crate::endpoint::{attach, settle};
use crate::error::MemoryError;
use crate::keeper;
use crate::object::Handle;
use crate::parcel::{self, Arrival};
use crate::session::WindowKind;
use crate::spin::Spin;

/// Bytes of an anchor: what a mapping takes.
const ANCHOR_BYTES: usize = 4096;

/// A counted handle to the channel that the records go through, or to whatever else a manager's object lies in.
#[derive(Debug)]
pub(super) struct Line(pub(super) Handle);

impl Line {
    /// Makes a channel for up to `capacity` records.
    pub(super) fn new(capacity: u64) -> Result<Self, MemoryError> {
        let initialize = |object: &crate::object::Object| object.channel().initialize(Bounds::of_items(capacity));
        Handle::create(WindowKind::Queue, channel::mapped_bytes(capacity), initialize).map(Self)
    }

    pub(super) fn send(
        &self,
        payload: &[u8],
        handles: &[HandleNote],
        descriptors: Vec<OwnedFd>,
        patience: Patience,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<(), Refused> {
        let mut notes: Vec<Note> = handles.iter().copied().map(Note::from).collect();
        // Before the record: whoever sees the record can have them.
        let deposit = keeper::deposit(descriptors).map_err(Refused::Memory)?;
        notes.extend(deposit.as_ref().map(|deposit| Note::Descriptors(deposit.ticket())));
        self.0.object().channel().put(payload, &notes, patience, hopeless)?;
        if let Some(deposit) = deposit {
            deposit.entrust();
        }
        Ok(())
    }

    pub(super) fn receive(
        &self,
        patience: Patience,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<Arrival, Refused> {
        let channel = self.0.object().channel();
        // The other side is a function's length away. Falling asleep too early would be paid for by both, in turn, for ever.
        let mut spin = Spin::default();
        while channel.len() == 0 && spin.turn() {}
        let (mut bytes, mut attached) = (Vec::new(), Vec::new());
        let n_bytes = channel.get(&mut bytes, &mut attached, attach, patience, hopeless)?;
        bytes.truncate(n_bytes);
        let (descriptors, handles) = settle(attached);
        Ok(Arrival { bytes, descriptors, handles, ..Arrival::default() })
    }

    /// After this, nothing more can be sent.
    pub(super) fn close(&self) {
        self.0.object().channel().close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.object().channel().is_closed()
    }

    /// Makes something that has no bytes of its own: an object's name, which is counted like any other handle.
    pub(super) fn anchor() -> Result<Self, MemoryError> {
        Handle::create(WindowKind::Anchor, ANCHOR_BYTES, |_| {}).map(Self)
    }

    /// The handle as it is sent inside a value of the type with this name.
    pub(super) const fn sent_in<'a>(&'a self, type_name: &'a str) -> SentIn<'a> {
        SentIn { line: self, type_name }
    }
}

/// A [`Line`] inside a value whose type's name belongs into errors.
#[derive(Debug)]
pub(super) struct SentIn<'a> {
    line: &'a Line,
    type_name: &'a str,
}

impl Serialize for SentIn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize_handle(&self.line.0, self.type_name, serializer)
    }
}

impl Clone for Line {
    fn clone(&self) -> Self {
        Self(self.0.try_clone().expect("the page in which this handle is counted is there already"))
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.sent_in("a manager's line").serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize_handle("a manager's object", deserializer).map(Self)
    }
}
