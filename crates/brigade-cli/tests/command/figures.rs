//! C-41: the figures that are shown while a copy runs: never above the whole, never backward, and in the end what is really there.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{self, Scene, Terminal};

const MIB: u64 = 1 << 20;

/// Plain, sparse, linked, unchanged and failing files; about two seconds of work with a limit of a mebibyte a second.
fn mixed_scene() -> Scene {
    let scene = Scene::new();
    for idx in 0..8 {
        scene.file(format!("a/plain {idx}"), &"x".repeat(200 << 10));
    }
    let sparse = File::create(scene.path("a/sparse")).unwrap();
    sparse.set_len(40 * MIB).unwrap();
    sparse.write_all_at(&[1; 100 << 10], 20 * MIB).unwrap();
    fs::hard_link(scene.path("a/plain 0"), scene.path("a/linked")).unwrap();
    scene.file("a/there/unchanged", &"y".repeat(500 << 10));
    fs::create_dir(scene.path("b")).unwrap();
    assert_eq!(scene.run(["-T", "a/there", "b/there"]).status.code(), Some(0));
    scene.file("a/taken", &"z".repeat(100 << 10));
    scene.file("b/taken/in the way", "");
    scene
}

/// The lengths of all files at the destination that the run itself wrote, each inode once.
fn written_bytes(scene: &Scene) -> u64 {
    let names = (0..8).map(|idx| format!("b/plain {idx}")).chain(["b/sparse".to_owned()]);
    names.map(|name| fs::metadata(scene.path(name)).unwrap().len()).sum()
}

fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or_else(|| panic!("no {name} in {event}"))
}

fn assert_figures(events: &[Value], scene: &Scene) {
    let of = |name: &str| -> Vec<&Value> { events.iter().filter(|event| event["event"] == name).collect() };
    let progress = of("progress");
    assert!(progress.len() >= 3, "{progress:?}");
    for event in &progress {
        assert!(number(event, "done") <= number(event, "found"), "{event}");
        assert!(number(event, "bytes_done") <= number(event, "bytes_found"), "{event}");
        assert!(event["percent"].is_null() || number(event, "percent") <= 99, "{event}");
    }
    for name in ["found", "done", "bytes_found", "bytes_done"] {
        let told: Vec<u64> = progress.iter().map(|event| number(event, name)).collect();
        assert!(told.is_sorted(), "{name}: {told:?}");
    }
    let percent: Vec<u64> = progress.iter().filter_map(|event| event["percent"].as_u64()).collect();
    assert!(!percent.is_empty() && percent.is_sorted(), "{percent:?}");
    let summary = of("summary")[0];
    let copied = of("file").into_iter().filter(|file| file["state"] == "copied" && file["kind"] == "file");
    let bytes_told: u64 = copied.map(|file| number(file, "bytes")).sum();
    assert_eq!(bytes_told, written_bytes(scene));
    assert_eq!(number(summary, "bytes"), written_bytes(scene));
    assert!(number(progress.last().unwrap(), "done") <= number(summary, "found"));
    let ended = ["copied", "unchanged", "skipped", "failed"].map(|name| number(summary, name));
    assert_eq!(number(summary, "found"), ended.iter().sum::<u64>(), "{summary}");
    assert_eq!(number(summary, "failed"), 1);
    assert_eq!(number(summary, "hard_links"), 1);
    let (first, second) = (scene.path("b/plain 0"), scene.path("b/linked"));
    assert_eq!(fs::metadata(first).unwrap().ino(), fs::metadata(second).unwrap().ino());
}

fn copy_with_figures(scene: &Scene, bwlimit: &str, mut each: impl FnMut(&Value)) -> Vec<Value> {
    let mut command = scene.copy(["--bwlimit", bwlimit, "--progress=json", "-T", "a", "b"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut events = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let event = serde_json::from_str(&line.unwrap()).unwrap();
        each(&event);
        events.push(event);
    }
    assert_eq!(support::wait(&mut child).code(), Some(1));
    events
}

#[test]
fn the_figures_for_programs_never_fall_never_exceed_and_end_at_what_is_there() {
    let scene = mixed_scene();
    let events = copy_with_figures(&scene, "1M", |_| {});
    assert_figures(&events, &scene);
}

#[test]
fn the_figures_hold_when_workers_die_and_their_work_is_done_again() {
    let scene = mixed_scene();
    let mut workers = Vec::new();
    let mut n_progress = 0;
    // Slow enough that those who are to be killed are still at work when they are.
    let events = copy_with_figures(&scene, "200K", |event| {
        if event["event"] == "worker" && event["state"] == "started" {
            workers.push(i32::try_from(number(event, "pid")).unwrap());
        }
        n_progress += u32::from(event["event"] == "progress");
        if event["event"] == "progress" && n_progress <= 2 {
            // It may have ended by itself, and another one been started.
            let _ = workers.pop().map(|pid| kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL));
        }
    });
    assert!(events.iter().any(|event| event["state"] == "lost"), "no worker was lost");
    assert_figures(&events, &scene);
}

/// The pairs in `12 of 34` as the bar writes them: `12/34 entries`.
fn entries(text: &str) -> Vec<(u32, u32)> {
    let pairs = text.split(" entries").filter_map(|part| {
        let (done, found) = part.rsplit_once("] ")?.1.split_once('/')?;
        Some((done.parse().ok()?, found.parse().ok()?))
    });
    pairs.collect()
}

#[test]
fn the_figures_on_a_terminal_never_fall_and_never_exceed() {
    let scene = mixed_scene();
    let mut command = scene.copy(["--bwlimit=1M", "--color=never", "-T", "a", "b"]);
    let (status, text) = Terminal::run(&mut command, 120, 24).ended();
    assert_eq!(status.code(), Some(1), "{text}");
    let percent = support::percentages(&text);
    assert!(percent.len() >= 3 && percent.is_sorted(), "{percent:?}");
    assert_eq!(percent.last(), Some(&100), "{text:?}");
    assert!(percent[..percent.len() - 1].iter().all(|percent| *percent <= 99), "{percent:?}");
    let entries = entries(&text);
    assert!(entries.len() >= 3 && entries.is_sorted(), "{entries:?} {text:?}");
    assert!(entries.iter().all(|(done, found)| done <= found), "{entries:?}");
}
