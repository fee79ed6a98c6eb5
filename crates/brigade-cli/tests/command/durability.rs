//! When a file is said to be on disk: never before it was flushed, never when that failed, and true after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use serde_json::Value;
use torture::crashbox::{self, Copier, Method};
use torture::faultline::{Act, Answer, Ended, Role, Rule, When, run};
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule as FaultRule};
use torture::mounts::{Mount, Scratch, need_root};
use torture::random::Random;
use torture::tree::differences;

use crate::support::{Scene, wait};

pub const LIMIT: Duration = Duration::from_secs(60);

/// What the command said of files, by their names below the copy.
#[derive(Debug, Default)]
pub struct Told {
    pub copied: BTreeSet<PathBuf>,
    pub durable: BTreeSet<PathBuf>,
    pub failed: BTreeSet<PathBuf>,
    pub summary: Value,
}

impl Told {
    pub fn of(output: &[u8], copy: &Path) -> Self {
        let mut told = Self::default();
        String::from_utf8_lossy(output).lines().for_each(|line| drop(told.take(line, copy)));
        told
    }

    /// Those that failed and are no folders, which hold the files.
    pub fn failed_files(&self) -> BTreeSet<PathBuf> {
        self.failed.iter().filter(|name| name.components().count() == 2).cloned().collect()
    }

    /// The file that this line says to be durable.
    fn take(&mut self, line: &str, copy: &Path) -> Option<PathBuf> {
        let event: Value = serde_json::from_str(line).unwrap();
        let below = |key: &str| {
            let path = Path::new(event[key].as_str()?);
            path.strip_prefix(copy).ok().map(Path::to_owned)
        };
        match (event["event"].as_str().unwrap(), event["state"].as_str(), event["kind"].as_str()) {
            ("file", Some("copied"), Some("file")) => self.copied.extend(below("destination")),
            ("file", Some("durable"), Some("file")) => {
                let path = below("destination");
                self.durable.extend(path.clone());
                return path;
            }
            ("error", ..) => self.failed.extend(below("path")),
            ("summary", ..) => self.summary = event,
            _ => {}
        }
        None
    }
}

/// An ext4 at `disk`, and some files to be copied to it.
pub fn disk(scene: &Scene, n_files: usize) -> Mount {
    need_root();
    std::fs::create_dir(scene.path("disk")).unwrap();
    scene.many_files("source", n_files);
    Mount::ext4(&scene.path("image"), &scene.path("disk"))
}

pub fn copy(scene: &Scene, words: &[&str]) -> Command {
    let mut command = scene.copy(["--progress=json", "-T"]);
    command.args(words).args([scene.path("source"), scene.path("disk/copy")]);
    command
}

pub fn copied_under(scene: &Scene, words: &[&str], rules: Vec<Rule>) -> (Ended, Told) {
    let ended = run(copy(scene, words), rules, LIMIT).unwrap();
    assert!(!ended.is_hung, "{ended:?}");
    let told = Told::of(&ended.output.stdout, &scene.path("disk/copy"));
    (ended, told)
}

/// Each file that is not flushed by its own name is not sure to be there: the file system has no other way to tell.
#[test]
fn a_file_system_of_a_process_flushes_each_file_before_it_is_said_to_be_durable() {
    need_root();
    for sync in ["--sync=batch", "--sync=end", "--sync=file"] {
        let scene = Scene::new();
        scene.many_files("source", 150);
        std::fs::create_dir(scene.path("disk")).unwrap();
        let behind = Scratch::new();
        // Late answers, so that a word too early is seen.
        let options = Options { delay: Duration::from_micros(300), ..Options::default() };
        let fault_fs = FaultFs::mount(&behind.path(""), &scene.path("disk"), options).unwrap();
        let mut child = copy(&scene, &[sync]).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = Told::default();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(path) = told.take(&line.unwrap(), &scene.path("disk/copy")) {
                let number = std::fs::metadata(behind.path("copy").join(&path)).unwrap().ino();
                assert!(fault_fs.flushed().contains(&number), "{sync}: {path:?}");
            }
        }
        assert_eq!(wait(&mut child).code(), Some(0));
        assert_eq!((told.copied.len(), told.durable.len()), (150, 150), "{sync}");
        assert_eq!(told.summary["durable"], true, "{sync}");
        assert_eq!(differences(&scene.path("source"), &behind.path("copy")).unwrap(), [""; 0]);
    }
}

