//! What destroys a source, hangs, or ends with 0 beside a wrong copy: each case is tried with a tool in a scene of its own, with
//! a time limit, and what became of source and copy is looked at. The cases are in dangers/cases.rs, the table is the bench's.

mod cases;
mod scene;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::treecmp::{self, Difference};
use cases::Wanted;
pub use cases::{CASES, Case};
use scene::Scene;

/// No case takes a second if all is well.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// How often the source of a running tool is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// The status of a Rust program that panicked: an end that nobody wrote.
const STATUS_OF_A_PANIC: i32 = 101;

/// A tool, called so that it keeps as much as it can.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its usual name.
    pub name: &'static str,
    /// What is started.
    pub program: PathBuf,
    /// The words before source and destination.
    pub options: &'static [&'static str],
    /// What its copies are held to.
    pub promise: Promise,
    /// How a folder is named.
    pub form: Form,
}

/// What a copy is held to, besides what a case is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// All that the comparer of trees sees.
    Everything,
    /// Names, types, contents, targets of links and numbers of devices.
    Contents,
}

/// How a tool is told to make a folder of another name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `TOOL SOURCE DESTINATION`.
    Plain,
    /// `TOOL SOURCE/ DESTINATION/`.
    Slashes,
    /// `TOOL SOURCE DESTINATION`, and the copy keeps its name in a new folder DESTINATION.
    Into,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The copy is what the source says, or the status says that it is not all of it where it cannot be.
    Right,
    /// An error where there is nothing to copy, and the source as it was.
    Refused,
    /// An error, or a crash, where a copy was possible.
    Fails,
    /// All is well, says the status.
    Wrong,
    /// The source is not what it was.
    Destroyed,
    /// Nothing came of it within the time limit.
    Hangs,
}

impl Outcome {
    /// Whether a user can live with it.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Right | Self::Refused)
    }

    /// As it stands in a table.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Right => "✅ right",
            Self::Refused => "✅ refused",
            Self::Fails => "❌ fails",
            Self::Wrong => "❌ **wrong, exit 0**",
            Self::Destroyed => "❌ **source destroyed**",
            Self::Hangs => "❌ **hangs**",
        }
    }
}

/// Tries a case in a fresh scene.
///
/// # Errors
/// The tool cannot be started or watched, or the trees cannot be read.
///
/// # Panics
/// The scene cannot be made: it takes root.
pub fn tried(case: &Case, tool: &Tool) -> io::Result<Outcome> {
    let (untouched, scene) = (Scene::new(case.set), Scene::new(case.set));
    let n_free_blocks = scene.n_free_blocks()?;
    let mut child = command(case, tool).current_dir(scene.folder()).spawn()?;
    let mut is_changed = false;
    let status = watched(&mut child, || {
        if !is_changed && scene.n_free_blocks()? + case.n_blocks_before_change <= n_free_blocks {
            (case.change)(&scene);
            is_changed = true;
        }
        Ok(())
    })?;
    if is_changed {
        (case.change)(&untouched);
    } else if case.n_blocks_before_change > 0 {
        return Err(io::Error::other(format!("{} was done before {}", tool.name, case.name)));
    }
    let is_intact = case.kept.iter().all(|name| {
        treecmp::compare(&untouched.path(name), &scene.path(name))
            .is_ok_and(|compared| compared.differences.iter().all(|difference| difference.aspect.is_some()))
    });
    let copied = Copied { scene: &scene, case, tool };
    Ok(judged(status, is_intact, case.wanted, (case.is_right)(&copied)))
}

/// The command in a group of its own, by which it can be ended.
fn command(case: &Case, tool: &Tool) -> Command {
    let mut command = Command::new(&tool.program);
    if case.as_plain_user {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&tool.program);
    }
    let slash = if tool.form == Form::Slashes && case.is_folder { "/" } else { "" };
    command.args(tool.options).args([case.source, case.destination].map(|path| format!("{path}{slash}")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command
}

/// Waits for the end, at most for the time limit.
fn watched(child: &mut Child, mut meanwhile: impl FnMut() -> io::Result<()>) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + TIME_LIMIT;
    while Instant::now() < deadline {
        meanwhile()?;
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK_INTERVAL);
    }
    kill_process_group(Pid::from_child(child), Signal::KILL)?;
    child.wait()?;
    Ok(None)
}

fn judged(status: Option<ExitStatus>, is_intact: bool, wanted: Wanted, is_right: bool) -> Outcome {
    let Some(status) = status else { return if is_intact { Outcome::Hangs } else { Outcome::Destroyed } };
    let is_crash = status.code().is_none_or(|code| code == STATUS_OF_A_PANIC);
    match wanted {
        _ if !is_intact => Outcome::Destroyed,
        _ if is_crash => Outcome::Fails,
        Wanted::Copy | Wanted::CopyOrRefusal if is_right && status.success() => Outcome::Right,
        Wanted::CopyButForSome if is_right && !status.success() => Outcome::Right,
        Wanted::CopyOrRefusal if !status.success() => Outcome::Refused,
        _ if status.success() => Outcome::Wrong,
        _ => Outcome::Fails,
    }
}

/// What there is when the tool has ended.
struct Copied<'a> {
    scene: &'a Scene,
    case: &'a Case,
    tool: &'a Tool,
}

impl Copied<'_> {
    /// Where the tool puts it.
    fn copy(&self) -> PathBuf {
        let destination = self.scene.path(self.case.destination);
        let is_within = self.case.is_folder && self.tool.form == Form::Into;
        if is_within { destination.join(self.case.source) } else { destination }
    }

    /// All that differs of what the copy is held to. A copy that is missing or cannot be read gives none.
    fn differences(&self) -> Option<Vec<Difference>> {
        self.differences_between(&self.scene.path(self.case.source), &self.copy())
    }

    /// The same for an entry of a folder.
    fn differences_of(&self, name: &str) -> Option<Vec<Difference>> {
        self.differences_between(&self.scene.path(self.case.source).join(name), &self.copy().join(name))
    }

    fn differences_between(&self, source: &Path, copy: &Path) -> Option<Vec<Difference>> {
        let mut differences = treecmp::compare(source, copy).ok()?.differences;
        differences.retain(|difference| {
            !difference.is_predicted && (difference.aspect.is_none() || self.tool.promise == Promise::Everything)
        });
        Some(differences)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_harmed_source_is_the_worst_and_a_zero_beside_a_wrong_copy_no_refusal() {
        let ended = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let of = |status, is_intact, is_right| judged(status, is_intact, Wanted::CopyOrRefusal, is_right);
        assert_eq!(of(ended(0), false, true), Outcome::Destroyed);
        assert_eq!(of(None, false, false), Outcome::Destroyed);
        assert_eq!(of(None, true, true), Outcome::Hangs);
        assert_eq!(of(ended(0), true, true), Outcome::Right);
        assert_eq!(of(ended(1), true, true), Outcome::Refused);
        assert_eq!(of(ended(0), true, false), Outcome::Wrong);
        assert_eq!(of(ended(101), true, false), Outcome::Fails);
        assert_eq!(judged(ended(1), true, Wanted::Copy, true), Outcome::Fails);
        assert_eq!(judged(ended(0), true, Wanted::CopyButForSome, true), Outcome::Wrong);
        assert_eq!(judged(ended(1), true, Wanted::CopyButForSome, true), Outcome::Right);
    }
}
