//! What the user sees of a comparison, in the same ways as of a copy. When a snapshot is taken is decided in verify.rs.

use std::path::Path;

use brigade_copy::{CompareEvent, Progress, Summary, Verdict, shown};

use super::painting::Painting;
use super::{Detail, Told, Way};
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::summary;
use crate::units;

/// The display of one comparison.
pub struct VerifyDisplay {
    language: Language,
    detail: Detail,
    painting: Painting,
}

impl VerifyDisplay {
    /// A display that starts now.
    pub fn new(language: Language, way: Way, detail: Detail, source: &Path, destination: &Path) -> Self {
        let mut painting = Painting::new(language, way);
        if let Some(json) = painting.json() {
            json.start_verify(source, destination);
        }
        Self { language, detail, painting }
    }

    /// Takes an event of the engine. Differences are what was asked for, so they are told however quiet it is to be.
    pub fn event(&mut self, event: &CompareEvent) {
        match event {
            CompareEvent::Different { path, aspects } => {
                if let Some(json) = self.painting.json() {
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
                if let Some(json) = self.painting.json() {
                    json.failed(error);
                }
                self.complain(&problem::path_error(self.language, error));
            }
            CompareEvent::WorkerLost { pid, signal } => {
                if let Some(json) = self.painting.json() {
                    json.worker_lost(*pid, *signal);
                }
                if self.detail != Detail::Errors {
                    self.say(&match signal {
                        Some(signal) => messages::worker_killed(self.language, *pid, *signal),
                        None => messages::worker_ended(self.language, *pid),
                    });
                }
            }
            CompareEvent::WorkerStalled { pid, path, silent_for } => {
                if let Some(json) = self.painting.json() {
                    json.worker_stalled(*pid, path);
                }
                self.complain(&messages::worker_stalled(self.language, *pid, path, *silent_for));
            }
            _ => {}
        }
    }

    /// Says that the end was asked for and takes its time.
    pub fn stopping(&mut self) {
        self.painting.stopping();
    }

    /// Shows a snapshot, if it is time.
    pub fn tick(&mut self, snapshot: impl FnOnce() -> Progress) {
        self.painting.tick(snapshot);
        self.tell_lost_report();
    }

    /// Shows the end. `within` is where the copy may be instead.
    pub fn end(&mut self, verdict: &Verdict, within: Option<&Path>) -> Told {
        self.painting.finish(&Summary {
            n_found: verdict.n_found,
            bytes: verdict.bytes,
            interrupted: verdict.interrupted,
            broken: verdict.broken.clone(),
            ..Summary::default()
        });
        if let Some(cause) = &verdict.broken {
            self.complain(&messages::verify_broke_off(self.language, cause));
        }
        let told = match self.painting.json() {
            Some(json) => {
                json.verdict(verdict);
                json.pen().told()
            }
            None => {
                if self.detail != Detail::Errors {
                    self.say(&line(self.language, verdict));
                }
                Told::Wholly
            }
        };
        if let Some(within) = within {
            self.say(&messages::verify_within(self.language, &shown(within).to_string()));
        }
        self.painting.flush();
        self.tell_lost_report();
        told
    }

    fn complain(&mut self, sentence: &str) {
        self.painting.complain(sentence);
    }

    fn say(&mut self, line: &str) {
        self.painting.say_now(line);
    }

    fn tell_lost_report(&mut self) {
        if let Some(cause) = self.painting.json().and_then(|json| json.pen().take_loss()) {
            let reason = problem::reason(self.language, &cause);
            self.complain(&messages::cannot_print(self.language, &reason));
        }
    }
}

/// The verdict as one line: `the same: 12 345 entries (1.2 GiB) in 3.2 s, 2 workers (sandbox: jail)`.
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
    parts.push(summary::workers(language, verdict.n_workers, verdict.sandbox));
    if verdict.n_lost_workers > 0 {
        parts.push(messages::lost_workers(language, verdict.n_lost_workers));
    }
    let line = parts.join(messages::comma(language));
    if is_whole { line } else { messages::verify_interrupted(language, &line) }
}
