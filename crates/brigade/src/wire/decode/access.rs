//! How a reader of the wire format walks over what is inside of a value, one element, entry or field at a time.
//! What stands in each place is read by the `Decoder`.

use std::slice;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::Decoder;
use crate::wire::{Fault, HANDLE, tag};

/// Elements for which a reader may ask for memory at once where an element can be as short as one byte.
const MAX_HINTED_ELEMENTS: usize = 4096;

/// The elements of a sequence that are still to be read.
pub(super) struct Elements<'d, 'de> {
    pub(super) decoder: &'d mut Decoder<'de>,
    pub(super) n_left: usize,
    /// The tag that all of them have and none of them carries, or `NOTHING`.
    pub(super) packed: u8,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
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
pub(super) struct Entries<'d, 'de> {
    pub(super) decoder: &'d mut Decoder<'de>,
    pub(super) n_left: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
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
pub(super) struct Fields<'d, 'de> {
    pub(super) decoder: &'d mut Decoder<'de>,
    pub(super) ended: bool,
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        if self.ended {
            return Ok(None);
        }
        match self.decoder.name()? {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
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
pub(super) struct Variant<'d, 'de> {
    pub(super) decoder: &'d mut Decoder<'de>,
    pub(super) name: &'de str,
}

impl<'d, 'de> EnumAccess<'de> for Variant<'d, 'de> {
    type Error = Fault;
    type Variant = &'d mut Decoder<'de>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), Fault> {
        let variant = seed.deserialize(BorrowedStrDeserializer::<Fault>::new(self.name))?;
        Ok((variant, self.decoder))
    }
}

impl<'de> VariantAccess<'de> for &mut Decoder<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// A variant with content, for a reader that takes anything: serde's buffer knows enums as maps with one entry.
pub(super) struct VariantAsMap<'d, 'de> {
    pub(super) decoder: &'d mut Decoder<'de>,
    pub(super) name: Option<&'de str>,
}

impl<'de> MapAccess<'de> for VariantAsMap<'_, 'de> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        match self.name.take() {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
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

pub(super) fn visit_bytes_as_sequence<'de, V: Visitor<'de>>(bytes: &'de [u8], visitor: V) -> Result<V::Value, Fault> {
    let mut access = Bytes(bytes.iter());
    let value = visitor.visit_seq(&mut access);
    all_read(access.0.len(), value)
}

/// Bytes as the elements of a sequence: the commonest packed one, read without a look at any tag.
struct Bytes<'de>(slice::Iter<'de, u8>);

impl<'de> SeqAccess<'de> for Bytes<'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
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

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == HANDLE {
            return Err(Fault::invalid_type(Unexpected::Unsigned(self.0.into()), &"a handle"));
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Nothing that was written may be passed over unread.
#[inline]
pub(super) fn all_read<T>(n_left: usize, value: Result<T, Fault>) -> Result<T, Fault> {
    match n_left {
        0 => value,
        _ => value.and_then(|_| Err(Fault::custom(format_args!("{n_left} more elements than were read")))),
    }
}
