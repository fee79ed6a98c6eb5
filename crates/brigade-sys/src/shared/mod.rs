//! Structures in bytes that several processes see. They use words and copies only, so that the same code runs over a
//! mapping (kernel/memory.rs) and over a model checked by loom (model.rs).

pub mod atomics;
pub mod bytes;
pub mod census;
pub mod circle;
pub mod event;
pub mod flag;
pub mod flip;
pub mod gate;
pub mod leases;
pub mod lock;
pub mod nap;
pub mod permits;
pub mod reentrant;
pub mod ring;
pub mod rounds;
pub mod value;
#[cfg(all(loom, test))]
mod value_loom_tests;
pub mod waiters;
pub mod watch;
#[cfg(all(loom, test))]
mod watch_loom_tests;

#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(loom)]
pub mod model;
#[cfg(all(loom, test))]
mod mortal;
#[cfg(all(loom, test))]
mod sync_loom_tests;
