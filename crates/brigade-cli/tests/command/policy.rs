//! Policies for what is at the destination already, from the command line to the tree.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::support::{self, Scene, Terminal};

/// Gives a file a modification time of so many seconds.
fn age(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn dated(scene: &Scene, name: &str, contents: &str, seconds: i64) {
    scene.file(name, contents);
    age(&scene.path(name), seconds);
}

fn read(scene: &Scene, name: &str) -> String {
    fs::read_to_string(scene.path(name)).unwrap()
}

/// Names are what is at the destination, beside a source from second 5.
fn table(scene: &Scene) {
    for (name, contents, seconds) in
        [("older", "old", 4), ("newer", "new", 6), ("same", "SRC", 5), ("touched", "src", 4)]
    {
        dated(scene, &format!("a/{name}"), "src", 5);
        dated(scene, &format!("b/{name}"), contents, seconds);
    }
    dated(scene, "a/absent", "src", 5);
}

#[test]
fn each_policy_keeps_and_replaces_what_it_says() {
    for (option, older, newer, same, counts) in [
        (None, "src", "src", "SRC", "copied 4 + unchanged 2 + skipped 0"),
        (Some("-n"), "old", "new", "SRC", "copied 1 + unchanged 1 + skipped 4"),
        (Some("-u"), "src", "new", "SRC", "copied 3 + unchanged 2 + skipped 1"),
        (Some("-c"), "src", "src", "src", "copied 4 + unchanged 2 + skipped 0"),
        (Some("--ignore-times"), "src", "src", "src", "copied 5 + unchanged 1 + skipped 0"),
    ] {
        let scene = Scene::new();
        table(&scene);
        let run = scene.run(option.into_iter().chain(["-v", "-T", "a", "b"]));
        assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
        assert!(run.stderr.contains(&format!("found 6 = {counts} + failed 0")), "{option:?}: {}", run.stderr);
        assert_eq!(read(&scene, "b/older"), older, "{option:?}");
        assert_eq!(read(&scene, "b/newer"), newer, "{option:?}");
        assert_eq!(read(&scene, "b/same"), same, "{option:?}");
        assert_eq!(read(&scene, "b/absent"), "src", "{option:?}");
    }
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let scene = Scene::new();
    scene.file("a", "x");
    let table: [(&[&str], &str, &str); 6] = [
        (
            &["--checksum", "--ignore-times"],
            "'--checksum' and '--ignore-times' cannot be used together",
            "'--checksum' 和 '--ignore-times' 不能同时使用",
        ),
        (
            &["-n", "--backup"],
            "'--backup' and '--no-clobber' cannot be used together",
            "'--backup' 和 '--no-clobber' 不能同时使用",
        ),
        (
            &["-i", "-n", "-S.old"],
            "'--suffix' and '--no-clobber' cannot be used together",
            "'--suffix' 和 '--no-clobber' 不能同时使用",
        ),
        (
            &["-n", "-i"],
            "'--interactive' asks on a terminal, and there is none",
            "'--interactive' 需要在终端上询问，但没有终端",
        ),
        (
            &["--backup=n"],
            "'n' is not a value for '--backup'; it takes none, off, simple, never, existing, nil, numbered, t",
            "'n' 不是 '--backup' 的有效值；可用的值：none, off, simple, never, existing, nil, numbered, t",
        ),
        (
            &["-S", "a/b"],
            "'a/b' is not a suffix for backups; it takes characters other than '/'",
            "'a/b' 不能作为备份后缀；应为不含 '/' 的字符",
        ),
    ];
    for (arguments, english, chinese) in table {
        for (language, sentence) in [("--lang=en", english), ("--lang=zh-CN", chinese)] {
            let run = scene.run(arguments.iter().copied().chain([language, "a", "b"]));
            assert!(run.stderr.starts_with(&format!("brigade: {sentence}")), "{arguments:?}: {}", run.stderr);
            assert_eq!(run.status.code(), Some(2));
        }
    }
    assert!(!scene.path("b").exists());
}

#[test]
fn a_backup_gets_the_name_that_cp_would_give_it() {
    /// Options, environment, and the names of backups.
    type Row = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [&'static str]);
    let table: [Row; 9] = [
        (&["-b"], &[], &["f~"]),
        (&["-bv"], &[], &["f~"]),
        (&["--backup=simple", "-S.old"], &[], &["f.old"]),
        (&["-S", ".old"], &[], &["f.old"]),
        (&["--backup"], &[("SIMPLE_BACKUP_SUFFIX", ".env")], &["f.env"]),
        (&["--backup"], &[("SIMPLE_BACKUP_SUFFIX", "a/b")], &["f~"]),
        (&["--backup"], &[("VERSION_CONTROL", "numbered")], &["f.~1~"]),
        (&["--backup=t"], &[("VERSION_CONTROL", "simple")], &["f.~1~"]),
        (&["--backup=none"], &[], &[]),
    ];
    for (options, variables, names) in table {
        let [ours, theirs] = ["brigade", "cp"].map(|tool| {
            let scene = Scene::new();
            dated(&scene, "a/f", "new", 5);
            dated(&scene, "b/f", "old", 4);
            let mut command = match tool {
                "cp" => {
                    let mut command = Command::new("cp");
                    command.args(options).args(["-aT", "a", "b"]).current_dir(scene.path(""));
                    command
                }
                _ => scene.copy(options.iter().copied().chain(["-T", "a", "b"])),
            };
            command.env_remove("VERSION_CONTROL").env_remove("SIMPLE_BACKUP_SUFFIX").envs(variables.iter().copied());
            let ended = support::ended(&mut command);
            assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
            support::tree(&scene.path("b"))
        });
        assert_eq!(ours, theirs, "{options:?} {variables:?}");
        let mut wanted: Vec<&str> = names.to_vec();
        wanted.insert(0, "f");
        assert_eq!(ours.keys().map(|name| name.to_str().unwrap()).collect::<Vec<_>>(), wanted, "{options:?}");
    }
}

#[test]
fn a_numbered_backup_has_the_next_number_and_existing_follows_it() {
    let scene = Scene::new();
    dated(&scene, "a/f", "new", 5);
    dated(&scene, "a/g", "new", 5);
    dated(&scene, "b/f", "old", 4);
    dated(&scene, "b/g", "old", 4);
    scene.file("b/f.~7~", "older");
    assert_eq!(scene.run(["--backup=existing", "-T", "a", "b"]).status.code(), Some(0));
    assert_eq!([read(&scene, "b/f.~8~"), read(&scene, "b/f.~7~"), read(&scene, "b/g~")], ["old", "older", "old"]);
    // What is unchanged gives way to nothing.
    assert_eq!(scene.run(["--backup=numbered", "-T", "a", "b"]).status.code(), Some(0));
    assert_eq!(support::tree(&scene.path("b")).len(), 5);
}

/// What `--dry-run` is shown on: one entry for each reason.
fn reasons(scene: &Scene) {
    for (name, contents, seconds) in [("older", "old", 4), ("longer", "longer", 5), ("same", "SRC", 5)] {
        dated(scene, &format!("a/{name}"), "src", 5);
        dated(scene, &format!("b/{name}"), contents, seconds);
    }
    dated(scene, "a/new/inside", "src", 5);
    dated(scene, "a/over link", "src", 5);
    std::os::unix::fs::symlink("nowhere", scene.path("b/over link")).unwrap();
    std::os::unix::fs::symlink("there", scene.path("a/link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", scene.path("b/link")).unwrap();
    dated(scene, "a/over folder", "src", 5);
    scene.file("b/over folder/inside", "x");
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_why() {
    let scene = Scene::new();
    reasons(&scene);
    let run = scene.run(["--dry-run", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(1));
    let mut lines: Vec<&str> = run.stderr.lines().collect();
    let last = lines.pop().unwrap();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "brigade: cannot replace 'b/over folder': a folder is in the way",
            "would copy 'a/link' -> 'b/link' (target differs)",
            "would copy 'a/longer' -> 'b/longer' (size differs)",
            "would copy 'a/new/inside' -> 'b/new/inside' (new)",
            "would copy 'a/older' -> 'b/older' (time differs)",
            "would copy 'a/over link' -> 'b/over link' (type differs)",
            "would make 'b/new'",
        ]
    );
    assert!(last.starts_with("would copy 4 files, 1 folder, 1 symlink (12 B) in "), "{last}");
    assert!(last.ends_with(", 2 unchanged, 1 failed"), "{last}");
    for (option, name, line) in [
        ("-n", "b/older", "would skip 'b/older' (exists)"),
        ("-u", "b/same", "would skip 'b/same' (newer there)"),
        ("-c", "b/longer", "would copy 'a/longer' -> 'b/longer' (size differs)"),
        ("--ignore-times", "b/longer", "would copy 'a/same' -> 'b/same' (times ignored)"),
        ("-f", "b/longer", "would copy 'a/over folder' -> 'b/over folder' (type differs)"),
        ("-i", "b/longer", "would copy 'a/older' -> 'b/older' (time differs)"),
    ] {
        if option == "-u" {
            age(&scene.path(name), 6);
        }
        let run = scene.run(["--dry-run", option, "-T", "a", "b"]);
        assert!(run.stderr.contains(&format!("{line}\n")), "{option}: {}", run.stderr);
    }
    let chinese = scene.run(["--dry-run", "--lang=zh-CN", "-T", "a", "c"]).stderr;
    assert!(chinese.contains("将复制 'a/same' -> 'c/same'（新）\n"), "{chinese}");
    assert!(!scene.path("c").exists());
}

#[test]
fn a_dry_run_tells_a_program_states_and_reasons() {
    let scene = Scene::new();
    reasons(&scene);
    let run = scene.run(["--dry-run", "--progress=json", "-n", "-T", "a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    let events: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |path: &str| {
        let found: Vec<_> = events.iter().filter(|event| event["event"] == "file" && event["path"] == path).collect();
        assert_eq!(found.len(), 1, "{path}");
        (found[0]["state"].as_str().unwrap().to_owned(), found[0]["reason"].as_str().map(str::to_owned))
    };
    assert_eq!(told("a/new/inside"), ("would-copy".into(), Some("new".into())));
    assert_eq!(told("a/older"), ("skipped".into(), Some("exists".into())));
    assert_eq!(told("a"), ("unchanged".into(), None));
    let summary = events.last().unwrap();
    assert_eq!((&summary["copied"], &summary["skipped"]), (&2.into(), &6.into()), "{summary}");
    assert_eq!(summary["dry_run"], true);
}

/// System calls that change something, whatever they change; opening for writing is told by its flags.
const WRITING_CALLS: &str = "mkdirat,mkdir,unlinkat,unlink,rmdir,renameat,renameat2,rename,linkat,link,symlinkat,symlink,mknodat,\
    mknod,fchmod,fchmodat,chmod,fchown,fchownat,chown,lchown,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,\
    lremovexattr,fremovexattr,ftruncate,truncate,fallocate,copy_file_range,sendfile,pwrite64,openat,open,creat";

#[test]
fn a_dry_run_writes_nothing() {
    for options in [&["-T"][..], &["-fT"], &["-fT", "--backup", "--ignore-times"], &["-cT"]] {
        let scene = Scene::new();
        reasons(&scene);
        fs::hard_link(scene.path("a/older"), scene.path("a/linked")).unwrap();
        let before = metadata(&scene.path("b"));
        let trace = scene.path("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", &format!("trace={WRITING_CALLS}"), "-o"]).arg(&trace);
        command.arg(env!("CARGO_BIN_EXE_brigade")).args(["copy", "--dry-run"]).args(options).args(["a", "b"]);
        let ended = support::ended(command.current_dir(scene.path("")).stdin(std::process::Stdio::null()));
        assert!(ended.stderr.contains("would copy"), "{}", ended.stderr);
        assert_eq!(metadata(&scene.path("b")), before);
        let trace = fs::read_to_string(trace).unwrap();
        // Handles are closed, and the memory that processes share is sized, by calls of the same names.
        let writes: Vec<&str> = trace
            .lines()
            .filter(|line| {
                !line.contains("open") || ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|flag| line.contains(flag))
            })
            .filter(|line| {
                !["ftruncate(", "fallocate(", "\"/dev/null\"", "\"/proc/", "+++", "---", "resumed>"]
                    .iter()
                    .any(|known| line.contains(known))
            })
            .collect();
        assert!(writes.is_empty(), "{options:?}: {writes:#?}");
        assert!(trace.contains("openat("), "the trace holds what was looked at");
    }
}

/// All that can be seen of a tree, the times of the last reading excepted.
fn metadata(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let data = fs::symlink_metadata(&path).unwrap();
        if data.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let times = (data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
        seen.push(format!("{path:?} {:o} {} {} {} {times:?}", data.mode(), data.ino(), data.nlink(), data.size()));
    }
    seen.sort();
    seen
}

#[test]
fn questions_are_asked_one_by_one_while_the_copy_goes_on() {
    let scene = Scene::new();
    for name in ["one", "two", "three", "four"] {
        dated(&scene, &format!("a/{name}"), "new", 5);
        dated(&scene, &format!("b/{name}"), "old", 4);
    }
    dated(&scene, "a/absent", "new", 5);
    let mut terminal = Terminal::run(&mut scene.copy(["-i", "-j1", "-T", "a", "b"]), 100, 24);
    terminal.until("replace 'b/");
    terminal.until("' (time differs)? y(es), n(o), a(ll), none: ");
    // The others do not wait for an answer.
    torture::facts::wait_until("the other file", || scene.path("b/absent").exists());
    terminal.types("y\n");
    terminal.until("none: ");
    terminal.types("n\n");
    terminal.until("none: ");
    terminal.types("all\n");
    let (status, rest) = terminal.ended();
    assert_eq!(status.code(), Some(0));
    assert!(rest.contains("copied 4 files"), "{rest}");
    assert!(rest.contains("1 skipped"), "{rest}");
    let contents = ["one", "two", "three", "four"].map(|name| read(&scene, &format!("b/{name}")));
    assert_eq!(contents.iter().filter(|contents| *contents == "new").count(), 3);
}

#[test]
fn an_interrupt_ends_a_copy_that_waits_for_an_answer() {
    use std::os::unix::process::ExitStatusExt as _;
    let scene = Scene::new();
    dated(&scene, "a/f", "new", 5);
    dated(&scene, "b/f", "old", 4);
    dated(&scene, "a/absent", "new", 5);
    let mut terminal = Terminal::run(&mut scene.copy(["-i", "-T", "a", "b"]), 100, 24);
    terminal.until("none: ");
    terminal.interrupt();
    let (status, rest) = terminal.ended();
    assert_eq!(status.signal(), Some(2), "{rest}");
    assert!(rest.contains("to go on: brigade copy --interactive -T a b"), "{rest}");
    assert_eq!(read(&scene, "b/f"), "old");
}
