//! Takes numbers, lengths, names and bytes off the front of a message, and checks each.
//! Which of them belong together is known to decode.rs.

use serde::de::Error as _;

use super::Decoder;
use crate::wire::{Fault, names, tag};

#[cold]
pub(super) fn cut_short() -> Fault {
    Fault::custom("the bytes end too early")
}

#[cold]
pub(super) fn unknown_tag(tag: u8) -> Fault {
    Fault::custom(format_args!("there is no tag {tag}"))
}

fn width_bytes(scalar: u8) -> Result<usize, Fault> {
    tag::scalar_bytes(scalar).ok_or_else(|| unknown_tag(scalar))
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (array, rest) = self.input.split_first_chunk().ok_or_else(cut_short)?;
        self.input = rest;
        Ok(*array)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn tag(&mut self) -> Result<u8, Fault> {
        match std::mem::replace(&mut self.next_tag, tag::NOTHING) {
            tag::NOTHING => self.byte(),
            known => Ok(known),
        }
    }

    /// The tag for a reader that did not ask for an option: as in JSON, `Some(x)` is good where `x` is wanted.
    #[inline]
    pub(super) fn plain_tag(&mut self) -> Result<u8, Fault> {
        loop {
            let tag = self.tag()?;
            if tag != tag::SOME {
                return Ok(tag);
            }
        }
    }

    #[inline]
    pub(super) fn length(&mut self) -> Result<usize, Fault> {
        match self.byte()? {
            u8::MAX => self.long_count(),
            short => Ok(usize::from(short)),
        }
    }

    pub(super) fn long_count(&mut self) -> Result<usize, Fault> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| cut_short())
    }

    /// The count of a sequence or map, of which each element takes at least `min_bytes`.
    pub(super) fn count(&mut self, is_long: bool, min_bytes: usize) -> Result<usize, Fault> {
        let count = if is_long { self.long_count()? } else { usize::from(self.byte()?) };
        match count.checked_mul(min_bytes) {
            Some(n_bytes) if n_bytes <= self.input.len() => Ok(count),
            _ => Err(cut_short()),
        }
    }

    /// The count of a packed sequence and the tag of its elements, which take that many times their width.
    pub(super) fn packed_count(&mut self, is_long: bool) -> Result<(usize, u8), Fault> {
        let count = self.count(is_long, 1)?;
        let packed = self.byte()?;
        if count > self.input.len() / width_bytes(packed)? {
            return Err(cut_short());
        }
        Ok((count, packed))
    }

    #[inline]
    pub(super) fn take(&mut self, n_bytes: usize) -> Result<&'de [u8], Fault> {
        let (taken, rest) = self.input.split_at_checked(n_bytes).ok_or_else(cut_short)?;
        self.input = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn sized_bytes(&mut self) -> Result<&'de [u8], Fault> {
        let length = self.length()?;
        self.take(length)
    }

    #[inline]
    pub(super) fn sized_str(&mut self) -> Result<&'de str, Fault> {
        let bytes = self.sized_bytes()?;
        std::str::from_utf8(bytes).map_err(Fault::custom)
    }

    /// A field's or variant's name; `None` at the end of the fields.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Option<&'de str>, Fault> {
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
        known.map(Some).ok_or_else(|| Fault::custom("a name is used before it is defined"))
    }

    pub(super) fn variant_name(&mut self) -> Result<&'de str, Fault> {
        self.name()?.ok_or_else(|| Fault::custom("a variant has no name"))
    }

    pub(super) fn bool(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Fault::custom(format_args!("{other} is no bool"))),
        }
    }

    pub(super) fn char(&mut self) -> Result<char, Fault> {
        let code = u32::from_le_bytes(self.array()?);
        char::from_u32(code).ok_or_else(|| Fault::custom(format_args!("{code:#x} is no char")))
    }

    /// Passes over one value. Names that it defines count: later values may use them.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
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
                let (count, packed) = self.packed_count(tag == tag::PACKED_LONG)?;
                self.take(count * width_bytes(packed)?).map(drop)
            }
            _ => self.take(width_bytes(tag)?).map(drop),
        }
    }
}
