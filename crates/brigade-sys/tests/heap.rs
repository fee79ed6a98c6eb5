//! The structures of shared bytes over the heap, for the address sanitizer and for Miri, which know nothing of mappings
//! (`cargo xtask ci` runs this file so where it can); and a slice of fuzzing, with a seed that is printed.
#![expect(unsafe_code, reason = "shared bytes over the heap")]

#[path = "heap/entries.rs"]
mod entries;

use std::sync::Arc;
use std::time::{Duration, Instant};

use brigade_sys::shared::census::Census as _;
use brigade_sys::shared::flip::Flip;
use brigade_sys::shared::leases::Leased;
use brigade_sys::shared::lock::{OwnedLock, Owner};
use brigade_sys::shared::ring::{Consumer, Producer, PushError};

use entries::{HeapBytes, LEASES, LEASES_BYTES, RING, Someone};

/// Small, fast, and the same everywhere (xorshift64*).
struct Random(u64);

impl Random {
    /// Seeded by `BRIGADE_SEED`, or by the clock; the seed is printed.
    fn seeded() -> Self {
        let given = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970");
            now.as_nanos() as u64
        });
        println!("BRIGADE_SEED={seed}");
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    /// Mostly small numbers and zeros, as headers have them, some of anything.
    fn bytes(&mut self) -> Vec<u8> {
        let n_bytes = self.below(700);
        let kind = self.below(4);
        (0..n_bytes)
            .map(|_| match (kind, self.below(8)) {
                (0, _) | (1, 0) => self.next() as u8,
                (1, _) => 0,
                (2, at) => (at * 16) as u8 * u8::from(self.below(5) == 0),
                _ => self.below(3) as u8,
            })
            .collect()
    }
}

fn n_rounds() -> usize {
    if cfg!(miri) { 50 } else { 50_000 }
}

#[test]
fn bytes_that_nobody_wrote_do_no_harm() {
    let mut random = Random::seeded();
    for _ in 0..n_rounds() {
        let bytes = random.bytes();
        entries::consume(&bytes);
        entries::produce(&bytes);
        entries::look_at_words(&bytes);
        entries::use_tables(&bytes);
        entries::parse_last_words(&bytes);
    }
}

/// Each word of a header once small and once as large as can be, in all combinations.
#[test]
fn numbers_at_the_end_of_their_range_are_no_reason_to_panic() {
    for combination in 0..1_u32 << 9 {
        let word = |idx: u32| if combination >> idx & 1 == 0 { 1_u64 } else { u64::MAX };
        entries::use_tables(&(0..9).flat_map(|idx| word(idx).to_le_bytes()).collect::<Vec<u8>>());
    }
}

/// An item that was taken from somebody who counted as dead is not his any more, should he live all the same.
#[test]
fn an_item_that_was_handed_out_again_is_the_new_ones_only() {
    let memory = HeapBytes::new(LEASES_BYTES);
    let (first, second) = (Someone(8), Someone(9));
    let first_lease = {
        let locked = LEASES.try_lock(&memory, &first).unwrap();
        locked.grow(2);
        let slot = locked.free_slot().unwrap().unwrap();
        locked.put(slot);
        locked.lease(first.me()).unwrap().unwrap()
    };
    let locked = LEASES.try_lock(&memory, &second).unwrap();
    assert_eq!(locked.take_from_the_dead(&second), 1);
    let second_lease = locked.lease(second.me()).unwrap().unwrap();
    assert_eq!(second_lease, Leased { slot: first_lease.slot, attempt: 2 });
    assert!(!locked.finish(first_lease, first.me()) && !locked.give_back(first_lease, first.me()));
    // The same process once more: the attempt tells the two apart.
    assert!(!locked.finish(first_lease, second.me()) && !locked.give_back(first_lease, second.me()));
    assert!(locked.finish(second_lease, second.me()));
    assert!(!locked.finish(second_lease, second.me()));
}

#[test]
fn two_threads_pass_records_of_every_size() {
    let memory = Arc::new(HeapBytes::new(RING.total_bytes()));
    let n_records = if cfg!(miri) { 200 } else { 100_000_u32 };
    let contents = |number: u32| vec![number as u8; number as usize * 7 % 400];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = Producer::new(Arc::clone(&memory), RING);
            for number in 0..n_records {
                while producer.push(number, &[&contents(number)]) == Err(PushError::Full) {
                    std::thread::yield_now();
                }
            }
        });
        let mut consumer = Consumer::new(Arc::clone(&memory), RING);
        let mut payload = Vec::new();
        for number in 0..n_records {
            let record = loop {
                match consumer.peek().unwrap() {
                    Some(record) => break record,
                    None => std::thread::yield_now(),
                }
            };
            assert!(consumer.claim(record));
            consumer.read(record, &mut payload);
            assert_eq!((record.kind, &payload), (number, &contents(number)));
            consumer.pop(record);
        }
    });
}

#[test]
fn a_lock_lets_one_thread_at_a_time_change_what_others_read_whole() {
    let memory = HeapBytes::new(256);
    let (lock, state) = (OwnedLock::at(0), Flip::at(64));
    let n_rounds = if cfg!(miri) { 20 } else { 5000 };
    std::thread::scope(|scope| {
        for number in 1..=3 {
            let memory = &memory;
            scope.spawn(move || {
                for _ in 0..n_rounds {
                    let deadline = Some(Instant::now() + Duration::from_secs(60));
                    lock.lock(memory, Owner::new(number), |_| false, deadline).unwrap();
                    let [count, ..] = state.load_exclusive(memory);
                    state.store(memory, [count + 1, count + 2, count + 3]);
                    lock.unlock(memory);
                    let [first, second, third] = state.load(memory);
                    assert_eq!([second, third], [first + 1, first + 2]);
                }
            });
        }
    });
    assert_eq!(state.load(&memory)[0], 3 * n_rounds);
}
