//! Ends a campaign that hangs, and says first who waited for what. How long is long is said by the campaign.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::processes::{self, ProcessInfo};

/// The exit code of a program that its watchdog ended.
pub const EXIT_CODE: i32 = 3;

/// Waits on a thread of its own until it is fed, dropped, or must bite.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    limit: Duration,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    what: String,
    deadline: Option<Instant>,
}

impl Watchdog {
    /// From now on something must be heard every `limit`, or every process of this program is killed and it ends with
    /// [`EXIT_CODE`].
    ///
    /// # Panics
    /// If there can be no thread for it.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        let state = State { what: "the beginning".to_owned(), deadline: Some(Instant::now() + limit) };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        let named = std::thread::Builder::new().name("watchdog".to_owned());
        let started = named.spawn(move || watch(&watched, limit));
        assert!(started.is_ok(), "a campaign without its watchdog may hang: {started:?}");
        Self { shared, limit, thread: started.ok() }
    }

    /// Something goes on: `what` begins now, and has the whole time again.
    pub fn feed(&self, what: impl Into<String>) {
        let mut state = lock(&self.shared.state);
        *state = State { what: what.into(), deadline: Some(Instant::now() + self.limit) };
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.shared.state).deadline = None;
        self.shared.changed.notify_all();
        // So that it is not taken for something left behind.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(shared: &Shared, limit: Duration) {
    let mut state = lock(&shared.state);
    while let Some(deadline) = state.deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            eprintln!("watchdog: nothing was heard for {limit:?} during: {}\n{}", state.what, who_waits_for_what());
            kill_family();
            std::process::exit(EXIT_CODE);
        }
        // A bite must not wait for the next meal, and a meal only moves the deadline away: it need not wake us.
        state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Kills every process that this one has started, and those that they have.
pub fn kill_family() {
    for process in processes::family() {
        if let Some(pid) = Pid::from_raw(process.pid.cast_signed()) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// What every thread of this program and of its descendants does, a line each.
#[must_use]
pub fn who_waits_for_what() -> String {
    let mut report = String::new();
    let me = ProcessInfo::of(std::process::id());
    for process in me.into_iter().chain(processes::family()) {
        let ProcessInfo { pid, parent_pid, name, state, .. } = &process;
        let _ = writeln!(report, "process {pid} (of {parent_pid}) {name}: {state}");
        let words = SharedWords::of(*pid);
        for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let folder = entry.path();
            let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
            let call = read("syscall");
            let _ = writeln!(
                report,
                "  thread {} {}: in {} ({}){}",
                entry.file_name().to_string_lossy(),
                read("comm"),
                read("wchan"),
                call_name(&call),
                words.describe(&call)
            );
            for line in read("stack").lines().take(6) {
                let _ = writeln!(report, "      {line}");
            }
        }
    }
    report
}

fn call_name(call: &str) -> String {
    let number = call.split(' ').next().unwrap_or_default();
    let name = match number.parse() {
        #[cfg(target_arch = "x86_64")]
        Ok(0_i64) => "read",
        #[cfg(target_arch = "x86_64")]
        Ok(7 | 271) => "poll",
        #[cfg(target_arch = "x86_64")]
        Ok(47) => "recvmsg",
        #[cfg(target_arch = "x86_64")]
        Ok(61 | 247) => "wait",
        #[cfg(target_arch = "x86_64")]
        Ok(202) => "futex",
        #[cfg(target_arch = "x86_64")]
        Ok(230) => "clock_nanosleep",
        #[cfg(target_arch = "x86_64")]
        Ok(232 | 281) => "epoll_wait",
        _ => return format!("call {call}"),
    };
    name.to_owned()
}

/// Bytes of one window of a session's memory, and where the kind of each window stands; as session.rs of brigade has it.
const WINDOW_BYTES: u64 = 1 << 40;
const WINDOWS: u64 = 64 << 10;

/// The shared mappings of a process, to tell which word of which object an address is.
struct SharedWords {
    /// First and last address, offset in the file, name.
    mappings: Vec<(u64, u64, u64, String)>,
    session: Option<File>,
}

impl SharedWords {
    fn of(pid: u32) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
        let mappings = maps.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (first, last) = words.next()?.split_once('-')?;
            let offset = hexadecimal(words.nth(1)?)?;
            let name = words.nth(2)?.to_owned();
            Some((hexadecimal(first)?, hexadecimal(last)?, offset, name))
        });
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let is_session = |path: &std::path::PathBuf| {
            fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:brigade "))
        };
        let session = descriptors.map(|entry| entry.path()).find(is_session).and_then(|path| File::open(path).ok());
        Self { mappings: mappings.collect(), session }
    }

    /// Tells which shared word the first argument of a call points to, if it does.
    fn describe(&self, call: &str) -> String {
        let address =
            call.split(' ').nth(1).and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        let found = address.and_then(|address| {
            let inside = self.mappings.iter().find(|(first, last, ..)| (*first..*last).contains(&address));
            inside.map(|(first, _, offset, name)| (address - first + offset, name))
        });
        match found {
            Some((offset, name)) if name == "/memfd:brigade" => self.describe_word(offset),
            Some((offset, name)) if name.starts_with("/memfd:") => format!(" on word {offset} of {name}"),
            _ => String::new(),
        }
    }

    fn describe_word(&self, offset: u64) -> String {
        let (window, within) = (offset / WINDOW_BYTES, offset % WINDOW_BYTES);
        let read = |at| {
            let mut bytes = [0; 8];
            let session = self.session.as_ref()?;
            session.read_exact_at(&mut bytes, at).ok().map(|()| u64::from_le_bytes(bytes))
        };
        let value = read(offset).map_or(0, |value| value & 0xffff_ffff);
        let kind = read(WINDOWS + window * 8).map_or(0, |word| word & 0xff);
        let names: HashMap<u64, &str> = HashMap::from([(64, "the directory's lock")]);
        match names.get(&within).filter(|_| window == 0) {
            Some(name) => format!(" on {name}, which is {value:#x}"),
            None => format!(" on word {within} of window {window} (kind {kind}), which is {value:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fed_watchdog_does_not_bite() {
        let watchdog = Watchdog::new(Duration::from_secs(60));
        watchdog.feed("more");
        drop(watchdog);
    }

    #[test]
    fn everybody_is_in_the_report() {
        struct Child(std::process::Child);
        impl Drop for Child {
            fn drop(&mut self) {
                self.0.kill().unwrap();
                self.0.wait().unwrap();
            }
        }
        let child = Child(std::process::Command::new("sleep").arg("60").spawn().unwrap());
        let sleeps =
            || who_waits_for_what().contains(&format!("process {} (of {}) sleep: S", child.0.id(), std::process::id()));
        crate::facts::wait_until("the child sleeps", sleeps);
        assert!(who_waits_for_what().contains(&format!("process {} (of", std::process::id())));
    }
}
