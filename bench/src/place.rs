//! Where a bench copies: a fresh tmpfs, or a fresh ext4 on a loop device. Both vanish with the bench, whatever ends it.
//! Users who may not mount get a folder in /dev/shm, which a `kill -9` of the bench leaves behind.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::BenchError;

/// A kind of file system to copy on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileSystem {
    /// In memory; a mount of its own for root, a folder in /dev/shm for others.
    Tmpfs,
    /// On a loop device over a sparse file; only root can mount it.
    Ext4,
}

impl FileSystem {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Ext4 => "ext4",
        }
    }
}

/// A folder on the wanted file system, removed in the end.
#[derive(Debug)]
pub struct Place {
    /// Ours to remove.
    folder: PathBuf,
    /// Where a file system of our own is mounted, if one is.
    mounted: Option<PathBuf>,
}

/// Large enough for every data set and its copy; the file behind it is sparse.
const IMAGE_BYTES: u64 = 12 << 30;

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
    /// Makes the folder and the file system.
    pub fn make(file_system: FileSystem) -> Result<Self, BenchError> {
        let parent = if may_mount() { std::env::temp_dir() } else { PathBuf::from("/dev/shm") };
        let folder = parent.join(format!("brigade-bench.{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("cannot create {folder:?}: {error}"))?;
        let mut place = Self { folder, mounted: None };
        match file_system {
            FileSystem::Ext4 if !may_mount() => {
                return Err("only root can mount an ext4 image; use --on tmpfs".into());
            }
            FileSystem::Ext4 => place.mount_ext4()?,
            FileSystem::Tmpfs if may_mount() => place.mount(&["-t", "tmpfs", "-o", "size=90%"], Path::new("tmpfs"))?,
            FileSystem::Tmpfs => {}
        }
        Ok(place)
    }

    /// Where to work.
    pub fn folder(&self) -> &Path {
        self.mounted.as_deref().unwrap_or(&self.folder)
    }

    /// Brings everything that was written here to the device.
    pub fn flush(&self) -> Result<(), BenchError> {
        Ok(rustix::fs::syncfs(File::open(self.folder())?)?)
    }

    fn mount_ext4(&mut self) -> Result<(), BenchError> {
        let image = self.folder.join("image");
        File::create_new(&image)?.set_len(IMAGE_BYTES)?;
        // Everything is initialised now, not by a kernel thread while something is timed.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        succeed(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(&image))?;
        self.mount(&["-o", "loop"], &image)?;
        // The loop device keeps the file alive until the mount ends.
        Ok(fs::remove_file(&image)?)
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
