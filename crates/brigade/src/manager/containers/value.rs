//! `ManagedValue<T>`: one value in a manager's process.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::managed;
use crate::manager::CallError;

managed! {
    /// One value in a manager's process. Made by [`Manager::value`](crate::Manager::value).
    ///
    /// # Example
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # brigade::init();
    /// let manager = brigade::Manager::start()?;
    /// let total = manager.value(0_u64)?;
    /// let processes: Vec<_> = (1..=3_u64)
    ///     .map(|n| brigade::spawn((total.clone(), n), |(total, n)| total.update(n, |total, n| *total += n)))
    ///     .collect::<Result<_, _>>()?;
    /// for process in processes {
    ///     process.join()??;
    /// }
    /// assert_eq!(total.get()?, 6);
    /// # Ok(())
    /// # }
    /// ```
    ManagedValue<T>, T
}

impl<T: Serialize + DeserializeOwned + 'static> ManagedValue<T> {
    /// A copy of the value.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get(&self) -> Result<T, CallError>
    where
        T: Clone,
    {
        self.update((), |value, ()| value.clone())
    }

    /// Puts another value in its place.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set(&self, value: T) -> Result<(), CallError> {
        self.update(value, |inside, value| *inside = value)
    }

    /// Puts another value in its place and returns the one that was there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn replace(&self, value: T) -> Result<T, CallError> {
        self.update(value, std::mem::replace)
    }
}
