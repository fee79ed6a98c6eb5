//! Tells other runs that this one is at work in a folder, and learns whether another is: by locks on the folders that are copied to.
//! What a run that was killed has left is removed only where none is. How it is found is in worker/litter.rs.

use std::os::fd::{AsFd as _, OwnedFd};

use brigade_sys::kernel::presence;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::calls::{fstat, openat};
use crate::task::Identity;
use crate::worker::{is_elsewhere, is_free};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The folders in which this run is at work; others see that as long as this is held.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Vec<OwnedFd>,
    /// Another run is at work in or above one of them, or that cannot be known.
    is_disputed: bool,
}

impl Claims {
    /// Claims a folder that this run has made.
    pub(super) fn take_new(&mut self, mark: &OwnedFd) {
        self.take(mark, |_| false);
    }

    /// Claims a folder that was there.
    ///
    /// Whether another run is at work is asked before anybody sees this one. Whoever comes later makes what he makes after that,
    /// so it is younger than this run, and whoever was there before is seen.
    pub(super) fn take_old(&mut self, mark: &OwnedFd) {
        self.take(mark, |folder| !is_free(folder) || !is_free_above(folder));
    }

    fn take(&mut self, mark: &OwnedFd, is_disputed: impl Fn(&OwnedFd) -> bool) {
        // Locks of other hosts are not seen everywhere, and asking may take for ever.
        let opened = if is_elsewhere(mark) { Err(Errno::OPNOTSUPP) } else { openat(mark, c".", FOLDER, Mode::empty()) };
        let Ok(folder) = opened else {
            self.is_disputed = true;
            return;
        };
        self.is_disputed |= is_disputed(&folder);
        match presence::show(folder.as_fd()) {
            Ok(()) => self.held.push(folder),
            Err(_) => self.is_disputed = true,
        }
    }

    /// Whether what lies about can only be of runs that are no more.
    pub(super) fn are_undisputed(&self) -> bool {
        !self.is_disputed
    }
}

/// Whether none is in a folder above it, from which it would come here. One that cannot be looked at may have one.
fn is_free_above(folder: &OwnedFd) -> bool {
    let identity = |folder: &OwnedFd| fstat(folder).map(|stat| Identity::of(&stat));
    let Ok(mut here) = identity(folder) else { return false };
    let mut path = openat(folder, c"..", FOLDER, Mode::empty());
    loop {
        let Ok(above) = path else { return false };
        match identity(&above) {
            Ok(top) if top == here => return true,
            Ok(next) if is_free(&above) => here = next,
            _ => return false,
        }
        path = openat(&above, c"..", FOLDER, Mode::empty());
    }
}
