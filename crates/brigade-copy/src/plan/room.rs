//! Refuses what cannot succeed for want of room, as far as that can be told without a walk. What is found out on the way is in
//! run/room.rs.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, StatVfs, StatVfsMountFlags, fstatfs, fstatvfs};
use rustix::io::Errno;

use super::{Pair, Place, open_mark};
use crate::calls::statat;
use crate::error::{Refusal, Want};
use crate::names::{Kind, name_of};

/// `msdos_super_operations`, of FAT in all its sizes: include/uapi/linux/magic.h.
const MSDOS_MAGIC: u64 = 0x4d44;

/// The largest file that FAT holds.
const MSDOS_MOST_BYTES: u64 = u32::MAX as u64;

/// Refuses a pair whose destination certainly has to be written, and cannot be. One that is there may be right as it is.
pub(super) fn check(pair: &Pair) -> Result<(), Refusal> {
    let Place::Named { folder, name } = &pair.destination_place else {
        return Ok(());
    };
    // What cannot be looked at now is met again by the copy itself.
    let Ok(folder) = open_mark(folder) else { return Ok(()) };
    let Ok(there) = fstatvfs(&folder) else { return Ok(()) };
    let present = statat(&folder, name_of(name).as_c_str(), AtFlags::SYMLINK_NOFOLLOW);
    if !matches!(present, Err(Errno::NOENT)) {
        return Ok(());
    }
    match want(pair, &folder, &there) {
        Some(want) => Err(Refusal::NoRoom { destination: pair.destination.clone(), want }),
        None => Ok(()),
    }
}

fn want(pair: &Pair, folder: &OwnedFd, there: &StatVfs) -> Option<Want> {
    let n_bytes = length_of(pair).unwrap_or(0);
    let has_contents = pair.kind == Kind::Folder || n_bytes > 0;
    let most_bytes = fstatfs(folder).ok().filter(|there| there.f_type as u64 == MSDOS_MAGIC).map(|_| MSDOS_MOST_BYTES);
    // A file system that counts neither says that it has none in all.
    if there.f_flag.contains(StatVfsMountFlags::RDONLY) {
        Some(Want::Writable)
    } else if has_contents && there.f_blocks > 0 && free_blocks(there) == 0 {
        Some(Want::Bytes)
    } else if there.f_files > 0 && there.f_ffree == 0 {
        Some(Want::Entries)
    } else if most_bytes.is_some_and(|most| n_bytes > most) {
        Some(Want::LargeFiles)
    } else {
        None
    }
}

/// The length of a source that is a file.
fn length_of(pair: &Pair) -> Option<u64> {
    match &pair.source_place {
        Place::Named { folder, name } if pair.kind == Kind::File => {
            let folder = open_mark(folder).ok()?;
            let stat = statat(&folder, name_of(name).as_c_str(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
            u64::try_from(stat.st_size).ok()
        }
        _ => None,
    }
}

/// What this user may fill: some is reserved for root.
pub(crate) fn free_blocks(there: &StatVfs) -> u64 {
    if rustix::process::geteuid().is_root() { there.f_bfree } else { there.f_bavail }
}
