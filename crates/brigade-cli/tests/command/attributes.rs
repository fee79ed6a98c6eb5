//! Extended attributes as users of the command meet them: what is told of those that could not be kept, and what a plain
//! user's copy has.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use serde_json::{Value, json};
use torture::mounts::{Mount, need_root};

use super::support::{Ended, Scene, ended};

/// Who has no rights: `nobody`.
const PLAIN: u32 = 65534;

fn set(path: &Path, name: &CStr, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn get(path: &Path, name: &CStr) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 1 << 10];
    let n_bytes = getxattr(path, name, &mut value[..])?;
    value.truncate(n_bytes);
    Ok(value)
}

#[test]
fn what_the_destination_cannot_hold_is_told_in_one_line_each() {
    need_root();
    let scene = Scene::new();
    for name in ["source/one", "source/two", "source/three"] {
        scene.file(name, name);
        set(&scene.path(name), c"trusted.note", b"x");
    }
    let capable = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&scene.path("source/one"), c"security.capability", &capable);
    fs::create_dir(scene.path("poor")).unwrap();
    let _mount = Mount::ramfs(&scene.path("poor"));
    let ended = scene.run(["source", "poor/copy"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stderr.lines().skip(1).collect();
    let expected = [
        "extended attributes: 0 kept, 3 not supported by the destination",
        "capabilities: 0 kept, 1 not supported by the destination",
    ];
    assert_eq!(lines, expected);
    let ended = scene.run(["--lang=zh-CN", "source", "poor/copy2"]);
    assert!(ended.stderr.contains("\n扩展属性：保留 0 项，目标不支持 3 项\n"), "{}", ended.stderr);
    let ended = scene.run(["--quiet", "source", "poor/copy3"]);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""));
    let ended = scene.run(["--progress=json", "source", "poor/copy4"]);
    let told = json!({
        "xattr": { "kept": 0, "unsupported": 3, "denied": 0 },
        "capabilities": { "kept": 0, "unsupported": 1, "denied": 0 },
    });
    assert_eq!(unpreserved(&ended), told);
}

fn unpreserved(ended: &Ended) -> Value {
    let summary: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    summary["unpreserved"].clone()
}

#[test]
fn a_plain_user_keeps_his_own_attributes_and_is_told_of_what_he_may_not_set() {
    need_root();
    let scene = Scene::new();
    for name in ["source/file", "source/closed/inner"] {
        scene.file(name, name);
        set(&scene.path(name), c"user.note", b"mine");
        set(&scene.path(name), c"trusted.note", b"not mine");
    }
    set(&scene.path("source/closed"), c"user.note", b"mine");
    set(&scene.path("source/file"), c"security.label", b"the system's");
    // Who may not write a file may not change its attributes either, though it is his.
    for (name, mode) in [("source/closed/inner", 0o400), ("source/closed", 0o555), ("source/file", 0o444)] {
        chown(scene.path(name), Some(PLAIN), Some(PLAIN)).unwrap();
        fs::set_permissions(scene.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for name in [".", "source"] {
        chown(scene.path(name), Some(PLAIN), Some(PLAIN)).unwrap();
    }
    for _ in 0..2 {
        let run = ended(&mut as_plain_user(&scene, ["--progress=json", "-T", "source", "copy"]));
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert_eq!(unpreserved(&run), json!({ "xattr": { "kept": 2, "unsupported": 0, "denied": 1 } }));
        for (name, mode) in [("closed/inner", 0o400), ("closed", 0o555), ("file", 0o444)] {
            let path = scene.path("copy").join(name);
            assert_eq!(get(&path, c"user.note").unwrap(), b"mine", "{name}");
            assert_eq!(get(&path, c"trusted.note"), Err(Errno::NODATA), "{name}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{name}");
        }
        // The second run finds all but this as it should be.
        set(&scene.path("copy/closed/inner"), c"user.note", b"changed");
    }
}

#[test]
fn a_plain_user_gets_what_closed_folders_hold_and_is_told_of_what_he_may_not_read() {
    need_root();
    let scene = Scene::new();
    for name in ["closed/inner/file", "closed/file", "shut/file", "secret", "open"] {
        scene.file(format!("source/{name}"), name);
    }
    let modes = [("closed/inner", 0o555), ("closed", 0o555), ("shut", 0), ("secret", 0)];
    let owned = ["closed/inner/file", "closed/inner", "closed/file", "closed", "shut", "secret", "open", "."];
    for name in owned {
        chown(scene.path("source").join(name), Some(PLAIN), Some(PLAIN)).unwrap();
    }
    chown(scene.path("."), Some(PLAIN), Some(PLAIN)).unwrap();
    for (name, mode) in modes {
        fs::set_permissions(scene.path("source").join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // The second run finds folders that it may not write to.
    for _ in 0..2 {
        let run = ended(&mut as_plain_user(&scene, ["--lang=en", "-T", "source", "copy"]));
        assert_eq!(run.status.code(), Some(1), "{}", run.stderr);
        let denied: Vec<_> = run.stderr.lines().filter(|line| line.ends_with("(os error 13)")).collect();
        assert_eq!(denied.len(), 2, "{}", run.stderr);
        assert!(["/shut'", "/secret'"].iter().all(|name| run.stderr.contains(name)), "{}", run.stderr);
        for name in ["closed/inner/file", "closed/file", "open"] {
            assert_eq!(fs::read_to_string(scene.path("copy").join(name)).unwrap(), name);
        }
        for (name, mode) in &modes[..2] {
            let copied = fs::metadata(scene.path("copy").join(name)).unwrap();
            assert_eq!(copied.permissions().mode() & 0o7777, *mode, "{name}");
        }
        assert!(!scene.path("copy/secret").exists() && !scene.path("copy/shut/file").exists());
    }
}

/// The command as somebody without rights, from where he may reach it.
fn as_plain_user<'a>(scene: &Scene, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let built = scene.copy(arguments);
    let program = scene.path("brigade");
    if !program.exists() {
        fs::copy(built.get_program(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={PLAIN}")).arg(format!("--regid={PLAIN}")).arg("--clear-groups").arg(program);
    command.args(built.get_args()).current_dir(scene.path(".")).env("LANG", "C.UTF-8");
    command
}
