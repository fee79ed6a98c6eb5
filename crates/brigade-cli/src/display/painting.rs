//! Progress as it is shown while a run goes on, and the lines that stand above a bar: the same for a copy and a comparison. What the
//! lines say is decided in mod.rs and verify.rs.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use brigade_copy::{Progress, Summary};

use super::bar::{self, Bar};
use super::estimate::Estimate;
use super::json::Json;
use super::plain;
use super::way::Way;
use crate::ink;
use crate::language::Language;
use crate::messages;

/// A line of figures about this often, for `--progress=plain`.
const PLAIN_STEP: Duration = Duration::from_secs(1);

/// Standard error, or a program's report, while a run goes on.
pub(super) struct Painting {
    language: Language,
    started: Instant,
    estimate: Estimate,
    surface: Surface,
    /// Lines for standard error that may wait for the next tick.
    lines: String,
    prompt: Prompt,
}

/// What each way of showing progress keeps.
enum Surface {
    Bar(Bar),
    Plain { next_at: Duration },
    Json(Json),
    Nothing,
}

/// Whether a question stands at the end of the screen: then nothing else is written to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Prompt {
    Open,
    None,
}

impl Painting {
    /// A painting that starts now.
    pub(super) fn new(language: Language, way: Way) -> Self {
        let surface = match way {
            Way::Bar => Surface::Bar(Bar::default()),
            Way::Plain => Surface::Plain { next_at: PLAIN_STEP },
            Way::Json => Surface::Json(Json::new(Box::new(io::stdout()))),
            Way::Nothing => Surface::Nothing,
        };
        Self {
            language,
            started: Instant::now(),
            estimate: Estimate::default(),
            surface,
            lines: String::new(),
            prompt: Prompt::None,
        }
    }

    /// The report, if a program reads along.
    pub(super) fn json(&mut self) -> Option<&mut Json> {
        match &mut self.surface {
            Surface::Json(json) => Some(json),
            _ => None,
        }
    }

    pub(super) fn is_for_program(&self) -> bool {
        matches!(self.surface, Surface::Json(_))
    }

    pub(super) fn has_bar(&self) -> bool {
        matches!(self.surface, Surface::Bar(_))
    }

    /// Tells who watches the bar that the end was asked for and takes its time.
    pub(super) fn stopping(&mut self) {
        if self.has_bar() {
            self.say(&messages::stopping(self.language));
        }
    }

    /// Shows a question, or goes on after the answer to the last one.
    pub(super) fn ask(&mut self, question: Option<&str>) {
        self.prompt = Prompt::None;
        self.erase_bar();
        self.flush();
        if let Some(question) = question {
            write(question);
            self.prompt = Prompt::Open;
        }
    }

    /// Shows a snapshot, if it is time.
    pub(super) fn tick(&mut self, snapshot: impl FnOnce() -> Progress) {
        let elapsed = self.started.elapsed();
        match &mut self.surface {
            Surface::Json(json) => json.tick(snapshot, elapsed),
            _ if self.prompt == Prompt::Open => {}
            Surface::Nothing => {}
            Surface::Plain { next_at } => {
                if elapsed >= *next_at {
                    *next_at = elapsed + PLAIN_STEP;
                    let progress = snapshot();
                    self.estimate.update(&progress, elapsed);
                    let line = plain::line(self.language, &progress, &self.estimate);
                    self.lines.push_str(&line);
                    self.lines.push('\n');
                }
            }
            Surface::Bar(bar) => {
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

    /// Shows the last state of the bar. A question that is open stays where it is, unanswered.
    pub(super) fn finish(&mut self, summary: &Summary) {
        if self.prompt == Prompt::Open {
            write("\n");
            self.prompt = Prompt::None;
        }
        if let Surface::Bar(bar) = &mut self.surface {
            let lines = std::mem::take(&mut self.lines);
            write(&bar.finish(self.language, &lines, summary));
        }
        self.flush();
    }

    /// An error: at once, unless a bar will be painted under it in a moment.
    pub(super) fn complain(&mut self, sentence: &str) {
        self.say_now(&ink::complaint(sentence));
    }

    /// A line: at once, unless a bar will be painted under it in a moment.
    pub(super) fn say_now(&mut self, line: &str) {
        self.say(line);
        if !matches!(&self.surface, Surface::Bar(bar) if bar.is_drawn()) {
            self.flush();
        }
    }

    /// A line that may wait for the next tick.
    pub(super) fn say(&mut self, line: &str) {
        /// A bar leaves the screen to lines that come faster than this within a tick.
        const MOST_WAITING_BYTES: usize = 64 << 10;
        self.lines.push_str(line);
        self.lines.push('\n');
        if self.lines.len() >= MOST_WAITING_BYTES {
            self.erase_bar();
            self.flush();
        }
    }

    /// Writes the lines that wait.
    pub(super) fn flush(&mut self) {
        if !self.lines.is_empty() && self.prompt == Prompt::None {
            write(&self.lines);
            self.lines.clear();
        }
    }

    fn erase_bar(&mut self) {
        if let Surface::Bar(bar) = &mut self.surface {
            write(&bar.erase());
        }
    }
}

/// Writes to standard error. One that is closed or full is no reason to end a copy, and there is nobody left to tell.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
