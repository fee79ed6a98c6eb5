//! What the user sees of a run: gets the engine's events and snapshots and hands them to one way of showing them. How each
//! way looks is in the files below; when a snapshot is taken is decided in copy.rs.

mod bar;
mod estimate;
mod json;
mod lanes;
mod log;
mod pen;
mod plain;
mod screen;
mod verify;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use brigade_copy::{EntryKind, Event, Note, Outcome, Progress, Report, Summary, Totals, Writing, shown};

use self::bar::Bar;
use self::estimate::Estimate;
use self::json::Json;
pub use self::json::Named;
use self::log::Log;
pub use self::pen::Pen;
pub use self::verify::VerifyDisplay;
use crate::arguments::{CopyArguments, ProgressWay};
use crate::error_list::ErrorList;
use crate::ink::{self, Ink, Tone};
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::stats::{self, Stats};
use crate::summary::{self, Circumstances};
use crate::units;

/// A line of figures about this often, for `--progress=plain`.
const PLAIN_STEP: Duration = Duration::from_secs(1);

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

/// The display of one run.
pub struct Display {
    language: Language,
    detail: Detail,
    started: Instant,
    estimate: Estimate,
    surface: Painting,
    stats: Stats,
    log: Option<LogFile>,
    errors: Option<ErrorFile>,
    /// Lines for standard error that may wait for the next tick: those of `-v`.
    lines: String,
    prompt: Prompt,
}

/// Whether a question stands at the end of the screen: then nothing else is written to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Prompt {
    Open,
    None,
}

/// What each way of showing progress keeps.
enum Painting {
    Bar(Bar),
    Plain { next_at: Duration },
    Json(Json),
    Nothing,
}

/// Whether everything that was to be told could be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// It could.
    Wholly,
    /// Standard output was closed or full, and a program reads it; or the log's disk was full.
    InPart,
}

/// What is told where, beside errors.
pub struct Outputs {
    way: Way,
    detail: Detail,
    stats: Stats,
    log: Option<LogFile>,
    errors: Option<ErrorFile>,
}

struct LogFile {
    path: PathBuf,
    log: Log,
}

struct ErrorFile {
    path: PathBuf,
    list: ErrorList,
}

impl Outputs {
    /// What was asked for. Files are opened here.
    ///
    /// # Errors
    /// The sentence that says which file cannot be opened, and why.
    pub fn open(arguments: &CopyArguments, language: Language) -> Result<Self, String> {
        let wanted = &arguments.output;
        let log = match &wanted.log_file {
            None => None,
            Some(path) => {
                let log = Log::open(path).map_err(|cause| cannot_open(language, path, &cause))?;
                Some(LogFile { path: path.clone(), log })
            }
        };
        let errors = match &wanted.errors {
            None => None,
            Some(path) => {
                let list = ErrorList::create(path).map_err(|cause| cannot_open(language, path, &cause))?;
                Some(ErrorFile { path: path.clone(), list })
            }
        };
        let stats = if wanted.stats { Stats::Wanted } else { Stats::NotWanted };
        Ok(Self { way: Way::chosen(arguments), detail: Detail::of(arguments), stats, log, errors })
    }
}

fn cannot_open(language: Language, path: &Path, cause: &io::Error) -> String {
    let reason = problem::reason(language, cause);
    messages::cannot_open_output(language, &shown(path).to_string(), &reason)
}

impl Display {
    /// A display that starts now.
    pub fn new(language: Language, outputs: Outputs) -> Self {
        let surface = match outputs.way {
            Way::Bar => Painting::Bar(Bar::default()),
            Way::Plain => Painting::Plain { next_at: PLAIN_STEP },
            Way::Json => Painting::Json(Json::new(Box::new(io::stdout()))),
            Way::Nothing => Painting::Nothing,
        };
        Self {
            language,
            detail: outputs.detail,
            started: Instant::now(),
            estimate: Estimate::default(),
            surface,
            stats: outputs.stats,
            log: outputs.log,
            errors: outputs.errors,
            lines: String::new(),
            prompt: Prompt::None,
        }
    }

    /// Shows a question, or goes on after the answer to the last one.
    pub fn ask(&mut self, question: Option<&str>) {
        self.prompt = Prompt::None;
        if let Painting::Bar(bar) = &mut self.surface {
            write(&bar.erase());
        }
        self.flush();
        if let Some(question) = question {
            write(question);
            self.prompt = Prompt::Open;
        }
    }

    /// Tells a program, and the log, what is about to happen.
    pub fn start(&mut self, pairs: &[(PathBuf, PathBuf)]) {
        if let Some(file) = &mut self.log {
            file.log.start(pairs);
        }
        if let Some(file) = &mut self.errors {
            file.list.start(pairs);
        }
        if let Painting::Json(json) = &mut self.surface {
            json.start(pairs);
        }
    }

