//! Going on in the middle of a large file: what of it is not copied again, and what makes it begin anew.

use std::fs::{self, File, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use torture::facts::wait_until;
use torture::faultline::{Act, Answer, Asked, Ended, Role, Rule, When, run};
use torture::mounts::{Mount, need_root};
use torture::random::Random;
use torture::tree::differences;

use crate::support::Scene;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// Groups are made so small.
const GROUP_BYTES: u64 = MIB;
const N_BYTES: u64 = 6 * MIB + 12_345;
const MARK: &str = "user.brigade.part";

/// A large file, and a disk to copy it to.
struct Stage {
    /// Taken away before the folder that it is in.
    _disk: Mount,
    scene: Scene,
    /// Below the scene.
    source: PathBuf,
}

impl Stage {
    /// With the source in this folder of the scene, of which `disk` is on the disk.
    fn new(source: &str) -> Self {
        need_root();
        let scene = Scene::new();
        fs::create_dir(scene.path("disk")).unwrap();
        let disk = Mount::ext4(&scene.path("image"), &scene.path("disk"));
        let stage = Self { source: scene.path(source), scene, _disk: disk };
        stage.write(&bytes(1));
        stage
    }

    fn big(&self) -> PathBuf {
        self.source.join("folder/big")
    }

    fn copy(&self) -> PathBuf {
        self.scene.path("disk/copy")
    }

    fn write(&self, contents: &[u8]) {
        fs::create_dir_all(self.source.join("folder")).unwrap();
        fs::write(self.big(), contents).unwrap();
        fs::write(self.source.join("folder/small"), "small").unwrap();
        self.settle();
    }

    /// Waits until a run that begins is younger than what was last done to the file.
    fn settle(&self) {
        let changed = fs::metadata(self.big()).unwrap();
        wait_until("the clock that stamps files has gone on", || {
            let now = clock_gettime(ClockId::RealtimeCoarse);
            (now.tv_sec, now.tv_nsec) > (changed.ctime(), changed.ctime_nsec())
        });
    }

    fn command(&self, words: &[&str]) -> Command {
        // In a jail that two trees share, faultline does not know the paths.
        let mut command = self.scene.copy(["-j1", "--sandbox=off", "--progress=json", "--stats", "-T"]);
        command.args(words).arg(&self.source).arg(self.copy());
        command.env("__BRIGADE_GROUP_BYTES", GROUP_BYTES.to_string());
        command
    }

    fn run(&self, words: &[&str], rules: Vec<Rule>) -> Ended {
        let ended = run(self.command(words), rules, LIMIT).unwrap();
        assert!(!ended.is_hung, "{ended:?}");
        ended
    }

    /// Sends a signal to the command when a worker is about to make the n-th call of this name on the disk or the source.
    fn cut_off(&self, words: &[&str], signal: Signal, call: &str, nth: u64) -> Ended {
        let rule =
            Rule::of(call, Act::SignalParent(signal)).by(Role::Worker).below(self.scene.path("")).when(When::Nth(nth));
        let ended = self.run(words, vec![rule]);
        assert_eq!(
            (ended.n_done[0], ended.output.status.signal()),
            (1, Some(signal.as_raw())),
            "{call} {nth}: {ended:?}"
        );
        assert_eq!(self.scene.records().len(), 1);
        ended
    }

    /// Runs the command to its end. Returns its summary, and how much was read of the large file.
    fn finish(&self, words: &[&str]) -> (Value, u64) {
        let (seen, rule) = self.watched();
        let ended = self.run(words, vec![rule]);
        assert_eq!(ended.output.status.code(), Some(0), "{ended:?}");
        let summary = serde_json::from_slice(ended.output.stdout.split(|&byte| byte == b'\n').rev().nth(1).unwrap());
        let n_read = seen.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|step| step.n_moved()).sum();
        (summary.unwrap(), n_read)
    }

    /// What workers move of the large file, and when they flush something.
    fn watched(&self) -> (Arc<Mutex<Vec<Step>>>, Rule) {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&steps);
        let big = self.big();
        let note = move |asked: &Asked| {
            let step = match asked.name() {
                "pread64" => Step::Move(asked.call.arguments[2]),
                "copy_file_range" => Step::Move(asked.call.arguments[4]),
                _ => Step::Flush,
            };
            if step == Step::Flush || asked.path() == Some(big.clone()) {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(step);
            }
            Answer::GoOn
        };
        let mut calls = vec!["pread64", "fdatasync", "fsync", "syncfs"];
        // From another file system this is tried once, and moves nothing.
        if self.source.starts_with(self.scene.path("disk")) {
            calls.push("copy_file_range");
        }
        (steps, Rule::of_each(calls, Act::Hook(Box::new(note))).by(Role::Worker))
    }

    /// The part that is there, if one is.
    fn part(&self) -> Option<PathBuf> {
        let mut parts = temporaries(&self.copy());
        assert!(parts.len() <= 1, "{parts:?}");
        parts.pop()
    }

    fn assert_whole(&self, what: &str) {
        assert_eq!(differences(&self.source, &self.copy()).unwrap(), [""; 0], "{what}");
        assert_eq!(temporaries(&self.scene.path("disk")), [""; 0].map(PathBuf::from), "{what}");
    }
}

