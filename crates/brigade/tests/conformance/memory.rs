//! Shared memory: values, arrays, structures, and what is left of them.

use brigade::{Lock, Queue, Shared, SharedMutex, SharedSlice};
use bytemuck::{Pod, Zeroable};
use torture::facts::wait_until;

use crate::{checked, sleep_for_ever};

#[test]
fn values_set_by_a_child_are_seen_by_the_parent() {
    checked(|| {
        let numbers = (Shared::new(7_i32).unwrap(), Shared::new(3.5_f64).unwrap(), Shared::new(b'c').unwrap());
        let large = Shared::new([0_u64; 40]).unwrap();
        let process = brigade::spawn((numbers.clone(), large.clone()), |((a, b, c), large)| {
            a.store(-9);
            b.store(2.25);
            c.store(b'x');
            large.update(|mut values| {
                values[39] = 1;
                values
            });
        });
        process.unwrap().join().unwrap();
        assert_eq!((numbers.0.load(), numbers.1.load(), numbers.2.load()), (-9, 2.25, b'x'));
        assert_eq!(large.load()[39], 1);
    });
}

#[test]
fn a_shared_value_comes_with_a_lock_or_without() {
    checked(|| {
        let (bare, locked) = (Shared::new(0_u64).unwrap(), SharedMutex::new(0_u64).unwrap());
        let processes: Vec<_> = (0..4)
            .map(|_| {
                brigade::spawn((bare.clone(), locked.clone()), |(bare, locked)| {
                    for _ in 0..500 {
                        bare.update(|value| value + 1);
                        *locked.lock().unwrap() += 1;
                    }
                })
            })
            .collect();
        for process in processes {
            process.unwrap().join().unwrap();
        }
        assert_eq!((bare.load(), *locked.lock().unwrap()), (2000, 2000));
    });
}

#[test]
fn a_child_changes_a_slice_in_place() {
    checked(|| {
        let slice = SharedSlice::<i64>::new(10).unwrap();
        slice.write(0, &[680, 626, 934, 821, 150, 233, 548, 982, 714, 831]);
        assert_eq!((slice.len(), slice.load(3), slice.read(2..5)), (10, 821, vec![934, 821, 150]));
        let process = brigade::spawn(slice.clone(), |slice| {
            let mut sum = 0;
            for idx in 0..slice.len() {
                sum += slice.load(idx);
                slice.store(idx, sum);
            }
        });
        process.unwrap().join().unwrap();
        assert_eq!(slice.read(0..10), [680, 1306, 2240, 3061, 3211, 3444, 3992, 4974, 5688, 6519]);
    });
}

