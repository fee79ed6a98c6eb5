//! How strictly workers are confined: what is asked for, what there is, and what is said about it.

use std::process::Command;

use serde_json::Value;
use torture::mounts::need_root;

use crate::support::{self, Scene};

/// Runs the command on a small tree without the right to mount, as root in a container.
fn without_mounts(scene: &Scene, sandbox: &str) -> support::Ended {
    let copy = scene.copy([sandbox, "--progress=json", "-T", "a", "b"]);
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-sys_admin").arg(copy.get_program()).args(copy.get_args());
    command.current_dir(copy.get_current_dir().unwrap());
    command.envs(copy.get_envs().filter_map(|(name, value)| Some((name, value?))));
    support::ended(&mut command)
}

fn scene() -> Scene {
    need_root();
    let scene = Scene::new();
    scene.file("a/folder/file", "contents");
    scene
}

fn levels(report: &str) -> Vec<String> {
    let events = report.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter_map(|event| Some(event.get("sandbox")?.as_str()?.to_owned())).collect()
}

#[test]
fn the_level_stands_in_the_first_and_in_the_last_event_in_v_and_in_the_summary() {
    for (sandbox, level) in [("--sandbox=auto", "jail"), ("--sandbox=require", "jail"), ("--sandbox=off", "off")] {
        let scene = scene();
        let run = scene.run([sandbox, "--progress=json", "-T", "a", "b"]);
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert_eq!(levels(&run.stdout), [level, level]);
        let run = scene.run([sandbox, "-v", "-T", "a", "c"]);
        let first = run.stderr.lines().next().unwrap();
        assert!(first.starts_with("workers ") && first.ends_with(&format!(" (sandbox: {level})")), "{}", run.stderr);
        for (language, end) in [("en", format!(" (sandbox: {level})\n")), ("zh-CN", format!("（沙箱：{level}）\n"))]
        {
            let run = scene.run([sandbox, "--lang", language, "-T", "a", language]);
            assert_eq!((run.stderr.lines().count(), run.stderr.ends_with(&end)), (1, true), "{}", run.stderr);
        }
    }
}

#[test]
fn who_may_not_mount_gets_the_next_level_or_a_refusal_before_anything_is_written() {
    let scene = scene();
    let run = without_mounts(&scene, "--sandbox=require");
    assert_eq!((run.status.code(), run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    assert!(run.stderr.contains("'--sandbox=require'") && run.stderr.contains("CAP_SYS_ADMIN"), "{}", run.stderr);
    assert!(!scene.path("b").exists());
    let run = without_mounts(&scene, "--sandbox=auto");
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert_eq!(levels(&run.stdout), ["files", "files"]);
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
}

#[test]
fn links_that_are_followed_and_a_jail_exclude_each_other() {
    let scene = scene();
    let run = scene.run(["--sandbox=require", "-L", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("links are followed"), "{}", run.stderr);
}
