//! How a process is started: what it finds around itself, which file it executes, what it is told first.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};

use brigade_sys::kernel::ending;
use brigade_sys::kernel::image::{self, Image};
use brigade_sys::kernel::passing::{self, Blocking};
use brigade_sys::kernel::spawn::{self, Group, Program, StartError, Started, Step, WithoutParent};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};

use super::desk::{Desk, Talk};
use super::record::{Child, State};
use super::{Caller, OnParentExit, Order, SpawnError};
use crate::child::{Instructions, MARKER, Marker};
use crate::current::current;
use crate::entry;
use crate::object;
use crate::parcel::{self, Parcel, Receiver};
use crate::session::{self, Participant};

/// What a process finds around itself, where that differs from its parent's.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) executable: Option<PathBuf>,
    pub(crate) environment: Environment,
    pub(crate) folder: Option<PathBuf>,
    /// What it finds open as 0 to 2; `None` is what the parent has there.
    pub(crate) standard: [Option<OwnedFd>; 3],
    pub(crate) nice: Option<i32>,
    pub(crate) limits: Vec<(Resource, Rlimit)>,
    pub(crate) group: Group,
}

/// How an environment differs from the parent's.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) is_cleared: bool,
    /// New values; `None` removes.
    pub(crate) changes: BTreeMap<OsString, Option<OsString>>,
}

impl Environment {
    /// The variables of the child, `NAME=value`, and the marker that tells it that it is one.
    fn strings(&self, marker: &str) -> io::Result<Vec<CString>> {
        let inherited = std::env::vars_os().filter(|(name, _)| !self.is_cleared && !self.changes.contains_key(name));
        let changed = self.changes.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        let mut strings = Vec::new();
        for (name, value) in inherited.chain(changed).filter(|(name, _)| name != MARKER) {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(Errno::INVAL.into());
            }
            strings.push(assignment(name, &value)?);
        }
        strings.push(assignment(MARKER.into(), OsStr::new(marker))?);
        Ok(strings)
    }
}

fn assignment(name: OsString, value: &OsStr) -> io::Result<CString> {
    let mut bytes = name.into_vec();
    bytes.push(b'=');
    bytes.extend(value.as_bytes());
    Ok(CString::new(bytes)?)
}

/// A place in the session, reserved for a child that nobody watches yet: given back if its start fails half-way.
struct Reserved(Option<Participant>);

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(participant) = self.0 {
            object::reap(participant);
        }
    }
}

impl Desk {
    pub(super) fn start_child(&mut self, mut order: Order, caller: &Caller) -> Result<Arc<Child>, SpawnError> {
        if caller.is_confined() {
            return Err(SpawnError::CallerConfined);
        }
        let failed = |attempt| move |error: io::Error| SpawnError::system(attempt, &error);
        let (ours, theirs) = passing::pair().map_err(failed("make a socket pair"))?;
        let session = session::session().ok();
        let no_place = |error| SpawnError::system("find a place in the session", &io::Error::other(error));
        let participant = session.map(|session| session.reserve().map_err(no_place)).transpose()?;
        let mut reserved = Reserved(participant);
        let instructions = Parcel::pack(&Instructions {
            build: entry::build_fingerprint(),
            entry: order.entry,
            name: order.name.clone(),
            parent_pid: std::process::id(),
            parent_name: current().name(),
            participant,
            blocked_signals: caller.blocked.0,
            is_detached: order.on_parent_exit == OnParentExit::Detach,
        })?;
        let mut given = vec![theirs.as_fd()];
        given.extend(session.iter().flat_map(|session| [session.arena(), session.tokens()]));
        let Started { pid, pidfd } = self.execute(&order, caller, &given)?;
        drop(theirs);
        // If the child is gone already, that shows as its end.
        let sent = parcel::send(&ours, 0, &instructions, Blocking::Wait)
            .and_then(|()| parcel::send(&ours, 0, &order.arguments, Blocking::Wait));
        // The message holds them open now; the handles are still to be counted by the child.
        order.arguments.descriptors.clear();
        let child = Arc::new(Child {
            pid,
            pidfd,
            name: order.name,
            on_parent_exit: order.on_parent_exit,
            participant,
            state: Mutex::new(State { arguments: Some(order.arguments), ..State::default() }),
            changed: Condvar::new(),
            is_left_behind: AtomicBool::new(false),
        });
        if let Err(error) = sent
            && !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        {
            child.state().start_failure = Some(format!("cannot send the arguments: {error}"));
            child.signal(Signal::KILL);
        }
        let talk =
            Talk { child: Arc::clone(&child), socket: ours, receiver: Receiver::default(), on_exit: order.on_exit };
        if let Err(error) = self.watch(talk) {
            child.signal(Signal::KILL);
            let _ = ending::collect(child.pidfd());
            return Err(SpawnError::system("watch a process", &error));
        }
        reserved.0 = None;
        Ok(child)
    }

