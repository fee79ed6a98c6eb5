//! Sources that change while they are copied, at a moment that is chosen: between a check and the use of what was checked. What
//! is copied is one state of the file, never a mix of two, or the file is named.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use torture::faultline::{Act, Answer, Rule, When};

use crate::faults::{assert_only_lacks, assert_same_trees, copied_under, error_of, scene};
use crate::support::Scene;

/// Does something to a file of the source before a call of the worker on it goes on.
fn before(scene: &Scene, call: &str, name: &str, when: When, act: impl Fn(&Path) + Send + 'static) -> Rule {
    let path = scene.path("source").join(name);
    let changed = path.clone();
    let hook = move |_: &_| {
        act(&changed);
        Answer::GoOn
    };
    Rule::of(call, Act::Hook(Box::new(hook))).by(torture::faultline::Role::Worker).below(path).when(when)
}

fn append(path: &Path) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(&[b'+'; 9_000]).unwrap();
}

const CHANGED: &str = "it changed while it was being copied";

#[test]
fn a_source_that_changes_once_is_copied_as_it_is_afterwards() {
    let shrink = |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
    let overwrite = |path: &Path| {
        let n_bytes = fs::metadata(path).unwrap().len() as usize;
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all(&vec![b'!'; n_bytes]).unwrap();
    };
    for n_bytes in [5_000, 600_000] {
        for change in [append, shrink, overwrite] {
            let scene = scene(n_bytes);
            let call = if n_bytes == 5_000 { "read" } else { "copy_file_range" };
            let ended = copied_under(&scene, vec![before(&scene, call, "folder/file", When::Nth(1), change)]);
            assert_eq!(ended.n_done[0], 1);
            assert_same_trees(&scene, &ended);
        }
    }
}

#[test]
fn a_source_that_never_stops_changing_is_named_and_the_copy_ends() {
    for n_bytes in [0, 5_000, 600_000] {
        let scene = scene(n_bytes);
        let file = scene.path("source/folder/file");
        let grown = file.clone();
        let grow = move |_: &_| {
            append(&grown);
            Answer::GoOn
        };
        let calls = ["read", "pread64", "copy_file_range"];
        let rule = Rule::of_each(calls, Act::Hook(Box::new(grow))).by(torture::faultline::Role::Worker).below(file);
        let ended = copied_under(&scene, vec![rule]);
        assert_only_lacks(&scene, &ended, "folder/file", CHANGED);
    }
}

#[test]
fn a_sparse_source_that_never_stops_growing_is_named_and_the_copy_ends() {
    let scene = scene(10);
    let file = scene.path("source/folder/file");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 20).unwrap();
    let rule = before(&scene, "pread64", "folder/file", When::Always, append);
    let ended = copied_under(&scene, vec![rule]);
    assert_only_lacks(&scene, &ended, "folder/file", CHANGED);
}

#[test]
fn a_source_that_is_replaced_is_one_of_both_files() {
    for (call, n_bytes) in [("read", 5_000), ("copy_file_range", 600_000), ("fstat", 5_000)] {
        let scene = scene(n_bytes);
        let other = scene.path("other");
        fs::write(&other, vec![b'o'; n_bytes]).unwrap();
        let rename = move |path: &Path| drop(fs::rename(&other, path));
        let old = fs::read(scene.path("source/folder/file")).unwrap();
        let ended = copied_under(&scene, vec![before(&scene, call, "folder/file", When::Nth(1), rename)]);
        assert_eq!(ended.output.status.code(), Some(0), "{}", error_of(&ended));
        let copy = fs::read(scene.path("copy/folder/file")).unwrap();
        assert!(copy == old || copy == vec![b'o'; n_bytes], "{call}: a mix");
    }
}

