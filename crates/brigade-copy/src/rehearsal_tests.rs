//! What the scheduler and the workers together promise, whatever the order of events.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::error::{Action, Reason};
use crate::event::{EntryKind, Outcome};
use crate::names::{Bytes, Kind};
use crate::rehearsal::{Random, Rehearsal, grow_tree, look, set_mtime};
use crate::request::{Durability, Existing, GroupLimits, Policy};
use crate::scheduler::{Commits, Scheduler, Top};
use crate::task::{
    Batch, Cause, CopyAnswer, FileTimes, Flushed, FolderRef, Medium, PendingFile, Step, Uncommitted, Work,
};

#[test]
fn a_tree_is_copied_with_all_that_belongs_to_it() {
    for walk_ahead_bytes in [0, 1 << 20] {
        let rehearsal = Rehearsal { walk_ahead_bytes, ..Rehearsal::new() };
        grow_tree(&rehearsal.source(), 60, 900, 7);
        let played = rehearsal.play();
        played.assert_books();
        assert!(played.failures.is_empty(), "{:?}", played.failures);
        assert_eq!(look(&rehearsal.source()), look(&rehearsal.destination()));
        assert_eq!(played.counts.n_copied, 961);
        assert_eq!(played.counts.n_directories, 61);
        assert!(played.counts.n_hard_links > 0 && played.counts.n_symlinks > 0 && played.counts.n_special > 0);
        if walk_ahead_bytes > 0 {
            assert_eq!(played.counts.bytes_found, played.counts.bytes_done);
        }
    }
}

#[test]
fn deaths_at_any_time_change_neither_the_tree_nor_the_books() {
    for seed in 1..=12 {
        let rehearsal = Rehearsal {
            walk_ahead_bytes: if seed % 2 == 0 { 2_000 } else { 0 },
            deaths_percent: 15,
            durability: if seed % 3 == 0 { Durability::Batch } else { Durability::Never },
            seed,
            ..Rehearsal::new()
        };
        grow_tree(&rehearsal.source(), 40, 600, seed);
        let played = rehearsal.play();
        assert!(played.n_deaths > 0, "seed {seed}");
        played.assert_books();
        assert!(played.failures.is_empty(), "seed {seed}: {:?}", played.failures);
        assert_eq!(look(&rehearsal.source()), look(&rehearsal.destination()), "seed {seed}");
        assert_eq!(played.counts.n_copied, 641, "seed {seed}");
    }
}

/// Whoever does the task again gives back names under which the dead worker has already made something.
#[test]
fn what_a_dead_worker_made_is_known_by_those_who_share_its_task() {
    for (is_new, existing) in [(true, Existing::Replace), (true, Existing::Keep), (false, Existing::Keep)] {
        let policy = Policy { existing, ..Policy::default() };
        let rehearsal = Rehearsal { first_dies: true, policy, ..Rehearsal::new() };
        grow_tree(&rehearsal.source(), 5, 300, 9);
        if !is_new {
            fs::create_dir(rehearsal.destination()).unwrap();
        }
        let played = rehearsal.play();
        assert_eq!(played.n_deaths, 1);
        played.assert_books();
        assert!(played.failures.is_empty(), "{is_new} {existing:?}: {:?}", played.failures);
        assert_eq!(look(&rehearsal.source()), look(&rehearsal.destination()), "{is_new} {existing:?}");
        assert_eq!(played.counts.n_copied, 305 + u64::from(is_new), "{is_new} {existing:?}");
    }
}

#[test]
fn a_folder_of_very_many_names_is_read_in_portions() {
    let rehearsal = Rehearsal { deaths_percent: 15, ..Rehearsal::new() };
    for idx in 0..14_000 {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            rehearsal.source().join(format!("entry {idx}")),
            rustix::fs::FileType::RegularFile,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
    }
    let played = rehearsal.play();
    played.assert_books();
    assert!(played.failures.is_empty(), "{:?}", played.failures);
    assert_eq!((played.counts.n_copied, played.counts.n_found), (14_001, 14_001));
    assert_eq!(fs::read_dir(rehearsal.destination()).unwrap().count(), 14_000);
    // What one call reads on top of the portion of 8 192.
    assert!((1..12_000).contains(&played.most_names), "{} names in an answer", played.most_names);
}

