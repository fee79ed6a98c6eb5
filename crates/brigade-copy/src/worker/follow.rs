//! Where a walk stops although there is a folder: at the border of a file system, and where followed links lead back to where
//! the walk came from or into what it makes.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, Stat};

use super::folders::{Held as _, Pair};
use super::{Flaw, Worker};
use crate::calls::{fstat, openat};
use crate::error::{Action, Reason};
use crate::selection::Mounts;
use crate::task::Identity;

/// How much of a folder is copied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    Whole,
    /// The folder, and nothing in it.
    Empty,
}

impl Worker {
    /// How much of a sub-folder of `here` is copied.
    pub(super) fn extent_of(&self, here: &Pair, source: &OwnedFd, stat: &Stat) -> Result<Extent, Flaw> {
        if here.follows() {
            self.check_way(here, source, Identity::of(stat))?;
        }
        // No folder on another device was entered, so the one above is on the device of the source.
        let is_border = self.facts.selection.mounts == Mounts::LeaveEmpty
            && here.identity().is_some_and(|above| above.device != stat.st_dev);
        Ok(if is_border { Extent::Empty } else { Extent::Whole })
    }

    /// Refuses a folder to which links have led if the walk would not end there.
    fn check_way(&self, here: &Pair, source: &OwnedFd, identity: Identity) -> Result<(), Flaw> {
        let refuse = |reason| Err(Flaw::new(Action::Open, reason));
        if self.chain.passes(identity) {
            return refuse(Reason::LinkLoop);
        }
        let mut below = identity;
        let mut above = parent_of(source)?;
        if here.identity() == Some(above.1) {
            return Ok(());
        }
        while above.1 != below {
            if self.facts.destinations.contains(&above.1) {
                return refuse(Reason::InsideCopy);
            }
            below = above.1;
            above = parent_of(&above.0)?;
        }
        Ok(())
    }
}

fn parent_of(folder: &OwnedFd) -> Result<(OwnedFd, Identity), Flaw> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = openat(folder, c"..", flags, Mode::empty())?;
        let identity = Identity::of(&fstat(&parent)?);
        Ok((parent, identity))
    };
    open().map_err(|errno: rustix::io::Errno| Flaw::new(Action::Open, errno))
}
