//! What is at the destination already, in every state, under every policy: content, metadata and books as the table says, which
//! was written before the first run. Where `cp` has the same option its result is compared, and where we differ the table says why.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use brigade_copy::{
    Answer, Backup, Event, Existing, Newer, Plan, Policy, Report, Request, Sameness, Summary, Target, TypeChange,
    Writing,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use torture::facts::Stopwatch;
use torture::mounts::{Mount, Scratch, need_root};

/// Longer than any of these copies takes, however loaded the machine is.
const WATCHDOG: Duration = Duration::from_secs(120);

fn set_mtime(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 7 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn file(path: &Path, contents: &str, seconds: i64) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
    set_mtime(path, seconds);
}

/// What stands in the place of `entry`, whose source is a file with the contents `source` and a time of 1 000 s.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum There {
    Older,
    Newer,
    /// The same size and time, and other contents.
    SameTimeAndSize,
    SameTimeOtherSize,
    /// Identical, with another time.
    Touched,
    /// Older, and the file of another name, which the source has not.
    LinkedToAnother,
    LinkToTheSource,
    ReadOnly,
    Symlink,
    Fifo,
    Folder,
}

const STATES: [There; 11] = [
    There::Older,
    There::Newer,
    There::SameTimeAndSize,
    There::SameTimeOtherSize,
    There::Touched,
    There::LinkedToAnother,
    There::LinkToTheSource,
    There::ReadOnly,
    There::Symlink,
    There::Fifo,
    There::Folder,
];

