//! `cargo xtask bench`: builds the release programs that a bench needs and hands over to the package `bench`.
//! Nothing is measured here.

use std::process::{Command, ExitCode};

use crate::{cargo, workspace};

/// Builds, then runs `bench ARGUMENTS` and ends as it does.
pub fn run(arguments: &[&str]) -> ExitCode {
    let mut packages = vec!["--package", "bench"];
    let names_command = arguments.iter().any(|word| word.starts_with("--brigade"));
    if arguments[0] == "copy" && !names_command {
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
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), std::path::PathBuf::from)
        .join("release");
    let mut bench = Command::new(folder.join("bench"));
    bench.args(arguments).current_dir(workspace());
    match bench.status() {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("bench: cannot start {bench:?}: {error}");
            ExitCode::FAILURE
        }
    }
}
