//! Removing what the source does not have: what goes, what stays, and when nothing goes at all.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brigade_copy::{
    Action, Choice, Delete, EmptySource, EntryKind, Event, Plan, Refusal, RemovalCeased, Report, Request, Running,
    Selection, Summary, Target, Totals,
};
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, mkfifoat, utimensat};
use rustix::io::Errno;
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule, Spelling};
use torture::mounts::{Mount, Scratch, need_root, run};
use torture::random::Random;

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

/// Fails with every difference between two trees.
fn assert_same(source: &Path, destination: &Path) {
    let differences = torture::tree::differences(source, destination).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

type Events = Arc<Mutex<Vec<Event>>>;

fn request(source: &Path, destination: &Path) -> Request {
    Request {
        workers: std::num::NonZeroUsize::new(3),
        delete: Delete::Extra,
        report: Report::EveryEntry,
        ..Request::new(vec![source.to_owned()], Target::Exactly(destination.to_owned()))
    }
}

fn start(request: Request) -> (Running, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let running = Plan::new(request).unwrap().start(move |event| sink.lock().unwrap().push(event)).unwrap();
    (running, events)
}

fn copy(request: Request) -> (Summary, Vec<Event>) {
    let (running, events) = start(request);
    let summary = running.wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    assert_eq!(summary.broken, None);
    let n_done = summary.n_copied + summary.n_unchanged + summary.n_skipped + summary.n_failed;
    assert_eq!(summary.n_found, n_done, "{summary:?}");
    drop(running);
    let events = std::mem::take(&mut *events.lock().unwrap());
    let n_removed = events.iter().filter(|event| matches!(event, Event::Removed { .. })).count();
    if summary.n_lost_workers == 0 {
        assert_eq!(n_removed as u64, summary.n_deleted);
    }
    (summary, events)
}

/// What could not be done, in the order of the paths.
fn failures(events: &[Event]) -> Vec<(PathBuf, Action, String)> {
    let failed = events.iter().filter_map(|event| match event {
        Event::Failed(error) => Some((error.path.clone(), error.action, error.cause.to_string())),
        _ => None,
    });
    let mut failures: Vec<_> = failed.collect();
    failures.sort_by(|one, other| one.0.cmp(&other.0));
    failures
}

/// A tree whose names come from so few that two such trees have many in common. What is a folder in one is a folder in all, and
/// the contents of a file follow from its name.
fn grow(folder: &Path, random: &mut Random, depth: u64) {
    fs::create_dir_all(folder).unwrap();
    for idx in 0..8 {
        if random.below(3) == 0 {
            continue;
        }
        let path = folder.join(format!("{}{idx}", if idx < 3 { "folder" } else { "file" }));
        match idx {
            0..3 if depth > 0 => grow(&path, random, depth - 1),
            0..3 => {}
            3 => symlink("../folder0", &path).unwrap(),
            4 => mkfifoat(CWD, &path, Mode::from_raw_mode(0o640)).unwrap(),
            _ => fs::write(&path, vec![b'x'; idx * 100]).unwrap(),
        }
        set_time(&path, idx as i64);
    }
    set_time(folder, random.below(1000) as i64);
}

/// rsync does not look at the parts of a second.
fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: 1_000_000_000 + seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let set = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    assert!(matches!(set, Ok(()) | Err(Errno::NOENT)), "{path:?}: {set:?}");
}

/// A source, and a destination for each of two tools, with the same in both.
struct Trees {
    source: PathBuf,
    ours: PathBuf,
    theirs: PathBuf,
    _scratch: Scratch,
}

impl Trees {
    fn grown(random: &mut Random) -> Self {
        let scratch = Scratch::new();
        let [source, ours, theirs] = ["source", "ours", "theirs"].map(|name| scratch.path(name));
        grow(&source, random, 3);
        grow(&ours, random, 3);
        fs::write(source.join("never empty"), "").unwrap();
        set_time(&source, 7);
        run(Command::new("cp").arg("-a").arg(&ours).arg(&theirs));
        Self { source, ours, theirs, _scratch: scratch }
    }
}

