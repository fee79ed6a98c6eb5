//! What crosses the wire comes back equal, in every shape that serde can give it, or fails on the sender's side.
//! Bytes that no sender wrote are in `hostile`, values made at random in `random`.

mod hostile;
mod random;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::*;

fn check<T: Serialize + DeserializeOwned>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode_checked(value, out, |bytes| decode::<T>(bytes).map(drop))
}

/// Sends a value with others in front of it and behind it, so that a byte too many or too few is noticed.
#[track_caller]
fn crosses<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let among_others = (1u8, value, "end".to_owned());
    let mut bytes = Vec::new();
    check(&among_others, &mut bytes).unwrap();
    let back: (u8, T, String) = decode(&bytes).unwrap_or_else(|error| panic!("{error}\n{among_others:?}\n{bytes:?}"));
    assert_eq!(back, among_others, "{bytes:?}");
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged<T> {
    Named { value: T },
}
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind")]
enum Internal<T> {
    First,
    Named { value: T },
}
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind", content = "content")]
enum Adjacent<T> {
    First,
    Bare(T),
    Pair(T, T),
    Named { value: T },
}
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Inner<T> {
    value: T,
}
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Flat<T> {
    before: u8,
    #[serde(flatten)]
    inner: Inner<T>,
    #[serde(flatten)]
    rest: BTreeMap<String, T>,
    after: String,
}
type Forms<T> = (T, Untagged<T>, [Internal<T>; 2], [Adjacent<T>; 4], Flat<T>);

/// Also sends the value inside of everything for which serde's derive buffers.
#[track_caller]
fn crosses_buffered<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone>(value: T) {
    let copy = || value.clone();
    let adjacent =
        [Adjacent::Bare(copy()), Adjacent::Pair(copy(), copy()), Adjacent::Named { value: copy() }, Adjacent::First];
    let rest = BTreeMap::from([("x".to_owned(), copy()), ("y".to_owned(), copy())]);
    let flat = Flat { before: 1, inner: Inner { value: copy() }, rest, after: "z".into() };
    let internal = [Internal::Named { value: copy() }, Internal::First];
    crosses::<Forms<T>>((copy(), Untagged::Named { value: copy() }, internal, adjacent, flat));
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct UnitStruct;
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct EmptyStruct {}
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Newtype<T>(T);
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Pair<A, B>(A, B);
#[derive(Serialize, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Clone)]
enum Shape {
    Unit,
    Newtype(Option<Option<u8>>),
    NewtypeOfUnit(()),
    Tuple(u8, String),
    Struct { a: Vec<u8>, b: Option<Box<Shape>> },
    EmptyTuple(),
    EmptyStruct {},
}

fn shapes() -> Vec<Shape> {
    let nested = Shape::Struct { a: vec![1, 2], b: Some(Box::new(Shape::Tuple(3, "four".into()))) };
    vec![
        Shape::Unit,
        Shape::Newtype(None),
        Shape::Newtype(Some(None)),
        Shape::Newtype(Some(Some(7))),
        Shape::NewtypeOfUnit(()),
        Shape::Tuple(1, String::new()),
        Shape::Struct { a: vec![], b: None },
        nested,
        Shape::EmptyTuple(),
        Shape::EmptyStruct {},
    ]
}

#[test]
fn scalars_come_back_equal() {
    crosses_buffered(((), true, '\u{10ffff}', usize::MAX, NonZeroU32::MIN));
    crosses_buffered((u8::MAX, u16::MAX, u32::MAX, u64::MAX));
    crosses_buffered((i8::MIN, i16::MIN, i32::MIN, i64::MIN));
    crosses((u128::MAX, i128::MIN, i128::MAX, 0u128));
    crosses_buffered((f32::MIN_POSITIVE, f64::INFINITY, -0.0f64, f64::MAX));
}

#[test]
fn every_bit_of_a_nan_comes_back() {
    for bits in [0x7ff8_0000_0000_0001u64, 0xfff0_dead_beef_0001, f64::NAN.to_bits()] {
        let back: Vec<f64> = decode(&encode(&vec![f64::from_bits(bits); 2]).unwrap()).unwrap();
        assert_eq!(back.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), [bits; 2]);
    }
    let bits = 0xffc0_1234u32;
    let back: f32 = decode(&encode(&f32::from_bits(bits)).unwrap()).unwrap();
    assert_eq!(back.to_bits(), bits);
}

