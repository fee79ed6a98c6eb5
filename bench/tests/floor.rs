//! The floor is a copier as well: what it copies is complete, with one process and with several.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// Enough for several processes; the files of a folder fall to different ones.
const N_FILES: usize = 2_100;

fn make_tree(root: &Path) -> io::Result<()> {
    for folder in ["", "one", "one/inner", "two", "empty"] {
        fs::create_dir(root.join(folder))?;
    }
    for idx in 0..N_FILES {
        let folder = ["", "one", "one/inner", "two"][idx % 4];
        fs::write(root.join(folder).join(format!("f{idx}")), vec![b'x'; idx])?;
    }
    symlink("../one", root.join("two/link"))?;
    fs::set_permissions(root.join("one"), fs::Permissions::from_mode(0o2751))
}

/// Copies `source` to `copy` and gives what diff has to say about it.
fn copy_with(options: &[&str]) -> io::Result<(tempfile::TempDir, Output)> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let [source, copy] = ["source", "copy"].map(|name| folder.path().join(name));
    make_tree(&source)?;
    let floor = Command::new(env!("CARGO_BIN_EXE_floor")).args(options).args([&source, &copy]).status()?;
    assert!(floor.success());
    let mut diff = Command::new("diff");
    diff.args(["-r", "--no-dereference"]).args([&source, &copy]);
    Ok((folder, diff.output()?))
}

#[test]
fn every_number_of_processes_copies_everything() {
    for processes in ["1", "2", "3", "7"] {
        let (_folder, diff) = copy_with(&["--processes", processes]).unwrap();
        assert!(diff.status.success(), "{processes}: {}", String::from_utf8_lossy(&diff.stdout));
    }
}

#[test]
fn equal_work_keeps_the_times_and_modes_of_folders() {
    let (folder, diff) = copy_with(&["--equal-work", "--processes", "3"]).unwrap();
    assert!(diff.status.success());
    for name in ["", "one", "one/inner", "two", "empty"] {
        let [source, copy] = ["source", "copy"].map(|root| fs::metadata(folder.path().join(root).join(name)).unwrap());
        let facts = |metadata: &fs::Metadata| (metadata.mode(), metadata.mtime(), metadata.mtime_nsec());
        assert_eq!(facts(&source), facts(&copy), "{name:?}");
    }
}