fn set_up(root: &Path, there: There) {
    let (source, destination) = (root.join("source"), root.join("destination"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&destination).unwrap();
    file(&source.join("entry"), "source", 1_000);
    let entry = destination.join("entry");
    match there {
        There::Older => file(&entry, "older!!", 900),
        There::Newer => file(&entry, "newer!!", 1_100),
        There::SameTimeAndSize => file(&entry, "SOURCE", 1_000),
        There::SameTimeOtherSize => file(&entry, "another", 1_000),
        There::Touched => file(&entry, "source", 900),
        There::LinkedToAnother => {
            file(&entry, "linked!", 900);
            fs::hard_link(&entry, destination.join("other")).unwrap();
        }
        There::LinkToTheSource => {
            symlink("../source/entry", &entry).unwrap();
            set_mtime(&entry, 900);
        }
        There::ReadOnly => {
            file(&entry, "locked!", 900);
            fs::set_permissions(&entry, fs::Permissions::from_mode(0o444)).unwrap();
        }
        There::Symlink => {
            symlink("nowhere", &entry).unwrap();
            set_mtime(&entry, 900);
        }
        There::Fifo => {
            rustix::fs::mkfifoat(CWD, &entry, rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
            set_mtime(&entry, 900);
        }
        There::Folder => {
            fs::create_dir(&entry).unwrap();
            file(&entry.join("inside"), "inside", 900);
            set_mtime(&entry, 900);
        }
    }
    set_mtime(&source, 500);
}

/// What becomes of the entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wanted {
    /// It is the source's.
    Copied,
    /// It is the source's, and what was there is under this name.
    BackedUp(&'static str),
    /// It stays as it was, and is counted as unchanged.
    Kept,
    /// It stays, with the metadata of its source.
    Aligned,
    /// It stays as it was, and is counted as skipped.
    Skipped,
    /// It stays as it was, and is an error.
    Failed,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Default,
    NoClobber,
    Update,
    Checksum,
    IgnoreTimes,
    Force,
    Yes,
    No,
    Simple,
    Numbered,
    DryRun,
}

const OPTIONS: [Asked; 11] = [
    Asked::Default,
    Asked::NoClobber,
    Asked::Update,
    Asked::Checksum,
    Asked::IgnoreTimes,
    Asked::Force,
    Asked::Yes,
    Asked::No,
    Asked::Simple,
    Asked::Numbered,
    Asked::DryRun,
];

impl Asked {
    fn policy(self) -> Policy {
        let default = Policy::default();
        match self {
            Self::Default => default,
            Self::NoClobber => Policy { existing: Existing::Keep, ..default },
            Self::Update => Policy { newer: Newer::Keep, ..default },
            Self::Checksum => Policy { sameness: Sameness::Contents, ..default },
            Self::IgnoreTimes => Policy { sameness: Sameness::Never, ..default },
            Self::Force => Policy { type_change: TypeChange::Allowed, ..default },
            Self::Yes | Self::No => Policy { existing: Existing::Ask, ..default },
            Self::Simple => Policy { backup: Backup::Simple { suffix: b"~".to_vec() }, ..default },
            Self::Numbered => Policy { backup: Backup::Numbered, ..default },
            Self::DryRun => Policy { writing: Writing::Rehearsed, ..default },
        }
    }

    /// The options of `cp -a` that mean the same, and what is typed.
    fn of_cp(self) -> Option<(&'static [&'static str], &'static str)> {
        Some(match self {
            Self::Default => (&[], ""),
            Self::NoClobber => (&["-n"], ""),
            Self::Update => (&["-u"], ""),
            Self::Yes => (&["-i"], "y\n"),
            Self::No => (&["-i"], "n\n"),
            Self::Simple => (&["--backup=simple"], ""),
            Self::Numbered => (&["--backup=numbered"], ""),
            Self::Checksum | Self::IgnoreTimes | Self::Force | Self::DryRun => return None,
        })
    }
}

/// The table.
fn wanted(there: There, option: Asked) -> Wanted {
    use {Asked as O, There as T, Wanted as W};
    match (there, option) {
        // What exists stays, of whatever type it is.
        (_, O::NoClobber) => W::Skipped,
        (T::Newer, O::Update) => W::Skipped,
        // Only force lets a file replace a folder; a backup keeps nothing that may not be replaced.
        (T::Folder, O::Force) => W::Copied,
        (T::Folder, _) => W::Failed,
        // Same size and time: unchanged, whoever else is asked. Only contents, or a wish to copy all, tell otherwise.
        (T::SameTimeAndSize, O::Checksum | O::IgnoreTimes) => W::Copied,
        (T::SameTimeAndSize, _) => W::Kept,
        (T::Touched, O::Checksum) => W::Aligned,
        (_, O::No) => W::Skipped,
        (_, O::Simple) => W::BackedUp("entry~"),
        (_, O::Numbered) => W::BackedUp("entry.~1~"),
        (_, _) => W::Copied,
    }
}

/// Where `cp` does something else, and why we do not.
fn differs_from_cp(there: There, option: Asked) -> Option<&'static str> {
    use {Asked as O, There as T};
    match (there, option) {
        (_, O::NoClobber) => None,
        (T::SameTimeAndSize, O::Default | O::Simple | O::Numbered | O::Yes | O::No) => {
            Some("cp copies what looks the same, asks about it and backs it up; unchanged entries are left alone")
        }
        (T::SameTimeOtherSize, O::Update) => {
            Some("cp -u believes the time alone; the size tells that it is another file")
        }
        (T::LinkToTheSource, _) => Some("cp says that both are the same file, and fails"),
        (T::LinkedToAnother, O::Default | O::Update | O::Yes) => {
            Some("cp writes through the link, and so changes the other name; we replace")
        }
        (T::Symlink, O::Default | O::Update | O::Yes) => {
            Some("cp refuses to write through a dangling link; we replace it")
        }
        (T::Fifo, O::Default | O::Update | O::Yes) => Some("cp opens the FIFO and waits for a reader; we replace it"),
        _ => None,
    }
}

/// Everything about a tree; the names of one file show the same number.
fn look(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut inodes = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let data = fs::symlink_metadata(&path).unwrap();
        let kind = data.file_type();
        let contents = match kind {
            _ if kind.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
            _ if kind.is_fifo() => "fifo".to_owned(),
            _ if kind.is_dir() => {
                let mut children: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
                children.sort();
                waiting.extend(children);
                "folder".to_owned()
            }
            _ => fs::read_to_string(&path).unwrap(),
        };
        let number = inodes.iter().position(|inode| *inode == data.ino()).unwrap_or_else(|| {
            inodes.push(data.ino());
            inodes.len() - 1
        });
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let mtime = (data.mtime(), data.mtime_nsec());
        found.insert(name, format!("{contents} {:o} {mtime:?} #{number}", data.mode()));
    }
    found
}

