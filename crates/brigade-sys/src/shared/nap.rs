//! How long a sleeper sleeps before it looks again at what it waits for, and when it gives up. What it looks at is known to those
//! who wait: lock.rs, flag.rs, permits.rs and their kin.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often a sleeper looks again at what it waits for. Neither a death nor a wake that was lost with a dying process delays
/// anybody longer than that.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

type Question = Rc<dyn Fn() -> bool>;

thread_local! {
    static IS_IN_VAIN: RefCell<Option<Question>> = const { RefCell::new(None) };
}

/// How long to sleep before looking again; `None` once the deadline has come, or the wait [is in vain](unless_in_vain).
#[must_use]
pub fn nap_before(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else {
        return Some(LOOK_EVERY);
    };
    // Taken out while it is asked, for it may wait for something itself.
    let question = IS_IN_VAIN.with_borrow(Clone::clone);
    if question.is_some_and(|is_in_vain| is_in_vain()) {
        return None;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.min(LOOK_EVERY))
}

/// Runs `wait`. Whatever waits in it with a deadline gives up, as if that had come, once `is_in_vain` says so; it is asked
/// before each nap. What waits without a deadline is not affected.
pub fn unless_in_vain<R>(is_in_vain: impl Fn() -> bool + 'static, wait: impl FnOnce() -> R) -> R {
    /// Puts back what was asked before, also when `wait` unwinds.
    struct Before(Option<Question>);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_IN_VAIN.set(self.0.take());
        }
    }
    let _before = Before(IS_IN_VAIN.replace(Some(Rc::new(is_in_vain))));
    wait()
}
