//! `ManagedDict<K, V>`: a dictionary in a manager's process.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{managed, sized};
use crate::manager::CallError;

managed! {
    /// A dictionary in a manager's process, in the order of its keys. Made by [`Manager::dict`](crate::Manager::dict).
    ///
    /// Values can be handles, also to other objects of the same manager, or to this one.
    ///
    /// # Example
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # brigade::init();
    /// let manager = brigade::Manager::start()?;
    /// let ages = manager.dict::<String, u32>()?;
    /// ages.insert("Ada".to_owned(), 36)?;
    /// assert_eq!(ages.get("Ada")?, Some(36));
    /// ages.update(("Ada".to_owned(), 1), |ages, (name, years)| *ages.entry(name).or_insert(0) += years)?;
    /// assert_eq!(ages.items()?, [("Ada".to_owned(), 37)]);
    /// # Ok(())
    /// # }
    /// ```
    ManagedDict<K, V>, BTreeMap<K, V>
}

sized!(ManagedDict<K, V>);

impl<K, V> ManagedDict<K, V>
where
    K: Ord + Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Sets the value of a key and returns the one it had.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>, CallError> {
        self.update((key, value), |dict, (key, value)| dict.insert(key, value))
    }

    /// Sets the values of many keys at once.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn extend(&self, items: impl IntoIterator<Item = (K, V)>) -> Result<(), CallError> {
        self.update(items.into_iter().collect::<Vec<_>>(), |dict, items| dict.extend(items))
    }

    /// Takes a key out and returns its value.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, CallError>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + ?Sized,
    {
        self.update(key.to_owned(), |dict, key: K| dict.remove::<K>(&key))
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, CallError>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + ?Sized,
    {
        self.update(key.to_owned(), |dict, key: K| dict.contains_key::<K>(&key))
    }

    /// Takes the first key out and returns it with its value; `None` if there is none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn pop_first(&self) -> Result<Option<(K, V)>, CallError> {
        self.update((), |dict, ()| dict.pop_first())
    }
}

impl<K, V> ManagedDict<K, V>
where
    K: Ord + Serialize + DeserializeOwned + 'static,
    V: Clone + Serialize + DeserializeOwned + 'static,
{
    /// A copy of the value of a key.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, CallError>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + ?Sized,
    {
        self.update(key.to_owned(), |dict, key: K| dict.get::<K>(&key).cloned())
    }

    /// A copy of the value of a key, which becomes `default` if it has none.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn set_default(&self, key: K, default: V) -> Result<V, CallError> {
        self.update((key, default), |dict, (key, default)| dict.entry(key).or_insert(default).clone())
    }

    /// Copies of all values, in the order of their keys, as of one moment.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn values(&self) -> Result<Vec<V>, CallError> {
        self.update((), |dict, ()| dict.values().cloned().collect())
    }
}

impl<K: Clone + Serialize + DeserializeOwned + 'static, V: 'static> ManagedDict<K, V> {
    /// Copies of all keys, in order, as of one moment.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn keys(&self) -> Result<Vec<K>, CallError> {
        self.update((), |dict, ()| dict.keys().cloned().collect())
    }

    /// Copies of all keys with their values, in order, as of one moment.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn items(&self) -> Result<Vec<(K, V)>, CallError>
    where
        V: Clone + Serialize + DeserializeOwned,
    {
        self.update((), |dict, ()| dict.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
