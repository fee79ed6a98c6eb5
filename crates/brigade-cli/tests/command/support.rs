//! What the tests of the command share: runs of it with a bounded time, trees to copy, a terminal. No claims are made here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

/// No test needs as long as this; one that does hangs.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A folder of its own for a test, removed with it.
pub struct Scene {
    folder: TempDir,
    /// What runs that were cut off leave for later ones.
    state: TempDir,
}

/// How a run ended.
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Scene {
    /// An empty folder.
    pub fn new() -> Self {
        // Tens of thousands of files are made in memory in no time, on a disk they take longer than the test.
        Self { folder: in_memory(), state: in_memory() }
    }

    /// The records of runs that were cut off.
    pub fn records(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.state.path().join("brigade")).into_iter().flatten();
        listed.map(|entry| entry.unwrap().path()).collect()
    }

    /// An empty folder on a disk, if temporary files are on one.
    pub fn on_disk() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made"), state: in_memory() }
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with its folders.
    pub fn file(&self, name: impl AsRef<Path>, contents: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
        fs::write(path, contents).unwrap();
    }

    /// `n_files` small files in folders of a hundred.
    pub fn many_files(&self, name: &str, n_files: usize) {
        for file_idx in 0..n_files {
            let folder = self.path(name).join(format!("{:03}", file_idx / 100));
            if file_idx % 100 == 0 {
                fs::create_dir_all(&folder).unwrap();
            }
            fs::write(folder.join(format!("file {file_idx}")), "contents\n").unwrap();
        }
    }

    /// `brigade copy`, to be run in the folder, in English.
    pub fn copy<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brigade"));
        command
            .arg("copy")
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("LC_ALL")
            .env_remove("LC_MESSAGES")
            .env("LANG", "C.UTF-8")
            .env("XDG_STATE_HOME", self.state.path())
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        ended(&mut self.copy(arguments))
    }
}

fn in_memory() -> TempDir {
    tempfile::tempdir_in(torture::mounts::memory()).expect("a temporary folder can be made")
}

/// Runs a command to its end.
pub fn ended(command: &mut Command) -> Ended {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command was built by cargo");
    let stdout = collected(child.stdout.take().expect("it is piped"));
    let stderr = collected(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child);
    Ended {
        status,
        stdout: stdout.recv().expect("the reader sends once"),
        stderr: stderr.recv().expect("the reader sends once"),
    }
}

/// Everything that will be read, once the other side is closed.
pub fn collected(mut source: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A terminal whose last user is gone ends with an error, which is an end as well.
        let _ = source.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits for a process; ends it, and the test, if it takes too long.
pub fn wait(child: &mut Child) -> ExitStatus {
    torture::facts::end_of(child, WATCHDOG).unwrap().unwrap_or_else(|| {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("the command did not end within {WATCHDOG:?}");
    })
}

/// A terminal and the command that runs on it.
pub struct Terminal {
    screen: fs::File,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    /// Runs a command with standard input and error on a terminal, and output as well.
    pub fn run(command: &mut Command, columns: u16, rows: u16) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        resize(&controller, columns, rows);
        let terminal: OwnedFd =
            fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap().into();
        let child = command
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal)
            .spawn()
            .unwrap();
        // The command would otherwise keep its end of the terminal open, and nobody would see the end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { screen: controller.into(), child, seen: Vec::new() }
    }

    /// Waits until the command has written a text.
    pub fn until(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        let end = loop {
            let found = self.seen.windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(start) = found {
                break start + text.len();
            }
            let limit = Timespec::try_from(WATCHDOG).expect("it is a minute");
            let is_silent = poll(&mut [PollFd::new(&self.screen, PollFlags::IN)], Some(&limit)) == Ok(0);
            let seen = String::from_utf8_lossy(&self.seen);
            assert!(!is_silent, "no {text:?} within {WATCHDOG:?} in {seen:?}");
            let n_read = self.screen.read(&mut buffer).unwrap_or(0);
            assert!(n_read > 0, "no {text:?} in {seen:?}");
            self.seen.extend_from_slice(&buffer[..n_read]);
        };
        self.seen.drain(..end);
    }

    /// Makes it as large as this.
    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.screen, columns, rows);
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// The number of the process that was started on it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the terminal away, and waits for the end.
    pub fn hang_up(mut self) {
        drop(self.screen);
        wait(&mut self.child);
    }

    /// Presses Ctrl-C; the terminal is not the command's own, so the signal is sent as it would send it.
    pub fn interrupt(&self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    /// Waits for the end; returns the status and what else was written.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let rest = collected(self.screen);
        let status = wait(&mut self.child);
        let mut text = String::from_utf8_lossy(&self.seen).into_owned();
        text.push_str(&rest.recv().unwrap());
        (status, text)
    }
}

fn resize(controller: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(controller, size).unwrap();
}

/// Names and contents of all files under a folder; a folder has none.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_path_buf();
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
                found.insert(name, None);
            } else {
                found.insert(name, Some(fs::read(path).unwrap_or_default()));
            }
        }
    }
    found
}

/// The numbers before each `%`.
pub fn percentages(text: &str) -> Vec<u32> {
    let before = text.split('%').map(|part| {
        let digits: Vec<char> = part.chars().rev().take_while(char::is_ascii_digit).collect();
        digits.into_iter().rev().collect::<String>()
    });
    before.filter_map(|digits| digits.parse().ok()).collect()
}
