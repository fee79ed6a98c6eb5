//! What shared memory promises: values are whole whatever their size, and no death and no panic leaves half a change.

use std::time::{Duration, Instant};

use brigade::{Blob, Descriptor, Pool, Process, Queue, Shared, SharedMutex, SharedMutexError, SharedSlice, TaskError};
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use torture::facts::{Stopwatch, assert_takes_less_than, wait_until};

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Reading {
    number: u32,
    sensor: [u8; 4],
    value: f64,
}

/// Bytes of more than one page that are all the same.
type Large = [u64; 700];

fn large(number: u64) -> Large {
    [number; 700]
}

fn number_of(large: &Large) -> u64 {
    assert!(large.iter().all(|&word| word == large[0]), "torn: {} and others", large[0]);
    large[0]
}

#[test]
fn values_of_every_size_set_by_a_child_are_seen_by_the_parent() {
    let byte = Shared::new(1_u8).unwrap();
    let float = Shared::new(0.5_f64).unwrap();
    let three = Shared::new([1_u8, 2, 3]).unwrap();
    let reading = Shared::new(Reading { number: 1, sensor: *b"left", value: 1.5 }).unwrap();
    let many = Shared::new(large(1)).unwrap();
    let nothing = Shared::new([0_u8; 0]).unwrap();
    let handles = (byte.clone(), float.clone(), three.clone(), reading.clone(), many.clone(), nothing);
    let child: Process<()> = brigade::spawn(handles, |(byte, float, three, reading, many, nothing)| {
        assert_eq!((byte.load(), float.load(), three.load(), nothing.load()), (1, 0.5, [1, 2, 3], []));
        assert_eq!(reading.load(), Reading { number: 1, sensor: *b"left", value: 1.5 });
        byte.store(255);
        float.store(-2.25);
        three.store([4, 5, 6]);
        reading.update(|old| Reading { number: old.number + 1, ..old });
        many.store(large(2));
    })
    .unwrap();
    child.join().unwrap();
    assert_eq!((byte.load(), float.load(), three.load()), (255, -2.25, [4, 5, 6]));
    assert_eq!(reading.load(), Reading { number: 2, sensor: *b"left", value: 1.5 });
    assert_eq!(number_of(&many.load()), 2);
}

#[test]
fn no_update_of_four_processes_is_lost() {
    const N_UPDATES: u64 = 5_000;
    let word = Shared::new(0_u64).unwrap();
    let wide = Shared::new([0_u64; 4]).unwrap();
    let locked = SharedMutex::new([0_u64; 4]).unwrap();
    let children: Vec<Process<()>> = (0..4)
        .map(|_| {
            brigade::spawn((word.clone(), wide.clone(), locked.clone()), |(word, wide, locked)| {
                for _ in 0..N_UPDATES {
                    word.fetch_add(1);
                    wide.update(|words| words.map(|word| word + 1));
                    locked.lock().unwrap().iter_mut().for_each(|word| *word += 1);
                }
            })
            .unwrap()
        })
        .collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(word.load(), 4 * N_UPDATES);
    assert_eq!(wide.load(), [4 * N_UPDATES; 4]);
    assert_eq!(*locked.lock().unwrap(), [4 * N_UPDATES; 4]);
}

#[test]
fn exchanges_succeed_only_from_the_value_that_is_there() {
    let word = Shared::new(5_i32).unwrap();
    assert_eq!(word.compare_exchange(5, -6), Ok(5));
    assert_eq!(word.compare_exchange(5, 7), Err(-6));
    assert_eq!((word.fetch_add(10), word.fetch_sub(1), word.load()), (-6, 4, 3));
    let wide = Shared::new([1_u128, 2]).unwrap();
    assert_eq!(wide.compare_exchange([1, 2], [3, 4]), Ok([1, 2]));
    assert_eq!(wide.compare_exchange([1, 2], [5, 6]), Err([3, 4]));
    assert_eq!(wide.load(), [3, 4]);
}

