//! `wait`: until one of several things is ready, be they pipes, queues or processes. What a thing's readiness is, the thing
//! knows; how a channel keeps those who wait for it is in brigade-sys (watch.rs).
//!
//! Each process has one doorbell in the session. Who waits announces on it, registers with every channel, looks at all things
//! once more, and sleeps: one futex, however many things. Who makes a channel ready takes the registrations and rings. The
//! supervisor rings for processes, the doorbell of its own process only, since nobody else can wait for them.

use std::time::{Duration, Instant};

use crate::channel::LOOK_EVERY;
use crate::endpoint::{Endpoint, why_gone};
use crate::pipe::{Duplex, Receiver};
use crate::process::Process;
use crate::queue::{Consumer, ManagedQueue, Queue};
use crate::session::{self, session};

/// How often somebody looks who has no doorbell, since there was no memory for one.
const LOOK_WITHOUT_DOORBELL_EVERY: Duration = Duration::from_millis(10);

/// Something that [`wait`] can wait for.
///
/// - A [`Receiver`], a [`Duplex`], a [`Queue`], a [`Consumer`], a [`ManagedQueue`], a [`JoinableQueue`](crate::JoinableQueue) or
///   a [`JoinableConsumer`](crate::JoinableConsumer) is ready when taking a value from it would not wait: a value is there, or
///   none can come any more.
/// - A [`Process`] is ready when it has ended.
pub trait Waitable: sealed::Source {}

pub(crate) mod sealed {
    /// What is known of a thing to wait for.
    pub trait Source {
        /// Whether it is ready now.
        fn is_ready(&self) -> bool;

        /// Sees to it that the doorbell of this process is rung once when that changes.
        fn watch(&self);
    }
}

/// Waits until at least one of `items` is ready, at most for `timeout`, and returns the indexes of all that are, in order.
///
/// Readiness is a hint: another thread or process may be faster. Without a timeout it waits as long as it takes; with
/// `Duration::ZERO` it only looks. An empty result means that the time was over, or that there was nothing to wait for. A
/// waiting process sleeps in the kernel and looks ten times a second whether those it waits for were killed.
///
/// # Example
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # brigade::init();
/// let queue = brigade::Queue::<u32>::bounded(1)?;
/// let (sender, receiver) = brigade::pipe::<u32>();
/// let process = brigade::spawn(sender, |sender| sender.send(1).is_ok())?;
/// assert_eq!(brigade::wait(&[&queue, &receiver], None), [1]);
/// assert_eq!(receiver.recv()?, 1);
/// assert_eq!(brigade::wait(&[&process], None), [0]);
/// # Ok(())
/// # }
/// ```
pub fn wait(items: &[&dyn Waitable], timeout: Option<Duration>) -> Vec<usize> {
    let look = || -> Vec<usize> { (0..items.len()).filter(|&idx| items[idx].is_ready()).collect() };
    let ready = look();
    if !ready.is_empty() || items.is_empty() {
        return ready;
    }
    // A deadline beyond what the clock can say is no deadline.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Vec::new();
        }
        let nap = left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        let ready = match session() {
            Ok(session) => {
                let (doorbell, memory) = session.own_doorbell();
                let ticket = doorbell.announce(memory);
                items.iter().for_each(|item| item.watch());
                let ready = look();
                if ready.is_empty() {
                    doorbell.sleep(memory, ticket, Some(nap));
                }
                ready
            }
            Err(_) => {
                std::thread::sleep(nap.min(LOOK_WITHOUT_DOORBELL_EVERY));
                Vec::new()
            }
        };
        let ready = if ready.is_empty() { look() } else { ready };
        if !ready.is_empty() {
            return ready;
        }
    }
}

/// Lets the threads of this process that wait for processes look again.
pub(crate) fn process_has_ended() {
    if let Some(session) = session::existing() {
        session.ring(session.own_slot());
    }
}

fn is_end_ready(end: &impl Endpoint) -> bool {
    end.handle().object().channel().is_readable() || why_gone(end).or_else(|| end.is_get_in_vain()).is_some()
}

/// Things whose readiness is that of a channel.
macro_rules! readable {
    ($($name:ident),*) => {$(
        impl<T> sealed::Source for $name<T> {
            fn is_ready(&self) -> bool {
                is_end_ready(self)
            }

            fn watch(&self) {
                self.handle().object().channel().watch();
            }
        }

        impl<T> Waitable for $name<T> {}
    )*};
}

readable!(Receiver, Queue, Consumer, ManagedQueue);

impl<A, B> sealed::Source for Duplex<A, B> {
    fn is_ready(&self) -> bool {
        self.receiver().is_ready()
    }

    fn watch(&self) {
        self.receiver().watch();
    }
}

impl<A, B> Waitable for Duplex<A, B> {}

impl<R> sealed::Source for Process<R> {
    fn is_ready(&self) -> bool {
        // In a process made by `fork()` nobody hears of its end: there every status is lost, at once.
        !self.is_alive() || session::refuse_forked().is_err()
    }

    fn watch(&self) {}
}

impl<R> Waitable for Process<R> {}
