//! File systems that do not answer: the rest of the copy goes on, whoever is stuck is named, and everything ends. Slow is not stuck.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brigade_copy::{Event, PathError, Plan, Reason, Refusal, Request, Summary, Target};
use torture::facts::Stopwatch;
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule};
use torture::mounts::{Mount, Scratch, need_root};

/// What a copy has told.
#[derive(Default)]
struct Told {
    stalled: Vec<(u32, PathBuf, Duration)>,
    failed: Vec<PathError>,
}

impl Told {
    fn places(&self) -> Vec<&Path> {
        let mut places: Vec<_> = self.stalled.iter().map(|(_, path, _)| path.as_path()).collect();
        places.sort();
        places
    }

    fn failures(&self) -> Vec<&Path> {
        let mut failures: Vec<_> = self.failed.iter().map(|error| error.path.as_path()).collect();
        failures.sort();
        failures
    }

    fn assert_all_stalled(&self) {
        for error in &self.failed {
            let reason = error.cause.get_ref().and_then(|cause| cause.downcast_ref());
            assert_eq!(reason, Some(&Reason::Stalled), "{error}: {}", error.cause);
        }
    }
}

fn assert_same(source: &Path, copy: &Path) {
    let differences = torture::tree::differences(source, copy).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn request(source: &Path, destination: &Path, stall_timeout: Duration) -> Request {
    Request {
        workers: NonZeroUsize::new(2),
        stall_timeout: Some(stall_timeout),
        ..Request::new(vec![source.into()], Target::Exactly(destination.into()))
    }
}

/// Copies, and looks whether the books are right.
fn copy(request: Request) -> (Summary, Told) {
    let told = Arc::new(Mutex::new(Told::default()));
    let sink = Arc::clone(&told);
    let running = Plan::new(request)
        .unwrap()
        .start(move |event| match event {
            Event::WorkerStalled { pid, path, silent_for } => {
                sink.lock().unwrap().stalled.push((pid, path, silent_for))
            }
            Event::Failed(error) => sink.lock().unwrap().failed.push(error),
            _ => {}
        })
        .unwrap();
    let summary = running.wait();
    drop(running);
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(summary.broken, None);
    let n_done = summary.n_copied + summary.n_unchanged + summary.n_skipped + summary.n_failed;
    assert_eq!(summary.n_found, n_done);
    assert_eq!(summary.n_failed, told.failed.len() as u64, "{:#?}", told.failed);
    (summary, told)
}

fn grow(folder: &Path, n_files: usize) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..n_files {
        fs::write(folder.join(format!("file-{number}")), vec![7; 100 * number]).unwrap();
    }
}

/// A folder behind a file system that is going to hang, and where it is mounted.
fn mounted(scratch: &Scratch, name: &str, at: &Path) -> FaultFs {
    let behind = scratch.folder(name);
    grow(&behind.join("inside"), 3);
    fs::write(behind.join("single"), "never to be read").unwrap();
    FaultFs::mount(&behind, at, Options { memory: Duration::ZERO, ..Options::default() }).unwrap()
}

/// How long a stuck worker is waited for. What answers in these tests is memory, or does so long before that: no worker waits for a
/// disk that others keep busy.
const PATIENCE: Duration = Duration::from_millis(400);
/// Where nothing hangs: so long no worker waits for an answer of this process, however busy the machine is.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_hung_mount_and_a_hung_file_are_named_and_everything_outside_is_copied() {
    need_root();
    let scratch = Scratch::in_memory();
    let source = scratch.folder("source");
    for name in ["a", "b/c", "d"] {
        grow(&source.join(name), 100);
    }
    let hung_folder = scratch.folder("source/b/hung");
    let hung_file = scratch.file("source/file");
    let folder_fs = mounted(&scratch, "behind folder", &hung_folder);
    let file_fs = mounted(&scratch, "behind file", &scratch.folder("elsewhere"));
    let _bound = Mount::bind(&scratch.path("elsewhere/single"), &hung_file);
    for fault_fs in [&folder_fs, &file_fs] {
        fault_fs.add(Rule::new(Fault::Hang));
    }
    let began = Stopwatch::start();
    let (summary, told) = copy(request(&source, &scratch.path("copy"), PATIENCE));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(told.failures(), [hung_folder.as_path(), &hung_file]);
    assert_eq!(told.places(), [hung_folder.as_path(), &hung_file]);
    told.assert_all_stalled();
    for (pid, path, silent_for) in &told.stalled {
        assert!(*silent_for >= PATIENCE && *silent_for <= PATIENCE + Duration::from_secs(2), "{path:?} {silent_for:?}");
        assert_ne!(*pid, 0);
    }
    assert_eq!(summary.n_lost_workers, 2);
    assert_eq!(summary.n_copied, 300 + 5);
    for name in ["a", "b/c", "d"] {
        assert_same(&source.join(name), &scratch.path("copy").join(name));
    }
    assert!(!scratch.path("copy/file").exists(), "nothing is left of the file that could not be read");
}

