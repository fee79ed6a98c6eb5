//! Cuts copies off: a worker, or the command and everything with it, is killed at one system call after another of a copy of a tree
//! with every kind of entry. After the death of a worker the run must be right; after that of the command the same command
//! must go on, and so must the one with `-T` when the record of the run is gone. How calls are met is in faultline.rs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::judge::litter_in;
use super::scene::{Before, Scene, age};
use super::{Act, Role, Rule, When, run};
use crate::tree::differences;

const HUNG: &str = "it hung, or left processes behind";

/// No copy of the small tree takes as long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);

/// Groups are so small that the largest files of the tree are copied in parts, where there is a disk.
const GROUP_BYTES: &str = "200000";

/// So many calls after the last one that was met a series has come to its end: not every run makes as many.
const MOST_MISSED: u64 = 8;

/// Who copies, and goes on with what was cut off.
#[derive(Clone, Debug)]
pub enum Copier {
    /// The command `brigade`, at this path, with further words.
    Brigade(PathBuf, Vec<String>),
    /// The red control: `cp -a`, and `cp -au` afterwards.
    Cp,
}

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who copies.
    pub copier: Copier,
    /// One call of so many is met.
    pub every: u64,
    /// Which of them: as many seeds in a row together meet every call.
    pub seed: u64,
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
    let mut n_series = 0;
    for before in options.copier.befores() {
        let stage = Stage { copier: &options.copier, scene: Scene::new(folder, *before)?, before: *before };
        for &is_kept in options.copier.policies() {
            stage.make_reference(is_kept)?;
            for &n_workers in &options.widths {
                for &(role, again) in options.copier.deaths() {
                    let series = Series { n_workers, is_kept, before: *before, role, again };
                    // Not all series begin with the same call.
                    let first = options.seed.wrapping_add(n_series) % options.every;
                    n_series += 1;
                    let told =
                        stage.play(series, (1 + first..).step_by(options.every as usize), &mut report, &mut heard)?;
                    heard(&told);
                }
            }
        }
    }
    Ok(report)
}

impl Copier {
    /// `cp` cannot copy the tree onto others.
    fn befores(&self) -> &'static [Before] {
        match self {
            Self::Brigade(..) => &[Before::Nothing, Before::Others],
            Self::Cp => &[Before::Nothing],
        }
    }

    /// Whether what exists is kept.
    fn policies(&self) -> &'static [bool] {
        match self {
            Self::Brigade(..) => &[false, true],
            Self::Cp => &[false],
        }
    }

    fn deaths(&self) -> &'static [(Role, Again)] {
        match self {
            Self::Brigade(..) => {
                &[(Role::Worker, Again::Same), (Role::Command, Again::Same), (Role::Command, Again::Forgotten)]
            }
            Self::Cp => &[(Role::Command, Again::Same)],
        }
    }
}

/// Whether a run is the first, or goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    First,
    Again,
}

struct Stage<'a> {
    copier: &'a Copier,
    scene: Scene,
    before: Before,
}

