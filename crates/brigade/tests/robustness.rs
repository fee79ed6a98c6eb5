//! What must hold when things go wrong: deaths at a bad moment, waiters that leave, work at the very end of a process.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use brigade::{GetTimeoutError, Pool, Queue, TaskError};
use torture::facts::{PATIENCE, wait_until};

/// What a task does that takes a while: nobody waits by it for anything.
fn nap(duration: Duration) {
    std::thread::sleep(duration);
}

fn nap_ms(duration_ms: u64) {
    nap(Duration::from_millis(duration_ms));
}

#[test]
fn a_callback_is_not_left_behind_by_getters_that_leave_together() {
    let pool = Arc::new(Pool::new(3).unwrap());
    for _ in 0..100 {
        let (said, heard) = mpsc::channel();
        let task = pool.apply_async(3, nap_ms).unwrap();
        task.on_done(move |outcome| said.send(outcome.is_ok()).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| pool.apply((), |()| nap(Duration::from_micros(100))).unwrap());
            }
        });
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(true));
    }
}

#[test]
fn a_task_that_is_only_polled_gets_ready() {
    let pool = Pool::new(1).unwrap();
    let mut task = Some(pool.apply_async((), |()| 5).unwrap());
    let mut value = None;
    wait_until("the task is ready", || match task.take().map(|task| task.get_timeout(Duration::ZERO)) {
        Some(Ok(outcome)) => {
            value = Some(outcome.unwrap());
            true
        }
        Some(Err(back)) => {
            task = Some(back);
            false
        }
        None => true,
    });
    assert_eq!(value, Some(5));
}

#[test]
fn a_task_is_ready_though_a_long_one_follows_it() {
    let pool = Pool::new(1).unwrap();
    let gate = Queue::<()>::bounded(1).unwrap();
    let short = pool.apply_async((), |()| ()).unwrap();
    let long = pool.apply_async(gate.clone(), |gate: Queue<()>| gate.get().is_ok()).unwrap();
    wait_until("the short one is ready", || short.is_ready());
    gate.put(()).unwrap();
    assert!(long.get().unwrap());
}

#[test]
fn large_results_that_nobody_waits_for_do_not_stop_a_worker() {
    let pool = Pool::new(1).unwrap();
    // Once tasks are known to be short, many are given ahead.
    assert_eq!(pool.map(0..5000_u32, |number| number).len(), 5000);
    for _ in 0..30 {
        drop(pool.apply_async((), |()| vec![0_u8; 60_000]).unwrap());
    }
    pool.close();
    wait_until("no worker is left", || pool.workers().is_empty());
}

#[test]
fn arguments_of_tasks_that_were_taken_back_do_not_clog_a_worker() {
    let pool = Pool::new(2).unwrap();
    let gate = Queue::<()>::bounded(1).unwrap();
    let large = vec![7_u8; 50_000];
    let long = pool.apply_async(gate.clone(), |gate: Queue<()>| gate.get().is_ok()).unwrap();
    // Of each pair one is given behind the long task, and taken back when the other worker has nothing to do.
    for _ in 0..10 {
        let pair = [20, 1].map(|duration_ms| {
            let work = |(duration_ms, bytes): (u64, Vec<u8>)| {
                nap_ms(duration_ms);
                bytes.len()
            };
            pool.apply_async((duration_ms, large.clone()), work).unwrap()
        });
        for task in pair {
            assert_eq!(task.get().unwrap(), large.len());
        }
    }
    gate.put(()).unwrap();
    assert!(long.get().unwrap());
    for _ in 0..10 {
        let task = pool.apply_async(large.clone(), |bytes| bytes.len()).unwrap();
        let Ok(outcome) = task.get_timeout(PATIENCE) else { panic!("the worker takes no arguments any more") };
        assert_eq!(outcome.unwrap(), large.len());
    }
}

