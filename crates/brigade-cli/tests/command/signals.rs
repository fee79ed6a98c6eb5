//! Signals during a copy: a clean end, and then death of the signal.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::support::{self, Scene, Terminal};
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use torture::facts;
use torture::mounts::{Mount, need_root};
use torture::processes::{self, ProcessInfo};
use torture::random::Random;

#[test]
fn a_signal_ends_the_copy_cleanly_and_tells_how_to_go_on() {
    for (signal, number) in [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)] {
        let scene = Scene::new();
        scene.many_files("a", 20_000);
        scene.file("sums", "of the run before");
        let mut command = scene.copy(["-j1", "--progress=json", "--manifest=sums", "a", "b"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = support::collected(child.stderr.take().unwrap());
        // The report is not read on until the signal is sent, so the copy cannot be over by then.
        let mut report = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"event\":\"file\"") {
            line.clear();
            assert!(report.read_line(&mut line).unwrap() > 0, "no file was copied");
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let rest = support::collected(report);
        let status = support::wait(&mut child);
        assert_eq!(status.signal(), Some(number), "{status}");
        let stderr = stderr.recv().unwrap();
        assert!(stderr.starts_with("interrupted: copied "), "{stderr}");
        assert!(
            stderr.ends_with("\nto go on: brigade copy --workers=1 --progress=json --manifest=sums -T a b\n"),
            "{stderr}"
        );
        // A manifest of a part would be taken for that of the whole.
        assert_eq!(fs::read_to_string(scene.path("sums")).unwrap(), "of the run before");
        assert_eq!(fs::read_dir(scene.path("")).unwrap().count(), 3, "nothing but a, b and sums");
        let rest = rest.recv().unwrap();
        assert!(rest.contains("\"interrupted\":true"), "{rest}");
        let source = support::tree(&scene.path("a"));
        let copied = support::tree(&scene.path("b"));
        assert!(copied.len() < source.len());
        for (name, contents) in copied {
            assert_eq!(source.get(&name), Some(&contents), "{name:?} is not whole");
        }
    }
}

/// What a signal meets: slowed down, so that many are met in the midst of a large file.
const fn copy_to(destination: &str) -> [&str; 4] {
    ["--bwlimit=80M", "-T", "a", destination]
}

/// Old times, so that a file that has its source's is one that was finished.
fn age(folder: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in support::tree(folder).keys() {
        let path = folder.join(name);
        if !path.is_symlink() {
            File::open(path).unwrap().set_modified(old).unwrap();
        }
    }
}

/// Small and large files, second names, links, and destinations that are to be replaced.
fn make_storm_source(scene: &Scene) {
    scene.many_files("a", 1000);
    for idx in 0..4_u8 {
        fs::write(scene.path(format!("a/large {idx}")), vec![idx; 4 << 20]).unwrap();
    }
    for idx in 0..100 {
        fs::hard_link(scene.path(format!("a/000/file {idx}")), scene.path(format!("a/{idx}"))).unwrap();
        std::os::unix::fs::symlink("nowhere", scene.path(format!("a/link {idx}"))).unwrap();
    }
    age(&scene.path("a"));
}

fn make_storm_destination(scene: &Scene, destination: &str) {
    let _ = fs::remove_dir_all(scene.path(destination));
    for idx in 0..300 {
        scene.file(format!("{destination}/{:03}/file {idx}", idx / 100), "an older version");
    }
    for idx in 0..2 {
        scene.file(format!("{destination}/large {idx}"), "an older version");
    }
}

/// Nothing temporary, and each file that bears its source's time is as long and the same.
fn assert_whole_as_far_as_it_goes(source: &Path, copy: &Path, moment: &str) {
    for (name, contents) in support::tree(copy) {
        let last = name.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!last.starts_with(".brigade-"), "{moment}: {name:?} was left behind");
        let (copied, original) = (copy.join(&name), source.join(&name));
        if copied.is_symlink() || contents.is_none() {
            continue;
        }
        let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        if modified(&copied) == modified(&original) {
            assert!(contents.unwrap() == fs::read(&original).unwrap(), "{moment}: {name:?} only looks whole");
        }
    }
}

/// C-37. `BRIGADE_SIGNALS` times, 30 without it; `BRIGADE_SEED` makes it happen again.
#[test]
fn a_signal_at_any_moment_leaves_only_whole_files_and_the_printed_command_completes() {
    storm(&Scene::new(), "b", 30);
}

/// C-37, where files are committed in groups once they are on disk.
#[test]
fn a_signal_at_any_moment_of_a_copy_to_a_disk_leaves_only_whole_files_and_the_same_command_completes() {
    need_root();
    let scene = Scene::new();
    fs::create_dir(scene.path("disk")).unwrap();
    let _mount = Mount::ext4(&scene.path("image"), &scene.path("disk"));
    storm(&scene, "disk/b", 10);
}

