//! Keeps a worker away from places where another one got stuck. Which those are is said in its task.

use std::ffi::CStr;

use super::{Flaw, Spot, Worker};
use crate::error::{Action, Reason};
use crate::stuck::{Remains, Stuck};

impl Worker {
    /// Refuses to touch an entry of the current folder, or with an empty name the folder itself, if it is in a stuck place.
    pub(super) fn refuse_stuck(&self, name: &CStr) -> Result<(), Flaw> {
        self.stuck_place(name).map_or(Ok(()), |_| Err(Flaw::new(Action::Copy, Reason::Stalled)))
    }

    /// Refuses to copy an entry that is in a stuck place, and removes what the worker left that got stuck there.
    pub(super) fn refuse_stuck_entry(&self, spot: &Spot<'_>) -> Result<(), Flaw> {
        let Some(place) = self.stuck_place(spot.name) else {
            return Ok(());
        };
        if place.remains == Remains::Remove {
            self.sweep_unfinished(spot);
        }
        Err(Flaw::new(Action::Copy, Reason::Stalled))
    }

    pub(super) fn is_stuck(&self, root: u32, path: &[u8]) -> bool {
        self.stuck.iter().any(|place| place.holds(root, path))
    }

    fn stuck_place(&self, name: &CStr) -> Option<&Stuck> {
        // Nearly always there is none, and then no path is put together.
        if self.stuck.is_empty() {
            return None;
        }
        let path = self.path_of(name).0;
        self.stuck.iter().find(|place| place.holds(self.root, &path))
    }
}
