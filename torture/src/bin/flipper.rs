//! Copies a tree while entries on both sides are swapped: `torture::flipper` for the command line.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use torture::arguments::Arguments;
use torture::flipper::{Copier, Moments, Options, Until, campaign};
use torture::random::Random;

const USAGE: &str = "usage: flipper [--program BRIGADE] [--seconds N] [--seed N] [--folder DIR] [--control]

  --program BRIGADE   the command to copy with (brigade beside this program)
  --seconds N         for how long (60)
  --seed N            what is swapped when
  --folder DIR        where the trees are made (/dev/shm)
  --before-calls      just before the copier's calls on what is swapped, and not at any time
  --control           GNU cp copies instead, and must leave the trees";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("brigade")));
    let program = arguments.text("--program").map(PathBuf::from).or(beside).unwrap_or_default();
    let is_control = arguments.flag("--control");
    let options = Options {
        moments: if arguments.flag("--before-calls") { Moments::BeforeCalls } else { Moments::Any },
        copier: if is_control { Copier::Cp } else { Copier::Brigade(program) },
        duration: Duration::from_secs(arguments.number("--seconds").unwrap_or(60)),
        until: Until::Over,
        seed: arguments.number("--seed").unwrap_or_else(Random::fresh_seed),
    };
    let folder = arguments.text("--folder").unwrap_or_else(|| "/dev/shm".to_owned());
    arguments.finish();
    println!("flipper: seed {}", options.seed);
    let folder = PathBuf::from(folder).join(format!("flipper-{}", std::process::id()));
    let made = std::fs::create_dir(&folder);
    let ended = made.and_then(|()| campaign(&options, &folder));
    let _ = std::fs::remove_dir_all(&folder);
    let outcome = match ended {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("flipper: {error}");
            return ExitCode::FAILURE;
        }
    };
    outcome.n_swaps.iter().for_each(|(kind, n)| println!("{n:>9} swaps: {kind}"));
    outcome.faults.iter().for_each(|(fault, n)| println!("{n:>9} times: {fault}"));
    let n_swaps: u64 = outcome.n_swaps.values().sum();
    let is_good = if is_control { outcome.n_rounds_with_leaks > 0 } else { outcome.faults.is_empty() };
    println!(
        "flipper: {n_swaps} swaps, {} copies that ended with {:?}, {} of them read or wrote outside: {}",
        outcome.n_rounds,
        outcome.n_statuses,
        outcome.n_rounds_with_leaks,
        if is_good { "good" } else { "FAILED" }
    );
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
