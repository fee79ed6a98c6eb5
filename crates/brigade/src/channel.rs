//! A bounded first-in first-out of byte records in one window: what a queue or a pipe is before it has types.
//! How records lie is in channel/records.rs. Who holds handles, and what they mean for `Disconnected`, is known in object.rs.
//!
//! ```text
//!    0  mapped_bytes u64 · 8 capacity u64 (items) · 16 most bytes that wait u64 · 24 facts u32
//!  128  put lock u32      256  put state: items, ring bytes, log bytes ever written (flip.rs)
//!  384  get lock u32      512  get state: items, ring bytes, log bytes ever taken
//!  640  items event u32 · 644 somebody watches u32
//!  768  space event u32
//!  896  watchers: 4 096 bits (watch.rs)
//!   4Ki the ring, a power of two
//!   1Gi (never mapped) the log (log.rs)
//! ```
//!
//! Small records go through the ring. What does not fit, be it one large record or more records than the ring holds, goes
//! through the log: file offsets that are written with pwrite, read with pread, and given back once taken. So any number of
//! items of any size fits without a mapping that moves, and a lack of memory is an error and not a SIGBUS.
//! A record goes into the ring only while the log is empty, so everything in the ring is older than everything in the log.
//!
//! Each side has a lock that names its owner, and commits by one store. A process killed at any instruction leaves the old
//! state or the new one, and the next locker has nothing to repair. Bytes beyond the committed state mean nothing.
//!
//! What makes it fast is who touches which cache line. Each side has its lock, its state and the event that it looks at on lines
//! of their own, two apart, since processors fetch lines in pairs. The state of the other side is read only when the one seen
//! last says that there is nothing to do ([`Sight`]); so while several records wait, neither side disturbs the other.

mod log;
mod note;
mod records;

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::{Event, Wake};
use brigade_sys::shared::flip::Flip;
use brigade_sys::shared::lock::OwnedLock;
use brigade_sys::shared::watch::Watchers;

pub(crate) use self::log::FEW_BYTES;
pub(crate) use self::note::{HandleNote, NOTE_BYTES, Note};
use self::records::{Outgoing, Totals};
use crate::session::{MAX_PARTICIPANTS, Session, WindowId};
use crate::waiting;

const CAPACITY: usize = 8;
const MOST_WAITING: usize = 16;
const FACTS: usize = 24;
const PUT_LOCK: OwnedLock = OwnedLock::at(128);
const PUT_STATE: Flip = Flip::at(256);
const GET_LOCK: OwnedLock = OwnedLock::at(384);
const GET_STATE: Flip = Flip::at(512);
/// Getters sleep here.
const ITEMS: Event = Event::at(640);
/// Putters sleep here.
const SPACE: Event = Event::at(768);
/// Those who wait for several things at once, one of which is an item of this channel.
const WATCHERS: Watchers = Watchers::at(644, 896, MAX_PARTICIPANTS);
const RING: usize = 4096;
/// A putter that found no room looks for that share of the capacity before it goes on: one that took each place as it came
/// free would have the line of the getters' state go to and fro for every record. Meanwhile the getters have enough to do.
const AMPLE: u64 = 16;
/// How often a sleeper looks whether those it waits for are still alive.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is true of a channel for good, in one word that only gains bits.
pub(crate) mod fact {
    /// It was closed.
    pub(crate) const CLOSED: u32 = 1;
    /// There was once another handle that could put.
    pub(crate) const OTHER_PUTTER: u32 = 2;
    /// There was once another handle that could get.
    pub(crate) const OTHER_GETTER: u32 = 4;
    /// No handle is left that could get, in no process and in no message.
    pub(crate) const NO_GETTER: u32 = 8;
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    Never,
    Until(Instant),
    Forever,
}

impl Patience {
    pub(crate) fn at_most(timeout: Duration) -> Self {
        // A deadline beyond what the clock can say is no deadline.
        Instant::now().checked_add(timeout).map_or(Self::Forever, Self::Until)
    }

    pub(crate) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Never | Self::Forever => None,
        }
    }
}

