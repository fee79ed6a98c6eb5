//! Writes down a race: heading, table, picture, and what a reader has to know about its figures.

use std::time::Duration;

use super::{Race, Runner};
use crate::place::FileSystem;
use crate::plot::{self, Bar};
use crate::statistics::{Spread, Unit, grouped};
use crate::tools::{BRIGADE, FLOOR};

/// The section of a document; `command` made it, and `picture` is to be shown, if there is one.
pub(crate) fn section(race: &Race, command: &str, picture: Option<&str>) -> String {
    let (course, survey) = (&race.course, &race.survey);
    let mut lines = vec![
        format!("## {}", title(race)),
        String::new(),
        format!(
            "{} files, {} folders, {} symbolic links, {:.3} GB. `{command}`",
            grouped(survey.n_files),
            grouped(survey.n_folders),
            grouped(survey.n_symlinks),
            survey.bytes as f64 / 1e9,
        ),
        format!(
            "on {}; {} rounds in turn, caches {}.",
            race.machine,
            race.n_rounds,
            if course.is_cold { "cold" } else { "warm" }
        ),
        String::new(),
    ];
    if let Some(picture) = picture {
        lines.extend([format!("![{}]({picture})", title(race)), String::new()]);
    }
    lines.extend(table(race));
    lines.extend(["".to_owned(), notes(race)]);
    lines.join("\n") + "\n"
}

/// What stands at the ends of its section in a document.
pub(crate) fn key(race: &Race) -> String {
    let course = &race.course;
    let cold = if course.is_cold { ", cold" } else { "" };
    format!("{} {} on {}{cold}", course.line_up.name(), course.set.letter(), course.on.name())
}

/// What was done, in one line.
fn title(race: &Race) -> String {
    let course = &race.course;
    let set = course.set;
    let cold = if course.is_cold { ", cold" } else { "" };
    let addition = course.line_up.addition();
    format!("Copying {} on {}{cold}: {}{addition}", set.letter(), course.on.name(), set.description())
}

/// A bar of time for each tool.
pub(crate) fn picture(race: &Race) -> String {
    let medians: Vec<(&str, Duration)> =
        race.runners.iter().map(|runner| (runner.name.as_str(), runner.wall().median)).collect();
    let longest = medians.iter().map(|(_, median)| *median).max().unwrap_or_default().as_secs_f64();
    let unit = Unit::for_shortest(medians.iter().map(|(_, median)| *median).min().unwrap_or_default());
    let bars: Vec<Bar> = medians
        .iter()
        .map(|(name, median)| Bar {
            name,
            is_ours: name.starts_with(BRIGADE),
            length: median.as_secs_f64() / longest,
            figure: format!("{} {}", unit.figure(*median), unit.sign()),
        })
        .collect();
    plot::bars(&title(race), "median time, shorter is better", &bars)
}

fn table(race: &Race) -> Vec<String> {
    let baseline = race.course.line_up.baseline();
    let references = [baseline, FLOOR].map(|name| race.runner(name));
    let unit = Unit::for_shortest(race.runners.iter().map(|runner| runner.wall().median).min().unwrap_or_default());
    let sign = unit.sign();
    let mut lines = vec![
        format!(
            "| tool | wall {sign}, median (min–max) | user + sys {sign} | times as fast as {baseline} \
             | of the floor's time | flush afterwards {sign} | metadata kept |"
        ),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(race.runners.iter().map(|runner| line(runner, unit, race.course.on, references)));
    lines
}

fn line(runner: &Runner, unit: Unit, file_system: FileSystem, [baseline, floor]: [Option<&Runner>; 2]) -> String {
    let median = |durations: Vec<Duration>| Spread::of(durations).map_or_else(String::new, |of| unit.figure(of.median));
    let processor = median(runner.timings.iter().map(|timing| timing.processor).collect());
    let flush = match file_system.is_on_disk() {
        true => median(runner.flushes.clone()),
        false => "–".to_owned(),
    };
    let part = |other: Option<&Runner>| other.map(|other| runner.parts_of(other, |timing| timing.wall).median);
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "| {} | {} | {processor} | {} | {} | {flush} | {} |",
        runner.name,
        unit.spread(runner.wall()),
        ratio(part(baseline).map(|part| 1.0 / part)),
        ratio(part(floor)),
        runner.kept
    )
}

fn notes(race: &Race) -> String {
    let on = race.course.on;
    let mut notes = vec!["Ratios are medians of the rounds' ratios.".to_owned()];
    notes.push(match on {
        FileSystem::Ext4 | FileSystem::Xfs | FileSystem::Btrfs => {
            "What a tool had not brought to the device when it ended is in “flush afterwards”.".to_owned()
        }
        FileSystem::Tmpfs => "No copy was on a disk, as tmpfs has none.".to_owned(),
        FileSystem::SlowSource | FileSystem::SlowDestination => {
            "Each request to the slow side takes half a millisecond, and many are served at once; behind it is a tmpfs."
                .to_owned()
        }
    });
    if let Some(folder) = race.images.as_ref().filter(|_| on.is_on_disk()) {
        notes.push(format!("The image lay in {}.", folder.display()));
    }
    if let Some(bytes) = race.ballast_bytes.filter(|_| on == FileSystem::Tmpfs) {
        notes.push(format!("{} GiB of memory had been touched beforehand.", bytes >> 30));
    }
    if race.scale > 1 {
        notes.push(format!("**The data were divided by {}: these figures say nothing.**", race.scale));
    }
    let versions = race.runners.iter().filter(|runner| !runner.name.starts_with(BRIGADE));
    let versions: Vec<_> =
        versions.filter_map(|runner| Some(format!("{} {}", runner.name, runner.version.as_ref()?))).collect();
    if !versions.is_empty() {
        notes.push(format!("Versions: {}.", versions.join(", ")));
    }
    if !race.missing.is_empty() {
        notes.push(format!("Not installed, and so not measured: {}.", race.missing.join(", ")));
    }
    if !race.failures.is_empty() {
        notes.push(format!("Left out, as they did not copy: {}.", race.failures.join("; ")));
    }
    let disturbed: Vec<String> = race
        .runners
        .iter()
        .filter(|runner| runner.n_disturbed > 0)
        .map(|runner| format!("{} {}", runner.name, runner.n_disturbed))
        .collect();
    notes.push(if disturbed.is_empty() {
        "No run that counts was disturbed by other processes.".to_owned()
    } else {
        let repeats = race.n_repeats;
        format!("Runs that other processes disturbed even after {repeats} repetitions: {}.", disturbed.join(", "))
    });
    notes.join(" ")
}
