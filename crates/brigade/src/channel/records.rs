//! How records lie in the ring and in the log of a channel, and how the two sides move on. Locks are taken in channel.rs.
//!
//! ```text
//! record:  n_bytes u64 · n_notes u64 · notes · payload, padded to 16
//! ```

use brigade_sys::shared::atomics::{Ordering, fence};
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::circle::Circle;

use super::log::{self, FEW_BYTES, Log};
use super::note::NOTE_BYTES;
use super::{Channel, GET_LOCK, GET_STATE, MOST_WAITING, Note, PUT_STATE, Patience, RING, Refused};

const HEADER_BYTES: usize = 16;
/// How often handles in waiting messages are looked for without the lock before it is taken.
const N_UNLOCKED_LOOKS: usize = 100;

/// What one side has moved so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Totals {
    pub(super) n_items: u64,
    ring_bytes: u64,
    log_bytes: u64,
}

impl From<[u64; 3]> for Totals {
    fn from([n_items, ring_bytes, log_bytes]: [u64; 3]) -> Self {
        Self { n_items, ring_bytes, log_bytes }
    }
}

impl Totals {
    const fn words(self) -> [u64; 3] {
        [self.n_items, self.ring_bytes, self.log_bytes]
    }

    /// What is left of this once `taken` was taken; `None` if that is more than there was.
    #[inline]
    fn without(self, taken: Self) -> Option<Self> {
        Some(Self {
            n_items: self.n_items.checked_sub(taken.n_items)?,
            ring_bytes: self.ring_bytes.checked_sub(taken.ring_bytes)?,
            log_bytes: self.log_bytes.checked_sub(taken.log_bytes)?,
        })
    }

    /// Only totals that are garbage wrap around, and then the two sides do not fit together any more.
    #[inline]
    const fn after(mut self, place: Place, n_bytes: u64) -> Self {
        self.n_items = self.n_items.wrapping_add(1);
        match place {
            Place::Ring => self.ring_bytes = self.ring_bytes.wrapping_add(n_bytes),
            Place::Log => self.log_bytes = self.log_bytes.wrapping_add(n_bytes),
        }
        self
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Ring,
    Log,
}

/// A record to be put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    payload: &'a [u8],
    notes: &'a [Note],
}

impl<'a> Outgoing<'a> {
    pub(super) const fn new(payload: &'a [u8], notes: &'a [Note]) -> Self {
        Self { payload, notes }
    }

    /// What it takes up in the ring or in the log.
    pub(super) const fn n_bytes(self) -> u64 {
        padded(self.payload.len(), self.notes.len())
    }

    /// Writes its parts one after the other.
    #[inline]
    fn write_to<E>(self, mut write: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&(self.payload.len() as u64).to_le_bytes());
        header[8..].copy_from_slice(&(self.notes.len() as u64).to_le_bytes());
        write(0, &header)?;
        let mut at = HEADER_BYTES as u64;
        for note in self.notes {
            write(at, &note.to_bytes())?;
            at += NOTE_BYTES as u64;
        }
        write(at, self.payload)
    }
}

const fn padded(payload_bytes: usize, n_notes: usize) -> u64 {
    (HEADER_BYTES + n_notes * NOTE_BYTES + payload_bytes.next_multiple_of(HEADER_BYTES)) as u64
}

/// What the header of a record says, once it was checked.
#[derive(Clone, Copy, Debug)]
struct Found {
    n_bytes: u64,
    payload_bytes: usize,
    n_notes: usize,
}

impl Found {
    /// Counted from the start of the record.
    #[inline]
    const fn payload_at(self) -> u64 {
        (HEADER_BYTES + self.n_notes * NOTE_BYTES) as u64
    }
}

/// Where the next record is, and where each of the two stores ends.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    got: Totals,
    put: Totals,
}

impl Cursor {
    #[inline]
    const fn place(self) -> Place {
        if self.put.ring_bytes > self.got.ring_bytes { Place::Ring } else { Place::Log }
    }

    #[inline]
    const fn available(self) -> u64 {
        match self.place() {
            Place::Ring => self.put.ring_bytes - self.got.ring_bytes,
            Place::Log => self.put.log_bytes - self.got.log_bytes,
        }
    }
}

