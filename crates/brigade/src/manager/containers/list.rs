//! `ManagedList<T>`: a list in a manager's process.

use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{managed, sized};
use crate::manager::CallError;

managed! {
    /// A list in a manager's process. Made by [`Manager::list`](crate::Manager::list).
    ///
    /// Values can be handles, also to other objects of the same manager, or to this one. An index that is not there is no
    /// error: the list may have become shorter since the caller looked.
    ///
    /// # Example
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # brigade::init();
    /// let manager = brigade::Manager::start()?;
    /// let list = manager.list::<u32>()?;
    /// list.extend([3, 1, 2])?;
    /// list.sort()?;
    /// assert_eq!(list.get(0)?, Some(1));
    /// assert_eq!(list.slice(1..)?, [2, 3]);
    /// assert_eq!(list.get(3)?, None);
    /// # Ok(())
    /// # }
    /// ```
    ManagedList<T>, Vec<T>
}

sized!(ManagedList<T>);

impl<T: 'static> ManagedList<T> {
    /// Turns the order around.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn reverse(&self) -> Result<(), CallError> {
        self.update((), |list, ()| list.reverse())
    }

    /// Puts all into ascending order; equal ones stay as they are.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn sort(&self) -> Result<(), CallError>
    where
        T: Ord,
    {
        self.update((), |list, ()| list.sort())
    }

    /// Takes out all from index `len` on.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn truncate(&self, len: usize) -> Result<(), CallError> {
        self.update(len, |list, len| list.truncate(len))
    }
}

impl<T: Serialize + DeserializeOwned + 'static> ManagedList<T> {
    /// Puts a value at the end.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn push(&self, value: T) -> Result<(), CallError> {
        self.update(value, |list, value| list.push(value))
    }

    /// Takes the last value out; `None` if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn pop(&self) -> Result<Option<T>, CallError> {
        self.update((), |list, ()| list.pop())
    }

    /// Puts many values at the end at once.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        self.update(values.into_iter().collect::<Vec<_>>(), |list, values| list.extend(values))
    }

    /// Puts a value before the one at `index`, or at the end if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn insert(&self, index: usize, value: T) -> Result<(), CallError> {
        self.update((index, value), |list, (index, value)| list.insert(index.min(list.len()), value))
    }

    /// Puts another value in the place of the one at `index`, which it returns; without one it does nothing.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set(&self, index: usize, value: T) -> Result<Option<T>, CallError> {
        self.update((index, value), |list, (index, value)| {
            list.get_mut(index).map(|inside| std::mem::replace(inside, value))
        })
    }

    /// Takes the value at `index` out; `None` if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn remove(&self, index: usize) -> Result<Option<T>, CallError> {
        self.update(index, |list, index| (index < list.len()).then(|| list.remove(index)))
    }

    /// The index of the first value that equals this one.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn index_of(&self, value: T) -> Result<Option<usize>, CallError>
    where
        T: PartialEq,
    {
        self.update(value, |list, value| list.iter().position(|inside| *inside == value))
    }

    /// How many values equal this one.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn count(&self, value: T) -> Result<usize, CallError>
    where
        T: PartialEq,
    {
        self.update(value, |list, value| list.iter().filter(|inside| **inside == value).count())
    }
}

impl<T: Clone + Serialize + DeserializeOwned + 'static> ManagedList<T> {
    /// A copy of the value at `index`; `None` if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get(&self, index: usize) -> Result<Option<T>, CallError> {
        self.update(index, |list, index| list.get(index).cloned())
    }

    /// Copies of the values in a range; what is not there is left out.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Vec<T>, CallError> {
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index.saturating_add(1),
            Bound::Excluded(&index) => index,
            Bound::Unbounded => usize::MAX,
        };
        self.update((start, end), |list, (start, end)| {
            let end = end.min(list.len());
            list.get(start..end).map(<[T]>::to_vec).unwrap_or_default()
        })
    }

    /// Copies of all values as of one moment.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn snapshot(&self) -> Result<Vec<T>, CallError> {
        self.update((), |list, ()| list.clone())
    }

    /// Copies of the values, one call for each, so that the iteration sees what happens to the list meanwhile.
    ///
    /// It ends where the list ends when it comes there, or after an error.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, CallError>> + '_ {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let index = next.take()?;
            let value = self.get(index).transpose()?;
            next = value.is_ok().then_some(index + 1);
            Some(value)
        })
    }
}
