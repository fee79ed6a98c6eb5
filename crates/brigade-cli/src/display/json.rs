//! Events for a program: one JSON object a line on standard output, named by its key `event`. Nothing here is translated.
//!
//! A name that is not UTF-8 stands under a key ending in `_bytes`, in base64. A reader that goes away does not end the copy: the
//! report ends, which is remembered and told.

mod verify;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use brigade_copy::{
    Confinement, EntryKind, Event, Facet, FidelityReport, Limit, Lost, Note, Outcome, PathError, Progress,
    RemovalCeased, Summary, Writing,
};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::estimate::Estimate;
use super::lanes;
use super::pen::Pen;
use crate::language::Language;
use crate::messages;
use crate::stats::{Figures, Stats};

/// A `progress` event about this often.
const PROGRESS_STEP: Duration = Duration::from_millis(250);

/// The report, as far as it could be written.
pub struct Json {
    pen: Pen,
    next_progress_at: Duration,
    estimate: Estimate,
    /// That only flushing is left has been said.
    said_flushing: bool,
    /// That only verifying is left has been said.
    said_verifying: bool,
}

impl Json {
    /// A report to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            pen: Pen::new(out),
            next_progress_at: PROGRESS_STEP,
            estimate: Estimate::default(),
            said_flushing: false,
            said_verifying: false,
        }
    }

    /// The first event: what goes where.
    pub fn start(&mut self, pairs: &[(PathBuf, PathBuf)], sandbox: Confinement) {
        let entries = pairs.iter().map(|(source, destination)| Pair {
            source: Source::of(source),
            destination: Destination::of(destination),
        });
        let entries = entries.collect();
        self.write(&Line::Start { version: env!("CARGO_PKG_VERSION"), entries, sandbox: Some(sandbox.word()) });
        self.write(&Line::Phase { phase: "copying" });
        self.pen.flush();
    }

    /// Something that happened.
    pub fn event(&mut self, event: &Event) {
        if let Some(line) = line_of(event) {
            self.write(&line);
        }
    }

    /// Writes a snapshot if it is time, and what has been waiting in any case.
    pub fn tick(&mut self, snapshot: impl FnOnce() -> Progress, elapsed: Duration) {
        if elapsed >= self.next_progress_at {
            self.next_progress_at = elapsed + PROGRESS_STEP;
            let progress = snapshot();
            self.estimate.update(&progress, elapsed);
            if progress.is_flushing {
                self.say_flushing();
            }
            if progress.walk_finished && lanes::is_verifying(&progress.lanes) {
                self.say_verifying();
            }
            self.write(&Line::Progress {
                percent: self.estimate.percent(),
                found: progress.n_found,
                done: progress.n_done,
                bytes_found: progress.bytes_found,
                bytes_done: progress.bytes_done,
                bytes_per_second: self.estimate.bytes_per_second().round(),
                seconds_left: self.estimate.time_left().map(|left| left.as_secs()),
                walk_finished: progress.walk_finished,
                workers: progress.lanes.len(),
                lost_workers: progress.n_lost_workers,
                seconds: elapsed.as_secs_f64(),
            });
        }
        self.pen.flush();
    }

    /// The last event.
    pub fn summary(&mut self, summary: &Summary, stats: Stats) {
        let figures = (stats == Stats::Wanted).then(|| Figures::of(summary));
        if summary.durable {
            self.say_flushing();
        }
        if summary.n_verified > 0 {
            self.say_verifying();
        }
        self.write(&Line::Summary(Account::of(summary, figures)));
        self.pen.flush();
    }

    /// From here on nothing is copied any more, only flushed.
    fn say_flushing(&mut self) {
        if !self.said_verifying && !std::mem::replace(&mut self.said_flushing, true) {
            self.write(&Line::Phase { phase: "flushing" });
        }
    }

    /// From here on nothing is written any more, only read back. Each file is read back as soon as it is written, so in a copy of
    /// small files this comes at the end.
    fn say_verifying(&mut self) {
        if !std::mem::replace(&mut self.said_verifying, true) {
            self.write(&Line::Phase { phase: "verifying" });
        }
    }

    /// What it writes with, and where losses are found.
    pub fn pen(&mut self) -> &mut Pen {
        &mut self.pen
    }

    fn write(&mut self, line: &impl Serialize) {
        self.pen.write_by(|out| {
            line.serialize(&mut Serializer::with_formatter(&mut *out, Harmless))?;
            out.write_all(b"\n")
        });
    }
}

