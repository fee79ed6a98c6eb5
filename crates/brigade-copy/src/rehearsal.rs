//! Runs scheduler and worker functions in this process, in an order and with deaths that a seed decides. Test code only; what
//! needs real processes is tested in ../tests.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use torture::mounts::Scratch;

use crate::event::Outcome;
use crate::lanes::{Lanes, Words, n_words};
use crate::names::Bytes;
use crate::request::{Answer, Delete, Durability, EmptySource, GroupLimits, Policy};
use crate::run::Older;
use crate::scheduler::{Commits, Scheduler, Top};
use crate::task::{CopyAnswer, Counts, EntryDone, Failure, Identity};
use crate::worker::{Facts, Root, Worker};

/// A source and a destination folder, and how they are copied.
pub(crate) struct Rehearsal {
    pub(crate) folder: Scratch,
    pub(crate) walk_ahead_bytes: usize,
    /// In a hundred, how often a worker dies before and after it has done its task.
    pub(crate) deaths_percent: u64,
    /// The worker that gets the first task dies when it has done all of it, and nobody has wanted a share.
    pub(crate) first_dies: bool,
    /// A worker dies whenever it gets a task with this name in it.
    pub(crate) poison: Option<&'static str>,
    pub(crate) seed: u64,
    pub(crate) policy: Policy,
    pub(crate) durability: Durability,
    /// Stop after this many answers.
    pub(crate) stop_after: Option<usize>,
    /// Who else changes the folders: called after each task until it says that it has.
    pub(crate) meanwhile: Option<fn(&Rehearsal) -> bool>,
}

pub(crate) struct Played {
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<Failure>,
    pub(crate) entries: Vec<EntryDone>,
    pub(crate) n_tasks: usize,
    /// In one answer, of what was found and not begun.
    pub(crate) most_names: usize,
    pub(crate) n_deaths: usize,
}

impl Rehearsal {
    pub(crate) fn new() -> Self {
        let folder = Scratch::new();
        folder.folder("source");
        Self {
            folder,
            walk_ahead_bytes: 0,
            deaths_percent: 0,
            first_dies: false,
            poison: None,
            seed: 1,
            policy: Policy::default(),
            durability: Durability::Never,
            stop_after: None,
            meanwhile: None,
        }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path("source")
    }

    pub(crate) fn destination(&self) -> PathBuf {
        self.folder.path("destination")
    }

    /// Copies the source folder to the destination folder with three workers.
    pub(crate) fn play(&self) -> Played {
        // Workers go to folders, and the current folder belongs to the process.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let started = crate::run::moment_before_the_first_write(Older::IsToldApart);
        let made = fs::DirBuilder::new().mode(0o700).create(self.destination());
        let outcome = if made.is_ok() { Outcome::Copied } else { Outcome::Unchanged };
        let destination = Identity::of(&rustix::fs::stat(self.destination()).unwrap());
        let facts = Facts {
            secret: [self.seed, 2],
            started,
            resumed: None,
            removes_litter: false,
            destinations: vec![destination],
            wants_sizes: self.walk_ahead_bytes > 0,
            wants_entries: true,
            wants_times: false,
            policy: self.policy.clone(),
            selection: crate::Selection::default(),
            bytes_per_second: None,
            delete: Delete::Extra,
            empty_source: EmptySource::RemovesNothing,
            fidelity: crate::request::Fidelity::default(),
            checks: crate::worker::Checks::default(),
            durability: self.durability,
            group_limits: GroupLimits::default(),
            key: None,
        };
        let words = Words::new(n_words(3)).unwrap();
        let lanes = Lanes::new(words.clone(), 3);
        let mut workers: Vec<_> =
            (1..=3).map(|pid| Worker::new(facts.clone(), vec![self.root()], words.clone(), 3, pid)).collect();
        let mut scheduler =
            Scheduler::new(3, self.walk_ahead_bytes, Commits::new(self.durability, GroupLimits::default(), true));
        scheduler.counts.n_found += 1;
        scheduler.commits.note_root(0, crate::calls::fstat(&self.root().destination).unwrap().st_dev);
        scheduler.add(0, Top::Folder { path: Bytes::default(), outcome });
        let mut random = Random(self.seed);
        let mut played = Played {
            counts: Counts::default(),
            failures: vec![],
            entries: vec![],
            n_tasks: 0,
            most_names: 0,
            n_deaths: 0,
        };
        let mut waiting = Vec::new();
        let mut meanwhile = self.meanwhile;
        // Ten tasks are done between two deaths, so that no task looks as if it killed workers.
        let mut n_safe = 10;
        loop {
            while let Some(task) = scheduler.next_task() {
                waiting.push(task);
            }
            let unasked = scheduler.take_unasked();
            for question in &unasked {
                let is_wanted = question.path.0.last().is_some_and(|byte| byte % 2 == 0);
                let answer = if is_wanted { Answer::Replace } else { Answer::Keep };
                played.entries.extend(scheduler.on_reply(question.id, answer));
            }
            if !unasked.is_empty() {
                continue;
            }
            let is_first = self.first_dies && played.n_tasks == 0;
            lanes.want(if is_first { 0 } else { scheduler.n_idle_workers() });
            if waiting.is_empty() {
                break;
            }
            let draw = random.below(1 << 20) as usize;
            n_safe -= i32::from(n_safe > 0);
            let dies = n_safe == 0 && random.below(100) < self.deaths_percent;
            let dies_late = is_first || (dies && random.below(2) == 0);
            n_safe = if dies { 10 } else { n_safe };
            let task = waiting.swap_remove(draw % waiting.len());
            played.n_tasks += 1;
            let (id, is_poisoned) = (task.id, self.poison.is_some_and(|name| format!("{task:?}").contains(name)));
            if is_poisoned || (dies && !dies_late) {
                played.n_deaths += 1;
                scheduler.on_death(id);
                continue;
            }
            let answer = workers[draw % 3].run(task);
            if dies_late {
                played.n_deaths += 1;
                scheduler.on_death(id);
                continue;
            }
            played.keep(&answer);
            scheduler.on_answer(id, answer);
            meanwhile = meanwhile.filter(|act| !act(self));
            if Some(played.n_tasks) == self.stop_after {
                lanes.stop();
                scheduler.stop();
            }
        }
        assert!(meanwhile.is_none(), "what was to happen meanwhile did not");
        assert!(scheduler.is_done());
        assert!(scheduler.is_walk_finished());
        played.failures.extend(scheduler.take_failures());
        played.counts = scheduler.counts;
        played
    }

