//! What the display costs: the processor time of the thread that draws, beside that of the whole command on a terminal. In the
//! command that is the first thread, which does little else: without a bar its time is what it does besides.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use torture::processes;

use crate::data::DataSet;
use crate::place::{FROM, FileSystem, Place, TO};
use crate::race::Means;
use crate::statistics::Middle;
use crate::timing::{self, Timing};
use crate::tools::{BAR, LineUp};
use crate::{BenchError, machine};

/// What was measured of each way to show how far a copy is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Display {
    machine: String,
    n_rounds: u16,
    scale: u16,
    rows: Vec<Row>,
}

/// One way, round by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    tool: String,
    /// Of all threads of all processes.
    processor: Vec<Duration>,
    /// Of the thread that draws.
    drawing: Vec<Duration>,
}

const N_ROUNDS: u16 = 15;
const SET: DataSet = DataSet::B;
/// What is wanted of the thread that draws.
pub(crate) const WANTED: &str = "brigade copy --progress=bar: the thread that draws ≤ 1 % of the processor time";
const MOST_SHARE: f64 = 0.01;
/// The last look comes so long before the end at most, and what was used after it is not seen.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const COMMAND: &str = "brigade";

/// Copies B with each way in turn, after a round that warms up.
pub(crate) fn measure(means: &Means, n_rounds: Option<u16>) -> Result<Display, BenchError> {
    let n_rounds = n_rounds.unwrap_or(N_ROUNDS);
    let (tools, _) = means.tools(LineUp::Display)?;
    let place = Place::make(FileSystem::Tmpfs, None)?;
    let [source, copy] = [FROM, TO].map(|side| place.folder().join(side).join("tree"));
    SET.make(&source, usize::from(means.scale))?;
    let row = |name: &str| Row { tool: name.to_owned(), processor: Vec::new(), drawing: Vec::new() };
    let mut rows: Vec<Row> = tools.iter().map(|tool| row(tool.name())).collect();
    for round in 0..=n_rounds {
        for (tool, row) in tools.iter().zip(&mut rows) {
            let (timing, drawing) = watched(&mut tool.command(&source, &copy))?;
            fs::remove_dir_all(&copy)?;
            if round > 0 {
                eprintln!("bench: {:30} {:?} of {:?}", tool.name(), drawing, timing.processor);
                row.processor.push(timing.processor);
                row.drawing.push(drawing);
            }
        }
    }
    Ok(Display { machine: machine::description()?, n_rounds, scale: means.scale, rows })
}

/// Runs a program that starts the command, and looks again and again at what the first thread of that has used.
fn watched(program: &mut Command) -> Result<(Timing, Duration), BenchError> {
    let is_over = AtomicBool::new(false);
    let (outcome, drawing) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut pid, mut used) = (None, None);
            while !is_over.load(Ordering::Relaxed) {
                pid =
                    pid.or_else(|| Some(processes::family().into_iter().find(|process| process.name == COMMAND)?.pid));
                used = pid.and_then(first_threads_time).or(used);
                std::thread::sleep(LOOK_EVERY);
            }
            used
        });
        let outcome = timing::run(program);
        is_over.store(true, Ordering::Relaxed);
        (outcome, watcher.join().expect("it only reads"))
    });
    let (timing, status) = outcome?;
    if !status.success() {
        return Err(format!("{program:?} failed: {status}").into());
    }
    Ok((timing, drawing.ok_or_else(|| format!("{program:?}: no process {COMMAND} was seen"))?))
}

/// What it has used of processors so far.
fn first_threads_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

impl Row {
    fn share(&self) -> Option<Middle> {
        let both = self.drawing.iter().zip(&self.processor);
        Middle::of(both.map(|(drawing, all)| drawing.as_secs_f64() / all.as_secs_f64()))
    }
}

fn percent(share: Middle) -> String {
    let [median, min, max] = [share.median, share.min, share.max].map(|part| part * 100.0);
    format!("{median:.2} % ({min:.2}–{max:.2})")
}

/// The share of the thread that draws, and whether it is small enough.
pub(crate) fn judge(display: &Display) -> Option<(String, bool)> {
    let share = display.rows.iter().find(|row| row.tool == BAR)?.share()?;
    Some((percent(share), share.median <= MOST_SHARE))
}

/// The section of a document.
pub(crate) fn section(display: &Display) -> String {
    let mut text = format!(
        "## What drawing costs\n\n\
         {} on tmpfs, on a terminal: the processor time of the first thread of the command, which draws, and its share in that of all \
         processes\n(median, least–greatest of {} rounds in turn). `cargo xtask bench goals --row display`\non {}.\n\n\
         | | of the first thread, ms | its share |\n|---|---|---|",
        SET.letter(),
        display.n_rounds,
        display.machine
    );
    for row in &display.rows {
        let milliseconds = Middle::of(row.drawing.iter().map(|drawing| drawing.as_secs_f64() * 1e3));
        let [Some(milliseconds), Some(share)] = [milliseconds, row.share()] else { continue };
        text += &format!("\n| {} | {} | {} |", row.tool, milliseconds.text(), percent(share));
    }
    if let Some((share, is_reached)) = judge(display) {
        let verdict = if is_reached { "reached" } else { "**not reached**" };
        text += &format!("\n\nWanted: {WANTED}; measured: {share}, {verdict}.");
    }
    if display.scale > 1 {
        text += &format!(" **The data were divided by {}: these figures say nothing.**", display.scale);
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_thread_that_draws_is_judged() {
        let display = |milliseconds: u64| Display {
            machine: "this one".to_owned(),
            n_rounds: 1,
            scale: 1,
            rows: vec![Row {
                tool: BAR.to_owned(),
                processor: vec![Duration::from_secs(1)],
                drawing: vec![Duration::from_millis(milliseconds)],
            }],
        };
        assert_eq!(judge(&display(9)), Some(("0.90 % (0.90–0.90)".to_owned(), true)));
        assert!(!judge(&display(11)).unwrap().1);
        assert!(section(&display(11)).contains("| 11.00 (11.00–11.00) | 1.10 % (1.10–1.10) |"));
    }

    #[test]
    fn the_first_thread_of_the_command_is_watched_through_what_starts_it() {
        let folder = tempfile::tempdir().unwrap();
        let command = folder.path().join(COMMAND);
        // By its name it is the command.
        fs::copy("/bin/sh", &command).unwrap();
        let through = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", r#""$0" -c "$1"; exit $?"#]).arg(&command).arg(script);
            watched(&mut shell)
        };
        // What children of other tests use meanwhile counts as the program's, too: there is a time without any.
        let counts = || through("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done").unwrap();
        let seen = (0..50).map(|_| counts()).find(|(timing, used)| *used > timing.processor / 2);
        assert!(seen.is_some_and(|(timing, used)| used <= timing.processor + LOOK_EVERY), "{seen:?}");
        assert!(through("exit 3").is_err());
        assert!(watched(Command::new("sleep").arg("0.05")).is_err(), "nobody has that name");
    }
}