#[test]
fn a_second_run_changes_nothing() {
    for deaths_percent in [0, 15] {
        let rehearsal = Rehearsal { deaths_percent, ..Rehearsal::new() };
        grow_tree(&rehearsal.source(), 30, 400, 3);
        rehearsal.play().assert_books();
        let before = look(&rehearsal.destination());
        let played = rehearsal.play();
        played.assert_books();
        assert_eq!(before, look(&rehearsal.destination()));
        if deaths_percent == 0 {
            assert_eq!((played.counts.n_copied, played.counts.n_unchanged), (0, 431));
        }
    }
}

#[test]
fn one_entry_that_kills_workers_fails_alone() {
    for walk_ahead_bytes in [0, 1 << 20] {
        let rehearsal = Rehearsal { walk_ahead_bytes, poison: Some("poison"), ..Rehearsal::new() };
        grow_tree(&rehearsal.source(), 20, 600, 5);
        for idx in 0..300 {
            fs::write(rehearsal.source().join(format!("more{idx}")), b"x").unwrap();
        }
        fs::write(rehearsal.source().join("poison"), b"x").unwrap();
        let played = rehearsal.play();
        played.assert_books();
        // A worker that visits a folder by itself is not told the names, and lives.
        assert!(played.failures.len() <= 1, "{:?}", played.failures);
        if walk_ahead_bytes > 0 {
            assert_eq!(played.failures.len(), 1, "{:?}", played.failures);
            assert_eq!(played.failures[0].path.0, b"poison");
            assert_eq!(played.failures[0].cause, Cause::Reason(Reason::WorkersDied));
            assert_eq!(played.counts.n_copied, 921);
        }
    }
}

#[test]
fn a_folder_that_kills_workers_fails_and_the_rest_is_copied() {
    let rehearsal = Rehearsal { walk_ahead_bytes: 1 << 20, poison: Some("poison"), ..Rehearsal::new() };
    grow_tree(&rehearsal.source(), 20, 300, 5);
    fs::create_dir(rehearsal.source().join("poison")).unwrap();
    fs::write(rehearsal.source().join("poison/inside"), b"x").unwrap();
    let played = rehearsal.play();
    played.assert_books();
    assert_eq!(played.failures.len(), 1, "{:?}", played.failures);
    assert_eq!(played.counts.n_copied, 321);
    assert!(!rehearsal.destination().join("poison").exists());
}

#[test]
fn after_a_stop_the_books_cover_what_was_reached_and_folders_are_finished() {
    for stop_after in [1, 2, 5, 9] {
        let rehearsal = Rehearsal { stop_after: Some(stop_after), walk_ahead_bytes: 3_000, ..Rehearsal::new() };
        grow_tree(&rehearsal.source(), 40, 2_000, 11);
        let played = rehearsal.play();
        assert!(played.counts.n_done() <= played.counts.n_found);
        assert!(played.counts.n_done() < 2_041, "nothing was stopped");
        let (source, destination) = (look(&rehearsal.source()), look(&rehearsal.destination()));
        for (path, there) in &destination {
            // A file that lost its other names has another first path; everything else is as at the source.
            let same = there.split_once('\t').map(|(start, _)| start);
            assert_eq!(source[path].split_once('\t').map(|(start, _)| start), same, "{}", path.escape_ascii());
        }
    }
}

