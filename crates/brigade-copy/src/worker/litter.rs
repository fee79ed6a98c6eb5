//! Removes what a run that was killed has left in the folders of the destination: entries under temporary names. Whether another
//! run may be at work is found out at the beginning, in run/claims.rs, and once more where something lies about.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};

use brigade_sys::kernel::presence;
use rustix::fs::{AtFlags, FileType, RawDir, SeekFrom, StatxFlags};
use rustix::io::Errno;

use super::Worker;
use super::folders::{Pair, Reality};
use crate::calls::{self, Patience, fstat, unlinkat};
use crate::task::{Arrival, Identity};

const PREFIX: &[u8] = b".brigade-";
const N_DIGITS: usize = 32;

/// A name that a run gives to what is not finished.
pub(super) fn temporary_name_of(high: u64, low: u64) -> CString {
    CString::new(format!(".brigade-{high:016x}{low:016x}")).expect("hexadecimal digits hold no zero byte")
}

/// Whether a name is such a one.
fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == N_DIGITS && digits.iter().all(|digit| digit.is_ascii_hexdigit()))
}

impl Worker {
    /// The temporary name of an entry. Nobody can guess it, and a worker that does a dead one's work again finds the same.
    pub(super) fn temporary_name(&self, name: &CStr) -> CString {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut halves = [0; 2];
        for (half, secret) in halves.iter_mut().zip(self.facts.secret) {
            let mut hasher = DefaultHasher::new();
            secret.hash(&mut hasher);
            name.hash(&mut hasher);
            *half = hasher.finish();
        }
        temporary_name_of(halves[0], halves[1])
    }

    /// Looks through a folder that was there before this run. That costs reading its names.
    pub(super) fn remove_litter(&mut self, pair: &Pair, arrival: Arrival) {
        if !self.facts.removes_litter || arrival == Arrival::Fresh || pair.reality != Reality::Real {
            return;
        }
        let Ok(found) = self.temporaries_in(&pair.destination) else { return };
        if found.is_empty() || !self.is_alone_in(pair) {
            return;
        }
        for name in found {
            if let Some(flags) = self.litter_at(pair, &name) {
                let _ = unlinkat(&pair.destination, name.as_c_str(), flags);
                self.touch_here();
            }
        }
    }

    fn temporaries_in(&mut self, folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
        calls::seek(folder, SeekFrom::Start(0))?;
        let mut found = Vec::new();
        let mut patience = Patience::default();
        let mut entries = RawDir::new(folder, self.listing_buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if is_temporary(entry.file_name().to_bytes()) => found.push(entry.file_name().to_owned()),
                Ok(_) => {}
                Err(errno) if patience.allows(errno) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(found)
    }

    /// Whether no other run has begun in this folder, or in one between it and the place of the copy.
    fn is_alone_in(&self, pair: &Pair) -> bool {
        for folder in std::iter::once(&pair.destination).chain(self.chain.held().map(|above| &above.destination)) {
            // What is above was looked at when the run began; and the lock there is our own.
            let is_top = |identity| self.facts.destinations.contains(&identity);
            match fstat(folder).map(|stat| Identity::of(&stat)) {
                Ok(identity) if is_top(identity) => return true,
                Ok(_) if is_free(folder) => {}
                _ => return false,
            }
        }
        // So deep that the folders above have been closed, or another kind of place.
        false
    }

    /// How something under a temporary name is removed; `None` if it stays: what the source has is no litter, and neither is what
    /// others have made, what somebody has touched since this run began, or a part of a file that it goes on with.
    fn litter_at(&self, pair: &Pair, name: &CStr) -> Option<AtFlags> {
        if pair.stat_source(name).err() != Some(Errno::NOENT) {
            return None;
        }
        let mask = StatxFlags::TYPE | StatxFlags::UID | StatxFlags::CTIME;
        let present = calls::statx(&pair.destination, name, AtFlags::SYMLINK_NOFOLLOW, mask).ok()?;
        // What root copies may belong to somebody else by now.
        let is_own = self.user == 0 || present.stx_uid == self.user;
        let is_folder = FileType::from_raw_mode(u32::from(present.stx_mode)) == FileType::Directory;
        let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        let changed = (present.stx_ctime.tv_sec, i64::from(present.stx_ctime.tv_nsec));
        (is_own && changed < self.facts.started && !self.is_part(pair, name)).then_some(flags)
    }
}

/// Whether no other run is at work in a folder, as far as that can be known.
pub(crate) fn is_free(folder: &OwnedFd) -> bool {
    matches!(presence::is_shown_by_others(folder.as_fd()), Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_has_a_prefix_and_thirty_two_digits() {
        let digits = "0123456789abcdef0123456789abcdef";
        assert!(is_temporary(format!(".brigade-{digits}").as_bytes()));
        for name in [format!("brigade-{digits}"), format!(".brigade-{digits}0"), ".brigade-0123".to_owned()] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
        assert!(!is_temporary(b".brigade-0123456789abcdef0123456789abcdeg"));
    }
}
