//! Whole copies with real worker processes: the tree, the books, the events, and what goes wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use brigade_copy::{
    Action, EntryKind, Event, Outcome, Plan, Refusal, Report, Request, Running, Sandbox, Summary, Target, Totals, Want,
};
use common::assert_same;
use torture::mounts::{Mount, Scratch, has_root, need_root, run};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

type Events = Arc<Mutex<Vec<Event>>>;

fn request(source: &Path, destination: &Path) -> Request {
    Request {
        workers: std::num::NonZeroUsize::new(3),
        ..Request::new(vec![source.to_owned()], Target::IntoOrAs(destination.to_owned()))
    }
}

fn start(request: Request) -> (Running, Events) {
    carry_out(Plan::new(request).unwrap())
}

fn carry_out(plan: Plan) -> (Running, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let running = plan.start(move |event| sink.lock().unwrap().push(event)).unwrap();
    (running, events)
}

fn end(running: &Running) -> Summary {
    let summary = running.wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    assert_eq!(summary.broken, None);
    let n_done = summary.n_copied + summary.n_unchanged + summary.n_skipped + summary.n_failed;
    assert_eq!(summary.n_found, n_done, "{summary:?}");
    summary
}

fn copy(request: Request) -> (Summary, Vec<Event>) {
    whole(start(request))
}

fn whole((running, events): (Running, Events)) -> (Summary, Vec<Event>) {
    let summary = end(&running);
    drop(running);
    let events = std::mem::take(&mut *events.lock().unwrap());
    (summary, events)
}

/// Action, path and reason of all that failed, in the order of their paths.
fn failures(events: &[Event]) -> Vec<(PathBuf, Action, String)> {
    let mut failures: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Failed(error) => Some((error.path.clone(), error.action, error.cause.to_string())),
            _ => None,
        })
        .collect();
    failures.sort_by(|one, other| one.0.cmp(&other.0));
    failures
}

/// Folders `0/0` to `n/n` with `n_files` in each, of sizes around those of a page.
fn grow(root: &Path, n_folders: usize, n_files: usize) {
    for idx in 0..n_folders {
        let folder = root.join(format!("{}/{idx}", idx % 7));
        fs::create_dir_all(&folder).unwrap();
        for file_idx in 0..n_files {
            let bytes = vec![file_idx as u8; (idx * 331 + file_idx * 97) % 9_000];
            fs::write(folder.join(format!("file{file_idx}")), bytes).unwrap();
        }
    }
}

#[test]
fn a_tree_arrives_with_all_that_it_is() {
    for totals in [Totals::NotNeeded, Totals::Wanted] {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        grow(&source, 30, 40);
        common::grow_oddities(&source);
        let request = Request { totals, report: Report::EveryEntry, ..request(&source, &scratch.path("copy")) };
        let (summary, events) = copy(request);
        assert_eq!(summary.n_failed, 0, "{:?}", failures(&events));
        assert_eq!(summary.n_copied, summary.n_found);
        assert_same(&source, &scratch.path("copy"));
        let told: HashSet<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::File { source: from, destination, outcome: Outcome::Copied, .. } => {
                    let expected = scratch.path("copy").join(from.strip_prefix(&source).unwrap());
                    assert_eq!(destination.components().as_path(), expected.components().as_path());
                    Some(from.clone())
                }
                _ => None,
            })
            .collect();
        assert_eq!(told.len() as u64, summary.n_found);
        assert!(events.iter().any(|event| matches!(event, Event::WalkFinished)));
        assert_eq!(events.iter().filter(|event| matches!(event, Event::WorkerStarted { .. })).count(), 3);
    }
}

#[test]
fn what_was_left_a_moment_ago_is_removed() {
    let scratch = Scratch::in_memory();
    scratch.file("source/file");
    scratch.folder("destination");
    let request = Request {
        target: Target::Exactly(scratch.path("destination")),
        ..request(&scratch.path("source"), &scratch.path("destination"))
    };
    for round in 0..20 {
        let litter = scratch.path(format!("destination/.brigade-{round:032x}"));
        let plan = Plan::new(request.clone()).unwrap();
        fs::write(&litter, "by a run that was killed").unwrap();
        whole(carry_out(plan));
        assert!(!litter.exists(), "round {round}");
    }
}

#[test]
fn a_second_run_finds_everything_unchanged() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    grow(&source, 10, 10);
    common::grow_oddities(&source);
    let request =
        || Request { target: Target::Exactly(scratch.path("copy")), ..request(&source, &scratch.path("copy")) };
    let (first, _) = copy(request());
    let (second, _) = copy(request());
    assert_eq!(first.n_copied, first.n_found);
    assert_eq!((second.n_unchanged, second.bytes), (first.n_found, 0), "{second:?}");
    assert_same(&source, &scratch.path("copy"));
}

