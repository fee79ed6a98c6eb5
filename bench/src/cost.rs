//! What one file costs as their number grows: processor time, and system calls, of ours, of `cp -a` and of the floor. Rooms for
//! trees and single runs are elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::place::{FROM, FileSystem, Place, TO};
use crate::plot::{self, Line};
use crate::race::Means;
use crate::statistics::{Middle, grouped};
use crate::tools::{BRIGADE, FLOOR, LineUp, Tool, UNCONFINED};
use crate::{BenchError, data, machine, timing, tree};

/// What was measured of all tools and numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    machine: String,
    n_rounds: u16,
    scale: u16,
    rows: Vec<Row>,
}

/// One tool on so many files.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    tool: String,
    n_files: u64,
    /// Processor time of each round, for each file.
    microseconds: Vec<f64>,
    /// System calls of all its processes, counted in a run of its own; nothing where they cannot be counted.
    n_calls: Option<u64>,
}

const N_FILES: [u64; 5] = [10_000, 30_000, 100_000, 300_000, 1_000_000];
const TOOLS: [&str; 4] = [BRIGADE, UNCONFINED, "cp -a", FLOOR];
const N_ROUNDS: u16 = 3;
/// What is wanted of the processor time for each file.
pub(crate) const WANTED: &str = "brigade copy: processor time a file of 1 000 000 ≤ 1.2 × that of 100 000";
const MOST_GROWTH: f64 = 1.2;

/// Copies ever more empty files with each tool in turn.
pub(crate) fn measure(means: &Means, n_rounds: Option<u16>) -> Result<Cost, BenchError> {
    let n_rounds = n_rounds.unwrap_or(N_ROUNDS);
    let (tools, _) = means.tools(LineUp::Goal)?;
    let tools: Vec<Tool> = tools.into_iter().filter(|tool| TOOLS.contains(&tool.name())).collect();
    let mut rows = Vec::new();
    for n_files in N_FILES.map(|n_files| n_files / u64::from(means.scale)) {
        eprintln!("bench: making {} empty files", grouped(n_files));
        let place = Place::make(FileSystem::Tmpfs, None)?;
        data::make_empty_files(&place.folder().join(FROM).join("tree"), usize::try_from(n_files)?)?;
        let mut figures = vec![Vec::new(); tools.len()];
        for round in 0..usize::from(n_rounds) {
            for turn in 0..tools.len() {
                let idx = (turn + round) % tools.len();
                let processor = run(&mut command(&tools[idx], place.folder()), place.folder())?.processor;
                figures[idx].push(processor.as_secs_f64() * 1e6 / n_files as f64);
            }
        }
        for (tool, microseconds) in tools.iter().zip(figures) {
            let n_calls = count_calls(tool, place.folder())?;
            eprintln!("bench: {}: {n_files} files, {microseconds:.2?} µs, {n_calls:?} calls", tool.name());
            rows.push(Row { tool: tool.name().to_owned(), n_files, microseconds, n_calls });
        }
    }
    Ok(Cost { machine: machine::description()?, n_rounds, scale: means.scale, rows })
}

fn command(tool: &Tool, folder: &Path) -> Command {
    let [source, copy] = [FROM, TO].map(|side| folder.join(side).join("tree"));
    tool.command(&source, &copy)
}

/// One copy, checked and removed.
fn run(command: &mut Command, folder: &Path) -> Result<timing::Timing, BenchError> {
    let (timing, status) = timing::run(command)?;
    if !status.success() {
        return Err(format!("{command:?} failed: {status}").into());
    }
    let [source, copy] = [FROM, TO].map(|side| folder.join(side).join("tree"));
    if tree::survey(&source)? != tree::survey(&copy)? {
        return Err(format!("{command:?} is incomplete").into());
    }
    fs::remove_dir_all(copy)?;
    Ok(timing)
}

/// `perf` counts in the kernel, which a million files can wait for; a tracer stops at each call.
fn count_calls(tool: &Tool, folder: &Path) -> Result<Option<u64>, BenchError> {
    let (copier, counts) = (command(tool, folder), folder.join("calls"));
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-o"]).arg(&counts).arg("--");
    perf.arg(copier.get_program()).args(copier.get_args());
    perf.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    if !Command::new("perf").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("bench: perf IS NOT INSTALLED (Debian's linux-perf): system calls are not counted");
        return Ok(None);
    }
    run(&mut perf, folder)?;
    Ok(Some(counted(&fs::read_to_string(&counts)?)?))
}

/// `COUNT,,raw_syscalls:sys_enter,…` among lines of comment.
fn counted(text: &str) -> Result<u64, BenchError> {
    let line = text.lines().find(|line| line.contains("raw_syscalls"));
    let count = line.and_then(|line| line.split(',').next()?.parse().ok());
    count.ok_or_else(|| format!("perf did not count: {text}").into())
}

impl Row {
    fn microseconds(&self) -> Middle {
        Middle::of(self.microseconds.iter().copied()).expect("there is at least one round")
    }

