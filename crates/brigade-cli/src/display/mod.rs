//! What the user sees of a run: gets the engine's events and snapshots and hands them to one way of showing them. How each
//! way looks is in the files below; when a snapshot is taken is decided in copy.rs.

mod bar;
mod estimate;
mod json;
mod lanes;
mod log;
mod outputs;
mod painting;
mod pen;
mod plain;
mod remark;
mod screen;
mod verify;
mod way;

use std::path::{Path, PathBuf};

use brigade_copy::{Confinement, Event, Note, Outcome, Progress, Summary, Writing, shown};

pub use self::json::Named;
use self::outputs::Files;
pub use self::outputs::Outputs;
use self::painting::Painting;
pub use self::pen::Pen;
use self::remark::remark;
pub use self::verify::VerifyDisplay;
pub use self::way::{Detail, Way};
use crate::ink::{Ink, Tone};
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::stats::{self, Stats};
use crate::summary::{self, Circumstances};
use crate::units;

/// The display of one run.
pub struct Display {
    language: Language,
    detail: Detail,
    painting: Painting,
    stats: Stats,
    files: Files,
}

/// Whether everything that was to be told could be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// It could.
    Wholly,
    /// Standard output was closed or full, and a program reads it; or the log's disk was full.
    InPart,
}

impl Display {
    /// A display that starts now.
    pub fn new(language: Language, outputs: Outputs) -> Self {
        Self {
            language,
            detail: outputs.detail,
            painting: Painting::new(language, outputs.way),
            stats: outputs.stats,
            files: outputs.files,
        }
    }

    /// Shows a question, or goes on after the answer to the last one.
    pub fn ask(&mut self, question: Option<&str>) {
        self.painting.ask(question);
        self.tell_lost_output();
    }

    /// Tells a program, and the log, what is about to happen.
    pub fn start(&mut self, pairs: &[(PathBuf, PathBuf)], sandbox: Confinement) {
        self.files.start(pairs);
        if let Some(json) = self.painting.json() {
            json.start(pairs, sandbox);
        }
        if self.detail == Detail::EveryFile && !self.painting.is_for_program() {
            self.say(&messages::confined(self.language, sandbox));
        }
    }

    /// Takes an event of the engine.
    pub fn event(&mut self, event: &Event) {
        if let Some(json) = self.painting.json() {
            json.event(event);
        }
        self.files.event(event);
        let sentence = match event {
            Event::Failed(error) => problem::path_error(self.language, error),
            Event::WorkerStalled { pid, path, silent_for } => {
                messages::worker_stalled(self.language, *pid, path, *silent_for)
            }
            Event::Note(Note::WorkerPanicked(report)) => messages::worker_panicked(self.language, report),
            Event::Note(Note::BytesShort { needed_bytes, free_bytes }) => {
                messages::bytes_short(self.language, &units::bytes(*needed_bytes), &units::bytes(*free_bytes))
            }
            Event::Note(Note::EntriesShort { n_needed, n_free }) => {
                messages::entries_short(self.language, &units::grouped(*n_needed), &units::grouped(*n_free))
            }
            Event::Note(Note::RecordIgnored { path }) => {
                messages::record_ignored(self.language, &shown(path).to_string())
            }
            Event::Note(Note::RemovalCeased(why)) => messages::removal_ceased(self.language, *why),
            _ => return self.remark(event),
        };
        self.complain(&sentence);
    }

    /// Says that the end was asked for and takes its time.
    pub fn stopping(&mut self) {
        self.painting.stopping();
    }

    /// Shows a snapshot, if it is time.
    pub fn tick(&mut self, snapshot: impl FnOnce() -> Progress) {
        self.files.flush();
        self.painting.tick(snapshot);
        self.tell_lost_output();
    }

    /// Shows the end: the last state of the bar, the summary, and how to go on.
    pub fn end(&mut self, summary: &Summary, made: Option<&Path>, go_on: Option<&str>) -> Told {
        self.painting.finish(summary);
        self.tell_lost_output();
        if let Some(cause) = &summary.broken {
            let sentence = messages::broke_off(self.language, cause);
            self.complain(&sentence);
        }
        let told = self.end_of_report(summary);
        if self.detail != Detail::Errors && (!self.painting.is_for_program() || go_on.is_some()) {
            self.say_end(summary, made, go_on);
        }
        if self.stats == Stats::Wanted && !self.painting.is_for_program() {
            stats::lines(self.language, summary).iter().for_each(|line| self.painting.say(line));
            self.painting.flush();
        }
        told
    }

    fn say_end(&mut self, summary: &Summary, made: Option<&Path>, go_on: Option<&str>) {
        if self.detail == Detail::EveryFile {
            self.say(&summary::ledger(self.language, summary));
        }
        let circumstances = Circumstances { made };
        self.say(&summary::line(self.language, summary, circumstances));
        for line in summary::losses(self.language, &summary.fidelity) {
            self.say(&Ink::now().on(Tone::Warning, &line));
        }
        if let Some(command) = go_on {
            self.say(&messages::to_go_on(self.language, command));
        }
        self.painting.flush();
    }

    fn end_of_report(&mut self, summary: &Summary) -> Told {
        if let Some(json) = self.painting.json() {
            json.summary(summary, self.stats);
        }
        self.files.end(summary);
        self.tell_lost_output();
        let is_lost = self.pens().any(|(_, pen)| pen.told() == Told::InPart);
        if is_lost { Told::InPart } else { Told::Wholly }
    }

    /// Everything that is written to beside standard error; files with their names.
    fn pens(&mut self) -> impl Iterator<Item = (Option<&Path>, &mut Pen)> {
        let json = self.painting.json().map(|json| (None, json.pen()));
        json.into_iter().chain(self.files.pens().map(|(path, pen)| (Some(path), pen)))
    }

    /// Says once of each output that it takes nothing any more.
    fn tell_lost_output(&mut self) {
        let language = self.language;
        let sentences: Vec<String> = self
            .pens()
            .filter_map(|(file, pen)| {
                let reason = problem::reason(language, &pen.take_loss()?);
                Some(match file {
                    None => messages::output_closed(language, &reason),
                    Some(path) => messages::file_lost(language, &shown(path).to_string(), &reason),
                })
            })
            .collect();
        sentences.iter().for_each(|sentence| self.complain(sentence));
    }

    /// What is worth a line under `-v`, and losses also beside a bar.
    fn remark(&mut self, event: &Event) {
        let is_wanted = match event {
            Event::WorkerLost { .. } => self.detail == Detail::EveryFile || self.painting.has_bar(),
            Event::File { writing: Writing::Rehearsed, outcome: Outcome::Copied | Outcome::Skipped, .. } => {
                self.detail != Detail::Errors && !self.painting.is_for_program()
            }
            Event::Removed { writing: Writing::Rehearsed, .. } => {
                self.detail != Detail::Errors && !self.painting.is_for_program()
            }
            _ => self.detail == Detail::EveryFile,
        };
        if is_wanted && let Some(line) = remark(self.language, event) {
            let is_loss = matches!(event, Event::WorkerLost { .. });
            self.say(&if is_loss { Ink::now().on(Tone::Warning, &line) } else { line });
        }
    }

    fn complain(&mut self, sentence: &str) {
        self.painting.complain(sentence);
    }

    fn say(&mut self, line: &str) {
        self.painting.say(line);
    }
}