#[test]
fn strings_and_bytes_of_every_length_come_back() {
    for length in [0, 1, 254, 255, 256, 70_000] {
        crosses_buffered("x".repeat(length));
        crosses_buffered(vec![7u8; length]);
        crosses(vec![1.5f64; length]);
        crosses(vec![(); length]);
        crosses(vec![Some(1u16); length]);
    }
    crosses_buffered("naïve 复件 \u{0} \u{1f600}".to_owned());
}

#[test]
fn options_keep_every_layer() {
    crosses_buffered(None::<Option<Option<u8>>>);
    crosses_buffered(Some(None::<Option<u8>>));
    crosses_buffered(Some(Some(None::<u8>)));
    crosses_buffered(Some(Some(Some(1u8))));
    crosses_buffered(vec![None, Some(())]);
    crosses_buffered(vec![Some(Newtype(None)), None, Some(Newtype(Some(UnitStruct)))]);
}

#[test]
fn structs_and_tuples_come_back_equal() {
    crosses_buffered((UnitStruct, EmptyStruct {}, Newtype(Newtype(5u8)), [[1u32; 3]; 2], [0u8; 0]));
    crosses_buffered(Pair(1u8, vec![Pair("a".to_owned(), ())]));
    crosses_buffered(((1u8, 2u8, 3u8, 4u16, 5u8), (1u8, 2u8, [3u8, 4], 5u8), ((1u8, 2u8), (3u8, 4u8))));
}

#[test]
fn enums_come_back_equal_wherever_they_are() {
    for shape in shapes() {
        crosses_buffered(shape.clone());
        crosses(BTreeMap::from([(shape, 1)]));
    }
    crosses_buffered(vec![Ok::<u8, String>(1), Err("no".into())]);
    crosses((Range { start: 1, end: 5 }, std::cmp::Reverse(3)));
}

#[test]
fn maps_may_have_any_key() {
    crosses_buffered(HashMap::<u8, u8>::new());
    crosses_buffered(HashMap::from([(1u32, "one".to_owned()), (2, "two".to_owned())]));
    crosses_buffered(BTreeMap::from([((1u8, 'x'), vec![1.5f32])]));
    crosses_buffered(BTreeMap::from([(None, 1), (Some(vec![1u8]), 2)]));
    crosses_buffered(BTreeMap::from([(true, ()), (false, ())]));
    crosses_buffered(BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    crosses((0..1000u32).map(|key| (key, key.to_string())).collect::<HashMap<_, _>>());
}

#[test]
fn packed_sequences_fall_back_when_an_element_differs() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(untagged)]
    enum Mixed {
        Number(u32),
        Text(String),
        Many(Vec<Mixed>),
        Nothing,
    }
    use Mixed::{Many, Nothing, Number, Text};
    for n_before in [0, 1, 2, 3, 300] {
        for odd in [Text("x".into()), Many(vec![Number(1), Number(2)]), Nothing] {
            let mut list = vec![Number(9); n_before];
            list.push(odd);
            list.extend([Number(8), Number(7)]);
            crosses_buffered(list.clone());
            crosses(vec![Many(list.clone()), Many(list), Number(1)]);
        }
    }
    crosses_buffered(([Newtype(1.5f64), Newtype(2.5)], [Newtype(1u8), Newtype(2)], ['a', 'b'], [true, false]));
    crosses_buffered(vec![vec![1u8, 2], vec![], vec![3]]);
    crosses(vec![u128::MAX, 1]);
}

