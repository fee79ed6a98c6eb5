//! The bench of the pool, against Python's `multiprocessing.Pool`: both are timed from inside, by a program of their own,
//! in turn. The programs are bin/pool_probe.rs and pool_probe.py beside this file; here is the order of things, and the table.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::statistics::{Spread, grouped};
use crate::{BenchError, document, interrupt, machine};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Rounds in which both sides take their turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
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

/// One side of the comparison.
struct Side {
    name: &'static str,
    probe: fn() -> Result<Command, BenchError>,
    n_round_trips: u32,
    round_trips: Vec<Figure>,
    throughputs: Vec<Figure>,
}

/// What a probe prints: the time that counts, and the processor time of it and its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Figure {
    time: Duration,
    processor: Duration,
}

/// Measures, prints the table and writes it down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    interrupt::install()?;
    let side = |name, probe, n_round_trips| Side {
        name,
        probe,
        n_round_trips,
        round_trips: vec![],
        throughputs: vec![],
    };
    let mut sides = [
        side("brigade::Pool", our_probe as fn() -> _, N_ROUND_TRIPS[0]),
        side("multiprocessing.Pool", python_probe, N_ROUND_TRIPS[1]),
    ];
    for round in 0..usize::from(request.rounds) {
        for turn in 0..sides.len() {
            let side = &mut sides[(round + turn) % 2];
            side.round_trips
                .push(ask((side.probe)()?, "round-trip", side.n_round_trips)?);
            side.throughputs
                .push(ask((side.probe)()?, "throughput", N_SUBMITTED)?);
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
    Ok(Command::new(
        std::env::current_exe()?.with_file_name("pool_probe"),
    ))
}

fn python_probe() -> Result<Command, BenchError> {
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON_PROBE]);
    Ok(command)
}

fn ask(mut probe: Command, what: &str, n_tasks: u32) -> Result<Figure, BenchError> {
    interrupt::check()?;
    probe
        .args([what, &N_WORKERS.to_string(), &n_tasks.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = probe
        .output()
        .map_err(|error| format!("cannot start {probe:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match figure(&text) {
        Some(figure) if output.status.success() => Ok(figure),
        _ => Err(format!(
            "a probe of the pool ended with {} and said {text:?}",
            output.status
        )
        .into()),
    }
}

/// Reads `TIME PROCESSOR`, both in nanoseconds.
fn figure(text: &str) -> Option<Figure> {
    let mut words = text
        .split_whitespace()
        .map(|word| word.parse().ok().map(Duration::from_nanos));
    Some(Figure {
        time: words.next()??,
        processor: words.next()??,
    })
}

fn section(request: &Request, sides: &[Side; 2]) -> Result<String, BenchError> {
    let mut lines = head(request)?;
    for side in sides {
        lines.push(row(side)?);
    }
    let [ours, theirs] = sides;
    let ratio = |figures: fn(&Side) -> &[Figure]| -> Result<f64, BenchError> {
        let median = |side| {
            spread(figures(side), |figure| figure.time).map(|spread| spread.median.as_secs_f64())
        };
        Ok(median(theirs)? / median(ours)?)
    };
    let round_trip = ratio(|side| &side.round_trips)?;
    let throughput = ratio(|side| &side.throughputs)?;
    lines.push(String::new());
    lines.push(format!(
        "{} is {round_trip:.0} times as fast in a round trip and {throughput:.0} times in throughput.",
        ours.name
    ));
    Ok(lines.join("\n") + "\n")
}

fn head(request: &Request) -> Result<Vec<String>, BenchError> {
    let [ours, theirs] = N_ROUND_TRIPS.map(|number| grouped(number.into()));
    let n_submitted = grouped(N_SUBMITTED.into());
    let rounds = request.rounds;
    let machine = machine::description()?;
    Ok(vec![
        "## Tasks through a pool".to_owned(),
        String::new(),
        format!(
            "`cargo xtask bench pool --rounds {rounds}` on {machine}. {N_WORKERS} workers, a task that does nothing."
        ),
        format!("Round trip: one `apply` at a time, median of {ours} ({theirs} in Python)."),
        format!(
            "Throughput: {n_submitted} `apply_async`, then `get` each. Medians of {rounds} rounds in turn (least–greatest)."
        ),
        String::new(),
        "| pool | round trip µs | processor µs each | tasks a second | processor µs each |"
            .to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ])
}

fn row(side: &Side) -> Result<String, BenchError> {
    let round_trip = spread(&side.round_trips, |figure| figure.time)?;
    let throughput = spread(&side.throughputs, |figure| figure.time)?;
    let each = |figures: &[Figure], n_tasks: u32| {
        spread(figures, |figure| figure.processor)
            .map(|spread| microseconds(spread.median / n_tasks))
    };
    let a_second =
        |time: Duration| grouped((f64::from(N_SUBMITTED) / time.as_secs_f64()).round() as u64);
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
        let expected = Figure {
            time: Duration::from_nanos(1500),
            processor: Duration::from_nanos(20),
        };
        assert_eq!(figure("1500 20\n"), Some(expected));
        assert_eq!(figure("1500\n"), None);
        assert_eq!(figure("fast 20\n"), None);
    }

    #[test]
    fn the_table_names_both_sides_and_the_ratio() {
        let side = |name, microseconds| {
            let figures = vec![Figure {
                time: Duration::from_micros(microseconds),
                processor: Duration::from_secs(1),
            }];
            Side {
                name,
                probe: python_probe,
                n_round_trips: 1,
                round_trips: figures.clone(),
                throughputs: figures,
            }
        };
        let request = Request {
            rounds: 1,
            dry: true,
        };
        let text = section(&request, &[side("ours", 10), side("theirs", 200)]).unwrap();
        assert!(
            text.contains("ours is 20 times as fast in a round trip and 20 times in throughput."),
            "{text}"
        );
        assert!(
            text.contains("| theirs | 200.00 (200.00–200.00) |"),
            "{text}"
        );
    }
}
