//! The doors through which bytes of other processes come in, for fuzz targets (the folder fuzz/) and for a seeded loop in
//! this crate's own tests. Not part of the library: it is here with the feature `fuzzing` and in tests only.

use std::collections::BTreeMap;
use std::time::Duration;

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::kernel::passing::{self, Blocking, MAX_PACKET_BYTES};
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;
use serde::{Deserialize, Serialize};

use crate::child::Instructions;
use crate::last_words::CrashReport;
use crate::parcel::{Received, Receiver};
use crate::{JoinableQueue, Lease, Queue, wire};

/// A value of every kind that the format has.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(untagged)]
enum Any {
    Map(BTreeMap<String, Any>),
    List(Vec<Any>),
    Number(f64),
    Text(String),
}

/// Decodes bytes as many types: a message of whatever origin.
pub fn decode(bytes: &[u8]) {
    let _ = wire::decode::<Any>(bytes);
    let _ = wire::decode::<serde::de::IgnoredAny>(bytes);
    let _ = wire::decode::<Vec<(u8, Option<Option<u64>>, String)>>(bytes);
    let _ = wire::decode::<(Vec<u8>, Vec<f32>, Box<[char]>, u128)>(bytes);
    let _ = wire::decode::<Result<BTreeMap<u32, bool>, crate::TaskError>>(bytes);
    if let Ok(text) = wire::decode::<String>(bytes) {
        let again = wire::encode(&text).expect("a string is encoded");
        assert_eq!(wire::decode::<String>(&again).as_ref(), Ok(&text));
    }
}

/// Decodes what a child is told first, and what it may say last.
pub fn instructions(bytes: &[u8]) {
    if let Ok(instructions) = wire::decode::<Instructions>(bytes) {
        let _ = instructions.entry.caller();
    }
    let _ = wire::decode::<crate::ProcessError>(bytes);
    if let Some(report) = CrashReport::read(bytes) {
        let _ = report.to_string();
    }
}

/// Receives packets, whose sizes are in `bytes` as well, as parcels with whatever handles they claim to hold.
pub fn packets(mut bytes: &[u8]) {
    let Ok((ours, theirs)) = passing::pair() else { return };
    while let Some((size, rest)) = bytes.split_first_chunk() {
        let (packet, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*size)) % MAX_PACKET_BYTES));
        bytes = rest;
        if packet.is_empty() || passing::send(&theirs, &[packet], &[], Blocking::Never).is_err() {
            break;
        }
    }
    drop(theirs);
    let mut receiver = Receiver::default();
    while let Ok(Received::Parcel { arrival, .. }) = receiver.receive(&ours, Blocking::Never) {
        let _ = arrival.unpack::<(Any, Queue<Any>)>();
    }
}

/// Puts and gets in a queue whose state and records are what `bytes` say.
pub fn channel(bytes: &[u8]) {
    let Ok(queue) = Queue::<Any>::bounded(4) else { return };
    let _ = queue.try_put(Any::Text("first".to_owned()));
    let memory = queue.mapping();
    // Not the locks: whoever writes a living owner there makes others wait, and that is all.
    let places = [8, 256, 264, 272, 280, 288, 512, 520, 528, 536, 544, 4096, 4104, 4112, 4120, 4128, 4136];
    damage(memory, &places, bytes);
    let _ = (queue.len(), queue.is_full(), queue.capacity());
    for _ in 0..3 {
        let _ = queue.try_get();
        let _ = queue.try_put(Any::Number(1.0));
    }
}

/// Puts, gets and ends in a joinable queue whose counts, lists and items are what `bytes` say.
pub fn joinable(bytes: &[u8]) {
    let Ok(queue) = JoinableQueue::<Any>::bounded(4) else { return };
    let _ = queue.try_put(Any::Text("first".to_owned()));
    let _ = queue.try_put(Any::Text("a text that does not fit into a slot".repeat(10)));
    let taken = queue.try_get();
    // Capacity, the gap between extents, the header of the items without its lock, and the slots of the two: the last free ones.
    let header = [8, 256, 264, 328, 336, 344, 352, 360, 368];
    let slots = [7936, 7680].into_iter().flat_map(|slot| (0..6).map(move |word_idx| slot + word_idx * 8));
    let places: Vec<usize> = header.into_iter().chain(slots).collect();
    damage(queue.mapping(), &places, bytes);
    let _ = (queue.len(), queue.is_full(), queue.capacity(), queue.n_open());
    drop(taken);
    for _ in 0..3 {
        let _ = queue.try_get().map(Lease::done);
        let _ = queue.try_put(Any::Number(1.0));
        let _ = queue.try_put(Any::Text("another one that does not fit into a slot".repeat(10)));
    }
    let _ = queue.join_timeout(Duration::ZERO);
}

