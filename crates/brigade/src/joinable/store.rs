//! The window of a joinable queue: its items as bytes, and who waits for what. What the items are is known in joinable.rs; how they
//! change hands is in brigade-sys (leases.rs).
//!
//! ```text
//!    0  mapped_bytes u64 · 8 capacity u64 (items) · 16 facts u32
//!   64  items event u32 · 68 somebody watches u32
//!  128  space event u32 · 192 done event u32
//!  256  where the next extent goes: start u64, end of the gap u64 (extents.rs)
//!  320  the items' header: lock, counts, lists (leases.rs)
//!  512  watchers: 4 096 bits (watch.rs)
//!  4Ki  slots of 256 bytes, as many as were ever needed
//! 32Gi  (never mapped) extents (extents.rs)
//!
//! content of a slot:  n_bytes u64 · n_notes u64 · place u64 · 208 bytes
//! ```
//!
//! An item's notes and payload lie in its slot, or, where they do not fit, in an extent of file offsets: `place` is then its
//! position + 1. They stay there, untouched, until the item is done, whoever may have had it meanwhile.

use brigade_sys::kernel::memory::{self, Mapping};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::{Event, Wake};
use brigade_sys::shared::leases::{CONTENT, Corrupt, Counts, HEADER_BYTES, Leased, Leases, Locked};
use brigade_sys::shared::lock::OwnedLock;
use brigade_sys::shared::watch::Watchers;

use super::extents::Extents;
use crate::channel::{NOTE_BYTES, Note, Patience, Refused, fact};
use crate::session::{MAX_PARTICIPANTS, Session, WindowId};
use crate::waiting;

const CAPACITY: usize = 8;
const FACTS: usize = 16;
/// Getters sleep here.
const ITEMS: Event = Event::at(64);
/// Putters sleep here.
const SPACE: Event = Event::at(128);
/// Joiners sleep here.
const DONE: Event = Event::at(192);
const WATCHERS: Watchers = Watchers::at(68, 512, MAX_PARTICIPANTS);
const EXTENTS: usize = 256;
const HEADER: usize = 320;
const SLOTS: usize = 4096;
const _: () = assert!(HEADER + HEADER_BYTES <= 512 && 512 + MAX_PARTICIPANTS / 8 <= SLOTS);

const SLOT_BYTES: usize = 256;
const N_BYTES: usize = 0;
const N_NOTES: usize = 8;
const PLACE: usize = 16;
const INLINE: usize = 24;
const INLINE_BYTES: usize = SLOT_BYTES - CONTENT - INLINE;
/// Slots that are allocated at first: one page of them.
const FIRST_SLOTS: u64 = 16;
const MIN_MAX_SLOTS: usize = 1 << 16;
const MAX_MAX_SLOTS: usize = 1 << 26;

/// What a queue of this capacity has mapped: twice as many slots as items may wait, since others may be worked on.
pub(crate) fn mapped_bytes(capacity: u64) -> usize {
    let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    SLOTS + capacity.saturating_mul(2).clamp(MIN_MAX_SLOTS, MAX_MAX_SLOTS) * SLOT_BYTES
}

/// What of it is allocated from the start.
pub(crate) const ALLOCATED_BYTES: usize = SLOTS + FIRST_SLOTS as usize * SLOT_BYTES;

/// The window of one queue, as this process sees it; borrowed for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store<'a> {
    session: &'a Session,
    mapping: &'a Mapping,
    window: WindowId,
}

/// The bytes of an item.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) payload: Vec<u8>,
    pub(crate) notes: Vec<Note>,
}

/// Where the bytes of an item lie.
#[derive(Clone, Copy, Debug)]
struct Place {
    n_bytes: u64,
    n_notes: u64,
    /// Where in the extents, if not in the slot.
    position: Option<u64>,
}

impl Place {
    fn total_bytes(self) -> Option<u64> {
        self.n_notes.checked_mul(NOTE_BYTES as u64)?.checked_add(self.n_bytes)
    }

    /// The range of extents that it takes up.
    fn extent(self) -> Option<(u64, u64)> {
        let start = self.position?;
        Some((start, start.checked_add(Extents::rounded(self.total_bytes()?)?)?))
    }
}

impl From<Corrupt> for Refused {
    fn from(_: Corrupt) -> Self {
        Self::Corrupt
    }
}

impl<'a> Store<'a> {
    pub(crate) const fn new(session: &'a Session, mapping: &'a Mapping, window: WindowId) -> Self {
        Self { session, mapping, window }
    }

