//! `--errors` and `--retry-from`: what failed is listed exactly, and copied again to the same places.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::{self, Scene};

const ODD: &[u8] = b"odd\n\x1b[2J\xff";

/// A source of which a file with an odd name, a whole folder and one deep file cannot be copied: something is in their way.
fn blocked() -> Scene {
    let scene = Scene::new();
    for name in ["a/fine", "a/deep/er/bad", "a/deep/er/good", "a/folder/one", "a/folder/below/two"] {
        scene.file(name, name);
    }
    scene.file(Path::new("a").join(OsStr::from_bytes(ODD)), "odd");
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for folder in ["a/folder/below", "a/folder", "a/deep/er", "a/deep", "a"] {
        fs::File::open(scene.path(folder)).unwrap().set_modified(past).unwrap();
    }
    for folder in [&b"deep/er/bad"[..], ODD] {
        scene.file(Path::new("b").join(OsStr::from_bytes(folder)).join("in the way"), "");
    }
    scene.file("b/folder", "in the way");
    scene
}

/// Clears the ways. Names are made under folders that are finished, so their times change.
fn unblock(scene: &Scene) {
    fs::remove_file(scene.path("b/folder")).unwrap();
    for folder in [&b"deep/er/bad"[..], ODD] {
        fs::remove_dir_all(scene.path("b").join(OsStr::from_bytes(folder))).unwrap();
    }
}

fn times(folder: &Path) -> Vec<(std::path::PathBuf, i64)> {
    let names: Vec<_> = support::tree(folder).into_keys().collect();
    names.into_iter().map(|name| (name.clone(), fs::symlink_metadata(folder.join(name)).unwrap().mtime())).collect()
}

#[test]
fn what_failed_is_copied_again_and_nothing_else() {
    let scene = blocked();
    let run = scene.run(["--errors=list", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let list = fs::read(scene.path("list")).unwrap();
    let records: Vec<&[u8]> = list.split(|byte| *byte == 0).collect();
    assert_eq!(records[0], b"brigade-errors 1");
    let mut failed: Vec<&[u8]> = records.iter().filter_map(|record| record.strip_prefix(b"failed ")).collect();
    failed.sort_unstable();
    assert_eq!(failed, [&b"deep/er/bad"[..], b"folder", ODD]);
    // As long as the way is not clear the same fails again, and the list may be the one that is read.
    let run = scene.run(["--errors=list", "--retry-from=list", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    assert_eq!(run.stderr.matches("brigade: cannot ").count(), 3, "{}", run.stderr);
    unblock(&scene);
    // What is not in the list is not looked at.
    fs::remove_file(scene.path("b/fine")).unwrap();
    scene.file("a/new", "");
    let top_time = fs::metadata(scene.path("a")).unwrap().mtime();
    let run = scene.run(["--errors=list", "--retry-from=list", "--stats", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    // The two files, the folder with what is in it; and the folders above them, which are only finished again.
    assert!(run.stderr.contains("found 9 = copied 6 + unchanged 3 + skipped 0 + failed 0"), "{}", run.stderr);
    assert!(!scene.path("b/fine").exists() && !scene.path("b/new").exists());
    for name in ["a/fine", "a/new"] {
        fs::remove_file(scene.path(name)).unwrap();
    }
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
    assert_eq!(fs::metadata(scene.path("b")).unwrap().mtime(), top_time);
    assert_eq!(times(&scene.path("a")), times(&scene.path("b")));
    // Nothing is left to be done, and that is no mistake.
    let run = scene.run(["--retry-from=list", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert!(run.stderr.starts_with("copied nothing"), "{}", run.stderr);
}

#[test]
fn the_same_command_line_means_the_same_places() {
    // The destination that the first run made is no folder to copy into now.
    for operands in [&["a", "new"][..], &["a"], &["-t", "folder", "a", "c"], &["a", "folder"], &["a/.", "c", "folder"]]
    {
        let scene = Scene::new();
        scene.file("a/x", "x");
        scene.file("c", "c");
        fs::create_dir(scene.path("folder")).unwrap();
        let run = scene.run(["--errors=list"].iter().chain(operands));
        assert_eq!(run.status.code(), Some(0), "{operands:?} {}", run.stderr);
        let before = support::tree(&scene.path("."));
        // As if it had failed.
        let mut list = fs::read_to_string(scene.path("list")).unwrap();
        let end_of_first = list.match_indices('\0').nth(2).unwrap().0 + 1;
        list.insert_str(end_of_first, "failed x\0");
        fs::write(scene.path("list"), &list).unwrap();
        let copies: Vec<_> = before.keys().filter(|name| name.ends_with("x") && !name.starts_with("a")).collect();
        assert_eq!(copies.len(), 1, "{copies:?}");
        fs::remove_file(scene.path(copies[0])).unwrap();
        let run = scene.run(["--retry-from=list"].iter().chain(operands));
        assert_eq!(run.status.code(), Some(0), "{operands:?} {}", run.stderr);
        let mut after = support::tree(&scene.path("."));
        after.insert("list".into(), before[Path::new("list")].clone());
        assert_eq!(after, before, "{operands:?}");
        // Another copy is refused, and nothing of it is begun.
        for other in [["a", "elsewhere"], ["c", "another"]] {
            let run = scene.run(["--retry-from=list"].iter().chain(&other));
            let sentence = "brigade: 'list' lists errors of another copy: source or destination differ\n";
            assert_eq!((run.status.code(), run.stderr.as_str()), (Some(2), sentence), "{operands:?} {other:?}");
        }
        assert!(!scene.path("elsewhere").exists());
    }
}

#[test]
fn a_file_that_is_no_list_is_refused() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    scene.file("list", "x\0y\0");
    let run = scene.run(["--retry-from=list", "a", "b"]);
    assert_eq!(
        (run.status.code(), run.stderr.as_str()),
        (Some(2), "brigade: 'list' is not a list that --errors has written\n")
    );
    let run = scene.run(["--lang=zh-CN", "--retry-from=gone", "a", "b"]);
    assert_eq!(
        (run.status.code(), run.stderr.as_str()),
        (Some(2), "brigade: 无法打开 'gone': 没有那个文件或目录 (os error 2)\n")
    );
    assert!(!scene.path("b").exists());
}

#[test]
fn a_list_that_cannot_be_written_is_told_and_the_copy_goes_on() {
    let scene = blocked();
    let run = scene.run(["--errors=/dev/full", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.contains("brigade: cannot write to '/dev/full': No space left on device"), "{}", run.stderr);
    assert!(scene.path("b/fine").exists());
    let run = scene.run(["--errors=gone/list", "a", "c"]);
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert!(!scene.path("c").exists());
}