fn storm(scene: &Scene, destination: &str, n_moments: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("BRIGADE_SEED").unwrap_or_else(Random::fresh_seed);
    let n_moments = number("BRIGADE_SIGNALS").unwrap_or(n_moments);
    println!("BRIGADE_SEED={seed} BRIGADE_SIGNALS={n_moments}");
    let mut random = Random::new(seed);
    let (a, b) = (scene.path("a"), scene.path(destination));
    make_storm_source(scene);
    make_storm_destination(scene, destination);
    let start = Instant::now();
    assert_eq!(scene.run(copy_to(destination)).status.code(), Some(0));
    // The shortest seen: the machine may have been busier when it was measured first.
    let mut whole_run = start.elapsed();
    let mut n_interrupted = 0;
    for moment_idx in 0..n_moments {
        make_storm_destination(scene, destination);
        let (signal, number) =
            [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)][usize::try_from(random.below(3)).unwrap()];
        let delay = Duration::from_micros(random.below(u64::try_from(whole_run.as_micros()).unwrap()));
        let moment = format!("seed {seed}, moment {moment_idx}: {signal:?} after {delay:?}");
        let start = Instant::now();
        let mut child = scene.copy(copy_to(destination)).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = support::collected(child.stderr.take().unwrap());
        // Whatever happens at this moment is what the signal meets.
        let status = facts::end_of(&mut child, delay).unwrap().unwrap_or_else(|| {
            kill_process(Pid::from_child(&child), signal).unwrap();
            support::wait(&mut child)
        });
        let stderr = stderr.recv().unwrap();
        assert!(status.signal() == Some(number) || status.success(), "{moment}: {status} {stderr}");
        if status.success() {
            whole_run = whole_run.min(start.elapsed());
        }
        assert_whole_as_far_as_it_goes(&a, &b, &moment);
        // One that came before the command listens ends it before it has begun, without a word.
        if let Some((_, command)) = stderr.split_once("\nto go on: brigade ") {
            n_interrupted += 1;
            assert_eq!(status.signal(), Some(number), "{moment}: {stderr}");
            assert_eq!(command, format!("copy {}\n", copy_to(destination).join(" ")), "{moment}");
        }
        let again = scene.run(copy_to(destination));
        assert_eq!(again.status.code(), Some(0), "{moment}: {}", again.stderr);
        assert_eq!(torture::tree::differences(&a, &b).unwrap(), [""; 0], "{moment}");
    }
    println!("{n_interrupted} of {n_moments} were interrupted in the midst of the copy");
    assert!(n_interrupted > 0, "no signal met the copy");
}

