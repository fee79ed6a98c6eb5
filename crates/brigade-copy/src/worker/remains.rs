//! Removes what earlier runs that were cut off have left under temporary names. What a worker of this run leaves when it dies is
//! removed by the names that are known then: see entry.rs.

use std::ffi::CStr;
use std::os::fd::AsFd as _;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::Worker;
use super::folders::{Pair, open_folder};
use super::removal::list;
use crate::calls::unlinkat;
use crate::names::{Kind, Names};
use crate::task::Arrival;

/// What temporary names begin with, and how many hexadecimal digits follow: see `Worker::temporary_name`.
const PREFIX: &[u8] = b".brigade-";
const N_DIGITS: usize = 32;

impl Worker {
    /// Removes temporary files of earlier runs from a folder that was there before this one. A name that the source has, too, is
    /// an entry like any other. What cannot be removed harms nobody, so it is no failure.
    pub(super) fn remove_remains(&mut self, pair: &Pair, arrival: Arrival) {
        if arrival == Arrival::Fresh || self.is_rehearsal() {
            return;
        }
        // The descriptor of a root is that of all workers, and so is the place up to which it was read.
        let Ok(folder) = open_folder(pair.destination.as_fd(), c".") else { return };
        let mut remains = Names::default();
        let _ = list(&folder, &mut self.listing_buffer, |kind, name| {
            if kind != Kind::Folder && is_temporary(name) {
                remains.push(kind, name);
            }
        });
        for (_, name) in remains.iter() {
            let is_of_source = !matches!(pair.stat_source(name), Err(Errno::NOENT));
            if !is_of_source && !self.is_born_in_this_run(&folder, name) {
                let _ = unlinkat(&folder, name, AtFlags::empty());
            }
        }
    }
}

fn is_temporary(name: &CStr) -> bool {
    let digits = name.to_bytes().strip_prefix(PREFIX);
    digits.is_some_and(|digits| {
        digits.len() == N_DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_program_makes_up_are_temporary() {
        assert!(is_temporary(c".brigade-0123456789abcdef0123456789abcdef"));
        for name in [c".brigade-", c".brigade-notes", c".brigade-0123456789ABCDEF0123456789abcdef", c"brigade"] {
            assert!(!is_temporary(name), "{name:?}");
        }
    }
}