#[test]
fn random_trees_end_as_rsync_leaves_them() {
    let first_seed = std::env::var("BRIGADE_SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first_seed..first_seed + 25 {
        println!("BRIGADE_SEED={seed}");
        let mut random = Random::new(seed);
        let Trees { source, ours, theirs, _scratch } = Trees::grown(&mut random);
        let (summary, events) = copy(request(&source, &ours));
        assert_eq!((summary.n_failed, summary.n_undeleted), (0, 0), "seed {seed}: {:?}", failures(&events));
        run(Command::new("rsync").args(["-a", "--delete"]).arg(source.join("")).arg(theirs.join("")));
        assert_same(&theirs, &ours);
        assert_same(&source, &ours);
    }
}

#[test]
fn with_filters_random_trees_end_as_rsync_leaves_them() {
    let first_seed = std::env::var("BRIGADE_SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first_seed..first_seed + 12 {
        println!("BRIGADE_SEED={seed}");
        for delete in [Delete::Extra, Delete::ExtraAndExcluded] {
            let mut random = Random::new(seed);
            let Trees { source, ours, theirs, _scratch } = Trees::grown(&mut random);
            let mut rsync = Command::new("rsync");
            rsync.arg(if delete == Delete::Extra { "--delete" } else { "--delete-excluded" });
            let patterns =
                ["file5", "folder1/", "/folder0/file*", "folder2/folder0", "file[67]", "folder0/**", "file3"];
            let mut selection = Selection::default();
            for _ in 0..3 {
                let pattern = patterns[random.below(patterns.len() as u64) as usize];
                let choice = if random.below(4) == 0 { Choice::Include } else { Choice::Exclude };
                selection.rules.add(choice, pattern.as_bytes()).unwrap();
                rsync.arg(format!("--{}={pattern}", if choice == Choice::Include { "include" } else { "exclude" }));
            }
            // The rules' root is the folder itself in both.
            let wanted = Request { delete, selection, ..request(&source.join("."), &ours) };
            let (summary, events) = copy(wanted);
            assert_eq!((summary.n_failed, summary.n_undeleted), (0, 0), "{rsync:?}: {:?}", failures(&events));
            run(rsync.arg("-a").arg(source.join("")).arg(theirs.join("")));
            let differences = torture::tree::differences(&theirs, &ours).unwrap();
            // Both keep a folder for what is excluded in it; only rsync leaves it the time that removing gave it.
            let told: Vec<_> = differences.iter().filter(|line| !line.contains(": time (")).collect();
            assert!(told.is_empty(), "seed {seed}, {rsync:?}: {told:?}");
        }
    }
}

#[test]
fn ten_thousand_entries_go_and_folders_keep_their_times() {
    let scratch = Scratch::new();
    let source = scratch.folder("source/stays");
    scratch.file("source/stays/file");
    for idx in 0..100 {
        let folder = scratch.folder(format!("destination/stays/goes{}/{idx}/deep/er", idx % 3));
        for file_idx in 0..100 {
            fs::write(folder.join(format!("{file_idx}")), "").unwrap();
        }
    }
    run(Command::new("touch").args(["-d", "2001-02-03 04:05:06.000000007"]).arg(&source));
    let (summary, _) = copy(request(&scratch.path("source"), &scratch.path("destination")));
    assert_eq!((summary.n_deleted, summary.n_undeleted), (10_000 + 300 + 3, 0));
    assert_same(&scratch.path("source"), &scratch.path("destination"));
}

#[test]
fn a_source_without_entries_removes_nothing_unless_that_was_asked_for() {
    let scratch = Scratch::new();
    scratch.folder("source");
    scratch.file("destination/precious/file");
    let wanted = request(&scratch.path("source"), &scratch.path("destination"));
    let (summary, _) = copy(wanted.clone());
    assert_eq!(summary.removal_ceased, Some(RemovalCeased::SourceEmpty));
    assert!(scratch.path("destination/precious/file").exists());
    let (summary, _) = copy(Request { empty_source: EmptySource::RemovesAll, ..wanted });
    assert_eq!((summary.removal_ceased, summary.n_deleted), (None, 2));
    assert_same(&scratch.path("source"), &scratch.path("destination"));
}

