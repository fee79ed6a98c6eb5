//! Items that are handed out one by one and come back if whoever has them dies: their states, their order, their number.
//! What an item contains, and who waits for one, is not known here.
//!
//! ```text
//! header +  0  lock u32 (lock.rs)
//! header +  8  n_slots     slots that exist; more are added, none is removed
//! header + 16  n_open      ┐ n_queued, 32 bits · n_leased, 32 bits: one word, since it is read without the lock
//! header + 24  first       │
//! header + 32  last        │ the index; lists name slots by number + 1, 0 for none
//! header + 40  free        │
//! header + 48  next_seq    ┘
//!
//! slot +  0  state u64     state, two bits · attempt, 30 bits · owner, 32 bits
//! slot +  8  seq u64       the item's place in the order
//! slot + 16  next u64      in the list that the slot is in; part of the index
//! slot + 24  the content, the user's
//! ```
//!
//! | state    | meaning                                           | left by                                                  |
//! |----------|---------------------------------------------------|----------------------------------------------------------|
//! | `FREE`   | no item                                           | a putter, once the content is written: `QUEUED`          |
//! | `QUEUED` | waits in the order of `seq`                       | a getter: `LEASED`, one attempt more                     |
//! | `LEASED` | its owner works on it                             | its owner: `FREE`, or `QUEUED`; after its death: `QUEUED`|
//!
//! The states and sequence numbers are the truth, and each change of them is one store of one word: killed at any instruction, a process
//! leaves the change undone or done. All changes happen under a lock that names its owner. The index beside them makes them
//! fast; it may be half changed when its owner dies, so whoever takes the lock from the dead builds it anew from the slots.
//! An item that comes back goes before all that were put later.

use std::time::Instant;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::census::Census;
use super::lock::{Acquired, OwnedLock, Owner, TimedOut};

const N_SLOTS: usize = 8;
const N_OPEN: usize = 16;
const FIRST: usize = 24;
const LAST: usize = 32;
const FREE_LIST: usize = 40;
const NEXT_SEQ: usize = 48;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

const STATE: usize = 0;
const SEQ: usize = 8;
const NEXT: usize = 16;
/// Where the content of an item begins in its slot.
pub const CONTENT: usize = 24;

const STATE_MASK: u64 = 3;
const FREE: u64 = 0;
const QUEUED: u64 = 1;
const LEASED: u64 = 2;
const MAX_ATTEMPT: u64 = (1 << 30) - 1;

/// The shared bytes hold what this code never writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the items hold impossible values")]
pub struct Corrupt;

/// Where the items lie. Zeroed bytes are a table without slots.
#[derive(Clone, Copy, Debug)]
pub struct Leases {
    header: usize,
    slots: usize,
    slot_bytes: usize,
    max_slots: u64,
}

/// An item in the caller's hands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Leased {
    /// The slot that it is in.
    pub slot: u64,
    /// How often it was handed out, this time included.
    pub attempt: u32,
}

/// How many items there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    /// Items that wait.
    pub n_queued: u64,
    /// Items that somebody works on.
    pub n_leased: u64,
}

impl Counts {
    /// Items that are not done.
    #[must_use]
    pub const fn n_open(self) -> u64 {
        self.n_queued + self.n_leased
    }
}

impl Leases {
    /// A table whose header lies at `header`, and whose slots of `slot_bytes` each, at most `max_slots`, begin at `slots`; all
    /// multiples of 8.
    #[must_use]
    pub const fn at(header: usize, slots: usize, slot_bytes: usize, max_slots: u64) -> Self {
        assert!(header.is_multiple_of(8) && slots.is_multiple_of(8));
        assert!(slot_bytes.is_multiple_of(8) && slot_bytes >= CONTENT);
        Self { header, slots, slot_bytes, max_slots }
    }