#[test]
fn a_file_that_hangs_half_way_leaves_nothing_that_looks_whole() {
    need_root();
    let scratch = Scratch::in_memory();
    let source = scratch.folder("source");
    grow(&scratch.path("behind"), 20);
    fs::write(scratch.path("behind/large"), vec![5; 3 << 20]).unwrap();
    let fault_fs = FaultFs::mount(&scratch.path("behind"), &source, Options::default()).unwrap();
    fault_fs.add(Rule::new(Fault::Hang).on(Operation::Read).at("large").from(1 << 20));
    let (summary, told) = copy(request(&source, &scratch.path("copy"), PATIENCE));
    assert_eq!(told.failures(), [source.join("large")]);
    told.assert_all_stalled();
    assert_eq!((summary.n_copied, summary.n_failed), (21, 1));
    let names: Vec<_> = fs::read_dir(scratch.path("copy")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 20, "{names:?}");
    drop(fault_fs);
    // Later all is well, and the copy is completed.
    let fault_fs = FaultFs::mount(&scratch.path("behind"), &source, Options::default()).unwrap();
    let (summary, _) = copy(request(&source, &scratch.path("copy"), LONG_PATIENCE));
    assert_eq!((summary.n_copied, summary.n_failed), (1, 0));
    drop(fault_fs);
    assert_same(&scratch.path("behind"), &scratch.path("copy"));
}

#[test]
fn a_destination_that_hangs_fails_what_goes_there_and_the_command_ends() {
    need_root();
    let scratch = Scratch::in_memory();
    grow(&scratch.path("source/there"), 30);
    grow(&scratch.path("source/here"), 30);
    let copy_of_there = scratch.folder("copy/there");
    let behind = scratch.folder("behind");
    let fault_fs = FaultFs::mount(&behind, &copy_of_there, Options::default()).unwrap();
    fault_fs.add(Rule::new(Fault::Hang).on(Operation::Create).on(Operation::Lookup).on(Operation::Setattr));
    let (summary, told) = copy(request(&scratch.path("source"), &scratch.path("copy"), PATIENCE));
    told.assert_all_stalled();
    assert!(summary.n_copied >= 31 && summary.n_failed >= 1, "{summary:?}");
    let is_there = |path: &&Path| path.ancestors().any(|above| above.ends_with("there"));
    assert!(told.failures().iter().all(is_there), "{:?}", told.failures());
    assert_same(&scratch.path("source/here"), &scratch.path("copy/here"));
}

#[test]
fn a_mount_that_is_slow_and_moves_on_is_not_taken_for_dead() {
    need_root();
    let scratch = Scratch::in_memory();
    grow(&scratch.path("behind"), 12);
    let source = scratch.folder("source");
    let delay = Duration::from_millis(60);
    let slow = Options { delay, memory: Duration::ZERO, ..Options::default() };
    let _slow = FaultFs::mount(&scratch.path("behind"), &source, slow).unwrap();
    // Each file takes many requests, so it takes longer than that; no request does.
    let (summary, told) = copy(request(&source, &scratch.path("copy"), Duration::from_millis(400)));
    assert_eq!(told.places(), Vec::<&Path>::new());
    assert_eq!((summary.n_copied, summary.n_failed), (13, 0));
    assert_same(&scratch.path("behind"), &scratch.path("copy"));
}

#[test]
fn a_copy_that_is_held_back_is_not_taken_for_dead() {
    let scratch = Scratch::in_memory();
    fs::create_dir(scratch.path("source")).unwrap();
    fs::write(scratch.path("source/file"), vec![7; 20_000]).unwrap();
    let mut request = request(&scratch.path("source"), &scratch.path("copy"), Duration::from_millis(300));
    request.bytes_per_second = std::num::NonZeroU64::new(10_000);
    let (summary, told) = copy(request);
    assert_eq!(told.places(), Vec::<&Path>::new());
    assert_eq!((summary.n_copied, summary.n_failed), (2, 0));
}

