//! The command `brigade`: reads arguments, asks the copying engine, shows what happens. It copies nothing itself.
#![forbid(unsafe_code)]

mod arguments;
mod exit;
mod language;
mod messages;
mod usage;

mod ask;
mod copy;
mod resume;
mod signals;
mod wishes;

mod display;
mod problem;
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
    match CommandLine::read(&arguments, language) {
        Ok(CommandLine { command: Command::Copy(arguments), .. }) => copy::run(&arguments, language),
        Err(error) => usage::tell(language, &error).into(),
    }
}
