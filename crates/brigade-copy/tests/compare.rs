//! Comparisons of trees with real worker processes: what is found to differ, what is not, and what goes wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "trees are compared by what is tested here")]
mod common;

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brigade_copy::{
    Aspect, CompareEvent, CompareRequest, Comparing, Comparison, LaneState, Plan, Progress, Reason, Refusal, Request,
    Target, Totals, Verdict,
};
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal, kill_process};
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule};
use torture::mounts::{Image, Mount, Scratch, need_root, run};

/// Longer than any of these comparisons takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

type Events = Arc<Mutex<Vec<CompareEvent>>>;

fn request(source: &Path, destination: &Path) -> CompareRequest {
    CompareRequest {
        source: source.to_owned(),
        destination: destination.to_owned(),
        workers: std::num::NonZeroUsize::new(3),
        totals: Totals::NotNeeded,
        stall_timeout: None,
    }
}

fn start(request: CompareRequest) -> (Comparing, Events) {
    let events = Events::default();
    let sink = Arc::clone(&events);
    let comparing = Comparison::new(request).unwrap().start(move |event| sink.lock().unwrap().push(event)).unwrap();
    (comparing, events)
}

fn end(comparing: &Comparing) -> Verdict {
    let verdict = comparing.wait_timeout(WATCHDOG).expect("the comparison ends within the watchdog's time");
    assert_eq!(verdict.broken, None);
    assert_eq!(verdict.n_found, verdict.n_same + verdict.n_different + verdict.n_failed, "{verdict:?}");
    verdict
}

fn compare(request: CompareRequest) -> (Verdict, Vec<CompareEvent>) {
    let (comparing, events) = start(request);
    let verdict = end(&comparing);
    drop(comparing);
    let events = std::mem::take(&mut *events.lock().unwrap());
    (verdict, events)
}

/// All differences, in the order of their paths.
fn differences(events: &[CompareEvent]) -> Vec<(PathBuf, Vec<Aspect>)> {
    let mut differences: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            CompareEvent::Different { path, aspects } => Some((path.clone(), aspects.clone())),
            _ => None,
        })
        .collect();
    differences.sort_by(|one, other| one.0.cmp(&other.0));
    differences
}

fn copy(source: &Path, destination: &Path) {
    let request = Request::new(vec![source.to_owned()], Target::Exactly(destination.to_owned()));
    let summary = Plan::new(request).unwrap().start(|_| {}).unwrap().wait();
    assert_eq!((summary.n_failed, summary.broken), (0, None));
}

#[test]
fn a_copy_is_the_same_as_its_source() {
    for totals in [Totals::NotNeeded, Totals::Wanted] {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        common::grow_oddities(&source);
        for idx in 0..1500 {
            let folder = source.join(format!("{}/{}", idx % 7, idx % 31));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("file{idx}")), vec![idx as u8; idx * 37 % 9000]).unwrap();
        }
        copy(&source, &scratch.path("copy"));
        let (verdict, events) = compare(CompareRequest { totals, ..request(&source, &scratch.path("copy")) });
        assert_eq!(differences(&events), []);
        assert_eq!((verdict.n_different, verdict.n_failed), (0, 0));
        assert_eq!(verdict.n_found, 1 + fs_count(&source));
    }
}

fn fs_count(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| 1 + if entry.file_type().unwrap().is_dir() { fs_count(&entry.path()) } else { 0 }).sum()
}

/// How a copy is spoilt, where, and what is then said of which path.
type Spoilt = (&'static str, fn(&Path), &'static [(&'static str, &'static [Aspect])]);

