//! What becomes of a process when its parent ends, in good order or not.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

mod hosts;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use brigade::{OnParentExit, Process, Queue, SharedSlice};
use hosts::{host_succeeds, is_host, run_host, text};
use rustix::process::Signal;
use torture::facts::{Stopwatch, wait_until};

fn park() {
    loop {
        std::thread::park();
    }
}

fn kill_this_process() {
    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).unwrap();
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// The numbers that a host has printed, each on a line of its own as `NAME=number`.
fn printed(output: &str, name: &str) -> Option<u32> {
    output.lines().find_map(|line| line.split_once(name)?.1.strip_prefix('=')?.trim().parse().ok())
}

#[test]
fn a_detached_process_outlives_a_killed_parent_and_sees_its_end_within_100_ms() {
    if !is_host() {
        let output =
            run_host("a_detached_process_outlives_a_killed_parent_and_sees_its_end_within_100_ms", r#"exec "$@""#);
        // Its output ends when the last of its processes has ended, the detached one included.
        let delay_ms = printed(&text(&output), "SEEN_AFTER_MS").unwrap_or(u32::MAX);
        assert!(delay_ms < 100, "seen after {delay_ms} ms: {}", text(&output));
        return;
    }
    let died_at = SharedSlice::<u64>::new(1).unwrap();
    let ready = Queue::<()>::bounded(1).unwrap();
    let arguments = (died_at.clone(), ready.clone());
    let child = Process::builder().on_parent_exit(OnParentExit::Detach).spawn(
        arguments,
        |(died_at, ready): (SharedSlice<u64>, Queue<()>)| {
            let parent = brigade::parent().unwrap();
            let was_alive = parent.is_alive() && parent.pid() == brigade::current().parent_pid();
            ready.put(()).unwrap();
            parent.wait();
            let delay_ms = (monotonic_ns() - died_at.load(0)) / 1_000_000;
            if was_alive && !parent.is_alive() {
                println!("SEEN_AFTER_MS={delay_ms}");
            }
        },
    );
    child.unwrap();
    ready.get().unwrap();
    died_at.store(0, monotonic_ns());
    kill_this_process();
}

#[test]
fn a_detached_process_has_its_arguments_though_the_parent_returns_at_once() {
    if !is_host() {
        for _ in 0..10 {
            let output =
                run_host("a_detached_process_has_its_arguments_though_the_parent_returns_at_once", r#"exec "$@""#);
            assert!(output.status.success());
            assert!(text(&output).contains("GOT=the letter"), "{}", text(&output));
        }
        return;
    }
    let queue = Queue::bounded(1).unwrap();
    queue.put("the letter".to_owned()).unwrap();
    let child = Process::builder().on_parent_exit(OnParentExit::Detach).spawn(queue, |queue: Queue<String>| {
        brigade::parent().unwrap().wait();
        println!("GOT={}", queue.get().unwrap());
    });
    child.unwrap();
}

#[test]
fn a_detached_process_that_ends_before_its_parent_leaves_no_zombie() {
    let child = Process::builder().on_parent_exit(OnParentExit::Detach).spawn((), |()| ()).unwrap();
    let pid = child.pid();
    drop(child);
    wait_until("the process is gone", || !exists(pid));
}

#[test]
fn at_the_end_of_main_the_joined_are_waited_for_and_the_others_terminated() {
    if !is_host() {
        let start = Stopwatch::start();
        let output = run_host("at_the_end_of_main_the_joined_are_waited_for_and_the_others_terminated", r#"exec "$@""#);
        assert!(output.status.success(), "{}", text(&output));
        let text = text(&output);
        assert!(text.contains("the joined one has ended"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(10), "nobody has ended the one that ignores SIGTERM");
        for name in ["POLITE", "DEAF"] {
            assert!(!exists(printed(&text, name).unwrap()), "{name} was not collected: {text}");
        }
        return;
    }
    let is_entered = Queue::<()>::bounded(2).unwrap();
    let polite = Process::builder().on_parent_exit(OnParentExit::Terminate);
    let polite = polite.spawn(is_entered.clone(), |is_entered: Queue<()>| {
        is_entered.put(()).unwrap();
        park();
    });
    println!("\nPOLITE={}", polite.unwrap().pid());
    // A process whose signals are blocked does not hear SIGTERM.
    let deaf = std::thread::spawn({
        let is_entered = is_entered.clone();
        move || {
            brigade_sys::kernel::signals::SignalMask::ALL.apply();
            let deaf = Process::builder().on_parent_exit(OnParentExit::Terminate);
            deaf.spawn(is_entered, |is_entered: Queue<()>| {
                is_entered.put(()).unwrap();
                park();
            })
        }
    });
    println!("\nDEAF={}", deaf.join().unwrap().unwrap().pid());
    is_entered.get().unwrap();
    is_entered.get().unwrap();
    let (gate, opener) = std::io::pipe().unwrap();
    brigade::spawn(brigade::Descriptor::from(gate), |gate: brigade::Descriptor| {
        // Until the parent is on its way out, which closes nothing before its children have ended: so it waits a moment.
        let mut gate = std::fs::File::from(gate.into_owned_fd());
        std::io::copy(&mut gate, &mut std::io::sink()).unwrap();
        println!("the joined one has ended");
    })
    .unwrap();
    brigade::at_exit(move || drop(opener));
}

#[test]
fn a_killed_parent_takes_its_children_and_theirs_with_it() {
    if !is_host() {
        let output = run_host("a_killed_parent_takes_its_children_and_theirs_with_it", r#"exec "$@""#);
        // The pipe was open for as long as one of them lived; then somebody has to collect them.
        let pids: Vec<u32> = text(&output).lines().filter_map(|line| line.strip_prefix("PID=")?.parse().ok()).collect();
        assert_eq!(pids.len(), 7, "{}", text(&output));
        wait_until("all are gone", || pids.iter().all(|&pid| !exists(pid)));
        return;
    }
    println!();
    let ready = Queue::<()>::bounded(8).unwrap();
    let _children: Vec<_> = (0..2).map(|_| brigade::spawn((2_u32, ready.clone()), branch).unwrap()).collect();
    // Two children with two of their own each.
    (0..6).for_each(|_| ready.get().unwrap());
    println!("PID={}", std::process::id());
    kill_this_process();
}

fn branch((depth, ready): (u32, Queue<()>)) {
    let n_children = if depth > 1 { 2 } else { 0 };
    let _children: Vec<_> =
        (0..n_children).map(|_| brigade::spawn((depth - 1, ready.clone()), branch).unwrap()).collect();
    println!("PID={}", std::process::id());
    ready.put(()).unwrap();
    park();
}

/// Blocks of memory that the session holds, seen from outside.
fn session_bytes() -> u64 {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let is_arena =
            std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:brigade "));
        if is_arena {
            let file = std::fs::File::open(entry.path()).unwrap();
            return rustix::fs::fstat(file.as_fd()).unwrap().st_blocks.cast_unsigned() * 512;
        }
    }
    panic!("this process has no session");
}

/// A grandchild dies a moment after the child that it dies with, so nobody who waits for the child sees its end.
#[test]
fn what_only_a_dead_grandchild_held_is_given_back() {
    const LARGE: usize = 64 << 20;
    if !is_host() {
        return host_succeeds("what_only_a_dead_grandchild_held_is_given_back", r#"exec "$@""#);
    }
    let ready = Queue::<()>::bounded(1).unwrap();
    let child = brigade::spawn(ready.clone(), |ready: Queue<()>| {
        let _grandchild = brigade::spawn(ready, |ready: Queue<()>| {
            let slice = SharedSlice::<u8>::new(LARGE).unwrap();
            ready.put(()).unwrap();
            while slice.len() == LARGE {
                std::thread::park();
            }
        })
        .unwrap();
        park();
    });
    let child: Process<()> = child.unwrap();
    ready.get().unwrap();
    assert!(session_bytes() >= LARGE as u64);
    child.kill();
    child.wait();
    wait_until("the memory is given back", || session_bytes() < LARGE as u64);
}
