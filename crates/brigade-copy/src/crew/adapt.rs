//! Has as many workers at work as width.rs finds to do the most, whether they copy or compare.

use std::sync::MutexGuard;
use std::time::Duration;

use super::{Crew, Look, Width};
use crate::hands::Hands;
use crate::lanes::Lanes;

/// A run whose number of workers is found while it goes on.
pub(crate) trait Adapts {
    /// Who judges; `None` where the kernel does not tell how long workers wait.
    fn width(&mut self) -> &mut Option<Width>;

    /// What there is to see of the run now, where the workers were `busy` for so long.
    fn look(&mut self, lanes: &Lanes, busy: Duration) -> Look;

    /// Nearly all workers have something to do, and there is more.
    fn are_all_busy(&self) -> bool;

    /// From now on these workers are to be at work.
    fn set_hands(&mut self, hands: Hands);
}

impl Crew {
    /// Looks whether another number of workers does more, and has so many at work. Returns whether it is another.
    pub(crate) fn adapt<'a, C: Adapts + 'a>(&self, lock: impl Fn() -> MutexGuard<'a, C>) -> bool {
        let busy = self.busy();
        let mut run = lock();
        let Some(look) = busy.map(|busy| run.look(&self.lanes, busy)) else {
            *run.width() = None;
            return false;
        };
        let are_all_busy = run.are_all_busy();
        let wanted = run.width().as_mut().and_then(|width| width.judge(look, are_all_busy));
        drop(run);
        let Some(wanted) = wanted else { return false };
        self.widen(wanted);
        let n_in_pool = self.n_workers();
        let busy = self.busy().unwrap_or_default();
        let mut run = lock();
        let look = run.look(&self.lanes, busy);
        let n_workers = wanted.min(n_in_pool);
        run.set_hands(Hands::of_pool(n_workers, n_in_pool));
        if let Some(width) = run.width() {
            width.set(n_workers, look);
        }
        true
    }
}
