//! What is written where beside errors, and the files that were asked for: the log and the list of entries that failed. What goes
//! into them is in log.rs and error_list.rs.

use std::io;
use std::path::{Path, PathBuf};

use brigade_copy::{Event, Summary, shown};

use super::log::Log;
use super::pen::Pen;
use super::way::{Detail, Way};
use crate::arguments::CopyArguments;
use crate::error_list::ErrorList;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::stats::Stats;

/// What is told where, beside errors.
pub struct Outputs {
    pub(super) way: Way,
    pub(super) detail: Detail,
    pub(super) stats: Stats,
    pub(super) files: Files,
}

/// The files that are written to, each if it was asked for.
pub(super) struct Files {
    log: Option<OutputFile<Log>>,
    errors: Option<OutputFile<ErrorList>>,
}

struct OutputFile<W> {
    path: PathBuf,
    writer: W,
}

impl Outputs {
    /// What was asked for. Files are opened here.
    ///
    /// # Errors
    /// The sentence that says which file cannot be opened, and why.
    pub fn open(arguments: &CopyArguments, language: Language) -> Result<Self, String> {
        let wanted = &arguments.output;
        let files = Files {
            log: OutputFile::open(wanted.log_file.as_ref(), Log::open, language)?,
            errors: OutputFile::open(wanted.errors.as_ref(), ErrorList::create, language)?,
        };
        let stats = if wanted.stats { Stats::Wanted } else { Stats::NotWanted };
        Ok(Self { way: Way::chosen(arguments), detail: Detail::of(arguments), stats, files })
    }
}

impl<W> OutputFile<W> {
    fn open(
        path: Option<&PathBuf>,
        open: impl FnOnce(&Path) -> io::Result<W>,
        language: Language,
    ) -> Result<Option<Self>, String> {
        let Some(path) = path else { return Ok(None) };
        let writer = open(path).map_err(|cause| {
            let reason = problem::reason(language, &cause);
            messages::cannot_open_output(language, &shown(path).to_string(), &reason)
        })?;
        Ok(Some(Self { path: path.clone(), writer }))
    }
}

impl Files {
    pub(super) fn start(&mut self, pairs: &[(PathBuf, PathBuf)]) {
        if let Some(log) = &mut self.log {
            log.writer.start(pairs);
        }
        if let Some(errors) = &mut self.errors {
            errors.writer.start(pairs);
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        if let Some(log) = &mut self.log {
            log.writer.event(event);
        }
        if let (Some(errors), Event::Failed(error)) = (&mut self.errors, event) {
            errors.writer.failed(error);
        }
    }

    /// Writes what of the log has been waiting.
    pub(super) fn flush(&mut self) {
        if let Some(log) = &mut self.log {
            log.writer.flush();
        }
    }

    pub(super) fn end(&mut self, summary: &Summary) {
        if let Some(log) = &mut self.log {
            log.writer.end(summary);
        }
        // What an interrupted run did not reach is in no list, so it leaves none.
        let is_whole = !summary.interrupted && summary.broken.is_none();
        if let Some(errors) = self.errors.as_mut().filter(|_| is_whole) {
            errors.writer.finish();
        }
    }

    /// What they are written with, by their names.
    pub(super) fn pens(&mut self) -> impl Iterator<Item = (&Path, &mut Pen)> {
        let log = self.log.as_mut().map(|log| (log.path.as_path(), log.writer.pen()));
        let errors = self.errors.as_mut().map(|errors| (errors.path.as_path(), errors.writer.pen()));
        log.into_iter().chain(errors)
    }
}
