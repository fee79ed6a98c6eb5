//! Calls to the kernel, wrapped once: EINTR is handled, descriptors are owned and close-on-exec.

pub mod child;
pub mod image;
pub mod liveness;
pub mod memory;
pub mod passing;
pub mod signals;
pub mod spawn;
