//! A byte ring with one producer and one consumer, in shared bytes. Sleeping and waking are not done here: see event.rs.
//!
//! ```text
//! base +   0  tail   u64   bytes ever written; only the producer stores it: the commit
//! base +  64  head   u64   bytes ever freed; only the consumer stores it
//! base + 128  data   capacity bytes, a power of two
//!
//! record:  len u32 · kind u32 · claim u32 (atomic) · 0 u32 · payload, padded to 16
//! ```
//!
//! Records start at multiples of 16, so a header never wraps; a payload may, and is copied in two parts. A record exists
//! from the store of `tail` on and until the store of `head`: a producer or consumer killed at any instruction leaves the
//! old or the new value of one word, and nothing to repair.
//!
//! The claim word decides who has an unstarted record:
//!
//! | value     | meaning                                | left by                                         |
//! |-----------|----------------------------------------|-------------------------------------------------|
//! | `QUEUED`  | nobody has started it                  | consumer: `CLAIMED`; producer: `REVOKED`        |
//! | `CLAIMED` | the consumer has started it            | nobody, until the record is freed               |
//! | `REVOKED` | the producer took it back              | nobody, until the record is freed               |
//!
//! Everything read from the ring is checked once on the way in, like input from a network: the other side may be broken.

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::circle::Circle;

/// Bytes in front of each payload, and the unit in which records are padded.
pub const HEADER_BYTES: usize = 16;
const TAIL: usize = 0;
const HEAD: usize = 64;
const DATA: usize = 128;

const QUEUED: u32 = 0;
const CLAIMED: u32 = 1;
const REVOKED: u32 = 2;

/// The other side wrote something that the ring's own code never writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the ring holds impossible values")]
pub struct Corrupt;

/// Why a record was not taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PushError {
    /// There is no room now.
    #[error("the ring is full")]
    Full,
    /// The other side is broken.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// Where a ring lies and how large it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    base: usize,
    capacity: usize,
}

impl Layout {
    /// A ring at `base`, a multiple of 64, with `capacity` bytes of data, a power of two of at least 32.
    #[must_use]
    pub const fn new(base: usize, capacity: usize) -> Self {
        assert!(base.is_multiple_of(64) && capacity.is_power_of_two() && capacity >= 2 * HEADER_BYTES);
        Self { base, capacity }
    }

    /// Bytes taken up, from `base` on.
    #[must_use]
    pub const fn total_bytes(self) -> usize {
        DATA + self.capacity
    }

    /// The largest payload that a ring of this size ever takes.
    #[must_use]
    pub const fn max_payload(self) -> usize {
        self.capacity - HEADER_BYTES
    }

    const fn circle(self) -> Circle {
        Circle::new(self.base + DATA, self.capacity)
    }
}

const fn record_bytes(payload_bytes: usize) -> u64 {
    (HEADER_BYTES + payload_bytes.next_multiple_of(HEADER_BYTES)) as u64
}

/// The writing end.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    layout: Layout,
    tail: u64,
    head_seen: u64,
}

impl<M: SharedBytes> Producer<M> {
    /// The producer of a ring in zeroed bytes.
    pub const fn new(memory: M, layout: Layout) -> Self {
        Self { memory, layout, tail: 0, head_seen: 0 }
    }

    /// Appends a record whose payload is the concatenation of `parts`, and returns its position. Never waits.
    ///
    /// # Errors
    /// `Full` if there is no room for it now; it may never have been if it is larger than [`Layout::max_payload`].
    pub fn push(&mut self, kind: u32, parts: &[&[u8]]) -> Result<u64, PushError> {
        let payload_bytes: usize = parts.iter().map(|part| part.len()).sum();
        if payload_bytes > self.layout.max_payload() {
            return Err(PushError::Full);
        }
        let needed = record_bytes(payload_bytes);
        if self.free_bytes() < needed {
            self.refresh_head()?;
            if self.free_bytes() < needed {
                return Err(PushError::Full);
            }
        }
        let position = self.tail;
        let mut header = [0; HEADER_BYTES];
        header[0..4].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        self.layout.circle().write(&self.memory, position, &header);
        self.claim_word(position).store(QUEUED, Ordering::Relaxed);
        let mut at = position + HEADER_BYTES as u64;
        for part in parts {
            self.layout.circle().write(&self.memory, at, part);
            at += part.len() as u64;
        }
        self.tail = position + needed;
        // Release: pairs with the Acquire load in `Consumer::peek`. This is the commit.
        self.memory.word64(self.layout.base + TAIL).store(self.tail, Ordering::Release);
        Ok(position)
    }