#[test]
fn files_links_and_contents_are_sources_too() {
    let scratch = Scratch::new();
    let (file, other) = (scratch.file("a/file"), scratch.file("a/other"));
    let link = scratch.path("a/link");
    symlink("file", &link).unwrap();
    let folder = scratch.folder("there");
    scratch.file("a/tree/inner");
    let sources = vec![file.clone(), other, link, scratch.path("a/tree")];
    let (summary, _) = copy(Request { sources, ..request(&file, &folder) });
    assert_eq!((summary.n_copied, summary.n_files, summary.n_symlinks, summary.n_directories), (5, 3, 1, 1));
    assert_same(&scratch.path("a"), &folder_without_times(&folder, &scratch.path("a")));
    let (summary, _) = copy(request(&file, &scratch.path("renamed")));
    assert_eq!((summary.n_copied, summary.n_workers), (1, 1));
    assert_eq!(fs::read(scratch.path("renamed")).unwrap(), b"a/file");
    let (summary, _) = copy(request(&scratch.path("a/."), &scratch.folder("contents")));
    assert_eq!((summary.n_copied, summary.n_unchanged), (5, 1));
    assert_same(&scratch.path("a"), &scratch.path("contents"));
}

/// The folder that was copied into keeps its own time; the comparison is about what is in it.
fn folder_without_times(folder: &Path, like: &Path) -> PathBuf {
    run(std::process::Command::new("touch").arg("-r").arg(like).arg(folder));
    folder.to_owned()
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_arrives() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    grow(&source, 3, 5);
    let secret = scratch.file("source/secret");
    // Root may open every file, but not read what is at address 0 of a process, and a confined worker may not open that.
    let _mount = if has_root() {
        let memory = format!("/proc/{}/mem", std::process::id());
        Some(Mount::bind(Path::new(&memory), &secret))
    } else {
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        None
    };
    for sandbox in [Sandbox::Off, Sandbox::Auto] {
        let (action, reason) = match sandbox {
            Sandbox::Off if has_root() => (Action::Read, "Input/output error (os error 5)"),
            _ => (Action::Open, "Permission denied (os error 13)"),
        };
        let destination = scratch.path(format!("{sandbox:?}"));
        let (summary, events) = copy(Request { sandbox, ..request(&source, &destination) });
        assert_eq!(failures(&events), [(secret.clone(), action, reason.to_owned())], "{sandbox:?}");
        assert_eq!((summary.n_failed, summary.n_copied), (1, summary.n_found - 1), "{sandbox:?}");
        assert_eq!(summary.n_files, 15, "{sandbox:?}");
        assert!(!destination.join("secret").exists(), "{sandbox:?}");
    }
}

#[test]
fn a_full_file_system_fails_what_does_not_fit_and_keeps_no_partial_file() {
    need_root();
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    for idx in 0..40 {
        fs::write(source.join(format!("file{idx}")), vec![idx; 100_000]).unwrap();
    }
    let _mount = Mount::tmpfs(&scratch.folder("small"), "size=2m");
    let (summary, events) = copy(request(&source, &scratch.path("small/copy")));
    assert!(summary.n_failed > 15 && summary.n_files > 10, "{summary:?}");
    for (path, action, reason) in failures(&events) {
        assert!(matches!(action, Action::Write | Action::Create), "{action:?}");
        assert_eq!(reason, "No space left on device (os error 28)");
        assert!(!path.exists());
    }
    let n_whole = fs::read_dir(scratch.path("small/copy")).unwrap().count() as u64;
    assert_eq!(n_whole, summary.n_files);
    for entry in fs::read_dir(scratch.path("small/copy")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::read(&path).unwrap(), fs::read(source.join(path.file_name().unwrap())).unwrap());
    }
}

