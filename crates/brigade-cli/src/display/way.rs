//! Which way progress is shown, and how much is told in words: from what was asked for and what standard error leads to.

use std::io;

use brigade_copy::{Report, Totals};

use crate::arguments::{CopyArguments, ProgressWay};

/// How progress is shown in this run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// A bar that is drawn over and over.
    Bar,
    /// A line now and then.
    Plain,
    /// Events on standard output, for a program.
    Json,
    /// Not at all.
    Nothing,
}

impl Way {
    /// What was asked for, as far as standard error can show it.
    pub fn chosen(arguments: &CopyArguments) -> Self {
        Self::of(arguments.output.progress, Detail::of(arguments))
    }

    /// What was asked for, where only errors are to be told if not by a program's events.
    pub fn of(progress: ProgressWay, detail: Detail) -> Self {
        match (progress, detail) {
            (ProgressWay::Json, _) => Self::Json,
            (_, Detail::Errors) => Self::Nothing,
            _ => Self::on(progress, Surface::of_standard_error()),
        }
    }

    fn on(wanted: ProgressWay, surface: Surface) -> Self {
        match (wanted, surface) {
            (ProgressWay::Json, _) => Self::Json,
            (ProgressWay::Auto | ProgressWay::Bar, Surface::Screen) => Self::Bar,
            (ProgressWay::Plain | ProgressWay::Bar, _) | (ProgressWay::Auto, Surface::DumbTerminal) => Self::Plain,
            (ProgressWay::None, _) | (ProgressWay::Auto, Surface::NoTerminal) => Self::Nothing,
        }
    }

    /// Whether the walk must find out sizes for it.
    pub fn totals(self) -> Totals {
        match self {
            Self::Nothing => Totals::NotNeeded,
            Self::Bar | Self::Plain | Self::Json => Totals::Wanted,
        }
    }

    /// Whether the engine must report every entry for it.
    pub fn report(self, arguments: &CopyArguments) -> Report {
        let is_each_told = self == Self::Json || arguments.output.verbose || arguments.output.log_file.is_some();
        if is_each_told { Report::EveryEntry } else { Report::Failures }
    }
}

/// What standard error leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Surface {
    Screen,
    DumbTerminal,
    NoTerminal,
}

impl Surface {
    fn of_standard_error() -> Self {
        let kind = std::env::var_os("TERM").unwrap_or_default();
        if !rustix::termios::isatty(io::stderr()) {
            Self::NoTerminal
        } else if kind.is_empty() || kind == "dumb" {
            Self::DumbTerminal
        } else {
            Self::Screen
        }
    }
}

/// How much is told in words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// Errors only.
    Errors,
    /// Errors and one line at the end.
    Summary,
    /// Also a line for each file and each worker.
    EveryFile,
}

impl Detail {
    /// What was asked for.
    pub fn of(arguments: &CopyArguments) -> Self {
        match (arguments.output.quiet, arguments.output.verbose) {
            (true, _) => Self::Errors,
            (false, true) => Self::EveryFile,
            (false, false) => Self::Summary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_drawn_only_where_it_can_be() {
        use {ProgressWay as Wanted, Surface::*};
        let table = [
            (Wanted::Auto, [Way::Bar, Way::Plain, Way::Nothing]),
            (Wanted::Bar, [Way::Bar, Way::Plain, Way::Plain]),
            (Wanted::Plain, [Way::Plain; 3]),
            (Wanted::Json, [Way::Json; 3]),
            (Wanted::None, [Way::Nothing; 3]),
        ];
        for (wanted, ways) in table {
            let chosen = [Screen, DumbTerminal, NoTerminal].map(|surface| Way::on(wanted, surface));
            assert_eq!(chosen, ways, "{wanted:?}");
        }
    }

    #[test]
    fn the_engine_is_asked_only_for_what_is_shown() {
        assert_eq!(Way::Nothing.totals(), Totals::NotNeeded);
        assert_eq!(Way::Bar.totals(), Totals::Wanted);
        let report = |way: Way, option: &str| way.report(&crate::arguments::parsed(&[option, "a"]));
        assert_eq!(report(Way::Bar, "-j1"), Report::Failures);
        assert_eq!(report(Way::Nothing, "-v"), Report::EveryEntry);
        assert_eq!(report(Way::Json, "-q"), Report::EveryEntry);
        assert_eq!(report(Way::Bar, "--log-file=log"), Report::EveryEntry);
    }
}
