//! Tells barriers of those who died with a handle to them, before they are forgotten. What a barrier makes of it is in
//! sync/barrier.rs.

use std::sync::atomic::Ordering;

use brigade_sys::kernel::memory;

use super::{KIND_MASK, Session, WindowId, WindowKind, state};

/// The byte in a barrier's window that tells of a death.
pub(crate) const BARRIER_DEATHS: u64 = 68;

impl Session {
    /// Tells all barriers to which a dead process had a handle.
    pub(super) fn tell_barriers_of(&self, slot: u16) {
        for (window, word) in self.window_words() {
            if word & KIND_MASK == WindowKind::Barrier as u64 && self.has_handle(slot, window) {
                self.tell_death(window);
            }
        }
    }

    /// Tells a barrier of those who died with a handle to it and were not yet forgotten.
    pub(crate) fn tell_of_dead_holders(&self, barrier: WindowId) {
        let n_used = self.n_slots_used();
        let is_dead_holder = |&slot: &u16| {
            let word = self.participant(slot).load(Ordering::Acquire);
            word & state::MASK != state::FREE && self.has_handle(slot, barrier) && !self.is_slot_alive(slot, word)
        };
        if (0..n_used).any(|slot| is_dead_holder(&slot)) {
            self.exclusively(|| {
                for slot in (0..n_used).filter(is_dead_holder) {
                    self.tell_death(barrier);
                    // Once is enough. The reaper frees what else it held.
                    self.row_word(slot, barrier).store(0, Ordering::SeqCst);
                }
            });
        }
    }

    /// Tells a barrier that a process died which belonged to it.
    pub(crate) fn tell_death(&self, barrier: WindowId) {
        // The page was allocated when the barrier was made, so this has no reason to fail.
        let _ = memory::write_at(&self.arena, barrier.offset() + BARRIER_DEATHS, &[1]);
    }

    fn has_handle(&self, slot: u16, window: WindowId) -> bool {
        self.row_word(slot, window).load(Ordering::SeqCst) != 0
    }
}
