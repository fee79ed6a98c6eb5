//! The bench of the library, against its peers: each is timed from inside, by a program of its own, in turn. What is timed
//! is listed in library/measures.rs, the programs are bin/library_probe.rs, library_probe.py and the package bench/peers;
//! here is the order of things, and the table. The picture is drawn in plot.rs.

mod measures;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use self::measures::{MEASURES, Measure, Shown, Side, Wanted};
use crate::plot::{self, Bar};
use crate::statistics::{Spread, grouped};
use crate::timing::{self, Timing};
use crate::{BenchError, document, interrupt, machine};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Measures [default: all].
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(measures::KEYS))]
    pub only: Vec<String>,
    /// Rounds in which every side takes its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// A run that others disturbed is repeated so often at most; then the least disturbed one counts.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub repeats: u16,
    /// Prints the tables only, and leaves docs/measurements.md and the pictures as they are.
    #[arg(long)]
    pub dry: bool,
    /// Folder of the programs that time the peers; made by `cargo xtask bench library`.
    #[arg(long, value_name = "FOLDER")]
    pub peers: Option<PathBuf>,
}

const DOCUMENT: &str = "docs/measurements.md";
/// Python starts it once more for each process, so it has to be a file.
const PYTHON_PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/library_probe.py");

/// What a probe prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figure {
    /// The time that counts, or for [`Shown::Count`] a number.
    time: Duration,
    /// Processor time of the probe and all its processes meanwhile.
    processor: Duration,
    /// The same in the idle second afterwards.
    idle: Duration,
    /// Other processes took much of the machine meanwhile, in every repetition.
    disturbed: bool,
}

/// The figures of one side of a measure.
struct Row {
    side: &'static Side,
    figures: Vec<Figure>,
}

/// Measures, prints the tables and writes them down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    interrupt::install()?;
    let wanted = |measure: &&Measure| request.only.is_empty() || request.only.iter().any(|key| key == measure.key);
    for measure in MEASURES.iter().filter(wanted) {
        let rows = rows(request, measure)?;
        let section = section(request, measure, &rows)?;
        println!("{section}");
        if !request.dry {
            document::write_section(Path::new(DOCUMENT), &format!("library {}", measure.key), &section)?;
            let picture = picture(measure, &medians(&rows)?);
            fs::create_dir_all("docs/plots")?;
            fs::write(format!("docs/plots/{}.svg", measure.key), picture)?;
        }
    }
    Ok(())
}

fn rows(request: &Request, measure: &Measure) -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    for side in measure.sides {
        match probe(request, side) {
            Ok(_) => rows.push(Row { side, figures: Vec::new() }),
            Err(reason) => eprintln!("bench: {} is left out: {reason}", side.name),
        }
    }
    for round in 0..usize::from(request.rounds) {
        for turn in 0..rows.len() {
            let row_idx = (round + turn) % rows.len();
            let side = rows[row_idx].side;
            rows[row_idx].figures.push(ask(request, side)?);
        }
        eprintln!("bench: {}: round {} of {}", measure.key, round + 1, request.rounds);
    }
    Ok(rows)
}

/// The command that times one side, without its arguments.
fn probe(request: &Request, side: &Side) -> Result<Command, BenchError> {
    let beside = |folder: &Path, name: &str| {
        let path = folder.join(name);
        if path.is_file() { Ok(Command::new(&path)) } else { Err(format!("{} is missing", path.display())) }
    };
    Ok(match side.program {
        measures::Program::Ours => beside(std::env::current_exe()?.parent().ok_or("no folder")?, "library_probe")?,
        measures::Program::Python => {
            Command::new("python3").arg("-V").output().map_err(|error| format!("python3: {error}"))?;
            let mut command = Command::new("python3");
            command.arg(PYTHON_PROBE);
            command
        }
        measures::Program::Peer(name) => beside(request.peers.as_deref().ok_or("no folder of peers was named")?, name)?,
    })
}

/// Asks again while other processes disturb, and takes the answer of the quietest run.
fn ask(request: &Request, side: &Side) -> Result<Figure, BenchError> {
    let mut best: Option<(Timing, Figure)> = None;
    for _ in 0..=request.repeats {
        let (timing, figure) = ask_once(probe(request, side)?, side)?;
        if best.is_none_or(|(best, _)| timing.others_share() < best.others_share()) {
            best = Some((timing, figure));
        }
        if !timing.is_disturbed() {
            break;
        }
    }
    let (timing, figure) = best.expect("there is at least one run");
    Ok(Figure { disturbed: timing.is_disturbed(), ..figure })
}

