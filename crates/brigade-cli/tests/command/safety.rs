//! `--verify` and `--manifest` as their users meet them: what a disk, a file system or a death spoils is found out, and b3sum agrees.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use torture::faultline::{Act, Answer, Role, Rule, When, run};
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule as FaultRule};
use torture::mounts::{Mount, need_root};

use super::support::{Ended, Scene, ended, tree};
use super::verify::verify;

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(60);

/// `lseek` for the next data, as a number in a call.
const SEEK_DATA: u64 = 3;

/// A rule that flips a bit of this file between its being written and its being read back.
fn spoiling(scene: &Scene, name: &str, when: When) -> Rule {
    let path = scene.path(name);
    let flip = move |_: &_| {
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 7).unwrap();
        file.write_all_at(&[byte[0] ^ 16], 7).unwrap();
        Answer::GoOn
    };
    Rule::of("fdatasync", Act::Hook(Box::new(flip))).below(scene.path(name)).when(when)
}

fn copy(scene: &Scene, arguments: &[&str], rules: Vec<Rule>) -> (Ended, Vec<u64>) {
    let run = run(scene.copy(arguments), rules, WATCHDOG).unwrap();
    assert!(!run.is_hung);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ended = Ended { status: run.output.status, stdout: text(&run.output.stdout), stderr: text(&run.output.stderr) };
    (ended, run.n_done)
}

/// F-14: a destination that flips a bit and says nothing.
#[test]
fn a_file_that_is_read_back_wrong_once_is_written_again() {
    for size in [100, 300_000] {
        let scene = Scene::new();
        scene.file("source/file", &"contents\n".repeat(size / 9));
        let spoil = spoiling(&scene, "copy/file", When::Nth(1));
        let (run, n_done) = copy(&scene, &["--verify", "source", "copy"], vec![spoil]);
        assert_eq!((run.status.code(), n_done), (Some(0), vec![1]), "{}", run.stderr);
        assert!(run.stderr.contains(", 1 verified, 1 read back wrong and written again\n"), "{}", run.stderr);
        assert_eq!(tree(&scene.path("source")), tree(&scene.path("copy")));
    }
}

/// F-14: a destination that stores each file with a bit flipped. The kernel remembers what was written and would give that back.
#[test]
fn a_file_system_that_flips_a_bit_is_found_out() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a file system: run it as root");
    for sync in ["--sync=none", "--sync=batch", "--sync=end", "--sync=file"] {
        let scene = Scene::new();
        // A file that is to be flushed has another name while it is written, but in the same folder.
        for name in ["source/right/file", "source/wrong/file"] {
            scene.file(name, &"contents\n".repeat(1000));
        }
        for folder in ["disk", "mount"] {
            fs::create_dir(scene.path(folder)).unwrap();
        }
        let fault_fs = FaultFs::mount(&scene.path("disk"), &scene.path("mount"), Options::default()).unwrap();
        fault_fs.add(FaultRule::new(Fault::FlipBit).on(Operation::Write).at("copy/wrong").from(5000));
        let run = scene.run(["--verify", sync, "source", "mount/copy"]);
        assert_eq!(run.status.code(), Some(1), "{sync}: {}", run.stderr);
        assert!(run.stderr.starts_with("brigade: cannot verify 'mount/copy/wrong/file': "), "{sync}: {}", run.stderr);
        assert!(run.stderr.contains(", 1 verified, 1 read back wrong and written again"), "{sync}: {}", run.stderr);
        assert_eq!(fs::read_dir(scene.path("disk/copy/wrong")).unwrap().count(), 0, "{sync}");
        assert!(scene.path("disk/copy/right/file").exists(), "{sync}");
        // Who does not ask is not told; who compares afterwards is.
        fs::remove_dir_all(scene.path("mount/copy")).unwrap();
        assert_eq!(scene.run([sync, "source", "mount/copy"]).status.code(), Some(0), "{sync}");
        let compared = verify(&scene, ["source", "mount/copy"]);
        assert_eq!(compared.status.code(), Some(1), "{sync}: {}", compared.stderr);
        assert!(compared.stderr.starts_with("different: 'wrong/file': contents\n"), "{sync}: {}", compared.stderr);
    }
}

