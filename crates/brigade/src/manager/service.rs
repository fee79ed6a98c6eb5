//! `Service<S>`: an object of the user's own in a manager's process. How a call gets there is in client.rs.

use std::any::type_name;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::client::Link;
use super::errors::CallError;
use super::line::Line;
use super::request::{Deadline, Kind, Order};
use super::server::{put_state, with_state};
use crate::entry::EntryPoint;
use crate::parcel::Parcel;

/// An object that lives in a manager's process, where functions are called with it. Made by
/// [`Manager::service`](crate::Manager::service).
///
/// A `Service` is a handle: clone it, send it to any process. Calls are made one at a time, in the order in which they
/// arrive, so each is atomic. Calls of other objects do not wait for it. The object lives until the manager ends, or until
/// no handle is left by which it could be reached.
///
/// A caller that is killed in the midst of a call disturbs nobody; its call is made, or not. A function that panics is its
/// caller's error, and the object takes no more calls ([`CallError::Poisoned`]). One that ends the process (`exit`, a stack
/// that overflows, a panic in a program built with `panic=abort`) ends the manager.
///
/// A function may call other objects of the same manager. Where that would wait for itself, it is
/// [`CallError::WouldDeadlock`].
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let manager = brigade::Manager::start()?;
/// let account = manager.service(100_i64, |balance| balance)?;
/// let spender = brigade::spawn(account.clone(), |account| account.call(30, |balance, amount| *balance -= amount))?;
/// spender.join()??;
/// assert_eq!(account.call((), |balance, ()| *balance)?, 70);
/// # Ok(())
/// # }
/// ```
pub struct Service<S> {
    object: Line,
    link: Link,
    timeout: Option<Duration>,
    state: PhantomData<fn(S) -> S>,
}

impl<S: 'static> Service<S> {
    /// Calls a function with the object and `args` in the manager's process, and waits for what it returns.
    ///
    /// The function is a `fn` item or a closure that captures nothing, as for [`spawn`](crate::spawn): everything it needs
    /// is in `args`. Nothing else happens to the object meanwhile.
    ///
    /// # Errors
    /// [`CallError`]. After `Panicked`, `EncodeResult`, `DecodeResult` and `Memory` the call may have changed the object.
    pub fn call<A, R, F>(&self, args: A, function: F) -> Result<R, CallError>
    where
        F: Fn(&mut S, A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.ask(Kind::Call, args, move |args: A| with_state(|state| function(state, args)))
    }
}

impl<S: Send + 'static> Service<S> {
    /// Makes the object in the manager's process.
    pub(super) fn make<A, F>(link: Link, args: A, function: F) -> Result<Self, CallError>
    where
        F: Fn(A) -> S + Copy + 'static,
        A: Serialize + DeserializeOwned,
    {
        let service = Self { object: Line::anchor()?, link, timeout: None, state: PhantomData };
        service.ask(Kind::Make, args, move |args: A| put_state(function(args)))?;
        Ok(service)
    }
}

impl<S> Service<S> {
    /// The same handle, whose calls wait at most for `timeout` each, and then fail with [`CallError::TimedOut`].
    ///
    /// A call that has not begun by then will not begin; one that has begun runs to its end, and its result is dropped.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self.clone() }
    }

    fn ask<A, R, F>(&self, kind: Kind, args: A, _function: F) -> Result<R, CallError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let entry = EntryPoint::of::<F, A, R>().map_err(|_| CallError::NotInMainProgram)?;
        let arguments = Parcel::pack(&args).map_err(CallError::Encode)?;
        // Only now may the caller's own handles go: those in the parcel are counted.
        drop(args);
        let deadline = Deadline::after(self.timeout);
        let order = Order { kind, object: &self.object.0, entry: Some(entry), arguments, deadline };
        self.link.call(order)?.unpack().map_err(CallError::DecodeResult)
    }

    /// Serializes the handle under the name of the type that has it inside.
    pub(super) fn serialize_in<Z: Serializer>(&self, type_name: &str, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let Self { object, link, timeout, .. } = self;
        (object.sent_in(type_name), link.requests.sent_in(type_name), &link.manager, timeout).serialize(serializer)
    }
}

impl<S> Clone for Service<S> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), link: self.link.clone(), timeout: self.timeout, state: PhantomData }
    }
}

impl<S> std::fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("of", &type_name::<S>())
            .field("manager", &self.link.manager)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S> Serialize for Service<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.serialize_in(type_name::<Self>(), serializer)
    }
}

impl<'de, S> Deserialize<'de> for Service<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (object, requests, manager, timeout) = Deserialize::deserialize(deserializer)?;
        Ok(Self { object, link: Link { requests, manager }, timeout, state: PhantomData })
    }
}
