//! Where a bench copies: a fresh tmpfs, a fresh file system on a loop device, or one that is slow. All vanish with the bench,
//! whatever ends it.
//! Users who may not mount get a folder in /dev/shm, which a `kill -9` of the bench leaves behind.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use torture::fuse::{FaultFs, Options};

use crate::BenchError;

/// A kind of file system to copy on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum FileSystem {
    /// In memory; a mount of its own for root, a folder in /dev/shm for others.
    Tmpfs,
    /// On a loop device over a sparse file; only root can mount it, and the next two.
    Ext4,
    /// Likewise.
    Xfs,
    /// Likewise.
    Btrfs,
    /// In memory, but the source is seen through FUSE, and each request takes half a millisecond.
    SlowSource,
    /// In memory, but the destination is seen so.
    SlowDestination,
}

impl FileSystem {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::SlowSource => "slow-source",
            Self::SlowDestination => "slow-destination",
        }
    }

    /// Whether anything can be flushed to it.
    pub fn is_on_disk(self) -> bool {
        matches!(self, Self::Ext4 | Self::Xfs | Self::Btrfs)
    }

    /// The words for its `mkfs`. Everything is initialised now, not by a kernel thread while something is timed.
    fn mkfs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            _ => &["-q", "-f"],
        }
    }
}

/// What a request to the slow file system takes.
const DELAY: Duration = Duration::from_micros(500);
/// Requests that it serves at the same time.
const N_SERVED: usize = 128;

/// Folders in a place: in the first are sources, in the other their copies by the same names.
pub const FROM: &str = "from";
/// The other.
pub const TO: &str = "to";

/// Where the slow side is seen.
const SLOW: &str = "slow";

