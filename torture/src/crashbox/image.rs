//! Images of file systems: made, copied, mounted where that may fail, and checked.
#![expect(clippy::unwrap_used, reason = "a campaign that cannot make its file systems has failed")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use crate::mounts::{Image, Mount};

/// A kind of file system that power cuts are tried on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The usual one: a journal of metadata, data before metadata, allocation put off.
    Ext4,
    /// A journal of metadata only, allocation put off.
    Xfs,
    /// Copy on write.
    Btrfs,
}

impl Kind {
    /// By its name in options.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs, Self::Btrfs].into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// A fresh one with room for so many bytes, nothing of which is written by and by in the background.
    fn image(self, n_bytes: u64) -> Image<'static> {
        let n_bytes = (n_bytes + (64 << 20)).next_multiple_of(1 << 20);
        match self {
            Self::Ext4 => Image {
                n_bytes,
                mkfs: &[
                    "-q",
                    "-F",
                    "-b",
                    "4096",
                    "-J",
                    "size=8",
                    "-E",
                    "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                ],
                ..Image::EXT4
            },
            Self::Xfs => Image {
                n_bytes: n_bytes.max(Image::XFS.n_bytes),
                mkfs: &["-q", "-f", "-K"],
                options: "nouuid",
                ..Image::XFS
            },
            Self::Btrfs => Image {
                n_bytes: n_bytes.max(Image::BTRFS.n_bytes) + (128 << 20),
                mkfs: &["-q", "-f", "-K", "-m", "single"],
                ..Image::BTRFS
            },
        }
    }

    /// Makes one and has it filled.
    pub(super) fn make(
        self,
        file: &Path,
        at: &Path,
        n_bytes: u64,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        forget(file)?;
        let mount = Mount::fresh(&self.image(n_bytes), file, at);
        fill(at)?;
        mount.end();
        Ok(())
    }

    /// Mounts an image, or anything that looks like one, with further options.
    pub(super) fn mount(self, file: &Path, at: &Path, options: &str) -> Result<Mount, String> {
        Mount::attempt(self.name(), &format!("loop,{},{options}", self.image(0).options), file, at)
    }

    /// Options of a mount that a power cut makes a difference to, for one disk or another.
    pub(super) const fn options(self) -> [&'static str; 2] {
        match self {
            // Whether the journal waits for the data that it is about.
            Self::Ext4 => ["data=ordered", "data=writeback"],
            Self::Xfs => ["logbufs=2", "logbufs=8"],
            // Whether a flush of one file has a log of its own, or takes along what is known of all others.
            Self::Btrfs => ["treelog", "notreelog"],
        }
    }

    /// The smallest piece of a write that is there or not as a whole.
    pub(super) const fn tear_bytes(self) -> u64 {
        match self {
            Self::Ext4 | Self::Xfs => 512,
            // Its superblock is larger than that, and has no journal to come back from.
            Self::Btrfs => 4096,
        }
    }

    /// What a check of an image that is not mounted finds.
    pub(super) fn faults(self, file: &Path) -> Option<String> {
        let mut check = match self {
            Self::Ext4 => of_words("e2fsck", &["-f", "-n"]),
            Self::Xfs => of_words("xfs_repair", &["-n"]),
            Self::Btrfs => of_words("btrfs", &["check", "--readonly"]),
        };
        let output = check.arg(file).output().unwrap();
        let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (!output.status.success()).then(|| format!("the file system is not clean: {}", said()))
    }
}

fn of_words(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// An image of the same name is another file each time. The kernel takes a while to let go of a loop device, and mount(8) takes one
/// again that has this file, with what the kernel remembers of its blocks.
fn forget(image: &Path) -> io::Result<()> {
    match fs::remove_file(image) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies an image without its holes, and without blocks of zeros.
pub(super) fn clone_image(from: &Path, to: &Path) -> io::Result<()> {
    forget(to)?;
    let source = File::open(from)?;
    let n_bytes = source.metadata()?.len();
    let copy = File::options().read(true).write(true).create(true).truncate(true).open(to)?;
    copy.set_len(n_bytes)?;
    let mut buffer = vec![0; 256 << 10];
    let mut offset = 0;
    while let Ok(begin) = rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(offset)) {
        offset = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(begin))?;
        let mut position = begin;
        while position < offset {
            let n_wanted = (offset - position).min(buffer.len() as u64) as usize;
            source.read_exact_at(&mut buffer[..n_wanted], position)?;
            if buffer[..n_wanted].iter().any(|&byte| byte != 0) {
                copy.write_all_at(&buffer[..n_wanted], position)?;
            }
            position += n_wanted as u64;
        }
    }
    Ok(())
}

/// The names in the root of a file system, but for those that it makes itself.
pub(super) fn names_in_root(at: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(at)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "lost+found" {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
