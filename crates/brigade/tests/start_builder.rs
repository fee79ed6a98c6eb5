//! What a process can be given besides its arguments, and what happens where it cannot be had.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::io::{Read, Seek, Write};

use brigade::{OnParentExit, Process, ProcessError, ProcessGroup, ProcessState, Queue, Resource, SpawnError, Stdio};
use rustix::process::{Signal, kill_process};
use torture::facts::wait_until;

#[test]
fn the_name_is_known_to_the_process_and_to_ps() {
    let process = Process::builder()
        .name("a long name for ps")
        .spawn((), |()| (brigade::current().name(), std::fs::read_to_string("/proc/self/comm").unwrap()));
    let process = process.unwrap();
    assert_eq!(process.name(), "a long name for ps");
    assert_eq!(process.join().unwrap(), ("a long name for ps".to_owned(), "a long name for\n".to_owned()));
}

fn variables() -> Vec<(String, String)> {
    std::env::vars().collect()
}

#[test]
fn the_environment_is_the_parents_with_changes_and_no_marker() {
    let process = Process::builder().env("NEW", "a=b").env_remove("PATH").spawn((), |()| variables()).unwrap();
    let here: Vec<_> = variables().into_iter().filter(|(name, _)| name != "PATH").collect();
    let there = process.join().unwrap();
    assert!(there.contains(&("NEW".to_owned(), "a=b".to_owned())));
    assert!(here.iter().all(|variable| there.contains(variable)));
    assert_eq!(there.len(), here.len() + 1, "{there:?}");

    let process = Process::builder().env("OLD", "1").env_clear().env("NEW", "").spawn((), |()| variables()).unwrap();
    assert_eq!(process.join().unwrap(), [("NEW".to_owned(), String::new())]);
}

#[test]
fn a_variable_that_no_environment_can_hold_is_refused() {
    for name in ["", "A=B", "A\0B"] {
        let refused = Process::builder().env(name, "1").spawn((), |()| ());
        assert!(matches!(refused, Err(SpawnError::System { .. })), "{name:?}: {refused:?}");
    }
}

#[test]
fn a_process_starts_in_its_folder_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::builder().current_dir(folder.path()).spawn((), |()| std::env::current_dir().unwrap());
    assert_eq!(process.unwrap().join().unwrap(), folder.path().canonicalize().unwrap());
    let Err(SpawnError::System { attempt, cause }) =
        Process::builder().current_dir(folder.path().join("missing")).spawn((), |()| ())
    else {
        panic!("it started in a folder that is not there");
    };
    assert_eq!((attempt.as_str(), cause.errno()), ("enter the folder", Some(2)));
}

#[test]
fn standard_streams_are_pipes_files_or_nothing() {
    let mut process = Process::builder()
        .stdin(Stdio::Piped)
        .stdout(Stdio::Piped)
        .stderr(Stdio::Null)
        .spawn((), |()| {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).unwrap();
            print!("{}", text.to_uppercase());
            eprintln!("nobody reads this");
        })
        .unwrap();
    let (mut stdin, mut stdout) = (process.take_stdin().unwrap(), process.take_stdout().unwrap());
    assert!(process.take_stdin().is_none() && process.take_stderr().is_none());
    stdin.write_all(b"quiet").unwrap();
    drop(stdin);
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(text, "QUIET");
    process.join().unwrap();

    let mut file = tempfile::tempfile().unwrap();
    let copy = file.try_clone().unwrap();
    let process = Process::builder().stderr(copy).stdin(Stdio::Null).spawn((), |()| {
        eprint!("to the file");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap()
    });
    assert_eq!(process.unwrap().join().unwrap(), 0);
    file.rewind().unwrap();
    text.clear();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "to the file");
}

#[test]
fn join_closes_a_piped_input_that_nobody_took() {
    let process =
        Process::builder().stdin(Stdio::Piped).spawn((), |()| std::io::stdin().read_to_end(&mut Vec::new()).unwrap());
    assert_eq!(process.unwrap().join().unwrap(), 0);
}

#[test]
fn limits_nice_value_and_group_hold_from_the_start() {
    let process = Process::builder()
        .nice(7)
        .rlimit(Resource::OpenFiles, 40, 50)
        .rlimit(Resource::CoreFile, 0, None)
        .process_group(ProcessGroup::Own)
        .spawn((), |()| {
            let limit = |resource| {
                let limit = rustix::process::getrlimit(resource);
                (limit.current, limit.maximum)
            };
            let nice = rustix::process::getpriority_process(None).unwrap();
            let group = rustix::process::getpgrp() == rustix::process::getpid();
            (limit(rustix::process::Resource::Nofile), limit(rustix::process::Resource::Core).0, nice, group)
        });
    assert_eq!(process.unwrap().join().unwrap(), ((Some(40), Some(50)), Some(0), 7, true));
    let group = brigade::spawn((), |()| rustix::process::getpgrp().as_raw_nonzero().get()).unwrap();
    assert_eq!(group.join().unwrap(), rustix::process::getpgrp().as_raw_nonzero().get());
}

