//! C-36: standard streams that are closed, or that nobody reads, and terminals of no size. The copy goes on in all of them.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::support::{self, Scene, Terminal};

/// The command in a shell that closes some of the standard streams first.
fn with_closed(scene: &Scene, redirections: &str, options: &[&str]) -> Command {
    let copy = scene.copy(options.iter().copied().chain(["-T", "a", "b"]));
    let mut shell = scene.copy::<&str>([]);
    let (folder, variables) = (shell.get_current_dir().unwrap().to_path_buf(), shell.get_envs());
    let variables: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned))).collect();
    shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec \"$@\" {redirections}")).arg("sh").arg(copy.get_program()).args(copy.get_args());
    shell.current_dir(folder).stdin(Stdio::null());
    for (name, value) in variables {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn closed_standard_streams_disturb_no_copy() {
    for redirections in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for options in [&["--progress=json"][..], &["-v"], &["--progress=plain", "--stats"]] {
            let scene = Scene::new();
            scene.many_files("a", 300);
            let run = support::ended(&mut with_closed(&scene, redirections, options));
            assert_eq!(run.status.code(), Some(0), "{redirections} {options:?}: {}", run.stderr);
            assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")), "{redirections} {options:?}");
        }
    }
}

#[test]
fn a_report_that_nobody_reads_from_the_start_does_not_end_the_copy() {
    let scene = Scene::new();
    scene.many_files("a", 300);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = scene.copy(["--progress=json", "a", "b"]);
    let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = support::collected(child.stderr.take().unwrap());
    assert_eq!(support::wait(&mut child).code(), Some(1));
    assert_eq!(
        stderr.recv().unwrap(),
        "brigade: cannot write to standard output: Broken pipe (os error 32); the copy goes on without it\n"
    );
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
}

/// Two files of 512 KiB, which take about a second.
fn slow_scene() -> Scene {
    let scene = Scene::new();
    for name in ["a/x", "a/y"] {
        scene.file(name, &"z".repeat(512 << 10));
    }
    scene
}

#[test]
fn a_terminal_of_no_size_disturbs_no_copy() {
    for (columns, rows) in [(0, 0), (1, 1), (1, 0), (0, 1), (2, 100)] {
        let scene = slow_scene();
        let mut command = scene.copy(["--bwlimit=1M", "-v", "a", "b"]);
        let (status, text) = Terminal::run(&mut command, columns, rows).ended();
        assert_eq!(status.code(), Some(0), "{columns} x {rows}: {text:?}");
        assert!(!text.contains("panicked"), "{columns} x {rows}: {text:?}");
        assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
    }
}

#[test]
fn a_terminal_that_shrinks_to_nothing_in_mid_copy_disturbs_no_copy() {
    let scene = slow_scene();
    // So slow that frames are drawn for longer than a busy machine takes between two of them.
    let mut command = scene.copy(["--bwlimit=256K", "--progress=bar", "a", "b"]);
    let mut terminal = Terminal::run(&mut command, 80, 24);
    for (columns, rows) in [(1, 1), (0, 0), (80, 24)] {
        // The first figures of a new frame.
        terminal.until("\x1b[");
        terminal.resize(columns, rows);
    }
    let (status, text) = terminal.ended();
    assert_eq!(status.code(), Some(0), "{text:?}");
    assert!(!text.contains("panicked"), "{text:?}");
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
}