/// Why nothing was put or got.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Full, or empty, and the caller had no more patience.
    NotNow,
    Closed,
    /// Waiting longer would be waiting for ever.
    Disconnected,
    /// The process that holds the queue has ended.
    ManagerDied,
    Memory(std::io::Error),
    /// The shared bytes hold what this code never writes.
    Corrupt,
}

/// How much may wait in a channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) n_items: u64,
    /// A record that waits alone may be larger.
    pub(crate) n_bytes: u64,
}

impl Bounds {
    /// Items may be as large as they like.
    pub(crate) const fn of_items(n_items: u64) -> Self {
        Self { n_items, n_bytes: u64::MAX }
    }
}

/// Where the two sides were when this process looked last: each is behind the truth or equal to it. Written by who holds the
/// lock of the side that looks.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    of_getters: Remembered,
    of_putters: Remembered,
}

/// On a line of its own: threads of one process may put and get at the same time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Remembered([AtomicU64; 3]);

impl Remembered {
    #[inline]
    fn load(&self) -> Totals {
        Totals::from(self.0.each_ref().map(|word| word.load(Ordering::Relaxed)))
    }

    #[inline]
    fn store(&self, words: [u64; 3]) -> Totals {
        for (place, word) in self.0.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        Totals::from(words)
    }
}

/// A channel in mapped memory; borrowed for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel<'a> {
    session: &'a Session,
    mapping: &'a Mapping,
    window: WindowId,
    sight: &'a Sight,
}

/// Bytes of the ring for a channel of this capacity: enough for items of a hundred bytes, within bounds.
fn ring_bytes(n_items: u64) -> usize {
    n_items.saturating_mul(128).clamp(16 << 10, 256 << 10).next_power_of_two() as usize
}

/// What a channel for so many items needs to have mapped.
pub(crate) fn mapped_bytes(n_items: u64) -> usize {
    RING + ring_bytes(n_items)
}

impl<'a> Channel<'a> {
    pub(crate) const fn new(session: &'a Session, mapping: &'a Mapping, window: WindowId, sight: &'a Sight) -> Self {
        Self { session, mapping, window, sight }
    }

