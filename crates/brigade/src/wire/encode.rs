//! The writing half of the wire format: serde's calls become bytes at the end of one vector.
//! What the bytes mean is told in wire.rs; sequences, maps and structs are finished in compound.rs.

mod compound;
mod run;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use self::compound::{Entries, Fields, Items};
use super::names::{self, NamesWritten};
use super::shape::{Marks, Shape};
use super::{Fault, HANDLE, MAX_DEPTH, tag, too_deep};

/// What a message holds that its sender treats specially.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Contents {
    pub(super) wide_integers: bool,
    /// `None` if it is like no other.
    pub(super) shape: Option<Shape>,
}

/// Appends `value`; after an error `out` is as before.
#[inline]
pub(super) fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<Contents, Fault> {
    let start = out.len();
    let mut encoder = Encoder::new(out);
    match value.serialize(&mut encoder) {
        Ok(()) => {
            let shape = encoder.marks.with(encoder.names.shape(), encoder.kinds);
            Ok(Contents { shape, ..encoder.contents })
        }
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
    /// The tags that were written, one bit each.
    kinds: u32,
    marks: Marks,
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
            kinds: 0,
            marks: Marks::default(),
        }
    }

    #[inline]
    fn tag(&mut self, tag: u8) {
        self.packing = tag::NOTHING;
        self.kinds |= 1 << tag;
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

    #[inline]
    fn enter(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(too_deep()) } else { Ok(()) }
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

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Fault> {
        if name != HANDLE {
            return value.serialize(self);
        }
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

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self::SerializeSeq, Fault> {
        let depth_outside = self.depth;
        Items::start(self, length, depth_outside)
    }

    /// What `Vec` and slices call, with all their elements at once.
    fn collect_seq<I>(self, elements: I) -> Result<(), Fault>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        let mut elements = elements.into_iter();
        let length = match elements.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        let mut items = self.serialize_seq(length)?;
        while let Some(element) = elements.next() {
            items.item(&element)?;
            if items.is_packing_bytes()
                && let Some(other) = run::append_bytes(&mut items, &mut elements)
            {
                items.item(&other)?;
            }
        }
        SerializeSeq::end(items)
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<Self::SerializeTuple, Fault> {
        let depth_outside = self.depth;
        Items::start(self, Some(length), depth_outside)
    }

    fn serialize_tuple_struct(self, name: &'static str, length: usize) -> Result<Self::SerializeTupleStruct, Fault> {
        self.marks.length_of(name, length);
        let depth_outside = self.depth;
        Items::start(self, Some(length), depth_outside)
    }

    fn serialize_tuple_variant(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        self.marks.length_of(variant, length);
        let depth_outside = self.depth;
        self.tag(tag::ENUM);
        self.name(variant);
        self.enter()?;
        Items::start(self, Some(length), depth_outside)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Self::SerializeMap, Fault> {
        let depth_outside = self.depth;
        Entries::start(self, length, depth_outside)
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Self::SerializeStruct, Fault> {
        let depth_outside = self.depth;
        Fields::start(self, depth_outside)
    }

    fn serialize_struct_variant(
        self,
        _enum_name: &'static str,
        _variant_idx: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        let depth_outside = self.depth;
        self.tag(tag::ENUM);
        self.name(variant);
        self.enter()?;
        Fields::start(self, depth_outside)
    }

    /// See *Why names, and not positions* in wire.rs.
    fn is_human_readable(&self) -> bool {
        true
    }
}