#[test]
fn a_source_that_vanishes_while_it_is_read_is_copied_and_one_that_vanished_before_is_named() {
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let scene = scene(5_000);
    let old = fs::read(scene.path("source/folder/file")).unwrap();
    let ended = copied_under(&scene, vec![before(&scene, "read", "folder/file", When::Nth(1), remove)]);
    // Its last name is gone, which changes it; there is nothing to begin again with.
    match ended.output.status.code() {
        Some(0) => assert_eq!(fs::read(scene.path("copy/folder/file")).unwrap(), old),
        code => {
            let error = error_of(&ended);
            assert!(code == Some(1) && error.contains("cannot open") && error.contains("No such file"), "{error}");
            assert!(!scene.path("copy/folder/file").exists());
        }
    }
    assert!(scene.path("copy/other").exists());

    let scene = crate::faults::scene(5_000);
    let ended = copied_under(&scene, vec![before(&scene, "openat", "folder/file", When::Nth(1), remove)]);
    let error = error_of(&ended);
    assert_eq!(ended.output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot open") && error.contains("folder/file': No such file"), "{error}");
    assert!(!scene.path("copy/folder/file").exists() && scene.path("copy/other").exists());
}

#[test]
fn a_source_that_becomes_something_else_is_named_and_holds_nobody_up() {
    let fifo = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    };
    let link = |path: &Path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
    let folder = |path: &Path| fs::create_dir(path).unwrap();
    let device = |path: &Path| {
        let zero = rustix::fs::makedev(1, 5);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RWXU, zero)
            .unwrap();
    };
    let kinds: [fn(&Path); 4] = [fifo, link, folder, device];
    for become_other in kinds {
        let scene = scene(5_000);
        let change = move |path: &Path| {
            fs::remove_file(path).unwrap();
            become_other(path);
        };
        let ended = copied_under(&scene, vec![before(&scene, "openat", "folder/file", When::Nth(1), change)]);
        let error = error_of(&ended);
        assert_eq!(ended.output.status.code(), Some(1), "{error}");
        assert!(error.contains("folder/file': it became something else"), "{error}");
        assert!(!scene.path("copy/folder/file").exists() && scene.path("copy/other").exists());
    }
}

#[test]
fn a_folder_that_changes_while_it_is_listed_gives_no_entry_twice() {
    let scene = scene(5_000);
    for idx in 0..50 {
        scene.file(format!("source/folder/{idx}"), "x");
    }
    let folder = scene.path("source/folder");
    let change = move |_: &_| {
        let _ = fs::remove_file(folder.join("7"));
        let _ = fs::rename(folder.join("8"), folder.join("renamed"));
        let _ = fs::write(folder.join("added"), "new");
        Answer::GoOn
    };
    let rule =
        Rule::of("getdents64", Act::Hook(Box::new(change))).below(scene.path("source/folder")).when(When::From(2));
    let part = Rule::of("getdents64", Act::Part).below(scene.path("source/folder"));
    let ended = copied_under(&scene, vec![rule, part]);
    let error = error_of(&ended);
    // Names that were listed and are gone are named; all others are there.
    let n_gone = error.matches("No such file").count();
    assert_eq!(ended.output.status.code(), Some(i32::from(n_gone > 0)), "{error}");
    for entry in fs::read_dir(scene.path("copy/folder")).unwrap() {
        assert!(scene.path("source/folder").join(entry.unwrap().file_name()).exists());
    }
    for idx in (0..50).filter(|idx| ![7, 8].contains(idx)) {
        assert!(scene.path(format!("copy/folder/{idx}")).exists(), "{idx}");
    }
}

#[test]
fn a_name_that_became_another_file_is_never_linked_to_the_copy_of_the_first() {
    // Both names are of one file when they are listed; one is another file, perhaps of the same number, when it is linked.
    let scene = scene(10);
    fs::hard_link(scene.path("source/other"), scene.path("source/second")).unwrap();
    let (one, two) = (scene.path("source/other"), scene.path("source/second"));
    let change = move |_: &_| {
        for path in [&one, &two] {
            fs::remove_file(path).unwrap();
        }
        fs::write(&one, "another file").unwrap();
        fs::write(&two, "yet another file").unwrap();
        Answer::GoOn
    };
    // After the first name is there.
    let rule = Rule::of("utimensat", Act::Hook(Box::new(change))).when(When::Nth(1));
    let mut rules = vec![rule.below(scene.path("copy/other"))];
    rules.push(Rule::of("utimensat", Act::Hook(Box::new(|_: &_| Answer::GoOn))).below(scene.path("copy/second")));
    let ended = copied_under(&scene, rules);
    assert_eq!(ended.output.status.code(), Some(0), "{}", error_of(&ended));
    let (first, second) = (fs::read_to_string(scene.path("copy/other")), fs::read_to_string(scene.path("copy/second")));
    let is_one_of = |text: &str, allowed: [&str; 2]| assert!(allowed.contains(&text), "{text}");
    is_one_of(&first.unwrap(), ["other", "another file"]);
    is_one_of(&second.unwrap(), ["other", "yet another file"]);
}
