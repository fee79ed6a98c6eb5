//! Ranges of file offsets for items that are too large for a slot: found, written, read, given back. They are never mapped,
//! so a lack of memory is an error and not a SIGBUS. Which ranges are in use is known by the items alone (store.rs).

use std::io;
use std::os::fd::BorrowedFd;

use brigade_sys::kernel::memory;
use brigade_sys::shared::atomics::Ordering;
use brigade_sys::shared::bytes::SharedBytes;

use crate::channel::FEW_BYTES;
use crate::session::{WINDOW_BYTES, WindowId};

/// Where they begin in the window.
const START: u64 = 32 << 30;
/// How many bytes there are.
const N_BYTES: u64 = WINDOW_BYTES - START;
const PAGE_BYTES: u64 = 4096;

/// The extents of one queue. Two words in shared memory say where the gap is from which extents are taken now; they are changed
/// under the queue's lock only, and may be forgotten at any time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extents<'a> {
    arena: BorrowedFd<'a>,
    window: WindowId,
    gap: usize,
}

impl<'a> Extents<'a> {
    pub(super) const fn new(arena: BorrowedFd<'a>, window: WindowId, gap: usize) -> Self {
        Self { arena, window, gap }
    }

    /// What an extent for so many bytes takes up.
    pub(super) fn rounded(n_bytes: u64) -> Option<u64> {
        n_bytes.checked_next_multiple_of(PAGE_BYTES)
    }

    /// Finds room. `open` tells which ranges are in use; it is asked only when the present gap is used up.
    pub(super) fn allocate<M: SharedBytes>(
        self,
        memory: &M,
        n_bytes: u64,
        open: impl FnOnce() -> Vec<(u64, u64)>,
    ) -> Option<u64> {
        let (start_word, end_word) = (memory.word64(self.gap), memory.word64(self.gap + 8));
        let (mut start, mut end) = (start_word.load(Ordering::Relaxed), end_word.load(Ordering::Relaxed));
        let needed = Self::rounded(n_bytes)?;
        if end.checked_sub(start).is_none_or(|left| left < needed) || end > N_BYTES {
            (start, end) = next_gap(start, needed, open())?;
        }
        start_word.store(start + needed, Ordering::Relaxed);
        end_word.store(end, Ordering::Relaxed);
        Some(start)
    }

    /// After a death: forgets the gap, and gives back what an item that never came to be has left.
    pub(super) fn start_anew<M: SharedBytes>(self, memory: &M, open: Vec<(u64, u64)>) {
        memory.word64(self.gap).store(0, Ordering::Relaxed);
        memory.word64(self.gap + 8).store(0, Ordering::Relaxed);
        gaps_between(open).for_each(|(start, end)| self.give_back(start, end));
    }

    pub(super) fn write(self, start: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut offset = self.offset_of(start);
        for part in parts {
            memory::write_at(self.arena, offset, part)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Whether there can be so many bytes at `start`, both of which may be anything.
    pub(super) fn hold(self, start: u64, n_bytes: u64) -> bool {
        start.checked_add(n_bytes).is_some_and(|end| end <= N_BYTES)
            && (n_bytes <= FEW_BYTES || memory::is_written(self.arena, self.offset_of(start), n_bytes))
    }

    /// Reads what the extents [`hold`](Self::hold).
    pub(super) fn read(self, start: u64, parts: [&mut [u8]; 2]) -> io::Result<()> {
        let mut offset = self.offset_of(start);
        for part in parts {
            memory::read_at(self.arena, offset, part)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Gives memory back. Should it fail, the pages stay allocated until the window is freed, and nothing else is lost.
    pub(super) fn give_back(self, start: u64, end: u64) {
        let end = end.min(N_BYTES);
        if start < end {
            let _ = memory::give_back(self.arena, self.offset_of(start), end - start);
        }
    }

    const fn offset_of(self, position: u64) -> u64 {
        self.window.offset() + START + position
    }
}

/// The ranges that lie between those that are open.
fn gaps_between(mut open: Vec<(u64, u64)>) -> impl Iterator<Item = (u64, u64)> {
    open.push((N_BYTES, N_BYTES));
    open.sort_unstable();
    open.into_iter().scan(0, |reached, (start, end)| {
        let gap = (*reached, start);
        *reached = end.max(*reached);
        Some(gap)
    })
}

/// The next gap of the wanted size behind a position, or else the first of all.
fn next_gap(position: u64, needed: u64, open: Vec<(u64, u64)>) -> Option<(u64, u64)> {
    let is_enough = |&(start, end): &(u64, u64)| start.checked_add(needed).is_some_and(|needed_end| needed_end <= end);
    let gaps: Vec<(u64, u64)> = gaps_between(open).collect();
    let behind = gaps.iter().map(|&(start, end)| (start.max(position), end)).find(is_enough);
    behind.or_else(|| gaps.into_iter().find(is_enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_is_not_open() {
        let gaps: Vec<_> =
            gaps_between(vec![(8, 12), (0, 4), (12, 16), (20, 24)]).filter(|(start, end)| start < end).collect();
        assert_eq!(gaps, [(4, 8), (16, 20), (24, N_BYTES)]);
    }

    #[test]
    fn the_search_goes_on_behind_the_last_place_and_then_from_the_start() {
        let open = || vec![(0, 4), (8, 12), (20, N_BYTES - 2)];
        assert_eq!(next_gap(8, 4, open()), Some((12, 20)));
        assert_eq!(next_gap(14, 4, open()), Some((14, 20)));
        assert_eq!(next_gap(18, 4, open()), Some((4, 8)));
        assert_eq!(next_gap(0, 9, open()), None);
        assert_eq!(next_gap(0, 2, Vec::new()), Some((0, N_BYTES)));
    }
}
