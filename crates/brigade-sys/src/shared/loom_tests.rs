//! Every interleaving of a producer and a consumer, and of deaths between two steps, as far as loom can follow.
//! Run by `RUSTFLAGS="--cfg loom" cargo test -p brigade-sys --release --lib`.

use std::sync::Arc;

use loom::thread;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::event::{Event, Wake};
use super::flip::Flip;
use super::lock::{Acquired, OwnedLock, Owner};
use super::model::Model;
use super::ring::{Consumer, HEADER_BYTES, Layout, Producer, PushError};

const RING: Layout = Layout::new(0, 64);
const RING_EVENT: Event = Event::at(RING.total_bytes());

fn ring_memory() -> Arc<Model> {
    Arc::new(Model::new(RING.total_bytes() + 64, &[0, 64]))
}

fn payload(number: u8) -> [u8; HEADER_BYTES] {
    [number; HEADER_BYTES]
}

fn take(consumer: &mut Consumer<Arc<Model>>) -> Option<Vec<u8>> {
    let record = consumer.peek().expect("both sides are sound")?;
    let mut bytes = Vec::new();
    consumer.read(record, &mut bytes);
    consumer.pop(record);
    Some(bytes)
}

#[test]
fn what_is_pushed_arrives_whole_and_in_order() {
    loom::model(|| {
        let memory = ring_memory();
        let mut producer = Producer::new(Arc::clone(&memory), RING);
        let sender = thread::spawn(move || {
            for number in 1..=3 {
                while producer.push(0, &[&payload(number)]) == Err(PushError::Full) {
                    thread::yield_now();
                }
            }
        });
        let mut consumer = Consumer::new(memory, RING);
        for number in 1..=3 {
            let bytes = loop {
                if let Some(bytes) = take(&mut consumer) {
                    break bytes;
                }
                thread::yield_now();
            };
            assert_eq!(bytes, payload(number));
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_sleeping_consumer_is_woken_by_every_push() {
    loom::model(|| {
        let memory = ring_memory();
        let mut producer = Producer::new(Arc::clone(&memory), RING);
        let notifier = Arc::clone(&memory);
        let sender = thread::spawn(move || {
            for number in 1..=2 {
                producer.push(0, &[&[number; 4]]).expect("two small records fit");
                RING_EVENT.notify(&notifier, Wake::All);
            }
        });
        let mut consumer = Consumer::new(Arc::clone(&memory), RING);
        for number in 1..=2 {
            let bytes = loop {
                if let Some(bytes) = take(&mut consumer) {
                    break bytes;
                }
                let ticket = RING_EVENT.announce(&memory);
                if let Some(bytes) = take(&mut consumer) {
                    break bytes;
                }
                // No timeout: a wake that is lost is a deadlock, which the model reports.
                RING_EVENT.sleep(&memory, ticket, None);
            };
            assert_eq!(bytes, [number; 4]);
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_record_is_claimed_or_revoked_but_never_both() {
    loom::model(|| {
        let memory = ring_memory();
        let mut producer = Producer::new(Arc::clone(&memory), RING);
        let position = producer.push(0, &[b"task"]).expect("the ring is empty");
        let worker = thread::spawn(move || {
            let mut consumer = Consumer::new(memory, RING);
            let record = consumer.peek().expect("sound").expect("the record was committed");
            let claimed = consumer.claim(record);
            consumer.pop(record);
            claimed
        });
        let revoked = producer.revoke(position).expect("sound");
        assert_ne!(worker.join().unwrap(), revoked);
    });
}

#[test]
fn a_producer_that_dies_between_any_two_steps_leaves_whole_records_only() {
    // `n_steps` counts the producer's stores to shared words; dying is not doing the rest.
    for n_records_before_death in 0..=2_u8 {
        loom::model(move || {
            let memory = ring_memory();
            let mut producer = Producer::new(Arc::clone(&memory), RING);
            let half_written = Arc::clone(&memory);
            let sender = thread::spawn(move || {
                for number in 0..n_records_before_death {
                    producer.push(0, &[&[number; 4]]).expect("two small records fit");
                }
                // The next record is written but never committed: garbage beyond the tail.
                if n_records_before_death < 2 {
                    let beyond = 128 + usize::from(n_records_before_death) * 32;
                    half_written.write(beyond, &[0xff; 20]);
                }
            });
            let mut consumer = Consumer::new(Arc::clone(&memory), RING);
            let mut n_seen = 0;
            for _ in 0..3 {
                if let Some(bytes) = take(&mut consumer) {
                    assert_eq!(bytes, [n_seen; 4]);
                    n_seen += 1;
                }
            }
            sender.join().unwrap();
            while let Some(bytes) = take(&mut consumer) {
                assert_eq!(bytes, [n_seen; 4]);
                n_seen += 1;
            }
            assert_eq!(n_seen, n_records_before_death);
        });
    }
}

#[test]
fn a_flipped_state_is_never_seen_half_changed() {
    loom::model(|| {
        let flip = Flip::at(0);
        let offsets: Vec<usize> = (0..7).map(|idx| idx * 8).collect();
        let memory = Arc::new(Model::new(64, &offsets));
        let writer_memory = Arc::clone(&memory);
        let writer = thread::spawn(move || {
            flip.store(&writer_memory, [1, 1, 1]);
            flip.store(&writer_memory, [2, 2, 2]);
        });
        let [a, b, c] = flip.load(&memory);
        assert!(a == b && b == c, "{a} {b} {c}");
        writer.join().unwrap();
        assert_eq!(flip.load(&memory), [2, 2, 2]);
    });
}

#[test]
fn a_dead_owner_is_followed_by_exactly_one_locker() {
    loom::model(|| {
        let lock = OwnedLock::at(0);
        let memory = Arc::new(Model::new(8, &[]));
        let dead = Owner::new(9);
        let taken = lock.try_lock(&memory, dead, |_| false);
        assert_eq!(taken, Some(Acquired::Free));
        let lockers: Vec<_> = [1, 2]
            .into_iter()
            .map(|number| {
                let memory = Arc::clone(&memory);
                thread::spawn(move || lock.try_lock(&memory, Owner::new(number), |owner| owner == dead).is_some())
            })
            .collect();
        let n_taken = lockers.into_iter().filter_map(|locker| locker.join().ok()).filter(|&taken| taken).count();
        assert_eq!(n_taken, 1);
        assert_ne!(memory.word32(0).load(Ordering::Relaxed), 0);
    });
}
