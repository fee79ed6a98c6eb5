//! A bounded first-in first-out of byte records in one window: what a queue is before it has types.
//! Who holds handles, and what they mean for `Disconnected`, is known in object.rs and queue.rs.
//!
//! ```text
//!    0  mapped_bytes u64 · 8 capacity u64 (items) · 16 closed u32 · 20 marks u32
//!   64  put lock u32      128  put state: items, ring bytes, log bytes ever written (flip.rs)
//!  192  get lock u32      256  get state: items, ring bytes, log bytes ever taken
//!  320  items event u32   384  space event u32
//!   4Ki the ring, a power of two
//!   1Gi (never mapped) the log
//!
//! record:  n_bytes u64 · n_notes u32 · 0 u32 · notes · payload, padded to 16
//! ```
//!
//! Small records go through the ring. What does not fit, be it one large record or more records than the ring holds, goes
//! through the log: file offsets that are written with pwrite, read with pread, and given back once taken. So any number of
//! items of any size fits without a mapping that moves, and a lack of memory is an error and not a SIGBUS.
//! A record goes into the ring only while the log is empty, so everything in the ring is older than everything in the log.
//!
//! Each side has a lock that names its owner, and commits by one store. A process killed at any instruction leaves the old
//! state or the new one, and the next locker has nothing to repair. Bytes beyond the committed state mean nothing.

mod log;
mod note;

use std::time::{Duration, Instant};

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::circle::Circle;
use brigade_sys::shared::event::{Event, Wake};
use brigade_sys::shared::flip::Flip;
use brigade_sys::shared::lock::OwnedLock;

use self::log::Log;
pub(crate) use self::note::HandleNote;
use self::note::NOTE_BYTES;
use crate::session::{Session, WindowId};

const CAPACITY: usize = 8;
const CLOSED: usize = 16;
const MARKS: usize = 20;
const PUT_LOCK: OwnedLock = OwnedLock::at(64);
const PUT_STATE: Flip = Flip::at(128);
const GET_LOCK: OwnedLock = OwnedLock::at(192);
const GET_STATE: Flip = Flip::at(256);
/// Getters sleep here.
pub(crate) const ITEMS: Event = Event::at(320);
/// Putters sleep here.
pub(crate) const SPACE: Event = Event::at(384);
const RING: usize = 4096;
const HEADER_BYTES: usize = 16;
/// Turns of looking before a waiter sleeps. A wake through the kernel takes tens of microseconds, looking takes well under
/// one microsecond.
const N_SPINS: u32 = 2000;
/// How long a call that does not wait tolerates a lock: its owner copies a record meanwhile, unless it was stopped.
const LONGEST_LOCK: Duration = Duration::from_millis(10);
/// How often a sleeper looks whether those it waits for are still alive.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Facts about a channel's history, in one word that only gains bits.
pub(crate) mod mark {
    /// There was once another handle that could put.
    pub(crate) const OTHER_PUTTER: u32 = 1;
    /// There was once another handle that could get.
    pub(crate) const OTHER_GETTER: u32 = 2;
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

