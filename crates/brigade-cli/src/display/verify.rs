//! What the user sees of a comparison, in the same ways as of a copy. When a snapshot is taken is decided in verify.rs.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use brigade_copy::{CompareEvent, Progress, Summary, Verdict, shown};

use super::bar::{self, Bar};
use super::estimate::Estimate;
use super::json::Json;
use super::{Detail, PLAIN_STEP, Told, Way, plain, write};
use crate::ink;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::units;

/// The display of one comparison.
pub struct VerifyDisplay {
    language: Language,
    detail: Detail,
    started: Instant,
    estimate: Estimate,
    surface: Surface,
    /// Lines that may wait until a bar is painted under them.
    lines: String,
}

enum Surface {
    Bar(Bar),
    Plain { next_at: Duration },
    Json(Json),
    Nothing,
}

impl VerifyDisplay {
    /// A display that starts now.
    pub fn new(language: Language, way: Way, detail: Detail, source: &Path, destination: &Path) -> Self {
        let surface = match way {
            Way::Bar => Surface::Bar(Bar::default()),
            Way::Plain => Surface::Plain { next_at: PLAIN_STEP },
            Way::Json => {
                let mut json = Json::new(Box::new(io::stdout()));
                json.start_verify(source, destination);
                Surface::Json(json)
            }
            Way::Nothing => Surface::Nothing,
        };
        Self { language, detail, started: Instant::now(), estimate: Estimate::default(), surface, lines: String::new() }
    }

    /// Takes an event of the engine. Differences are what was asked for, so they are told however quiet it is to be.
    pub fn event(&mut self, event: &CompareEvent) {
        match event {
            CompareEvent::Different { path, aspects } => {
                if let Surface::Json(json) = &mut self.surface {
                    return json.different(path, aspects);
                }
                let words: Vec<_> = aspects.iter().map(|aspect| messages::aspect(self.language, *aspect)).collect();
                let path = match path.as_os_str().is_empty() {
                    true => messages::both_trees(self.language),
                    false => shown(path).to_string(),
                };
                let words = words.join(messages::comma(self.language));
                self.say(&messages::differs(self.language, &path, &words));
            }
            CompareEvent::Failed(error) => {
                if let Surface::Json(json) = &mut self.surface {
                    json.failed(error);
                }
                self.complain(&problem::path_error(self.language, error));
            }
            CompareEvent::WorkerLost { pid, signal } => {
                if let Surface::Json(json) = &mut self.surface {
                    json.worker_lost(*pid, *signal);
                }
                if self.detail != Detail::Errors {
                    self.say(&match signal {
                        Some(signal) => messages::worker_killed(self.language, *pid, *signal),
                        None => messages::worker_ended(self.language, *pid),
                    });
                }
            }
            _ => {}
        }
    }

    /// Shows a snapshot, if it is time.
    pub fn tick(&mut self, snapshot: impl FnOnce() -> Progress) {
        let elapsed = self.started.elapsed();
        match &mut self.surface {
            Surface::Nothing => {}
            Surface::Json(json) => json.tick(snapshot, elapsed),
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

    /// Shows the end. `within` is where the copy may be instead.
    pub fn end(&mut self, verdict: &Verdict, within: Option<&Path>) -> Told {
        if let Surface::Bar(bar) = &mut self.surface {
            let lines = std::mem::take(&mut self.lines);
            let summary = Summary {
                n_found: verdict.n_found,
                bytes: verdict.bytes,
                interrupted: verdict.interrupted,
                broken: verdict.broken.clone(),
                ..Summary::default()
            };
            write(&bar.finish(self.language, &lines, &summary));
        }
        if let Some(cause) = &verdict.broken {
            self.complain(&messages::verify_broke_off(self.language, cause));
        }
        let told = match &mut self.surface {
            Surface::Json(json) => {
                json.verdict(verdict);
                json.pen().told()
            }
            _ => {
                if self.detail != Detail::Errors {
                    self.say(&line(self.language, verdict));
                }
                Told::Wholly
            }
        };
        if let Some(within) = within {
            self.say(&messages::verify_within(self.language, &shown(within).to_string()));
        }
        self.flush();
        told
    }

    fn complain(&mut self, sentence: &str) {
        self.say(&ink::complaint(sentence));
    }

    /// A line: at once, unless a bar will be painted under it in a moment.
    fn say(&mut self, line: &str) {
        /// A bar leaves the screen to lines that come faster than this within a tick.
        const MOST_WAITING_BYTES: usize = 64 << 10;
        self.lines.push_str(line);
        self.lines.push('\n');
        match &mut self.surface {
            Surface::Bar(bar) if bar.is_drawn() => {
                if self.lines.len() >= MOST_WAITING_BYTES {
                    write(&bar.erase());
                    self.flush();
                }
            }
            _ => self.flush(),
        }
    }

    fn flush(&mut self) {
        if !self.lines.is_empty() {
            write(&self.lines);
            self.lines.clear();
        }
        if let Surface::Json(json) = &mut self.surface
            && let Some(cause) = json.pen().take_loss()
        {
            let reason = problem::reason(self.language, &cause);
            write(&format!("{}\n", ink::complaint(&messages::cannot_print(self.language, &reason))));
        }
    }
}

/// The verdict as one line: `the same: 12 345 entries (1.2 GiB) in 3.2 s, 2 workers`.
fn line(language: Language, verdict: &Verdict) -> String {
    let entries = messages::entries_in_all(language, verdict.n_found);
    let sized = messages::sized(language, &units::bytes(verdict.bytes));
    let what = format!("{entries}{sized}");
    let mut parts = Vec::new();
    if verdict.n_failed > 0 {
        parts.push(messages::verified_unread(language, &units::grouped(verdict.n_failed), &what));
    }
    if verdict.n_different > 0 {
        parts.push(messages::verified_different(language, &units::grouped(verdict.n_different), &what));
    }
    let is_whole = !verdict.interrupted && verdict.broken.is_none();
    if parts.is_empty() && is_whole {
        parts.push(messages::verified_same(language, &what));
    } else if parts.is_empty() {
        parts.push(what);
    }
    let time = units::elapsed(verdict.elapsed, language);
    if let Some(last) = parts.last_mut() {
        last.push_str(&messages::within(language, &time));
    }
    parts.push(messages::workers(language, verdict.n_workers as u64));
    if verdict.n_lost_workers > 0 {
        parts.push(messages::lost_workers(language, verdict.n_lost_workers));
    }
    let line = parts.join(messages::comma(language));
    if is_whole { line } else { messages::verify_interrupted(language, &line) }
}
