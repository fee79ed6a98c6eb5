//! When a file is whole, and when it is durable, as somebody sees it who looks at the destination meanwhile, and as another run
//! finds it. What a power cut leaves is judged by torture's crashbox.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::Value;
use torture::faultline::{Act, Answer, Role, Rule, run};
use torture::mounts::{Mount, need_root};

use super::support::{Scene, ended, tree};

const WATCHDOG: Duration = Duration::from_secs(60);

/// 1902-01-01T00:00:00.123456789Z.
const UNFINISHED: (i64, i64) = (-2_145_916_800, 123_456_789);

/// A folder `disk` with a file system on a disk.
fn with_disk(scene: &Scene) -> Mount {
    need_root();
    let at = scene.path("disk");
    fs::create_dir(&at).unwrap();
    Mount::ext4(&scene.path("image"), &at)
}

fn make_unfinished(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    set_time(path, UNFINISHED);
}

fn set_time(path: &Path, time: (i64, i64)) {
    let time = Timespec { tv_sec: time.0, tv_nsec: time.1 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

fn time_of(path: &Path) -> (i64, i64) {
    let data = fs::symlink_metadata(path).unwrap();
    (data.mtime(), data.mtime_nsec())
}

fn events(stdout: &str, state: &str) -> Vec<String> {
    let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let files = lines.filter(|line| line["event"] == "file" && line["state"] == state);
    let mut paths: Vec<_> = files.map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    paths.sort();
    paths
}

/// A file, as it looked at some moment: name, mode and time.
type Looks = (String, u32, (i64, i64));

/// What the files of the destination looked like whenever something was flushed.
fn looks_at_flushes(scene: &Scene, arguments: &[&str]) -> Vec<Vec<Looks>> {
    looks_at(&["fsync", "syncfs"], scene, arguments)
}

/// What they looked like just before each such call.
fn looks_at(calls: &[&'static str], scene: &Scene, arguments: &[&str]) -> Vec<Vec<Looks>> {
    let looks = Arc::new(Mutex::new(Vec::new()));
    let (seen, folder) = (Arc::clone(&looks), scene.path("disk/copy"));
    let look = move |_: &_| {
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().mode() & 0o7777;
                (entry.file_name().into_string().unwrap(), mode, time_of(&entry.path()))
            })
            .collect();
        files.sort();
        seen.lock().unwrap().push(files);
        Answer::GoOn
    };
    let rule = Rule::of_each(calls.iter().copied(), Act::Hook(Box::new(look))).by(Role::Worker);
    let ended = run(scene.copy(arguments), vec![rule], WATCHDOG).unwrap();
    assert!(!ended.is_hung && ended.output.status.success(), "{}", String::from_utf8_lossy(&ended.output.stderr));
    Arc::into_inner(looks).unwrap().into_inner().unwrap()
}

#[test]
fn a_file_has_neither_its_time_nor_its_mode_before_it_was_flushed() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    for name in ["a", "b"] {
        scene.file(format!("source/{name}"), "contents");
        set_time(&scene.path(format!("source/{name}")), (1_000, 5));
    }
    let looks = looks_at_flushes(&scene, &["-T", "source", "disk/copy"]);
    let first: Vec<_> = looks.first().unwrap().iter().map(|(name, mode, time)| (name.as_str(), *mode, *time)).collect();
    assert_eq!(first, [("a", 0o600, UNFINISHED), ("b", 0o600, UNFINISHED)]);
    let last: Vec<_> = looks.last().unwrap().iter().map(|(name, mode, time)| (name.as_str(), *mode, *time)).collect();
    assert_eq!(last, [("a", 0o644, (1_000, 5)), ("b", 0o644, (1_000, 5))], "what is flushed last is what stays");
}

