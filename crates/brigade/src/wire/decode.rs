//! The reading half of the wire format. The bytes are input: they may come from a process that went wrong.
//! What they mean is told in wire.rs.
//!
//! A length or count is compared with the bytes that are left before anything is allocated or skipped, nesting is
//! bounded, and nothing may be left over at the end. Bytes and numbers are taken
//! from the input in input.rs; how a reader walks over elements and fields is in access.rs.

mod access;
mod input;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};

use self::access::{Elements, Entries, Fields, Variant, VariantAsMap, all_read, visit_bytes_as_sequence};
use self::input::unknown_tag;
use super::names::Names;
use super::{Fault, HANDLE, MAX_DEPTH, tag, too_deep};

/// Reads the one value that `bytes` hold.
#[inline]
pub(super) fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let mut decoder = Decoder { input: bytes, next_tag: tag::NOTHING, depth: 0, names: Names::new() };
    let value = T::deserialize(&mut decoder);
    match decoder.input.len() {
        n_left if n_left > 0 && value.is_ok() => Err(Fault::custom(format_args!("{n_left} bytes are left over"))),
        _ => value,
    }
}

pub(super) struct Decoder<'de> {
    input: &'de [u8],
    /// A tag that is known without reading: looked at before, or common to all elements. `NOTHING` otherwise.
    next_tag: u8,
    depth: usize,
    names: Names<'de>,
}

impl<'de> Decoder<'de> {
    /// Reads something that is one level below what stands around it.
    #[inline]
    fn inner<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Gives the visitor what stands here, whatever that is.
    #[inline(never)]
    fn visit<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Result<V::Value, Fault> {
        match tag {
            tag::UNIT => visitor.visit_unit(),
            tag::NONE => visitor.visit_none(),
            tag::SOME => self.inner(|inner| visitor.visit_some(inner)),
            tag::STR => visitor.visit_borrowed_str(self.sized_str()?),
            tag::BYTES => visitor.visit_borrowed_bytes(self.sized_bytes()?),
            tag::STRUCT => self.inner(|inner| inner.fields(|access| visitor.visit_map(access))),
            tag::ENUM_UNIT => visitor.visit_borrowed_str(self.variant_name()?),
            tag::ENUM => {
                let name = Some(self.variant_name()?);
                self.inner(|decoder| visitor.visit_map(VariantAsMap { decoder, name }))
            }
            tag::HANDLE => self.inner(|inner| visitor.visit_newtype_struct(inner)),
            tag::SEQ | tag::SEQ_LONG | tag::PACKED | tag::PACKED_LONG => self.sequence(tag, visitor),
            tag::MAP | tag::MAP_LONG => {
                let n_left = self.count(tag == tag::MAP_LONG, 2)?;
                self.inner(|inner| inner.entries(n_left, |access| visitor.visit_map(access)))
            }
            _ => self.visit_scalar(tag, visitor),
        }
    }

    #[inline]
    fn visit_scalar<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Result<V::Value, Fault> {
        match tag {
            tag::BOOL => visitor.visit_bool(self.bool()?),
            tag::CHAR => visitor.visit_char(self.char()?),
            tag::U8 => visitor.visit_u8(u8::from_le_bytes(self.array()?)),
            tag::U16 => visitor.visit_u16(u16::from_le_bytes(self.array()?)),
            tag::U32 => visitor.visit_u32(u32::from_le_bytes(self.array()?)),
            tag::U64 => visitor.visit_u64(u64::from_le_bytes(self.array()?)),
            tag::U128 => visitor.visit_u128(u128::from_le_bytes(self.array()?)),
            tag::I8 => visitor.visit_i8(i8::from_le_bytes(self.array()?)),
            tag::I16 => visitor.visit_i16(i16::from_le_bytes(self.array()?)),
            tag::I32 => visitor.visit_i32(i32::from_le_bytes(self.array()?)),
            tag::I64 => visitor.visit_i64(i64::from_le_bytes(self.array()?)),
            tag::I128 => visitor.visit_i128(i128::from_le_bytes(self.array()?)),
            tag::F32 => visitor.visit_f32(f32::from_le_bytes(self.array()?)),
            tag::F64 => visitor.visit_f64(f64::from_le_bytes(self.array()?)),
            _ => Err(unknown_tag(tag)),
        }
    }

    #[inline]
    fn sequence<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Result<V::Value, Fault> {
        if matches!(tag, tag::SEQ | tag::SEQ_LONG) {
            let n_left = self.count(tag == tag::SEQ_LONG, 1)?;
            return self.inner(|inner| inner.elements(n_left, tag::NOTHING, visitor));
        }
        let (n_left, packed) = self.packed_count(tag == tag::PACKED_LONG)?;
        if packed == tag::U8 {
            let bytes = self.take(n_left)?;
            return self.inner(|_| visit_bytes_as_sequence(bytes, visitor));
        }
        self.inner(|inner| inner.elements(n_left, packed, visitor))
    }

