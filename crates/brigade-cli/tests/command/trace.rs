//! What calls to the kernel a whole run makes, read from its trace: after start-up every path is one component, relative to a
//! folder that is held, and no link is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use torture::mounts::{Scratch, need_root};
use torture::trace::{Call, Thread, threads, traced};

use crate::support::{self, Scene};

/// Who has no rights: `nobody`.
const PLAIN: u32 = 65534;

/// How a call takes a path: the arguments with the folder and the name, and where its flags are, if it could follow a link.
struct PathCall {
    name: &'static str,
    paths: &'static [(usize, usize)],
    flags: Option<(usize, Follows)>,
}

/// What keeps a call from following a link, where it takes flags.
#[derive(Clone, Copy)]
enum Follows {
    /// It does not with this flag.
    Unless(&'static str),
    /// It does not without this flag.
    With(&'static str),
}

const NOFOLLOW: Follows = Follows::Unless("AT_SYMLINK_NOFOLLOW");

/// All calls with a folder and a name that are made.
const PATH_CALLS: [PathCall; 13] = [
    PathCall { name: "openat", paths: &[(0, 1)], flags: Some((2, Follows::Unless("O_NOFOLLOW"))) },
    PathCall { name: "newfstatat", paths: &[(0, 1)], flags: Some((3, NOFOLLOW)) },
    PathCall { name: "statx", paths: &[(0, 1)], flags: Some((2, NOFOLLOW)) },
    PathCall { name: "fchownat", paths: &[(0, 1)], flags: Some((4, NOFOLLOW)) },
    PathCall { name: "utimensat", paths: &[(0, 1)], flags: Some((3, NOFOLLOW)) },
    PathCall { name: "linkat", paths: &[(0, 1), (2, 3)], flags: Some((4, Follows::With("AT_SYMLINK_FOLLOW"))) },
    // None of these follows the last component.
    PathCall { name: "mkdirat", paths: &[(0, 1)], flags: None },
    PathCall { name: "mknodat", paths: &[(0, 1)], flags: None },
    PathCall { name: "symlinkat", paths: &[(1, 2)], flags: None },
    PathCall { name: "readlinkat", paths: &[(0, 1)], flags: None },
    PathCall { name: "unlinkat", paths: &[(0, 1)], flags: None },
    PathCall { name: "renameat", paths: &[(0, 1), (2, 3)], flags: None },
    PathCall { name: "renameat2", paths: &[(0, 1), (2, 3)], flags: None },
];

/// Calls with a name and no folder, which stands for the current one, each with the reason why there is no other way. The same
/// list is in docs/copying.md.
const CALLS_BY_NAME: [(&str, &str); 4] = [
    ("llistxattr", "links and special files cannot be opened; opening what looks unchanged would cost two calls more"),
    ("lgetxattr", "likewise"),
    ("lsetxattr", "links and special files cannot be opened"),
    ("lremovexattr", "likewise"),
];

/// Of these, what alters something: only links and special files may be meant.
const ALTERS: [&str; 2] = ["lsetxattr", "lremovexattr"];

/// Calls that take a path and are not made after start-up. Those that strace(1) does not know are looked at one by one.
const NEVER: [&str; 50] = [
    "access",
    "acct",
    "chdir",
    "chmod",
    "chown",
    "chroot",
    "creat",
    "execve",
    "execveat",
    "faccessat",
    "faccessat2",
    "fanotify_mark",
    "fchmodat",
    "fspick",
    "futimesat",
    "getxattr",
    "inotify_add_watch",
    "lchown",
    "link",
    "listxattr",
    "lstat",
    "mkdir",
    "mknod",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open",
    "open_tree",
    "openat2",
    "pivot_root",
    "quotactl",
    "readlink",
    "removexattr",
    "rename",
    "rmdir",
    "setxattr",
    "stat",
    "statfs",
    "swapoff",
    "swapon",
    "symlink",
    "truncate",
    "umount",
    "umount2",
    "unlink",
    "uselib",
    "utime",
    "utimes",
    "open_by_handle_at",
];

/// `fchmodat2`, which older versions of strace(1) show by its number.
const FCHMODAT2: [&str; 2] = ["fchmodat2", "syscall_0x1c4"];
const AT_EMPTY_PATH: [&str; 2] = ["AT_EMPTY_PATH", "0x1000"];

/// What is said against the calls of a run, and how often each call with a path was made.
#[derive(Default)]
struct Judged {
    faults: Vec<String>,
    n_calls: BTreeMap<String, usize>,
    /// Names under which links and special files were made.
    no_files: BTreeSet<String>,
}

impl Judged {
    /// Judges what a process did after it had begun with the trees.
    fn judge(&mut self, who: &str, calls: &[Call]) {
        let mut is_in_held_folder = false;
        for call in calls {
            is_in_held_folder |= call.name == "fchdir";
            let made = match call.name.as_str() {
                "symlinkat" => call.text(2),
                "mknodat" => call.text(1),
                _ => None,
            };
            self.no_files.extend(made.map(str::to_owned));
            if let Some(fault) = self.fault_in(call, is_in_held_folder) {
                self.faults.push(format!("{who}: {fault}: {}({})", call.name, call.arguments.join(", ")));
            }
        }
    }

    fn fault_in(&mut self, call: &Call, is_in_held_folder: bool) -> Option<String> {
        let name = call.name.as_str();
        if NEVER.contains(&name) {
            return Some("a call that is never made".into());
        }
        if FCHMODAT2.contains(&name) {
            *self.n_calls.entry("fchmodat2".into()).or_default() += 1;
            return (!AT_EMPTY_PATH.iter().any(|flag| call.has(3, flag))).then(|| "a mode set by name".into());
        }
        if name.starts_with("syscall_") {
            return Some("a call that nobody knows".into());
        }
        if CALLS_BY_NAME.iter().any(|(known, _)| *known == name) {
            *self.n_calls.entry(name.into()).or_default() += 1;
            return fault_by_name(call, is_in_held_folder, &self.no_files);
        }
        let known = PATH_CALLS.iter().find(|known| known.name == name)?;
        let mut has_name = false;
        for &(folder, path) in known.paths {
            // Without a name the descriptor itself is meant.
            let Some(path) = call.text(path).filter(|path| !path.is_empty()) else { continue };
            has_name = true;
            if path.contains('/') {
                return Some("more than one component".into());
            }
            if call.arguments[folder].parse::<u32>().is_err() {
                return Some("not relative to a folder that is held".into());
            }
        }
        if has_name {
            *self.n_calls.entry(name.into()).or_default() += 1;
        }
        match known.flags {
            Some((flags, Follows::Unless(flag))) if has_name && !call.has(flags, flag) => {
                Some("a link would be followed".into())
            }
            Some((flags, Follows::With(flag))) if call.has(flags, flag) => Some("a link would be followed".into()),
            _ if has_name && ["fchownat", "utimensat"].contains(&name) => Some("metadata set by name".into()),
            _ => None,
        }
    }
}

fn fault_by_name(call: &Call, is_in_held_folder: bool, no_files: &BTreeSet<String>) -> Option<String> {
    let path = call.text(0).unwrap_or("/");
    if path.contains('/') || !is_in_held_folder {
        return Some("not one component of a folder that is held".into());
    }
    // The trees are made so that the names tell, but for temporary ones.
    let may_be_altered = no_files.contains(path) || ["link", "special"].iter().any(|kind| path.starts_with(kind));
    (ALTERS.contains(&call.name.as_str()) && !may_be_altered).then(|| "a file altered by name".into())
}

/// A process that works is confined. One that only looks ahead, where a mount may not answer, is not: that belongs to start-up.
fn is_worker(thread: &Thread) -> bool {
    let is_own = |call: &Call| call.name == "execve" && call.text(0) == Some("/proc/self/exe");
    thread.calls.iter().any(is_own) && thread.calls.iter().any(|call| call.name == "seccomp")
}

/// The first call of a worker on one of the trees: with a name, relative to a folder that is held.
fn first_on_trees(thread: &Thread) -> Option<usize> {
    thread.calls.iter().position(|call| {
        let known = PATH_CALLS.iter().find(|known| known.name == call.name);
        known.is_some_and(|known| {
            let (folder, path) = known.paths[0];
            call.text(path).is_some_and(|path| !path.is_empty()) && call.arguments[folder].parse::<u32>().is_ok()
        })
    })
}

/// Runs the command under strace and judges all of its processes.
fn judged(command: &Command, status: i32) -> Judged {
    let scratch = Scratch::in_memory();
    fs::set_permissions(scratch.path("."), fs::Permissions::from_mode(0o777)).unwrap();
    let ended = support::ended(traced(command, &scratch.path(".")).stdin(Stdio::null()));
    assert_eq!(ended.status.code(), Some(status), "{}", ended.stderr);
    let threads = threads(&scratch.path("."));
    let (workers, parents): (Vec<_>, Vec<_>) = threads.iter().partition(|thread| is_worker(thread));
    let mut judged = Judged::default();
    let mut began = f64::INFINITY;
    for worker in workers {
        if let Some(first) = first_on_trees(worker) {
            began = began.min(worker.calls[first].at);
            judged.judge("worker", &worker.calls[first..]);
        }
    }
    assert!(began.is_finite(), "a worker did something");
    for parent in parents {
        let later = parent.calls.partition_point(|call| call.at < began);
        judged.judge("command", &parent.calls[later..]);
    }
    judged
}

/// Files, folders, links, special files, attributes and ACLs; names tell what may be altered by name.
fn make_tree(scene: &Scene, owner: Option<u32>) {
    for name in ["file", "deep/file", "deep/deeper/file", "other/file", "other/extra"] {
        scene.file(format!("top/source/{name}"), name);
    }
    fs::write(scene.path("top/source/large"), vec![7; 3 << 20]).unwrap();
    let source = scene.path("top/source");
    fs::hard_link(source.join("file"), source.join("deep/deeper/second")).unwrap();
    symlink("../file", source.join("deep/link")).unwrap();
    symlink("nowhere", source.join("link")).unwrap();
    fs::hard_link(source.join("link"), source.join("other/link-second")).unwrap();
    let special = |name: &str, kind, device| {
        mknodat(CWD, source.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    special("deep/special-fifo", FileType::Fifo, 0);
    special("special-socket", FileType::Socket, 0);
    let set = |name: &str, attribute| {
        lsetxattr(source.join(name), attribute, b"value", XattrFlags::empty()).unwrap();
    };
    set("deep/file", "user.note");
    set("deep", "user.note");
    if owner.is_none() {
        special("special-device", FileType::CharacterDevice, makedev(1, 3));
        set("link", "trusted.note");
        set("special-socket", "trusted.note");
        chown(source.join("deep/file"), Some(5), Some(6)).unwrap();
        chown(source.join("special-socket"), Some(5), Some(6)).unwrap();
        std::os::unix::fs::lchown(source.join("deep/link"), Some(5), Some(6)).unwrap();
    }
    torture::mounts::run(Command::new("setfacl").args(["-m", "u:1234:rwx"]).arg(source.join("file")));
    torture::mounts::run(Command::new("setfacl").args(["-d", "-m", "u:1234:rwx"]).arg(source.join("deep")));
    if let Some(owner) = owner {
        torture::mounts::run(Command::new("chown").arg("-hR").arg(format!("{owner}:{owner}")).arg(scene.path(".")));
    }
}

/// What a second run finds changed.
fn change_tree(scene: &Scene) {
    let top = scene.path("top");
    fs::write(top.join("source/deep/file"), "changed, and longer").unwrap();
    fs::remove_file(top.join("source/other/extra")).unwrap();
    fs::set_permissions(top.join("source/large"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(top.join("source/link")).unwrap();
    symlink("elsewhere", top.join("source/link")).unwrap();
    let extra = top.join("destination/special-socket");
    lsetxattr(extra, "trusted.extra", b"value", XattrFlags::empty()).unwrap();
    for name in ["source/deep/special-fifo", "destination/special-socket"] {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(0o604)).unwrap();
    }
}

/// The command, by a user, who gets a program of his own since he may not reach the one that was built.
fn copy_of(scene: &Scene, owner: Option<u32>, options: &[&str]) -> Command {
    let words = ["-T"].iter().chain(options).chain(&["top/source", "top/destination"]);
    let built = scene.copy(words.map(OsString::from));
    let Some(owner) = owner else { return built };
    let program = scene.path("brigade");
    if !program.exists() {
        fs::copy(built.get_program(), &program).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={owner}"), format!("--regid={owner}"), "--clear-groups".to_owned()]).arg(program);
    command.args(built.get_args()).current_dir(scene.path(".")).env("LANG", "C.UTF-8");
    command
}

/// Judges a fresh copy, one of nothing new, a rehearsal, one of changes with backups, one with removals that reads back.
fn judge_runs(scene: &Scene, owner: Option<u32>) -> BTreeMap<String, usize> {
    let mut n_calls = BTreeMap::new();
    let mut run = |options: &[&str]| {
        let judged = judged(&copy_of(scene, owner, options), 0);
        assert!(judged.faults.is_empty(), "{options:?}, {owner:?}: {:#?}", judged.faults);
        for (name, n) in judged.n_calls {
            *n_calls.entry(name).or_default() += n;
        }
    };
    run(&[]);
    run(&[]);
    change_tree(scene);
    run(&["--dry-run"]);
    run(&["--backup=numbered"]);
    fs::write(scene.path("top/destination/other/not-in-the-source"), "extra").unwrap();
    fs::create_dir_all(scene.path("top/destination/gone/with all")).unwrap();
    if let Some(owner) = owner {
        torture::mounts::run(Command::new("chown").arg("-hR").arg(format!("{owner}:{owner}")).arg(scene.path(".")));
    }
    run(&["--delete", "--verify", "--ignore-times"]);
    run(&["-n"]);
    n_calls
}

#[test]
fn after_its_start_a_run_names_one_component_of_a_held_folder_and_follows_no_link() {
    need_root();
    let mut seen = BTreeSet::new();
    for owner in [None, Some(PLAIN)] {
        let scene = Scene::new();
        make_tree(&scene, owner);
        seen.extend(judge_runs(&scene, owner).into_keys());
    }
    // On a disk files are committed in groups.
    let scene = Scene::on_disk();
    make_tree(&scene, None);
    seen.extend(judge_runs(&scene, None).into_keys());
    // What was not made was not judged.
    let expected = PATH_CALLS.iter().map(|call| call.name).chain(CALLS_BY_NAME.iter().map(|(name, _)| *name));
    let descriptors_only = ["fchownat", "utimensat", "renameat2"];
    let missing: Vec<_> = expected.filter(|name| !descriptors_only.contains(name) && !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "not made in any run: {missing:?}; made: {seen:?}");
}

#[test]
fn the_judge_of_traces_finds_what_cp_does() {
    let scene = Scene::new();
    scene.file("top/source/deep/file", "contents");
    let scratch = Scratch::in_memory();
    let mut cp = Command::new("cp");
    cp.args(["-a", "top/source", "top/destination"]).current_dir(scene.path("."));
    assert!(traced(&cp, &scratch.path(".")).status().unwrap().success());
    let mut judged = Judged::default();
    for thread in threads(&scratch.path(".")) {
        let begins = thread.calls.iter().position(|call| call.text(1) == Some("top/source")).unwrap();
        judged.judge("cp", &thread.calls[begins..]);
    }
    assert!(judged.faults.iter().any(|fault| fault.contains("more than one component")), "{:?}", judged.faults);
    assert!(judged.faults.iter().any(|fault| fault.contains("a call that is never made")), "{:?}", judged.faults);
}

#[test]
fn calls_by_name_are_documented_with_their_reasons() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/copying.md");
    let docs = fs::read_to_string(docs).unwrap();
    for (name, _) in CALLS_BY_NAME {
        assert!(docs.contains(&format!("`{name}`")), "{name}");
    }
}