#[test]
fn existing_entries_are_kept_aligned_or_replaced() {
    let rehearsal = Rehearsal::new();
    let (source, destination) = (rehearsal.source(), rehearsal.destination());
    fs::create_dir(&destination).unwrap();
    for (name, there, seconds) in [("same", "1234", 5), ("older", "1234", 4), ("longer", "12345", 5)] {
        fs::write(source.join(name), "1234").unwrap();
        set_mtime(&source.join(name), 5, 6);
        fs::write(destination.join(name), there).unwrap();
        set_mtime(&destination.join(name), seconds, 6);
    }
    fs::set_permissions(source.join("same"), std::os::unix::fs::PermissionsExt::from_mode(0o4711)).unwrap();
    let kept = fs::metadata(destination.join("same")).unwrap().ino();
    fs::create_dir(source.join("folder-over-file")).unwrap();
    fs::write(destination.join("folder-over-file"), "x").unwrap();
    fs::write(source.join("file-over-folder"), "x").unwrap();
    fs::create_dir(destination.join("file-over-folder")).unwrap();
    fs::write(source.join("file-over-link"), "x").unwrap();
    std::os::unix::fs::symlink("same", destination.join("file-over-link")).unwrap();
    fs::write(destination.join("only-here"), "x").unwrap();
    let played = rehearsal.play();
    played.assert_books();
    let mut failed: Vec<_> = played.failures.iter().map(|failure| (failure.path.0.clone(), failure.cause)).collect();
    failed.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        failed,
        [
            (b"file-over-folder".to_vec(), Cause::Reason(Reason::FolderInTheWay)),
            (b"folder-over-file".to_vec(), Cause::Reason(Reason::NoFolder))
        ]
    );
    let mut after = look(&destination);
    assert!(after.remove(&b"only-here"[..]).is_some());
    let before = look(&source);
    for name in ["same", "older", "longer", "file-over-link"] {
        assert_eq!(after[name.as_bytes()], before[name.as_bytes()]);
    }
    assert_eq!(fs::metadata(destination.join("same")).unwrap().ino(), kept);
    let outcome = |name: &str| played.entries.iter().find(|entry| entry.path.0 == name.as_bytes()).unwrap().outcome;
    assert_eq!(outcome("same"), Outcome::Unchanged);
    assert_eq!(outcome("older"), Outcome::Copied);
    assert!(
        fs::read_dir(&destination)
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().into_encoded_bytes().starts_with(b".brigade-") })
    );
}

#[test]
fn a_chain_of_folders_far_beyond_the_longest_path_is_copied() {
    let rehearsal = Rehearsal::new();
    let n_levels = 1_500;
    grow_chain(&rehearsal, n_levels);
    let played = rehearsal.play();
    played.assert_books();
    assert!(played.failures.is_empty(), "{:?}", played.failures);
    assert_eq!(played.counts.n_directories, n_levels + 1);
    assert_eq!(played.counts.n_files, 1);
    remove_chain(&rehearsal.source());
    remove_chain(&rehearsal.destination());
}

fn grow_chain(rehearsal: &Rehearsal, n_levels: u64) {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let mut folder = std::os::fd::OwnedFd::from(fs::File::open(rehearsal.source()).unwrap());
    for _ in 0..n_levels {
        mkdirat(&folder, c"a-name-of-some-length", Mode::RWXU).unwrap();
        folder = openat(&folder, c"a-name-of-some-length", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    openat(&folder, c"leaf", OFlags::WRONLY | OFlags::CREATE, Mode::RWXU).unwrap();
}

/// The standard library removes trees recursively; this one is too deep for a test thread's stack.
fn remove_chain(root: &std::path::Path) {
    let status = std::process::Command::new("rm").arg("-rf").arg(root).status().unwrap();
    assert!(status.success());
}

#[test]
fn hard_links_follow_the_first_name_that_succeeds() {
    let rehearsal = Rehearsal::new();
    let source = rehearsal.source();
    fs::create_dir(source.join("a")).unwrap();
    fs::create_dir(source.join("b")).unwrap();
    fs::write(source.join("a/one"), "x").unwrap();
    for name in ["a/two", "b/three", "b/four"] {
        fs::hard_link(source.join("a/one"), source.join(name)).unwrap();
    }
    // A folder in the way of one of the names makes that one fail, whether it is the first or a further one.
    for blocked in ["a/one", "a/two", "b/three", "b/four"] {
        let _ = fs::remove_dir_all(rehearsal.destination());
        fs::create_dir_all(rehearsal.destination().join(blocked)).unwrap();
        let played = rehearsal.play();
        played.assert_books();
        assert_eq!(played.failures.len(), 1, "{blocked}: {:?}", played.failures);
        let inodes: std::collections::HashSet<_> = ["a/one", "a/two", "b/three", "b/four"]
            .iter()
            .filter(|&&name| name != blocked)
            .map(|name| fs::metadata(rehearsal.destination().join(name)).unwrap().ino())
            .collect();
        assert_eq!(inodes.len(), 1, "{blocked}");
        let n_links = played.entries.iter().filter(|entry| entry.kind == EntryKind::HardLink).count();
        assert_eq!(n_links, 2, "{blocked}");
    }
}

#[test]
fn a_source_that_changes_all_the_time_fails_as_changed() {
    let rehearsal = Rehearsal::new();
    let path = rehearsal.source().join("busy");
    fs::write(&path, vec![1; 8 << 20]).unwrap();
    let busy = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                std::os::unix::fs::FileExt::write_at(&busy, b"x", 0).unwrap();
            }
        });
        // On a loaded machine the writer may not come to its turn during one of the four attempts; then the copy is whole.
        let changed = std::iter::repeat_with(|| rehearsal.play()).find(|played| {
            played.assert_books();
            let is_there = rehearsal.destination().join("busy").exists();
            let _ = fs::remove_file(rehearsal.destination().join("busy"));
            assert_eq!(is_there, played.failures.is_empty());
            !is_there
        });
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        let changed = changed.unwrap();
        assert_eq!(changed.counts.n_changed, 1);
        assert_eq!(changed.failures[0].cause, Cause::Reason(Reason::Changed));
    });
}

