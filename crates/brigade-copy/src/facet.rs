//! What a copy can keep of an entry beside its contents, and the account of what was kept and what was not.
//! Whether something is wanted is in request/fidelity.rs; how it is kept is the workers' business.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Something that a copy can keep of its source beside the contents.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Facet {
    /// The mode, with its setuid, setgid and sticky bits.
    Mode,
    /// User and group.
    Ownership,
    /// Times of modification and access.
    Timestamps,
    /// Which names are hard links of each other.
    Links,
    /// The label that SELinux goes by.
    Context,
    /// Extended attributes, but for those that have a name of their own here.
    Xattr,
    /// POSIX ACLs.
    Acl,
    /// File capabilities.
    Capabilities,
    /// Holes, which take no room.
    Holes,
}

impl Facet {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 9] = [
        Self::Mode,
        Self::Ownership,
        Self::Timestamps,
        Self::Links,
        Self::Context,
        Self::Xattr,
        Self::Acl,
        Self::Capabilities,
        Self::Holes,
    ];

    /// Its name in options and reports, which is that of `cp --preserve` where cp has one.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::Ownership => "ownership",
            Self::Timestamps => "timestamps",
            Self::Links => "links",
            Self::Context => "context",
            Self::Xattr => "xattr",
            Self::Acl => "acl",
            Self::Capabilities => "capabilities",
            Self::Holes => "holes",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of facets.
#[derive(Clone, Copy, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Facets(u16);

impl Facets {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self((1 << Facet::ALL.len()) - 1);

    /// Whether this one is in it.
    #[must_use]
    pub const fn contains(self, facet: Facet) -> bool {
        self.0 & facet.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Puts one in.
    pub const fn insert(&mut self, facet: Facet) {
        self.0 |= facet.bit();
    }

    /// Takes one out.
    pub const fn remove(&mut self, facet: Facet) {
        self.0 &= !facet.bit();
    }

    /// Those of either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In the order of [`Facet::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Facet> {
        Facet::ALL.into_iter().filter(move |facet| self.contains(*facet))
    }
}

impl FromIterator<Facet> for Facets {
    fn from_iter<I: IntoIterator<Item = Facet>>(facets: I) -> Self {
        let mut set = Self::NONE;
        facets.into_iter().for_each(|facet| set.insert(facet));
        set
    }
}

impl fmt::Debug for Facets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Why something could not be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The destination's file system cannot hold it.
    Unsupported,
    /// This user may not read it or set it.
    Denied,
}

/// What one entry lost although it did not fail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// What the destination's file system cannot hold.
    pub unsupported: Facets,
    /// What this user may not read or set.
    pub denied: Facets,
}

impl Lost {
    /// Whether nothing was lost.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.facets().is_empty()
    }

    /// What was lost, whatever the reason.
    #[must_use]
    pub const fn facets(self) -> Facets {
        self.unsupported.union(self.denied)
    }

    pub(crate) const fn note(&mut self, facet: Facet, why: Why) {
        match why {
            Why::Unsupported => self.unsupported.insert(facet),
            Why::Denied => self.denied.insert(facet),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.facets().iter().map(Facet::word).collect();
        f.write_str(&words.join(", "))
    }
}

/// Entries that had something to keep, by what became of it. One that lost a part for each of two reasons counts for both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// It is at the destination.
    pub n_kept: u64,
    /// The destination's file system cannot hold it.
    pub n_unsupported: u64,
    /// This user may not read it or set it.
    pub n_denied: u64,
}

impl Tally {
    /// Whether any entry lost it.
    #[must_use]
    pub const fn has_losses(self) -> bool {
        self.n_unsupported > 0 || self.n_denied > 0
    }
}

/// The account of a whole run: for each facet, how many entries kept it and how many did not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct FidelityReport([Tally; Facet::ALL.len()]);

impl FidelityReport {
    /// What became of one facet.
    #[must_use]
    pub const fn of(&self, facet: Facet) -> Tally {
        self.0[facet as usize]
    }

    /// Those that some entries lost.
    pub fn losses(&self) -> impl Iterator<Item = (Facet, Tally)> {
        Facet::ALL.into_iter().map(|facet| (facet, self.of(facet))).filter(|(_, tally)| tally.has_losses())
    }

    /// Counts one entry.
    pub(crate) fn count(&mut self, had: Facets, lost: Lost) {
        if had.union(lost.facets()).is_empty() {
            return;
        }
        let lost_any = lost.facets();
        for (facet, tally) in Facet::ALL.into_iter().zip(&mut self.0) {
            tally.n_kept += u64::from(had.contains(facet) && !lost_any.contains(facet));
            tally.n_unsupported += u64::from(lost.unsupported.contains(facet));
            tally.n_denied += u64::from(lost.denied.contains(facet));
        }
    }
}

impl AddAssign for FidelityReport {
    fn add_assign(&mut self, other: Self) {
        for (tally, other) in self.0.iter_mut().zip(other.0) {
            tally.n_kept += other.n_kept;
            tally.n_unsupported += other.n_unsupported;
            tally.n_denied += other.n_denied;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_as_kept_only_where_it_lost_nothing() {
        let mut lost = Lost::default();
        lost.note(Facet::Acl, Why::Denied);
        lost.note(Facet::Acl, Why::Unsupported);
        lost.note(Facet::Holes, Why::Unsupported);
        let had = [Facet::Acl, Facet::Mode].into_iter().collect();
        let mut report = FidelityReport::default();
        report.count(had, lost);
        report.count(Facets::ALL, Lost::default());
        assert_eq!(report.of(Facet::Mode), Tally { n_kept: 2, ..Tally::default() });
        assert_eq!(report.of(Facet::Acl), Tally { n_kept: 1, n_unsupported: 1, n_denied: 1 });
        assert_eq!(report.of(Facet::Holes), Tally { n_kept: 1, n_unsupported: 1, n_denied: 0 });
        assert_eq!(report.losses().map(|(facet, _)| facet).collect::<Vec<_>>(), [Facet::Acl, Facet::Holes]);
        assert_eq!(lost.to_string(), "acl, holes");
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        for facet in Facet::ALL {
            let mut set = Facets::NONE;
            set.insert(facet);
            assert_eq!(set.iter().collect::<Vec<_>>(), [facet]);
            let mut rest = Facets::ALL;
            rest.remove(facet);
            assert!(!rest.contains(facet) && rest.iter().count() == Facet::ALL.len() - 1);
        }
    }
}
