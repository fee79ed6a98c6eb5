//! The programs in examples/, run as a user runs them, in both languages: what they print, how they end, what they leave.
//!
//! `cargo test -p brigade` builds them first; `cargo test --test examples` alone takes those that are there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// Far more than any of them takes; only one that waits for ever is stopped by it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a killed process may take to leave /proc.
const BURIAL: Duration = Duration::from_secs(10);

const CHINESE: [(&str, &str); 1] = [("LANG", "zh_CN.UTF-8")];
const ENGLISH: [(&str, &str); 1] = [("LANG", "C")];

/// How a program ended.
struct Ended {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Ended {
    /// The lines of a program that is to end well.
    fn lines(&self) -> Vec<&str> {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout.lines().collect()
    }
}

fn example(name: &str, locale: &[(&str, &str)]) -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is not built; `cargo test -p brigade` does it", program.display());
    let mut command = Command::new(program);
    for variable in ["LC_ALL", "LC_MESSAGES", "LANG"] {
        command.env_remove(variable);
    }
    command.envs(locale.iter().copied()).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program to its end, with `answer` as what its user types, and looks that no process of it is left.
fn run(name: &str, locale: &[(&str, &str)], answer: &OsStr) -> Ended {
    let child = example(name, locale).spawn().unwrap();
    finish(name, child, answer, |_| {})
}

/// The same for a program that is started already; `meanwhile` is called once it is asked.
fn finish(name: &str, mut child: Child, answer: &OsStr, meanwhile: impl FnOnce(&mut Child)) -> Ended {
    let group = Pid::from_child(&child);
    let (ended, is_ended) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let is_late = is_ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if is_late {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        is_late
    });
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    meanwhile(&mut child);
    // Returns when the last process that could write has ended.
    let output = child.wait_with_output().unwrap();
    drop(ended);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!watchdog.join().unwrap(), "{name} has not ended; it said:\n{stdout}\n{stderr}");

    let deadline = Instant::now() + BURIAL;
    while !members(group).is_empty() {
        assert!(Instant::now() < deadline, "{name} left {:?}", members(group));
        std::thread::yield_now();
    }
    Ended { stdout, stderr, code: output.status.code() }
}

/// The processes of a group: number and name.
fn members(group: Pid) -> Vec<(i32, String)> {
    let stats = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let folder = entry.unwrap().path();
        // It may have ended since it was listed.
        fs::read_to_string(folder.join("stat")).ok()
    });
    let member = |stat: String| {
        // pid (name) state ppid pgrp …; the name may contain anything.
        let (head, tail) = stat.rsplit_once(')')?;
        let (pid, name) = head.split_once(" (")?;
        let pgrp = tail.split_whitespace().nth(2)?;
        (pgrp.parse() == Ok(group.as_raw_nonzero().get())).then(|| (pid.parse().unwrap(), name.to_owned()))
    };
    stats.filter_map(member).collect()
}

/// What stands in `line` where `pattern` has `{}`; `None` if the rest differs.
fn fields<'a>(line: &'a str, pattern: &str) -> Option<Vec<&'a str>> {
    let mut parts = pattern.split("{}");
    let mut rest = line.strip_prefix(parts.next()?)?;
    let mut fields = Vec::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { rest.strip_suffix(part)?.len() } else { rest.find(part)? };
        fields.push(&rest[..end]);
        rest = &rest[end + part.len()..];
    }
    Some(fields)
}

/// The numbers in the lines that have this pattern.
fn numbers(lines: &[&str], pattern: &str) -> Vec<Vec<u32>> {
    let of_line = |line: &&str| Some(fields(line, pattern)?.iter().map(|field| field.parse().unwrap()).collect());
    lines.iter().filter_map(of_line).collect()
}