/// Copies `source/entry` into the folder `destination`, answering every question alike.
fn copy(root: &Path, policy: Policy, answer: Answer) -> (Summary, Vec<Event>) {
    let request = Request {
        workers: std::num::NonZeroUsize::new(2),
        report: Report::EveryEntry,
        policy,
        ..Request::new(vec![root.join("source/.")], Target::Exactly(root.join("destination")))
    };
    let (questions, asked) = mpsc::channel();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let running = Plan::new(request)
        .unwrap()
        .start(move |event| match event {
            Event::Question(question) => questions.send(question).unwrap(),
            event => sink.lock().unwrap().push(event),
        })
        .unwrap();
    let began = Stopwatch::start();
    let summary = loop {
        if let Some(summary) = running.wait_timeout(Duration::from_millis(5)) {
            break summary;
        }
        asked.try_iter().for_each(|question| running.answer(question.id, answer));
        assert!(began.elapsed() < WATCHDOG, "the copy does not end");
    };
    drop(running);
    let events = std::mem::take(&mut *events.lock().unwrap());
    (summary, events)
}

fn cp(root: &Path, (options, typed): (&[&str], &str)) {
    use std::io::Write as _;
    let mut child = Command::new("cp")
        .arg("-aT")
        .args(options)
        .args([root.join("source"), root.join("destination")])
        .env_remove("VERSION_CONTROL")
        .env_remove("SIMPLE_BACKUP_SUFFIX")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    child.wait().unwrap();
}

#[test]
fn every_existing_entry_fares_under_every_policy_as_the_table_says() {
    for there in STATES {
        for option in OPTIONS {
            let wanted = wanted(there, option);
            let context = format!("{there:?} with {option:?}: {wanted:?}");
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            set_up(root, there);
            let destination = root.join("destination");
            let before = look(&destination);
            let source = look(&root.join("source"));
            let answer = if option == Asked::No { Answer::Keep } else { Answer::Replace };
            let (summary, events) = copy(root, option.policy(), answer);
            let after = look(&destination);

            // The folder itself is merged, and counts as unchanged.
            let counts = (summary.n_copied, summary.n_unchanged - 1, summary.n_skipped, summary.n_failed);
            let books = match wanted {
                Wanted::Copied | Wanted::BackedUp(_) => (1, 0, 0, 0),
                Wanted::Kept | Wanted::Aligned => (0, 1, 0, 0),
                Wanted::Skipped => (0, 0, 1, 0),
                Wanted::Failed => (0, 0, 0, 1),
            };
            assert_eq!(counts, books, "{context}: {events:?}");
            assert_eq!(summary.n_found, 2, "{context}");
            if option == Asked::DryRun {
                assert_eq!(before, after, "{context}");
                continue;
            }

            let without_number = |text: &String| text.split(" #").next().unwrap().to_owned();
            let mut expected: BTreeMap<_, _> =
                before.iter().map(|(name, text)| (name.clone(), without_number(text))).collect();
            expected.insert(String::new(), without_number(&source[""]));
            match wanted {
                Wanted::Copied | Wanted::Aligned | Wanted::BackedUp(_) => {
                    let old = expected.insert("entry".into(), without_number(&source["entry"])).unwrap();
                    expected.remove("entry/inside");
                    if let Wanted::BackedUp(name) = wanted {
                        expected.insert(name.into(), old);
                    }
                }
                Wanted::Kept | Wanted::Skipped | Wanted::Failed => {}
            }
            let found: BTreeMap<_, _> = after.iter().map(|(name, text)| (name.clone(), without_number(text))).collect();
            assert_eq!(found, expected, "{context}");
            if there == There::LinkedToAnother {
                let inode = |name: &str| fs::metadata(destination.join(name)).unwrap().ino();
                assert_eq!(inode("entry") == inode("other"), wanted == Wanted::Skipped, "{context}");
            }
            assert_eq!(look(&root.join("source")), source, "{context}: the source is as it was");

            let Some(of_cp) = option.of_cp() else { continue };
            if differs_from_cp(there, option).is_some() {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            set_up(folder.path(), there);
            cp(folder.path(), of_cp);
            assert_eq!(after, look(&folder.path().join("destination")), "{context}: cp");
        }
    }
}

/// Ends worker processes as they come, until the copy is over.
fn storm(running: &brigade_copy::Running, pids: &mpsc::Receiver<u32>) -> (Summary, usize) {
    let mut n_kills = 0;
    let began = Stopwatch::start();
    loop {
        assert!(began.elapsed() < WATCHDOG, "the copy does not end");
        // Workers that have just begun have hardly done anything: they get a little time.
        if let Some(summary) = running.wait_timeout(Duration::from_millis(1 + n_kills as u64 % 4)) {
            return (summary, n_kills);
        }
        if n_kills < 60
            && let Ok(pid) = pids.try_recv()
            && let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed())
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            n_kills += 1;
        }
    }
}