/// A file that is there already is compared on the disk, if its contents are to be compared at all.
#[test]
fn what_the_cache_remembers_of_an_unchanged_file_is_not_believed() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a file system: run it as root");
    let scene = Scene::new();
    scene.file("source/file", &"contents\n".repeat(1000));
    for folder in ["disk", "mount"] {
        fs::create_dir(scene.path(folder)).unwrap();
    }
    let fault_fs = FaultFs::mount(&scene.path("disk"), &scene.path("mount"), Options::default()).unwrap();
    fault_fs.add(FaultRule::new(Fault::FlipBit).on(Operation::Write).from(5000));
    // Nothing is said, and the spoilt file has its source's size and time.
    assert_eq!(scene.run(["source", "mount/copy"]).status.code(), Some(0));
    assert_ne!(tree(&scene.path("source")), tree(&scene.path("disk/copy")));
    fault_fs.behave();
    let run = scene.run(["--verify", "--checksum", "-T", "source", "mount/copy"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert_eq!(tree(&scene.path("source")), tree(&scene.path("disk/copy")));
}

/// F-14 again, where it happens each time.
#[test]
fn a_file_that_is_read_back_wrong_twice_fails_and_is_not_left_there() {
    let scene = Scene::new();
    for name in ["source/file", "source/other", "copy/file"] {
        scene.file(name, name);
    }
    // The file that is there stays until the new one is known to be right.
    let temporary = |name: &OsStr| name.as_bytes().starts_with(b".brigade-");
    let folder = scene.path("copy");
    let spoil = move |_: &_| {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap).filter(|entry| temporary(&entry.file_name())) {
            fs::File::options().write(true).open(entry.path()).unwrap().write_all_at(b"!", 3).unwrap();
        }
        Answer::GoOn
    };
    let rule = Rule::of("fdatasync", Act::Hook(Box::new(spoil)));
    let (run, _) = copy(&scene, &["--verify", "-T", "source", "copy"], vec![rule]);
    assert_eq!(run.status.code(), Some(1));
    let expected = "brigade: cannot verify 'copy/file': \
                    what was read back is not what was written, also when it was written again\n";
    assert!(run.stderr.starts_with(expected), "{}", run.stderr);
    let there: Vec<_> = tree(&scene.path("copy")).into_iter().collect();
    let file = |name: &str, contents: &str| (name.into(), Some(contents.as_bytes().to_vec()));
    assert_eq!(there, [file("file", "copy/file"), file("other", "source/other")]);
}

/// C-23: a file system that says "hole" where there is data. The source is read as a whole to be hashed, so it is found out.
#[test]
fn a_file_system_that_lies_about_holes_is_found_out() {
    let scene = Scene::new();
    scene.file("source/other", "x");
    let file = fs::File::create(scene.path("source/holes")).unwrap();
    file.set_len(4 << 20).unwrap();
    file.write_all_at(b"between two holes", 1 << 20).unwrap();
    let lie = |asked: &torture::faultline::Asked| match asked.call.arguments[2] {
        SEEK_DATA => Answer::Fail(Errno::NXIO.raw_os_error()),
        _ => Answer::GoOn,
    };
    let rule = Rule::of("lseek", Act::Hook(Box::new(lie))).below(scene.path("source/holes"));
    let (run, n_done) = copy(&scene, &["--verify", "source", "copy"], vec![rule]);
    assert!(n_done[0] > 0, "holes were looked for");
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.starts_with("brigade: cannot verify 'copy/holes': "), "{}", run.stderr);
    assert!(!scene.path("copy/holes").exists() && scene.path("copy/other").exists());
}

