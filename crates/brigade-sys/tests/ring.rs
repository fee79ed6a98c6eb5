//! The byte ring over a real mapping, against a plain queue, and against a side that writes garbage.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;

use brigade_sys::kernel::memory::{self, Mapping};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::{SharedBytes, Wait};
use brigade_sys::shared::event::{Event, Wake};
use brigade_sys::shared::ring::{Consumer, Layout, Producer, PushError};
use proptest::prelude::*;

const RING: Layout = Layout::new(0, 256);
const TAIL: usize = 0;
const HEAD: usize = 64;

fn mapping(n_bytes: usize) -> Arc<Mapping> {
    let memory = memory::create(c"test", n_bytes as u64).expect("there is memory");
    Arc::new(Mapping::new(memory.as_fd(), 0, n_bytes).expect("it is sealed and large enough"))
}

fn ring() -> (Arc<Mapping>, Producer<Arc<Mapping>>, Consumer<Arc<Mapping>>) {
    let memory = mapping(RING.total_bytes());
    (Arc::clone(&memory), Producer::new(Arc::clone(&memory), RING), Consumer::new(memory, RING))
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Pop,
    RevokeNewest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Push),
        3 => Just(Step::Pop),
        1 => Just(Step::RevokeNewest),
    ]
}

proptest! {
    #[test]
    fn it_behaves_as_a_queue_of_records(steps in proptest::collection::vec(step(), 1..200)) {
        let (_memory, mut producer, mut consumer) = ring();
        let mut model: VecDeque<(u64, Vec<u8>, bool)> = VecDeque::new();
        for step in steps {
            match step {
                Step::Push(bytes) => match producer.push(7, &[&bytes]) {
                    Ok(position) => model.push_back((position, bytes, false)),
                    Err(PushError::Full) => {
                        let used: usize = model.iter().map(|(_, bytes, _)| 16 + bytes.len().next_multiple_of(16)).sum();
                        prop_assert!(used + 16 + bytes.len().next_multiple_of(16) > 256);
                    }
                    Err(PushError::Corrupt(error)) => prop_assert!(false, "{}", error),
                },
                Step::Pop => {
                    let record = consumer.peek().unwrap();
                    prop_assert_eq!(record.is_some(), !model.is_empty());
                    if let (Some(record), Some((position, bytes, was_revoked))) = (record, model.pop_front()) {
                        prop_assert_eq!((record.position, record.kind, record.payload_bytes), (position, 7, bytes.len()));
                        prop_assert_eq!(consumer.claim(record), !was_revoked);
                        let mut payload = Vec::new();
                        consumer.read(record, &mut payload);
                        prop_assert_eq!(payload, bytes);
                        consumer.pop(record);
                        prop_assert!(!producer.revoke(position).unwrap());
                    }
                }
                Step::RevokeNewest => {
                    if let Some((position, _, was_revoked)) = model.back_mut() {
                        prop_assert_eq!(producer.revoke(*position).unwrap(), !*was_revoked);
                        *was_revoked = true;
                    }
                }
            }
        }
    }

    #[test]
    fn a_consumer_of_garbage_neither_panics_nor_reads_outside(tail in any::<u64>(), bytes in proptest::collection::vec(any::<u8>(), 256)) {
        let (memory, _producer, mut consumer) = ring();
        memory.write(128, &bytes);
        memory.word64(TAIL).store(tail, Ordering::Release);
        if let Ok(Some(record)) = consumer.peek() {
            prop_assert!(record.payload_bytes <= RING.max_payload());
            let mut payload = Vec::new();
            consumer.read(record, &mut payload);
            prop_assert_eq!(payload.len(), record.payload_bytes);
        }
    }
}

#[test]
fn a_producer_refuses_a_head_that_no_consumer_writes() {
    let (memory, mut producer, _consumer) = ring();
    producer.push(0, &[&[0; 200]]).unwrap();
    memory.word64(HEAD).store(1 << 40, Ordering::Release);
    assert!(matches!(producer.push(0, &[&[0; 200]]), Err(PushError::Corrupt(_))));
    assert!(producer.revoke(0).is_err());
}

#[test]
fn two_threads_pass_a_million_records_and_sleep_in_between() {
    let memory = mapping(4096 + 1024);
    let layout = Layout::new(256, 2048);
    let (items, space) = (Event::at(0), Event::at(64));
    let mut producer = Producer::new(Arc::clone(&memory), layout);
    let notifier = Arc::clone(&memory);
    let sender = std::thread::spawn(move || {
        for number in 0..1_000_000_u64 {
            loop {
                if producer.push(0, &[&number.to_le_bytes()]).is_ok() {
                    break;
                }
                let ticket = space.announce(&notifier);
                if producer.push(0, &[&number.to_le_bytes()]).is_ok() {
                    break;
                }
                space.sleep(&notifier, ticket, None);
            }
            items.notify(&notifier, Wake::All);
        }
    });
    let mut consumer = Consumer::new(Arc::clone(&memory), layout);
    let mut payload = Vec::new();
    for number in 0..1_000_000_u64 {
        let record = loop {
            if let Some(record) = consumer.peek().unwrap() {
                break record;
            }
            let ticket = items.announce(&memory);
            if let Some(record) = consumer.peek().unwrap() {
                break record;
            }
            items.sleep(&memory, ticket, None);
        };
        consumer.read(record, &mut payload);
        assert_eq!(payload, number.to_le_bytes());
        consumer.pop(record);
        space.notify(&memory, Wake::All);
    }
    sender.join().unwrap();
}

/// Whoever waited for a pool's results slept for ever when a worker was killed at one of a few instructions: it had moved the
/// bell and had not woken the sleeper yet, and no later notification did, for the bell said that nobody slept.
#[test]
fn a_sleeper_is_roused_though_its_notifier_died_before_the_wake() {
    const BELL: Event = Event::at(0);
    let memory = mapping(4096);
    let ticket = BELL.announce(&memory);
    let (say, heard) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn({
        let memory = Arc::clone(&memory);
        move || {
            say.send(rustix::thread::gettid()).unwrap();
            BELL.sleep(&memory, ticket, Some(std::time::Duration::from_secs(20)))
        }
    });
    let sleeping = heard.recv().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/self/task/{sleeping}/stat")).unwrap();
    while !state().rsplit(") ").next().unwrap().starts_with('S') {
        std::thread::yield_now();
    }
    // The first half of `notify`; death comes before the second.
    memory.word32(0).fetch_add(1, Ordering::AcqRel);
    BELL.notify(&memory, Wake::All);
    assert!(!sleeper.is_finished(), "nobody has woken it so far");
    BELL.rouse(&memory);
    assert_eq!(sleeper.join().unwrap(), Wait::Woken);
}
