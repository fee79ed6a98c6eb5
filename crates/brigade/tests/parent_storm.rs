//! The parent of a busy tree of processes is killed at a random moment, again and again: within a second no process of the tree
//! is left. `BRIGADE_N` sets how often (40 unless told, 500 for the campaign), `BRIGADE_SEED` repeats a run.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brigade::{Manager, OnParentExit, Pool, Process, Queue};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions};
use torture::facts::wait_until;
use torture::processes::family;

/// What this program plays, if it is not the test: `keeper`, or a victim.
const ROLE: &str = "__BRIGADE_TEST_ROLE";
const NAME: &str = "a_killed_parent_leaves_no_process_whenever_it_dies";
const CONTROL_NAME: &str = "a_process_that_stays_is_found";

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn play(role: &str, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, role);
    command
}

/// Runs this test in the process that its role asks for; the test itself has none.
fn cast(test: &str, keep: fn(), busy: fn()) {
    match std::env::var(ROLE).as_deref() {
        Ok("keeper") => keep(),
        Ok(_) => busy(),
        Err(_) => {
            let output = play("keeper", test).output().unwrap();
            print!("{}", String::from_utf8_lossy(&output.stdout));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn a_killed_parent_leaves_no_process_whenever_it_dies() {
    cast(NAME, keep, grow_a_tree);
}

/// The check itself is worth something: what does not die with its parent is found.
#[test]
fn a_process_that_stays_is_found() {
    cast(CONTROL_NAME, keep_one_that_stays, leave_one_behind);
}

/// Makes every orphan below this process its own child, and kills one victim after the other.
fn keep() {
    let seed = number("BRIGADE_SEED", Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) << 20);
    let n_kills = number("BRIGADE_N", 40);
    println!("BRIGADE_SEED={seed} BRIGADE_N={n_kills}");
    let mut random = seed | 1;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let (mut n_collected, mut slowest) = (0, Duration::ZERO);
    for round in 0..n_kills {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut victim = start_victim(NAME);
        if round == 0 {
            // However busy the machine is, one dies with children.
            wait_until("the victim has a child", || family().iter().any(|process| process.parent_pid == victim.id()));
        }
        // Only so that the kill comes at another moment each time.
        std::thread::sleep(Duration::from_micros(random % 100_000));
        kill(&mut victim);
        let (n_processes, time) = collect_all().unwrap_or_else(|left| panic!("round {round}: {left}"));
        n_collected += n_processes;
        slowest = slowest.max(time);
    }
    println!("{n_kills} parents were killed; {n_collected} processes died with them, the last after {slowest:?}");
    assert!(n_collected > n_kills, "no victim ever had a child");
}

fn start_victim(test: &str) -> Child {
    play("victim", test).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(victim: &mut Child) {
    victim.kill().unwrap();
}

/// Collects every process below this one, the victim among them, until none is left: how many, and how long it took. After a
/// second it says who is left.
fn collect_all() -> Result<(u64, Duration), String> {
    let start = Instant::now();
    let mut n_processes = 0;
    let mut is_slow = false;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => n_processes += 1,
            Err(Errno::CHILD) => return Ok((n_processes, start.elapsed())),
            _ if start.elapsed() > Duration::from_millis(300) && !is_slow => {
                is_slow = true;
                println!("slow: {}", describe_children());
            }
            _ if start.elapsed() > Duration::from_secs(1) => return Err(describe_children()),
            // Nothing tells of orphans that are still to come here, and a blocking wait has no deadline.
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn describe_children() -> String {
    let me = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")).unwrap_or_default();
    let mut threads = String::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        threads += &std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    }
    let describe = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        ["Name:", "State:", "PPid:"]
            .iter()
            .filter_map(|key| status.lines().find(|line| line.starts_with(key)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let left: Vec<String> = children.split_whitespace().chain(threads.split_whitespace()).map(describe).collect();
    format!("there still are: {left:?}")
}

/// A parent that starts, joins and uses processes of all kinds, without end.
fn grow_a_tree() {
    let pool = Pool::new(2).unwrap();
    let manager = Manager::start().unwrap();
    let queue = Queue::<u32>::bounded(4).unwrap();
    let _feeder = brigade::spawn(queue.clone(), |queue: Queue<u32>| {
        while queue.put(1).is_ok() {
            let _ = brigade::spawn((), |()| 7).map(Process::join);
        }
    });
    loop {
        let with_child = brigade::spawn(2_u32, descend).unwrap();
        let of_manager = manager.queue::<u32>(3).unwrap();
        of_manager.put(queue.get().unwrap()).unwrap();
        assert!(pool.map(0..20_u32, |number| number + 1).into_iter().all(|result| result.is_ok()));
        assert_eq!(with_child.join().unwrap(), 3);
    }
}

fn descend(depth: u32) -> u32 {
    if depth == 0 { 1 } else { brigade::spawn(depth - 1, descend).unwrap().join().unwrap() + 1 }
}

fn keep_one_that_stays() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut victim = play("victim", CONTROL_NAME).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = std::io::BufReader::new(victim.stdout.take().unwrap());
    let mut line = String::new();
    let pid = loop {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut output, &mut line).unwrap(), 0);
        if let Some(pid) = line.trim().strip_prefix("STAYS=") {
            break pid.parse().unwrap();
        }
    };
    kill(&mut victim);
    let left = collect_all().unwrap_err();
    assert!(left.contains("STAYS") || left.contains("stays"), "{left}");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    collect_all().unwrap();
}

fn leave_one_behind() {
    let stays = Process::builder().name("stays").on_parent_exit(OnParentExit::Detach);
    let stays = stays.spawn((), |()| {
        println!("\nSTAYS={}", std::process::id());
        loop {
            std::thread::park();
        }
    });
    let _: Process<()> = stays.unwrap();
    loop {
        std::thread::park();
    }
}
