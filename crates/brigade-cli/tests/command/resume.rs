//! Going on with a copy that was cut off: where it goes, what is copied again, and records that are wrong.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;
use torture::facts::wait_until;
use torture::faultline::cutoff::{Copier, Options, Report, campaign};
use torture::faultline::{Act, Answer, Role, Rule, When, run};
use torture::mounts::{Mount, need_root};

use crate::support::{Scene, ended};

/// Kills the whole copy when a worker is about to make the n-th file below a folder.
fn cut_off(scene: &Scene, arguments: &[&str], below: &str, n_files: u64) {
    let below = scene.path(below).canonicalize().unwrap_or_else(|_| scene.path("").canonicalize().unwrap().join(below));
    let rule =
        Rule::of("fchmod", Act::SignalParent(Signal::KILL)).by(Role::Worker).below(below).when(When::Nth(n_files));
    let mut command = scene.copy(["-j1"]);
    command.args(arguments);
    let ended = run(command, vec![rule], Duration::from_secs(30)).unwrap();
    assert_eq!((ended.n_done[0], ended.output.status.signal()), (1, Some(Signal::KILL.as_raw())), "{ended:?}");
    assert_eq!(scene.records().len(), 1);
}

/// A copy of `a` to `b` that was killed when about so many files were there.
fn cut_off_copy(n_files: u64) -> Scene {
    let scene = Scene::new();
    many_old_files(&scene);
    cut_off(&scene, &["a", "b"], "b", n_files);
    scene
}

fn many_old_files(scene: &Scene) {
    scene.many_files("a", 300);
    for folder in fs::read_dir(scene.path("a")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            File::open(file.unwrap().path()).unwrap().set_modified(old).unwrap();
        }
    }
}

fn assert_copied(scene: &Scene, source: &str, copy: &str) {
    let differences = torture::tree::differences(&scene.path(source), &scene.path(copy)).unwrap();
    assert_eq!(differences, [""; 0]);
}