#[test]
fn a_large_value_is_never_torn_while_writers_are_killed() {
    let value = Shared::new(large(0)).unwrap();
    for _ in 0..20 {
        let n_stored = Shared::new(0_u64).unwrap();
        let writers: Vec<Process<()>> = (0..2)
            .map(|_| {
                brigade::spawn((value.clone(), n_stored.clone()), |(value, n_stored)| {
                    loop {
                        value.update(|old| large(number_of(&old) + 1));
                        n_stored.fetch_add(1);
                    }
                })
                .unwrap()
            })
            .collect();
        let mut last = 0;
        while n_stored.load() < 100 {
            let now = number_of(&value.load());
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
        for writer in &writers {
            writer.kill();
            number_of(&value.load());
        }
        writers.iter().for_each(|writer| assert_eq!(writer.wait().signal(), Some(9)));
        let before = number_of(&value.load());
        // The next writer goes on, whoever died with the lock.
        assert_eq!(number_of(&value.update(|old| large(number_of(&old) + 1))), before);
        assert_eq!(number_of(&value.load()), before + 1);
    }
}

#[test]
fn an_updater_killed_inside_leaves_the_value_and_holds_nobody_up() {
    let (small, wide) = (Shared::new(7_u64).unwrap(), Shared::new(large(7)).unwrap());
    for round in 0..5 {
        let is_inside = Shared::new([0_u8; 2]).unwrap();
        let updater: Process<()> =
            brigade::spawn((wide.clone(), is_inside.clone(), round), |(wide, is_inside, _round)| {
                wide.update(|_| {
                    is_inside.store([1, 1]);
                    sleep_for_ever()
                });
            })
            .unwrap();
        wait_until("the updater is inside", || is_inside.load() == [1, 1]);
        // A reader does not wait for it.
        assert_eq!(number_of(&wide.load()), 7 + round);
        updater.kill();
        let before = Stopwatch::start();
        assert_eq!(number_of(&wide.update(|old| large(number_of(&old) + 1))), 7 + round);
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    }
    assert_eq!(small.load(), 7);
}

#[test]
fn a_panic_inside_an_update_leaves_the_value_and_the_lock_free() {
    let value = Shared::new(large(3)).unwrap();
    let panicked = std::panic::catch_unwind(|| value.update(|_| panic!("as the test wants")));
    assert!(panicked.is_err());
    assert_eq!(number_of(&value.update(|_| large(4))), 3);
}

#[test]
fn a_killed_mutex_holder_leaves_the_old_value_and_the_next_one_gets_the_lock() {
    let value = SharedMutex::new(large(1)).unwrap();
    for round in 1..=20 {
        let is_inside = Shared::new(0_u8).unwrap();
        let holder: Process<()> = brigade::spawn((value.clone(), is_inside.clone()), |(value, is_inside)| {
            let mut locked = value.lock().unwrap();
            *locked = large(99);
            is_inside.store(1);
            sleep_for_ever()
        })
        .unwrap();
        wait_until("the holder is inside", || is_inside.load() == 1);
        assert_eq!(value.try_lock().unwrap_err(), SharedMutexError::WouldBlock);
        assert_eq!(number_of(&value.load()), round);
        holder.kill();
        let before = Stopwatch::start();
        *value.lock().unwrap() = large(round + 1);
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    }
    assert_eq!(number_of(&value.lock().unwrap()), 21);
}

#[test]
fn a_panic_or_a_discard_leaves_a_locked_value_as_it_was() {
    let value = SharedMutex::new([1_u32, 1]).unwrap();
    let panicked = std::panic::catch_unwind(|| {
        let mut locked = value.lock().unwrap();
        locked[0] = 2;
        panic!("as the test wants");
    });
    assert!(panicked.is_err());
    assert_eq!(*value.lock().unwrap(), [1, 1]);
    let mut locked = value.lock().unwrap();
    locked[0] = 3;
    locked.discard();
    assert_eq!(value.load(), [1, 1]);
    *value.lock().unwrap() = [4, 4];
    assert_eq!(value.load(), [4, 4]);
}

#[test]
fn a_forked_process_is_refused_the_lock_and_leaves_its_parents_alone() {
    let value = SharedMutex::new([1_u64; 4]).unwrap();
    let mut locked = value.lock().unwrap();
    locked[0] = 2;
    let code = brigade_sys::kernel::fork::code_of_fork(|| {
        let is_refused = matches!(value.try_lock(), Err(SharedMutexError::Forked));
        i32::from(!is_refused || value.load() != [1; 4])
    });
    assert_eq!(code.unwrap(), Some(0));
    assert_eq!(value.try_lock().unwrap_err(), SharedMutexError::WouldBlock);
    drop(locked);
    assert_eq!(value.load(), [2, 1, 1, 1]);
}

#[test]
fn waiting_for_a_locked_value_ends_at_the_deadline() {
    let value = SharedMutex::new(0_u64).unwrap();
    let locked = value.lock().unwrap();
    let other = value.clone();
    let before = Instant::now();
    assert_eq!(other.lock_timeout(Duration::from_millis(50)).unwrap_err(), SharedMutexError::Timeout);
    assert!(before.elapsed() >= Duration::from_millis(50));
    drop(locked);
    drop(other.lock_timeout(Duration::from_millis(50)).unwrap());
    drop(other.lock_timeout(Duration::MAX).unwrap());
}

#[test]
fn a_fresh_slice_is_zeroed_also_when_its_memory_was_used_before() {
    for n_elements in [1, 10, 512, 513, 100_000] {
        for _ in 0..3 {
            let slice = SharedSlice::<u32>::new(n_elements).unwrap();
            assert!(slice.read(0..n_elements).iter().all(|&element| element == 0));
            slice.write(0, &vec![u32::MAX; n_elements]);
        }
        let value = Shared::new([0_u8; 64]).unwrap();
        assert_eq!(value.load(), [0; 64]);
    }
}

#[test]
fn a_child_changes_a_slice_in_place_and_the_parent_sees_it() {
    let numbers = SharedSlice::<i64>::new(10).unwrap();
    numbers.write(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let child: Process<()> = brigade::spawn(numbers.clone(), |numbers| {
        for idx in 1..numbers.len() {
            numbers.store(idx, numbers.load(idx - 1) + numbers.load(idx));
        }
    })
    .unwrap();
    child.join().unwrap();
    assert_eq!(numbers.read(0..10), [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]);
    assert_eq!(numbers.read(3..5), [10, 15]);
    assert_eq!(numbers.read(4..4), [0_i64; 0]);
}

#[test]
fn a_slice_refuses_what_lies_outside() {
    let slice = SharedSlice::<u16>::new(3).unwrap();
    // By the slice, which knows what it has, and not by the mapping beneath.
    let is_refused = |call: &dyn Fn()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
        panic.downcast_ref::<String>().is_some_and(|text| text.contains("of a slice of 3"))
    };
    assert!(is_refused(&|| assert_eq!(slice.load(3), 0)));
    assert!(is_refused(&|| slice.store(usize::MAX, 1)));
    assert!(is_refused(&|| drop(slice.read(2..4))));
    #[expect(clippy::reversed_empty_ranges, reason = "it is what must be refused")]
    let reversed = 2..1;
    assert!(is_refused(&|| drop(slice.read(reversed.clone()))));
    assert!(is_refused(&|| slice.write(2, &[1, 2])));
    assert!(is_refused(&|| slice.write(usize::MAX, &[1])));
    slice.write(1, &[1, 2]);
    assert_eq!(slice.read(0..3), [0, 1, 2]);
    assert!(SharedSlice::<u64>::new(usize::MAX).is_err());
    assert!(SharedSlice::<u64>::new(0).unwrap().is_empty());
}

#[test]
fn handles_refuse_to_be_written_by_another_format() {
    let error = serde_json::to_string(&Shared::new(1_u8).unwrap()).unwrap_err().to_string();
    assert!(error.contains("Shared<u8>"), "{error}");
    let error = serde_json::to_string(&SharedMutex::new(1_u8).unwrap()).unwrap_err().to_string();
    assert!(error.contains("SharedMutex<u8>"), "{error}");
}

#[test]
fn a_blob_is_the_same_bytes_in_every_process_and_can_be_sent_on() {
    let numbers: Vec<u64> = (0..100_000).collect();
    let mut builder = Blob::builder(800_000).unwrap();
    assert!(builder.iter().all(|&byte| byte == 0));
    builder.as_mut_slice::<u64>().unwrap().copy_from_slice(&numbers);
    let blob = builder.seal().unwrap();
    let copied = Blob::from_slice(&numbers).unwrap();
    assert_eq!(&*blob, &*copied);
    let child: Process<Blob> = brigade::spawn(vec![blob.clone(), copied], |blobs: Vec<Blob>| {
        let sum = |blob: &Blob| blob.as_slice::<u64>().unwrap().iter().sum::<u64>();
        let grandchild = brigade::spawn(blobs[1].clone(), |blob| blob.len());
        assert_eq!(grandchild.unwrap().join().unwrap(), 800_000);
        Blob::from_slice(&blobs.iter().map(sum).collect::<Vec<_>>()).unwrap()
    })
    .unwrap();
    let sums = child.join().unwrap();
    assert_eq!(sums.as_slice::<u64>(), Some(&[4_999_950_000; 2][..]));
    assert!(Blob::from_slice(&[0_u8; 7]).unwrap().as_slice::<u32>().is_none());
    assert!(Blob::builder(0).unwrap().seal().unwrap().is_empty());
    assert!(Blob::builder(usize::MAX).is_err());
}

#[test]
fn a_blob_goes_through_a_queue_and_stays_after_its_sender() {
    let queue = Queue::bounded(2).unwrap();
    let sender: Process<()> = brigade::spawn(queue.clone(), |queue| {
        queue.put((1_u32, Blob::from_slice(&[5_u16; 1000]).unwrap())).unwrap();
    })
    .unwrap();
    sender.join().unwrap();
    let (number, blob): (u32, Blob) = queue.get().unwrap();
    assert_eq!((number, blob.as_slice::<u16>()), (1, Some(&[5; 1000][..])));
}

#[test]
fn nobody_can_change_a_blob() {
    use std::io::Write;
    use std::os::fd::AsFd;

    let blob = Blob::from_slice(b"for good").unwrap();
    let mut file = std::fs::File::from(blob.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(file.write_all(b"changed!").unwrap_err().raw_os_error(), Some(1));
    assert_eq!(file.set_len(0).unwrap_err().raw_os_error(), Some(1));
    assert_eq!(file.set_len(1 << 20).unwrap_err().raw_os_error(), Some(1));
    assert_eq!(&*blob, b"for good");
}

/// A descriptor on its way out, a blob on its way in: what a broken sender could do.
#[derive(Debug)]
struct Smuggled(Option<Descriptor>);

impl Serialize for Smuggled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Smuggled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Blob>::deserialize(deserializer).map(|_| Self(None))
    }
}

