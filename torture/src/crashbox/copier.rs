//! What copies, and what it says while it does. Whether that is true is not judged here.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

/// A program that copies, and the command that is to mend its copy after a power cut.
#[derive(Clone, Debug)]
pub enum Copier {
    /// The command under test, at this path, with further words; the same command mends.
    Brigade(PathBuf, Vec<String>),
    /// The red control: `cp -a`, and `cp -au` afterwards.
    Cp,
    /// The green control: `rsync -a --fsync`, which flushes each file before it gets its name, and `rsync -a` afterwards.
    Rsync,
}

impl Copier {
    /// The copy that the power is cut under. `n_group_files` is for Brigade: how many files it flushes together at most.
    pub(super) fn first(&self, source: &Path, copy: &Path, state: &Path, n_group_files: Option<u64>) -> Command {
        match self {
            Self::Brigade(program, words) => {
                let mut command = Command::new(program);
                command.args(["copy", "--progress=json", "-T"]).args(words).args([source, copy]);
                command.env("LC_ALL", "C").env("XDG_STATE_HOME", state);
                command.envs(n_group_files.map(|n_files| ("__BRIGADE_GROUP_FILES", n_files.to_string())));
                command
            }
            Self::Cp => of_words("cp", &["-a", "-T"], source, copy),
            Self::Rsync => rsync(&["-a", "--fsync"], source, copy),
        }
    }

    pub(super) fn again(&self, source: &Path, copy: &Path, state: &Path) -> Command {
        match self {
            Self::Brigade(..) => self.first(source, copy, state, None),
            Self::Cp => of_words("cp", &["-au", "-T"], source, copy),
            Self::Rsync => rsync(&["-a"], source, copy),
        }
    }

    /// Whether what it leaves must be all of what `-a` of other programs does not keep, too.
    pub(super) fn is_brigade(&self) -> bool {
        matches!(self, Self::Brigade(..))
    }
}

/// A program that knows nothing of who copied first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stranger {
    Rsync,
    CpUpdate,
}

impl Stranger {
    pub(super) fn command(self, source: &Path, copy: &Path) -> Command {
        match self {
            Self::Rsync => rsync(&["-a"], source, copy),
            Self::CpUpdate => of_words("cp", &["-au", "-T"], source, copy),
        }
    }
}

fn of_words(program: &str, words: &[&str], source: &Path, copy: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(words).args([source, copy]).env("LC_ALL", "C");
    command
}

fn rsync(words: &[&str], source: &Path, copy: &Path) -> Command {
    of_words("rsync", words, &source.join(""), &copy.join(""))
}

/// What a copier has said of entries, by their paths below the root of the copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// Files whose copy was said to be made, and how many bytes they have.
    pub(super) copied: HashMap<PathBuf, u64>,
    /// Files that were said to be on disk, and the moment by which that was read.
    pub(super) durable: Vec<(PathBuf, u64)>,
}

impl Told {
    /// Takes in a line that was read by now, which is `moment`.
    fn take(&mut self, line: &[u8], copy: &Path, moment: u64) {
        let Ok(event) = serde_json::from_slice::<Value>(line) else { return };
        if event["event"] != "file" {
            return;
        }
        let Some(path) = below(&event, copy) else { return };
        if event["state"] == "durable" {
            self.durable.push((path, moment));
        } else if event["state"] == "copied" && event["kind"] == "file" {
            self.copied.insert(path, event["bytes"].as_u64().unwrap_or_default());
        }
    }

    /// What was said to be on disk by then.
    pub(super) fn durable_by(&self, moment: u64) -> Vec<PathBuf> {
        let said = self.durable.iter().filter(|(_, read)| *read <= moment);
        said.map(|(path, _)| path.clone()).collect()
    }
}

/// Where an event's entry is, below the copy.
fn below(event: &Value, copy: &Path) -> Option<PathBuf> {
    let bytes = event["destination_bytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.or_else(|| event["destination"].as_str().map(|text| text.as_bytes().to_vec()))?;
    let path = Path::new(std::ffi::OsStr::from_bytes(&bytes));
    path.strip_prefix(copy).ok().map(Path::to_owned)
}

/// Tells what moment it is, in whatever a campaign counts moments by.
pub(super) type Clock = Box<dyn Fn() -> u64 + Send>;

/// A copier at work, in a process group of its own.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    told: Arc<Mutex<Told>>,
    readers: [Option<JoinHandle<String>>; 2],
}

impl Running {
    pub(super) fn start(mut command: Command, copy: &Path, clock: Clock) -> io::Result<Self> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let told = Arc::new(Mutex::new(Told::default()));
        let (taker, copy) = (Arc::clone(&told), copy.to_owned());
        let stdout = child.stdout.take().map(BufReader::new);
        let reader = std::thread::spawn(move || {
            let mut line = Vec::new();
            let mut stdout = stdout.expect("it was asked for");
            while stdout.read_until(b'\n', &mut line).is_ok_and(|n_bytes| n_bytes > 0) {
                // The moment is taken after the line was read: whatever it says was so before.
                let moment = clock();
                taker.lock().unwrap_or_else(PoisonError::into_inner).take(&line, &copy, moment);
                line.clear();
            }
            String::new()
        });
        let mut stderr = child.stderr.take().expect("it was asked for");
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self { child, told, readers: [Some(reader), Some(complaints)] })
    }

    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// How many files were said to be on disk so far.
    pub(super) fn n_durable(&self) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).durable.len()
    }

    /// Kills all of it.
    pub(super) fn kill(&self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }

    /// Waits for the end; what was said, how it ended, and what it complained of.
    pub(super) fn end(mut self) -> io::Result<(Told, ExitStatus, String)> {
        let status = self.child.wait()?;
        let texts = self.readers.each_mut().map(|reader| reader.take().and_then(|thread| thread.join().ok()));
        let told = std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((told, status, texts.into_iter().flatten().collect()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, and what it said; a complaint if it did not end with 0.
pub(super) fn run_whole(command: Command, copy: &Path) -> io::Result<(Told, Option<String>)> {
    let shown = command.get_program().to_owned();
    let (told, status, complaints) = Running::start(command, copy, Box::new(|| 0))?.end()?;
    let failed = (!status.success()).then(|| {
        let how = status.signal().map_or_else(|| format!("{status}"), |signal| format!("signal {signal}"));
        format!("{shown:?} ended with {how}: {complaints}")
    });
    Ok((told, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_read_before_a_moment_counts_as_said_by_then() {
        let mut told = Told::default();
        let line = |state: &str, name: &str| {
            format!(r#"{{"event":"file","destination":"/c/{name}","kind":"file","state":"{state}","bytes":3}}"#)
        };
        told.take(line("copied", "a").as_bytes(), Path::new("/c"), 1);
        told.take(line("durable", "a").as_bytes(), Path::new("/c"), 5);
        told.take(line("durable", "b").as_bytes(), Path::new("/c"), 7);
        told.take(b"no event", Path::new("/c"), 7);
        assert_eq!(told.copied, HashMap::from([(PathBuf::from("a"), 3)]));
        assert_eq!(told.durable_by(6), [PathBuf::from("a")]);
        assert!(told.durable_by(4).is_empty());
    }
}
