//! The races that show what is wanted of the command, and what is wanted of each. How they are run and judged is in ../goals.rs.

use std::time::Duration;

use crate::data::DataSet;
use crate::place::FileSystem;
use crate::race::Course;
use crate::tools::{ARCHIVE, BAR, BRIGADE, CONTENTS, DEFAULT, FLOOR, LineUp, MODES_AND_TIMES, NO_BAR, UNCONFINED};

/// Something to measure, and what is wanted of it.
#[derive(Debug)]
pub(crate) struct Goal {
    /// Its name on the command line and in file names.
    pub(crate) key: &'static str,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Race(Course, &'static [Wanted]),
    /// The largest sum over all processes.
    Memory,
    /// Of one file, as their number grows.
    Cost,
    /// Of the thread that draws.
    Display,
}

/// What is wanted of the first tool beside the second.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    TimesAsFast(&'static str, f64, &'static str),
    /// So much of the time at most.
    AtMostOf(&'static str, f64, &'static str),
    /// Done so much later at most.
    Later(&'static str, Duration, &'static str),
    /// So much of the processor time at most.
    WorkAtMostOf(&'static str, f64, &'static str),
}

use DataSet::{A, B, C, D, E, F, G, H, I, J, K};
use FileSystem::{Btrfs, Ext4, SlowDestination, SlowSource, Tmpfs, Xfs};
use Wanted::{AtMostOf, Later, TimesAsFast, WorkAtMostOf};

const fn race(
    key: &'static str,
    line_up: LineUp,
    set: DataSet,
    on: FileSystem,
    n_rounds: u16,
    wanted: &'static [Wanted],
) -> Goal {
    Goal { key, what: What::Race(Course { line_up, set, on, is_cold: false, n_rounds }, wanted) }
}

const FEW_ROUNDS: u16 = 5;
/// For differences that are small.
const MANY_ROUNDS: u16 = 15;
/// For those that are smallest.
const MOST_ROUNDS: u16 = 20;

/// Nobody who keeps less is faster once we keep as little.
const NOT_SLOWER: &[Wanted] = &[
    AtMostOf(UNCONFINED, 1.1, "cp -a"),
    AtMostOf(CONTENTS, 1.1, "cp -r"),
    AtMostOf(ARCHIVE, 1.1, "rsync -a"),
    AtMostOf(UNCONFINED, 1.1, "xcp"),
    AtMostOf(CONTENTS, 1.1, "fcp"),
    AtMostOf(CONTENTS, 1.1, "cpz"),
    AtMostOf(UNCONFINED, 1.1, "cpx -a"),
    AtMostOf(ARCHIVE, 1.1, "syq rsync -a"),
    AtMostOf(ARCHIVE, 1.1, "rcp --preserve"),
    AtMostOf(UNCONFINED, 1.1, "tar \\| tar"),
];

/// As fast as the fastest where bytes are what takes the time.
const BYTES: &[Wanted] = &[
    AtMostOf(BRIGADE, 1.1, "cp -a"),
    AtMostOf(BRIGADE, 1.1, "cp -r"),
    AtMostOf(BRIGADE, 1.1, "rsync -a"),
    AtMostOf(BRIGADE, 1.1, "xcp"),
    AtMostOf(BRIGADE, 1.1, "fcp"),
    AtMostOf(BRIGADE, 1.1, "cpz"),
    AtMostOf(BRIGADE, 1.1, "cpx -a"),
    AtMostOf(BRIGADE, 1.1, "syq rsync -a"),
    AtMostOf(BRIGADE, 1.1, "rcp --preserve"),
    AtMostOf(BRIGADE, 1.1, "tar \\| tar"),
    AtMostOf(BRIGADE, 1.1, FLOOR),
];

/// A start of several processes is all that it may take more.
const MILLISECONDS: &[Wanted] = &[Later(BRIGADE, Duration::from_millis(10), "cp -a")];
const ON_EXT4: &[Wanted] = &[TimesAsFast(BRIGADE, 2.1, "cp -a"), AtMostOf(BRIGADE, 1.2, FLOOR)];