fn ask_once(mut probe: Command, side: &Side) -> Result<(Timing, Figure), BenchError> {
    let mut answer = File::from(memfd_create(c"answer", MemfdFlags::CLOEXEC)?);
    probe.args([side.what, &side.count.to_string()]);
    probe.stdin(Stdio::null()).stdout(Stdio::from(answer.try_clone()?));
    let (timing, status) = timing::run(&mut probe)?;
    let mut text = String::new();
    answer.seek(SeekFrom::Start(0))?;
    answer.read_to_string(&mut text)?;
    match figure(&text) {
        Some(figure) if status.success() => Ok((timing, figure)),
        _ => Err(format!("the probe of {} ended with {status} and said {text:?}", side.name).into()),
    }
}

/// Reads `TIME PROCESSOR IDLE`, all in nanoseconds.
fn figure(text: &str) -> Option<Figure> {
    let mut words = text.split_whitespace().map(|word| word.parse().ok().map(Duration::from_nanos));
    Some(Figure { time: words.next()??, processor: words.next()??, idle: words.next()??, disturbed: false })
}

/// The median of each side, as the table shows it.
fn medians(rows: &[Row]) -> Result<Vec<(&'static Side, Duration)>, BenchError> {
    rows.iter().map(|row| Ok((row.side, row.spread(|figure| figure.time)?.median))).collect()
}

