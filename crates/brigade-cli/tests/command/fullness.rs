//! Destinations that run full, go read-only or vanish while they are copied to, and limits of the process: named, and never a
//! copy that only looks whole.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use torture::fullness::{Kind, campaign};
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule, Spelling};
use torture::mounts::{Image, Mount, Scratch, need_root, run};
use torture::random::Random;

use crate::support::{Ended, Scene, ended};
use torture::facts::Stopwatch;

/// Fill levels of a slice: two of each kind of file system.
const N_LEVELS: u64 = 14;

fn seed() -> u64 {
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(Random::fresh_seed);
    println!("BRIGADE_SEED={seed}");
    seed
}

fn assert_same(source: &Path, copy: &Path) {
    let differences = torture::tree::differences(source, copy).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Lines that name an entry that failed.
fn named(ended: &Ended) -> Vec<&str> {
    ended.stderr.lines().filter(|line| line.starts_with("brigade: cannot ")).collect()
}

#[test]
fn a_full_destination_is_told_entry_by_entry_and_completed_once_there_is_room() {
    need_root();
    let program = Path::new(env!("CARGO_BIN_EXE_brigade"));
    let (seen, wrong) = campaign(program, &Kind::ALL, N_LEVELS, seed()).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.n_full > 0 && seen.n_named > 0, "{seen:?}");
}

#[test]
fn an_error_that_comes_only_at_close_fails_the_file() {
    need_root();
    for sync in ["none", "batch", "end", "file"] {
        let scene = Scene::new();
        // A file that is to be flushed has another name when it is closed, but in the same folder.
        scene.file("source/good/file", "good");
        scene.file("source/bad/file", "bad");
        let behind = Scratch::new();
        std::fs::create_dir(scene.path("at")).unwrap();
        let fault_fs = FaultFs::mount(&behind.path(""), &scene.path("at"), Options::default()).unwrap();
        fault_fs.add(Rule::new(Fault::Error(rustix::io::Errno::NOSPC)).on(Operation::Flush).at("copy/bad"));
        let sync = format!("--sync={sync}");
        let first = scene.run([&sync, "--progress=json", "source", "at/copy"]);
        assert_eq!(first.status.code(), Some(1), "{sync}: {}", first.stderr);
        assert_eq!(named(&first).len(), 1, "{sync}: {}", first.stderr);
        assert!(first.stderr.contains("/bad/file': No space left on device (os error 28)"), "{sync}: {}", first.stderr);
        let events = first.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_bad = events.filter(|event| event["event"] == "file" && event["path"] == "source/bad/file");
        let states: Vec<_> = of_bad.map(|event| event["state"].as_str().unwrap().to_owned()).collect();
        assert_eq!(states, ["failed"], "{sync}: neither copied nor durable: {}", first.stdout);
        assert_eq!(std::fs::read_dir(behind.path("copy/bad")).unwrap().count(), 0, "{sync}: it may not be whole");
        assert_eq!(std::fs::read(behind.path("copy/good/file")).unwrap(), b"good", "{sync}");
        fault_fs.behave();
        let again = scene.run([&sync, "-T", "source", "at/copy"]);
        assert_eq!(again.status.code(), Some(0), "{sync}: {}", again.stderr);
        assert_same(&scene.path("source"), &behind.path("copy"));
    }
}

#[test]
fn names_that_differ_in_case_only_do_not_replace_each_other_in_silence() {
    need_root();
    let scene = Scene::new();
    for (name, contents) in [("Name", "first"), ("name", "second"), ("other", "third")] {
        scene.file(format!("source/{name}"), contents);
    }
    std::fs::create_dir(scene.path("source/Folder")).unwrap();
    scene.file("source/folder/inside", "inside");
    let behind = Scratch::new();
    std::fs::create_dir(scene.path("at")).unwrap();
    let options = Options { spelling: Spelling::CaseInsensitive, ..Options::default() };
    let _fault_fs = FaultFs::mount(&behind.path(""), &scene.path("at"), options).unwrap();
    let ended = scene.run(["-j1", "source", "at/copy"]);
    let there = std::fs::read_to_string(behind.path("copy/Name"))
        .or_else(|_| std::fs::read_to_string(behind.path("copy/name")));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(["first", "second"].contains(&there.unwrap().as_str()));
    assert_eq!(std::fs::read_to_string(behind.path("copy/other")).unwrap(), "third");
    assert!(ended.stderr.to_lowercase().contains("/name'"), "{}", ended.stderr);
}

/// What keeps a copy of [`disturbed`] going for twelve seconds if nothing happens to it.
const SLOWLY: &str = "--bwlimit=3K";

