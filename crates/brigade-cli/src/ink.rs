//! Whether standard error is coloured, and with what: sparingly, errors and warnings and the bar. What is said is decided elsewhere.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::OnceLock;

use crate::arguments::When;

/// What a text is, as far as that has a colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// Something failed.
    Error,
    /// Something was lost or left out.
    Warning,
    /// The part of a bar that is done.
    Done,
}

/// How this process writes to standard error.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ink {
    /// As it is.
    #[default]
    Plain,
    /// With colours.
    Coloured,
}

/// Decided once, before the arguments are parsed, since mistakes in them are told in colour too.
static INK: OnceLock<Ink> = OnceLock::new();

/// Decides for the whole process.
pub fn decide(arguments: &[OsString]) {
    let is_terminal = rustix::termios::isatty(io::stderr());
    let ink = Ink::of(asked_for(arguments), |name| std::env::var_os(name), is_terminal);
    INK.get_or_init(|| ink);
}

impl Ink {
    /// What was decided.
    pub fn now() -> Self {
        INK.get().copied().unwrap_or_default()
    }

    /// The option, then `NO_COLOR`, then `CLICOLOR_FORCE`, then whether it is a terminal that knows colours.
    fn of(way: When, variable: impl Fn(&str) -> Option<OsString>, is_terminal: bool) -> Self {
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is_forced = is_set("CLICOLOR_FORCE") && variable("CLICOLOR_FORCE").as_deref() != Some(OsStr::new("0"));
        let is_dumb = variable("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb");
        let is_coloured = match way {
            When::Always => true,
            When::Never => false,
            When::Auto => !is_set("NO_COLOR") && (is_forced || (is_terminal && !is_dumb)),
        };
        if is_coloured { Self::Coloured } else { Self::Plain }
    }

    /// A text in its colour.
    pub fn on(self, tone: Tone, text: &str) -> String {
        let colour = match (self, tone) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Coloured, Tone::Error) => "1;31",
            (Self::Coloured, Tone::Warning) => "33",
            (Self::Coloured, Tone::Done) => "32",
        };
        format!("\x1b[{colour}m{text}\x1b[0m")
    }
}

/// The line of an error.
pub fn complaint(sentence: &str) -> String {
    format!("{} {sentence}", Ink::now().on(Tone::Error, "brigade:"))
}

/// What `--color` asks for; what is wrong with it is found when the arguments are parsed.
fn asked_for(arguments: &[OsString]) -> When {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    let ways = options.filter_map(|argument| match argument.to_str()? {
        "--color" | "--color=always" => Some(When::Always),
        "--color=never" => Some(When::Never),
        "--color=auto" => Some(When::Auto),
        _ => None,
    });
    ways.last().unwrap_or(When::Auto)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ink(way: When, variables: &[(&str, &str)], is_terminal: bool) -> Ink {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Ink::of(way, variable, is_terminal)
    }

    const TERM: (&str, &str) = ("TERM", "xterm");

    #[test]
    fn colours_follow_the_option_then_the_environment_then_the_terminal() {
        use When::{Always, Auto, Never};
        type Row = (When, &'static [(&'static str, &'static str)], bool, Ink);
        let table: [Row; 12] = [
            (Auto, &[TERM], true, Ink::Coloured),
            (Auto, &[TERM], false, Ink::Plain),
            (Auto, &[("TERM", "dumb")], true, Ink::Plain),
            (Auto, &[], true, Ink::Plain),
            (Auto, &[TERM, ("NO_COLOR", "1")], true, Ink::Plain),
            (Auto, &[TERM, ("NO_COLOR", "")], true, Ink::Coloured),
            (Auto, &[("CLICOLOR_FORCE", "1")], false, Ink::Coloured),
            (Auto, &[("CLICOLOR_FORCE", "0")], false, Ink::Plain),
            (Auto, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, Ink::Plain),
            (Always, &[("NO_COLOR", "1")], false, Ink::Coloured),
            (Never, &[TERM, ("CLICOLOR_FORCE", "1")], true, Ink::Plain),
            (Always, &[("TERM", "dumb")], true, Ink::Coloured),
        ];
        for (way, variables, is_terminal, expected) in table {
            assert_eq!(ink(way, variables, is_terminal), expected, "{way:?} {variables:?} {is_terminal}");
        }
    }

    #[test]
    fn the_last_option_counts_and_what_follows_two_dashes_does_not() {
        let asked = |words: &[&str]| asked_for(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(asked(&["copy", "--color=never", "--color"]), When::Always);
        assert_eq!(asked(&["copy", "--", "--color"]), When::Auto);
        assert_eq!(asked(&["copy", "--color=purple"]), When::Auto);
    }

    #[test]
    fn a_plain_text_stays_as_it_is() {
        assert_eq!(Ink::Plain.on(Tone::Error, "x"), "x");
        assert_eq!(Ink::Coloured.on(Tone::Error, "x"), "\x1b[1;31mx\x1b[0m");
    }
}
