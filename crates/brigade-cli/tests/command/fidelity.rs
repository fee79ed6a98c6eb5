//! How faithful copies are: trees with every kind of entry between file systems, what each option leaves out, and what is told.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, setxattr};
use torture::fidelity::{KINDS, N_SOURCES, copy_and_judge, mount_kind};
use torture::mounts::{Image, Mount, Scratch, need_root, run};
use torture::random::Random;
use torture::tree::differences;
use torture::treegen::{Extremes, Size, grow};

use super::support::{Scene, ended};

const BRIGADE: &str = env!("CARGO_BIN_EXE_brigade");

fn seed() -> u64 {
    std::env::var("BRIGADE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(Random::fresh_seed)
}

/// Catalogue C-01, C-03 to C-05, C-08, C-10 to C-12, C-14, C-15, C-22, C-31, C-34 and C-42.
#[test]
fn a_tree_with_every_kind_of_entry_arrives_and_each_limit_is_foreseen_and_told() {
    need_root();
    let scratch = Scratch::new();
    let mounts: Vec<Mount> = KINDS.iter().map(|kind| mount_kind(&scratch, kind)).collect();
    let seed = seed();
    let judge = |from: usize, to: usize, seed: u64, size: Size| {
        let (source, copy) = (mounts[from].at().join("source"), mounts[to].at().join("copy"));
        grow(&source, seed, size).unwrap();
        let verdict = copy_and_judge(Path::new(BRIGADE), &source, &copy).unwrap();
        let faults = verdict.faults.join("\n");
        assert!(faults.is_empty(), "BRIGADE_SEED={seed}, {} to {}:\n{faults}", KINDS[from], KINDS[to]);
        assert!(verdict.n_found > size.n_entries);
        fs::remove_dir_all(source).unwrap();
        fs::remove_dir_all(copy).unwrap();
    };
    for (pair_idx, seed) in (0..N_SOURCES * KINDS.len()).zip(seed..) {
        let size = Size { n_folders: 8, n_entries: 40, extremes: Extremes::Left };
        judge(pair_idx / KINDS.len(), pair_idx % KINDS.len(), seed, size);
    }
    judge(0, 2, seed, Size { n_folders: 20, n_entries: 100, extremes: Extremes::Grown });
}

/// Runs the copy under a umask.
fn under_umask(scene: &Scene, umask: &str, arguments: &[&str]) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask \"$0\" && exec \"$@\"", umask, BRIGADE, "copy"])
        .args(arguments)
        .current_dir(scene.path(""));
    let run = ended(&mut shell);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
}

