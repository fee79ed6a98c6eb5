//! The part of a channel that is never mapped: file offsets written and read by position, and given back once taken.

use std::io;
use std::os::fd::BorrowedFd;

use brigade_sys::kernel::memory;

use crate::session::{WINDOW_BYTES, WindowId};

/// Where it starts in the window.
const START: u64 = 1 << 30;
/// How many bytes can wait in it.
pub(super) const N_BYTES: u64 = WINDOW_BYTES - START;
/// For so many the kernel is not asked whether they were written: to read as many zeros harms nobody.
pub(crate) const FEW_BYTES: u64 = 1 << 20;
/// Memory is given back in pieces of this size: small enough not to matter, large enough to be rare.
const GIVE_BACK_BYTES: u64 = 1 << 20;
const PAGE_BYTES: u64 = 4096;

/// The log of one channel; position `p` lies at `p` modulo [`N_BYTES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Log<'a> {
    arena: BorrowedFd<'a>,
    window: WindowId,
}

impl<'a> Log<'a> {
    pub(super) const fn new(arena: BorrowedFd<'a>, window: WindowId) -> Self {
        Self { arena, window }
    }

    pub(super) fn write(self, position: u64, from: &[u8]) -> io::Result<()> {
        let (first, rest) = from.split_at(until_end(position, from.len()));
        memory::write_at(self.arena, self.offset_of(position), first)?;
        memory::write_at(self.arena, self.offset_of(0), rest)
    }

    pub(super) fn read(self, position: u64, into: &mut [u8]) -> io::Result<()> {
        let (first, rest) = into.split_at_mut(until_end(position, into.len()));
        memory::read_at(self.arena, self.offset_of(position), first)?;
        memory::read_at(self.arena, self.offset_of(0), rest)
    }

    /// Whether so many bytes were written at `position`: a record may say anything of its length, and what was not written
    /// takes no memory before it is read.
    pub(super) fn holds(self, position: u64, n_bytes: u64) -> bool {
        let n_first = n_bytes.min(N_BYTES - position % N_BYTES);
        memory::is_written(self.arena, self.offset_of(position), n_first)
            && memory::is_written(self.arena, self.offset_of(0), n_bytes - n_first)
    }

    /// Gives memory back whose records were taken: whole pieces, or all whole pages once the log is empty.
    pub(super) fn give_back(self, from: u64, to: u64, n_put: u64) {
        let is_empty = to == n_put;
        if from / GIVE_BACK_BYTES == to / GIVE_BACK_BYTES && !is_empty {
            return;
        }
        let start = from / GIVE_BACK_BYTES * GIVE_BACK_BYTES;
        // Past the very end of the log the rest stays allocated until the window is freed: once in a TiB.
        let end = (to / PAGE_BYTES * PAGE_BYTES).min((start / N_BYTES + 1) * N_BYTES);
        if end > start {
            // Should it fail, the pages stay allocated until the window is freed, and nothing else is lost.
            let _ = memory::give_back(self.arena, self.offset_of(start), end - start);
        }
    }

    fn offset_of(self, position: u64) -> u64 {
        self.window.offset() + START + position % N_BYTES
    }
}

fn until_end(position: u64, n_bytes: usize) -> usize {
    (N_BYTES - position % N_BYTES).min(n_bytes as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{WindowKind, session};

    #[test]
    fn a_record_across_the_end_of_the_log_comes_back_whole() {
        let session = session().unwrap();
        let log = Log::new(session.arena(), session.create_window(WindowKind::Queue).unwrap());
        let record: Vec<u8> = (0..100).collect();
        log.write(3 * N_BYTES - 40, &record).unwrap();
        let mut back = vec![0; 100];
        log.read(3 * N_BYTES - 40, &mut back).unwrap();
        assert_eq!(back, record);
    }

    #[test]
    fn memory_of_taken_records_is_given_back() {
        let session = session().unwrap();
        let log = Log::new(session.arena(), session.create_window(WindowKind::Queue).unwrap());
        let n_bytes = 8 << 20;
        log.write(5, &vec![1; n_bytes]).unwrap();
        let end = 5 + n_bytes as u64;
        assert!(log.holds(5, n_bytes as u64));
        log.give_back(5, end, end);
        let mut whole_pages = (0..n_bytes as u64).step_by(PAGE_BYTES as usize);
        assert!(whole_pages.all(|page| !log.holds(page, 1)));
    }
}
