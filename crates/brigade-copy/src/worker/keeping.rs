//! What the entry that is being copied keeps and loses, and what is made of a refusal: a loss or a failure.

use rustix::io::Errno;

use super::attributes::Slate;
use super::{Flaw, Worker};
use crate::error::{Action, Reason};
use crate::facet::{Facet, Facets, Lost, Why};
use crate::request::OnLoss;

/// What the entry at hand had to keep, and what it lost of that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keeping {
    pub(super) had: Facets,
    pub(super) lost: Lost,
}

impl Keeping {
    pub(super) fn lose(&mut self, facet: Facet, why: Why) {
        self.had.insert(facet);
        self.lost.note(facet, why);
    }
}

impl Worker {
    pub(super) fn is_kept(&self, facet: Facet) -> bool {
        self.facts.fidelity.preserve.contains(facet)
    }

    /// Ends the account of the entry at hand. With `--strict` a loss is a failure, although the entry is there.
    pub(super) fn settle(&mut self) -> Result<Lost, Flaw> {
        let Keeping { had, lost } = std::mem::take(&mut self.keeping);
        self.answer.counts.fidelity.count(had, lost);
        if self.facts.fidelity.on_loss == OnLoss::Fail && !lost.is_empty() {
            return Err(Flaw::new(Action::Preserve, Reason::Lost(lost)));
        }
        Ok(lost)
    }

    /// Counts what the kernel refused as lost, if the file system or this user's rights are the reason. Where neither can
    /// be, as for the owner of an entry that was there before and cannot be altered, it is a failure.
    pub(super) fn refused(&mut self, facet: Facet, action: Action, errno: Errno, bearer: Refuser) -> Result<(), Flaw> {
        let why = match errno {
            Errno::OPNOTSUPP | Errno::NOSYS => Why::Unsupported,
            // A time that the file system cannot hold, where the kernel does not take the nearest by itself.
            Errno::INVAL | Errno::OVERFLOW | Errno::RANGE if facet == Facet::Timestamps => Why::Unsupported,
            Errno::PERM | Errno::ACCESS
                if bearer.slate == Slate::Clean || (self.user != 0 && bearer.uid != self.user) =>
            {
                Why::Denied
            }
            errno => return Err(Flaw::new(action, errno)),
        };
        self.keeping.lose(facet, why);
        Ok(())
    }
}

/// An entry that did not take something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refuser {
    pub(super) slate: Slate,
    /// Its owner.
    pub(super) uid: u32,
}