#[test]
fn every_difference_is_named_by_its_path_and_what_differs() {
    need_root();
    let table: [Spoilt; 13] = [
        ("missing", |copy| fs::remove_file(copy.join("f/a")).unwrap(), &[("f/a", &[Aspect::OnlyAtSource])]),
        ("a missing folder", |copy| fs::remove_dir_all(copy.join("f")).unwrap(), &[("f", &[Aspect::OnlyAtSource])]),
        ("extra", |copy| fs::write(copy.join("f/new"), "").unwrap(), &[("f/new", &[Aspect::OnlyAtDestination])]),
        (
            "an extra folder",
            |copy| fs::create_dir_all(copy.join("n/m")).unwrap(),
            &[("n", &[Aspect::OnlyAtDestination])],
        ),
        (
            "type",
            |copy| {
                fs::remove_file(copy.join("f/a")).unwrap();
                fs::create_dir(copy.join("f/a")).unwrap();
            },
            &[("f/a", &[Aspect::Type])],
        ),
        (
            "a folder became a file",
            |copy| {
                fs::remove_dir(copy.join("empty")).unwrap();
                fs::write(copy.join("empty"), "").unwrap();
            },
            &[("empty", &[Aspect::Type])],
        ),
        (
            "a byte in the middle",
            |copy| {
                fs::OpenOptions::new().write(true).open(copy.join("large")).unwrap().write_at(b"x", 700_001).unwrap();
            },
            &[("large", &[Aspect::Contents])],
        ),
        (
            "target",
            |copy| {
                fs::remove_file(copy.join("link")).unwrap();
                symlink("elsewhere", copy.join("link")).unwrap();
            },
            &[("link", &[Aspect::Target])],
        ),
        (
            "device",
            |copy| {
                fs::remove_file(copy.join("null")).unwrap();
                run(Command::new("mknod").args(["-m", "0600"]).arg(copy.join("null")).args(["c", "1", "5"]));
            },
            &[("null", &[Aspect::Device])],
        ),
        (
            "mode of a folder",
            |copy| fs::set_permissions(copy.join("f"), fs::Permissions::from_mode(0o700)).unwrap(),
            &[("f", &[Aspect::Mode])],
        ),
        ("owner", |copy| chown(copy.join("f/a"), Some(1234), None).unwrap(), &[("f/a", &[Aspect::Owner])]),
        (
            "attributes",
            |copy| setxattr(copy.join("f/a"), c"user.note", b"other", XattrFlags::empty()).unwrap(),
            &[("f/a", &[Aspect::Attributes])],
        ),
        (
            "hard links",
            |copy| {
                fs::remove_file(copy.join("f/again")).unwrap();
                fs::copy(copy.join("f/a"), copy.join("f/again")).unwrap();
                setxattr(copy.join("f/again"), c"user.note", b"x", XattrFlags::empty()).unwrap();
                set_times(&copy.join("f/again"), 1_000);
            },
            // Which of the two names is met first is chance.
            &[("f/a or f/again", &[Aspect::HardLinks])],
        ),
    ];
    for (what, spoil, expected) in table {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        fs::create_dir(source.join("f")).unwrap();
        fs::create_dir(source.join("empty")).unwrap();
        fs::write(source.join("f/a"), "a").unwrap();
        setxattr(source.join("f/a"), c"user.note", b"x", XattrFlags::empty()).unwrap();
        fs::hard_link(source.join("f/a"), source.join("f/again")).unwrap();
        fs::write(source.join("large"), vec![7; 1_500_000]).unwrap();
        symlink("there", source.join("link")).unwrap();
        run(Command::new("mknod").args(["-m", "0600"]).arg(source.join("null")).args(["c", "1", "3"]));
        for name in ["f/a", "f", "empty", "large", "link", "null", "."] {
            set_times(&source.join(name), 1_000);
        }
        let destination = scratch.path("copy");
        copy(&source, &destination);
        spoil(&destination);
        // The times of what was spoilt on purpose differ as well, which is not what this is about.
        let (verdict, events) = compare(request(&source, &destination));
        let mut found = differences(&events);
        for (path, aspects) in &mut found {
            aspects.retain(|aspect| *aspect != Aspect::Time);
            if aspects == &[Aspect::HardLinks] {
                *path = "f/a or f/again".into();
            }
        }
        found.retain(|(_, aspects)| !aspects.is_empty());
        // A removed name and a new owner concern all names of the file.
        found.retain(|(path, _)| path != Path::new("f/again"));
        let expected: Vec<_> = expected.iter().map(|(path, aspects)| (PathBuf::from(path), aspects.to_vec())).collect();
        assert_eq!(found, expected, "{what}");
        assert!(verdict.n_different > 0 && verdict.n_failed == 0, "{what}: {verdict:?}");
    }
}

