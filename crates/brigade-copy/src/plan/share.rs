//! What of a plan's sources is copied, where that is not everything: entries that were named one by one. How they are reached is
//! in scheduler/seeds.rs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::EntryName;

/// What of the sources is copied.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// By source. None: everything.
    entries: Option<BTreeMap<usize, Vec<PathBuf>>>,
}

/// What of one source is copied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part<'a> {
    Nothing,
    Whole,
    /// These entries, sorted, none of them below another.
    Entries(&'a [PathBuf]),
}

impl Share {
    pub(super) fn of(mut entries: Vec<EntryName>) -> Self {
        entries.sort_unstable();
        let mut kept: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
        for EntryName { source_idx, path } in entries {
            let paths = kept.entry(source_idx).or_default();
            // Paths are sorted by components, so whatever is below an entry follows it.
            if paths.last().is_none_or(|last| !path.starts_with(last)) {
                paths.push(path);
            }
        }
        Self { entries: Some(kept) }
    }

    pub(crate) fn of_source(&self, source_idx: usize) -> Part<'_> {
        let Some(entries) = &self.entries else {
            return Part::Whole;
        };
        match entries.get(&source_idx).map(Vec::as_slice) {
            None => Part::Nothing,
            Some([only]) if only.as_os_str().is_empty() => Part::Whole,
            Some(paths) => Part::Entries(paths),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_named_entry_comes_with_it() {
        let name = |source_idx, path: &str| EntryName { source_idx, path: path.into() };
        let share = Share::of(vec![
            name(2, "x"),
            name(2, ""),
            name(0, "a/b/c"),
            name(0, "a/bc"),
            name(0, "a/b"),
            name(0, "a/b"),
            name(0, "z"),
        ]);
        let paths = ["a/b", "a/bc", "z"].map(PathBuf::from);
        assert_eq!(share.of_source(0), Part::Entries(&paths));
        assert_eq!(share.of_source(1), Part::Nothing);
        assert_eq!(share.of_source(2), Part::Whole);
        assert_eq!(Share::default().of_source(7), Part::Whole);
    }
}
