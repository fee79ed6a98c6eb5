//! Counts what is in a tree, to tell whether a copy is complete, and compares two trees thoroughly.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::BenchError;

/// What a tree consists of; the folder itself counts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                survey.n_folders += 1;
                folders.push(entry.path());
            } else if kind.is_symlink() {
                survey.n_symlinks += 1;
            } else if kind.is_file() {
                survey.n_files += 1;
                survey.bytes += entry.metadata()?.len();
            } else {
                survey.n_special += 1;
            }
        }
    }
    Ok(survey)
}

/// Removes every second file.
pub fn thin_out(root: &Path) -> Result<(), BenchError> {
    let mut n_files: u64 = 0;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                n_files += 1;
                if n_files.is_multiple_of(2) {
                    fs::remove_file(entry.path())?;
                }
            }
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
}
