//! What a run that writes nothing does about an entry: it looks and decides as the real one, and that is all. Decisions are made
//! in existing.rs.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use super::entry::{n_bytes_of, stat_source};
use super::existing::{Like, Verdict};
use super::file::Sharing;
use super::folders::{Pair, Reality, open_folder};
use super::removal::entry_kind;
use super::{Done, Flaw, Spot, Worker};
use crate::calls::statat;
use crate::error::{Action, Reason};
use crate::event::{EntryKind, Ground, Outcome};
use crate::names::Kind;
use crate::request::Writing;
use crate::task::{Identity, Place};

impl Worker {
    pub(super) fn is_rehearsal(&self) -> bool {
        self.facts.policy.writing == Writing::Rehearsed
    }

    pub(super) fn rehearse_entry(&mut self, kind: Kind, spot: &Spot<'_>, sharing: Sharing) -> Result<Done, Flaw> {
        let source = stat_source(spot, kind)?;
        if let Some(done) = self.report_sharing(&source, sharing) {
            return Ok(done);
        }
        self.foresee(spot, &source, entry_kind(kind), Like::Source(kind))
    }

    /// A further name: unchanged only where it is one already, and the file itself would not be copied anew.
    pub(super) fn rehearse_link(&mut self, kind: Kind, spot: &Spot<'_>, first: &Place) -> Result<Done, Flaw> {
        let source = stat_source(spot, kind)?;
        let like = match self.identity_of_first(first) {
            Some(first) if self.identity_of_present(spot) == Some(first) => Like::Source(kind),
            Some(first) => Like::First(first),
            None => Like::First(Identity::of(&source)),
        };
        self.foresee(spot, &source, EntryKind::HardLink, like)
    }

    fn foresee(&mut self, spot: &Spot<'_>, source: &Stat, kind: EntryKind, like: Like) -> Result<Done, Flaw> {
        self.why = Some(Ground::New);
        let outcome = match spot.here.reality {
            Reality::Imagined => Outcome::Copied,
            Reality::Real | Reality::Rehearsed => match self.weigh(spot, source, like)? {
                Verdict::Make | Verdict::Replace(_) | Verdict::Ask => Outcome::Copied,
                Verdict::Keep { .. } => Outcome::Unchanged,
                Verdict::Skip => Outcome::Skipped,
                Verdict::Stopped => return Ok(Done::Stopped),
            },
        };
        Ok(Done::Entry { kind, outcome, n_bytes: n_bytes_of(source) })
    }

    fn identity_of_present(&self, spot: &Spot<'_>) -> Option<Identity> {
        let present = statat(&spot.here.destination, spot.destination_name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (spot.here.reality != Reality::Imagined).then(|| Identity::of(&present))
    }

    fn identity_of_first(&mut self, first: &Place) -> Option<Identity> {
        let folder = self.enter_destination(first.root, &first.folder.0).ok()?;
        let (_, name, _) = first.name.at(0)?;
        let renamed = self.renamed(first.root, &first.folder.0);
        let name: &CStr = renamed.as_deref().unwrap_or(name);
        statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|there| Identity::of(&there))
    }

    /// A folder and what is in its place. Returns whether it would be made, too.
    pub(super) fn rehearse_folder(
        &mut self,
        here: &Pair,
        name: &CStr,
        source: OwnedFd,
    ) -> Result<(Pair, Outcome), Flaw> {
        let destination = match here.reality {
            Reality::Imagined => Err(Errno::NOENT),
            Reality::Real | Reality::Rehearsed => open_folder(here.destination.as_fd(), name),
        };
        let outcome = match destination {
            Ok(_) => Outcome::Unchanged,
            Err(Errno::NOTDIR | Errno::LOOP) if !self.may_replace_by(&source)? => {
                return Err(Flaw::new(Action::Replace, Reason::NoFolder));
            }
            Err(_) => Outcome::Copied,
        };
        let pair = Pair::rehearsed(source, destination, here.destination.as_fd())
            .map_err(|errno| Flaw::new(Action::Reach, errno))?;
        Ok((pair, outcome))
    }
}
