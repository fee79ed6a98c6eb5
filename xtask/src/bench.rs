//! `cargo xtask bench`: builds the release programs that a bench needs and hands over to the package `bench`.
//! Nothing is measured here.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{cargo, workspace};

/// Builds, then runs `bench ARGUMENTS` and ends as it does.
pub fn run(arguments: &[&str]) -> ExitCode {
    let mut packages = vec!["--package", "bench"];
    let names_command = arguments.iter().any(|word| word.starts_with("--brigade"));
    if arguments[0] != "library" && !names_command {
        packages.extend(["--package", "brigade-cli"]);
    }
    let mut build = cargo();
    build.args(["build", "--release"]).args(&packages);
    match build.status() {
        Ok(status) if status.success() => {}
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: cannot start cargo: {error}");
            return ExitCode::FAILURE;
        }
    }
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from).join("release");
    let mut bench = Command::new(folder.join("bench"));
    bench.args(arguments).current_dir(workspace());
    if arguments[0] == "library" {
        bench.arg("--peers").arg(build_peers(&folder.join("peers")));
    }
    match bench.status() {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("bench: cannot start {bench:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the programs that time other libraries, and returns their folder. What cannot be built is left out: the bench
/// says which.
fn build_peers(target: &Path) -> PathBuf {
    for folder in ["bench/peers", "bench/peers/crossmist"] {
        // By rustup, not by the toolchain that runs us: one of them names its own.
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--target-dir"]).arg(target).current_dir(workspace().join(folder));
        for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
            build.env_remove(name);
        }
        match build.status() {
            Ok(status) if status.success() => {}
            Ok(status) => eprintln!("bench: {folder} cannot be built: {status}"),
            Err(error) => eprintln!("bench: {folder} cannot be built: {error}"),
        }
    }
    target.join("release")
}
