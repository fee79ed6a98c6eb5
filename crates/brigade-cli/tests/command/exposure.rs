//! What somebody else sees of a copy while it is made: nothing before it has its final mode.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, inotify, mknodat, open};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use torture::faultline::{Act, Role, Rule, When, run};
use torture::mounts::need_root;

use crate::support::Scene;

/// Who watches, and the group he is in.
const WATCHER: u32 = 65534;
const GROUP: u32 = 7777;

/// Each step of a worker takes so long that the watcher sees what is between two.
const PAUSE: Duration = Duration::from_millis(5);
const STEPS: [&str; 18] = [
    "openat",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "renameat",
    "renameat2",
    "write",
    "pwrite64",
    "fchown",
    "fchownat",
    "fchmod",
    "fchmodat2",
    "fsetxattr",
    "lsetxattr",
    "fremovexattr",
    "lremovexattr",
    "utimensat",
];

const LIMIT: Duration = Duration::from_secs(60);

/// What the watcher could open, and what was wrong with it then.
#[derive(Default)]
struct Seen {
    opened: BTreeSet<PathBuf>,
    unfinished: BTreeSet<String>,
    n_looks: u64,
}

/// Entries of a tree, below it: the contents of files, the number of entries of folders.
fn expected(tree: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(path) = waiting.pop() {
        let data = fs::symlink_metadata(&path).unwrap();
        let holds = if data.is_dir() {
            let inside: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            let n_inside = inside.len().to_string().into_bytes();
            waiting.extend(inside);
            n_inside
        } else if data.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        found.insert(path.strip_prefix(tree).unwrap().to_owned(), holds);
    }
    found
}

/// Looks at everything that is to come, again and again, as a plain user.
fn watch(copy: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>, must_end: &AtomicBool) -> Seen {
    // These change the thread alone.
    set_thread_groups(&[Gid::from_raw(GROUP)]).unwrap();
    set_thread_gid(Gid::from_raw(WATCHER)).unwrap();
    set_thread_uid(Uid::from_raw(WATCHER)).unwrap();
    let mut seen = Seen::default();
    loop {
        // What can be opened at the end is what may be seen.
        let is_last = must_end.load(Ordering::Acquire);
        if is_last {
            seen.opened.retain(|path| look(&copy.join(path)).is_none());
            return seen;
        }
        for (path, holds) in wanted {
            seen.n_looks += 1;
            let Some(found) = look(&copy.join(path)) else { continue };
            seen.opened.insert(path.clone());
            if found != *holds {
                let found = String::from_utf8_lossy(&found).into_owned();
                seen.unfinished.insert(format!("{}: {found:?}", path.display()));
            }
        }
    }
}

/// What can be had of an entry, if it can be opened.
fn look(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty()).ok()?;
    let data = fs::File::from(opened);
    match data.metadata().ok()?.file_type() {
        kind if kind.is_dir() => {
            let listing = rustix::fs::Dir::new(data).ok()?;
            let n_inside = listing.filter(|entry| {
                entry.as_ref().is_ok_and(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))
            });
            Some(n_inside.count().to_string().into_bytes())
        }
        kind if kind.is_file() => {
            let mut contents = Vec::new();
            std::io::Read::read_to_end(&mut &data, &mut contents).ok()?;
            Some(contents)
        }
        _ => Some(Vec::new()),
    }
}

/// Runs a command slowly, and says what was seen that could not be seen afterwards, or not as it was to be.
fn watched(command: Command, copy: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>) -> Seen {
    let must_end = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (copy, wanted, must_end) = (copy.to_owned(), wanted.clone(), Arc::clone(&must_end));
        std::thread::spawn(move || watch(&copy, &wanted, &must_end))
    };
    let rule = Rule::of_each(STEPS, Act::Delay(PAUSE)).below(copy);
    let ended = run(command, vec![rule], LIMIT);
    must_end.store(true, Ordering::Release);
    let seen = watcher.join().unwrap();
    let ended = ended.unwrap();
    assert!(ended.output.status.success() && !ended.is_hung, "{ended:?}");
    assert!(ended.n_done[0] > 0 && seen.n_looks > 100, "{ended:?}");
    seen
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_acl(words: &[&str], path: &Path) {
    torture::mounts::run(Command::new("setfacl").args(words).arg(path));
}

