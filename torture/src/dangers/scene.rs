//! A folder for one try of a danger: a file system in memory of its own, gone with what is mounted below it. What is put into it
//! is said by cases.rs.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, statvfs};

use crate::mounts::{Mount, Scratch, need_root, run};

/// Fields go in this order: what is mounted last is unmounted first.
pub(super) struct Scene {
    inner: Vec<Mount>,
    mount: Mount,
    /// Holds the point that is mounted on.
    _scratch: Scratch,
}

/// Longer than any case needs, so that a tool without end is stopped before the memory is full.
const OPTIONS: &str = "size=1g,mode=755";

impl Scene {
    pub(super) fn new(set: fn(&mut Self)) -> Self {
        need_root();
        let scratch = Scratch::new();
        // A plain user works in it, too.
        fs::set_permissions(scratch.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let mut scene =
            Self { inner: Vec::new(), mount: Mount::tmpfs(&scratch.folder("scene"), OPTIONS), _scratch: scratch };
        set(&mut scene);
        scene
    }

    pub(super) fn folder(&self) -> &Path {
        self.mount.at()
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    pub(super) fn n_free_blocks(&self) -> io::Result<u64> {
        Ok(statvfs(self.folder())?.f_bfree)
    }

    /// Makes a file, with the folders above it.
    pub(super) fn file(&self, name: impl AsRef<Path>, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn set_owner(&self, name: &str, id: u32) {
        chown(self.path(name), Some(id), Some(id)).unwrap();
    }

    pub(super) fn symlink(&self, target: &str, name: &str) {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
    }

    pub(super) fn fifo(&self, name: &str) {
        mknodat(CWD, self.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// The device that takes everything and gives nothing.
    pub(super) fn null(&self, name: &str) {
        mknodat(CWD, self.path(name), FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(1, 3)).unwrap();
    }

    /// Mounts another file system in memory.
    pub(super) fn mount(&mut self, name: &str) {
        let at = self.path(name);
        fs::create_dir_all(&at).unwrap();
        self.inner.insert(0, Mount::tmpfs(&at, "size=1m,mode=755"));
    }

    /// Makes everything a plain user's.
    pub(super) fn give_away(&self) {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(self.folder()));
    }

    /// A file below so many folders of one name that its path is longer than the kernel takes.
    pub(super) fn deep_file(&self, name: &str, level: &str, n_levels: usize) {
        fs::create_dir(self.path(name)).unwrap();
        let mut here: OwnedFd = File::open(self.path(name)).unwrap().into();
        for _ in 0..n_levels {
            mkdirat(&here, level, Mode::RWXU).unwrap();
            here = openat(&here, level, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        let leaf = openat(&here, "leaf", OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR).unwrap();
        rustix::io::write(leaf, b"x").unwrap();
    }
}