#[test]
fn killed_workers_lose_no_old_entry_and_back_up_none_of_their_own() {
    let (simple, existing) =
        (Backup::Simple { suffix: b".old".to_vec() }, Backup::Existing { suffix: b".old".to_vec() });
    for (backup, suffix) in [(Backup::Numbered, ".~1~"), (simple, ".old"), (existing, ".old")] {
        let folder = tempfile::tempdir().unwrap();
        let (source, destination) = (folder.path().join("source"), folder.path().join("destination"));
        let names: Vec<String> = (0..1_200).map(|idx| format!("{}/{idx}", idx % 3)).collect();
        for root in [&source, &destination] {
            (0..3).for_each(|idx| fs::create_dir_all(root.join(idx.to_string())).unwrap());
        }
        for (idx, name) in names.iter().enumerate() {
            match idx % 5 {
                0 => symlink("new", source.join(name)).unwrap(),
                1 => rustix::fs::mkfifoat(CWD, source.join(name), rustix::fs::Mode::from_raw_mode(0o640)).unwrap(),
                _ => file(&source.join(name), &format!("new {name}"), 1_000),
            }
            if idx % 7 == 0 {
                fs::create_dir(destination.join(name)).unwrap();
                file(&destination.join(name).join("inside"), &format!("old {name}"), 900);
            } else {
                file(&destination.join(name), &format!("old {name}"), 900);
            }
        }
        let (tell, pids) = mpsc::channel();
        let request = Request {
            workers: std::num::NonZeroUsize::new(3),
            policy: Policy { backup: backup.clone(), type_change: TypeChange::Allowed, ..Policy::default() },
            ..Request::new(vec![source.join(".")], Target::Exactly(destination.clone()))
        };
        let running = Plan::new(request)
            .unwrap()
            .start(move |event| {
                if let Event::WorkerStarted { pid } = event {
                    let _ = tell.send(pid);
                }
            })
            .unwrap();
        let (summary, n_kills) = storm(&running, &pids);
        drop(running);
        assert_eq!(summary.broken, None);
        assert!(n_kills > 1, "only {n_kills} workers were killed");
        assert_eq!((summary.n_found, summary.n_copied, summary.n_unchanged), (1_204, 1_200, 4), "{backup:?}");
        for (idx, name) in names.iter().enumerate() {
            let context = format!("{name}, {backup:?}, {n_kills} kills");
            let data = fs::symlink_metadata(destination.join(name)).unwrap();
            match idx % 5 {
                0 => assert!(data.is_symlink(), "{context}"),
                1 => assert!(data.file_type().is_fifo(), "{context}"),
                _ => {
                    assert_eq!(fs::read_to_string(destination.join(name)).unwrap(), format!("new {name}"), "{context}")
                }
            }
            let old = destination.join(format!("{name}{suffix}"));
            let old = if idx % 7 == 0 { old.join("inside") } else { old };
            assert_eq!(fs::read_to_string(old).unwrap(), format!("old {name}"), "{context}");
        }
        let n_entries: usize = (0..3).map(|idx| fs::read_dir(destination.join(idx.to_string())).unwrap().count()).sum();
        assert_eq!(n_entries, 2_400, "{backup:?}: one backup each, and nothing else");
    }
}

