//! `--bwlimit` and `--nice` as their users meet them.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use torture::mounts::need_root;

use super::support::{Scene, ended, wait};

/// Who has no rights: `nobody`.
const PLAIN: u32 = 65534;

#[test]
fn workers_are_as_nice_as_asked_and_a_slow_copy_can_be_stopped() {
    let scene = Scene::new();
    scene.file("source/file", &"x".repeat(1 << 20));
    let mut command = scene.copy(["--bwlimit", "1K", "--nice=7", "--progress=json", "source", "destination"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let family = || torture::processes::family();
    let pid = child.id();
    let nice_of = |pid: u32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()
    };
    torture::facts::wait_until("a worker is nice", || {
        family().iter().any(|process| process.parent_pid == pid && nice_of(process.pid) == Some(7))
    });
    assert_ne!(nice_of(pid), Some(7), "the command itself stays as it is");
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::INT).unwrap();
    let status = wait(&mut child);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    assert!(!scene.path("destination/file").exists());
}

#[test]
fn what_is_not_permitted_or_no_value_is_refused() {
    need_root();
    let scene = Scene::new();
    scene.file("source/file", "x");
    let run = ended(scene.copy(["--nice", "-20", "source", "destination"]).uid(PLAIN).gid(PLAIN));
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert!(run.stderr.starts_with("brigade: cannot give the workers this nice value: "), "{}", run.stderr);
    assert!(!scene.path("destination").exists());
    let table = [
        (["--nice", "20"], "'20' is not a value for '--nice'; it takes a whole number from -20 to 19"),
        (["--bwlimit", "1X"], "'1X' is not a value for '--bwlimit'; it takes bytes per second, as in 500K, 1.5M or 2G"),
    ];
    for (arguments, sentence) in table {
        let run = scene.run(arguments.iter().chain(&["source", "destination"]));
        assert_eq!(run.status.code(), Some(2));
        assert_eq!(run.stderr, format!("brigade: {sentence}; try 'brigade copy --help'\n"));
    }
}
