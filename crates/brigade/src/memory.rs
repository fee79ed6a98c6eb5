//! Memory that several processes see, for plain data: one value, one value behind a lock, many elements, a block of bytes
//! for good. Where it lies is known in session.rs, how long it lives in object.rs.

mod blob;
mod mutex;
mod shared;
mod slice;
mod whole;

pub use self::blob::{Blob, BlobBuilder};
pub use self::mutex::{SharedMutex, SharedMutexError, SharedMutexGuard};
pub use self::shared::Shared;
pub use self::slice::SharedSlice;
