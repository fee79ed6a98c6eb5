//! Locks, semaphores, events, conditions and barriers between processes: what all of them have in common.
//! Each has a file of its own here for its public face; how the words change is in brigade-sys, in `shared/`.
//!
//! All are handles, counted as those of a queue are (object.rs), and all keep their state in one window. What a process holds is
//! marked as its own there, so that the others can give it back once the kernel says that the process has ended.

mod barrier;
mod condition;
mod errors;
mod event;
mod lock;
mod reentrant;
mod rw_lock;
mod semaphore;

use std::time::{Duration, Instant};

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::shared::census::Census;
use brigade_sys::shared::lock::{Acquired, Owner};

pub use self::barrier::{Barrier, BarrierBroken, BarrierError};
pub use self::condition::Condition;
pub use self::errors::{LockTimeoutError, OverRelease, OwnerDied, TryLockError};
pub use self::event::Event;
pub use self::lock::{Lock, LockGuard};
pub use self::reentrant::{ReentrantLock, ReentrantLockGuard};
pub use self::rw_lock::{ReadGuard, RwLock, WriteGuard};
pub use self::semaphore::{Permit, Semaphore};
use crate::object::Handle;
use crate::session::{Session, refuse_forked};

/// Where the state of an object begins in its window: behind the word that says how large it is.
const STATE: usize = 64;
/// How long a call that does not wait tolerates that another process is just changing the same words. That takes well under one
/// microsecond, unless the process was stopped meanwhile.
const LONGEST_CHANGE: Duration = Duration::from_millis(10);

impl Census for Session {
    fn me(&self) -> Owner {
        self.owner()
    }

    fn place(&self) -> usize {
        self.own_slot()
    }

    fn is_dead(&self, owner: Owner) -> bool {
        Self::is_dead(self, owner)
    }
}

/// The words of an object, and who is who among those that share them.
///
/// # Panics
/// In a process made by `fork()`: whatever it did would be done in its parent's name.
fn shared(handle: &Handle) -> (&Mapping, &'static Session) {
    held(handle).expect("this process was made by fork(), and what it has a copy of belongs to its parent")
}

/// The same for what is given up; `None` in a process made by `fork()`, where it was the parent who held it.
fn held(handle: &Handle) -> Option<(&Mapping, &'static Session)> {
    refuse_forked().ok().map(|()| (handle.object().mapping(), handle.object().session()))
}

/// What a call that takes a lock gives: the guard, or the guard within an error that tells of a death.
fn told_of_death<G>(acquired: Acquired, guard: G) -> Result<G, OwnerDied<G>> {
    match acquired {
        Acquired::Free => Ok(guard),
        Acquired::FromTheDead(_) => Err(OwnerDied(guard)),
    }
}

/// What a call gives that may come away without the lock: the same, or `otherwise`. `guard` is made only once the lock is taken,
/// since its drop gives the lock up.
fn guard_of<G, E>(taken: Option<Acquired>, otherwise: E, guard: impl FnOnce() -> G) -> Result<G, E>
where
    E: From<OwnerDied<G>>,
{
    match taken {
        Some(acquired) => Ok(told_of_death(acquired, guard())?),
        None => Err(otherwise),
    }
}

/// The end of a timeout that begins now; none where it is beyond what the clock can say.
fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// What every handle to an object can do: be cloned and sent.
macro_rules! handle {
    ($name:ident) => {
        impl $name {
            /// The counted handle, for a manager to hold.
            pub(crate) const fn handle(&self) -> &crate::object::Handle {
                &self.handle
            }
        }

        impl Clone for $name {
            /// Another handle to the same object.
            ///
            /// # Panics
            /// If there is no memory for counting the handle.
            fn clone(&self) -> Self {
                let handle =
                    self.handle.try_clone().expect("the page in which this handle is counted is there already");
                Self { handle }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::parcel::serialize_handle(&self.handle, std::any::type_name::<Self>(), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = std::any::type_name::<Self>();
                let kind = crate::session::WindowKind::$name;
                let handle = crate::parcel::deserialize_handle_to(kind, name, deserializer)?;
                Ok(Self { handle })
            }
        }
    };
}
use handle;