    /// Whether a record with a payload of this size would find room now.
    pub fn has_room(&mut self, payload_bytes: usize) -> bool {
        let needed = record_bytes(payload_bytes);
        self.free_bytes() >= needed || self.refresh_head().is_ok() && self.free_bytes() >= needed
    }

    /// Takes a record back that the consumer has not started. `true` if it is now ours again.
    ///
    /// # Errors
    /// `Corrupt` if the other side is broken.
    pub fn revoke(&mut self, position: u64) -> Result<bool, Corrupt> {
        self.refresh_head()?;
        if position < self.head_seen {
            return Ok(false);
        }
        let word = self.claim_word(position);
        Ok(word.compare_exchange(QUEUED, REVOKED, Ordering::AcqRel, Ordering::Acquire).is_ok())
    }

    /// Whether the consumer has started the record at `position`. Records already freed count as started.
    ///
    /// # Errors
    /// `Corrupt` if the other side is broken.
    pub fn is_claimed(&mut self, position: u64) -> Result<bool, Corrupt> {
        self.refresh_head()?;
        // Acquire: pairs with the CAS in `Consumer::claim`.
        Ok(position < self.head_seen || self.claim_word(position).load(Ordering::Acquire) == CLAIMED)
    }

    fn free_bytes(&self) -> u64 {
        self.layout.capacity as u64 - (self.tail - self.head_seen)
    }

    fn refresh_head(&mut self) -> Result<(), Corrupt> {
        // Acquire: pairs with the Release store in `Consumer::pop`; the freed bytes are no longer read.
        let head = self.memory.word64(self.layout.base + HEAD).load(Ordering::Acquire);
        if head < self.head_seen || head > self.tail {
            return Err(Corrupt);
        }
        self.head_seen = head;
        Ok(())
    }

    fn claim_word(&self, position: u64) -> &super::atomics::AtomicU32 {
        self.memory.word32(self.layout.circle().offset_of(position) + 8)
    }
}

/// A committed record that was not freed yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// Where it starts, as the producer knows it.
    pub position: u64,
    /// What the producer said it is.
    pub kind: u32,
    /// The size of its payload, checked to lie within what was committed.
    pub payload_bytes: usize,
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    layout: Layout,
    head: u64,
    tail_seen: u64,
}

impl<M: SharedBytes> Consumer<M> {
    /// The consumer of a ring that nobody has read from yet.
    pub const fn new(memory: M, layout: Layout) -> Self {
        Self { memory, layout, head: 0, tail_seen: 0 }
    }

    /// The oldest record, if there is one. Never waits.
    ///
    /// # Errors
    /// `Corrupt` if the other side is broken.
    pub fn peek(&mut self) -> Result<Option<Record>, Corrupt> {
        if self.head == self.tail_seen {
            // Acquire: pairs with the Release store in `Producer::push`; the record is whole once the tail covers it.
            let tail = self.memory.word64(self.layout.base + TAIL).load(Ordering::Acquire);
            if tail < self.head
                || tail - self.head > self.layout.capacity as u64
                || !tail.is_multiple_of(HEADER_BYTES as u64)
            {
                return Err(Corrupt);
            }
            self.tail_seen = tail;
            if tail == self.head {
                return Ok(None);
            }
        }
        let mut header = [0; HEADER_BYTES];
        self.layout.circle().read(&self.memory, self.head, &mut header);
        let payload_bytes = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if payload_bytes > self.layout.max_payload() || record_bytes(payload_bytes) > self.tail_seen - self.head {
            return Err(Corrupt);
        }
        Ok(Some(Record { position: self.head, kind, payload_bytes }))
    }

    /// Starts the record that `peek` returned. `false` if the producer has taken it back: free it and go on.
    #[must_use]
    pub fn claim(&self, record: Record) -> bool {
        let word = self.memory.word32(self.layout.circle().offset_of(record.position) + 8);
        word.compare_exchange(QUEUED, CLAIMED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Replaces the contents of `into` by the payload of the record that `peek` returned.
    pub fn read(&self, record: Record, into: &mut Vec<u8>) {
        into.clear();
        into.resize(record.payload_bytes, 0);
        self.layout.circle().read(&self.memory, record.position + HEADER_BYTES as u64, into);
    }

    /// Frees the record that `peek` returned. This is the commit of the reading side.
    pub fn pop(&mut self, record: Record) {
        self.head = record.position + record_bytes(record.payload_bytes);
        // Release: pairs with the Acquire load in `Producer::refresh_head`; our reads of these bytes are over.
        self.memory.word64(self.layout.base + HEAD).store(self.head, Ordering::Release);
    }
}
