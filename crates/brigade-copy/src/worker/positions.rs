//! Whether a folder's positions mean the same to whoever opens it: then its names can be read in portions, by several workers.

use rustix::io::Errno;

use super::folders::Pair;

/// ext4 (also ext2 and ext3), XFS, btrfs and f2fs find a name by a hash or a number that stays with it, as NFS servers need it.
const LASTING: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// tmpfs does so since Linux 6.6. Before, a position was a count, which a removed name shifts.
const TMPFS: u64 = 0x0102_1994;
const LASTING_ON_TMPFS: (u32, u32) = (6, 6);

/// Where it is not known, a folder is read to its end at once.
pub(super) fn has_lasting_positions(pair: &Pair) -> bool {
    let Ok(stat) = rustix::fs::fstatfs(&pair.source) else {
        return false;
    };
    match stat.f_type as u64 {
        TMPFS => kernel_version().is_ok_and(|version| version >= LASTING_ON_TMPFS),
        kind => LASTING.contains(&kind),
    }
}

fn kernel_version() -> Result<(u32, u32), Errno> {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().map_err(|_| Errno::ILSEQ)?.split(['.', '-']).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(Errno::INVAL),
    }
}
