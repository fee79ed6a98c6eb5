//! Finds out what would go where, and refuses what must not be begun. Everything here happens before the first write.

use std::path::{Path, PathBuf};

use crate::error::Refusal;
use crate::event::Event;
use crate::request::Request;
use crate::run::Running;

/// A copy that has been checked and can be started.
#[derive(Debug)]
pub struct Plan {
    pairs: Vec<(PathBuf, PathBuf)>,
    request: Request,
}

impl Plan {
    /// Checks a request. Nothing is written.
    ///
    /// # Errors
    /// The first reason why the copy must not be begun.
    pub fn new(request: Request) -> Result<Self, Refusal> {
        if request.sources.is_empty() {
            return Err(Refusal::NoSource);
        }
        Ok(Self {
            pairs: Vec::new(),
            request,
        })
    }

    /// Source and destination of every top-level entry.
    pub fn pairs(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.pairs
            .iter()
            .map(|(source, destination)| (source.as_path(), destination.as_path()))
    }

    /// Starts the workers and the copy, and returns at once. `sink` gets every event, from one thread.
    ///
    /// # Errors
    /// [`Refusal::Workers`] if no process could be started.
    pub fn start(self, sink: impl FnMut(Event) + Send + 'static) -> Result<Running, Refusal> {
        Running::start(self.request, Box::new(sink))
    }
}