/// Writes as escapes also what JSON lets stand as it is, but a terminal obeys: C1 and bidirectional controls.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let is_harmful = |character: char| {
            let is_bidirectional = matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            character.is_control() || is_bidirectional
        };
        for part in fragment.split_inclusive(is_harmful) {
            match part.chars().next_back().filter(|last| is_harmful(*last)) {
                None => out.write_all(part.as_bytes())?,
                Some(last) => {
                    out.write_all(&part.as_bytes()[..part.len() - last.len_utf8()])?;
                    write!(out, "\\u{:04x}", u32::from(last))?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Start {
        version: &'static str,
        entries: Vec<Pair<'a>>,
        /// How strictly workers are confined, if that is known yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<&'static str>,
    },
    Phase {
        phase: &'static str,
    },
    File {
        #[serde(flatten)]
        path: Named<'a>,
        /// None for an entry that only the destination had.
        #[serde(flatten)]
        source: Option<Source<'a>>,
        #[serde(flatten)]
        destination: Destination<'a>,
        kind: &'static str,
        state: &'static str,
        /// Why it was copied or skipped.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        bytes: u64,
        /// What could not be kept of it; absent where all was.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        lost: Vec<&'static str>,
    },
    Error {
        action: String,
        #[serde(flatten)]
        path: Named<'a>,
        reason: String,
        errno: Option<i32>,
    },
    Note {
        note: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        needed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        free: Option<u64>,
    },
    Worker {
        pid: u32,
        state: &'static str,
        signal: Option<i32>,
        /// Where it got stuck.
        #[serde(flatten)]
        path: Option<Named<'a>>,
    },
    Progress {
        /// Null while the walk runs.
        percent: Option<u8>,
        found: u64,
        done: u64,
        bytes_found: u64,
        bytes_done: u64,
        bytes_per_second: f64,
        seconds_left: Option<u64>,
        walk_finished: bool,
        workers: usize,
        lost_workers: u64,
        seconds: f64,
    },
    Summary(Account<'a>),
}

#[derive(Serialize)]
struct Pair<'a> {
    #[serde(flatten)]
    source: Source<'a>,
    #[serde(flatten)]
    destination: Destination<'a>,
}

/// A type for a path under a key of its own, and under that key with `_bytes` where it is not UTF-8.
macro_rules! path_keys {
    ($($name:ident: $text_key:ident, $bytes_key:ident;)*) => {
        $(
            /// A path as JSON holds it.
            #[derive(Serialize)]
            pub struct $name<'a> {
                #[serde(skip_serializing_if = "Option::is_none")]
                $text_key: Option<&'a str>,
                #[serde(skip_serializing_if = "Option::is_none")]
                $bytes_key: Option<String>,
            }

            impl<'a> $name<'a> {
                /// That of this path.
                pub fn of(path: &'a Path) -> Self {
                    let name: &OsStr = path.as_os_str();
                    Self {
                        $text_key: name.to_str(),
                        $bytes_key: name.to_str().is_none().then(|| STANDARD.encode(name.as_bytes())),
                    }
                }
            }
        )*
    };
}

path_keys! {
    Named: path, path_bytes;
    Source: source, source_bytes;
    Destination: destination, destination_bytes;
}

/// The figures of a run under the names that programs rely on.
#[derive(Serialize)]
struct Account<'a> {
    found: u64,
    copied: u64,
    unchanged: u64,
    skipped: u64,
    failed: u64,
    changed: u64,
    deleted: u64,
    undeleted: u64,
    files: u64,
    directories: u64,
    symlinks: u64,
    hard_links: u64,
    special: u64,
    bytes: u64,
    /// Files that were read back and found right, and those that had to be written again for that.
    verified: u64,
    rewritten: u64,
    /// Whether everything that was copied is known to be on disk.
    durable: bool,
    seconds: f64,
    workers: usize,
    lost_workers: u64,
    limited_by: Option<&'static str>,
    sandbox: &'static str,
    /// What could not be kept although it was wanted; nothing where all was.
    unpreserved: BTreeMap<&'static str, Entries>,
    /// Whether the counts are of what would be done.
    dry_run: bool,
    interrupted: bool,
    broken: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<Figures<'a>>,
}

/// What became of one facet, in entries.
#[derive(Serialize)]
struct Entries {
    kept: u64,
    unsupported: u64,
    denied: u64,
}

/// What could not be kept of some entries, by the names of the facets.
fn unpreserved(report: &FidelityReport) -> BTreeMap<&'static str, Entries> {
    let losses = report.losses().map(|(facet, tally)| {
        let entries = Entries { kept: tally.n_kept, unsupported: tally.n_unsupported, denied: tally.n_denied };
        (facet.word(), entries)
    });
    losses.collect()
}

fn words_of(lost: Lost) -> Vec<&'static str> {
    lost.facets().iter().map(Facet::word).collect()
}

