//! What is measured of the library, against whom, and what is wanted. How it is run is in ../library.rs.

use std::time::Duration;

use crate::statistics::grouped;

/// Who runs a side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Program {
    Ours,
    Python,
    /// A program of bench/peers.
    Peer(&'static str),
}

/// One side of a comparison.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) program: Program,
    /// What the program is told to do, and how often: slow sides need fewer runs for a median.
    pub(super) what: &'static str,
    pub(super) count: u32,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The time is that of one.
    MicrosecondsEach,
    /// The time is that of all.
    PerSecond,
    /// It is no time but a number.
    Count,
}

/// What is wanted of our side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// At least.
    TimesAsFast(f64, &'static str),
    /// At most.
    TimesAsLong(f64, &'static str),
    AtMost(Duration),
}

#[derive(Debug)]
pub(super) struct Measure {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) explanation: &'static str,
    pub(super) shown: Shown,
    /// Ours first.
    pub(super) sides: &'static [Side],
    pub(super) wanted: &'static [Wanted],
}

const fn side(name: &'static str, program: Program, what: &'static str, count: u32) -> Side {
    Side { name, program, what, count }
}

const fn ours(name: &'static str, what: &'static str, count: u32) -> Side {
    side(name, Program::Ours, what, count)
}

const fn python(name: &'static str, what: &'static str, count: u32) -> Side {
    side(name, Program::Python, what, count)
}

const fn peer(name: &'static str, program: &'static str, what: &'static str, count: u32) -> Side {
    side(name, Program::Peer(program), what, count)
}

/// The keys of [`MEASURES`], for the command line.
pub(super) const KEYS: [&str; 8] =
    ["throughput", "round-trip", "queue", "many", "ping-pong", "start-join", "blob", "idle"];

pub(super) const MEASURES: &[Measure] = &[
    Measure {
        key: "throughput",
        title: "Tasks through a pool: handed in, then fetched",
        explanation: "Two workers, a task that does nothing: all are handed in (`apply_async`), then each result is fetched (`get`).",
        shown: Shown::PerSecond,
        sides: &[
            ours("brigade::Pool", "throughput", 100_000),
            python("multiprocessing.Pool", "throughput", 100_000),
            python("ProcessPoolExecutor", "futures-throughput", 20_000),
            peer("procspawn::Pool", "procspawn", "throughput", 5000),
            peer("rayon (threads)", "threads", "throughput", 1_000_000),
        ],
        wanted: &[Wanted::TimesAsFast(50.0, "multiprocessing.Pool")],
    },
    Measure {
        key: "round-trip",
        title: "Tasks through a pool: one at a time",
        explanation: "Two workers, a task that does nothing, the next one when the last one's result is there; the median of all.",
        shown: Shown::MicrosecondsEach,
        sides: &[
            ours("brigade::Pool", "round-trip", 100_000),
            python("multiprocessing.Pool", "round-trip", 20_000),
            python("ProcessPoolExecutor", "futures-round-trip", 5000),
            peer("procspawn::Pool", "procspawn", "round-trip", 5000),
            peer("rayon (threads)", "threads", "round-trip", 100_000),
        ],
        wanted: &[Wanted::TimesAsFast(20.0, "multiprocessing.Pool")],
    },
    Measure {
        key: "queue",
        title: "Messages of 64 bytes from one process to another",
        explanation: "One puts, one gets, at most 1024 wait; ipc-channel's and crossmist's channels have bounds of their own.",
        shown: Shown::PerSecond,
        sides: &[
            ours("brigade::Queue", "queue", 2_000_000),
            python("multiprocessing.Queue", "queue", 100_000),
            peer("ipc-channel", "ipc_channel", "queue", 200_000),
            peer("crossmist", "crossmist", "queue", 200_000),
            peer("crossbeam-channel (threads)", "threads", "queue", 5_000_000),
        ],
        wanted: &[
            Wanted::TimesAsFast(40.0, "multiprocessing.Queue"),
            Wanted::TimesAsFast(5.0, "ipc-channel"),
            Wanted::TimesAsFast(1.0, "crossmist"),
        ],
    },
    Measure {
        key: "many",
        title: "Messages of 64 bytes from four processes to four others",
        explanation: "Through one queue, at most 1024 wait. ipc-channel and crossmist have no queue with several consumers.",
        shown: Shown::PerSecond,
        sides: &[
            ours("brigade::Queue", "many", 1_000_000),
            python("multiprocessing.Queue", "many", 100_000),
            peer("crossbeam-channel (threads)", "threads", "many", 5_000_000),
        ],
        wanted: &[Wanted::TimesAsFast(1.0, "multiprocessing.Queue")],
    },
    Measure {
        key: "ping-pong",
        title: "A message of 64 bytes to another process and back",
        explanation: "One message is under way at a time; the median of all.",
        shown: Shown::MicrosecondsEach,
        sides: &[
            ours("brigade::Queue", "ping-pong", 200_000),
            python("multiprocessing.Pipe", "ping-pong", 20_000),
            peer("ipc-channel", "ipc_channel", "ping-pong", 20_000),
            peer("crossmist", "crossmist", "ping-pong", 20_000),
            peer("crossbeam-channel (threads)", "threads", "ping-pong", 200_000),
        ],
        wanted: &[Wanted::TimesAsFast(10.0, "ipc-channel"), Wanted::TimesAsFast(1.0, "crossmist")],
    },
    Measure {
        key: "start-join",
        title: "A process, from its start to its end",
        explanation: "Start a function that does nothing in a process, and wait for its end; the median of all. The bare start is this same program by the standard library's posix_spawn, which leaves at the first statement of main.",
        shown: Shown::MicrosecondsEach,
        sides: &[
            ours("brigade::spawn", "start-join", 500),
            ours("bare posix_spawn", "bare-spawn", 500),
            python("multiprocessing, fork", "fork-join", 200),
            python("multiprocessing, spawn", "spawn-join", 20),
            peer("procspawn::spawn", "procspawn", "start-join", 200),
            peer("crossmist", "crossmist", "start-join", 200),
        ],
        wanted: &[Wanted::TimesAsLong(1.5, "bare posix_spawn")],
    },
    Measure {
        key: "blob",
        title: "A gibibyte handed over",
        explanation: "Made beforehand; until the other process has looked at its first and last byte and said so; the median of all. Only a `Blob` can be changed by neither side.",
        shown: Shown::MicrosecondsEach,
        sides: &[
            ours("brigade::Blob", "blob", 20),
            python("SharedMemory", "blob", 20),
            peer("ipc-channel", "ipc_channel", "blob", 20),
        ],
        wanted: &[Wanted::AtMost(Duration::from_millis(10))],
    },
    Measure {
        key: "idle",
        title: "A pool that has nothing to do",
        explanation: "64 workers that have all worked; how often any thread of any of the processes is run in a second.",
        shown: Shown::Count,
        sides: &[ours("brigade::Pool", "idle", 64), python("multiprocessing.Pool", "idle", 64)],
        wanted: &[Wanted::AtMost(Duration::from_nanos(10))],
    },
];

