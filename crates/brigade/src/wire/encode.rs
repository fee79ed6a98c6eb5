//! The writing half of the wire format: serde's calls become bytes at the end of one vector.
//! What the bytes mean is told in wire.rs.

use serde::ser::{self, Error as _, Serialize, Serializer};

use super::names::{self, NamesWritten};
use super::{Fault, HANDLE, MAX_DEPTH, tag, too_deep};

/// Counts above this take eight bytes.
const MAX_SHORT_COUNT: u64 = u8::MAX as u64;
/// Space asked for at once where a sequence announces its length: enough to grow rarely, and harmless if it is wrong.
const MAX_RESERVED_BYTES: usize = 64 << 20;

/// What a message holds that its sender treats specially.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Contents {
    pub(super) handles: bool,
    pub(super) wide_integers: bool,
}

/// Appends `value`; after an error `out` is as before.
pub(super) fn append<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<Contents, Fault> {
    let start = out.len();
    let mut encoder = Encoder::new(out);
    match value.serialize(&mut encoder) {
        Ok(()) => Ok(encoder.contents),
        Err(fault) => {
            out.truncate(start);
            Err(fault)
        }
    }
}

pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    names: NamesWritten,
    depth: usize,
    /// The tag that all elements of the sequence being written had so far. A scalar with this tag leaves it out and
    /// lets the field be; whatever else is written sets it to `NOTHING`, by which the sequence notices.
    packing: u8,
    contents: Contents,
}

impl<'a> Encoder<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        let contents = Contents::default();
        Self {
            out,
            names: NamesWritten::new(),
            depth: 0,
            packing: tag::NOTHING,
            contents,
        }
    }

    fn tag(&mut self, tag: u8) {
        self.packing = tag::NOTHING;
        self.out.push(tag);
    }

    #[inline]
    fn scalar<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) {
        if self.packing != tag {
            self.tag(tag);
        }
        self.out.extend_from_slice(&bytes);
    }

    /// A length known before its content is written.
    fn length(&mut self, length: usize) {
        match u8::try_from(length) {
            Ok(short) if short < u8::MAX => self.out.push(short),
            _ => {
                self.out.push(u8::MAX);
                self.out.extend_from_slice(&(length as u64).to_le_bytes());
            }
        }
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 10);
        self.tag(tag);
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn name(&mut self, name: &'static str) {
        match self.names.number_or_define(name) {
            None => {
                self.out.push(names::DEFINE);
                self.length(name.len());
                self.out.extend_from_slice(name.as_bytes());
            }
            Some(near) if near + 1 < usize::from(names::FAR) => self.out.push(near as u8 + 1),
            Some(far) => {
                self.out.push(names::FAR);
                self.out.extend_from_slice(&(far as u32).to_le_bytes());
            }
        }
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            Err(too_deep())
        } else {
            Ok(())
        }
    }

    /// Writes a value that is one level below what stands around it.
    fn inner<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.enter()?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty => $tag:ident),* $(,)?) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), Fault> {
            self.scalar(tag::$tag, value.to_le_bytes());
            Ok(())
        }
    )*};
}

