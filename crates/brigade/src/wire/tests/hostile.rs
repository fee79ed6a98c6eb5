//! Bytes that no sender wrote end in an error, without a panic, without memory that they do not pay for.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::{MAX_DEPTH, decode, encode, names, tag};
use super::{Handle, Shape, shapes};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Buffered {
    Shape(Shape),
    Map(BTreeMap<String, Buffered>),
    List(Vec<Buffered>),
}

/// Reads `bytes` as many things; each may fail, none may panic.
fn read_as_everything(bytes: &[u8]) {
    let _ = decode::<serde_json::Value>(bytes);
    let _ = decode::<Buffered>(bytes);
    let _ = decode::<Vec<Shape>>(bytes);
    let _ = decode::<(u8, Vec<u64>, String)>(bytes);
    let _ = decode::<Vec<(u32, u64, Option<char>)>>(bytes);
    let _ = decode::<BTreeMap<Shape, Vec<f64>>>(bytes);
    let _ = decode::<Option<Option<Handle>>>(bytes);
    let _ = decode::<serde::de::IgnoredAny>(bytes);
    let _ = decode::<(super::Buffer, bool, f32, u128, [u16; 3], ())>(bytes);
}

fn fails<T: DeserializeOwned>(bytes: &[u8], reason: &str) {
    let error = decode::<T>(bytes).err().expect("these bytes are no value");
    assert!(error.message().contains(reason), "{bytes:?}: {error}");
}

#[test]
fn each_kind_of_damage_has_its_reason() {
    fails::<()>(&[tag::UNIT, 0], "1 bytes are left over");
    fails::<u8>(&[tag::NOTHING, 1], "there is no tag 0");
    fails::<u8>(&[200], "there is no tag 200");
    fails::<u64>(&[tag::U64, 1, 2, 3], "end too early");
    fails::<bool>(&[tag::BOOL, 2], "2 is no bool");
    fails::<char>(&[tag::CHAR, 0, 0xd8, 0, 0], "0xd800 is no char");
    fails::<String>(&[tag::STR, 1, 0xff], "utf-8");
    fails::<Shape>(&[tag::ENUM_UNIT, 1], "before it is defined");
    fails::<Shape>(&[tag::ENUM_UNIT, names::END], "a variant has no name");
    fails::<Shape>(&[tag::ENUM_UNIT, names::DEFINE, 1, 0xff], "utf-8");
    fails::<Vec<u8>>(&[tag::PACKED, 1, tag::SEQ, 0], "there is no tag 10");
    fails::<(u8, u8)>(&encode(&[1u8, 2, 3]).unwrap(), "1 more elements");
    fails::<(u8, u8)>(&encode(&(1u8, 'x', 2u8)).unwrap(), "");
    fails::<(u8, u8)>(&encode(&[1u8]).unwrap(), "length 1");
}

/// The tests' allocator is the system's: a count that is believed would end the process here.
#[test]
fn counts_beyond_the_message_are_refused_before_anything_is_allocated() {
    let mut huge = [0; 9];
    huge[1..].copy_from_slice(&(u64::MAX / 3).to_le_bytes());
    for tag in [tag::SEQ_LONG, tag::MAP_LONG, tag::PACKED_LONG] {
        huge[0] = tag;
        for packed in [tag::U8, tag::U128, tag::UNIT] {
            let bytes = [&huge[..], &[packed, 0, 0, 0]].concat();
            fails::<Vec<u8>>(&bytes, "end too early");
            fails::<Vec<[u64; 32]>>(&bytes, "end too early");
            fails::<BTreeMap<u8, u8>>(&bytes, "end too early");
            fails::<serde_json::Value>(&bytes, "end too early");
            fails::<serde::de::IgnoredAny>(&bytes, "end too early");
        }
    }
    for tag in [tag::STR, tag::BYTES] {
        let bytes = [&[tag, u8::MAX][..], &u64::MAX.to_le_bytes(), b"abc"].concat();
        fails::<String>(&bytes, "end too early");
        fails::<Vec<u8>>(&bytes, "end too early");
    }
    fails::<Vec<u16>>(&[tag::PACKED, 3, tag::U16, 1, 0, 2, 0, 3], "end too early");
}

/// In a thread with the stack that std gives to threads, in an unoptimised build.
#[test]
fn bottomless_messages_are_refused_within_a_threads_stack() {
    let read = || {
        let levels: [&[u8]; 6] = [
            &[tag::SOME],
            &[tag::SEQ, 1],
            &[tag::MAP, 1, tag::UNIT],
            &[tag::HANDLE],
            &[tag::ENUM, names::DEFINE, 1, b'a'],
            &[tag::STRUCT, names::DEFINE, 1, b'a'],
        ];
        for level in levels {
            let bytes = level.repeat(100_000);
            read_as_everything(&bytes);
            fails::<serde::de::IgnoredAny>(&bytes, "deeper than");
            fails::<Buffered>(&bytes, "deeper than");
        }
        let list = [tag::SEQ, 1].repeat(MAX_DEPTH - 1);
        let deepest = [&list[..], &[tag::SEQ, 0]].concat();
        assert!(decode::<serde_json::Value>(&deepest).is_ok());
        assert!(decode::<Buffered>(&deepest).is_ok());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(read).unwrap().join().unwrap();
}

#[test]
fn every_prefix_of_a_message_is_an_error() {
    let bytes = encode(&(shapes(), "text", vec![1u32, 2, 3])).unwrap();
    for end in 0..bytes.len() {
        assert!(decode::<(Vec<Shape>, String, Vec<u32>)>(&bytes[..end]).is_err(), "{end}");
        read_as_everything(&bytes[..end]);
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in any::<Vec<u8>>()) {
        read_as_everything(&bytes);
    }

    #[test]
    fn random_tags_do_no_harm(bytes in prop::collection::vec(0u8..32, 0..200)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn damaged_messages_do_no_harm(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let value = (shapes(), BTreeMap::from([(Shape::Unit, vec![1.5f64, 2.5])]), vec![7u16; 5], "text", Handle(1));
        let mut bytes = encode(&value).unwrap();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let _ = decode::<(Vec<Shape>, BTreeMap<Shape, Vec<f64>>, Vec<u16>, String, Handle)>(&bytes);
        read_as_everything(&bytes);
    }
}
