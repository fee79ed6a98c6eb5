//! What a process can be given besides its arguments. How it is started with that is in supervisor/birth.rs.

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use brigade_sys::kernel::memory::move_up;
use brigade_sys::kernel::spawn::Group;
use rustix::process::Rlimit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Pipes, Process};
use crate::descriptor::Descriptor;
use crate::entry::EntryPoint;
use crate::parcel::Parcel;
use crate::supervisor::{self, OnParentExit, Order, SpawnError, Surroundings};

/// What a process is started with. Made by [`Process::builder`].
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// use brigade::{Process, Stdio};
/// use std::io::Read;
///
/// let mut process = Process::builder()
///     .name("lister")
///     .current_dir("/")
///     .env("GREETING", "hello")
///     .stdout(Stdio::Piped)
///     .spawn((), |()| {
///         println!("{} from {:?}", std::env::var("GREETING").unwrap(), std::env::current_dir().unwrap());
///     })?;
/// let mut text = String::new();
/// process.take_stdout().expect("it is piped").read_to_string(&mut text)?;
/// process.join()?;
/// assert_eq!(text, "hello from \"/\"\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is started before `spawn`"]
pub struct ProcessBuilder {
    name: Option<String>,
    standard: [Stdio; 3],
    on_parent_exit: OnParentExit,
    surroundings: Surroundings,
}

/// What a process has as standard input, output or error.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// What its parent has.
    #[default]
    Inherit,
    /// Nothing: reading ends at once, what is written disappears.
    Null,
    /// A pipe, whose other end its [`Process`] gives out.
    Piped,
    /// This file, pipe or socket.
    Descriptor(Descriptor),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(owned: T) -> Self {
        Self::Descriptor(Descriptor::from(owned))
    }
}

impl From<Descriptor> for Stdio {
    fn from(descriptor: Descriptor) -> Self {
        Self::Descriptor(descriptor)
    }
}

/// The process group that a process is in: to whom a terminal's Ctrl-C goes, for one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProcessGroup {
    /// That of its parent.
    #[default]
    Inherit,
    /// A new one, which it leads.
    Own,
}

impl From<ProcessGroup> for Group {
    fn from(group: ProcessGroup) -> Self {
        match group {
            ProcessGroup::Inherit => Self::Inherit,
            ProcessGroup::Own => Self::Own,
        }
    }
}

/// Something of which a process can be allowed only so much. See getrlimit(2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a core file.
    CoreFile,
    /// Seconds of processor time.
    CpuTime,
    /// Bytes of data: heap and writable private mappings.
    Data,
    /// Bytes of a file, memory shared by brigade included.
    FileSize,
    /// Bytes of locked memory.
    LockedMemory,
    /// Open files, counted from 0: one more than the highest number.
    OpenFiles,
    /// Processes and threads of its user.
    Processes,
    /// Bytes of stack of the main thread.
    Stack,
}

impl From<Resource> for rustix::process::Resource {
    fn from(resource: Resource) -> Self {
        match resource {
            Resource::AddressSpace => Self::As,
            Resource::CoreFile => Self::Core,
            Resource::CpuTime => Self::Cpu,
            Resource::Data => Self::Data,
            Resource::FileSize => Self::Fsize,
            Resource::LockedMemory => Self::Memlock,
            Resource::OpenFiles => Self::Nofile,
            Resource::Processes => Self::Nproc,
            Resource::Stack => Self::Stack,
        }
    }
}

impl ProcessBuilder {
    /// Its name: for [`current`](crate::current), error messages, and `ps` (the first 15 bytes). Else `Process-1`,
    /// `Process-2`, ….
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The file to execute, which must be this build of this program. Else what this process executes, also if that file was
    /// replaced or removed meanwhile.
    pub fn exe(mut self, path: impl AsRef<Path>) -> Self {
        self.surroundings.executable = Some(path.as_ref().to_owned());
        self
    }

