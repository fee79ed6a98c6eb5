//! A race: several tools copy the same tree in turn, round after round, and every copy is checked. Its outcome is plain data,
//! which race/table.rs writes down. Data, places and tools are made elsewhere.

pub(crate) mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ballast::Ballast;
use crate::data::DataSet;
use crate::place::{FROM, FileSystem, Place, TO};
use crate::statistics::{Middle, Spread};
use crate::timing::{self, Timing};
use crate::tools::{LineUp, Onto, Tool};
use crate::tree::{self, Survey};
use crate::{BenchError, Interrupted, kept, machine};

/// What things are measured with: the same for every race of a run.
#[derive(Clone, Debug, clap::Args)]
pub struct Means {
    /// The command to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub brigade: Option<PathBuf>,
    /// Where the peers from crates.io are, if not in the PATH.
    #[arg(long, value_name = "FOLDER")]
    pub peers: Option<PathBuf>,
    /// Where the images of file systems lie [default: where temporary files are].
    #[arg(long, value_name = "FOLDER")]
    pub images: Option<PathBuf>,
    /// A run that others disturbed is repeated so often at most; then the least disturbed one counts.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub repeats: u16,
    /// Divides the data sets by so much, to see in a short time whether all works: such figures say nothing.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub scale: u16,
}

impl Means {
    /// The tools of a line-up that are here, and the names of those that are not, which are also said.
    pub(crate) fn tools(&self, line_up: LineUp) -> Result<(Vec<Tool>, Vec<String>), BenchError> {
        let beside = std::env::current_exe()?;
        let brigade = self.brigade.clone().unwrap_or_else(|| beside.with_file_name("brigade"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = self.peers.clone().into_iter().chain(std::env::split_paths(&path)).collect();
        let all = line_up.tools(&brigade, beside.parent().unwrap_or(Path::new("/")), &folders);
        let (installed, missing): (Vec<Tool>, Vec<Tool>) = all.into_iter().partition(Tool::is_installed);
        for tool in &missing {
            eprintln!("bench: {} IS NOT INSTALLED and is left out", tool.name());
        }
        Ok((installed, missing.iter().map(|tool| tool.name().to_owned()).collect()))
    }

    /// Ballast for timing in memory; none where figures say nothing.
    pub(crate) fn ballast(&self, on: impl IntoIterator<Item = FileSystem>) -> Result<Option<Ballast>, BenchError> {
        if self.scale > 1 || !on.into_iter().any(|file_system| file_system == FileSystem::Tmpfs) {
            return Ok(None);
        }
        eprintln!("bench: taking ballast");
        Ballast::take().map(Some)
    }
}

/// Who copies what, where and how often.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Course {
    pub(crate) line_up: LineUp,
    pub(crate) set: DataSet,
    pub(crate) on: FileSystem,
    /// What the kernel remembers of files is dropped before each copy.
    pub(crate) is_cold: bool,
    /// Timed ones, after one that warms up; the ten files of I get ten times as many.
    pub(crate) n_rounds: u16,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Race {
    pub(crate) course: Course,
    pub(crate) scale: u16,
    pub(crate) n_repeats: u16,
    pub(crate) n_rounds: u16,
    pub(crate) survey: Survey,
    pub(crate) machine: String,
    /// Memory that was touched beforehand.
    pub(crate) ballast_bytes: Option<u64>,
    pub(crate) images: Option<PathBuf>,
    /// Tools that should have been there.
    pub(crate) missing: Vec<String>,
    /// Why tools of others were left out that did not copy.
    pub(crate) failures: Vec<String>,
    pub(crate) runners: Vec<Runner>,
}

/// What is known about one tool in the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Runner {
    pub(crate) name: String,
    /// Of its program, which for what has none is nothing.
    pub(crate) version: Option<String>,
    pub(crate) kept: String,
    pub(crate) timings: Vec<Timing>,
    /// How long the file system took afterwards to bring the data to the device.
    pub(crate) flushes: Vec<Duration>,
    pub(crate) n_disturbed: usize,
    /// Why it was let run no more.
    failure: Option<String>,
}

impl Runner {
    pub(crate) fn new(name: &str, version: Option<String>, kept: String) -> Self {
        let name = name.to_owned();
        Self { name, version, kept, timings: Vec::new(), flushes: Vec::new(), n_disturbed: 0, failure: None }
    }
}

/// Runs of ten files are too short to be judged one by one.
const ROUNDS_FACTOR_OF_TEN_FILES: u16 = 10;
/// Single runs that are longer are shown as they come.
const SHORTEST_SHOWN: Duration = Duration::from_millis(200);
const TREE: &str = "tree";

/// Makes the data, and lets everybody run.
pub(crate) fn run(course: Course, means: &Means, ballast: Option<&Ballast>) -> Result<Race, BenchError> {
    let (tools, missing) = means.tools(course.line_up)?;
    let mut place = Place::make(course.on, means.images.as_deref())?;
    eprintln!("bench: making {} on {}", course.set.letter(), course.on.name());
    let source = place.folder().join(FROM).join(TREE);
    course.set.make(&source, usize::from(means.scale))?;
    let survey = tree::survey(&source)?;
    let (tools, unfit): (Vec<Tool>, Vec<Tool>) = tools.into_iter().partition(|tool| tool.is_fit_for(&survey));
    for tool in unfit {
        eprintln!("bench: {} cannot copy such a tree, or not in minutes, and is left out", tool.name());
    }
    let mut runners = Vec::new();
    for tool in &tools {
        let kept = kept::kept(tool, &mut place)?;
        runners.push(Runner::new(tool.name(), tool.version(), kept));
    }
    let n_rounds = course.n_rounds * if course.set == DataSet::I { ROUNDS_FACTOR_OF_TEN_FILES } else { 1 };
    let mut track = Track { place, course, survey, n_repeats: means.repeats };
    for round in 0..=n_rounds {
        for turn in 0..tools.len() {
            let idx = (turn + usize::from(round)) % tools.len();
            let (tool, runner) = (&tools[idx], &mut runners[idx]);
            if runner.failure.is_some() {
                continue;
            }
            let outcome = if round == 0 { track.warm_up(tool) } else { track.time(tool, runner) };
            if let Err(error) = outcome {
                if error.is::<Interrupted>() || tool.is_ours() {
                    return Err(error);
                }
                eprintln!("bench: {error}: IT IS LEFT OUT from here on");
                runner.failure = Some(error.to_string());
                track.start_over()?;
            }
        }
    }
    let (failed, runners): (Vec<Runner>, Vec<Runner>) =
        runners.into_iter().partition(|runner| runner.failure.is_some());
    Ok(Race {
        course,
        scale: means.scale,
        n_repeats: means.repeats,
        n_rounds,
        survey,
        machine: machine::description()?,
        ballast_bytes: ballast.map(|ballast| ballast.touched_bytes),
        images: means.images.clone(),
        missing,
        failures: failed.into_iter().filter_map(|runner| runner.failure).collect(),
        runners,
    })
}

struct Track {
    place: Place,
    course: Course,
    survey: Survey,
    n_repeats: u16,
}

impl Track {
    /// An untimed run, whose contents are compared; ours is compared thoroughly.
    fn warm_up(&mut self, tool: &Tool) -> Result<(), BenchError> {
        self.run_once(tool)?;
        self.compare_contents(tool)?;
        if tool.is_whole_brigade() {
            match tree::differences(&self.there(FROM), &self.there(TO))? {
                None => eprintln!("bench: without rsync only entries and bytes are compared"),
                Some(differences) if differences.is_empty() => {}
                Some(differences) => return Err(format!("{} made another tree:\n{differences}", tool.name()).into()),
            }
        }
        self.clear()
    }

