//! What each file system cannot hold, from its type: by this the comparer tells a limit from a fault.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat, minor};
use rustix::io::Errno;

/// The last second that a signed number of 32 bits holds, and so the first.
const END_OF_32_BITS: i64 = i32::MAX as i64;

/// What a file system holds of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of a symbolic link's target.
    target_bytes: u64,
    /// Of a device.
    minor_bits: u32,
    pub(super) has_holes: bool,
    /// Of one attribute, and of all of an entry together.
    attribute_bytes: usize,
    all_attribute_bytes: usize,
    /// The last second, in the forms that the file system can have; the first is the same everywhere.
    last_seconds: &'static [i64],
}

impl Default for Limits {
    fn default() -> Self {
        let most = usize::MAX;
        Self {
            target_bytes: 4095,
            minor_bits: 20,
            has_holes: true,
            attribute_bytes: most,
            all_attribute_bytes: most,
            last_seconds: &[],
        }
    }
}

impl Limits {
    pub(super) fn of(folder: impl AsFd) -> Result<Self, Errno> {
        let unlimited = Self::default();
        Ok(match rustix::fs::fstatfs(folder)?.f_type as u64 {
            // ext4: attributes have one block and what the inode has left. Inodes of 128 bytes hold no more than 32 bits.
            0xef53 => Self {
                attribute_bytes: 3_900,
                all_attribute_bytes: 3_900,
                last_seconds: &[0x3_7fff_ffff, END_OF_32_BITS],
                ..unlimited
            },
            // XFS, with and without `bigtime`.
            0x5846_5342 => Self {
                target_bytes: 1023,
                minor_bits: 18,
                last_seconds: &[16_299_260_424, END_OF_32_BITS],
                ..unlimited
            },
            // btrfs: an attribute is in one leaf of a tree.
            0x9123_683e => Self { attribute_bytes: 16_100, ..unlimited },
            // ramfs.
            0x8584_58f6 => Self { has_holes: false, attribute_bytes: 0, all_attribute_bytes: 0, ..unlimited },
            _ => unlimited,
        })
    }

    /// Whether the file system cannot have this entry at all.
    pub(super) fn cannot_hold(&self, entry: &Stat) -> bool {
        match FileType::from_raw_mode(entry.st_mode) {
            FileType::Symlink => entry.st_size as u64 > self.target_bytes,
            FileType::BlockDevice | FileType::CharacterDevice => minor(entry.st_rdev) >> self.minor_bits != 0,
            _ => false,
        }
    }

    /// Whether an attribute of this length has room beside the others of the entry.
    pub(super) fn takes(&self, value_bytes: usize, all_bytes: usize) -> bool {
        value_bytes < self.attribute_bytes && all_bytes < self.all_attribute_bytes
    }

    /// Whether the file system makes this time that one.
    pub(super) fn turn_into(&self, (seconds, nanoseconds): (i64, i64), copied: (i64, i64)) -> bool {
        self.last_seconds.iter().any(|&last| {
            let nearest = seconds.clamp(-END_OF_32_BITS - 1, last);
            // The kernel keeps no fraction of a second at either end, and inodes of 32 bits have none at all.
            let has_fraction = nearest == seconds && last != END_OF_32_BITS;
            copied == (nearest, if has_fraction { nanoseconds } else { 0 })
        })
    }
}