    /// Takes an event of the engine.
    pub fn event(&mut self, event: &Event) {
        if let Painting::Json(json) = &mut self.surface {
            json.event(event);
        }
        if let Some(file) = &mut self.log {
            file.log.event(event);
        }
        match event {
            Event::Failed(error) => {
                if let Some(file) = &mut self.errors {
                    file.list.failed(error);
                }
                let sentence = problem::path_error(self.language, error);
                self.complain(&sentence);
            }
            Event::WorkerStalled { pid, path, silent_for } => {
                let sentence = messages::worker_stalled(self.language, *pid, path, *silent_for);
                self.complain(&sentence);
            }
            Event::Note(Note::WorkerPanicked(report)) => {
                let sentence = messages::worker_panicked(self.language, report);
                self.complain(&sentence);
            }
            Event::Note(Note::BytesShort { needed_bytes, free_bytes }) => {
                let (needed, free) = (units::bytes(*needed_bytes), units::bytes(*free_bytes));
                self.complain(&messages::bytes_short(self.language, &needed, &free));
            }
            Event::Note(Note::EntriesShort { n_needed, n_free }) => {
                let (needed, free) = (units::grouped(*n_needed), units::grouped(*n_free));
                self.complain(&messages::entries_short(self.language, &needed, &free));
            }
            Event::Note(Note::RemovalCeased(why)) => {
                let sentence = messages::removal_ceased(self.language, *why);
                self.complain(&sentence);
            }
            _ => self.remark(event),
        }
    }

    /// Shows a snapshot, if it is time.
    pub fn tick(&mut self, snapshot: impl FnOnce() -> Progress) {
        let elapsed = self.started.elapsed();
        if let Some(file) = &mut self.log {
            file.log.flush();
        }
        match &mut self.surface {
            Painting::Json(json) => json.tick(snapshot, elapsed),
            _ if self.prompt == Prompt::Open => {}
            Painting::Nothing => {}
            Painting::Plain { next_at } => {
                if elapsed >= *next_at {
                    *next_at = elapsed + PLAIN_STEP;
                    let progress = snapshot();
                    self.estimate.update(&progress, elapsed);
                    let line = plain::line(self.language, &progress, &self.estimate);
                    self.lines.push_str(&line);
                    self.lines.push('\n');
                }
            }
            Painting::Bar(bar) => {
                let progress = snapshot();
                self.estimate.update(&progress, elapsed);
                if elapsed >= bar::FIRST_AFTER {
                    let lines = std::mem::take(&mut self.lines);
                    write(&bar.paint(self.language, &lines, &progress, &self.estimate));
                }
            }
        }
        self.flush();
    }

    /// Shows the end: the last state of the bar, the summary, and how to go on.
    pub fn end(&mut self, summary: &Summary, made: Option<&Path>, go_on: Option<&str>) -> Told {
        if self.prompt == Prompt::Open {
            // The question stays where it is, unanswered.
            write("\n");
            self.prompt = Prompt::None;
        }
        if let Painting::Bar(bar) = &mut self.surface {
            let lines = std::mem::take(&mut self.lines);
            write(&bar.finish(self.language, &lines, summary));
        }
        self.flush();
        if let Some(cause) = &summary.broken {
            let sentence = messages::broke_off(self.language, cause);
            self.complain(&sentence);
        }
        let told = self.end_of_report(summary);
        if self.detail != Detail::Errors && (!self.is_for_program() || go_on.is_some()) {
            self.say_end(summary, made, go_on);
        }
        if self.stats == Stats::Wanted && !self.is_for_program() {
            stats::lines(self.language, summary).iter().for_each(|line| self.say(line));
            self.flush();
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
        self.flush();
    }

    fn end_of_report(&mut self, summary: &Summary) -> Told {
        if let Painting::Json(json) = &mut self.surface {
            json.summary(summary, self.stats);
        }
        if let Some(file) = &mut self.log {
            file.log.end(summary);
        }
        // What an interrupted run did not reach is in no list, so it leaves none.
        let is_whole = !summary.interrupted && summary.broken.is_none();
        if let Some(file) = self.errors.as_mut().filter(|_| is_whole) {
            file.list.finish();
        }
        self.tell_lost_output();
        let is_lost = self.pens().any(|(_, pen)| pen.told() == Told::InPart);
        if is_lost { Told::InPart } else { Told::Wholly }
    }

    fn is_for_program(&self) -> bool {
        matches!(self.surface, Painting::Json(_))
    }

    /// Everything that is written to beside standard error; files with their names.
    fn pens(&mut self) -> impl Iterator<Item = (Option<&Path>, &mut Pen)> {
        let json = match &mut self.surface {
            Painting::Json(json) => Some((None, json.pen())),
            _ => None,
        };
        let log = self.log.as_mut().map(|file| (Some(file.path.as_path()), file.log.pen()));
        let errors = self.errors.as_mut().map(|file| (Some(file.path.as_path()), file.list.pen()));
        [json, log, errors].into_iter().flatten()
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
            Event::WorkerLost { .. } => self.detail == Detail::EveryFile || matches!(self.surface, Painting::Bar(_)),
            Event::File { writing: Writing::Rehearsed, outcome: Outcome::Copied | Outcome::Skipped, .. } => {
                self.detail != Detail::Errors && !self.is_for_program()
            }
            Event::Removed { writing: Writing::Rehearsed, .. } => {
                self.detail != Detail::Errors && !self.is_for_program()
            }
            _ => self.detail == Detail::EveryFile,
        };
        if is_wanted && let Some(line) = remark(self.language, event) {
            let is_loss = matches!(event, Event::WorkerLost { .. });
            self.say(&if is_loss { Ink::now().on(Tone::Warning, &line) } else { line });
        }
    }