#[test]
fn fields_left_out_when_written_are_defaults_when_read() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
    #[serde(default)]
    struct Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u8>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        second: Vec<u8>,
        third: u8,
        #[serde(skip)]
        never: u8,
        #[serde(alias = "old")]
        last: u8,
    }
    let full = Sparse { first: Some(1), second: vec![2], third: 3, never: 0, last: 4 };
    let gaps = Sparse { second: vec![], ..full.clone() };
    crosses_buffered(vec![Sparse::default(), full, gaps]);
}

/// Formats that go by position read the wrong field or variant here, and say nothing.
#[test]
fn what_only_one_direction_skips_does_not_shift_the_rest() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct OneWay {
        #[serde(skip_serializing, default)]
        not_written: u8,
        a: u8,
        #[serde(skip_deserializing)]
        not_read: Vec<Shape>,
        b: u8,
    }
    let value = OneWay { not_written: 0, a: 1, not_read: vec![], b: 2 };
    crosses_buffered(value.clone());
    let written = OneWay { not_written: 9, not_read: shapes(), ..value.clone() };
    assert_eq!(decode::<OneWay>(&encode(&written).unwrap()).unwrap(), value);

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    enum Skipping {
        A,
        #[serde(skip)]
        #[expect(dead_code, reason = "its being there is the point")]
        B,
        C,
        #[serde(rename = "renamed")]
        D(u8),
        #[serde(other)]
        Rest,
    }
    crosses_buffered(vec![Skipping::A, Skipping::C, Skipping::D(4), Skipping::Rest]);
}

/// Ignored values may define names that later ones use.
#[test]
fn skipped_values_do_not_disturb_what_follows() {
    #[derive(Serialize)]
    struct Old {
        gone: (Vec<Shape>, BTreeMap<Shape, Option<f64>>, String, Vec<u32>),
        kept: Vec<Shape>,
    }
    #[derive(Deserialize)]
    struct New {
        kept: Vec<Shape>,
    }
    let map = shapes().into_iter().map(|shape| (shape, Some(1.5))).collect();
    let old = Old { gone: (shapes(), map, "x".into(), vec![1, 2]), kept: shapes() };
    assert_eq!(decode::<New>(&encode(&old).unwrap()).unwrap().kept, old.kept);
}

#[test]
fn untagged_variants_are_found_again() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(untagged)]
    enum Any {
        Flag(bool),
        Pair(u8, String),
        Named {
            shape: Shape,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            more: Option<Box<Any>>,
        },
        Enum(Shape),
        Map(BTreeMap<u32, Any>),
        Text(String),
        Unit,
    }
    let leaf = Any::Named { shape: Shape::Tuple(1, "x".into()), more: None };
    crosses_buffered(vec![
        Any::Flag(true),
        Any::Pair(1, "one".into()),
        leaf.clone(),
        Any::Named { shape: Shape::Unit, more: Some(Box::new(leaf)) },
        Any::Enum(Shape::Struct { a: vec![1], b: None }),
        Any::Map(BTreeMap::from([(7, Any::Flag(false)), (8, Any::Unit)])),
        Any::Text("not a variant".into()),
        Any::Unit,
    ]);
}

