//! The tools that are compared: how each is found, and called to copy one folder to a new name. Who is compared with whom is
//! said in tools/line_ups.rs.

mod line_ups;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use torture::dangers::Form;

use crate::tree::Survey;
use line_ups::Entry;
pub use line_ups::{ARCHIVE, BAR, BRIGADE, CONTENTS, DEFAULT, FLOOR, LineUp, MODES_AND_TIMES, NO_BAR, UNCONFINED};

/// What is at the destination before a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Nothing.
    Nothing,
    /// A whole copy.
    Whole,
    /// A copy without every second file.
    Half,
    /// All names, with other contents.
    Other,
}

/// What a tool is fit for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Whatever there is.
    Trees,
    /// One folder of files, and not so many that a run takes minutes.
    FewFiles,
}

/// What is done around the copy, within the time that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Nothing,
    /// `sync -f DESTINATION` afterwards.
    Flush,
    /// It packs, and a second one unpacks what comes through a pipe.
    Pipe,
    /// It runs on a terminal of its own.
    Terminal,
}

/// One way of copying a folder.
#[derive(Clone, Debug)]
pub struct Tool {
    program: PathBuf,
    entry: Entry,
}

/// Most files that a tool of small reach is given.
const FEW_FILES: u64 = 10_000;

impl LineUp {
    /// All its tools, in the order of the table. `own` is the folder of the programs of this project; those of others are
    /// looked for in `folders`.
    pub fn tools(self, brigade: &Path, own: &Path, folders: &[PathBuf]) -> Vec<Tool> {
        let program = |program: &str| match program {
            "brigade" => brigade.to_path_buf(),
            "floor" => own.join(program),
            _ => find(program, folders),
        };
        self.entries().iter().map(|&entry| Tool { program: program(entry.program), entry }).collect()
    }
}

/// The program in the first folder that has it, or its name alone.
fn find(program: &str, folders: &[PathBuf]) -> PathBuf {
    let candidates = folders.iter().map(|folder| folder.join(program));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(program))
}

/// What a program says its version is, in a line of its own making, one of them to standard error: the first word that begins
/// with a digit.
pub(crate) fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8([output.stdout, output.stderr].concat()).ok()?;
    text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit())).map(str::to_owned)
}

impl Tool {
    /// What its program says its version is.
    pub fn version(&self) -> Option<String> {
        version(&self.program)
    }

    /// As it stands in the table.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Whether it is the command.
    pub fn is_ours(&self) -> bool {
        self.entry.program == "brigade"
    }

    /// Whether it is the command and keeps everything, and so is compared thoroughly.
    pub fn is_whole_brigade(&self) -> bool {
        [BRIGADE, UNCONFINED, DEFAULT].contains(&self.entry.name)
    }

    /// Whether the program was found.
    pub fn is_installed(&self) -> bool {
        self.program.is_file()
    }

    /// What it is fit for.
    pub fn reach(&self) -> Reach {
        self.entry.reach
    }

    /// Whether it can copy such a tree, in a time that can be waited for.
    pub fn is_fit_for(&self, survey: &Survey) -> bool {
        match self.entry.reach {
            Reach::Trees => true,
            Reach::FewFiles => survey.n_folders == 1 && survey.n_files <= FEW_FILES,
        }
    }