impl Stage<'_> {
    fn beside(&self, name: &str) -> PathBuf {
        self.scene.source.with_file_name(name)
    }

    fn command(&self, series: Series, turn: Turn) -> Command {
        let mut command = match self.copier {
            Copier::Brigade(program, words) => {
                let mut command = Command::new(program);
                command.args(["copy", &format!("-j{}", series.n_workers)]).args(words);
                command.env("XDG_STATE_HOME", self.beside("state")).env("__BRIGADE_GROUP_BYTES", GROUP_BYTES);
                let is_exact = turn == Turn::Again && series.again == Again::Forgotten;
                command.args((is_exact || self.before == Before::Others).then_some("-T"));
                command
            }
            Copier::Cp => {
                let mut command = Command::new("cp");
                command.args(["-T", if turn == Turn::First { "-a" } else { "-au" }]);
                command
            }
        };
        command.args(series.is_kept.then_some("-n")).args([&self.scene.source, &self.scene.destination]);
        command
    }

    /// Runs it undisturbed; it must end by itself and with status 0.
    fn run_well(&self, series: Series, turn: Turn) -> Result<(), String> {
        let ended = run(self.command(series, turn), Vec::new(), LIMIT).map_err(|error| error.to_string())?;
        if ended.is_hung { Err(HUNG.to_owned()) } else { ended_well(&ended.output) }
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
        let ended = self.run_well(series, Turn::First);
        ended.map_err(|wrong| io::Error::other(format!("undisturbed, the copy fails: {wrong}")))?;
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

    /// Kills at one call after another, as long as there are any. Returns what is to be told of it.
    fn play(
        &self,
        series: Series,
        calls: impl Iterator<Item = u64>,
        report: &mut Report,
        heard: &mut impl FnMut(&str),
    ) -> io::Result<String> {
        let (n_before, n_wrong_before, started) = (report.n_killed, report.findings.len(), Instant::now());
        let mut last_met = 0;
        for nth in calls {
            let (is_met, found) = self.kill_at(series, nth)?;
            if let Err(wrong) = found {
                let finding = format!("WRONG {series}, call {nth}: {wrong}");
                heard(&finding);
                report.findings.push(finding);
            }
            if is_met {
                report.n_killed += 1;
                last_met = nth;
            } else if nth >= last_met + MOST_MISSED {
                break;
            }
        }
        let (n_killed, n_wrong) = (report.n_killed - n_before, report.findings.len() - n_wrong_before);
        Ok(format!("{n_killed:>6} killed, {n_wrong} wrong, {:>4} s: {series}", started.elapsed().as_secs()))
    }

    /// Kills at a call. Whether there are as many, and what was wrong then.
    fn kill_at(&self, series: Series, nth: u64) -> io::Result<(bool, Result<(), String>)> {
        self.reset()?;
        self.forget()?;
        let kill = Rule::of_every(Act::Kill).by(series.role).when(When::Nth(nth));
        let ended = run(self.command(series, Turn::First), vec![kill], LIMIT)?;
        let found = if ended.is_hung { Err(HUNG.to_owned()) } else { self.judged(series, &ended.output) };
        let told = String::from_utf8_lossy(&ended.output.stderr).into_owned();
        Ok((ended.n_done == [1], found.map_err(|wrong| format!("{wrong}\n{told}"))))
    }

    fn judged(&self, series: Series, killed: &Output) -> Result<(), String> {
        let is_over = self.records().is_empty() && self.differences()?.is_empty();
        // A run that had come to its end is not gone on with: then the same words mean another place.
        let needs_another = series.role == Role::Command && !(is_over && series.again == Again::Same);
        if needs_another {
            if series.again == Again::Forgotten {
                self.forget().map_err(|error| error.to_string())?;
            }
            self.run_well(series, Turn::Again).map_err(|wrong| format!("then {wrong}"))?;
        } else if series.role == Role::Worker {
            ended_well(killed)?;
        }
        if let Some(litter) = self.left_behind() {
            return Err(format!("left behind: {}", litter.display()));
        }
        let mut found = self.differences()?;
        if series.is_kept && series.again == Again::Forgotten {
            // Nobody can know any more which of two names was there before, and what was is never linked to.
            found.retain(|difference| !difference.contains("are one file, but not in the copy"));
        }
        if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
    }

    /// A temporary name, a record, or anything else that does not belong there.
    fn left_behind(&self) -> Option<PathBuf> {
        let names = ["source", "destination", "reference", "state"];
        let is_foreign = |path: &PathBuf| !names.iter().any(|name| path.ends_with(name));
        let beside = fs::read_dir(self.beside("")).into_iter().flatten().flatten().map(|entry| entry.path());
        litter_in(&self.scene.destination)
            .or_else(|| self.records().pop())
            .or_else(|| beside.into_iter().find(is_foreign))
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
