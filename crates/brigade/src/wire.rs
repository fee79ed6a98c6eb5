//! How a value becomes bytes and a value again, in another process of the same program.
//! Moving the bytes is not done here (rings and segments do it), nor is attaching handles: see the `HANDLE` hook.
//!
//! # The format
//!
//! One tag byte per value, numbers little-endian and of fixed width, everything self-describing:
//!
//! | tag | then |
//! |---|---|
//! | `UNIT NONE` | nothing |
//! | `SOME` | the value |
//! | a scalar (`BOOL U8 … F64 CHAR`) | its 1 to 16 bytes |
//! | `STR BYTES` | length (one byte, or 255 and eight), the bytes |
//! | `SEQ MAP` | count (one byte), elements, or keys and values in turn |
//! | `PACKED` | count, the tag of *every* element, the elements without tags |
//! | `SEQ_LONG MAP_LONG PACKED_LONG` | the same with a count of eight bytes |
//! | `STRUCT` | name, value, name, value, …, `names::END` |
//! | `ENUM_UNIT` / `ENUM` | the variant's name / and its content |
//! | `HANDLE` | the handle's own description of itself |
//!
//! A name is written out once per message and is a number after that (names.rs). Newtype structs leave no trace.
//!
//! # Why names, and not positions
//!
//! serde's derive makes positions wrong silently: `skip_serializing` and `skip_deserializing` shift the fields,
//! `skip` on a variant shifts the index of all later ones, and `flatten`, `untagged` and `tag = ".."` look for names.
//! With names once per message everything that crosses as JSON crosses here, and `Some(None)`, `NaN`, 128-bit
//! integers and keys that are not strings do as well.
//!
//! For the same reason the format says that it is human readable: serde buffers what is flattened, untagged or
//! internally tagged, and reads the buffer as human readable, whatever was written. An `IpAddr` in there would be
//! written as four bytes and looked for as text.
//!
//! # Limits
//!
//! - Values nest at most [`MAX_DEPTH`] deep; deeper ones fail when encoded.
//! - A type whose two halves disagree (`rename(serialize = "a", deserialize = "b")`, a field that may be skipped and has no
//!   default), and a 128-bit integer or a non-string where serde's own buffer cannot hold it, can only be noticed by reading
//!   the bytes back: [`encode_checked`] does that, once for each shape (shape.rs) that values of a type have, and for every
//!   message with a 128-bit integer.

mod decode;
mod encode;
mod names;
mod shape;
#[cfg(test)]
mod tests;

use std::any::type_name;
use std::fmt::Display;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The name under which a handle serializes itself: `serialize_newtype_struct(HANDLE, &description)`.
///
/// No other format is told apart by it: a handle finds out by its own means that it is being written elsewhere.
pub(crate) const HANDLE: &str = "\u{0}brigade::handle";

/// Levels of nesting (options, sequences, maps, structs, variants with content, handles) in one value.
///
/// Bounds the stack that a hostile message can make its reader use: unoptimised readers of `serde_json::Value` and of
/// untagged enums need less than half of a thread's usual 2 MiB at this depth (a test holds them to the whole).
pub(crate) const MAX_DEPTH: usize = 256;

/// Why a value cannot be written for another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot encode {type_name}: {message}")]
pub struct EncodeError {
    type_name: String,
    message: String,
}

impl EncodeError {
    /// The type of the whole value, as `std::any::type_name` gives it.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What stood in the way.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn of<T: ?Sized>(cause: impl Display) -> Self {
        Self { type_name: type_name::<T>().to_owned(), message: cause.to_string() }
    }

    /// The value was encoded, but could not be sent.
    pub(crate) fn unsent(what: &str, cause: impl Display) -> Self {
        Self { type_name: what.to_owned(), message: cause.to_string() }
    }
}

/// Why bytes are not a value of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot decode {type_name}: {message}")]
pub struct DecodeError {
    type_name: String,
    message: String,
}

impl DecodeError {
    /// The type that was wanted, as `std::any::type_name` gives it.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// What was found instead.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value came, and could not be taken in.
    pub(crate) fn not_received(cause: &std::io::Error) -> Self {
        Self { type_name: "a value".to_owned(), message: format!("it could not be received: {cause}") }
    }
}

