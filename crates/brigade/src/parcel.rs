//! An encoded value together with what cannot be written as bytes: descriptors, and handles to shared objects.
//! How the bytes look is in wire.rs; how descriptors cross is in brigade-sys.
//!
//! A handle travels as a number in the bytes and a [`HandleNote`] beside them. Its sender keeps a clone until the receiver
//! has counted its own: so an object is never without a counted handle while one is on its way, and a death on either side
//! loses or leaks nothing.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use brigade_sys::kernel::memory;
use brigade_sys::kernel::passing::{self, Blocking, MAX_DESCRIPTORS, MAX_PACKET_BYTES, Packet};
use brigade_sys::kernel::sealed::{self, Sealed};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::object::{Handle, HandleNote};
use crate::session::WindowKind;
use crate::wire::{self, DecodeError, EncodeError};

/// A value that is ready to travel.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Clones that keep the objects alive while their handles are on the way.
    pub(crate) handles: Vec<Handle>,
}

/// A value that has arrived, its handles counted in this process.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) bytes: Vec<u8>,
    /// Where the bytes are instead, if they are many.
    pub(crate) large: Option<Large>,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// `None` where a handle could not be counted here, for lack of memory: the value that needs it does not decode.
    pub(crate) handles: Vec<Option<Handle>>,
}

/// Sealed memory with the bytes of a value from `start` on: they are decoded where they are.
#[derive(Debug)]
pub(crate) struct Large {
    memory: Sealed,
    start: usize,
}

impl From<Parcel> for Arrival {
    fn from(parcel: Parcel) -> Self {
        Self {
            bytes: parcel.bytes,
            large: None,
            descriptors: parcel.descriptors,
            handles: parcel.handles.into_iter().map(Some).collect(),
        }
    }
}

/// What a value encloses beside its bytes, as its sender has it.
#[derive(Debug, Default)]
pub(crate) struct Enclosed {
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) handles: Vec<Handle>,
}

/// The same as its receiver has it, until the value takes each out.
#[derive(Debug)]
pub(crate) struct Enclosures {
    descriptors: Vec<Option<OwnedFd>>,
    handles: Vec<Option<Handle>>,
}

impl Enclosures {
    pub(crate) fn new(descriptors: Vec<OwnedFd>, handles: Vec<Option<Handle>>) -> Option<Box<Self>> {
        let is_empty = descriptors.is_empty() && handles.is_empty();
        (!is_empty).then(|| Box::new(Self { descriptors: descriptors.into_iter().map(Some).collect(), handles }))
    }
}

/// What is being packed in this thread. Most values enclose nothing, and need no memory for it.
type Packing = Option<Box<Enclosed>>;

thread_local! {
    // Never dropped, since they are empty but for the time of a call: so values can also be sent while the thread ends, as
    // from a function given to `at_exit`.
    static PACKING: Cell<Option<ManuallyDrop<Packing>>> = const { Cell::new(None) };
    static UNPACKING: Cell<Option<ManuallyDrop<Box<Enclosures>>>> = const { Cell::new(None) };
}

/// Encodes a value to the end of `bytes`. If that fails, whatever it had taken hold of is released, and `bytes` is as before.
#[inline]
pub(crate) fn pack_into<T>(value: &T, bytes: &mut Vec<u8>) -> Result<Option<Box<Enclosed>>, EncodeError>
where
    T: Serialize + DeserializeOwned,
{
    // Packing can nest: a value's own Serialize may send something.
    let _outer = OuterPacking(PACKING.replace(Some(ManuallyDrop::new(None))));
    wire::encode_checked(value, bytes, |bytes| {
        // With copies of what travels along, since to decode takes it. Where there is no room for copies the receiver sees.
        let packing = PACKING.take();
        let copies = match packing.as_deref() {
            Some(Some(enclosed)) => enclosed.try_clone(),
            _ => Ok(None),
        };
        PACKING.set(packing);
        copies.map_or(Ok(()), |copies| unpack_from::<T>(bytes, copies).map(drop))
    })?;
    Ok(PACKING.take().and_then(ManuallyDrop::into_inner))
}

impl Parcel {
    /// Encodes a value. If that fails, whatever it had taken hold of is released.
    pub(crate) fn pack<T: Serialize + DeserializeOwned>(value: &T) -> Result<Self, EncodeError> {
        let mut bytes = Vec::new();
        let enclosed = pack_into(value, &mut bytes)?;
        Ok(Self::new(bytes, enclosed))
    }