    /// Runs until a run was undisturbed or enough were tried, and keeps the best of them.
    fn time(&mut self, tool: &Tool, runner: &mut Runner) -> Result<(), BenchError> {
        let mut best: Option<(Timing, Duration)> = None;
        for _ in 0..=self.n_repeats {
            let (timing, flush) = self.run_once(tool)?;
            if self.course.line_up.onto() == Onto::Other {
                // Only here can a copy have all names and lengths, and be none.
                self.compare_contents(tool)?;
            }
            self.clear()?;
            if best.is_none_or(|(best, _)| timing.others_share() < best.others_share()) {
                best = Some((timing, flush));
            }
            if !timing.is_disturbed() {
                break;
            }
        }
        let (timing, flush) = best.expect("there is at least one run");
        if timing.wall >= SHORTEST_SHOWN {
            let [wall, processor, others] =
                [timing.wall, timing.processor, timing.others].map(|duration| duration.as_secs_f64());
            eprintln!(
                "bench: {:30} {wall:8.3} s wall, {processor:6.2} s processor, {others:5.2} s others",
                tool.name()
            );
        }
        runner.n_disturbed += usize::from(timing.is_disturbed());
        runner.timings.push(timing);
        runner.flushes.push(flush);
        Ok(())
    }

    /// One copy, checked for completeness.
    fn run_once(&mut self, tool: &Tool) -> Result<(Timing, Duration), BenchError> {
        self.prepare()?;
        self.place.flush()?;
        if self.course.is_cold {
            fs::write("/proc/sys/vm/drop_caches", "3")?;
        }
        self.place.renew()?;
        let (source, copy) = (self.place.source(FROM).join(TREE), self.place.destination(TO).join(TREE));
        let (timing, status) = timing::run(&mut tool.command(&source, &copy))?;
        let started = Instant::now();
        self.place.flush()?;
        let flush = started.elapsed();
        if !status.success() {
            return Err(format!("{} failed: {status}", tool.name()).into());
        }
        let found = tree::survey(&self.there(TO))?;
        if found != self.survey {
            return Err(format!("{} is incomplete: {found:?} instead of {:?}", tool.name(), self.survey).into());
        }
        Ok((timing, flush))
    }

