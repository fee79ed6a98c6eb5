//! Cuts copies off: a worker, or the command and everything with it, is killed at one system call after another of a copy of a tree
//! with every kind of entry. After the death of a worker the run must be right; after that of the command the same command
//! must go on, and so must the one with `-T` when the record of the run is gone. How calls are met is in faultline.rs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::judge::litter_in;
use super::scene::{Before, Scene, age};
use super::{Act, Role, Rule, When, calls, run};
use crate::random::Random;
use crate::tree::differences;

/// No copy of the small tree takes as long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Options {
    /// The command `brigade`.
    pub program: PathBuf,
    /// Says at which call each series begins.
    pub seed: u64,
    /// One call of so many is met.
    pub every: u64,
    /// Only these numbers of workers.
    pub widths: Vec<u32>,
}

/// What is copied onto what, by whom, who is killed, and what follows.
#[derive(Clone, Copy, Debug)]
struct Series {
    n_workers: u32,
    is_kept: bool,
    before: Before,
    role: Role,
    again: Again,
}

/// What is run after the command was killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Again {
    Same,
    /// With the place of the copy by `-T`, and the record deleted.
    Forgotten,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_workers, is_kept, before, role, again } = self;
        let kept = if *is_kept { " -n" } else { "" };
        write!(f, "{role:?} of -j{n_workers}{kept}, before {before:?}, then {again:?}")
    }
}

/// What became of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// So many were killed.
    pub n_killed: usize,
    /// What was wrong.
    pub findings: Vec<String>,
}

/// Runs a campaign in an existing folder, telling `heard` how it goes.
///
/// # Errors
/// What setting the scene or starting the command says.
pub fn campaign(options: &Options, folder: &Path, mut heard: impl FnMut(&str)) -> io::Result<Report> {
    let mut report = Report::default();
    let mut random = Random::new(options.seed);
    for before in [Before::Nothing, Before::Others] {
        let stage = Stage { program: &options.program, scene: Scene::new(folder, before)?, before };
        for is_kept in [false, true] {
            stage.make_reference(is_kept)?;
            for &n_workers in &options.widths {
                for (role, again) in
                    [(Role::Worker, Again::Same), (Role::Command, Again::Same), (Role::Command, Again::Forgotten)]
                {
                    let series = Series { n_workers, is_kept, before, role, again };
                    let mut nth = 1 + random.below(options.every);
                    while stage.is_met(series, nth, &mut report, &mut heard)? {
                        nth += options.every;
                    }
                    heard(&format!("{series}: {} killed so far, {} wrong", report.n_killed, report.findings.len()));
                }
            }
        }
    }
    Ok(report)
}

struct Stage<'a> {
    program: &'a Path,
    scene: Scene,
    before: Before,
}

impl Stage<'_> {
    fn beside(&self, name: &str) -> PathBuf {
        self.scene.source.with_file_name(name)
    }

    fn command(&self, series: Series, is_exact: bool) -> Command {
        let mut command = Command::new(self.program);
        command.args(["copy", &format!("-j{}", series.n_workers)]).env("XDG_STATE_HOME", self.beside("state"));
        if series.is_kept {
            command.arg("-n");
        }
        if is_exact || self.before == Before::Others {
            command.arg("-T");
        }
        command.arg(&self.scene.source).arg(&self.scene.destination);
        command
    }

    /// Brings the destination back to what it was, with the same times.
    fn reset(&self) -> io::Result<()> {
        self.scene.reset()?;
        if self.before == Before::Others { age(&self.scene.destination) } else { Ok(()) }
    }

    /// What a run makes that nobody disturbs.
    fn make_reference(&self, is_kept: bool) -> io::Result<()> {
        self.reset()?;
        let series = Series { n_workers: 1, is_kept, before: self.before, role: Role::Worker, again: Again::Same };
        let output = self.command(series, false).output()?;
        if !output.status.success() || !self.records().is_empty() {
            return Err(io::Error::other(format!("undisturbed, the copy fails: {output:?}")));
        }
        if !is_kept {
            let found = differences(&self.scene.source, &self.scene.destination)?;
            if !found.is_empty() {
                return Err(io::Error::other(format!("undisturbed, the copy is not right: {found:?}")));
            }
        }
        let reference = self.beside("reference");
        if reference.exists() {
            fs::remove_dir_all(&reference)?;
        }
        fs::rename(&self.scene.destination, reference)
    }

    /// Kills at a call; `false` if there are not as many.
    fn is_met(&self, series: Series, nth: u64, report: &mut Report, heard: &mut impl FnMut(&str)) -> io::Result<bool> {
        self.reset()?;
        self.forget()?;
        let kill = Rule::of_each(calls::ALL.iter().map(|call| call.name), Act::Kill);
        let ended = run(self.command(series, false), vec![kill.by(series.role).when(When::Nth(nth))], LIMIT)?;
        let found = if ended.is_hung {
            Err("it hung, or left processes behind".to_owned())
        } else {
            self.judged(series, &ended.output)
        };
        if let Err(wrong) = found {
            let told = String::from_utf8_lossy(&ended.output.stderr).into_owned();
            let finding = format!("WRONG {series}, call {nth}: {wrong}\n{told}");
            heard(&finding);
            report.findings.push(finding);
        }
        report.n_killed += usize::from(ended.n_done == [1]);
        Ok(ended.n_done == [1])
    }

    fn judged(&self, series: Series, killed: &Output) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let is_over = self.records().is_empty() && self.differences()?.is_empty();
        // A run that had come to its end is not gone on with: then the same words mean another place.
        let needs_another = series.role == Role::Command && !(is_over && series.again == Again::Same);
        if needs_another {
            let is_forgotten = series.again == Again::Forgotten;
            if is_forgotten {
                self.forget().map_err(failed)?;
            }
            let output = self.command(series, is_forgotten).output().map_err(failed)?;
            ended_well(&output).map_err(|wrong| format!("then {wrong}"))?;
        } else if series.role == Role::Worker {
            ended_well(killed)?;
        }
        if let Some(litter) = litter_in(&self.scene.destination).or_else(|| self.records().pop()) {
            return Err(format!("left behind: {}", litter.display()));
        }
        let mut found = self.differences()?;
        if series.is_kept && series.again == Again::Forgotten {
            // Nobody can know any more which of two names was there before, and what was is never linked to.
            found.retain(|difference| !difference.contains("are one file, but not in the copy"));
        }
        if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
    }

    fn differences(&self) -> Result<Vec<String>, String> {
        if !self.scene.destination.exists() {
            return Ok(vec!["there is no copy".to_owned()]);
        }
        differences(&self.beside("reference"), &self.scene.destination).map_err(|error| error.to_string())
    }

    fn records(&self) -> Vec<PathBuf> {
        let listed = fs::read_dir(self.beside("state/brigade")).into_iter().flatten();
        listed.flatten().map(|entry| entry.path()).collect()
    }

    fn forget(&self) -> io::Result<()> {
        self.records().into_iter().try_for_each(fs::remove_file)
    }
}

fn ended_well(output: &Output) -> Result<(), String> {
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("it ended with {}: {told}", output.status)) }
}
