//! What a client asks of its manager, and what it is answered, as bytes: both sides agree on it here.
//!
//! ```text
//! request   0 kind u8 · 1..8 zero · 8 object: window index u32, generation u32 · 16 entry point, 16 bytes
//!          32 deadline u64 (nanoseconds of CLOCK_MONOTONIC, the largest number for none) · 40 the arguments
//!          handles: those of the arguments, then the line for the answer (Make, Call), then the object (Make, Keep)
//! answer    0 is_error u8 · 1 the value, or a `CallError` · handles: those of the value
//! ```

use std::time::Duration;

use crate::channel::{HandleNote, Patience};
use crate::entry::EntryPoint;
use crate::object::Handle;
use crate::parcel::{Arrival, Parcel};
use crate::session::{WindowId, WindowKind};

use super::errors::CallError;
use super::line::Line;

const HEAD_BYTES: usize = 40;

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Hold on to an object in shared memory. There is no answer.
    Keep,
    /// Call a function and keep what it returns as an object.
    Make,
    /// Call a function with an object.
    Call,
}

/// Until when an answer is awaited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Deadline {
    at_ns: u64,
}

impl Deadline {
    pub(super) const NONE: Self = Self { at_ns: u64::MAX };

    pub(super) fn after(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else { return Self::NONE };
        Self { at_ns: now_ns().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)) }
    }

    pub(super) fn is_over(self) -> bool {
        self != Self::NONE && now_ns() >= self.at_ns
    }

    /// How long is left; `None` for ever.
    pub(super) fn left(self) -> Option<Duration> {
        (self != Self::NONE).then(|| Duration::from_nanos(self.at_ns.saturating_sub(now_ns())))
    }

    pub(super) fn patience(self) -> Patience {
        self.left().map_or(Patience::Forever, Patience::at_most)
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, which all processes share.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A request as its sender has it.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) kind: Kind,
    pub(super) object: &'a Handle,
    /// The function; nothing is called to keep an object.
    pub(super) entry: Option<EntryPoint>,
    pub(super) arguments: Parcel,
    pub(super) deadline: Deadline,
}

impl Order<'_> {
    pub(super) fn to_record(&self, answer: Option<&Line>) -> (Vec<u8>, Vec<HandleNote>) {
        let object = self.object.note();
        let (index, generation) = object.window.to_parts();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.arguments.bytes.len());
        bytes.extend([self.kind as u8, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(index.to_le_bytes());
        bytes.extend(generation.to_le_bytes());
        bytes.extend(self.entry.map_or([0; 16], EntryPoint::to_bytes));
        bytes.extend(self.deadline.at_ns.to_le_bytes());
        bytes.extend(&self.arguments.bytes);
        let mut notes = self.arguments.notes();
        notes.extend(answer.map(|line| line.0.note()));
        if self.kind != Kind::Call {
            notes.push(object);
        }
        (bytes, notes)
    }
}

/// A request as the manager has it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) object: WindowId,
    /// The object itself, if it is new.
    pub(super) anchor: Option<Handle>,
    pub(super) entry: EntryPoint,
    pub(super) deadline: Deadline,
    pub(super) arguments: Arrival,
    pub(super) answer: Option<Line>,
}

impl Request {
    /// Reads a record. `None` if no client has written it, or its handles could not be counted here.
    pub(super) fn from_record(mut record: Arrival) -> Option<Self> {
        let head: [u8; HEAD_BYTES] = *record.bytes.first_chunk()?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes of forty"));
        let kind = match head[0] {
            0 => Kind::Keep,
            1 => Kind::Make,
            2 => Kind::Call,
            _ => return None,
        };
        let anchor = if kind == Kind::Call { None } else { Some(record.handles.pop()??) };
        let answer = if kind == Kind::Keep { None } else { Some(Line(record.handles.pop()??)) };
        if answer.as_ref().is_some_and(|line| line.0.object().kind() != WindowKind::Queue) {
            return None;
        }
        record.bytes.drain(..HEAD_BYTES);
        Some(Self {
            kind,
            object: WindowId::from_parts(word(8) as u32, (word(8) >> 32) as u32),
            anchor,
            entry: EntryPoint::from_bytes(&head[16..32].try_into().expect("sixteen bytes of forty")),
            deadline: Deadline { at_ns: word(32) },
            arguments: record,
            answer,
        })
    }
}

/// An answer as it is sent: its bytes, and the value whose handles must outlive the sending.
pub(super) fn answer_bytes(outcome: &Result<Parcel, CallError>) -> Vec<u8> {
    match outcome {
        Ok(value) => {
            let mut bytes = Vec::with_capacity(1 + value.bytes.len());
            bytes.push(0);
            bytes.extend(&value.bytes);
            bytes
        }
        Err(error) => {
            let mut bytes = vec![1];
            bytes.extend(Parcel::pack(error).expect("errors are plain text and numbers").bytes);
            bytes
        }
    }
}

/// Reads an answer.
pub(super) fn parse_answer(mut record: Arrival) -> Result<Arrival, CallError> {
    let is_error = record.bytes.first().is_none_or(|&first| first != 0);
    record.bytes.drain(..record.bytes.len().min(1));
    if is_error { Err(record.unpack().unwrap_or_else(CallError::DecodeResult)) } else { Ok(record) }
}
