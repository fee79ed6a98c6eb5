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
    /// Who copies fastest where little but contents and names is kept.
    Contents,
    /// Who sees first that there is nothing to do.
    Again,
    /// Who is done first where every second file is missing.
    Rest,
}

/// What is at the destination before a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Nothing.
    Nothing,
    /// A whole copy.
    Whole,
    /// A copy without every second file.
    Half,
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
            Self::Contents => "contents",
            Self::Again => "again",
            Self::Rest => "rest",
        }
    }

    /// What stands behind the heading of its table.
    #[must_use]
    pub fn addition(self) -> &'static str {
        match self {
            Self::Copy => "",
            Self::Durable => "; on the disk when it is done",
            Self::Sandbox => "; what confining the workers costs",
            Self::Contents => "; only contents and what costs nothing",
            Self::Again => "; the copy is there, there is nothing to do",
            Self::Rest => "; every second file is there",
        }
    }

    /// The row that ratios of speed are taken to.
    #[must_use]
    pub fn baseline(self) -> &'static str {
        match self {
            Self::Copy => "cp -a",
            Self::Durable => "cp -a && sync -f",
            Self::Sandbox => "brigade copy --sandbox=off",
            Self::Contents => "cp -r",
            Self::Again | Self::Rest => "rsync -aHAX",
        }
    }

    /// What is there before each copy.
    #[must_use]
    pub fn onto(self) -> Onto {
        match self {
            Self::Again => Onto::Whole,
            Self::Rest => Onto::Half,
            Self::Copy | Self::Durable | Self::Sandbox | Self::Contents => Onto::Nothing,
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
        self.rows()
            .iter()
            .map(|&(name, program, options, form, then)| tool(name, program, options, form, then))
            .collect()
    }

    fn rows(self) -> &'static [Row] {
        use Form::{Plain, Slashes};
        use Then::{Flush, Nothing};
        match self {
            Self::Copy => &[
                (BRIGADE, "brigade", &["copy", "--sync=none"], Plain, Nothing),
                ("cp -a", "cp", &["-a"], Plain, Nothing),
                ("cp -r", "cp", &["-r"], Plain, Nothing),
                ("rsync -a", "rsync", &["-a"], Slashes, Nothing),
                ("xcp", "xcp", &["-r", "--ownership", "--no-progress"], Plain, Nothing),
                ("fcp", "fcp", &[], Plain, Nothing),
                ("cpz", "cpz", &["-f"], Plain, Nothing),
                (FLOOR, "floor", &["--equal-work"], Plain, Nothing),
                ("floor, bare", "floor", &[], Plain, Nothing),
            ],
            Self::Durable => &[
                (BRIGADE, "brigade", &["copy"], Plain, Nothing),
                ("cp -a && sync -f", "cp", &["-a"], Plain, Flush),
                ("cpz && sync -f", "cpz", &["-f"], Plain, Flush),
                ("rsync -a --fsync", "rsync", &["-a", "--fsync"], Slashes, Nothing),
            ],
            Self::Sandbox => &[
                (BRIGADE, "brigade", &["copy"], Plain, Nothing),
                ("brigade copy --sandbox=off", "brigade", &["copy", "--sandbox=off"], Plain, Nothing),
            ],
            Self::Contents => &[
                (BRIGADE, "brigade", &["copy", "--sync=none", "--sandbox=off", "--no-preserve=all"], Plain, Nothing),
                ("cp -r", "cp", &["-r"], Plain, Nothing),
                ("fcp", "fcp", &[], Plain, Nothing),
                ("cpz", "cpz", &["-f"], Plain, Nothing),
                ("floor, bare", "floor", &[], Plain, Nothing),
            ],
            Self::Again | Self::Rest => &[
                (BRIGADE, "brigade", &["copy", "--sync=none", "-T"], Plain, Nothing),
                ("rsync -aHAX", "rsync", &["-aHAX"], Slashes, Nothing),
                ("rsync -a", "rsync", &["-a"], Slashes, Nothing),
                ("cp -auT", "cp", &["-auT"], Plain, Nothing),
            ],
        }
    }
}

/// The name in the table, the program, its options, how it takes folders, and what is done then.
type Row = (&'static str, &'static str, &'static [&'static str], Form, Then);

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
