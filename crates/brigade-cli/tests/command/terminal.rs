//! The command on a terminal: the question for the folder, and the bar.

use crate::support::{self, Scene, Terminal};

#[test]
fn it_asks_for_the_folder_until_one_is_named() {
    let scene = Scene::new();
    scene.file("my photos/x", "x");
    let mut terminal = Terminal::run(&mut scene.copy::<&str>([]), 80, 24);
    terminal.until("Folder to copy: ");
    terminal.types("gone\n");
    terminal.until("there is no folder 'gone'\r\nFolder to copy: ");
    terminal.types(" 'my photos' \n");
    terminal.until("making ");
    let (status, rest) = terminal.ended();
    assert!(rest.contains("copied 1 file, 1 folder (1 B) to "), "{rest}");
    assert_eq!(status.code(), Some(0));
    assert_eq!(support::tree(&scene.path("my photos")), support::tree(&scene.path("my photos_copy")));
}

#[test]
fn it_asks_in_chinese_and_follows_a_link() {
    let scene = Scene::new();
    scene.file("照片/x", "x");
    std::os::unix::fs::symlink("照片", scene.path("link")).unwrap();
    let mut command = scene.copy::<&str>([]);
    let mut terminal = Terminal::run(command.env("LANG", "zh_CN.UTF-8"), 80, 24);
    terminal.until("请输入要复制的文件夹：");
    terminal.types("link\n");
    terminal.until("'link' 是符号链接；将复制文件夹 ");
    terminal.until("正在生成 ");
    let (status, rest) = terminal.ended();
    assert!(rest.contains("已复制 1 个文件，1 个文件夹（1 B）到 "), "{rest}");
    assert_eq!(status.code(), Some(0));
    assert!(scene.path("照片_复件/x").exists());
}

#[test]
fn the_end_of_input_ends_the_question_with_2() {
    let scene = Scene::new();
    let mut terminal = Terminal::run(&mut scene.copy::<&str>([]), 80, 24);
    terminal.until("Folder to copy: ");
    terminal.types("\x04");
    let (status, rest) = terminal.ended();
    assert!(rest.ends_with("\r\n"), "{rest:?}");
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_dumb_terminal_gets_no_control_sequences() {
    let scene = Scene::new();
    scene.many_files("a", 300);
    let mut command = scene.copy(["a", "b"]);
    let terminal = Terminal::run(command.env("TERM", "dumb"), 80, 24);
    let (status, text) = terminal.ended();
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(text.contains("copied 300 files, 4 folders"), "{text:?}");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_percentage_never_falls_and_ends_at_100() {
    let scene = Scene::new();
    scene.many_files("a\n\x1b[31m", 30_000);
    let mut command = scene.copy(["-j1", "a\n\x1b[31m", "b"]);
    let (status, text) = Terminal::run(&mut command, 60, 24).ended();
    assert_eq!(status.code(), Some(0), "{text}");
    let told = support::percentages(&text);
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&100), "{text:?}");
    assert_eq!(told.iter().filter(|percent| **percent >= 100).count(), 1);
    assert!(!text.contains("\x1b[31m"), "{text:?}");
    assert!(text.contains("copied 30 000 files, 301 folders"), "{text:?}");
}

#[test]
fn a_short_copy_draws_nothing() {
    let scene = Scene::new();
    scene.file("a", "x");
    let mut command = scene.copy(["--progress=bar", "-j1", "a", "b"]);
    let (_, text) = Terminal::run(&mut command, 60, 24).ended();
    let is_short = ["in 0.00 s", "in 0.01 s", "in 0.02 s", "in 0.03 s", "in 0.04 s"];
    if is_short.iter().any(|time| text.contains(time)) {
        assert!(!text.contains('\x1b'), "{text:?}");
    }
    assert!(text.contains("copied 1 file (1 B)"), "{text:?}");
}