impl Channel<'_> {
    /// Puts a record. The caller holds the put lock.
    pub(super) fn put_locked(&self, record: Outgoing<'_>) -> Result<(), Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        let put = Totals::from(PUT_STATE.load_exclusive(self.mapping));
        let needed = record.n_bytes();
        // What was seen last is behind the truth: room that it shows is there, and it may show the ring where the log is
        // not needed any more only after another look.
        let place = match self.place_for(needed, put, self.sight.of_getters.load()) {
            Ok(Some(Place::Ring)) => Place::Ring,
            _ => {
                let got = self.sight.of_getters.store(GET_STATE.load(self.mapping));
                if put.without(got).is_none_or(|waiting| waiting.ring_bytes > self.ring_capacity()) {
                    return Err(Refused::Corrupt);
                }
                self.place_for(needed, put, got)?.ok_or(Refused::NotNow)?
            }
        };
        match place {
            Place::Ring => record.write_to(|at, bytes| {
                self.ring().write(self.mapping, put.ring_bytes + at, bytes);
                Ok(())
            }),
            Place::Log => record.write_to(|at, bytes| self.log().write(put.log_bytes + at, bytes)),
        }
        .map_err(Refused::Memory)?;
        PUT_STATE.store(self.mapping, put.after(place, needed).words());
        Ok(())
    }

    /// Where a record of this size would go; `None` while there is no room for it.
    #[inline]
    fn place_for(&self, needed: u64, put: Totals, got: Totals) -> Result<Option<Place>, Refused> {
        let waiting = put.without(got).ok_or(Refused::Corrupt)?;
        let in_all = waiting.ring_bytes.saturating_add(waiting.log_bytes).saturating_add(needed);
        if waiting.n_items >= self.capacity() || waiting.n_items > 0 && in_all > self.most_waiting_bytes() {
            return Ok(None);
        }
        let fits_ring = waiting.ring_bytes.saturating_add(needed) <= self.ring_capacity();
        if waiting.log_bytes == 0 && fits_ring && needed <= self.ring_capacity() / 2 {
            return Ok(Some(Place::Ring));
        }
        if waiting.log_bytes.saturating_add(needed) > log::N_BYTES {
            return Err(Refused::Memory(std::io::ErrorKind::StorageFull.into()));
        }
        Ok(Some(Place::Log))
    }

    /// Whether `n_items` records would find room now, the first of which has this size; or an error.
    pub(super) fn has_room(&self, needed: u64, n_items: u64) -> bool {
        let got = Totals::from(GET_STATE.load(self.mapping));
        let put = Totals::from(PUT_STATE.load(self.mapping));
        let n_then = put.n_items.saturating_sub(got.n_items).saturating_add(n_items);
        n_then <= self.capacity() && !matches!(self.place_for(needed, put, got), Ok(None))
    }

    /// Takes the oldest record. The caller holds the get lock.
    pub(super) fn get_locked<H>(
        &self,
        into: &mut Vec<u8>,
        attached: &mut Vec<H>,
        attach: &impl Fn(Note) -> std::io::Result<H>,
    ) -> Result<usize, Refused> {
        let got = Totals::from(GET_STATE.load_exclusive(self.mapping));
        let mut put = self.sight.of_putters.load();
        if put.n_items <= got.n_items {
            put = self.sight.of_putters.store(PUT_STATE.load(self.mapping));
        }
        let waiting = put.without(got).ok_or(Refused::Corrupt)?;
        if waiting.ring_bytes > self.ring_capacity() || waiting.log_bytes > log::N_BYTES {
            return Err(Refused::Corrupt);
        }
        let cursor = Cursor { got, put };
        let Some(record) = self.record_at(cursor)? else {
            // Items without bytes would be waited for again and again.
            return Err(if waiting.n_items > 0 { Refused::Corrupt } else { Refused::NotNow });
        };
        if into.capacity() < record.payload_bytes {
            // Asked for first, since a lack of memory is to be an error. Then it comes zeroed from the system.
            Vec::<u8>::new().try_reserve_exact(record.payload_bytes).map_err(|_| no_memory())?;
            *into = vec![0; record.payload_bytes];
        } else if into.len() < record.payload_bytes {
            into.resize(record.payload_bytes, 0);
        }
        self.read(cursor, record.payload_at(), &mut into[..record.payload_bytes])?;
        if record.n_notes > 0 {
            for note in self.notes_of(cursor, record)? {
                attached.push(attach(note).map_err(Refused::Memory)?);
            }
        }
        let place = cursor.place();
        let after = got.after(place, record.n_bytes);
        GET_STATE.store(self.mapping, after.words());
        if place == Place::Log {
            self.log().give_back(got.log_bytes, after.log_bytes, put.log_bytes);
        }
        Ok(record.payload_bytes)
    }

    /// What all records that nobody has taken yet carry beside their bytes.
    ///
    /// Looked at without the lock, which a stopped process may hold: what was read counts if nothing was taken meanwhile.
    /// Only where records are taken without a pause the lock is waited for.
    pub(crate) fn notes_inside(&self) -> Vec<Note> {
        for _ in 0..N_UNLOCKED_LOOKS {
            let before = GET_STATE.load(self.mapping);
            let notes = self.notes_from(Totals::from(before));
            // The state was read after the records: what has not been taken by now was not written over before.
            fence(Ordering::SeqCst);
            if GET_STATE.load(self.mapping) == before {
                return notes;
            }
        }
        let locked = self.lock(GET_LOCK, Patience::Forever);
        debug_assert!(locked.is_ok(), "without a deadline a lock is always taken");
        let notes = self.notes_from(Totals::from(GET_STATE.load(self.mapping)));
        GET_LOCK.unlock(self.mapping);
        notes
    }

    fn notes_from(&self, got: Totals) -> Vec<Note> {
        let mut notes = Vec::new();
        let put = Totals::from(PUT_STATE.load(self.mapping));
        if put.without(got).is_none() {
            return notes;
        }
        let mut cursor = Cursor { got, put };
        while let Ok(Some(record)) = self.record_at(cursor) {
            let Ok(more) = self.notes_of(cursor, record) else { break };
            notes.extend(more);
            cursor.got = cursor.got.after(cursor.place(), record.n_bytes);
        }
        notes
    }

    #[inline]
    fn record_at(&self, cursor: Cursor) -> Result<Option<Found>, Refused> {
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
        let is_there = || cursor.place() == Place::Ring || self.log().holds(cursor.got.log_bytes, n_bytes);
        if n_bytes > available || n_bytes > FEW_BYTES && !is_there() {
            return Err(Refused::Corrupt);
        }
        Ok(Some(Found { n_bytes, payload_bytes, n_notes }))
    }

    fn notes_of(&self, cursor: Cursor, record: Found) -> Result<Vec<Note>, Refused> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(record.n_notes * NOTE_BYTES).map_err(|_| no_memory())?;
        bytes.resize(record.n_notes * NOTE_BYTES, 0);
        self.read(cursor, HEADER_BYTES as u64, &mut bytes)?;
        Ok(bytes.chunks(NOTE_BYTES).filter_map(Note::from_bytes).collect())
    }

    #[inline]
    fn read(&self, cursor: Cursor, at: u64, into: &mut [u8]) -> Result<(), Refused> {
        if into.is_empty() {
            return Ok(());
        }
        match cursor.place() {
            Place::Ring => {
                self.ring().read(self.mapping, cursor.got.ring_bytes + at, into);
                Ok(())
            }
            Place::Log => self.log().read(cursor.got.log_bytes + at, into).map_err(Refused::Memory),
        }
    }

    fn most_waiting_bytes(&self) -> u64 {
        self.mapping.word64(MOST_WAITING).load(Ordering::Relaxed)
    }

    fn ring_capacity(&self) -> u64 {
        (self.mapping.n_bytes() - RING) as u64
    }

    fn ring(&self) -> Circle {
        Circle::new(RING, self.mapping.n_bytes() - RING)
    }

    fn log(&self) -> Log<'_> {
        Log::new(self.session.arena(), self.window)
    }
}

