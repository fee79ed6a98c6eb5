//! Compares an entry with its copy: all that a copy preserves, but not how a file's holes lie. The copy's bytes are read past the
//! page cache where the file system lets them be dropped from it.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{Advice, AtFlags, FileType, Mode, Stat, fadvise};
use rustix::io::Errno;

use super::{Examiner, Trouble};
use crate::calls::{fstat, openat, readlinkat, statat};
use crate::compare::{Aspect, Aspects, Side};
use crate::error::{Action, Reason};
use crate::task::Identity;
use crate::worker::Flaw;
use crate::worker::attributes::{Bearer, kinds_that_differ};
use crate::worker::contents::{CHUNK_BYTES, read_full};
use crate::worker::entry::n_bytes_of;
use crate::worker::existing::mtime_of;
use crate::worker::file::is_same_version;
use crate::worker::folders::{FILE, Pair};

/// What was found out about two entries.
pub(super) struct Compared {
    pub(super) aspects: Aspects,
    /// Bytes of contents that the source has.
    pub(super) n_bytes: u64,
    /// Which file each is, if one of them has several names.
    pub(super) links: Option<(Identity, Identity)>,
}

/// Two open files, and what they were before they were read.
struct Open {
    source: OwnedFd,
    destination: OwnedFd,
    source_before: Stat,
    destination_before: Stat,
}

impl Examiner {
    /// Compares two entries, neither of which need be a file. `None`: the order to stop came first.
    pub(super) fn compare_entries(
        &mut self,
        pair: &Pair,
        source_name: &CStr,
        destination_name: &CStr,
    ) -> Result<Option<Compared>, Trouble> {
        self.ask(Side::Source);
        let source = statat(&pair.source, source_name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| Trouble::at_source(Action::Stat, errno))?;
        self.ask(Side::Destination);
        let destination = match statat(&pair.destination, destination_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(destination) => destination,
            Err(Errno::NOENT) => return Ok(Some(Compared::only(Aspect::OnlyAtSource, &source))),
            Err(errno) => return Err(Trouble::at_destination(Action::Stat, errno)),
        };
        let file_type = FileType::from_raw_mode(source.st_mode);
        if file_type != FileType::from_raw_mode(destination.st_mode) {
            return Ok(Some(Compared::only(Aspect::Type, &source)));
        }
        let mut aspects = of_stats(&source, &destination);
        let by_name = || (Bearer::of_source(pair, source_name), Bearer::of_destination(pair, destination_name));
        match file_type {
            FileType::RegularFile if source.st_size == destination.st_size && source.st_size > 0 => {
                self.ask(Side::Source);
                let there =
                    opened(&pair.source, source_name).map_err(|errno| Trouble::at_source(Action::Open, errno))?;
                self.ask(Side::Destination);
                let here = opened(&pair.destination, destination_name)
                    .map_err(|errno| Trouble::at_destination(Action::Open, errno))?;
                let open =
                    Open { source: there, destination: here, source_before: source, destination_before: destination };
                let Some(has_same_contents) = self.compare_contents(&open)? else {
                    return Ok(None);
                };
                aspects.note(Aspect::Contents, !has_same_contents);
                self.note_attributes(&mut aspects, &Bearer::open(&open.source), &Bearer::open(&open.destination))?;
            }
            FileType::RegularFile => {
                aspects.note(Aspect::Contents, source.st_size != destination.st_size);
                let (original, copy) = by_name();
                self.note_attributes(&mut aspects, &original, &copy)?;
            }
            _ => {
                if file_type == FileType::Symlink {
                    self.ask(Side::Source);
                    let there = readlinkat(&pair.source, source_name, Vec::new())
                        .map_err(|errno| Trouble::at_source(Action::Read, errno))?;
                    self.ask(Side::Destination);
                    let here = readlinkat(&pair.destination, destination_name, Vec::new())
                        .map_err(|errno| Trouble::at_destination(Action::Read, errno))?;
                    aspects.note(Aspect::Target, there != here);
                }
                let (original, copy) = by_name();
                self.note_attributes(&mut aspects, &original, &copy)?;
            }
        }
        let is_shared = source.st_nlink > 1 || destination.st_nlink > 1;
        let links = is_shared.then(|| (Identity::of(&source), Identity::of(&destination)));
        let n_bytes = n_bytes_of(&source);
        Ok(Some(Compared { aspects, n_bytes, links }))
    }

