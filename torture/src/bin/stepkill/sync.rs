//! Deaths of those who take, hold, give up or wait for what is in `brigade::sync`.
//!
//! What must hold: the next locker after a dead holder is told so, once; permits of the dead come back; whoever waits is answered.
#![forbid(unsafe_code)]

use std::time::Duration;

use brigade::{
    Barrier, Condition, Event, Lock, LockGuard, LockTimeoutError, OwnerDied, RwLock, Semaphore, SharedSlice,
};

use crate::campaign::{Death, Fault, Scenario};

/// Longer than anybody who goes on has to wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lock, and two numbers under it that are equal whenever nobody holds it.
type Guarded = (Lock, SharedSlice<u64>);

fn guarded() -> Result<Guarded, Fault> {
    Ok((Lock::new()?, SharedSlice::new(2)?))
}

/// The guard, and whether the last holder died with it.
fn take(lock: &Lock) -> Result<(LockGuard<'_>, bool), Fault> {
    match lock.lock_timeout(PATIENCE) {
        Ok(guard) => Ok((guard, false)),
        Err(LockTimeoutError::OwnerDied(guard)) => Ok((guard, true)),
        Err(error) => Err(format!("{error:?}").into()),
    }
}

/// What a holder does: between the two stores the numbers differ.
fn work_under(lock: &Lock, numbers: &SharedSlice<u64>) {
    let guard = lock.lock().unwrap_or_else(OwnerDied::into_inner);
    numbers.store(0, numbers.load(0) + 1);
    numbers.store(1, numbers.load(0));
    drop(guard);
}

/// The next locker mends what was left behind if it was told to, and finds nothing to mend if it was not.
fn check_lock((lock, numbers): &Guarded, may_be_dead: bool) -> Result<(), Fault> {
    let (guard, owner_died) = take(lock)?;
    let pair = numbers.read(0..2);
    if owner_died && !may_be_dead {
        return Err("the lock was given up, but counts as that of a dead holder".into());
    }
    if !owner_died && pair[0] != pair[1] {
        return Err(format!("nobody was told that {pair:?} was left behind").into());
    }
    numbers.store(1, pair[0]);
    drop(guard);
    let (_guard, owner_died) = take(lock)?;
    if owner_died { Err("the death was told twice".into()) } else { Ok(()) }
}

/// Taking a lock and giving it up.
pub struct LockAndUnlock;

impl Scenario for LockAndUnlock {
    const NAME: &'static str = "lock: take, hold, give up";
    type Shared = Guarded;
    type Ready<'a> = ();

    fn set_up() -> Result<Guarded, Fault> {
        guarded()
    }

    fn arrive((_, numbers): &Guarded, _round: u64) -> Result<(), Fault> {
        work_under(&Lock::new()?, numbers);
        Ok(())
    }

    fn act((lock, numbers): &Guarded, (): ()) -> Result<(), Fault> {
        work_under(lock, numbers);
        Ok(())
    }

    fn check(shared: &Guarded, death: &Death) -> Result<(), Fault> {
        check_lock(shared, !death.is_completed)
    }
}

/// Taking a lock from a dead holder: the recovery itself.
pub struct LockFromTheDead;

impl Scenario for LockFromTheDead {
    const NAME: &'static str = "lock: take from the dead";
    type Shared = Guarded;
    type Ready<'a> = ();

    fn set_up() -> Result<Guarded, Fault> {
        guarded()
    }

    fn prepare((lock, _): &Guarded, _round: u64) -> Result<(), Fault> {
        let (taken, is_taken) = (lock.clone(), Event::new()?);
        let holder = brigade::spawn((taken, is_taken.clone()), |(lock, is_taken): (Lock, Event)| {
            let _guard = lock.lock();
            is_taken.set();
            std::thread::park();
        })?;
        is_taken.wait();
        holder.kill();
        holder.wait();
        Ok(())
    }

    fn arrive((_, numbers): &Guarded, _round: u64) -> Result<(), Fault> {
        work_under(&Lock::new()?, numbers);
        Ok(())
    }

    fn act((lock, numbers): &Guarded, (): ()) -> Result<(), Fault> {
        work_under(lock, numbers);
        Ok(())
    }

    fn check(shared: &Guarded, death: &Death) -> Result<(), Fault> {
        check_lock(shared, !death.is_completed)
    }
}

/// The one who attends takes what is held once it is told so: until it sleeps, that is a matter of its waking up. It is a thread
/// of another process, and nothing tells of its sleep. If it comes later, one window is without a sleeper.
fn let_attendant_sleep() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Giving a lock up while somebody sleeps for it.
pub struct UnlockForSleeper;

