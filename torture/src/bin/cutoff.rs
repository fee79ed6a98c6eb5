//! Cuts copies off at one system call after another: `torture::faultline::cutoff` for the command line.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use torture::arguments::Arguments;
use torture::faultline::cutoff::{Options, campaign};
use torture::random::Random;

const USAGE: &str = "usage: cutoff --program BRIGADE [--every K] [--workers N] [--seed N] [--folder DIR]

  --program BRIGADE   the command that copies
  --every K           one call of K is met (1: every call of every process)
  --workers N         only with so many workers (1, 2 and 8)
  --seed N            with which call each series begins
  --folder DIR        where the trees are made (/dev/shm)";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let Some(program) = arguments.text("--program").map(PathBuf::from) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let widths = arguments.number("--workers").map_or_else(|| vec![1, 2, 8], |n_workers| vec![n_workers as u32]);
    let every = arguments.number("--every").unwrap_or(1).max(1);
    let seed = arguments.number("--seed").unwrap_or_else(Random::fresh_seed);
    let folder = PathBuf::from(arguments.text("--folder").unwrap_or_else(|| "/dev/shm".to_owned()));
    arguments.finish();
    println!("cutoff: seed {seed}, every {every}");
    let started = Instant::now();
    let folder = folder.join(format!("cutoff-{}", std::process::id()));
    let options = Options { program, seed, every, widths };
    let ended = std::fs::create_dir(&folder).and_then(|()| campaign(&options, &folder, |line| println!("{line}")));
    let _ = std::fs::remove_dir_all(&folder);
    match ended {
        Ok(report) => {
            let (n_killed, n_wrong) = (report.n_killed, report.findings.len());
            println!("{n_killed} killed in {:.0} s; {n_wrong} wrong", started.elapsed().as_secs_f64());
            if n_wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("cutoff: {error}");
            ExitCode::FAILURE
        }
    }
}
