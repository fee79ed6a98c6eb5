//! `Lease<T>`: a value in the hands of a consumer, until it is done or goes back.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use brigade_sys::kernel::fork;
use brigade_sys::shared::leases::Leased;
use serde::de::DeserializeOwned;

use crate::channel::Refused;
use crate::endpoint::{Attached, GetFault, attach};
use crate::keeper;
use crate::object::Handle;
use crate::parcel::{self, Enclosures};

/// A value of a [`JoinableQueue`](super::JoinableQueue) that somebody works on.
///
/// Dropping it puts the value back to the front of the queue, and so does a panic or the death of the process;
/// [`done`](Self::done) ends it. What is put back is what was put: changes made elsewhere while working on it are not undone.
#[derive(Debug)]
#[must_use = "a lease that is dropped puts its value back"]
pub struct Lease<T> {
    value: T,
    hold: Hold,
}

impl<T> Lease<T> {
    /// Says that the value is done. It is the caller's now, and nobody gets it any more.
    pub fn done(self) -> T {
        let Self { value, hold } = self;
        hold.finish();
        value
    }

    /// How often the value was given out, this time included: 1, 2, …
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.hold.leased.attempt
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The right to an item, without its value. Dropping it gives the item back.
#[derive(Debug)]
pub(super) struct Hold {
    leased: Leased,
    /// As long as this is there, so is the queue.
    handle: Handle,
    n_leases: Arc<AtomicU64>,
    /// Handles of the item, kept until it is done: should the user drop the value earlier, the last handle to an object goes
    /// with these, and the object with it.
    carried: Vec<Handle>,
    /// Under which number the descriptors of the item are kept.
    tickets: Vec<u64>,
    /// Whether the item is done, and not to be given back.
    is_done: bool,
}

impl Hold {
    /// Takes hold of an item that was handed out through a handle. If there is no memory for that, the item goes back.
    pub(super) fn new(handle: &Handle, leased: Leased, n_leases: &Arc<AtomicU64>) -> Result<Self, Refused> {
        let counted = handle.for_lease().map_err(|error| {
            handle.object().store().give_back(leased);
            Refused::Memory(std::io::Error::other(error))
        })?;
        // After it was counted: whoever compares the two meanwhile takes it for somebody else's, and waits.
        n_leases.fetch_add(1, Ordering::SeqCst);
        let (carried, tickets) = (Vec::new(), Vec::new());
        Ok(Self { leased, handle: counted, n_leases: Arc::clone(n_leases), carried, tickets, is_done: false })
    }

    /// Reads the value. If it does not decode, the item is done: nobody else could decode it either.
    pub(super) fn decode<T: DeserializeOwned>(mut self) -> Result<Lease<T>, GetFault> {
        let record = self.handle.object().store().read(self.leased).map_err(GetFault::Refused)?;
        let (mut descriptors, mut handles) = (Vec::new(), Vec::with_capacity(record.notes.len()));
        for note in record.notes {
            match attach(note).map_err(|error| GetFault::Refused(Refused::Memory(error)))? {
                Attached::Handle(handle) => {
                    self.carried.extend(handle.as_ref().and_then(|handle| handle.try_clone().ok()));
                    handles.push(handle);
                }
                Attached::Descriptors(ticket, ours) => {
                    self.tickets.push(ticket);
                    descriptors.extend(ours);
                }
            }
        }
        match parcel::unpack_from(&record.payload, Enclosures::new(descriptors, handles)) {
            Ok(value) => Ok(Lease { value, hold: self }),
            Err(error) => {
                self.finish();
                Err(GetFault::Decode(error))
            }
        }
    }

    fn finish(mut self) {
        self.is_done = true;
        if fork::is_forked() {
            // The item is in the hands of the process that was forked.
            return;
        }
        self.handle.object().store().finish(self.leased);
        // Only now: until it was done somebody else could have been given the item.
        self.tickets.iter().for_each(|&ticket| keeper::let_go(ticket));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_done && !fork::is_forked() {
            self.handle.object().store().give_back(self.leased);
        }
        // Before the handle goes, for the same reason as above.
        self.n_leases.fetch_sub(1, Ordering::SeqCst);
    }
}