#[test]
fn the_same_command_goes_on_where_it_was_cut_off() {
    let scene = cut_off_copy(150);
    let run = scene.run(["-v", "a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert!(run.stderr.starts_with("going on with 'b'\n") && run.stderr.contains(" unchanged"), "{}", run.stderr);
    assert_copied(&scene, "a", "b");
    assert!(!scene.path("b/a").exists());
    // It is whole now, and the same words mean what they mean for cp.
    assert_eq!(scene.records(), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(scene.run(["a", "b"]).status.code(), Some(0));
    assert_copied(&scene, "a", "b/a");
}

#[test]
fn a_copy_beside_its_source_goes_on_in_either_language() {
    for first in ["en", "zh-CN"] {
        let scene = Scene::new();
        many_old_files(&scene);
        let (made, other) = if first == "en" { ("a_copy", "a_复件") } else { ("a_复件", "a_copy") };
        let lang = format!("--lang={first}");
        cut_off(&scene, &[&lang, "a"], made, 100);
        let run = scene.run(["--lang=zh-CN", "a/"]);
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert_copied(&scene, "a", made);
        assert!(!scene.path(other).exists() && !scene.path("a_copy_2").exists() && scene.records().is_empty());
        // The next is a copy of its own.
        assert_eq!(scene.run(["--lang=en", "a"]).status.code(), Some(0));
        assert_copied(&scene, "a", if first == "en" { "a_copy_2" } else { "a_copy" });
    }
}

#[test]
fn no_resume_neither_looks_nor_records() {
    let scene = cut_off_copy(100);
    let run = scene.run(["-v", "--no-resume", "a", "b"]);
    assert!(run.status.success() && !run.stderr.contains("going on"), "{}", run.stderr);
    assert_copied(&scene, "a", "b/a");
    assert_eq!(scene.records().len(), 1);
    let record = scene.records().remove(0);
    fs::remove_file(&record).unwrap();
    fs::remove_dir(record.parent().unwrap()).unwrap();
    assert!(scene.run(["--no-resume", "a", "c"]).status.success());
    assert!(!record.parent().unwrap().exists(), "nothing is made for records");
}

#[test]
fn the_command_that_is_printed_settles_the_record_too() {
    let scene = Scene::new();
    many_old_files(&scene);
    cut_off(&scene, &["a"], "a_copy", 100);
    assert!(scene.run(["-T", "a", "a_copy"]).status.success());
    assert_copied(&scene, "a", "a_copy");
    assert!(scene.records().is_empty());
}

/// size and time prove nothing of a file that was changed while the first run was under way.
#[test]
fn a_file_that_was_changed_meanwhile_is_copied_again_although_its_time_was_set_back() {
    let scene = cut_off_copy(300);
    let changed = scene.path("a/001/file 123");
    let modified = fs::metadata(&changed).unwrap().modified().unwrap();
    fs::write(&changed, "CONTENTS\n").unwrap();
    File::open(&changed).unwrap().set_modified(modified).unwrap();
    let is_there = fs::read(scene.path("b/001/file 123")).is_ok();
    let run = scene.run(["a", "b"]);
    assert!(run.status.success() && is_there, "{}", run.stderr);
    assert_copied(&scene, "a", "b");
    // Control: nothing but the record of a run that was cut off tells it from a file that was not changed.
    fs::write(&changed, "Contents\n").unwrap();
    File::open(&changed).unwrap().set_modified(modified).unwrap();
    assert!(scene.run(["-T", "a", "b"]).status.success());
    assert_eq!(fs::read(scene.path("b/001/file 123")).unwrap(), b"CONTENTS\n");
}

#[test]
fn a_folder_that_somebody_made_since_is_copied_into() {
    let scene = cut_off_copy(100);
    fs::remove_dir_all(scene.path("b")).unwrap();
    fs::create_dir(scene.path("b")).unwrap();
    assert!(scene.run(["a", "b"]).status.success());
    assert_copied(&scene, "a", "b/a");
}

#[test]
fn another_source_in_the_place_of_the_first_is_another_copy() {
    let scene = cut_off_copy(100);
    fs::rename(scene.path("a"), scene.path("old a")).unwrap();
    scene.file("a/only", "x");
    assert!(scene.run(["a", "b"]).status.success());
    assert_copied(&scene, "a", "b/a");
}

/// Two workers may take the names of one file in another order than before the cut. Then that which is to be a link was there as a
/// file of its own, was kept as if somebody else had made it, and the link was lost.
#[test]
fn names_of_one_file_that_the_run_before_has_copied_apart_are_joined_under_no_clobber() {
    let scene = Scene::new();
    many_old_files(&scene);
    fs::hard_link(scene.path("a/000/file 1"), scene.path("a/000/further")).unwrap();
    cut_off(&scene, &["-n", "a", "b"], "b", 150);
    for name in ["000/file 1", "000/further"] {
        let (source, copy) = (scene.path("a").join(name), scene.path("b").join(name));
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&copy);
        fs::copy(&source, &copy).unwrap();
        File::open(&copy).unwrap().set_modified(fs::metadata(&source).unwrap().modified().unwrap()).unwrap();
    }
    assert!(scene.run(["-n", "a", "b"]).status.success());
    assert_copied(&scene, "a", "b");
}

/// S-07: each of these is ignored; the copy goes where it would without any record, and is right.
#[test]
fn records_that_are_wrong_or_planted_are_ignored() {
    let scene = cut_off_copy(100);
    let record = scene.records().remove(0);
    let good = fs::read(&record).unwrap();
    let victim = scene.path("victim");
    type Planted<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let planted: [Planted<'_>; 8] = [
        (
            "flipped",
            Box::new(|| {
                let mut text = good.clone();
                text[5] ^= 1;
                fs::write(&record, text).unwrap();
            }),
        ),
        ("torn", Box::new(|| fs::write(&record, &good[..40]).unwrap())),
        ("giant", Box::new(|| File::create(&record).unwrap().set_len(1 << 40).unwrap())),
        ("a link", Box::new(|| std::os::unix::fs::symlink(&victim, &record).unwrap())),
        (
            "a FIFO",
            Box::new(|| {
                rustix::fs::mknodat(CWD, &record, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            }),
        ),
        ("a folder", Box::new(|| fs::create_dir(&record).unwrap())),
        (
            "another user's",
            Box::new(|| {
                fs::write(&record, &good).unwrap();
                std::os::unix::fs::chown(&record, Some(12345), None).unwrap();
            }),
        ),
        (
            "open to all",
            Box::new(|| {
                fs::write(&record, &good).unwrap();
                fs::set_permissions(&record, fs::Permissions::from_mode(0o666)).unwrap();
            }),
        ),
    ];
    for (what, plant) in planted {
        let _ = fs::remove_file(&record).or_else(|_| fs::remove_dir(&record));
        let _ = fs::remove_dir_all(scene.path("b/a"));
        fs::write(&victim, "victim").unwrap();
        plant();
        let run = scene.run(["a", "b"]);
        assert_eq!(run.status.code(), Some(0), "{what}: {}", run.stderr);
        assert!(run.stderr.contains(" is ignored: it is no record"), "{what}: {}", run.stderr);
        assert_copied(&scene, "a", "b/a");
        assert_eq!(fs::read(&victim).unwrap(), b"victim", "{what}");
    }
}

#[test]
fn a_folder_of_records_that_others_can_write_to_is_not_used() {
    let scene = cut_off_copy(100);
    let folder = scene.records()[0].parent().unwrap().to_owned();
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let run = scene.run(["a", "b"]);
    assert!(run.status.success() && run.stderr.contains(" is ignored: "), "{}", run.stderr);
    assert_copied(&scene, "a", "b/a");
}

#[test]
fn a_place_that_takes_no_records_disturbs_nothing() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    scene.file("state", "no folder");
    let in_state = |verbose: &[&str]| {
        let mut command = scene.copy([verbose, &["-T", "a", "b"]].concat());
        ended(command.env("XDG_STATE_HOME", scene.path("state")))
    };
    let told = in_state(&["-v"]);
    assert!(told.status.success() && told.stderr.contains("\nnothing is kept in "), "{}", told.stderr);
    let untold = in_state(&[]);
    assert!(untold.status.success() && untold.stderr.lines().count() == 1, "{}", untold.stderr);
}

/// Two of the same at the same time: neither takes the other's place.
#[test]
fn a_run_that_is_under_way_keeps_its_record() {
    let scene = Scene::new();
    scene.many_files("a", 2000);
    let mut first = scene.copy(["--bwlimit=256", "-q", "a"]).spawn().unwrap();
    wait_until("it has begun", || scene.path("a_copy").exists() && scene.records().len() == 1);
    assert!(scene.run(["a"]).status.success());
    assert_copied(&scene, "a", "a_copy_2");
    assert_eq!(scene.records().len(), 1);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(scene.run(["a"]).status.success());
    assert_copied(&scene, "a", "a_copy");
    assert!(scene.records().is_empty() && !scene.path("a_copy_3").exists());
}

/// Names of records say nothing of what was copied.
#[test]
fn a_record_is_small_and_has_a_name_without_meaning() {
    let scene = cut_off_copy(100);
    let record = scene.records().remove(0);
    let metadata = fs::metadata(&record).unwrap();
    assert!(metadata.mode() & 0o7777 == 0o600 && metadata.len() < 512);
    let name = Path::new(record.file_name().unwrap()).as_os_str().as_bytes().to_vec();
    assert!(name.len() == 36 && name[..32].iter().all(u8::is_ascii_hexdigit) && name.ends_with(b".run"));
}

/// Kills a process at one system call of so many, with a seed that is printed.
fn cut_everywhere(copier: Copier, every: u64, widths: Vec<u32>, folder: &Path) -> Report {
    let seed = std::env::var("BRIGADE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(torture::random::Random::fresh_seed);
    println!("BRIGADE_SEED={seed}");
    campaign(&Options { copier, seed, every, widths }, folder, |_| {}).unwrap()
}

fn brigade(words: &[&str]) -> Copier {
    Copier::Brigade(env!("CARGO_BIN_EXE_brigade").into(), words.iter().map(|&word| word.to_owned()).collect())
}

/// a process is killed at one system call after another; `cargo run -p torture --bin cutoff` does it at each.
#[test]
fn whatever_is_killed_when_the_copy_comes_out_right_and_nothing_is_left() {
    let scene = Scene::new();
    let report = cut_everywhere(brigade(&[]), 600, vec![1, 2, 8], &scene.path(""));
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.n_killed > 36, "only {} were killed", report.n_killed);
}

/// where files have no name until they are copied, and are committed in groups.
#[test]
fn whatever_is_killed_when_the_copy_to_a_disk_comes_out_right_and_nothing_is_left() {
    need_root();
    let scene = Scene::new();
    fs::create_dir(scene.path("disk")).unwrap();
    let _mount = Mount::ext4(&scene.path("image"), &scene.path("disk"));
    let report = cut_everywhere(brigade(&[]), 300, vec![2], &scene.path("disk"));
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.n_killed > 20, "only {} were killed", report.n_killed);
}

/// The red controls of both.
#[test]
fn a_copier_that_cannot_go_on_is_found_out() {
    let scene = Scene::new();
    let report = cut_everywhere(Copier::Cp, 25, vec![1], &scene.path(""));
    assert!(!report.findings.is_empty(), "cp -au mends whatever cp -a has left");
    let scene = Scene::new();
    let report = cut_everywhere(brigade(&["--no-resume"]), 300, vec![1], &scene.path(""));
    assert!(!report.findings.is_empty(), "nobody needs records");
}

const LITTER: &str = ".brigade-0123456789abcdef0123456789abcdef";

/// Where a run that was killed may have left something, also if nothing else tells of that run.
#[test]
fn what_a_killed_run_has_left_is_removed_and_nothing_else() {
    let scene = Scene::new();
    scene.file("a/inner/x", "x");
    scene.file(format!("a/inner/{LITTER}"), "the source has this one");
    for name in ["", "inner/", "only there/"] {
        scene.file(format!("b/{name}{LITTER}"), "litter");
    }
    for name in [".brigade-0123", ".brigade-0123456789abcdef0123456789abcdeX", "brigade"] {
        scene.file(format!("b/inner/{name}"), "somebody's");
    }
    std::os::unix::fs::symlink("nowhere", scene.path(format!("b/inner/{}", LITTER.replace('f', "0")))).unwrap();
    let run = scene.run(["-T", "a", "b"]);
    assert!(run.status.success(), "{}", run.stderr);
    let mut left: Vec<_> =
        crate::support::tree(&scene.path("b")).into_keys().map(|path| path.display().to_string()).collect();
    left.sort();
    let in_source = format!("inner/{LITTER}");
    let unseen = format!("only there/{LITTER}");
    let wanted = [
        "inner",
        ".brigade-0123",
        ".brigade-0123456789abcdef0123456789abcdeX",
        &in_source,
        "brigade",
        "x",
        "only there",
        &unseen,
    ];
    let is_wanted = |path: &String| wanted.iter().any(|name| path == name || path == &format!("inner/{name}"));
    assert!(left.len() == wanted.len() && left.iter().all(is_wanted), "{left:?}");
}

#[test]
fn what_the_source_has_too_is_kept_with_no_clobber_whatever_its_name() {
    let scene = Scene::new();
    scene.file(format!("a/{LITTER}"), "source");
    scene.file(format!("b/{LITTER}"), "there before");
    assert!(scene.run(["-n", "-T", "a", "b"]).status.success());
    assert_eq!(fs::read(scene.path(format!("b/{LITTER}"))).unwrap(), b"there before");
}

/// Somebody who does not show that he is there may be at it.
#[test]
fn what_is_touched_while_a_run_is_under_way_is_not_removed() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    let litter = ['0', '1', '2'].map(|digit| scene.path(format!("b/{}", LITTER.replace('f', &digit.to_string()))));
    litter.iter().for_each(|file| scene.file(file, "litter"));
    let touched = litter.clone();
    // When the first is about to be removed.
    let touch = move |_: &_| {
        touched.iter().for_each(|file| fs::write(file, "somebody is at it").unwrap());
        Answer::GoOn
    };
    let rule = Rule::of("unlinkat", Act::Hook(Box::new(touch))).by(Role::Worker).when(When::Nth(1));
    let ended = run(scene.copy(["-j1", "-T", "a", "b"]), vec![rule], Duration::from_secs(30)).unwrap();
    assert_eq!((ended.n_done[0], ended.output.status.code()), (1, Some(0)), "{ended:?}");
    assert_eq!(litter.iter().filter(|file| file.exists()).count(), 2);
}

#[test]
fn nothing_is_removed_where_another_run_is_at_work() {
    let elsewhere = Scene::new();
    elsewhere.file("other/slow", &"slowly".repeat(10_000));
    for place in ["", "b", "b/inner"] {
        let scene = Scene::new();
        scene.file("a/inner/deep/x", "x");
        let litter = format!("b/inner/deep/{LITTER}");
        scene.file(&litter, "somebody is at it");
        let mut other = scene.copy(["--bwlimit=1K", "-T"]);
        other.args([elsewhere.path("other"), scene.path(place)]).stderr(Stdio::null());
        let mut other = other.spawn().unwrap();
        wait_until("the other has begun", || scene.path(place).join("slow").exists());
        assert!(scene.run(["-T", "a", "b"]).status.success());
        assert!(scene.path(&litter).exists(), "removed although {place:?} was claimed");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(scene.run(["-T", "a", "b"]).status.success());
        assert!(!scene.path(&litter).exists(), "kept although nobody is there");
    }
}