#[test]
fn a_read_only_destination_fails_every_entry_by_name() {
    need_root();
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    scratch.file("source/a");
    scratch.file("source/b/c");
    let mount = Mount::tmpfs(&scratch.folder("there"), "size=1m");
    scratch.folder("there/source");
    let new = scratch.path("there/new");
    let planned = Plan::new(request(&source, &new)).unwrap();
    mount.make_read_only();
    let reason = "Read-only file system (os error 30)".to_owned();
    // What is known before the first write is refused; what is found out later is named.
    let refused = Plan::new(request(&source, &new)).unwrap_err();
    assert!(matches!(&refused, Refusal::NoRoom { destination, want: Want::Writable } if *destination == new));
    let (summary, events) = whole(carry_out(planned));
    assert_eq!(failures(&events), [(new, Action::CreateDirectory, reason.clone())]);
    assert_eq!((summary.n_found, summary.n_failed), (1, 1));
    let (summary, events) = copy(request(&source, &scratch.path("there")));
    let expected = [
        (scratch.path("there/source"), Action::SetTimes, reason.clone()),
        (scratch.path("there/source/a"), Action::Create, reason.clone()),
        (scratch.path("there/source/b"), Action::CreateDirectory, reason),
    ];
    let mut failed = failures(&events);
    // Which of a folder's attributes comes first depends on what differs.
    failed[0].1 = Action::SetTimes;
    assert_eq!(failed, expected);
    assert_eq!((summary.n_found, summary.n_failed), (3, 3));
}

#[test]
fn what_is_mounted_read_only_inside_the_destination_fails_by_name_and_the_rest_arrives() {
    need_root();
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    for name in ["source/a", "source/b/c", "source/b/d/e", "source/z/f"] {
        scratch.file(name);
    }
    let mount = Mount::tmpfs(&scratch.folder("copy/b"), "size=1m");
    mount.make_read_only();
    let target = Target::Exactly(scratch.path("copy"));
    let (summary, events) = copy(Request { target, ..request(&source, &scratch.path("copy")) });
    let reason = "Read-only file system (os error 30)".to_owned();
    let expected = [
        (scratch.path("copy/b"), Action::SetTimes, reason.clone()),
        (scratch.path("copy/b/c"), Action::Create, reason.clone()),
        (scratch.path("copy/b/d"), Action::CreateDirectory, reason),
    ];
    let mut failed = failures(&events);
    failed[0].1 = Action::SetTimes;
    assert_eq!(failed, expected);
    assert_eq!((summary.n_failed, summary.n_files), (3, 2));
    assert_eq!(summary.n_found, summary.n_copied + summary.n_unchanged + summary.n_failed);
    for name in ["a", "z/f"] {
        assert_eq!(fs::read(scratch.path("copy").join(name)).unwrap(), fs::read(source.join(name)).unwrap());
    }
}

/// So slow that it goes on for seconds: whoever wants to meet it in its midst is not late on a busy machine either.
fn slowed(request: Request, mebibytes_per_second: u64) -> Request {
    Request { bytes_per_second: std::num::NonZeroU64::new(mebibytes_per_second << 20), ..request }
}

#[test]
fn killed_workers_cost_nothing_but_time() {
    for totals in [Totals::NotNeeded, Totals::Wanted] {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        grow(&source, 150, 60);
        common::grow_oddities(&source);
        let (running, events) = start(Request { totals, ..slowed(request(&source, &scratch.path("copy")), 16) });
        let mut n_killed = 0;
        let mut n_done = 0;
        let summary = loop {
            if let Some(summary) = running.wait_timeout(Duration::from_millis(1)) {
                break summary;
            }
            let progress = running.progress();
            assert!(progress.n_done >= n_done && progress.n_done <= progress.n_found);
            // Only while something is done in between, so that no entry looks as if it killed workers.
            if progress.n_done > n_done + 50 && n_killed < 20 {
                n_done = progress.n_done;
                let lane = &progress.lanes[n_killed % progress.lanes.len()];
                let pid = rustix::process::Pid::from_raw(lane.pid as i32).unwrap();
                n_killed += usize::from(rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok());
            }
        };
        drop(running);
        let events = std::mem::take(&mut *events.lock().unwrap());
        assert!(n_killed >= 5, "only {n_killed} were killed");
        assert_eq!(summary.broken, None);
        assert_eq!(failures(&events), []);
        assert_eq!((summary.n_copied, summary.n_failed), (summary.n_found, 0), "{summary:?}");
        assert!(summary.n_lost_workers >= 1 && summary.n_lost_workers <= n_killed as u64);
        assert_same(&source, &scratch.path("copy"));
        assert_no_temporaries(&scratch.path("copy"));
    }
}