fn no_memory() -> Refused {
    Refused::Memory(std::io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Bounds, mapped_bytes};
    use crate::object::Handle;
    use crate::session::WindowKind;

    /// What `get` says of a record in the log whose header says that it has so many bytes, and how much memory it took for it.
    fn got(payload_bytes: u64, n_notes: u64) -> (Result<usize, Refused>, usize) {
        let initialize = |object: &crate::object::Object| object.channel().initialize(Bounds::of_items(4));
        let handle = Handle::create(WindowKind::Queue, mapped_bytes(4), initialize).expect("there is memory");
        let channel = handle.object().channel();
        let header = [payload_bytes.to_le_bytes(), n_notes.to_le_bytes()].concat();
        channel.log().write(0, &header).expect("there is memory");
        PUT_STATE.store(channel.mapping, [1, 0, 64 << 30]);
        let mut into = Vec::new();
        let outcome = channel.get(&mut into, &mut Vec::<()>::new(), |_| Ok(()), Patience::Never, || None);
        (outcome, into.capacity())
    }

    #[test]
    fn a_record_that_says_to_be_larger_than_what_was_written_takes_no_memory() {
        for (payload_bytes, n_notes) in [(2 << 20, 0), (0, 1 << 28), (32 << 30, 0)] {
            let (outcome, capacity) = got(payload_bytes, n_notes);
            assert!(matches!(outcome, Err(Refused::Corrupt)), "{outcome:?}");
            assert_eq!(capacity, 0);
        }
    }
}