#[test]
fn holes_stay_holes_when_they_are_read_back() {
    let scene = Scene::new();
    fs::create_dir(scene.path("source")).unwrap();
    let file = fs::File::create(scene.path("source/holes")).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"between two holes", 1 << 20).unwrap();
    let run = scene.run(["--verify", "source", "copy"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert!(fs::metadata(scene.path("copy/holes")).unwrap().blocks() <= 256);
}

/// Files with all that a manifest must cope with, and how many of them b3sum can hold.
fn odd_files(scene: &Scene) -> usize {
    let names: [&[u8]; 6] = [b"plain", b"a\\b", b"a\nb", b" blank ", "汉字".as_bytes(), b"deep/er/x"];
    for name in names {
        scene.file(Path::new("source").join(OsStr::from_bytes(name)), &String::from_utf8_lossy(name));
    }
    for name in [&b"\xff"[..], "\u{fffd}".as_bytes()] {
        scene.file(Path::new("source").join(OsStr::from_bytes(name)), "cannot be held");
    }
    scene.file("source/empty", "");
    scene.file("source/large", &"0123456789".repeat(200_000));
    fs::hard_link(scene.path("source/large"), scene.path("source/again")).unwrap();
    fs::hard_link(scene.path("source/plain"), scene.path("source/deep/plain")).unwrap();
    std::os::unix::fs::symlink("plain", scene.path("source/link")).unwrap();
    names.len() + 4
}

/// Checks a manifest as its readers would, and returns how many lines it has, no two of which are for the same file.
fn n_checked(manifest: &Path, folder: &Path) -> usize {
    let run = ended(Command::new("b3sum").arg("--check").arg(manifest).current_dir(folder));
    assert_eq!(run.status.code(), Some(0), "{}{}", run.stdout, run.stderr);
    let lines = fs::read_to_string(manifest).unwrap();
    let names: HashSet<_> = lines.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(names.len(), lines.lines().count());
    names.len()
}

#[test]
fn b3sum_agrees_with_the_manifest() {
    let scene = Scene::new();
    let n_files = odd_files(&scene);
    let manifest = scene.path("sums");
    // Once copied, once all unchanged; once as the copy itself, once into a folder.
    for (arguments, folder) in [
        (&["source", "copy"][..], "copy"),
        (&["-T", "source", "copy"], "copy"),
        (&["source", "into"], "into"),
        (&["--verify", "-t", "into", "source"], "into"),
        (&["source/.", "contents"], "contents"),
        (&["source"], "source_copy"),
    ] {
        fs::create_dir_all(scene.path("into")).unwrap();
        let run = scene.run([&["--manifest=sums"], arguments].concat());
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert_eq!(n_checked(&manifest, &scene.path(folder)), n_files, "{arguments:?}");
        assert!(run.stderr.ends_with("\n2 files not in the manifest\n"), "{}", run.stderr);
        assert_eq!(run.stderr.matches("since b3sum cannot hold its name: ").count(), 2);
    }
    let run = scene.run(["--manifest=-", "source/plain", "alone"]);
    assert_eq!(run.stdout, format!("{}  alone\n", blake3_of(&scene.path("source/plain"))));
}

fn blake3_of(file: &Path) -> String {
    let run = ended(Command::new("b3sum").arg("--no-names").arg(file));
    run.stdout.trim().to_owned()
}

/// Its first hash is of what is no longer there.
#[test]
fn a_file_that_is_displaced_and_copied_again_has_one_line_in_the_manifest() {
    need_root();
    // Three files and their folder are flushed: it is missed by whoever flushes the files, or not before they are to be whole.
    for nth in [1, 4] {
        let scene = Scene::new();
        fs::create_dir(scene.path("disk")).unwrap();
        let _disk = Mount::ext4(&scene.path("image"), &scene.path("disk"));
        for name in ["one", "two", "three"] {
            scene.file(Path::new("source").join(name), name);
        }
        let (source, copied, away) = (scene.path("source/two"), scene.path("disk/copy/two"), scene.path("disk/away"));
        let displace = move |_: &_| {
            fs::rename(&copied, &away).unwrap();
            fs::write(&source, "another two").unwrap();
            Answer::GoOn
        };
        let rule = Rule::of("fsync", Act::Hook(Box::new(displace))).by(Role::Worker).when(When::Nth(nth));
        let (run, n_done) = copy(&scene, &["-j1", "--manifest=sums", "-T", "source", "disk/copy"], vec![rule]);
        assert_eq!((run.status.code(), n_done), (Some(0), vec![1]), "{nth}: {}", run.stderr);
        assert_eq!(fs::read(scene.path("disk/copy/two")).unwrap(), b"another two", "{nth}");
        assert_eq!(n_checked(&scene.path("sums"), &scene.path("disk/copy")), 3, "{nth}");
    }
}

#[test]
fn a_manifest_in_the_copy_leaves_the_times_of_its_folder_alone() {
    let scene = Scene::new();
    odd_files(&scene);
    let run = scene.run(["--manifest=copy/sums", "source", "copy"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    n_checked(&scene.path("copy/sums"), &scene.path("copy"));
    let time = |name: &str| fs::metadata(scene.path(name)).unwrap().modified().unwrap();
    assert_eq!(time("copy"), time("source"));
}

#[test]
fn a_manifest_that_would_be_in_the_way_is_refused() {
    let scene = Scene::new();
    scene.file("source/file", "x");
    fs::create_dir(scene.path("folder")).unwrap();
    for (manifest, reason) in [
        ("source/sums", "cannot write manifest 'source/sums': it lies inside the source"),
        ("copy/file", "cannot write manifest 'copy/file': an entry of the source is copied there"),
        ("folder", "cannot write manifest 'folder': it is a folder"),
        ("gone/sums", "cannot write manifest 'gone/sums': No such file or directory (os error 2)"),
    ] {
        let run = scene.run(["--manifest", manifest, "source", "copy"]);
        assert_eq!((run.status.code(), run.stderr), (Some(2), format!("brigade: {reason}\n")));
    }
    let run = scene.run(["--manifest=-", "--progress=json", "source", "copy"]);
    assert_eq!((run.status.code(), run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    assert!(!scene.path("copy").exists());
}

/// A worker dies when it has written a file and before it has read it back; another does it again.
#[test]
fn a_death_while_files_are_read_back_loses_and_doubles_nothing() {
    let scene = Scene::new();
    let n_files = odd_files(&scene);
    let kill = Rule::of("fdatasync", Act::Kill).when(When::Nth(4));
    let arguments = ["--verify", "--manifest=sums", "-j2", "source", "copy"];
    let (run, n_done) = copy(&scene, &arguments, vec![kill]);
    assert_eq!((run.status.code(), n_done), (Some(0), vec![1]), "{}", run.stderr);
    assert!(run.stderr.contains("1 worker lost"), "{}", run.stderr);
    assert_eq!(n_checked(&scene.path("sums"), &scene.path("copy")), n_files);
    assert_eq!(tree(&scene.path("source")), tree(&scene.path("copy")));
}

/// F-07: what a disk does not take is told only by the flush that goes before reading back.
#[test]
fn a_file_that_cannot_be_flushed_is_not_read_back_from_memory_but_fails() {
    for errno in [Errno::IO, Errno::NOSPC] {
        let scene = Scene::new();
        for name in ["source/file", "source/other"] {
            scene.file(name, name);
        }
        let rule = Rule::of("fdatasync", Act::Fail(errno)).below(scene.path("copy/file"));
        let (run, n_done) = copy(&scene, &["--verify", "-j1", "source", "copy"], vec![rule]);
        assert_eq!((run.status.code(), n_done), (Some(1), vec![1]), "{}", run.stderr);
        let expected = format!("brigade: cannot write 'copy/file': {}\n", std::io::Error::from(errno));
        assert!(run.stderr.starts_with(&expected), "{}", run.stderr);
        assert_eq!(tree(&scene.path("copy")), [("other".into(), Some(b"source/other".to_vec()))].into());
    }
}

#[test]
fn a_program_is_told_of_the_phase_and_the_figures() {
    let scene = Scene::new();
    scene.file("source/file", "x");
    for (arguments, n_verified) in [(&["--verify"][..], 1), (&[], 0)] {
        let run = scene.run([&["--progress=json", "source"], arguments].concat());
        let summary: serde_json::Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((&summary["verified"], &summary["rewritten"]), (&n_verified.into(), &0.into()));
        let n_phases = run.stdout.matches(r#"{"event":"phase","phase":"verifying"}"#).count();
        assert_eq!(n_phases, n_verified);
    }
}
