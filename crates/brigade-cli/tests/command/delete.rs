//! `--delete` as its users meet it: what is said, the status, and what a plain user may remove.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::Value;
use torture::mounts::need_root;

use super::support::{Scene, ended, tree};

/// Who has no rights: `nobody`.
const PLAIN: u32 = 65534;

#[test]
fn the_target_is_told_first_and_each_removal_with_v() {
    let scene = Scene::new();
    scene.file("source/file", "x");
    scene.file("destination/extra/file", "x");
    let run = scene.run(["-v", "--delete", "-T", "source", "destination"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines[0], "after the copy, everything in 'destination' that 'source' does not have will be deleted");
    let deleted: Vec<_> = lines.iter().copied().filter(|line| line.starts_with("deleted: ")).collect();
    assert_eq!(deleted, ["deleted: 'destination/extra/file'", "deleted: 'destination/extra'"]);
    assert!(lines.last().unwrap().ends_with(", 2 deleted"), "{}", run.stderr);
    assert_eq!(tree(&scene.path("source")), tree(&scene.path("destination")));
}

#[test]
fn a_program_gets_each_removal_and_their_number() {
    let scene = Scene::new();
    scene.file("source/file", "x");
    scene.file("destination/extra", "x");
    let run = scene.run(["--progress=json", "--delete", "-T", "source", "destination"]);
    let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let deleted: Vec<_> = events.iter().filter(|event| event["state"] == "deleted").collect();
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0]["destination"], "destination/extra");
    assert_eq!(deleted[0]["source"], Value::Null);
    assert_eq!((&events.last().unwrap()["deleted"], &events.last().unwrap()["undeleted"]), (&1.into(), &0.into()));
}

#[test]
fn an_empty_source_deletes_nothing_and_ends_with_1() {
    let scene = Scene::new();
    fs::create_dir(scene.path("source")).unwrap();
    scene.file("destination/precious", "x");
    for (language, sentence) in [
        ("en", "brigade: nothing was deleted: the source is empty, as if it were not mounted"),
        ("zh-CN", "brigade: 没有删除任何内容：源是空的，可能没有挂载"),
    ] {
        let run = scene.run(["--delete", "-T", "source", "destination", "--lang", language]);
        assert_eq!(run.status.code(), Some(1));
        assert!(run.stderr.lines().any(|line| line == sentence), "{}", run.stderr);
        assert!(scene.path("destination/precious").exists());
    }
}

#[test]
fn what_does_not_go_with_it_is_refused() {
    let scene = Scene::new();
    scene.file("one/file", "x");
    scene.file("two/file", "x");
    scene.file("destination/precious", "x");
    let table: [(&[&str], &str); 3] = [
        (&["one", "two"], "with --delete there is exactly one source, and it is a folder"),
        (&["one/file"], "with --delete there is exactly one source, and it is a folder"),
        (
            &["-n", "one"],
            "'--no-clobber' and '--delete' cannot be used together; what rsync calls -n is '--dry-run'; \
             try 'brigade copy --help'",
        ),
    ];
    for (arguments, sentence) in table {
        let run = scene.run(arguments.iter().chain([&"--delete", &"destination"]));
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr, format!("brigade: {sentence}\n"));
        assert!(scene.path("destination/precious").exists());
    }
}

#[test]
fn a_folder_that_cannot_be_read_keeps_everything() {
    need_root();
    let scene = Scene::new();
    scene.file("source/closed/file", "x");
    scene.file("source/other", "x");
    assert!(scene.run(["-T", "source", "destination"]).status.success());
    scene.file("destination/extra", "x");
    scene.file("destination/closed/extra", "x");
    let chown = Command::new("chown").arg("-R").arg(PLAIN.to_string()).arg(scene.path("")).status().unwrap();
    assert!(chown.success());
    fs::set_permissions(scene.path("source/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let run = ended(scene.copy(["--delete", "-T", "source", "destination"]).uid(PLAIN).gid(PLAIN));
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let sentence = "brigade: nothing was deleted from here on: some of the source could not be read";
    assert!(run.stderr.lines().any(|line| line == sentence), "{}", run.stderr);
    for name in ["extra", "closed/extra", "closed/file"] {
        assert!(scene.path("destination").join(name).exists(), "{name}");
    }
}

#[test]
fn a_plain_user_empties_folders_that_are_read_only() {
    need_root();
    let scene = Scene::new();
    scene.file("source/closed/file", "x");
    assert!(scene.run(["-T", "source", "destination"]).status.success());
    scene.file("destination/closed/extra", "x");
    scene.file("destination/closed/folder/deep/extra", "x");
    for name in ["source", "destination"] {
        let chown = Command::new("chown").arg("-R").arg(PLAIN.to_string()).arg(scene.path(name)).status().unwrap();
        assert!(chown.success());
    }
    chown(scene.path(""), Some(PLAIN), None).unwrap();
    for name in ["source/closed", "destination/closed/folder/deep", "destination/closed/folder", "destination/closed"] {
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let run = ended(scene.copy(["--delete", "-T", "source", "destination"]).uid(PLAIN).gid(PLAIN));
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert_eq!(tree(&scene.path("source")), tree(&scene.path("destination")));
    let mode = fs::metadata(scene.path("destination/closed")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o555);
}

#[test]
fn force_lets_an_empty_source_delete_everything() {
    let scene = Scene::new();
    fs::create_dir(scene.path("source")).unwrap();
    scene.file("destination/extra/file", "x");
    let run = scene.run(["--delete", "-f", "-T", "source", "destination"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert_eq!(fs::read_dir(scene.path("destination")).unwrap().count(), 0);
}

#[test]
fn a_rehearsal_tells_what_would_be_deleted_and_deletes_nothing() {
    let scene = Scene::new();
    scene.file("source/file", "x");
    scene.file("destination/extra/file", "x");
    let before = tree(&scene.path("destination"));
    let run = scene.run(["--dry-run", "--delete", "-T", "source", "destination"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    for line in ["would delete 'destination/extra/file'", "would delete 'destination/extra'"] {
        assert!(run.stderr.lines().any(|told| told.starts_with(line)), "{}", run.stderr);
    }
    assert!(run.stderr.lines().last().unwrap().ends_with(", 2 would be deleted"), "{}", run.stderr);
    assert_eq!(tree(&scene.path("destination")), before);
}

#[test]
fn backups_are_not_deleted() {
    let scene = Scene::new();
    scene.file("source/file", "new");
    scene.file("destination/file", "older");
    scene.file("destination/extra", "x");
    let run = scene.run(["--delete", "--backup=simple", "-T", "source", "destination"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert_eq!(fs::read_to_string(scene.path("destination/file~")).unwrap(), "older");
    assert!(!scene.path("destination/extra").exists());
}
