//! The report for programs: `--progress=json`.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use crate::support::{self, Scene};
use serde_json::{Value, json};

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_line_is_an_event_and_the_ledger_adds_up() {
    let scene = Scene::new();
    scene.file("a/x", "12345");
    scene.file("a/new\nline\x1b[2J", "y");
    scene.file("a/taken", "z");
    scene.file(OsStr::from_bytes(b"a/\xff\xfe"), "w");
    scene.file("b/taken/in the way", "");
    let run = scene.run(["--progress=json", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let events = events(&run.stdout);
    let sandbox = if rustix::process::geteuid().is_root() { "jail" } else { "files" };
    assert_eq!(
        events[0],
        json!({
            "event": "start", "version": env!("CARGO_PKG_VERSION"),
            "entries": [{ "source": "a", "destination": "b" }],
            "sandbox": sandbox,
        })
    );
    let of = |name: &str| -> Vec<&Value> { events.iter().filter(|event| event["event"] == name).collect() };
    let copied: Vec<&Value> = of("file").into_iter().filter(|file| file["state"] == "copied").collect();
    assert!(copied.iter().any(|file| file["path"] == "a/new\nline\x1b[2J"));
    assert!(copied.iter().any(|file| {
        // "a/\xff\xfe" and "b/\xff\xfe" in base64.
        file["path_bytes"] == "YS///g==" && file["destination_bytes"] == "Yi///g=="
    }));
    let errors = of("error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0]["path"].as_str().unwrap().ends_with("/taken"));
    assert!(run.stderr.starts_with("brigade: cannot "), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(count("failed"), 1);
    assert_eq!(count("found"), count("copied") + count("unchanged") + count("skipped") + count("failed"));
    assert_eq!(count("copied"), copied.len() as u64);
    assert_eq!(summary["durable"], false);
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_copy() {
    let scene = Scene::new();
    scene.many_files("a", 2000);
    let mut command = scene.copy(["--progress=json", "a", "b"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let stderr = support::collected(child.stderr.take().unwrap());
    let status = support::wait(&mut child);
    assert_eq!(
        stderr.recv().unwrap(),
        "brigade: cannot write to standard output: Broken pipe (os error 32); the copy goes on without it\n"
    );
    assert_eq!(status.code(), Some(1));
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
}

#[test]
fn a_closed_standard_error_disturbs_nothing() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    scene.file("b/x/in the way", "");
    let mut command = scene.copy(["-v", "-T", "a", "b"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(support::wait(&mut child).code(), Some(1));
}
