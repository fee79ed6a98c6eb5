//! The memory that a tree of processes shares: one sparse, sealed memfd, and the table of who is alive.
//! What lies in a window is known elsewhere (object.rs, channel.rs, memory/); nothing here knows of values.
//!
//! The memfd is far larger than any machine's memory, and almost all of it is a hole. It is cut into windows of 1 TiB of
//! *file offsets*; each shared object has one, so that it can grow without ever moving, a handle to it is a number, and a
//! thousand objects cost no descriptor. Window 0 is the directory:
//!
//! ```text
//!      0  magic u64
//!     64  lock u32           serializes the slow paths: joining, leaving, making and freeing windows
//!    128  n_participants u64 · 136 n_windows u64     one past the highest ever used
//!    192  n_tickets u64      numbers given to descriptors in messages so far (see keeper.rs)
//!   4 Ki  participants u64 × 4 096    state · generation · parent
//!  64 Ki  windows u64 × 65 536        kind, and whether it carries handles · generation
//!   1 Mi  epochs u32 × 65 536         for each window; grows before any count of its handles grows (see handles.rs)
//! 1.5 Mi  doorbells: for each participant an event on a cache line of its own (see select.rs)
//!   2 Mi  rows: for each participant 65 536 × (u24 putting handles, u24 getting handles, u16 pins)
//! ```
//!
//! | participant | meaning                              | left by                                        |
//! |-------------|--------------------------------------|------------------------------------------------|
//! | `FREE`      | nobody                               | a parent about to spawn: `RESERVED`            |
//! | `RESERVED`  | a child that has not started yet     | that child: `ALIVE`; a reaper: `FREE`          |
//! | `ALIVE`     | a process that holds its token       | a reaper, once the token is gone: `FREE`       |
//!
//! A row is changed by its participant only, until that is dead. A process killed at any instruction leaves its row as it
//! was; whoever needs to know counts only rows of the living, and the reaper clears the others. Life is told by a record
//! lock that the kernel drops at death.

mod deaths;
mod handles;
mod ids;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use brigade_sys::kernel::memory::{self, Mapping};
use brigade_sys::kernel::{fork, liveness};
use brigade_sys::shared::bytes::SharedBytes;
use brigade_sys::shared::event::{Event, Wake};
use brigade_sys::shared::lock::{OwnedLock, Owner};

pub(crate) use self::deaths::BARRIER_DEATHS;
pub(crate) use self::handles::{Holders, LastSeen};
pub(crate) use self::ids::{Ends, Participant, WindowId, WindowKind};
use crate::error::MemoryError;
use crate::procfs;

const ARENA_BYTES: u64 = 1 << 62;
/// File offsets that one object may use.
pub(crate) const WINDOW_BYTES: u64 = 1 << 40;
const MAGIC: u64 = u64::from_le_bytes(*b"brigade1");
const LOCK: OwnedLock = OwnedLock::at(64);
const N_PARTICIPANTS: usize = 128;
const N_WINDOWS: usize = 136;
const N_TICKETS: usize = 192;
const PARTICIPANTS: usize = 4 << 10;
/// Processes of one session that may be alive at a time.
pub(crate) const MAX_PARTICIPANTS: usize = 4096;
const WINDOWS: usize = 64 << 10;
const KIND_MASK: u64 = 0x7f;
/// In a window's word, beside its kind: a handle was put into this queue once.
const CARRIES_HANDLES: u64 = 0x80;
const MAX_WINDOWS: usize = 1 << 16;
const EPOCHS: usize = 1 << 20;
const DOORBELLS: usize = EPOCHS + (512 << 10);
const DOORBELL_BYTES: usize = 64;
const ROWS: usize = 2 << 20;
const ROW_BYTES: usize = MAX_WINDOWS * 8;
const DIRECTORY_BYTES: usize = ROWS + MAX_PARTICIPANTS * ROW_BYTES;
const PAGE_BYTES: usize = 4096;
const _: () = assert!(PARTICIPANTS + MAX_PARTICIPANTS * 8 <= WINDOWS && WINDOWS + MAX_WINDOWS * 8 <= EPOCHS);
const _: () = assert!(EPOCHS + MAX_WINDOWS * 4 <= DOORBELLS && DOORBELLS + MAX_PARTICIPANTS * DOORBELL_BYTES <= ROWS);

/// The lowest two bits of a participant's word; who leaves which stands at the top of this file.
mod state {
    pub(super) const FREE: u64 = 0;
    pub(super) const RESERVED: u64 = 1;
    pub(super) const ALIVE: u64 = 2;
    pub(super) const MASK: u64 = 3;
}

