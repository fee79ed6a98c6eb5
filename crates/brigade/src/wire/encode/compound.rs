//! Values made of values, as they are written: what was opened in encode.rs is filled and closed here.
//! Single scalars, strings and names are written by the `Encoder` itself.

use serde::ser::{self, Error as _, Serialize};

use super::Encoder;
use crate::wire::{Fault, names, tag};

/// Counts above this take eight bytes.
const MAX_SHORT_COUNT: u64 = u8::MAX as u64;
/// Space asked for at once where a sequence announces its length: enough to grow rarely, and harmless if it is wrong.
const MAX_RESERVED_BYTES: usize = 64 << 20;

/// Tag and count of something whose count is sure only at its end.
struct Header {
    start: usize,
    is_long: bool,
}

impl Header {
    #[inline]
    fn start(encoder: &mut Encoder<'_>, announced: Option<usize>) -> Self {
        let is_long = announced.is_none_or(|count| count as u64 > MAX_SHORT_COUNT);
        let header = Self { start: encoder.out.len(), is_long };
        encoder.tag(tag::NOTHING);
        encoder.out.extend_from_slice(if is_long { &[0; 8] } else { &[0] });
        header
    }

    fn content_start(&self) -> usize {
        self.start + if self.is_long { 9 } else { 2 }
    }

    /// Fills in what was left open. The count is the true one, whatever was announced.
    #[inline]
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
pub(in crate::wire) struct Items<'s, 'a> {
    encoder: &'s mut Encoder<'a>,
    header: Header,
    announced: Option<usize>,
    count: u64,
    /// The tag that all elements had; `NOTHING` before the first and after one that differed.
    packed: u8,
    depth_outside: usize,
}

impl<'s, 'a> Items<'s, 'a> {
    /// `depth_outside` is restored at the end: a variant's tuple is two levels below what stands around it.
    #[inline]
    pub(super) fn start(
        encoder: &'s mut Encoder<'a>,
        announced: Option<usize>,
        depth_outside: usize,
    ) -> Result<Self, Fault> {
        encoder.enter()?;
        let header = Header::start(encoder, announced);
        Ok(Self { encoder, header, announced, count: 0, packed: tag::NOTHING, depth_outside })
    }

    #[inline]
    pub(super) const fn is_packing_bytes(&self) -> bool {
        self.packed == tag::U8
    }

    /// More elements of a sequence that had bytes only.
    pub(super) fn append_packed_bytes(&mut self, bytes: &[u8]) {
        self.encoder.out.extend_from_slice(bytes);
        self.count += bytes.len() as u64;
    }

    #[inline]
    pub(super) fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let start = self.encoder.out.len();
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
    #[inline]
    fn consider_packing(&mut self) {
        let first = self.encoder.out[self.header.content_start()];
        if let Some(width_bytes) = tag::scalar_bytes(first) {
            self.packed = first;
            self.encoder.packing = first;
            let expected_bytes = self.announced.unwrap_or(0).saturating_mul(width_bytes);
            self.encoder.out.reserve(expected_bytes.min(MAX_RESERVED_BYTES));
        }
    }

    /// The element at `start` is of another kind: the ones before it get their tags back, but for the first one,
    /// which has it.
    #[inline]
    fn unpack(&mut self, start: usize) {
        if self.count > 2 {
            self.put_tags_back(start);
        }
        self.packed = tag::NOTHING;
    }

    #[cold]
    fn put_tags_back(&mut self, start: usize) {
        let width_bytes =
            tag::scalar_bytes(self.packed).expect("only a scalar's tag gets into `packed`, in consider_packing");
        let second = self.header.content_start() + 1 + width_bytes;
        let tail = self.encoder.out.split_off(second);
        let (packed, last) = tail.split_at(start - second);
        for payload in packed.chunks_exact(width_bytes) {
            self.encoder.out.push(self.packed);
            self.encoder.out.extend_from_slice(payload);
        }
        self.encoder.out.extend_from_slice(last);
    }

    #[inline]
    fn finish(self) {
        let tag = if self.packed == tag::NOTHING { tag::SEQ } else { tag::PACKED };
        self.header.finish(self.encoder.out, tag, self.count);
        self.encoder.packing = tag::NOTHING;
        self.encoder.depth = self.depth_outside;
    }

    /// A tuple has as many elements as it says, or its reader would fail.
    #[inline]
    fn finish_exactly(self) -> Result<(), Fault> {
        let announced = self.announced.unwrap_or(0) as u64;
        if self.count != announced {
            let count = self.count;
            return Err(Fault::custom(format_args!("a tuple announced {announced} elements and has {count}")));
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
pub(in crate::wire) struct Entries<'s, 'a> {
    encoder: &'s mut Encoder<'a>,
    header: Header,
    /// Written without a length: by what serde flattens, whose keys are the names of fields.
    has_fields: bool,
    n_keys: u64,
    n_values: u64,
    depth_outside: usize,
}

impl<'s, 'a> Entries<'s, 'a> {
    pub(super) fn start(
        encoder: &'s mut Encoder<'a>,
        announced: Option<usize>,
        depth_outside: usize,
    ) -> Result<Self, Fault> {
        encoder.enter()?;
        let header = Header::start(encoder, announced);
        Ok(Self { encoder, header, has_fields: announced.is_none(), n_keys: 0, n_values: 0, depth_outside })
    }
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        if self.n_keys != self.n_values {
            return Err(Fault::custom("a map's key is followed by a key"));
        }
        self.n_keys += 1;
        let start = self.encoder.out.len();
        key.serialize(&mut *self.encoder)?;
        if self.has_fields {
            self.encoder.marks.key(&self.encoder.out[start..]);
        }
        Ok(())
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
pub(in crate::wire) struct Fields<'s, 'a> {
    encoder: &'s mut Encoder<'a>,
    depth_outside: usize,
}

impl<'s, 'a> Fields<'s, 'a> {
    pub(super) fn start(encoder: &'s mut Encoder<'a>, depth_outside: usize) -> Result<Self, Fault> {
        encoder.enter()?;
        encoder.tag(tag::STRUCT);
        Ok(Self { encoder, depth_outside })
    }
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

            fn skip_field(&mut self, name: &'static str) -> Result<(), Fault> {
                self.encoder.marks.absence_of(name);
                Ok(())
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
