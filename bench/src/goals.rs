//! What is wanted of the command, measured row by row: each row's outcome is a file of its own, from which the report draws tables,
//! pictures and the list of what is reached. The rows are in goals/list.rs.

mod list;

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde::{Deserialize, Serialize};

use crate::cost::{self, Cost};
use crate::display::{self, Display};
use crate::memory;
use crate::place::{self, FileSystem};
use crate::race::{self, Means, Race, table};
use crate::statistics::{Middle, Unit};
use crate::{BenchError, document, interrupt};
use list::{GOALS, Goal, Wanted, What};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Rows [default: all].
    #[arg(long, value_delimiter = ',', value_name = "NAME", value_parser = PossibleValuesParser::new(GOALS.iter().map(|goal| goal.key)))]
    pub row: Vec<String>,
    /// The folder for outcomes, a file for each row.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    pub into: PathBuf,
    /// Timed rounds, instead of as many as each row needs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
    /// With what.
    #[command(flatten)]
    pub means: Means,
}

/// What to write down.
#[derive(Clone, Debug, clap::Args)]
pub struct Report {
    /// The folder with outcomes.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    pub from: PathBuf,
    /// Prints everything, and leaves docs/ as it is.
    #[arg(long)]
    pub dry: bool,
}

/// What came of a row.
#[derive(Debug, Serialize, Deserialize)]
enum Outcome {
    Race(Race),
    Memory(Vec<memory::Row>),
    Cost(Cost),
    Display(Display),
}

const DOCUMENT: &str = "docs/measurements.md";
const PLOTS: &str = "docs/plots";
/// The section with a line for each thing that is wanted.
const LIST: &str = "goals";

/// Measures row by row; each is written down before the next one begins, and one that fails does not end the others.
pub fn run(request: &Request) -> Result<(), BenchError> {
    place::enter_mount_namespace()?;
    interrupt::install()?;
    fs::create_dir_all(&request.into)?;
    let is_wanted = |goal: &&Goal| request.row.is_empty() || request.row.iter().any(|key| key == goal.key);
    let goals: Vec<&Goal> = GOALS.iter().filter(is_wanted).collect();
    let in_memory = goals.iter().map(|goal| match &goal.what {
        What::Race(course, _) => course.on,
        What::Memory | What::Cost | What::Display => FileSystem::Tmpfs,
    });
    let ballast = request.means.ballast(in_memory)?;
    let mut failed = Vec::new();
    for goal in goals {
        eprintln!("bench: row {}", goal.key);
        let outcome = match &goal.what {
            What::Race(course, _) => {
                let course = race::Course { n_rounds: request.rounds.unwrap_or(course.n_rounds), ..*course };
                race::run(course, &request.means, ballast.as_ref()).map(Outcome::Race)
            }
            What::Memory => memory::measure(&request.means).map(Outcome::Memory),
            What::Cost => cost::measure(&request.means, request.rounds).map(Outcome::Cost),
            What::Display => display::measure(&request.means, request.rounds).map(Outcome::Display),
        };
        interrupt::check()?;
        match outcome {
            Ok(outcome) => {
                fs::write(file_of(&request.into, goal), serde_json::to_vec_pretty(&outcome)?)?;
                println!("{}", section(goal, &outcome)?);
                println!("{}", judged(goal, &outcome).join("\n"));
            }
            Err(error) => {
                eprintln!("bench: row {} FAILED: {error}", goal.key);
                failed.push(goal.key);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("rows without outcome: {}", failed.join(", ")).into()) }
}

/// Reads all outcomes that are there, and writes tables, pictures and what is reached.
pub fn report(request: &Report) -> Result<(), BenchError> {
    let mut summary = vec![
        "## What is wanted, and what was measured".to_owned(),
        String::new(),
        "Each line is one of `cargo xtask bench goals --row ROW`, which stands below with its whole table; `cargo xtask bench \
         report` wrote all of it. *Measured*: the median of the rounds' ratios, and their range."
            .to_owned(),
        String::new(),
        "| row | wanted | measured | |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    let document = document::read(Path::new(DOCUMENT))?;
    let mut sections = Vec::new();
    for goal in GOALS {
        let outcome = match fs::read(file_of(&request.from, goal)) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| format!("row {}: {error}", goal.key))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("bench: row {} has no outcome here: what the document says of it stays", goal.key);
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(outcome) = outcome else {
            summary.extend(standing(&document, goal));
            continue;
        };
        summary.extend(judged(goal, &outcome));
        sections.push((key_in_document(goal, &outcome), section(goal, &outcome)?));
        if !request.dry {
            fs::create_dir_all(PLOTS)?;
            for (name, picture) in pictures(goal, &outcome) {
                fs::write(Path::new(PLOTS).join(name), picture)?;
            }
        }
    }
    sections.insert(0, (LIST.to_owned(), summary.join("\n") + "\n"));
    for (key, section) in sections {
        println!("{section}");
        if !request.dry {
            document::write_section(Path::new(DOCUMENT), &key, &section)?;
        }
    }
    Ok(())
}

/// What the document says of a row; nothing was measured of one that it does not know.
fn standing(document: &str, goal: &Goal) -> Vec<String> {
    let begin = format!("| {} |", goal.key);
    let list = document::section(document, LIST).unwrap_or_default();
    let lines: Vec<String> = list.lines().filter(|line| line.starts_with(&begin)).map(str::to_owned).collect();
    if lines.is_empty() { vec![format!("{begin} | | **not measured** |")] } else { lines }
}

fn file_of(folder: &Path, goal: &Goal) -> PathBuf {
    folder.join(format!("{}.json", goal.key))
}

/// The same as a run of `bench copy` or `bench memory` has: the newer figures stand in one place.
fn key_in_document(goal: &Goal, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Race(race) => table::key(race),
        Outcome::Memory(_) | Outcome::Cost(_) | Outcome::Display(_) => goal.key.to_owned(),
    }
}

