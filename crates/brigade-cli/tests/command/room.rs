//! Want of room at the destination as users and programs are told of it.

use std::fs;

use serde_json::Value;
use torture::mounts::{Mount, need_root};

use super::support::Scene;

#[test]
fn a_read_only_destination_is_refused_in_both_languages() {
    need_root();
    let scene = Scene::new();
    scene.file("source/file", "x");
    fs::create_dir(scene.path("mounted")).unwrap();
    let mount = Mount::tmpfs(&scene.path("mounted"), "size=1m");
    mount.make_read_only();
    for (language, sentence) in [
        ("en", "brigade: cannot write 'mounted/source': its file system is read-only\n"),
        ("zh-CN", "brigade: 无法写入 'mounted/source'：其文件系统是只读的\n"),
    ] {
        let run = scene.run(["--lang", language, "source", "mounted"]);
        assert_eq!((run.status.code(), run.stderr.as_str()), (Some(2), sentence));
    }
}

#[test]
fn a_program_is_warned_before_the_room_is_used_up() {
    need_root();
    let scene = Scene::new();
    for idx in 0..40 {
        scene.file(format!("source/{idx}"), &"x".repeat(64 << 10));
    }
    fs::create_dir(scene.path("mounted")).unwrap();
    let _mount = Mount::tmpfs(&scene.path("mounted"), "size=1m");
    let run = scene.run(["--progress=json", "source", "mounted"]);
    assert_eq!(run.status.code(), Some(1));
    let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let notes: Vec<_> = events.iter().filter(|event| event["event"] == "note").collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0]["note"], "bytes_short");
    assert_eq!(notes[0]["free"], 1 << 20);
    assert!(run.stderr.contains("brigade: warning: more was found than there is room for: "), "{}", run.stderr);
}
