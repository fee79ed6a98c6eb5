//! `Event`: a flag that processes set, clear and wait for. The word is in brigade-sys, `shared/flag.rs`.

use std::time::{Duration, Instant};

use brigade_sys::shared::flag::Flag;

use super::{STATE, deadline_after, handle, shared};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::WindowKind;

const FLAG: Flag = Flag::at(STATE);

/// A flag between processes, clear when made.
///
/// An `Event` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. Nobody owns it, so the death of a process
/// that waited for it, or was just setting it, disturbs nobody.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let ready = brigade::Event::new()?;
/// let process = brigade::spawn(ready.clone(), |ready| ready.set())?;
/// ready.wait();
/// assert!(ready.is_set());
/// process.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Event {
    handle: Handle,
}

handle!(Event);

impl Event {
    /// Makes an event that is clear.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it.
    pub fn new() -> Result<Self, MemoryError> {
        Ok(Self { handle: Handle::create(WindowKind::Event, STATE * 2, |_| {})? })
    }

    /// Whether it is set. Never waits.
    #[must_use]
    pub fn is_set(&self) -> bool {
        FLAG.is_set(shared(&self.handle).0)
    }

    /// Sets it: all who wait go on, and later waits return at once until it is cleared. Never waits.
    pub fn set(&self) {
        FLAG.set(shared(&self.handle).0);
    }

    /// Clears it. Never waits.
    pub fn clear(&self) {
        FLAG.clear(shared(&self.handle).0);
    }

    /// Waits until it is set. A wait that has begun ends even if the event is cleared again at once.
    pub fn wait(&self) {
        let is_set = self.wait_until(None);
        debug_assert!(is_set, "without a deadline a wait ends when the event is set");
    }

    /// Waits until it is set, at most for `timeout`. Whether it was set in that time.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(deadline_after(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        FLAG.wait(shared(&self.handle).0, deadline)
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish()
    }
}
