//! `cargo xtask dist`: writes what a package of the command contains besides it. The command makes these texts itself; here
//! they get the places where systems look for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::{cargo, workspace};

/// Each text: the words that the command prints it for, and its place in the folder.
const TEXTS: [(&[&str], &str); 7] = [
    (&["man", "--lang=en"], "man/man1/brigade.1"),
    (&["man", "--lang=zh-CN"], "man/zh_CN/man1/brigade.1"),
    (&["completions", "bash", "--lang=en"], "completions/brigade.bash"),
    (&["completions", "zsh", "--lang=en"], "completions/_brigade"),
    (&["completions", "fish", "--lang=en"], "completions/brigade.fish"),
    (&["completions", "elvish", "--lang=en"], "completions/brigade.elv"),
    (&["completions", "powershell", "--lang=en"], "completions/_brigade.ps1"),
];

/// Builds the command and writes all texts into a folder.
pub fn run(folder: Option<&str>) -> ExitCode {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let folder = folder.map_or_else(|| target.join("dist"), PathBuf::from);
    let mut build = cargo();
    build.args(["build", "--package", "brigade-cli"]);
    if !build.status().is_ok_and(|status| status.success()) {
        eprintln!("dist: the command cannot be built");
        return ExitCode::FAILURE;
    }
    let brigade = target.join("debug/brigade");
    for (words, place) in TEXTS {
        let path = folder.join(place);
        if let Err(error) = write(&brigade, words, &path) {
            eprintln!("dist: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{}", path.display());
    }
    ExitCode::SUCCESS
}

fn write(brigade: &Path, words: &[&str], path: &Path) -> io::Result<()> {
    let output = Command::new(brigade).args(words).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::create_dir_all(path.parent().expect("every place has a folder"))?;
    fs::write(path, output.stdout)
}