    /// Makes the process and has it execute this program.
    fn execute(&self, order: &Order, caller: &Caller, given: &[BorrowedFd<'_>]) -> Result<Started, SpawnError> {
        let strings = Strings::of(order, given.len())?;
        let around = &order.surroundings;
        let inherited_nice = (caller.nice != self.own.nice).then_some(caller.nice);
        let program = Program {
            path: strings.path.as_deref().unwrap_or(THIS_PROGRAM),
            arguments: &strings.arguments,
            environment: &strings.environment,
            descriptors: given,
            standard: around.standard.each_ref().map(|descriptor| descriptor.as_ref().map(AsFd::as_fd)),
            folder: strings.folder.as_deref(),
            group: around.group,
            nice: around.nice.or(inherited_nice),
            processors: (caller.processors != self.own.processors).then_some(caller.processors),
            limits: &around.limits,
            without_parent: match order.on_parent_exit {
                OnParentExit::Detach => WithoutParent::Lives,
                OnParentExit::Join | OnParentExit::Terminate => WithoutParent::Dies,
            },
        };
        start(program, around)
    }
}

/// What the kernel is to read when it starts a process, as it wants it.
struct Strings {
    /// `None` is this program.
    path: Option<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    folder: Option<CString>,
}

impl Strings {
    fn of(order: &Order, n_given: usize) -> Result<Self, SpawnError> {
        let failed = |attempt| move |error: io::Error| SpawnError::system(attempt, &error);
        let around = &order.surroundings;
        let is_detached = order.on_parent_exit == OnParentExit::Detach;
        let marker = Marker { n_given, detached_from: is_detached.then(std::process::id) };
        let arguments: io::Result<Vec<CString>> =
            std::env::args_os().map(|argument| Ok(CString::new(argument.into_vec())?)).collect();
        Ok(Self {
            path: around.executable.as_deref().map(this_build).transpose()?,
            arguments: arguments.map_err(failed("pass the program's arguments on"))?,
            environment: around.environment.strings(&marker.to_string()).map_err(failed("set the environment"))?,
            folder: around
                .folder
                .as_ref()
                .map(|folder| c_path(folder))
                .transpose()
                .map_err(failed("enter the folder"))?,
        })
    }
}

/// Starts a program, and once more in another way where that is what stood in its way.
fn start(mut program: Program<'_>, around: &Surroundings) -> Result<Started, SpawnError> {
    let mut started = spawn::spawn(&program);
    if around.nice.is_none() && failed_at(&started, Step::Nice) {
        // Lowering it again takes a right that the caller may have lost since it had that value itself.
        program.nice = None;
        started = spawn::spawn(&program);
    }
    if around.executable.is_none() && failed_at(&started, Step::Execute) && !Path::new("/proc/self/exe").exists() {
        let named = as_it_was_named()?;
        started = spawn::spawn(&Program { path: &named, ..program });
    }
    started.map_err(|error| SpawnError::system(attempt(error.step), &error.cause))
}

/// What this process executes, also if the file has another name by now, or none.
const THIS_PROGRAM: &CStr = c"/proc/self/exe";

fn failed_at(started: &Result<Started, StartError>, step: Step) -> bool {
    started.as_ref().is_err_and(|error| error.step == step)
}

/// This program where /proc is not mounted: by the name under which it was executed.
fn as_it_was_named() -> Result<CString, SpawnError> {
    let name = image::executed_name().unwrap_or_default();
    this_build(Path::new(OsStr::from_bytes(name.to_bytes())))
}

const fn attempt(step: Step) -> &'static str {
    match step {
        Step::Make => "start a process",
        Step::Group => "make a process group",
        Step::Folder => "enter the folder",
        Step::Nice => "set the nice value",
        Step::Processors => "set the processors",
        Step::Limit => "set a limit",
        Step::Descriptors => "hand the descriptors over",
        Step::Execute => "execute the program",
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The path of a file that must be this build of this program, wherever the process then is.
fn this_build(path: &Path) -> Result<CString, SpawnError> {
    let failed = |error: io::Error| SpawnError::system("read the program", &error);
    let wrong = || SpawnError::WrongProgram { path: path.to_string_lossy().into_owned() };
    let file = File::open(path).map_err(failed)?;
    match image::build_id_of(&file) {
        Ok(id) if id == Image::main().build_id() => {}
        Ok(_) => return Err(wrong()),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(wrong()),
        Err(error) => return Err(failed(error)),
    }
    std::path::absolute(path).and_then(|path| c_path(&path)).map_err(failed)
}
