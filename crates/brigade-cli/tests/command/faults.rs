//! Errors of the kernel in the middle of a copy: what the command then says and does must be true.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use torture::faultline::Filter;
use torture::faultline::campaign::{Options, campaign};
use torture::faultline::{Act, Answer, Asked, Ended, Role, Rule, When, calls, run, run_with};
use torture::mounts::{Mount, need_root};
use torture::random::Random;
use torture::tree::differences;

use crate::support::Scene;

const LIMIT: Duration = Duration::from_secs(60);

fn brigade(source: &Path, destination: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_brigade"));
    command.args(["copy", "-T", "-j1", "--lang=en"]).arg(source).arg(destination);
    command
}

/// A scene as the kernel shows its paths, with a file of this many bytes.
pub fn scene(n_bytes: usize) -> Scene {
    let scene = Scene::new();
    scene.file("source/folder/file", "");
    let contents: Vec<u8> = (0..n_bytes).map(|idx| (idx / 5) as u8).collect();
    std::fs::write(scene.path("source/folder/file"), contents).unwrap();
    scene.file("source/other", "other");
    scene
}

pub fn copied_under(scene: &Scene, rules: Vec<Rule>) -> Ended {
    let ended = run(brigade(&scene.path("source"), &scene.path("copy")), rules, LIMIT).unwrap();
    assert!(!ended.is_hung, "{ended:?}");
    ended
}

pub fn error_of(ended: &Ended) -> String {
    String::from_utf8(ended.output.stderr.clone()).unwrap()
}

#[track_caller]
pub fn assert_same_trees(scene: &Scene, ended: &Ended) {
    assert_eq!(ended.output.status.code(), Some(0), "{}", error_of(ended));
    assert_eq!(differences(&scene.path("source"), &scene.path("copy")).unwrap(), [""; 0]);
}

/// Everything is copied but this entry, of which nothing is left, and which is named with what was tried and why it failed.
#[track_caller]
pub fn assert_only_lacks(scene: &Scene, ended: &Ended, lacking: &str, told: &str) {
    let error = error_of(ended);
    assert_eq!(ended.output.status.code(), Some(1), "{error}");
    assert!(error.contains(told), "{error}");
    let found = differences(&scene.path("source"), &scene.path("copy")).unwrap();
    assert_eq!(found, [format!("{lacking:?}: is missing in the copy")], "{error}");
}

#[test]
fn errors_injected_into_every_call_are_told_as_they_are() {
    let scene = Scene::new();
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(Random::fresh_seed);
    let program = env!("CARGO_BIN_EXE_brigade").into();
    let options = Options { program, seed, n_points: 60, only: None };
    let report = campaign(&options, &scene.path(""), |_| {}).unwrap();
    assert!(report.findings.is_empty(), "BRIGADE_SEED={seed}: {:#?}", report.findings);
    assert!(report.n_injected > 30, "BRIGADE_SEED={seed}: {report:?}");
}

#[test]
fn an_error_that_comes_only_when_a_file_is_closed_fails_it() {
    for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT] {
        let scene = scene(10);
        let rule = Rule::of("close", Act::Fail(errno)).by(Role::Worker).below(scene.path("copy/folder/file"));
        let ended = copied_under(&scene, vec![rule]);
        assert_eq!(ended.n_done[0], 1);
        assert_only_lacks(&scene, &ended, "folder/file", "copy/folder/file': ");
    }
}

#[test]
fn calls_that_are_interrupted_each_time_they_are_made_first_change_nothing() {
    for errno in [Errno::INTR, Errno::AGAIN] {
        let scene = scene(600_000);
        let names = [
            "openat",
            "newfstatat",
            "fstat",
            "statx",
            "read",
            "pread64",
            "pwrite64",
            "copy_file_range",
            "ioctl",
            "getdents64",
            "mkdirat",
            "fchmod",
            "fchown",
            "utimensat",
            "flistxattr",
            "lseek",
            "ftruncate",
            "renameat",
        ];
        let rules = names.iter().flat_map(|name| {
            ["source", "copy"].map(|tree| {
                Rule::of(name, Act::Fail(errno)).by(Role::Worker).below(scene.path(tree)).when(When::EveryOther)
            })
        });
        let ended = copied_under(&scene, rules.collect());
        assert!(ended.n_done.iter().sum::<u64>() > 20, "{ended:?}");
        assert_same_trees(&scene, &ended);
    }
}

#[test]
fn a_byte_or_a_name_at_a_time_makes_the_same_tree() {
    let scene = scene(300);
    for name in ["read", "pwrite64", "getdents64"] {
        let rule = Rule::of(name, Act::Part).by(Role::Worker).below(scene.path(""));
        let ended = copied_under(&scene, vec![rule]);
        assert!(ended.n_done[0] > 5, "{name}: {ended:?}");
        assert_same_trees(&scene, &ended);
        std::fs::remove_dir_all(scene.path("copy")).unwrap();
    }
}