#[test]
fn a_file_whose_flush_is_refused_by_a_process_is_named_and_copied_by_the_next_run() {
    need_root();
    let scene = Scene::new();
    scene.many_files("source", 20);
    std::fs::create_dir(scene.path("disk")).unwrap();
    let behind = Scratch::new();
    let fault_fs = FaultFs::mount(&behind.path(""), &scene.path("disk"), Options::default()).unwrap();
    fault_fs.add(FaultRule::new(Fault::Error(Errno::IO)).on(Operation::Fsync).at("copy/000/file 7"));
    let run = crate::support::ended(&mut copy(&scene, &[]));
    let told = Told::of(run.stdout.as_bytes(), &scene.path("disk/copy"));
    let bad = PathBuf::from("000/file 7");
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    assert_eq!((told.failed.contains(&bad), told.durable.contains(&bad)), (true, false), "{told:?}");
    assert_eq!(told.summary["durable"], false);
    fault_fs.behave();
    assert_eq!(crate::support::ended(&mut copy(&scene, &[])).status.code(), Some(0));
    assert_eq!(differences(&scene.path("source"), &behind.path("copy")).unwrap(), [""; 0]);
}

/// A flush that failed once would succeed the next time, although what it was about is lost.
#[test]
fn what_an_error_strikes_while_it_becomes_durable_is_named_and_mended_by_the_next_run() {
    // Few files are flushed one by one, more of them all together. What takes a file's place is renamed.
    let cases = [(20, "fsync"), (20, "close"), (200, "syncfs"), (200, "close"), (20, "rename"), (200, "rename")];
    for (n_files, call) in cases {
        let scene = Scene::new();
        let _disk = disk(&scene, n_files);
        let is_replaced = call == "rename";
        if is_replaced {
            let first = crate::support::ended(&mut copy(&scene, &["--sync=none"]));
            assert_eq!(first.status.code(), Some(0), "{}", first.stderr);
            for idx in 0..n_files {
                std::fs::write(scene.path(format!("source/{:03}/file {idx}", idx / 100)), "other contents\n").unwrap();
            }
        }
        let below = scene.path("disk").canonicalize().unwrap();
        let calls = if is_replaced { vec!["renameat", "renameat2"] } else { vec![call] };
        let rule = Rule::of_each(calls, Act::Fail(Errno::IO)).by(Role::Worker).below(below).when(When::Nth(5));
        let rule = if call == "syncfs" { rule.when(When::Nth(1)) } else { rule };
        // Only workers are to be met, and nobody who looks ahead because some mount may not answer.
        let (ended, told) = copied_under(&scene, &["--stall-timeout=0"], vec![rule]);
        let what = format!("{call} of {n_files}: {ended:?}");
        assert_eq!(ended.n_done, [1], "{what}");
        assert_eq!(ended.output.status.code(), Some(1), "{what}");
        assert!(!told.failed.is_empty(), "{what}");
        assert_eq!(told.failed.intersection(&told.durable).count(), 0, "{what}");
        // What failed before it was there is none of what was copied.
        assert_eq!(told.summary["durable"], call == "close", "{what}");
        let again = crate::support::ended(&mut copy(&scene, &[]));
        assert_eq!(again.status.code(), Some(0), "{what}\n{}", again.stderr);
        assert_eq!(differences(&scene.path("source"), &scene.path("disk/copy")).unwrap(), [""; 0], "{what}");
    }
}

