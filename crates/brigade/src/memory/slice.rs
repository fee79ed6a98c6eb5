//! `SharedSlice<T>`: plain data that several processes read and write. Bytes and words only; what they mean is the user's.
//!
//! ```text
//!   0  mapped_bytes u64 · 8 length u64 (elements)
//! 4Ki  the elements
//! ```

use std::marker::PhantomData;
use std::ops::Range;

use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::MemoryError;
use crate::object::Handle;
use crate::parcel;
use crate::session::WindowKind;

const LENGTH: usize = 8;
/// Elements start at the second page, so any alignment of plain data is kept.
const ELEMENTS: usize = 4096;

/// A slice of plain data in memory that all processes with a handle see. Zeroed when made.
///
/// A `SharedSlice` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. There is no lock: elements of 4 and 8
/// bytes are loaded and stored whole (Acquire and Release), all others are copied byte by byte, so a reader may see half of
/// an element that is being written.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let counts = brigade::SharedSlice::<u64>::new(4)?;
/// counts.store(2, 7);
/// assert_eq!(counts.read(1..4), [0, 7, 0]);
/// # Ok(())
/// # }
/// ```
pub struct SharedSlice<T> {
    handle: Handle,
    elements: PhantomData<fn(T) -> T>,
}

impl<T: Pod> SharedSlice<T> {
    /// Makes a slice of `n_elements` zeros.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new(n_elements: usize) -> Result<Self, MemoryError> {
        let too_large = || MemoryError::new("make a shared slice", &std::io::ErrorKind::OutOfMemory.into());
        let n_bytes = n_elements.checked_mul(size_of::<T>()).and_then(|n_bytes| n_bytes.checked_add(ELEMENTS));
        let handle = Handle::create(WindowKind::Slice, n_bytes.ok_or_else(too_large)?, |object| {
            object.mapping().word64(LENGTH).store(n_elements as u64, Ordering::Release);
        })?;
        Ok(Self { handle, elements: PhantomData })
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.handle.object().mapping().word64(LENGTH).load(Ordering::Relaxed) as usize
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `idx`.
    ///
    /// # Panics
    /// If there is no such element.
    #[must_use]
    pub fn load(&self, idx: usize) -> T {
        let offset = self.offset_of(idx);
        let mapping = self.handle.object().mapping();
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        // Acquire: pairs with the Release store in `store`.
        match bytes.len() {
            4 => bytes.copy_from_slice(&mapping.word32(offset).load(Ordering::Acquire).to_ne_bytes()),
            8 => bytes.copy_from_slice(&mapping.word64(offset).load(Ordering::Acquire).to_ne_bytes()),
            _ => mapping.read(offset, bytes),
        }
        value
    }

    /// Replaces the element at `idx`.
    ///
    /// # Panics
    /// If there is no such element.
    pub fn store(&self, idx: usize, value: T) {
        let offset = self.offset_of(idx);
        let mapping = self.handle.object().mapping();
        let bytes = bytemuck::bytes_of(&value);
        // Release: pairs with the Acquire load in `load`.
        match bytes.len() {
            4 => mapping.word32(offset).store(bytemuck::pod_read_unaligned(bytes), Ordering::Release),
            8 => mapping.word64(offset).store(bytemuck::pod_read_unaligned(bytes), Ordering::Release),
            _ => mapping.write(offset, bytes),
        }
    }

    /// Copies a range of elements out.
    ///
    /// # Panics
    /// If the range is not within the slice.
    #[must_use]
    pub fn read(&self, range: Range<usize>) -> Vec<T> {
        assert!(range.start <= range.end && range.end <= self.len(), "range {range:?} of a slice of {}", self.len());
        let mut values = vec![T::zeroed(); range.len()];
        let offset = ELEMENTS + range.start * size_of::<T>();
        self.handle.object().mapping().read(offset, bytemuck::cast_slice_mut(&mut values));
        values
    }

    /// Copies elements in, from `start` on.
    ///
    /// # Panics
    /// If they do not all fit.
    pub fn write(&self, start: usize, values: &[T]) {
        let fits = start.checked_add(values.len()).is_some_and(|end| end <= self.len());
        assert!(fits, "{} elements from {start} of a slice of {}", values.len(), self.len());
        self.handle.object().mapping().write(ELEMENTS + start * size_of::<T>(), bytemuck::cast_slice(values));
    }

    fn offset_of(&self, idx: usize) -> usize {
        assert!(idx < self.len(), "element {idx} of a slice of {}", self.len());
        ELEMENTS + idx * size_of::<T>()
    }
}

impl SharedSlice<u64> {
    /// Replaces the element at `idx` by `new` if it is `current`, as one step.
    ///
    /// # Errors
    /// The value that was there instead.
    ///
    /// # Panics
    /// If there is no such element.
    pub fn compare_exchange(&self, idx: usize, current: u64, new: u64) -> Result<u64, u64> {
        let word = self.handle.object().mapping().word64(self.offset_of(idx));
        word.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Adds to the element at `idx` as one step, and returns what was there before. Wraps around.
    ///
    /// # Panics
    /// If there is no such element.
    pub fn fetch_add(&self, idx: usize, increment: u64) -> u64 {
        self.handle.object().mapping().word64(self.offset_of(idx)).fetch_add(increment, Ordering::AcqRel)
    }
}

impl<T> Clone for SharedSlice<T> {
    /// Another handle to the same memory.
    ///
    /// # Panics
    /// If there is no memory for counting the handle.
    fn clone(&self) -> Self {
        let handle = self.handle.try_clone().expect("the page in which this handle is counted is there already");
        Self { handle, elements: PhantomData }
    }
}

impl<T> std::fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedSlice").finish_non_exhaustive()
    }
}

impl<T> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        parcel::serialize_handle(&self.handle, std::any::type_name::<Self>(), serializer)
    }
}

impl<'de, T> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::any::type_name::<Self>();
        let handle = parcel::deserialize_handle_to(WindowKind::Slice, name, deserializer)?;
        Ok(Self { handle, elements: PhantomData })
    }
}