impl Scenario for UnlockForSleeper {
    const NAME: &'static str = "lock: give up for a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = (Lock, Event);
    type Ready<'a> = LockGuard<'a>;

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok((Lock::new()?, Event::new()?))
    }

    fn arrive((lock, is_held): &Self::Shared, _round: u64) -> Result<LockGuard<'_>, Fault> {
        let guard = lock.lock().unwrap_or_else(OwnerDied::into_inner);
        is_held.set();
        let_attendant_sleep();
        Ok(guard)
    }

    fn act<'a>(_shared: &'a Self::Shared, guard: LockGuard<'a>) -> Result<(), Fault> {
        drop(guard);
        Ok(())
    }

    fn attend((lock, is_held): &Self::Shared) -> Result<u64, Fault> {
        is_held.wait();
        is_held.clear();
        Ok(u64::from(take(lock)?.1))
    }

    fn check(_shared: &Self::Shared, death: &Death) -> Result<(), Fault> {
        match death.attended {
            Some(0) => Ok(()),
            Some(_) if !death.is_completed => Ok(()),
            Some(_) => Err("the lock was given up, but counts as that of a dead holder".into()),
            None => Err("who slept for the lock of the dead sleeps on".into()),
        }
    }
}

/// Setting an event that somebody waits for.
pub struct EventSet;

impl Scenario for EventSet {
    const NAME: &'static str = "event: set for a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = Event;
    type Ready<'a> = ();

    fn set_up() -> Result<Event, Fault> {
        Ok(Event::new()?)
    }

    fn arrive(_event: &Event, _round: u64) -> Result<(), Fault> {
        Event::new()?.set();
        Ok(())
    }

    fn act(event: &Event, (): ()) -> Result<(), Fault> {
        event.set();
        Ok(())
    }

    fn attend(event: &Event) -> Result<u64, Fault> {
        event.wait();
        Ok(1)
    }

    fn dismiss(event: &Event) -> Result<(), Fault> {
        event.set();
        // Whoever attends next must find it clear; who attends now notices that it was set.
        event.clear();
        Ok(())
    }

    fn check(event: &Event, death: &Death) -> Result<(), Fault> {
        let is_set = event.is_set();
        event.clear();
        match death.attended {
            Some(_) if is_set => Ok(()),
            Some(_) => Err("somebody woke, but the event is not set".into()),
            None if is_set => Err("the event is set, and who waits for it sleeps on".into()),
            None if death.is_completed => Err("the event was set, and is not".into()),
            None => Ok(()),
        }
    }
}

/// Waiting for an event.
pub struct EventWait;

impl Scenario for EventWait {
    const NAME: &'static str = "event: wait, sleep and wake";
    const SLEEPS: bool = true;
    type Shared = Event;
    type Ready<'a> = ();

    fn set_up() -> Result<Event, Fault> {
        Ok(Event::new()?)
    }

    fn prepare(event: &Event, _round: u64) -> Result<(), Fault> {
        event.clear();
        Ok(())
    }

    fn arrive(_event: &Event, _round: u64) -> Result<(), Fault> {
        Event::new()?.wait_timeout(Duration::from_millis(1));
        Ok(())
    }

    fn act(event: &Event, (): ()) -> Result<(), Fault> {
        event.wait();
        Ok(())
    }

    fn relieve(event: &Event) -> Result<(), Fault> {
        event.set();
        Ok(())
    }

    fn check(event: &Event, death: &Death) -> Result<(), Fault> {
        if event.is_set() != death.is_relieved {
            return Err("a dead waiter changed the event".into());
        }
        event.set();
        if event.wait_timeout(PATIENCE) { Ok(()) } else { Err("nobody gets through".into()) }
    }
}

/// Taking a permit and giving it back.
pub struct PermitAndBack;

impl Scenario for PermitAndBack {
    const NAME: &'static str = "semaphore: acquire, release";
    type Shared = Semaphore;
    type Ready<'a> = ();

    fn set_up() -> Result<Semaphore, Fault> {
        Ok(Semaphore::new(2)?)
    }

    fn arrive(_semaphore: &Semaphore, _round: u64) -> Result<(), Fault> {
        drop(Semaphore::new(1)?.acquire());
        Ok(())
    }

    fn act(semaphore: &Semaphore, (): ()) -> Result<(), Fault> {
        drop(semaphore.acquire());
        Ok(())
    }

    fn check(semaphore: &Semaphore, _death: &Death) -> Result<(), Fault> {
        all_permits_are_back(semaphore)
    }
}

fn all_permits_are_back(semaphore: &Semaphore) -> Result<(), Fault> {
    let permits: Option<Vec<_>> = (0..semaphore.permits()).map(|_| semaphore.acquire_timeout(PATIENCE)).collect();
    let permits = permits.ok_or("a permit of the dead does not come back")?;
    if semaphore.try_acquire().is_some() {
        return Err("there is a permit more than there were".into());
    }
    drop(permits);
    if semaphore.available() == semaphore.permits() { Ok(()) } else { Err("permits are lost".into()) }
}

/// Giving a permit back while somebody sleeps for it.
pub struct PermitForSleeper;

