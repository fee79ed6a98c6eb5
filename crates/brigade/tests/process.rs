//! What a process is given, what it gives back, and how its end is told.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use brigade::{GetTimeoutError, Process, ProcessError, ProcessState, Queue, Resource};
use rustix::process::{Signal, getpid, getrlimit, kill_process};

#[test]
fn a_process_returns_the_value_of_its_function() {
    let process = brigade::spawn((2, "three".to_owned()), |(number, word)| format!("{number} {word}")).unwrap();
    assert_eq!(process.join().unwrap(), "2 three");
}

#[test]
fn a_child_knows_its_parent_and_has_a_pid_of_its_own() {
    let process = brigade::spawn((), |()| {
        let parent = brigade::parent().map(|parent| parent.pid());
        (brigade::current().pid(), brigade::current().parent_pid(), parent, brigade::current().name())
    })
    .unwrap();
    let (pid, name) = (process.pid(), process.name().to_owned());
    assert_eq!(process.join().unwrap(), (pid, std::process::id(), Some(std::process::id()), name));
}

#[test]
fn a_panic_arrives_with_its_message_and_place() {
    let process = brigade::spawn(7, |number: i32| -> () { panic!("no {number}") }).unwrap();
    let status = process.wait();
    assert_eq!(status.code(), Some(101));
    let Err(ProcessError::Panicked(report)) = process.join() else { panic!("not a panic") };
    assert_eq!(report.message(), "no 7");
    assert!(report.location().unwrap().contains("process.rs:"), "{report}");
}

#[test]
fn an_error_returned_is_a_value_and_the_exit_code_0() {
    let process = brigade::spawn((), |()| Err::<(), _>("nothing".to_owned())).unwrap();
    assert!(process.wait().success());
    assert_eq!(process.join().unwrap(), Err("nothing".to_owned()));
}

#[test]
fn a_process_that_exits_early_gives_its_code() {
    let process = brigade::spawn((), |()| -> () { std::process::exit(8) }).unwrap();
    assert_eq!(process.join(), Err(ProcessError::Exited { code: 8 }));
}

#[test]
fn kill_and_terminate_end_a_waiting_process_and_tell_the_signal() {
    for (signal, end) in [(9, Process::kill as fn(&Process<()>)), (15, Process::terminate)] {
        let started = Queue::bounded(1).unwrap();
        let process = brigade::spawn(started.clone(), |started: Queue<()>| -> () {
            started.put(()).unwrap();
            loop {
                std::thread::park();
            }
        })
        .unwrap();
        started.get().unwrap();
        assert!(process.is_alive());
        assert!(matches!(process.state(), ProcessState::Waiting | ProcessState::Running | ProcessState::Ready));
        assert_eq!(process.wait_timeout(Duration::ZERO), None);
        end(&process);
        assert_eq!(process.wait().signal(), Some(signal));
        assert_eq!(process.state(), ProcessState::Finished);
        assert!(matches!(process.join(), Err(ProcessError::Killed { signal: by, .. }) if by == signal));
    }
}

#[test]
fn large_arguments_and_results_cross() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    let process = brigade::spawn(bytes.clone(), |mut bytes: Vec<u8>| {
        bytes.reverse();
        bytes
    })
    .unwrap();
    let mut back = process.join().unwrap();
    back.reverse();
    assert!(back == bytes);
}

#[test]
fn processes_start_processes() {
    let process = brigade::spawn(3_u32, descend).unwrap();
    assert_eq!(process.join().unwrap(), 4);
}

fn descend(depth: u32) -> u32 {
    if depth == 0 { 1 } else { brigade::spawn(depth - 1, descend).expect("starts").join().expect("returns") + 1 }
}

#[test]
fn a_descriptor_arrives_open_and_the_child_has_no_other() {
    let (reader, writer) = std::io::pipe().unwrap();
    let process = brigade::spawn(brigade::Descriptor::from(writer), |writer: brigade::Descriptor| {
        use std::io::Write;
        let mut writer = std::fs::File::from(writer.into_owned_fd());
        writer.write_all(b"hello").unwrap();
        // 0 to 2, the control socket, the session's two, the parent's pidfd, the pipe, and the folder being read.
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    })
    .unwrap();
    assert_eq!(std::io::read_to_string(reader).unwrap(), "hello");
    assert!(process.join().unwrap() <= 9);
}

#[test]
fn a_child_outlives_the_thread_that_spawned_it() {
    let go_on = Queue::bounded(1).unwrap();
    let process = {
        let go_on = go_on.clone();
        std::thread::spawn(move || brigade::spawn(go_on, |go_on: Queue<u8>| go_on.get().unwrap()).unwrap())
            .join()
            .unwrap()
    };
    assert_eq!(process.wait_timeout(Duration::from_millis(50)), None);
    go_on.put(5).unwrap();
    assert_eq!(process.join().unwrap(), 5);
}

#[test]
fn a_hundred_short_processes_all_return() {
    let processes: Vec<_> = (0..100_u32).map(|number| brigade::spawn(number, |number| number * 2).unwrap()).collect();
    for (number, process) in (0_u32..).zip(processes) {
        assert_eq!(process.join().unwrap(), number * 2);
    }
}

#[test]
fn a_handle_in_a_result_is_its_receivers_though_its_maker_ends() {
    for number in 0..50 {
        let made = brigade::spawn(number, |number: u32| {
            let queue = Queue::bounded(1).unwrap();
            queue.put(number).unwrap();
            queue
        });
        assert_eq!(made.unwrap().join().unwrap().get(), Ok(number));
    }
}

#[test]
fn a_handle_in_arguments_is_the_childs_alone_once_it_has_begun() {
    let queue = Queue::<u32>::bounded(1).unwrap();
    let (producer, consumer) = (queue.clone().into_producer().unwrap(), queue.into_consumer().unwrap());
    let process: Process<()> = brigade::spawn(producer, |producer| {
        drop(producer);
        loop {
            std::thread::park();
        }
    })
    .unwrap();
    assert_eq!(consumer.get_timeout(Duration::from_secs(20)), Err(GetTimeoutError::Disconnected));
    process.kill();
    process.wait();
}

/// Whether a core file is written is up to the machine: the kernel tells us and std the same.
#[test]
fn a_core_file_is_told_of() {
    let hard = getrlimit(rustix::process::Resource::Core).maximum;
    let (ours, stds) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let built = Process::builder().current_dir(ours.path()).rlimit(Resource::CoreFile, hard, hard);
    let process: Process<()> = built.spawn((), |()| kill_process(getpid(), Signal::QUIT).unwrap()).unwrap();
    let mut shell = std::process::Command::new("sh");
    let shell =
        shell.args(["-c", "ulimit -c $(ulimit -H -c); kill -QUIT $$"]).current_dir(stds.path()).status().unwrap();
    assert_eq!((process.wait().signal(), shell.signal()), (Some(3), Some(3)));
    assert_eq!(process.wait().core_dumped(), shell.core_dumped());
}
