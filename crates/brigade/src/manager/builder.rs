//! What a manager is started with, and the starting.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Link;
use super::errors::{CallError, ManagerError};
use super::line::Line;
use super::request::{Deadline, Kind, Order};
use super::{Manager, server};
use crate::entry::EntryPoint;
use crate::lifeline::Lifeline;
use crate::parcel::Parcel;
use crate::process::Process;
use crate::supervisor::OnParentExit;

/// Requests that may be on their way to the manager at a time; who asks for more waits for room.
const N_UNDER_WAY: u64 = 1024;

/// What a manager is started with. Made by [`Manager::builder`].
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// use std::sync::atomic::{AtomicU32, Ordering};
/// static FIRST_NUMBER: AtomicU32 = AtomicU32::new(0);
///
/// let manager = brigade::Manager::builder()
///     .name("numbers")
///     .initializer(1000, |first| FIRST_NUMBER.store(first, Ordering::Relaxed))
///     .start()?;
/// let next = manager.service((), |()| FIRST_NUMBER.load(Ordering::Relaxed))?;
/// assert_eq!(next.call((), |next, ()| *next)?, 1000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is started before `start`"]
pub struct ManagerBuilder {
    name: String,
    initializer: Option<Result<Initializer, CallError>>,
}

#[derive(Debug)]
struct Initializer {
    entry: EntryPoint,
    arguments: Parcel,
}

impl Manager {
    /// A manager to be given more than [`start`](Self::start) does.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder { name: "manager".to_owned(), initializer: None }
    }
}

impl ManagerBuilder {
    /// The name of its process; `manager` by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// A function that the manager's process runs before anything else. The function captures nothing, as for
    /// [`spawn`](crate::spawn).
    pub fn initializer<A, F>(mut self, args: A, _function: F) -> Self
    where
        F: Fn(A) + Copy + 'static,
        A: Serialize + DeserializeOwned,
    {
        let entry = EntryPoint::of::<F, A, ()>().map_err(|_| CallError::NotInMainProgram);
        let pack = |entry| Ok(Initializer { entry, arguments: Parcel::pack(&args).map_err(CallError::Encode)? });
        self.initializer = Some(entry.and_then(pack));
        self
    }

    /// Starts the manager, and waits for its initializer if it has one.
    ///
    /// # Errors
    /// [`ManagerError`]; no process is left then.
    pub fn start(self) -> Result<Manager, ManagerError> {
        let initializer = self.initializer.transpose().map_err(ManagerError::Initializer)?;
        let requests = Line::new(N_UNDER_WAY)?;
        let builder = Process::builder().name(self.name).on_parent_exit(OnParentExit::Terminate);
        let process = builder.spawn(requests.clone(), server::run)?;
        // A line was made just now, so there is a session, and every process has a place in it.
        let participant = process.participant().ok_or(ManagerError::ManagerDied)?;
        let manager = Manager { process, link: Link { requests, manager: Lifeline::of(participant) } };
        if let Some(Initializer { entry, arguments }) = initializer {
            // To be called as the maker of an object that is then not left behind; nobody else can have asked before.
            let object = Line::anchor()?;
            let (entry, deadline) = (Some(entry), Deadline::NONE);
            let order = Order { kind: Kind::Make, object: &object.0, entry, arguments, deadline };
            manager.link.call(order).map_err(ManagerError::Initializer)?;
        }
        Ok(manager)
    }
}
