//! Workers that are given up because nobody can say when the kernel will end them: they wait for a device or a file system
//! that does not answer. Those that die are dealt with in staff.rs.

use std::sync::Arc;

use brigade_sys::kernel::fork;
use rustix::process::Signal;

use super::cell::Outcome;
use super::crew::Member;
use super::inner::Inner;
use super::state::{Harvest, Phase, State};

impl Inner {
    /// Gives a worker up. `false` if it runs no task.
    pub(super) fn abandon(self: &Arc<Self>, pid: u32) -> bool {
        if fork::is_forked() {
            return false;
        }
        let mut harvest = Harvest::default();
        let mut state = self.lock();
        let abandoned = state.abandon(pid, &mut harvest);
        let n_open = self.open.n_open() - harvest.ended.len();
        let is_needed = abandoned.is_some_and(|place_idx| {
            !state.places[place_idx].is_closed
                && (state.phase == Phase::Open || state.phase == Phase::Closed && n_open > 0)
        });
        state.give_out(&mut harvest);
        self.finish(state, harvest);
        if let Some(place_idx) = abandoned.filter(|_| is_needed) {
            self.hire_or_try_later(place_idx);
        }
        self.staff_changed.notify_all();
        abandoned.is_some()
    }
}

impl State {
    /// Empties the place of a worker, ends the task that it runs, and returns the place. `None` if it runs none.
    fn abandon(&mut self, pid: u32, harvest: &mut Harvest) -> Option<usize> {
        let works_here = |member: &Member| member.pid() == pid && pid != 0;
        let place_idx = self.places.iter().position(|place| place.member.as_ref().is_some_and(works_here))?;
        // First nothing else must be left for it to begin, and what it has done must be known.
        self.unload(place_idx);
        self.harvest_place(place_idx, harvest);
        let place = &mut self.places[place_idx];
        place.member.as_mut()?.running()?;
        let member = place.member.take()?;
        place.n_restarts += 1;
        self.n_lost += 1;
        if let Some(child) = &member.child {
            child.leave_behind();
        }
        if let Some(running) = self.take_over(member) {
            let killed = Outcome::Killed { signal: Signal::KILL.as_raw(), pid, out_of_memory: false, report: None };
            self.end(running, killed, pid, harvest);
        }
        self.rank(place_idx);
        Some(place_idx)
    }
}
