//! Collections in a manager's process: thin types over [`Service`], with the names of Python's where they have one.
//! Each call is one message and its answer, and atomic; for several steps at once there is `update`.

mod dict;
mod list;
mod set;
mod value;

pub use self::dict::ManagedDict;
pub use self::list::ManagedList;
pub use self::set::ManagedSet;
pub use self::value::ManagedValue;

/// Defines the handle to a collection: what is inside, and what all of them can do.
macro_rules! managed {
    ($(#[$meta:meta])* $name:ident<$($value:ident),+>, $state:ty) => {
        $(#[$meta])*
        pub struct $name<$($value),+> {
            service: crate::manager::Service<$state>,
        }

        impl<$($value),+> $name<$($value),+> {
            pub(in crate::manager) const fn over(service: crate::manager::Service<$state>) -> Self {
                Self { service }
            }

            /// The same handle, whose calls wait at most for `timeout` each, and then fail with
            /// [`CallError::TimedOut`](crate::CallError::TimedOut).
            #[must_use]
            pub fn timeout(&self, timeout: std::time::Duration) -> Self {
                Self { service: self.service.timeout(timeout) }
            }
        }

        impl<$($value: 'static),+> $name<$($value),+> {
            /// Calls a function with what is inside and `args`, in the manager's process: nothing else happens to it
            /// meanwhile. The function captures nothing; everything it needs is in `args`.
            ///
            /// # Errors
            /// [`CallError`](crate::CallError). If the function panics this object takes no more calls.
            pub fn update<A, R, F>(&self, args: A, function: F) -> Result<R, crate::CallError>
            where
                F: Fn(&mut $state, A) -> R + Copy + 'static,
                A: serde::Serialize + serde::de::DeserializeOwned,
                R: serde::Serialize + serde::de::DeserializeOwned,
            {
                self.service.call(args, function)
            }
        }

        impl<$($value),+> Clone for $name<$($value),+> {
            fn clone(&self) -> Self {
                Self { service: self.service.clone() }
            }
        }

        impl<$($value),+> std::fmt::Debug for $name<$($value),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.service).finish()
            }
        }

        impl<$($value),+> serde::Serialize for $name<$($value),+> {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.service.serialize_in(std::any::type_name::<Self>(), serializer)
            }
        }

        impl<'de, $($value),+> serde::Deserialize<'de> for $name<$($value),+> {
            fn deserialize<Z: serde::Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                serde::Deserialize::deserialize(deserializer).map(Self::over)
            }
        }
    };
}

/// What every collection can do, whatever is in it.
macro_rules! sized {
    ($name:ident<$($value:ident),+>) => {
        impl<$($value: 'static),+> $name<$($value),+> {
            /// How many there are now.
            ///
            /// # Errors
            /// [`CallError`](crate::CallError).
            pub fn len(&self) -> Result<usize, crate::CallError> {
                self.update((), |inside, ()| inside.len())
            }

            /// Whether there are none now.
            ///
            /// # Errors
            /// [`CallError`](crate::CallError).
            pub fn is_empty(&self) -> Result<bool, crate::CallError> {
                self.update((), |inside, ()| inside.is_empty())
            }

            /// Takes all out.
            ///
            /// # Errors
            /// [`CallError`](crate::CallError).
            pub fn clear(&self) -> Result<(), crate::CallError> {
                self.update((), |inside, ()| inside.clear())
            }
        }
    };
}

use {managed, sized};
