//! Types that some formats cannot carry: they cross to a process, through a queue and through a pool, or are refused where
//! they are sent, with their type's name. The format itself is tested in src/wire.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use brigade::{Pool, ProcessError, PutError, Queue, SpawnError, SubmitError, TaskError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Flat {
    before: u8,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Inner {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    perhaps: Option<Option<u8>>,
    last: u64,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Untagged {
    Unit,
    Number(i64),
    Named { name: String },
    Many(Vec<Untagged>),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind")]
enum Internal {
    Empty,
    Inner(Inner),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Empty,
    Pair(u128, Option<Option<()>>),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Nothing {}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Odd {
    flat: Flat,
    untagged: Vec<Untagged>,
    internal: [Internal; 2],
    adjacent: [Adjacent; 3],
    json: serde_json::Value,
    keys: HashMap<(u8, char), u128>,
    more_keys: BTreeMap<Option<i32>, Nothing>,
    text: Cow<'static, str>,
    layers: [Option<Option<u8>>; 3],
}

fn odd() -> Odd {
    let inner = Inner { perhaps: Some(Some(1)), last: u64::MAX };
    let rest = BTreeMap::from([("x".to_owned(), json!([null, 1.5, {"y": []}]))]);
    Odd {
        flat: Flat { before: 1, inner: inner.clone(), rest },
        untagged: vec![
            Untagged::Unit,
            Untagged::Number(-1),
            Untagged::Many(vec![Untagged::Named { name: "n".into() }]),
        ],
        internal: [Internal::Empty, Internal::Inner(Inner { perhaps: None, ..inner })],
        adjacent: [Adjacent::Empty, Adjacent::Pair(u128::MAX, Some(None)), Adjacent::Pair(0, Some(Some(())))],
        json: json!({"a": [1, -1, 1.5, "x", null, true]}),
        keys: HashMap::from([((1, 'x'), u128::MAX), ((2, 'y'), 0)]),
        more_keys: BTreeMap::from([(None, Nothing {}), (Some(-1), Nothing {})]),
        text: Cow::Borrowed("borrowed here, owned there"),
        layers: [None, Some(None), Some(Some(3))],
    }
}

fn crosses<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone>(value: &T) {
    let queue = Queue::bounded(1).expect("a queue");
    queue.put(value.clone()).expect("fits");
    assert_eq!(&queue.get().expect("is there"), value);
    let process = brigade::spawn(value.clone(), |value: T| value).expect("starts");
    assert_eq!(&process.join().expect("returns"), value);
    // With a handle beside it, which the check on the way takes a copy of.
    let process =
        brigade::spawn((queue.clone(), value.clone()), |(queue, value): (Queue<T>, T)| queue.put(value).is_ok());
    assert!(process.expect("starts").join().expect("returns"));
    assert_eq!(&queue.get().expect("is there"), value);
    let pool = Pool::new(1).expect("a pool");
    assert_eq!(&pool.apply(value.clone(), |value: T| value).expect("returns"), value);
}

#[test]
fn odd_types_cross_everywhere() {
    crosses(&odd());
    crosses(&vec![odd(); 3]);
}

/// Its reader wants a field that its writer leaves out: an empty one cannot cross.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Gap {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without_default: Vec<u8>,
}

const FULL: fn() -> Gap = || Gap { without_default: vec![1] };
const EMPTY: fn() -> Gap = || Gap { without_default: Vec::new() };

#[test]
fn what_could_not_be_read_is_refused_where_it_is_sent_also_after_good_ones() {
    crosses(&FULL());
    let queue = Queue::bounded(1).unwrap();
    let Err(PutError::Encode(value, error)) = queue.put(EMPTY()) else { panic!("it was taken") };
    assert_eq!(value, EMPTY());
    assert!(error.type_name().ends_with("Gap"), "{error}");
    assert!(queue.is_empty());

    let Err(SpawnError::Encode(error)) = brigade::spawn((queue.clone(), EMPTY()), |_: (Queue<Gap>, Gap)| ()) else {
        panic!("it was started")
    };
    assert!(error.type_name().contains("Gap"), "{error}");

    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(FULL(), |gap| gap).unwrap(), FULL());
    let Err(SubmitError::Encode { type_name, .. }) = pool.apply_async(EMPTY(), |_: Gap| ()) else {
        panic!("it was submitted")
    };
    assert!(type_name.ends_with("Gap"), "{type_name}");

    // A result is sent by the other side: there it is refused.
    let Err(ProcessError::EncodeResult(error)) = brigade::spawn((), |()| EMPTY()).unwrap().join() else {
        panic!("it was returned")
    };
    assert!(error.type_name().ends_with("Gap"), "{error}");
    let Err(TaskError::EncodeResult(error)) = pool.apply((), |()| EMPTY()) else { panic!("it was returned") };
    assert!(error.type_name().ends_with("Gap"), "{error}");
    assert_eq!(pool.apply(2, |number: u8| number + 1).unwrap(), 3);
}
