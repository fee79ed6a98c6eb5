//! The structures of shared bytes over a piece of the heap, fed with bytes that nobody sane wrote. Each function takes what a
//! fuzzer or a seeded loop made up, and must neither panic nor reach outside: no bound is checked here, so that the address
//! sanitizer sees every step that the structures take beyond the end.

use std::alloc::{Layout as Room, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brigade_sys::kernel::last_words::Crash;
use brigade_sys::shared::atomics::{AtomicU32, AtomicU64, Ordering};
use brigade_sys::shared::bytes::{SharedBytes, Wait};
use brigade_sys::shared::census::Census;
use brigade_sys::shared::flip::Flip;
use brigade_sys::shared::gate::Gate;
use brigade_sys::shared::leases::Leases;
use brigade_sys::shared::lock::{OwnedLock, Owner};
use brigade_sys::shared::permits::{Hold, Permits};
use brigade_sys::shared::ring::{Consumer, Layout, Producer};
use brigade_sys::shared::rounds::{self, Arrival, Rounds};
use brigade_sys::shared::value::Value;
use brigade_sys::shared::waiters::Waiters;

/// Zeroed bytes on the heap, for threads of one process.
pub struct HeapBytes {
    start: NonNull<u8>,
    room: Room,
}

// SAFETY: the bytes are reached through atomics and raw copies only, which may come from any thread.
unsafe impl Send for HeapBytes {}
// SAFETY: as above; no method hands out a reference to plain bytes.
unsafe impl Sync for HeapBytes {}

impl HeapBytes {
    pub fn new(n_bytes: usize) -> Self {
        let room = Room::from_size_align(n_bytes, 64).expect("a small size");
        assert!(n_bytes > 0);
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(room) }).expect("there is memory");
        Self { start, room }
    }

    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: none is checked: an offset outside is what these tests look for, and the sanitizer reports it.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for HeapBytes {
    fn drop(&mut self) {
        // SAFETY: it was allocated so in `new`, and is freed once.
        unsafe { dealloc(self.start.as_ptr(), self.room) };
    }
}

impl SharedBytes for HeapBytes {
    fn word32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        // SAFETY: aligned, alive as long as `self`, reached as an atomic only; for the bounds see `at`.
        unsafe { AtomicU32::from_ptr(self.at(offset).cast()) }
    }

    fn word64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: as in `word32`.
        unsafe { AtomicU64::from_ptr(self.at(offset).cast()) }
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        // SAFETY: the two do not overlap; for the bounds see `at`.
        unsafe { std::ptr::copy_nonoverlapping(self.at(offset), into.as_mut_ptr(), into.len()) };
    }

    fn write(&self, offset: usize, from: &[u8]) {
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.at(offset), from.len()) };
    }

    fn futex_wait(&self, offset: usize, expected: u32, _timeout: Option<Duration>) -> Wait {
        if self.word32(offset).load(Ordering::SeqCst) != expected {
            return Wait::ValueChanged;
        }
        std::thread::yield_now();
        Wait::TimedOut
    }

    fn futex_wake(&self, _offset: usize, _n_sleepers: u32) {}
}

pub const RING: Layout = Layout::new(0, 512);

/// Memory that begins with `bytes`, zeroed behind them.
fn filled(n_bytes: usize, bytes: &[u8]) -> Arc<HeapBytes> {
    let memory = Arc::new(HeapBytes::new(n_bytes));
    memory.write(0, &bytes[..bytes.len().min(n_bytes)]);
    memory
}

/// Reads whatever a ring of arbitrary bytes holds, while its tail is moved once more.
pub fn consume(bytes: &[u8]) {
    let memory = filled(RING.total_bytes(), bytes);
    let mut consumer = Consumer::new(Arc::clone(&memory), RING);
    let mut payload = Vec::new();
    for _ in 0..64 {
        let Ok(Some(record)) = consumer.peek() else { break };
        let _ = consumer.claim(record);
        consumer.read(record, &mut payload);
        assert!(payload.len() <= RING.max_payload());
        consumer.pop(record);
    }
}

