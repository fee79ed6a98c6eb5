//! Runs a test once more as a program of its own, in conditions that a test inside its harness cannot make.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Set for the program that plays the host.
const ROLE: &str = "__BRIGADE_TEST_HOST";

/// Whether this process is the one that plays the host.
pub fn is_host() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Runs the named test of this file as a host. `script` prepares it and ends with `exec "$@"`.
///
/// The program is a copy that everybody may execute. It is killed after a minute, which counts as a failure.
pub fn run_host(test: &str, script: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("host");
    copy_this_program(&program, 0o755);
    Command::new("timeout")
        .args(["-s", "KILL", "60", "bash", "-c", script, "bash"])
        .arg(&program)
        .args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"])
        .env(ROLE, "1")
        // To put names to addresses takes half a second in a debug build.
        .env("RUST_BACKTRACE", "0")
        .env("HOST_FOLDER", folder.path())
        .current_dir("/")
        .output()
        .unwrap()
}

/// Copies this program. Another process does it: a descriptor open for writing here would reach whatever other tests start at
/// that moment, and a file that somebody writes cannot be executed.
pub fn copy_this_program(to: &Path, mode: u32) {
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(to).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(to, PermissionsExt::from_mode(mode)).unwrap();
}

/// Runs the named test as a host, which must succeed.
pub fn host_succeeds(test: &str, script: &str) {
    let output = run_host(test, script);
    assert!(output.status.success(), "{}\n{}", output.status, text(&output));
}

/// What a host has printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