    /// Adds what differs in extended attributes.
    pub(super) fn note_attributes(
        &mut self,
        aspects: &mut Aspects,
        source: &Bearer<'_>,
        destination: &Bearer<'_>,
    ) -> Result<(), Trouble> {
        let mut asked = Side::Source;
        let ask = |side| {
            asked = side;
            self.ask(side);
        };
        let kinds = kinds_that_differ(source, destination, ask)
            .map_err(|errno| Trouble { side: asked, flaw: Flaw::new(Action::ReadAttributes, errno) })?;
        aspects.note(Aspect::Attributes, kinds.attributes);
        aspects.note(Aspect::Acls, kinds.acls);
        aspects.note(Aspect::Capabilities, kinds.capabilities);
        Ok(())
    }

    /// Whether two files hold the same bytes. `None`: the order to stop came first.
    fn compare_contents(&mut self, open: &Open) -> Result<Option<bool>, Trouble> {
        // What the copy's file system holds is wanted, not what was written to it a moment ago. Nothing is dirty: all was
        // written out before the first file was read.
        let _ = fadvise(&open.destination, 0, None, Advice::DontNeed);
        let mut offset = 0;
        loop {
            if self.lane.must_stop() {
                return Ok(None);
            }
            self.ask(Side::Source);
            let n_source = read_full(&open.source, &mut self.source_bytes[..CHUNK_BYTES], offset)
                .map_err(|errno| Trouble::at_source(Action::Read, errno))?;
            self.ask(Side::Destination);
            let n_destination = read_full(&open.destination, &mut self.destination_bytes[..CHUNK_BYTES], offset)
                .map_err(|errno| Trouble::at_destination(Action::Read, errno))?;
            if self.source_bytes[..n_source] != self.destination_bytes[..n_destination] {
                open.refuse_changed()?;
                return Ok(Some(false));
            }
            offset += n_source as u64;
            self.lane.add_bytes(n_source as u64);
            if n_source < CHUNK_BYTES {
                return Ok(Some(true));
            }
        }
    }
}

impl Open {
    /// A file that is being written differs from its copy for no fault of the copy.
    fn refuse_changed(&self) -> Result<(), Trouble> {
        let ends = [
            (Side::Source, &self.source, &self.source_before),
            (Side::Destination, &self.destination, &self.destination_before),
        ];
        for (side, file, before) in ends {
            let after = fstat(file).map_err(|errno| Trouble { side, flaw: Flaw::new(Action::Stat, errno) })?;
            if !is_same_version(before, &after) {
                return Err(Trouble { side, flaw: Flaw::new(Action::Compare, Reason::ChangedInComparison) });
            }
        }
        Ok(())
    }
}

impl Compared {
    fn only(aspect: Aspect, source: &Stat) -> Self {
        Self { aspects: Aspects::of(aspect), n_bytes: n_bytes_of(source), links: None }
    }
}

/// What can be told from looking at two entries of the same type.
pub(super) fn of_stats(source: &Stat, destination: &Stat) -> Aspects {
    let file_type = FileType::from_raw_mode(source.st_mode);
    let is_device = matches!(file_type, FileType::CharacterDevice | FileType::BlockDevice);
    let mut aspects = Aspects::default();
    aspects.note(Aspect::Device, is_device && source.st_rdev != destination.st_rdev);
    // The mode of a link means nothing and cannot be set.
    aspects.note(Aspect::Mode, file_type != FileType::Symlink && source.st_mode != destination.st_mode);
    aspects.note(Aspect::Owner, (source.st_uid, source.st_gid) != (destination.st_uid, destination.st_gid));
    aspects.note(Aspect::Time, mtime_of(source) != mtime_of(destination));
    aspects
}

fn opened(folder: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(folder, name, FILE, Mode::empty())
}