/// Catalogue C-09.
#[test]
fn modes_are_kept_under_every_umask_and_otherwise_it_is_taken_off() {
    let scene = Scene::new();
    for (name, mode) in [("source/open", 0o777), ("source/closed", 0o400), ("source/setuid", 0o4755)] {
        scene.file(name, name);
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(scene.path("source/folder")).unwrap();
    fs::set_permissions(scene.path("source/folder"), fs::Permissions::from_mode(0o2775)).unwrap();
    let mode = |path: &str| fs::metadata(scene.path(path)).unwrap().mode() & 0o7777;
    for (umask, bits) in [("0", 0), ("022", 0o22), ("077", 0o77), ("0777", 0o777)] {
        under_umask(&scene, umask, &["-T", "source", umask]);
        assert_eq!(differences(&scene.path("source"), &scene.path(umask)).unwrap(), [""; 0], "{umask}");
        under_umask(&scene, umask, &["-T", "--preserve=timestamps", "source", &format!("{umask} times")]);
        under_umask(&scene, umask, &["-T", "--no-preserve=mode", "source", &format!("{umask} plain")]);
        for (name, of_source, plain) in
            [("open", 0o777, 0o666), ("closed", 0o400, 0o666), ("setuid", 0o755, 0o666), ("folder", 0o775, 0o777)]
        {
            assert_eq!(mode(&format!("{umask} times/{name}")), of_source & !bits, "{umask} {name}");
            assert_eq!(mode(&format!("{umask} plain/{name}")), plain & !bits, "{umask} {name}");
        }
    }
}

#[test]
fn what_is_not_to_be_kept_is_left_out() {
    need_root();
    let scene = Scene::new();
    scene.file("source/file", "x");
    let file = scene.path("source/file");
    fs::hard_link(&file, scene.path("source/link")).unwrap();
    chown(&file, Some(4242), Some(4242)).unwrap();
    setxattr(&file, c"user.note", b"x", XattrFlags::empty()).unwrap();
    run(Command::new("touch").args(["-d", "2001-02-03"]).arg(&file));
    let told = |options: &[&str]| {
        let copy = format!("copy {}", options.join(" "));
        let run = scene.run(options.iter().copied().chain(["-T", "source", copy.as_str()]));
        assert_eq!((run.status.code(), run.stderr.lines().count()), (Some(0), 1), "{}", run.stderr);
        differences(&scene.path("source"), &scene.path(&copy)).unwrap().join("\n")
    };
    assert_eq!(told(&["--preserve=all"]), "");
    for (option, expected) in [
        ("--no-preserve=ownership", "owner"),
        ("--no-preserve=timestamps", "time"),
        ("--no-preserve=xattr", "extended attributes"),
        ("--no-preserve=links", "one file"),
    ] {
        let found = told(&[option]);
        let is_of_it = |line: &str| line.contains(expected);
        assert!(!found.is_empty() && found.lines().all(is_of_it), "{option}: {found}");
    }
    assert_eq!(told(&["--no-preserve=all", "--preserve=all"]), "");
    let refused = scene.run(["--preserve=colour", "source", "x"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("'colour' is not a value for '--preserve'"), "{}", refused.stderr);
}

#[test]
fn a_loss_is_named_with_v_and_fails_its_entry_with_strict() {
    need_root();
    let scene = Scene::new();
    scene.file("source/poor", "x");
    scene.file("source/plain", "x");
    setxattr(scene.path("source/poor"), c"trusted.note", b"x", XattrFlags::empty()).unwrap();
    fs::create_dir(scene.path("there")).unwrap();
    let _mount = Mount::ramfs(&scene.path("there"));
    let run = scene.run(["-v", "source", "there/one"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("'there/one/poor' (not kept: extended attributes)\n"), "{}", run.stderr);
    for (language, sentence) in [
        ("en", "brigade: cannot keep all of 'there/two/poor': not kept: extended attributes\n"),
        ("zh-CN", "brigade: 无法完整保留 'there/three/poor': 未保留：扩展属性\n"),
    ] {
        let copy = if language == "en" { "there/two" } else { "there/three" };
        let run = scene.run(["--strict", "--lang", language, "source", copy]);
        assert_eq!(run.status.code(), Some(1));
        assert!(run.stderr.contains(sentence), "{}", run.stderr);
        assert_eq!(fs::read(scene.path(copy).join("poor")).unwrap(), b"x", "it is there nevertheless");
    }
}

#[test]
fn holes_are_made_or_filled_on_request() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    let file = fs::File::create(source.join("holes")).unwrap();
    file.set_len(4 << 20).unwrap();
    file.write_at(&[7; 5000], 1 << 20).unwrap();
    fs::write(source.join("zeros"), vec![0; 1 << 20]).unwrap();
    let blocks = |copy: &str, name: &str| fs::metadata(scratch.path(copy).join(name)).unwrap().blocks() * 512;
    for way in ["auto", "always", "never"] {
        let status = Command::new(BRIGADE)
            .args(["copy", "-q", "--reflink=never", "--sparse", way, "-T"])
            .args([&source, &scratch.path(way)])
            .status();
        assert!(status.unwrap().success());
        rustix::fs::sync();
        assert_eq!(differences(&source, &scratch.path(way)).unwrap(), [""; 0], "{way}");
    }
    assert!(blocks("auto", "holes") < 100_000 && blocks("auto", "zeros") >= 1 << 20);
    assert!(blocks("always", "holes") < 100_000 && blocks("always", "zeros") < 100_000);
    assert!(blocks("never", "holes") >= 4 << 20 && blocks("never", "zeros") >= 1 << 20);
}

#[test]
fn contents_are_shared_with_the_source_or_the_file_fails() {
    need_root();
    let scratch = Scratch::new();
    let there = scratch.folder("there");
    let mount = Mount::fresh(&Image::BTRFS, &scratch.path("image"), &there);
    let source = mount.at().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), vec![1; 1 << 20]).unwrap();
    let copy = |to: &Path, options: &[&str]| {
        ended(
            Command::new(BRIGADE)
                .env("LC_ALL", "C")
                .args(["copy", "--reflink=always"])
                .args(options)
                .args([&source, to]),
        )
    };
    assert_eq!(copy(&there.join("copy"), &[]).status.code(), Some(0));
    assert_eq!(differences(&source, &there.join("copy")).unwrap(), [""; 0]);
    let refused = copy(&scratch.path("elsewhere"), &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("cannot clone "), "{}", refused.stderr);
    assert!(!scratch.path("elsewhere/file").exists(), "no part of it is left");
    let refused = copy(&there.join("other"), &["--sparse=always"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("'--reflink=always' and '--sparse=always' cannot be used together"));
}

/// Catalogue C-35.
#[test]
fn what_cannot_be_altered_is_named_and_the_rest_is_copied() {
    need_root();
    let scratch = Scratch::new();
    let there = scratch.folder("there");
    let _mount = Mount::ext4(&scratch.path("image"), &there);
    for name in ["source/fixed/new", "source/appended/file", "source/free"] {
        scratch.file(name);
    }
    for folder in ["fixed", "appended"] {
        fs::create_dir_all(there.join("copy").join(folder)).unwrap();
    }
    fs::write(there.join("copy/appended/file"), "another").unwrap();
    run(Command::new("chattr").arg("+i").arg(there.join("copy/fixed")));
    run(Command::new("chattr").arg("+a").arg(there.join("copy/appended/file")));
    let copied = ended(
        Command::new(BRIGADE)
            .env("LC_ALL", "C")
            .args(["copy", "-T"])
            .args([scratch.path("source"), there.join("copy")]),
    );
    assert_eq!(copied.status.code(), Some(1));
    for name in ["copy/fixed/new'", "copy/appended/file'"] {
        let is_named = |line: &str| line.contains(name) && line.contains("Operation not permitted");
        assert!(copied.stderr.lines().any(is_named), "{name}: {}", copied.stderr);
    }
    assert_eq!(fs::read(there.join("copy/free")).unwrap(), b"source/free");
    assert_eq!(fs::read(there.join("copy/appended/file")).unwrap(), b"another");
    assert_eq!(fs::read_dir(there.join("copy/appended")).unwrap().count(), 1, "no temporary name is left");
}
