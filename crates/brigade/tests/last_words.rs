//! What a dying process says: panics, faults, overflows, aborts and kills for lack of memory, told by processes and by tasks.

use std::hint::black_box;
use std::io::Read;
use std::panic::{catch_unwind, panic_any, resume_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::process::Command;

use brigade::{CrashKind, CrashReport, Descriptor, Pool, ProcessError, TaskError};
use brigade_sys::kernel::faults;
use rustix::process::{Signal, getpid, kill_process};

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// Runs a function that kills its process; gives the signal and the report, and the error as text.
fn death_of(function: impl Fn(()) + Copy + 'static) -> (i32, Option<CrashReport>, String) {
    let error = brigade::spawn((), function).expect("starts").join().expect_err("dies");
    let text = error.to_string();
    let ProcessError::Killed { signal, report, .. } = error else { panic!("not killed: {error:?}") };
    (signal, report, text)
}

fn report_of(function: impl Fn(()) + Copy + 'static) -> (i32, CrashReport) {
    let (signal, report, text) = death_of(function);
    (signal, report.unwrap_or_else(|| panic!("nothing was said: {text}")))
}

fn touch_nothing() -> u8 {
    faults::access_nothing(black_box(0x10))
}

#[test]
fn a_wild_access_is_told_with_its_address_place_and_way() {
    let (signal, report) = report_of(|()| {
        touch_nothing();
    });
    assert_eq!((signal, report.kind(), report.signal()), (11, CrashKind::InvalidAccess, 11));
    assert_eq!((report.address(), report.thread()), (Some(0x10), "main"));
    assert_eq!(report.message(), "invalid memory access at address 0x10 on thread 'main'");
    let backtrace = report.backtrace().unwrap();
    assert!(backtrace.contains("touch_nothing"), "{backtrace}");
    assert!(!backtrace.contains("brigade::entry"), "{backtrace}");
    let innermost = backtrace.lines().next().unwrap();
    assert!(innermost.contains("faults::access_nothing") || innermost.contains("read_volatile"), "{backtrace}");
    assert!(report.location().unwrap().contains("faults.rs:"), "{backtrace}");
}

#[test]
fn a_fault_on_a_thread_names_the_thread() {
    let (_, report) = report_of(|()| {
        let named = std::thread::Builder::new().name("reader".to_owned());
        let _ = named.spawn(touch_nothing).unwrap().join();
    });
    assert_eq!((report.kind(), report.thread()), (CrashKind::InvalidAccess, "reader"));
    assert!(report.backtrace().unwrap().contains("touch_nothing"));
}

#[test]
fn memory_behind_the_end_of_a_file_is_told() {
    let (signal, report) = report_of(|()| {
        let _ = black_box(faults::read_past_the_end());
    });
    assert_eq!((signal, report.kind()), (7, CrashKind::BusError));
    assert!(report.address().is_some());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn nonsense_and_divisions_by_zero_are_told() {
    let (signal, report) = report_of(|()| faults::execute_nonsense());
    assert_eq!((signal, report.kind()), (4, CrashKind::IllegalInstruction));
    let (signal, report) = report_of(|()| faults::divide_by_zero());
    assert_eq!((signal, report.kind()), (8, CrashKind::Arithmetic));
}

fn give_up() {
    std::process::abort()
}

#[test]
fn an_abort_is_told_with_its_way() {
    let (signal, report) = report_of(|()| give_up());
    assert_eq!((signal, report.kind(), report.address()), (SIGABRT, CrashKind::Aborted, None));
    let backtrace = report.backtrace().unwrap();
    assert!(backtrace.contains("give_up"), "{backtrace}");
    assert!(report.location().unwrap().contains("tests/last_words.rs:"), "{backtrace}");
}

#[test]
fn an_abort_is_no_panic_because_one_was_caught_before() {
    let (signal, report) = report_of(|()| {
        let _ = catch_unwind(|| panic!("over and forgotten"));
        give_up();
    });
    assert_eq!((signal, report.kind()), (SIGABRT, CrashKind::Aborted));
}

#[test]
fn a_panic_that_cannot_unwind_is_a_panic_though_the_process_aborts() {
    struct PanicsAgain;
    impl Drop for PanicsAgain {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    let process = brigade::spawn((), |()| -> () {
        let _again = PanicsAgain;
        panic!("the first");
    });
    let process = process.unwrap();
    assert_eq!(process.wait().signal(), Some(SIGABRT));
    let Err(ProcessError::Panicked(report)) = process.join() else { panic!("no panic") };
    // Of the runtime's own panic, which says that there were two, nobody learns anything.
    assert_eq!(report.message(), "the second");
}

#[expect(unconditional_recursion, reason = "that is the fault")]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    descend(depth + 1) + room[depth as usize % 64]
}

/// An overflow in a child, with the child's own words on stderr.
fn overflow_of(function: impl Fn(Descriptor) + Copy + 'static) -> (i32, CrashReport, String, String) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let process = brigade::spawn(Descriptor::from(std::os::fd::OwnedFd::from(writer)), function).expect("starts");
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("reads");
    let error = process.join().expect_err("dies");
    let text = error.to_string();
    let ProcessError::Killed { signal, report: Some(report), .. } = error else { panic!("{error:?}: {said}") };
    (signal, report, text, said)
}

#[test]
fn a_stack_overflow_is_told_as_such_and_std_s_words_stay() {
    let (signal, report, text, said) = overflow_of(|stderr| {
        rustix::stdio::dup2_stderr(stderr.into_owned_fd()).unwrap();
        descend(0);
    });
    assert_eq!((signal, report.kind(), report.thread()), (SIGABRT, CrashKind::StackOverflow, "main"));
    assert!(text.contains("stack overflow"), "{text}");
    assert!(report.backtrace().unwrap().contains("descend"));
    assert!(report.location().unwrap().contains("tests/last_words.rs:"));
    assert!(said.contains("thread 'main' (") && said.contains("has overflowed its stack"), "{said}");
}

#[test]
fn a_stack_overflow_on_a_thread_is_told_as_such() {
    let (signal, report, text, said) = overflow_of(|stderr| {
        rustix::stdio::dup2_stderr(stderr.into_owned_fd()).unwrap();
        let named = std::thread::Builder::new().name("deep".to_owned());
        let _ = named.spawn(|| descend(0)).unwrap().join();
    });
    assert_eq!((signal, report.kind(), report.thread()), (SIGABRT, CrashKind::StackOverflow, "deep"));
    assert!(text.contains("stack overflow"), "{text}");
    assert!(said.contains("thread 'deep' (") && said.contains("has overflowed its stack"), "{said}");
}

#[test]
fn threads_of_a_child_come_and_go_without_leaving_their_second_stacks() {
    let process = brigade::spawn((), |()| {
        let n_mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let run_some = || {
            for _ in 0..50 {
                std::thread::spawn(|| black_box(7)).join().unwrap();
            }
        };
        run_some();
        let before = n_mappings();
        run_some();
        n_mappings().saturating_sub(before)
    });
    // The C library keeps some stacks for reuse; ours would be two mappings for each of the 50.
    assert!(process.unwrap().join().unwrap() < 20);
}

#[test]
fn a_signal_that_was_sent_is_told_with_its_sender() {
    let (signal, report) = report_of(|()| kill_process(getpid(), Signal::SEGV).unwrap());
    assert_eq!((signal, report.kind()), (11, CrashKind::Sent));
    assert!(report.sender_pid().is_some_and(|pid| pid != std::process::id()));
    assert_eq!(report.address(), None);
}

#[test]
fn nothing_is_said_of_a_kill() {
    let (signal, report, _) = death_of(|()| kill_process(getpid(), Signal::KILL).unwrap());
    assert_eq!((signal, report), (SIGKILL, None));
}

#[test]
fn a_panic_is_told_with_thread_and_way() {
    fn divide(by: u32) -> u32 {
        100 / by
    }
    let process = brigade::spawn(0, divide).unwrap();
    assert_eq!(process.wait().code(), Some(101));
    let Err(ProcessError::Panicked(report)) = process.join() else { panic!("no panic") };
    assert_eq!(report.message(), "attempt to divide by zero");
    assert_eq!(report.thread(), Some("main"));
    assert!(report.location().unwrap().contains("tests/last_words.rs:"), "{report}");
    let backtrace = report.backtrace().unwrap();
    assert!(backtrace.contains("divide"), "{backtrace}");
    assert!(!backtrace.contains("last_words::panics"), "{backtrace}");
}

#[test]
fn a_panic_is_told_though_it_passed_no_hook_of_ours() {
    let message_of = |process: Result<brigade::Process<()>, brigade::SpawnError>| match process.unwrap().join() {
        Err(ProcessError::Panicked(report)) => report.message().to_owned(),
        other => panic!("no panic: {other:?}"),
    };
    let unhooked = brigade::spawn((), |()| resume_unwind(Box::new("gone on")));
    assert_eq!(message_of(unhooked), "gone on");
    let with_another_hook = brigade::spawn((), |()| {
        set_hook(Box::new(|_| {}));
        panic!("unheard")
    });
    assert_eq!(message_of(with_another_hook), "unheard");
    let after_another = brigade::spawn((), |()| {
        let _ = catch_unwind(|| panic!("over"));
        resume_unwind(Box::new("gone on".to_owned()))
    });
    assert_eq!(message_of(after_another), "gone on");
}

#[test]
fn a_panic_with_a_value_that_is_no_text_is_a_panic() {
    let process = brigade::spawn((), |()| -> () { panic_any(7) }).unwrap();
    let Err(ProcessError::Panicked(report)) = process.join() else { panic!("no panic") };
    assert_eq!(report.message(), "a panic with a value that is no text");
    assert!(report.location().unwrap().contains("tests/last_words.rs:"), "{report}");
}

#[test]
fn tasks_tell_the_same_and_the_pool_is_whole_again() {
    let pool = Pool::builder().workers(1).restart_limit(100, std::time::Duration::from_secs(1)).build().unwrap();
    let said = |outcome: Result<u8, TaskError>| match outcome {
        Err(TaskError::Killed { signal, report: Some(report), .. }) => (signal, report.kind()),
        other => panic!("{other:?}"),
    };
    let Err(TaskError::Panicked(report)) = pool.apply((), |()| -> u8 { panic!("oh") }) else { panic!("no panic") };
    assert_eq!(report.message(), "oh");
    assert!(report.backtrace().is_some());
    assert_eq!(said(pool.apply((), |()| touch_nothing())), (11, CrashKind::InvalidAccess));
    let error = pool.apply((), |()| descend(0) as u8).unwrap_err();
    assert!(error.to_string().contains("stack overflow"), "{error}");
    assert_eq!(said(Err(error)), (SIGABRT, CrashKind::StackOverflow));
    // An earlier panic in the same worker does not explain an abort.
    assert!(pool.apply((), |()| -> u8 { panic!("over") }).is_err());
    assert_eq!(said(pool.apply((), |()| -> u8 { std::process::abort() })), (SIGABRT, CrashKind::Aborted));
    assert_eq!(pool.apply(3, |number: u32| number + 1).unwrap(), 4);
}

#[test]
fn reports_are_values_that_keep_what_they_say() {
    let (_, report) = report_of(|()| {
        touch_nothing();
    });
    let text = serde_json::to_string(&report).unwrap();
    let back: CrashReport = serde_json::from_str(&text).unwrap();
    assert_eq!(back, report);
    assert_eq!(back.backtrace(), report.backtrace());
}

#[test]
fn the_host_has_the_handlers_that_it_had() {
    let caught = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("SigCgt:")).unwrap().to_owned()
    };
    let before = caught();
    brigade::spawn((), |()| ()).unwrap().join().unwrap();
    Pool::new(1).unwrap().apply((), |()| ()).unwrap();
    assert_eq!(caught(), before);
    let in_child = brigade::spawn((), |()| std::fs::read_to_string("/proc/self/status").unwrap());
    assert!(!in_child.unwrap().join().unwrap().contains(&before), "the child has handlers of its own");
}