    pub(crate) fn new(bytes: Vec<u8>, enclosed: Option<Box<Enclosed>>) -> Self {
        let Enclosed { descriptors, handles } = enclosed.map_or_else(Enclosed::default, |enclosed| *enclosed);
        Self { bytes, descriptors, handles }
    }

    pub(crate) fn notes(&self) -> Vec<HandleNote> {
        self.handles.iter().map(Handle::note).collect()
    }
}

impl Arrival {
    /// Decodes the value. Descriptors and handles that it does not ask for are released.
    pub(crate) fn unpack<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        let bytes = self.large.as_ref().map_or(&self.bytes[..], |large| &large.memory[large.start..]);
        unpack_from(bytes, Enclosures::new(self.descriptors, self.handles))
    }
}

/// Decodes a value from bytes and what came with them. Descriptors and handles that it does not ask for are released.
#[inline]
pub(crate) fn unpack_from<T: DeserializeOwned>(
    bytes: &[u8],
    enclosures: Option<Box<Enclosures>>,
) -> Result<T, DecodeError> {
    let _outer = OuterUnpacking(UNPACKING.replace(enclosures.map(ManuallyDrop::new)));
    wire::decode(bytes)
}

impl Enclosed {
    fn try_clone(&self) -> std::io::Result<Option<Box<Enclosures>>> {
        let descriptor = |descriptor: &OwnedFd| descriptor.try_clone().and_then(memory::move_up);
        let handle = |handle: &Handle| handle.try_clone().map(Some).map_err(std::io::Error::other);
        Ok(Enclosures::new(
            self.descriptors.iter().map(descriptor).collect::<Result<_, _>>()?,
            self.handles.iter().map(handle).collect::<Result<_, _>>()?,
        ))
    }
}

/// What was being packed around this. It comes back in the end, also if a value's `Serialize` panics.
struct OuterPacking(Option<ManuallyDrop<Packing>>);

impl Drop for OuterPacking {
    fn drop(&mut self) {
        drop(PACKING.replace(self.0.take()).and_then(ManuallyDrop::into_inner));
    }
}

/// The same for what was being unpacked.
struct OuterUnpacking(Option<ManuallyDrop<Box<Enclosures>>>);

impl Drop for OuterUnpacking {
    fn drop(&mut self) {
        drop(UNPACKING.replace(self.0.take()).map(ManuallyDrop::into_inner));
    }
}

/// Serializes a handle: its number among those that travel with the value.
pub(crate) fn serialize_handle<S: Serializer>(
    handle: &Handle,
    type_name: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let number = with_packing(type_name, |packing| {
        packing.handles.push(handle.try_clone().map_err(|error| error.to_string())?);
        Ok(packing.handles.len() - 1)
    });
    serializer.serialize_newtype_struct(wire::HANDLE, &number.map_err(S::Error::custom)?)
}

/// The counterpart of [`serialize_handle`].
pub(crate) fn deserialize_handle<'de, D: Deserializer<'de>>(
    type_name: &str,
    deserializer: D,
) -> Result<Handle, D::Error> {
    let number = HandleNumber::deserialize(deserializer)?.0;
    let found = with_enclosures(|enclosures| enclosures.handles.get_mut(number)?.take());
    found.ok_or_else(|| D::Error::custom(format_args!("no {type_name} came with this value")))
}

/// The same for a handle to an object of one kind.
pub(crate) fn deserialize_handle_to<'de, D: Deserializer<'de>>(
    kind: WindowKind,
    type_name: &str,
    deserializer: D,
) -> Result<Handle, D::Error> {
    let handle = deserialize_handle(type_name, deserializer)?;
    if handle.object().kind() != kind {
        return Err(D::Error::custom(format_args!("what came is no {type_name}")));
    }
    Ok(handle)
}

/// Serializes a descriptor: its number among those that travel with the value.
pub(crate) fn serialize_descriptor<S: Serializer>(
    descriptor: BorrowedFd<'_>,
    type_name: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let number = with_packing(type_name, |packing| {
        let copy = descriptor.try_clone_to_owned().and_then(memory::move_up);
        packing.descriptors.push(copy.map_err(|error| format!("cannot duplicate a descriptor: {error}"))?);
        Ok(packing.descriptors.len() - 1)
    });
    serializer.serialize_newtype_struct(wire::HANDLE, &number.map_err(S::Error::custom)?)
}

