//! Processes: what they are given, who they are, how they end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use brigade::{OnParentExit, Pool, Process, ProcessError, Queue, SpawnError, Stdio};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use torture::facts::{Stopwatch, wait_until};
use torture::processes::is_running;

use crate::{checked, signal, sleep_for_ever};

#[test]
fn the_current_process_is_alive_and_has_a_pid() {
    checked(|| {
        let pid = brigade::current().pid();
        assert_eq!(pid, std::process::id());
        assert!(is_running(pid) && !brigade::current().name().is_empty());
    });
}

#[test]
fn a_child_may_run_another_copy_of_this_program() {
    checked(|| {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("another name");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        let process = Process::builder().exe(&copy).spawn(20, |number| (number + 1, std::env::current_exe().unwrap()));
        assert_eq!(process.unwrap().join().unwrap(), (21, copy));
    });
}

#[test]
fn another_build_is_refused_with_its_reason() {
    checked(|| {
        let refused = Process::builder().exe("/bin/true").spawn((), |()| ()).map(Process::join);
        let text = match refused {
            Err(error) => format!("{error:?}"),
            Ok(Err(error @ ProcessError::StartFailed { .. })) => error.to_string(),
            Ok(other) => panic!("{other:?}"),
        };
        assert!(!text.is_empty());
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(String),
    Tuple(i8, u128),
    Struct { at: (f64, char), maybe: Option<Option<bool>> },
}

#[test]
fn arguments_of_every_shape_arrive_unchanged() {
    checked(|| {
        let shapes = vec![
            Shape::Unit,
            Shape::New("str".to_owned()),
            Shape::Tuple(-1, u128::MAX),
            Shape::Struct { at: (0.1, '复'), maybe: Some(None) },
        ];
        let map = BTreeMap::from([((1, 'a'), vec![()]), ((2, 'b'), vec![])]);
        let given = (1, "str".to_owned(), [1], (1,), shapes, map);
        let process = brigade::spawn(given.clone(), |given| given).unwrap();
        assert_eq!(process.join().unwrap(), given);
    });
}

#[test]
fn a_terminated_child_ends_with_its_parent_and_a_detached_one_does_not() {
    checked(|| {
        let pids = Queue::<u32>::bounded(2).unwrap();
        let parent = brigade::spawn(pids.clone(), |pids| {
            for on_parent_exit in [OnParentExit::Terminate, OnParentExit::Detach] {
                let child =
                    Process::builder().on_parent_exit(on_parent_exit).spawn((), |()| -> () { sleep_for_ever() });
                pids.put(child.unwrap().pid()).unwrap();
            }
        });
        parent.unwrap().join().unwrap();
        let (terminated, detached) = (pids.get().unwrap(), pids.get().unwrap());
        wait_until("the terminated one has ended", || !is_running(terminated));
        assert!(is_running(detached));
        signal(detached, Signal::KILL);
        wait_until("the detached one has ended", || !is_running(detached));
    });
}

#[test]
fn a_child_knows_its_parent_and_the_first_process_has_none() {
    checked(|| {
        assert!(brigade::parent().is_none());
        let process = brigade::spawn((), |()| brigade::parent().map(|parent| (parent.pid(), parent.name().to_owned())));
        let expected = (std::process::id(), brigade::current().name());
        assert_eq!(process.unwrap().join().unwrap(), Some(expected));
    });
}

#[test]
fn a_detached_process_sees_its_parent_end() {
    checked(|| {
        for by in [Signal::TERM, Signal::KILL] {
            let (seen, took) = (Queue::<bool>::bounded(2).unwrap(), Queue::<Instant2>::bounded(1).unwrap());
            let parent = brigade::spawn((seen.clone(), took.clone()), |(seen, took)| -> () {
                let watcher = Process::builder().on_parent_exit(OnParentExit::Detach);
                let watcher = watcher.spawn((seen, took), |(seen, took)| {
                    let parent = brigade::parent().unwrap();
                    seen.put(parent.is_alive()).unwrap();
                    parent.wait();
                    took.put(Instant2::now()).unwrap();
                    seen.put(parent.is_alive()).unwrap();
                });
                drop(watcher.unwrap());
                sleep_for_ever()
            });
            let parent = parent.unwrap();
            assert!(seen.get().unwrap());
            let killed_at = Instant2::now();
            signal(parent.pid(), by);
            assert!(took.get().unwrap().0 - killed_at.0 < 0.1);
            assert!(!seen.get().unwrap());
            assert_eq!(parent.wait().signal(), Some(by.as_raw()));
        }
    });
}

/// Seconds on a clock that all processes share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Instant2(f64);

impl Instant2 {
    fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self(now.tv_sec as f64 + now.tv_nsec as f64 / 1e9)
    }
}

#[test]
fn a_child_is_alive_and_listed_until_it_is_joined() {
    checked(|| {
        let (go, answers) = (Queue::<()>::bounded(1).unwrap(), Queue::bounded(1).unwrap());
        assert!(brigade::active_children().is_empty());
        let process =
            Process::builder().name("worker bee").spawn((go.clone(), answers.clone(), 7), |(go, answers, number)| {
                answers.put((number, brigade::current().name(), brigade::current().pid())).unwrap();
                go.get().unwrap();
            });
        let process = process.unwrap();
        assert_eq!(answers.get().unwrap(), (7, "worker bee".to_owned(), process.pid()));
        assert!(process.is_alive() && process.exit_status().is_none());
        assert!(brigade::active_children().iter().any(|child| child.pid == process.pid()));
        go.put(()).unwrap();
        assert_eq!(process.wait().code(), Some(0));
        assert!(!process.is_alive() && brigade::active_children().is_empty());
        process.join().unwrap();
    });
}

#[test]
fn a_child_runs_on_the_main_thread_of_another_process() {
    checked(|| {
        let thread_id = || rustix::thread::gettid().as_raw_pid() as u32;
        let process = brigade::spawn((), |()| (rustix::thread::gettid().as_raw_pid() as u32, std::process::id()));
        let (child_thread, child) = process.unwrap().join().unwrap();
        assert_eq!(child_thread, child);
        assert_ne!(child_thread, thread_id());
    });
}

#[test]
fn an_interrupt_reaches_a_child_that_catches_it() {
    checked(|| {
        let ready = Queue::bounded(1).unwrap();
        let process = brigade::spawn(ready.clone(), |ready| {
            let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT]).unwrap();
            ready.put(()).unwrap();
            signals.forever().next()
        });
        let process = process.unwrap();
        ready.get().unwrap();
        process.interrupt();
        assert_eq!(process.join().unwrap(), Some(Signal::INT.as_raw()));
    });
}

