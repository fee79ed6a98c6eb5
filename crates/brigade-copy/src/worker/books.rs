//! The books of one task: every entry that was begun gets its outcome here, once, and the lane shows it.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use super::file::Sharing;
use super::keeping::Keeping;
use super::{Done, Flaw, Spot, Worker};
use crate::error::Reason;
use crate::event::{EntryKind, Ground, Outcome};
use crate::facet::{Facet, Why};
use crate::names::{Bytes, Kind, joined};
use crate::task::{Cause, EntryDone, Failure, Joined, Lasts, Placing, Slow};

impl Worker {
    pub(super) fn copy_and_book(&mut self, kind: Kind, spot: &Spot<'_>, sharing: Sharing) -> Joined {
        self.begin_entry(spot.name);
        if sharing == Sharing::Copy(Placing::Refused) {
            self.keeping.lose(Facet::Links, Why::Unsupported);
        }
        self.why = Some(Ground::New);
        let began = self.facts.wants_times.then(Instant::now);
        let copied = self.refuse_stuck_entry(spot).and_then(|()| self.copy_entry(kind, spot, sharing));
        if let Some(began) = began {
            self.note_time(spot.name, began.elapsed());
        }
        match copied {
            Ok(Done::Shared { identity, n_links }) => {
                self.share(kind, spot.name, identity, n_links);
                Joined::Done
            }
            Ok(Done::Asked { n_bytes }) => {
                self.ask(kind, spot.name, n_bytes);
                Joined::Done
            }
            Ok(done) => match self.note_digest(spot, &done) {
                Ok(()) => self.book(spot.name, done),
                Err(flaw) => {
                    self.note_failed();
                    self.book_failure(spot.name, flaw);
                    Joined::Failed
                }
            },
            Err(flaw) => {
                self.book_failure(spot.name, flaw);
                Joined::Failed
            }
        }
    }

    fn note_time(&mut self, name: &CStr, elapsed: Duration) {
        if self.answer.slowest.as_ref().is_none_or(|slowest| slowest.elapsed < elapsed) {
            self.answer.slowest = Some(Slow { root: self.root, path: self.path_of(name), elapsed });
        }
    }

    /// Begins the account of an entry.
    pub(super) fn begin_entry(&mut self, name: &CStr) {
        self.keeping = Keeping::default();
        self.has_left_to_commit = false;
        self.lane.entry(&self.path, name.to_bytes());
    }

    pub(super) fn book(&mut self, name: &CStr, done: Done) -> Joined {
        match done {
            Done::Entry { kind, outcome, n_bytes } => {
                self.book_entry(name, kind, outcome, n_bytes);
                if outcome == Outcome::Skipped {
                    return Joined::Skipped;
                }
            }
            Done::Shared { .. } | Done::Asked { .. } => {}
            Done::Stopped => self.is_task_over = true,
        }
        Joined::Done
    }

    pub(super) fn book_entry(&mut self, name: &CStr, kind: EntryKind, outcome: Outcome, n_bytes: u64) {
        match self.settle() {
            Ok(lost) => {
                let lasts = if outcome == Outcome::Copied { self.touch_here() } else { Lasts::Unknown };
                if self.facts.wants_entries {
                    let path = self.path_of(name);
                    let why = self.why_of(outcome);
                    self.answer.entries.push(EntryDone {
                        root: self.root,
                        path,
                        kind,
                        outcome,
                        why,
                        n_bytes,
                        lost,
                        lasts,
                    });
                }
                self.count(kind, outcome, n_bytes);
            }
            Err(flaw) => {
                self.note_failed();
                self.book_failure(name, flaw);
            }
        }
    }

    /// Books the folder whose path is the current one.
    pub(super) fn book_here(&mut self, kind: EntryKind, outcome: Outcome) {
        match self.settle() {
            Ok(lost) => {
                // Its metadata is set again also where nothing of it was copied.
                let lasts = self.touch_here();
                let lasts = if outcome == Outcome::Copied { lasts } else { Lasts::Unknown };
                if self.facts.wants_entries {
                    let path = Bytes(self.path.clone());
                    let why = (outcome == Outcome::Copied).then_some(Ground::New);
                    let root = self.root;
                    self.answer.entries.push(EntryDone { root, path, kind, outcome, why, n_bytes: 0, lost, lasts });
                }
                self.count(kind, outcome, 0);
            }
            Err(flaw) => self.fail_here(flaw),
        }
    }

    /// Why an entry was copied or skipped, if that was found out.
    fn why_of(&mut self, outcome: Outcome) -> Option<Ground> {
        self.why.take().filter(|_| matches!(outcome, Outcome::Copied | Outcome::Skipped))
    }

    pub(super) fn book_failure(&mut self, name: &CStr, flaw: Flaw) {
        let path = self.path_of(name);
        self.fail(path, flaw);
    }

    /// A sub-folder could not be entered, so what is in it is not known.
    pub(super) fn book_unread(&mut self, name: &CStr, flaw: Flaw) {
        self.answer.source_unread = true;
        self.book_failure(name, flaw);
    }

    /// The folder whose path is the current one failed.
    pub(super) fn fail_here(&mut self, flaw: Flaw) {
        self.fail(Bytes(self.path.clone()), flaw);
    }

    pub(super) fn fail(&mut self, path: Bytes, Flaw { action, cause }: Flaw) {
        if cause == Cause::Reason(Reason::Changed) {
            self.answer.counts.n_changed += 1;
        }
        self.answer.failures.push(Failure { root: self.root, path, action, cause });
        self.count(EntryKind::File, Outcome::Failed, 0);
    }

    pub(super) fn count(&mut self, kind: EntryKind, outcome: Outcome, n_bytes: u64) {
        let spared = std::mem::take(&mut self.spared);
        let counts = &mut self.answer.counts;
        counts.count(kind, outcome, n_bytes);
        if outcome == Outcome::Copied {
            counts.bytes_reflinked += spared.bytes_reflinked;
            counts.bytes_in_holes += spared.bytes_in_holes;
            counts.bytes_kept += spared.bytes_kept;
        }
        self.lane.done(self.answer.counts.n_done(), self.answer.counts.bytes_done);
    }

    pub(super) fn path_of(&self, name: &CStr) -> Bytes {
        joined(&self.path, name)
    }
}