fn section(goal: &Goal, outcome: &Outcome) -> Result<String, BenchError> {
    match outcome {
        Outcome::Race(race) => {
            let command = format!("cargo xtask bench goals --row {}", goal.key);
            Ok(table::section(race, &command, Some(&format!("plots/copy-{}.svg", goal.key))))
        }
        Outcome::Memory(rows) => memory::section(rows),
        Outcome::Cost(cost) => Ok(cost::section(cost)),
        Outcome::Display(display) => Ok(display::section(display)),
    }
}

/// Names and pictures.
fn pictures(goal: &Goal, outcome: &Outcome) -> Vec<(String, String)> {
    match outcome {
        Outcome::Race(race) => vec![(format!("copy-{}.svg", goal.key), table::picture(race))],
        Outcome::Memory(_) | Outcome::Display(_) => Vec::new(),
        Outcome::Cost(cost) => cost::pictures(cost),
    }
}

/// A line of the summary for each thing that is wanted.
fn judged(goal: &Goal, outcome: &Outcome) -> Vec<String> {
    let line = |wanted: &str, judgement: Option<(String, bool)>| {
        let (measured, verdict) = match judgement {
            Some((measured, true)) => (measured, "reached"),
            Some((measured, false)) => (measured, "**not reached**"),
            None => (String::new(), "**not measured**"),
        };
        format!("| {} | {wanted} | {measured} | {verdict} |", goal.key)
    };
    match (&goal.what, outcome) {
        (What::Race(_, wanted), Outcome::Race(race)) => {
            let addition = if race.scale > 1 { ", of too few data" } else { "" };
            let judge = |wanted: &Wanted| {
                let judgement = wanted.judge(race);
                line(&wanted.words(), judgement.map(|(measured, is_reached)| (measured + addition, is_reached)))
            };
            wanted.iter().map(judge).collect()
        }
        (What::Memory, Outcome::Memory(rows)) => vec![line(memory::WANTED, Some(memory::judge(rows)))],
        (What::Cost, Outcome::Cost(cost)) => vec![line(cost::WANTED, cost::judge(cost))],
        (What::Display, Outcome::Display(display)) => vec![line(display::WANTED, display::judge(display))],
        _ => vec![format!("| {} | | its file holds something else | **not measured** |", goal.key)],
    }
}

