//! `cargo xtask bench`: builds the release programs that a bench needs and hands over to the package `bench`.
//! Nothing is measured here.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{cargo, workspace};

/// Copiers from crates.io that are compared with ours, in the versions that were measured.
const PEERS: [(&str, &str); 6] = [
    ("xcp", "0.24.9"),
    ("fcp", "0.2.2"),
    ("cpz", "3.2.1"),
    ("cpx", "0.2.1"),
    ("syq", "0.7.1"),
    ("rcp-tools-rcp", "0.41.0"),
];

/// Builds, then runs `bench ARGUMENTS` and ends as it does.
pub fn run(arguments: &[&str]) -> ExitCode {
    if let ["--install-peers", folder] = arguments {
        return install_peers(Path::new(folder));
    }
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

/// Puts the programs into `FOLDER/bin`. One that cannot be installed is no reason to do without the others, but is not passed over.
fn install_peers(folder: &Path) -> ExitCode {
    let (installed, missing): (Vec<_>, Vec<_>) = PEERS.into_iter().partition(|&(name, version)| {
        let mut install = Command::new("cargo");
        install.args(["install", "--locked", "--root"]).arg(folder).args(["--version", version, name]);
        // rcp asks for it in its description; no other peer looks at it.
        install.env("RUSTFLAGS", "--cfg tokio_unstable");
        install.status().is_ok_and(|status| status.success())
    });
    for (name, version) in installed {
        println!("bench: {name} {version} is in {}", folder.join("bin").display());
    }
    for (name, version) in &missing {
        eprintln!("bench: {name} {version} COULD NOT BE INSTALLED and will be missing in every comparison");
    }
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
