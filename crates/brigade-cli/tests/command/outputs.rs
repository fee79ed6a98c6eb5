//! What is told beside the copy: figures, colours, the log, each alone and together with the ways of showing progress.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::Value;

use crate::support::{self, Scene, Terminal};

/// A source with two files, of which one cannot be copied: a folder is in its way.
fn scene_with_a_failure() -> Scene {
    let scene = Scene::new();
    scene.file("a/good", "12345");
    scene.file("a/taken", "x");
    scene.file("b/taken/in the way", "");
    scene
}

#[test]
fn stats_are_a_block_of_figures_at_the_end() {
    let scene = Scene::new();
    scene.file("a/x", "12345");
    fs::File::create(scene.path("a/holes")).unwrap().set_len(1 << 20).unwrap();
    let run = scene.run(["--stats", "a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    let line = |label: &str| {
        let found = run.stderr.lines().find(|line| line.starts_with(label));
        found.unwrap_or_else(|| panic!("no {label:?} in {}", run.stderr)).split_once("  ").unwrap().1.trim_start()
    };
    assert_eq!(line("entries "), "found 3 = copied 3 + unchanged 0 + skipped 0 + failed 0");
    assert_eq!(line("copied  "), "2 files, 1 folder, 0 symlinks, 0 hard links, 0 special files");
    assert_eq!(
        line("bytes "),
        "1 048 581 B (1.0 MiB): 5 B written, 0 B shared with the source, 1.0 MiB in holes, 0 B there before"
    );
    assert!(line("slowest ").contains("'a/"), "{}", run.stderr);
    // A second run finds everything there.
    let run = scene.run(["--stats", "--quiet", "--lang=zh-CN", "-T", "a", "b"]);
    let lines: Vec<_> = run.stderr.lines().collect();
    assert_eq!(lines[0], "条目    找到 3 = 已复制 0 + 未变 3 + 跳过 0 + 失败 0", "{}", run.stderr);
    assert!(lines.contains(&"未变    1 048 581 B (1.0 MiB)"), "{}", run.stderr);
    // A program gets them in its summary, and nobody gets them unasked.
    let run = scene.run(["--stats", "--progress=json", "a", "c"]);
    assert_eq!(run.stderr, "");
    let summary: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(summary["stats"]["bytes_in_holes"], 1 << 20);
    assert_eq!(summary["stats"]["bytes_written"], 5);
    assert!(!scene.run(["a", "d"]).stderr.contains("entries "));
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let scene = scene_with_a_failure();
    let on_terminal = |options: &[&str], variable: (&str, &str)| {
        let mut command = scene.copy(options.iter().copied().chain(["-T", "a", "b"]));
        let (status, text) = Terminal::run(command.env(variable.0, variable.1), 80, 24).ended();
        assert_eq!(status.code(), Some(1), "{text}");
        text
    };
    const RED: &str = "\x1b[1;31mbrigade:\x1b[0m ";
    assert!(on_terminal(&[], ("X", "")).contains(RED));
    for text in [
        on_terminal(&["--color=never"], ("X", "")),
        on_terminal(&[], ("NO_COLOR", "1")),
        on_terminal(&[], ("TERM", "dumb")),
    ] {
        assert!(text.contains("brigade: cannot replace") && !text.contains("\x1b[1;31m"), "{text:?}");
    }
    assert!(on_terminal(&["--color"], ("NO_COLOR", "1")).contains(RED));
    // Not in pipes, unless somebody insists.
    let run = scene.run(["-T", "a", "b"]);
    assert!(run.stderr.starts_with("brigade: cannot replace"), "{}", run.stderr);
    let run = support::ended(scene.copy(["-T", "a", "b"]).env("CLICOLOR_FORCE", "1"));
    assert!(run.stderr.starts_with(RED), "{}", run.stderr);
    // Mistakes in the arguments are errors too. Standard output never has colours.
    assert!(scene.run(["--color", "--wrong"]).stderr.starts_with(RED));
    let run = scene.run(["--color", "--progress=json", "-T", "a", "b"]);
    assert!(run.stderr.starts_with(RED) && !run.stdout.contains('\x1b'), "{}", run.stdout);
    assert_eq!(scene.run(["--color=purple", "a", "c"]).status.code(), Some(2));
}

#[test]
fn the_log_has_a_line_for_each_entry_and_each_error_and_is_appended_to() {
    let scene = scene_with_a_failure();
    let run = scene.run(["--lang=zh-CN", "--log-file=log", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let log = fs::read_to_string(scene.path("log")).unwrap();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    assert_eq!(lines[0], format!("started brigade {}: 'a' -> 'b'", env!("CARGO_PKG_VERSION")));
    assert!(lines.contains(&"copied 'a/good' -> 'b/good' (5 B)"), "{log}");
    assert!(lines.contains(&"failed: cannot replace 'b/taken': a folder is in the way"), "{log}");
    assert!(lines.contains(&"found 3 = copied 1 + unchanged 1 + skipped 0 + failed 1"), "{log}");
    let times: Vec<&str> = log.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.len() == 24), "{log}");
    // The next run goes below it, and has another language, progress and detail.
    let run = scene.run(["-q", "--progress=json", "--log-file=log", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
    let both = fs::read_to_string(scene.path("log")).unwrap();
    assert!(both.starts_with(&log) && both.contains("unchanged 'a/good' -> 'b/good' (5 B)"), "{both}");
}

#[test]
fn a_log_that_is_full_stops_no_copy_but_is_told() {
    let scene = Scene::new();
    scene.many_files("a", 3000);
    let run = scene.run(["--log-file=/dev/full", "a", "b"]);
    assert_eq!(run.status.code(), Some(1));
    let told =
        "brigade: cannot write to '/dev/full': No space left on device (os error 28); the copy goes on without it\n";
    assert_eq!(run.stderr.matches(told).count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("copied 3 000 files"), "{}", run.stderr);
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
}

#[test]
fn a_log_that_cannot_be_opened_is_refused_before_anything_is_written() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    let run = scene.run(["--log-file=gone/log", "a", "b"]);
    assert_eq!(run.status.code(), Some(2));
    assert_eq!(run.stderr, "brigade: cannot open 'gone/log': No such file or directory (os error 2)\n");
    assert!(!scene.path("b").exists());
}

/// Whether a text holds what could move a cursor or turn a line round.
fn raw_controls(text: &str) -> Vec<char> {
    let is_raw = |character: &char| {
        (character.is_control() && *character != '\n' && *character != '\r') || *character == '\u{202e}'
    };
    text.chars().filter(is_raw).collect()
}

/// C-04: newline, escape, C1 and bidi characters, and bytes that are no UTF-8, in names that are copied, that fail, and that the
/// user types.
#[test]
fn no_way_of_output_writes_a_control_character_of_a_name() {
    let names: [&[u8]; 5] =
        [b"new\nline", b"\x1b[31mred", b"\xc2\x9b31mc1", "\u{202e}bidi".as_bytes(), b"raw\x9b31m\xff"];
    let ways: [&[&str]; 5] = [
        &["--progress=bar", "-j1"],
        &["--progress=plain", "-v", "--stats"],
        &["--progress=json"],
        &["--progress=none", "-v", "--lang=zh-CN"],
        &["--stats", "-q"],
    ];
    for way in ways {
        let scene = Scene::new();
        let source = scene.path(std::ffi::OsStr::from_bytes(b"s\n\x1b[31m\xc2\x9b"));
        for (idx, name) in names.iter().enumerate() {
            let folder = source.join(std::ffi::OsStr::from_bytes(name));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(std::ffi::OsStr::from_bytes(name)), vec![b'x'; 1 << idx]).unwrap();
            let failing = std::ffi::OsStr::from_bytes(b"fails\x1b[2J\xc2\x9b\n");
            fs::write(folder.join(failing), "").unwrap();
            let destination = scene.path("b").join(std::ffi::OsStr::from_bytes(name));
            fs::create_dir_all(destination.join(failing)).unwrap();
        }
        let options = way.iter().map(std::ffi::OsStr::new).chain(["--log-file=log", "-T"].map(std::ffi::OsStr::new));
        let operands = [source.as_os_str().to_owned(), scene.path("b").into_os_string()];
        let arguments: Vec<_> = options.map(std::ffi::OsStr::to_owned).chain(operands).collect();
        let run = scene.run(&arguments);
        assert_eq!(run.status.code(), Some(1), "{way:?} {}", run.stderr);
        let log = fs::read_to_string(scene.path("log")).unwrap();
        assert_eq!(log.matches(" failed: ").count(), names.len(), "{log}");
        for text in [&run.stdout, &run.stderr, &log] {
            assert_eq!(raw_controls(text), [], "{way:?} {text:?}");
        }
        if way.contains(&"--progress=json") {
            let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let is_copied =
                |event: &&Value| event["event"] == "file" && event["kind"] == "file" && event["state"] == "copied";
            assert_eq!(events.iter().filter(is_copied).count(), names.len());
        }
        // The bar on a terminal.
        let mut command = scene.copy(&arguments);
        let (_, text) = Terminal::run(&mut command, 200, 24).ended();
        let text =
            text.replace("\x1b[1;31m", "").replace("\x1b[0m", "").replace("\x1b[32m", "").replace("\x1b[33m", "");
        assert!(!text.contains("\x1b[31m") && !text.contains("\x1b[2J"), "{way:?} {text:?}");
        assert!(!text.contains('\u{9b}') && !text.contains('\u{202e}'), "{way:?} {text:?}");
    }
}
