//! The command `brigade`: reads arguments, asks the copying engine, shows what happens. It copies nothing itself.
#![forbid(unsafe_code)]

mod arguments;
mod exit;
mod language;
mod messages;
mod usage;

mod ask;
mod asking;
mod copy;
mod manifest;
mod paperwork;
mod records;
mod resume;
mod retry;
mod selected;
mod signals;
mod verify;
mod wishes;

mod display;
mod error_list;
mod ink;
mod problem;
mod stats;
mod summary;
mod units;
mod width;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::arguments::{Command, CommandLine};
use crate::language::Language;

fn main() -> ExitCode {
    brigade::init();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let language = Language::wanted(&arguments);
    ink::decide(&arguments);
    match CommandLine::read(&arguments, language).map(|line| line.command) {
        Ok(Command::Copy(arguments)) => copy::run(&arguments, language),
        Ok(Command::Verify(arguments)) => verify::run(&arguments, language),
        Ok(Command::Completions(arguments)) => paperwork::completions(arguments.shell, language).into(),
        Ok(Command::Man) => paperwork::manual(language).into(),
        Err(error) => usage::tell(language, &error, &CommandLine::begun(&arguments)).into(),
    }
}
