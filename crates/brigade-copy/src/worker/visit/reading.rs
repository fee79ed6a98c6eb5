//! Reads the names in a folder, in portions where there are very many, and says what each of them is. What is left out is decided
//! in selection.rs, what is done with the rest in visit.rs.

use std::ffi::CStr;

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::super::folders::{Pair, kind_of};
use super::super::positions::has_lasting_positions;
use super::super::unread::Unread;
use super::super::{Flaw, Worker};
use super::{FOLDER_WEIGHT, Frame};
use crate::calls::Patience;
use crate::error::Action;
use crate::event::Outcome;
use crate::names::{Kind, Names};
use crate::selection::Wanted;
use crate::task::{Arrival, Position};

impl Worker {
    /// Finds the entries of the folder whose path is the current one.
    pub(super) fn list(&mut self, pair: &Pair, frame: &mut Frame, from: Position) {
        let mut files = Names::default();
        let mut folders = Names::default();
        if from == Position::default() {
            self.remove_litter(pair, frame.arrival);
        }
        let mut listing = std::mem::take(&mut self.listing_buffer);
        if self.selector.is_needed() {
            self.select_here(Some(pair));
        }
        let wanted = self.selector.wanted_in(&self.path);
        if wanted == Wanted::AllAndListed && from == Position::default() {
            self.take_listed_apart(pair, frame.arrival, &mut files, &mut folders);
        }
        let read = match wanted {
            Wanted::Listed => Ok(self.take_listed(pair, frame.arrival, from, &mut files, &mut folders)),
            _ => self.read_names(pair, frame.arrival, &mut listing, &mut files, &mut folders),
        };
        self.listing_buffer = listing;
        match read {
            Ok(rest) => frame.rest = rest,
            Err(errno) => {
                // A root that may not be read is held by a descriptor that only marks its place.
                let errno = if errno == Errno::BADF { Errno::ACCESS } else { errno };
                // What was read before the error is copied nevertheless.
                frame.outcome = Outcome::Failed;
                self.answer.source_unread = true;
                self.fail_here(Flaw::new(Action::List, errno));
            }
        }
        let n_found = (files.len() + folders.len()) as u64;
        self.answer.counts.n_found += n_found;
        self.lane.found(n_found);
        self.n_listed += n_found;
        if frame.arrival == Arrival::Fresh {
            self.answer.counts.n_needed += n_found;
        }
        self.n_left += files.len() + FOLDER_WEIGHT * folders.len();
        frame.files = Unread::new(files);
        frame.folders = Unread::new(folders);
    }

    fn read_names(
        &mut self,
        pair: &Pair,
        arrival: Arrival,
        listing: &mut Vec<u8>,
        files: &mut Names,
        folders: &mut Names,
    ) -> Result<Option<Position>, Errno> {
        let is_selective = self.selector.is_needed();
        let mut entries = RawDir::new(&pair.source, listing.spare_capacity_mut());
        let mut patience = Patience::default();
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(errno) if patience.allows(errno) => continue,
                entry => entry?,
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let listed = match entry.file_type() {
                FileType::Unknown => type_of(pair, name),
                FileType::Symlink if pair.follows() => type_of(pair, name),
                listed => listed,
            };
            if is_selective && self.selector.excludes(name.to_bytes(), listed == FileType::Directory) {
                continue;
            }
            let kind = Kind::of(listed);
            if kind == Kind::File && self.facts.wants_sizes {
                self.count_found(pair, name, arrival);
            }
            match kind {
                Kind::Folder => folders.push(kind, name),
                _ => files.push(kind, name),
            }
            let position = Position(entry.next_entry_cookie());
            // Whoever has time goes on from here, so that no answer grows with the folder.
            let n_read = self.n_listed + (files.len() + folders.len()) as u64;
            if n_read >= u64::from(self.budget.n_listed) && entries.is_buffer_empty() && has_lasting_positions(pair) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Counts the size of a file, and what it takes of the room at the destination if it cannot be there yet.
    pub(in crate::worker) fn count_found(&mut self, pair: &Pair, name: &CStr, arrival: Arrival) {
        let Ok(stat) = pair.stat_source(name) else { return };
        let n_bytes = stat.st_size as u64;
        let counts = &mut self.answer.counts;
        counts.bytes_found += n_bytes;
        // Further names of a file take no room, and which is the first is not known here.
        if arrival == Arrival::Fresh && stat.st_nlink == 1 {
            counts.bytes_needed += n_bytes.min(stat.st_blocks as u64 * 512);
        }
    }

    /// What an entry is that no listing has found.
    pub(in crate::worker) fn kind_of_named(&mut self, pair: &Pair, name: &CStr) -> Result<Kind, Flaw> {
        let stat = pair.stat_source(name).map_err(|errno| Flaw::new(Action::Stat, errno))?;
        let kind = kind_of(&stat);
        if self.facts.wants_sizes && kind == Kind::File {
            self.answer.counts.bytes_found += stat.st_size as u64;
        }
        Ok(kind)
    }
}

/// What an entry is where the listing does not say so. One that has vanished since is found missing when it is copied.
fn type_of(pair: &Pair, name: &CStr) -> FileType {
    pair.stat_source(name).map_or(FileType::RegularFile, |stat| FileType::from_raw_mode(stat.st_mode))
}
