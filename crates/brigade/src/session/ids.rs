//! Names of processes and objects within a session, and what a handle can do.

use brigade_sys::shared::lock::Owner;
use serde::{Deserialize, Serialize};

use super::WINDOW_BYTES;

/// A process of the session: its slot, and which use of the slot it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Participant {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

impl Participant {
    /// How this process is named in lock words.
    pub(crate) fn owner(self) -> Owner {
        Owner::new((u32::from(self.slot) + 1) | self.generation << 14)
    }

    /// The process that a lock word names. One that names none has a slot that there is not.
    pub(super) fn from_owner(owner: Owner) -> Self {
        let number = owner.number();
        Self { slot: ((number & 0x3fff).wrapping_sub(1) & 0x3fff) as u16, generation: number >> 14 }
    }
}

/// A window: its index, and which use of the index it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub(crate) struct WindowId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl WindowId {
    pub(crate) const fn from_parts(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    pub(crate) const fn to_parts(self) -> (u32, u32) {
        (self.index, self.generation)
    }

    pub(super) const fn index(self) -> u32 {
        self.index
    }

    /// Where the window starts in the memfd.
    pub(crate) const fn offset(self) -> u64 {
        self.index as u64 * WINDOW_BYTES
    }
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum WindowKind {
    Queue = 1,
    Slice = 2,
    /// Nothing but a name, whose handles are counted: what it names lives in a manager's process.
    Anchor = 3,
    Shared = 4,
    Mutex = 5,
    JoinableQueue = 6,
    Lock = 16,
    ReentrantLock = 17,
    RwLock = 18,
    Semaphore = 19,
    Event = 20,
    Condition = 21,
    Barrier = 22,
}

impl WindowKind {
    const ALL: [Self; 13] = [
        Self::Queue,
        Self::Slice,
        Self::Anchor,
        Self::Shared,
        Self::Mutex,
        Self::JoinableQueue,
        Self::Lock,
        Self::ReentrantLock,
        Self::RwLock,
        Self::Semaphore,
        Self::Event,
        Self::Condition,
        Self::Barrier,
    ];

    /// The kind with this number, if there is one.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == number)
    }
}

/// Which ends of an object a handle can use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Ends {
    Both,
    Put,
    Get,
}

const ONE_PUTTER: u64 = 1;
pub(super) const ONE_GETTER: u64 = 1 << 24;
/// Added to a row, keeps a window from being freed without being a handle.
pub(super) const ONE_PIN: u64 = 1 << 48;
/// Bits of a row in which handles with one end are counted.
pub(super) const COUNT_MASK: u64 = ONE_GETTER - 1;

impl Ends {
    pub(crate) const fn can_put(self) -> bool {
        matches!(self, Self::Both | Self::Put)
    }

    pub(crate) const fn can_get(self) -> bool {
        matches!(self, Self::Both | Self::Get)
    }

    /// What one such handle adds to a row.
    pub(super) const fn count(self) -> u64 {
        match self {
            Self::Both => ONE_PUTTER + ONE_GETTER,
            Self::Put => ONE_PUTTER,
            Self::Get => ONE_GETTER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::MAX_PARTICIPANTS;

    #[test]
    fn a_lock_word_names_a_process_or_a_slot_that_there_is_not() {
        let last = MAX_PARTICIPANTS as u16 - 1;
        for (slot, generation) in [(0, 0), (last, 0), (3, (1 << 17) - 1)] {
            let process = Participant { slot, generation };
            assert_eq!(Participant::from_owner(process.owner()), process);
        }
        for number in [1 << 14, MAX_PARTICIPANTS as u32 + 1, (1 << 14) - 1, 77 << 14] {
            let nobody = Participant::from_owner(Owner::new(number));
            assert!(usize::from(nobody.slot) >= MAX_PARTICIPANTS, "{nobody:?}");
        }
    }
}