fn set_times(path: &Path, seconds: i64) {
    run(Command::new("touch").args(["-h", "-d", &format!("@{seconds}.000000001")]).arg(path));
}

#[test]
fn a_nanosecond_of_the_time_is_a_difference() {
    let scratch = Scratch::new();
    for name in ["source", "copy"] {
        scratch.folder(name);
        fs::write(scratch.path(name).join("file"), "x").unwrap();
        set_times(&scratch.path(name).join("file"), -5_000);
        set_times(&scratch.path(name), 5_000);
    }
    assert_eq!(differences(&compare(request(&scratch.path("source"), &scratch.path("copy"))).1), []);
    run(Command::new("touch").args(["-d", "@-5000.000000002"]).arg(scratch.path("copy/file")));
    let (_, events) = compare(request(&scratch.path("source"), &scratch.path("copy")));
    assert_eq!(differences(&events), [("file".into(), vec![Aspect::Time])]);
}

/// What the cache holds of a file that was just written is what was written, whatever became of it on the disk.
#[test]
fn contents_are_those_of_the_disk_and_not_of_the_cache() {
    need_root();
    for kind in [Image::EXT4, Image::XFS] {
        let scratch = Scratch::new();
        let image = scratch.path("image");
        let mount = Mount::fresh(&kind, &image, &scratch.folder("mount"));
        let source = scratch.path("source");
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(|number| (number ^ 0x5A5A_0000).to_le_bytes()).collect();
        fs::write(&source, &bytes).unwrap();
        let destination = mount.at().join("copy");
        copy(&source, &destination);
        assert_eq!(differences(&compare(request(&source, &destination)).1), [], "{}", kind.kind);
        spoil_on_disk(&image, &bytes[..4096]);
        assert_eq!(fs::read(&destination).unwrap(), bytes, "the cache holds what was written");
        let (_, events) = compare(request(&source, &destination));
        assert_eq!(differences(&events), [(PathBuf::new(), vec![Aspect::Contents])], "{}", kind.kind);
    }
}

/// Flips a bit of the block that holds these bytes.
fn spoil_on_disk(image: &Path, block: &[u8]) {
    let disk = fs::read(image).unwrap();
    let offset = disk.chunks_exact(block.len()).position(|there| there == block).unwrap() * block.len();
    let file = fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_at(&[block[100] ^ 4], offset as u64 + 100).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_path_beyond_the_kernels_limit_is_compared() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    let script = "for i in $(seq 60); do mkdir \"$1\" && cd \"$1\" || exit 1; done; echo deep > file";
    run(Command::new("bash").args(["-c", script, "bash", &"d".repeat(100)]).current_dir(&source));
    copy(&source, &scratch.path("copy"));
    let (verdict, events) = compare(request(&source, &scratch.path("copy")));
    assert_eq!((differences(&events), verdict.n_same), (Vec::new(), 62));
    let script = "while cd \"$1\" 2>/dev/null; do :; done; echo DEEP > file";
    run(Command::new("bash").args(["-c", script, "bash", &"d".repeat(100)]).current_dir(scratch.path("copy")));
    let (_, events) = compare(request(&source, &scratch.path("copy")));
    let found = differences(&events);
    assert!(found.len() == 1 && found[0].0.ends_with("file") && found[0].1.contains(&Aspect::Contents), "{found:?}");
}