#[test]
fn memory_that_could_still_change_is_no_blob() {
    let pool = Pool::new(1).unwrap();
    // The first message of a type is read back by its sender; a hostile sender would not do that.
    let blob = std::os::fd::AsFd::as_fd(&Blob::from_slice(&[1_u8]).unwrap()).try_clone_to_owned().unwrap();
    pool.apply(Smuggled(Some(blob.into())), |_| ()).unwrap();
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let open = rustix::fs::memfd_create(c"open", flags).unwrap();
    let shrinkable = rustix::fs::memfd_create(c"shrinkable", flags).unwrap();
    rustix::fs::fcntl_add_seals(&shrinkable, rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::GROW).unwrap();
    let file = std::os::fd::OwnedFd::from(std::fs::File::open("/dev/zero").unwrap());
    for memory in [open, shrinkable, file] {
        let refused = pool.apply(Smuggled(Some(memory.into())), |_| ()).unwrap_err();
        assert!(matches!(refused, TaskError::DecodeArgs(_)), "{refused:?}");
    }
}

#[test]
fn a_gibibyte_is_handed_over_within_10_ms() {
    const N_BYTES: usize = 1 << 30;
    let mut builder = Blob::builder(N_BYTES).unwrap();
    (builder[0], builder[N_BYTES - 1]) = (7, 9);
    let blob = builder.seal().unwrap();
    let pool = Pool::new(1).unwrap();
    let ends = |blob: Blob| (blob[0], blob[blob.len() - 1]);
    assert_takes_less_than(Duration::from_millis(10), || assert_eq!(pool.apply(blob.clone(), ends).unwrap(), (7, 9)));
}