impl Shown {
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::MicrosecondsEach => "µs",
            Self::PerSecond => "a second",
            Self::Count => "wake-ups a second",
        }
    }

    pub(super) fn figure(self, time: Duration, count: u32) -> String {
        match self {
            Self::MicrosecondsEach => {
                let microseconds = time.as_secs_f64() * 1e6;
                if microseconds < 100.0 { format!("{microseconds:.2}") } else { grouped(microseconds.round() as u64) }
            }
            Self::PerSecond => grouped((1.0 / self.seconds_each(time, count)).round() as u64),
            Self::Count => time.as_nanos().to_string(),
        }
    }

    /// How long one takes.
    pub(super) fn seconds_each(self, time: Duration, count: u32) -> f64 {
        match self {
            Self::MicrosecondsEach | Self::Count => time.as_secs_f64(),
            Self::PerSecond => time.as_secs_f64() / f64::from(count),
        }
    }

    pub(super) fn times_as_fast(self, ours: (Duration, u32), theirs: (Duration, u32)) -> f64 {
        self.seconds_each(theirs.0, theirs.1) / self.seconds_each(ours.0, ours.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_its_key_and_ours_stands_first() {
        assert_eq!(MEASURES.iter().map(|measure| measure.key).collect::<Vec<_>>(), KEYS);
        assert!(MEASURES.iter().all(|measure| matches!(measure.sides[0].program, Program::Ours)));
    }

    #[test]
    fn what_is_wanted_is_wanted_of_a_side_that_is_measured() {
        for measure in MEASURES {
            for wanted in measure.wanted {
                if let Wanted::TimesAsFast(_, name) | Wanted::TimesAsLong(_, name) = wanted {
                    assert!(measure.sides.iter().any(|side| side.name == *name), "{name}");
                }
            }
        }
    }

    #[test]
    fn the_time_of_all_and_the_time_of_one_are_told_apart() {
        let second = Duration::from_secs(1);
        assert_eq!(Shown::PerSecond.figure(second, 5000), "5 000");
        assert_eq!(Shown::MicrosecondsEach.figure(Duration::from_micros(12), 5000), "12.00");
        assert!((Shown::PerSecond.times_as_fast((second, 100), (second, 10)) - 10.0).abs() < 1e-9);
    }
}