/// Pushes, revokes and asks, while the head says what `bytes` say.
pub fn produce(bytes: &[u8]) {
    let memory = Arc::new(HeapBytes::new(RING.total_bytes()));
    let mut producer = Producer::new(Arc::clone(&memory), RING);
    let mut last = 0;
    for chunk in bytes.chunks(10) {
        let (&kind, head) = chunk.split_first().expect("chunks are not empty");
        if let Some(head) = head.first_chunk() {
            memory.word64(64).store(u64::from_le_bytes(*head) % 4096, Ordering::Relaxed);
        }
        match kind % 4 {
            0 => drop(producer.revoke(last)),
            1 => drop(producer.is_claimed(last)),
            2 => drop(producer.has_room(usize::from(kind) * 4)),
            _ => {
                if let Ok(position) = producer.push(kind.into(), &[head, &[kind; 200][..usize::from(kind) % 200]]) {
                    last = position;
                }
            }
        }
    }
}

/// Loads and stores words and values, and takes a lock, in arbitrary bytes.
pub fn look_at_words(bytes: &[u8]) {
    let memory = filled(1024, bytes);
    let flip = Flip::at(0);
    let words = flip.load_exclusive(&memory);
    flip.store(&memory, words);
    assert_eq!(flip.load(&memory), words);
    let n_bytes = bytes.first().map_or(1, |&byte| usize::from(byte)).clamp(1, 300);
    let value = Value::at(64, n_bytes);
    let mut contents = vec![0; n_bytes];
    value.load_exclusive(&memory, &mut contents);
    value.store(&memory, &contents);
    assert_eq!(value.load(&memory, &mut vec![0; n_bytes]), Ok(()));
    let lock = OwnedLock::at(960);
    if lock.try_lock(&memory, Owner::new(7), |owner| owner.number() % 2 == 0).is_some() {
        lock.unlock(&memory);
    }
}

/// The process that asks. Whoever has an even number is dead.
pub struct Someone(pub u32);

impl Census for Someone {
    fn me(&self) -> Owner {
        Owner::new(self.0)
    }
    fn place(&self) -> usize {
        3
    }
    fn is_dead(&self, owner: Owner) -> bool {
        owner.number().is_multiple_of(2)
    }
}

/// Where items lie in the tests.
pub const LEASES: Leases = Leases::at(0, 64, 64, 8);
pub const LEASES_BYTES: usize = 64 + 8 * 64;

/// Puts, takes and gives back where the tables hold arbitrary bytes, all but their locks: who has one may keep it for ever.
pub fn use_tables(bytes: &[u8]) {
    let me = Someone(7);
    let memory = |n_bytes| {
        let memory = filled(n_bytes, bytes);
        memory.word32(0).store(0, Ordering::Relaxed);
        memory
    };
    let items = memory(LEASES_BYTES);
    if let Some(locked) = LEASES.try_lock(&items, &me) {
        locked.grow(4);
        if let Ok(Some(slot)) = locked.free_slot() {
            locked.put(slot);
        }
        while let Ok(Some(leased)) = locked.lease(me.me()) {
            let _ =
                locked.give_back(leased, me.me()) && leased.slot.is_multiple_of(2) && locked.finish(leased, me.me());
            if locked.take_from_the_dead(&me) == 0 {
                break;
            }
        }
        assert!(locked.open_slots().count() <= 8);
    }
    let permits = Permits::new(0, 4);
    let held = memory(permits.total_bytes());
    let now = Some(Instant::now());
    if permits.try_take(&held, &me, now).is_some() {
        let _ = permits.keep(&held, &me);
        let _ = permits.give_back(&held, &me, Hold::Kept);
    }
    let gate = Gate::new(0, 4);
    let passed = memory(gate.total_bytes());
    if gate.try_read(&passed, &me).is_some() {
        gate.leave(&passed, &me);
    }
    if gate.try_write(&passed, &me).is_some() {
        gate.open(&passed);
    }
    let waiters = Waiters::new(0, 4);
    let told = memory(waiters.total_bytes());
    if let Some(waiter) = waiters.register(&told, &me)
        && waiters.notify(&told, &me, 2) > 0
        && waiters.wait(&told, &me, &waiter, now)
    {
        waiters.consume(&told, waiter);
    }
    let rounds = Rounds::at(0);
    let gone_through = memory(rounds::TOTAL_BYTES);
    if let Some(Arrival::Last { round, .. }) = rounds.arrive(&gone_through, &me, now) {
        let _ = rounds.finish(&gone_through, &me, round);
    }
    rounds.reset(&gone_through, &me);
    assert_eq!(rounds.broken(&gone_through, &me), None);
}

/// What a dying process may have said.
pub fn parse_last_words(bytes: &[u8]) {
    if let Some(crash) = Crash::parse(bytes) {
        assert!(crash.frames.addresses.len() <= 64);
    }
}
