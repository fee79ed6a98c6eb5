//! `Descriptor`: an open file, socket or device as a value that can be sent. The kernel does the sending: parcel.rs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::parcel;

/// An open descriptor that can stand anywhere in a value that is sent: in arguments and results, and in messages of queues and
/// pipes.
///
/// The receiver gets a descriptor of its own for the same open file; the sender keeps its own. While a message waits, the first
/// process of the tree keeps a copy for it, so the sender may end at once; it may not keep more than its limit on open files
/// allows. What no message carries any more is closed.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let files = brigade::Queue::bounded(1)?;
/// files.put(brigade::Descriptor::from(std::fs::File::open("/dev/null")?))?;
/// let file = std::fs::File::from(files.get()?.into_owned_fd());
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
