//! `Blob`: bytes that are filled once and then read by any number of processes, without a copy. What the kernel does for it
//! is in brigade-sys (sealed.rs); how the descriptor travels is in parcel.rs.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use brigade_sys::kernel::sealed::{self, Draft, Sealed};
use bytemuck::Pod;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::MemoryError;
use crate::parcel;

/// Bytes that never change, in memory that all processes with a handle see.
///
/// A `Blob` is filled by one process, then sealed, and is a `&[u8]` from then on, here and in every process that it is
/// sent to. Sending it takes the same time whatever its size: nothing is copied, and a receiver's pages are mapped when it
/// first reads them. Each `Blob` that arrives holds one descriptor; clones in one process share it.
///
/// A receiver looks at the seals before it reads, so not even a broken sender can change the bytes behind its back or take
/// them away.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let mut builder = brigade::Blob::builder(1 << 20)?;
/// builder[..5].copy_from_slice(b"hello");
/// let blob = builder.seal()?;
/// let child = brigade::spawn(blob.clone(), |blob| blob.iter().filter(|&&byte| byte != 0).count())?;
/// assert_eq!(child.join()?, 5);
///
/// let numbers = brigade::Blob::from_slice(&[1.5_f64, 2.5])?;
/// assert_eq!(numbers.as_slice::<f64>(), Some(&[1.5, 2.5][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Blob {
    sealed: Arc<Sealed>,
}

impl Blob {
    /// Begins a blob of `n_bytes` zeros, to be filled in place.
    ///
    /// # Errors
    /// [`MemoryError`] if there is not that much memory.
    pub fn builder(n_bytes: usize) -> Result<BlobBuilder, MemoryError> {
        let draft = Draft::new(c"brigade-blob", n_bytes);
        Ok(BlobBuilder { draft: draft.map_err(|error| MemoryError::new("make a blob", &error))? })
    }

    /// Makes a blob of the bytes of `elements`, by one copy.
    ///
    /// # Errors
    /// [`MemoryError`] if there is not that much memory.
    pub fn from_slice<T: Pod>(elements: &[T]) -> Result<Self, MemoryError> {
        let memory = sealed::create(c"brigade-blob", &[bytemuck::cast_slice(elements)]);
        Self::open(memory.map_err(|error| MemoryError::new("make a blob", &error))?)
    }

    /// The bytes as elements of plain data; `None` if they are not a whole number of them.
    ///
    /// The bytes start at the beginning of a page, so they are aligned for every type.
    #[must_use]
    pub fn as_slice<T: Pod>(&self) -> Option<&[T]> {
        bytemuck::try_cast_slice(self).ok()
    }

    fn open(memory: OwnedFd) -> Result<Self, MemoryError> {
        let sealed = Sealed::open(memory).map_err(|error| MemoryError::new("open a blob", &error))?;
        Ok(Self { sealed: Arc::new(sealed) })
    }
}

/// A [`Blob`] that is being filled: a `&mut [u8]`, zeroed at the start. Dropping it forgets the bytes.
#[derive(Debug)]
#[must_use = "nothing is shared until the builder is sealed"]
pub struct BlobBuilder {
    draft: Draft,
}

impl BlobBuilder {
    /// The bytes as elements of plain data; `None` if they are not a whole number of them.
    #[must_use]
    pub fn as_mut_slice<T: Pod>(&mut self) -> Option<&mut [T]> {
        bytemuck::try_cast_slice_mut(self).ok()
    }

    /// Ends the filling: from now on the bytes can be read by all and changed by nobody.
    ///
    /// # Errors
    /// [`MemoryError`] if the kernel refuses: `EBUSY` while it still works on the memory itself, as for a write of these
    /// bytes to a file that is going on.
    pub fn seal(self) -> Result<Blob, MemoryError> {
        Blob::open(self.draft.seal().map_err(|error| MemoryError::new("seal a blob", &error))?)
    }
}

impl Deref for BlobBuilder {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.draft
    }
}

impl DerefMut for BlobBuilder {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.draft
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.sealed
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsFd for Blob {
    /// The sealed memory itself, to be given to a program that knows nothing of brigade.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sealed.as_fd()
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("n_bytes", &self.len()).finish()
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize_descriptor(self.sealed.as_fd(), "brigade::Blob", serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let memory = parcel::deserialize_descriptor("brigade::Blob", deserializer)?;
        let sealed = Sealed::open(memory);
        let sealed = sealed.map_err(|error| D::Error::custom(format_args!("cannot open a blob: {error}")))?;
        Ok(Self { sealed: Arc::new(sealed) })
    }
}