#[test]
fn a_worker_that_is_killed_costs_nothing() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    for idx in 0..6 {
        fs::write(source.join(format!("file{idx}")), vec![idx; 48 << 20]).unwrap();
    }
    copy(&source, &scratch.path("copy"));
    // A comparison may be over before anybody is killed; what is the same is the same each time.
    let was_killed = (0..20).any(|_| {
        let (comparing, events) = start(request(&source, &scratch.path("copy")));
        let at_work = |progress: &Progress| {
            progress.lanes.iter().find_map(|lane| lane.path.ends_with("file3").then_some(lane.pid))
        };
        let victim = loop {
            let progress = comparing.progress();
            if progress.n_done == 7 || at_work(&progress).is_some() {
                break at_work(&progress);
            }
        };
        if let Some(pid) = victim.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let verdict = end(&comparing);
        assert_eq!(verdict.n_same, 7);
        let is_told = events.lock().unwrap().iter().any(|event| matches!(event, CompareEvent::WorkerLost { .. }));
        assert_eq!(verdict.n_lost_workers, u64::from(is_told));
        is_told
    });
    assert!(was_killed, "each comparison ended before a worker could be killed");
}

/// Whether two of the workers were seen comparing at the same time, where reading takes time.
fn is_shared_among_workers(n_bytes: u64) -> bool {
    need_root();
    let scratch = Scratch::in_memory();
    scratch.folder("source");
    for idx in 0..6 {
        fs::File::create(scratch.path(format!("source/{idx}"))).unwrap().set_len(n_bytes).unwrap();
    }
    copy(&scratch.path("source"), &scratch.path("destination"));
    let options = Options { delay: Duration::from_millis(2), ..Options::default() };
    let slow = FaultFs::mount(&scratch.path("source"), &scratch.folder("slow"), options).unwrap();
    let (comparing, _) = start(request(slow.point(), &scratch.path("destination")));
    let mut most = 0;
    while comparing.wait_timeout(Duration::from_millis(1)).is_none() {
        let lanes = comparing.progress().lanes;
        most = most.max(lanes.iter().filter(|lane| lane.state == LaneState::Verifying).count());
    }
    assert_eq!(end(&comparing).n_same, 7);
    most > 1
}

#[test]
fn trees_that_answer_slowly_are_compared_by_more_workers() {
    need_root();
    let scratch = Scratch::in_memory();
    for idx in 0..400 {
        scratch.file(&format!("source/{}/{idx}", idx % 10));
    }
    copy(&scratch.path("source"), &scratch.path("destination"));
    let options = Options { delay: Duration::from_millis(5), ..Options::default() };
    let slow = FaultFs::mount(&scratch.path("source"), &scratch.folder("slow"), options).unwrap();
    let (verdict, _) = compare(CompareRequest { workers: None, ..request(slow.point(), &scratch.path("destination")) });
    assert_eq!(verdict.n_same, 411);
    let n_processors = brigade::available_cpus();
    assert!(verdict.n_workers > n_processors, "{} workers, {n_processors} processors", verdict.n_workers);
}

#[test]
fn a_few_large_files_are_compared_side_by_side_and_a_few_small_ones_are_not() {
    assert!(is_shared_among_workers(8 << 20));
    assert!(!is_shared_among_workers(8));
}

/// A copy of a folder with files, below each tree of which something does not answer.
struct Hanging {
    /// Taken away before the folders around it.
    mounted: FaultFs,
    scratch: Scratch,
}

impl Hanging {
    /// Lays a file system over `dead` of one of the two trees, which shows what is behind it as it is.
    fn over(tree: &str) -> Self {
        need_root();
        // Where others write nothing that a flush would wait for.
        let scratch = Scratch::in_memory();
        for idx in 0..40 {
            scratch.file(&format!("source/alive/{idx}"));
            scratch.file(&format!("source/dead/{idx}"));
        }
        copy(&scratch.path("source"), &scratch.path("destination"));
        let place = scratch.path(tree).join("dead");
        fs::rename(&place, scratch.path("behind")).unwrap();
        fs::create_dir(&place).unwrap();
        let other = scratch.path(if tree == "source" { "destination" } else { "source" });
        run(Command::new("touch").arg("-r").arg(other).arg(scratch.path(tree)));
        let mounted = FaultFs::mount(&scratch.path("behind"), &place, Options::default()).unwrap();
        Self { mounted, scratch }
    }