/// The counterpart of [`serialize_descriptor`].
pub(crate) fn deserialize_descriptor<'de, D: Deserializer<'de>>(
    type_name: &str,
    deserializer: D,
) -> Result<OwnedFd, D::Error> {
    let number = HandleNumber::deserialize(deserializer)?.0;
    let found = with_enclosures(|enclosures| enclosures.descriptors.get_mut(number)?.take());
    found.ok_or_else(|| D::Error::custom(format_args!("no {type_name} came with this value")))
}

fn with_packing(type_name: &str, add: impl FnOnce(&mut Enclosed) -> Result<usize, String>) -> Result<usize, String> {
    let mut packing = PACKING.take();
    let number = match packing.as_deref_mut() {
        Some(packing) => add(packing.get_or_insert_default()),
        None => Err(format!("{type_name} can only be sent by brigade: to a process, through a queue or a pool")),
    };
    PACKING.set(packing);
    number
}

fn with_enclosures<T>(take: impl FnOnce(&mut Enclosures) -> Option<T>) -> Option<T> {
    let mut enclosures = UNPACKING.take();
    let found = enclosures.as_deref_mut().and_then(|enclosures| take(enclosures));
    UNPACKING.set(enclosures);
    found
}

struct HandleNumber(usize);

impl<'de> Deserialize<'de> for HandleNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = HandleNumber;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a handle")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<HandleNumber, D::Error> {
                usize::deserialize(inner).map(HandleNumber)
            }
        }
        deserializer.deserialize_newtype_struct(wire::HANDLE, Visitor)
    }
}

/// What goes ahead of the bytes in the first packet.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    tag: u64,
    /// So many descriptors, for which there was no room in the packet, wait in a socket, which is the last one in it.
    n_carried: usize,
    /// The bytes are in sealed memory, which is the last descriptor of all.
    in_memory: bool,
    handles: Vec<HandleNote>,
}

/// Sends a parcel. It stays with the caller, whose clones of the handles must outlive the journey.
///
/// # Errors
/// `EPIPE` when the other side is gone; `WouldBlock` if it does not read and `blocking` forbids to wait, then nothing was sent;
/// what socketpair(2), memfd_create(2) and sendmsg(2) say.
pub(crate) fn send(socket: impl AsFd, tag: u64, parcel: &Parcel, blocking: Blocking) -> std::io::Result<()> {
    let notes = parcel.notes();
    let mut descriptors: Vec<BorrowedFd<'_>> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
    // The label's own size is bounded by its handles; 64 bytes are ample for each.
    let in_memory = parcel.bytes.len() + 64 * (notes.len() + 2) > MAX_PACKET_BYTES;
    let (label_handles, memory) = if in_memory {
        let notes_bytes = wire::encode(&notes).map_err(std::io::Error::other)?;
        let length = (notes_bytes.len() as u64).to_le_bytes();
        (Vec::new(), Some(sealed::create(c"brigade-value", &[&length, &notes_bytes, &parcel.bytes])?))
    } else {
        (notes, None)
    };
    descriptors.extend(memory.as_ref().map(AsFd::as_fd));
    let carried =
        if descriptors.len() > MAX_DESCRIPTORS { descriptors.split_off(MAX_DESCRIPTORS - 1) } else { Vec::new() };
    let carrier = if carried.is_empty() { None } else { Some(carry(&carried)?) };
    descriptors.extend(carrier.as_ref().map(AsFd::as_fd));
    let label = Label { tag, n_carried: carried.len(), in_memory, handles: label_handles };
    let label = wire::encode(&label).map_err(std::io::Error::other)?;
    let label_length = (label.len() as u32).to_le_bytes();
    let inline: &[u8] = if in_memory { &[] } else { &parcel.bytes };
    passing::send(socket.as_fd(), &[&label_length, &label, inline], &descriptors, blocking)
}

/// Puts descriptors into a socket of their own, from which the receiver takes them. The kernel has room for more packets than
/// a process can have descriptors for, so this never waits.
fn carry(descriptors: &[BorrowedFd<'_>]) -> std::io::Result<OwnedFd> {
    let (ours, theirs) = passing::pair()?;
    for chunk in descriptors.chunks(MAX_DESCRIPTORS) {
        passing::send(&ours, &[&[0]], chunk, Blocking::Never)?;
    }
    Ok(theirs)
}

/// What goes ahead of a parcel of plain bytes: for who can make a packet when no parcel can be made any more.
pub(crate) fn head_of_plain(tag: u64) -> Vec<u8> {
    let label = Label { tag, n_carried: 0, in_memory: false, handles: Vec::new() };
    let label = wire::encode(&label).expect("a label is plain data");
    [(label.len() as u32).to_le_bytes().as_slice(), &label].concat()
}

/// Takes parcels out of packets.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    buffer: Vec<u8>,
}

