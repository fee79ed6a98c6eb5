//! The reading half of the wire format. The bytes are input: they may come from a process that went wrong.
//! What they mean is told in wire.rs.
//!
//! A length or count is compared with the bytes that are left before anything is allocated or skipped, nesting is
//! bounded, and nothing may be left over at the end.

use std::slice;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::names::{self, Names};
use super::{Fault, HANDLE, MAX_DEPTH, tag, too_deep};

/// Elements for which a reader may ask for memory at once where an element can be as short as one byte.
const MAX_HINTED_ELEMENTS: usize = 4096;

/// Reads the one value that `bytes` hold.
pub(super) fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let mut decoder = Decoder {
        input: bytes,
        next_tag: tag::NOTHING,
        depth: 0,
        names: Names::new(),
    };
    let value = T::deserialize(&mut decoder)?;
    match decoder.input.len() {
        0 => Ok(value),
        n_left => Err(Fault::custom(format_args!("{n_left} bytes are left over"))),
    }
}

pub(super) struct Decoder<'de> {
    input: &'de [u8],
    /// A tag that is known without reading: looked at before, or common to all elements. `NOTHING` otherwise.
    next_tag: u8,
    depth: usize,
    names: Names<'de>,
}

#[cold]
fn cut_short() -> Fault {
    Fault::custom("the bytes end too early")
}

#[cold]
fn unknown_tag(tag: u8) -> Fault {
    Fault::custom(format_args!("there is no tag {tag}"))
}

impl<'de> Decoder<'de> {
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.input.split_first_chunk().ok_or_else(cut_short)?;
        self.input = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    fn tag(&mut self) -> Result<u8, Fault> {
        match std::mem::replace(&mut self.next_tag, tag::NOTHING) {
            tag::NOTHING => self.byte(),
            known => Ok(known),
        }
    }

    /// The tag for a reader that did not ask for an option: as in JSON, `Some(x)` is good where `x` is wanted.
    #[inline]
    fn plain_tag(&mut self) -> Result<u8, Fault> {
        loop {
            let tag = self.tag()?;
            if tag != tag::SOME {
                return Ok(tag);
            }
        }
    }

    fn length(&mut self) -> Result<usize, Fault> {
        match self.byte()? {
            u8::MAX => self.long_count(),
            short => Ok(usize::from(short)),
        }
    }

