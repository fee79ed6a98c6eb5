//! The copying engine: copies folders with a pool of worker processes.
#![forbid(unsafe_code)]

mod error;
mod event;
mod plan;
mod request;
mod run;
mod shown;

pub use error::{Action, PathError, Refusal};
pub use event::{EntryKind, Event, Lane, LaneState, Note, Outcome, Progress, Summary};
pub use plan::Plan;
pub use request::{Report, Request, Target, Totals};
pub use run::Running;
pub use shown::shown;