/// A child that waits for its end, once it does.
fn sleeper() -> Process<()> {
    let ready = Queue::bounded(1).unwrap();
    let process = brigade::spawn(ready.clone(), |ready: Queue<()>| -> () {
        ready.put(()).unwrap();
        sleep_for_ever()
    });
    let process = process.unwrap();
    ready.get().unwrap();
    process
}

#[test]
fn an_uncaught_interrupt_is_the_status() {
    checked(|| {
        // We may have been started ignoring it, and so would our children be. Of what we catch they begin with the default.
        signal_hook::flag::register(signal_hook::consts::SIGINT, std::sync::Arc::default()).unwrap();
        let process = sleeper();
        process.interrupt();
        assert_eq!(process.wait().signal(), Some(Signal::INT.as_raw()));
    });
}

/// A script starts its background commands so, and they and their children are not to end with the one in the foreground.
#[test]
fn an_interrupt_that_the_host_ignores_is_ignored_by_its_children() {
    checked(|| {
        if !ignores_interrupts() {
            let mut again = std::process::Command::new("sh");
            again.args(["-c", r#"trap "" INT; exec "$0" "$@""#]).args(std::env::args_os());
            return assert!(again.status().unwrap().success());
        }
        let (ready, go) = (Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
        let process = brigade::spawn((ready.clone(), go.clone()), |(ready, go): (Queue<()>, Queue<()>)| {
            ready.put(()).unwrap();
            go.get().unwrap();
        });
        let process = process.unwrap();
        ready.get().unwrap();
        process.interrupt();
        go.put(()).unwrap();
        process.join().unwrap();
    });
}

fn ignores_interrupts() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << (Signal::INT.as_raw() - 1) != 0
}

#[test]
fn a_terminated_and_a_killed_child_tell_by_which_signal() {
    checked(|| {
        for (end, by) in [(Process::terminate as fn(&Process<()>), Signal::TERM), (Process::kill, Signal::KILL)] {
            let process = sleeper();
            assert_eq!(process.wait_timeout(Duration::ZERO), None);
            end(&process);
            assert_eq!(process.wait().signal(), Some(by.as_raw()));
            assert_eq!(process.wait().signal(), Some(by.as_raw()));
            assert!(brigade::active_children().is_empty());
            assert!(matches!(process.join(), Err(ProcessError::Killed { signal, .. }) if signal == by.as_raw()));
        }
    });
}

#[test]
fn available_processors_respect_affinity() {
    checked(|| {
        assert!(brigade::available_cpus() >= 1);
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..1024).find(|&idx| allowed.is_set(idx)).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        let counts = (brigade::available_cpus(), brigade::spawn((), |()| brigade::available_cpus()).unwrap().join());
        rustix::thread::sched_setaffinity(None, &allowed).unwrap();
        assert_eq!(counts, (1, Ok(1)));
    });
}

#[test]
fn children_start_children_and_all_are_heard() {
    fn descend(path: Vec<u8>, heard: Queue<Vec<u8>>) {
        heard.put(path.clone()).unwrap();
        if path.len() < 2 {
            for idx in 0..2 {
                let below = [path.as_slice(), &[idx]].concat();
                brigade::spawn((below, heard.clone()), |(path, heard)| descend(path, heard)).unwrap().join().unwrap();
            }
        }
    }
    checked(|| {
        let heard = Queue::bounded(100).unwrap();
        descend(vec![], heard.clone());
        let expected = [vec![], vec![0], vec![0, 0], vec![0, 1], vec![1], vec![1, 0], vec![1, 1]];
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn the_descriptor_of_a_child_is_readable_once_it_has_ended() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    checked(|| {
        let process = sleeper();
        let is_readable = |limit: Timespec| {
            let mut descriptors = [PollFd::new(&process, PollFlags::IN)];
            poll(&mut descriptors, Some(&limit)).unwrap() == 1
        };
        assert!(!is_readable(Timespec { tv_sec: 0, tv_nsec: 0 }));
        process.kill();
        assert!(is_readable(Timespec { tv_sec: 10, tv_nsec: 0 }));
    });
}

#[test]
fn a_dropped_process_runs_on_and_leaves_no_zombie() {
    checked(|| {
        let (go, done) = (Queue::<()>::bounded(1).unwrap(), Queue::bounded(1).unwrap());
        let process = brigade::spawn((go.clone(), done.clone()), |(go, done)| {
            go.get().unwrap();
            done.put(std::process::id()).unwrap();
        });
        drop(process.unwrap());
        go.put(()).unwrap();
        let pid = done.get().unwrap();
        wait_until("it is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    });
}

#[test]
fn a_thousand_short_children_end_well() {
    checked(|| {
        for _ in 0..50 {
            let processes: Vec<_> = (0..20).map(|number| brigade::spawn(number, |number| number).unwrap()).collect();
            for (number, process) in processes.into_iter().enumerate() {
                assert_eq!(process.join().unwrap(), number as i32);
            }
        }
    });
}

#[test]
fn a_hundred_sleepers_are_terminated() {
    checked(|| {
        let processes: Vec<_> =
            (0..100).map(|_| brigade::spawn((), |()| -> () { sleep_for_ever() }).unwrap()).collect();
        processes.iter().for_each(Process::terminate);
        for process in processes {
            assert_eq!(process.wait().signal(), Some(Signal::TERM.as_raw()));
        }
    });
}

#[test]
fn arguments_are_let_go_of_once_they_were_sent() {
    checked(|| {
        let queue = Queue::<u8>::bounded(1).unwrap();
        let process = brigade::spawn(queue.clone(), drop).unwrap();
        process.join().unwrap();
        // Ours is the only handle left, so nobody could put any more.
        assert_eq!(queue.get(), Err(brigade::GetError::Disconnected));
    });
}

#[test]
fn a_later_child_has_no_more_descriptors_than_the_first() {
    checked(|| {
        let processes: Vec<_> = (0..10).map(|_| sleeper()).collect();
        let count = |process: &Process<()>| std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count();
        let counts: Vec<usize> = processes.iter().map(count).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        for process in processes {
            process.kill();
            process.wait();
        }
    });
}

#[test]
fn threads_of_a_child_that_are_not_joined_end_with_it() {
    checked(|| {
        let process = brigade::spawn((), |()| {
            std::thread::spawn(|| sleep_for_ever());
        });
        assert_eq!(process.unwrap().wait().code(), Some(0));
    });
}

#[test]
fn a_child_with_closed_standard_streams_ends_well() {
    checked(|| {
        let (reader, broken) = std::io::pipe().unwrap();
        drop(reader);
        let process = Process::builder().stdout(OwnedFd::from(broken)).spawn((), |()| {
            // The pipe is broken: an error, and no signal.
            std::io::stdout().write_all(b"lost").and_then(|()| std::io::stdout().flush()).is_err()
        });
        let process = process.unwrap();
        assert_eq!(process.wait().code(), Some(0));
        assert!(process.join().unwrap());
        for stream in [Stdio::Null, Stdio::Piped] {
            let mut process = Process::builder()
                .stdin(Stdio::Null)
                .stderr(stream)
                .spawn((), |()| drop(std::io::stderr().write_all(b"unheard")))
                .unwrap();
            drop(process.take_stderr());
            assert_eq!(process.wait().code(), Some(0));
        }
    });
}

#[test]
fn a_stray_marker_starts_nothing() {
    checked(|| {
        // The variable alone, without the inherited socket, is nothing but a variable.
        let process = Process::builder().env("__BRIGADE_CHILD", "1").spawn((), |()| {
            let grandchild = std::process::Command::new("/proc/self/exe").args(["--list"]).output().unwrap();
            (std::env::var_os("__BRIGADE_CHILD").is_none(), grandchild.status.success())
        });
        assert_eq!(process.unwrap().join().unwrap(), (true, true));
        let mut list = std::process::Command::new(std::env::current_exe().unwrap());
        let listed = list.arg("--list").env("__BRIGADE_CHILD", "3").output().unwrap();
        assert!(String::from_utf8(listed.stdout).unwrap().contains("a_stray_marker_starts_nothing"));
    });
}

#[test]
fn a_process_with_state_answers_until_told_to_end() {
    checked(|| {
        let (requests, answers) = (Queue::<Option<i64>>::bounded(1).unwrap(), Queue::bounded(1).unwrap());
        let process = brigade::spawn((10, requests.clone(), answers.clone()), |(mut sum, requests, answers)| {
            while let Ok(Some(number)) = requests.get() {
                sum += number;
                answers.put(sum).unwrap();
            }
            sum
        });
        for (number, expected) in [(1, 11), (-5, 6), (0, 6)] {
            requests.put(Some(number)).unwrap();
            assert_eq!(answers.get().unwrap(), expected);
        }
        requests.put(None).unwrap();
        assert_eq!(process.unwrap().join().unwrap(), 6);
    });
}

#[test]
fn a_panic_is_written_whole_to_standard_error() {
    checked(|| {
        let mut process =
            Process::builder().stderr(Stdio::Piped).spawn((), |()| -> () { panic!("first line\nlast line") });
        let process = process.as_mut().unwrap();
        let mut text = String::new();
        process.take_stderr().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("first line\nlast line") && text.contains("process.rs:"), "{text}");
        assert_eq!(process.wait().code(), Some(101));
    });
}

#[test]
fn exit_codes_are_those_of_exit_panic_and_return() {
    checked(|| {
        for code in [0, 1, 8, 255] {
            let process = brigade::spawn(code, |code| -> () { std::process::exit(code) }).unwrap();
            assert_eq!(process.wait().code(), Some(code));
            assert_eq!(process.join(), Err(ProcessError::Exited { code }));
        }
        let returned = brigade::spawn((), |()| Err::<(), _>("an error is a value".to_owned())).unwrap();
        assert_eq!(returned.wait().code(), Some(0));
        assert!(returned.join().unwrap().is_err());
        let panicked = Process::builder().stderr(Stdio::Null).spawn((), |()| -> () { panic!("no") }).unwrap();
        assert_eq!(panicked.wait().code(), Some(101));
    });
}

#[test]
fn functions_registered_in_a_child_run_at_its_end() {
    checked(|| {
        let order = Queue::bounded(3).unwrap();
        let process = brigade::spawn(order.clone(), |order| {
            for number in [1, 2] {
                let order = order.clone();
                brigade::at_exit(move || order.put(number).unwrap());
            }
            order.put(0).unwrap();
        });
        process.unwrap().join().unwrap();
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 2, 1]);
    });
}

#[test]
fn a_child_has_a_pool_of_its_own() {
    checked(|| {
        let process = brigade::spawn(5_u64, |n_items| {
            let pool = Pool::new(2).unwrap();
            pool.map(0..n_items, |item| item * item).into_iter().map(Result::unwrap).sum::<u64>()
        });
        assert_eq!(process.unwrap().join().unwrap(), 30);
    });
}

#[test]
fn output_is_not_written_twice() {
    checked(|| {
        let mut process = Process::builder().stdout(Stdio::Piped).spawn((), |()| {
            // Not ended by a new line, so it waits in the buffer while a child is started.
            print!("once");
            brigade::spawn((), |()| print!(" and once")).unwrap().join().unwrap();
        });
        let mut text = String::new();
        process.as_mut().unwrap().take_stdout().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.matches("once").count(), text.len()), (2, "once and once".len()));
        process.unwrap().join().unwrap();
    });
}

#[test]
fn environment_and_arguments_reach_grandchildren() {
    fn about(_: ()) -> (Option<String>, Vec<std::ffi::OsString>, std::path::PathBuf) {
        let variable = std::env::var("GIVEN_TO_ALL").ok();
        (variable, brigade::current().args().collect(), std::env::current_dir().unwrap())
    }
    checked(|| {
        let process = Process::builder()
            .env("GIVEN_TO_ALL", "yes")
            .current_dir("/")
            .spawn((), |()| brigade::spawn((), about).unwrap().join().unwrap());
        let (variable, arguments, folder) = process.unwrap().join().unwrap();
        assert_eq!(variable.as_deref(), Some("yes"));
        assert_eq!(arguments, std::env::args_os().collect::<Vec<_>>());
        assert_eq!(folder, std::path::Path::new("/"));
    });
}

#[test]
fn a_program_without_init_starts_each_child_once() {
    checked(|| {
        // This program does not call `init`. Were `main` run in a child, each of these would start others.
        let starts = Queue::bounded(100).unwrap();
        let processes: Vec<_> =
            (0..5).map(|_| brigade::spawn(starts.clone(), |starts| starts.put(()).unwrap())).collect();
        for process in processes {
            process.unwrap().join().unwrap();
        }
        assert_eq!(starts.len(), 5);
    });
}

#[test]
fn a_descriptor_of_the_parent_is_not_open_in_a_child() {
    checked(|| {
        let file = tempfile::tempfile().unwrap();
        let high = rustix::io::fcntl_dupfd_cloexec(&file, 200).unwrap();
        rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
        let is_open = |number: i32| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
        assert!(is_open(high.as_raw_fd()));
        let process =
            brigade::spawn(high.as_raw_fd(), |number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
        assert!(!process.unwrap().join().unwrap());
    });
}

#[test]
fn waiting_survives_a_signal() {
    checked(|| {
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGUSR1]).unwrap();
        let go = Queue::<()>::bounded(1).unwrap();
        let process = brigade::spawn(go.clone(), |go| go.get().is_ok()).unwrap();
        let waiter = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| process.wait());
            for _ in 0..20 {
                signal(std::process::id(), Signal::USR1);
                assert_eq!(signals.forever().next(), Some(Signal::USR1.as_raw()));
            }
            go.put(()).unwrap();
            waiter.join().unwrap()
        });
        assert!(waiter.success() && process.join().unwrap());
    });
}

#[test]
fn a_handle_can_be_handed_on_to_a_grandchild() {
    checked(|| {
        let answers = Queue::bounded(1).unwrap();
        let process = brigade::spawn(answers.clone(), |answers| {
            brigade::spawn(answers, |answers| answers.put(std::process::id()).unwrap()).unwrap().join().unwrap();
        });
        process.unwrap().join().unwrap();
        assert_ne!(answers.get().unwrap(), std::process::id());
    });
}

#[test]
fn an_executable_that_is_not_there_is_a_clear_error() {
    checked(|| {
        let start = Stopwatch::start();
        let refused = Process::builder().exe("/nowhere/at/all").spawn((), |()| ());
        let Err(SpawnError::System { attempt, cause }) = refused else { panic!("it was started") };
        assert_eq!(cause.errno(), Some(rustix::io::Errno::NOENT.raw_os_error()), "{attempt}");
        assert!(start.elapsed() < Duration::from_secs(1));
    });
}
