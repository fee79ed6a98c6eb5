//! Calls to the kernel, wrapped once: EINTR is handled, descriptors are owned and close-on-exec.

#[cfg(feature = "notification")]
pub mod attempts;
pub mod child;
pub mod closing;
pub mod ending;
#[cfg(feature = "faults")]
pub mod faults;
pub mod fork;
pub mod image;
pub mod last_words;
pub mod liveness;
pub mod memory;
pub mod modes;
pub mod mounts;
#[cfg(feature = "notification")]
pub mod notification;
pub mod passing;
pub mod presence;
pub mod rights;
pub mod sealed;
pub mod signals;
pub mod spawn;
