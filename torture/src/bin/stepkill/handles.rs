//! Deaths of those who make, clone, send, receive and drop handles, and of those who start processes.
//!
//! What must hold: a handle that somebody can reach works; memory that nobody can reach is given back (the leak check at the end
//! of each scenario sees it); a process dies with its parent.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use brigade::{Queue, SharedSlice};
use torture::processes;

use crate::campaign::{Death, Fault, Scenario};

/// Queues that travel through a queue.
type Mail = Queue<Queue<u64>>;

fn read_all(mail: &Mail, round: u64) -> Result<usize, Fault> {
    let mut n_read = 0;
    while let Ok(letter) = mail.try_get() {
        if letter.try_get()? != round || !letter.is_empty() {
            return Err("a queue that arrived does not hold what was put".into());
        }
        letter.put(1)?;
        n_read += 1;
    }
    let own = Queue::bounded(2)?;
    own.put(3)?;
    mail.put(own.clone())?;
    drop(own);
    if mail.get()?.get()? == 3 { Ok(n_read) } else { Err("another queue came out".into()) }
}

/// A queue is made, filled, cloned, put into another queue, and dropped.
pub struct MakeAndSend;

impl Scenario for MakeAndSend {
    const NAME: &'static str = "handles: make, send, drop";
    type Shared = Mail;
    type Ready<'a> = u64;

    fn set_up() -> Result<Mail, Fault> {
        Ok(Queue::bounded(4)?)
    }

    fn arrive(_mail: &Mail, round: u64) -> Result<u64, Fault> {
        let mail = Queue::bounded(1)?;
        mail.put(Queue::<u64>::bounded(1)?)?;
        Ok(round)
    }

    fn act(mail: &Mail, round: u64) -> Result<(), Fault> {
        let letter = Queue::bounded(2)?;
        letter.put(round)?;
        mail.put(letter.clone())?;
        drop(letter);
        Ok(())
    }

    fn check(mail: &Mail, death: &Death) -> Result<(), Fault> {
        let n_read = read_all(mail, death.round)?;
        if n_read == 1 || n_read == 0 && !death.is_completed { Ok(()) } else { Err(format!("{n_read} came").into()) }
    }
}

/// A queue arrives in a message, is used, and dropped.
pub struct ReceiveAndDrop;

impl Scenario for ReceiveAndDrop {
    const NAME: &'static str = "handles: receive, use, drop";
    type Shared = Mail;
    type Ready<'a> = u64;

    fn set_up() -> Result<Mail, Fault> {
        Ok(Queue::bounded(4)?)
    }

    fn prepare(mail: &Mail, round: u64) -> Result<(), Fault> {
        let letter = Queue::bounded(2)?;
        letter.put(round)?;
        Ok(mail.put(letter)?)
    }

    fn arrive(_mail: &Mail, round: u64) -> Result<u64, Fault> {
        let mail = Queue::bounded(1)?;
        mail.put(Queue::<u64>::bounded(1)?)?;
        drop(mail.get()?);
        Ok(round)
    }

    fn act(mail: &Mail, round: u64) -> Result<(), Fault> {
        let letter = mail.get()?;
        if letter.get()? != round {
            return Err("another queue came out".into());
        }
        drop(letter);
        Ok(())
    }

    fn check(mail: &Mail, death: &Death) -> Result<(), Fault> {
        let n_read = read_all(mail, death.round)?;
        if n_read == 0 || n_read == 1 && !death.is_completed { Ok(()) } else { Err(format!("{n_read} left").into()) }
    }
}

/// What the children of victims are given: they hold it for as long as they live.
type Given = (Queue<u64>, SharedSlice<u64>);

fn start_child((queue, numbers): &Given) -> Result<(), Fault> {
    let child = brigade::spawn((queue.clone(), numbers.clone()), |(_queue, numbers): Given| {
        numbers.fetch_add(0, 1);
        std::thread::sleep(Duration::from_secs(60));
    })?;
    while numbers.load(0) == 0 && child.is_alive() {
        std::thread::yield_now();
    }
    Ok(())
}

/// No process is left of a victim's children, and what they held is let go.
fn check_children((queue, numbers): &Given) -> Result<(), Fault> {
    let start = Instant::now();
    while let Some(orphan) = processes::orphans().first() {
        if start.elapsed() > Duration::from_secs(2) {
            return Err(format!("process {} ({}) is left", orphan.pid, orphan.state).into());
        }
        // Orphans are no children of ours: nothing tells us of their end.
        std::thread::sleep(Duration::from_millis(1));
    }
    numbers.store(0, 0);
    queue.put(5)?;
    if queue.get()? != 5 {
        return Err("another item came out".into());
    }
    let child = brigade::spawn((queue.clone(), 7), |(queue, number): (Queue<u64>, u64)| queue.put(number).is_ok())?;
    if child.join()? && queue.get()? == 7 { Ok(()) } else { Err("another process cannot be started".into()) }
}

macro_rules! starts {
    ($name:ident, $called:literal, $thread:expr) => {
        impl Scenario for $name {
            const NAME: &'static str = $called;
            const THREAD: Option<&'static str> = $thread;
            type Shared = Given;
            type Ready<'a> = ();

            fn set_up() -> Result<Given, Fault> {
                Ok((Queue::bounded(2)?, SharedSlice::new(1)?))
            }

            fn arrive(_given: &Given, _round: u64) -> Result<(), Fault> {
                Ok(brigade::spawn((), |()| ())?.join()?)
            }

            fn act(given: &Given, (): ()) -> Result<(), Fault> {
                start_child(given)
            }

            fn check(given: &Given, _death: &Death) -> Result<(), Fault> {
                check_children(given)
            }
        }
    };
}

/// The thread that asks for a process.
pub struct StartAsked;
starts!(StartAsked, "process: start, who asks", None);

/// The thread that starts it.
pub struct StartDone;
starts!(StartDone, "process: start, who does it", Some("brigade"));

/// A child ends, and its parent is killed while it takes note.
pub struct Reap;

impl Scenario for Reap {
    const NAME: &'static str = "process: take note of an end";
    const THREAD: Option<&'static str> = Some("brigade");
    type Shared = Given;
    type Ready<'a> = brigade::Process<()>;

    fn set_up() -> Result<Given, Fault> {
        Ok((Queue::bounded(2)?, SharedSlice::new(1)?))
    }

    fn arrive(given: &Given, _round: u64) -> Result<brigade::Process<()>, Fault> {
        Ok(brigade::spawn(given.clone(), |given: Given| {
            given.1.fetch_add(0, 1);
            std::thread::sleep(Duration::from_secs(60));
        })?)
    }

    fn act(_given: &Given, child: brigade::Process<()>) -> Result<(), Fault> {
        child.kill();
        child.wait();
        Ok(())
    }

    fn check(given: &Given, _death: &Death) -> Result<(), Fault> {
        check_children(given)
    }
}