impl<'a> Account<'a> {
    fn of(summary: &'a Summary, stats: Option<Figures<'a>>) -> Self {
        Self {
            found: summary.n_found,
            copied: summary.n_copied,
            unchanged: summary.n_unchanged,
            skipped: summary.n_skipped,
            failed: summary.n_failed,
            changed: summary.n_changed,
            deleted: summary.n_deleted,
            undeleted: summary.n_undeleted,
            files: summary.n_files,
            directories: summary.n_directories,
            symlinks: summary.n_symlinks,
            hard_links: summary.n_hard_links,
            special: summary.n_special,
            bytes: summary.bytes,
            verified: summary.n_verified,
            rewritten: summary.n_rewritten,
            durable: summary.durable,
            seconds: summary.elapsed.as_secs_f64(),
            workers: summary.n_workers,
            lost_workers: summary.n_lost_workers,
            limited_by: summary.limited_by.map(Limit::word),
            sandbox: summary.sandbox.word(),
            unpreserved: unpreserved(&summary.fidelity),
            dry_run: summary.writing == Writing::Rehearsed,
            interrupted: summary.interrupted,
            broken: summary.broken.as_deref(),
            stats,
        }
    }
}

fn line_of(event: &Event) -> Option<Line<'_>> {
    Some(match event {
        Event::File { source, destination, kind, outcome, writing, why, bytes, lost } => Line::File {
            path: Named::of(source),
            source: Some(Source::of(source)),
            destination: Destination::of(destination),
            kind: kind_word(*kind),
            state: state_word(*outcome, *writing),
            reason: why.map(|why| messages::why(Language::English, why)),
            bytes: *bytes,
            lost: words_of(*lost),
        },
        Event::Durable { source, destination, kind, bytes } => Line::File {
            path: Named::of(source),
            source: Some(Source::of(source)),
            destination: Destination::of(destination),
            kind: kind_word(*kind),
            state: "durable",
            reason: None,
            bytes: *bytes,
            lost: Vec::new(),
        },
        Event::Removed { path, kind, writing } => Line::File {
            path: Named::of(path),
            source: None,
            destination: Destination::of(path),
            kind: kind_word(*kind),
            state: if *writing == Writing::Rehearsed { "would-delete" } else { "deleted" },
            reason: None,
            bytes: 0,
            lost: Vec::new(),
        },
        Event::Note(Note::RemovalCeased(why)) => Line::Note { note: ceased_word(*why), needed: None, free: None },
        Event::Note(Note::BytesShort { needed_bytes, free_bytes }) => {
            Line::Note { note: "bytes_short", needed: Some(*needed_bytes), free: Some(*free_bytes) }
        }
        Event::Note(Note::EntriesShort { n_needed, n_free }) => {
            Line::Note { note: "inodes_short", needed: Some(*n_needed), free: Some(*n_free) }
        }
        Event::Failed(error) => error_line(error),
        Event::WorkerStarted { pid } => Line::Worker { pid: *pid, state: "started", signal: None, path: None },
        Event::WorkerLost { pid, signal } => Line::Worker { pid: *pid, state: "lost", signal: *signal, path: None },
        Event::WorkerStalled { pid, path, .. } => {
            Line::Worker { pid: *pid, state: "stalled", signal: None, path: Some(Named::of(path)) }
        }
        _ => return None,
    })
}

fn ceased_word(why: RemovalCeased) -> &'static str {
    match why {
        RemovalCeased::SourceUnread => "deletion_ceased_source_unread",
        RemovalCeased::SourceEmpty => "deletion_ceased_source_empty",
    }
}

fn error_line(error: &PathError) -> Line<'_> {
    Line::Error {
        action: error.action.to_string(),
        path: Named::of(&error.path),
        reason: error.cause.to_string(),
        errno: error.cause.raw_os_error(),
    }
}

fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::HardLink => "hard_link",
        EntryKind::Special => "special",
    }
}

fn state_word(outcome: Outcome, writing: Writing) -> &'static str {
    match (outcome, writing) {
        (Outcome::Copied, Writing::Rehearsed) => "would-copy",
        (outcome, _) => outcome_word(outcome),
    }
}

fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Copied => "copied",
        Outcome::Unchanged => "unchanged",
        Outcome::Skipped => "skipped",
        Outcome::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    use std::sync::{Arc, Mutex};

    use brigade_copy::{Action, EntryName, PathError};
    use serde_json::{Value, json};

    use super::super::Told;
    use super::*;

    fn value(event: &Event) -> Value {
        let line = line_of(event).unwrap();
        let text = serde_json::to_string(&line).unwrap();
        assert!(!text.contains('\n'), "one object a line: {text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_file_event_names_source_destination_and_state() {
        let event = Event::File {
            source: "a/new\nline\u{1b}".into(),
            destination: OsString::from_vec(b"b/\xff".to_vec()).into(),
            kind: EntryKind::HardLink,
            outcome: Outcome::Unchanged,
            writing: Writing::Real,
            why: None,
            bytes: 12,
            lost: Lost::default(),
        };
        assert_eq!(
            value(&event),
            json!({
                "event": "file", "path": "a/new\nline\u{1b}", "source": "a/new\nline\u{1b}",
                "destination_bytes": "Yi//", "kind": "hard_link", "state": "unchanged", "bytes": 12,
            })
        );
    }

    #[test]
    fn an_error_event_names_action_path_reason_and_number() {
        let event = Event::Failed(PathError {
            action: Action::SetTimes,
            path: OsString::from_vec(b"\xff\xfe".to_vec()).into(),
            cause: io::Error::from_raw_os_error(1),
            entry: EntryName::default(),
        });
        assert_eq!(
            value(&event),
            json!({
                "event": "error", "action": "set times of", "path_bytes": "//4=",
                "reason": "Operation not permitted (os error 1)", "errno": 1,
            })
        );
    }

    #[test]
    fn a_worker_event_tells_the_signal() {
        let event = Event::WorkerLost { pid: 7, signal: Some(9) };
        assert_eq!(value(&event), json!({ "event": "worker", "pid": 7, "state": "lost", "signal": 9 }));
    }

    #[test]
    fn a_worker_event_names_the_place_where_it_got_stuck() {
        let event = Event::WorkerStalled { pid: 7, path: "a/b".into(), silent_for: Duration::from_secs(60) };
        assert_eq!(
            value(&event),
            json!({ "event": "worker", "pid": 7, "state": "stalled", "signal": null, "path": "a/b" })
        );
    }

    #[test]
    fn a_progress_event_tells_the_share_once_it_is_known() {
        let told = Written::default();
        let mut report = Json::new(Box::new(told.clone()));
        let mut progress = Progress { n_found: 4, n_done: 1, ..Progress::default() };
        report.tick(|| unreachable!("it is too early"), Duration::ZERO);
        report.tick(|| progress.clone(), Duration::from_secs(1));
        progress.walk_finished = true;
        report.tick(|| progress.clone(), Duration::from_secs(2));
        let text = told.text();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0]["percent"], Value::Null);
        assert_eq!(events[1]["percent"], 25);
        assert_eq!(events[1]["done"], 1);
    }

    #[test]
    fn the_summary_has_all_its_names() {
        let summary = Summary {
            n_found: 3,
            n_copied: 2,
            n_failed: 1,
            n_workers: 2,
            elapsed: Duration::from_millis(1500),
            ..Summary::default()
        };
        let line = Line::Summary(Account::of(&summary, None));
        assert_eq!(
            serde_json::to_value(&line).unwrap(),
            json!({
                "event": "summary", "found": 3, "copied": 2, "unchanged": 0, "skipped": 0, "failed": 1, "changed": 0,
                "deleted": 0, "undeleted": 0, "files": 0, "directories": 0, "symlinks": 0, "hard_links": 0, "special": 0, "bytes": 0,
                "verified": 0, "rewritten": 0, "durable": false, "seconds": 1.5, "workers": 2, "lost_workers": 0, "limited_by": null, "sandbox": "off",
                "unpreserved": {}, "dry_run": false, "interrupted": false, "broken": null,
            })
        );
    }

    #[test]
    fn what_a_file_lost_is_in_its_event() {
        let lost = Lost { denied: [Facet::Acl, Facet::Ownership].into_iter().collect(), ..Lost::default() };
        let event = Event::File {
            source: "a".into(),
            destination: "b".into(),
            kind: EntryKind::File,
            outcome: Outcome::Copied,
            writing: Writing::Real,
            why: None,
            bytes: 0,
            lost,
        };
        assert_eq!(value(&event)["lost"], json!(["ownership", "acl"]));
    }

    /// Takes everything, for all to see.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes some bytes, then is closed.
    struct Closing {
        room_bytes: usize,
    }

    impl Write for Closing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room_bytes);
            self.room_bytes -= taken;
            match taken {
                0 => Err(io::ErrorKind::BrokenPipe.into()),
                taken => Ok(taken),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_reader_is_noticed_once() {
        let mut report = Json::new(Box::new(Closing { room_bytes: 10 }));
        assert_eq!(report.pen().told(), Told::Wholly);
        report.start(&[], Confinement::Off);
        assert_eq!(report.pen().told(), Told::InPart);
        let loss = report.pen().take_loss().unwrap();
        assert_eq!(loss.kind(), io::ErrorKind::BrokenPipe);
        report.summary(&Summary::default(), Stats::NotWanted);
        assert!(report.pen().take_loss().is_none());
        assert_eq!(report.pen().told(), Told::InPart);
    }
}
