//! Where a walk goes and where it stops: links that are kept or followed, mounts, and trees that the kernel makes up. Seven
//! of these tests stand for entries of the catalogue of faults, by their numbers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use brigade_copy::{Choice, Event, Links, Mounts, Plan, Refusal, Request, Sandbox, Selection, Summary, Target};
use torture::mounts::{Mount, Scratch, need_root, run};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

fn selecting(sources: &[PathBuf], destination: &Path, selection: Selection) -> Request {
    let request = Request::new(sources.to_vec(), Target::IntoOrAs(destination.to_owned()));
    Request { selection, workers: std::num::NonZeroUsize::new(2), ..request }
}

fn with_links(links: Links) -> Selection {
    Selection { links, ..Selection::default() }
}

fn one_file_system() -> Selection {
    Selection { mounts: Mounts::LeaveEmpty, ..Selection::default() }
}

/// Copies, and returns the books and the paths of what failed with its reasons.
fn copy(request: Request) -> (Summary, BTreeMap<PathBuf, String>) {
    let failures = Arc::new(Mutex::new(BTreeMap::new()));
    let sink = Arc::clone(&failures);
    let running = Plan::new(request).unwrap().start(move |event| {
        if let Event::Failed(error) = event {
            sink.lock().unwrap().insert(error.path.clone(), format!("{}: {}", error.action, error.cause));
        }
    });
    let summary = running.unwrap().wait_timeout(WATCHDOG).expect("the copy ends within the watchdog's time");
    assert_eq!(summary.broken, None);
    let n_done = summary.n_copied + summary.n_unchanged + summary.n_skipped + summary.n_failed;
    assert_eq!(summary.n_found, n_done, "{summary:?}");
    let failures = std::mem::take(&mut *failures.lock().unwrap());
    (summary, failures)
}

/// Every kind of link that C-14 names, and what they point to.
fn grow_links(scratch: &Scratch) -> PathBuf {
    let source = scratch.folder("source");
    scratch.file("outside");
    scratch.file("source/file");
    scratch.file("source/folder/inner");
    symlink("file", source.join("to file")).unwrap();
    symlink("folder", source.join("to folder")).unwrap();
    symlink(scratch.path("outside"), source.join("absolute")).unwrap();
    symlink("../outside", source.join("escaping")).unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    symlink("round", source.join("round")).unwrap();
    symlink("..", source.join("folder/up")).unwrap();
    symlink("x".repeat(4095), source.join("long")).unwrap();
    source
}

