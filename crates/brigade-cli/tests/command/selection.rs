//! The options that say what is copied, from the command line to the tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use torture::faultline::{Act, Role, Rule, When, run};

use super::support::{self, Scene, tree};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(60);

fn names(scene: &Scene, folder: &str) -> Vec<String> {
    tree(&scene.path(folder)).keys().map(|path| path.display().to_string()).collect()
}

#[test]
fn rules_hold_in_the_order_in_which_they_were_typed() {
    let scene = Scene::new();
    for name in ["source/keep.o", "source/other.o", "source/main.c", "source/out/x"] {
        scene.file(name, name);
    }
    scene.file("rules", "# built\n+ keep.o\n*.o\n/source/out/\n");
    for (copy, options) in [
        ("one", vec!["--include=keep.o", "--exclude=*.o", "--exclude=/source/out/"]),
        ("two", vec!["--exclude-from=rules"]),
    ] {
        let ended = scene.run([options, vec!["source", copy]].concat());
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(names(&scene, copy), ["keep.o", "main.c"]);
    }
    let ended = scene.run(["--exclude=*.o", "--include=keep.o", "source", "three"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(names(&scene, "three"), ["main.c", "out", "out/x"]);
}

#[test]
fn what_git_ignores_is_left_out_on_request() {
    let scene = Scene::new();
    for name in ["source/a.log", "source/a.c", "source/deep/b.log"] {
        scene.file(name, name);
    }
    scene.file("source/.gitignore", "*.log\n!b.log\n");
    let ended = scene.run(["--gitignore", "source", "copy"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(names(&scene, "copy"), [".gitignore", "a.c", "deep", "deep/b.log"]);
}

#[test]
fn the_last_word_about_links_holds_and_a_link_without_a_target_is_named() {
    let scene = Scene::new();
    scene.file("source/file", "contents");
    symlink("file", scene.path("source/good")).unwrap();
    symlink("nowhere", scene.path("source/bad")).unwrap();
    let ended = scene.run(["-P", "-L", "source", "followed"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("cannot open 'source/bad': No such file or directory"), "{}", ended.stderr);
    assert!(fs::symlink_metadata(scene.path("followed/good")).unwrap().is_file());
    let ended = scene.run(["-L", "-P", "source", "kept"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(scene.path("kept/bad").is_symlink());
}

#[test]
fn options_that_make_no_sense_are_refused_before_anything_is_written() {
    let scene = Scene::new();
    scene.file("source/file", "contents");
    for options in [["--exclude=- ", "-v"], ["--exclude-from=missing", "-v"], ["--exclude=x", "-n"], ["--delete", "-L"]]
    {
        let ended = scene.run([options.as_slice(), &["source", "copy"]].concat());
        assert_eq!(ended.status.code(), Some(2), "{options:?}: {}", ended.stderr);
        assert!(!scene.path("copy").exists());
    }
}

#[test]
fn only_the_names_in_a_list_are_copied_and_those_that_are_missing_are_named() {
    let scene = Scene::new();
    for name in ["source/a/b/file", "source/a/b/other", "source/c/d/e", "source/c/f", "source/g"] {
        scene.file(name, name);
    }
    scene.file("list", "# comment\n/a/b/file\n./c\nmissing\n\na/none/file\n");
    let ended = scene.run(["--files-from=list", "source", "copy"]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    for missing in ["'source/missing'", "'source/a/none'"] {
        assert!(ended.stderr.contains(missing), "{}", ended.stderr);
    }
    assert_eq!(names(&scene, "copy"), ["a", "a/b", "a/b/file", "c"]);
    scene.file("list", "c/\0g\0");
    for (options, copied) in
        [(["-0", "-a"], vec!["c", "c/d", "c/f", "g"]), (["-0", "-ar"], vec!["c", "c/d", "c/d/e", "c/f", "g"])]
    {
        fs::create_dir_all(scene.path("into")).unwrap();
        let mut command = scene.copy([options.as_slice(), &["--files-from=-", "source", "into"]].concat());
        let ended = support::ended(command.stdin(fs::File::open(scene.path("list")).unwrap()));
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert_eq!(names(&scene, "into/source"), copied);
        fs::remove_dir_all(scene.path("into")).unwrap();
    }
}

/// A name in the list is asked for by nobody else, so it must come back from the worker that died with it.
#[test]
fn workers_that_die_lose_no_name_of_a_list() {
    for nth in [2, 5, 11, 17] {
        let scene = Scene::new();
        let mut list = String::new();
        for idx in 0..30 {
            let name = format!("{}/{}/{idx}", idx % 3, idx % 5);
            scene.file(format!("source/{name}"), &name);
            scene.file(format!("wanted/{name}"), &name);
            scene.file(format!("source/{name} not listed"), "x");
            list.push_str(&format!("{name}\n"));
        }
        scene.file("list", &list);
        let kill = Rule::of("openat", Act::Kill).by(Role::Worker).below(scene.path("source")).when(When::Nth(nth));
        // Only workers are to be met, and nobody who looks ahead because some mount may not answer.
        let command = scene.copy(["--files-from=list", "-j2", "--stall-timeout=0", "-T", "source", "copy"]);
        let run = run(command, vec![kill], WATCHDOG).unwrap();
        let told = String::from_utf8_lossy(&run.output.stderr);
        assert_eq!((run.is_hung, run.output.status.code(), run.n_done), (false, Some(0), vec![1]), "{nth}: {told}");
        assert!(told.contains("1 worker lost"), "{told}");
        assert_eq!(tree(&scene.path("copy")), tree(&scene.path("wanted")), "{nth}");
    }
}

#[test]
fn a_list_that_makes_no_sense_is_refused_before_anything_is_written() {
    let scene = Scene::new();
    scene.file("source/file", "contents");
    scene.file("list", "file\n");
    scene.file("upwards", "file\nx/../../file\n");
    for (options, said) in [
        (vec!["--files-from=upwards", "source"], "'..'"),
        (vec!["--files-from=gone", "source"], "cannot read the list 'gone'"),
        (vec!["--files-from=list", "source", "upwards"], "exactly one source"),
        (vec!["--files-from=list", "list"], "exactly one source"),
        (vec!["--files-from=list", "--delete", "source"], "--delete"),
        (vec!["--files-from=list", "--gitignore", "source"], "--gitignore"),
        (vec!["--files-from=-", "--exclude-from=-", "source"], "standard input"),
    ] {
        fs::create_dir(scene.path("copy")).unwrap();
        let ended = scene.run([options.as_slice(), &["copy"]].concat());
        assert_eq!(ended.status.code(), Some(2), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{options:?}: {}", ended.stderr);
        fs::remove_dir(scene.path("copy")).expect("nothing is in it");
    }
}
