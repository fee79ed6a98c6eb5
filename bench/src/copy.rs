//! The bench of the command: every tool copies the same tree in turn, round after round, and every copy is checked.
//! Data, places and tools are made elsewhere; here is the order of things, and the table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ballast::Ballast;
use crate::place::{self, Place};
use crate::statistics::{Spread, Unit, grouped};
use crate::timing::{self, Timing};
use crate::tools::{BRIGADE, FLOOR, Onto, Tool};
use crate::tree::{self, Survey};
use crate::{BenchError, document, interrupt, kept, machine};

pub use crate::data::DataSet;
pub use crate::place::FileSystem;
pub use crate::tools::LineUp;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Data sets.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, default_value = "A,B,C,I")]
    pub sets: Vec<DataSet>,
    /// File systems.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tmpfs,ext4")]
    pub on: Vec<FileSystem>,
    /// Who copies with which options.
    #[arg(long, value_enum, default_value = "copy")]
    pub line_up: LineUp,
    /// Timed rounds, after one that warms up; the ten files of I get ten times as many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// The command to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub brigade: Option<PathBuf>,
    /// Where the peers from crates.io are, if not in the PATH.
    #[arg(long, value_name = "FOLDER")]
    pub peers: Option<PathBuf>,
    /// Where the images of file systems lie [default: where temporary files are].
    #[arg(long, value_name = "FOLDER")]
    pub images: Option<PathBuf>,
    /// Drops what the kernel remembers of files before each copy; only root can.
    #[arg(long)]
    pub cold: bool,
    /// A run that others disturbed is repeated so often at most; then the least disturbed one counts.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub repeats: u16,
    /// Prints the tables only, and leaves docs/measurements.md as it is.
    #[arg(long)]
    pub dry: bool,
}

/// Runs of ten files are too short to be judged one by one.
const ROUNDS_FACTOR_OF_TEN_FILES: u16 = 10;

/// Single runs that are longer are shown as they come.
const SHORTEST_SHOWN: Duration = Duration::from_millis(200);

const DOCUMENT: &str = "docs/measurements.md";

/// Measures, prints the tables and writes them down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    place::enter_mount_namespace()?;
    interrupt::install()?;
    let tools = installed_tools(request)?;
    let ballast = if request.on.contains(&FileSystem::Tmpfs) {
        eprintln!("bench: taking ballast");
        Some(Ballast::take()?)
    } else {
        None
    };
    for file_system in &request.on {
        for set in &request.sets {
            let section = measure(request, *set, *file_system, &tools, ballast.as_ref())?;
            println!("{section}");
            if !request.dry {
                let key = format!(
                    "{} {} on {}{}",
                    request.line_up.name(),
                    set.letter(),
                    file_system.name(),
                    if request.cold { ", cold" } else { "" }
                );
                document::write_section(Path::new(DOCUMENT), &key, &section)?;
            }
        }
    }
    Ok(())
}

