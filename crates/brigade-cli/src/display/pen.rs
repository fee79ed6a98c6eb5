//! Writes to something that may be closed or full: a reader that went away, a disk without room. That does not end a copy; what
//! is written after it is dropped, and the loss is kept until somebody tells it.

use std::io::{self, BufWriter, Write};

use super::Told;

/// Bytes that wait at most before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// A buffered writer that outlives what it writes to.
pub struct Pen {
    out: BufWriter<Box<dyn Write + Send>>,
    state: State,
}

enum State {
    Open,
    Lost(io::Error),
    /// Lost, and it was said.
    Closed,
}

impl Pen {
    /// A pen for `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER_BYTES, out), state: State::Open }
    }

    /// Writes by a function, which gets the writer only while that takes something.
    pub fn write_by(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if matches!(self.state, State::Open)
            && let Err(cause) = write(&mut self.out)
        {
            self.state = State::Lost(cause);
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self) {
        self.write_by(|out| out.flush());
    }

    /// What was written does not reach its reader, for this reason.
    pub fn lose(&mut self, cause: io::Error) {
        self.write_by(|_| Err(cause));
    }

    /// Whether everything so far was written.
    pub fn told(&self) -> Told {
        match self.state {
            State::Open => Told::Wholly,
            State::Lost(_) | State::Closed => Told::InPart,
        }
    }

    /// Why something was not written, once.
    pub fn take_loss(&mut self) -> Option<io::Error> {
        if !matches!(self.state, State::Lost(_)) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Lost(cause) => Some(cause),
            State::Open | State::Closed => None,
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        // What waits for a writer that is lost would be tried once more.
        if !matches!(self.state, State::Open) {
            let _ = std::mem::replace(&mut self.out, BufWriter::new(Box::new(io::sink()))).into_parts();
        }
    }
}
