//! Signals during a copy: a clean end, and then death of the signal.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use crate::support::{self, Scene};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_signal_ends_the_copy_cleanly_and_tells_how_to_go_on() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        let scene = Scene::new();
        scene.many_files("a", 20_000);
        let mut command = scene.copy(["-j1", "--progress=json", "a", "b"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = support::collected(child.stderr.take().unwrap());
        // The report is not read on until the signal is sent, so the copy cannot be over by then.
        let mut report = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"event\":\"file\"") {
            line.clear();
            assert!(report.read_line(&mut line).unwrap() > 0, "no file was copied");
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let rest = support::collected(report);
        let status = support::wait(&mut child);
        assert_eq!(status.signal(), Some(number), "{status}");
        let stderr = stderr.recv().unwrap();
        assert!(stderr.starts_with("interrupted: copied "), "{stderr}");
        assert!(stderr.ends_with("\nto go on: brigade copy --workers=1 --progress=json -T a b\n"), "{stderr}");
        let rest = rest.recv().unwrap();
        assert!(rest.contains("\"interrupted\":true"), "{rest}");
        let source = support::tree(&scene.path("a"));
        let copied = support::tree(&scene.path("b"));
        assert!(copied.len() < source.len());
        for (name, contents) in copied {
            assert_eq!(source.get(&name), Some(&contents), "{name:?} is not whole");
        }
    }
}