/// C-37. The report is never read, so the clean end that the first signal asks for cannot come.
#[test]
fn a_second_signal_ends_at_once() {
    let scene = Scene::new();
    scene.many_files("a", 5000);
    let mut command = scene.copy(["--progress=json", "a", "b"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().unwrap();
    let report = child.stdout.take().unwrap();
    facts::wait_until("the report is stuck", || ioctl_fionread(&report).unwrap() > 60_000);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).unwrap();
    // Longer than what counts as the same wish; nothing ends by itself in that time.
    assert!(facts::end_of(&mut child, Duration::from_millis(500)).unwrap().is_none(), "it did not wait");
    kill_process(pid, Signal::INT).unwrap();
    let status = facts::end_of(&mut child, Duration::from_secs(5)).unwrap().expect("the second signal ends it");
    assert_eq!(status.signal(), Some(2));
    facts::wait_until("its workers have ended too", || processes::group_memory_bytes(child.id()) == 0);
}

/// A terminal with a shell of its own, as somebody has it who types.
fn shell(scene: &Scene) -> Terminal {
    let mut command = Command::new("setsid");
    command.args(["--ctty", "sh", "-i"]).current_dir(scene.path("")).env("XDG_STATE_HOME", scene.path("state"));
    command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("PS1", "> ");
    Terminal::run(&mut command, 120, 24)
}

/// Minutes for 2 000 small files, so that whatever is to meet the copy in its midst does.
const SLOWLY: &str = "--bwlimit=100";

/// The command that is typed.
fn slow_copy() -> String {
    format!("{} copy {SLOWLY} a b\n", env!("CARGO_BIN_EXE_brigade"))
}

/// A file that is being copied has its name already, but not the time of its source.
fn wait_for_a_copied_file(scene: &Scene) {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    let is_copied = |name: &PathBuf| modified(scene.path("b").join(name)) == modified(scene.path("a").join(name));
    // Which folder comes first is up to the file system.
    let has_one = || {
        let copy = scene.path("b");
        copy.exists() && support::tree(&copy).iter().any(|(name, file)| file.is_some() && is_copied(name))
    };
    facts::wait_until("something is copied", has_one);
}

/// C-37. The terminal sends the signal to the workers too, and the shell tells what the command died of.
#[test]
fn ctrl_c_in_a_terminal_is_told_to_the_shell_and_the_printed_command_goes_on() {
    let scene = Scene::new();
    scene.many_files("a", 2000);
    age(&scene.path("a"));
    for (language, told, to_go_on, rest) in [
        ("en", "interrupted: copied ", "to go on: brigade", "copied "),
        ("zh_CN.UTF-8", "已中断：已复制 ", "继续复制请运行：brigade", "已复制 "),
    ] {
        let _ = fs::remove_dir_all(scene.path("b"));
        let mut terminal = shell(&scene);
        terminal.types(&format!("export LC_ALL={language}\n"));
        terminal.types(&slow_copy());
        wait_for_a_copied_file(&scene);
        terminal.types("\u{3}");
        terminal.until(told);
        terminal.until(&format!("{to_go_on} copy {SLOWLY} -T a b\r\n"));
        terminal.types("echo status $?\n");
        terminal.until("status 130\r\n");
        terminal.types(&format!("{} copy -T a b; echo status $?\n", env!("CARGO_BIN_EXE_brigade")));
        terminal.until(rest);
        terminal.until("status 0\r\n");
        terminal.types("exit\n");
        assert!(terminal.ended().0.success());
        assert_eq!(torture::tree::differences(&scene.path("a"), &scene.path("b")).unwrap(), [""; 0]);
    }
}

/// C-37. A worker that does not move any more is waited for a while.
#[test]
fn an_end_that_takes_its_time_says_so() {
    for (language, stopping, told) in [
        ("en", "stopping; another Ctrl-C ends it at once", "interrupted: copied "),
        ("zh_CN.UTF-8", "正在停止；再按一次 Ctrl-C 立即结束", "已中断：已复制 "),
    ] {
        let scene = Scene::new();
        scene.many_files("a", 2000);
        let mut terminal = Terminal::run(scene.copy([SLOWLY, "a", "b"]).env("LANG", language), 120, 24);
        wait_for_a_copied_file(&scene);
        let is_worker = |process: &ProcessInfo| process.parent_pid == terminal.pid();
        for worker in processes::family().into_iter().filter(is_worker) {
            kill_process(Pid::from_raw(worker.pid.cast_signed()).unwrap(), Signal::STOP).unwrap();
        }
        terminal.interrupt();
        terminal.until(stopping);
        terminal.until(told);
        assert_eq!(terminal.ended().0.signal(), Some(2));
    }
}

/// C-37. What others send is told as 128 and its number.
#[test]
fn a_shell_sees_of_which_signal_a_copy_has_died() {
    for (signal, number) in [("HUP", 129), ("INT", 130), ("TERM", 143)] {
        let scene = Scene::new();
        scene.many_files("a", 2000);
        let mut terminal = shell(&scene);
        terminal.types(&slow_copy().replace('\n', " &\n"));
        wait_for_a_copied_file(&scene);
        terminal.types(&format!("kill -{signal} $!; wait $!; echo status $?\n"));
        terminal.until(&format!("status {number}\r\n"));
        assert!(support::tree(&scene.path("b")).keys().all(|name| !name.to_string_lossy().contains(".brigade-")));
        terminal.types("exit\n");
        assert!(terminal.ended().0.success());
    }
}

/// C-37. Who looks at it is gone, and the shell with him.
#[test]
fn a_copy_whose_terminal_is_lost_ends_cleanly_and_can_be_gone_on_with() {
    let scene = Scene::new();
    scene.many_files("a", 2000);
    age(&scene.path("a"));
    let mut terminal = shell(&scene);
    terminal.types(&slow_copy());
    wait_for_a_copied_file(&scene);
    let is_the_copy = |process: &ProcessInfo| process.name == "brigade" && process.parent_pid == terminal.pid();
    let copy = processes::family().into_iter().find(is_the_copy).unwrap();
    terminal.hang_up();
    facts::wait_until("it has ended", || !processes::is_running(copy.pid));
    facts::wait_until("its workers have ended too", || processes::group_memory_bytes(copy.group) == 0);
    assert_whole_as_far_as_it_goes(&scene.path("a"), &scene.path("b"), "after the loss of the terminal");
    let state = scene.path("state");
    assert_eq!(fs::read_dir(state.join("brigade")).unwrap().count(), 1, "no record is left");
    let again = support::ended(scene.copy(["a", "b"]).env("XDG_STATE_HOME", state));
    assert!(again.status.success() && again.stderr.contains(" unchanged"), "{}", again.stderr);
    assert_eq!(torture::tree::differences(&scene.path("a"), &scene.path("b")).unwrap(), [""; 0]);
}
