//! The arguments, as clap reads them. What is wrong with them is told in usage.rs; what they mean for a copy is in wishes.rs.

mod delete;
mod fidelity;
mod given;
mod output;
mod paperwork;
mod policy;
mod safety;
mod speed;
mod verify;
mod what;
mod when;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::exit;
use crate::language::Language;
use crate::messages;
pub use delete::DeleteArguments;
pub use fidelity::FidelityArguments;
pub use given::Given;
pub use output::{OutputArguments, ProgressWay};
pub use paperwork::CompletionsArguments;
pub use policy::PolicyArguments;
pub use safety::SafetyArguments;
pub use speed::{MOST_WORKERS, SpeedArguments};
pub use verify::VerifyArguments;
pub use what::WhatArguments;
pub use when::When;

/// Options of the command as a whole stand below those of what it does.
const LAST: usize = 100;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "brigade",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    #[arg(long, global = true, value_name = "LANGUAGE", display_order = LAST)]
    lang: Option<Language>,
    #[arg(short = 'h', long, global = true, action = ArgAction::Help, display_order = LAST)]
    help: Option<bool>,
    #[arg(short = 'V', long, action = ArgAction::Version, display_order = LAST)]
    version: Option<bool>,
}

/// What Brigade can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copies.
    Copy(Box<CopyArguments>),
    /// Compares.
    Verify(VerifyArguments),
    /// Prints a script for a shell.
    Completions(CompletionsArguments),
    /// Prints the manual page.
    Man,
}

/// The arguments of `brigade copy`.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub struct CopyArguments {
    /// `SOURCE... DESTINATION`, or one source, or none.
    #[arg(value_name = "PATH", hide = true)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub what: WhatArguments,
    #[command(flatten)]
    pub policy: PolicyArguments,
    #[command(flatten)]
    pub delete: DeleteArguments,
    #[command(flatten)]
    pub fidelity: FidelityArguments,
    #[command(flatten)]
    pub safety: SafetyArguments,
    #[command(flatten)]
    pub speed: SpeedArguments,
    #[command(flatten)]
    pub output: OutputArguments,
    /// The options as they were typed, for a command that goes on.
    #[arg(skip)]
    pub given: Given,
    #[command(flatten)]
    pub habits: Habits,
}

/// What people type after `cp`; all of it is done anyway.
#[derive(Args, Debug)]
pub struct Habits {
    #[arg(short, long, hide = true)]
    archive: bool,
    /// With a list of names, folders in it are copied with everything below them.
    #[arg(short, long, short_alias = 'R', hide = true)]
    pub recursive: bool,
    #[arg(short = 'p', hide = true)]
    usual: bool,
    #[arg(short = 'd', hide = true)]
    links: bool,
}

impl CommandLine {
    /// The words that a command begins with, as far as these arguments name one: for "try … --help".
    pub fn begun(arguments: &[OsString]) -> String {
        let named = arguments.iter().skip(1).find_map(|word| messages::COMMANDS.into_iter().find(|name| word == name));
        format!("brigade {}", named.unwrap_or("copy"))
    }

    /// Reads the arguments; the first is the program's name.
    ///
    /// # Errors
    /// They are wrong, or ask for help or the version: clap treats both alike.
    pub fn read(arguments: &[OsString], language: Language) -> Result<Self, clap::Error> {
        let matches = command(language).try_get_matches_from(arguments)?;
        let mut line = Self::from_arg_matches(&matches)?;
        if let (Command::Copy(copy), Some((_, matches))) = (&mut line.command, matches.subcommand()) {
            copy.given = Given::of(matches);
        }
        Ok(line)
    }
}

/// What the words after `brigade copy` mean, for tests.
#[cfg(test)]
pub fn parsed(words: &[&str]) -> CopyArguments {
    let words: Vec<OsString> = ["brigade", "copy"].iter().chain(words).map(OsString::from).collect();
    match CommandLine::read(&words, Language::English).expect("the words are right").command {
        Command::Copy(arguments) => *arguments,
        other => panic!("{other:?} is no copy"),
    }
}

/// The command as clap knows it, speaking `language`.
pub fn command(language: Language) -> clap::Command {
    let command = CommandLine::command()
        .about(messages::about(language))
        .override_usage(messages::usage(language))
        .help_template(template(language, &commands_and_options(language)))
        .after_help(exit_section(language))
        .mut_args(|argument| helped(argument, language));
    messages::COMMANDS
        .iter()
        .fold(command, |command, name| command.mut_subcommand(name, |command| subcommand(command, name, language)))
}

fn subcommand(command: clap::Command, name: &str, language: Language) -> clap::Command {
    let texts = messages::command_texts(language, name);
    let after = match name {
        "copy" => format!("{}\n\n{}", texts.notes, exit_section(language)),
        "verify" => {
            let (heading, table) = (messages::exit_heading(language), exit::verify_table(language));
            format!("{}\n\n{heading}\n{table}", texts.notes)
        }
        _ => texts.notes,
    };
    command
        .about(texts.about)
        .override_usage(texts.usage)
        .help_template(template(language, "{all-args}"))
        .after_help(after)
        .mut_args(|argument| helped(argument, language))
}

/// The frame of a help text around its list.
fn template(language: Language, list: &str) -> String {
    format!("{{about}}\n\n{}\n  {{usage}}\n\n{list}{{after-help}}", messages::usage_heading(language))
}

/// The commands, and the options that each of them has.
fn commands_and_options(language: Language) -> String {
    let (commands, options) = (messages::commands_heading(language), messages::options_heading(language));
    format!("{commands}\n{{subcommands}}\n\n{options}\n{{options}}")
}

fn exit_section(language: Language) -> String {
    format!("{}\n{}", messages::exit_heading(language), exit::table(language))
}

/// An argument with its help text, which holds defaults and values too: clap's own remarks on them are English only.
fn helped(argument: clap::Arg, language: Language) -> clap::Arg {
    if argument.is_hide_set() {
        return argument.help(None::<&str>);
    }
    let heading = messages::group(language, argument.get_help_heading().unwrap_or("general"));
    let text = messages::help(language, argument.get_id().as_str());
    let takes_values = argument.get_action().takes_values();
    argument.help_heading(heading).help(text).hide_default_value(takes_values).hide_possible_values(takes_values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: [Language; 2] = [Language::English, Language::Chinese];

    #[test]
    fn the_command_line_is_consistent() {
        for language in LANGUAGES {
            command(language).debug_assert();
        }
    }

    #[test]
    fn every_visible_argument_has_a_help_text() {
        for language in LANGUAGES {
            let command = command(language);
            let all = command.get_subcommands().chain([&command]).flat_map(clap::Command::get_arguments);
            for argument in all.filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }
}
