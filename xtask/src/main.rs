//! The project's own chores, `cargo xtask …`: the gate, the rules that no compiler checks, the benches.
//! What a chore does is in its own file; this one only tells them apart.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod bench;
mod ci;
mod dist;
mod tidy;
mod torture;

const USAGE: &str = "usage: cargo xtask COMMAND

  ci [--skip-tests]    everything a change must pass, in the order that fails fastest
  tidy                 the rules of the house that no compiler checks
  tidy --write         copies the heads of files into docs/shared-memory.md
  bench WHAT [...]     builds release programs and measures: copy, goals, memory, library (bench WHAT --help tells more)
  bench --install-peers FOLDER
                       installs the copiers from crates.io that are compared with ours
  dist [FOLDER]        writes the manual pages and the completions for shells [default: dist in the target folder]
  torture [...]        tries to break the library: --slice (a minute) or --full (all kills), --seed N";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["ci"] => ci::run(ci::Tests::Run),
        ["ci", "--skip-tests"] => ci::run(ci::Tests::Skip),
        ["tidy"] => tidy::run(&workspace()),
        ["tidy", "--write"] => tidy::write(&workspace()),
        ["bench", rest @ ..] if !rest.is_empty() => bench::run(rest),
        ["dist"] => dist::run(None),
        ["dist", folder] => dist::run(Some(folder)),
        ["torture", rest @ ..] => torture::run(rest),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The folder of the workspace, wherever `cargo xtask` was called.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// The program that called us, so that the same toolchain is used.
fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}