#[test]
fn a_byte_at_a_time_of_a_large_file_makes_the_same_file() {
    let scene = scene(270_000);
    let file = scene.path("source/folder/file");
    let bytes = || Rule::of_each(["copy_file_range", "pread64"], Act::Part).by(Role::Worker).below(&file);
    let rules = vec![bytes().when(When::EveryOther)];
    let ended = copied_under(&scene, rules);
    assert!(ended.n_done[0] > 0, "{ended:?}");
    assert_same_trees(&scene, &ended);
    std::fs::remove_dir_all(scene.path("copy")).unwrap();

    // What the kernel copied before it gave up is not copied again.
    let gives_up = Rule::of("copy_file_range", Act::Nothing).by(Role::Worker).below(&file).when(When::From(100));
    let ended = copied_under(&scene, vec![Rule::of("copy_file_range", Act::Part).when(When::Nth(1)), gives_up]);
    assert_same_trees(&scene, &ended);
}

#[test]
fn an_end_that_comes_too_early_is_no_success() {
    // Once: the file is read again from its beginning, or in another way. Each time: it fails.
    for name in ["read", "copy_file_range"] {
        let scene = scene(if name == "read" { 3_000 } else { 600_000 });
        let early =
            |when| vec![Rule::of(name, Act::Nothing).by(Role::Worker).below(scene.path("source/folder")).when(when)];
        let ended = copied_under(&scene, early(When::Nth(1)));
        assert_eq!(ended.n_done[0], 1, "{ended:?}");
        assert_same_trees(&scene, &ended);
        std::fs::remove_dir_all(scene.path("copy")).unwrap();
    }
    let scene = scene(3_000);
    let ended = copied_under(
        &scene,
        vec![Rule::of("read", Act::Nothing).by(Role::Worker).below(scene.path("source/folder/file"))],
    );
    assert_only_lacks(&scene, &ended, "folder/file", "it changed while it was being copied");
}

#[test]
fn an_end_that_comes_too_early_is_no_success_for_a_file_without_blocks_either() {
    // Short files of some disks have no blocks, and so have all files of some file systems in user space.
    for (n_bytes, calls) in [(3_000, &["read"][..]), (600_000, &["copy_file_range", "pread64"])] {
        let scene = scene(0);
        let file = scene.path("source/folder/file");
        std::fs::File::options().write(true).open(&file).unwrap().set_len(n_bytes).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().blocks(), 0);
        let on_file = |name: &str, act| Rule::of(name, act).by(Role::Worker).below(&file);
        // Nobody can say that it is all hole.
        let no_holes = on_file("lseek", Act::Fail(Errno::INVAL)).when(When::EveryOther);
        let ends = calls.iter().map(|name| on_file(name, Act::Nothing));
        let ended = copied_under(&scene, ends.chain([no_holes]).collect());
        assert!(ended.n_done.iter().all(|&n_done| n_done > 0), "{ended:?}");
        assert_only_lacks(&scene, &ended, "folder/file", "it changed while it was being copied");
    }
}

#[test]
fn interrupted_listings_delete_what_is_extra_and_nothing_else() {
    for errno in [Errno::INTR, Errno::AGAIN] {
        let scene = scene(10);
        assert_same_trees(&scene, &copied_under(&scene, Vec::new()));
        scene.file("copy/folder/extra", "extra");
        let mut command = brigade(&scene.path("source"), &scene.path("copy"));
        command.arg("--delete");
        let rules = ["source", "copy"].map(|tree| {
            let listing = Rule::of("getdents64", Act::Fail(errno)).by(Role::Worker);
            listing.below(scene.path(tree)).when(When::EveryOther)
        });
        let ended = run(command, rules.into(), LIMIT).unwrap();
        assert!(!ended.is_hung && ended.n_done.iter().all(|&n_done| n_done >= 2), "{ended:?}");
        assert_same_trees(&scene, &ended);
    }
}

#[test]
fn interrupted_sleeps_and_wakes_hang_nobody() {
    let scene = scene(600_000);
    let n_sleeps = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&n_sleeps);
    let sleep = move |asked: &Asked| {
        // FUTEX_WAIT and FUTEX_WAIT_BITSET. To wake is never interrupted.
        let is_sleep = matches!(asked.call.arguments[1] & 0x7f, 0 | 9);
        let is_interrupted = is_sleep && counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if is_interrupted { Answer::Fail(Errno::INTR.raw_os_error()) } else { Answer::GoOn }
    };
    let rules = vec![
        Rule::of("futex", Act::Hook(Box::new(sleep))),
        Rule::of("write", Act::Fail(Errno::INTR)).below("anon_inode:[eventfd]").when(When::EveryOther),
    ];
    let ended = copied_under(&scene, rules);
    assert!(n_sleeps.load(Ordering::Relaxed) > 0 && ended.n_done[1] > 0, "{ended:?}");
    assert_same_trees(&scene, &ended);
}