/// The calls of workers that make and flush files, in order.
fn calls_under(scene: &Scene, words: &[&str]) -> (Vec<&'static str>, Told) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&calls);
    let note = move |asked: &torture::faultline::Asked| {
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(asked.name());
        Answer::GoOn
    };
    let rule = Rule::of_each(["fsync", "fdatasync", "syncfs", "linkat"], Act::Hook(Box::new(note))).by(Role::Worker);
    let mut command = copy(scene, words);
    command.env("__BRIGADE_GROUP_FILES", "40");
    let ended = run(command, vec![rule], LIMIT).unwrap();
    assert_eq!(ended.output.status.code(), Some(0), "{ended:?}");
    let told = Told::of(&ended.output.stdout, &scene.path("disk/copy"));
    let calls = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
    (calls, told)
}

#[test]
fn each_way_to_flush_does_what_it_promises() {
    const N_FILES: usize = 300;
    let mut seen: BTreeMap<&str, (Vec<&str>, Told)> = BTreeMap::new();
    for way in ["file", "batch", "end", "none"] {
        let scene = Scene::new();
        let _disk = disk(&scene, N_FILES);
        let found = calls_under(&scene, &[&format!("--sync={way}"), "-j1"]);
        assert_eq!(found.1.copied.len(), N_FILES, "{way}");
        assert_eq!(differences(&scene.path("source"), &scene.path("disk/copy")).unwrap(), [""; 0], "{way}");
        seen.insert(way, found);
    }
    let is_flush = |call: &&str| call.contains("sync");
    let place = |calls: &[&str], name| calls.iter().position(|call| *call == name);
    let n_flushes = |way: &str| seen[way].0.iter().filter(|call| is_flush(call)).count();

    assert_eq!(n_flushes("none"), 0);
    assert!(n_flushes("file") >= N_FILES, "{}", n_flushes("file"));
    // Some are flushed before the last is made, and not one by one; at the end everything.
    let batch = &seen["batch"].0;
    let first_flush = batch.iter().position(is_flush).unwrap();
    let last_made = batch.iter().rposition(|call| *call == "linkat").unwrap();
    assert!(first_flush < last_made, "{batch:?}");
    assert_eq!(batch.last(), Some(&"syncfs"), "{batch:?}");
    // Everything is made before anything is flushed.
    let end = &seen["end"].0;
    assert!(place(end, "syncfs").unwrap() > end.iter().rposition(|call| *call == "linkat").unwrap(), "{end:?}");
    // What is in the files first, and what makes them whole after that.
    assert_eq!(end.iter().filter(|call| is_flush(call)).collect::<Vec<_>>(), [&"syncfs"; 2], "{end:?}");

    for way in ["file", "batch", "end"] {
        assert_eq!((seen[way].1.durable.len(), &seen[way].1.summary["durable"]), (N_FILES, &true.into()), "{way}");
    }
    assert_eq!((seen["none"].1.durable.len(), &seen["none"].1.summary["durable"]), (0, &false.into()));
}

fn power_cuts(kind: crashbox::Kind, method: Method) {
    need_root();
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(Random::fresh_seed);
    println!("BRIGADE_SEED={seed}");
    let options = crashbox::Options {
        kind,
        method,
        copier: Copier::Brigade(env!("CARGO_BIN_EXE_brigade").into(), Vec::new()),
        n_cuts: 4,
        seed,
        size: crashbox::Size { n_files: 300, most_bytes: 16 << 10 },
        flush_delay: Duration::ZERO,
        keep: None,
    };
    let seen = crashbox::campaign(&options).unwrap();
    assert_eq!(seen.faults, [""; 0], "BRIGADE_SEED={seed}");
    assert_eq!(seen.n_cuts, options.n_cuts);
}

#[test]
fn nothing_that_was_reported_done_is_wrong_after_a_shutdown_of_ext4() {
    power_cuts(crashbox::Kind::Ext4, Method::Shutdown);
}

#[test]
fn nothing_that_was_reported_done_is_wrong_on_a_disk_of_xfs_that_lost_writes() {
    power_cuts(crashbox::Kind::Xfs, Method::BlockLog);
}

#[test]
fn nothing_that_was_reported_done_is_wrong_on_a_btrfs_as_it_was_at_a_moment() {
    power_cuts(crashbox::Kind::Btrfs, Method::Snapshot);
}
