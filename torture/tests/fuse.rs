//! The file system that misbehaves is otherwise an honest one, and always goes away.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use rustix::io::Errno;
use torture::fuse::{Fault, FaultFs, Operation, Options, Rule, Spelling};
use torture::tree::differences;

/// A folder to be shown, and where.
struct Scene {
    _folder: tempfile::TempDir,
    behind: PathBuf,
    point: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (behind, point) = (folder.path().join("behind"), folder.path().join("point"));
        fs::create_dir(&behind).unwrap();
        fs::create_dir(&point).unwrap();
        Self { _folder: folder, behind, point }
    }

    fn mount(&self) -> FaultFs {
        self.mount_with(Options::default())
    }

    fn mount_with(&self, options: Options) -> FaultFs {
        FaultFs::mount(&self.behind, &self.point, options).unwrap()
    }
}

fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == point.to_str())
}

fn populate(folder: &Path) {
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::write(folder.join("a/file"), vec![7; 300_000]).unwrap();
    fs::set_permissions(folder.join("a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(folder.join("a/file"), folder.join("a/b/same")).unwrap();
    symlink("../nowhere", folder.join("a/link")).unwrap();
    rustix::fs::mknodat(CWD, folder.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let null = rustix::fs::makedev(1, 300);
    rustix::fs::mknodat(CWD, folder.join("device"), rustix::fs::FileType::CharacterDevice, 0o600.into(), null).unwrap();
    rustix::fs::setxattr(folder.join("a/file"), "user.key", b"value", rustix::fs::XattrFlags::empty()).unwrap();
    let long_ago = Timespec { tv_sec: -5_000_000_000, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    utimensat(CWD, folder.join("a/b/same"), &times, AtFlags::empty()).unwrap();
}

#[test]
fn what_is_written_through_it_is_behind_it() {
    let scene = Scene::new();
    let mounted = scene.mount();
    populate(&scene.point);
    assert_eq!(differences(&scene.behind, &scene.point).unwrap(), Vec::<String>::new());
    drop(mounted);
    let other = Scene::new();
    populate(&other.behind);
    let differences = differences(&other.behind, &scene.behind).unwrap();
    let is_time = |line: &&String| line.contains(": time (");
    // Only what was made last has a time of its own.
    assert_eq!(differences.iter().filter(|line| !is_time(line)).count(), 0, "{differences:#?}");
    assert!(!differences.iter().any(|line| line.contains("a/file")), "{differences:#?}");
}

#[test]
fn it_goes_away_also_when_somebody_waits_in_it_for_ever_and_the_test_panics() {
    let scene = Scene::new();
    fs::write(scene.behind.join("file"), "contents").unwrap();
    let point = scene.point.clone();
    let (told, answer) = mpsc::channel();
    let panicked = std::thread::spawn({
        let mounted = scene.mount();
        move || {
            mounted.add(Rule::new(Fault::Hang));
            let file = mounted.point().join("file");
            let reader = std::thread::spawn(move || told.send(fs::read(file).map_err(|error| error.raw_os_error())));
            while mounted.n_hung() == 0 {
                std::thread::yield_now();
            }
            assert!(reader.is_finished(), "this is to unwind past the mount");
        }
    });
    assert!(panicked.join().is_err());
    assert!(!is_mounted(&point));
    let read = answer.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn it_goes_away_while_a_file_in_it_is_open() {
    let scene = Scene::new();
    fs::write(scene.behind.join("file"), "contents").unwrap();
    let mounted = scene.mount();
    let held = fs::File::open(scene.point.join("file")).unwrap();
    drop(mounted);
    assert!(!is_mounted(&scene.point));
    assert_eq!(io::read_to_string(held).unwrap_err().raw_os_error(), Some(Errno::NOTCONN.raw_os_error()));
}

#[test]
fn an_error_strikes_only_the_operation_the_path_and_the_offset_that_were_chosen() {
    let scene = Scene::new();
    fs::create_dir(scene.behind.join("bad")).unwrap();
    for name in ["good", "bad/file"] {
        fs::write(scene.behind.join(name), vec![1; 1 << 20]).unwrap();
    }
    let mounted = scene.mount();
    mounted.add(Rule::new(Fault::Error(Errno::IO)).on(Operation::Read).at("bad").from(600_000));
    assert_eq!(fs::read(scene.point.join("good")).unwrap().len(), 1 << 20);
    let file = fs::File::open(scene.point.join("bad/file")).unwrap();
    let mut buffer = [0; 4096];
    assert_eq!(rustix::io::pread(&file, &mut buffer, 0).unwrap(), 4096);
    assert_eq!(rustix::io::pread(&file, &mut buffer, 900_000), Err(Errno::IO));
    mounted.behave();
    assert_eq!(rustix::io::pread(&file, &mut buffer, 900_000).unwrap(), 4096);
}

#[test]
fn a_listing_can_fail_half_way() {
    let scene = Scene::new();
    for number in 0..100 {
        fs::write(scene.behind.join(format!("file-{number}")), "").unwrap();
    }
    let mounted = scene.mount();
    mounted.add(Rule::new(Fault::Error(Errno::IO)).on(Operation::Readdir).from(50));
    let listed: Vec<_> = fs::read_dir(&scene.point).unwrap().collect();
    assert!(listed.iter().filter(|entry| entry.is_ok()).count() >= 40);
    assert!(listed.iter().filter(|entry| entry.is_ok()).count() <= 52);
    let last = listed.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.raw_os_error(), Some(Errno::IO.raw_os_error()));
}

#[test]
fn a_bit_is_flipped_on_the_way_out_or_on_the_way_in() {
    let scene = Scene::new();
    let zeros = vec![0; 100_000];
    fs::write(scene.behind.join("read"), &zeros).unwrap();
    let mounted = scene.mount();
    mounted.add(Rule::new(Fault::FlipBit).on(Operation::Read).at("read").from(70_000));
    mounted.add(Rule::new(Fault::FlipBit).on(Operation::Write).at("written").from(3));
    let read = fs::read(scene.point.join("read")).unwrap();
    assert_eq!((read[70_000], read.iter().map(|&byte| u32::from(byte)).sum::<u32>()), (1, 1));
    fs::write(scene.point.join("written"), &zeros).unwrap();
    let written = fs::read(scene.behind.join("written")).unwrap();
    assert_eq!((written[3], written.iter().map(|&byte| u32::from(byte)).sum::<u32>()), (1, 1));
    assert_eq!(fs::read(scene.behind.join("read")).unwrap(), zeros);
}

#[test]
fn names_that_differ_in_case_can_be_one_entry() {
    let scene = Scene::new();
    let _mounted = scene.mount_with(Options { spelling: Spelling::CaseInsensitive, ..Options::default() });
    fs::write(scene.point.join("Name"), "first").unwrap();
    let again = fs::File::create_new(scene.point.join("nAME")).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(scene.point.join("NAME")).unwrap(), "first");
    fs::remove_file(scene.point.join("name")).unwrap();
    assert!(!scene.point.join("Name").exists());
    assert_eq!(fs::read_dir(&scene.behind).unwrap().count(), 0);
}

#[test]
fn requests_are_counted_and_late() {
    let scene = Scene::new();
    let mounted = scene.mount_with(Options { delay: Duration::from_millis(20), ..Options::default() });
    let began = std::time::Instant::now();
    let file = fs::File::create(scene.point.join("file")).unwrap();
    file.sync_all().unwrap();
    file.sync_all().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(60), "a create and two syncs");
    assert_eq!(mounted.count(Operation::Fsync), 2);
}