#[test]
fn handles_of_tasks_that_were_taken_back_do_not_harm_a_worker() {
    let pool = Pool::new(2).unwrap();
    let gate = Queue::<()>::bounded(1).unwrap();
    let long = pool.apply_async(gate.clone(), |gate: Queue<()>| gate.get().is_ok()).unwrap();
    let short = pool.apply_async(50, nap_ms).unwrap();
    let put_one = |(queue, duration_ms): (Queue<u32>, u64)| {
        nap_ms(duration_ms);
        queue.put(1).unwrap();
    };
    let queue = Queue::bounded(3).unwrap();
    pool.apply((queue.clone(), 0), put_one).unwrap();
    drop(queue);
    short.get().unwrap();
    gate.put(()).unwrap();
    assert!(long.get().unwrap());
    for _ in 0..5 {
        let queue = Queue::bounded(3).unwrap();
        let pair = [10, 10].map(|duration_ms| pool.apply_async((queue.clone(), duration_ms), put_one).unwrap());
        for task in pair {
            task.get().unwrap();
        }
    }
    assert_eq!(pool.lost_workers(), 0);
}

#[test]
fn the_handle_in_a_result_is_not_kept_by_the_worker() {
    let pool = Pool::new(1).unwrap();
    let queue: Queue<u32> = pool.apply((), |()| Queue::bounded(3).unwrap()).unwrap();
    assert!(matches!(queue.get_timeout(PATIENCE), Err(GetTimeoutError::Disconnected)));
}

#[test]
fn a_worker_that_replaces_another_has_the_signal_mask_of_the_first() {
    let blocked_in = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned()
    };
    let pool = Pool::new(1).unwrap();
    let first = blocked_in(pool.apply((), |()| std::process::id()).unwrap());
    let kill_self = |()| -> () {
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
    };
    let killed = pool.apply((), kill_self);
    assert!(matches!(killed, Err(TaskError::Killed { signal: 9, .. })));
    let second = pool.apply((), |()| std::process::id()).unwrap();
    assert_eq!(blocked_in(second), first);
}

#[test]
fn an_unwinding_that_passed_no_hook_is_the_error_of_its_task_only() {
    let pool = Pool::new(1).unwrap();
    let outcome = pool.apply((), |()| -> u32 { std::panic::resume_unwind(Box::new("gone on")) });
    let Err(TaskError::Panicked(report)) = outcome else { panic!("not a panic: {outcome:?}") };
    assert_eq!(report.message(), "gone on");
    assert_eq!(pool.lost_workers(), 0);
}

#[test]
fn values_can_be_sent_and_processes_started_at_the_end_of_a_process() {
    let last_words = Queue::<u32>::bounded(3).unwrap();
    let process = brigade::spawn(last_words.clone(), |last_words| {
        brigade::at_exit(move || {
            let process = brigade::spawn(3_u32, |number| number + 1).unwrap();
            last_words.put(process.join().unwrap()).unwrap();
        });
    });
    process.unwrap().join().unwrap();
    assert_eq!(last_words.get().unwrap(), 4);
}

#[test]
fn a_closed_pool_ends_its_workers_though_nobody_waits() {
    let pool = Pool::new(2).unwrap();
    drop(pool.apply_async(30, nap_ms).unwrap());
    pool.close();
    wait_until("no worker is left", || pool.workers().is_empty());
}

/// A child whose parent was killed while the kernel started it used to find that its socket was not its parent's, take itself
/// for no child at all, and run `main`: a program that had been killed began anew. It must end instead.
#[test]
fn a_child_whose_parent_is_gone_does_not_run_main() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    use std::os::fd::AsRawFd;

    // Not close-on-exec, and made by this process, while the parent of the program below is the shell in between.
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::empty(), None);
    let (socket, _other) = pair.unwrap();
    let script = format!("__BRIGADE_CHILD=1 \"$0\" --list 3<&{}; exit $?", socket.as_raw_fd());
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("bash").arg("-c").arg(script).arg(program).output().unwrap();
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(output.stdout.is_empty(), "main has run: {output:?}");
}