    /// Writes the constants of a new channel into zeroed memory.
    pub(crate) fn initialize(&self, bounds: Bounds) {
        self.mapping.word64(CAPACITY).store(bounds.n_items, Ordering::Release);
        self.mapping.word64(MOST_WAITING).store(bounds.n_bytes, Ordering::Release);
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.mapping.word64(CAPACITY).load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> u64 {
        // Getting never overtakes putting, so looking at it first never gives less than nothing.
        let [n_got, ..] = GET_STATE.load(self.mapping);
        let [n_put, ..] = PUT_STATE.load(self.mapping);
        n_put.saturating_sub(n_got)
    }

    /// Whether an item is there. The other side's line is looked at only if the last look does not tell already.
    #[inline]
    fn has_items(&self) -> bool {
        let [n_got, ..] = GET_STATE.load(self.mapping);
        self.sight.of_putters.load().n_items > n_got || PUT_STATE.load(self.mapping)[0] > n_got
    }

    /// Whether a get would not wait for another process to put.
    pub(crate) fn is_readable(&self) -> bool {
        self.has_items() || self.is_closed()
    }

    /// The same, waiting for it.
    pub(crate) fn is_readable_within(&self, patience: Patience, hopeless: impl Fn() -> Option<Refused>) -> bool {
        let is_readable = || self.is_readable();
        match waiting::for_change(self.mapping, ITEMS, patience, is_readable, &hopeless) {
            Ok(slept) => {
                if slept {
                    // We take nothing: the wake that reached us belongs to somebody who does.
                    ITEMS.notify(self.mapping, Wake::One);
                }
                true
            }
            Err(Refused::NotNow) => false,
            Err(_) => true,
        }
    }

    /// After this, puts are refused, and gets once the channel is empty.
    pub(crate) fn close(&self) {
        // Under the put lock: no put that has looked at the flag before is still going on afterwards.
        let locked = self.lock(PUT_LOCK, Patience::Forever);
        debug_assert!(locked.is_ok(), "without a deadline a lock is always taken");
        self.establish(fact::CLOSED);
        PUT_LOCK.unlock(self.mapping);
        self.wake_all();
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_fact(fact::CLOSED)
    }

    /// Makes facts known.
    pub(crate) fn establish(&self, facts: u32) {
        let known = self.mapping.word32(FACTS);
        if known.load(Ordering::Relaxed) & facts != facts {
            known.fetch_or(facts, Ordering::SeqCst);
        }
    }

    #[inline]
    pub(crate) fn is_fact(&self, fact: u32) -> bool {
        self.mapping.word32(FACTS).load(Ordering::Acquire) & fact != 0
    }

    /// Asks that the doorbell of this process is rung once when something comes, or ends.
    pub(crate) fn watch(&self) {
        WATCHERS.register(self.mapping, self.session.own_slot());
    }

    /// Lets everybody who waits for this channel look again.
    pub(crate) fn wake_all(&self) {
        self.announce_items(Wake::All);
        SPACE.notify(self.mapping, Wake::All);
    }

    #[inline]
    fn announce_items(&self, wake: Wake) {
        // Its fence also stands between our change and the look at the watchers.
        ITEMS.notify(self.mapping, wake);
        if WATCHERS.is_watched(self.mapping) {
            WATCHERS.take(self.mapping, |slot| self.session.ring(slot));
        }
    }

    /// Puts one record. `hopeless` tells why waiting for room would be in vain, if it would.
    pub(crate) fn put(
        &self,
        payload: &[u8],
        notes: &[Note],
        patience: Patience,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<(), Refused> {
        if !notes.is_empty() {
            self.session.let_carry_handles(self.window);
        }
        let record = Outgoing::new(payload, notes);
        let mut slept = false;
        loop {
            self.lock(PUT_LOCK, patience)?;
            let outcome = self.put_locked(record);
            PUT_LOCK.unlock(self.mapping);
            match outcome {
                Err(Refused::NotNow) => {}
                other => {
                    if slept {
                        // The wake that reached us may have been meant for one of several; there may be room for more.
                        SPACE.notify(self.mapping, Wake::One);
                    }
                    if other.is_ok() {
                        self.announce_items(Wake::One);
                    }
                    return other;
                }
            }
            let has_room = |n_items| self.is_closed() || self.has_room(record.n_bytes(), n_items);
            let n_ample = self.capacity().div_ceil(AMPLE);
            let (is_ready, is_ample) = (|| has_room(1), || has_room(n_ample));
            slept |= waiting::for_ample_change(self.mapping, SPACE, patience, is_ready, is_ample, &hopeless)?;
        }
    }

    /// Takes the oldest record, with its payload at the front of `into`, which grows where it must; returns how many bytes it
    /// has. `attach` makes what a note stands for this process's own, before the record is gone; if it fails, the record
    /// stays. `attached` gets all that, in the order of the notes. `hopeless` tells why waiting for a record would be in
    /// vain, if it would.
    pub(crate) fn get<H>(
        &self,
        into: &mut Vec<u8>,
        attached: &mut Vec<H>,
        attach: impl Fn(Note) -> std::io::Result<H>,
        patience: Patience,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<usize, Refused> {
        let mut slept = false;
        loop {
            // Looking before locking keeps the lock's line with those who find something.
            if self.has_items() {
                self.lock(GET_LOCK, patience)?;
                let outcome = self.get_locked(into, attached, &attach);
                GET_LOCK.unlock(self.mapping);
                match outcome {
                    Err(Refused::NotNow) => {}
                    other => {
                        if slept && self.has_items() {
                            ITEMS.notify(self.mapping, Wake::One);
                        }
                        if other.is_ok() {
                            SPACE.notify(self.mapping, Wake::One);
                        }
                        return other;
                    }
                }
            } else if self.is_closed() && !self.has_items() {
                return Err(Refused::Closed);
            }
            let is_readable = || self.is_readable();
            slept |= waiting::for_change(self.mapping, ITEMS, patience, is_readable, &hopeless)?;
        }
    }

    fn lock(&self, lock: OwnedLock, patience: Patience) -> Result<(), Refused> {
        let session = self.session;
        let take = |deadline| lock.lock(self.mapping, session.owner(), |owner| session.is_dead(owner), deadline);
        waiting::for_lock(session, patience, take, || lock.owner(self.mapping)).map(|_| ())
    }
}
