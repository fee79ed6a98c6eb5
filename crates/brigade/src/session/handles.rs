//! Who has handles to an object: counted one by one in a row for each process, and asked for without adding all rows up.
//! What a handle is, and what follows from there being none, is in object.rs.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

use brigade_sys::kernel::memory;
use brigade_sys::shared::bytes::SharedBytes;

use super::ids::{COUNT_MASK, ONE_GETTER, ONE_PIN};
use super::{EPOCHS, Ends, PAGE_BYTES, ROW_BYTES, ROWS, Session, WindowId, state};
use crate::error::MemoryError;

/// Which handles are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Holders {
    Any,
    Putters,
    Getters,
}

impl Holders {
    const fn count(self, row: u64) -> u64 {
        match self {
            // Pins count too: what is pinned is in use.
            Self::Any => (row & COUNT_MASK) + ((row / ONE_GETTER) & COUNT_MASK) + row / ONE_PIN,
            Self::Putters => row & COUNT_MASK,
            Self::Getters => (row / ONE_GETTER) & COUNT_MASK,
        }
    }

    /// Whether a handle with these ends is meant.
    pub(crate) const fn include(self, ends: Ends) -> bool {
        match self {
            Self::Any => true,
            Self::Putters => ends.can_put(),
            Self::Getters => ends.can_get(),
        }
    }
}

/// Where a handle of the asked kind was found last: the place to look first.
#[derive(Debug, Default)]
pub(crate) struct LastSeen(AtomicU16);

impl Session {
    /// Counts one more handle of this process.
    pub(crate) fn add_handle(&self, window: WindowId, ends: Ends) -> Result<(), MemoryError> {
        self.allocate_row_page(window)?;
        // Before the count grows: pairs with the loads in `epoch`.
        self.epoch_word(window).fetch_add(1, Ordering::SeqCst);
        self.row_word(self.me.slot, window).fetch_add(ends.count(), Ordering::SeqCst);
        Ok(())
    }

    /// Counts one handle of this process less, and calls `afterwards` while the window is still sure to be there.
    pub(crate) fn remove_handle(&self, window: WindowId, ends: Ends, afterwards: impl FnOnce()) {
        let row = self.row_word(self.me.slot, window);
        // One step, so that at no moment there is neither.
        row.fetch_add(ONE_PIN.wrapping_sub(ends.count()), Ordering::SeqCst);
        afterwards();
        row.fetch_sub(ONE_PIN, Ordering::SeqCst);
    }

    fn allocate_row_page(&self, window: WindowId) -> Result<(), MemoryError> {
        let page_idx = window.index as usize * 8 / PAGE_BYTES;
        let (word, bit) = (&self.row_pages[page_idx / 64], 1 << (page_idx % 64));
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let offset = ROWS + usize::from(self.me.slot) * ROW_BYTES + page_idx * PAGE_BYTES;
        memory::allocate(&self.arena, offset as u64, PAGE_BYTES as u64)
            .map_err(|error| MemoryError::new("allocate the handle counts of this process", &error))?;
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }

    fn epoch_word(&self, window: WindowId) -> &AtomicU32 {
        self.directory.word32(EPOCHS + window.index as usize * 4)
    }

    /// Grows before any count of handles to this window does. What was looked at between two equal epochs, and shows no
    /// handle, shows it as of one moment. A handle only ever comes from another handle, which is dropped later: so if one
    /// moment shows none, there is none for good.
    pub(crate) fn epoch(&self, window: WindowId) -> u32 {
        fence(Ordering::SeqCst);
        self.epoch_word(window).load(Ordering::SeqCst)
    }

    /// Whether living processes have more than `n_known` handles of a kind. `true` holds as of some moment during the call;
    /// `false` only if the epoch is the same before and after.
    ///
    /// The answer is mostly found in the row of this process or in the one where it was found last; all rows are looked at
    /// only when handles were dropped.
    pub(crate) fn has_more_handles_than(
        &self,
        n_known: u64,
        window: WindowId,
        holders: Holders,
        last_seen: &LastSeen,
    ) -> bool {
        let n_used = self.n_slots_used();
        let (me, first) = (self.me.slot, last_seen.0.load(Ordering::Relaxed));
        let others = (0..n_used).filter(|&slot| slot != me && slot != first);
        let mut n_found = 0;
        for slot in [me].into_iter().chain((first != me && first < n_used).then_some(first)).chain(others) {
            n_found += self.n_handles_of(slot, window, holders);
            if n_found > n_known {
                last_seen.0.store(slot, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    /// How many handles a participant has; none if it is dead.
    fn n_handles_of(&self, slot: u16, window: WindowId, holders: Holders) -> u64 {
        let word = self.participant(slot).load(Ordering::Acquire);
        if word & state::MASK == state::FREE {
            return 0;
        }
        match holders.count(self.row_word(slot, window).load(Ordering::SeqCst)) {
            0 => 0,
            // Only now the kernel is asked, which takes a system call.
            n_handles if self.is_slot_alive(slot, word) => n_handles,
            _ => 0,
        }
    }

    /// Whether this process has any handle of a kind.
    pub(crate) fn has_own_handles(&self, window: WindowId, holders: Holders) -> bool {
        holders.count(self.row_word(self.me.slot, window).load(Ordering::SeqCst)) != 0
    }
}
