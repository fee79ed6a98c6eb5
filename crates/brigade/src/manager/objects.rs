//! The objects that a manager holds, and whose turn it is: one call of an object at a time, in the order in which they came.
//! What a call does is in server.rs.
//!
//! | condition  | meaning                                   | left by                                                     |
//! |------------|-------------------------------------------|-------------------------------------------------------------|
//! | `Idle`     | nobody calls it                           | whoever is next in line: `Busy`, or `Granted` to a sleeper  |
//! | `Busy`     | a thread of ours has its state            | that thread: `Idle`, or `Poisoned` if the state is lost     |
//! | `Granted`  | a sleeping thread may take its state      | that thread: `Busy`                                         |
//! | `Poisoned` | a call panicked                           | never                                                       |
//! | `Held`     | it lies in shared memory, and has no calls | never                                                      |

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::errors::CallError;
use super::request::{Deadline, Request};
use crate::object::Handle;
use crate::session::WindowId;

/// What a service's functions see: whatever its maker returned.
pub(super) type State = Box<dyn Any + Send>;

/// What the thread that serves an object does next.
#[derive(Debug)]
pub(super) enum Turn {
    Run(State, Request),
    Refuse(Request),
}

#[derive(Debug)]
enum Condition {
    Idle(State),
    Busy(ThreadId),
    Granted(ThreadId, State),
    Poisoned,
    Held,
}

/// Who waits for an object.
#[derive(Debug)]
enum Waiter {
    Request(Request),
    /// A thread of this process, in the midst of a call of another object.
    Thread(ThreadId),
}

#[derive(Debug)]
struct Slot {
    /// Behind an `Arc`, so that it can be looked at without the lock and without being counted again.
    anchor: Arc<Handle>,
    condition: Condition,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<WindowId, Slot>,
    /// What each sleeping thread waits for.
    waits: HashMap<ThreadId, WindowId>,
    /// How many slots the last sweep left.
    n_left: usize,
}

#[derive(Debug, Default)]
pub(super) struct Objects {
    table: Mutex<Table>,
    granted: Condvar,
}

impl Objects {
    /// Takes an object in. Without a state it is one that lies in shared memory.
    pub(super) fn insert(&self, anchor: Handle, state: Option<State>) {
        let window = anchor.note().window;
        let condition = state.map_or(Condition::Held, Condition::Idle);
        let slot = Slot { anchor: Arc::new(anchor), condition, waiting: VecDeque::new() };
        let mut table = self.lock();
        table.slots.insert(window, slot);
        // Twice as many as were left: so sweeping takes a constant time for each object, however many there are.
        let is_due = table.slots.len() > 2 * table.n_left + 16;
        drop(table);
        if is_due {
            self.sweep();
        }
    }

    pub(super) fn contains(&self, window: WindowId) -> bool {
        self.lock().slots.contains_key(&window)
    }

    /// Puts a request in line. What it gives is for the calling thread to do.
    pub(super) fn begin(&self, request: Request) -> Option<Turn> {
        let mut table = self.lock();
        // Nobody asks for an object that is gone: it goes when there is no other handle to it.
        let slot = table.slots.get_mut(&request.object)?;
        slot.waiting.push_back(Waiter::Request(request));
        self.next_in(slot)
    }

    /// Ends the call that this thread was making, and begins the next.
    pub(super) fn end(&self, object: WindowId, state: Option<State>) -> Option<Turn> {
        let mut table = self.lock();
        let slot = table.slots.get_mut(&object)?;
        slot.condition = state.map_or(Condition::Poisoned, Condition::Idle);
        self.next_in(slot)
    }

    /// Begins the next call of an object that may be idle.
    pub(super) fn next(&self, object: WindowId) -> Option<Turn> {
        self.next_in(self.lock().slots.get_mut(&object)?)
    }

    fn next_in(&self, slot: &mut Slot) -> Option<Turn> {
        loop {
            match &slot.condition {
                Condition::Busy(_) | Condition::Granted(..) => return None,
                Condition::Idle(_) | Condition::Poisoned | Condition::Held => {}
            }
            let waiter = slot.waiting.pop_front()?;
            let holder = thread::current().id();
            match (waiter, std::mem::replace(&mut slot.condition, Condition::Poisoned)) {
                (Waiter::Request(request), before) if request.deadline.is_over() => slot.condition = before,
                (Waiter::Request(request), Condition::Idle(state)) => {
                    slot.condition = Condition::Busy(holder);
                    return Some(Turn::Run(state, request));
                }
                (Waiter::Thread(thread), Condition::Idle(state)) => {
                    slot.condition = Condition::Granted(thread, state);
                    self.granted.notify_all();
                }
                (Waiter::Request(request), before) => {
                    slot.condition = before;
                    return Some(Turn::Refuse(request));
                }
                (Waiter::Thread(_), before) => {
                    slot.condition = before;
                    self.granted.notify_all();
                }
            }
        }
    }