#[test]
fn nothing_is_removed_where_a_listing_ends_half_way() {
    need_root();
    for spoilt in ["", "folder"] {
        let scratch = Scratch::new();
        let real = scratch.folder("real");
        let point = scratch.folder("source");
        for idx in 0..40 {
            scratch.file(&format!("real/file{idx}"));
            scratch.file(&format!("real/folder/file{idx}"));
            scratch.file(&format!("destination/file{idx}"));
            scratch.file(&format!("destination/folder/file{idx}"));
        }
        scratch.file("destination/extra");
        scratch.file("destination/other/extra");
        let mounted = FaultFs::mount(&real, &point, Options::default()).unwrap();
        mounted.add(Rule::new(Fault::Error(Errno::IO)).on(Operation::Readdir).at(spoilt).from(20));
        let (summary, events) = copy(request(&point, &scratch.path("destination")));
        assert_eq!(summary.removal_ceased, Some(RemovalCeased::SourceUnread), "{spoilt:?}");
        assert_eq!(summary.n_deleted, 0);
        assert!(
            failures(&events).iter().any(|(path, action, _)| *path == point.join(spoilt) && *action == Action::List)
        );
        for name in ["extra", "other/extra", "file39", "folder/file39"] {
            assert!(scratch.path("destination").join(name).exists(), "{spoilt:?}: {name}");
        }
    }
}

#[test]
fn a_file_system_that_is_mounted_in_the_destination_survives() {
    need_root();
    let scratch = Scratch::new();
    scratch.file("source/file");
    scratch.file("destination/extra/deep/file");
    let mount = Mount::tmpfs(&scratch.folder("destination/extra/deep/mounted"), "size=1m");
    let bound = Mount::bind(&scratch.folder("elsewhere"), &scratch.folder("destination/bound"));
    scratch.file("destination/extra/deep/mounted/precious");
    scratch.file("elsewhere/precious");
    let (summary, events) = copy(request(&scratch.path("source"), &scratch.path("destination")));
    let failed: Vec<_> = failures(&events).into_iter().map(|(path, _, cause)| (path, cause)).collect();
    let cause = "another file system is mounted there".to_owned();
    assert_eq!(failed, [(bound.at().to_owned(), cause.clone()), (mount.at().to_owned(), cause)]);
    assert_eq!((summary.n_deleted, summary.n_undeleted), (1, 2));
    assert!(scratch.path("destination/extra/deep/mounted/precious").exists());
    assert!(scratch.path("elsewhere/precious").exists());
    assert!(!scratch.path("destination/extra/deep/file").exists());
}

#[test]
fn a_link_to_a_folder_goes_and_what_it_points_to_stays() {
    let scratch = Scratch::new();
    scratch.file("source/file");
    scratch.file("elsewhere/precious");
    scratch.folder("destination/extra");
    symlink(scratch.path("elsewhere"), scratch.path("destination/link")).unwrap();
    symlink(scratch.path("elsewhere"), scratch.path("destination/extra/link")).unwrap();
    let (summary, events) = copy(request(&scratch.path("source"), &scratch.path("destination")));
    assert_eq!((summary.n_deleted, summary.n_undeleted), (3, 0));
    let n_links = events.iter().filter(|event| matches!(event, Event::Removed { kind: EntryKind::Symlink, .. }));
    assert_eq!(n_links.count(), 2);
    assert!(scratch.path("elsewhere/precious").exists());
    assert_same(&scratch.path("source"), &scratch.path("destination"));
}

#[test]
fn what_cannot_be_removed_is_named_and_the_rest_goes() {
    need_root();
    let scratch = Scratch::new();
    let _mount = Mount::ext4(&scratch.path("image"), &scratch.folder("mounted"));
    scratch.file("source/file");
    for name in ["extra/immutable", "extra/other", "top"] {
        scratch.file(&format!("mounted/destination/{name}"));
    }
    let fast = scratch.path("mounted/destination/extra/immutable");
    run(Command::new("chattr").arg("+i").arg(&fast));
    let (summary, events) = copy(request(&scratch.path("source"), &scratch.path("mounted/destination")));
    run(Command::new("chattr").arg("-i").arg(&fast));
    assert_eq!(failures(&events), [(fast.clone(), Action::Remove, "Operation not permitted (os error 1)".to_owned())]);
    assert_eq!((summary.n_deleted, summary.n_undeleted, summary.n_failed), (2, 1, 0));
    assert!(fast.exists());
}