const GENERATION_MASK: u64 = (1 << 17) - 1;

fn participant_word(state: u64, generation: u64, parent: Participant) -> u64 {
    state | (generation & GENERATION_MASK) << 8 | (parent.slot as u64) << 32
}

/// Which use of its slot a participant's word is about.
const fn generation_of(word: u64) -> u64 {
    (word >> 8) & GENERATION_MASK
}

/// The slot of the process that started a participant.
const fn parent_of(word: u64) -> u16 {
    (word >> 32) as u16
}

const fn doorbell_offset(slot: u16) -> usize {
    DOORBELLS + slot as usize * DOORBELL_BYTES
}

/// The session that this process belongs to.
#[derive(Debug)]
pub(crate) struct Session {
    arena: OwnedFd,
    /// Never closed: closing it would drop this process's token (see `liveness`).
    tokens: OwnedFd,
    directory: Mapping,
    me: Participant,
    /// Pages of our row that were allocated, one bit each.
    row_pages: [AtomicU64; ROW_BYTES / PAGE_BYTES / 64],
}

static SESSION: OnceLock<Session> = OnceLock::new();
static ORIGIN: Mutex<Origin> = Mutex::new(Origin::Own);

/// Where the session of this process comes from, before anybody has asked for it.
#[derive(Debug)]
enum Origin {
    /// Nobody has one: this process makes it.
    Own,
    /// The parent has passed it. It is joined when something here needs it; many processes never do.
    Parent { arena: OwnedFd, tokens: OwnedFd, me: Participant, pid: u32 },
    /// It could not be joined, and another would not be the one that handles from the parent mean.
    Lost(MemoryError),
}

/// The session of this process, if it has asked for one already.
pub(crate) fn existing() -> Option<&'static Session> {
    SESSION.get()
}

/// The session of this process, made or joined at the first call.
///
/// In a process made by `fork()` there is none: what it has a copy of belongs to its parent.
pub(crate) fn session() -> Result<&'static Session, MemoryError> {
    refuse_forked()?;
    SESSION.get().map_or_else(make, Ok)
}

/// Fails in a process made by `fork()` from one that uses brigade. Costs two loads.
pub(crate) fn refuse_forked() -> Result<(), MemoryError> {
    if fork::is_forked() { Err(forked()) } else { Ok(()) }
}

#[cold]
fn forked() -> MemoryError {
    let error = std::io::Error::other("this process was made by fork()");
    MemoryError::new("use what belongs to another process", &error)
}

#[cold]
fn make() -> Result<&'static Session, MemoryError> {
    let mut origin = ORIGIN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(session) = SESSION.get() {
        return Ok(session);
    }
    fork::remember_this_process().map_err(|error| MemoryError::new("remember this process", &error))?;
    let session = match std::mem::replace(&mut *origin, Origin::Own) {
        // A failure is not kept: what was missing may be there the next time.
        Origin::Own => Session::create()?,
        Origin::Parent { arena, tokens, me, pid } => {
            let joined = if pid == std::process::id() { Session::join(arena, tokens, me) } else { Err(forked()) };
            joined.inspect_err(|error| *origin = Origin::Lost(error.clone()))?
        }
        Origin::Lost(error) => {
            *origin = Origin::Lost(error.clone());
            return Err(error);
        }
    };
    Ok(SESSION.get_or_init(|| session))
}

/// Notes the session that the parent has passed. Called once, before anything else asks for it.
pub(crate) fn set_passed(arena: OwnedFd, tokens: OwnedFd, me: Participant) {
    let passed = Origin::Parent { arena, tokens, me, pid: std::process::id() };
    *ORIGIN.lock().unwrap_or_else(PoisonError::into_inner) = passed;
}

impl Session {
    fn create() -> Result<Self, MemoryError> {
        let failed = |error| MemoryError::new("create the shared memory of the session", &error);
        let arena = memory::create_sparse(c"brigade", ARENA_BYTES).map_err(failed)?;
        memory::allocate(&arena, 0, WINDOWS as u64).map_err(failed)?;
        let tokens = memory::create_sparse(c"brigade-alive", MAX_PARTICIPANTS as u64).map_err(failed)?;
        let me = Participant { slot: 0, generation: 0 };
        let session = Self::over(arena, tokens, me)?;
        session.word(PARTICIPANTS).store(participant_word(state::ALIVE, 0, me), Ordering::Relaxed);
        session.word(N_PARTICIPANTS).store(1, Ordering::Relaxed);
        session.word(N_WINDOWS).store(1, Ordering::Relaxed);
        session.word(0).store(MAGIC, Ordering::Release);
        Ok(session)
    }