    /// Takes an object's state for a call by this thread, waiting for its turn. [`Self::end_here`] must follow.
    pub(super) fn begin_here(&self, object: WindowId, deadline: Deadline) -> Result<State, CallError> {
        let this = thread::current().id();
        let mut table = self.lock();
        let mut is_in_line = false;
        loop {
            let would_deadlock = table.would_deadlock(this, object);
            let slot = table.slots.get_mut(&object).ok_or(CallError::Poisoned)?;
            let is_mine = match &slot.condition {
                Condition::Idle(_) => slot.waiting.is_empty(),
                Condition::Granted(thread, _) => *thread == this,
                Condition::Busy(_) => false,
                Condition::Poisoned | Condition::Held => return Err(table.give_up(this, object, CallError::Poisoned)),
            };
            if is_mine {
                let before = std::mem::replace(&mut slot.condition, Condition::Busy(this));
                table.waits.remove(&this);
                let (Condition::Idle(state) | Condition::Granted(_, state)) = before else {
                    unreachable!("it was idle or granted two lines above, under the same lock");
                };
                return Ok(state);
            }
            if would_deadlock {
                return Err(table.give_up(this, object, CallError::WouldDeadlock));
            }
            if deadline.is_over() {
                return Err(table.give_up(this, object, CallError::TimedOut));
            }
            if !std::mem::replace(&mut is_in_line, true) {
                slot.waiting.push_back(Waiter::Thread(this));
                table.waits.insert(this, object);
            }
            table = self.sleep(table, deadline);
        }
    }

    fn sleep<'a>(&'a self, table: MutexGuard<'a, Table>, deadline: Deadline) -> MutexGuard<'a, Table> {
        match deadline.left() {
            None => self.granted.wait(table).unwrap_or_else(PoisonError::into_inner),
            Some(left) => self.granted.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Ends a call by this thread. Says whether others wait: it has its own call to go back to, so they are for another thread.
    pub(super) fn end_here(&self, object: WindowId, state: Option<State>) -> bool {
        let mut table = self.lock();
        let Some(slot) = table.slots.get_mut(&object) else { return false };
        slot.condition = state.map_or(Condition::Poisoned, Condition::Idle);
        !slot.waiting.is_empty()
    }

    /// Lets go of the objects to which nobody else has a handle: they cannot be reached any more.
    pub(super) fn sweep(&self) {
        let anchors: Vec<Arc<Handle>> = self.lock().slots.values().map(|slot| Arc::clone(&slot.anchor)).collect();
        // Without the lock, for it takes a while. What has become unreachable stays so.
        let unreachable: Vec<_> = anchors.iter().filter(|anchor| anchor.is_only_one()).collect();
        let mut table = self.lock();
        let mut gone = Vec::new();
        for anchor in unreachable {
            let window = anchor.note().window;
            let is_at_rest = table.slots.get(&window).is_some_and(Slot::is_at_rest);
            if is_at_rest {
                gone.extend(table.slots.remove(&window));
            }
        }
        table.n_left = table.slots.len();
        drop(table);
        // The states run code of the user when they are dropped: not under the lock, and a panic ends nothing.
        for slot in gone {
            let _ = crate::last_words::panics::catch(|| drop(slot));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code of the user runs under the lock, and the table is whole whenever ours could panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && !matches!(self.condition, Condition::Busy(_) | Condition::Granted(..))
    }
}

impl Table {
    /// Whether `thread`, if it waited for `object`, would wait for something that waits for it.
    fn would_deadlock(&self, thread: ThreadId, object: WindowId) -> bool {
        let mut next = Some(object);
        while let Some(object) = next {
            next = match self.slots.get(&object).map(|slot| &slot.condition) {
                Some(Condition::Busy(holder)) if *holder == thread => return true,
                Some(Condition::Busy(holder)) => self.waits.get(holder).copied(),
                _ => None,
            };
        }
        false
    }

    /// Takes a thread out of the line.
    fn give_up(&mut self, thread: ThreadId, object: WindowId, reason: CallError) -> CallError {
        self.waits.remove(&thread);
        if let Some(slot) = self.slots.get_mut(&object) {
            slot.waiting.retain(|waiter| !matches!(waiter, Waiter::Thread(other) if *other == thread));
        }
        reason
    }
}
