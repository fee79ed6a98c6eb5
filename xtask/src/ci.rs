//! `cargo xtask ci`: the whole gate, in the order that fails fastest. What each step checks is its own tool's affair.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use crate::{cargo, workspace};

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
    command: Command,
}

/// What is run, and what is not because this machine lacks something: said at the end, so that nobody takes it for passed.
#[derive(Default)]
struct Gate {
    steps: Vec<Step>,
    not_run: Vec<(&'static str, &'static str)>,
}

/// Runs every step, stops at the first that fails, and says what ran and how long it took.
pub fn run(tests: Tests) -> ExitCode {
    let mut took: Vec<(&'static str, Duration)> = Vec::new();
    let gate = gate(tests);
    for step in gate.steps {
        eprintln!("── {}", step.name);
        let started = Instant::now();
        let passed = succeeds(step.command);
        took.push((step.name, started.elapsed()));
        if !passed {
            print_times(&took);
            eprintln!("ci: {} failed", step.name);
            return ExitCode::FAILURE;
        }
    }
    print_times(&took);
    if tests == Tests::Skip {
        eprintln!("ci: the tests were skipped as asked");
    }
    for (name, reason) in gate.not_run {
        eprintln!("ci: {name} was NOT RUN: {reason}");
    }
    eprintln!("ci: all passed");
    ExitCode::SUCCESS
}

fn gate(tests: Tests) -> Gate {
    let mut gate = Gate::default();
    gate.add("fmt", words("fmt --all -- --check"));
    gate.add("tidy", words("run --package xtask -- tidy"));
    let deny = words("deny --locked check bans licenses sources");
    let has_deny = is_there(words("deny --version"));
    gate.add_if(has_deny, "deny", deny, "there is no cargo-deny (cargo install cargo-deny --locked)");
    let advisories = words("deny --locked check advisories");
    let has_advisories = has_deny && is_there(words("deny fetch db"));
    let lacks_advisories = "there is no cargo-deny, or the database of weaknesses cannot be fetched from here";
    gate.add_if(has_advisories, "advisories", advisories, lacks_advisories);
    gate.add("clippy", words("clippy --workspace --all-targets -- -D warnings"));
    if tests == Tests::Run {
        gate.add("test", words("test --workspace"));
    }
    gate.add("torture", words("run --package xtask -- torture --slice"));
    gate.add("loom", loom_models());
    let has_nightly = is_there(nightly("rustc --version"));
    gate.add_if(
        has_nightly,
        "asan",
        address_sanitizer(),
        "there is no nightly compiler (rustup toolchain install nightly)",
    );
    let lacks_miri = "the nightly compiler lacks it (rustup component add --toolchain nightly miri rust-src)";
    gate.add_if(nightly_has_miri(), "miri", miri(), lacks_miri);
    gate.add("doc", documentation());
    gate
}

impl Gate {
    fn add(&mut self, name: &'static str, command: Command) {
        self.steps.push(Step { name, command });
    }

    fn add_if(&mut self, can_run: bool, name: &'static str, command: Command, lacks: &'static str) {
        if can_run {
            self.add(name, command);
        } else {
            self.not_run.push((name, lacks));
        }
    }
}

fn nightly(arguments: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).args(arguments.split(' ')).current_dir(workspace());
    command
}

fn nightly_has_miri() -> bool {
    let miri = is_there(nightly("cargo miri --version"));
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

/// Whether a program is there, or what it can fetch: asked quietly.
fn is_there(mut command: Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
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