/// Writes words into memory: each is eight bytes, after one that says into which place.
fn damage(memory: &Mapping, places: &[usize], bytes: &[u8]) {
    for chunk in bytes.chunks_exact(9) {
        let Some((&which, word)) = chunk.split_first() else { break };
        let word = word.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        memory.word64(places[usize::from(which) % places.len()]).store(word, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the fuzzer: counts at the end of their range overflowed when one more was put.
    #[test]
    fn a_queue_whose_counts_are_at_their_end_is_no_reason_to_panic() {
        let word = |which: u8, word: u64| [&[which][..], &word.to_le_bytes()].concat();
        // The valid copies of what was put and what was taken, and the tails of the ring.
        channel(&[word(5, u64::MAX), word(7, u64::MAX)].concat());
        channel(&[word(2, u64::MAX), word(5, u64::MAX), word(6, 0), word(7, u64::MAX), word(8, 32)].concat());
    }

    /// A length beyond all memory must not be added to.
    #[test]
    fn a_record_that_says_to_be_longer_than_memory_is_refused() {
        for n_bytes in [u64::MAX, u64::MAX - 3, 1 << 63] {
            channel(&[&[11][..], &n_bytes.to_le_bytes()].concat());
        }
    }

    /// Found by the first slice: a count of items without any bytes was looked at for ever.
    #[test]
    fn items_without_bytes_are_refused_and_not_waited_for() {
        let word = |which: u8, word: u64| [&[which][..], &word.to_le_bytes()].concat();
        channel(&[word(1, 0), word(2, 9), word(3, 0), word(7, 0), word(8, 0)].concat());
    }

    /// Found by edge words in every place: items that are counted and in no list were looked for again and again.
    #[test]
    fn items_that_are_counted_and_not_there_are_refused_and_not_looked_for() {
        joinable(&[&[4][..], &7_u64.to_le_bytes()].concat());
    }

    /// Found likewise: where such an item would lie was added to before it was checked; and memory was taken for as many bytes as
    /// it says to have.
    #[test]
    fn an_item_that_lies_or_reaches_beyond_what_was_written_is_refused() {
        for place in [u64::MAX, u64::MAX - 4096, 1 << 63, 1 << 40] {
            joinable(&[&[20][..], &place.to_le_bytes()].concat());
        }
        let queue = JoinableQueue::bounded(1).unwrap();
        queue.put("a text that does not fit into a slot".repeat(10)).unwrap();
        // The last slot is taken first; behind its state, order and place in a list is its length.
        let length = queue.mapping().word64(4096 + 15 * 256 + 24);
        let n_bytes = length.swap(16 << 30, Ordering::Relaxed);
        assert!(matches!(queue.try_get(), Err(crate::TryGetError::System(_))));
        length.store(n_bytes, Ordering::Relaxed);
        assert_eq!(queue.try_get().unwrap().len(), 360);
    }

    /// Runs every door on valid messages that were damaged, and on bytes of no origin.
    #[test]
    fn damaged_messages_do_no_harm() {
        let given = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
        println!("BRIGADE_SEED={seed}");
        let mut state = seed | 1;
        let mut random = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as usize % end
        };
        let value = Any::List(vec![Any::Number(1.5), Any::Map(BTreeMap::from([("k".into(), Any::Text("v".into()))]))]);
        let mut label = vec![0, 1];
        label.extend(crate::parcel::head_of_plain(7));
        label.extend(wire::encode(&(value.clone(), 0_u8)).unwrap());
        let samples = [wire::encode(&value).unwrap(), wire::encode(&vec![(1_u8, Some(2_u64), "x")]).unwrap(), label];
        let doors = [decode, instructions, packets, channel, joinable];
        for round in 0..4000 {
            let mut bytes = samples[random(samples.len())].clone();
            match random(4) {
                0 => bytes = (0..random(120)).map(|_| random(256) as u8).collect(),
                1 => bytes.truncate(random(bytes.len())),
                2 => {
                    let at = random(bytes.len());
                    bytes.splice(at..at, (0..random(9)).map(|_| 255));
                }
                _ => {}
            }
            for _ in 0..random(4) {
                if !bytes.is_empty() {
                    let at = random(bytes.len());
                    bytes[at] = if random(2) == 0 { random(32) as u8 } else { random(256) as u8 };
                }
            }
            doors[round % doors.len()](&bytes);
        }
    }
}