    const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Never | Self::Forever => None,
        }
    }

    /// Until when to wait for a lock, which is held for microseconds unless its owner was stopped.
    fn lock_deadline(self) -> Option<Instant> {
        match self {
            Self::Never => Some(Instant::now() + LONGEST_LOCK),
            other => other.deadline(),
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

/// A record as it was taken out.
#[derive(Debug)]
pub(crate) struct Taken<H> {
    pub(crate) payload: Vec<u8>,
    /// In the order of the notes; `None` where the handle could not be counted.
    pub(crate) handles: Vec<Option<H>>,
}

/// A channel in mapped memory; borrowed for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel<'a> {
    session: &'a Session,
    mapping: &'a Mapping,
    window: WindowId,
}

/// Bytes of the ring for a channel of this capacity: enough for items of a hundred bytes, within bounds.
fn ring_bytes(capacity: u64) -> usize {
    capacity.saturating_mul(128).clamp(16 << 10, 256 << 10).next_power_of_two() as usize
}

/// What a channel of this capacity needs to have mapped.
pub(crate) fn mapped_bytes(capacity: u64) -> usize {
    RING + ring_bytes(capacity)
}

fn padded(payload_bytes: usize, n_notes: usize) -> u64 {
    (HEADER_BYTES + n_notes * NOTE_BYTES + payload_bytes.next_multiple_of(HEADER_BYTES)) as u64
}

impl<'a> Channel<'a> {
    pub(crate) const fn new(session: &'a Session, mapping: &'a Mapping, window: WindowId) -> Self {
        Self { session, mapping, window }
    }

    /// Writes the constants of a new channel into zeroed memory.
    pub(crate) fn initialize(self, capacity: u64) {
        self.mapping.word64(CAPACITY).store(capacity, Ordering::Release);
    }

    pub(crate) fn capacity(self) -> u64 {
        self.mapping.word64(CAPACITY).load(Ordering::Relaxed)
    }

    pub(crate) fn len(self) -> u64 {
        // Getting never overtakes putting, so looking at it first never gives less than nothing.
        let [n_got, ..] = GET_STATE.load(self.mapping);
        let [n_put, ..] = PUT_STATE.load(self.mapping);
        n_put.saturating_sub(n_got)
    }

    pub(crate) fn is_closed(self) -> bool {
        self.mapping.word32(CLOSED).load(Ordering::Acquire) != 0
    }

    /// After this, puts are refused, and gets once the channel is empty.
    pub(crate) fn close(self) {
        // Under the put lock: no put that has looked at the flag before is still going on afterwards.
        let locked = self.lock(PUT_LOCK, Patience::Forever);
        debug_assert!(locked.is_ok(), "without a deadline a lock is always taken");
        self.mapping.word32(CLOSED).store(1, Ordering::Release);
        PUT_LOCK.unlock(self.mapping);
        ITEMS.notify(self.mapping, Wake::All);
        SPACE.notify(self.mapping, Wake::All);
    }

    pub(crate) fn set_mark(self, mark: u32) {
        let marks = self.mapping.word32(MARKS);
        if marks.load(Ordering::Relaxed) & mark != mark {
            marks.fetch_or(mark, Ordering::SeqCst);
        }
    }

    pub(crate) fn has_mark(self, mark: u32) -> bool {
        self.mapping.word32(MARKS).load(Ordering::SeqCst) & mark != 0
    }

    /// Puts one record. `hopeless` tells why waiting for room would be in vain, if it would.
    pub(crate) fn put(
        self,
        payload: &[u8],
        notes: &[HandleNote],
        patience: Patience,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<(), Refused> {
        if !notes.is_empty() {
            self.session.let_carry_handles(self.window);
        }
        let mut slept = false;
        loop {
            self.lock(PUT_LOCK, patience)?;
            let outcome = self.put_locked(payload, notes);
            PUT_LOCK.unlock(self.mapping);
            match outcome {
                Err(Refused::NotNow) => {}
                other => {
                    if slept {
                        // The wake that reached us may have been meant for one of several; there may be room for more.
                        SPACE.notify(self.mapping, Wake::One);
                    }
                    if other.is_ok() {
                        ITEMS.notify(self.mapping, Wake::One);
                    }
                    return other;
                }
            }
            slept |= self.wait(SPACE, patience, || self.is_closed() || self.len() < self.capacity(), &hopeless)?;
        }
    }

    fn put_locked(self, payload: &[u8], notes: &[HandleNote]) -> Result<(), Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        let [n_put, ring_put, log_put] = PUT_STATE.load_exclusive(self.mapping);
        let [n_got, ring_got, log_got] = GET_STATE.load(self.mapping);
        let (n_items, in_ring, in_log) =
            (n_put.wrapping_sub(n_got), ring_put.wrapping_sub(ring_got), log_put.wrapping_sub(log_got));
        let ring_capacity = (self.mapping.n_bytes() - RING) as u64;
        if in_ring > ring_capacity || in_log > log::N_BYTES {
            return Err(Refused::Corrupt);
        }
        if n_items >= self.capacity() {
            return Err(Refused::NotNow);
        }
        let mut head = Vec::with_capacity(HEADER_BYTES + notes.len() * NOTE_BYTES);
        head.extend((payload.len() as u64).to_le_bytes());
        head.extend((notes.len() as u64).to_le_bytes());
        notes.iter().for_each(|note| head.extend(note.to_bytes()));
        let needed = padded(payload.len(), notes.len());
        let state = if in_log == 0 && needed <= ring_capacity - in_ring && needed <= ring_capacity / 2 {
            let ring = self.ring();
            ring.write(self.mapping, ring_put, &head);
            ring.write(self.mapping, ring_put + head.len() as u64, payload);
            [n_put + 1, ring_put + needed, log_put]
        } else {
            if needed > log::N_BYTES - in_log {
                return Err(Refused::Memory(std::io::ErrorKind::StorageFull.into()));
            }
            self.log().write(log_put, &head).map_err(Refused::Memory)?;
            self.log().write(log_put + head.len() as u64, payload).map_err(Refused::Memory)?;
            [n_put + 1, ring_put, log_put + needed]
        };
        PUT_STATE.store(self.mapping, state);
        Ok(())
    }

    /// Takes the oldest record. `attach` counts a handle in this process, before the record is gone; `hopeless` tells why waiting for
    /// one would be in vain, if it would.
    pub(crate) fn get<H>(
        self,
        patience: Patience,
        attach: impl Fn(HandleNote) -> Option<H>,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<Taken<H>, Refused> {
        let mut slept = false;
        loop {
            // Looking before locking keeps the lock's line with those who find something.
            if self.len() > 0 {
                self.lock(GET_LOCK, patience)?;
                let outcome = self.get_locked(&attach);
                GET_LOCK.unlock(self.mapping);
                match outcome {
                    Err(Refused::NotNow) => {}
                    other => {
                        if slept && self.len() > 0 {
                            ITEMS.notify(self.mapping, Wake::One);
                        }
                        if other.is_ok() {
                            SPACE.notify(self.mapping, Wake::One);
                        }
                        return other;
                    }
                }
            } else if self.is_closed() && self.len() == 0 {
                return Err(Refused::Closed);
            }
            slept |= self.wait(ITEMS, patience, || self.len() > 0 || self.is_closed(), &hopeless)?;
        }
    }

    fn get_locked<H>(self, attach: &impl Fn(HandleNote) -> Option<H>) -> Result<Taken<H>, Refused> {
        let cursor = self.oldest()?;
        let Some(record) = self.record_at(cursor)? else {
            return Err(Refused::NotNow);
        };
        let mut payload = vec![0; record.payload_bytes];
        self.read(cursor, record.payload_at, &mut payload)?;
        let handles = record.notes.into_iter().map(attach).collect();
        let [n_got, ring_got, log_got] = GET_STATE.load_exclusive(self.mapping);
        let state = match cursor.place {
            Place::Ring => [n_got + 1, ring_got + record.n_bytes, log_got],
            Place::Log => [n_got + 1, ring_got, log_got + record.n_bytes],
        };
        GET_STATE.store(self.mapping, state);
        if cursor.place == Place::Log {
            self.log().give_back(log_got, log_got + record.n_bytes, cursor.log_put);
        }
        Ok(Taken { payload, handles })
    }

    /// The handles in all records that nobody has taken yet.
    pub(crate) fn notes_inside(self) -> Vec<HandleNote> {
        let mut notes = Vec::new();
        if self.lock(GET_LOCK, Patience::Forever).is_ok() {
            let mut cursor = self.oldest();
            while let Ok(at) = cursor {
                let Ok(Some(record)) = self.record_at(at) else {
                    break;
                };
                notes.extend(record.notes);
                cursor = Ok(at.after(record.n_bytes));
            }
            GET_LOCK.unlock(self.mapping);
        }
        notes
    }

    fn oldest(self) -> Result<Cursor, Refused> {
        let [n_got, ring_got, log_got] = GET_STATE.load_exclusive(self.mapping);
        let [n_put, ring_put, log_put] = PUT_STATE.load(self.mapping);
        if n_put < n_got || ring_put < ring_got || log_put < log_got {
            return Err(Refused::Corrupt);
        }
        let place = if ring_put > ring_got { Place::Ring } else { Place::Log };
        Ok(Cursor { place, ring_at: ring_got, ring_put, log_at: log_got, log_put })
    }

    fn record_at(self, cursor: Cursor) -> Result<Option<RecordHead>, Refused> {
        let available = cursor.available();
        if available == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.read(cursor, 0, &mut header)?;
        let (payload_bytes, n_notes) = header.split_at(8);
        let as_number = |bytes: &[u8]| bytes.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let (payload_bytes, n_notes) = (as_number(payload_bytes), as_number(n_notes));
        if payload_bytes > available || n_notes > available / NOTE_BYTES as u64 {
            return Err(Refused::Corrupt);
        }
        let (payload_bytes, n_notes) = (payload_bytes as usize, n_notes as usize);
        let n_bytes = padded(payload_bytes, n_notes);
        if n_bytes > available {
            return Err(Refused::Corrupt);
        }
        let mut note_bytes = vec![0; n_notes * NOTE_BYTES];
        self.read(cursor, HEADER_BYTES as u64, &mut note_bytes)?;
        let notes = note_bytes.chunks(NOTE_BYTES).filter_map(HandleNote::from_bytes).collect();
        Ok(Some(RecordHead { n_bytes, payload_bytes, payload_at: (HEADER_BYTES + note_bytes.len()) as u64, notes }))
    }

    fn read(self, cursor: Cursor, offset: u64, into: &mut [u8]) -> Result<(), Refused> {
        match cursor.place {
            Place::Ring => {
                self.ring().read(self.mapping, cursor.ring_at + offset, into);
                Ok(())
            }
            Place::Log => self.log().read(cursor.log_at + offset, into).map_err(Refused::Memory),
        }
    }

    fn ring(self) -> Circle {
        Circle::new(RING, self.mapping.n_bytes() - RING)
    }

    fn log(self) -> Log<'a> {
        Log::new(self.session.arena(), self.window)
    }

    fn lock(self, lock: OwnedLock, patience: Patience) -> Result<(), Refused> {
        let session = self.session;
        lock.lock(self.mapping, session.owner(), |owner| session.is_dead(owner), patience.lock_deadline())
            .map(|_| ())
            .map_err(|_| Refused::NotNow)
    }

    /// Waits until `is_ready`, looking first and then sleeping. Says whether it slept.
    fn wait(
        self,
        event: Event,
        patience: Patience,
        is_ready: impl Fn() -> bool,
        hopeless: &impl Fn() -> Option<Refused>,
    ) -> Result<bool, Refused> {
        if let Patience::Never = patience {
            let reason = hopeless().unwrap_or(Refused::NotNow);
            // Looked at last: what was put before the last putter went is there now.
            return if is_ready() { Ok(false) } else { Err(reason) };
        }
        for _ in 0..crate::spin::budget(N_SPINS) {
            if is_ready() {
                return Ok(false);
            }
            std::hint::spin_loop();
        }
        loop {
            let ticket = event.announce(self.mapping);
            if is_ready() {
                return Ok(true);
            }
            // Whoever drops the last handle on the other side wakes us; whoever dies with it does not, so look now and then.
            if let Some(reason) = hopeless() {
                return if is_ready() { Ok(true) } else { Err(reason) };
            }
            let nap = match patience.deadline() {
                None => LOOK_EVERY,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Refused::NotNow);
                    }
                    left.min(LOOK_EVERY)
                }
            };
            event.sleep(self.mapping, ticket, Some(nap));
            event.pass_on(self.mapping);
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Ring,
    Log,
}

/// Where the next record is, and where each of the two stores ends.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    place: Place,
    ring_at: u64,
    ring_put: u64,
    log_at: u64,
    log_put: u64,
}

impl Cursor {
    const fn available(self) -> u64 {
        match self.place {
            Place::Ring => self.ring_put - self.ring_at,
            Place::Log => self.log_put - self.log_at,
        }
    }

    const fn after(mut self, n_bytes: u64) -> Self {
        match self.place {
            Place::Ring => self.ring_at += n_bytes,
            Place::Log => self.log_at += n_bytes,
        }
        if self.ring_at == self.ring_put {
            self.place = Place::Log;
        }
        self
    }
}

#[derive(Debug)]
struct RecordHead {
    n_bytes: u64,
    payload_bytes: usize,
    payload_at: u64,
    notes: Vec<HandleNote>,
}
