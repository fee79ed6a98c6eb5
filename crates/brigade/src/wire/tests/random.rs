//! Values made at random come back equal; JSON is the oracle where it can hold them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::{decode, encode};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Tree {
    Leaf,
    Number(i64),
    Float(f64),
    Wide(u128),
    Text(String),
    Bytes(Vec<u8>),
    Words(Vec<u32>),
    Layers(Option<Option<Box<Tree>>>),
    Pair(Box<Tree>, char),
    Record(Box<Record>),
    List(Vec<Tree>),
    Map(BTreeMap<String, Tree>),
    Any(Any),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    tree: Tree,
    #[serde(flatten)]
    rest: BTreeMap<String, u16>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Any {
    Flag(bool),
    Named { x: i8, inner: Inner },
    Items(Vec<Inner>),
    Text(String),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "type")]
enum Inner {
    Point { x: u32, y: Vec<u8> },
    Empty,
}

fn inner() -> impl Strategy<Value = Inner> {
    prop_oneof![Just(Inner::Empty), (any::<u32>(), any::<Vec<u8>>()).prop_map(|(x, y)| Inner::Point { x, y }),]
}

fn any_value() -> impl Strategy<Value = Any> {
    prop_oneof![
        any::<bool>().prop_map(Any::Flag),
        (any::<i8>(), inner()).prop_map(|(x, inner)| Any::Named { x, inner }),
        prop::collection::vec(inner(), 1..4).prop_map(Any::Items),
        "[a-z]{0,5}".prop_map(Any::Text),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Leaf),
        any::<i64>().prop_map(Tree::Number),
        // JSON has no infinities, and its reader is off by a bit for some numbers: these are exact.
        any::<i32>().prop_map(|number| Tree::Float(f64::from(number) / 4.0)),
        any::<u64>().prop_map(|number| Tree::Wide(number.into())),
        any::<String>().prop_map(Tree::Text),
        any::<Vec<u8>>().prop_map(Tree::Bytes),
        any::<Vec<u32>>().prop_map(Tree::Words),
        any_value().prop_map(Tree::Any),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let rest = prop::collection::btree_map("[A-Z]{1,3}", any::<u16>(), 0..4);
        prop_oneof![
            prop::option::of(prop::option::of(inner.clone().prop_map(Box::new))).prop_map(Tree::Layers),
            (inner.clone(), any::<char>()).prop_map(|(tree, c)| Tree::Pair(Box::new(tree), c)),
            (any::<Option<String>>(), inner.clone(), rest)
                .prop_map(|(label, tree, rest)| { Tree::Record(Box::new(Record { label, tree, rest })) }),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(Tree::Map),
        ]
    })
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn random_values_come_back_as_they_do_from_json(tree in tree()) {
        let back: Tree = decode(&encode(&tree).unwrap()).unwrap();
        prop_assert_eq!(&back, &tree);
        // `Some(None)` is beyond JSON, so what JSON makes of both is compared and not the values.
        let text = serde_json::to_string(&tree).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text.clone());
        let from_json: Tree = serde_json::from_str(&text).unwrap();
        let again: Tree = decode(&encode(&from_json).unwrap()).unwrap();
        prop_assert_eq!(again, from_json);
    }

    #[test]
    fn random_json_comes_back_equal(value in json()) {
        let back: serde_json::Value = decode(&encode(&value).unwrap()).unwrap();
        prop_assert_eq!(back, value);
    }

    #[test]
    fn random_scalars_come_back_equal(
        wide in any::<(u128, i128)>(), rows in any::<Vec<(i16, char, Option<()>)>>(), bits in any::<Vec<u64>>()
    ) {
        let value = (wide, rows, bits.clone());
        prop_assert_eq!(decode::<((u128, i128), Vec<(i16, char, Option<()>)>, Vec<u64>)>(&encode(&value).unwrap()).unwrap(), value);
        let floats: Vec<f64> = bits.iter().copied().map(f64::from_bits).collect();
        let back: Vec<f64> = decode(&encode(&floats).unwrap()).unwrap();
        prop_assert_eq!(back.into_iter().map(f64::to_bits).collect::<Vec<_>>(), bits);
    }
}