#[test]
fn a_file_that_is_too_large_for_the_kernels_own_copy_is_written_and_for_the_destination_is_named() {
    let scene = scene(20 << 20);
    let range = Rule::of("copy_file_range", Act::Fail(Errno::FBIG)).by(Role::Worker).when(When::Nth(2));
    let ended = copied_under(&scene, vec![range]);
    assert_eq!(ended.n_done, [1]);
    assert_same_trees(&scene, &ended);
    std::fs::remove_dir_all(scene.path("copy")).unwrap();

    let file = scene.path("copy/folder/file");
    let range = Rule::of("copy_file_range", Act::Fail(Errno::FBIG)).by(Role::Worker).when(When::From(2));
    let write = Rule::of("pwrite64", Act::Fail(Errno::FBIG)).by(Role::Worker).below(file);
    let ended = copied_under(&scene, vec![range, write]);
    assert_only_lacks(&scene, &ended, "folder/file", "File too large (os error 27)");
}

#[test]
fn a_folder_whose_listing_fails_half_way_is_named_and_the_rest_copied() {
    let scene = scene(10);
    for idx in 0..20 {
        scene.file(format!("source/folder/{idx}"), "x");
    }
    let folder = scene.path("source/folder");
    let halves = [
        Rule::of("getdents64", Act::Fail(Errno::IO)).by(Role::Worker).below(&folder).when(When::Nth(10)),
        Rule::of("getdents64", Act::Part).by(Role::Worker).below(&folder),
    ];
    let ended = copied_under(&scene, halves.into());
    let error = error_of(&ended);
    assert_eq!(ended.output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot read folder") && error.contains("source/folder': Input/output error"), "{error}");
    // Nine answers held a name each, two of them "." and "..".
    assert_eq!(std::fs::read_dir(scene.path("copy/folder")).unwrap().count(), 7);
    assert!(scene.path("copy/other").exists());
}

#[test]
fn without_the_calls_that_came_after_linux_5_10_the_tree_is_the_same() {
    let every = Filter::default().refuse_from(calls::FIRST_AFTER_5_10, Errno::NOSYS.raw_os_error() as u16);
    // One at a time: a call may stand in for another.
    let each = (calls::FIRST_AFTER_5_10..=calls::FIRST_AFTER_5_10 + 30)
        .map(|call| Filter::default().refuse(call, Errno::NOSYS.raw_os_error() as u16));
    for filter in each.chain([every]) {
        let scene = scene(600_000);
        let command = brigade(&scene.path("source"), &scene.path("copy"));
        let ended = run_with(filter, command, Vec::new(), LIMIT).unwrap();
        assert!(!ended.is_hung, "{ended:?}");
        assert_same_trees(&scene, &ended);
    }
}

#[test]
fn a_reflink_that_fails_is_an_error_and_one_that_cannot_be_is_none() {
    for (errno, is_error) in [(Errno::IO, true), (Errno::NOMEM, true), (Errno::OPNOTSUPP, false), (Errno::XDEV, false)]
    {
        let scene = scene(600_000);
        let rule = Rule::of("ioctl", Act::Fail(errno)).by(Role::Worker).below(scene.path("copy")).when(When::Nth(1));
        let ended = copied_under(&scene, vec![rule]);
        assert_eq!(ended.n_done[0], 1, "{ended:?}");
        if is_error {
            assert_only_lacks(&scene, &ended, "other", "copy/other': ");
        } else {
            assert_same_trees(&scene, &ended);
        }
    }
}

#[test]
fn a_reflink_that_works_and_then_cannot_be_leaves_the_same_tree() {
    need_root();
    let scene = Scene::new();
    std::fs::create_dir(scene.path("at")).unwrap();
    let mount = Mount::btrfs(&scene.path("image"), &scene.path("at"));
    let (source, copy) = (mount.at().join("source"), mount.at().join("copy"));
    std::fs::create_dir(&source).unwrap();
    for idx in 0..20_u8 {
        std::fs::write(source.join(idx.to_string()), vec![idx; 300_000]).unwrap();
    }
    for errno in [Errno::OPNOTSUPP, Errno::XDEV, Errno::INVAL] {
        let refused = Rule::of("ioctl", Act::Fail(errno)).by(Role::Worker).below(&copy).when(When::From(6));
        let ended = run(brigade(&source, &copy), vec![refused], LIMIT).unwrap();
        assert_eq!((ended.n_met[0], ended.is_hung), (20, false), "{ended:?}");
        assert_eq!(ended.output.status.code(), Some(0), "{}", error_of(&ended));
        assert_eq!(differences(&source, &copy).unwrap(), [""; 0]);
        std::fs::remove_dir_all(&copy).unwrap();
    }
}
