//! One value in a window, whole at every instant: what `Shared` and `SharedMutex` have in common. When it is locked and for
//! how long is decided there.
//!
//! ```text
//!   0  mapped_bytes u64
//!  64  lock u32
//! 128  the value: version, two copies (brigade-sys, value.rs)
//! ```

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use brigade_sys::kernel::memory::Mapping;
use brigade_sys::shared::lock::{OwnedLock, TimedOut};
use brigade_sys::shared::value::Value;
use bytemuck::Pod;

use crate::error::MemoryError;
use crate::object::Handle;
use crate::session::WindowKind;

const LOCK: OwnedLock = OwnedLock::at(64);
const VALUE: usize = 128;
/// How often a reader is overtaken by writers before it keeps them out.
const N_TRIES: usize = 16;
/// How long a reader waits to keep writers out before it tries again: a writer that was stopped holds the lock, but leaves
/// the value alone.
const LOCK_PATIENCE: Duration = Duration::from_millis(1);

/// A handle to one value.
#[derive(Debug)]
pub(super) struct Whole<T> {
    handle: Handle,
    value: PhantomData<fn(T) -> T>,
}

/// What a value of this type needs to have mapped; `None` if that is beyond any memory.
fn mapped_bytes<T>() -> Option<usize> {
    VALUE.checked_add(Value::total_bytes(size_of::<T>())?)
}

impl<T: Pod> Whole<T> {
    const VALUE: Value = Value::at(VALUE, size_of::<T>());

    pub(super) fn create(kind: WindowKind, value: &T) -> Result<Self, MemoryError> {
        let too_large = || MemoryError::new("share a value", &std::io::ErrorKind::OutOfMemory.into());
        let handle = Handle::create(kind, mapped_bytes::<T>().ok_or_else(too_large)?, |object| {
            Self::VALUE.store(object.mapping(), bytemuck::bytes_of(value));
        })?;
        Ok(Self { handle, value: PhantomData })
    }

    /// The value as of some moment during the call.
    pub(super) fn load(&self) -> T {
        let mut value = T::zeroed();
        loop {
            for _ in 0..N_TRIES {
                if Self::VALUE.load(self.mapping(), bytemuck::bytes_of_mut(&mut value)).is_ok() {
                    return value;
                }
            }
            if self.lock(Some(Instant::now() + LOCK_PATIENCE)).is_ok() {
                let value = self.load_locked();
                self.unlock();
                return value;
            }
        }
    }

    /// The value, for the one who holds the lock.
    pub(super) fn load_locked(&self) -> T {
        let mut value = T::zeroed();
        Self::VALUE.load_exclusive(self.mapping(), bytemuck::bytes_of_mut(&mut value));
        value
    }

    /// Replaces the value by one store. The caller holds the lock.
    pub(super) fn store_locked(&self, value: &T) {
        Self::VALUE.store(self.mapping(), bytemuck::bytes_of(value));
    }
}

impl<T> Whole<T> {
    /// The value behind a handle that has come from elsewhere.
    pub(super) fn arrived(handle: Handle, kind: WindowKind) -> Result<Self, &'static str> {
        let object = handle.object();
        let is_ours = object.kind() == kind && mapped_bytes::<T>() == Some(object.mapping().n_bytes());
        if is_ours { Ok(Self { handle, value: PhantomData }) } else { Err("what came is a handle to something else") }
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn mapping(&self) -> &Mapping {
        self.handle.object().mapping()
    }

    /// Takes the lock. Whether its last owner died with it makes no difference, since the value is whole.
    pub(super) fn lock(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let session = self.handle.object().session();
        LOCK.lock(self.mapping(), session.owner(), |owner| session.is_dead(owner), deadline).map(|_| ())
    }

    /// Takes the lock if nobody who lives holds it.
    pub(super) fn try_lock(&self) -> bool {
        let session = self.handle.object().session();
        LOCK.try_lock(self.mapping(), session.owner(), |owner| session.is_dead(owner)).is_some()
    }

    pub(super) fn unlock(&self) {
        LOCK.unlock(self.mapping());
    }
}

impl<T> Clone for Whole<T> {
    fn clone(&self) -> Self {
        let handle = self.handle.try_clone().expect("the page in which this handle is counted is there already");
        Self { handle, value: PhantomData }
    }
}

/// How a handle to a value, a structure around a `Whole`, is cloned, shown and sent.
macro_rules! handle_to_value {
    ($name:ident, $kind:ident) => {
        impl<T> Clone for $name<T> {
            /// Another handle to the same value.
            ///
            /// # Panics
            /// If there is no memory for counting the handle.
            fn clone(&self) -> Self {
                Self { whole: self.whole.clone() }
            }
        }

        impl<T> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl<T> serde::Serialize for $name<T> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::parcel::serialize_handle(self.whole.handle(), std::any::type_name::<Self>(), serializer)
            }
        }

        impl<'de, T> serde::Deserialize<'de> for $name<T> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let handle = crate::parcel::deserialize_handle(std::any::type_name::<Self>(), deserializer)?;
                let whole = Whole::arrived(handle, crate::session::WindowKind::$kind);
                whole.map(|whole| Self { whole }).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use handle_to_value;
