//! File systems of which one says how much room there is. What is copied onto them is not known here.
#![expect(clippy::unwrap_used, reason = "a campaign that cannot make its file systems has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use rustix::io::Errno;

use super::judge::Room;
use crate::mounts::{Image, Mount, Scratch, run};

/// What runs out, and of what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Bytes of a file system in memory.
    TmpfsBytes,
    /// Inodes of a file system in memory.
    TmpfsInodes,
    /// Bytes of an ext4.
    Ext4Bytes,
    /// Inodes of an ext4.
    Ext4Inodes,
    /// Bytes of an xfs.
    XfsBytes,
    /// Bytes of a btrfs.
    BtrfsBytes,
    /// What a quota of a btrfs allows.
    BtrfsQuota,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TmpfsBytes,
        Self::TmpfsInodes,
        Self::Ext4Bytes,
        Self::Ext4Inodes,
        Self::XfsBytes,
        Self::BtrfsBytes,
        Self::BtrfsQuota,
    ];
}

/// A mounted file system with a folder for copies.
pub(super) struct Place {
    kind: Kind,
    mount: Mount,
    folder: PathBuf,
}

impl Place {
    pub(super) fn new(kind: Kind, scratch: &Scratch) -> Self {
        let at = scratch.folder(format!("{kind:?}"));
        let image = scratch.path(format!("{kind:?} image"));
        let mount = match kind {
            Kind::TmpfsBytes | Kind::TmpfsInodes => Mount::tmpfs(&at, "size=1g"),
            Kind::Ext4Bytes => Mount::ext4(&image, &at),
            Kind::Ext4Inodes => {
                let mkfs = ["-q", "-F", "-b", "4096", "-N", "1024"];
                Mount::fresh(&Image { mkfs: &mkfs, ..Image::EXT4 }, &image, &at)
            }
            Kind::XfsBytes => Mount::xfs(&image, &at),
            Kind::BtrfsBytes => {
                // Else all room for files may become that for names, or the other way round, and not at once go back.
                let mkfs = ["-q", "-f", "--mixed"];
                Mount::fresh(&Image { mkfs: &mkfs, ..Image::BTRFS }, &image, &at)
            }
            Kind::BtrfsQuota => Mount::btrfs(&image, &at),
        };
        let folder = at.join("subvolume");
        if kind == Kind::BtrfsQuota {
            run(Command::new("btrfs").args(["quota", "enable"]).arg(&at));
            run(Command::new("btrfs").args(["subvolume", "create"]).arg(&folder));
        } else {
            fs::create_dir(&folder).unwrap();
        }
        if matches!(kind, Kind::Ext4Bytes | Kind::XfsBytes | Kind::BtrfsBytes) {
            // Only ever cut short: what removing it would free, xfs gives back when it likes.
            fs::write(at.join("ballast"), "").unwrap();
        }
        Self { kind, mount, folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What there is for a copy, as the file system says it.
    pub(super) fn room(&self) -> Room {
        let facts = statvfs(&self.folder).unwrap();
        if facts.f_bfree == 0 || facts.f_files > 0 && facts.f_ffree == 0 { Room::None } else { Room::Some }
    }

    fn ballast(&self) -> PathBuf {
        self.mount.at().join("ballast")
    }

    /// Leaves about so much room.
    pub(super) fn make_room(&self, n_bytes: u64, n_inodes: u64) {
        match self.kind {
            // 0 would be no limit at all, and never again a limit.
            Kind::TmpfsBytes => self.mount.remount(&format!("size={}", (n_bytes / 4096 + 1) * 4096)),
            Kind::TmpfsInodes => self.mount.remount(&format!("nr_inodes={}", n_inodes + 3)),
            Kind::Ext4Bytes | Kind::XfsBytes | Kind::BtrfsBytes => self.fill_up(n_bytes),
            Kind::Ext4Inodes => {
                fs::create_dir(self.ballast()).unwrap();
                let n_free = statvfs(self.mount.at()).unwrap().f_ffree;
                for number in n_inodes..n_free {
                    fs::write(self.ballast().join(number.to_string()), "").unwrap();
                }
            }
            Kind::BtrfsQuota => self.limit(&(n_bytes + (64 << 10)).to_string()),
        }
    }

    /// Makes all room that there is.
    pub(super) fn free_all(&self) {
        match self.kind {
            Kind::TmpfsBytes => self.mount.remount("size=1g"),
            Kind::TmpfsInodes => self.mount.remount("nr_inodes=100k"),
            Kind::BtrfsQuota => self.limit("none"),
            Kind::Ext4Inodes => drop(fs::remove_dir_all(self.ballast())),
            Kind::Ext4Bytes | Kind::XfsBytes | Kind::BtrfsBytes => {
                fs::File::options().write(true).open(self.ballast()).unwrap().set_len(0).unwrap();
            }
        }
        // What was removed is free only then, on some of them.
        syncfs(fs::File::open(self.mount.at()).unwrap()).unwrap();
        let probe = self.folder.join("probe");
        crate::facts::wait_until("what was freed can be used", || {
            fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).is_ok()
        });
    }

    /// Takes what is free, but for about so many bytes.
    fn fill_up(&self, n_bytes: u64) {
        let ballast = fs::File::options().write(true).open(self.ballast()).unwrap();
        let mut n_taken = 0;
        // In ever smaller pieces, since a file system never has quite as much room as it says.
        let mut piece = 64 << 20;
        while piece >= 4096 {
            let facts = statvfs(self.mount.at()).unwrap();
            let n_free = facts.f_bavail * facts.f_frsize;
            if n_free < n_bytes + piece {
                piece /= 2;
                continue;
            }
            match fallocate(&ballast, FallocateFlags::empty(), n_taken, piece) {
                Ok(()) => n_taken += piece,
                Err(Errno::NOSPC) => piece /= 2,
                Err(errno) => panic!("cannot fill {:?}: {errno}", self.kind),
            }
        }
        syncfs(&ballast).unwrap();
    }

    fn limit(&self, limit: &str) {
        run(Command::new("btrfs").args(["qgroup", "limit", limit]).arg(&self.folder));
    }
}