    /// Writes the constants of a new queue into zeroed memory.
    pub(crate) fn initialize(self, capacity: u64) {
        self.mapping.word64(CAPACITY).store(capacity, Ordering::Release);
        if let Ok(locked) = self.lock(Patience::Forever) {
            locked.grow(FIRST_SLOTS);
        }
    }

    pub(crate) fn capacity(self) -> u64 {
        self.mapping.word64(CAPACITY).load(Ordering::Relaxed)
    }

    /// How many items there were at some moment.
    pub(crate) fn counts(self) -> Counts {
        self.table().counts(self.mapping)
    }

    pub(crate) fn is_closed(self) -> bool {
        self.is_fact(fact::CLOSED)
    }

    /// After this, puts are refused, and gets once no item can come any more.
    pub(crate) fn close(self) {
        // Under the lock: no put that has looked at the flag before is still going on afterwards.
        let locked = self.lock(Patience::Forever);
        debug_assert!(locked.is_ok(), "without a deadline a lock is always taken");
        self.establish(fact::CLOSED);
        drop(locked);
        self.wake_all();
    }

    pub(crate) fn establish(self, facts: u32) {
        let word = self.mapping.word32(FACTS);
        if word.load(Ordering::Relaxed) & facts != facts {
            word.fetch_or(facts, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_fact(self, fact: u32) -> bool {
        self.mapping.word32(FACTS).load(Ordering::SeqCst) & fact != 0
    }

    /// Lets everybody look again: those may be gone that they wait for.
    pub(crate) fn wake_all(self) {
        self.announce_items(Wake::All);
        SPACE.notify(self.mapping, Wake::All);
        DONE.notify(self.mapping, Wake::All);
    }

    /// Rings the doorbell of this process once when a get may not wait any more.
    pub(crate) fn watch(self) {
        WATCHERS.register(self.mapping, self.session.own_slot());
    }

    fn announce_items(self, wake: Wake) {
        // Its fence also stands between our change and the look at the watchers.
        ITEMS.notify(self.mapping, wake);
        if WATCHERS.is_watched(self.mapping) {
            WATCHERS.take(self.mapping, |slot| self.session.ring(slot));
        }
    }

    /// Puts one item at the end. `hopeless` tells why waiting for room would be in vain, if it would.
    pub(crate) fn put(
        self,
        payload: &[u8],
        notes: &[Note],
        patience: Patience,
        hopeless: impl Fn() -> Option<Refused>,
    ) -> Result<(), Refused> {
        if !notes.is_empty() {
            self.session.let_carry_handles(self.window);
        }
        let has_room = || self.is_closed() || self.counts().n_queued < self.capacity();
        let mut has_slept = false;
        loop {
            let locked = self.lock(patience)?;
            let outcome = self.put_locked(&locked, payload, notes);
            drop(locked);
            match outcome {
                Err(Refused::NotNow) => {}
                other => {
                    if has_slept {
                        // The wake that reached us may have been meant for one of several; there may be room for more.
                        SPACE.notify(self.mapping, Wake::One);
                    }
                    if other.is_ok() {
                        self.announce_items(Wake::One);
                    }
                    return other;
                }
            }
            has_slept |= waiting::for_change(self.mapping, SPACE, patience, has_room, &hopeless)?;
        }
    }

    fn put_locked(self, locked: &Locked<'_, Mapping>, payload: &[u8], notes: &[Note]) -> Result<(), Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if locked.counts().n_queued >= self.capacity() {
            return Err(Refused::NotNow);
        }
        let slot = self.free_slot(locked)?;
        let at = self.table().content_of(slot);
        let note_bytes: Vec<u8> = notes.iter().flat_map(|note| note.to_bytes()).collect();
        let n_total = note_bytes.len() + payload.len();
        let place = if n_total <= INLINE_BYTES {
            self.mapping.write(at + INLINE, &note_bytes);
            self.mapping.write(at + INLINE + note_bytes.len(), payload);
            0
        } else {
            let start = self.extents().allocate(self.mapping, n_total as u64, || self.open_extents(locked));
            let start = start.ok_or_else(|| Refused::Memory(std::io::ErrorKind::StorageFull.into()))?;
            self.extents().write(start, &[&note_bytes, payload]).map_err(Refused::Memory)?;
            start + 1
        };
        for (offset, value) in [(N_BYTES, payload.len() as u64), (N_NOTES, notes.len() as u64), (PLACE, place)] {
            self.mapping.word64(at + offset).store(value, Ordering::Relaxed);
        }
        locked.put(slot);
        Ok(())
    }

    /// A slot for another item; makes more of them if there is none left.
    fn free_slot(self, locked: &Locked<'_, Mapping>) -> Result<u64, Refused> {
        if let Some(slot) = locked.free_slot()? {
            return Ok(slot);
        }
        let (n_slots, n_more) = (locked.n_slots(), locked.n_slots().max(FIRST_SLOTS));
        let n_slots_then = (n_slots + n_more).min(self.max_slots());
        let offset = self.window.offset() + SLOTS as u64 + n_slots * SLOT_BYTES as u64;
        memory::allocate(self.session.arena(), offset, (n_slots_then - n_slots) * SLOT_BYTES as u64)
            .map_err(Refused::Memory)?;
        locked.grow(n_slots_then);
        locked.free_slot()?.ok_or_else(|| Refused::Memory(std::io::ErrorKind::StorageFull.into()))
    }

    /// Hands the first item out. `is_in_vain` tells why waiting for an item would be in vain, if it would.
    pub(crate) fn get(self, patience: Patience, is_in_vain: impl Fn() -> Option<Refused>) -> Result<Leased, Refused> {
        let has_items = || self.counts().n_queued > 0;
        let mut has_slept = false;
        loop {
            if has_items() {
                let locked = self.lock(patience)?;
                let leased = locked.lease(self.session.owner())?;
                let is_more_left = locked.counts().n_queued > 0;
                drop(locked);
                if let Some(leased) = leased {
                    if has_slept && is_more_left {
                        ITEMS.notify(self.mapping, Wake::One);
                    }
                    SPACE.notify(self.mapping, Wake::One);
                    return Ok(leased);
                }
            }
            has_slept |= waiting::for_change(self.mapping, ITEMS, patience, has_items, &is_in_vain)?;
        }
    }

    /// Why waiting for an item would be in vain, if it would. `n_own` items of those that are handed out are the caller's own:
    /// it does not wait for them.
    pub(crate) fn is_get_in_vain(self, n_own: u64, hopeless: impl Fn() -> Option<Refused>) -> Option<Refused> {
        let counts = self.settle()?;
        if counts.n_queued > 0 || counts.n_leased > n_own {
            // An item is there, or can still come back.
            return None;
        }
        if self.is_closed() { Some(Refused::Closed) } else { hopeless() }
    }

    /// The bytes of an item that the caller has.
    pub(crate) fn read(self, leased: Leased) -> Result<Record, Refused> {
        let place = self.place_of(leased.slot);
        let n_notes_bytes = place.n_notes.checked_mul(NOTE_BYTES as u64).ok_or(Refused::Corrupt)?;
        if !place.total_bytes().is_some_and(|n_total| self.has(place, n_total)) {
            return Err(Refused::Corrupt);
        }
        let mut bytes = [Vec::new(), Vec::new()];
        for (bytes, n_bytes) in bytes.iter_mut().zip([n_notes_bytes, place.n_bytes]) {
            bytes.try_reserve_exact(n_bytes as usize).map_err(|error| Refused::Memory(std::io::Error::other(error)))?;
            bytes.resize(n_bytes as usize, 0);
        }
        let [mut notes, mut payload] = bytes;
        match place.position {
            None => {
                let at = self.table().content_of(leased.slot) + INLINE;
                self.mapping.read(at, &mut notes);
                self.mapping.read(at + notes.len(), &mut payload);
            }
            Some(start) => self.extents().read(start, [&mut notes, &mut payload]).map_err(Refused::Memory)?,
        }
        Ok(Record { payload, notes: notes.chunks(NOTE_BYTES).filter_map(Note::from_bytes).collect() })
    }

    /// Ends an item that the caller has.
    pub(crate) fn finish(self, leased: Leased) {
        let Ok(locked) = self.lock(Patience::Forever) else {
            return;
        };
        let extent = self.place_of(leased.slot).extent();
        if locked.finish(leased, self.session.owner())
            && let Some((start, end)) = extent
        {
            // Still under the lock: after it the place may be another item's.
            self.extents().give_back(start, end);
        }
        let n_open = locked.counts().n_open();
        drop(locked);
        if n_open == 0 {
            DONE.notify(self.mapping, Wake::All);
        }
    }

    /// Puts an item that the caller has back to where it was.
    pub(crate) fn give_back(self, leased: Leased) {
        if let Ok(locked) = self.lock(Patience::Forever) {
            locked.give_back(leased, self.session.owner());
        }
        self.announce_items(Wake::One);
    }

    /// Puts back what the dead had, and counts. `None` if the lock's owner was stopped.
    pub(crate) fn settle(self) -> Option<Counts> {
        let locked = self.lock(Patience::Never).ok()?;
        let n_back = if locked.counts().n_leased > 0 { locked.take_from_the_dead(self.session) } else { 0 };
        let counts = locked.counts();
        drop(locked);
        if n_back > 0 {
            self.announce_items(Wake::All);
        }
        Some(counts)
    }

    /// Waits until no item is open. `hopeless` tells why items that wait would wait for ever, if they would.
    pub(crate) fn join(self, patience: Patience, hopeless: impl Fn() -> Option<Refused>) -> Result<(), Refused> {
        let is_done = || self.counts().n_open() == 0;
        let is_in_vain = || {
            // What somebody works on will be done, or given back.
            let n_queued = self.settle()?.n_queued;
            if n_queued > 0 { hopeless() } else { None }
        };
        while !is_done() {
            waiting::for_change(self.mapping, DONE, patience, is_done, is_in_vain)?;
        }
        Ok(())
    }

    /// What all items that are not done carry beside their bytes.
    pub(crate) fn notes_inside(self) -> Vec<Note> {
        let Ok(locked) = self.lock(Patience::Forever) else {
            return Vec::new();
        };
        let read = |slot| {
            let place = self.place_of(slot);
            // Reading the notes alone: the payload may be large.
            let record = if place.n_notes == 0 { None } else { self.notes_of(slot, place) };
            record.unwrap_or_default()
        };
        locked.open_slots().flat_map(read).collect()
    }

    fn notes_of(self, slot: u64, place: Place) -> Option<Vec<Note>> {
        let n_bytes = place.n_notes.checked_mul(NOTE_BYTES as u64).filter(|&n_bytes| self.has(place, n_bytes))?;
        let n_bytes = usize::try_from(n_bytes).ok()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(n_bytes).ok()?;
        bytes.resize(n_bytes, 0);
        match place.position {
            None => self.mapping.read(self.table().content_of(slot) + INLINE, &mut bytes),
            Some(start) => self.extents().read(start, [&mut bytes, &mut []]).ok()?,
        }
        Some(bytes.chunks(NOTE_BYTES).filter_map(Note::from_bytes).collect())
    }

    /// Whether there are so many bytes where an item lies. Damaged memory can say any number, and memory for so many must not be
    /// taken for granted.
    fn has(self, place: Place, n_bytes: u64) -> bool {
        match place.position {
            None => n_bytes <= INLINE_BYTES as u64,
            Some(start) => self.extents().hold(start, n_bytes),
        }
    }

    fn place_of(self, slot: u64) -> Place {
        let at = self.table().content_of(slot);
        let word = |offset| self.mapping.word64(at + offset).load(Ordering::Relaxed);
        Place { n_bytes: word(N_BYTES), n_notes: word(N_NOTES), position: word(PLACE).checked_sub(1) }
    }

    fn open_extents(self, locked: &Locked<'_, Mapping>) -> Vec<(u64, u64)> {
        locked.open_slots().filter_map(|slot| self.place_of(slot).extent()).collect()
    }

    fn max_slots(self) -> u64 {
        ((self.mapping.n_bytes() - SLOTS) / SLOT_BYTES) as u64
    }

    fn table(self) -> Leases {
        Leases::at(HEADER, SLOTS, SLOT_BYTES, self.max_slots())
    }

    fn extents(self) -> Extents<'a> {
        Extents::new(self.session.arena(), self.window, EXTENTS)
    }

    fn lock(self, patience: Patience) -> Result<Locked<'a, Mapping>, Refused> {
        let take = |deadline| self.table().lock(self.mapping, self.session, deadline);
        let owner = || OwnedLock::at(HEADER).owner(self.mapping);
        let locked = waiting::for_lock(self.session, patience, take, owner)?;
        if locked.was_repaired() {
            self.extents().start_anew(self.mapping, self.open_extents(&locked));
        }
        Ok(locked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JoinableQueue, Process};

    #[test]
    fn large_values_stay_whole_though_somebody_died_with_the_lock() {
        let large = |number: u8| vec![number; 100_000];
        let queue = JoinableQueue::bounded(4).unwrap();
        queue.put(large(1)).unwrap();
        let victim: Process<()> = crate::spawn(queue.clone(), |queue: JoinableQueue<Vec<u8>>| {
            let _locked = queue.end.store().lock(Patience::Forever).unwrap();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        })
        .unwrap();
        assert_eq!(victim.wait().signal(), Some(9));
        queue.put(large(2)).unwrap();
        for number in [1, 2] {
            assert_eq!(queue.get().unwrap().done(), large(number));
        }
    }
}
