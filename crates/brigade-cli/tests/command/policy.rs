//! Policies for what is at the destination already, from the command line to the tree.

use std::fs;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::support::Scene;

/// Gives a file a modification time of so many seconds.
fn age(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn dated(scene: &Scene, name: &str, contents: &str, seconds: i64) {
    scene.file(name, contents);
    age(&scene.path(name), seconds);
}

fn read(scene: &Scene, name: &str) -> String {
    fs::read_to_string(scene.path(name)).unwrap()
}

/// Names are what is at the destination, beside a source from second 5.
fn table(scene: &Scene) {
    for (name, contents, seconds) in
        [("older", "old", 4), ("newer", "new", 6), ("same", "SRC", 5), ("touched", "src", 4)]
    {
        dated(scene, &format!("a/{name}"), "src", 5);
        dated(scene, &format!("b/{name}"), contents, seconds);
    }
    dated(scene, "a/absent", "src", 5);
}

#[test]
fn each_policy_keeps_and_replaces_what_it_says() {
    for (option, older, newer, same, counts) in [
        (None, "src", "src", "SRC", "copied 4 + unchanged 2 + skipped 0"),
        (Some("-n"), "old", "new", "SRC", "copied 1 + unchanged 1 + skipped 4"),
        (Some("-u"), "src", "new", "SRC", "copied 3 + unchanged 2 + skipped 1"),
        (Some("-c"), "src", "src", "src", "copied 4 + unchanged 2 + skipped 0"),
        (Some("--ignore-times"), "src", "src", "src", "copied 5 + unchanged 1 + skipped 0"),
    ] {
        let scene = Scene::new();
        table(&scene);
        let run = scene.run(option.into_iter().chain(["-v", "-T", "a", "b"]));
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert!(run.stderr.contains(&format!("found 6 = {counts} + failed 0")), "{option:?}: {}", run.stderr);
        assert_eq!(read(&scene, "b/older"), older, "{option:?}");
        assert_eq!(read(&scene, "b/newer"), newer, "{option:?}");
        assert_eq!(read(&scene, "b/same"), same, "{option:?}");
        assert_eq!(read(&scene, "b/absent"), "src", "{option:?}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let scene = Scene::new();
    scene.file("a", "x");
    for (arguments, english, chinese) in [(
        ["--checksum", "--ignore-times"],
        "'--checksum' and '--ignore-times' cannot be used together",
        "'--checksum' 和 '--ignore-times' 不能同时使用",
    )] {
        for (language, sentence) in [("--lang=en", english), ("--lang=zh-CN", chinese)] {
            let run = scene.run(arguments.into_iter().chain([language, "a", "b"]));
            assert!(run.stderr.starts_with(&format!("brigade: {sentence}")), "{}", run.stderr);
            assert_eq!(run.status.code(), Some(2));
        }
    }
    assert!(!scene.path("b").exists());
}