/// What a worker does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Move(u64),
    Flush,
}

impl Step {
    fn n_moved(self) -> u64 {
        if let Self::Move(n_bytes) = self { n_bytes } else { 0 }
    }
}

fn bytes(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes: Vec<u8> = (0..N_BYTES.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).collect();
    bytes.truncate(N_BYTES as usize);
    bytes
}

/// Everything under a temporary name.
fn temporaries(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with(".brigade-") {
                found.push(path);
            } else if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    found
}

fn mark_of(part: &Path) -> Vec<u8> {
    let mut value = vec![0; 1024];
    let n_bytes = getxattr(part, MARK, &mut value[..]).unwrap();
    value.truncate(n_bytes);
    value
}

fn n_durable(part: &Path) -> u64 {
    u64::from_le_bytes(*mark_of(part).first_chunk().unwrap())
}

/// Asked was for so much of the large file, and for a byte or two more, to see its end.
fn assert_read(n_read: u64, n_wanted: u64, what: &str) {
    assert!((n_wanted..=n_wanted + 2).contains(&n_read), "{what}: {n_read} instead of {n_wanted}");
}

#[test]
fn a_copy_that_is_killed_in_the_middle_of_a_large_file_copies_only_what_is_missing() {
    // Within the kernel, and by reading and writing: from another file system.
    let cases = [
        ("disk/source", "copy_file_range", 3, 2),
        ("disk/source", "fdatasync", 4, 3),
        ("source", "pread64", 18, 3),
        ("source", "fdatasync", 2, 1),
        ("source", "fdatasync", 6, 5),
        ("source", "fsync", 1, 6),
        // The first is about the part when it is made.
        ("source", "fsetxattr", 5, 3),
    ];
    for (source, call, nth, n_groups) in cases {
        let stage = Stage::new(source);
        stage.cut_off(&[], Signal::KILL, call, nth);
        let what = format!("{call} {nth}");
        let part = stage.part().unwrap();
        let n_durable = n_durable(&part);
        // The call itself may have come to its end.
        assert!((n_groups..n_groups + 2).contains(&(n_durable / GROUP_BYTES)), "{what}: {n_durable}");
        assert_eq!(fs::metadata(&part).unwrap().mode(), 0o100_600);
        assert!(!stage.copy().join("folder/big").exists(), "{what}");
        let (summary, n_read) = stage.finish(&[]);
        assert_read(n_read, N_BYTES - n_durable, &what);
        assert_eq!(summary["stats"]["bytes_kept"], n_durable, "{what}");
        assert_eq!(summary["durable"], true);
        stage.assert_whole(&what);
        assert!(stage.scene.records().is_empty());
        let copy = stage.copy().join("folder/big");
        assert_eq!(getxattr(&copy, MARK, &mut [0; 8][..]), Err(Errno::NODATA));
    }
}

#[test]
fn whoever_does_the_work_of_a_killed_worker_goes_on_where_the_file_is_on_disk() {
    let stage = Stage::new("source");
    let (steps, watch) = stage.watched();
    let kill = Rule::of("fdatasync", Act::Kill).by(Role::Worker).when(When::Nth(4));
    let ended = stage.run(&[], vec![kill, watch]);
    assert_eq!((ended.n_done[0], ended.output.status.code()), (1, Some(0)), "{ended:?}");
    let n_read: u64 = steps.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|step| step.n_moved()).sum();
    assert_read(n_read, N_BYTES + GROUP_BYTES, "a killed worker");
    stage.assert_whole("a killed worker");
}

#[test]
fn of_a_large_file_less_than_two_groups_are_not_on_disk() {
    for words in [&[][..], &["--no-resume"], &["--sync=file"]] {
        let stage = Stage::new("source");
        let (steps, watch) = stage.watched();
        assert_eq!(stage.run(words, vec![watch]).output.status.code(), Some(0));
        let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
        let unflushed =
            steps.split(|step| *step == Step::Flush).map(|moved| moved.iter().map(|step| step.n_moved()).sum());
        let most: u64 = unflushed.max().unwrap();
        assert!((GROUP_BYTES..2 * GROUP_BYTES).contains(&most), "{words:?}: {most}");
        stage.assert_whole("a copy at one go");
    }
}

