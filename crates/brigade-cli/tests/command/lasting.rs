//! An error in each step by which a copy comes to last: nothing that it is about is said to be done, neither in words nor by its
//! time, and nothing is tried twice that can be told only once.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use torture::faultline::{Act, Answer, Asked, Ended, Role, Rule, When, run};
use torture::fuse::{FaultFs, Operation, Options};
use torture::mounts::{Scratch, need_root};

use super::durability::{LIMIT, Told, copied_under, copy, disk};
use super::support::{Scene, ended, tree};

/// So few are flushed one by one.
const FEW: usize = 20;
/// So many are flushed together.
const MANY: usize = 200;

fn failing(calls: &[&str], scene: &Scene, when: When) -> Rule {
    let below = scene.path("disk").canonicalize().unwrap();
    Rule::of_each(calls.iter().copied(), Act::Fail(Errno::IO)).by(Role::Worker).below(below).when(when)
}

/// Fails flushes of this entry of the copy, once all files are as they are to be or before that.
fn failing_flush_of(scene: &Scene, name: &str, step: Step) -> Rule {
    let (source, copied) = (scene.path("source/000"), scene.path("disk/copy/000"));
    let flushed = scene.path("disk").canonicalize().unwrap().join("copy").join(name);
    let fail = move |asked: &Asked| {
        let mut names = (0..FEW).map(|idx| format!("file {idx}"));
        let is_final = names.all(|name| has_time_of(&source.join(&name), &copied.join(&name)));
        let is_meant = asked.path().as_ref() == Some(&flushed) && is_final == (step == Step::Last);
        if is_meant { Answer::Fail(Errno::IO.raw_os_error()) } else { Answer::GoOn }
    };
    Rule::of("fsync", Act::Hook(Box::new(fail))).by(Role::Worker)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// What is in the files.
    Contents,
    /// What makes them whole.
    Last,
}

fn has_time_of(source: &Path, copied: &Path) -> bool {
    let time = |path| fs::symlink_metadata(path).map(|data| (data.mtime(), data.mtime_nsec()));
    time(copied).is_ok_and(|there| there == time(source).unwrap())
}

/// Some failed and were named, nothing more is said of those, and what has its time is whole.
fn assert_nothing_false_is_said(scene: &Scene, (ended, told): &(Ended, Told)) {
    assert_eq!(ended.output.status.code(), Some(1), "{ended:?}");
    assert!(!told.failed.is_empty(), "{ended:?}");
    assert_eq!(told.failed.intersection(&told.durable).count(), 0, "{told:?}");
    let (sources, copies) = (tree(&scene.path("source")), tree(&scene.path("disk/copy")));
    for (name, contents) in sources.iter().filter(|(_, contents)| contents.is_some()) {
        let is_done = has_time_of(&scene.path("source").join(name), &scene.path("disk/copy").join(name));
        assert!(!is_done || copies.get(name) == Some(contents), "{name:?} is not what its time says");
        assert!(is_done || !told.durable.contains(name), "{name:?} is not there as it was said");
    }
    assert!(copies.keys().all(|name| sources.contains_key(name)), "{:?} was left", copies.keys());
}

/// Nothing of these is there, so that nobody can take it for whole.
fn assert_none_is_there(scene: &Scene, failed: &BTreeSet<PathBuf>) {
    for name in failed {
        assert!(!scene.path("disk/copy").join(name).exists(), "{name:?}");
    }
}

fn assert_mended_by_the_next_run(scene: &Scene) {
    let again = ended(&mut copy(scene, &[]));
    assert_eq!(again.status.code(), Some(0), "{}", again.stderr);
    assert_eq!(torture::tree::differences(&scene.path("source"), &scene.path("disk/copy")).unwrap(), [""; 0]);
}

#[test]
fn a_file_that_cannot_get_its_name_is_named_and_is_not_there() {
    for (words, calls) in [(&[][..], &["linkat"][..]), (&["-n"], &["linkat"]), (&["-n"], &["renameat", "renameat2"])] {
        for n_files in [FEW, MANY] {
            let scene = Scene::new();
            let _disk = disk(&scene, n_files);
            let run = copied_under(&scene, words, vec![failing(calls, &scene, When::Nth(5))]);
            assert_eq!(run.0.n_done, [1], "{words:?} {calls:?}");
            assert_nothing_false_is_said(&scene, &run);
            assert_none_is_there(&scene, &run.1.failed);
            assert_eq!((run.1.failed.len(), run.1.copied.len()), (1, n_files - usize::from(calls == ["linkat"])));
            assert_mended_by_the_next_run(&scene);
        }
    }
}

#[test]
fn a_file_whose_flush_fails_is_named_and_is_not_there() {
    let scene = Scene::new();
    let _disk = disk(&scene, FEW);
    let run = copied_under(&scene, &[], vec![failing_flush_of(&scene, "000/file 7", Step::Contents)]);
    assert_eq!(run.0.n_done.len(), 1);
    assert_nothing_false_is_said(&scene, &run);
    assert_eq!(run.1.failed, [PathBuf::from("000/file 7")].into());
    assert_none_is_there(&scene, &run.1.failed);
    assert_mended_by_the_next_run(&scene);
}

