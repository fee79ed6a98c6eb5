//! The copying engine: copies folders with a pool of worker processes, faithfully, and tells its caller what happens. It knows
//! no terminal and no command line.
//!
//! A [`Request`] says what to copy where. [`Plan::new`] looks at everything that can be looked at before the first write and
//! refuses what must not be begun; [`Plan::start`] makes a [`Running`] copy, which sends [`Event`]s, shows its [`Progress`],
//! can be stopped, and ends with a [`Summary`] in which every entry is accounted for.
//!
//! ```no_run
//! use brigade_copy::{Event, Plan, Request, Target};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     brigade::init();
//!     let request = Request::new(vec!["/usr/share".into()], Target::IntoOrAs("/tmp/share".into()));
//!     let running = Plan::new(request)?.start(|event| {
//!         if let Event::Failed(error) = event {
//!             eprintln!("{error}: {}", error.cause);
//!         }
//!     })?;
//!     println!("{} entries copied", running.wait().n_copied);
//!     Ok(())
//! }
//! ```
//!
//! Inside, arrows run one way: `run` drives `scheduler`, a state machine that calls nobody; what it hands out and takes back is
//! the plain data of `task`; `worker` carries it out in another process, holding only folders that it was given.
#![forbid(unsafe_code)]

mod calls;
mod compare;
mod confine;
mod crew;
mod error;
mod event;
mod facet;
mod hands;
mod lanes;
mod names;
mod pace;
mod plan;
mod procfs;
mod pulse;
mod request;
mod run;
mod scheduler;
mod selection;
mod shown;
mod stuck;
mod task;
mod worker;

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod rehearsal;
#[cfg(test)]
mod rehearsal_tests;

pub use compare::{Aspect, CompareEvent, CompareRequest, Comparing, Comparison, Verdict};
pub use confine::{Confinement, Lack, Wall};
pub use error::{Action, EntryName, PathError, Reason, Refusal, Want};
pub use event::{
    EntryKind, Event, Ground, Lane, LaneState, Limit, Note, Outcome, Progress, Question, RemovalCeased, SlowEntry,
    Summary,
};
pub use facet::{Facet, Facets, FidelityReport, Lost, Tally, Why};
pub use plan::Plan;
pub use request::{
    Answer, Backup, DEFAULT_STALL_TIMEOUT, Delete, Digests, Durability, EmptySource, Existing, Fidelity, GroupLimits,
    NewMode, Newer, OnLoss, Policy, Reflink, Report, Request, Resume, SENTINEL, Sameness, Sandbox, Sparse, Target,
    Times, Totals, TypeChange, Verify, Writing,
};
pub use run::{Closed, Running};
pub use selection::{BadList, Choice, Depth, IgnoreFiles, Lines, Links, Mounts, NameList, NoPattern, Rules, Selection};
pub use shown::shown;
