//! Encoded values on their way through a pool: small ones in place, so that they cost no allocation, others in parcels.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lane;
use crate::parcel::{self, Arrival, Parcel};
use crate::scratch;
use crate::wire::{DecodeError, EncodeError};

/// Bytes of a small value. With their number they fill half of a cache line.
const MAX_SMALL_BYTES: usize = 31;

/// A few bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Small {
    n_bytes: u8,
    bytes: [u8; MAX_SMALL_BYTES],
}

impl Small {
    fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_SMALL_BYTES];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { n_bytes: from.len() as u8, bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.n_bytes)]
    }
}

/// The arguments of a task.
#[derive(Debug)]
pub(super) enum Arguments {
    Small(Small),
    Parcel(Box<Parcel>),
}

impl Arguments {
    pub(super) fn pack<T: Serialize + DeserializeOwned>(value: &T) -> Result<Self, EncodeError> {
        let mut bytes = scratch::take();
        bytes.clear();
        let enclosed = parcel::pack_into(value, &mut bytes)?;
        if enclosed.is_none()
            && let Some(small) = Small::new(&bytes)
        {
            scratch::give_back(bytes);
            return Ok(Self::Small(small));
        }
        Ok(Self::Parcel(Box::new(Parcel::new(bytes, enclosed))))
    }

    pub(super) fn has_handles(&self) -> bool {
        matches!(self, Self::Parcel(parcel) if !parcel.handles.is_empty())
    }

    /// The bytes, if they are all and fit into a ring.
    pub(super) fn inline(&self) -> Result<&[u8], &Parcel> {
        match self {
            Self::Small(small) => Ok(small.as_bytes()),
            Self::Parcel(parcel) if is_plain(parcel) => Ok(&parcel.bytes),
            Self::Parcel(parcel) => Err(parcel),
        }
    }

    /// Takes a parcel out, for nothing of it is needed any more.
    pub(super) fn forget(&mut self) -> Option<Box<Parcel>> {
        match std::mem::replace(self, Self::Small(Small { n_bytes: 0, bytes: [0; MAX_SMALL_BYTES] })) {
            Self::Small(_) => None,
            Self::Parcel(parcel) => Some(parcel),
        }
    }
}

/// Whether a value goes through a ring: it is nothing but bytes, and not many.
pub(super) fn is_plain(parcel: &Parcel) -> bool {
    parcel.descriptors.is_empty() && parcel.handles.is_empty() && parcel.bytes.len() <= lane::MAX_INLINE_BYTES
}

/// What a task returned.
#[derive(Debug)]
pub(super) enum Value {
    Small(Small),
    Arrived(Box<Arrival>),
}

impl Value {
    pub(super) fn inline(bytes: &[u8]) -> Self {
        match Small::new(bytes) {
            Some(small) => Self::Small(small),
            None => Self::Arrived(Box::new(Arrival { bytes: bytes.to_vec(), ..Arrival::default() })),
        }
    }

    pub(super) fn arrived(arrival: Arrival) -> Self {
        Self::Arrived(Box::new(arrival))
    }

    pub(super) fn unpack<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        match self {
            Self::Small(small) => parcel::unpack_from(small.as_bytes(), None),
            Self::Arrived(arrival) => arrival.unpack(),
        }
    }
}
