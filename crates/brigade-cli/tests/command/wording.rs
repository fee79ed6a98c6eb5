//! What the command says and how it ends, for right and wrong arguments, in both languages.

use crate::support::{self, Scene, ended};

const ENGLISH: &str = "--lang=en";
const CHINESE: &str = "--lang=zh-CN";

#[test]
fn wrong_use_ends_with_2_and_one_clear_line() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    scene.file("b", "b");
    let table: [(&[&str], &str, &str); 8] = [
        (
            &[],
            "no folder given, and standard input is not a terminal to ask on; try 'brigade copy --help'",
            "没有给出文件夹，标准输入也不是可以询问的终端；请尝试 'brigade copy --help'",
        ),
        (
            &["-j0", "a", "c"],
            "'0' is not a value for '--workers'; it takes a whole number from 1 to 1024; try 'brigade copy --help'",
            "'0' 不是 '--workers' 的有效值；应为 1 到 1024 的整数；请尝试 'brigade copy --help'",
        ),
        (
            &["--bogus", "a", "c"],
            "unknown option '--bogus'; try 'brigade copy --help'",
            "未知选项 '--bogus'；请尝试 'brigade copy --help'",
        ),
        (&["-t", "a"], "missing source; try 'brigade copy --help'", "缺少源；请尝试 'brigade copy --help'"),
        (
            &["-T", "a"],
            "missing destination after 'a'; try 'brigade copy --help'",
            "'a' 之后缺少目标；请尝试 'brigade copy --help'",
        ),
        (
            &["-T", "a", "b", "c\n"],
            r"with -T there is one source and one destination; extra operand 'c\x0a'; try 'brigade copy --help'",
            r"使用 -T 时只能有一个源和一个目标；多余的参数 'c\x0a'；请尝试 'brigade copy --help'",
        ),
        (
            &["-t", "gone", "a"],
            "cannot use destination 'gone': No such file or directory (os error 2)",
            "无法使用目标 'gone': 没有那个文件或目录 (os error 2)",
        ),
        (&["-t", "b", "a"], "'b' is not a folder", "'b' 不是文件夹"),
    ];
    for (arguments, english, chinese) in table {
        for (language, sentence) in [(ENGLISH, english), (CHINESE, chinese)] {
            let run = scene.run(arguments.iter().chain([&language]));
            assert_eq!(run.stderr, format!("brigade: {sentence}\n"));
            assert_eq!(run.stdout, "");
            assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        }
    }
}

#[test]
fn what_must_not_be_copied_is_refused_before_the_first_write() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    let before = support::tree(&scene.path(""));
    let table: [(&[&str], &str); 3] = [
        (&["gone", "c"], "brigade: cannot stat 'gone': No such file or directory (os error 2)\n"),
        (&["a", "a/b"], "brigade: cannot copy 'a' into itself, 'a/b'\n"),
        (&["-T", "a", "a"], "brigade: 'a' and 'a' are the same\n"),
    ];
    for (arguments, sentence) in table {
        let run = scene.run(arguments);
        assert_eq!(run.stderr, sentence);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(support::tree(&scene.path("")), before);
}

#[test]
fn the_environment_chooses_the_language_and_an_option_overrules_it() {
    let scene = Scene::new();
    let said = |variables: &[(&str, &str)], arguments: &[&str]| {
        let run = ended(scene.copy(arguments).envs(variables.iter().copied()));
        run.stderr
    };
    let chinese = "brigade: 没有给出文件夹，标准输入也不是可以询问的终端；请尝试 'brigade copy --help'\n";
    assert_eq!(said(&[("LANG", "zh_CN.UTF-8")], &[]), chinese);
    assert_eq!(said(&[("LC_MESSAGES", "zh_TW"), ("LC_ALL", "")], &[]), chinese);
    assert!(said(&[("LANG", "zh_CN"), ("LC_ALL", "C")], &[]).contains("no folder given"));
    assert!(said(&[("LC_ALL", "zh_CN")], &["--lang", "en"]).contains("no folder given"));
}

#[test]
fn help_and_version_go_to_standard_output() {
    let scene = Scene::new();
    for (arguments, text) in [
        (["--help", ENGLISH], "\nExit status:\n  0     everything was copied\n"),
        (["-h", CHINESE], "\n退出状态：\n  0     全部复制完成\n"),
    ] {
        let run = scene.run(arguments);
        assert!(run.stdout.contains(text), "{}", run.stdout);
        assert_eq!(run.stderr, "");
        assert_eq!(run.status.code(), Some(0));
    }
}

#[test]
fn habits_from_cp_change_nothing() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    let run = scene.run(["-arRpd", "--archive", "--recursive", "a", "b"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr);
    assert_eq!(support::tree(&scene.path("a")), support::tree(&scene.path("b")));
}

#[test]
fn one_line_tells_the_end() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    std::os::unix::fs::symlink("x", scene.path("a/y")).unwrap();
    for (arguments, start) in [
        (["-j1", "a", "b1"], "copied 1 file, 1 folder, 1 symlink (1 B) in "),
        ([CHINESE, "a", "b2"], "已复制 1 个文件，1 个文件夹，1 个符号链接（1 B），用时 "),
    ] {
        let run = scene.run(arguments);
        assert!(run.stderr.starts_with(start), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert_eq!(run.stdout, "");
        assert_eq!(run.status.code(), Some(0));
    }
    let quiet = scene.run(["-q", "a", "b3"]);
    assert_eq!(quiet.stderr, "");
    let verbose = scene.run(["-v", "a", "b4"]);
    assert!(verbose.stderr.contains("'a/x' -> 'b4/x'\n"), "{}", verbose.stderr);
    assert!(
        verbose.stderr.contains("\nfound 3 = copied 3 + unchanged 0 + skipped 0 + failed 0\ncopied "),
        "{}",
        verbose.stderr
    );
}

#[test]
fn a_copy_beside_its_source_is_named_in_the_users_language() {
    let scene = Scene::new();
    scene.file("photos/x", "x");
    for (language, name) in [(ENGLISH, "photos_copy"), (CHINESE, "photos_复件")] {
        let run = scene.run([language, "photos/"]);
        assert!(run.stderr.contains(&format!("{name}'")), "{}", run.stderr);
        assert_eq!(support::tree(&scene.path("photos")), support::tree(&scene.path(name)));
    }
}

#[test]
fn a_failed_entry_is_named_with_action_and_reason_and_the_rest_is_copied() {
    let scene = Scene::new();
    scene.file("a/x", "x");
    scene.file("a/new\nline\x1b[2J", "y");
    scene.file("a/z", "z");
    scene.file("b/new\nline\x1b[2J/in the way", "");
    let run = scene.run(["-T", "a", "b"]);
    let error = run.stderr.lines().next().unwrap();
    assert!(error.starts_with("brigade: cannot "), "{error}");
    assert!(error.contains(r"new\x0aline\x1b[2J': "), "{error}");
    assert!(run.stderr.contains(", 1 failed\n"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
    assert_eq!(run.status.code(), Some(1));
    assert!(scene.path("b/x").exists() && scene.path("b/z").exists());
}
