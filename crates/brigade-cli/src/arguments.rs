//! The arguments, as clap reads them. What is wrong with them is told in usage.rs; what they mean for a copy is in wishes.rs.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::exit;
use crate::language::Language;
use crate::messages;

/// More worker processes than this are taken for a typing error.
pub const MOST_WORKERS: usize = 1024;

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
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "LANGUAGE", display_order = LAST,
        hide_possible_values = true
    )]
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
    Copy(CopyArguments),
}

/// The arguments of `brigade copy`.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub struct CopyArguments {
    /// `SOURCE... DESTINATION`, or one source, or none.
    #[arg(value_name = "PATH", hide = true)]
    pub paths: Vec<PathBuf>,
    /// The destination is meant itself.
    #[arg(short = 'T', long, conflicts_with = "target_directory")]
    pub no_target_directory: bool,
    /// The folder to copy into.
    #[arg(short = 't', long, value_name = "DIR")]
    pub target_directory: Option<PathBuf>,
    /// Worker processes.
    #[arg(short = 'j', long, value_name = "N", value_parser = worker_count)]
    pub workers: Option<NonZeroUsize>,
    /// How progress is shown.
    #[arg(
        long,
        value_enum,
        value_name = "WAY",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub progress: ProgressWay,
    /// A line for each file.
    #[arg(short, long)]
    pub verbose: bool,
    /// Errors only.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    #[command(flatten)]
    habits: Habits,
}

/// What people type after `cp`; all of it is done anyway.
#[derive(Args, Debug)]
struct Habits {
    #[arg(short, long, hide = true)]
    archive: bool,
    #[arg(short, long, short_alias = 'R', hide = true)]
    recursive: bool,
    #[arg(short = 'p', hide = true)]
    preserve: bool,
    #[arg(short = 'd', hide = true)]
    no_dereference: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum ProgressWay {
    /// A bar on a terminal, else nothing.
    Auto,
    /// A bar on a terminal, else lines.
    Bar,
    /// A line now and then.
    Plain,
    /// Events on standard output.
    Json,
    /// Nothing.
    None,
}

impl CommandLine {
    /// Reads the arguments; the first is the program's name.
    ///
    /// # Errors
    /// They are wrong, or ask for help or the version: clap treats both alike.
    pub fn read(arguments: &[OsString], language: Language) -> Result<Self, clap::Error> {
        let matches = command(language).try_get_matches_from(arguments)?;
        Self::from_arg_matches(&matches)
    }
}

/// The command as clap knows it, speaking `language`.
pub fn command(language: Language) -> clap::Command {
    CommandLine::command()
        .about(messages::about(language))
        .override_usage(messages::usage(language))
        .help_template(template(language, Section::Commands))
        .after_help(exit_section(language))
        .mut_args(|argument| helped(argument, language))
        .mut_subcommand("copy", |copy| {
            copy.about(messages::about_copy(language))
                .override_usage(messages::usage_copy(language))
                .help_template(template(language, Section::Options))
                .after_help(format!("{}\n\n{}", messages::notes_copy(language), exit_section(language)))
                .mut_args(|argument| helped(argument, language))
        })
}

/// What a help text lists first.
enum Section {
    Commands,
    Options,
}

fn template(language: Language, section: Section) -> String {
    let commands = match section {
        Section::Options => String::new(),
        Section::Commands => format!("{}\n{{subcommands}}\n\n", messages::commands_heading(language)),
    };
    format!(
        "{{about}}\n\n{}\n  {{usage}}\n\n{commands}{}\n{{options}}{{after-help}}",
        messages::usage_heading(language),
        messages::options_heading(language)
    )
}

fn exit_section(language: Language) -> String {
    format!("{}\n{}", messages::exit_heading(language), exit::table(language))
}

/// An argument with its help text, which holds defaults and values too: clap's own remarks on them are English only.
fn helped(argument: clap::Arg, language: Language) -> clap::Arg {
    let text = match argument.get_id().as_str() {
        "help" => messages::help_help(language),
        "version" => messages::help_version(language),
        "lang" => messages::help_lang(language),
        "no_target_directory" => messages::help_no_target_directory(language),
        "target_directory" => messages::help_target_directory(language),
        "workers" => messages::help_workers(language),
        "progress" => messages::help_progress(language),
        "verbose" => messages::help_verbose(language),
        "quiet" => messages::help_quiet(language),
        _ => return argument.help(None::<&str>),
    };
    argument.help(text)
}

/// The sentence for a number that does not fit is chosen in usage.rs, so the error needs no words of its own.
fn worker_count(text: &str) -> Result<NonZeroUsize, &'static str> {
    let count = text.parse().map_err(|_| "not a whole number")?;
    NonZeroUsize::new(count).filter(|count| count.get() <= MOST_WORKERS).ok_or("out of range")
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