/// One bar a side, on a scale of powers of ten.
fn picture(measure: &Measure, medians: &[(&'static Side, Duration)]) -> String {
    let better = if measure.shown == Shown::PerSecond { "longer is better" } else { "shorter is better" };
    let bars: Vec<Bar> = medians
        .iter()
        .zip(lengths(measure, medians))
        .enumerate()
        .map(|(idx, ((side, median), length))| Bar {
            name: side.name,
            is_ours: idx == 0,
            length,
            figure: measure.shown.figure(*median, side.count),
        })
        .collect();
    let note = format!("{}, {better}; bars on a scale of powers of ten", measure.shown.unit());
    plot::bars(measure.title, &note, &bars)
}

/// Between a sliver and the whole width, by the logarithm of what is shown.
fn lengths(measure: &Measure, medians: &[(&'static Side, Duration)]) -> Vec<f64> {
    const SLIVER: f64 = 0.02;
    let logarithm = |&(side, median): &(&'static Side, Duration)| {
        let seconds = measure.shown.seconds_each(median, side.count).max(1e-10);
        if measure.shown == Shown::PerSecond { -seconds.log10() } else { seconds.log10() }
    };
    let values: Vec<f64> = medians.iter().map(logarithm).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let span = (greatest - least).max(1.0);
    values.into_iter().map(|value| SLIVER + (1.0 - SLIVER) * (value - least) / span).collect()
}

impl Row {
    fn spread(&self, of: fn(&Figure) -> Duration) -> Result<Spread, BenchError> {
        Spread::of(self.figures.iter().map(of)).ok_or_else(|| "no round was run".into())
    }
}

fn section(request: &Request, measure: &Measure, rows: &[Row]) -> Result<String, BenchError> {
    let mut lines = vec![
        format!("## {}", measure.title),
        String::new(),
        format!(
            "{} `cargo xtask bench library --only {} --rounds {} --repeats {}`",
            measure.explanation, measure.key, request.rounds, request.repeats
        ),
        format!("on {}. Medians of {} rounds in turn (least–greatest).", machine::description()?, request.rounds),
        String::new(),
        format!("![{}](plots/{}.svg)", measure.title, measure.key),
        String::new(),
    ];
    lines.extend(table(measure, rows)?);
    lines.push(String::new());
    for wanted in measure.wanted {
        lines.extend(verdict(measure, rows, wanted)?);
    }
    let (n_runs, n_disturbed) = rows
        .iter()
        .flat_map(|row| &row.figures)
        .fold((0, 0), |(n_runs, n_disturbed), figure| (n_runs + 1, n_disturbed + u32::from(figure.disturbed)));
    lines.push(match n_disturbed {
        0 => "No run that counts was disturbed by other processes.".to_owned(),
        _ => format!(
            "{n_disturbed} of {n_runs} runs were disturbed by other processes even after {} repetitions.",
            request.repeats
        ),
    });
    Ok(lines.join("\n") + "\n")
}

fn table(measure: &Measure, rows: &[Row]) -> Result<Vec<String>, BenchError> {
    let ours = rows.first().ok_or("nothing was measured")?.spread(|figure| figure.time)?.median;
    let mut lines = vec![match measure.shown {
        Shown::Count => format!("| | {} |", measure.shown.unit()),
        _ => format!(
            "| | {} | processor µs each | processor ms in an idle second | ours is so many times as fast |",
            measure.shown.unit()
        ),
    }];
    lines.push(if measure.shown == Shown::Count { "|---|---|" } else { "|---|---|---|---|---|" }.to_owned());
    for row in rows {
        let time = row.spread(|figure| figure.time)?;
        let count = row.side.count;
        let shown = [time.median, time.min, time.max].map(|time| measure.shown.figure(time, count));
        let [median, least, greatest] = &shown;
        let between = if measure.shown == Shown::PerSecond { [greatest, least] } else { [least, greatest] };
        let spread = format!("{median} ({}–{})", between[0], between[1]);
        if measure.shown == Shown::Count {
            lines.push(format!("| {} | {spread} |", row.side.name));
            continue;
        }
        let each = row.spread(|figure| figure.processor)?.median.as_secs_f64() * 1e6 / f64::from(count);
        let idle = row.spread(|figure| figure.idle)?.median.as_secs_f64() * 1e3;
        let ratio = measure.shown.times_as_fast((ours, rows[0].side.count), (time.median, count));
        lines.push(format!("| {} | {spread} | {each:.2} | {idle:.1} | {} |", row.side.name, times(ratio)));
    }
    Ok(lines)
}

fn times(ratio: f64) -> String {
    if ratio >= 100.0 { grouped(ratio.round() as u64) } else { format!("{ratio:.2}") }
}

/// What was wanted, and whether it was reached; nothing where the other side was left out.
fn verdict(measure: &Measure, rows: &[Row], wanted: &Wanted) -> Result<Option<String>, BenchError> {
    let medians = medians(rows)?;
    let (our_side, ours) = medians[0];
    let (text, is_reached) = match *wanted {
        Wanted::TimesAsFast(factor, name) => {
            let Some((side, theirs)) = medians.iter().find(|(side, _)| side.name == name) else {
                return Ok(None);
            };
            let ratio = measure.shown.times_as_fast((ours, our_side.count), (*theirs, side.count));
            (format!("Wanted: {factor} times as fast as {name}; measured: {}", times(ratio)), ratio >= factor)
        }
        Wanted::TimesAsLong(factor, name) => {
            let Some((side, theirs)) = medians.iter().find(|(side, _)| side.name == name) else {
                return Ok(None);
            };
            let ratio = measure.shown.times_as_fast((*theirs, side.count), (ours, our_side.count));
            (format!("Wanted: at most {factor} times as long as {name}; measured: {}", times(ratio)), ratio <= factor)
        }
        Wanted::AtMost(limit) => {
            let shown = [limit, ours].map(|time| measure.shown.figure(time, our_side.count));
            (format!("Wanted: at most {}; measured: {}", shown[0], shown[1]), ours <= limit)
        }
    };
    Ok(Some(format!("{text}, {}.", if is_reached { "reached" } else { "**not reached**" })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(measure: &'static Measure, microseconds: &[u64]) -> Vec<Row> {
        let row = |(side, &microseconds)| Row {
            side,
            figures: vec![Figure {
                time: Duration::from_micros(microseconds),
                processor: Duration::from_secs(1),
                idle: Duration::ZERO,
                disturbed: false,
            }],
        };
        measure.sides.iter().zip(microseconds).map(row).collect()
    }

    #[test]
    fn a_probes_answer_is_read_or_refused() {
        let [time, processor, idle] = [1500, 20, 3].map(Duration::from_nanos);
        assert_eq!(figure("1500 20 3\n"), Some(Figure { time, processor, idle, disturbed: false }));
        assert_eq!(figure("1500 20\n"), None);
        assert_eq!(figure("fast 20 3\n"), None);
    }

    #[test]
    fn a_faster_side_has_the_longer_bar_where_longer_is_better() {
        let measure = MEASURES.iter().find(|measure| measure.key == "queue").unwrap();
        let medians = [(&measure.sides[0], Duration::from_secs(1)), (&measure.sides[1], Duration::from_secs(1))];
        let [ours, theirs] = lengths(measure, &medians)[..] else { panic!("two bars") };
        assert!(ours > theirs);
    }

    #[test]
    fn the_table_tells_ratios_and_what_was_not_reached() {
        let measure = MEASURES.iter().find(|measure| measure.key == "round-trip").unwrap();
        let request = Request { only: vec![], rounds: 1, repeats: 0, dry: true, peers: None };
        let fast = section(&request, measure, &rows(measure, &[2, 200])).unwrap();
        assert!(fast.contains("| 100 |") && fast.contains("measured: 100, reached."), "{fast}");
        let slow = section(&request, measure, &rows(measure, &[50, 200])).unwrap();
        assert!(slow.contains("measured: 4.00, **not reached**."), "{slow}");
    }
}
