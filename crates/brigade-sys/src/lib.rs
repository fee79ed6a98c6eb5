//! What brigade asks of the kernel, and the structures that live in memory shared between processes.
//!
//! This is the one crate that contains `unsafe`; each file that needs it says so in its first lines. It knows nothing of
//! values, queues or pools: it moves bytes, words and descriptors. The public interface for programs is the crate `brigade`.
//!
//! - [`shared`]: the byte ring, the event, the lock; algorithms over shared bytes, also model-checked with loom.
//! - [`kernel`]: starting a process, waiting for it, mapping memory, passing descriptors.

pub mod shared;

#[cfg(not(loom))]
pub mod kernel;
