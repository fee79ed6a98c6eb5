//! A handle as it is written down: inside a record of a queue, or beside a value that travels otherwise.

use crate::session::{Ends, WindowId};

/// Bytes of a note inside a record.
pub(super) const NOTE_BYTES: usize = 16;

/// A handle inside a record, or on its way beside any other value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct HandleNote {
    pub(crate) window: WindowId,
    pub(crate) kind: u8,
    pub(crate) ends: Ends,
}

impl HandleNote {
    pub(super) fn to_bytes(self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        let (index, generation) = self.window.to_parts();
        bytes[0..4].copy_from_slice(&index.to_le_bytes());
        bytes[4..8].copy_from_slice(&generation.to_le_bytes());
        bytes[8] = self.kind;
        bytes[9] = match self.ends {
            Ends::Both => 0,
            Ends::Put => 1,
            Ends::Get => 2,
        };
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let index = u32::from_le_bytes(bytes.get(0..4)?.try_into().ok()?);
        let generation = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
        let ends = match bytes.get(9)? {
            0 => Ends::Both,
            1 => Ends::Put,
            2 => Ends::Get,
            _ => return None,
        };
        Some(Self { window: WindowId::from_parts(index, generation), kind: *bytes.get(8)?, ends })
    }
}