/// S-07: whatever is wrong, the tree is right, nothing is left behind, and nothing else is touched.
#[test]
fn a_large_file_begins_anew_if_anything_is_wrong_with_its_part() {
    type Spoil = fn(&Stage, &Path);
    fn flip(part: &Path, byte_idx: usize) {
        let mut value = mark_of(part);
        value[byte_idx] ^= 1;
        setxattr(part, MARK, &value, XattrFlags::REPLACE).unwrap();
    }
    fn put_away(stage: &Stage, part: &Path) {
        fs::rename(part, stage.scene.path("disk/own part")).unwrap();
    }
    let cases: [(&str, Spoil); 20] = [
        ("the record is gone", |stage, _| fs::remove_file(&stage.scene.records()[0]).unwrap()),
        ("the record is flipped", |stage, _| {
            let record = stage.scene.records().remove(0);
            let mut text = fs::read(&record).unwrap();
            text[40] ^= 1;
            fs::write(record, text).unwrap();
        }),
        ("no mark", |_, part| rustix::fs::removexattr(part, MARK).unwrap()),
        ("an empty mark", |_, part| setxattr(part, MARK, b"", XattrFlags::REPLACE).unwrap()),
        ("another length", |_, part| flip(part, 0)),
        ("an endless length", |_, part| flip(part, 7)),
        ("another seal", |_, part| flip(part, 8)),
        ("another end of the seal", |_, part| flip(part, 39)),
        ("another name", |_, part| flip(part, 40)),
        ("the mark of a shorter part", |_, part| {
            let mut value = mark_of(part);
            value[..8].copy_from_slice(&MIB.to_le_bytes());
            setxattr(part, MARK, &value, XattrFlags::REPLACE).unwrap();
        }),
        ("cut short", |_, part| File::options().write(true).open(part).unwrap().set_len(MIB - 1).unwrap()),
        ("open to all", |_, part| fs::set_permissions(part, Permissions::from_mode(0o666)).unwrap()),
        ("another user's", |_, part| std::os::unix::fs::chown(part, Some(12345), None).unwrap()),
        ("a further name", |stage, part| fs::hard_link(part, stage.scene.path("disk/further")).unwrap()),
        ("planted with its mark", |stage, part| {
            let mark = mark_of(part);
            put_away(stage, part);
            fs::write(part, vec![7; N_BYTES as usize]).unwrap();
            fs::set_permissions(part, Permissions::from_mode(0o600)).unwrap();
            setxattr(part, MARK, &mark, XattrFlags::CREATE).unwrap();
        }),
        ("a link", |stage, part| {
            put_away(stage, part);
            symlink(stage.scene.path("victim"), part).unwrap();
        }),
        ("a FIFO", |stage, part| {
            put_away(stage, part);
            rustix::fs::mknodat(CWD, part, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }),
        ("another source", |stage, _| stage.write(&bytes(2))),
        ("a source that looks the same", |stage, _| {
            let modified = fs::metadata(stage.big()).unwrap().modified().unwrap();
            let file = File::options().write(true).open(stage.big()).unwrap();
            file.write_all_at(b"changed", 5).unwrap();
            file.set_modified(modified).unwrap();
        }),
        ("another file with the name of the source", |stage, _| {
            fs::rename(stage.big(), stage.source.join("folder/moved")).unwrap();
            stage.write(&bytes(3));
        }),
    ];
    for (what, spoil) in cases {
        let stage = Stage::new("source");
        stage.scene.file("victim", "victim");
        stage.cut_off(&[], Signal::KILL, "fdatasync", 4);
        let part = stage.part().unwrap();
        assert!(n_durable(&part) >= 3 * GROUP_BYTES);
        spoil(&stage, &part);
        let (summary, n_read) = stage.finish(&[]);
        assert_read(n_read, N_BYTES, what);
        assert_eq!(summary["stats"]["bytes_kept"], 0, "{what}");
        assert_eq!(fs::read(stage.scene.path("victim")).unwrap(), b"victim", "{what}");
        stage.assert_whole(what);
    }
}

#[test]
fn a_part_that_is_not_needed_any_more_is_removed() {
    type Change = fn(&Stage);
    let cases: [(&str, Change); 2] = [
        ("the source is gone", |stage| fs::remove_file(stage.big()).unwrap()),
        ("somebody else has copied it", |stage| {
            let copied =
                Command::new("cp").arg("-a").arg(stage.big()).arg(stage.copy().join("folder")).status().unwrap();
            assert!(copied.success());
        }),
    ];
    for (what, change) in cases {
        let stage = Stage::new("source");
        stage.cut_off(&[], Signal::KILL, "fdatasync", 4);
        change(&stage);
        assert_eq!(stage.finish(&[]).1, 0, "{what}");
        stage.assert_whole(what);
    }
}

#[test]
fn an_interrupted_copy_leaves_a_part_that_the_next_goes_on_with_or_removes() {
    for is_resumed in [true, false] {
        let stage = Stage::new("source");
        // So slow that the end is far when the signal arrives.
        let ended = stage.cut_off(&["--bwlimit=2M"], Signal::INT, "fdatasync", 3);
        let part = stage.part().unwrap_or_else(|| panic!("{ended:?}"));
        let n_durable = n_durable(&part);
        assert!((2 * GROUP_BYTES..N_BYTES).contains(&n_durable), "{n_durable}");
        let words: &[&str] = if is_resumed { &[] } else { &["--no-resume"] };
        let n_read = stage.finish(words).1;
        assert_read(n_read, N_BYTES - if is_resumed { n_durable } else { 0 }, "after an interruption");
        stage.assert_whole("after an interruption");
    }
}

/// Nothing that nobody could go on with is left.
#[test]
fn an_interrupted_copy_leaves_nothing_of_a_large_file_where_it_cannot_be_marked() {
    let no_marks = || Rule::of("fsetxattr", Act::Fail(Errno::OPNOTSUPP)).by(Role::Worker);
    for signal in [Signal::INT, Signal::KILL] {
        let stage = Stage::new("source");
        let cut = Rule::of("fdatasync", Act::SignalParent(signal)).by(Role::Worker).when(When::Nth(3));
        let ended = stage.run(&["--bwlimit=2M"], vec![no_marks(), cut]);
        assert_eq!(ended.output.status.signal(), Some(signal.as_raw()), "{ended:?}");
        assert_eq!(stage.part(), None);
        assert_eq!(stage.run(&[], vec![no_marks()]).output.status.code(), Some(0));
        stage.assert_whole("without marks");
    }
}

#[test]
fn the_holes_of_a_large_file_stay_holes_when_it_is_gone_on_with() {
    for words in [&[][..], &["--sparse=always"]] {
        let stage = Stage::new("disk/source");
        let contents = bytes(4);
        let file = File::create(stage.big()).unwrap();
        // Data, a hole, data, zeros that are written, data, and a hole at the end.
        for (at, n_bytes) in [(0, 2 * MIB), (40 * MIB, 2 * MIB), (44 * MIB, MIB)] {
            file.write_all_at(&contents[..n_bytes as usize], at).unwrap();
        }
        file.write_all_at(&vec![0; 2 * MIB as usize], 42 * MIB).unwrap();
        file.set_len(80 * MIB).unwrap();
        file.sync_all().unwrap();
        stage.settle();
        // The first is about the source, before its holes are believed.
        stage.cut_off(words, Signal::KILL, "fdatasync", 5);
        let n_durable = n_durable(&stage.part().unwrap());
        assert!(n_durable >= 41 * MIB, "{n_durable}");
        let (summary, n_read) = stage.finish(words);
        assert!(n_read <= 5 * MIB && summary["stats"]["bytes_kept"] == n_durable, "{words:?}: {n_read}");
        let (source, copy) =
            (fs::metadata(stage.big()).unwrap(), fs::metadata(stage.copy().join("folder/big")).unwrap());
        assert!(copy.blocks() <= source.blocks(), "{words:?}");
        stage.assert_whole("holes");
    }
}

#[test]
fn what_was_kept_of_a_large_file_is_verified_and_hashed_like_the_rest() {
    let stage = Stage::new("source");
    stage.cut_off(&[], Signal::KILL, "fdatasync", 4);
    let part = stage.part().unwrap();
    let sums = stage.scene.path("sums");
    let manifest = format!("--manifest={}", sums.display());
    // Nobody but the disk could do this: the mark says that it is right.
    let mut file = File::options().write(true).open(&part).unwrap();
    file.seek(SeekFrom::Start(MIB)).unwrap();
    file.write_all(b"spoilt").unwrap();
    let (summary, _) = stage.finish(&["--verify", &manifest]);
    assert_eq!((&summary["rewritten"], &summary["stats"]["bytes_kept"]), (&1.into(), &0.into()), "{summary}");
    stage.assert_whole("spoilt");
    let of_spoilt = fs::read(&sums).unwrap();

    fs::remove_dir_all(stage.copy()).unwrap();
    stage.cut_off(&[], Signal::KILL, "fdatasync", 4);
    let (summary, _) = stage.finish(&["--verify", &manifest]);
    assert_eq!(summary["rewritten"], 0, "{summary}");
    assert!(summary["stats"]["bytes_kept"].as_u64().unwrap() >= 3 * GROUP_BYTES);
    assert_eq!(fs::read(&sums).unwrap(), of_spoilt);
    stage.assert_whole("verified");
}