/// Secrets of each kind, also such as an ACL keeps from a group that the mode seems to let in.
fn make_source(scene: &Scene) -> PathBuf {
    let source = scene.path("source");
    for name in ["secret", "public", "private/public", "for-a-user", "of-the-group", "with-acl/public", "open/public"] {
        scene.file(format!("source/{name}"), &format!("all of {name}\n").repeat(500));
    }
    for (name, mode) in [("secret", 0o600), ("private", 0o700), ("of-the-group", 0o640), ("open", 0o755)] {
        set_mode(&source.join(name), mode);
    }
    for name in ["for-a-user", "with-acl"] {
        let path = source.join(name);
        set_mode(&path, 0o700);
        chown(&path, None, Some(GROUP)).unwrap();
        set_acl(&["-m", "u:4242:rwx,g::---,m::rwx,o::---"], &path);
    }
    set_acl(&["-d", "-m", "g::rwx"], &source.join("with-acl"));
    mknodat(CWD, source.join("special"), FileType::Fifo, Mode::from_raw_mode(0o660), 0).unwrap();
    chown(source.join("special"), Some(0), Some(0)).unwrap();
    set_mode(&source.join("special"), 0o660);
    source
}

/// A folder that gives what is made in it to the watcher's group, and to himself.
fn make_destination(scene: &Scene) -> PathBuf {
    let into = scene.path("into");
    fs::create_dir(&into).unwrap();
    chown(&into, None, Some(GROUP)).unwrap();
    set_mode(&into, 0o2775);
    set_acl(&["-d", "-m", &format!("u:{WATCHER}:rwx,g::rwx,o::rwx")], &into);
    set_mode(&scene.path("."), 0o755);
    into
}

fn assert_unseen(seen: &Seen, what: &str) {
    assert!(seen.opened.is_empty(), "{what}: could be opened before: {:?}", seen.opened);
    assert!(seen.unfinished.is_empty(), "{what}: was not finished: {:?}", seen.unfinished);
}

#[test]
fn nothing_can_be_read_by_others_before_it_has_its_final_mode() {
    need_root();
    for (place, scene) in [("memory", Scene::new()), ("disk", Scene::on_disk())] {
        let source = make_source(&scene);
        let copy = make_destination(&scene).join("source");
        let wanted = expected(&source);
        assert_unseen(&watched(scene.copy(["source", "into"]), &copy, &wanted), &format!("{place}, fresh"));

        // What is there, and the watcher may read, is closed to his group by an ACL, and what has an ACL loses it.
        set_mode(&source.join("of-the-group"), 0o600);
        set_acl(&["-m", "u:4242:rw,g::---,m::rw,o::---"], &source.join("secret"));
        chown(source.join("secret"), None, Some(GROUP)).unwrap();
        set_acl(&["-b"], &source.join("for-a-user"));
        set_mode(&source.join("for-a-user"), 0o600);
        chown(copy.join("of-the-group"), None, Some(0)).unwrap();
        // What is new comes into a folder that is open.
        for idx in 0..4 {
            fs::write(source.join(format!("new {idx}")), "new\n".repeat(5000)).unwrap();
            chown(source.join(format!("new {idx}")), None, Some(GROUP)).unwrap();
            set_acl(&["-m", "u:4242:rw,g::---,m::rw,o::---"], &source.join(format!("new {idx}")));
        }
        let wanted = expected(&source);
        let seen = watched(scene.copy(["source", "into"]), &copy, &wanted);
        assert!(seen.opened.is_empty(), "{place}, again: {:?}", seen.opened);

        // All is replaced, by way of temporary names.
        let again = watched(scene.copy(["--ignore-times", "source", "into"]), &copy, &wanted);
        assert!(again.opened.is_empty(), "{place}, replaced: {:?}", again.opened);
    }
}

