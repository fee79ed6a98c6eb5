//! Processes start and their ends are told whatever the program is like that starts them, or it gets a typed error at once.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

mod hosts;

use std::cell::Cell;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use brigade::{JoinableQueue, Manager, Pool, Process, ProcessError, Queue, SpawnError};
use hosts::{copy_this_program, host_succeeds, is_host, run_host, text};
use rustix::process::{Resource, Rlimit, WaitOptions};
use torture::facts::Stopwatch;

/// A process with a queue, and a pool of two.
fn use_everything() {
    let queue = Queue::bounded(2).unwrap();
    let process = brigade::spawn(queue.clone(), |queue: Queue<u32>| {
        queue.put(5).unwrap();
        (0..=2).all(|number| {
            std::fs::metadata(format!("/proc/self/fd/{number}")).is_ok() || !Path::new("/proc/self").exists()
        })
    });
    let process = process.unwrap();
    assert_eq!(queue.get().unwrap(), 5);
    assert!(process.join().unwrap(), "a child lacks one of the descriptors 0 to 2");
    let pool = Pool::new(2).unwrap();
    let squares: Vec<u32> = pool.map(0..100_u32, |number| number * number).into_iter().map(Result::unwrap).collect();
    assert_eq!(squares, (0..100).map(|number| number * number).collect::<Vec<_>>());
}

#[test]
fn a_host_without_descriptors_0_to_2_can_use_everything() {
    if !is_host() {
        return host_succeeds("a_host_without_descriptors_0_to_2_can_use_everything", r#"exec "$@" <&- >&- 2>&-"#);
    }
    use_everything();
}

#[test]
fn twenty_descriptors_are_enough_for_a_process_a_queue_and_a_pool_of_two() {
    if !is_host() {
        return host_succeeds(
            "twenty_descriptors_are_enough_for_a_process_a_queue_and_a_pool_of_two",
            r#"ulimit -n 20; exec "$@""#,
        );
    }
    assert_eq!(rustix::process::getrlimit(Resource::Nofile).maximum, Some(20));
    use_everything();
}

/// Whether the kernel tells the end of a process to whoever holds its pidfd (Linux 6.15).
fn kernel_remembers() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// Ends processes in every way and checks what is told of it.
fn every_end_is_told() {
    assert_eq!(brigade::spawn((), |()| 5).unwrap().join(), Ok(5));
    let process = brigade::spawn((), |()| -> () { std::process::exit(8) }).unwrap();
    assert_eq!(process.wait().code(), Some(8));
    assert_eq!(process.join(), Err(ProcessError::Exited { code: 8 }));
    let process = Process::builder().stderr(brigade::Stdio::Null).spawn((), |()| -> () { panic!("told") }).unwrap();
    assert_eq!(process.wait().code(), Some(101));
    assert!(matches!(process.join(), Err(ProcessError::Panicked(report)) if report.message() == "told"));
    let process = brigade::spawn((), |()| -> () {
        loop {
            std::thread::park();
        }
    });
    let process = process.unwrap();
    process.kill();
    let end = process.join();
    let is_lost = end == Err(ProcessError::StatusLost) && !kernel_remembers();
    assert!(is_lost || matches!(end, Err(ProcessError::Killed { signal: 9, .. })), "{end:?}");
}

#[test]
fn a_host_that_ignores_sigchld_is_told_every_end() {
    if !is_host() {
        return host_succeeds("a_host_that_ignores_sigchld_is_told_every_end", r#"trap '' CHLD; exec "$@""#);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_ne!(ignored & 1 << (rustix::process::Signal::CHILD.as_raw() - 1), 0, "SIGCHLD is not ignored");
    for _ in 0..20 {
        every_end_is_told();
    }
    use_everything();
}

#[test]
fn a_host_that_collects_every_child_is_told_every_end() {
    static N_STOLEN: AtomicU32 = AtomicU32::new(0);
    if !is_host() {
        return host_succeeds("a_host_that_collects_every_child_is_told_every_end", r#"exec "$@""#);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                match rustix::process::wait(WaitOptions::empty()) {
                    Ok(Some(_)) => _ = N_STOLEN.fetch_add(1, Ordering::Relaxed),
                    _ => std::thread::yield_now(),
                }
            }
        });
        let rounds = std::panic::catch_unwind(|| {
            for _ in 0..50 {
                every_end_is_told();
            }
            use_everything();
        });
        is_over.store(true, Ordering::Relaxed);
        rounds.unwrap();
    });
    let n_stolen = N_STOLEN.load(Ordering::Relaxed);
    println!("{n_stolen} statuses were collected by the host");
    assert!(n_stolen > 0, "the host was never the first");
}