#[test]
fn fresh_memory_is_zeroed_also_when_it_is_used_again() {
    checked(|| {
        for _ in 0..10 {
            let slice = SharedSlice::<u32>::new(1000).unwrap();
            assert!(slice.read(0..1000).iter().all(|value| *value == 0));
            slice.write(0, &[u32::MAX; 1000]);
        }
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Structure {
    number: i64,
    real: f64,
    letters: [u8; 8],
}

#[test]
fn structures_are_changed_by_a_child_and_copies_are_independent() {
    checked(|| {
        let initial = Structure { number: 3, real: 2.5, letters: *b"hello\0\0\0" };
        let (bare, locked) = (Shared::new(initial).unwrap(), SharedMutex::new(initial).unwrap());
        let copy = bare.load();
        let process = brigade::spawn((bare.clone(), locked.clone()), |(bare, locked)| {
            let double = |mut value: Structure| {
                value.number *= 2;
                value.real *= 2.0;
                value.letters.reverse();
                value
            };
            bare.update(double);
            let mut guard = locked.lock().unwrap();
            *guard = double(*guard);
        });
        process.unwrap().join().unwrap();
        let doubled = Structure { number: 6, real: 5.0, letters: *b"\0\0\0olleh" };
        assert_eq!((bare.load(), *locked.lock().unwrap(), copy), (doubled, doubled, initial));
    });
}

/// Bytes of the session's memory that are really there.
fn allocated_bytes() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let of = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_session = target.to_string_lossy().starts_with("/memfd:brigade ");
        is_session.then(|| std::fs::metadata(entry.path()).map_or(0, |metadata| metadata.blocks() * 512))
    };
    descriptors.filter_map(of).sum()
}

#[test]
fn memory_comes_back_when_objects_are_gone() {
    checked(|| {
        let first = SharedSlice::<u8>::new(1).unwrap();
        let before = allocated_bytes();
        for round in 1..=20 {
            let objects: Vec<_> = (0..20).map(|_| SharedSlice::<u8>::new(round * 10_000).unwrap()).collect();
            let queue = Queue::<Vec<u8>>::bounded(1000).unwrap();
            (0..20).for_each(|_| queue.put(vec![1; 100_000]).unwrap());
            assert!(allocated_bytes() > before + 2_000_000);
            drop(objects);
        }
        assert!(allocated_bytes() <= before + (64 << 10), "{} and {before}", allocated_bytes());
        drop(first);
    });
}

#[test]
fn impossible_sizes_are_errors() {
    checked(|| {
        assert!(SharedSlice::<u64>::new(usize::MAX).is_err());
        assert!(SharedSlice::<u64>::new(usize::MAX / 16).is_err());
        assert!(Queue::<u8>::bounded(0).is_err());
        let empty = SharedSlice::<u64>::new(0).unwrap();
        assert!(empty.is_empty() && empty.read(0..0).is_empty());
    });
}

#[test]
fn a_sent_handle_keeps_the_memory_alive() {
    checked(|| {
        let slice = SharedSlice::<u8>::new(4).unwrap();
        slice.store(0, 9);
        let messages = Queue::bounded(1).unwrap();
        messages.put(slice).unwrap();
        // Nobody has a handle now; the message does.
        let process = brigade::spawn(messages.clone(), |messages: Queue<SharedSlice<u8>>| {
            let slice = messages.get().unwrap();
            slice.store(1, slice.load(0) + 1);
            messages.put(slice).unwrap();
        });
        process.unwrap().join().unwrap();
        assert_eq!(messages.get().unwrap().read(0..2), [9, 10]);
    });
}

#[test]
fn a_list_with_fixed_places_is_a_slice_of_plain_data() {
    checked(|| {
        let list = SharedSlice::<[u8; 16]>::new(3).unwrap();
        let process = brigade::spawn(list.clone(), |list| list.store(1, *b"sixteen letters!"));
        process.unwrap().join().unwrap();
        assert_eq!(list.read(0..3), [[0; 16], *b"sixteen letters!", [0; 16]]);
    });
}

#[test]
fn a_killed_owner_leaves_no_memory_behind() {
    checked(|| {
        let kept = SharedSlice::<u8>::new(1).unwrap();
        let before = allocated_bytes();
        let ready = Queue::bounded(1).unwrap();
        let owner = brigade::spawn(ready.clone(), |ready| -> () {
            let _slice = SharedSlice::<u8>::new(50 << 20).unwrap();
            let _lock = Lock::new().unwrap();
            ready.put(()).unwrap();
            sleep_for_ever()
        });
        let owner = owner.unwrap();
        ready.get().unwrap();
        assert!(allocated_bytes() > before + (50 << 20));
        owner.kill();
        owner.wait();
        wait_until("its memory is gone", || allocated_bytes() < before + (1 << 20));
        drop(kept);
    });
}

#[test]
fn a_process_that_comes_and_goes_takes_nothing_away() {
    checked(|| {
        let slice = SharedSlice::<u8>::new(2).unwrap();
        for idx in 0..2 {
            brigade::spawn((slice.clone(), idx), |(slice, idx)| slice.store(idx, 5)).unwrap().join().unwrap();
        }
        assert_eq!(slice.read(0..2), [5, 5]);
    });
}
