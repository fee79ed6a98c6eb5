//! `Semaphore`: a number of permits. Who holds how many is kept in brigade-sys, `shared/permits.rs`.

use std::time::{Duration, Instant};

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::shared::permits::{Hold, Permits};

use super::{LONGEST_CHANGE, OverRelease, STATE, deadline_after, handle, held, shared};
use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::{MAX_PARTICIPANTS, Session, WindowKind};

/// A number of permits between processes: who needs one that is taken waits.
///
/// A `Semaphore` is a handle, to be cloned and sent as a [`Queue`](crate::Queue) is. A permit belongs to the process that
/// acquired it. If that dies, its permits are there again, within a tenth of a second for those who wait.
/// A process that was stopped is alive: only a timeout helps. More cannot be released than were acquired.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let places = brigade::Semaphore::new(2)?;
/// let first = places.acquire();
/// places.acquire().keep(); // without a guard, to be released by hand
/// assert!(places.try_acquire().is_none());
/// drop(first);
/// places.release()?;
/// assert_eq!(places.available(), 2);
/// assert_eq!(places.release(), Err(brigade::OverRelease));
/// # Ok(())
/// # }
/// ```
pub struct Semaphore {
    handle: Handle,
}

handle!(Semaphore);

/// One permit of a [`Semaphore`], given back when this is dropped.
#[must_use = "the permit is given back as soon as this is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Semaphore {
    /// Makes a semaphore with so many permits, none of them taken.
    ///
    /// # Errors
    /// [`MemoryError`] if there is no memory for it; `EINVAL` if there are to be no permits, or more than 2³² − 1.
    pub fn new(n_permits: usize) -> Result<Self, MemoryError> {
        let Some(number) = u32::try_from(n_permits).ok().filter(|&number| number > 0) else {
            return Err(MemoryError::invalid("make a semaphore of that many permits"));
        };
        let permits = Permits::new(STATE, n_permits.min(MAX_PARTICIPANTS));
        let handle = Handle::create(WindowKind::Semaphore, STATE + permits.total_bytes(), |object| {
            permits.initialize(object.mapping(), number);
        })?;
        Ok(Self { handle })
    }

    /// Acquires a permit, waiting for as long as there is none.
    pub fn acquire(&self) -> Permit<'_> {
        self.acquire_until(None).expect("without a deadline a permit is always acquired")
    }

    /// Acquires a permit if there is one.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let (memory, census, permits) = self.state();
        let deadline = deadline_after(LONGEST_CHANGE);
        let n_left = permits.try_take(memory, census, deadline);
        n_left.map(|_| Permit { semaphore: self })
    }

    /// Acquires a permit, waiting at most for `timeout`; `None` if there was none in that time.
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.acquire_until(deadline_after(timeout))
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Option<Permit<'_>> {
        let (memory, census, permits) = self.state();
        permits.take(memory, census, deadline).then(|| Permit { semaphore: self })
    }

    /// Gives back a permit that this process [kept](Permit::keep).
    ///
    /// # Errors
    /// [`OverRelease`] if it keeps none.
    pub fn release(&self) -> Result<(), OverRelease> {
        let (memory, census, permits) = self.state();
        permits.give_back(memory, census, Hold::Kept).map_err(|_| OverRelease)
    }

    /// How many permits there are, taken or not.
    #[must_use]
    pub fn permits(&self) -> usize {
        let (memory, _, permits) = self.state();
        permits.n_permits(memory) as usize
    }

    /// How many permits could be acquired now.
    #[must_use]
    pub fn available(&self) -> usize {
        let (memory, census, permits) = self.state();
        permits.n_available(memory, census) as usize
    }

    fn state(&self) -> (&Mapping, &'static Session, Permits) {
        let (memory, census) = shared(&self.handle);
        (memory, census, permits_of(memory))
    }
}

/// The table of a semaphore, as large as there is room for in its window.
fn permits_of(memory: &Mapping) -> Permits {
    Permits::within(STATE, memory.n_bytes() - STATE)
}

impl std::fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Semaphore").field("permits", &self.permits()).field("available", &self.available()).finish()
    }
}

impl Permit<'_> {
    /// Keeps the permit without a guard: this process holds it until [`Semaphore::release`], or until it ends.
    pub fn keep(self) {
        let (memory, census, permits) = self.semaphore.state();
        if permits.keep(memory, census).is_ok() {
            std::mem::forget(self);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some((memory, census)) = held(&self.semaphore.handle) else { return };
        // It was acquired, so it can be given back; unless a broken process has written into the table.
        let _ = permits_of(memory).give_back(memory, census, Hold::Guarded);
    }
}

impl std::fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