    fn long_count(&mut self) -> Result<usize, Fault> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| cut_short())
    }

    /// The count of a sequence or map, of which each element takes at least `min_bytes`.
    fn count(&mut self, is_long: bool, min_bytes: usize) -> Result<usize, Fault> {
        let count = if is_long {
            self.long_count()?
        } else {
            usize::from(self.byte()?)
        };
        match count.checked_mul(min_bytes) {
            Some(n_bytes) if n_bytes <= self.input.len() => Ok(count),
            _ => Err(cut_short()),
        }
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'de [u8], Fault> {
        let (taken, rest) = self.input.split_at_checked(n_bytes).ok_or_else(cut_short)?;
        self.input = rest;
        Ok(taken)
    }

    fn sized_bytes(&mut self) -> Result<&'de [u8], Fault> {
        let length = self.length()?;
        self.take(length)
    }

    fn sized_str(&mut self) -> Result<&'de str, Fault> {
        let bytes = self.sized_bytes()?;
        std::str::from_utf8(bytes).map_err(Fault::custom)
    }

    /// A field's or variant's name; `None` at the end of the fields.
    fn name(&mut self) -> Result<Option<&'de str>, Fault> {
        let name_idx = match self.byte()? {
            names::DEFINE => {
                let name = self.sized_str()?;
                self.names.push(name);
                return Ok(Some(name));
            }
            names::END => return Ok(None),
            names::FAR => u32::from_le_bytes(self.array()?) as usize,
            near => usize::from(near) - 1,
        };
        let known = self.names.get(name_idx);
        known
            .map(Some)
            .ok_or_else(|| Fault::custom("a name is used before it is defined"))
    }

    fn variant_name(&mut self) -> Result<&'de str, Fault> {
        self.name()?
            .ok_or_else(|| Fault::custom("a variant has no name"))
    }

    fn bool(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Fault::custom(format_args!("{other} is no bool"))),
        }
    }

    fn char(&mut self) -> Result<char, Fault> {
        let code = u32::from_le_bytes(self.array()?);
        char::from_u32(code).ok_or_else(|| Fault::custom(format_args!("{code:#x} is no char")))
    }

    /// Reads something that is one level below what stands around it.
    fn inner<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
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
            tag::SEQ | tag::SEQ_LONG | tag::PACKED | tag::PACKED_LONG => {
                self.sequence(tag, visitor)
            }
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

    fn sequence<V: Visitor<'de>>(&mut self, tag: u8, visitor: V) -> Result<V::Value, Fault> {
        let is_long = matches!(tag, tag::SEQ_LONG | tag::PACKED_LONG);
        if matches!(tag, tag::SEQ | tag::SEQ_LONG) {
            let n_left = self.count(is_long, 1)?;
            return self.inner(|inner| inner.elements(n_left, tag::NOTHING, visitor));
        }
        // The elements' common tag follows the count, so each of them may take one byte less than there is.
        let n_left = self.count(is_long, 1)?;
        let packed = self.byte()?;
        let width_bytes = tag::scalar_bytes(packed).ok_or_else(|| unknown_tag(packed))?;
        if n_left > self.input.len() / width_bytes {
            return Err(cut_short());
        }
        if packed == tag::U8 {
            let bytes = self.take(n_left)?;
            return self.inner(|_| visit_bytes_as_sequence(bytes, visitor));
        }
        self.inner(|inner| inner.elements(n_left, packed, visitor))
    }

    fn elements<V: Visitor<'de>>(
        &mut self,
        n_left: usize,
        packed: u8,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut access = Elements {
            decoder: self,
            n_left,
            packed,
        };
        let value = visitor.visit_seq(&mut access)?;
        all_read(access.n_left)?;
        Ok(value)
    }

    fn entries<T>(
        &mut self,
        n_left: usize,
        read: impl FnOnce(&mut Entries<'_, 'de>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut access = Entries {
            decoder: self,
            n_left,
        };
        let value = read(&mut access)?;
        all_read(access.n_left)?;
        Ok(value)
    }

    fn fields<T>(
        &mut self,
        read: impl FnOnce(&mut Fields<'_, 'de>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut access = Fields {
            decoder: self,
            ended: false,
        };
        let value = read(&mut access)?;
        // Some readers know that a struct has one field and do not look for the end.
        if !access.ended && self.name()?.is_some() {
            return Err(Fault::custom("a struct has more fields than were read"));
        }
        Ok(value)
    }

    /// Passes over one value. Names that it defines count: later values may use them.
    fn skip(&mut self) -> Result<(), Fault> {
        let tag = self.tag()?;
        match tag {
            tag::UNIT | tag::NONE => Ok(()),
            tag::STR | tag::BYTES => self.sized_bytes().map(drop),
            tag::SOME | tag::HANDLE => self.inner(Self::skip),
            tag::ENUM_UNIT => self.variant_name().map(drop),
            tag::ENUM => {
                self.variant_name()?;
                self.inner(Self::skip)
            }
            tag::STRUCT => self.inner(|inner| {
                while inner.name()?.is_some() {
                    inner.skip()?;
                }
                Ok(())
            }),
            tag::SEQ | tag::SEQ_LONG => {
                let count = self.count(tag == tag::SEQ_LONG, 1)?;
                self.inner(|inner| (0..count).try_for_each(|_| inner.skip()))
            }
            tag::MAP | tag::MAP_LONG => {
                let count = self.count(tag == tag::MAP_LONG, 2)?;
                self.inner(|inner| (0..count * 2).try_for_each(|_| inner.skip()))
            }
            tag::PACKED | tag::PACKED_LONG => {
                let count = self.count(tag == tag::PACKED_LONG, 1)?;
                let packed = self.byte()?;
                let width_bytes = tag::scalar_bytes(packed).ok_or_else(|| unknown_tag(packed))?;
                self.take(count.checked_mul(width_bytes).ok_or_else(cut_short)?)
                    .map(drop)
            }
            _ => {
                let width_bytes = tag::scalar_bytes(tag).ok_or_else(|| unknown_tag(tag))?;
                self.take(width_bytes).map(drop)
            }
        }
    }
}

fn all_read(n_left: usize) -> Result<(), Fault> {
    match n_left {
        0 => Ok(()),
        _ => Err(Fault::custom(format_args!(
            "{n_left} more elements than were read"
        ))),
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
        deserialize_bool(), deserialize_char(), deserialize_str(), deserialize_string(), deserialize_map(),
        deserialize_struct(&'static str, &'static [&'static str]), deserialize_identifier(),
    }

    sequences! {
        deserialize_seq(), deserialize_tuple(usize), deserialize_tuple_struct(&'static str, usize),
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let tag = self.plain_tag()?;
        if !matches!(tag, tag::PACKED | tag::PACKED_LONG) {
            return self.visit(tag, visitor);
        }
        let before = self.input;
        let count = self.count(tag == tag::PACKED_LONG, 1)?;
        if self.byte()? == tag::U8 {
            return visitor.visit_borrowed_bytes(self.take(count)?);
        }
        self.input = before;
        self.visit(tag, visitor)
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

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == HANDLE {
            return match self.plain_tag()? {
                tag::HANDLE => self.inner(|inner| visitor.visit_newtype_struct(inner)),
                _ => Err(Fault::custom(
                    "a handle is wanted and something else is there",
                )),
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
                inner.fields(|access| {
                    MapAccessDeserializer::new(access).deserialize_enum(name, variants, visitor)
                })
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

/// The elements of a sequence that are still to be read.
struct Elements<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    n_left: usize,
    /// The tag that all of them have and none of them carries, or `NOTHING`.
    packed: u8,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if self.n_left == 0 {
            return Ok(None);
        }
        self.n_left -= 1;
        self.decoder.next_tag = self.packed;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        match self.packed {
            tag::NOTHING => Some(self.n_left.min(MAX_HINTED_ELEMENTS)),
            _ => Some(self.n_left),
        }
    }
}

/// The keys and values of a map that are still to be read.
struct Entries<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    n_left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if self.n_left == 0 {
            return Ok(None);
        }
        self.n_left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.n_left.min(MAX_HINTED_ELEMENTS))
    }
}

/// The fields of a struct that are still to be read.
struct Fields<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    ended: bool,
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if self.ended {
            return Ok(None);
        }
        match self.decoder.name()? {
            Some(name) => seed
                .deserialize(BorrowedStrDeserializer::new(name))
                .map(Some),
            None => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.decoder)
    }
}

/// A variant with content, for a reader that wants an enum.
struct Variant<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    name: &'de str,
}

