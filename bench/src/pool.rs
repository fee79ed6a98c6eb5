//! The bench of the pool, against Python's `multiprocessing.Pool`: both are timed from inside, by a program of their own,
//! in turn. The programs are bin/pool_probe.rs and pool_probe.py beside this file; here is the order of things, and the table.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::statistics::{Spread, grouped};
use crate::timing::{self, Timing};
use crate::{BenchError, document, interrupt, machine};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Rounds in which both sides take their turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// A run that others disturbed is repeated so often at most; then the least disturbed one counts.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub repeats: u16,
    /// Prints the table only, and leaves docs/measurements.md as it is.
    #[arg(long)]
    pub dry: bool,
}

const N_WORKERS: u32 = 2;
/// Round trips by ours and by Python's, whose median needs fewer.
const N_ROUND_TRIPS: [u32; 2] = [100_000, 20_000];
const N_SUBMITTED: u32 = 100_000;
const DOCUMENT: &str = "docs/measurements.md";
const PYTHON_PROBE: &str = include_str!("pool_probe.py");

/// Makes the command that times one side.
type Probe = fn() -> Result<Command, BenchError>;

/// One side of the comparison.
struct Side {
    name: &'static str,
    probe: Probe,
    n_round_trips: u32,
    round_trips: Vec<Figure>,
    throughputs: Vec<Figure>,
}

/// What a probe prints: the time that counts, and the processor time of it and its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figure {
    time: Duration,
    processor: Duration,
    /// Other processes took much of the machine meanwhile, in every repetition.
    disturbed: bool,
}

/// Measures, prints the table and writes it down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    interrupt::install()?;
    let side =
        |name, probe, n_round_trips| Side { name, probe, n_round_trips, round_trips: vec![], throughputs: vec![] };
    let mut sides = [
        side("brigade::Pool", our_probe as Probe, N_ROUND_TRIPS[0]),
        side("multiprocessing.Pool", python_probe, N_ROUND_TRIPS[1]),
    ];
    for round in 0..usize::from(request.rounds) {
        for turn in 0..sides.len() {
            let side = &mut sides[(round + turn) % 2];
            side.round_trips.push(ask(side.probe, request.repeats, "round-trip", side.n_round_trips)?);
            side.throughputs.push(ask(side.probe, request.repeats, "throughput", N_SUBMITTED)?);
            eprintln!("bench: {} took its turn", side.name);
        }
    }
    let section = section(request, &sides)?;
    println!("{section}");
    if !request.dry {
        document::write_section(Path::new(DOCUMENT), "pool", &section)?;
    }
    Ok(())
}

fn our_probe() -> Result<Command, BenchError> {
    Ok(Command::new(std::env::current_exe()?.with_file_name("pool_probe")))
}

fn python_probe() -> Result<Command, BenchError> {
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON_PROBE]);
    Ok(command)
}

