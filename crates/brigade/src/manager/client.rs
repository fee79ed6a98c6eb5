//! A call of a manager's object, from the side of its caller: the request goes out, the answer is awaited.
//! What is done with it is in server.rs; in the manager's own process it is done on the spot.
//!
//! An answer comes through a line of its own, made when it is first needed and used again for the next call. One call uses
//! it at a time, so there is always room for the answer, and the manager never waits for a client. A line whose answer was
//! not awaited is thrown away: nothing that comes late can be taken for something else.

use std::sync::{Mutex, PoisonError};

use super::errors::CallError;
use super::line::Line;
use super::request::{Order, parse_answer};
use super::server;
use crate::channel::Refused;
use crate::error::MemoryError;
use crate::lifeline::Lifeline;
use crate::parcel::Arrival;
use crate::session::refuse_forked;

/// How a manager is reached.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) requests: Line,
    pub(super) manager: Lifeline,
}

impl Link {
    /// Asks, and waits for the answer.
    pub(super) fn call(&self, order: Order<'_>) -> Result<Arrival, CallError> {
        refuse_forked()?;
        if self.manager.is_of_this_process() {
            return server::call_here(order);
        }
        let answer = take_line()?;
        let deadline = order.deadline;
        self.ask(order, Some(&answer))?;
        let arrived = answer.receive(deadline.patience(), || self.is_over());
        let record = arrived.map_err(|refused| describe(refused, "receive the answer of the manager"))?;
        give_line_back(answer);
        parse_answer(record)
    }

    /// Asks for something that has no answer.
    pub(super) fn tell(&self, order: Order<'_>) -> Result<(), CallError> {
        refuse_forked()?;
        self.ask(order, None)
    }

    fn ask(&self, mut order: Order<'_>, answer: Option<&Line>) -> Result<(), CallError> {
        if self.manager.has_ended() {
            return Err(CallError::ManagerDied);
        }
        let (payload, notes) = order.to_record(answer);
        let descriptors = std::mem::take(&mut order.arguments.descriptors);
        let sent = self.requests.send(&payload, &notes, descriptors, order.deadline.patience(), || self.is_over());
        sent.map_err(|refused| describe(refused, "send a request to the manager"))
    }

    fn is_over(&self) -> Option<Refused> {
        self.manager.has_ended().then_some(Refused::ManagerDied)
    }
}

fn describe(refused: Refused, attempt: &str) -> CallError {
    match refused {
        Refused::NotNow => CallError::TimedOut,
        // The requests are closed when the manager is told to end.
        Refused::ManagerDied | Refused::Closed | Refused::Disconnected => CallError::ManagerDied,
        Refused::Memory(error) => CallError::Memory(MemoryError::new(attempt, &error)),
        Refused::Corrupt => {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, "the shared memory is damaged");
            CallError::Memory(MemoryError::new(attempt, &error))
        }
    }
}

/// Lines for answers that no call uses now.
static IDLE_LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

fn take_line() -> Result<Line, MemoryError> {
    let idle = IDLE_LINES.lock().unwrap_or_else(PoisonError::into_inner).pop();
    idle.map_or_else(|| Line::new(1), Ok)
}

fn give_line_back(line: Line) {
    IDLE_LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}
