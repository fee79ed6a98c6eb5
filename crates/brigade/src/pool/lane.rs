//! The segment between the parent and one worker: two byte rings, two events, a few words. Who uses which end is in
//! worker.rs (the child) and crew.rs (the parent).
//!
//! ```text
//!    0  tasks event u32      the worker sleeps here when it has nothing to do
//!   64  space event u32      the worker sleeps here while its results find no room
//!  128  n_entered u64        functions entered; written by the worker
//!  136  busy_since u64       nanoseconds of CLOCK_MONOTONIC, 0 while idle; written by the worker
//!  144  is_ready u32         1 once the initializer has returned; written by the worker
//!  148  is_worn_out u32      1: it ends itself, having done its share of tasks; written by the worker
//!  192  n_received u64       results with handles that the parent has counted; written by the parent
//!  200  stop u32             1: end when there are no more tasks; written by the parent
//!  256  tasks ring · results ring
//! ```
//!
//! ```text
//! the bell, one for all workers:
//!    0  results event u32    the parent sleeps here
//!   64  wants_all u32        1 while it wants to be woken for every result; written by the parent
//! ```
//!
//! No lock is shared between workers, nor between a worker and the parent: each word has one writer. When a worker dies the
//! parent takes the committed results out, and throws the segment away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use brigade_sys::kernel::memory::{self, Mapping};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::{Event, Ticket, Wake};
use brigade_sys::shared::ring::Layout;

pub(super) const TASKS_EVENT: Event = Event::at(0);
pub(super) const SPACE_EVENT: Event = Event::at(64);
pub(super) const N_ENTERED: usize = 128;
pub(super) const BUSY_SINCE: usize = 136;
pub(super) const IS_READY: usize = 144;
pub(super) const IS_WORN_OUT: usize = 148;
pub(super) const N_RECEIVED: usize = 192;
pub(super) const STOP: usize = 200;

/// Bytes of each ring: about a thousand small tasks, which is a millisecond of the shortest ones.
const RING_BYTES: usize = 128 << 10;
pub(super) const TASKS: Layout = Layout::new(256, RING_BYTES);
pub(super) const RESULTS: Layout = Layout::new(256 + TASKS.total_bytes(), RING_BYTES);
const LANE_BYTES: usize = 256 + TASKS.total_bytes() + RESULTS.total_bytes();

/// Payloads above this go through sealed memory instead of a ring.
pub(super) const MAX_INLINE_BYTES: usize = 16 << 10;

/// Kinds of records.
pub(super) mod kind {
    /// The value is in the record.
    pub(crate) const INLINE: u32 = 0;
    /// The value is a parcel on the socket.
    pub(crate) const PARCEL: u32 = 1;
}

/// What the parent sleeps on, in memory shared with all workers of a pool.
#[derive(Debug)]
pub(super) struct Bell {
    pub(super) memory: OwnedFd,
    pub(super) mapping: Arc<Mapping>,
}

/// Rung when a worker has run out of tasks, and for every result while that is wanted.
pub(super) const BELL: Event = Event::at(0);
/// 1 while the parent wants to be woken for every result.
const WANTS_ALL: usize = 64;
const BELL_BYTES: usize = 128;

impl Bell {
    pub(super) fn create() -> io::Result<Self> {
        let memory = memory::create(c"brigade-bell", BELL_BYTES as u64)?;
        let mapping = Arc::new(map_bell(&memory)?);
        Ok(Self { memory, mapping })
    }

    /// Says that the parent is about to sleep, and what it is to be woken for. Called under the pool's lock.
    pub(super) fn announce(&self, wants_all: bool) -> Ticket {
        // Before the announcement, so that whoever sees that sees this too.
        self.mapping.word32(WANTS_ALL).store(u32::from(wants_all), Ordering::Relaxed);
        BELL.announce(&self.mapping)
    }
}

/// Tells the parent of a result, if it sleeps and wants to know.
pub(super) fn ring_for_result(bell: &Mapping, is_out_of_tasks: bool) {
    if BELL.has_sleeper(bell) && (is_out_of_tasks || bell.word32(WANTS_ALL).load(Ordering::Relaxed) != 0) {
        BELL.notify(bell, Wake::All);
    }
}

pub(super) fn map_bell(memory: &impl AsFd) -> io::Result<Mapping> {
    Mapping::new(memory.as_fd(), 0, BELL_BYTES)
}

pub(super) fn create_lane() -> io::Result<(OwnedFd, Arc<Mapping>)> {
    let memory = memory::create(c"brigade-lane", LANE_BYTES as u64)?;
    let mapping = Arc::new(map_lane(&memory)?);
    Ok((memory, mapping))
}

pub(super) fn map_lane(memory: &impl AsFd) -> io::Result<Mapping> {
    Mapping::new(memory.as_fd(), 0, LANE_BYTES)
}