#[test]
fn tagged_enums_and_flattened_fields_come_back() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Content {
        a: u8,
        #[serde(default)]
        b: Option<u8>,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(tag = "type")]
    enum Message {
        Nothing,
        Newtype(Content),
        Map(BTreeMap<String, u8>),
        Enum(Shape),
        Unit(UnitStruct),
        Flat {
            x: u8,
            #[serde(flatten)]
            content: Content,
        },
    }
    let content = Content { a: 1, b: Some(2) };
    crosses_buffered(vec![
        Message::Nothing,
        Message::Newtype(content.clone()),
        Message::Map(BTreeMap::from([("k".into(), 1)])),
        Message::Enum(Shape::Unit),
        Message::Enum(Shape::Tuple(1, "x".into())),
        Message::Enum(Shape::Struct { a: vec![1, 2], b: None }),
        Message::Unit(UnitStruct),
        Message::Flat { x: 9, content: content.clone() },
    ]);

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(tag = "struct_tag")]
    struct Tagged {
        #[serde(flatten)]
        message: Message,
        #[serde(flatten)]
        shape: Shape,
        #[serde(flatten)]
        perhaps: Option<Content>,
        address: IpAddr,
    }
    crosses_buffered(Tagged {
        message: Message::Nothing,
        shape: Shape::Newtype(Some(None)),
        perhaps: None,
        address: Ipv6Addr::LOCALHOST.into(),
    });

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    enum External {
        Flat {
            #[serde(flatten)]
            content: Content,
            x: u8,
        },
    }
    crosses_buffered(External::Flat { content, x: 1 });
}

/// serde reads what it buffered as human readable, whatever the format says of itself.
#[test]
fn types_with_a_text_form_come_back_out_of_serdes_buffer() {
    crosses_buffered(IpAddr::from(Ipv4Addr::LOCALHOST));
    crosses_buffered(SocketAddr::from((Ipv6Addr::LOCALHOST, 80)));
    crosses_buffered((Duration::new(1, 2), SystemTime::UNIX_EPOCH + Duration::new(3, 4)));
    crosses_buffered(PathBuf::from("/x/y"));
    use std::os::unix::ffi::OsStringExt;
    crosses_buffered(std::ffi::OsString::from_vec(vec![b'a', 0xff, b'\n']));
}

#[test]
fn json_values_come_back_equal() {
    crosses_buffered(json!(null));
    crosses_buffered(json!({
        "null": null, "list": [1, -1, 1.5, "x", [], {}, [null]], "big": u64::MAX, "small": i64::MIN,
        "nested": {"": {"a": [true, false]}}
    }));
}

/// serde_json's `RawValue` is written as a struct and read as a newtype struct, both under a name with a dollar.
#[test]
fn a_private_struct_that_is_read_as_a_newtype_comes_back() {
    #[derive(PartialEq, Debug, Clone)]
    struct Raw(String);
    impl Serialize for Raw {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut fields = serializer.serialize_struct("$raw", 1)?;
            fields.serialize_field("$raw", &self.0)?;
            fields.end()
        }
    }
    impl<'de> Deserialize<'de> for Raw {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct RawVisitor;
            impl<'de> Visitor<'de> for RawVisitor {
                type Value = Raw;

                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("raw text")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                    assert_eq!(map.next_key::<String>()?.as_deref(), Some("$raw"));
                    map.next_value().map(Raw)
                }
            }
            deserializer.deserialize_newtype_struct("$raw", RawVisitor)
        }
    }
    crosses(vec![Raw("{}".into()), Raw("[1]".into())]);
}

#[test]
fn many_names_keep_their_numbers() {
    macro_rules! wide {
        ($($name:ident)*) => {
            #[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
            struct Wide { $($name: Option<Box<Wide>>,)* value: u8 }
            impl Wide {
                fn all(value: u8) -> Self {
                    let leaf = || Some(Box::new(Wide { value, ..Wide::default() }));
                    Self { $($name: leaf(),)* value }
                }
            }
        };
    }
    wide! { a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 }
    crosses_buffered(vec![Wide::all(1), Wide::default(), Wide::all(2)]);

    let names: Vec<&'static str> =
        (0..1000).map(|number| &*Box::leak(format!("name {number}").into_boxed_str())).collect();
    struct Many<'a>(&'a [&'static str]);
    impl Serialize for Many<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut fields = serializer.serialize_struct("Many", self.0.len())?;
            for name in self.0 {
                fields.serialize_field(name, name)?;
            }
            fields.end()
        }
    }
    let bytes = encode(&[Many(&names), Many(&names)]).unwrap();
    let back: [HashMap<String, String>; 2] = decode(&bytes).unwrap();
    assert!(back.iter().all(|map| map.len() == 1000 && map.iter().all(|(key, name)| key == name)));
}

