//! Whether a folder's positions mean the same to whoever opens it: then its names can be read in portions, by several workers.

use super::folders::Pair;
use crate::calls::{kernel_version, kind_of_file_system};

/// ext4 (also ext2 and ext3), XFS, btrfs and f2fs find a name by a hash or a number that stays with it, as NFS servers need it.
const LASTING: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// tmpfs does so since Linux 6.6. Before, a position was a count, which a removed name shifts.
const TMPFS: u64 = 0x0102_1994;
const LASTING_ON_TMPFS: (u32, u32) = (6, 6);

/// Where it is not known, a folder is read to its end at once.
pub(super) fn has_lasting_positions(pair: &Pair) -> bool {
    match kind_of_file_system(&pair.source) {
        Ok(TMPFS) => kernel_version().is_some_and(|version| version >= LASTING_ON_TMPFS),
        Ok(kind) => LASTING.contains(&kind),
        Err(_) => false,
    }
}
