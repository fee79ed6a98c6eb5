//! The tool that answers system calls in place of the kernel, on commands that everybody has.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use brigade_sys::kernel::notification::Filter;
use rustix::io::Errno;
use torture::faultline::{Act, Answer, Ended, Role, Rule, When, calls, run, run_with};
use torture::mounts::Scratch;

const LIMIT: Duration = Duration::from_secs(30);

fn shell(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    command
}

fn said(ended: &Ended) -> (String, String) {
    assert!(!ended.is_hung, "{ended:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&ended.output.stdout), text(&ended.output.stderr))
}

/// A folder with a file in it, and its path as the kernel shows it.
fn scene() -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("file"), "twelve bytes").unwrap();
    let place = scratch.path("").canonicalize().unwrap();
    (scratch, place)
}

#[test]
fn the_call_that_was_chosen_fails_and_no_other() {
    let (_scratch, place) = scene();
    let file = place.join("file");
    let rule = Rule::of("read", Act::Fail(Errno::IO)).by(Role::Worker).below(&file).when(When::Nth(2));
    let ended = run(shell("cat file; cat file; cat file; true", &place), vec![rule], LIMIT).unwrap();
    let (out, error) = said(&ended);
    // Each reads twice: the contents and the end.
    assert_eq!((out.as_str(), ended.n_done[0]), ("twelve bytestwelve bytestwelve bytes", 1));
    assert!(error.contains("Input/output error") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_part_is_done_in_the_callers_place() {
    let (_scratch, place) = scene();
    let file = place.join("file");
    let rule = Rule::of("read", Act::Part).below(&file);
    let ended = run(shell("cat file", &place), vec![rule], LIMIT).unwrap();
    assert_eq!((said(&ended).0.as_str(), ended.n_done[0]), ("twelve bytes", 13));

    let rule = Rule::of_each(["copy_file_range", "write"], Act::Part).below(&place);
    let ended = run(shell("cp --reflink=never file copy; cat copy", &place), vec![rule], LIMIT).unwrap();
    assert_eq!(said(&ended).0, "twelve bytes");
    assert!(ended.n_done[0] >= 12, "{ended:?}");

    let rule = Rule::of("getdents64", Act::Part).below(&place);
    let ended = run(shell("ls", &place), vec![rule], LIMIT).unwrap();
    assert_eq!((said(&ended).0.as_str(), ended.n_done[0]), ("copy\nfile\n", 5));
}

#[test]
fn a_hook_changes_the_world_between_check_and_use() {
    let (_scratch, place) = scene();
    let file = place.join("file");
    let changed = file.clone();
    let hook = move |_: &_| {
        std::fs::write(&changed, "other bytes").unwrap();
        Answer::GoOn
    };
    let rule = Rule::of("read", Act::Hook(Box::new(hook))).below(&file).when(When::Nth(1));
    let ended = run(shell("exec cat file", &place), vec![rule], LIMIT).unwrap();
    assert_eq!(said(&ended).0, "other bytes");
}

#[test]
fn a_process_can_be_killed_or_kept_waiting_at_a_call() {
    let (_scratch, place) = scene();
    let file = place.join("file");
    let rule = Rule::of("read", Act::Kill).below(&file);
    let ended = run(shell("cat file; echo $?", &place), vec![rule], LIMIT).unwrap();
    assert!(said(&ended).0.ends_with("137\n"), "{ended:?}");

    let pause = Duration::from_millis(30);
    let rule = Rule::of("read", Act::Delay(pause)).below(&file).when(When::Nth(1));
    let started = std::time::Instant::now();
    let ended = run(shell("cat file", &place), vec![rule], LIMIT).unwrap();
    assert_eq!(said(&ended).0, "twelve bytes");
    assert!(started.elapsed() >= pause);
}

#[test]
fn what_does_not_end_is_killed_with_all_its_processes() {
    let rule = Rule::of("clock_nanosleep", Act::Delay(LIMIT * 10));
    let line = shell("sleep 600 & sleep 600", Path::new("/"));
    // Time enough for the shell to start them.
    let ended = run(line, vec![rule], Duration::from_secs(5)).unwrap();
    assert!(ended.is_hung && ended.n_done[0] > 0, "{ended:?}");
}

#[test]
fn calls_can_be_refused_without_asking() {
    let (_scratch, place) = scene();
    let filter = Filter::default().refuse(calls::named("unlinkat").unwrap().number, Errno::NOSYS.raw_os_error() as u16);
    let ended = run_with(filter, shell("rm file", &place), Vec::new(), LIMIT).unwrap();
    assert!(said(&ended).1.contains("Function not implemented"), "{ended:?}");
}

#[test]
fn every_call_of_a_process_can_be_the_last_that_it_makes() {
    use std::os::unix::process::ExitStatusExt as _;
    let killed = (1..).map_while(|nth| {
        let rule = Rule::of_every(Act::Kill).by(Role::Command).when(When::Nth(nth));
        let ended = run(Command::new("true"), vec![rule], LIMIT).unwrap();
        assert!(!ended.is_hung, "{ended:?}");
        (ended.n_done == [1]).then(|| ended.output.status.signal())
    });
    let killed: Vec<_> = killed.collect();
    // The dynamic loader alone makes more; the last of all is `exit_group`.
    assert!(killed.len() > 15 && killed.iter().all(|signal| *signal == Some(9)), "{killed:?}");
}