/// A copy that is slow enough that something can happen meanwhile, and what happens once it has begun.
fn disturbed(image: &Image<'_>, argument: &str, disturb: impl FnOnce(&Mount, &Path)) -> Ended {
    need_root();
    let scene = Scene::new();
    scene.many_files("source", 12_000);
    std::fs::create_dir(scene.path("at")).unwrap();
    let file = scene.path("image");
    let mount = Mount::fresh(image, &file, &scene.path("at"));
    let mut command = scene.copy(["-j2", argument, "source", "at/copy"]);
    let copied = std::thread::spawn(move || ended(&mut command));
    torture::facts::wait_until("the copy has begun", || {
        std::fs::read_dir(mount.at().join("copy")).is_ok_and(|mut made| made.next().is_some())
    });
    let began = Stopwatch::start();
    disturb(&mount, &file);
    let ended = copied.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    ended
}

fn assert_names(ended: &Ended, reasons: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let named = named(ended);
    assert!(!named.is_empty(), "{}", ended.stderr);
    for line in named {
        assert!(reasons.iter().any(|reason| line.ends_with(reason)), "{line}");
    }
}

#[test]
fn a_destination_that_becomes_read_only_is_told_and_ends_the_copy() {
    // What nobody has open for writing can be made read-only; a moment for that comes between two files of a single
    // worker.
    let ended = disturbed(&Image::EXT4, "--workers=1", |mount, _| {
        torture::facts::wait_until("it can be made read-only", || {
            let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(mount.at()).output().unwrap();
            remounted.status.success()
        });
    });
    assert_names(&ended, &["(os error 30)"]);
}

#[test]
fn a_file_system_that_shuts_down_is_told_and_ends_the_copy() {
    let ended = disturbed(&Image::XFS, SLOWLY, |mount, _| {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(mount.at()));
    });
    assert_names(&ended, &["(os error 5)", "(os error 117)"]);
}

#[test]
fn a_disk_that_disappears_is_told_and_ends_the_copy() {
    let ended = disturbed(&Image::XFS, SLOWLY, |mount, image| {
        let listed = Command::new("losetup").args(["-n", "-O", "NAME", "-j"]).arg(image).output().unwrap();
        let device = String::from_utf8(listed.stdout).unwrap();
        // Nothing of it is left, and its driver notices.
        std::fs::File::options().write(true).open(image).unwrap().set_len(0).unwrap();
        run(Command::new("losetup").arg("-c").arg(device.trim()));
        // What is in memory only cannot go there; that this fails is the point.
        let _ = rustix::fs::syncfs(std::fs::File::open(mount.at()).unwrap());
    });
    assert_names(&ended, &["(os error 5)", "(os error 117)"]);
}

fn limited(scene: &Scene, limits: &str, arguments: &str) -> Ended {
    let program = env!("CARGO_BIN_EXE_brigade");
    let script = format!("ulimit {limits} && exec {program} copy {arguments} source copy");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(scene.path("")).env("LC_ALL", "C").env("LANG", "C");
    ended(&mut command)
}

#[test]
fn a_limit_on_the_size_of_files_is_told_and_kills_nobody() {
    let scene = Scene::new();
    scene.file("source/small", "small");
    // The memory that workers share is a file as well, and larger than that.
    let ended = limited(&scene, "-f 1024", "");
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("File too large (os error 27)\n"), "{}", ended.stderr);
    assert!(!scene.path("copy").exists());
}

#[test]
fn a_copy_gets_by_with_few_open_files_and_fewer_workers() {
    let scene = Scene::new();
    scene.many_files("source/a/b/c/d/e/f/g/h/i/j", 300);
    let ended = limited(&scene, "-n 16", "-j8");
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("Too many open files (os error 24)\n"), "{}", ended.stderr);
    assert!(!scene.path("copy").exists());
    // Whoever looks ahead, because some mount may not answer, needs more.
    let ended = limited(&scene, "-n 26", "-j8 --stall-timeout=0 --progress=json");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let last = ended.stdout.lines().last().expect("there is a summary");
    let summary: serde_json::Value = serde_json::from_str(last).expect("each line is an object");
    assert!((1..8).contains(&summary["workers"].as_u64().unwrap()), "{last}");
    assert_same(&scene.path("source"), &scene.path("copy"));
}

#[test]
fn too_little_memory_is_told() {
    let scene = Scene::new();
    scene.many_files("source", 300);
    for kilobytes in [30_000, 300_000, 3_000_000] {
        let ended = limited(&scene, &format!("-v {kilobytes}"), "-j2 -T");
        let code = ended.status.code();
        assert!(matches!(code, Some(0..=2)), "{kilobytes}: {:?} {}", ended.status, ended.stderr);
        if code == Some(0) {
            assert_same(&scene.path("source"), &scene.path("copy"));
        } else {
            assert!(ended.stderr.contains("brigade: "), "{kilobytes}: {}", ended.stderr);
        }
        let _ = std::fs::remove_dir_all(scene.path("copy"));
    }
}
