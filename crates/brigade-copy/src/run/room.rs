//! Warns as soon as a walk has found more than there is room for. Only what is certain is counted: what lies in folders that this
//! run made. A copy is never broken off for it. What can be refused before is in plan/room.rs.

use std::os::fd::OwnedFd;

use rustix::fs::{fstatfs, fstatvfs};

use crate::event::Note;
use crate::plan::free_blocks;
use crate::task::Counts;

/// File systems that may share blocks between files: btrfs, XFS, bcachefs, OCFS2, ZFS (include/uapi/linux/magic.h and their own).
const SHARING: [u64; 5] = [0x9123_683e, 0x5846_5342, 0xca45_1a4e, 0x7461_636f, 0x2fc1_2fc1];

/// What was free at the beginning. `None`: it is not known, does not matter, or has been said.
#[derive(Debug, Default)]
pub(super) struct Room {
    free_bytes: Option<u64>,
    free_entries: Option<u64>,
}

impl Room {
    /// Between two folders; where there are several pairs, nobody knows what goes where.
    pub(super) fn between(source: &OwnedFd, destination: &OwnedFd) -> Self {
        let (Ok(there), Ok(kind)) = (fstatvfs(destination), fstatfs(destination)) else {
            return Self::default();
        };
        let is_one = fstatvfs(source).is_ok_and(|here| here.f_fsid == there.f_fsid);
        let may_share = is_one && SHARING.contains(&(kind.f_type as u64));
        Self {
            free_bytes: (there.f_blocks > 0 && !may_share).then(|| free_blocks(&there).saturating_mul(there.f_frsize)),
            free_entries: (there.f_files > 0).then_some(there.f_ffree),
        }
    }

    /// What is to be said now, once.
    pub(super) fn exceeded(&mut self, counts: &Counts) -> Vec<Note> {
        let bytes = self.free_bytes.take_if(|free| counts.bytes_needed > *free);
        let entries = self.free_entries.take_if(|free| counts.n_needed > *free);
        let bytes = bytes.map(|free_bytes| Note::BytesShort { needed_bytes: counts.bytes_needed, free_bytes });
        let entries = entries.map(|n_free| Note::EntriesShort { n_needed: counts.n_needed, n_free });
        bytes.into_iter().chain(entries).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_of_room_is_said_once_and_only_when_it_is_certain() {
        let mut room = Room { free_bytes: Some(100), free_entries: Some(10) };
        assert_eq!(room.exceeded(&Counts { bytes_needed: 100, n_needed: 10, ..Counts::default() }), []);
        let more = Counts { bytes_needed: 101, n_needed: 11, ..Counts::default() };
        assert_eq!(
            room.exceeded(&more),
            [Note::BytesShort { needed_bytes: 101, free_bytes: 100 }, Note::EntriesShort { n_needed: 11, n_free: 10 },]
        );
        assert_eq!(room.exceeded(&more), []);
        assert_eq!(Room::default().exceeded(&more), []);
    }
}