#[test]
fn a_length_that_is_not_known_or_not_true_does_no_harm() {
    struct Lying(Option<usize>, u32);
    impl Serialize for Lying {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple};
            let mut both = serializer.serialize_tuple(3)?;
            struct Seq<'a>(&'a Lying);
            impl Serialize for Seq<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut seq = serializer.serialize_seq(self.0.0)?;
                    (0..self.0.1).try_for_each(|item| seq.serialize_element(&item))?;
                    seq.end()
                }
            }
            struct Map<'a>(&'a Lying);
            impl Serialize for Map<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut map = serializer.serialize_map(self.0.0)?;
                    (0..self.0.1).try_for_each(|item| map.serialize_entry(&item, "x"))?;
                    map.end()
                }
            }
            both.serialize_element(&Seq(self))?;
            both.serialize_element(&Map(self))?;
            both.serialize_element(&7u8)?;
            both.end()
        }
    }
    for announced in [None, Some(0), Some(3), Some(255), Some(256), Some(1000)] {
        for count in [0, 3, 255, 256, 1000] {
            let bytes = encode(&Lying(announced, count)).unwrap();
            let (seq, map, end) = decode::<(Vec<u32>, BTreeMap<u32, String>, u8)>(&bytes).unwrap();
            assert!(seq.into_iter().eq(0..count) && map.into_keys().eq(0..count));
            assert_eq!(end, 7);
        }
    }

    struct ShortTuple;
    impl Serialize for ShortTuple {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(2)?;
            tuple.serialize_element(&1u8)?;
            tuple.end()
        }
    }
    assert_eq!(encode(&ShortTuple).unwrap_err().message(), "a tuple announced 2 elements and has 1");
}

#[test]
fn a_value_that_cannot_be_written_leaves_the_output_alone_and_is_named() {
    #[derive(Serialize)]
    struct Holder {
        fine: Vec<u8>,
        bad: Refusing,
    }
    struct Refusing;
    impl Serialize for Refusing {
        fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("refused"))
        }
    }
    let mut out = vec![1, 2, 3];
    let error = encode_into(&Holder { fine: vec![9; 100], bad: Refusing }, &mut out).unwrap_err();
    assert_eq!(out, [1, 2, 3]);
    assert!(error.type_name().ends_with("Holder"), "{}", error.type_name());
    assert_eq!(error.to_string(), format!("cannot encode {}: refused", error.type_name()));
    crosses_buffered(error);

    let error = decode::<Vec<String>>(&[]).unwrap_err();
    assert_eq!(error.to_string(), "cannot decode alloc::vec::Vec<alloc::string::String>: the bytes end too early");
    crosses_buffered(error);
}

#[test]
fn what_the_receiver_could_not_read_fails_at_the_sender() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Wide {
        Number(u128),
    }
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(rename(serialize = "a", deserialize = "b"))]
        field: u8,
    }
    #[derive(Serialize, Deserialize)]
    struct Quiet(Vec<Wide>);
    let mut out = vec![7];
    assert!(check(&Renamed { field: 1 }, &mut out).unwrap_err().type_name().ends_with("Renamed"));
    // The first value of its type is fine, so only the 128-bit integer can tell.
    check(&Quiet(vec![]), &mut Vec::new()).unwrap();
    let error = check(&Quiet(vec![Wide::Number(1)]), &mut out).unwrap_err();
    assert!(error.message().starts_with("it would not decode: "), "{error}");
    assert_eq!(out, [7]);
}

