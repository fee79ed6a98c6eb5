//! What Python's `multiprocessing` promises, shown test by test: list.md is the list, list.rs holds it against the tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, also in what tests share")]

mod futures;
mod list;
mod manager;
mod memory;
mod other;
mod pipe;
mod pool;
mod process;
mod queue;
mod sync;

use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use torture::{facts, leakcheck};

/// Set where a test runs in a process of its own.
const ALONE: &str = "BRIGADE_TEST_ALONE";
/// A test that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs a test in a process of its own, and fails if that leaves anything behind or does not end.
fn checked<F: FnOnce()>(test: F) {
    let name = std::any::type_name::<F>();
    let name = name.strip_prefix("conformance::").and_then(|name| name.strip_suffix("::{{closure}}"));
    let name = name.expect("a test calls this with a closure of its own");
    if std::env::var_os(ALONE).is_some() {
        if name.starts_with("manager::") {
            // A process that has called one keeps the line on which it was answered, for the next call of any.
            drop(brigade::Manager::start().unwrap().value(0).unwrap());
        }
        let guard = leakcheck::Guard::new();
        test();
        return drop(guard);
    }
    let mut output = tempfile::tempfile().unwrap();
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, "1").process_group(0);
    alone.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
    let mut child = alone.spawn().unwrap();
    let status = facts::end_of(&mut child, LONGEST).unwrap();
    if status.is_none() {
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }
    if status.is_none_or(|status| !status.success()) {
        let mut text = String::new();
        output.rewind().unwrap();
        output.read_to_string(&mut text).unwrap();
        panic!("{name} {}\n{text}", status.map_or("hangs".to_owned(), |status| format!("failed: {status}")));
    }
}

/// Sends a signal to any process.
fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Sleeps until it is killed.
fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}
