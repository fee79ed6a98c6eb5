//! Runs a command, and answers chosen system calls of its whole process tree in place of the kernel: with an error, with less
//! than was asked for, late, with death, or with anything else that a hook comes up with between a check and the use of what
//! was checked. What is run, and what must hold afterwards, is said by its callers: see [`campaign`].
//!
//! One thread takes a filter on itself and starts the command, so every process of it has the filter from its first
//! instruction. This thread hears of each call that the filter names, counts those that a [`Rule`] is about, and answers.
//!
//! ```no_run
//! use torture::faultline::{Act, Role, Rule, When, run};
//! let full = Rule::of("pwrite64", Act::Fail(rustix::io::Errno::NOSPC)).by(Role::Worker).when(When::Nth(3));
//! let mut command = std::process::Command::new("brigade");
//! command.args(["copy", "a", "b"]);
//! let ended = run(command, vec![full], std::time::Duration::from_secs(30)).unwrap();
//! assert!(!ended.is_hung && ended.output.status.code() == Some(1));
//! ```

pub mod calls;
pub mod campaign;
pub mod cutoff;
mod jailed;
mod judge;
mod part;
mod scene;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use brigade_sys::kernel::notification;
pub use brigade_sys::kernel::notification::{Answer, Filter};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::facts::wait_until;
use crate::processes::{ProcessInfo, is_running};

/// How long processes may take to be gone after the command has ended.
const GRACE: Duration = Duration::from_secs(3);

/// Which process of the tree makes a call.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// The command itself.
    Command,
    /// A process that it has started.
    Worker,
}

/// Which of the calls that a rule is about it acts on. The first is number 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// All of them.
    Always,
    /// One.
    Nth(u64),
    /// This one and all after it.
    From(u64),
    /// The first, the third and so on: a caller that tries again after each gets through.
    EveryOther,
}

/// A call that waits for its answer, and who makes it.
#[derive(Debug)]
pub struct Asked {
    /// The call.
    pub call: notification::Call,
    /// The process, of which the thread is one.
    pub pid: u32,
    /// What it is in the tree.
    pub role: Role,
}

/// Decides about a call, after having done something to the world.
pub type Hook = Box<dyn FnMut(&Asked) -> Answer + Send>;

/// What becomes of a call.
pub enum Act {
    /// It fails.
    Fail(Errno),
    /// One byte is read, written or copied, one entry of a folder is listed.
    Part,
    /// It returns 0 and has done nothing.
    Nothing,
    /// It is done, but so much later.
    Delay(Duration),
    /// Its process dies of SIGKILL.
    Kill,
    /// It is done, but first the parent of its process is sent a signal. If that is SIGKILL the process is to die with its parent,
    /// and does no more: whoever only sent the signal could be outrun.
    SignalParent(Signal),
    /// Whatever this says.
    Hook(Hook),
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(errno) => write!(f, "Fail({errno:?})"),
            Self::Part => f.write_str("Part"),
            Self::Nothing => f.write_str("Nothing"),
            Self::Delay(pause) => write!(f, "Delay({pause:?})"),
            Self::Kill => f.write_str("Kill"),
            Self::SignalParent(signal) => write!(f, "SignalParent({signal:?})"),
            Self::Hook(_) => f.write_str("Hook"),
        }
    }
}

/// An act on chosen calls.
#[derive(Debug)]
pub struct Rule {
    numbers: Vec<u32>,
    role: Option<Role>,
    place: Place,
    when: When,
    act: Act,
    n_met: u64,
    n_done: u64,
}

/// On which files a call must be to be chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// On any or none.
    Anywhere,
    /// On this one or one below it.
    Below(PathBuf),
    /// On none that is below one of these.
    Outside(Vec<PathBuf>),
}

impl Place {
    fn has(&self, asked: &Asked) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Below(folder) => asked.path().is_some_and(|path| path.starts_with(folder)),
            Self::Outside(folders) => {
                let path = asked.path();
                !folders.iter().any(|folder| path.as_ref().is_some_and(|path| path.starts_with(folder)))
            }
        }
    }
}

impl Rule {
    /// A rule about all calls of this name.
    ///
    /// # Panics
    /// If [`calls`] does not know the name.
    #[must_use]
    pub fn of(name: &str, act: Act) -> Self {
        Self::of_each([name], act)
    }

