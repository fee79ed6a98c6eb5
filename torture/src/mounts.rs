//! Scratch folders and file systems that are there for a test and go away with it, also when it fails.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that is removed at the end.
#[derive(Debug)]
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty folder among the temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self(within(&std::env::temp_dir()).unwrap())
    }

    /// An empty folder in memory, where there is such a place: for images of disks, which are flushed often.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(within(&memory()).unwrap())
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a folder, with those above it.
    pub fn folder(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Makes a small file that holds its own name, with the folders above it.
    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        path
    }
}

/// Where files are in memory, if there is room for what tests make: else the place of temporary files.
#[must_use]
pub fn memory() -> PathBuf {
    const ROOM_BYTES: u64 = 1 << 30;
    let place = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(place).is_ok_and(|room| room.f_bavail * room.f_frsize >= ROOM_BYTES);
    if has_room { place.to_owned() } else { std::env::temp_dir() }
}

/// A folder whose name says whose it is, so that nobody else takes it for something left behind.
fn within(folder: &Path) -> std::io::Result<tempfile::TempDir> {
    let prefix = format!("brigade-test-{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(folder)
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A file system in an image, on a loop device.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Its name: `mkfs.KIND` makes it, `mount -t KIND` mounts it.
    pub kind: &'a str,
    /// Of the image, nearly all of which is a hole.
    pub n_bytes: u64,
    /// Further words for `mkfs`.
    pub mkfs: &'a [&'a str],
    /// Further words for `mount -o`, separated by commas.
    pub options: &'a str,
}

impl Image<'static> {
    /// An ext4 of 64 MiB.
    pub const EXT4: Self =
        Self { kind: "ext4", n_bytes: 64 << 20, mkfs: &["-q", "-F", "-b", "4096"], options: "defaults" };
    /// An xfs, as small as it can be.
    pub const XFS: Self = Self { kind: "xfs", n_bytes: 320 << 20, mkfs: &["-q", "-f"], options: "defaults" };
    /// A btrfs, as small as it can be with its metadata kept once.
    pub const BTRFS: Self =
        Self { kind: "btrfs", n_bytes: 256 << 20, mkfs: &["-q", "-f", "-m", "single"], options: "defaults" };
}

/// A mount that goes away at the end, and its loop device with it.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// A folder under another name.
    #[must_use]
    pub fn bind(from: &Path, to: &Path) -> Self {
        run(Command::new("mount").arg("--bind").arg(from).arg(to));
        Self(to.to_owned())
    }

    /// Anything that `mount -t KIND -o OPTIONS WHAT` mounts.
    #[must_use]
    pub fn of(kind: &str, options: &str, what: &Path, at: &Path) -> Self {
        run(Command::new("mount").args(["-t", kind, "-o", options]).arg(what).arg(at));
        Self(at.to_owned())
    }

    /// The same, where it may fail: what mount(8) says then.
    ///
    /// # Errors
    /// That.
    pub fn attempt(kind: &str, options: &str, what: &Path, at: &Path) -> Result<Self, String> {
        let output = Command::new("mount").args(["-t", kind, "-o", options]).arg(what).arg(at).output();
        let output = output.map_err(|error| error.to_string())?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then(|| Self(at.to_owned())).ok_or_else(said)
    }

    /// A file system in memory; `options` are those of `mount -o`, such as `size=2m`.
    #[must_use]
    pub fn tmpfs(at: &Path, options: &str) -> Self {
        Self::of("tmpfs", options, Path::new("tmpfs"), at)
    }

    /// A file system that holds no extended attributes.
    #[must_use]
    pub fn ramfs(at: &Path) -> Self {
        Self::of("ramfs", "defaults", Path::new("ramfs"), at)
    }

    /// A fresh ext4 of 64 MiB, in a file that is made for it.
    #[must_use]
    pub fn ext4(image: &Path, at: &Path) -> Self {
        Self::fresh(&Image::EXT4, image, at)
    }

    /// A fresh xfs, in a file that is made for it.
    #[must_use]
    pub fn xfs(image: &Path, at: &Path) -> Self {
        Self::fresh(&Image::XFS, image, at)
    }

    /// A fresh btrfs, in a file that is made for it.
    #[must_use]
    pub fn btrfs(image: &Path, at: &Path) -> Self {
        Self::fresh(&Image::BTRFS, image, at)
    }

    /// A fresh file system of any kind and size, in a file that is made for it.
    #[must_use]
    pub fn fresh(wanted: &Image<'_>, image: &Path, at: &Path) -> Self {
        fs::File::create(image).unwrap().set_len(wanted.n_bytes).unwrap();
        run(Command::new(format!("mkfs.{}", wanted.kind)).args(wanted.mkfs).arg(image));
        // The kernel lets go of a loop device that mount(8) took as soon as nothing is mounted from it.
        Self::of(wanted.kind, &format!("loop,{}", wanted.options), image, at)
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.0
    }

    /// Nothing can be written there any more.
    pub fn make_read_only(&self) {
        self.remount("ro");
    }

    /// Takes it away once nobody is in it any more, so that everything is in the image afterwards.
    pub fn end(self) {
        crate::facts::wait_until("nobody is in what is to be unmounted", || {
            match rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::empty()) {
                Err(rustix::io::Errno::BUSY) => false,
                ended => ended.map(|()| true).unwrap(),
            }
        });
        std::mem::forget(self);
    }

    /// Changes the options of the mount.
    pub fn remount(&self, options: &str) {
        run(Command::new("mount").arg("-o").arg(format!("remount,{options}")).arg(&self.0));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, since a worker that hangs may still be in it.
        let is_gone = Command::new("umount").arg("-l").arg(&self.0).status().is_ok_and(|status| status.success());
        // A second panic would end the program, and the mounts that wait for their turn would stay.
        assert!(is_gone || std::thread::panicking(), "{:?} is still mounted", self.0);
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this process may do everything.
#[must_use]
pub fn has_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fails where file systems cannot be mounted and users not changed: what is not checked must be seen.
#[track_caller]
pub fn need_root() {
    assert!(has_root(), "this test mounts a file system or changes users: run it as root");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_mounted(at: &Path) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&format!(" {} ", at.display()))
    }

    #[test]
    fn each_kind_is_mounted_and_goes_away_with_its_loop_device() {
        need_root();
        let scratch = Scratch::new();
        for image in [Image::EXT4, Image::XFS, Image::BTRFS] {
            let (file, at) = (scratch.path(format!("{} image", image.kind)), scratch.folder(image.kind));
            let mount = Mount::fresh(&image, &file, &at);
            fs::write(mount.at().join("file"), "contents").unwrap();
            assert!(is_mounted(&at), "{image:?}");
            drop(mount);
            assert!(!is_mounted(&at), "{image:?}");
            crate::facts::wait_until("the loop device is free", || {
                let used = Command::new("losetup").arg("--associated").arg(&file).output().unwrap();
                used.stdout.is_empty()
            });
        }
    }

    #[test]
    fn a_test_that_panics_leaves_no_mount() {
        need_root();
        let scratch = Scratch::new();
        let (outer, inner) = (scratch.folder("outer"), scratch.path("outer/inner"));
        let failed = std::panic::catch_unwind(|| {
            let _outer = Mount::tmpfs(&outer, "size=1m");
            fs::create_dir(&inner).unwrap();
            let _inner = Mount::ramfs(&inner);
            panic!("as a test that fails");
        });
        assert!(failed.is_err());
        assert!(!is_mounted(&inner) && !is_mounted(&outer));
    }
}