    fn root(&self) -> Root {
        let open = |path: PathBuf| OwnedFd::from(fs::File::open(path).unwrap());
        Root {
            source: open(self.source()),
            destination: open(self.destination()),
            renamed: None,
            called: Some(Vec::new()),
        }
    }
}

impl Played {
    fn keep(&mut self, answer: &CopyAnswer) {
        self.failures.extend(answer.failures.iter().cloned());
        self.entries.extend(answer.entries.iter().cloned());
        let n_names = answer.leftovers.iter().map(|leftover| leftover.files.len() + leftover.folders.len()).sum();
        self.most_names = self.most_names.max(n_names);
    }

    /// Every entry that was found is in the books once, and every failure has been reported.
    pub(crate) fn assert_books(&self) {
        assert_eq!(self.counts.n_found, self.counts.n_done(), "{:?}", self.counts);
        assert_eq!(self.counts.n_failed, self.failures.len() as u64, "{:?}", self.failures);
    }
}

/// Everything about a tree that a copy must keep. Hard links show as the first path, in order, of the same file.
pub(crate) fn look(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut entries = BTreeMap::new();
    let mut first_paths = std::collections::HashMap::new();
    let mut paths = Vec::new();
    collect(root, &mut paths);
    paths.sort();
    for path in paths {
        let data = fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let first = first_paths.entry((data.dev(), data.ino())).or_insert_with(|| relative.clone()).clone();
        let contents = match data.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().as_bytes().to_vec(),
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => data.rdev().to_string().into_bytes(),
        };
        let digest = digest(&contents);
        let times = (data.mtime(), data.mtime_nsec());
        let text =
            format!("{:o} {}:{} {times:?} {digest:x}\t{}", data.mode(), data.uid(), data.gid(), first.escape_ascii());
        entries.insert(relative, text);
    }
    entries
}

fn digest(contents: &[u8]) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(contents);
    hasher.finish()
}

fn collect(path: &Path, paths: &mut Vec<PathBuf>) {
    paths.push(path.to_owned());
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), paths);
        }
    }
}

/// xorshift64*, enough to shuffle.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// A tree with what trees have: nested folders, odd names and modes, links of both kinds, holes, old and odd times.
pub(crate) fn grow_tree(root: &Path, n_folders: usize, n_files: usize, seed: u64) {
    let mut random = Random(seed);
    let mut folders = vec![root.to_owned()];
    for idx in 0..n_folders {
        let parent = &folders[random.below(folders.len() as u64) as usize];
        let folder = parent.join(format!("folder{idx}"));
        fs::create_dir(&folder).unwrap();
        folders.push(folder);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for idx in 0..n_files {
        let folder = &folders[random.below(folders.len() as u64) as usize];
        let path = folder.join(odd_name(idx));
        match random.below(12) {
            0 => symlink(format!("nowhere{idx}"), &path).unwrap(),
            1 if !files.is_empty() => {
                fs::hard_link(&files[random.below(files.len() as u64) as usize], &path).unwrap();
            }
            2 => {
                let file = fs::File::create(&path).unwrap();
                file.set_len(120_000).unwrap();
                std::os::unix::fs::FileExt::write_at(&file, b"after a hole", 70_000).unwrap();
            }
            3 => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o640)).unwrap(),
            _ => {
                let n_bytes = random.below(20_000) as usize;
                fs::write(&path, vec![idx as u8; n_bytes]).unwrap();
                let mode = [0o644, 0o600, 0o755, 0o4755, 0o000][random.below(5) as usize];
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                files.push(path.clone());
            }
        }
        set_mtime(&path, random.below(4_000_000_000) as i64 - 2_000_000_000, random.below(1_000_000_000) as i64);
    }
    for (idx, folder) in folders.iter().enumerate().rev() {
        let mode = [0o755, 0o700, 0o1777, 0o2750][idx % 4];
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        set_mtime(folder, random.below(2_000_000_000) as i64, 123_456_789);
    }
}

pub(crate) fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn odd_name(idx: usize) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt as _;
    let mut name = match idx % 5 {
        0 => b"new\nline".to_vec(),
        1 => b"\xff\xfe".to_vec(),
        2 => b"-rf \x1b[2J".to_vec(),
        _ => b"plain".to_vec(),
    };
    name.extend_from_slice(idx.to_string().as_bytes());
    std::ffi::OsString::from_vec(name)
}