#[test]
fn the_singer_and_the_dancer_take_turns() {
    for (locale, pid) in [(CHINESE, "进程号为"), (ENGLISH, "in process ")] {
        let ended = run("sing_and_dance", &locale, OsStr::new(""));
        let lines = ended.lines();
        let singer = numbers(&lines, &format!("-----sing----- {pid}{{}}"));
        let dancer = numbers(&lines, &format!("-----dance----- {pid}{{}}"));
        assert_eq!((lines.len(), singer.len(), dancer.len()), (6, 3, 3), "{lines:?}");
        assert_ne!(singer[0], dancer[0]);
        assert!(singer.iter().all(|pid| *pid == singer[0]) && dancer.iter().all(|pid| *pid == dancer[0]));
        let is_sung: Vec<bool> = lines.iter().map(|line| line.starts_with("-----sing-----")).collect();
        assert_eq!(is_sung, [true, false, true, false, true, false]);
    }
}

#[test]
fn parent_and_child_tell_the_same_numbers() {
    let chinese =
        ["父进程的进程号为{}", "子进程的进程号为{},父进程的进程号为{}", "子进程{}执行结束,它说父进程的进程号为{}"];
    let english = [
        "the parent is process {}",
        "the child is process {}, its parent is process {}",
        "the child, process {}, has ended; it said that its parent is process {}",
    ];
    for (locale, patterns) in [(CHINESE, chinese), (ENGLISH, english)] {
        let child = example("process_id", &locale).spawn().unwrap();
        let parent_pid = child.id();
        let ended = finish("process_id", child, OsStr::new(""), |_| {});
        let lines = ended.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(numbers(&lines[..1], patterns[0]), [[parent_pid]], "{lines:?}");
        let child_pid = numbers(&lines[1..2], patterns[1])[0][0];
        assert_ne!(child_pid, parent_pid);
        assert_eq!(numbers(&lines[1..2], patterns[1]), [[child_pid, parent_pid]], "{lines:?}");
        assert_eq!(numbers(&lines[2..], patterns[2]), [[child_pid, parent_pid]], "{lines:?}");
    }
}

#[test]
fn a_queue_of_three_refuses_a_fourth_message_and_keeps_the_order() {
    let chinese = [
        "放入第1条消息,队列中有1条",
        "放入第2条消息,队列中有2条",
        "放入第3条消息,队列中有3条",
        "队列已满: true",
        "消息4放不进去",
        "取出消息1",
        "取出消息2",
        "取出消息3",
        "队列已空: true",
    ];
    let english = [
        "put message 1, the queue holds 1",
        "put message 2, the queue holds 2",
        "put message 3, the queue holds 3",
        "the queue is full: true",
        "message 4 does not fit in",
        "got message 1",
        "got message 2",
        "got message 3",
        "the queue is empty: true",
    ];
    assert_eq!(run("queue", &CHINESE, OsStr::new("")).lines(), chinese);
    assert_eq!(run("queue", &ENGLISH, OsStr::new("")).lines(), english);
}

#[test]
fn the_first_locale_variable_that_is_not_empty_chooses_the_language() {
    let cases: [(&[(&str, &str)], bool); 7] = [
        (&[("LC_ALL", "zh_TW"), ("LANG", "C")], true),
        (&[("LC_ALL", ""), ("LC_MESSAGES", "zh_CN.UTF-8"), ("LANG", "en_GB")], true),
        (&[("LC_MESSAGES", ""), ("LANG", "zh")], true),
        (&[("LANG", "ZH_cn")], true),
        (&[("LC_ALL", "C"), ("LANG", "zh_CN.UTF-8")], false),
        (&[("LC_MESSAGES", "en_US.UTF-8"), ("LANG", "zh_CN.UTF-8")], false),
        (&[], false),
    ];
    for (locale, is_chinese) in cases {
        let ended = run("queue", locale, OsStr::new(""));
        assert_eq!(ended.lines()[0].starts_with("放入"), is_chinese, "{locale:?}");
    }
}