    /// The command that makes `destination` a copy of the folder `source`, which has the same name in another folder; nothing
    /// it prints reaches our terminal.
    pub fn command(&self, source: &Path, destination: &Path) -> Command {
        let mut command = match self.entry.wrap {
            Wrap::Nothing => Command::new(&self.program),
            Wrap::Flush => {
                let mut shell = Command::new("sh");
                shell.args(["-c", r#"to=$1; shift; "$@" && sync -f "$to""#, "sh"]).arg(destination).arg(&self.program);
                shell
            }
            Wrap::Pipe => {
                let script = r#"mkdir -p "$2" && "$0" -C "$1" -cf - . | "$0" -C "$2" -xpf -"#;
                let mut shell = Command::new("bash");
                shell.args(["-o", "pipefail", "-c", script]).arg(&self.program);
                shell
            }
            Wrap::Terminal => return self.on_terminal(source, destination),
        };
        command.args(self.entry.options).args(self.paths(source, destination));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// `script` gives its command a terminal; it takes one string, in which nothing has to be quoted here.
    fn on_terminal(&self, source: &Path, destination: &Path) -> Command {
        let mut words = self.program.clone().into_os_string();
        let options = self.entry.options.iter().map(OsString::from);
        for word in options.chain(self.paths(source, destination)) {
            words.push(" ");
            words.push(word);
        }
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command"]).arg(words).arg("/dev/null").env("TERM", "xterm");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn paths(&self, source: &Path, destination: &Path) -> [OsString; 2] {
        let with_slash = |path: &Path| {
            let mut text = path.as_os_str().to_owned();
            text.push("/");
            text
        };
        match self.entry.form {
            Form::Plain => [source.into(), destination.into()],
            Form::Slashes => [with_slash(source), with_slash(destination)],
            Form::Into => [source.into(), destination.parent().unwrap_or(destination).into()],
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::ValueEnum as _;

    use super::*;

    /// The tools of others that are here, and ours, which are not.
    pub(crate) fn tools(line_up: LineUp) -> Vec<Tool> {
        let path: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap()).collect();
        line_up.tools(Path::new("/nowhere/brigade"), Path::new("/nowhere"), &path)
    }

    #[test]
    fn a_missing_tool_is_told_from_an_installed_one() {
        let tools = tools(LineUp::Copy);
        let installed = |name| tools.iter().find(|tool| tool.name() == name).unwrap().is_installed();
        assert!(installed(LineUp::Copy.baseline()));
        assert!(!installed(BRIGADE) && !installed(FLOOR));
    }

    #[test]
    fn each_tool_makes_the_destination_itself() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("from/tree");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("file"), "x").unwrap();
        for line_up in LineUp::value_variants() {
            for (idx, tool) in tools(*line_up).iter().filter(|tool| tool.is_installed()).enumerate() {
                let into = folder.path().join(format!("{line_up:?} {idx}"));
                std::fs::create_dir(&into).unwrap();
                let destination = into.join("tree");
                assert!(tool.command(&source, &destination).status().unwrap().success(), "{}", tool.name());
                assert!(destination.join("file").is_file(), "{}", tool.name());
            }
        }
    }

    #[test]
    fn every_line_up_has_ours_and_its_baseline() {
        for line_up in LineUp::value_variants() {
            let tools = tools(*line_up);
            assert!(tools.iter().any(|tool| tool.name().starts_with(BRIGADE)), "{line_up:?}");
            assert!(tools.iter().any(|tool| tool.name() == line_up.baseline()), "{line_up:?}");
        }
    }

    #[test]
    fn a_failed_copy_is_not_made_good_by_the_flush() {
        let folder = tempfile::tempdir().unwrap();
        let durable = tools(LineUp::Durable);
        let copier = durable.iter().find(|tool| tool.entry.wrap == Wrap::Flush).unwrap();
        assert!(!copier.command(Path::new("/nowhere"), folder.path()).status().unwrap().success());
    }

    #[test]
    fn a_terminal_is_one_and_passes_the_status_on() {
        let on_terminal = |program: &str| {
            let entry = Entry {
                name: "",
                program: "",
                options: &[],
                form: Form::Plain,
                wrap: Wrap::Terminal,
                reach: Reach::Trees,
            };
            let tool = Tool { program: program.into(), entry };
            tool.command(Path::new("-t"), Path::new("1")).status().unwrap().success()
        };
        assert!(on_terminal("test"), "test -t 1");
        assert!(!on_terminal("false"));
    }
}
