//! `brigade verify` as its users meet it: the status, the words, and the events for a program.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::support::{Ended, Scene, ended};

pub fn verify<S: AsRef<OsStr>>(scene: &Scene, arguments: impl IntoIterator<Item = S>) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brigade"));
    ended(
        command.arg("verify").args(arguments).current_dir(scene.path(".")).env("LANG", "C.UTF-8").env_remove("LC_ALL"),
    )
}

/// A tree and its copy.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("a/folder/file", "contents");
    scene.file("a/other", "x");
    let run = scene.run(["a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    scene
}

#[test]
fn the_status_says_same_different_or_could_not_compare() {
    let scene = scene();
    let run = verify(&scene, ["a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert!(run.stderr.starts_with("the same: 4 entries (9 B) in "), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    scene.file("b/folder/file", "CONTENTS");
    for (arguments, expected) in [
        (["a", "b", "--lang=en"], "different: 'folder/file': contents, time"),
        (["a", "b", "-q"], "different: 'folder/file': contents, time"),
        (["a", "b", "--lang=zh-CN"], "不同：'folder/file'：内容，时间"),
    ] {
        let run = verify(&scene, arguments);
        assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
        assert_eq!(run.stderr.lines().next(), Some(expected));
    }
    for (arguments, expected) in [
        (&[][..], "brigade: missing source; try 'brigade verify --help'\n"),
        (&["a"], "brigade: missing destination after 'a'; try 'brigade verify --help'\n"),
        (
            &["a", "b", "c"],
            "brigade: one source is compared with one destination; extra operand 'c'; try 'brigade verify --help'\n",
        ),
        (&["a", "gone"], "brigade: cannot use destination 'gone': No such file or directory (os error 2)\n"),
        (&["a", "b", "--delete"], "brigade: unknown option '--delete'; try 'brigade verify --help'\n"),
    ] {
        let run = verify(&scene, arguments);
        assert_eq!((run.status.code(), run.stderr.as_str()), (Some(2), expected));
    }
}

#[test]
fn what_cannot_be_read_could_not_be_compared_even_if_something_else_differs() {
    assert!(rustix::process::geteuid().is_root(), "this test changes users: run it as root");
    let scene = scene();
    scene.file("b/other", "y");
    for path in ["b/folder/file", "."] {
        let mode = if path == "." { 0o755 } else { 0o000 };
        fs::set_permissions(scene.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let program = scene.path("brigade");
    fs::copy(env!("CARGO_BIN_EXE_brigade"), &program).unwrap();
    let mut plain = Command::new("setpriv");
    plain.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    let run = ended(plain.args(["verify", "--lang=en", "a", "b"]).current_dir(scene.path(".")));
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("brigade: cannot open 'b/folder/file': Permission denied (os error 13)\n"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("different: 'other': contents, time\n"), "{}", run.stderr);
    assert!(run.stderr.contains("could not compare 1 of 4 entries"), "{}", run.stderr);
}

/// `cp` and we copy into a folder that exists. Who then compares with that folder must not wonder for long.
#[test]
fn a_copy_that_went_into_a_folder_is_hinted_at() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    scene.file("b/there", "y");
    assert_eq!(scene.run(["a", "b"]).status.code(), Some(0));
    let run = verify(&scene, ["a", "b"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(run.stderr.ends_with("was the copy made into that folder? then compare with 'b/a'\n"), "{}", run.stderr);
    assert_eq!(verify(&scene, ["a", "b/a"]).status.code(), Some(0));
}

#[test]
fn a_program_gets_each_difference_and_the_figures() {
    let scene = scene();
    scene.file("b/new", "");
    fs::remove_file(scene.path("b/other")).unwrap();
    let run = verify(&scene, ["a", "b", "--progress=json"]);
    assert_eq!((run.status.code(), run.stderr.as_str()), (Some(1), ""));
    let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["entries"], json!([{ "source": "a", "destination": "b" }]));
    assert_eq!(events[1], json!({ "event": "phase", "phase": "verifying" }));
    let different = |path: &str| events.iter().find(|event| event["event"] == "different" && event["path"] == path);
    assert_eq!(different("new").unwrap()["aspects"], json!(["only_at_destination"]));
    assert_eq!(different("other").unwrap()["aspects"], json!(["only_at_source"]));
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    let figures = ["found", "same", "different", "failed"].map(|name| summary[name].as_u64().unwrap());
    // Adding and removing changed the time of the folder itself, too.
    assert_eq!(figures, [5, 2, 3, 0]);
}
