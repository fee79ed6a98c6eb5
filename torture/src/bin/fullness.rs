//! Copies onto file systems that run full, at many fill levels: `torture::fullness` for the command line.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use torture::arguments::Arguments;
use torture::fullness::{Kind, campaign};
use torture::random::Random;

const USAGE: &str = "usage: fullness --program BRIGADE [--levels N] [--seed N]

  --program BRIGADE   the command that copies
  --levels N          fill levels in all, of each kind of file system in turn (50)
  --seed N            asks for the same tree and levels again

It mounts file systems, so it needs the right to.";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let Some(program) = arguments.text("--program") else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let n_levels = arguments.number("--levels").unwrap_or(50);
    let seed = arguments.number("--seed").unwrap_or_else(Random::fresh_seed);
    arguments.finish();
    println!("fullness: seed {seed}");
    match campaign(Path::new(&program), &Kind::ALL, n_levels, seed) {
        Ok((seen, wrong)) => {
            wrong.iter().for_each(|fault| println!("{fault}"));
            println!(
                "fullness: {} levels too full and {} roomy, {} entries failed and were named: {}",
                seen.n_full,
                seen.n_roomy,
                seen.n_named,
                if wrong.is_empty() { "good" } else { "FAILED" }
            );
            if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            println!("fullness: {error}");
            ExitCode::FAILURE
        }
    }
}