/// The first value of its type is fine; what is wrong shows in a later one only.
#[test]
fn a_value_of_a_new_shape_is_checked_though_others_of_its_type_were() {
    #[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
    struct Gap {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        no_default: Vec<u8>,
    }
    #[derive(Serialize, Deserialize)]
    struct TupleGap(#[serde(skip_serializing_if = "Option::is_none")] Option<u8>, u8);
    #[derive(Serialize, Deserialize)]
    enum Sided {
        Good,
        #[serde(rename(serialize = "there", deserialize = "back"))]
        Bad,
        Pair(u8, #[serde(skip_serializing_if = "Option::is_none")] Option<u8>),
    }
    #[derive(Serialize, Deserialize)]
    struct Around {
        before: u8,
        #[serde(flatten)]
        gap: Gap,
    }
    let mut out = Vec::new();
    let refused = |error: Result<(), EncodeError>| assert!(error.unwrap_err().message().contains("not decode"));
    let mut good = Vec::new();
    let (full, empty) = (Gap { no_default: vec![1] }, Gap { no_default: vec![] });
    check(&full, &mut good).unwrap();
    refused(check(&empty, &mut out));
    refused(check(&empty, &mut out));
    check(&vec![full.clone(); 3], &mut good).unwrap();
    refused(check(&vec![full.clone(), empty.clone(), full.clone()], &mut out));
    check(&TupleGap(Some(1), 2), &mut good).unwrap();
    refused(check(&TupleGap(None, 2), &mut out));
    check(&vec![Sided::Good, Sided::Pair(1, Some(2))], &mut good).unwrap();
    refused(check(&vec![Sided::Good, Sided::Bad], &mut out));
    refused(check(&vec![Sided::Pair(1, None)], &mut out));
    check(&Around { before: 1, gap: full }, &mut good).unwrap();
    refused(check(&Around { before: 1, gap: empty }, &mut out));
    assert!(out.is_empty());
}

#[test]
fn a_value_is_not_checked_again_for_its_size_or_the_order_of_its_parts() {
    let mut n_read = 0;
    let mut write = |value: &Vec<Shape>| {
        encode_checked(value, &mut Vec::new(), |_| {
            n_read += 1;
            Ok(())
        })
        .unwrap();
    };
    let mut all = shapes();
    write(&all);
    all.reverse();
    write(&all);
    all.extend(shapes());
    write(&all);
    assert_eq!(n_read, 1);
}

#[test]
fn nesting_is_bounded_alike_on_both_sides() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Node {
        next: Option<Box<Node>>,
    }
    let chain = |n_nodes: usize| (1..n_nodes).fold(Node { next: None }, |tail, _| Node { next: Some(Box::new(tail)) });
    let deepest = chain(MAX_DEPTH / 2);
    assert_eq!(decode::<Node>(&encode(&deepest).unwrap()).unwrap(), deepest);
    let error = encode(&chain(MAX_DEPTH / 2 + 1)).unwrap_err();
    assert_eq!(error.message(), format!("it is nested deeper than {MAX_DEPTH} levels"));

    let lists = |depth: usize| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    crosses_buffered_at_most(lists(MAX_DEPTH));
    assert!(encode(&lists(MAX_DEPTH + 1)).is_err());
    fn crosses_buffered_at_most(value: serde_json::Value) {
        assert_eq!(decode::<serde_json::Value>(&encode(&value).unwrap()).unwrap(), value);
    }

    let variants =
        |n: usize| (0..n).fold(Shape::Unit, |inner, _| Shape::Struct { a: vec![], b: Some(Box::new(inner)) });
    let deep = variants(MAX_DEPTH / 3);
    assert_eq!(decode::<Shape>(&encode(&deep).unwrap()).unwrap(), deep);
    assert!(encode(&variants(MAX_DEPTH / 3 + 1)).is_err());
}

/// A handle describes itself behind `HANDLE`; here the description is a number.
#[derive(PartialEq, Debug, Clone)]
struct Handle(u64);

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(HANDLE, &self.0)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HandleVisitor;
        impl<'de> Visitor<'de> for HandleVisitor {
            type Value = Handle;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a handle")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Handle, D::Error> {
                u64::deserialize(inner).map(Handle)
            }
        }
        deserializer.deserialize_newtype_struct(HANDLE, HandleVisitor)
    }
}