/// A program built with `panic=abort`, by cargo, from the source beside this file.
fn program_that_aborts_on_panic() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic-abort");
    std::fs::create_dir_all(package.join("src")).expect("a folder");
    let manifest = format!(
        "[package]\nname = \"panic-abort\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nbrigade = {{ path = {here:?} }}\n[profile.dev]\npanic = \"abort\"\n"
    );
    std::fs::write(package.join("Cargo.toml"), manifest).expect("a manifest");
    std::fs::copy(here.join("tests/last_words/panic_abort.rs"), package.join("src/main.rs")).expect("a source");
    // The same versions as here, which have been fetched.
    std::fs::copy(here.join("../../Cargo.lock"), package.join("Cargo.lock")).expect("a lock file");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--offline", "--target-dir", "target"]).current_dir(&package);
    assert!(build.status().is_ok_and(|status| status.success()), "the program does not build");
    package.join("target/debug/panic-abort")
}

#[test]
fn a_panic_that_aborts_is_told_as_a_panic_by_processes_and_tasks() {
    let output = Command::new(program_that_aborts_on_panic()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines, ["process: signal 6: no 7 at src/main.rs:9:9", "task: no 8 at src/main.rs:9:9"], "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_kill_for_lack_of_memory_is_told() {
    let process = brigade::spawn((), |()| {
        // This child becomes the host: it joins a group with little memory before its first own child.
        let group = SmallGroup::join(64 << 20)?;
        let victim = brigade::spawn((), |()| {
            std::fs::write("/proc/self/oom_score_adj", "1000").unwrap();
            let mut all = Vec::new();
            loop {
                all.push(vec![black_box(1_u8); 1 << 20]);
            }
        });
        let error = victim.unwrap().join().map(|never: ()| never).unwrap_err();
        let unrelated = brigade::spawn((), |()| kill_process(getpid(), Signal::KILL).unwrap());
        let second = unrelated.unwrap().join().unwrap_err();
        drop(group);
        Ok::<_, String>((error, second))
    });
    match process.unwrap().join().unwrap() {
        Ok((ProcessError::Killed { signal, out_of_memory, .. }, unrelated)) => {
            assert_eq!((signal, out_of_memory), (SIGKILL, true));
            assert!(matches!(unrelated, ProcessError::Killed { signal: SIGKILL, out_of_memory: false, .. }));
        }
        Ok((other, _)) => panic!("{other:?}"),
        Err(why) => panic!("no group with little memory can be made here: {why}"),
    }
}

/// A memory control group that this process has joined, removed again when it has left.
struct SmallGroup {
    home: PathBuf,
    group: PathBuf,
}

impl SmallGroup {
    fn join(n_bytes: u64) -> Result<Self, String> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let version_1 = groups.lines().find_map(|line| line.split_once(":memory:")).map(|(_, path)| path);
        let version_2 = groups.lines().find_map(|line| line.strip_prefix("0::"));
        let (home, limit) = match (version_1, version_2) {
            (Some(path), _) => (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes"),
            (None, Some(path)) => (format!("/sys/fs/cgroup{path}"), "memory.max"),
            (None, None) => return Err("this process is in no control group".to_owned()),
        };
        let home = PathBuf::from(home);
        let group = home.join(format!("brigade-test-{}", std::process::id()));
        let failed = |what: &str| {
            let what = format!("{what} {}", group.display());
            move |error: std::io::Error| format!("cannot {what}: {error}")
        };
        std::fs::create_dir(&group).map_err(failed("make"))?;
        let small = Self { home, group: group.clone() };
        std::fs::write(group.join(limit), n_bytes.to_string()).map_err(failed("limit"))?;
        std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).map_err(failed("join"))?;
        Ok(small)
    }
}

impl Drop for SmallGroup {
    fn drop(&mut self) {
        std::fs::write(self.home.join("cgroup.procs"), std::process::id().to_string()).expect("leaves");
        std::fs::remove_dir(&self.group).expect("an empty group");
    }
}