/// Asks again while other processes disturb, and takes the answer of the quietest run.
fn ask(probe: Probe, repeats: u16, what: &str, n_tasks: u32) -> Result<Figure, BenchError> {
    let mut best: Option<(Timing, Figure)> = None;
    for _ in 0..=repeats {
        let (timing, figure) = ask_once(probe()?, what, n_tasks)?;
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

fn ask_once(mut probe: Command, what: &str, n_tasks: u32) -> Result<(Timing, Figure), BenchError> {
    let mut answer = File::from(memfd_create(c"answer", MemfdFlags::CLOEXEC)?);
    probe.args([what, &N_WORKERS.to_string(), &n_tasks.to_string()]);
    probe.stdin(Stdio::null()).stdout(Stdio::from(answer.try_clone()?));
    let (timing, status) = timing::run(&mut probe)?;
    let mut text = String::new();
    answer.seek(SeekFrom::Start(0))?;
    answer.read_to_string(&mut text)?;
    match figure(&text) {
        Some(figure) if status.success() => Ok((timing, figure)),
        _ => Err(format!("a probe of the pool ended with {status} and said {text:?}").into()),
    }
}

/// Reads `TIME PROCESSOR`, both in nanoseconds.
fn figure(text: &str) -> Option<Figure> {
    let mut words = text.split_whitespace().map(|word| word.parse().ok().map(Duration::from_nanos));
    Some(Figure { time: words.next()??, processor: words.next()??, disturbed: false })
}

fn section(request: &Request, sides: &[Side; 2]) -> Result<String, BenchError> {
    let mut lines = head(request)?;
    for side in sides {
        lines.push(row(side)?);
    }
    let [ours, theirs] = sides;
    let ratio = |figures: fn(&Side) -> &[Figure]| -> Result<f64, BenchError> {
        let median = |side| spread(figures(side), |figure| figure.time).map(|spread| spread.median.as_secs_f64());
        Ok(median(theirs)? / median(ours)?)
    };
    let round_trip = ratio(|side| &side.round_trips)?;
    let throughput = ratio(|side| &side.throughputs)?;
    lines.push(String::new());
    lines.push(format!(
        "{} is {round_trip:.0} times as fast in a round trip and {throughput:.0} times in throughput.",
        ours.name
    ));
    let figures = sides.iter().flat_map(|side| side.round_trips.iter().chain(&side.throughputs));
    let (n_runs, n_disturbed) =
        figures.fold((0, 0), |(n_runs, n_disturbed), figure| (n_runs + 1, n_disturbed + u32::from(figure.disturbed)));
    lines.push(match n_disturbed {
        0 => "No run that counts was disturbed by other processes.".to_owned(),
        _ => {
            let repeats = request.repeats;
            format!(
                "{n_disturbed} of {n_runs} runs were disturbed by other processes even after {repeats} repetitions."
            )
        }
    });
    Ok(lines.join("\n") + "\n")
}

fn head(request: &Request) -> Result<Vec<String>, BenchError> {
    let [ours, theirs] = N_ROUND_TRIPS.map(|number| grouped(number.into()));
    let n_submitted = grouped(N_SUBMITTED.into());
    let rounds = request.rounds;
    let repeats = request.repeats;
    let machine = machine::description()?;
    Ok(vec![
        "## Tasks through a pool".to_owned(),
        String::new(),
        format!("`cargo xtask bench pool --rounds {rounds} --repeats {repeats}` on {machine}. {N_WORKERS} workers,"),
        format!("a task that does nothing. Round trip: one `apply` at a time, median of {ours} ({theirs} in Python)."),
        format!(
            "Throughput: {n_submitted} `apply_async`, then `get` each. Medians of {rounds} rounds in turn (least–greatest)."
        ),
        String::new(),
        "| pool | round trip µs | processor µs each | tasks a second | processor µs each |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ])
}

fn row(side: &Side) -> Result<String, BenchError> {
    let round_trip = spread(&side.round_trips, |figure| figure.time)?;
    let throughput = spread(&side.throughputs, |figure| figure.time)?;
    let each = |figures: &[Figure], n_tasks: u32| {
        spread(figures, |figure| figure.processor).map(|spread| microseconds(spread.median / n_tasks))
    };
    let a_second = |time: Duration| grouped((f64::from(N_SUBMITTED) / time.as_secs_f64()).round() as u64);
    Ok(format!(
        "| {} | {:.2} ({:.2}–{:.2}) | {:.2} | {} ({}–{}) | {:.2} |",
        side.name,
        microseconds(round_trip.median),
        microseconds(round_trip.min),
        microseconds(round_trip.max),
        each(&side.round_trips, side.n_round_trips)?,
        a_second(throughput.median),
        a_second(throughput.max),
        a_second(throughput.min),
        each(&side.throughputs, N_SUBMITTED)?
    ))
}

fn spread(figures: &[Figure], of: fn(&Figure) -> Duration) -> Result<Spread, BenchError> {
    Spread::of(figures.iter().map(of)).ok_or_else(|| "no round was run".into())
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probes_answer_is_read_or_refused() {
        let expected =
            Figure { time: Duration::from_nanos(1500), processor: Duration::from_nanos(20), disturbed: false };
        assert_eq!(figure("1500 20\n"), Some(expected));
        assert_eq!(figure("1500\n"), None);
        assert_eq!(figure("fast 20\n"), None);
    }

    #[test]
    fn the_table_names_both_sides_and_the_ratio() {
        let side = |name, microseconds| {
            let processor = Duration::from_secs(1);
            let figures = vec![Figure { time: Duration::from_micros(microseconds), processor, disturbed: false }];
            Side { name, probe: python_probe, n_round_trips: 1, round_trips: figures.clone(), throughputs: figures }
        };
        let request = Request { rounds: 1, repeats: 0, dry: true };
        let text = section(&request, &[side("ours", 10), side("theirs", 200)]).unwrap();
        assert!(text.contains("ours is 20 times as fast in a round trip and 20 times in throughput."), "{text}");
        assert!(text.contains("| theirs | 200.00 (200.00–200.00) |"), "{text}");
    }
}
