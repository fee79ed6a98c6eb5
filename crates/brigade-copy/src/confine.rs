//! Confines workers: what a hijacked one could do to the system ends where the two trees end. Which level of that can be had is found
//! out here, by trying it, and here a worker closes itself in. The walls themselves are in confine/: mounts and rights of root in
//! jail.rs, rights on files in files.rs, system calls in calls.rs.

#[cfg(test)]
mod attacks;
mod calls;
mod files;
mod jail;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use brigade_sys::kernel::mounts;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use crate::request::Sandbox;

/// How strictly workers are confined, from nothing to everything.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Confinement {
    /// They may do whatever the user may who copies.
    #[default]
    Off,
    /// No other system calls than those that copying needs, and of root's rights only those over files.
    Calls,
    /// Also, nothing is opened, made or removed outside of the trees that are copied; the source is not changed.
    Files,
    /// Also, no other file has a name that they could use: they see nothing but the two trees, and the source is mounted read-only.
    Jail,
}

impl Confinement {
    /// The word that stands in the summary: `off`, `calls`, `files` or `jail`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Calls => "calls",
            Self::Files => "files",
            Self::Jail => "jail",
        }
    }

    const fn below(self) -> Self {
        match self {
            Self::Jail => Self::Files,
            Self::Files => Self::Calls,
            Self::Calls | Self::Off => Self::Off,
        }
    }
}

/// What stands in the way of the strictest confinement for this user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lack {
    /// Links may be followed out of a tree.
    #[error("links are followed, and may lead anywhere")]
    LinksFollowed,
    /// Before Linux 5.18 files of different mounts could not share their contents.
    #[error("the kernel is older than Linux 5.18")]
    OldKernel,
    /// A mount would be missing from a copy of the tree of mounts, or it is not known which mounts there are.
    #[error("a mount cannot be seen from another place, or the list of mounts cannot be read")]
    HiddenMount,
    /// The kernel does not have it, or this user may not have it.
    #[error("cannot {wall}")]
    Refused {
        /// What was attempted.
        wall: Wall,
        /// What the kernel says.
        #[source]
        cause: io::Error,
    },
}

/// A step of closing a worker in. `Display` gives the English verb phrase that follows "cannot".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Wall {
    /// Seeing a tree through mounts of its own, which restrict what can be done with it.
    Mounts,
    /// Making an empty folder the root.
    Root,
    /// Limiting rights on files, with Landlock.
    Landlock,
    /// Giving up rights of root.
    Capabilities,
    /// Limiting system calls, with seccomp.
    SystemCalls,
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mounts => "restrict mounts (CAP_SYS_ADMIN, Linux 5.12)",
            Self::Root => "change the root folder (CAP_SYS_CHROOT)",
            Self::Landlock => "restrict files (Landlock, Linux 5.19)",
            Self::Capabilities => "give up capabilities",
            Self::SystemCalls => "restrict system calls (seccomp)",
        })
    }
}

impl Wall {
    /// The error that this one could not be built.
    fn lacking(self, cause: impl Into<io::Error>) -> Lack {
        Lack::Refused { wall: self, cause: cause.into() }
    }
}

/// What workers do with the trees.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// They write to the second.
    Copying,
    /// Likewise, and what they read may be anywhere.
    CopyingWhatLinksPointTo,
    /// They only read.
    Comparing,
}

/// A source and its destination.
pub(crate) type Trees<'a> = (&'a mut OwnedFd, &'a mut OwnedFd);

/// What was found out about this kernel and this user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    sandbox: Sandbox,
    purpose: Purpose,
    level: Confinement,
}

