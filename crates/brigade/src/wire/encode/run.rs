//! Runs of bytes in a sequence: serde hands a `Vec<u8>` over one element at a time, and most byte strings are one. Here they
//! are gathered in an array and appended many at a time. Everything else is done in compound.rs.

use std::fmt::Display;

use serde::ser::{Impossible, Serialize, Serializer};

use super::compound::Items;
use crate::wire::HANDLE;

/// Bytes that are appended together: enough to make the rest of the work disappear.
const CHUNK_BYTES: usize = 512;

/// Writes elements while they are bytes, after a first that was. Returns the one that is none.
pub(super) fn append_bytes<I>(items: &mut Items<'_, '_>, elements: &mut I) -> Option<I::Item>
where
    I: Iterator,
    I::Item: Serialize,
{
    let mut chunk = [0; CHUNK_BYTES];
    let mut n_bytes = 0;
    let mut other = None;
    for element in elements {
        let Ok(byte) = element.serialize(Byte) else {
            other = Some(element);
            break;
        };
        chunk[n_bytes] = byte;
        n_bytes += 1;
        if n_bytes == CHUNK_BYTES {
            items.append_packed_bytes(&chunk);
            n_bytes = 0;
        }
    }
    items.append_packed_bytes(&chunk[..n_bytes]);
    other
}

/// Takes a byte, and refuses anything else at its first call, before anything of it is written.
struct Byte;

/// It is no byte.
#[derive(Debug)]
struct Other;

impl Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a byte")
    }
}

impl std::error::Error for Other {}

impl serde::ser::Error for Other {
    fn custom<M: Display>(_message: M) -> Self {
        Self
    }
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $ok:ty),* $(,)?) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$ok, Other> {
            Err(Other)
        }
    )*};
}

type Compound = Impossible<u8, Other>;

impl Serializer for Byte {
    type Ok = u8;
    type Error = Other;
    type SerializeSeq = Compound;
    type SerializeTuple = Compound;
    type SerializeTupleStruct = Compound;
    type SerializeTupleVariant = Compound;
    type SerializeMap = Compound;
    type SerializeStruct = Compound;
    type SerializeStructVariant = Compound;

    #[inline]
    fn serialize_u8(self, value: u8) -> Result<u8, Other> {
        Ok(value)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<u8, Other> {
        if name == HANDLE { Err(Other) } else { value.serialize(self) }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<u8, Other> {
        Err(Other)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<u8, Other> {
        Err(Other)
    }

    fn is_human_readable(&self) -> bool {
        true
    }

    refuse! {
        serialize_bool(bool) -> u8, serialize_char(char) -> u8, serialize_str(&str) -> u8, serialize_bytes(&[u8]) -> u8,
        serialize_i8(i8) -> u8, serialize_i16(i16) -> u8, serialize_i32(i32) -> u8, serialize_i64(i64) -> u8,
        serialize_i128(i128) -> u8, serialize_u16(u16) -> u8, serialize_u32(u32) -> u8, serialize_u64(u64) -> u8,
        serialize_u128(u128) -> u8, serialize_f32(f32) -> u8, serialize_f64(f64) -> u8,
        serialize_none() -> u8, serialize_unit() -> u8, serialize_unit_struct(&'static str) -> u8,
        serialize_unit_variant(&'static str, u32, &'static str) -> u8,
        serialize_seq(Option<usize>) -> Compound, serialize_tuple(usize) -> Compound,
        serialize_tuple_struct(&'static str, usize) -> Compound,
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Compound,
        serialize_map(Option<usize>) -> Compound, serialize_struct(&'static str, usize) -> Compound,
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Compound,
    }
}
