//! Runs a red control: the same idea on Python, where it must fail. What the control does stands in its script, in `red/`.

use std::path::Path;
use std::process::{Command, ExitCode};

/// The exit code of a control that showed what it should: something was lost, or somebody hung.
const SHOWN: i32 = 10;

/// Runs a script with Python, and succeeds if the campaign failed there. Without Python nothing is shown, and that is said.
#[must_use]
pub fn run(script: &str) -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("red").join(script);
    match Command::new("python3").arg(&path).status() {
        Ok(status) if status.code() == Some(SHOWN) => {
            println!("red control: the campaign fails on Python, as it should");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            println!("red control: {script} shows nothing: {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("red control: skipped, python3 cannot be started: {error}");
            ExitCode::SUCCESS
        }
    }
}
