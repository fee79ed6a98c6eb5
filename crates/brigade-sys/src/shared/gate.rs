//! A gate for readers and writers: many of the first or one of the second are inside. Who waits, and who died, is seen here;
//! what they read and write is not known.
//!
//! ```text
//! base +  0  writer lock u32    the writer, or who wants to be (lock.rs)
//! base +  4  n_rows u32         rows that were ever used
//! base +  8  gate u64           phase u32 · barred, bit 31 · writing, bit 30 · waiting readers, bits 0–29
//! base + 16  opened u32         an event for waiting readers
//! base + 20  left u32           an event for the waiting writer
//! base + 64  rows × (owner u32 above readers u32)     one for each place of the census
//! ```
//!
//! | gate             | meaning                                     | left by                                                |
//! |------------------|---------------------------------------------|--------------------------------------------------------|
//! | open             | readers go in                               | who has the writer lock: barred, in the next phase     |
//! | barred           | readers wait, those inside leave            | its writer: writing, or open if it gives up            |
//! | barred, writing  | the writer is inside                        | its writer: open; after its death: the next, unchanged |
//!
//! A reader counts itself in its own row and then looks at the gate; a writer bars the gate and then looks at the rows. A full
//! fence stands between the two steps on both sides, so one of them sees the other. A row of a dead process counts for nothing, and is
//! overwritten by the next process in that place; so a dead reader needs no repair. A dead writer leaves the writer lock in
//! its name: whoever takes that from it finds in the gate how far it had come. If it was writing, the next one inside is told.
//!
//! **Nobody starves.** New readers wait as soon as a writer has barred the gate. When it leaves, the next writer lets in first
//! those readers who waited in this phase; it does so for at most 10 ms, since one of them may be dead or stopped. Whoever
//! was not quick enough is counted again in the next phase. Among writers there is no order.

use std::time::{Duration, Instant};

use super::atomics::{AtomicU64, Ordering, fence};
use super::bytes::SharedBytes;
use super::census::{Census, nap_before, owned_number, to_owned_number};
use super::event::{Event, Wake};
use super::lock::{Acquired, OwnedLock, TimedOut};

const N_ROWS: usize = 4;
const GATE: usize = 8;
const OPENED: usize = 16;
const LEFT: usize = 20;
const ROWS: usize = 64;
const ROW_BYTES: usize = 8;

const BARRED: u64 = 1 << 31;
const WRITING: u64 = 1 << 30;
const WAITING: u64 = WRITING - 1;
const ONE_PHASE: u64 = 1 << 32;
/// How long a writer lets those in who waited for the last one.
const COURTESY: Duration = if cfg!(loom) { Duration::ZERO } else { Duration::from_millis(10) };

const fn phase(gate: u64) -> u64 {
    gate & !(ONE_PHASE - 1)
}

/// A gate at an offset in shared bytes. Zeroed bytes are an open gate with nobody inside.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    base: usize,
    n_rows: usize,
}

impl Gate {
    /// The gate at `base`, a multiple of 64, for processes whose places are below `n_rows`.
    #[must_use]
    pub const fn new(base: usize, n_rows: usize) -> Self {
        Self { base, n_rows }
    }

    /// Bytes that it takes.
    #[must_use]
    pub const fn total_bytes(self) -> usize {
        ROWS + self.n_rows * ROW_BYTES
    }