    fn compare_contents(&self, tool: &Tool) -> Result<(), BenchError> {
        match tree::first_difference(&self.there(FROM), &self.there(TO))? {
            None => Ok(()),
            Some(path) => Err(format!("{} copied {} wrongly", tool.name(), path.display()).into()),
        }
    }

    /// The tree as it is behind whatever is slow.
    fn there(&self, side: &str) -> PathBuf {
        self.place.folder().join(side).join(TREE)
    }

    /// Makes what is at the destination before the copy.
    fn prepare(&self) -> Result<(), BenchError> {
        let (onto, copy) = (self.course.line_up.onto(), self.there(TO));
        if onto != Onto::Nothing && !copy.exists() {
            let (_, status) = timing::run(Command::new("cp").arg("-a").arg(self.there(FROM)).arg(&copy))?;
            if !status.success() {
                return Err(format!("cp failed: {status}").into());
            }
        }
        match onto {
            Onto::Nothing | Onto::Whole => Ok(()),
            Onto::Half => tree::thin_out(&copy),
            Onto::Other => tree::alter(&copy),
        }
    }

    /// Removes whatever somebody who failed has left.
    fn start_over(&self) -> Result<(), BenchError> {
        let copy = self.there(TO);
        if copy.exists() { Ok(fs::remove_dir_all(copy)?) } else { Ok(()) }
    }

    /// Removes the copy, if it is not what the next one goes onto.
    fn clear(&self) -> Result<(), BenchError> {
        match self.course.line_up.onto() {
            Onto::Nothing | Onto::Half => Ok(fs::remove_dir_all(self.there(TO))?),
            Onto::Whole | Onto::Other => Ok(()),
        }
    }
}

impl Race {
    pub(crate) fn runner(&self, name: &str) -> Option<&Runner> {
        self.runners.iter().find(|runner| runner.name == name)
    }
}

impl Runner {
    pub(crate) fn wall(&self) -> Spread {
        Spread::of(self.timings.iter().map(|timing| timing.wall)).expect("there is at least one round")
    }

    /// What a round took in parts of another's, round by round: what disturbs a round disturbs both.
    pub(crate) fn parts_of(&self, other: &Self, of: fn(&Timing) -> Duration) -> Middle {
        let both = self.timings.iter().zip(&other.timings);
        Middle::of(both.map(|(own, other)| of(own).as_secs_f64() / of(other).as_secs_f64()))
            .expect("there is at least one round")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line_up: LineUp, set: DataSet, on: FileSystem) -> Race {
        let means =
            Means { brigade: Some("/nowhere/brigade".into()), peers: None, images: None, repeats: 0, scale: 50 };
        run(Course { line_up, set, on, is_cold: false, n_rounds: 1 }, &means, None).unwrap()
    }

    #[test]
    fn in_each_scenario_every_tool_that_is_here_runs_and_makes_a_whole_copy() {
        for line_up in [LineUp::Copy, LineUp::Overwrite, LineUp::Again, LineUp::Rest] {
            let race = outcome(line_up, DataSet::K, FileSystem::Tmpfs);
            let rsync = race.runners.iter().find(|runner| runner.name.starts_with("rsync")).unwrap();
            assert_eq!((rsync.timings.len(), race.survey.n_files), (1, 100));
            assert!(race.missing.contains(&"brigade copy".to_owned()), "{:?}", race.missing);
            assert_eq!(race.runner("Python's Pool").is_some(), line_up == LineUp::Copy);
        }
    }

    #[test]
    fn a_slow_destination_bears_one_copy_after_the_other() {
        let race = outcome(LineUp::Slow, DataSet::J, FileSystem::SlowDestination);
        assert!(race.runner("cp -a").unwrap().wall().min > Duration::from_millis(50));
    }

    #[test]
    fn a_tool_of_others_that_fails_does_not_end_the_race() {
        let peers = tempfile::tempdir().unwrap();
        let failing = peers.path().join("cpz");
        fs::write(&failing, "#!/bin/sh\nexit 3\n").unwrap();
        fs::set_permissions(&failing, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let means = Means {
            brigade: Some("/nowhere/brigade".into()),
            peers: Some(peers.path().into()),
            images: None,
            repeats: 0,
            scale: 50,
        };
        let course =
            Course { line_up: LineUp::Durable, set: DataSet::K, on: FileSystem::Tmpfs, is_cold: false, n_rounds: 1 };
        let race = run(course, &means, None).unwrap();
        assert_eq!(race.failures, ["cpz && sync -f failed: exit status: 3"]);
        assert!(race.runner("cpz && sync -f").is_none() && race.runner("cp -a && sync -f").is_some());
    }

    #[test]
    fn a_tool_for_files_is_left_out_of_trees() {
        let race = outcome(LineUp::Copy, DataSet::J, FileSystem::Tmpfs);
        assert!(race.runner("cp -a").is_some() && race.runner("Python's Pool").is_none());
    }
}
