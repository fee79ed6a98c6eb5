//! One line in words for an event that is no error, as `-v` and a dry run tell it.

use brigade_copy::{EntryKind, Event, Note, Outcome, Writing, shown};

use crate::language::Language;
use crate::messages;
use crate::problem;

/// The line; `None` where an event has none, or an error line of its own.
pub fn remark(language: Language, event: &Event) -> Option<String> {
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
        Event::Note(Note::RunNotRecorded { folder, errno }) => {
            let reason = problem::reason(language, &std::io::Error::from_raw_os_error(*errno));
            messages::run_not_recorded(language, &shown(folder).to_string(), &reason)
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