#[test]
fn c_14_links_are_copied_as_links_and_never_followed() {
    let scratch = Scratch::new();
    let source = grow_links(&scratch);
    let (summary, failures) =
        copy(selecting(std::slice::from_ref(&source), &scratch.path("copy"), Selection::default()));
    assert_eq!((failures, summary.n_symlinks), (BTreeMap::new(), 8));
    for name in ["to file", "to folder", "absolute", "escaping", "dangling", "round", "folder/up", "long"] {
        let copied = fs::read_link(scratch.path("copy").join(name)).unwrap();
        assert_eq!(copied, fs::read_link(source.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn c_14_followed_links_become_what_they_point_to_and_the_others_are_named() {
    let scratch = Scratch::new();
    let source = grow_links(&scratch);
    let (summary, failures) =
        copy(selecting(std::slice::from_ref(&source), &scratch.path("copy"), with_links(Links::Follow)));
    let copied = scratch.path("copy");
    assert_eq!(summary.n_symlinks, 0);
    for (name, contents) in [
        ("to file", "source/file"),
        ("to folder/inner", "source/folder/inner"),
        ("absolute", "outside"),
        ("escaping", "outside"),
    ] {
        assert_eq!(fs::read_to_string(copied.join(name)).unwrap(), contents, "{name}");
        assert!(!copied.join(name).is_symlink());
    }
    let expected = [
        ("dangling", "open: No such file or directory (os error 2)"),
        ("folder/up", "open: it leads back to a folder above it"),
        ("long", "open: File name too long (os error 36)"),
        ("round", "open: Too many levels of symbolic links (os error 40)"),
        ("to folder/up", "open: it leads back to a folder above it"),
    ];
    let expected = expected.map(|(name, reason)| (source.join(name), reason.to_owned()));
    assert_eq!(failures, BTreeMap::from(expected));
    for name in ["dangling", "folder/up", "long", "round"] {
        assert!(copied.join(name).symlink_metadata().is_err(), "{name}");
    }
}

#[test]
fn a_second_run_with_followed_links_finds_everything_unchanged() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    scratch.file("source/file");
    scratch.file("source/folder/inner");
    symlink("file", source.join("to file")).unwrap();
    symlink("folder", source.join("to folder")).unwrap();
    run(Command::new("mkfifo").arg(source.join("fifo")));
    symlink("fifo", source.join("to fifo")).unwrap();
    let request = || Request {
        target: Target::Exactly(scratch.path("copy")),
        ..selecting(std::slice::from_ref(&source), &scratch.path("copy"), with_links(Links::Follow))
    };
    let (first, failures) = copy(request());
    assert_eq!((failures, first.n_copied), (BTreeMap::new(), first.n_found));
    assert!(fs::symlink_metadata(scratch.path("copy/to fifo")).unwrap().file_type().is_fifo());
    let (second, _) = copy(request());
    assert_eq!((second.n_unchanged, second.n_copied), (first.n_found, 0));
}

#[test]
fn followed_links_into_the_copy_are_named_and_do_not_go_on_for_ever() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    scratch.folder("source/a");
    scratch.folder("source/b");
    scratch.folder("copy/a");
    scratch.folder("copy/b");
    // Each would be copied into what the other reads.
    symlink(scratch.path("copy/b"), source.join("a/other")).unwrap();
    symlink(scratch.path("copy/a"), source.join("b/other")).unwrap();
    symlink(scratch.path("copy"), source.join("all")).unwrap();
    let target = Target::Exactly(scratch.path("copy"));
    let (summary, failures) =
        copy(Request { target, ..selecting(std::slice::from_ref(&source), Path::new(""), with_links(Links::Follow)) });
    let expected = ["a/other", "b/other"].map(|name| (source.join(name), "open: it leads into the copy".to_owned()));
    assert_eq!(failures, BTreeMap::from(expected));
    assert_eq!(summary.n_skipped, 1, "the copy itself is left out as ever");
}

#[test]
fn names_of_one_file_stay_one_file_also_through_followed_links() {
    let scratch = Scratch::new();
    let source = scratch.folder("source");
    scratch.file("source/1");
    fs::hard_link(source.join("1"), source.join("2")).unwrap();
    for name in ["3", "4", "5"] {
        symlink("1", source.join(name)).unwrap();
    }
    copy(selecting(&[source], &scratch.path("copy"), with_links(Links::Follow)));
    let inode = |name: &str| fs::symlink_metadata(scratch.path("copy").join(name)).unwrap().ino();
    for name in ["2", "3", "4", "5"] {
        assert_eq!(inode(name), inode("1"), "{name}");
    }
}

#[test]
fn only_links_that_are_sources_are_followed_where_that_is_asked_for() {
    let scratch = Scratch::new();
    scratch.file("real/file");
    symlink("file", scratch.path("real/inner link")).unwrap();
    symlink("real", scratch.path("to folder")).unwrap();
    symlink("real/file", scratch.path("to file")).unwrap();
    let destination = scratch.folder("copy");
    let sources = [scratch.path("to folder"), scratch.path("to file")];
    let (_, failures) = copy(selecting(&sources, &destination, with_links(Links::FollowSources)));
    assert_eq!(failures, BTreeMap::new());
    assert!(!destination.join("to folder").is_symlink() && !destination.join("to file").is_symlink());
    assert_eq!(fs::read_to_string(destination.join("to folder/file")).unwrap(), "real/file");
    assert_eq!(fs::read_to_string(destination.join("to file")).unwrap(), "real/file");
    assert_eq!(fs::read_link(destination.join("to folder/inner link")).unwrap(), Path::new("file"));
    symlink("nowhere", scratch.path("dangling")).unwrap();
    for links in [Links::FollowSources, Links::Follow] {
        let planned = Plan::new(selecting(&[scratch.path("dangling")], &destination, with_links(links)));
        assert!(matches!(planned, Err(Refusal::Source { .. })), "{planned:?}");
    }
}

/// A folder with a mount over a folder that is not empty, and a bind mount of a neighbour on the same file system.
fn grow_mounts(scratch: &Scratch) -> (PathBuf, [Mount; 2]) {
    let source = scratch.folder("source");
    scratch.file("source/plain/file");
    scratch.file("source/mounted/shadowed");
    scratch.folder("source/bound");
    let mount = Mount::tmpfs(&scratch.path("source/mounted"), "size=1m,mode=0750");
    scratch.file("source/mounted/deep/below");
    let bound = Mount::bind(&scratch.path("source/plain"), &scratch.path("source/bound"));
    (source, [mount, bound])
}

#[test]
fn c_33_a_mount_is_copied_with_what_is_mounted_and_never_with_what_it_covers() {
    need_root();
    let scratch = Scratch::new();
    let (source, _mounts) = grow_mounts(&scratch);
    let (_, failures) = copy(selecting(&[source], &scratch.path("copy"), Selection::default()));
    assert_eq!(failures, BTreeMap::new());
    assert_eq!(fs::read_to_string(scratch.path("copy/mounted/deep/below")).unwrap(), "source/mounted/deep/below");
    assert!(!scratch.path("copy/mounted/shadowed").exists());
    assert!(scratch.path("copy/bound/file").exists());
}

#[test]
fn c_33_on_one_file_system_a_mount_becomes_an_empty_folder_as_with_cp_and_rsync() {
    need_root();
    let scratch = Scratch::new();
    let (source, _mounts) = grow_mounts(&scratch);
    // rsync compares times of folders by the second.
    run(Command::new("find").arg(&source).args(["-exec", "touch", "-d", "2001-02-03", "{}", ";"]));
    let (summary, failures) = copy(selecting(std::slice::from_ref(&source), &scratch.path("copy"), one_file_system()));
    assert_eq!(failures, BTreeMap::new());
    // The source, two folders with a file each, and the mount.
    assert_eq!((summary.n_found, summary.n_directories), (6, 4));
    let mounted = scratch.path("copy/mounted");
    assert_eq!(fs::read_dir(&mounted).unwrap().count(), 0);
    assert_eq!(fs::metadata(&mounted).unwrap().permissions().mode() & 0o7777, 0o750);
    // Device numbers are compared, so a bind mount within the file system is a folder like any other.
    assert!(scratch.path("copy/bound/file").exists());
    for (program, mut command) in [("cp", Command::new("cp")), ("rsync", Command::new("rsync"))] {
        let theirs = scratch.folder(program);
        run(command.arg("-ax").arg(&source).arg(&theirs));
        let differences = torture::tree::differences(&theirs.join("source"), &scratch.path("copy")).unwrap();
        assert!(differences.is_empty(), "{program}: {}", differences.join("\n"));
    }
}

#[test]
fn c_33_a_source_that_is_a_mount_itself_is_copied_on_one_file_system() {
    need_root();
    let scratch = Scratch::new();
    let (_, _mounts) = grow_mounts(&scratch);
    let mounted = scratch.path("source/mounted");
    for source in [mounted.clone(), mounted.join(".")] {
        let destination = scratch.folder("copies").join(format!("{}", source.as_os_str().len()));
        let (_, failures) = copy(selecting(&[source], &destination, one_file_system()));
        assert_eq!(failures, BTreeMap::new());
        assert!(destination.join("deep/below").exists());
    }
}

#[test]
fn c_42_a_subvolume_is_another_file_system_and_its_files_link_among_each_other_only() {
    need_root();
    let scratch = Scratch::new();
    let root = scratch.folder("btrfs");
    let _mount = Mount::btrfs(&scratch.path("image"), &root);
    run(Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(root.join("sub")));
    // Inode numbers begin anew in each subvolume, so these two files have the same one.
    for folder in [root.clone(), root.join("sub")] {
        fs::write(folder.join("file"), folder.as_os_str().as_encoded_bytes()).unwrap();
        fs::hard_link(folder.join("file"), folder.join("again")).unwrap();
    }
    let (summary, failures) = copy(selecting(&[root.join(".")], &scratch.path("whole"), Selection::default()));
    assert_eq!((failures, summary.n_hard_links), (BTreeMap::new(), 2));
    for folder in ["", "sub"] {
        let copied = scratch.path("whole").join(folder);
        let contents = fs::read(copied.join("file")).unwrap();
        assert_eq!(contents, root.join(folder).components().as_path().as_os_str().as_encoded_bytes());
        let inode = |name: &str| fs::metadata(copied.join(name)).unwrap().ino();
        assert_eq!(inode("file"), inode("again"));
    }
    let (summary, _) = copy(selecting(&[root.join(".")], &scratch.path("one"), one_file_system()));
    assert_eq!(summary.n_found, 4);
    assert_eq!(fs::read_dir(scratch.path("one/sub")).unwrap().count(), 0);
}

#[test]
fn c_42_an_overlay_is_one_file_system_whatever_its_layers_are() {
    need_root();
    let scratch = Scratch::new();
    let _base = Mount::tmpfs(&scratch.folder("layers"), "size=4m");
    for name in ["layers/lower/folder/below", "layers/upper/folder/above"] {
        scratch.file(name);
    }
    fs::hard_link(scratch.path("layers/lower/folder/below"), scratch.path("layers/lower/again")).unwrap();
    let source = scratch.folder("source");
    let layer = |name: &str| scratch.folder(format!("layers/{name}")).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", layer("lower"), layer("upper"), layer("work"));
    let _overlay = Mount::of("overlay", &options, Path::new("overlay"), &source);
    let (_, failures) = copy(selecting(std::slice::from_ref(&source), &scratch.path("copy"), one_file_system()));
    assert_eq!(failures, BTreeMap::new());
    let differences = torture::tree::differences(&source, &scratch.path("copy")).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn c_30_small_files_that_the_kernel_makes_up_are_right() {
    let scratch = Scratch::new();
    let made_up = [
        "/proc/sys/kernel/osrelease",
        "/proc/filesystems",
        "/proc/sys/vm/overcommit_memory",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ];
    let sources = made_up.map(PathBuf::from);
    let destination = scratch.folder("copy");
    let (summary, failures) = copy(selecting(&sources, &destination, Selection::default()));
    assert_eq!((failures, summary.n_files), (BTreeMap::new(), 4));
    for source in sources {
        let copied = destination.join(source.file_name().unwrap());
        assert_eq!(fs::read(copied).unwrap(), fs::read(&source).unwrap(), "{source:?}");
    }
}

#[test]
fn c_30_files_without_an_end_are_named_and_hold_nobody_up() {
    need_root();
    let scratch = Scratch::new();
    for sandbox in [Sandbox::Off, Sandbox::Auto, Sandbox::Require] {
        // The kernel's log has no end, and a confined worker may not even open it.
        let of_log = match sandbox {
            Sandbox::Off => "read: Resource temporarily unavailable (os error 11)",
            _ => "open: Operation not permitted (os error 1)",
        };
        let of_map = "read: the kernel makes it up without an end";
        for (source, expected) in [("/proc/kmsg", of_log), ("/proc/self/pagemap", of_map)] {
            let sources = [source, "/proc/filesystems"].map(PathBuf::from);
            let destination = scratch.folder("copy");
            let request = Request { sandbox, ..selecting(&sources, &destination, Selection::default()) };
            let (summary, failures) = copy(request);
            assert_eq!(failures, BTreeMap::from([(sources[0].clone(), expected.to_owned())]), "{sandbox:?}");
            assert_eq!((summary.n_failed, summary.n_copied), (1, 1), "{sandbox:?}");
            let names: Vec<_> = fs::read_dir(&destination).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["filesystems"], "{sandbox:?}");
            fs::remove_dir_all(destination).unwrap();
        }
    }
}

/// Some of what only root may read of other processes a confined worker may not, and SECURITY.md says so: it is named, and nothing
/// is there that could be taken for it.
#[test]
fn c_30_what_the_kernel_tells_of_other_processes_is_read_without_a_jail_and_named_with_one() {
    need_root();
    let scratch = Scratch::new();
    let source = PathBuf::from(format!("/proc/{}/io", std::process::id()));
    for sandbox in [Sandbox::Off, Sandbox::Auto, Sandbox::Require] {
        let destination = scratch.path(format!("{sandbox:?}"));
        let request = selecting(std::slice::from_ref(&source), &destination, Selection::default());
        let (_, failures) = copy(Request { sandbox, ..request });
        if sandbox == Sandbox::Off {
            assert_eq!(failures, BTreeMap::new());
            assert!(fs::read_to_string(destination).unwrap().starts_with("rchar: "));
        } else {
            let expected = "read: Permission denied (os error 13)".to_owned();
            assert_eq!(failures, BTreeMap::from([(source.clone(), expected)]), "{sandbox:?}");
            assert!(!destination.exists());
        }
    }
}

#[test]
fn c_30_trees_that_the_kernel_makes_up_come_to_an_end() {
    need_root();
    let scratch = Scratch::new();
    let mut without_threads = one_file_system();
    for pattern in [b"/task/".as_slice(), b"pagemap"] {
        without_threads.rules.add(Choice::Exclude, pattern).unwrap();
    }
    for (source, name) in [("/proc/self/.", "status"), ("/sys/kernel/mm/.", "transparent_hugepage/enabled")] {
        let destination = scratch.folder("copies").join(name.len().to_string());
        let (summary, _) = copy(selecting(&[source.into()], &destination, without_threads.clone()));
        assert!(summary.n_copied > 10, "{summary:?}");
        assert!(fs::metadata(destination.join(name)).unwrap().len() > 0);
    }
}