    /// A rule about all calls of these names, which are counted together.
    ///
    /// # Panics
    /// If [`calls`] does not know one of the names.
    #[must_use]
    pub fn of_each<'a>(names: impl IntoIterator<Item = &'a str>, act: Act) -> Self {
        let number = |name| calls::named(name).unwrap_or_else(|| panic!("no call is named {name}")).number;
        Self::of_numbers(names.into_iter().map(number).collect(), act)
    }

    /// A rule about all calls that there are, also those that [`calls`] does not know; they are counted together.
    #[must_use]
    pub fn of_every(act: Act) -> Self {
        Self::of_numbers((0..calls::AFTER_ALL).collect(), act)
    }

    fn of_numbers(numbers: Vec<u32>, act: Act) -> Self {
        Self { numbers, role: None, place: Place::Anywhere, when: When::Always, act, n_met: 0, n_done: 0 }
    }

    /// Only calls of such a process.
    #[must_use]
    pub fn by(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// Only calls on such files.
    #[must_use]
    pub fn on(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Only calls on this file and what is below it.
    #[must_use]
    pub fn below(self, path: impl Into<PathBuf>) -> Self {
        self.on(Place::Below(path.into()))
    }

    /// Only these of them.
    #[must_use]
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Counts the call if the rule is about it, and says whether the rule acts on it.
    fn is_met(&mut self, asked: &Asked) -> bool {
        let is_meant = self.numbers.contains(&asked.call.number)
            && self.role.is_none_or(|role| role == asked.role)
            && self.place.has(asked);
        self.n_met += u64::from(is_meant);
        is_meant
            && match self.when {
                When::Always => true,
                When::Nth(n) => self.n_met == n,
                When::From(n) => self.n_met >= n,
                When::EveryOther => self.n_met % 2 == 1,
            }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// What the command said, and its status.
    pub output: Output,
    /// It did not end in time, or left processes behind; all were killed.
    pub is_hung: bool,
    /// How often each rule acted.
    pub n_done: Vec<u64>,
    /// How often each rule was met, whether it acted or not.
    pub n_met: Vec<u64>,
}

/// Runs a command under rules, of which the first that is met acts. After `limit` all its processes are killed.
///
/// # Errors
/// What the kernel says to the filter or to the start of the command.
pub fn run(command: Command, rules: Vec<Rule>, limit: Duration) -> io::Result<Ended> {
    run_with(Filter::default(), command, rules, limit)
}

/// The same; calls that `filter` refuses never come to a rule.
///
/// # Errors
/// As [`run`].
pub fn run_with(filter: Filter, command: Command, rules: Vec<Rule>, limit: Duration) -> io::Result<Ended> {
    // A new thread has an arena of its own in the C library's allocator, and so has the one that starts the command. If they shared
    // one, whoever answers could wait for its lock while the other waits for the answer to the call that gives it back.
    let attendant = std::thread::spawn(move || run_attended(filter, command, rules, limit));
    attendant.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn run_attended(filter: Filter, mut command: Command, rules: Vec<Rule>, limit: Duration) -> io::Result<Ended> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let numbers: BTreeSet<u32> = rules.iter().flat_map(|rule| rule.numbers.iter().copied()).collect();
    let filter = filter.ask_about(numbers);
    let (send, receive) = mpsc::channel();
    let command_pid = Arc::new(AtomicU32::new(0));
    let started = Arc::clone(&command_pid);
    let starter = std::thread::spawn(move || {
        let installed = filter.install().map(Arc::new);
        let is_installed = installed.is_ok();
        // Whoever waited asleep would be woken by a call that only he could answer, so he does not sleep.
        let _ = send.send(installed);
        let mut output = Err(io::ErrorKind::Other.into());
        if is_installed {
            output = command.spawn().and_then(|child| {
                started.store(child.id(), Ordering::Relaxed);
                child.wait_with_output()
            });
        }
        // Whose memory the command is takes it back.
        (output, command)
    });
    let listener = loop {
        match receive.try_recv() {
            Ok(installed) => break installed?,
            Err(TryRecvError::Empty) => std::thread::sleep(Duration::from_micros(20)),
            Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    let mut tracer = Tracer {
        listener,
        rules,
        own_program: program_of(std::process::id()),
        threads: HashMap::new(),
        command: command_pid,
    };
    let is_hung = tracer.attend(|| starter.is_finished(), limit)?;
    let (output, _command) = starter.join().map_err(|_| io::ErrorKind::Other)?;
    let output = output?;
    let (n_done, n_met) = tracer.rules.iter().map(|rule| (rule.n_done, rule.n_met)).unzip();
    Ok(Ended { output, is_hung, n_done, n_met })
}

struct Tracer {
    listener: Arc<OwnedFd>,
    rules: Vec<Rule>,
    own_program: Option<PathBuf>,
    /// Those seen so far: of which process they are, and what that is. /proc would take longer than everything else.
    threads: HashMap<u32, (u32, Role)>,
    /// The command, whose number is that of their process group too; 0 before it is started.
    command: Arc<AtomicU32>,
}

impl Tracer {
    /// Answers until nobody is left who could ask. Returns whether that was brought about by force.
    fn attend(&mut self, is_over: impl Fn() -> bool, limit: Duration) -> io::Result<bool> {
        let mut deadline = Instant::now() + limit;
        let (mut was_over, mut is_hung) = (false, false);
        loop {
            if !was_over && is_over() {
                was_over = true;
                deadline = deadline.min(Instant::now() + GRACE);
            }
            if Instant::now() >= deadline {
                is_hung = true;
                self.kill_all();
                deadline += GRACE;
            }
            let step = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let mut polled = [PollFd::new(&*self.listener, PollFlags::IN)];
            match rustix::event::poll(&mut polled, Some(&step)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let events = polled[0].revents();
            if events.contains(PollFlags::IN) {
                if let Some(call) = notification::receive(&*self.listener)? {
                    self.decide(call)?;
                }
            } else if events.contains(PollFlags::HUP) {
                return Ok(is_hung);
            }
        }
    }

    fn decide(&mut self, call: notification::Call) -> io::Result<()> {
        let Some(asked) = self.recognize(call) else {
            return notification::answer(&*self.listener, &call, Answer::GoOn);
        };
        let Some(rule) = self.rules.iter_mut().filter_map(|rule| rule.is_met(&asked).then_some(rule)).next() else {
            return notification::answer(&*self.listener, &call, Answer::GoOn);
        };
        rule.n_done += 1;
        let answer = match &mut rule.act {
            Act::Fail(errno) => Answer::Fail(errno.raw_os_error()),
            Act::Part => part::done_by(&asked),
            Act::Nothing => Answer::Return(0),
            Act::Hook(hook) => hook(&asked),
            Act::Delay(pause) => {
                let (listener, pause) = (Arc::clone(&self.listener), *pause);
                // The delay is of this call and not of all others.
                std::thread::spawn(move || {
                    std::thread::sleep(pause);
                    let _ = notification::answer(&*listener, &call, Answer::GoOn);
                });
                return Ok(());
            }
            Act::Kill => {
                send(asked.pid, Signal::KILL);
                return Ok(());
            }
            Act::SignalParent(signal) => {
                asked.signal_parent(*signal);
                Answer::GoOn
            }
        };
        notification::answer(&*self.listener, &call, answer)
    }

    /// Who asks; `None` for ourselves, also for a child of ours that has not become the command yet.
    fn recognize(&mut self, call: notification::Call) -> Option<Asked> {
        if !self.threads.contains_key(&call.thread) {
            let pid = process_of(call.thread)?;
            if pid == std::process::id() || program_of(pid) == self.own_program {
                return None;
            }
            let is_ours = ProcessInfo::of(pid)?.parent_pid == std::process::id();
            self.threads.insert(call.thread, (pid, if is_ours { Role::Command } else { Role::Worker }));
        }
        let (pid, role) = self.threads[&call.thread];
        Some(Asked { call, pid, role })
    }

    fn kill_all(&self) {
        if let Some(group) = Pid::from_raw(self.command.load(Ordering::Relaxed).cast_signed()) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let processes: BTreeSet<u32> = self.threads.values().map(|&(pid, _)| pid).collect();
        processes.into_iter().filter(|&pid| ProcessInfo::of(pid).is_some()).for_each(|pid| send(pid, Signal::KILL));
    }
}

impl Asked {
    /// The name of the call.
    #[must_use]
    pub fn name(&self) -> &'static str {
        calls::numbered(self.call.number).map_or("?", |call| call.name)
    }

    /// The file that the call is about, as far as it is about one.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        calls::numbered(self.call.number)?.subject(self)
    }

    fn signal_parent(&self, signal: Signal) {
        if let Some(process) = ProcessInfo::of(self.pid) {
            send(process.parent_pid, signal);
        }
        if signal == Signal::KILL {
            wait_until("a process has died with its parent", || !is_running(self.pid));
        }
    }

    fn descriptor(&self, argument_idx: usize) -> Option<PathBuf> {
        let number = self.call.arguments[argument_idx] as i32;
        if number < 0 {
            return self.current_folder();
        }
        jailed::path_of(self.pid, &format!("fd/{number}"))
    }

    fn current_folder(&self) -> Option<PathBuf> {
        jailed::path_of(self.pid, "cwd")
    }

    fn text(&self, argument_idx: usize) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let mut bytes = self.bytes_at(self.call.arguments[argument_idx], 4096)?;
        bytes.truncate(bytes.iter().position(|&byte| byte == 0)?);
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }

    /// At most `n_bytes` of its memory; fewer where it ends.
    fn bytes_at(&self, address: u64, n_bytes: usize) -> Option<Vec<u8>> {
        use std::os::unix::fs::FileExt as _;
        let memory = std::fs::File::open(format!("/proc/{}/mem", self.pid)).ok()?;
        let mut bytes = vec![0; n_bytes];
        let n_read = memory.read_at(&mut bytes, address).ok()?;
        bytes.truncate(n_read);
        Some(bytes)
    }

    fn put_bytes(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        std::fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", self.pid))?.write_all_at(bytes, address)
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn process_of(thread: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

fn program_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}
