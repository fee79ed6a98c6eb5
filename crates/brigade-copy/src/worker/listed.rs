//! Takes entries of a folder from a list of names instead of the folder itself. What the list holds is selection/list.rs's to
//! know. What nothing has, or what leads to names and is no
//! folder, is taken nevertheless: copying it fails, and says so.

use super::Worker;
use super::folders::{Pair, kind_of};
use crate::names::{Kind, Names};
use crate::selection::Child;
use crate::task::{Arrival, Position};

impl Worker {
    /// Takes what the list names in the current folder, and what leads to names below. Returns where somebody else goes on.
    pub(super) fn take_listed(
        &mut self,
        pair: &Pair,
        arrival: Arrival,
        from: Position,
        files: &mut Names,
        folders: &mut Names,
    ) -> Option<Position> {
        let mut start = from.0;
        while let Some(child) = self.selector.listed_at(&self.path, start as usize) {
            start = child.next as u64;
            let kind = kind_at_source(pair, &child);
            let is_excluded = self.excludes_child(&child, kind);
            // What leads to a name is made, whatever the rules say of it.
            if child.leads_on || (kind == Some(Kind::Folder) && !is_excluded) {
                folders.push(Kind::Folder, &child.name);
            }
            let is_there_or_told = kind.is_some() || !child.leads_on;
            if child.is_named && kind != Some(Kind::Folder) && !is_excluded && is_there_or_told {
                self.take_file(pair, arrival, &child, kind, files);
            }
            let n_read = self.n_listed + (files.len() + folders.len()) as u64;
            if n_read >= u64::from(self.budget.n_listed) {
                return Some(Position(start));
            }
        }
        None
    }

    /// Takes what the list names in the current folder and reading the folder does not find: what is missing, what is no
    /// folder although there are names below it, and a folder that is excluded and leads to names.
    pub(super) fn take_listed_apart(&mut self, pair: &Pair, arrival: Arrival, files: &mut Names, folders: &mut Names) {
        let mut start = 0;
        while let Some(child) = self.selector.listed_at(&self.path, start) {
            start = child.next;
            let kind = kind_at_source(pair, &child);
            let is_found = match kind {
                None => false,
                Some(Kind::Folder) => !(child.leads_on && self.excludes_child(&child, kind)),
                Some(_) => !child.leads_on,
            };
            if !is_found {
                match child.leads_on {
                    true => folders.push(Kind::Folder, &child.name),
                    false => self.take_file(pair, arrival, &child, kind, files),
                }
            }
        }
    }

    fn excludes_child(&mut self, child: &Child, kind: Option<Kind>) -> bool {
        let is_folder = kind == Some(Kind::Folder);
        kind.is_some() && self.selector.is_needed() && self.selector.excludes(child.name.to_bytes(), is_folder)
    }

    fn take_file(&mut self, pair: &Pair, arrival: Arrival, child: &Child, kind: Option<Kind>, files: &mut Names) {
        let kind = kind.unwrap_or(Kind::File);
        if kind == Kind::File && self.facts.wants_sizes {
            self.count_found(pair, &child.name, arrival);
        }
        files.push(kind, &child.name);
    }
}

/// `None` if nothing is there, or it cannot be looked at.
fn kind_at_source(pair: &Pair, child: &Child) -> Option<Kind> {
    pair.stat_source(&child.name).ok().as_ref().map(kind_of)
}
