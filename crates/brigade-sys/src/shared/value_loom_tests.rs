//! Every interleaving of readers and writers of a whole value, with a death before each access of a writer.

use std::sync::Arc;

use loom::thread;

use super::bytes::SharedBytes;
use super::lock::{OwnedLock, Owner};
use super::model::Model;
use super::mortal::{Grave, Mortal};
use super::value::Value;

/// Two words, the last of them not whole.
const N_BYTES: usize = 12;
const LOCK: OwnedLock = OwnedLock::at(0);
const VALUE: Value = Value::at(64, N_BYTES);
const DEAD: Owner = Owner::new(9);

fn memory() -> Model {
    Model::new(256, &[64, 128, 136, 192, 200])
}

fn load<M: SharedBytes>(memory: &M) -> Option<u8> {
    let mut bytes = [0; N_BYTES];
    VALUE.load(memory, &mut bytes).ok()?;
    assert!(bytes.iter().all(|&byte| byte == bytes[0]), "torn: {bytes:?}");
    Some(bytes[0])
}

fn update<M: SharedBytes>(memory: &M, me: Owner, is_dead: impl Fn(Owner) -> bool, change: impl Fn(u8) -> u8) -> bool {
    if LOCK.try_lock(memory, me, is_dead).is_none() {
        return false;
    }
    let mut bytes = [0; N_BYTES];
    VALUE.load_exclusive(memory, &mut bytes);
    // Byte by byte, so that what was read torn is stored torn and found by whoever reads next.
    VALUE.store(memory, &bytes.map(change));
    LOCK.unlock(memory);
    true
}

#[test]
fn a_reader_sees_whole_values_while_they_change() {
    loom::model(|| {
        let memory = Arc::new(memory());
        let written = Arc::clone(&memory);
        let writer = thread::spawn(move || {
            VALUE.store(&written, &[1; N_BYTES]);
            VALUE.store(&written, &[2; N_BYTES]);
        });
        if let Some(seen) = load(&memory) {
            assert!(seen <= 2);
        }
        writer.join().unwrap();
        assert_eq!(load(&memory), Some(2));
    });
}

#[test]
fn a_writer_that_dies_before_any_access_leaves_the_old_value_or_the_new_one() {
    // Lock, load (3), store (4), unlock: nine accesses, and one number more for a writer that survives.
    for n_accesses in 0..=12 {
        loom::model(move || {
            let memory = Arc::new(memory());
            let grave = Grave::new();
            let mortal = Mortal::new(Arc::clone(&memory), self::memory(), n_accesses, Arc::clone(&grave));
            let dying = thread::spawn(move || {
                let has_updated = update(&mortal, DEAD, |_| false, |old| old + 1);
                mortal.has_survived().then_some(has_updated)
            });
            // Meanwhile a reader sees the one or the other, and a writer that comes later goes on from there.
            if let Some(seen) = load(&memory) {
                assert!(seen <= 1);
            }
            let is_dead = |owner| owner == DEAD && grave.is_filled();
            let was_early = update(&memory, Owner::new(1), is_dead, |old| old + 10);
            let outcome = dying.join().unwrap();
            let before = load(&memory).expect("nobody writes now");
            assert!(update(&memory, Owner::new(1), is_dead, |old| old + 10), "the dead keep no lock");
            let n_updates = if was_early { 20 } else { 10 };
            let after = load(&memory).expect("nobody writes now");
            assert_eq!(after, before + 10);
            match outcome {
                Some(has_updated) => assert_eq!(after, n_updates + u8::from(has_updated)),
                None => assert!(after == n_updates || after == n_updates + 1, "{after}"),
            }
        });
    }
}