    /// Sets a variable of its environment. The others are those of this process.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.surroundings.environment.changes.insert(name.as_ref().to_owned(), value);
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.surroundings.environment.changes.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Gives it none of the variables of this process, and forgets those set so far.
    pub fn env_clear(mut self) -> Self {
        self.surroundings.environment.is_cleared = true;
        self.surroundings.environment.changes.clear();
        self
    }

    /// The folder that it starts in.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.surroundings.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Its standard input.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.standard[0] = stdin.into();
        self
    }

    /// Its standard output.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.standard[1] = stdout.into();
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.standard[2] = stderr.into();
        self
    }

    /// Its nice value, from -20 (first) to 19 (last); a lower one than that of this process takes the right to it. Else that
    /// of the spawning thread.
    pub fn nice(mut self, nice: i32) -> Self {
        self.surroundings.nice = Some(nice);
        self
    }

    /// Limits what it may use: `soft` is what holds, `hard` is up to where it may raise that itself. `None` is no limit.
    pub fn rlimit(mut self, resource: Resource, soft: impl Into<Option<u64>>, hard: impl Into<Option<u64>>) -> Self {
        let limit = Rlimit { current: soft.into(), maximum: hard.into() };
        self.surroundings.limits.push((resource.into(), limit));
        self
    }

    /// The process group that it is in.
    pub fn process_group(mut self, group: ProcessGroup) -> Self {
        self.surroundings.group = group.into();
        self
    }

    /// What becomes of it when this process ends.
    pub fn on_parent_exit(mut self, on_parent_exit: OnParentExit) -> Self {
        self.on_parent_exit = on_parent_exit;
        self
    }

    /// Runs `function` with `args` in a new process, and returns when the kernel has made it. See [`spawn`](crate::spawn).
    ///
    /// # Errors
    /// As [`spawn`](crate::spawn), and
    /// - `WrongProgram`: the file given by [`exe`](Self::exe) is not this build of this program.
    /// - `System` names what could not be had: the folder, a limit, the nice value.
    pub fn spawn<A, R, F>(self, args: A, _function: F) -> Result<Process<R>, SpawnError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let Self { name, standard, on_parent_exit, mut surroundings } = self;
        let entry = EntryPoint::of::<F, A, R>().map_err(|_| SpawnError::NotInMainProgram)?;
        let mut pipes = Pipes::default();
        for (idx, stdio) in standard.into_iter().enumerate() {
            let opened = open(idx, stdio, &mut pipes).and_then(|given| given.map(move_up).transpose());
            surroundings.standard[idx] =
                opened.map_err(|error| SpawnError::system("open a standard stream", &error))?;
        }
        let order = Order {
            entry,
            name: name.unwrap_or_else(default_name),
            arguments: Parcel::pack(&args)?,
            on_parent_exit,
            surroundings,
            caller: None,
            on_exit: None,
        };
        // Only now may the caller's own handles go: those in the parcel are counted.
        drop(args);
        let child = supervisor::spawn(order)?;
        Ok(Process { child, pipes, ticks: Mutex::default(), result: PhantomData })
    }
}

/// What the child is given as a standard stream; `None` leaves it what the parent has.
fn open(idx: usize, stdio: Stdio, pipes: &mut Pipes) -> io::Result<Option<OwnedFd>> {
    Ok(match stdio {
        Stdio::Inherit => None,
        Stdio::Null => Some(std::fs::File::options().read(true).write(true).open("/dev/null")?.into()),
        Stdio::Descriptor(descriptor) => Some(descriptor.into_owned_fd()),
        Stdio::Piped => {
            let (reader, writer): (PipeReader, PipeWriter) = io::pipe()?;
            Some(match idx {
                0 => {
                    pipes.stdin = Some(writer);
                    reader.into()
                }
                1 => {
                    pipes.stdout = Some(reader);
                    writer.into()
                }
                _ => {
                    pipes.stderr = Some(reader);
                    writer.into()
                }
            })
        }
    })
}

/// `Process-1`, `Process-2`, …
fn default_name() -> String {
    static N_NAMED: AtomicU32 = AtomicU32::new(0);
    format!("Process-{}", N_NAMED.fetch_add(1, Ordering::Relaxed) + 1)
}