#[test]
fn a_host_whose_file_is_replaced_or_removed_can_use_everything() {
    if !is_host() {
        return host_succeeds("a_host_whose_file_is_replaced_or_removed_can_use_everything", r#"exec "$@""#);
    }
    let file = std::env::current_exe().unwrap();
    std::fs::remove_file(&file).unwrap();
    use_everything();
    std::fs::copy("/bin/true", &file).unwrap();
    use_everything();
    let refused = Process::builder().exe(&file).spawn((), |()| ());
    assert!(matches!(refused, Err(SpawnError::WrongProgram { .. })), "{refused:?}");
}

const WITHOUT_PROC: &str =
    r#"exec unshare -m bash -c 'mount --make-rprivate / && umount -l /proc && exec "$@"' bash "$@""#;

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

#[test]
fn a_host_without_proc_can_use_everything_while_its_file_is_there() {
    if !is_host() {
        if !is_root() {
            return eprintln!("not run: only root can take /proc away");
        }
        return host_succeeds("a_host_without_proc_can_use_everything_while_its_file_is_there", WITHOUT_PROC);
    }
    assert!(!Path::new("/proc/self").exists());
    use_everything();
    every_end_is_told_without_proc();
    let file = PathBuf::from(std::env::var_os("HOST_FOLDER").unwrap()).join("host");
    std::fs::remove_file(&file).unwrap();
    let start = Stopwatch::start();
    let refused = brigade::spawn((), |()| ());
    assert!(matches!(&refused, Err(SpawnError::System { cause, .. }) if cause.errno() == Some(2)), "{refused:?}");
    std::fs::copy("/bin/true", &file).unwrap();
    let refused = brigade::spawn((), |()| ());
    assert!(matches!(refused, Err(SpawnError::WrongProgram { .. })), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

fn every_end_is_told_without_proc() {
    let process = brigade::spawn((), |()| -> () {
        loop {
            std::thread::park();
        }
    });
    let process = process.unwrap();
    assert!(!matches!(process.state(), brigade::ProcessState::Finished));
    assert_eq!(process.usage(), None);
    process.terminate();
    assert!(matches!(process.join(), Err(ProcessError::Killed { signal: 15, .. })));
}

/// A user of our own, so that nobody else's processes count against the limit.
fn as_somebody() -> String {
    let user = 40_000 + std::process::id() % 20_000;
    format!(r#"exec setpriv --reuid={user} --regid={user} --clear-groups "$@""#)
}

fn limit_processes(n_processes: Option<u64>) {
    let maximum = rustix::process::getrlimit(Resource::Nproc).maximum;
    let current = n_processes.or(maximum);
    rustix::process::setrlimit(Resource::Nproc, Rlimit { current, maximum }).unwrap();
}

/// A refused start names its cause, takes less than a second and leaves nothing.
fn assert_refused<T: std::fmt::Debug>(start: Instant, outcome: &Result<T, SpawnError>) {
    let Err(SpawnError::System { cause, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause.errno(), Some(rustix::io::Errno::AGAIN.raw_os_error()), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_user_who_may_have_no_more_processes_gets_an_error_and_can_go_on() {
    if !is_host() {
        if !is_root() {
            return eprintln!("not run: only root can become another user");
        }
        return host_succeeds("a_user_who_may_have_no_more_processes_gets_an_error_and_can_go_on", &as_somebody());
    }
    // No thread for the supervisor.
    limit_processes(Some(1));
    let start = Instant::now();
    assert_refused(start, &brigade::spawn((), |()| ()));
    limit_processes(None);
    brigade::spawn((), |()| ()).unwrap().join().unwrap();

    // No place for a sixth child, however many threads there are besides.
    let n_threads = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
    limit_processes(Some(n_threads + 5));
    let wait = |()| -> () {
        loop {
            std::thread::park();
        }
    };
    let mut children = Vec::new();
    let refused = loop {
        let start = Instant::now();
        match brigade::spawn((), wait) {
            Ok(child) => children.push(child),
            refused => {
                assert_refused(start, &refused);
                break refused;
            }
        }
    };
    assert_eq!(children.len(), 5, "{refused:?}");
    assert_eq!(brigade::active_children().len(), 5);
    let last = children.pop().unwrap();
    last.kill();
    last.wait();
    brigade::spawn((), |()| ()).unwrap().join().unwrap();
    for child in children {
        child.kill();
        child.wait();
    }
}

#[test]
fn a_process_made_by_fork_is_refused_everything_and_disturbs_nobody() {
    use brigade_sys::kernel::fork::code_of_fork;

    if !is_host() {
        return host_succeeds("a_process_made_by_fork_is_refused_everything_and_disturbs_nobody", r#"exec "$@""#);
    }
    let queue = Queue::bounded(3).unwrap();
    queue.put(1_u32).unwrap();
    let jobs = JoinableQueue::bounded(3).unwrap();
    jobs.put(1_u32).unwrap();
    let job = jobs.get().unwrap();
    let manager = Manager::start().unwrap();
    let total = manager.value(1_u32).unwrap();
    let gate = Queue::<()>::bounded(1).unwrap();
    let process = brigade::spawn(gate.clone(), |gate: Queue<()>| gate.get().is_ok()).unwrap();
    let manager = Cell::new(Some(manager));
    let note = PathBuf::from(std::env::var_os("HOST_FOLDER").unwrap()).join("at_exit");
    brigade::at_exit({
        let note = note.clone();
        move || std::fs::write(note, "called").unwrap()
    });
    let refused_in_fork = || {
        let checks = [
            queue.put(2).is_err(),
            queue.try_get().is_err(),
            queue.get_timeout(Duration::ZERO).is_err(),
            Queue::<u32>::bounded(1).is_err(),
            jobs.put(2).is_err(),
            jobs.try_get().is_err(),
            jobs.join_timeout(Duration::ZERO).is_err(),
            total.get().is_err(),
            manager.take().is_some_and(|manager| manager.shutdown().is_lost()),
            matches!(brigade::spawn((), |()| ()), Err(SpawnError::Forked)),
            process.wait().is_lost(),
            brigade::wait(&[&process], Some(Duration::from_secs(1))) == [0],
            brigade::active_children().is_empty(),
        ];
        drop(queue.clone());
        queue.close();
        jobs.close();
        process.kill();
        checks.iter().position(|&is_refused| !is_refused).map_or(0, |idx| idx as i32 + 1)
    };
    assert_eq!(code_of_fork(refused_in_fork).unwrap(), Some(0));
    // In the process that it was forked from everything is as before.
    assert_eq!(queue.get().unwrap(), 1);
    queue.put(3).unwrap();
    jobs.put(3).unwrap();
    assert_eq!((job.done(), *jobs.get().unwrap()), (1, 3));
    assert_eq!(total.get(), Ok(1));
    assert_eq!(manager.take().map(Manager::shutdown).and_then(|status| status.code()), Some(0));
    gate.put(()).unwrap();
    assert!(process.join().unwrap());
    assert!(!note.exists(), "the process made by fork() has called what was registered by another");
}

#[test]
fn a_program_that_has_more_rights_than_its_user_neither_starts_children_nor_is_one() {
    if is_host() {
        let refused = brigade::spawn((), |()| ());
        assert!(matches!(refused, Err(SpawnError::Privileged)), "{refused:?}");
        return;
    }
    if !is_root() {
        return eprintln!("not run: only root can make a setuid program of another user");
    }
    let name = "a_program_that_has_more_rights_than_its_user_neither_starts_children_nor_is_one";
    host_succeeds(name, r#"chown 65534 "$1" && chmod 4755 "$1" && exec "$@""#);
    // A child with more rights than its user does not trust what it is told, and does not run `main` either.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("setuid");
    copy_this_program(&program, 0o755);
    rustix::fs::chown(&program, Some(rustix::process::Uid::from_raw(65534)), None).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o4755)).unwrap();
    let process = Process::builder().exe(&program).spawn((), |()| ()).unwrap();
    let end = process.join();
    assert!(matches!(&end, Err(ProcessError::StartFailed { reason }) if reason.contains("70")), "{end:?}");
}

#[test]
fn a_marker_alone_or_with_some_descriptor_changes_nothing() {
    let program = std::env::current_exe().unwrap();
    for script in [
        r#"__BRIGADE_CHILD=1 exec "$0" --list"#,
        r#"__BRIGADE_CHILD=3 exec "$0" --list 3</dev/null 4</dev/null 5</dev/null"#,
        r#"__BRIGADE_CHILD=nonsense exec "$0" --list"#,
        r#"__BRIGADE_CHILD="1 $PPID" exec "$0" --list 3</dev/null"#,
    ] {
        let output = Command::new("bash").args(["-c", script]).arg(&program).output().unwrap();
        assert!(output.status.success() && text(&output).contains(": test"), "{script}: {}", text(&output));
    }
}

#[test]
fn a_program_started_by_a_child_has_neither_marker_nor_socket() {
    let process = brigade::spawn((), |()| {
        let output = Command::new("bash").args(["-c", "env; ls -l /proc/$$/fd"]).output().unwrap();
        text(&output)
    });
    let seen = process.unwrap().join().unwrap();
    assert!(seen.contains("PATH=") && seen.contains(" 2 -> "), "{seen}");
    assert!(
        !seen.contains("__BRIGADE_CHILD") && !seen.contains("socket:") && !seen.contains("memfd:brigade"),
        "{seen}"
    );
}

#[test]
fn a_host_that_is_confined_as_a_whole_can_use_everything() {
    if !is_host() {
        return host_succeeds(
            "a_host_that_is_confined_as_a_whole_can_use_everything",
            r#"exec setpriv --no-new-privs "$@""#,
        );
    }
    assert!(rustix::thread::no_new_privs().unwrap());
    use_everything();
}

#[test]
fn a_host_that_fails_says_so() {
    if is_host() {
        std::io::stderr().write_all(b"on purpose").unwrap();
        std::process::exit(3);
    }
    let output = run_host("a_host_that_fails_says_so", r#"exec "$@""#);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output).contains("on purpose"));
}