/// All of them, in the order in which they are written down.
pub(crate) const GOALS: &[Goal] = &[
    race(
        "B",
        LineUp::Goal,
        B,
        Tmpfs,
        FEW_ROUNDS,
        &[TimesAsFast(BRIGADE, 2.3, "cp -a"), TimesAsFast(UNCONFINED, 2.5, "cp -a"), AtMostOf(BRIGADE, 1.15, FLOOR)],
    ),
    race(
        "A",
        LineUp::Goal,
        A,
        Tmpfs,
        FEW_ROUNDS,
        &[TimesAsFast(BRIGADE, 2.2, "cp -a"), AtMostOf(BRIGADE, 1.15, FLOOR)],
    ),
    race(
        "C",
        LineUp::Goal,
        C,
        Tmpfs,
        FEW_ROUNDS,
        &[TimesAsFast(BRIGADE, 2.2, "cp -a"), AtMostOf(BRIGADE, 1.15, FLOOR)],
    ),
    race(
        "F",
        LineUp::Goal,
        F,
        Tmpfs,
        FEW_ROUNDS,
        &[TimesAsFast(BRIGADE, 3.5, "cp -a"), AtMostOf(BRIGADE, 1.15, FLOOR)],
    ),
    race("B-ext4", LineUp::Goal, B, Ext4, FEW_ROUNDS, ON_EXT4),
    race("A-ext4", LineUp::Goal, A, Ext4, FEW_ROUNDS, ON_EXT4),
    Goal {
        key: "B-ext4-cold",
        what: What::Race(
            Course { line_up: LineUp::Goal, set: B, on: Ext4, is_cold: true, n_rounds: FEW_ROUNDS },
            &[TimesAsFast(BRIGADE, 2.8, "cp -r")],
        ),
    },
    race(
        "B-durable",
        LineUp::Durable,
        B,
        Ext4,
        FEW_ROUNDS,
        &[TimesAsFast(BRIGADE, 1.8, "cp -a && sync -f"), TimesAsFast(BRIGADE, 15.0, "rsync -a --fsync")],
    ),
    race("sandbox", LineUp::Sandbox, B, Tmpfs, MOST_ROUNDS, &[AtMostOf(BRIGADE, 1.05, UNCONFINED)]),
    race("sandbox-durable", LineUp::Sandbox, B, Ext4, MOST_ROUNDS, &[AtMostOf(BRIGADE, 1.03, UNCONFINED)]),
    race("equal-A", LineUp::Equal, A, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("equal-B", LineUp::Equal, B, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("equal-C", LineUp::Equal, C, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("equal-D", LineUp::Equal, D, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("equal-E", LineUp::Equal, E, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("equal-F", LineUp::Equal, F, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("equal-H", LineUp::Equal, H, Tmpfs, MANY_ROUNDS, NOT_SLOWER),
    race("D", LineUp::Copy, D, Tmpfs, FEW_ROUNDS, BYTES),
    race("H", LineUp::Copy, H, Tmpfs, FEW_ROUNDS, BYTES),
    race("E", LineUp::Copy, E, Tmpfs, FEW_ROUNDS, BYTES),
    race("G", LineUp::Holes, G, Tmpfs, FEW_ROUNDS, MILLISECONDS),
    race("reflink-xfs", LineUp::Holes, H, Xfs, FEW_ROUNDS, MILLISECONDS),
    race("reflink-btrfs", LineUp::Holes, H, Btrfs, FEW_ROUNDS, MILLISECONDS),
    race("slow-source", LineUp::Slow, J, SlowSource, FEW_ROUNDS, &[TimesAsFast(BRIGADE, 10.0, "cp -r")]),
    race(
        "slow-destination",
        LineUp::Slow,
        J,
        SlowDestination,
        FEW_ROUNDS,
        &[TimesAsFast(DEFAULT, 8.0, "cp -a"), TimesAsFast(MODES_AND_TIMES, 8.0, "cp -r")],
    ),
    race("slow-one-folder", LineUp::Slow, K, SlowDestination, FEW_ROUNDS, &[]),
    race("I", LineUp::Goal, I, Tmpfs, FEW_ROUNDS, MILLISECONDS),
    race(
        "I-ext4",
        LineUp::Durable,
        I,
        Ext4,
        FEW_ROUNDS,
        &[Later(BRIGADE, Duration::from_millis(20), "cp -a && sync -f")],
    ),
    race(
        "again",
        LineUp::Again,
        B,
        Tmpfs,
        FEW_ROUNDS,
        &[AtMostOf(BRIGADE, 0.5, "rsync -aHAX"), AtMostOf(BRIGADE, 1.0, "rsync -a")],
    ),
    race("rest", LineUp::Rest, B, Tmpfs, FEW_ROUNDS, &[]),
    race("overwrite", LineUp::Overwrite, B, Tmpfs, FEW_ROUNDS, &[]),
    race("overwrite-ext4", LineUp::Overwrite, B, Ext4, FEW_ROUNDS, &[]),
    race("peers-A", LineUp::Copy, A, Tmpfs, FEW_ROUNDS, &[]),
    race("peers-B", LineUp::Copy, B, Tmpfs, FEW_ROUNDS, &[]),
    race("peers-B-ext4", LineUp::Copy, B, Ext4, FEW_ROUNDS, &[]),
    race("peers-K", LineUp::Copy, K, Tmpfs, FEW_ROUNDS, &[]),
    Goal { key: "display", what: What::Display },
    race("counting", LineUp::Display, B, Tmpfs, MANY_ROUNDS, &[WorkAtMostOf(BAR, 1.01, NO_BAR)]),
    Goal { key: "memory", what: What::Memory },
    Goal { key: "cost", what: What::Cost },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_goals_have_the_same_key() {
        let keys: HashSet<&str> = GOALS.iter().map(|goal| goal.key).collect();
        assert_eq!(keys.len(), GOALS.len());
    }

    #[test]
    fn what_is_wanted_is_wanted_of_tools_that_run() {
        for goal in GOALS {
            let What::Race(course, wanted) = &goal.what else { continue };
            let tools = crate::tools::tests::tools(course.line_up);
            for wanted in *wanted {
                for name in wanted.names() {
                    assert!(tools.iter().any(|tool| tool.name() == name), "{}: {name}", goal.key);
                }
            }
        }
    }
}
