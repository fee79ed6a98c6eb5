//! What becomes of what is at the destination already, for each policy, with deaths of workers among it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use crate::event::Outcome;
use crate::rehearsal::{Played, Rehearsal, grow_tree, look, set_mtime};
use crate::request::{Backup, Existing, Newer, Policy, Sameness, Writing};

fn with(policy: Policy) -> Rehearsal {
    let rehearsal = Rehearsal { policy, ..Rehearsal::new() };
    fs::create_dir(rehearsal.destination()).unwrap();
    rehearsal
}

fn file(folder: &Path, name: &str, contents: &str, seconds: i64) {
    fs::write(folder.join(name), contents).unwrap();
    set_mtime(&folder.join(name), seconds, 6);
}

fn outcome(played: &Played, name: &str) -> Outcome {
    let found: Vec<_> = played.entries.iter().filter(|entry| entry.path.0 == name.as_bytes()).collect();
    assert_eq!(found.len(), 1, "{name} is told once: {found:?}");
    found[0].outcome
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_name_is_linked_to_no_file_that_was_skipped() {
    for policy in
        [Policy { existing: Existing::Keep, ..Policy::default() }, Policy { newer: Newer::Keep, ..Policy::default() }]
    {
        for taken in ["one", "two", "three"] {
            let rehearsal = with(policy.clone());
            let (source, destination) = (rehearsal.source(), rehearsal.destination());
            file(&source, "one", "source", 5);
            fs::hard_link(source.join("one"), source.join("two")).unwrap();
            fs::hard_link(source.join("one"), source.join("three")).unwrap();
            file(&destination, taken, "kept", 9);
            let played = rehearsal.play();
            played.assert_books();
            assert_eq!(fs::read(destination.join(taken)).unwrap(), b"kept");
            assert_eq!(outcome(&played, taken), Outcome::Skipped);
            let others: Vec<_> = ["one", "two", "three"]
                .into_iter()
                .filter(|name| *name != taken)
                .map(|name| destination.join(name))
                .collect();
            assert_eq!(fs::read(&others[0]).unwrap(), b"source");
            assert_eq!(inode(&others[0]), inode(&others[1]));
            assert_eq!(played.counts.n_hard_links, 1);
        }
    }
}

#[test]
fn no_clobber_keeps_what_exists_of_any_kind_and_merges_folders() {
    let rehearsal = with(Policy { existing: Existing::Keep, ..Policy::default() });
    let (source, destination) = (rehearsal.source(), rehearsal.destination());
    file(&source, "file", "source", 5);
    file(&source, "over folder", "source", 5);
    symlink("source", source.join("link")).unwrap();
    fs::create_dir(source.join("folder")).unwrap();
    file(&source, "folder/new", "source", 5);
    file(&destination, "file", "older", 1);
    fs::create_dir(destination.join("over folder")).unwrap();
    symlink("other", destination.join("link")).unwrap();
    fs::create_dir(destination.join("folder")).unwrap();
    let played = rehearsal.play();
    played.assert_books();
    assert!(played.failures.is_empty(), "{:?}", played.failures);
    for name in ["file", "over folder", "link"] {
        assert_eq!(outcome(&played, name), Outcome::Skipped, "{name}");
    }
    assert_eq!(fs::read(destination.join("file")).unwrap(), b"older");
    assert_eq!(fs::read_link(destination.join("link")).unwrap(), Path::new("other"));
    assert_eq!(fs::read(destination.join("folder/new")).unwrap(), b"source");
    assert_eq!(outcome(&played, "folder/new"), Outcome::Copied);
}

#[test]
fn contents_decide_with_checksum_and_nothing_does_with_ignore_times() {
    for (sameness, same, touched, altered) in [
        (Sameness::SizeAndTime, Outcome::Unchanged, Outcome::Copied, Outcome::Unchanged),
        (Sameness::Contents, Outcome::Unchanged, Outcome::Unchanged, Outcome::Copied),
        (Sameness::Never, Outcome::Copied, Outcome::Copied, Outcome::Copied),
    ] {
        let rehearsal = with(Policy { sameness, ..Policy::default() });
        let (source, destination) = (rehearsal.source(), rehearsal.destination());
        // The difference is in the last byte of the second chunk.
        let long = "x".repeat(150_000);
        let tables = [("same", 5, &long), ("touched", 7, &long), ("altered", 5, &format!("{}y", &long[1..]))];
        for (name, seconds, contents) in tables {
            file(&source, name, &long, 5);
            file(&destination, name, contents, seconds);
        }
        let before = inode(&destination.join("touched"));
        let played = rehearsal.play();
        played.assert_books();
        assert_eq!(
            ["same", "touched", "altered"].map(|name| outcome(&played, name)),
            [same, touched, altered],
            "{sameness:?}"
        );
        let (copies, originals) = (look(&destination), look(&source));
        assert_eq!(copies[&b"touched"[..]], originals[&b"touched"[..]], "{sameness:?}");
        assert_eq!(inode(&destination.join("touched")) == before, sameness == Sameness::Contents);
        assert_eq!(copies == originals, sameness != Sameness::SizeAndTime);
    }
}

#[test]
fn deaths_at_any_time_change_no_outcome_of_any_policy() {
    let policies = [
        Policy { existing: Existing::Keep, ..Policy::default() },
        Policy { newer: Newer::Keep, ..Policy::default() },
        Policy { sameness: Sameness::Contents, ..Policy::default() },
        Policy { sameness: Sameness::Never, ..Policy::default() },
        Policy { existing: Existing::Ask, ..Policy::default() },
        Policy { backup: Backup::Numbered, ..Policy::default() },
        Policy { backup: Backup::Simple { suffix: b"~".to_vec() }, ..Policy::default() },
        Policy { writing: Writing::Rehearsed, ..Policy::default() },
    ];
    for (idx, policy) in policies.into_iter().enumerate() {
        let [undisturbed, disturbed] = [0, 60].map(|deaths_percent| {
            let rehearsal = Rehearsal {
                deaths_percent,
                seed: 3 + idx as u64,
                // Small tasks, so that there are many to die over.
                walk_ahead_bytes: 500,
                ..with(policy.clone())
            };
            grow_tree(&rehearsal.source(), 20, 400, 5);
            grow_tree(&rehearsal.destination(), 20, 250, 5);
            age(&rehearsal.destination());
            let before = look(&rehearsal.destination());
            let played = rehearsal.play();
            played.assert_books();
            let mut after = look(&rehearsal.destination());
            if policy.writing == Writing::Rehearsed {
                assert!(before == after, "something was written");
                after.clear();
            }
            assert_eq!(played.n_deaths > 0, deaths_percent > 0);
            let told: BTreeMap<_, _> = played
                .entries
                .iter()
                .map(|entry| {
                    let path = rehearsal.source().join(std::ffi::OsStr::from_bytes(&entry.path.0));
                    (entry.path.0.clone(), (entry.outcome, fs::symlink_metadata(path).unwrap().nlink()))
                })
                .collect();
            (after, told, played.failures.len())
        });
        assert!(undisturbed.0 == disturbed.0, "{policy:?}: the trees differ");
        assert_eq!(undisturbed.2, disturbed.2, "{policy:?}");
        for (path, (outcome, n_links)) in undisturbed.1 {
            let (other, _) = disturbed.1[&path];
            // Which of several names comes first, and so is copied or is there already, depends on the order of things.
            let is_either = |outcome| [Outcome::Copied, Outcome::Unchanged].contains(&outcome);
            let is_settled = n_links == 1 || !is_either(outcome) || !is_either(other);
            assert!(outcome == other || !is_settled, "{}: {outcome:?}, {other:?}", path.escape_ascii());
        }
    }
}

/// Makes some files of a tree newer, older or longer, and gives some links another target.
fn age(root: &Path) {
    let mut seen = std::collections::HashSet::new();
    for (idx, path) in look(root).into_keys().enumerate() {
        let path = root.join(std::ffi::OsStr::from_bytes(&path));
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() || !seen.insert(data.ino()) {
            continue;
        }
        if data.is_symlink() && idx % 2 == 0 {
            fs::remove_file(&path).unwrap();
            symlink("elsewhere", &path).unwrap();
        }
        if data.is_file() && idx % 4 == 3 {
            fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"longer").unwrap();
        }
        let seconds = [0, 1, -1, 0][idx % 4];
        set_mtime(&path, data.mtime() + seconds, data.mtime_nsec());
    }
}