#[test]
fn a_stop_leaves_no_partial_file_and_no_process() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    grow(&source, 200, 50);
    let (running, events) = start(slowed(request(&source, &scratch.path("copy")), 2));
    let deadline = Instant::now() + WATCHDOG;
    while running.progress().n_done < 300 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let pids: Vec<_> = running.progress().lanes.iter().map(|lane| lane.pid).collect();
    running.stop();
    let summary = end(&running);
    drop(running);
    assert!(summary.interrupted);
    assert!(summary.n_copied >= 300 && summary.n_copied < 10_000, "{summary:?}");
    assert_eq!(failures(&events.lock().unwrap()), []);
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "worker {pid} is still there");
    }
    let mut n_there = 0;
    each_entry(&scratch.path("copy"), &mut |path| {
        n_there += 1;
        let (there, ours) = (fs::metadata(path).unwrap(), fs::metadata(from(path, &scratch)).unwrap());
        assert_eq!((there.mtime(), there.mtime_nsec()), (ours.mtime(), ours.mtime_nsec()), "{path:?}");
        assert!(there.is_dir() || there.len() == ours.len());
    });
    assert_eq!(n_there, summary.n_copied);
}

#[test]
fn a_worker_that_does_not_answer_cannot_hold_up_a_stop() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    grow(&source, 100, 50);
    let (running, _) = start(slowed(request(&source, &scratch.path("copy")), 2));
    let deadline = Instant::now() + WATCHDOG;
    while running.progress().lanes.len() < 3 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    for lane in running.progress().lanes {
        let pid = rustix::process::Pid::from_raw(lane.pid as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }
    running.stop();
    let summary = end(&running);
    assert!(summary.interrupted);
    let pids: Vec<_> = running.progress().lanes.iter().map(|lane| lane.pid).collect();
    drop(running);
    assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "{pids:?}");
}

fn from(copied: &Path, scratch: &Scratch) -> PathBuf {
    scratch.path("source").join(copied.strip_prefix(scratch.path("copy")).unwrap())
}

fn each_entry(path: &Path, act: &mut impl FnMut(&Path)) {
    act(path);
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each_entry(&entry.unwrap().path(), act);
        }
    }
}

fn assert_no_temporaries(folder: &Path) {
    each_entry(folder, &mut |path| {
        assert!(!path.file_name().unwrap().as_encoded_bytes().starts_with(b".brigade-"), "{path:?}");
    });
}

#[test]
fn the_copy_never_descends_into_itself_through_a_bind_mount() {
    need_root();
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    scratch.file("source/file");
    let elsewhere = scratch.folder("elsewhere");
    let _mount = Mount::bind(&elsewhere, &scratch.folder("source/loop"));
    let (summary, _) = copy(request(&source, &scratch.path("elsewhere/copy")));
    assert_eq!((summary.n_copied, summary.n_skipped, summary.n_failed), (3, 1, 0));
    assert!(!scratch.path("elsewhere/copy/loop/copy").exists());
}

#[test]
fn hard_links_are_kept_across_folders_and_sources() {
    let scratch = Scratch::new();
    let first = scratch.file("one/first");
    fs::hard_link(&first, scratch.folder("two").join("second")).unwrap();
    let sources = vec![scratch.path("one"), scratch.path("two")];
    let (summary, _) = copy(Request { sources, ..request(&first, &scratch.folder("there")) });
    assert_eq!((summary.n_files, summary.n_hard_links), (1, 1));
    let inode = |name: &str| fs::metadata(scratch.path(name)).unwrap().ino();
    assert_eq!(inode("there/one/first"), inode("there/two/second"));
}

#[test]
fn an_entry_of_every_kind_is_told_as_what_it_is() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    scratch.file("source/file");
    fs::hard_link(scratch.path("source/file"), scratch.path("source/again")).unwrap();
    symlink("nowhere", scratch.path("source/link")).unwrap();
    run(std::process::Command::new("mkfifo").arg(scratch.path("source/fifo")));
    let (_, events) = copy(Request { report: Report::EveryEntry, ..request(&source, &scratch.path("copy")) });
    let mut kinds: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::File { kind, bytes, .. } => Some((format!("{kind:?}"), *bytes)),
            _ => None,
        })
        .collect();
    kinds.sort();
    let n_bytes = "source/file".len() as u64;
    let expected = [
        (EntryKind::Directory, 0),
        (EntryKind::File, n_bytes),
        (EntryKind::HardLink, n_bytes),
        (EntryKind::Special, 0),
        (EntryKind::Symlink, 0),
    ];
    assert_eq!(kinds, expected.map(|(kind, n_bytes)| (format!("{kind:?}"), n_bytes)));
}

#[test]
fn a_run_leaves_no_descriptor_and_no_process_behind() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    grow(&source, 5, 5);
    copy(request(&source, &scratch.path("warm up")));
    let before = open_files();
    for idx in 0..3 {
        copy(request(&source, &scratch.path(format!("copy{idx}"))));
    }
    // Other tests of this program open files of their own at the same time, but not so many.
    assert!(open_files() < before + 60, "{before} files were open, now {}", open_files());
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