#[test]
fn the_processor_gets_everything_that_was_downloaded() {
    let chinese = run("download_and_process", &CHINESE, OsStr::new(""));
    assert_eq!(chinese.lines(), ["数据下载完成", "[11, 22, 33]"]);
    let english = run("download_and_process", &ENGLISH, OsStr::new(""));
    assert_eq!(english.lines(), ["the data has been downloaded", "[11, 22, 33]"]);
}

#[test]
fn ten_tasks_run_in_exactly_three_processes() {
    let chinese = ["{}开始执行,进程号为{}", "{} 执行完毕,耗时{}", "共找到{}个质数"];
    let english = ["{} starts, in process {}", "{} is done after {} s", "{} primes were found in all"];
    for (locale, patterns) in [(CHINESE, chinese), (ENGLISH, english)] {
        let ended = run("pool", &locale, OsStr::new(""));
        let lines = ended.lines();
        assert_eq!(lines.len(), 23, "{lines:?}");
        assert_eq!((lines[0], lines[22]), ("----start----", "-----end-----"));
        let is_of = |number: u32, line: &str, pattern| {
            fields(line, pattern).is_some_and(|fields| fields[0] == number.to_string())
        };
        for number in 0..10 {
            let started_at = lines.iter().position(|line| is_of(number, line, patterns[0]));
            let ended_at = lines.iter().position(|line| is_of(number, line, patterns[1]));
            assert!(started_at.is_some() && started_at < ended_at, "task {number}: {lines:?}");
        }
        let pids: BTreeSet<u32> = numbers(&lines, patterns[0]).iter().map(|numbers| numbers[1]).collect();
        assert_eq!(pids.len(), 3, "{lines:?}");
        for seconds in lines.iter().filter_map(|line| fields(line, patterns[1])).map(|fields| fields[1]) {
            let (whole, hundredths) = seconds.split_once('.').unwrap();
            assert!(whole.parse::<u32>().is_ok() && hundredths.len() == 2, "{seconds}");
        }
        // Below 20 000, 40 000, … 200 000 there are 2 262, 4 203, … 17 984 (counted by a sieve).
        assert_eq!(numbers(&lines, patterns[2]), [[103_271]]);
    }
}

/// What the two copying programs say in a language.
struct Wording {
    locale: [(&'static str, &'static str); 1],
    suffix: &'static str,
    question: &'static str,
    folder_created: &'static str,
    file_created: &'static str,
    share: &'static str,
    not_copied: &'static str,
    exists: &'static str,
    missing: &'static str,
}

const WORDINGS: [Wording; 2] = [
    Wording {
        locale: CHINESE,
        suffix: "_复件",
        question: "请输入要拷贝的文件夹的名字:",
        folder_created: "创建文件夹成功",
        file_created: "创建文件成功",
        share: "已拷贝文件{} %",
        not_copied: "拷贝失败: ",
        exists: "已存在",
        missing: "没有这个文件夹",
    },
    Wording {
        locale: ENGLISH,
        suffix: "_copy",
        question: "The folder to copy: ",
        folder_created: "folder created",
        file_created: "file created",
        share: "copied {} %",
        not_copied: "not copied: ",
        exists: "exists already",
        missing: "there is no such folder",
    },
];

/// A folder with sub-folders, an empty one among them, and names of all kinds. Returns the number of files.
fn plant(root: &Path) -> usize {
    fs::create_dir_all(root.join("sub/deeper/empty")).unwrap();
    let names = ["a.txt", "sub/b c.txt", "sub/deeper/文件", "sub/deeper/-n", "zero"];
    for name in names {
        fs::write(root.join(name), name.repeat(if name == "zero" { 0 } else { 20_000 })).unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(b"sub/not utf-8 \xff")), "x").unwrap();
    symlink("a.txt", root.join("link")).unwrap();
    symlink("nowhere", root.join("sub/dangling")).unwrap();
    names.len() + 3
}