    fn compare(&self) -> (Verdict, Vec<CompareEvent>) {
        let stall_timeout = Some(Duration::from_millis(400));
        let request = request(&self.scratch.path("source"), &self.scratch.path("destination"));
        compare(CompareRequest { stall_timeout, ..request })
    }
}

fn stalled(events: &[CompareEvent]) -> Vec<&Path> {
    let places = events.iter().filter_map(|event| match event {
        CompareEvent::WorkerStalled { path, .. } => Some(path.as_path()),
        _ => None,
    });
    places.collect()
}

fn unread(events: &[CompareEvent]) -> Vec<(&Path, Option<&Reason>)> {
    let failures = events.iter().filter_map(|event| match event {
        CompareEvent::Failed(error) => {
            Some((error.path.as_path(), error.cause.get_ref().and_then(|cause| cause.downcast_ref())))
        }
        _ => None,
    });
    failures.collect()
}

#[test]
fn a_mount_that_hangs_is_named_and_everything_else_compared() {
    for tree in ["source", "destination"] {
        let hanging = Hanging::over(tree);
        hanging.mounted.add(Rule::new(Fault::Hang));
        let (verdict, events) = hanging.compare();
        let dead = hanging.scratch.path(tree).join("dead");
        assert_eq!(stalled(&events), [&dead], "{events:?}");
        assert_eq!(unread(&events), [(dead.as_path(), Some(&Reason::Stalled))]);
        assert_eq!((verdict.n_same, verdict.n_different, verdict.n_failed), (42, 0, 1));
        assert_eq!(verdict.n_lost_workers, 1);
    }
}

#[test]
fn a_file_that_hangs_is_named_and_every_other_compared() {
    for tree in ["source", "destination"] {
        let hanging = Hanging::over(tree);
        hanging.mounted.add(Rule::new(Fault::Hang).on(Operation::Read).at("7"));
        let (verdict, events) = hanging.compare();
        let file = hanging.scratch.path(tree).join("dead/7");
        assert_eq!(stalled(&events), [&file], "{events:?}");
        assert_eq!(unread(&events), [(file.as_path(), Some(&Reason::Stalled))]);
        assert_eq!((verdict.n_same, verdict.n_different, verdict.n_failed), (82, 0, 1));
    }
}

#[test]
fn many_files_that_hang_stand_for_their_folder() {
    let hanging = Hanging::over("destination");
    hanging.mounted.add(Rule::new(Fault::Hang).on(Operation::Read));
    let (verdict, events) = hanging.compare();
    assert!(stalled(&events).len() < 20, "{events:?}");
    assert!(unread(&events).iter().all(|(_, reason)| *reason == Some(&Reason::Stalled)), "{events:?}");
    assert!((1..=41).contains(&verdict.n_failed), "{verdict:?}");
    assert!(verdict.n_same >= 42 && verdict.n_different == 0, "{verdict:?}");
}

#[test]
fn a_tree_that_hangs_is_refused_by_name() {
    let hanging = Hanging::over("destination");
    hanging.mounted.add(Rule::new(Fault::Hang));
    let stall_timeout = Some(Duration::from_millis(300));
    let request = request(&hanging.scratch.path("source/dead"), hanging.mounted.point());
    match Comparison::new(CompareRequest { stall_timeout, ..request }) {
        Err(Refusal::NoAnswer { path, .. }) => assert_eq!(path, hanging.mounted.point()),
        other => panic!("{other:?}"),
    }
}