    /// An error: at once, unless a bar will be painted under it in a moment.
    fn complain(&mut self, sentence: &str) {
        self.say(&ink::complaint(sentence));
        if !matches!(&self.surface, Painting::Bar(bar) if bar.is_drawn()) {
            self.flush();
        }
    }

    fn say(&mut self, line: &str) {
        /// A bar leaves the screen to lines that come faster than this within a tick.
        const MOST_WAITING_BYTES: usize = 64 << 10;
        self.lines.push_str(line);
        self.lines.push('\n');
        if self.lines.len() >= MOST_WAITING_BYTES {
            if let Painting::Bar(bar) = &mut self.surface {
                write(&bar.erase());
            }
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() && self.prompt == Prompt::None {
            write(&self.lines);
            self.lines.clear();
        }
        self.tell_lost_output();
    }
}

/// Writes to standard error. One that is closed or full is no reason to end a copy, and there is nobody left to tell.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn remark(language: Language, event: &Event) -> Option<String> {
    Some(match event {
        Event::File { source, destination, outcome, writing: Writing::Rehearsed, kind, why, .. } => {
            let destination = shown(destination).to_string();
            let reason = why.map_or("", |why| messages::why(language, why));
            match (outcome, kind) {
                (Outcome::Copied, EntryKind::Directory) => messages::would_make(language, &destination),
                (Outcome::Copied, _) => {
                    messages::would_copy(language, &shown(source).to_string(), &destination, reason)
                }
                (Outcome::Skipped, _) => messages::would_skip(language, &destination, reason),
                (Outcome::Unchanged, _) => messages::file_unchanged(language, &destination),
                (Outcome::Failed, _) => return None,
            }
        }
        Event::File { source, destination, outcome, lost, .. } => {
            let destination = shown(destination).to_string();
            let line = match outcome {
                Outcome::Copied => messages::file_copied(language, &shown(source).to_string(), &destination),
                Outcome::Unchanged => messages::file_unchanged(language, &destination),
                Outcome::Skipped => messages::file_skipped(language, &destination),
                // It has an error line of its own.
                Outcome::Failed => return None,
            };
            match lost.is_empty() {
                true => line,
                false => messages::lost_of_entry(language, &line, &messages::lost_words(language, *lost)),
            }
        }
        Event::Removed { path, writing: Writing::Rehearsed, .. } => {
            messages::would_delete(language, &shown(path).to_string())
        }
        Event::Removed { path, .. } => messages::deleted_entry(language, &shown(path).to_string()),
        Event::WorkerStarted { pid } => messages::worker_started(language, *pid),
        Event::WorkerLost { pid, signal: Some(signal) } => messages::worker_killed(language, *pid, *signal),
        Event::WorkerLost { pid, signal: None } => messages::worker_ended(language, *pid),
        _ => return None,
    })
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

    #[test]
    fn a_name_in_a_line_cannot_move_the_cursor() {
        let event = Event::File {
            source: "a/new\nline".into(),
            destination: "b/\x1b[2J".into(),
            kind: EntryKind::File,
            outcome: Outcome::Copied,
            writing: Writing::Real,
            why: None,
            bytes: 1,
            lost: brigade_copy::Lost::default(),
        };
        assert_eq!(remark(Language::English, &event).unwrap(), r"'a/new\x0aline' -> 'b/\x1b[2J'");
    }
}