#[test]
fn what_vanishes_after_it_was_listed_is_named() {
    let rehearsal = Rehearsal {
        walk_ahead_bytes: 1 << 20,
        meanwhile: Some(|rehearsal| {
            fs::remove_file(rehearsal.source().join("folder/gone")).unwrap();
            fs::remove_file(rehearsal.source().join("other")).unwrap();
            fs::create_dir(rehearsal.source().join("other")).unwrap();
            true
        }),
        ..Rehearsal::new()
    };
    fs::create_dir(rehearsal.source().join("folder")).unwrap();
    for name in ["folder/gone", "folder/stays", "other"] {
        fs::write(rehearsal.source().join(name), name).unwrap();
    }
    let played = rehearsal.play();
    played.assert_books();
    let mut failed: Vec<_> =
        played.failures.iter().map(|failure| (failure.path.0.as_slice(), failure.action, failure.cause)).collect();
    failed.sort_by_key(|failure| failure.0);
    let gone = Cause::from(rustix::io::Errno::NOENT);
    let other = Cause::Reason(Reason::BecameOther);
    assert_eq!(failed, [(&b"folder/gone"[..], Action::Open, gone), (b"other", Action::Open, other)]);
    assert_eq!(fs::read(rehearsal.destination().join("folder/stays")).unwrap(), b"folder/stays");
}