#[test]
fn killed_workers_remove_what_gives_way_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (source, destination) = (folder.path().join("source"), folder.path().join("destination"));
    fs::create_dir(&source).unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    for idx in 0..40 {
        fs::write(source.join(format!("{idx}")), "new").unwrap();
        for deep in 0..20 {
            let below = destination.join(format!("{idx}/{deep}/below"));
            fs::create_dir_all(&below).unwrap();
            (0..10).for_each(|file| fs::write(below.join(format!("{file}")), "old").unwrap());
            symlink(&outside, below.join("link")).unwrap();
        }
    }
    fs::create_dir(source.join("empty")).unwrap();
    fs::write(destination.join("empty"), "old").unwrap();
    fs::create_dir(source.join("full")).unwrap();
    fs::write(source.join("full/file"), "new").unwrap();
    fs::write(destination.join("full"), "old").unwrap();
    let (tell, pids) = mpsc::channel();
    let request = Request {
        workers: std::num::NonZeroUsize::new(3),
        policy: Policy { type_change: TypeChange::Allowed, ..Policy::default() },
        ..Request::new(vec![source.join(".")], Target::Exactly(destination.clone()))
    };
    let failed = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&failed);
    let running = Plan::new(request)
        .unwrap()
        .start(move |event| match event {
            Event::WorkerStarted { pid } => drop(tell.send(pid)),
            Event::Failed(error) => sink.lock().unwrap().push(error.to_string()),
            _ => {}
        })
        .unwrap();
    let (summary, _) = storm(&running, &pids);
    drop(running);
    assert_eq!(summary.broken, None);
    assert_eq!(failed.lock().unwrap().len(), 1, "a folder with something in it replaces no file: {failed:?}");
    assert_eq!((summary.n_copied, summary.n_failed), (41, 1));
    for idx in 0..40 {
        assert_eq!(fs::read_to_string(destination.join(format!("{idx}"))).unwrap(), "new");
    }
    assert!(destination.join("empty").is_dir());
    assert_eq!(fs::read_to_string(destination.join("full")).unwrap(), "old");
    assert_eq!(fs::read_dir(&destination).unwrap().count(), 42);
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
}

#[test]
fn a_mount_in_a_folder_that_gives_way_is_not_entered() {
    need_root();
    let scratch = Scratch::new();
    scratch.file("source/entry");
    scratch.file("outside/kept");
    scratch.file("destination/entry/file");
    let inner = scratch.folder("destination/entry/inner");
    let mount = Mount::bind(&scratch.path("outside"), &inner);
    let policy = Policy { type_change: TypeChange::Allowed, ..Policy::default() };
    let (summary, events) = copy(&scratch.path(""), policy, Answer::Replace);
    assert_eq!((summary.n_copied, summary.n_failed), (0, 1), "{events:?}");
    let told = events.iter().find_map(|event| match event {
        Event::Failed(error) => Some(error.cause.to_string()),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("another file system is mounted there"));
    drop(mount);
    assert!(scratch.path("outside/kept").exists());
    let left: Vec<_> =
        fs::read_dir(scratch.path("destination")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["entry"], "no temporary name is left");
}

#[test]
fn a_backup_takes_no_name_that_the_source_needs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("source")).unwrap();
    fs::create_dir(root.join("destination")).unwrap();
    for name in ["f", "f~", "f~~"] {
        file(&root.join("source").join(name), &format!("new {name}"), 1_000);
        file(&root.join("destination").join(name), &format!("old {name}!"), 900);
    }
    let (summary, _) =
        copy(root, Policy { backup: Backup::Simple { suffix: b"~".to_vec() }, ..Policy::default() }, Answer::Keep);
    assert_eq!((summary.n_copied, summary.n_failed), (3, 0));
    let read = |name: &str| fs::read_to_string(root.join("destination").join(name)).unwrap();
    for name in ["f", "f~", "f~~"] {
        assert_eq!(read(name), format!("new {name}"));
    }
    assert_eq!([read("f.~1~"), read("f~.~1~"), read("f~~~")], ["old f!", "old f~!", "old f~~!"]);
}

/// Catalogue C-18.
#[test]
fn a_destination_that_is_the_source_by_another_name_leaves_the_source_intact() {
    for asked in OPTIONS {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("source")).unwrap();
        fs::create_dir(root.join("destination")).unwrap();
        file(&root.join("source/entry"), "source", 1_000);
        fs::hard_link(root.join("source/entry"), root.join("destination/entry")).unwrap();
        let (summary, events) = copy(root, asked.policy(), Answer::Replace);
        assert_eq!(summary.n_failed, 0, "{asked:?}: {events:?}");
        for name in ["source/entry", "destination/entry"] {
            assert_eq!(fs::read_to_string(root.join(name)).unwrap(), "source", "{asked:?}");
        }
        // As the one source of a command it is refused.
        fs::remove_file(root.join("destination/entry")).unwrap();
        fs::hard_link(root.join("source/entry"), root.join("destination/entry")).unwrap();
        let request = Request {
            policy: asked.policy(),
            ..Request::new(vec![root.join("source/entry")], Target::IntoOrAs(root.join("destination")))
        };
        assert!(matches!(Plan::new(request), Err(brigade_copy::Refusal::SameEntry { .. })), "{asked:?}");
    }
}

