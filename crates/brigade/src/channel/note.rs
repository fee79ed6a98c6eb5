//! What travels beside the bytes of a message, as it is written down: handles to objects, and descriptors that wait elsewhere.

use crate::session::{Ends, WindowId};

/// Bytes of a note inside a record.
pub(crate) const NOTE_BYTES: usize = 16;
/// Stands where a handle has the kind of its object.
const DESCRIPTORS: u8 = u8::MAX;

/// A handle on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct HandleNote {
    pub(crate) window: WindowId,
    pub(crate) kind: u8,
    pub(crate) ends: Ends,
}

/// What a record carries beside its payload.
///
/// ```text
/// handle:       window index u32 · generation u32 · kind u8 · ends u8 · 0 × 6
/// descriptors:  ticket u64 · 255 u8 · 0 × 7
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Note {
    Handle(HandleNote),
    /// All descriptors of the message, under the number by which they are kept (keeper.rs).
    Descriptors(u64),
}

impl From<HandleNote> for Note {
    fn from(note: HandleNote) -> Self {
        Self::Handle(note)
    }
}

impl Note {
    pub(crate) fn to_bytes(self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        match self {
            Self::Handle(note) => {
                let (index, generation) = note.window.to_parts();
                bytes[0..4].copy_from_slice(&index.to_le_bytes());
                bytes[4..8].copy_from_slice(&generation.to_le_bytes());
                bytes[8] = note.kind;
                bytes[9] = match note.ends {
                    Ends::Both => 0,
                    Ends::Put => 1,
                    Ends::Get => 2,
                };
            }
            Self::Descriptors(ticket) => {
                bytes[0..8].copy_from_slice(&ticket.to_le_bytes());
                bytes[8] = DESCRIPTORS;
            }
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let kind = *bytes.get(8)?;
        if kind == DESCRIPTORS {
            return Some(Self::Descriptors(u64::from_le_bytes(bytes.get(0..8)?.try_into().ok()?)));
        }
        let index = u32::from_le_bytes(bytes.get(0..4)?.try_into().ok()?);
        let generation = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
        let ends = match bytes.get(9)? {
            0 => Ends::Both,
            1 => Ends::Put,
            2 => Ends::Get,
            _ => return None,
        };
        Some(Self::Handle(HandleNote { window: WindowId::from_parts(index, generation), kind, ends }))
    }
}
