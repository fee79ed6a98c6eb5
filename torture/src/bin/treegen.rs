//! Grows a tree with every kind of entry: `treegen [--seed N] [--folders N] [--entries N] [--extremes] FOLDER`.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use torture::arguments::Arguments;
use torture::random::Random;
use torture::treegen::{Extremes, Size, grow};

const USAGE: &str = "usage: treegen [--seed N] [--folders N] [--entries N] [--extremes] --at FOLDER";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let seed = arguments.number("--seed").unwrap_or_else(Random::fresh_seed);
    let n_folders = arguments.number("--folders").unwrap_or(40);
    let n_entries = arguments.number("--entries").unwrap_or(400);
    let extremes = if arguments.flag("--extremes") { Extremes::Grown } else { Extremes::Left };
    let folder = arguments.text("--at");
    arguments.finish();
    let Some(folder) = folder else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {seed}");
    match grow(Path::new(&folder), seed, Size { n_folders, n_entries, extremes }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("treegen: {error}");
            ExitCode::FAILURE
        }
    }
}