/// A second flush would succeed, although what the first was about is lost.
#[test]
fn a_group_whose_flush_fails_is_named_file_by_file_and_never_flushed_again() {
    let scene = Scene::new();
    let _disk = disk(&scene, MANY);
    let run = copied_under(&scene, &[], vec![failing(&["syncfs"], &scene, When::Nth(1))]);
    assert_eq!((&run.0.n_done[..], &run.0.n_met[..]), (&[1][..], &[1][..]), "there is nothing left to be flushed");
    assert_nothing_false_is_said(&scene, &run);
    assert_eq!((run.1.failed_files().len(), run.1.durable.len()), (MANY, 0), "{:?}", run.1);
    assert_none_is_there(&scene, &run.1.failed_files());
    assert_mended_by_the_next_run(&scene);
}

#[test]
fn of_several_groups_those_fail_that_were_not_on_disk() {
    let scene = Scene::new();
    let _disk = disk(&scene, MANY);
    let mut command = copy(&scene, &["-j1"]);
    command.env("__BRIGADE_GROUP_FILES", "70");
    let ended = run(command, vec![failing(&["syncfs"], &scene, When::Nth(2))], LIMIT).unwrap();
    let told = Told::of(&ended.output.stdout, &scene.path("disk/copy"));
    let run = (ended, told);
    assert_eq!(run.0.n_done, [1], "{:?}", run.0);
    assert_nothing_false_is_said(&scene, &run);
    let files = run.1.failed_files();
    assert!(!files.is_empty() && files.len() < MANY, "{files:?}");
    assert_none_is_there(&scene, &files);
    assert_eq!(run.1.summary["durable"], false);
    assert_mended_by_the_next_run(&scene);
}

#[test]
fn the_files_of_a_folder_whose_flush_fails_are_named_and_not_there() {
    let scene = Scene::new();
    let _disk = disk(&scene, FEW);
    let run = copied_under(&scene, &[], vec![failing_flush_of(&scene, "000", Step::Contents)]);
    assert_nothing_false_is_said(&scene, &run);
    let files = run.1.failed_files();
    assert!(!files.is_empty(), "{:?}", run.1);
    assert_none_is_there(&scene, &files);
    assert_mended_by_the_next_run(&scene);
}

/// What is in the files is on disk by then; that their names and times are is not known.
#[test]
fn what_the_last_flush_could_not_make_sure_of_is_named_and_never_said_to_be_durable() {
    type Case = (usize, fn(&Scene) -> Rule, &'static str);
    let cases: [Case; 3] = [
        (FEW, |scene| failing_flush_of(scene, "000/file 7", Step::Last), "000/file 7"),
        (FEW, |scene| failing_flush_of(scene, "000", Step::Last), "000"),
        (MANY, |scene| failing(&["syncfs"], scene, When::From(2)), ""),
    ];
    for (n_files, rule, named) in cases {
        let scene = Scene::new();
        let _disk = disk(&scene, n_files);
        let run = copied_under(&scene, &[], vec![rule(&scene)]);
        assert_nothing_false_is_said(&scene, &run);
        assert_eq!(run.1.failed, [PathBuf::from(named)].into(), "{:?}", run.0);
        assert_eq!((run.1.durable.len(), &run.1.summary["durable"]), (0, &false.into()), "{named:?}");
        assert_eq!(
            run.1.summary["failed"].as_u64().unwrap() + run.1.summary["copied"].as_u64().unwrap(),
            run.1.summary["found"].as_u64().unwrap()
        );
        if n_files == MANY {
            assert_eq!(run.0.n_met, [2], "what failed is not tried again");
        }
    }
}

/// There is no other way to tell a process that something is to be kept.
#[test]
fn a_file_system_of_a_process_is_asked_to_keep_each_file_and_each_folder() {
    need_root();
    for (sync, is_asked) in
        [("--sync=batch", true), ("--sync=end", true), ("--sync=file", true), ("--sync=none", false)]
    {
        for n_files in [FEW, MANY] {
            let scene = Scene::new();
            scene.many_files("source", n_files);
            fs::create_dir(scene.path("disk")).unwrap();
            let behind = Scratch::new();
            let fault_fs = FaultFs::mount(&behind.path(""), &scene.path("disk"), Options::default()).unwrap();
            let run = ended(&mut copy(&scene, &[sync]));
            assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
            let flushed = fault_fs.flushed();
            for (name, contents) in tree(&behind.path("copy")) {
                let number = fs::metadata(behind.path("copy").join(&name)).unwrap().ino();
                assert_eq!(flushed.contains(&number), is_asked, "{sync}, {n_files} files: {name:?}");
                assert!(contents.is_none() || !is_asked || fault_fs.count(Operation::Fsync) >= n_files as u64);
            }
        }
    }
}