/// Catalogue C-19.
#[test]
fn a_folder_and_a_file_in_each_others_place_are_errors_and_the_rest_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["source/folder", "destination/file"] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("inside"), name).unwrap();
    }
    fs::write(root.join("source/file"), "new").unwrap();
    fs::write(root.join("source/other"), "new").unwrap();
    fs::write(root.join("destination/folder"), "old").unwrap();
    let (summary, events) = copy(root, Policy::default(), Answer::Replace);
    let mut failed: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Failed(error) => {
                Some(format!("{} {}: {}", error.action, error.path.file_name().unwrap().display(), error.cause))
            }
            _ => None,
        })
        .collect();
    failed.sort();
    assert_eq!(
        failed,
        ["replace file: a folder is in the way", "replace folder: something that is not a folder is in the way"]
    );
    assert_eq!((summary.n_copied, summary.n_failed), (1, 2));
    assert_eq!(fs::read_to_string(root.join("destination/folder")).unwrap(), "old");
    assert_eq!(fs::read_to_string(root.join("destination/file/inside")).unwrap(), "destination/file");
}

/// Catalogue C-40.
#[test]
fn two_copiers_to_one_destination_mix_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let contents = |source: &str, idx: usize| source.repeat(1_000 + idx * 400 + source.len() * 13);
    for source in ["a", "bb"] {
        fs::create_dir_all(root.join(source)).unwrap();
        for idx in 0..150 {
            file(&root.join(source).join(format!("{idx}")), &contents(source, idx), 1_000);
        }
        fs::hard_link(root.join(source).join("0"), root.join(source).join("link")).unwrap();
    }
    for backup in [Backup::Never, Backup::Numbered] {
        let destination = root.join(format!("{backup:?}"));
        fs::create_dir(&destination).unwrap();
        let start = |source: &str| {
            let request = Request {
                workers: std::num::NonZeroUsize::new(2),
                policy: Policy { backup: backup.clone(), ..Policy::default() },
                ..Request::new(vec![root.join(source).join(".")], Target::Exactly(destination.clone()))
            };
            Plan::new(request).unwrap().start(|_| {}).unwrap()
        };
        let copiers = [start("a"), start("bb")];
        for copier in &copiers {
            let summary = copier.wait_timeout(WATCHDOG).unwrap();
            assert_eq!((summary.broken, summary.n_failed), (None, 0));
        }
        for entry in fs::read_dir(&destination).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let idx = name.split(".~").next().unwrap().parse().unwrap_or(0);
            let found = fs::read_to_string(destination.join(&name)).unwrap();
            assert!(found == contents("a", idx) || found == contents("bb", idx), "{name} is neither of both");
            let data = fs::metadata(destination.join(&name)).unwrap();
            assert_eq!((data.mode() & 0o7777, data.mtime()), (0o640, 1_000), "{name}");
        }
        drop(copiers);
    }
}

#[test]
fn a_folder_that_holds_a_source_does_not_give_way() {
    let scratch = Scratch::new();
    let inside = scratch.file("folder/entry/folder");
    scratch.file("folder/other");
    let policy = Policy { type_change: TypeChange::Allowed, ..Policy::default() };
    for (source, target) in [
        (inside.clone(), Target::Exactly(scratch.path("folder"))),
        (inside.clone(), Target::IntoOrAs(scratch.path(""))),
        (inside.clone(), Target::Exactly(scratch.path("folder/entry"))),
    ] {
        let request = Request { policy: policy.clone(), ..Request::new(vec![source], target.clone()) };
        let refused = Plan::new(request);
        assert!(matches!(refused, Err(brigade_copy::Refusal::InsideDestination { .. })), "{target:?}: {refused:?}");
    }
    assert!(inside.exists());
    // Beside it the folder goes.
    let request = Request {
        policy,
        ..Request::new(vec![scratch.path("folder/other")], Target::Exactly(scratch.path("folder/entry")))
    };
    let running = Plan::new(request).unwrap().start(|_| {}).unwrap();
    assert_eq!(running.wait_timeout(WATCHDOG).unwrap().n_copied, 1);
    assert_eq!(fs::read(scratch.path("folder/entry")).unwrap(), b"folder/other");
}