impl Scenario for PermitForSleeper {
    const NAME: &'static str = "semaphore: release for a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = (Semaphore, Event);
    type Ready<'a> = brigade::Permit<'a>;

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok((Semaphore::new(1)?, Event::new()?))
    }

    fn arrive((semaphore, is_held): &Self::Shared, _round: u64) -> Result<brigade::Permit<'_>, Fault> {
        let permit = semaphore.acquire();
        is_held.set();
        let_attendant_sleep();
        Ok(permit)
    }

    fn act<'a>(_shared: &'a Self::Shared, permit: brigade::Permit<'a>) -> Result<(), Fault> {
        drop(permit);
        Ok(())
    }

    fn attend((semaphore, is_held): &Self::Shared) -> Result<u64, Fault> {
        is_held.wait();
        is_held.clear();
        drop(semaphore.acquire());
        Ok(1)
    }

    fn check((semaphore, _): &Self::Shared, death: &Death) -> Result<(), Fault> {
        if death.attended.is_none() {
            return Err("who slept for the permit of the dead sleeps on".into());
        }
        all_permits_are_back(semaphore)
    }
}

/// Reading and then writing under a lock for many readers or one writer.
pub struct ReadThenWrite;

impl Scenario for ReadThenWrite {
    const NAME: &'static str = "rwlock: read, write";
    type Shared = RwLock;
    type Ready<'a> = ();

    fn set_up() -> Result<RwLock, Fault> {
        Ok(RwLock::new()?)
    }

    fn arrive(_lock: &RwLock, _round: u64) -> Result<(), Fault> {
        let other = RwLock::new()?;
        Self::act(&other, ())
    }

    fn act(lock: &RwLock, (): ()) -> Result<(), Fault> {
        drop(lock.read().unwrap_or_else(OwnerDied::into_inner));
        drop(lock.write().unwrap_or_else(OwnerDied::into_inner));
        Ok(())
    }

    fn check(lock: &RwLock, death: &Death) -> Result<(), Fault> {
        match lock.write_timeout(PATIENCE) {
            Ok(guard) => drop(guard),
            Err(LockTimeoutError::OwnerDied(guard)) if !death.is_completed => drop(guard),
            Err(error) => return Err(format!("to write: {error:?}").into()),
        }
        let one = lock.read_timeout(PATIENCE).map_err(|error| format!("to read: {error:?}"))?;
        let other = lock.read_timeout(PATIENCE).map_err(|error| format!("to read beside another: {error:?}"))?;
        drop((one, other));
        lock.write_timeout(PATIENCE).map(drop).map_err(|error| format!("to write again: {error:?}").into())
    }
}

/// Telling one who waits at a condition.
pub struct NotifyForSleeper;

impl Scenario for NotifyForSleeper {
    const NAME: &'static str = "condition: notify a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = (Lock, Condition, SharedSlice<u64>);
    type Ready<'a> = ();

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok((Lock::new()?, Condition::new()?, SharedSlice::new(1)?))
    }

    fn arrive((_, condition, _): &Self::Shared, _round: u64) -> Result<(), Fault> {
        Condition::new()?.notify_one();
        while condition.n_waiting() == 0 {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn act((lock, condition, said): &Self::Shared, (): ()) -> Result<(), Fault> {
        let guard = lock.lock().unwrap_or_else(OwnerDied::into_inner);
        said.store(0, 1);
        condition.notify_one();
        drop(guard);
        Ok(())
    }

    fn attend((lock, condition, said): &Self::Shared) -> Result<u64, Fault> {
        let mut guard = lock.lock().unwrap_or_else(OwnerDied::into_inner);
        while said.load(0) == 0 {
            guard = condition.wait(guard).unwrap_or_else(OwnerDied::into_inner);
        }
        said.store(0, 0);
        drop(guard);
        Ok(1)
    }

    /// A notifier that dies between what it says and the notification has notified nobody, as with any condition.
    fn dismiss((lock, condition, said): &Self::Shared) -> Result<(), Fault> {
        let guard = lock.lock().unwrap_or_else(OwnerDied::into_inner);
        said.store(0, 1);
        condition.notify_all();
        drop(guard);
        Ok(())
    }

    fn check((lock, _, _): &Self::Shared, death: &Death) -> Result<(), Fault> {
        if death.is_completed && death.attended.is_none() {
            return Err("who was notified sleeps on".into());
        }
        drop(take(lock)?);
        Ok(())
    }
}

/// Coming to a barrier at which another party sleeps.
pub struct BarrierParty;

impl Scenario for BarrierParty {
    const NAME: &'static str = "barrier: come to a sleeper";
    const IS_ATTENDED: bool = true;
    type Shared = Barrier;
    type Ready<'a> = ();

    fn set_up() -> Result<Barrier, Fault> {
        Ok(Barrier::new(2)?)
    }

    fn arrive(_barrier: &Barrier, _round: u64) -> Result<(), Fault> {
        Barrier::new(1)?.wait()?;
        Ok(())
    }

    fn act(barrier: &Barrier, (): ()) -> Result<(), Fault> {
        barrier.wait()?;
        Ok(())
    }

    /// Comes through, or hears of the death.
    fn attend(barrier: &Barrier) -> Result<u64, Fault> {
        Ok(u64::from(barrier.wait().is_ok()))
    }

    fn check(barrier: &Barrier, death: &Death) -> Result<(), Fault> {
        barrier.reset();
        match death.attended {
            None => Err("who waits for the dead party sleeps on".into()),
            Some(0) if death.is_completed => Err("both came, but one was not let through".into()),
            Some(_) => Ok(()),
        }
    }
}