    /// Where the content of the item in `slot` begins.
    #[must_use]
    pub const fn content_of(self, slot: u64) -> usize {
        self.slots + slot as usize * self.slot_bytes + CONTENT
    }

    /// How many items there were at some moment; what a process did just before its death may be missing.
    pub fn counts<M: SharedBytes>(self, memory: &M) -> Counts {
        // Acquire: pairs with the Release store in `Locked::set_header`.
        let word = memory.word64(self.header + N_OPEN).load(Ordering::Acquire);
        Counts { n_queued: word & u64::from(u32::MAX), n_leased: word >> 32 }
    }

    /// Takes the lock, and repairs the index if its last owner died with it.
    ///
    /// # Errors
    /// `TimedOut` if the lock was not free before `deadline`: its owner was stopped, or copies much.
    pub fn lock<'m, M: SharedBytes>(
        self,
        memory: &'m M,
        census: &impl Census,
        deadline: Option<Instant>,
    ) -> Result<Locked<'m, M>, TimedOut> {
        let acquired = self.word().lock(memory, census.me(), |owner| census.is_dead(owner), deadline)?;
        Ok(self.locked(memory, acquired))
    }

    /// The same, without ever waiting.
    pub fn try_lock<'m, M: SharedBytes>(self, memory: &'m M, census: &impl Census) -> Option<Locked<'m, M>> {
        let acquired = self.word().try_lock(memory, census.me(), |owner| census.is_dead(owner))?;
        Some(self.locked(memory, acquired))
    }

    fn locked<M: SharedBytes>(self, memory: &M, acquired: Acquired) -> Locked<'_, M> {
        let locked = Locked { table: self, memory, was_repaired: matches!(acquired, Acquired::FromTheDead(_)) };
        if locked.was_repaired {
            locked.rebuild();
        }
        locked
    }

    const fn word(self) -> OwnedLock {
        OwnedLock::at(self.header)
    }
}

/// The items, while nobody else changes them. Dropping it unlocks.
#[derive(Debug)]
pub struct Locked<'m, M: SharedBytes> {
    table: Leases,
    memory: &'m M,
    was_repaired: bool,
}

impl<M: SharedBytes> Drop for Locked<'_, M> {
    fn drop(&mut self) {
        self.table.word().unlock(self.memory);
    }
}