    fn join(arena: OwnedFd, tokens: OwnedFd, me: Participant) -> Result<Self, MemoryError> {
        let session = Self::over(arena, tokens, me)?;
        if session.word(0).load(Ordering::Acquire) != MAGIC {
            let error = std::io::Error::from(std::io::ErrorKind::InvalidData);
            return Err(MemoryError::new("join the session", &error));
        }
        let word = session.participant(me.slot);
        let reserved = word.load(Ordering::Acquire);
        let is_ours = reserved & state::MASK == state::RESERVED && generation_of(reserved) == u64::from(me.generation);
        let alive = reserved & !state::MASK | state::ALIVE;
        if !is_ours || word.compare_exchange(reserved, alive, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // Whoever reserved it has died, and the place was given to somebody else.
            return Err(MemoryError::new("join the session", &std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        Ok(session)
    }

    fn over(arena: OwnedFd, tokens: OwnedFd, me: Participant) -> Result<Self, MemoryError> {
        liveness::hold(tokens.as_fd(), u32::from(me.slot))
            .map_err(|error| MemoryError::new("hold the token of this process", &error))?;
        let directory = Mapping::new(arena.as_fd(), 0, DIRECTORY_BYTES)
            .map_err(|error| MemoryError::new("map the directory of the session", &error))?;
        let session = Self { arena, tokens, directory, me, row_pages: [const { AtomicU64::new(0) }; 2] };
        session
            .allocate_page_of(doorbell_offset(me.slot))
            .map_err(|error| MemoryError::new("allocate the doorbell of this process", &error))?;
        Ok(session)
    }

    /// The memory in which all windows lie.
    pub(crate) fn arena(&self) -> BorrowedFd<'_> {
        self.arena.as_fd()
    }

    /// The memory whose bytes are the tokens of the living.
    pub(crate) fn tokens(&self) -> BorrowedFd<'_> {
        self.tokens.as_fd()
    }

    /// This process, as lock words name it.
    pub(crate) fn owner(&self) -> Owner {
        self.me.owner()
    }

    /// Whether the owner of a lock is dead.
    pub(crate) fn is_dead(&self, owner: Owner) -> bool {
        let participant = Participant::from_owner(owner);
        if usize::from(participant.slot) >= MAX_PARTICIPANTS {
            return true;
        }
        let word = self.participant(participant.slot).load(Ordering::Acquire);
        generation_of(word) != u64::from(participant.generation) || !self.is_slot_alive(participant.slot, word)
    }

    /// A number that no descriptors in a message had before. Never 0.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.word(N_TICKETS).fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether descriptors were ever put into a message.
    pub(crate) fn has_tickets(&self) -> bool {
        self.word(N_TICKETS).load(Ordering::Relaxed) != 0
    }

    /// The place of this process among the participants.
    pub(crate) fn own_slot(&self) -> usize {
        usize::from(self.me.slot)
    }

    /// The doorbell on which threads of this process wait for several things at once, and the memory it lies in.
    pub(crate) fn own_doorbell(&self) -> (Event, &Mapping) {
        (Event::at(doorbell_offset(self.me.slot)), &self.directory)
    }

    /// Wakes whoever waits on the doorbell of a participant.
    pub(crate) fn ring(&self, slot: usize) {
        if slot < MAX_PARTICIPANTS {
            Event::at(doorbell_offset(slot as u16)).notify(&self.directory, Wake::All);
        }
    }

    /// Whether the owner of a lock was stopped, by a signal or a debugger: it will not go on by itself.
    pub(crate) fn is_stopped(&self, owner: Owner) -> bool {
        let slot = Participant::from_owner(owner).slot;
        let Ok(Some(pid)) = liveness::holder(self.tokens.as_fd(), u32::from(slot)) else {
            return false;
        };
        // Without /proc nobody can tell; who asks is not willing to wait.
        procfs::look(pid as u32).is_none_or(|look| matches!(look.letter, b'T' | b't'))
    }

    fn is_slot_alive(&self, slot: u16, word: u64) -> bool {
        if slot == self.me.slot {
            return true;
        }
        match word & state::MASK {
            state::FREE => false,
            // Not started yet: as alive as its parent, who either starts it or reaps it.
            state::RESERVED => self.has_token(parent_of(word)),
            _ => self.has_token(slot),
        }
    }

    fn has_token(&self, slot: u16) -> bool {
        // An error here would be EBADF, a bug of ours; "alive" is the answer that destroys nothing.
        slot == self.me.slot || liveness::is_held(self.tokens.as_fd(), u32::from(slot)).unwrap_or(true)
    }

    /// One past the highest slot that was ever used.
    fn n_slots_used(&self) -> u16 {
        self.word(N_PARTICIPANTS).load(Ordering::Acquire).min(MAX_PARTICIPANTS as u64) as u16
    }

    /// One past the highest window that was ever used.
    fn n_windows_used(&self) -> u32 {
        self.word(N_WINDOWS).load(Ordering::Acquire).min(MAX_WINDOWS as u64) as u32
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        self.directory.word64(offset)
    }

    fn allocate_page_of(&self, offset: usize) -> std::io::Result<()> {
        memory::allocate(&self.arena, (offset & !(PAGE_BYTES - 1)) as u64, PAGE_BYTES as u64)
    }

    fn participant(&self, slot: u16) -> &AtomicU64 {
        self.word(PARTICIPANTS + usize::from(slot) * 8)
    }

    fn window(&self, index: u32) -> &AtomicU64 {
        self.word(WINDOWS + index as usize * 8)
    }

    fn row_word(&self, slot: u16, window: WindowId) -> &AtomicU64 {
        self.word(ROWS + usize::from(slot) * ROW_BYTES + window.index as usize * 8)
    }

    /// Runs `work` while no other process changes the directory. A process that died in here leaves nothing to repair:
    /// every change below is one store, and the next holder does again what was not finished.
    fn exclusively<T>(&self, work: impl FnOnce() -> T) -> T {
        let taken = LOCK.lock(&self.directory, self.owner(), |owner| self.is_dead(owner), None);
        assert!(taken.is_ok(), "without a deadline a lock is always taken");
        let result = work();
        LOCK.unlock(&self.directory);
        result
    }

    /// Reserves a slot for a child that is about to be started.
    pub(crate) fn reserve(&self) -> Result<Participant, MemoryError> {
        self.exclusively(|| {
            let Some(slot) = self.find_place(self.n_slots_used()) else {
                let error = std::io::Error::other("4096 processes of one session are alive");
                return Err(MemoryError::new("find a place for another process", &error));
            };
            let word = self.participant(slot);
            let generation = (generation_of(word.load(Ordering::Relaxed)) + 1) & GENERATION_MASK;
            word.store(participant_word(state::RESERVED, generation, self.me), Ordering::Release);
            self.word(N_PARTICIPANTS).fetch_max(u64::from(slot) + 1, Ordering::Release);
            Ok(Participant { slot, generation: generation as u32 })
        })
    }

    /// A place for another process. To ask for the life of each process takes a system call, so free places come first; one
    /// whose generations are used up comes last, so that no lock word can name two processes.
    fn find_place(&self, n_used: u16) -> Option<u16> {
        let word = |slot: u16| self.participant(slot).load(Ordering::Relaxed);
        let is_free = |slot: &u16| word(*slot) & state::MASK == state::FREE;
        let is_fresh = |slot: &u16| generation_of(word(*slot)) != GENERATION_MASK;
        (1..n_used)
            .find(|slot| is_free(slot) && is_fresh(slot))
            .or_else(|| (usize::from(n_used) < MAX_PARTICIPANTS).then_some(n_used))
            .or_else(|| (1..n_used).find(|&slot| self.make_free(slot)))
    }

    /// Whether a slot is free, after clearing it if its process is dead.
    fn make_free(&self, slot: u16) -> bool {
        let word = self.participant(slot).load(Ordering::Acquire);
        if word & state::MASK == state::FREE {
            return true;
        }
        !self.is_slot_alive(slot, word) && self.clear(slot, word)
    }

    /// Forgets a dead process: first its row, then its word, so that dying in between is harmless. Whether it was done.
    fn clear(&self, slot: u16, word: u64) -> bool {
        let free = word & !state::MASK;
        if word & state::MASK == state::RESERVED {
            // It never joined, so it never counted a handle; should it join at this moment, it stays.
            return self.participant(slot).compare_exchange(word, free, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        }
        self.tell_barriers_of(slot);
        let row = (ROWS + usize::from(slot) * ROW_BYTES) as u64;
        // Punching a hole into our own allocated memory has no reason to fail; should it, the row still belongs to a
        // dead process and the slot is simply not used again.
        let is_empty = memory::give_back(&self.arena, row, ROW_BYTES as u64).is_ok();
        if is_empty {
            self.participant(slot).store(free, Ordering::Release);
        }
        is_empty
    }

    /// Forgets a process that is known to be dead, and clears its place. Returns those that it had started and that still
    /// live: they die with it, a moment later, unless they were detached.
    pub(crate) fn reap(&self, dead: Participant) -> Vec<Participant> {
        self.exclusively(|| {
            let mut orphans = Vec::new();
            for slot in 1..self.n_slots_used() {
                let word = self.participant(slot).load(Ordering::Acquire);
                let is_child = word & state::MASK != state::FREE && parent_of(word) == dead.slot;
                if is_child && !self.make_free(slot) {
                    orphans.push(Participant { slot, generation: generation_of(word) as u32 });
                }
            }
            let word = self.participant(dead.slot).load(Ordering::Acquire);
            if generation_of(word) == u64::from(dead.generation) && word & state::MASK != state::FREE {
                self.clear(dead.slot, word);
            }
            orphans
        })
    }

    /// Makes a window for a new object and counts one handle to it.
    pub(crate) fn create_window(&self, kind: WindowKind) -> Result<WindowId, MemoryError> {
        self.exclusively(|| {
            let n_used = self.n_windows_used();
            let free = (1..n_used).find(|&index| self.window(index).load(Ordering::Relaxed) & KIND_MASK == 0);
            let index = match free {
                Some(index) => index,
                None if (n_used as usize) < MAX_WINDOWS => n_used,
                None => {
                    let error = std::io::Error::other("65535 shared objects exist");
                    return Err(MemoryError::new("find a place for another shared object", &error));
                }
            };
            for place in [WINDOWS + index as usize * 8, EPOCHS + index as usize * 4] {
                self.allocate_page_of(place)
                    .map_err(|error| MemoryError::new("allocate the table of shared objects", &error))?;
            }
            let generation = ((self.window(index).load(Ordering::Relaxed) >> 8) as u32).wrapping_add(1);
            let window = WindowId { index, generation };
            self.add_handle(window, Ends::Both)?;
            self.window(index).store(kind as u64 | u64::from(generation) << 8, Ordering::Release);
            self.word(N_WINDOWS).fetch_max(u64::from(index) + 1, Ordering::Release);
            Ok(window)
        })
    }

    /// Whether a window still holds the object that a handle was made for.
    pub(crate) fn holds(&self, window: WindowId, kind: WindowKind) -> bool {
        (window.index as usize) < MAX_WINDOWS
            && self.window(window.index).load(Ordering::Acquire) & !CARRIES_HANDLES
                == kind as u64 | u64::from(window.generation) << 8
    }

    /// The windows in use.
    pub(crate) fn windows(&self) -> impl Iterator<Item = WindowId> + '_ {
        self.window_words().map(|(window, _)| window)
    }

    /// The windows of queues into which a handle was ever put.
    pub(crate) fn carrying_windows(&self) -> impl Iterator<Item = WindowId> + '_ {
        self.window_words().filter(|(_, word)| word & CARRIES_HANDLES != 0).map(|(window, _)| window)
    }

    fn window_words(&self) -> impl Iterator<Item = (WindowId, u64)> + '_ {
        (1..self.n_windows_used()).filter_map(|index| {
            let word = self.window(index).load(Ordering::Acquire);
            (word & KIND_MASK != 0).then(|| (WindowId::from_parts(index, (word >> 8) as u32), word))
        })
    }

    /// Remembers that handles may lie in the messages of this queue. The caller has a handle to it, so it is not freed.
    pub(crate) fn let_carry_handles(&self, window: WindowId) {
        let word = self.window(window.index());
        if word.load(Ordering::Relaxed) & CARRIES_HANDLES == 0 {
            word.fetch_or(CARRIES_HANDLES, Ordering::SeqCst);
        }
    }

    /// Frees windows that `find` names, while nobody else makes or frees any.
    pub(crate) fn free_windows(&self, find: impl FnOnce() -> Vec<WindowId>) {
        self.exclusively(|| {
            for window in find() {
                // First the memory, then the word: whoever dies in between leaves a window that is found again.
                if memory::give_back(&self.arena, window.offset(), WINDOW_BYTES).is_ok() {
                    self.window(window.index).store(u64::from(window.generation) << 8, Ordering::Release);
                }
            }
        });
    }
}