#[test]
fn a_link_planted_in_either_tree_is_not_followed() {
    let rehearsal = Rehearsal {
        walk_ahead_bytes: 1 << 20,
        meanwhile: Some(|rehearsal| {
            if !(rehearsal.destination().join("from").exists() && rehearsal.destination().join("to").exists()) {
                return false;
            }
            let outside = rehearsal.folder.path("outside");
            fs::create_dir(&outside).unwrap();
            fs::write(outside.join("file"), "secret").unwrap();
            for folder in [rehearsal.source().join("from"), rehearsal.destination().join("to")] {
                fs::rename(&folder, folder.with_extension("away")).unwrap();
                std::os::unix::fs::symlink(&outside, &folder).unwrap();
            }
            fs::remove_file(rehearsal.source().join("file")).unwrap();
            std::os::unix::fs::symlink(outside.join("file"), rehearsal.source().join("file")).unwrap();
            true
        }),
        ..Rehearsal::new()
    };
    for name in ["from", "to"] {
        fs::create_dir(rehearsal.source().join(name)).unwrap();
        fs::write(rehearsal.source().join(name).join("file"), name).unwrap();
    }
    fs::write(rehearsal.source().join("file"), "x").unwrap();
    let played = rehearsal.play();
    played.assert_books();
    let mut failed: Vec<_> =
        played.failures.iter().map(|failure| (failure.path.0.as_slice(), failure.action)).collect();
    failed.sort_by_key(|failure| failure.0);
    // Whether this file was copied before or after its folder was taken away depends on the order of the tasks.
    let copied = rehearsal.destination().join("from/file");
    match fs::read(&copied) {
        Ok(contents) => assert_eq!(contents, b"from"),
        Err(_) => failed.retain(|failure| *failure != (&b"from/file"[..], Action::Open)),
    }
    let expected: [(&[u8], Action); 4] =
        [(b"file", Action::Open), (b"from", Action::Open), (b"to", Action::Reach), (b"to/file", Action::Reach)];
    assert_eq!(failed, expected);
    assert_eq!(fs::read(rehearsal.folder.path("outside/file")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(rehearsal.folder.path("outside")).unwrap().count(), 1);
}

#[test]
fn random_numbers_are_spread() {
    let mut random = Random(1);
    let mut seen = [0; 8];
    (0..8_000).for_each(|_| seen[random.below(8) as usize] += 1);
    assert!(seen.iter().all(|&n| n > 800), "{seen:?}");
}

const FLUSH: Duration = Duration::from_millis(20);

/// A folder has so many files that wait for their disk: how long workers have been flushing a whole disk while that is done, and
/// when it is.
fn time_in_flush_of(n_files: u32) -> (Duration, Duration) {
    let commits = Commits::new(Durability::Batch, GroupLimits::default(), false);
    let mut scheduler = Scheduler::new(2, 0, commits);
    scheduler.add(0, Top::Folder { path: Bytes::default(), outcome: Outcome::Copied });
    let mut batch = Batch::default();
    for inode in 0..n_files {
        batch.names.push(Kind::File, &CString::new(inode.to_string()).unwrap());
        batch.files.push(PendingFile {
            inode: inode.into(),
            mode: None,
            times: FileTimes { access: (0, 0), modification: (0, 0) },
            n_bytes: 1,
            step: Step::Stay,
            shared: None,
            is_failed: false,
            hash: None,
        });
    }
    let uncommitted = vec![Uncommitted { folder: FolderRef::Item(0), device: 1, medium: Medium::Disk, batch }];
    let visit = scheduler.next_task().unwrap();
    scheduler.on_answer(visit.id, CopyAnswer { n_reached: 1, uncommitted, ..CopyAnswer::default() });
    let flush = scheduler.next_task().unwrap();
    assert!(matches!(flush.items[0].work, Work::Flush { .. }), "{:?}", flush.items);
    std::thread::sleep(FLUSH);
    let during = scheduler.time_in_flush();
    scheduler.on_answer(flush.id, CopyAnswer { n_reached: 1, flushed: vec![Flushed::Done], ..CopyAnswer::default() });
    let after = scheduler.time_in_flush();
    std::thread::sleep(FLUSH);
    assert_eq!(scheduler.time_in_flush(), after);
    (during, after)
}

#[test]
fn the_time_of_a_flush_counts_where_more_workers_do_not_hasten_it() {
    let (during, after) = time_in_flush_of(100);
    assert!(during >= FLUSH && after >= during, "{during:?} {after:?}");
    // So few are flushed one by one.
    assert_eq!(time_in_flush_of(10), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn a_few_large_files_are_a_task_each_and_a_few_small_ones_are_not() {
    for (n_bytes, n_tasks) in [(8 << 20, 7..=9), (8, 1..=3)] {
        let rehearsal = Rehearsal::new();
        for idx in 0..6 {
            fs::File::create(rehearsal.source().join(format!("file {idx}"))).unwrap().set_len(n_bytes).unwrap();
        }
        let played = rehearsal.play();
        assert_eq!(look(&rehearsal.source()), look(&rehearsal.destination()));
        assert!(n_tasks.contains(&played.n_tasks), "{} tasks for files of {n_bytes} bytes", played.n_tasks);
    }
}