impl<M: SharedBytes> Locked<'_, M> {
    /// Whether the last owner of the lock died with it.
    #[must_use]
    pub const fn was_repaired(&self) -> bool {
        self.was_repaired
    }

    /// How many items there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.table.counts(self.memory)
    }

    /// How many slots there are.
    #[must_use]
    pub fn n_slots(&self) -> u64 {
        self.header(N_SLOTS).min(self.table.max_slots)
    }

    /// Adds free slots, up to `n_slots`. Their memory is there, and zeroed.
    pub fn grow(&self, n_slots: u64) {
        for slot in self.n_slots()..n_slots.min(self.table.max_slots) {
            // The slot before the number: a death in between leaves a number that was true before.
            self.push_free(slot);
            self.set_header(N_SLOTS, slot + 1);
        }
    }

    /// A slot for another item, whose content may now be written; `None` if there is none left. Nothing has changed yet.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn free_slot(&self) -> Result<Option<u64>, Corrupt> {
        let Some(slot) = self.listed(self.header(FREE_LIST))? else {
            return Ok(None);
        };
        if self.state(slot) & STATE_MASK == FREE { Ok(Some(slot)) } else { Err(Corrupt) }
    }

    /// Puts the item whose content was written into [`free_slot`](Self::free_slot) at the end.
    pub fn put(&self, slot: u64) {
        let seq = self.header(NEXT_SEQ);
        self.set(slot, SEQ, seq);
        let next_free = self.get(slot, NEXT);
        self.set_state(slot, QUEUED);
        // From here on it is only the index that is changed.
        self.set_header(FREE_LIST, next_free);
        self.set_header(NEXT_SEQ, seq.wrapping_add(1));
        self.append(slot);
        self.add(1, 0);
    }

    /// Hands the first item out to `me`; `None` if there is none.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn lease(&self, me: Owner) -> Result<Option<Leased>, Corrupt> {
        let Some(slot) = self.listed(self.header(FIRST))? else {
            // Items that are counted and not there would be looked for again and again.
            return if self.counts().n_queued == 0 { Ok(None) } else { Err(Corrupt) };
        };
        let state = self.state(slot);
        if state & STATE_MASK != QUEUED {
            return Err(Corrupt);
        }
        let attempt = (attempt_of(state) + 1).min(MAX_ATTEMPT);
        self.set_state(slot, leased_word(me, attempt));
        let next = self.get(slot, NEXT);
        self.set_header(FIRST, next);
        if next == 0 {
            self.set_header(LAST, 0);
        }
        self.add(-1, 1);
        Ok(Some(Leased { slot, attempt: attempt as u32 }))
    }

    /// Ends an item that `me` has. `false` if it is not the caller's any more.
    pub fn finish(&self, leased: Leased, me: Owner) -> bool {
        if !self.is_held(leased, me) {
            return false;
        }
        self.set_state(leased.slot, FREE);
        self.push_free(leased.slot);
        self.add(0, -1);
        true
    }

    /// Puts an item that `me` has back to where it was. `false` if it is not the caller's any more.
    pub fn give_back(&self, leased: Leased, me: Owner) -> bool {
        let is_held = self.is_held(leased, me);
        if is_held {
            self.requeue(leased.slot, u64::from(leased.attempt));
        }
        is_held
    }

    /// Puts back what the dead had. Says how many items that were.
    pub fn take_from_the_dead(&self, census: &impl Census) -> u64 {
        let mut n_taken = 0;
        // Asking takes a system call, and one owner often has many.
        let mut asked: Vec<(u32, bool)> = Vec::new();
        let n_leased = self.counts().n_leased;
        let mut n_seen = 0;
        for slot in 0..self.n_slots() {
            if n_seen == n_leased {
                break;
            }
            let state = self.state(slot);
            if state & STATE_MASK != LEASED {
                continue;
            }
            n_seen += 1;
            let owner = (state >> 32) as u32;
            let known = asked.iter().find(|(number, _)| *number == owner).map(|(_, is_dead)| *is_dead);
            let is_dead = known.unwrap_or_else(|| {
                // What no process can own is taken back too.
                let is_dead = Owner::from_number(owner).is_none_or(|owner| census.is_dead(owner));
                asked.push((owner, is_dead));
                is_dead
            });
            if is_dead {
                self.requeue(slot, attempt_of(state));
                n_taken += 1;
            }
        }
        n_taken
    }

    /// The slots with an item that is not done.
    pub fn open_slots(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.n_slots()).filter(|&slot| matches!(self.state(slot) & STATE_MASK, QUEUED | LEASED))
    }

    fn is_held(&self, leased: Leased, me: Owner) -> bool {
        leased.slot < self.n_slots() && self.state(leased.slot) == leased_word(me, u64::from(leased.attempt))
    }

    fn requeue(&self, slot: u64, attempt: u64) {
        self.set_state(slot, QUEUED | attempt << 2);
        self.insert(slot);
        self.add(1, -1);
    }

    /// Links a slot in front of all that were put later. Few were handed out before, so few are passed.
    fn insert(&self, slot: u64) {
        let seq = self.get(slot, SEQ);
        let (mut before, mut at) = (None, self.header(FIRST));
        // Bounded, so that a circle in damaged memory holds nobody.
        for _ in 0..self.n_slots() {
            match self.listed(at) {
                Ok(Some(other)) if self.get(other, SEQ) < seq => (before, at) = (Some(other), self.get(other, NEXT)),
                _ => break,
            }
        }
        self.set(slot, NEXT, at);
        match before {
            Some(before) => self.set(before, NEXT, slot + 1),
            None => self.set_header(FIRST, slot + 1),
        }
        if at == 0 {
            self.set_header(LAST, slot + 1);
        }
    }

    fn append(&self, slot: u64) {
        self.set(slot, NEXT, 0);
        match self.listed(self.header(LAST)) {
            Ok(Some(last)) => self.set(last, NEXT, slot + 1),
            _ => self.set_header(FIRST, slot + 1),
        }
        self.set_header(LAST, slot + 1);
    }

    fn push_free(&self, slot: u64) {
        self.set(slot, NEXT, self.header(FREE_LIST));
        self.set_header(FREE_LIST, slot + 1);
    }

    /// Builds the index from the states and the sequence numbers.
    fn rebuild(&self) {
        let mut queued = Vec::new();
        let (mut n_leased, mut next_seq) = (0, self.header(NEXT_SEQ));
        for name in [FIRST, LAST, FREE_LIST] {
            self.set_header(name, 0);
        }
        for slot in (0..self.n_slots()).rev() {
            let state = self.state(slot) & STATE_MASK;
            match state {
                QUEUED => queued.push((self.get(slot, SEQ), slot)),
                LEASED => n_leased += 1,
                _ => {
                    self.push_free(slot);
                    continue;
                }
            }
            next_seq = next_seq.max(self.get(slot, SEQ).wrapping_add(1));
        }
        queued.sort_unstable();
        queued.iter().for_each(|&(_, slot)| self.append(slot));
        self.set_header(NEXT_SEQ, next_seq);
        self.set_counts(Counts { n_queued: queued.len() as u64, n_leased });
    }

    /// The slot that a list names.
    fn listed(&self, number: u64) -> Result<Option<u64>, Corrupt> {
        match number.checked_sub(1) {
            None => Ok(None),
            Some(slot) if slot < self.n_slots() => Ok(Some(slot)),
            Some(_) => Err(Corrupt),
        }
    }

    fn state(&self, slot: u64) -> u64 {
        self.get(slot, STATE)
    }

    fn set_state(&self, slot: u64, state: u64) {
        // Release: the content is written before the state that tells of it. This is the commit of every change.
        self.memory.word64(self.offset_of(slot, STATE)).store(state, Ordering::Release);
    }

    fn get(&self, slot: u64, at: usize) -> u64 {
        self.memory.word64(self.offset_of(slot, at)).load(Ordering::Relaxed)
    }

    fn set(&self, slot: u64, at: usize, value: u64) {
        self.memory.word64(self.offset_of(slot, at)).store(value, Ordering::Relaxed);
    }

    fn header(&self, at: usize) -> u64 {
        self.memory.word64(self.table.header + at).load(Ordering::Relaxed)
    }

    fn set_header(&self, at: usize, value: u64) {
        // Release: pairs with the Acquire loads in `Leases::counts`, which are made without the lock.
        self.memory.word64(self.table.header + at).store(value, Ordering::Release);
    }

    fn add(&self, queued: i64, leased: i64) {
        let Counts { n_queued, n_leased } = self.counts();
        self.set_counts(Counts {
            n_queued: n_queued.saturating_add_signed(queued),
            n_leased: n_leased.saturating_add_signed(leased),
        });
    }

    fn set_counts(&self, counts: Counts) {
        self.set_header(N_OPEN, (counts.n_queued & u64::from(u32::MAX)) | counts.n_leased << 32);
    }

    const fn offset_of(&self, slot: u64, at: usize) -> usize {
        self.table.slots + slot as usize * self.table.slot_bytes + at
    }
}

const fn attempt_of(state: u64) -> u64 {
    (state >> 2) & MAX_ATTEMPT
}

const fn leased_word(owner: Owner, attempt: u64) -> u64 {
    LEASED | attempt << 2 | (owner.number() as u64) << 32
}

#[cfg(all(loom, test))]
mod loom_tests;