fn installed_tools(request: &Request) -> Result<Vec<Tool>, BenchError> {
    let beside = std::env::current_exe()?;
    let brigade = request.brigade.clone().unwrap_or_else(|| beside.with_file_name("brigade"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = request.peers.clone().into_iter().chain(std::env::split_paths(&path)).collect();
    let all = request.line_up.tools(&brigade, beside.parent().unwrap_or(Path::new("/")), &folders);
    let (installed, missing): (Vec<Tool>, Vec<Tool>) = all.into_iter().partition(Tool::is_installed);
    for tool in missing {
        eprintln!("bench: {} is not installed and is left out", tool.name);
    }
    Ok(installed)
}

/// What is known about one tool in the end.
struct Row {
    tool: Tool,
    kept: String,
    timings: Vec<Timing>,
    /// How long the file system took afterwards to bring the data to the device.
    flushes: Vec<Duration>,
    n_disturbed: usize,
}

fn measure(
    request: &Request,
    set: DataSet,
    file_system: FileSystem,
    tools: &[Tool],
    ballast: Option<&Ballast>,
) -> Result<String, BenchError> {
    let place = Place::make(file_system, request.images.as_deref())?;
    eprintln!("bench: making {} on {}", set.letter(), file_system.name());
    set.make(&place.folder().join("source"))?;
    let survey = tree::survey(&place.folder().join("source"))?;
    let mut rows = Vec::new();
    for tool in tools {
        let kept = kept::kept(tool, place.folder())?;
        rows.push(Row { tool: tool.clone(), kept, timings: Vec::new(), flushes: Vec::new(), n_disturbed: 0 });
    }
    let n_rounds = if set == DataSet::I { request.rounds * ROUNDS_FACTOR_OF_TEN_FILES } else { request.rounds };
    let onto = request.line_up.onto();
    let bench = Bench { place: &place, onto, survey, request };
    for round in 0..=n_rounds {
        for turn in 0..rows.len() {
            let row_idx = (turn + usize::from(round)) % rows.len();
            if round == 0 {
                bench.warm_up(&rows[row_idx].tool)?;
            } else {
                bench.time_row(&mut rows[row_idx])?;
            }
        }
    }
    section(request, set, file_system, &survey, n_rounds, &rows, ballast)
}

struct Bench<'a> {
    place: &'a Place,
    onto: Onto,
    survey: Survey,
    request: &'a Request,
}

impl Bench<'_> {
    /// An untimed run; ours is compared thoroughly.
    fn warm_up(&self, tool: &Tool) -> Result<(), BenchError> {
        self.run_once(tool)?;
        if tool.name == BRIGADE {
            match tree::differences(&self.there("source"), &self.there("copy"))? {
                None => eprintln!("bench: without rsync only entries and bytes are compared"),
                Some(differences) if differences.is_empty() => {}
                Some(differences) => {
                    return Err(format!("{BRIGADE} made another tree:\n{differences}").into());
                }
            }
        }
        self.clear()
    }

    /// Runs until a run was undisturbed or enough were tried, and keeps the best of them.
    fn time_row(&self, row: &mut Row) -> Result<(), BenchError> {
        let mut best: Option<(Timing, Duration)> = None;
        for _ in 0..=self.request.repeats {
            let (timing, flush) = self.run_once(&row.tool)?;
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
                "bench: {:20} {wall:8.3} s wall, {processor:6.2} s processor, {others:5.2} s others",
                row.tool.name
            );
        }
        row.n_disturbed += usize::from(timing.is_disturbed());
        row.timings.push(timing);
        row.flushes.push(flush);
        Ok(())
    }

    /// One copy, checked for completeness.
    fn run_once(&self, tool: &Tool) -> Result<(Timing, Duration), BenchError> {
        self.prepare()?;
        self.place.flush()?;
        if self.request.cold {
            fs::write("/proc/sys/vm/drop_caches", "3")?;
        }
        let (source, copy) = (self.place.source("source"), self.place.destination("copy"));
        let (timing, status) = timing::run(&mut tool.command(&source, &copy))?;
        let started = Instant::now();
        self.place.flush()?;
        let flush = started.elapsed();
        if !status.success() {
            return Err(format!("{} failed: {status}", tool.name).into());
        }
        let found = tree::survey(&self.there("copy"))?;
        if found != self.survey {
            return Err(format!("{} is incomplete: {found:?} instead of {:?}", tool.name, self.survey).into());
        }
        Ok((timing, flush))
    }

    /// As it is behind whatever is slow.
    fn there(&self, name: &str) -> PathBuf {
        self.place.folder().join(name)
    }

    /// Makes what is at the destination before the copy.
    fn prepare(&self) -> Result<(), BenchError> {
        let copy = self.there("copy");
        if self.onto == Onto::Nothing || copy.exists() {
            return Ok(());
        }
        let (_, status) = timing::run(Command::new("cp").arg("-a").arg(self.there("source")).arg(&copy))?;
        if !status.success() {
            return Err(format!("cp failed: {status}").into());
        }
        if self.onto == Onto::Half { tree::thin_out(&copy) } else { Ok(()) }
    }

    /// Removes the copy, if it is not what the next one goes onto.
    fn clear(&self) -> Result<(), BenchError> {
        if self.onto != Onto::Whole {
            fs::remove_dir_all(self.there("copy"))?;
        }
        Ok(())
    }
}

fn section(
    request: &Request,
    set: DataSet,
    file_system: FileSystem,
    survey: &Survey,
    n_rounds: u16,
    rows: &[Row],
    ballast: Option<&Ballast>,
) -> Result<String, BenchError> {
    let mut lines = vec![
        format!(
            "## Copying {} on {}: {}{}",
            set.letter(),
            file_system.name(),
            set.description(),
            request.line_up.addition()
        ),
        String::new(),
        format!(
            "{} files, {} folders, {} symbolic links, {:.3} GB. `cargo xtask bench copy --line-up {} --sets {} --on {} --rounds {} --repeats {}{}`",
            grouped(survey.n_files),
            grouped(survey.n_folders),
            grouped(survey.n_symlinks),
            survey.bytes as f64 / 1e9,
            request.line_up.name(),
            set.letter(),
            file_system.name(),
            request.rounds,
            request.repeats,
            if request.cold { " --cold" } else { "" }
        ),
        format!(
            "on {}; {n_rounds} rounds in turn, caches {}.",
            machine::description()?,
            if request.cold { "cold" } else { "warm" }
        ),
        String::new(),
    ];
    lines.extend(table(request.line_up, rows, file_system));
    lines.extend(["".to_owned(), notes(request, rows, file_system, ballast)]);
    Ok(lines.join("\n") + "\n")
}