    #[inline]
    fn elements<V: Visitor<'de>>(&mut self, n_left: usize, packed: u8, visitor: V) -> Result<V::Value, Fault> {
        let mut access = Elements { decoder: self, n_left, packed };
        let value = visitor.visit_seq(&mut access);
        all_read(access.n_left, value)
    }

    fn entries<T>(
        &mut self,
        n_left: usize,
        read: impl FnOnce(&mut Entries<'_, 'de>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut access = Entries { decoder: self, n_left };
        let value = read(&mut access);
        all_read(access.n_left, value)
    }

    #[inline]
    fn fields<T>(&mut self, read: impl FnOnce(&mut Fields<'_, 'de>) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut access = Fields { decoder: self, ended: false };
        let value = read(&mut access)?;
        // Some readers know that a struct has one field and do not look for the end.
        if !access.ended && self.name()?.is_some() {
            return Err(Fault::custom("a struct has more fields than were read"));
        }
        Ok(value)
    }
}

macro_rules! scalars {
    ($($deserialize:ident $visit:ident $type:ty: $tag:ident),* $(,)?) => {$(
        #[inline]
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.plain_tag()? {
                tag::$tag => visitor.$visit(<$type>::from_le_bytes(self.array()?)),
                other => self.visit(other, visitor),
            }
        }
    )*};
}

/// Readers that get what stands here, but for an option around it.
macro_rules! plain {
    ($($deserialize:ident($($argument:ty),*)),* $(,)?) => {$(
        #[inline]
        fn $deserialize<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value, Fault> {
            let tag = self.plain_tag()?;
            self.visit(tag, visitor)
        }
    )*};
}

/// Readers of sequences, to whom a byte string is one as well.
macro_rules! sequences {
    ($($deserialize:ident($($argument:ty),*)),* $(,)?) => {$(
        fn $deserialize<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value, Fault> {
            match self.plain_tag()? {
                tag::BYTES => visit_bytes_as_sequence(self.sized_bytes()?, visitor),
                other => self.visit(other, visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let tag = self.tag()?;
        self.visit(tag, visitor)
    }

    scalars! {
        deserialize_u8 visit_u8 u8: U8, deserialize_u16 visit_u16 u16: U16,
        deserialize_u32 visit_u32 u32: U32, deserialize_u64 visit_u64 u64: U64,
        deserialize_u128 visit_u128 u128: U128,
        deserialize_i8 visit_i8 i8: I8, deserialize_i16 visit_i16 i16: I16,
        deserialize_i32 visit_i32 i32: I32, deserialize_i64 visit_i64 i64: I64,
        deserialize_i128 visit_i128 i128: I128,
        deserialize_f32 visit_f32 f32: F32, deserialize_f64 visit_f64 f64: F64,
    }

    plain! {
        deserialize_bool(), deserialize_char(), deserialize_map(), deserialize_identifier(),
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.plain_tag()? {
            tag::STR => visitor.visit_borrowed_str(self.sized_str()?),
            other => self.visit(other, visitor),
        }
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.plain_tag()? {
            tag::STRUCT => self.inner(|inner| inner.fields(|access| visitor.visit_map(access))),
            other => self.visit(other, visitor),
        }
    }

    sequences! {
        deserialize_seq(), deserialize_tuple(usize), deserialize_tuple_struct(&'static str, usize),
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let tag = self.plain_tag()?;
        if !matches!(tag, tag::PACKED | tag::PACKED_LONG) {
            return self.visit(tag, visitor);
        }
        match self.packed_count(tag == tag::PACKED_LONG)? {
            (count, tag::U8) => visitor.visit_borrowed_bytes(self.take(count)?),
            (count, packed) => self.inner(|inner| inner.elements(count, packed, visitor)),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    /// As in JSON, a unit is no value and any other is `Some`.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tag()? {
            tag::NONE => visitor.visit_none(),
            tag::UNIT => visitor.visit_unit(),
            tag::SOME => self.inner(|inner| visitor.visit_some(inner)),
            other => {
                self.next_tag = other;
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.plain_tag()? {
            tag::UNIT | tag::NONE => visitor.visit_unit(),
            other => self.visit(other, visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == HANDLE {
            return match self.plain_tag()? {
                tag::HANDLE => self.inner(|inner| visitor.visit_newtype_struct(inner)),
                _ => Err(Fault::custom("a handle is wanted and something else is there")),
            };
        }
        // Formats that keep to themselves (serde_json's `RawValue`) write a struct with such a name.
        if name.starts_with('$') {
            return self.deserialize_any(visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.plain_tag()? {
            tag::ENUM_UNIT => {
                let name = self.variant_name()?;
                visitor.visit_enum(BorrowedStrDeserializer::new(name))
            }
            tag::ENUM => {
                let name = self.variant_name()?;
                self.inner(|decoder| visitor.visit_enum(Variant { decoder, name }))
            }
            // What follows was not written as an enum, but can be read as one, as in JSON.
            tag::STR => visitor.visit_enum(BorrowedStrDeserializer::new(self.sized_str()?)),
            tag @ (tag::MAP | tag::MAP_LONG) => {
                let n_left = self.count(tag == tag::MAP_LONG, 2)?;
                self.inner(|inner| {
                    inner.entries(n_left, |access| {
                        MapAccessDeserializer::new(access).deserialize_enum(name, variants, visitor)
                    })
                })
            }
            tag::STRUCT => self.inner(|inner| {
                inner.fields(|access| MapAccessDeserializer::new(access).deserialize_enum(name, variants, visitor))
            }),
            other => self.visit(other, visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.skip()?;
        visitor.visit_unit()
    }

    /// See *Why names, and not positions* in wire.rs.
    fn is_human_readable(&self) -> bool {
        true
    }
}
