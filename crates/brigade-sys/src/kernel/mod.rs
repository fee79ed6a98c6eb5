//! Calls to the kernel, wrapped once: EINTR is handled, descriptors are owned and close-on-exec.

pub mod child;
pub mod ending;
pub mod fork;
pub mod image;
pub mod liveness;
pub mod memory;
pub mod passing;
pub mod rights;
pub mod signals;
pub mod spawn;