#[test]
fn stopped_workers_are_not_taken_for_stuck() {
    let scratch = Scratch::in_memory();
    grow(&scratch.path("source"), 200);
    let plan = Plan::new(request(&scratch.path("source"), &scratch.path("copy"), Duration::from_millis(100))).unwrap();
    let workers: Arc<Mutex<Vec<u32>>> = Arc::default();
    let stalled = Arc::new(Mutex::new(Vec::new()));
    let (known, told) = (Arc::clone(&workers), Arc::clone(&stalled));
    let running = plan
        .start(move |event| match event {
            Event::WorkerStarted { pid } => {
                stop(pid);
                known.lock().unwrap().push(pid);
            }
            Event::WorkerStalled { path, .. } => told.lock().unwrap().push(path),
            _ => {}
        })
        .unwrap();
    // They stand still for many times as long as a stuck worker would be waited for.
    assert!(running.wait_timeout(Duration::from_secs(1)).is_none());
    for &pid in &*workers.lock().unwrap() {
        go_on(pid);
    }
    let summary = running.wait();
    assert_eq!(*stalled.lock().unwrap(), Vec::<PathBuf>::new());
    assert_eq!((summary.n_copied, summary.n_failed), (201, 0));
}

fn stop(pid: u32) {
    signal(pid, rustix::process::Signal::STOP);
}

fn go_on(pid: u32) {
    signal(pid, rustix::process::Signal::CONT);
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn the_parent_never_touches_a_mount_below_the_source() {
    need_root();
    let scratch = Scratch::in_memory();
    let source = scratch.folder("source");
    grow(&source, 10);
    let fault_fs = mounted(&scratch, "behind", &scratch.folder("source/mounted"));
    let file_fs = mounted(&scratch, "behind file", &scratch.folder("elsewhere"));
    let _bound = Mount::bind(&scratch.path("elsewhere/single"), &scratch.file("source/file"));
    let before = [&fault_fs, &file_fs].map(FaultFs::askers);
    let (summary, _) = copy(request(&source, &scratch.path("copy"), LONG_PATIENCE));
    assert_eq!((summary.n_copied, summary.n_failed), (18, 0));
    // Threads of this process that have ended meanwhile had no business there either, but nobody can tell.
    let own: Vec<u32> = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    for (fault_fs, before) in [&fault_fs, &file_fs].into_iter().zip(before) {
        let askers: Vec<u32> = fault_fs.askers().difference(&before).copied().collect();
        assert!(!askers.is_empty());
        assert!(askers.iter().all(|asker| !own.contains(asker)), "{askers:?} {own:?}");
    }
}

#[test]
fn a_source_that_does_not_answer_at_all_is_refused_by_name() {
    need_root();
    let scratch = Scratch::in_memory();
    let source = scratch.folder("source");
    let fault_fs = mounted(&scratch, "behind", &source);
    fault_fs.add(Rule::new(Fault::Hang));
    let began = Stopwatch::start();
    let refused = Plan::new(request(&source, &scratch.path("copy"), PATIENCE));
    assert!(matches!(&refused, Err(Refusal::NoAnswer { path, pid }) if *path == source && *pid > 0), "{refused:?}");
    assert!(began.elapsed() < PATIENCE + Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(!scratch.path("copy").exists());
}

#[test]
fn an_order_to_stop_does_not_wait_for_a_worker_that_hangs() {
    need_root();
    let scratch = Scratch::in_memory();
    grow(&scratch.path("source/a"), 10);
    let source = scratch.path("source");
    let hung = scratch.folder("source/hung");
    let fault_fs = mounted(&scratch, "behind", &hung);
    fault_fs.add(Rule::new(Fault::Hang));
    let running =
        Plan::new(request(&source, &scratch.path("copy"), Duration::from_secs(60))).unwrap().start(|_| {}).unwrap();
    torture::facts::wait_until("a worker hangs", || fault_fs.n_hung() > 0);
    let asked = Stopwatch::start();
    running.stop();
    let summary = running.wait();
    drop(running);
    assert!(asked.elapsed() < Duration::from_millis(2500), "{:?}", asked.elapsed());
    assert!(summary.interrupted);
}
