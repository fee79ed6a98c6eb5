//! What the leak check tells of. Alone in its program, since the threads and children of other tests would be told of too.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fmt::Debug;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use torture::leakcheck::Guard;

/// What a guard says of the thing that `make` leaves.
fn told_of<T>(make: impl FnOnce() -> T) -> String {
    let guard = Guard::new();
    let left = make();
    let told = guard.check().expect_err("something is left").to_string();
    drop(left);
    guard.check().unwrap();
    told
}

#[track_caller]
fn assert_contains(told: &str, what: impl AsRef<str> + Debug) {
    assert!(told.contains(what.as_ref()), "no {what:?} in {told}");
}

struct Thread(Option<Sender<()>>, Option<JoinHandle<bool>>);

impl Thread {
    fn named(name: &str) -> Self {
        let (say, hear) = channel::<()>();
        let named = std::thread::Builder::new().name(name.to_owned());
        Self(Some(say), Some(named.spawn(move || hear.recv().is_err()).unwrap()))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.0.take());
        assert!(self.1.take().unwrap().join().unwrap());
    }
}

struct Running(Child);

impl Running {
    fn program(name: &str, argument: &str) -> Self {
        Self(Command::new(name).arg(argument).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn what_is_left_is_told_and_nothing_else() {
    Guard::new().check().unwrap();
    assert_contains(&told_of(|| std::fs::File::open("/dev/null").unwrap()), "descriptor /dev/null: ");
    let memory = || rustix::fs::memfd_create("brigade-x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    assert_contains(&told_of(memory), "descriptor /memfd:brigade-x");
    let file = || tempfile::Builder::new().prefix("brigade-left").tempfile().unwrap();
    assert_contains(&told_of(file), "brigade-left");
    assert_contains(&told_of(torture::mounts::Scratch::new), "brigade-test-");
    assert_contains(&told_of(|| Thread::named("left over")), "thread left over: 1 where there were 0");
    assert_contains(&told_of(|| Running::program("sleep", "60")), "process sleep (S)");
    assert_contains(&told_of(|| Running::program("true", "")), "process true (Z)");
    // Another run of tests beside this one: the first process of the machine is not of this family.
    let guard = Guard::new();
    let _theirs = tempfile::Builder::new().prefix("brigade-test-1-").tempdir().unwrap();
    guard.check().unwrap();
}