fn table(line_up: LineUp, rows: &[Row], file_system: FileSystem) -> Vec<String> {
    let row_of = |name: &str| rows.iter().find(|row| row.tool.name == name);
    let references = [row_of(line_up.baseline()), row_of(FLOOR)];
    let unit = Unit::for_shortest(rows.iter().map(|row| row.wall().median).min().unwrap_or_default());
    let sign = unit.sign();
    let mut lines = vec![
        format!(
            "| tool | wall {sign}, median (min–max) | user + sys {sign} | times as fast as {} \
             | of the floor's time | flush afterwards {sign} | metadata kept |",
            line_up.baseline()
        ),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(|row| row.line(unit, file_system, references)));
    lines
}

impl Row {
    fn wall(&self) -> Spread {
        Spread::of(self.timings.iter().map(|timing| timing.wall)).expect("there is at least one round")
    }

    /// The wall time in parts of another row's, round by round; the median of that. What disturbs a round disturbs both.
    fn part_of(&self, other: &Self) -> f64 {
        let both = self.timings.iter().zip(&other.timings);
        let mut parts: Vec<f64> = both.map(|(own, other)| own.wall.as_secs_f64() / other.wall.as_secs_f64()).collect();
        parts.sort_unstable_by(f64::total_cmp);
        let middle_idx = parts.len() / 2;
        if parts.len().is_multiple_of(2) {
            f64::midpoint(parts[middle_idx - 1], parts[middle_idx])
        } else {
            parts[middle_idx]
        }
    }

    fn line(&self, unit: Unit, file_system: FileSystem, [baseline, floor]: [Option<&Self>; 2]) -> String {
        let median =
            |durations: Vec<Duration>| Spread::of(durations).map_or_else(String::new, |of| unit.figure(of.median));
        let processor = median(self.timings.iter().map(|timing| timing.processor).collect());
        let flush = match file_system.is_on_disk() {
            true => median(self.flushes.clone()),
            false => "–".to_owned(),
        };
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        format!(
            "| {} | {} | {processor} | {} | {} | {flush} | {} |",
            self.tool.name,
            unit.spread(self.wall()),
            ratio(baseline.map(|baseline| 1.0 / self.part_of(baseline))),
            ratio(floor.map(|floor| self.part_of(floor))),
            self.kept
        )
    }
}

fn notes(request: &Request, rows: &[Row], file_system: FileSystem, ballast: Option<&Ballast>) -> String {
    let mut notes = vec!["Ratios are medians of the rounds' ratios.".to_owned()];
    notes.push(match file_system {
        FileSystem::Ext4 | FileSystem::Xfs | FileSystem::Btrfs => {
            "What a tool had not brought to the device when it ended is in “flush afterwards”.".to_owned()
        }
        FileSystem::Tmpfs => "No copy was on a disk, as tmpfs has none.".to_owned(),
        FileSystem::SlowSource | FileSystem::SlowDestination => {
            "Each request to the slow side takes half a millisecond, and many are served at once; behind it is a tmpfs."
                .to_owned()
        }
    });
    if let Some(folder) = request.images.as_ref().filter(|_| file_system.is_on_disk()) {
        notes.push(format!("The image lay in {}.", folder.display()));
    }
    if let (FileSystem::Tmpfs, Some(ballast)) = (file_system, ballast) {
        notes.push(format!("{} GiB of memory had been touched beforehand.", ballast.touched_bytes >> 30));
    }
    let disturbed: Vec<String> = rows
        .iter()
        .filter(|row| row.n_disturbed > 0)
        .map(|row| format!("{} {}", row.tool.name, row.n_disturbed))
        .collect();
    notes.push(if disturbed.is_empty() {
        "No run that counts was disturbed by other processes.".to_owned()
    } else {
        format!(
            "Runs that other processes disturbed even after {} repetitions: {}.",
            request.repeats,
            disturbed.join(", ")
        )
    });
    notes.join(" ")
}
