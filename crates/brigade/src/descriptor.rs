//! `Descriptor`: an open file, socket or device as a value that can be sent. The kernel does the sending: parcel.rs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::parcel;

/// An open descriptor that can stand anywhere in the arguments of a process or a pool task, and in what they return.
///
/// The receiver gets a descriptor of its own for the same open file; the sender keeps its own.
///
/// # Example
/// ```
/// # fn main() -> std::io::Result<()> {
/// let file = brigade::Descriptor::from(std::fs::File::open("/dev/null")?);
/// # drop(file);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Descriptor(OwnedFd);

impl<T: Into<OwnedFd>> From<T> for Descriptor {
    fn from(owned: T) -> Self {
        Self(owned.into())
    }
}

impl Descriptor {
    /// The descriptor itself.
    #[must_use]
    pub fn into_owned_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize_descriptor(self.0.as_fd(), "brigade::Descriptor", serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parcel::deserialize_descriptor("brigade::Descriptor", deserializer).map(Self)
    }
}