impl<'d, 'de> EnumAccess<'de> for Variant<'d, 'de> {
    type Error = Fault;
    type Variant = &'d mut Decoder<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Fault> {
        let variant = seed.deserialize(BorrowedStrDeserializer::<Fault>::new(self.name))?;
        Ok((variant, self.decoder))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        de::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// A variant with content, for a reader that takes anything: serde's buffer knows enums as maps with one entry.
struct VariantAsMap<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    name: Option<&'de str>,
}

impl<'de> MapAccess<'de> for VariantAsMap<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        match self.name.take() {
            Some(name) => seed
                .deserialize(BorrowedStrDeserializer::new(name))
                .map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(&mut *self.decoder)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(usize::from(self.name.is_some()))
    }
}

fn visit_bytes_as_sequence<'de, V: Visitor<'de>>(
    bytes: &'de [u8],
    visitor: V,
) -> Result<V::Value, Fault> {
    let mut access = Bytes(bytes.iter());
    let value = visitor.visit_seq(&mut access)?;
    all_read(access.0.len())?;
    Ok(value)
}

/// Bytes as the elements of a sequence: the commonest packed one, read without a look at any tag.
struct Bytes<'de>(slice::Iter<'de, u8>);

impl<'de> SeqAccess<'de> for Bytes<'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        match self.0.next() {
            Some(byte) => seed.deserialize(Byte(*byte)).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// One element of a packed sequence of bytes.
struct Byte(u8);

impl<'de> Deserializer<'de> for Byte {
    type Error = Fault;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u8(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == HANDLE {
            return Err(Fault::invalid_type(
                Unexpected::Unsigned(self.0.into()),
                &"a handle",
            ));
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