/// What is below a folder: for each name what it is and what is in it.
fn tree(root: &Path) -> BTreeMap<PathBuf, (&'static str, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut unseen = vec![root.to_owned()];
    while let Some(folder) = unseen.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let content = if kind.is_dir() {
                unseen.push(path.clone());
                ("folder", Vec::new())
            } else if kind.is_symlink() {
                ("link", fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else if kind.is_file() {
                ("file", fs::read(&path).unwrap())
            } else {
                ("special", Vec::new())
            };
            found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
        }
    }
    found
}

/// A place with a folder `photos` in it, and where its copy appears.
fn place(wording: &Wording) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("photos");
    fs::create_dir(&source).unwrap();
    let copy = place.path().join(format!("photos{}", wording.suffix));
    (place, source, copy)
}

/// The shares that were shown, the first share included, after the lines that come before them.
fn shares<'a>(ended: &'a Ended, wording: &Wording) -> Vec<&'a str> {
    let (before, shown) = ended.stdout.split_once('\r').unwrap();
    assert_eq!(before, format!("{}\n{}\n", wording.question, wording.folder_created));
    let shown = shown.strip_suffix('\n').unwrap().split('\r');
    shown.map(|share| fields(share, wording.share).unwrap()[0]).collect()
}

#[test]
fn a_folder_is_copied_with_a_line_for_each_file() {
    for wording in &WORDINGS {
        let (_place, source, copy) = place(wording);
        let n_files = plant(&source);
        let ended = run("copy_folder", &wording.locale, source.as_os_str());
        let mut expected = vec![wording.question, wording.folder_created];
        expected.extend(vec![wording.file_created; n_files]);
        assert_eq!(ended.lines(), expected);
        assert_eq!(tree(&copy), tree(&source));
    }
}

#[test]
fn the_progress_ends_at_100_percent() {
    for wording in &WORDINGS {
        let (_place, source, copy) = place(wording);
        assert_eq!(plant(&source), 8);
        let ended = run("copy_folder_progress", &wording.locale, source.as_os_str());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let expected = ["0.00", "12.50", "25.00", "37.50", "50.00", "62.50", "75.00", "87.50", "100.00"];
        assert_eq!(shares(&ended, wording), expected);
        assert_eq!(tree(&copy), tree(&source));
    }
}

#[test]
fn an_empty_folder_is_copied_and_the_programs_end() {
    for wording in &WORDINGS {
        let (_place, source, copy) = place(wording);
        let ended = run("copy_folder", &wording.locale, source.as_os_str());
        assert_eq!(ended.lines(), [wording.question, wording.folder_created]);
        assert!(tree(&copy).is_empty());

        fs::remove_dir(&copy).unwrap();
        let ended = run("copy_folder_progress", &wording.locale, source.as_os_str());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_eq!(shares(&ended, wording), ["100.00"]);
        assert!(tree(&copy).is_empty());
    }
}

#[test]
fn a_folder_named_relative_to_the_present_one_is_copied_beside_itself() {
    let (place, source, copy) = place(&WORDINGS[1]);
    plant(&source);
    let child = example("copy_folder", &ENGLISH).current_dir(place.path()).spawn().unwrap();
    let ended = finish("copy_folder", child, OsStr::new("photos/\n"), |_| {});
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(tree(&copy), tree(&source));
}

#[test]
fn a_file_that_cannot_be_copied_is_named_and_the_rest_is_copied() {
    for wording in &WORDINGS {
        let (_place, source, copy) = place(wording);
        let n_files = plant(&source);
        // Nobody, root included, can read a socket as a file.
        let _listener = UnixListener::bind(source.join("sub/socket")).unwrap();
        for name in ["copy_folder", "copy_folder_progress"] {
            let ended = run(name, &wording.locale, source.as_os_str());
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
            let named = ended.stderr.strip_prefix(wording.not_copied).unwrap();
            assert!(named.starts_with("sub/socket: ") && ended.stderr.lines().count() == 1, "{named}");
            if name == "copy_folder" {
                assert_eq!(ended.stdout.matches(wording.file_created).count(), n_files);
            } else {
                // Eight of nine, and never more.
                assert_eq!(shares(&ended, wording).last(), Some(&"88.88"));
            }
            let mut expected = tree(&source);
            expected.remove(Path::new("sub/socket"));
            assert_eq!(tree(&copy), expected);
            fs::remove_dir_all(&copy).unwrap();
        }
    }
}

