//! A copy that runs: the one place that knows the pool. Under construction.

use std::time::Duration;

use crate::error::Refusal;
use crate::event::{Event, Progress, Summary};
use crate::request::Request;

/// A copy that runs.
#[derive(Debug)]
pub struct Running {
    summary: Summary,
}

impl Running {
    pub(crate) fn start(
        _request: Request,
        _sink: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Self, Refusal> {
        Err(Refusal::Workers("the engine is under construction".into()))
    }

    /// What has been done so far.
    pub fn progress(&self) -> Progress {
        Progress::default()
    }

    /// Asks for an early end: no new files, partial ones are removed.
    pub fn stop(&self) {}

    /// Waits for the end, at most `timeout`. After `Some` all events have been delivered.
    pub fn wait_timeout(&self, _timeout: Duration) -> Option<Summary> {
        Some(self.summary.clone())
    }

    /// Waits for the end.
    pub fn wait(&self) -> Summary {
        self.summary.clone()
    }
}
