//! Makes sure of contents: BLAKE3 of a source's bytes as they pass by, of the copy as it is read back past the page cache, and of
//! whatever else a manifest lists. Nothing here is done, and no call made, unless it was asked for.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};

use blake3::{Hash, Hasher};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, Stat, fadvise};
use rustix::io::Errno;

use super::contents::{CHUNK_BYTES, read_at};
use super::folders::{FILE, kind_of};
use super::{Done, Flaw, Spot, Worker};
use crate::calls::{self, fstat, openat, statat};
use crate::error::Action;
use crate::event::{EntryKind, Outcome};
use crate::names::Kind;
use crate::task::{Digest, Identity};

/// Files with several names whose hashes a worker remembers, so that a further name need not be read again.
const MOST_REMEMBERED: usize = 4096;

/// What is wanted beyond copying.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Checks {
    /// Each file that is written is read back.
    pub(crate) verifies: bool,
    /// The hash of each file is to be in the answer.
    pub(crate) wants_digests: bool,
}

/// The hash of a source while it is copied.
pub(super) struct Tap {
    checks: Checks,
    hasher: Hasher,
    /// Bytes from the beginning of the file that were hashed.
    n_bytes: u64,
    /// Of the file that was copied last.
    last: Option<Hash>,
    remembered: HashMap<Identity, Hash>,
}

/// What came of reading a copy back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReadBack {
    /// It is what was read from the source, or nobody asked.
    Right,
    Wrong,
    /// The order to stop came first.
    Stopped,
}

impl Tap {
    pub(super) fn new(checks: Checks) -> Self {
        Self { checks, hasher: Hasher::new(), n_bytes: 0, last: None, remembered: HashMap::new() }
    }

    fn is_on(&self) -> bool {
        self.checks != Checks::default()
    }

    /// A new file begins.
    pub(super) fn begin(&mut self) {
        if self.is_on() {
            self.hasher.reset();
            self.n_bytes = 0;
            self.last = None;
        }
    }

    /// Takes bytes that were read at this offset. Whatever else the copy does, such as leaping over a hole or leaving the rest to the
    /// kernel, leaves a gap, and then the source is read again.
    pub(super) fn take(&mut self, bytes: &[u8], offset: u64) {
        if self.is_on() && offset == self.n_bytes {
            self.hasher.update(bytes);
            self.n_bytes += bytes.len() as u64;
        }
    }
}

impl Worker {
    /// How a new file is opened: it can be read back if it must be.
    pub(super) fn access_to_new(&self) -> OFlags {
        if self.tap.checks.verifies { OFlags::RDWR } else { OFlags::WRONLY }
    }

    /// Hashes what was copied and reads the copy back, as far as that was asked for.
    pub(super) fn check_copy(
        &mut self,
        source: &OwnedFd,
        destination: &OwnedFd,
        n_bytes: u64,
    ) -> Result<ReadBack, Flaw> {
        if !self.tap.is_on() {
            return Ok(ReadBack::Right);
        }
        let wanted = if self.tap.n_bytes == n_bytes {
            self.tap.hasher.finalize()
        } else {
            match self.hash_of(source, Action::Read)? {
                Some(hash) => hash,
                None => return Ok(ReadBack::Stopped),
            }
        };
        self.tap.last = Some(wanted);
        if !self.tap.checks.verifies {
            return Ok(ReadBack::Right);
        }
        self.lane.verifying();
        self.forget_cached(destination).map_err(|errno| Flaw::new(Action::Write, errno))?;
        let there = self.hash_of(destination, Action::Verify)?;
        self.lane.copying();
        let is_right = there == Some(wanted);
        self.answer.counts.n_verified += u64::from(is_right);
        Ok(match there {
            None => ReadBack::Stopped,
            Some(_) if is_right => ReadBack::Right,
            Some(_) => ReadBack::Wrong,
        })
    }

    /// Makes sure, if files are to be verified, that what is read of this one comes from the disk.
    pub(super) fn forget_cached(&self, file: &OwnedFd) -> Result<(), Errno> {
        if self.tap.checks.verifies {
            calls::fdatasync(file)?;
            // Where pages cannot be dropped, as in memory, there is nothing behind the cache either.
            let _ = fadvise(file, 0, None, Advice::DontNeed);
        }
        Ok(())
    }

    /// Reads a whole file. `None`: the order to stop came first.
    fn hash_of(&mut self, file: &OwnedFd, action: Action) -> Result<Option<Hash>, Flaw> {
        let mut hasher = Hasher::new();
        let mut offset = 0;
        loop {
            if self.lane.must_stop() {
                return Ok(None);
            }
            let chunk = &mut self.buffer[..CHUNK_BYTES];
            let n_read = read_at(file.as_fd(), chunk, offset).map_err(|flaw| Flaw { action, ..flaw })?;
            if n_read == 0 {
                return Ok(Some(hasher.finalize()));
            }
            hasher.update(&chunk[..n_read]);
            offset += n_read as u64;
            if action == Action::Verify {
                self.lane.add_bytes(n_read as u64);
            }
        }
    }

    /// Remembers the hash of a file that has further names, which will be linked to this one.
    pub(super) fn remember_digest(&mut self, source: &Stat, destination: &OwnedFd) {
        if source.st_nlink <= 1 || !self.tap.checks.wants_digests {
            return;
        }
        if let (Some(hash), Ok(stat)) = (self.tap.last, fstat(destination)) {
            self.remember(Identity::of(&stat), hash);
        }
    }

    fn remember(&mut self, identity: Identity, hash: Hash) {
        if self.tap.remembered.len() >= MOST_REMEMBERED {
            self.tap.remembered.clear();
        }
        self.tap.remembered.insert(identity, hash);
    }

    /// Puts the hash of an entry into the answer, if it is a file and a manifest wants it; of one that is left to be committed, with
    /// what is to be done about it.
    pub(super) fn note_digest(&mut self, spot: &Spot<'_>, done: &Done) -> Result<(), Flaw> {
        let copied = self.tap.last.take();
        let Done::Entry { kind: EntryKind::File | EntryKind::HardLink, outcome, .. } = done else {
            return Ok(());
        };
        if !self.tap.checks.wants_digests || !matches!(outcome, Outcome::Copied | Outcome::Unchanged) {
            return Ok(());
        }
        let hash = match copied {
            Some(hash) => hash,
            None => match self.hash_of_copy(spot)? {
                Some(hash) => hash,
                None => return Ok(()),
            },
        };
        let hash = *hash.as_bytes();
        match self.last_left_to_commit() {
            Some(file) => file.hash = Some(hash),
            None => {
                let path = self.path_of(spot.name);
                self.answer.digests.push(Digest { root: self.root, path, hash });
            }
        }
        Ok(())
    }

    /// The hash of a file at the destination that this task did not write. `None` for what is no file, or after the order to stop.
    fn hash_of_copy(&mut self, spot: &Spot<'_>) -> Result<Option<Hash>, Flaw> {
        let flaw = |errno| Flaw::new(Action::Verify, errno);
        let (folder, name) = (&spot.here.destination, spot.destination_name());
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(flaw)?;
        if kind_of(&stat) != Kind::File {
            return Ok(None);
        }
        let identity = Identity::of(&stat);
        if let Some(hash) = self.tap.remembered.get(&identity) {
            return Ok(Some(*hash));
        }
        let file = openat(folder, name, FILE, Mode::empty()).map_err(flaw)?;
        let hash = self.hash_of(&file, Action::Verify)?;
        if let Some(hash) = hash.filter(|_| stat.st_nlink > 1) {
            self.remember(identity, hash);
        }
        Ok(hash)
    }
}