#[test]
fn handles_travel_anywhere_in_a_value_and_nothing_else_passes_for_one() {
    let map = BTreeMap::from([(1, Newtype(Handle(3)))]);
    crosses_buffered((Handle(1), vec![Some((Handle(1), 2u8)), None], map));
    for bytes in [encode(&1u64).unwrap(), encode(&Newtype(1u64)).unwrap()] {
        assert!(decode::<Handle>(&bytes).is_err());
    }
    assert!(decode::<Vec<Handle>>(&encode(&vec![1u8, 2]).unwrap()).is_err());
    assert!(decode::<Vec<Handle>>(&encode(&vec![1u64, 2]).unwrap()).is_err());
}

/// As in JSON: what was written by one type is read by another whose text would be the same.
#[test]
fn readers_are_as_lenient_as_json() {
    fn reads<T: DeserializeOwned + PartialEq + Debug>(written: impl Serialize, expected: T) {
        assert_eq!(decode::<T>(&encode(&written).unwrap()).unwrap(), expected);
    }
    reads(Some(5u8), 5u64);
    reads(5u8, Some(5i64));
    reads((), None::<u8>);
    reads(7u8, 7.0f64);
    reads('x', "x".to_owned());
    reads("Unit", Shape::Unit);
    reads(json!({"Tuple": [1, "x"]}), Shape::Tuple(1, "x".into()));
    reads(BTreeMap::from([("next", ())]), BTreeMap::from([("next".to_owned(), ())]));
    struct Raw(&'static [u8]);
    impl Serialize for Raw {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    reads(Raw(&[1, 2]), vec![1u8, 2]);
    reads(Raw(&[1, 2]), (1u8, 2u8));
}

/// Reads bytes in whichever form they were written, as `serde_bytes` does.
#[derive(PartialEq, Debug)]
struct Buffer(Vec<u8>);

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BufferVisitor;
        impl Visitor<'_> for BufferVisitor {
            type Value = Buffer;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Buffer, E> {
                Ok(Buffer(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(BufferVisitor)
    }
}

#[test]
fn a_packed_sequence_of_bytes_is_a_byte_string_too() {
    for length in [1, 255, 256, 5000] {
        let bytes = vec![3u8; length];
        assert_eq!(decode::<Buffer>(&encode(&bytes).unwrap()).unwrap(), Buffer(bytes));
    }
    assert!(decode::<Buffer>(&encode(&vec![1u16, 2]).unwrap()).is_err());
}

/// Not a claim but a figure: `cargo test --release -p brigade --lib bytes_per_second -- --ignored --nocapture`.
#[test]
#[ignore = "it measures, and claims nothing"]
fn bytes_per_second() {
    let rate = |what: &str, run: &mut dyn FnMut() -> usize| {
        let best = (0..20).map(|_| {
            let start = std::time::Instant::now();
            let n_bytes = std::hint::black_box(run());
            n_bytes as f64 / start.elapsed().as_secs_f64()
        });
        println!("{what}: {:.2} GB/s", best.fold(0.0, f64::max) / 1e9);
    };
    macro_rules! measure {
        ($($element:ty),*) => {$(
            let values = vec![7 as $element; (1 << 20) / size_of::<$element>()];
            let bytes = encode(&values).unwrap();
            let mut out = Vec::with_capacity(2 << 20);
            rate(concat!("encode ", stringify!($element)), &mut || {
                out.clear();
                encode_into(std::hint::black_box(&values), &mut out).unwrap();
                out.len()
            });
            rate(concat!("decode ", stringify!($element)), &mut || {
                decode::<Vec<$element>>(std::hint::black_box(&bytes)).unwrap().len() * size_of::<$element>()
            });
        )*};
    }
    measure!(u8, u16, u32, u64, f64);
}