#[test]
fn a_name_that_the_destination_spells_otherwise_is_not_removed() {
    need_root();
    let scratch = Scratch::new();
    scratch.file("source/README");
    scratch.file("real/readme");
    scratch.file("real/extra");
    let point = scratch.folder("destination");
    let options = Options { spelling: Spelling::CaseInsensitive, ..Options::default() };
    let mounted = FaultFs::mount(&scratch.path("real"), &point, options).unwrap();
    let (summary, events) = copy(request(&scratch.path("source"), mounted.point()));
    assert_eq!((summary.n_deleted, summary.n_failed), (1, 0), "{:?}", failures(&events));
    assert_eq!(fs::read(point.join("README")).unwrap(), b"source/README");
    assert!(!point.join("extra").exists());
}

#[test]
fn workers_that_are_killed_leave_nothing_undone() {
    // Whether one is seen while it removes something is chance on a busy machine.
    assert!((0..20).any(|_| n_killed_while_removing() > 0), "nobody was seen removing");
}

fn n_killed_while_removing() -> u64 {
    let scratch = Scratch::new();
    scratch.file("source/kept/file");
    for idx in 0..60 {
        for file_idx in 0..60 {
            scratch.file(&format!("destination/kept/goes{}/{idx}/{file_idx}", idx % 4));
        }
    }
    let (running, events) = start(request(&scratch.path("source"), &scratch.path("destination")));
    let mut n_killed = 0;
    let summary = loop {
        let progress = running.progress();
        let victim = progress.lanes.iter().find(|lane| lane.state == brigade_copy::LaneState::Removing);
        if let Some(lane) = victim.filter(|_| n_killed < 5) {
            n_killed += 1;
            let pid = rustix::process::Pid::from_raw(lane.pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        if let Some(summary) = running.wait_timeout(Duration::from_millis(1)) {
            break summary;
        }
    };
    assert_eq!(summary.broken, None);
    assert!(failures(&events.lock().unwrap()).is_empty());
    assert_same(&scratch.path("source"), &scratch.path("destination"));
    n_killed
}

#[test]
fn a_run_that_is_stopped_while_it_copies_removes_nothing() {
    let scratch = Scratch::new();
    for idx in 0..200 {
        scratch.file(&format!("source/{idx}/file"));
    }
    scratch.file("destination/precious");
    // So slow that it is not over before it is stopped.
    let bytes_per_second = std::num::NonZeroU64::new(10);
    let request = request(&scratch.path("source"), &scratch.path("destination"));
    let (running, _) = start(Request { bytes_per_second, ..request });
    running.stop();
    let summary = running.wait_timeout(WATCHDOG).unwrap();
    assert!(summary.interrupted);
    assert_eq!(summary.n_deleted, 0);
    assert!(scratch.path("destination/precious").exists());
}

#[test]
fn what_the_source_gets_while_it_is_copied_stays() {
    let scratch = Scratch::new();
    fs::write(scratch.folder("source").join("large"), vec![1; 1 << 20]).unwrap();
    scratch.file("destination/late");
    scratch.file("destination/extra");
    let wanted = request(&scratch.path("source"), &scratch.path("destination"));
    let slow = Request { bytes_per_second: std::num::NonZeroU64::new(1 << 20), totals: Totals::Wanted, ..wanted };
    let (running, _) = start(slow);
    torture::facts::wait_until("bytes move", || running.progress().bytes_done > 0);
    scratch.file("source/late");
    let summary = running.wait_timeout(WATCHDOG).unwrap();
    assert_eq!((summary.n_deleted, summary.n_undeleted), (1, 0));
    assert!(scratch.path("destination/late").exists());
    assert!(!scratch.path("destination/extra").exists());
}

#[test]
fn only_one_source_which_is_a_folder_is_taken() {
    let scratch = Scratch::new();
    let (one, two, file) = (scratch.folder("one"), scratch.folder("two"), scratch.file("file"));
    let target = Target::IntoOrAs(scratch.folder("destination"));
    for sources in [vec![one, two], vec![file]] {
        let wanted = Request { delete: Delete::Extra, ..Request::new(sources, target.clone()) };
        assert!(matches!(Plan::new(wanted), Err(Refusal::DeleteNeedsOneFolder)));
    }
}