impl<'s, 'a> Serializer for &'s mut Encoder<'a> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Items<'s, 'a>;
    type SerializeTuple = Items<'s, 'a>;
    type SerializeTupleStruct = Items<'s, 'a>;
    type SerializeTupleVariant = Items<'s, 'a>;
    type SerializeMap = Entries<'s, 'a>;
    type SerializeStruct = Fields<'s, 'a>;
    type SerializeStructVariant = Fields<'s, 'a>;

    scalars! {
        serialize_u8: u8 => U8, serialize_u16: u16 => U16, serialize_u32: u32 => U32, serialize_u64: u64 => U64,
        serialize_i8: i8 => I8, serialize_i16: i16 => I16, serialize_i32: i32 => I32, serialize_i64: i64 => I64,
        serialize_f32: f32 => F32, serialize_f64: f64 => F64,
    }

    fn serialize_u128(self, value: u128) -> Result<(), Fault> {
        self.contents.wide_integers = true;
        self.scalar(tag::U128, value.to_le_bytes());
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Fault> {
        self.contents.wide_integers = true;
        self.scalar(tag::I128, value.to_le_bytes());
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.scalar(tag::BOOL, [u8::from(value)]);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.scalar(tag::CHAR, u32::from(value).to_le_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.bytes(tag::STR, value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        self.bytes(tag::BYTES, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.tag(tag::NONE);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.tag(tag::SOME);
        self.inner(value)
    }

    fn serialize_unit(self) -> Result<(), Fault> {
        self.tag(tag::UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Fault> {
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        if name != HANDLE {
            return value.serialize(self);
        }
        self.contents.handles = true;
        self.tag(tag::HANDLE);
        self.inner(value)
    }

    fn serialize_unit_variant(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        variant: &'static str,
    ) -> Result<(), Fault> {
        self.tag(tag::ENUM_UNIT);
        self.name(variant);
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.tag(tag::ENUM);
        self.name(variant);
        self.inner(value)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, Fault> {
        Items::start(self, length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, Fault> {
        Items::start(self, Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleStruct, Fault> {
        Items::start(self, Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        let depth_outside = self.depth;
        self.tag(tag::ENUM);
        self.name(variant);
        self.enter()?;
        Ok(Items {
            depth_outside,
            ..Items::start(self, Some(length))?
        })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, Fault> {
        let depth_outside = self.depth;
        self.enter()?;
        let header = Header::start(self, length);
        Ok(Entries {
            encoder: self,
            header,
            n_keys: 0,
            n_values: 0,
            depth_outside,
        })
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStruct, Fault> {
        let depth_outside = self.depth;
        self.enter()?;
        self.tag(tag::STRUCT);
        Ok(Fields {
            encoder: self,
            depth_outside,
        })
    }

    fn serialize_struct_variant(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        let depth_outside = self.depth;
        self.enter()?;
        self.tag(tag::ENUM);
        self.name(variant);
        self.enter()?;
        self.tag(tag::STRUCT);
        Ok(Fields {
            encoder: self,
            depth_outside,
        })
    }

    /// See *Why names, and not positions* in wire.rs.
    fn is_human_readable(&self) -> bool {
        true
    }
}

/// Tag and count of something whose count is sure only at its end.
struct Header {
    start: usize,
    is_long: bool,
}

impl Header {
    fn start(encoder: &mut Encoder<'_>, announced: Option<usize>) -> Self {
        let is_long = announced.is_none_or(|count| count as u64 > MAX_SHORT_COUNT);
        let header = Self {
            start: encoder.out.len(),
            is_long,
        };
        encoder.tag(tag::NOTHING);
        encoder
            .out
            .extend_from_slice(if is_long { &[0; 8] } else { &[0] });
        header
    }

    fn content_start(&self) -> usize {
        self.start + if self.is_long { 9 } else { 2 }
    }

    /// Fills in what was left open. The count is the true one, whatever was announced.
    fn finish(&self, out: &mut Vec<u8>, tag: u8, count: u64) {
        let count_start = self.start + 1;
        if !self.is_long && count <= MAX_SHORT_COUNT {
            out[self.start] = tag;
            out[count_start] = count as u8;
            return;
        }
        if !self.is_long {
            out.splice(count_start..count_start, [0; 7]);
        }
        out[self.start] = tag + tag::LONG;
        out[count_start..count_start + 8].copy_from_slice(&count.to_le_bytes());
    }
}

/// A sequence, tuple, tuple struct or tuple variant being written.
///
/// Until an element of another kind comes, scalars are written without their tags, but for the first one's: its tag
/// then stands where the tag of all elements belongs.
pub(super) struct Items<'s, 'a> {
    encoder: &'s mut Encoder<'a>,
    header: Header,
    announced: Option<usize>,
    count: u64,
    /// The tag that all elements had; `NOTHING` before the first and after one that differed.
    packed: u8,
    depth_outside: usize,
}

impl<'s, 'a> Items<'s, 'a> {
    fn start(encoder: &'s mut Encoder<'a>, announced: Option<usize>) -> Result<Self, Fault> {
        let depth_outside = encoder.depth;
        encoder.enter()?;
        let header = Header::start(encoder, announced);
        Ok(Self {
            encoder,
            header,
            announced,
            count: 0,
            packed: tag::NOTHING,
            depth_outside,
        })
    }

    #[inline]
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let start = self.encoder.out.len();
        self.encoder.packing = self.packed;
        value.serialize(&mut *self.encoder)?;
        self.count += 1;
        if self.encoder.packing != self.packed {
            self.unpack(start);
        } else if self.count == 1 {
            self.consider_packing();
        }
        Ok(())
    }

    /// After the first element: if it is a scalar, the others may be as well.
    fn consider_packing(&mut self) {
        let first = self.encoder.out[self.header.content_start()];
        if let Some(width_bytes) = tag::scalar_bytes(first) {
            self.packed = first;
            let expected_bytes = self.announced.unwrap_or(0).saturating_mul(width_bytes);
            self.encoder
                .out
                .reserve(expected_bytes.min(MAX_RESERVED_BYTES));
        }
    }

    /// The element at `start` is of another kind: gives the ones before it their tags back.
    #[cold]
    fn unpack(&mut self, start: usize) {
        let width_bytes = tag::scalar_bytes(self.packed)
            .expect("only a scalar's tag gets into `packed`, in consider_packing");
        let second = self.header.content_start() + 1 + width_bytes;
        let tail = self.encoder.out.split_off(second);
        let (packed, last) = tail.split_at(start - second);
        for payload in packed.chunks_exact(width_bytes) {
            self.encoder.out.push(self.packed);
            self.encoder.out.extend_from_slice(payload);
        }
        self.encoder.out.extend_from_slice(last);
        self.packed = tag::NOTHING;
    }

    fn finish(self) {
        let tag = if self.packed == tag::NOTHING {
            tag::SEQ
        } else {
            tag::PACKED
        };
        self.header.finish(self.encoder.out, tag, self.count);
        self.encoder.packing = tag::NOTHING;
        self.encoder.depth = self.depth_outside;
    }

    /// A tuple has as many elements as it says, or its reader would fail.
    fn finish_exactly(self) -> Result<(), Fault> {
        let announced = self.announced.unwrap_or(0) as u64;
        if self.count != announced {
            let count = self.count;
            return Err(Fault::custom(format_args!(
                "a tuple announced {announced} elements and has {count}"
            )));
        }
        self.finish();
        Ok(())
    }
}

impl ser::SerializeSeq for Items<'_, '_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.item(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish();
        Ok(())
    }
}

macro_rules! tuples {
    ($($trait:ident::$method:ident),* $(,)?) => {$(
        impl ser::$trait for Items<'_, '_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.item(value)
            }

            fn end(self) -> Result<(), Fault> {
                self.finish_exactly()
            }
        }
    )*};
}

tuples! {
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

/// A map being written.
pub(super) struct Entries<'s, 'a> {
    encoder: &'s mut Encoder<'a>,
    header: Header,
    n_keys: u64,
    n_values: u64,
    depth_outside: usize,
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        if self.n_keys != self.n_values {
            return Err(Fault::custom("a map's key is followed by a key"));
        }
        self.n_keys += 1;
        key.serialize(&mut *self.encoder)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.n_values += 1;
        if self.n_keys != self.n_values {
            return Err(Fault::custom("a map's value has no key"));
        }
        value.serialize(&mut *self.encoder)
    }

    fn end(self) -> Result<(), Fault> {
        if self.n_keys != self.n_values {
            return Err(Fault::custom("a map's last key has no value"));
        }
        self.header.finish(self.encoder.out, tag::MAP, self.n_keys);
        self.encoder.depth = self.depth_outside;
        Ok(())
    }
}

/// A struct or struct variant being written. A field that is skipped is simply not there.
pub(super) struct Fields<'s, 'a> {
    encoder: &'s mut Encoder<'a>,
    depth_outside: usize,
}

macro_rules! structs {
    ($($trait:ident),* $(,)?) => {$(
        impl ser::$trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Fault> {
                self.encoder.name(name);
                value.serialize(&mut *self.encoder)
            }

            fn end(self) -> Result<(), Fault> {
                self.encoder.out.push(names::END);
                self.encoder.depth = self.depth_outside;
                Ok(())
            }
        }
    )*};
}

structs! { SerializeStruct, SerializeStructVariant }