/// Writes `value` into bytes of its own.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends `value` to `out`; after an error `out` is as before.
pub(crate) fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode::append(value, out).map(|_| ()).map_err(EncodeError::of::<T>)
}

/// Like [`encode_into`], and has `read` read back what was written where only that shows whether the receiver can.
///
/// That is each message whose shape is new for its type in this thread, and each with a 128-bit integer, which serde cannot
/// buffer for `untagged`, `flatten` and `tag`.
#[inline]
pub(crate) fn encode_checked<T: Serialize>(
    value: &T,
    out: &mut Vec<u8>,
    read: impl FnOnce(&[u8]) -> Result<(), DecodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let contents = encode::append(value, out).map_err(EncodeError::of::<T>)?;
    if !contents.wide_integers && shape::is_known::<T>(contents.shape) {
        return Ok(());
    }
    if let Err(cause) = read(&out[start..]) {
        out.truncate(start);
        return Err(EncodeError::of::<T>(format_args!("it would not decode: {}", cause.message())));
    }
    shape::remember::<T>(contents.shape);
    Ok(())
}

/// Reads the one value that `bytes` hold; bytes left over are an error.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode::whole(bytes)
        .map_err(|cause: Fault| DecodeError { type_name: type_name::<T>().to_owned(), message: cause.to_string() })
}

/// A failure inside serde, before the type's name is added to it.
#[derive(Debug)]
struct Fault(Box<str>);

impl Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    #[cold]
    fn custom<M: Display>(message: M) -> Self {
        Self(message.to_string().into_boxed_str())
    }
}

impl serde::de::Error for Fault {
    #[cold]
    fn custom<M: Display>(message: M) -> Self {
        Self(message.to_string().into_boxed_str())
    }
}

#[cold]
fn too_deep() -> Fault {
    serde::ser::Error::custom(format_args!("it is nested deeper than {MAX_DEPTH} levels"))
}

/// The first byte of each value. Zero is no tag, so that fresh memory is no message.
mod tag {
    pub(super) const NOTHING: u8 = 0;
    pub(super) const UNIT: u8 = 1;
    pub(super) const NONE: u8 = 2;
    pub(super) const SOME: u8 = 3;
    pub(super) const STR: u8 = 4;
    pub(super) const BYTES: u8 = 5;
    pub(super) const STRUCT: u8 = 6;
    pub(super) const ENUM_UNIT: u8 = 7;
    pub(super) const ENUM: u8 = 8;
    pub(super) const HANDLE: u8 = 9;
    pub(super) const SEQ: u8 = 10;
    pub(super) const PACKED: u8 = 11;
    pub(super) const MAP: u8 = 12;
    /// Added to `SEQ`, `PACKED` and `MAP` where the count takes eight bytes.
    pub(super) const LONG: u8 = 3;
    pub(super) const SEQ_LONG: u8 = SEQ + LONG;
    pub(super) const PACKED_LONG: u8 = PACKED + LONG;
    pub(super) const MAP_LONG: u8 = MAP + LONG;

    pub(super) const BOOL: u8 = 16;
    pub(super) const U8: u8 = 17;
    pub(super) const U16: u8 = 18;
    pub(super) const U32: u8 = 19;
    pub(super) const U64: u8 = 20;
    pub(super) const U128: u8 = 21;
    pub(super) const I8: u8 = 22;
    pub(super) const I16: u8 = 23;
    pub(super) const I32: u8 = 24;
    pub(super) const I64: u8 = 25;
    pub(super) const I128: u8 = 26;
    pub(super) const F32: u8 = 27;
    pub(super) const F64: u8 = 28;
    pub(super) const CHAR: u8 = 29;

    /// Bytes after the tag of a scalar; `None` for everything else, which cannot be packed.
    pub(super) fn scalar_bytes(tag: u8) -> Option<usize> {
        match tag {
            BOOL | U8 | I8 => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 | CHAR => Some(4),
            U64 | I64 | F64 => Some(8),
            U128 | I128 => Some(16),
            _ => None,
        }
    }
}
