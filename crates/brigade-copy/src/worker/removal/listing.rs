//! What a folder of the destination has and its source has not, from the names in both. Nothing is removed here.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Stat};
use rustix::io::Errno;

use crate::calls::statat;
use crate::error::Action;
use crate::names::{Kind, Names};
use crate::request::{Backup, Delete};
use crate::selection::Selector;
use crate::task::Identity;
use crate::worker::Flaw;
use crate::worker::folders::{Pair, list};
use crate::worker::placing::split_numbered;

/// Two folders compared.
pub(super) struct Differences {
    /// What only the destination has.
    pub(super) extra: Names,
    /// Folders that both have.
    pub(super) common: Names,
    /// How many entries the source has.
    pub(super) n_source: usize,
}

/// What a filter means here: what it excludes is left alone at the destination, or is as good as missing in the source.
pub(super) struct Filter<'a> {
    /// Knows the folder. None where nothing is excluded.
    pub(super) selector: Option<&'a mut Selector>,
    pub(super) delete: Delete,
    /// Which names are those of backups, which the source never has.
    pub(super) backup: &'a Backup,
}

impl Filter<'_> {
    /// Whether an entry of the destination stays, whatever the source has.
    pub(super) fn protects(&mut self, kind: Kind, name: &CStr) -> bool {
        (self.delete != Delete::ExtraAndExcluded && self.excludes(kind, name)) || self.is_backup(name)
    }

    fn is_backup(&self, name: &CStr) -> bool {
        let name = name.to_bytes();
        match self.backup {
            Backup::Never => false,
            Backup::Simple { suffix } => name.ends_with(suffix),
            Backup::Numbered => split_numbered(name).is_some(),
            Backup::Existing { suffix } => name.ends_with(suffix) || split_numbered(name).is_some(),
        }
    }

    /// Whether an entry of the source is none that the destination should have.
    pub(super) fn hides(&mut self, kind: Kind, name: &CStr) -> bool {
        self.delete == Delete::ExtraAndExcluded && self.excludes(kind, name)
    }

    fn excludes(&mut self, kind: Kind, name: &CStr) -> bool {
        self.selector.as_mut().is_some_and(|selector| selector.excludes(name.to_bytes(), kind == Kind::Folder))
    }
}

/// Compares two folders that correspond to each other.
pub(super) fn compare(pair: &Pair, buffer: &mut Vec<u8>, filter: &mut Filter<'_>) -> Result<Differences, Flaw> {
    let mut source = Names::default();
    let mut n_source = 0;
    let listed = list(&pair.source, buffer, |kind, name| {
        n_source += 1;
        if !filter.hides(kind, name) {
            source.push(kind, name);
        }
    });
    listed.map_err(|errno| Flaw::new(Action::List, errno))?;
    let mut index = Index::new(&source);
    let mut extra = Names::default();
    let mut common = Names::default();
    let listed = list(&pair.destination, buffer, |kind, name| match index.find(name) {
        _ if filter.protects(kind, name) => {}
        Some(Kind::Folder) if kind == Kind::Folder => common.push(kind, name),
        Some(_) => {}
        None => extra.push(kind, name),
    });
    listed.map_err(|errno| Flaw::new(Action::ListDestination, errno))?;
    if !extra.is_empty() {
        let copied = index.unmet().filter(|&(kind, name)| !filter.protects(kind, name));
        extra = without_respelled(&pair.destination, extra, copied.map(|(_, name)| name));
    }
    Ok(Differences { extra, common, n_source })
}

/// The destination may spell a name otherwise than the source: in other case, or composed otherwise. What can be had there under
/// a name of the source is no extra entry. That is asked only for names that the listing did not have, and those are few.
fn without_respelled<'a>(folder: &OwnedFd, extra: Names, unmet: impl Iterator<Item = &'a CStr>) -> Names {
    let there: Vec<_> = unmet.filter_map(|name| look(folder, name).ok()).map(|stat| Identity::of(&stat)).collect();
    if there.is_empty() {
        return extra;
    }
    let mut kept = Names::default();
    for (kind, name) in extra.iter() {
        if !look(folder, name).is_ok_and(|stat| there.contains(&Identity::of(&stat))) {
            kept.push(kind, name);
        }
    }
    kept
}

fn look(folder: &OwnedFd, name: &CStr) -> Result<Stat, Errno> {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Finds a name among many.
struct Index<'a> {
    names: &'a Names,
    /// Where each name begins, in the order of the names, and whether it was asked for.
    offsets: Vec<(usize, bool)>,
}

impl<'a> Index<'a> {
    fn new(names: &'a Names) -> Self {
        let mut offsets = Vec::with_capacity(names.len());
        let mut offset = 0;
        while let Some((_, _, next)) = names.at(offset) {
            offsets.push((offset, false));
            offset = next;
        }
        offsets.sort_unstable_by_key(|&(offset, _)| name_at(names, offset));
        Self { names, offsets }
    }

    fn find(&mut self, name: &CStr) -> Option<Kind> {
        let names = self.names;
        let idx = self.offsets.binary_search_by_key(&name, |&(offset, _)| name_at(names, offset)).ok()?;
        let (offset, is_met) = &mut self.offsets[idx];
        *is_met = true;
        names.at(*offset).map(|(kind, ..)| kind)
    }

    /// The names that were not asked for.
    fn unmet(&self) -> impl Iterator<Item = (Kind, &'a CStr)> {
        let names = self.names;
        self.offsets.iter().filter(|(_, is_met)| !is_met).filter_map(move |&(offset, _)| {
            let (kind, name, _) = names.at(offset)?;
            Some((kind, name))
        })
    }
}

fn name_at(names: &Names, offset: usize) -> &CStr {
    names.at(offset).map_or(c"", |(_, name, _)| name)
}
