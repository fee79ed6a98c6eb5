//! File systems that do not answer, as the user sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use torture::fuse::{Fault, FaultFs, Options, Rule};
use torture::mounts::{Scratch, need_root};

use crate::support::{Ended, Scene, ended, tree};
use torture::facts::Stopwatch;

/// A folder with files, in which a mount has died.
struct Dead {
    /// Taken away before the folder behind it.
    fault_fs: FaultFs,
    _behind: Scratch,
}

impl Dead {
    fn below(scene: &Scene, name: &str) -> Self {
        need_root();
        let behind = Scratch::new();
        behind.file("unreachable");
        let point = scene.path(name);
        std::fs::create_dir_all(&point).unwrap();
        let fault_fs = FaultFs::mount(&behind.path(""), &point, Options::default()).unwrap();
        fault_fs.add(Rule::new(Fault::Hang));
        Self { fault_fs, _behind: behind }
    }
}

/// The worker that a line says is stuck, and where.
fn stuck(ended: &Ended) -> Vec<(u32, PathBuf)> {
    let lines = ended.stderr.lines().filter_map(|line| line.strip_prefix("brigade: worker "));
    let read = |line: &str| {
        let (pid, rest) = line.split_once(" has got no answer for ")?;
        let (_, rest) = rest.split_once(" at '")?;
        let (path, _) = rest.split_once("': it is given up")?;
        Some((pid.parse().ok()?, Path::new(path).to_owned()))
    };
    lines.filter_map(read).collect()
}

#[test]
fn a_stuck_worker_and_its_file_are_named_and_the_command_ends_with_1() {
    let scene = Scene::new();
    scene.many_files("source/alive", 300);
    let _dead = Dead::below(&scene, "source/dead");
    let began = Stopwatch::start();
    let ended = scene.run(["--stall-timeout=700ms", "source", "copy"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let stuck = stuck(&ended);
    assert_eq!(stuck.len(), 1, "{}", ended.stderr);
    assert_eq!(stuck[0].1, Path::new("source/dead"));
    assert!(ended.stderr.contains("cannot copy 'source/dead': its file system does not answer"), "{}", ended.stderr);
    assert_eq!(tree(&scene.path("source/alive")), tree(&scene.path("copy/alive")));
}

#[test]
fn a_program_reads_who_is_stuck_and_where() {
    let scene = Scene::new();
    scene.many_files("source/alive", 10);
    let _dead = Dead::below(&scene, "source/dead");
    let ended = scene.run(["--stall-timeout=300ms", "--progress=json", "source", "copy"]);
    let lines: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect();
    let stalled: Vec<_> = lines.iter().filter(|line| line["state"] == "stalled").collect();
    assert_eq!(stalled.len(), 1, "{}", ended.stdout);
    assert_eq!((&stalled[0]["event"], &stalled[0]["path"]), (&"worker".into(), &"source/dead".into()));
    assert!(stalled[0]["pid"].as_u64() > Some(1));
    let summary = lines.last().expect("there is a summary");
    assert_eq!((summary["failed"].as_u64(), summary["lost_workers"].as_u64()), (Some(1), Some(1)));
}

#[test]
fn verify_names_what_does_not_answer_and_ends_with_2() {
    let scene = Scene::new();
    scene.many_files("source/alive", 10);
    scene.file("source/dead/file", "x");
    assert!(scene.run(["source", "copy"]).status.success());
    let _dead = Dead::below(&scene, "copy/dead");
    let verify = |option| super::verify::verify(&scene, [option, "--stall-timeout=400ms", "source", "copy"]);
    let told = verify("-j2");
    assert_eq!(told.status.code(), Some(2), "{}", told.stderr);
    assert_eq!(stuck(&told).iter().map(|(_, path)| path.as_path()).collect::<Vec<_>>(), [Path::new("copy/dead")]);
    assert!(told.stderr.contains("cannot compare 'copy/dead': its file system does not answer"), "{}", told.stderr);
    let told = verify("--progress=json");
    let lines: Vec<serde_json::Value> =
        told.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect();
    let stalled: Vec<_> = lines.iter().filter(|line| line["state"] == "stalled").collect();
    assert_eq!((stalled.len(), &stalled[0]["path"]), (1, &"copy/dead".into()), "{}", told.stdout);
}

#[test]
fn a_source_that_does_not_answer_is_named_before_anything_is_written() {
    let scene = Scene::new();
    let _dead = Dead::below(&scene, "source");
    let ended = scene.run(["--stall-timeout=300ms", "source", "copy"]);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("brigade: cannot look at 'source': its file system does not answer"),
        "{}",
        ended.stderr
    );
    assert!(!scene.path("copy").exists());
}

#[test]
fn interrupting_a_copy_that_hangs_ends_it_soon() {
    let scene = Scene::new();
    scene.many_files("source/alive", 10);
    let dead = Dead::below(&scene, "source/dead");
    let mut child = scene.copy(["--stall-timeout=0", "source", "copy"]).spawn().unwrap();
    torture::facts::wait_until("a worker hangs", || dead.fault_fs.n_hung() > 0);
    let asked = Stopwatch::start();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let status = crate::support::wait(&mut child);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[test]
fn a_duration_that_is_none_is_refused_with_the_right_hint() {
    let scene = Scene::new();
    let ended = ended(&mut scene.copy(["--stall-timeout=soon", "source", "copy"]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("500ms, 60s or 2m; 0 is never"), "{}", ended.stderr);
}