impl Wanted {
    /// The tools that it is about.
    #[cfg(test)]
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::TimesAsFast(ours, _, other)
            | Self::AtMostOf(ours, _, other)
            | Self::Later(ours, _, other)
            | Self::WorkAtMostOf(ours, _, other) => [ours, other],
        }
    }

    fn words(self) -> String {
        match self {
            Self::TimesAsFast(ours, factor, other) => format!("{ours}: ≥ {factor} × as fast as {other}"),
            Self::AtMostOf(ours, part, other) => format!("{ours}: ≤ {part} × the time of {other}"),
            Self::Later(ours, bound, other) => format!("{ours}: ≤ {} ms more than {other}", bound.as_millis()),
            Self::WorkAtMostOf(ours, part, other) => format!("{ours}: ≤ {part} × the processor time of {other}"),
        }
    }

    /// What was measured, and whether it is enough; nothing where one of the two did not run.
    fn judge(self, race: &Race) -> Option<(String, bool)> {
        let pair = |ours, other| Some((race.runner(ours)?, race.runner(other)?));
        match self {
            Self::TimesAsFast(ours, factor, other) => {
                let (ours, other) = pair(ours, other)?;
                let times = ours.parts_of(other, |timing| timing.wall).inverse();
                Some((times.text(), times.median >= factor))
            }
            Self::AtMostOf(ours, part, other) => {
                let (ours, other) = pair(ours, other)?;
                let parts = ours.parts_of(other, |timing| timing.wall);
                Some((parts.text(), parts.median <= part))
            }
            Self::WorkAtMostOf(ours, part, other) => {
                let (ours, other) = pair(ours, other)?;
                let parts = ours.parts_of(other, |timing| timing.processor);
                Some((format!("{:.3} ({:.3}–{:.3})", parts.median, parts.min, parts.max), parts.median <= part))
            }
            Self::Later(ours, bound, other) => {
                let (ours, other) = pair(ours, other)?;
                let seconds = ours.timings.iter().zip(&other.timings);
                let seconds = seconds.map(|(ours, other)| ours.wall.as_secs_f64() - other.wall.as_secs_f64());
                let Middle { median, min, max } = Middle::of(seconds)?;
                let [shown, least, most] = [median, min, max].map(|seconds| format!("{:.2}", seconds * 1e3));
                let unit = Unit::Milliseconds.sign();
                Some((format!("{shown} {unit} ({least}–{most})"), median <= bound.as_secs_f64()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::race::Runner;
    use crate::timing::Timing;
    use crate::tools::{BRIGADE, LineUp};
    use crate::tree::Survey;

    fn race(ours: &[u64], theirs: &[u64]) -> Race {
        let runner = |name: &str, milliseconds: &[u64]| {
            let mut runner = Runner::new(name, Some("1.2".to_owned()), "all of it".to_owned());
            runner.timings.extend(milliseconds.iter().map(|&wall| Timing {
                wall: Duration::from_millis(wall),
                processor: Duration::from_millis(2 * wall),
                others: Duration::ZERO,
            }));
            runner.flushes = vec![Duration::ZERO; milliseconds.len()];
            runner
        };
        let course = race::Course {
            line_up: LineUp::Goal,
            set: crate::data::DataSet::I,
            on: FileSystem::Tmpfs,
            is_cold: false,
            n_rounds: 3,
        };
        Race {
            course,
            scale: 1,
            n_repeats: 0,
            n_rounds: 3,
            survey: Survey::default(),
            machine: "this one".to_owned(),
            ballast_bytes: None,
            images: None,
            missing: vec!["rcp --preserve".to_owned()],
            failures: Vec::new(),
            runners: vec![runner(BRIGADE, ours), runner("cp -a", theirs)],
        }
    }

    #[test]
    fn rounds_are_compared_pair_by_pair() {
        let race = race(&[100, 10, 200], &[200, 30, 400]);
        let fast = |factor| Wanted::TimesAsFast(BRIGADE, factor, "cp -a").judge(&race).unwrap();
        assert_eq!(fast(2.0), ("2.00 (2.00–3.00)".to_owned(), true));
        assert!(!fast(2.1).1);
        let later = Wanted::Later(BRIGADE, Duration::from_millis(1), "cp -a").judge(&race).unwrap();
        assert_eq!(later, ("-100.00 ms (-200.00–-20.00)".to_owned(), true));
        assert!(!Wanted::WorkAtMostOf(BRIGADE, 0.4, "cp -a").judge(&race).unwrap().1);
        assert!(Wanted::AtMostOf(BRIGADE, 1.1, "rcp --preserve").judge(&race).is_none());
    }

    #[test]
    fn what_was_not_measured_again_stays_as_it_stands() {
        let goal = GOALS.iter().find(|goal| goal.key == "D").unwrap();
        let list = "| D | fast | 1.0 | reached |\n| D | faster | 0.9 | reached |";
        let text = format!("| D | elsewhere |\n<!-- begin goals -->\n{list}\n| E | x |\n<!-- end goals -->\n");
        assert_eq!(standing(&text, goal).join("\n"), list);
        assert_eq!(standing("", goal), ["| D | | | **not measured** |"]);
    }

    #[test]
    fn an_outcome_is_the_same_when_it_is_read_again_and_says_what_was_missing() {
        let outcome = Outcome::Race(race(&[1, 2, 3], &[3, 2, 1]));
        let goal = GOALS.iter().find(|goal| goal.key == "I").unwrap();
        let read = serde_json::from_slice(&serde_json::to_vec(&outcome).unwrap()).unwrap();
        let text = section(goal, &outcome).unwrap();
        assert_eq!(text, section(goal, &read).unwrap());
        assert!(text.contains("Not installed, and so not measured: rcp --preserve."), "{text}");
        assert!(judged(goal, &read)[0].ends_with("| reached |"));
        let with_a_floor = GOALS.iter().find(|goal| goal.key == "B").unwrap();
        assert!(judged(with_a_floor, &read)[2].ends_with("| **not measured** |"));
        assert!(pictures(goal, &read)[0].1.contains("<rect"));
    }
}