/// Kills the processes of a group whose names begin so, once there are workers, a manager, and something to lose.
fn kill_after_the_first_share(child: &mut Child, group: Pid, name_start: &str) {
    let stdout = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while byte != *b"\r" {
        stdout.read_exact(&mut byte).unwrap();
    }
    for (pid, name) in members(group) {
        if name.starts_with(name_start) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

/// The tutorial's loop waits for one message for each file, and for ever if a worker dies.
#[test]
fn killed_workers_do_not_keep_the_progress_from_ending() {
    let wording = &WORDINGS[1];
    let (_place, source, copy) = place(wording);
    for number in 0..200 {
        fs::write(source.join(number.to_string()), vec![b'x'; 100_000]).unwrap();
    }
    let child = example("copy_folder_progress", &wording.locale).spawn().unwrap();
    let group = Pid::from_child(&child);
    let kill_workers = |child: &mut Child| kill_after_the_first_share(child, group, "worker-");
    let ended = finish("copy_folder_progress", child, source.as_os_str(), kill_workers);

    let name_of = |line: &str| fields(line, "not copied: {}: {}").unwrap()[0].to_owned();
    let named: BTreeSet<String> = ended.stderr.lines().map(name_of).collect();
    assert_eq!(ended.code, Some(i32::from(!named.is_empty())), "{}", ended.stderr);
    let (mut copied, mut expected) = (tree(&copy), tree(&source));
    for name in &named {
        copied.remove(Path::new(name));
        assert!(expected.remove(Path::new(name)).is_some(), "{name} does not exist");
    }
    assert_eq!(copied, expected);
}

#[test]
fn a_killed_manager_ends_the_progress_and_not_the_copy() {
    let wording = &WORDINGS[1];
    let (_place, source, copy) = place(wording);
    for number in 0..1000 {
        fs::write(source.join(number.to_string()), "x").unwrap();
    }
    let child = example("copy_folder_progress", &wording.locale).spawn().unwrap();
    let group = Pid::from_child(&child);
    let kill_manager = |child: &mut Child| kill_after_the_first_share(child, group, "manager");
    let ended = finish("copy_folder_progress", child, source.as_os_str(), kill_manager);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // It may have been quicker than the signal.
    let is_told = ended.stderr.starts_with("no more progress is known: ") && ended.stderr.lines().count() == 1;
    assert!(is_told || ended.stdout.ends_with("\rcopied 100.00 %\n"), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(tree(&copy), tree(&source));
}

#[test]
fn nothing_is_written_over_and_wrong_use_ends_with_2() {
    for wording in &WORDINGS {
        for name in ["copy_folder", "copy_folder_progress"] {
            let (place, source, copy) = place(wording);
            plant(&source);
            fs::create_dir(&copy).unwrap();
            fs::write(copy.join("a.txt"), "mine").unwrap();
            let before = tree(place.path());
            let no_folder = source.join("a.txt");
            let nothing = place.path().join("nothing");
            let answers = [
                (source.as_os_str(), wording.exists),
                (no_folder.as_os_str(), wording.missing),
                (nothing.as_os_str(), wording.missing),
            ];
            for (answer, complaint) in answers {
                let ended = run(name, &wording.locale, answer);
                assert_eq!((ended.code, ended.stdout.trim_end_matches('\n')), (Some(2), wording.question));
                assert!(ended.stderr.contains(complaint), "{}", ended.stderr);
            }
            assert_eq!(tree(place.path()), before);
        }
    }
}