/// A folder on the wanted file system, removed in the end.
#[derive(Debug)]
pub struct Place {
    /// Ours to remove.
    folder: PathBuf,
    /// Where a file system of our own is mounted, if one is.
    mounted: Option<PathBuf>,
    /// The side that is slow, if one is: seen here, it is a folder in the mounted file system.
    slow: Option<(Side, FaultFs)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// Large enough for every data set and its copy; the file behind it is sparse.
const IMAGE_BYTES: u64 = 24 << 30;

const NAMESPACE_MARK: &str = "__BRIGADE_BENCH_NAMESPACE";

/// Starts this program again in a mount namespace of its own, so that its mounts end with its last process, also when
/// it is killed. Returns at once where that has happened, and for users who may not mount.
pub fn enter_mount_namespace() -> Result<(), BenchError> {
    if !may_mount() || std::env::var_os(NAMESPACE_MARK).is_some() {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(program).args(std::env::args_os().skip(1));
    Err(format!("cannot start unshare: {}", command.env(NAMESPACE_MARK, "1").exec()).into())
}

fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

impl Place {
    /// Makes the folder and the file system. An image is made in `images`, or else where temporary files are.
    pub fn make(file_system: FileSystem, images: Option<&Path>) -> Result<Self, BenchError> {
        let in_memory = if may_mount() { std::env::temp_dir() } else { PathBuf::from("/dev/shm") };
        let parent = images.filter(|_| file_system.is_on_disk()).map_or(in_memory, Path::to_path_buf);
        static N_MADE: AtomicU32 = AtomicU32::new(0);
        let number = N_MADE.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("brigade-bench.{}.{number}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("cannot create {folder:?}: {error}"))?;
        let mut place = Self { folder, mounted: None, slow: None };
        match file_system {
            FileSystem::Tmpfs if !may_mount() => {}
            _ if !may_mount() => return Err("only root can mount; use --on tmpfs".into()),
            FileSystem::Tmpfs => place.mount_tmpfs()?,
            FileSystem::Ext4 | FileSystem::Xfs | FileSystem::Btrfs => place.mount_image(file_system)?,
            FileSystem::SlowSource => place.mount_slow(Side::Source)?,
            FileSystem::SlowDestination => place.mount_slow(Side::Destination)?,
        }
        for name in [FROM, TO] {
            fs::create_dir(place.folder().join(name))?;
        }
        Ok(place)
    }

    /// Where to work.
    pub fn folder(&self) -> &Path {
        self.mounted.as_deref().unwrap_or(&self.folder)
    }

    /// What to copy from, where `name` is in the folder.
    pub fn source(&self, name: &str) -> PathBuf {
        self.seen(Side::Source, name)
    }

    /// What to copy to, where `name` will be in the folder.
    pub fn destination(&self, name: &str) -> PathBuf {
        self.seen(Side::Destination, name)
    }

    fn seen(&self, wanted: Side, name: &str) -> PathBuf {
        match &self.slow {
            Some((side, slow)) if *side == wanted => slow.point().join(name),
            _ => self.folder().join(name),
        }
    }

    /// Mounts what is slow anew. A copy is removed behind its back, so the kernel would believe for a while that it is still
    /// there; and each entry that the kernel remembers is a descriptor held open here, of which there are not enough for
    /// several copies.
    pub fn renew(&mut self) -> Result<(), BenchError> {
        match self.slow.take() {
            // The old one has to be gone before there is another one at its place.
            Some((side, old)) => {
                drop(old);
                self.slow_down(side)
            }
            None => Ok(()),
        }
    }

    /// Brings everything that was written here to the device.
    pub fn flush(&self) -> Result<(), BenchError> {
        Ok(rustix::fs::syncfs(File::open(self.folder())?)?)
    }

    fn mount_tmpfs(&mut self) -> Result<(), BenchError> {
        self.mount(&["-t", "tmpfs", "-o", "size=90%"], Path::new("tmpfs"))
    }

    fn mount_image(&mut self, file_system: FileSystem) -> Result<(), BenchError> {
        let image = self.folder.join("image");
        File::create_new(&image)?.set_len(IMAGE_BYTES)?;
        succeed(Command::new(format!("mkfs.{}", file_system.name())).args(file_system.mkfs()).arg(&image))?;
        self.mount(&["-o", "loop"], &image)?;
        // The loop device keeps the file alive until the mount ends.
        Ok(fs::remove_file(&image)?)
    }

    fn mount_slow(&mut self, side: Side) -> Result<(), BenchError> {
        self.mount_tmpfs()?;
        fs::create_dir(self.folder.join(SLOW))?;
        self.slow_down(side)
    }

    fn slow_down(&mut self, side: Side) -> Result<(), BenchError> {
        let options = Options { delay: DELAY, n_threads: N_SERVED, ..Options::default() };
        self.slow = Some((side, FaultFs::mount(self.folder(), &self.folder.join(SLOW), options)?));
        Ok(())
    }

    fn mount(&mut self, options: &[&str], what: &Path) -> Result<(), BenchError> {
        let mount_point = self.folder.join("mounted");
        fs::create_dir(&mount_point)?;
        succeed(Command::new("mount").args(options).arg(what).arg(&mount_point))?;
        self.mounted = Some(mount_point);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slow = None;
        if let Some(mount_point) = &self.mounted
            && let Err(error) = succeed(Command::new("umount").arg(mount_point))
        {
            eprintln!("bench: {error}");
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("bench: cannot remove {:?}: {error}", self.folder);
        }
    }
}

fn succeed(command: &mut Command) -> Result<(), BenchError> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_behind_a_slow_file_system_is_gone_once_it_is_renewed() {
        let mut place = Place::make(FileSystem::SlowDestination, None).unwrap();
        let (behind, seen) = (place.folder().join("copy"), place.destination("copy"));
        for _ in 0..3 {
            fs::create_dir(&seen).unwrap();
            fs::write(seen.join("file"), "x").unwrap();
            fs::remove_dir_all(&behind).unwrap();
            place.renew().unwrap();
        }
        assert!(!seen.exists());
    }
}