/// Brings a copy into line that has other modes, ACLs and groups, but for the Nth call of a kind, and returns the mode then.
fn mode_before(scene: &Scene, call: &str, nth: u64) -> u32 {
    let nth_fails =
        Rule::of(call, Act::Fail(Errno::IO)).by(Role::Worker).below(scene.path("copy")).when(When::Nth(nth));
    let ended = run(scene.copy(["-T", "source", "copy"]), vec![nth_fails], LIMIT).unwrap();
    assert_eq!((ended.output.status.code(), ended.n_done[0]), (Some(1), 1), "{ended:?}");
    mode_of(&scene.path("copy/file"))
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A source and its copy, of such a mode.
fn file_and_copy(scene: Scene, mode: u32) -> Scene {
    scene.file("source/file", "for the owner and a few others");
    set_mode(&scene.path("source/file"), mode);
    assert_eq!(scene.run(["-T", "source", "copy"]).status.code(), Some(0));
    scene
}

/// A file system may end an ACL a moment before it sets the mode that comes with it; then what the ACL granted at most is the group's.
#[test]
fn an_acl_that_goes_has_granted_no_more_than_the_group_is_to_have() {
    for scene in [Scene::new(), Scene::on_disk()] {
        let scene = file_and_copy(scene, 0o640);
        let copy = scene.path("copy/file");
        set_acl(&["-m", "u:4242:rwx,g::---,m::rwx"], &copy);
        assert_eq!(mode_of(&copy), 0o670);
        assert_eq!(mode_before(&scene, "fsetxattr", 2), 0o640);
        assert_eq!(scene.run(["-T", "source", "copy"]).status.code(), Some(0));
        assert_eq!((mode_of(&copy), acl_of(&copy)), (0o640, Err(Errno::NODATA)));
    }
}

/// Or it sets the mode first, and then what the ACL is to grant at most is the group's until that is there.
#[test]
fn an_acl_that_comes_grants_no_more_than_the_group_has_until_it_is_there() {
    for scene in [Scene::new(), Scene::on_disk()] {
        let scene = file_and_copy(scene, 0o640);
        let (source, copy) = (scene.path("source/file"), scene.path("copy/file"));
        set_acl(&["-m", "u:4242:rwx,g::---,m::rwx"], &source);
        assert_eq!(mode_before(&scene, "fsetxattr", 2), 0o640);
        assert_eq!(scene.run(["-T", "source", "copy"]).status.code(), Some(0));
        assert_eq!((mode_of(&copy), acl_of(&copy)), (0o670, acl_of(&source)));
    }
}

#[test]
fn a_new_group_gets_no_more_than_it_is_to_have() {
    need_root();
    for (acl, mode, before) in [(None, 0o646, 0o644), (Some(["-m", "u:4242:rw,g::---,m::rw"]), 0o666, 0o604)] {
        let scene = file_and_copy(Scene::new(), 0o664);
        let (source, copy) = (scene.path("source/file"), scene.path("copy/file"));
        chown(&source, None, Some(GROUP)).unwrap();
        set_mode(&source, mode);
        acl.iter().for_each(|words| set_acl(words, &source));
        assert_eq!(mode_before(&scene, "fchown", 1), before);
        assert_eq!(scene.run(["-T", "source", "copy"]).status.code(), Some(0));
        let data = fs::metadata(&copy).unwrap();
        assert_eq!((mode_of(&copy), data.gid(), acl_of(&copy)), (mode, GROUP, acl_of(&source)));
    }
}

fn acl_of(path: &Path) -> Result<Vec<u8>, Errno> {
    let mut acl = Vec::with_capacity(100);
    rustix::fs::getxattr(path, "system.posix_acl_access", rustix::buffer::spare_capacity(&mut acl))?;
    Ok(acl)
}

/// What the watcher of the first test is worth.
#[test]
fn the_watcher_sees_what_is_closed_too_late() {
    need_root();
    let scene = Scene::new();
    let source = make_source(&scene);
    let copy = make_destination(&scene).join("source");
    let wanted = expected(&source);
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "mkdir into/source; chmod 755 into/source; cat source/secret > into/source/secret; \
                         chmod 600 into/source/secret",
    ]);
    let seen = watched(
        {
            command.current_dir(scene.path("."));
            command
        },
        &copy,
        &wanted,
    );
    assert!(seen.opened.contains(Path::new("secret")), "{:?}", seen.opened);
}

#[test]
fn temporary_names_cannot_be_guessed_from_those_of_another_run() {
    need_root();
    let scene = Scene::new();
    scene.file("source/a", "older");
    scene.file("source/b", "older");
    assert_eq!(scene.run(["-T", "source", "copy"]).status.code(), Some(0));
    let mut all = BTreeSet::new();
    let mut n_names = 0;
    for _ in 0..3 {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, scene.path("copy"), inotify::WatchFlags::CREATE).unwrap();
        assert_eq!(scene.run(["-T", "--ignore-times", "source", "copy"]).status.code(), Some(0));
        let names = names_made(&watch);
        assert_eq!(names.len(), 2, "{names:?}");
        n_names += names.len();
        for name in names {
            let digits = name.strip_prefix(".brigade-").unwrap();
            assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
            all.insert(name);
        }
    }
    assert_eq!(all.len(), n_names, "{all:?}");
}

fn names_made(watch: impl std::os::fd::AsFd) -> Vec<String> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1 << 14];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut names = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => {
                let name = event.file_name().unwrap().to_bytes().to_vec();
                names.push(OsString::from_vec(name).into_string().unwrap());
            }
            Err(Errno::AGAIN) => return names,
            Err(errno) => panic!("{errno}"),
        }
    }
}
