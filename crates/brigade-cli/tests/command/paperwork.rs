//! Completions and the manual page as a packager meets them: the tools that read them accept them.

use std::process::Command;

use super::support::{Ended, Scene, ended};

const ENGLISH: &str = "--lang=en";
const CHINESE: &str = "--lang=zh-CN";

fn brigade(arguments: &[&str]) -> Ended {
    ended(Command::new(env!("CARGO_BIN_EXE_brigade")).args(arguments))
}

#[test]
fn bash_loads_its_completions_and_completes_an_option() {
    let scene = Scene::new();
    let run = brigade(&["completions", "bash", ENGLISH]);
    assert_eq!((run.status.code(), run.stderr.as_str()), (Some(0), ""));
    scene.file("brigade.bash", &run.stdout);
    let script = "source brigade.bash; COMP_WORDS=(brigade copy --prog); COMP_CWORD=2; \
                  _brigade brigade --prog copy; echo \"${COMPREPLY[@]}\"";
    let run = ended(Command::new("bash").args(["-c", script]).current_dir(scene.path(".")));
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("--progress\n", ""));
}

#[test]
fn every_shell_has_a_script_and_others_are_refused() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = brigade(&["completions", shell, CHINESE]);
        assert_eq!(run.status.code(), Some(0), "{shell}: {}", run.stderr);
        assert!(run.stdout.contains("progress"), "{shell}");
    }
    for arguments in [&["completions"][..], &["completions", "tcsh"]] {
        let run = brigade(arguments);
        assert_eq!(run.status.code(), Some(2), "{}", run.stderr);
        assert!(run.stderr.contains("'brigade completions --help'"), "{}", run.stderr);
    }
}

#[test]
fn the_manual_page_is_formatted_without_a_warning() {
    for language in [ENGLISH, CHINESE] {
        let scene = Scene::new();
        let page = brigade(&["man", language]);
        assert_eq!((page.status.code(), page.stderr.as_str()), (Some(0), ""));
        scene.file("brigade.1", &page.stdout);
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Kutf8", "-Tutf8", "-ww", "brigade.1"]).current_dir(scene.path("."));
        let shown = ended(&mut groff);
        assert_eq!((shown.status.code(), shown.stderr.as_str()), (Some(0), ""), "{language}");
        assert!(shown.stdout.contains("SIGINT"), "{}", shown.stdout);
    }
}