    fn calls(&self) -> Option<f64> {
        self.n_calls.map(|n_calls| n_calls as f64 / self.n_files as f64)
    }
}

impl Cost {
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.tool.as_str()).collect();
        names.sort_by_key(|name| TOOLS.iter().position(|tool| tool == name));
        names.dedup();
        names
    }

    fn rows_of(&self, tool: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.tool == tool)
    }
}

/// The growth of ours, and whether it is little; nothing if not both numbers were measured.
pub(crate) fn judge(cost: &Cost) -> Option<(String, bool)> {
    let median = |n_files: u64| {
        let row = cost.rows_of(BRIGADE).find(|row| row.n_files == n_files / u64::from(cost.scale))?;
        Some(row.microseconds().median)
    };
    let growth = median(1_000_000)? / median(100_000)?;
    Some((format!("{growth:.2}"), growth <= MOST_GROWTH))
}

/// The section of a document.
pub(crate) fn section(cost: &Cost) -> String {
    let mut text = format!(
        "## What one file costs\n\n\
         Empty files on tmpfs, 200 in a folder: processor time in µs a file, over all processes (median, least–greatest of {} \
         rounds in turn), and system calls a file (`perf stat -e raw_syscalls:sys_enter`, a run of its own). \
         `cargo xtask bench goals --row cost`\non {}.\n\n\
         ![Processor time a file](plots/cost-processor.svg)\n\n![System calls a file](plots/cost-calls.svg)\n\n| files |",
        cost.n_rounds, cost.machine
    );
    let names = cost.names();
    text += &names.iter().map(|name| format!(" {name}, µs | calls |")).collect::<String>();
    text += &format!("\n|---|{}", "---|".repeat(2 * names.len()));
    let mut numbers: Vec<u64> = cost.rows.iter().map(|row| row.n_files).collect();
    numbers.dedup();
    for n_files in numbers {
        text += &format!("\n| {} |", grouped(n_files));
        for name in &names {
            let Some(row) = cost.rows_of(name).find(|row| row.n_files == n_files) else { continue };
            let calls = row.calls().map_or_else(|| "–".to_owned(), |calls| format!("{calls:.1}"));
            text += &format!(" {} | {calls} |", row.microseconds().text());
        }
    }
    if let Some((growth, is_reached)) = judge(cost) {
        let verdict = if is_reached { "reached" } else { "**not reached**" };
        text += &format!("\n\nWanted: {WANTED}; measured: {growth}, {verdict}.");
    }
    if cost.scale > 1 {
        text += &format!(" **The numbers were divided by {}: these figures say nothing.**", cost.scale);
    }
    text + "\n"
}

/// Names and pictures.
pub(crate) fn pictures(cost: &Cost) -> Vec<(String, String)> {
    let names = cost.names();
    let draw = |title, note, value: fn(&Row) -> Option<f64>| {
        let line = |name: &&'_ str| -> (String, Vec<(f64, f64)>) {
            let points = cost.rows_of(name).filter_map(|row| Some((row.n_files as f64, value(row)?))).collect();
            ((*name).to_owned(), points)
        };
        let drawn: Vec<(String, Vec<(f64, f64)>)> = names.iter().map(line).collect();
        let lines: Vec<Line> = drawn
            .iter()
            .map(|(name, points)| Line { name, is_ours: name.starts_with(BRIGADE), points: points.clone() })
            .collect();
        plot::lines(title, note, &lines)
    };
    let processor = draw("Processor time a file", "µs, by the number of empty files; tmpfs", |row| {
        Some(row.microseconds().median)
    });
    let calls = draw("System calls a file", "by the number of empty files; tmpfs", Row::calls);
    vec![("cost-processor.svg".to_owned(), processor), ("cost-calls.svg".to_owned(), calls)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(microseconds: [f64; 2]) -> Cost {
        let row = |(n_files, microseconds)| Row {
            tool: BRIGADE.to_owned(),
            n_files,
            microseconds: vec![microseconds],
            n_calls: Some(n_files * 11),
        };
        let rows = [100_000, 1_000_000].into_iter().zip(microseconds).map(row).collect();
        Cost { machine: "this one".to_owned(), n_rounds: 1, scale: 1, rows }
    }

    #[test]
    fn growth_is_judged_and_calls_are_told_for_each_file() {
        assert_eq!(judge(&cost([10.0, 11.0])), Some(("1.10".to_owned(), true)));
        assert_eq!(judge(&cost([10.0, 13.0])), Some(("1.30".to_owned(), false)));
        let text = section(&cost([10.0, 13.0]));
        assert!(text.contains("| 1 000 000 | 13.00 (13.00–13.00) | 11.0 |"), "{text}");
        assert_eq!(pictures(&cost([1.0, 2.0])).len(), 2);
    }

    #[test]
    fn what_perf_prints_is_read() {
        let text = "# started on Mon\n\n1219,,raw_syscalls:sys_enter,87654,100.00,,\n";
        assert_eq!(counted(text).unwrap(), 1219);
        assert!(counted("<not supported>,,raw_syscalls:sys_enter,0,0,,").is_err());
    }
}