#[test]
fn a_limit_that_is_no_limit_is_refused() {
    let refused = Process::builder().rlimit(Resource::OpenFiles, 50, 40).spawn((), |()| ());
    let Err(SpawnError::System { attempt, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(attempt, "set a limit");
}

#[test]
fn another_file_is_executed_only_if_it_is_this_build() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    // By another process: a descriptor open for writing here would reach what other tests start at that moment.
    let program = std::env::current_exe().unwrap();
    assert!(std::process::Command::new("cp").arg(program).arg(&copy).status().unwrap().success());
    let process = Process::builder().exe(&copy).spawn((), |()| std::fs::read_link("/proc/self/exe").unwrap());
    assert_eq!(process.unwrap().join().unwrap(), copy.canonicalize().unwrap());

    for wrong in ["/bin/true", "/etc/passwd"] {
        let refused = Process::builder().exe(wrong).spawn((), |()| ());
        assert!(matches!(&refused, Err(SpawnError::WrongProgram { path }) if path == wrong), "{refused:?}");
    }
    let refused = Process::builder().exe("/nonexistent").spawn((), |()| ());
    assert!(matches!(&refused, Err(SpawnError::System { cause, .. }) if cause.errno() == Some(2)), "{refused:?}");
}

/// The caller is a thread of its own, so that no other test is pinned.
#[test]
fn affinity_nice_value_and_signal_mask_are_the_calling_threads() {
    std::thread::spawn(|| {
        let all = rustix::thread::sched_getaffinity(None).unwrap();
        let last = (0..1024).rfind(|&idx| all.is_set(idx)).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set(last);
        // The supervisor exists, so that it cannot have these from us.
        brigade::spawn((), |()| ()).unwrap().join().unwrap();
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        rustix::process::setpriority_process(None, 5).unwrap();
        let process = brigade::spawn((), |()| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned();
            let processors = rustix::thread::sched_getaffinity(None).unwrap();
            let processors: Vec<usize> = (0..1024).filter(|&idx| processors.is_set(idx)).collect();
            (processors, rustix::process::getpriority_process(None).unwrap(), brigade::available_cpus(), blocked)
        });
        assert_eq!(process.unwrap().join().unwrap(), (vec![last], 5, 1, "0000000000000000".to_owned()));
    })
    .join()
    .unwrap();
}

#[test]
fn a_process_in_its_function_can_be_seen_stopped_and_finished() {
    let gate = Queue::<()>::bounded(1).unwrap();
    let entered = Queue::<()>::bounded(1).unwrap();
    let process = {
        let arguments = (gate.clone(), entered.clone());
        brigade::spawn(arguments, |(gate, entered): (Queue<()>, Queue<()>)| {
            entered.put(()).unwrap();
            gate.get().unwrap();
        })
    };
    let process = process.unwrap();
    entered.get().unwrap();
    assert!(!matches!(process.state(), ProcessState::Created | ProcessState::Finished));
    let pid = rustix::process::Pid::from_raw(process.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    wait_until("it is stopped", || process.state() == ProcessState::Stopped);
    let usage = process.usage().unwrap();
    assert!(usage.resident_bytes > 0 && usage.n_threads == 1 && usage.n_open_files >= 4, "{usage:?}");
    kill_process(pid, Signal::CONT).unwrap();
    gate.put(()).unwrap();
    process.wait();
    assert_eq!((process.state(), process.usage()), (ProcessState::Finished, None));
}

/// Decoding it takes until the gate opens, and only then is the function entered.
struct SlowToArrive;

impl serde::Serialize for SlowToArrive {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for SlowToArrive {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        if brigade::parent().is_some() {
            std::io::stdin().read_to_end(&mut Vec::new()).map_err(serde::de::Error::custom)?;
        }
        Ok(Self)
    }
}

#[test]
fn created_lasts_until_the_function_is_entered() {
    let (reader, writer) = std::io::pipe().unwrap();
    let process =
        Process::builder().stdin(reader).spawn(SlowToArrive, |_: SlowToArrive| std::io::stdout().flush().is_ok());
    let process = process.unwrap();
    assert_eq!(process.state(), ProcessState::Created);
    drop(writer);
    assert!(process.join().unwrap());
}

#[test]
fn a_file_given_as_output_is_not_kept_open_here() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = Process::builder().stdout(writer).spawn((), |()| print!("all")).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "all");
    process.join().unwrap();
}

#[test]
fn a_start_that_fails_leaves_no_descriptor_and_no_child() {
    let process = brigade::spawn((), |()| {
        // In a process of its own, so that no other test opens anything meanwhile.
        brigade::spawn((), |()| ()).unwrap().join().unwrap();
        let before = n_open_here();
        for _ in 0..100 {
            assert!(Process::builder().current_dir("/nonexistent").spawn((), |()| ()).is_err());
        }
        assert!(brigade::active_children().is_empty());
        (before, n_open_here())
    });
    let (before, after) = process.unwrap().join().unwrap();
    assert!(after <= before, "{before} descriptors were open, and now {after}");
}

fn n_open_here() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_thread_with_other_rights_than_the_program_is_refused_and_the_others_are_not() {
    std::thread::spawn(|| {
        brigade::spawn((), |()| ()).unwrap().join().unwrap();
        rustix::thread::set_no_new_privs(true).unwrap();
        let refused = brigade::spawn((), |()| ());
        assert!(matches!(refused, Err(SpawnError::CallerConfined)), "{refused:?}");
    })
    .join()
    .unwrap();
    brigade::spawn((), |()| ()).unwrap().join().unwrap();
}

#[test]
fn the_other_wishes_do_not_change_how_an_end_is_told() {
    let process = Process::builder()
        .on_parent_exit(OnParentExit::Terminate)
        .stderr(Stdio::Null)
        .spawn((), |()| -> () { panic!("on purpose") });
    let end = process.unwrap().join();
    assert!(matches!(&end, Err(ProcessError::Panicked(report)) if report.message() == "on purpose"), "{end:?}");
}
