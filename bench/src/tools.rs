//! The tools that are compared: how each is called to copy one folder to a new name, and whether it is here at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use torture::dangers::Form;

/// What is to be shown, and so which tools copy with which options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineUp {
    /// Who copies fastest; nobody waits for the disk.
    Copy,
    /// Who is done first when all must be on the disk at the end.
    Durable,
    /// What confining the workers costs.
    Sandbox,
}

/// Ours, which is compared thoroughly.
pub const BRIGADE: &str = "brigade copy";
/// The row that shows what is left to gain.
pub const FLOOR: &str = "floor, equal work";

/// One way of copying a folder.
#[derive(Clone, Debug)]
pub struct Tool {
    /// As it stands in the table.
    pub name: &'static str,
    program: PathBuf,
    options: &'static [&'static str],
    form: Form,
    then: Then,
}

/// What is done after the copy, within the time that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    /// `sync -f DESTINATION`.
    Flush,
}

impl LineUp {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Durable => "durable",
            Self::Sandbox => "sandbox",
        }
    }

    /// What stands behind the heading of its table.
    #[must_use]
    pub fn addition(self) -> &'static str {
        match self {
            Self::Copy => "",
            Self::Durable => "; on the disk when it is done",
            Self::Sandbox => "; what confining the workers costs",
        }
    }

    /// The row that ratios of speed are taken to.
    #[must_use]
    pub fn baseline(self) -> &'static str {
        match self {
            Self::Copy => "cp -a",
            Self::Durable => "cp -a && sync -f",
            Self::Sandbox => "brigade copy --sandbox=off",
        }
    }

    /// All its tools, in the order of the table. `own` is the folder of the programs of this project; those of others are
    /// looked for in `folders`.
    pub fn tools(self, brigade: &Path, own: &Path, folders: &[PathBuf]) -> Vec<Tool> {
        let tool = |name, program: &str, options, form, then| {
            let program = match program {
                "brigade" => brigade.to_path_buf(),
                "floor" => own.join(program),
                _ => find(program, folders),
            };
            Tool { name, program, options, form, then }
        };
        match self {
            Self::Copy => vec![
                tool(BRIGADE, "brigade", &["copy", "--sync=none"], Form::Plain, Then::Nothing),
                tool("cp -a", "cp", &["-a"], Form::Plain, Then::Nothing),
                tool("cp -r", "cp", &["-r"], Form::Plain, Then::Nothing),
                tool("rsync -a", "rsync", &["-a"], Form::Slashes, Then::Nothing),
                tool("xcp", "xcp", &["-r", "--ownership", "--no-progress"], Form::Plain, Then::Nothing),
                tool("fcp", "fcp", &[], Form::Plain, Then::Nothing),
                tool("cpz", "cpz", &["-f"], Form::Plain, Then::Nothing),
                tool(FLOOR, "floor", &["--equal-work"], Form::Plain, Then::Nothing),
                tool("floor, bare", "floor", &[], Form::Plain, Then::Nothing),
            ],
            Self::Durable => vec![
                tool(BRIGADE, "brigade", &["copy"], Form::Plain, Then::Nothing),
                tool("cp -a && sync -f", "cp", &["-a"], Form::Plain, Then::Flush),
                tool("cpz && sync -f", "cpz", &["-f"], Form::Plain, Then::Flush),
                tool("rsync -a --fsync", "rsync", &["-a", "--fsync"], Form::Slashes, Then::Nothing),
            ],
            Self::Sandbox => vec![
                tool(BRIGADE, "brigade", &["copy"], Form::Plain, Then::Nothing),
                tool("brigade copy --sandbox=off", "brigade", &["copy", "--sandbox=off"], Form::Plain, Then::Nothing),
            ],
        }
    }
}

/// The program in the first folder that has it, or its name alone.
fn find(program: &str, folders: &[PathBuf]) -> PathBuf {
    let candidates = folders.iter().map(|folder| folder.join(program));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(program))
}

impl Tool {
    /// Whether the program was found.
    pub fn is_installed(&self) -> bool {
        self.program.is_file()
    }

    /// The command that makes `destination` a copy of the folder `source`; nothing it prints reaches a terminal.
    pub fn command(&self, source: &Path, destination: &Path) -> Command {
        let mut command = match self.then {
            Then::Nothing => Command::new(&self.program),
            Then::Flush => {
                let mut shell = Command::new("sh");
                shell.args(["-c", r#"to=$1; shift; "$@" && sync -f "$to""#, "sh"]).arg(destination).arg(&self.program);
                shell
            }
        };
        command.args(self.options).args([source, destination].map(|path| self.written(path)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn written(&self, path: &Path) -> OsString {
        let mut text = path.as_os_str().to_owned();
        if self.form == Form::Slashes {
            text.push("/");
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tools of others that are here, and ours, which are not.
    pub(crate) fn tools(line_up: LineUp) -> Vec<Tool> {
        let path: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
        line_up.tools(Path::new("/nowhere/brigade"), Path::new("/nowhere"), &path)
    }

    #[test]
    fn a_missing_tool_is_told_from_an_installed_one() {
        let tools = tools(LineUp::Copy);
        let installed = |name| tools.iter().find(|tool| tool.name == name).unwrap().is_installed();
        assert!(installed(LineUp::Copy.baseline()));
        assert!(!installed(BRIGADE) && !installed(FLOOR));
    }

    #[test]
    fn each_tool_makes_the_destination_itself() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "x").unwrap();
        for line_up in LineUp::value_variants() {
            for tool in tools(*line_up).iter().filter(|tool| tool.is_installed()) {
                let destination = folder.path().join(format!("{line_up:?} {}", tool.name));
                assert!(tool.command(&source, &destination).status().unwrap().success(), "{}", tool.name);
                assert!(destination.join("file").is_file(), "{}", tool.name);
            }
        }
    }

    #[test]
    fn every_line_up_has_ours_and_its_baseline() {
        for line_up in LineUp::value_variants() {
            for name in [BRIGADE, line_up.baseline()] {
                assert!(tools(*line_up).iter().any(|tool| tool.name == name), "{line_up:?}: {name}");
            }
        }
    }

    #[test]
    fn a_failed_copy_is_not_made_good_by_the_flush() {
        let folder = tempfile::tempdir().unwrap();
        let durable = tools(LineUp::Durable);
        let copier = durable.iter().find(|tool| tool.then == Then::Flush).unwrap();
        assert!(!copier.command(Path::new("/nowhere"), folder.path()).status().unwrap().success());
    }
}
