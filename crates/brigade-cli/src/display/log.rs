//! The log of `--log-file`: a line for each entry and each error, with the time. Always in English and in UTC, since programs
//! and searches read it; names are escaped as on a terminal, so that each entry has exactly one line.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brigade_copy::{Event, Outcome, Summary, Writing, shown};

use super::pen::Pen;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::summary::{self, Circumstances};

/// A log that is written.
pub struct Log {
    pen: Pen,
}

impl Log {
    /// Appends to the file, which need not be there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { pen: Pen::new(Box::new(file)) })
    }

    /// What goes where.
    pub fn start(&mut self, pairs: &[(PathBuf, PathBuf)]) {
        for (source, destination) in pairs {
            let (source, destination) = (shown(source), shown(destination));
            self.line(&format!("started brigade {}: {source} -> {destination}", env!("CARGO_PKG_VERSION")));
        }
        self.pen.flush();
    }

    /// Something that happened.
    pub fn event(&mut self, event: &Event) {
        if let Some(text) = text_of(event) {
            self.line(&text);
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        self.pen.flush();
    }

    /// The end, in the words of the summary.
    pub fn end(&mut self, summary: &Summary) {
        if let Some(cause) = &summary.broken {
            self.line(&messages::broke_off(Language::English, cause));
        }
        self.line(&summary::ledger(Language::English, summary));
        self.line(&summary::line(Language::English, summary, Circumstances::default()));
        for line in summary::losses(Language::English, &summary.fidelity) {
            self.line(&line);
        }
        self.pen.flush();
    }

    /// What it writes with, and where losses are found.
    pub fn pen(&mut self) -> &mut Pen {
        &mut self.pen
    }

    fn line(&mut self, text: &str) {
        let stamp = stamp(SystemTime::now());
        self.pen.write_by(|out| writeln!(out, "{stamp} {text}"));
    }
}

fn text_of(event: &Event) -> Option<String> {
    const ENGLISH: Language = Language::English;
    Some(match event {
        Event::File { source, destination, outcome, writing, bytes, .. } => {
            let word = match outcome {
                Outcome::Copied if *writing == Writing::Rehearsed => "would copy",
                Outcome::Copied => "copied",
                Outcome::Unchanged => "unchanged",
                Outcome::Skipped => "skipped",
                // It has a line of its own, with the reason.
                Outcome::Failed => return None,
            };
            format!("{word} {} -> {} ({bytes} B)", shown(source), shown(destination))
        }
        Event::Failed(error) => format!("failed: {}", problem::path_error(ENGLISH, error)),
        Event::WorkerStarted { pid } => messages::worker_started(ENGLISH, *pid),
        Event::WorkerLost { pid, signal: Some(signal) } => messages::worker_killed(ENGLISH, *pid, *signal),
        Event::WorkerLost { pid, signal: None } => messages::worker_ended(ENGLISH, *pid),
        _ => return None,
    })
}

/// `2026-11-22T20:35:01.123Z`.
fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The date that many days after 1 January 1970, in the Gregorian calendar.
///
/// # Source
/// `civil_from_days` of <https://howardhinnant.github.io/date_algorithms.html>: years begin in March, so that the leap day is the
/// last of a year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_written_as_rfc_3339_has_it() {
        let at = |seconds, milliseconds: u32| stamp(UNIX_EPOCH + Duration::new(seconds, milliseconds * 1_000_000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(4_107_542_399, 999), "2100-02-28T23:59:59.999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(1_795_379_701, 123), "2026-11-22T20:35:01.123Z");
    }

    #[test]
    fn an_entry_is_one_line_whatever_its_name() {
        let event = Event::File {
            source: "a\nb".into(),
            destination: "c\u{9b}2J".into(),
            kind: brigade_copy::EntryKind::File,
            outcome: Outcome::Copied,
            writing: Writing::Real,
            why: None,
            bytes: 3,
            lost: brigade_copy::Lost::default(),
        };
        assert_eq!(text_of(&event).unwrap(), r"copied 'a\x0ab' -> 'c\u{9b}2J' (3 B)");
    }
}
