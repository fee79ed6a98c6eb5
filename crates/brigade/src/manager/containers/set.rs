//! `ManagedSet<T>`: a set in a manager's process.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{managed, sized};
use crate::manager::CallError;

managed! {
    /// A set in a manager's process, in ascending order. Made by [`Manager::set`](crate::Manager::set).
    ///
    /// # Example
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # brigade::init();
    /// let manager = brigade::Manager::start()?;
    /// let seen = manager.set::<String>()?;
    /// assert!(seen.insert("a".to_owned())?);
    /// assert!(!seen.insert("a".to_owned())?);
    /// assert!(seen.contains("a")?);
    /// # Ok(())
    /// # }
    /// ```
    ManagedSet<T>, BTreeSet<T>
}

sized!(ManagedSet<T>);

impl<T: Ord + Serialize + DeserializeOwned + 'static> ManagedSet<T> {
    /// Puts a value in; says whether it was not there before.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn insert(&self, value: T) -> Result<bool, CallError> {
        self.update(value, |set, value| set.insert(value))
    }

    /// Puts many values in at once.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        self.update(values.into_iter().collect::<Vec<_>>(), |set, values| set.extend(values))
    }

    /// Takes a value out; says whether it was there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn remove<Q>(&self, value: &Q) -> Result<bool, CallError>
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.update(value.to_owned(), |set, value: T| set.remove::<T>(&value))
    }

    /// Whether a value is there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn contains<Q>(&self, value: &Q) -> Result<bool, CallError>
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + ?Sized,
    {
        self.update(value.to_owned(), |set, value: T| set.contains::<T>(&value))
    }

    /// Takes the smallest value out; `None` if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn pop_first(&self) -> Result<Option<T>, CallError> {
        self.update((), |set, ()| set.pop_first())
    }

    /// Keeps only what is in `others` too.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn intersect_with(&self, others: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        self.update(others.into_iter().collect(), |set, others: BTreeSet<T>| set.retain(|value| others.contains(value)))
    }

    /// Takes out what is in `others`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn subtract(&self, others: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        self.update(others.into_iter().collect(), |set, others: Vec<T>| {
            for value in others {
                set.remove(&value);
            }
        })
    }

    /// Whether everything in the set is in `others` too.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_subset_of(&self, others: impl IntoIterator<Item = T>) -> Result<bool, CallError> {
        self.update(others.into_iter().collect(), |set, others: BTreeSet<T>| set.is_subset(&others))
    }

    /// Whether nothing in the set is in `others`.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn is_disjoint_from(&self, others: impl IntoIterator<Item = T>) -> Result<bool, CallError> {
        self.update(others.into_iter().collect(), |set, others: BTreeSet<T>| set.is_disjoint(&others))
    }
}

impl<T: Clone + Serialize + DeserializeOwned + 'static> ManagedSet<T> {
    /// A copy of the whole set as of one moment, for what a [`BTreeSet`] can do besides.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn snapshot(&self) -> Result<BTreeSet<T>, CallError>
    where
        T: Ord,
    {
        self.update((), |set, ()| set.clone())
    }
}
