//! Counts what is in a tree, to tell whether a copy is complete, and compares two trees thoroughly.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Timespec, Timestamps, utimensat};
use serde::{Deserialize, Serialize};

use crate::BenchError;

/// What a tree consists of; the folder itself counts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Regular files, each name for itself.
    pub n_files: u64,
    /// Folders.
    pub n_folders: u64,
    /// Symbolic links.
    pub n_symlinks: u64,
    /// FIFOs, sockets, devices.
    pub n_special: u64,
    /// In the regular files together.
    pub bytes: u64,
}

/// Counts.
pub fn survey(root: &Path) -> Result<Survey, BenchError> {
    let mut survey = Survey { n_folders: 1, ..Survey::default() };
    for_each(root, |entry, kind| {
        if kind.is_dir() {
            survey.n_folders += 1;
        } else if kind.is_symlink() {
            survey.n_symlinks += 1;
        } else if kind.is_file() {
            survey.n_files += 1;
            survey.bytes += entry.metadata()?.len();
        } else {
            survey.n_special += 1;
        }
        Ok(())
    })?;
    Ok(survey)
}

/// Removes every second file.
pub fn thin_out(root: &Path) -> Result<(), BenchError> {
    let mut n_files: u64 = 0;
    for_each(root, |entry, kind| {
        if !kind.is_dir() {
            n_files += 1;
            if n_files.is_multiple_of(2) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    })
}

/// Gives every regular file another first byte, and another time by which a copier may see it.
pub fn alter(root: &Path) -> Result<(), BenchError> {
    let long_ago = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    for_each(root, |entry, kind| {
        if !kind.is_file() {
            return Ok(());
        }
        let file = File::options().read(true).write(true).open(entry.path())?;
        let mut first = [0_u8];
        if file.read_at(&mut first, 0)? == 1 {
            file.write_all_at(&[!first[0]], 0)?;
        }
        Ok(utimensat(CWD, entry.path(), &times, rustix::fs::AtFlags::empty())?)
    })
}

/// The first entry whose bytes or target `copy` has not as `source` has them.
pub fn first_difference(source: &Path, copy: &Path) -> Result<Option<PathBuf>, BenchError> {
    let mut first = None;
    for_each(source, |entry, kind| {
        let path = entry.path();
        let other = copy.join(path.strip_prefix(source)?);
        let is_same = if kind.is_symlink() {
            fs::read_link(&path)? == fs::read_link(&other)?
        } else {
            !kind.is_file() || have_same_bytes(&path, &other)?
        };
        if !is_same && first.is_none() {
            first = Some(path);
        }
        Ok(())
    })?;
    Ok(first)
}

fn have_same_bytes(one: &Path, other: &Path) -> Result<bool, BenchError> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut bytes, mut other_bytes) = (Vec::new(), Vec::new());
    loop {
        bytes.clear();
        other_bytes.clear();
        let n_bytes = (&mut one).take(CHUNK_BYTES).read_to_end(&mut bytes)?;
        (&mut other).take(CHUNK_BYTES).read_to_end(&mut other_bytes)?;
        if bytes != other_bytes || n_bytes == 0 {
            return Ok(bytes == other_bytes);
        }
    }
}

/// All entries below it.
fn for_each(
    root: &Path,
    mut visit: impl FnMut(&fs::DirEntry, fs::FileType) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            }
            visit(&entry, kind)?;
        }
    }
    Ok(())
}

/// What rsync would still change to make `copy` the same as `source`: names, lengths, modes, owners, times, hard links.
/// `None` without rsync.
pub fn differences(source: &Path, copy: &Path) -> Result<Option<String>, BenchError> {
    let with_slash = |path: &Path| {
        let mut text = path.as_os_str().to_owned();
        text.push("/");
        text
    };
    let output =
        Command::new("rsync").arg("-aniH").arg("--delete").args([with_slash(source), with_slash(copy)]).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
        Ok(output) if !output.status.success() => {
            Err(format!("rsync: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
        }
        Ok(output) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_entry_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("inner")).unwrap();
        fs::write(root.join("inner/file"), "12345").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let expected = Survey { n_files: 1, n_folders: 2, n_symlinks: 1, n_special: 1, bytes: 5 };
        assert_eq!(survey(root).unwrap(), expected);
    }

    #[test]
    fn half_of_the_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        for idx in 0..10 {
            let inner = folder.path().join(format!("{}", idx % 3));
            fs::create_dir_all(&inner).unwrap();
            fs::write(inner.join(format!("{idx}")), "x").unwrap();
        }
        thin_out(folder.path()).unwrap();
        let expected = Survey { n_files: 5, n_folders: 4, bytes: 5, ..Survey::default() };
        assert_eq!(survey(folder.path()).unwrap(), expected);
    }

    #[test]
    fn an_altered_file_has_other_bytes_and_as_many() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        for root in [&one, &two] {
            fs::create_dir_all(root.join("inner")).unwrap();
            fs::write(root.join("inner/file"), "12345").unwrap();
            fs::write(root.join("empty"), "").unwrap();
            std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        }
        assert_eq!(first_difference(&one, &two).unwrap(), None);
        alter(&two).unwrap();
        assert_eq!(first_difference(&one, &two).unwrap(), Some(one.join("inner/file")));
        assert_eq!(survey(&one).unwrap(), survey(&two).unwrap());
    }
}
