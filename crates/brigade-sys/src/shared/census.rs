//! What the structures in shared bytes ask about processes: who is calling, and whether another still lives. How that is
//! found out is not known here.

use std::time::Instant;

use super::bytes::SharedBytes;
use super::lock::{OwnedLock, Owner};
pub use super::nap::{LOOK_EVERY, nap_before};

/// Who is who among the processes that share some bytes.
pub trait Census {
    /// The caller.
    fn me(&self) -> Owner;
    /// The caller's place among the processes: a small number that no other living process has.
    fn place(&self) -> usize;
    /// Whether a process has ended. Takes a system call; the answer "yes" is for good.
    fn is_dead(&self, owner: Owner) -> bool;
}

/// The owner in the upper half of a word whose lower half is a number that belongs to it.
pub(super) fn owned_number(word: u64) -> (Option<Owner>, u32) {
    (Owner::from_number((word >> 32) as u32), word as u32)
}

/// The counterpart of [`owned_number`].
pub(super) const fn to_owned_number(owner: Owner, number: u32) -> u64 {
    (owner.number() as u64) << 32 | number as u64
}

/// Runs `work` under a lock whose state is whole at every instant, so that a dead owner leaves nothing to repair. `None` if the
/// lock was not free before the deadline: its owner was stopped.
pub(super) fn exclusively<M: SharedBytes, T>(
    lock: OwnedLock,
    memory: &M,
    census: &impl Census,
    deadline: Option<Instant>,
    work: impl FnOnce() -> T,
) -> Option<T> {
    lock.lock(memory, census.me(), |owner| census.is_dead(owner), deadline).ok()?;
    let result = work();
    lock.unlock(memory);
    Some(result)
}
