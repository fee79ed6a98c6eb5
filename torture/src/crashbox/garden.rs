//! What is copied while the power is cut: a tree that says of each of its files what the copy must hold, and an older state of that
//! tree which the copy may begin with. Both follow from a seed.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, utimensat};

use crate::random::Random;

/// How large a tree is to be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Regular files; some have a second name on top.
    pub n_files: u64,
    /// The most bytes that most of them have; a few have up to sixteen times as many.
    pub most_bytes: u64,
}

/// A regular file of the source.
#[derive(Clone, Debug)]
pub(super) struct Planted {
    /// Below the root.
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) modified: (i64, i64),
    pub(super) mode: u32,
    /// What was there before, if anything was.
    pub(super) old: Option<Old>,
}

/// An older state of a file.
#[derive(Clone, Debug)]
pub(super) struct Old {
    pub(super) bytes: Vec<u8>,
    pub(super) modified: (i64, i64),
}

/// The tree.
#[derive(Debug)]
pub(super) struct Garden {
    pub(super) root: PathBuf,
    pub(super) files: Vec<Planted>,
    /// Folders, each after the one it is in.
    folders: Vec<PathBuf>,
}

/// What all of the older states are: older than any file of the source, so that `cp -u` replaces them.
const OLD: (i64, i64) = (900_000_000, 77);

impl Garden {
    /// Grows it as the folder `root`, which is made.
    pub(super) fn grow(root: &Path, size: Size, random: &mut Random) -> io::Result<Self> {
        let mut garden = Self { root: root.to_owned(), files: Vec::new(), folders: vec![PathBuf::new()] };
        fs::create_dir(root)?;
        for folder_idx in 0..size.n_files / 12 + 2 {
            let above = garden.any_folder(random);
            let path = above.join(format!("folder-{folder_idx}"));
            fs::create_dir(root.join(&path))?;
            garden.folders.push(path);
        }
        for file_idx in 0..size.n_files {
            let folder = garden.any_folder(random);
            garden.plant(folder.join(format!("file-{file_idx}")), size, random)?;
            if file_idx % 16 == 7 {
                let link = garden.any_folder(random).join(format!("link-{file_idx}"));
                symlink(format!("a target of {file_idx}"), root.join(&link))?;
                set_time(&root.join(link), time(random))?;
            }
            if file_idx % 24 == 11 {
                let mut second = garden.files[random.below(file_idx) as usize].clone();
                let first = root.join(&second.path);
                second.path = garden.any_folder(random).join(format!("name-{file_idx}"));
                // What was there before has one name.
                second.old = None;
                fs::hard_link(first, root.join(&second.path))?;
                garden.files.push(second);
            }
        }
        for folder in garden.folders.iter().rev() {
            fs::set_permissions(
                root.join(folder),
                Permissions::from_mode([0o755, 0o700, 0o775][random.below(3) as usize]),
            )?;
            set_time(&root.join(folder), time(random))?;
        }
        Ok(garden)
    }

    fn any_folder(&self, random: &mut Random) -> PathBuf {
        self.folders[random.below(self.folders.len() as u64) as usize].clone()
    }

    fn plant(&mut self, path: PathBuf, size: Size, random: &mut Random) -> io::Result<()> {
        let most = if random.below(40) == 0 { size.most_bytes * 16 } else { size.most_bytes };
        let bytes = bytes(random.any_magnitude(most), random);
        let mode = [0o644, 0o600, 0o444, 0o755][random.below(4) as usize];
        let modified = time(random);
        let file = self.root.join(&path);
        fs::write(&file, &bytes)?;
        fs::set_permissions(&file, Permissions::from_mode(mode))?;
        if random.below(10) == 0 {
            rustix::fs::setxattr(&file, "user.value", &vec![7; random.below(300) as usize], XattrFlags::empty())?;
        }
        set_time(&file, modified)?;
        let old = match random.below(3) {
            0 => None,
            // Of the same size half of the time, so that only contents and time tell it from the new one.
            kind => {
                let n_bytes = if kind == 1 { bytes.len() as u64 } else { random.any_magnitude(size.most_bytes) };
                Some(Old { bytes: self::bytes(n_bytes, random), modified: OLD })
            }
        };
        self.files.push(Planted { path, bytes, modified, mode, old });
        Ok(())
    }

    /// Makes the older state of the tree as the folder `root`.
    pub(super) fn grow_old(&self, root: &Path) -> io::Result<()> {
        for folder in &self.folders {
            fs::create_dir(root.join(folder))?;
        }
        for file in &self.files {
            if let Some(old) = &file.old {
                fs::write(root.join(&file.path), &old.bytes)?;
                set_time(&root.join(&file.path), old.modified)?;
            }
        }
        Ok(())
    }

    /// Bytes in all files.
    pub(super) fn n_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.len() as u64).sum()
    }

    /// What must be the same when all is over: nobody writes to a source.
    pub(super) fn state(&self) -> io::Result<Vec<(PathBuf, u64, i64, i64)>> {
        let state_of = |path: &PathBuf| {
            let facts = fs::symlink_metadata(self.root.join(path))?;
            Ok((path.clone(), facts.len(), facts.ctime(), facts.ctime_nsec()))
        };
        self.folders.iter().chain(self.files.iter().map(|file| &file.path)).map(state_of).collect()
    }
}

fn bytes(n_bytes: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..n_bytes.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).collect();
    bytes.truncate(n_bytes as usize);
    bytes
}

/// A time of the past, after [`OLD`].
fn time(random: &mut Random) -> (i64, i64) {
    (1_000_000_000 + random.below(1 << 29) as i64, random.below(1_000_000_000) as i64)
}

fn set_time(path: &Path, (tv_sec, tv_nsec): (i64, i64)) -> io::Result<()> {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A small file beside the copy that is on disk before it begins.
pub(super) fn plant_bystander(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::write(folder.join("bystander"), BYSTANDER)?;
    File::open(folder.join("bystander"))?.sync_all()
}

/// What is in it.
pub(super) const BYSTANDER: &str = "nobody copies over this";
