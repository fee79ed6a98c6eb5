//! What a package of the command contains besides it: completions for shells and the manual page, both made from the arguments
//! that arguments.rs declares, so that they cannot tell of others.

use std::io::{self, Write as _};

use clap::Command;
use roff::{Inline, Roff, bold, italic, roman};

use crate::arguments;
use crate::exit::{Exit, Row, TABLE, VERIFY_TABLE};
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::usage;

/// Prints the completions for a shell.
pub fn completions(shell: clap_complete::Shell, language: Language) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments::command(language), "brigade", &mut script);
    printed(&script, language)
}

/// Prints the manual page.
pub fn manual(language: Language) -> Exit {
    printed(page(language).as_bytes(), language)
}

fn printed(text: &[u8], language: Language) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(cause) => {
            usage::refuse_plainly(&messages::cannot_print(language, &problem::reason(language, &cause)));
            Exit::Incomplete
        }
    }
}

/// The manual page: one for the command with all that it can do.
fn page(language: Language) -> String {
    let mut command = arguments::command(language);
    command.build();
    let mut page = Roff::new();
    let version = env!("CARGO_PKG_VERSION");
    // The version stands where other pages have a date: a page that is built again must be the same.
    page.control("TH", ["BRIGADE", "1", version, "Brigade", &messages::manual_title(language)]);
    // Chinese lines have few blanks to widen, and options must not be hyphenated.
    page.control("ad", ["l"]).control("nh", []);
    section(&mut page, &messages::manual_name(language));
    page.text([roman(format!("brigade - {}", messages::about(language).trim_end_matches(['.', '。'])))]);
    section(&mut page, &messages::manual_synopsis(language));
    // Filling would run the lines of several ways to call it together.
    page.control("nf", []);
    for name in messages::COMMANDS {
        lines(&mut page, &messages::command_texts(language, name).usage);
    }
    page.control("fi", []);
    section(&mut page, &messages::manual_description(language));
    page.text([roman(messages::about(language))]);
    for name in messages::COMMANDS {
        let command = command.find_subcommand(name).expect("the catalogue names only commands that are there");
        describe(&mut page, command, language);
    }
    section(&mut page, &messages::manual_options(language));
    options(&mut page, &command, |_| true);
    section(&mut page, &messages::manual_exit(language));
    statuses(&mut page, &TABLE, language);
    match language {
        Language::English => page.to_roff(),
        Language::Chinese => with_breaks(&page.to_roff()),
    }
}

/// Says where lines of Chinese may be broken: between any two characters, but not before a punctuation mark. Formatters that
/// know this by themselves need a locale for it.
fn with_breaks(page: &str) -> String {
    const BREAK: &str = r"\:";
    let mut broken = String::with_capacity(2 * page.len());
    for line in page.split_inclusive('\n') {
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            broken.push(character);
            let is_last = characters.peek().is_none_or(|next| next.is_ascii() || "，。；：、）”".contains(*next));
            let opens = character.is_ascii() || "（“".contains(character);
            if !is_last && !opens && !line.starts_with('.') {
                broken.push_str(BREAK);
            }
        }
    }
    broken
}

/// A section for one command: what it does, its options under their headings, its notes.
fn describe(page: &mut Roff, command: &Command, language: Language) {
    let name = command.get_name();
    let texts = messages::command_texts(language, name);
    section(page, &format!("brigade {name}"));
    page.text([roman(texts.about)]);
    let mut headings: Vec<_> = visible(command).filter_map(clap::Arg::get_help_heading).collect();
    headings.dedup();
    for heading in headings {
        page.control("SS", [heading]);
        options(page, command, |option| option.get_help_heading() == Some(heading));
    }
    for paragraph in texts.notes.lines() {
        page.control("PP", []);
        page.text([roman(paragraph)]);
    }
    if name == "verify" {
        page.control("SS", [&messages::manual_exit(language)[..]]);
        statuses(page, &VERIFY_TABLE, language);
    }
}

/// The arguments that a help text shows and that are not those of every command.
fn visible(command: &Command) -> impl Iterator<Item = &clap::Arg> {
    let is_general = |argument: &clap::Arg| ["help", "version", "lang"].contains(&argument.get_id().as_str());
    let is_whole = command.get_name() == "brigade";
    command.get_arguments().filter(move |argument| !argument.is_hide_set() && (is_whole || !is_general(argument)))
}

fn options(page: &mut Roff, command: &Command, is_wanted: impl Fn(&clap::Arg) -> bool) {
    for argument in visible(command).filter(|argument| is_wanted(argument)) {
        let text = argument.get_help().map(ToString::to_string).unwrap_or_default();
        tagged(page, names(argument), &text);
    }
}

/// `-j, --workers N`.
fn names(argument: &clap::Arg) -> Vec<Inline> {
    let short = argument.get_short().map(|letter| bold(format!("-{letter}")));
    let long = argument.get_long().map(|word| bold(format!("--{word}")));
    let both = short.is_some() && long.is_some();
    let mut names: Vec<_> = short.into_iter().collect();
    if both {
        names.push(roman(", "));
    }
    names.extend(long);
    let takes_value = argument.get_action().takes_values();
    if let Some(value) = argument.get_value_names().filter(|_| takes_value).and_then(|values| values.first()) {
        if !names.is_empty() {
            names.push(roman(" "));
        }
        names.push(italic(value.as_str()));
    }
    names
}

fn statuses(page: &mut Roff, rows: &[Row], language: Language) {
    for row in rows {
        tagged(page, vec![bold(row.status)], row.meaning(language));
    }
}

fn section(page: &mut Roff, heading: &str) {
    page.control("SH", [heading]);
}

fn tagged(page: &mut Roff, tag: Vec<Inline>, text: &str) {
    page.control("TP", []);
    page.text(tag);
    page.text([roman(text)]);
}

fn lines(page: &mut Roff, text: &str) {
    for line in text.lines() {
        page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_option_that_help_names() {
        for language in [Language::English, Language::Chinese] {
            let page = page(language).replace(r"\-", "-").replace(r"\:", "");
            let command = arguments::command(language);
            let all = command.get_subcommands().chain([&command]);
            for argument in all.flat_map(Command::get_arguments).filter(|argument| !argument.is_hide_set()) {
                let name = argument
                    .get_long()
                    .map_or_else(|| argument.get_id().to_string().to_uppercase(), |name| format!("--{name}"));
                assert!(page.contains(&name), "{name} is not in the page");
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let first = help.split([' ', '：']).next().unwrap_or_default();
                assert!(page.contains(first), "{help:?} is not in the page");
            }
        }
    }
}