    /// Goes in as a reader, waiting until `deadline`. `FromTheDead`: a writer died inside, and nobody was told of it yet.
    ///
    /// # Errors
    /// `TimedOut` if the deadline came first.
    pub fn read<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        deadline: Option<Instant>,
    ) -> Result<Acquired, TimedOut> {
        if self.go_in(memory, census) {
            return Ok(Acquired::Free);
        }
        let mut counted_in = None;
        let outcome = loop {
            let ticket = self.opened().announce(memory);
            counted_in = self.count_as_waiting(memory, counted_in);
            if let Some(acquired) = self.try_read(memory, census) {
                break Ok(acquired);
            }
            let Some(nap) = nap_before(deadline) else {
                break Err(TimedOut);
            };
            self.opened().sleep(memory, ticket, Some(nap));
        };
        self.count_as_waiting_no_more(memory, counted_in);
        outcome
    }

    /// Goes in as a reader if that is possible now. Never waits.
    pub fn try_read<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Option<Acquired> {
        if self.go_in(memory, census) {
            return Some(Acquired::Free);
        }
        // The writer lock can be had only between two writers, or from a dead one. Who has it can open the gate.
        let acquired = self.writer_lock().try_lock(memory, census.me(), |owner| census.is_dead(owner))?;
        let acquired = self.after_a_death(memory, acquired);
        self.enter_row(memory, census);
        self.open(memory);
        Some(acquired)
    }

    /// Leaves as a reader.
    pub fn leave<M: SharedBytes>(self, memory: &M, census: &impl Census) {
        // Release: pairs with the Acquire loads in `n_readers`; what was read was read before.
        self.row(memory, census).fetch_sub(1, Ordering::Release);
        self.left().notify(memory, Wake::All);
    }

    /// Goes in as the writer, waiting until `deadline`. `FromTheDead`: a writer died inside, and nobody was told of it yet.
    ///
    /// # Errors
    /// `TimedOut` if the deadline came first.
    pub fn write<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        deadline: Option<Instant>,
    ) -> Result<Acquired, TimedOut> {
        let acquired = self.writer_lock().lock(memory, census.me(), |owner| census.is_dead(owner), deadline)?;
        if self.is_writing(memory) {
            return Ok(acquired);
        }
        self.let_waiting_readers_in(memory, deadline);
        self.bar(memory);
        self.wait_for_readers(memory, census, deadline)?;
        Ok(Acquired::Free)
    }

    /// Goes in as the writer if that is possible now. Never waits.
    pub fn try_write<M: SharedBytes>(self, memory: &M, census: &impl Census) -> Option<Acquired> {
        let acquired = self.writer_lock().try_lock(memory, census.me(), |owner| census.is_dead(owner))?;
        if self.is_writing(memory) {
            return Some(acquired);
        }
        self.bar(memory);
        self.wait_for_readers(memory, census, Some(Instant::now())).ok()?;
        Some(Acquired::Free)
    }

    /// Opens the gate and gives the writer lock up: leaves as the writer.
    pub fn open<M: SharedBytes>(self, memory: &M) {
        // Release: pairs with the Acquire load in `gate`; who comes in sees what was written.
        memory.word64(self.base + GATE).fetch_and(!(BARRED | WRITING), Ordering::AcqRel);
        self.opened().notify(memory, Wake::All);
        // Last: a free writer lock means that the gate is open, or about to be barred by its next owner.
        self.writer_lock().unlock(memory);
    }

    /// Whether a writer who lives is inside.
    #[must_use]
    pub fn has_writer<M: SharedBytes>(self, memory: &M, census: &impl Census) -> bool {
        let writer = self.writer_lock().owner(memory);
        self.is_writing(memory) && writer.is_some_and(|writer| !census.is_dead(writer))
    }

    /// How many readers who live are inside, or just trying to be.
    #[must_use]
    pub fn n_readers<M: SharedBytes>(self, memory: &M, census: &impl Census) -> u64 {
        // Acquire, here and below: pairs with the Release in `leave`. The number of rows grows before a new row counts.
        let n_rows = memory.word32(self.base + N_ROWS).load(Ordering::Acquire) as usize;
        let living_in = |place: usize| {
            let word = memory.word64(self.base + ROWS + place * ROW_BYTES).load(Ordering::Acquire);
            match owned_number(word) {
                (Some(owner), n_readers) if n_readers > 0 && (owner == census.me() || !census.is_dead(owner)) => {
                    u64::from(n_readers)
                }
                _ => 0,
            }
        };
        (0..n_rows.min(self.n_rows)).map(living_in).sum()
    }

    /// Counts a reader in, and out again if the gate turns out to be barred.
    fn go_in<M: SharedBytes>(self, memory: &M, census: &impl Census) -> bool {
        self.enter_row(memory, census);
        // The count must be visible before the gate is read: pairs with the fence in `bar`.
        fence(Ordering::SeqCst);
        let is_open = self.gate(memory) & BARRED == 0;
        if !is_open {
            self.leave(memory, census);
        }
        is_open
    }

    fn enter_row<M: SharedBytes>(self, memory: &M, census: &impl Census) {
        let row = self.row(memory, census);
        loop {
            let seen = row.load(Ordering::Relaxed);
            if owned_number(seen).0 == Some(census.me()) {
                // From now on only this process changes the row.
                row.fetch_add(1, Ordering::Relaxed);
                return;
            }
            // A dead process was in this place before, or nobody.
            memory.word32(self.base + N_ROWS).fetch_max(census.place() as u32 + 1, Ordering::Relaxed);
            let first = to_owned_number(census.me(), 1);
            if row.compare_exchange(seen, first, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Counts a reader among those who wait in this phase, unless it is already, or need not wait.
    fn count_as_waiting<M: SharedBytes>(self, memory: &M, counted_in: Option<u64>) -> Option<u64> {
        let one_more = |gate: u64| {
            let is_new = gate & BARRED != 0 && counted_in != Some(phase(gate)) && gate & WAITING < WAITING;
            is_new.then_some(gate + 1)
        };
        let updated = memory.word64(self.base + GATE).fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        updated.map_or(counted_in, |gate| Some(phase(gate)))
    }

    fn count_as_waiting_no_more<M: SharedBytes>(self, memory: &M, counted_in: Option<u64>) {
        let one_less =
            |gate: u64| (counted_in == Some(phase(gate)) && gate & WAITING > 0).then(|| gate.wrapping_sub(1));
        if memory.word64(self.base + GATE).fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok() {
            self.left().notify(memory, Wake::All);
        }
    }

    fn let_waiting_readers_in<M: SharedBytes>(self, memory: &M, deadline: Option<Instant>) {
        if self.gate(memory) & WAITING == 0 {
            return;
        }
        let courtesy = Instant::now() + COURTESY;
        let until = deadline.map_or(courtesy, |deadline| deadline.min(courtesy));
        loop {
            let ticket = self.left().announce(memory);
            let gate = self.gate(memory);
            // Barred: by a writer that died on its way in.
            if gate & WAITING == 0 || gate & BARRED != 0 {
                return;
            }
            let Some(nap) = nap_before(Some(until)) else {
                return;
            };
            self.left().sleep(memory, ticket, Some(nap));
        }
    }

    fn bar<M: SharedBytes>(self, memory: &M) {
        let next = |gate: u64| Some(phase(gate).wrapping_add(ONE_PHASE) | BARRED);
        let barred = memory.word64(self.base + GATE).fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        debug_assert!(barred.is_ok(), "every gate can be barred");
        // The bar must be visible before the rows are read: pairs with the fence in `go_in`.
        fence(Ordering::SeqCst);
    }

    /// Waits until no reader is inside, and becomes the writer; or opens the gate again.
    fn wait_for_readers<M: SharedBytes>(
        self,
        memory: &M,
        census: &impl Census,
        deadline: Option<Instant>,
    ) -> Result<(), TimedOut> {
        loop {
            let ticket = self.left().announce(memory);
            if self.n_readers(memory, census) == 0 {
                memory.word64(self.base + GATE).fetch_or(WRITING, Ordering::AcqRel);
                return Ok(());
            }
            let Some(nap) = nap_before(deadline) else {
                self.open(memory);
                return Err(TimedOut);
            };
            self.left().sleep(memory, ticket, Some(nap));
        }
    }

    /// How the writer lock came to the caller, as seen by those who want to go in: a death before going in is of no interest.
    fn after_a_death<M: SharedBytes>(self, memory: &M, acquired: Acquired) -> Acquired {
        if self.is_writing(memory) { acquired } else { Acquired::Free }
    }

    fn is_writing<M: SharedBytes>(self, memory: &M) -> bool {
        self.gate(memory) & WRITING != 0
    }

    fn gate<M: SharedBytes>(self, memory: &M) -> u64 {
        memory.word64(self.base + GATE).load(Ordering::Acquire)
    }

    fn row<'m, M: SharedBytes>(self, memory: &'m M, census: &impl Census) -> &'m AtomicU64 {
        memory.word64(self.base + ROWS + census.place() * ROW_BYTES)
    }

    const fn writer_lock(self) -> OwnedLock {
        OwnedLock::at(self.base)
    }

    const fn opened(self) -> Event {
        Event::at(self.base + OPENED)
    }

    const fn left(self) -> Event {
        Event::at(self.base + LEFT)
    }
}
