//! What is wrong with the arguments, in the user's language: clap knows it but speaks English only. Also prints the help.

use std::io::Write as _;

use brigade_copy::shown;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::arguments::MOST_WORKERS;
use crate::exit::Exit;
use crate::ink;
use crate::language::Language;
use crate::messages;

/// Prints what clap has to say: help and version on standard output, mistakes on standard error.
///
/// `command` is the one to whose help a mistake leads.
pub fn tell(language: Language, error: &clap::Error, command: &str) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Whoever closed standard output does not want to read it.
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Refused
        }
        _ => refuse_for(command, language, &sentence(language, error)),
    }
}

/// Says what is wrong with the arguments of a copy, and where to look.
pub fn refuse(language: Language, sentence: &str) -> Exit {
    refuse_for("brigade copy", language, sentence)
}

/// Says what is wrong with the arguments of a command, and where to look.
pub fn refuse_for(command: &str, language: Language, sentence: &str) -> Exit {
    let hint = messages::try_help(language, command);
    refuse_plainly(&format!("{sentence}{}{hint}", messages::semicolon(language)))
}

/// Says why nothing is begun, where the arguments themselves are right.
pub fn refuse_plainly(sentence: &str) -> Exit {
    // Nothing is left to be done about a standard error that takes no text.
    let _ = writeln!(std::io::stderr(), "{}", ink::complaint(sentence));
    Exit::Refused
}

fn sentence(language: Language, error: &clap::Error) -> String {
    let context = Context { error };
    let option = context.option();
    let value = context.quoted(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let unknown = context.quoted(ContextKind::InvalidArg).unwrap_or_default();
            let sentence = messages::unknown_option(language, &unknown);
            context.with_suggestion(language, sentence, ContextKind::SuggestedArg)
        }
        ErrorKind::InvalidSubcommand => {
            let unknown = context.quoted(ContextKind::InvalidSubcommand).unwrap_or_default();
            let sentence = messages::unknown_command(language, &unknown);
            context.with_suggestion(language, sentence, ContextKind::SuggestedSubcommand)
        }
        ErrorKind::InvalidValue if value.as_deref().is_none_or(|value| value == "''") => {
            messages::needs_value(language, &option)
        }
        ErrorKind::InvalidValue => {
            let sentence = messages::bad_value(language, &option, value.as_deref().unwrap_or_default());
            let values = context.texts(ContextKind::ValidValue).join(", ");
            let hint = messages::possible_values(language, &values);
            format!("{sentence}{}{hint}", messages::semicolon(language))
        }
        ErrorKind::ValueValidation => {
            let sentence = messages::bad_value(language, &option, value.as_deref().unwrap_or_default());
            let hint = match option.as_str() {
                "--stall-timeout" => messages::duration_form(language),
                "--bwlimit" => messages::rate_form(language),
                "--nice" => messages::nice_range(language),
                _ => messages::workers_range(language, MOST_WORKERS),
            };
            format!("{sentence}{}{hint}", messages::semicolon(language))
        }
        ErrorKind::TooManyValues => messages::takes_no_value(language, &option),
        ErrorKind::ArgumentConflict => {
            let others = context.texts(ContextKind::PriorArg);
            let other = others.first().map_or("", |text| first_word(text));
            let sentence = messages::not_together(language, &option, other);
            // With these, whoever types -n thinks of rsync.
            let is_rsync = [&option, other].contains(&"--no-clobber");
            if is_rsync {
                format!("{sentence}{}{}", messages::semicolon(language), messages::dry_run_of_rsync(language))
            } else {
                sentence
            }
        }
        ErrorKind::MissingRequiredArgument => messages::missing_shell(language),
        _ => clap_own_words(error),
    }
}

/// The first line that clap would print, for a mistake that these arguments do not seem to allow.
fn clap_own_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// What clap remembers about a mistake.
struct Context<'a> {
    error: &'a clap::Error,
}

impl Context<'_> {
    fn texts(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            Some(other) => vec![other.to_string()],
            None => Vec::new(),
        }
    }

    /// A text that the user typed, fit for a terminal.
    fn quoted(&self, kind: ContextKind) -> Option<String> {
        let text = self.texts(kind).into_iter().next()?;
        Some(shown(&text).to_string())
    }

    /// The option's name, without the name of its value.
    fn option(&self) -> String {
        let texts = self.texts(ContextKind::InvalidArg);
        texts.first().map_or("", |text| first_word(text)).to_owned()
    }

    fn with_suggestion(&self, language: Language, sentence: String, kind: ContextKind) -> String {
        // The likeliest comes last.
        match self.texts(kind).last() {
            Some(name) => format!("{sentence}{}{}", messages::semicolon(language), messages::similar(language, name)),
            None => sentence,
        }
    }
}

fn first_word(text: &str) -> &str {
    text.split([' ', '=', '[']).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::arguments::CommandLine;

    fn told(language: Language, arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = ["brigade"].iter().chain(arguments).map(OsString::from).collect();
        let error = CommandLine::read(&arguments, language).expect_err("these are mistakes");
        sentence(language, &error)
    }

    #[test]
    fn mistakes_are_told_in_both_languages() {
        let table: [(&[&str], &str, &str); 12] = [
            (&["copy", "--bogus", "a"], "unknown option '--bogus'", "未知选项 '--bogus'"),
            (&["copy", "-Z", "a"], "unknown option '-Z'", "未知选项 '-Z'"),
            (
                &["copy", "--verbos"],
                "unknown option '--verbos'; did you mean '--verbose'?",
                "未知选项 '--verbos'；您是不是想用 '--verbose'？",
            ),
            (&["remove"], "unknown command 'remove'", "未知命令 'remove'"),
            (&["copi"], "unknown command 'copi'; did you mean 'copy'?", "未知命令 'copi'；您是不是想用 'copy'？"),
            (
                &["copy", "-j", "0"],
                "'0' is not a value for '--workers'; it takes a whole number from 1 to 1024",
                "'0' 不是 '--workers' 的有效值；应为 1 到 1024 的整数",
            ),
            (
                &["copy", "-j\u{1b}[2J"],
                r"'\x1b[2J' is not a value for '--workers'; it takes a whole number from 1 to 1024",
                r"'\x1b[2J' 不是 '--workers' 的有效值；应为 1 到 1024 的整数",
            ),
            (
                &["copy", "--progress=lots"],
                "'lots' is not a value for '--progress'; it takes auto, bar, plain, json, none",
                "'lots' 不是 '--progress' 的有效值；可用的值：auto, bar, plain, json, none",
            ),
            (&["copy", "--lang"], "option '--lang' needs a value", "选项 '--lang' 需要一个值"),
            (&["copy", "--quiet=3"], "option '--quiet' takes no value", "选项 '--quiet' 不接受值"),
            (
                &["copy", "-qv", "a"],
                "'--quiet' and '--verbose' cannot be used together",
                "'--quiet' 和 '--verbose' 不能同时使用",
            ),
            (
                &["copy", "-T", "-t", "b", "a"],
                "'--no-target-directory' and '--target-directory' cannot be used together",
                "'--no-target-directory' 和 '--target-directory' 不能同时使用",
            ),
        ];
        for (arguments, english, chinese) in table {
            assert_eq!(told(Language::English, arguments), english);
            assert_eq!(told(Language::Chinese, arguments), chinese);
        }
    }
}
