//! `cargo xtask ci`: the whole gate, in the order that fails fastest. What each step checks is its own tool's affair.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
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
    for (name, reason) in not_run() {
        eprintln!("ci: {name} was NOT RUN: {reason}");
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
    steps.push(step("torture", vec![words("run --package xtask -- torture --slice")]));
    steps.push(step("loom", vec![loom_models()]));
    if nightly_has_compiler() {
        steps.push(step("asan", vec![address_sanitizer()]));
    }
    if nightly_has_miri() {
        steps.push(step("miri", vec![miri()]));
    }
    steps.push(step("doc", vec![documentation()]));
    steps
}

/// What needs a compiler that is not here: said at the end, so that nobody takes it for passed.
fn not_run() -> Vec<(&'static str, &'static str)> {
    let asan = ("asan", "there is no nightly compiler (rustup toolchain install nightly)");
    let miri = ("miri", "the nightly compiler lacks it (rustup component add --toolchain nightly miri rust-src)");
    let has = [nightly_has_compiler(), nightly_has_miri()];
    [asan, miri].into_iter().zip(has).filter(|(_, has)| !has).map(|(job, _)| job).collect()
}

fn nightly(arguments: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).args(arguments.split(' ')).current_dir(workspace());
    command
}

fn nightly_has_compiler() -> bool {
    nightly("rustc --version").output().is_ok_and(|output| output.status.success())
}

fn nightly_has_miri() -> bool {
    let miri = nightly("cargo miri --version").output().is_ok_and(|output| output.status.success());
    let mut components = Command::new("rustup");
    components.args(["component", "list", "--installed", "--toolchain", "nightly"]);
    let has_source = |output: Output| String::from_utf8_lossy(&output.stdout).contains("rust-src");
    miri && components.output().is_ok_and(has_source)
}

/// The structures of shared bytes over the heap. Build scripts run without the sanitizer, since a target is named.
fn address_sanitizer() -> Command {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = nightly("cargo test --package brigade-sys --test heap --target");
    command.arg(target);
    command.env("RUSTFLAGS", "-Zsanitizer=address");
    command.env("CARGO_TARGET_DIR", target_folder().join("asan"));
    command
}

/// The same under Miri, which also sees races and wrong pointers, and is a thousand times slower.
fn miri() -> Command {
    let mut command = nightly("cargo miri test --package brigade-sys --test heap");
    command.env("CARGO_TARGET_DIR", target_folder().join("miri"));
    command
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
