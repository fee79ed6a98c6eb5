//! Removes what a run that was killed has left in the folders of the destination: entries under temporary names. Whether another
//! run may be at work is found out at the beginning, in run/claims.rs, and once more where something lies about.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};

use brigade_sys::kernel::presence;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;

use super::Worker;
use super::folders::{Pair, Reality, list};
use crate::calls::{self, fstat, unlinkat};
use crate::names::Kind;
use crate::task::{Arrival, Identity};

const PREFIX: &[u8] = b".brigade-";
const N_DIGITS: usize = 32;

/// A name that a run gives to what is not finished.
pub(super) fn temporary_name_of(high: u64, low: u64) -> CString {
    CString::new(format!(".brigade-{high:016x}{low:016x}")).expect("hexadecimal digits hold no zero byte")
}

/// Whether a name is such a one. A run gives them to everything but folders.
fn is_temporary(name: &[u8]) -> bool {
    let digits = name.strip_prefix(PREFIX);
    digits.is_some_and(|digits| {
        digits.len() == N_DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
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
        let mut found = Vec::new();
        let listed = list(&pair.destination, &mut self.listing_buffer, |kind, name| {
            if kind != Kind::Folder && is_temporary(name.to_bytes()) {
                found.push(name.to_owned());
            }
        });
        if listed.is_err() || found.is_empty() || !self.is_alone_in(pair) {
            return;
        }
        for name in found {
            if self.is_litter(pair, &name) {
                let _ = unlinkat(&pair.destination, name.as_c_str(), AtFlags::empty());
                self.touch_here();
            }
        }
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

    /// Whether something under a temporary name is removed. It stays if the source has it, if others have made it or somebody has
    /// touched it since this run began, and if it is a part of a file that this run goes on with.
    fn is_litter(&self, pair: &Pair, name: &CStr) -> bool {
        if pair.stat_source(name).err() != Some(Errno::NOENT) {
            return false;
        }
        let mask = StatxFlags::UID | StatxFlags::CTIME;
        let Ok(present) = calls::statx(&pair.destination, name, AtFlags::SYMLINK_NOFOLLOW, mask) else { return false };
        // What root copies may belong to somebody else by now.
        let is_own = self.user == 0 || present.stx_uid == self.user;
        let changed = (present.stx_ctime.tv_sec, i64::from(present.stx_ctime.tv_nsec));
        is_own && changed < self.facts.started && !self.is_part(pair, name)
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
        for digit in ['g', 'F', '/', ':', '`'] {
            assert!(!is_temporary(format!(".brigade-0123456789abcdef0123456789abcde{digit}").as_bytes()), "{digit}");
        }
        assert!(is_temporary(temporary_name_of(u64::MAX, 0).as_bytes()));
    }
}
