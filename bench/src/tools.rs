//! The tools that are compared: how each is called to copy one folder to a new name, and whether it is here at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The row that ratios of speed are taken to.
pub const BASELINE: &str = "cp -a";
/// The row that shows what is left to gain.
pub const FLOOR: &str = "floor, equal work";
/// Ours.
pub const BRIGADE: &str = "brigade copy";

/// One way of copying a folder.
#[derive(Clone, Debug)]
pub struct Tool {
    /// As it stands in the table.
    pub name: &'static str,
    program: PathBuf,
    options: &'static [&'static str],
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `TOOL SOURCE DESTINATION` makes the destination.
    Folder,
    /// `TOOL SOURCE/ DESTINATION/` does.
    Slashes,
}

impl Tool {
    /// All tools of the comparison, in the order of the table.
    pub fn all(brigade: &Path, floor: &Path) -> Vec<Self> {
        let tool = |name, program: &Path, options, form| Self { name, program: program.to_path_buf(), options, form };
        vec![
            tool(BRIGADE, brigade, &["copy"], Form::Folder),
            tool(BASELINE, Path::new("cp"), &["-a"], Form::Folder),
            tool("cp -r", Path::new("cp"), &["-r"], Form::Folder),
            tool("rsync -a", Path::new("rsync"), &["-a"], Form::Slashes),
            tool(FLOOR, floor, &["--equal-work"], Form::Folder),
            tool("floor, bare", floor, &[], Form::Folder),
        ]
    }

    /// Whether the program can be found.
    pub fn is_installed(&self) -> bool {
        if self.program.components().count() > 1 {
            return self.program.is_file();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(&self.program).is_file())
    }

    /// The command that makes `destination` a copy of the folder `source`; nothing it prints reaches a terminal.
    pub fn command(&self, source: &Path, destination: &Path) -> Command {
        let mut command = Command::new(&self.program);
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
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_told_from_an_installed_one() {
        let tools = Tool::all(Path::new("/nowhere/brigade"), Path::new("/nowhere/floor"));
        let installed = |name| tools.iter().find(|tool| tool.name == name).unwrap().is_installed();
        assert!(installed(BASELINE));
        assert!(!installed(BRIGADE) && !installed(FLOOR));
    }

    #[test]
    fn each_tool_makes_the_destination_itself() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("file"), "x").unwrap();
        let tools = Tool::all(Path::new("/nowhere/brigade"), Path::new("/nowhere/floor"));
        for tool in tools.iter().filter(|tool| tool.is_installed()) {
            let destination = folder.path().join(tool.name);
            assert!(tool.command(&source, &destination).status().unwrap().success(), "{}", tool.name);
            assert!(destination.join("file").is_file(), "{}", tool.name);
        }
    }
}
