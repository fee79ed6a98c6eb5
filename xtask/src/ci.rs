//! `cargo xtask ci`: the whole gate, in the order that fails fastest. What each step checks is its own tool's affair.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::{cargo, tidy, workspace};

/// Whether the tests are part of this run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tests {
    /// As always.
    Run,
    /// They have just run, by the command that the README gives.
    Skip,
}

struct Step {
    name: &'static str,
    commands: Vec<Command>,
}

/// Runs every step, stops at the first that fails, and says what ran and how long it took.
pub fn run(tests: Tests) -> ExitCode {
    let mut took: Vec<(&'static str, Duration)> = Vec::new();
    for step in steps(tests) {
        eprintln!("── {}", step.name);
        let started = Instant::now();
        let failed = match step.name {
            "tidy" => tidy::run(&workspace()) != ExitCode::SUCCESS,
            _ => step.commands.into_iter().any(|command| !succeeds(command)),
        };
        took.push((step.name, started.elapsed()));
        if failed {
            print_times(&took);
            eprintln!("ci: {} failed", step.name);
            return ExitCode::FAILURE;
        }
    }
    print_times(&took);
    if tests == Tests::Skip {
        eprintln!("ci: the tests were skipped as asked");
    }
    eprintln!("ci: all passed");
    ExitCode::SUCCESS
}

fn steps(tests: Tests) -> Vec<Step> {
    let mut steps = vec![
        step("fmt", vec![words("fmt --all -- --check")]),
        step("tidy", Vec::new()),
        step("clippy", vec![words("clippy --workspace --all-targets -- -D warnings")]),
    ];
    if tests == Tests::Run {
        steps.push(step("test", vec![words("test --workspace")]));
    }
    steps.push(step("loom", vec![loom_models()]));
    steps.push(step("doc", vec![documentation()]));
    steps
}

fn step(name: &'static str, commands: Vec<Command>) -> Step {
    Step { name, commands }
}

fn words(line: &str) -> Command {
    let mut command = cargo();
    command.args(line.split(' '));
    command
}

/// The models of the shared structures. `--cfg loom` changes every crate's fingerprint, so they get a
/// folder of their own: sharing one would rebuild everything at each switch.
fn loom_models() -> Command {
    let mut command = words("test --package brigade-sys --release --lib loom");
    command.env("RUSTFLAGS", "--cfg loom");
    command.env("CARGO_TARGET_DIR", target_folder().join("loom"));
    command
}

/// The command's binary and the library share the name `brigade`, so only libraries are documented.
fn documentation() -> Command {
    let mut command = words("doc --workspace --no-deps --lib");
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

fn succeeds(mut command: Command) -> bool {
    match command.status() {
        Ok(status) if status.success() => true,
        Ok(status) => {
            eprintln!("ci: {command:?}: {status}");
            false
        }
        Err(error) => {
            eprintln!("ci: cannot start {command:?}: {error}");
            false
        }
    }
}

fn print_times(took: &[(&'static str, Duration)]) {
    eprintln!("── times");
    for (name, duration) in took {
        eprintln!("{name:>8} {:7.1} s", duration.as_secs_f64());
    }
}