/// What a look at the socket brought.
#[derive(Debug)]
pub(crate) enum Received {
    Parcel {
        tag: u64,
        arrival: Arrival,
    },
    /// Nothing is there now.
    NotYet,
    /// The other side is gone and all it sent was received.
    Gone,
}

impl Receiver {
    pub(crate) fn receive(&mut self, socket: impl AsFd, blocking: Blocking) -> std::io::Result<Received> {
        Ok(match self.take_packet(socket, blocking) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Received::NotYet,
            Err(error) => return Err(error),
            Ok(None) => Received::Gone,
            Ok(Some(packet)) => finish(&self.buffer[..packet.n_bytes], packet.descriptors)?,
        })
    }

    /// Takes one parcel out and counts no handle in it.
    pub(crate) fn discard(&mut self, socket: impl AsFd) -> std::io::Result<()> {
        self.take_packet(socket, Blocking::Wait).map(drop)
    }

    fn take_packet(&mut self, socket: impl AsFd, blocking: Blocking) -> std::io::Result<Option<Packet>> {
        // Only as much as is needed: most parcels are small, and a large buffer is a page fault for every 4 KiB.
        self.buffer.resize(passing::next_length(socket.as_fd(), blocking)?, 0);
        passing::receive(socket.as_fd(), &mut self.buffer, blocking)
    }
}

/// Adds what a carrier holds, in the place of the carrier.
fn unload(descriptors: &mut Vec<OwnedFd>, n_carried: usize) -> std::io::Result<()> {
    let carrier = descriptors.pop().ok_or_else(|| broken("the carrier of descriptors is missing"))?;
    let n_all = descriptors.len() + n_carried;
    while descriptors.len() < n_all {
        let packet = passing::receive(&carrier, &mut [0], Blocking::Never)?;
        let packet = packet.filter(|packet| !packet.descriptors.is_empty());
        descriptors.extend(packet.ok_or_else(|| broken("descriptors of a value are missing"))?.descriptors);
    }
    Ok(())
}

fn broken(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

fn finish(packet: &[u8], mut descriptors: Vec<OwnedFd>) -> std::io::Result<Received> {
    let (length, rest) = packet.split_first_chunk().ok_or_else(|| broken("a packet without a label"))?;
    let (label, bytes) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or_else(|| broken("a packet with half a label"))?;
    let label: Label = wire::decode(label).map_err(std::io::Error::other)?;
    if label.n_carried > 0 {
        unload(&mut descriptors, label.n_carried)?;
    }
    let bytes = bytes.to_vec();
    let (mut notes, mut large) = (label.handles, None);
    if label.in_memory {
        let held = descriptors.pop().ok_or_else(|| broken("the memory of a value is missing"))?;
        let memory = Sealed::open(held)?;
        let too_small = || broken("the memory of a value is too small");
        let (length, rest) = memory.split_first_chunk().ok_or_else(too_small)?;
        let n_notes_bytes = u64::from_le_bytes(*length) as usize;
        let (notes_bytes, value) = rest.split_at_checked(n_notes_bytes).ok_or_else(too_small)?;
        notes = wire::decode(notes_bytes).map_err(std::io::Error::other)?;
        let start = memory.len() - value.len();
        large = Some(Large { memory, start });
    }
    let handles = notes.into_iter().map(|note| Handle::arrive(note).ok()).collect();
    Ok(Received::Parcel { tag: label.tag, arrival: Arrival { bytes, large, descriptors, handles } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Queue, SharedSlice};

    /// A value that is written as one thing and read as another.
    fn read_as<T: DeserializeOwned>(value: &(impl Serialize + DeserializeOwned)) -> Result<T, DecodeError> {
        Arrival::from(Parcel::pack(value).expect("it can be sent")).unpack()
    }

    #[test]
    fn a_handle_to_an_object_of_another_kind_does_not_decode() {
        let (queue, event) = (Queue::<u8>::bounded(1).unwrap(), Event::new().unwrap());
        assert!(read_as::<Queue<u8>>(&queue).is_ok());
        assert!(read_as::<SharedSlice<u64>>(&queue).unwrap_err().message().starts_with("what came is no "));
        assert!(read_as::<Event>(&queue).unwrap_err().message().starts_with("what came is no "));
        assert!(read_as::<Queue<u8>>(&event).unwrap_err().message().starts_with("what came is no "));
    }
}