/// Finds out how strictly workers can be confined. Nothing is written.
///
/// # Errors
/// [`Lack`], if that is required and the strictest level of this user cannot be had.
pub(crate) fn find(sandbox: Sandbox, purpose: Purpose) -> Result<Found, Lack> {
    let found = |level| Found { sandbox, purpose, level };
    if sandbox == Sandbox::Off {
        return Ok(found(Confinement::Off));
    }
    let mut full = if jail::is_for_this_user() { Confinement::Jail } else { Confinement::Files };
    loop {
        match try_out(full, purpose) {
            Ok(()) => return Ok(found(full)),
            Err(lack) if sandbox == Sandbox::Require => return Err(lack),
            Err(_) => full = full.below(),
        }
        if full == Confinement::Off {
            return Ok(found(full));
        }
    }
}

/// Confines a thread that then ends.
fn try_out(level: Confinement, purpose: Purpose) -> Result<(), Lack> {
    let tried = std::thread::Builder::new().name("confined".to_owned()).spawn(move || {
        let root = || openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let (source, destination) =
            (root().map_err(|errno| Wall::Root.lacking(errno))?, root().map_err(|errno| Wall::Root.lacking(errno))?);
        mounts::stand_alone().map_err(|error| Wall::Root.lacking(error))?;
        if level == Confinement::Jail {
            jail::check(purpose)?;
            drop(jail::clone_tree(&source, jail::Side::Source, jail::Depth::Top)?);
        }
        Walls { level, purpose }.close([(source.as_fd(), destination.as_fd())].into_iter())
    });
    let tried = tried.map_err(|error| Wall::SystemCalls.lacking(error))?;
    tried.join().unwrap_or_else(|_| Err(Wall::SystemCalls.lacking(io::ErrorKind::Other)))
}

impl Found {
    pub(crate) fn level(self) -> Confinement {
        self.level
    }

    /// Puts the trees behind walls.
    ///
    /// # Errors
    /// [`Lack`], if what is required turns out not to work for these trees. They are then as they were.
    pub(crate) fn enclose(self, trees: &mut [Trees<'_>]) -> Result<Enclosed, Lack> {
        let Self { sandbox, purpose, level } = self;
        let enclosed = |level, mounts| Enclosed { walls: Walls { level, purpose }, mounts };
        if level != Confinement::Jail {
            return Ok(enclosed(level, Vec::new()));
        }
        match jail::build(trees, purpose) {
            Ok(mounts) => Ok(enclosed(level, mounts)),
            Err(lack) if sandbox == Sandbox::Require => Err(lack),
            Err(_) => {
                let next = [Confinement::Files, Confinement::Calls].into_iter();
                let level = next.into_iter().find(|&level| try_out(level, purpose).is_ok()).unwrap_or_default();
                Ok(enclosed(level, Vec::new()))
            }
        }
    }
}

/// Trees behind walls.
#[derive(Debug)]
pub(crate) struct Enclosed {
    pub(crate) walls: Walls,
    /// The mounts of their own through which destinations are seen. The kernel has a short way to close a file in a mount that
    /// somebody holds; in one that nobody holds each file might be the last.
    pub(crate) mounts: Vec<OwnedFd>,
}

/// What a worker needs to close itself in.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Walls {
    level: Confinement,
    purpose: Purpose,
}

impl Walls {
    pub(crate) fn level(&self) -> Confinement {
        self.level
    }

    /// Closes the calling thread in, which must be the only one that is to be confined. There is no way back.
    pub(crate) fn close<'a>(self, trees: impl Iterator<Item = (BorrowedFd<'a>, BorrowedFd<'a>)>) -> Result<(), Lack> {
        // What the kernel tells a program about itself is asked for once, and in the jail it cannot be asked.
        let _ = (rustix::param::page_size(), rustix::time::clock_gettime(rustix::time::ClockId::Monotonic));
        match self.level {
            Confinement::Off => return Ok(()),
            Confinement::Jail => {
                jail::enter_cell()?;
                files::restrict_scope()?;
            }
            Confinement::Files => files::restrict(trees, self.purpose)?,
            Confinement::Calls => {}
        }
        jail::give_up_capabilities()?;
        calls::restrict(self.purpose)
    }
}