/// A power cut between two calls leaves what was there after the first: a link with a time of now would be newer than its source
/// for everybody else.
#[test]
fn links_and_fifos_have_their_times_when_they_get_their_names() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    fs::create_dir(scene.path("source")).unwrap();
    let make = |target: &str| {
        std::os::unix::fs::symlink(target, scene.path("source/link")).unwrap();
        let time = Timespec { tv_sec: 1_000, tv_nsec: 5 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, scene.path("source/link"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    make("somewhere");
    torture::mounts::run(Command::new("mkfifo").arg(scene.path("source/fifo")));
    set_time(&scene.path("source/fifo"), (1_000, 5));
    for round in ["fresh", "replacing"] {
        let calls = ["symlinkat", "mknodat", "utimensat", "renameat", "renameat2", "fsync", "syncfs"];
        let looks = looks_at(&calls, &scene, &["-T", "source", "disk/copy"]);
        for (name, _, time) in looks.iter().flatten().filter(|(name, ..)| !name.starts_with(".brigade-")) {
            assert_eq!(*time, (1_000, 5), "{round}, {name}: {looks:?}");
        }
        assert!(looks.iter().flatten().any(|(name, ..)| name == "link"), "{round}: {looks:?}");
        let differences = torture::tree::differences(&scene.path("source"), &scene.path("disk/copy")).unwrap();
        assert_eq!(differences, [""; 0], "{round}");
        fs::remove_file(scene.path("source/link")).unwrap();
        make("somewhere else");
    }
}

#[test]
fn nobody_gets_what_an_acl_gives_before_the_file_is_whole() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    scene.file("source/shared", "secret");
    assert!(
        Command::new("setfacl")
            .args(["-m", "u:12345:rw,g::r"])
            .arg(scene.path("source/shared"))
            .status()
            .unwrap()
            .success()
    );
    let looks = looks_at_flushes(&scene, &["-T", "source", "disk/copy"]);
    assert_eq!(
        (looks[0][0].1, looks[0][0].2),
        (0o600, UNFINISHED),
        "the group's bits are the mask, which allows nothing"
    );
    let acl = |path: &str| {
        let told =
            Command::new("getfacl").args(["--omit-header", "--absolute-names"]).arg(scene.path(path)).output().unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    assert!(acl("source/shared").contains("user:12345:rw-"), "{}", acl("source/shared"));
    assert_eq!(acl("source/shared"), acl("disk/copy/shared"));
}

#[test]
fn where_what_exists_is_kept_nothing_has_its_name_before_it_was_flushed() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    scene.file("source/a", "contents");
    let looks = looks_at_flushes(&scene, &["-n", "-T", "source", "disk/copy"]);
    let first = &looks.first().unwrap()[..];
    let time = time_of(&scene.path("source/a"));
    // It is all that it is to be, but for its name: a rename gives a file nothing else that could be lost on its way.
    assert!(matches!(first, [(name, 0o644, there)] if name.starts_with(".brigade-") && *there == time), "{first:?}");
    assert!(matches!(&looks.last().unwrap()[..], [(name, 0o644, _)] if name == "a"), "{looks:?}");
    // Likewise where something is replaced: what was there stays whole until then.
    scene.file("source/a", "other contents");
    let looks = looks_at_flushes(&scene, &["-T", "source", "disk/copy"]);
    let first: Vec<_> = looks.first().unwrap().iter().map(|(name, ..)| name.as_str()).collect();
    assert!(matches!(first[..], [temporary, "a"] if temporary.starts_with(".brigade-")), "{first:?}");
    assert_eq!(tree(&scene.path("source")), tree(&scene.path("disk/copy")));
}

#[test]
fn what_a_run_did_not_finish_is_no_entry_that_exists() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    scene.file("source/a", "contents");
    for options in [&["-n"][..], &["-u"], &["--backup"], &[]] {
        scene.file("disk/copy/a", "cont");
        make_unfinished(&scene.path("disk/copy/a"));
        let run = ended(scene.copy(options.iter().copied().chain(["-T", "source", "disk/copy"])).env("LC_ALL", "C"));
        assert_eq!(run.status.code(), Some(0), "{options:?}: {}", run.stderr);
        assert_eq!(tree(&scene.path("source")), tree(&scene.path("disk/copy")), "{options:?}");
        assert_eq!(time_of(&scene.path("source/a")), time_of(&scene.path("disk/copy/a")), "{options:?}");
        fs::remove_dir_all(scene.path("disk/copy")).unwrap();
    }
    // With any other mode, or any other time, it is somebody's file.
    for (mode, time) in [(0o640, UNFINISHED), (0o600, (UNFINISHED.0, UNFINISHED.1 + 1))] {
        scene.file("disk/copy/a", "kept");
        fs::set_permissions(scene.path("disk/copy/a"), fs::Permissions::from_mode(mode)).unwrap();
        set_time(&scene.path("disk/copy/a"), time);
        let run = scene.run(["-n", "-T", "source", "disk/copy"]);
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert_eq!(fs::read(scene.path("disk/copy/a")).unwrap(), b"kept");
    }
}

#[test]
fn every_entry_is_told_to_be_durable_and_nothing_in_memory_is() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    scene.many_files("source/many", 100);
    scene.file("source/one/a", "contents");
    scene.file("source/one/empty", "");
    fs::hard_link(scene.path("source/one/a"), scene.path("source/many/link")).unwrap();
    std::os::unix::fs::symlink("a", scene.path("source/one/link")).unwrap();
    for sync in ["batch", "end", "file"] {
        let target = format!("disk/{sync}");
        let run = scene.run(["--progress=json", &format!("--sync={sync}"), "-T", "source", &target]);
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert_eq!(events(&run.stdout, "durable"), events(&run.stdout, "copied"), "{sync}");
        assert_eq!(events(&run.stdout, "durable").len(), 108, "{sync}");
        assert!(run.stdout.contains(r#""durable":true"#), "{sync}: {}", run.stdout);
        assert!(run.stdout.contains(r#"{"event":"phase","phase":"flushing"}"#), "{sync}");
        assert_eq!(tree(&scene.path("source")), tree(&scene.path(&target)));
    }
    for (sync, target) in [("none", "disk/none"), ("batch", "memory")] {
        let run = scene.run(["--progress=json", &format!("--sync={sync}"), "-T", "source", target]);
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert!(events(&run.stdout, "durable").is_empty() && run.stdout.contains(r#""durable":false"#), "{target}");
    }
}

#[test]
fn nothing_is_flushed_in_memory_and_with_sync_none() {
    let scene = Scene::new();
    let _disk = with_disk(&scene);
    scene.many_files("source", 100);
    for (sync, target) in [("none", "disk/none"), ("batch", "memory"), ("file", "memory2")] {
        let there = scene.path(target);
        let rules = ["fsync", "fdatasync", "syncfs"]
            .map(|name| Rule::of(name, Act::Hook(Box::new(|_: &_| Answer::GoOn))).below(&there));
        let ended =
            run(scene.copy([&format!("--sync={sync}"), "-T", "source", target]), rules.into(), WATCHDOG).unwrap();
        assert!(ended.output.status.success() && !ended.is_hung);
        // A flush of a file system that keeps nothing is none.
        assert_eq!(ended.n_done, [0, 0, 0], "{sync} {target}");
    }
}
