//! Deaths of those who change shared values: the value is the old one or the new one, and the next change goes through.
#![forbid(unsafe_code)]

use brigade::{Shared, SharedMutex};

use crate::campaign::{Death, Fault, Scenario};

/// A value that is torn unless all its parts are equal.
type Parts = [u64; 24];

fn next(parts: Parts) -> Parts {
    parts.map(|part| part + 1)
}

/// The value must be whole, and have changed if the change was completed. The rounds before have left `before`.
fn whole(parts: &Parts) -> Result<u64, Fault> {
    if parts.iter().all(|part| *part == parts[0]) { Ok(parts[0]) } else { Err(format!("torn: {parts:?}").into()) }
}

fn changed_if(is_completed: bool, parts: &Parts) -> Result<(), Fault> {
    match whole(parts)? {
        101 => Ok(()),
        100 if !is_completed => Ok(()),
        other => Err(format!("100 became {other}").into()),
    }
}

/// A change of a shared value.
pub struct SharedUpdate;

impl Scenario for SharedUpdate {
    const NAME: &'static str = "shared: update";
    type Shared = Shared<Parts>;
    type Ready<'a> = ();

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok(Shared::new([100; 24])?)
    }

    fn prepare(shared: &Self::Shared, _round: u64) -> Result<(), Fault> {
        shared.store([100; 24]);
        Ok(())
    }

    fn arrive(_shared: &Self::Shared, _round: u64) -> Result<(), Fault> {
        Shared::new([1; 24])?.update(next);
        Ok(())
    }

    fn act(shared: &Self::Shared, (): ()) -> Result<(), Fault> {
        shared.update(next);
        Ok(())
    }

    fn check(shared: &Self::Shared, death: &Death) -> Result<(), Fault> {
        changed_if(death.is_completed, &shared.load())?;
        shared.store([7; 24]);
        shared.update(next);
        if whole(&shared.load())? == 8 { Ok(()) } else { Err("the next change is lost".into()) }
    }
}

/// A change behind a lock.
pub struct MutexCommit;

impl Scenario for MutexCommit {
    const NAME: &'static str = "shared mutex: lock, commit";
    type Shared = SharedMutex<Parts>;
    type Ready<'a> = ();

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok(SharedMutex::new([100; 24])?)
    }

    fn prepare(mutex: &Self::Shared, _round: u64) -> Result<(), Fault> {
        *mutex.lock()? = [100; 24];
        Ok(())
    }

    fn arrive(_mutex: &Self::Shared, _round: u64) -> Result<(), Fault> {
        change(&SharedMutex::new([1; 24])?)
    }

    fn act(mutex: &Self::Shared, (): ()) -> Result<(), Fault> {
        change(mutex)
    }

    fn check(mutex: &Self::Shared, death: &Death) -> Result<(), Fault> {
        changed_if(death.is_completed, &mutex.load())?;
        *mutex.lock()? = [7; 24];
        change(mutex)?;
        if whole(&mutex.load())? == 8 { Ok(()) } else { Err("the next change is lost".into()) }
    }
}

/// Two steps, between which the private copy is torn.
fn change(mutex: &SharedMutex<Parts>) -> Result<(), Fault> {
    let mut parts = mutex.lock()?;
    parts[0] += 1;
    for idx in 1..parts.len() {
        parts[idx] = parts[0];
    }
    Ok(())
}
