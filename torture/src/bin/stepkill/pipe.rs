//! Deaths within `send` and `recv` of a pipe whose other end lives on.
//!
//! What must hold: a send cut by death is wholly in or wholly out; a message is received by one or by none; the pipe goes on.
#![forbid(unsafe_code)]

use brigade::{Receiver, Sender, TryRecvError};

use crate::campaign::{Death, Fault, Scenario};
use crate::queue::{Item, expect, item};

type Ends = (Sender<Item>, Receiver<Item>);

/// The number of the message that the survivors send.
const PREPARED: u64 = 1 << 32;
const N_BYTES: usize = 20;

fn message(number: u64) -> Item {
    item(number, N_BYTES)
}

fn ends() -> Result<Ends, Fault> {
    Ok(brigade::try_pipe()?)
}

/// Both calls once, so that memory that only the first one touches is there.
fn warm_up() -> Result<(), Fault> {
    goes_on(&ends()?)
}

fn goes_on((sender, receiver): &Ends) -> Result<(), Fault> {
    sender.send(message(PREPARED))?;
    if receiver.recv()? == message(PREPARED) { Ok(()) } else { Err("what was sent did not come out".into()) }
}

/// The numbers of the messages that wait, each of which must be whole.
fn drain((_, receiver): &Ends) -> Result<Vec<u64>, Fault> {
    let mut numbers = Vec::new();
    loop {
        match receiver.try_recv() {
            Ok(received) if received == message(received.0) => numbers.push(received.0),
            Ok(received) => return Err(format!("message {} is torn", received.0).into()),
            Err(TryRecvError::Empty) => return Ok(numbers),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A send while somebody has the other end.
pub struct Send;

impl Scenario for Send {
    const NAME: &'static str = "pipe: send";
    type Shared = Ends;
    type Ready<'a> = Item;

    fn set_up() -> Result<Ends, Fault> {
        ends()
    }

    fn arrive(_ends: &Ends, round: u64) -> Result<Item, Fault> {
        warm_up()?;
        Ok(message(round))
    }

    fn act((sender, _): &Ends, message: Item) -> Result<(), Fault> {
        Ok(sender.send(message)?)
    }

    fn check(ends: &Ends, death: &Death) -> Result<(), Fault> {
        let mut allowed = vec![vec![death.round]];
        if !death.is_completed {
            allowed.push(Vec::new());
        }
        expect(&drain(ends)?, &allowed)?;
        goes_on(ends)
    }
}

/// A receive that finds nothing, sleeps, and is woken by a send.
pub struct Receive;

impl Scenario for Receive {
    const NAME: &'static str = "pipe: receive, sleep and wake";
    const SLEEPS: bool = true;
    type Shared = Ends;
    type Ready<'a> = ();

    fn set_up() -> Result<Ends, Fault> {
        ends()
    }

    fn arrive(_ends: &Ends, _round: u64) -> Result<(), Fault> {
        warm_up()
    }

    fn act((_, receiver): &Ends, (): ()) -> Result<(), Fault> {
        if receiver.recv()? == message(PREPARED) { Ok(()) } else { Err("another message came".into()) }
    }

    fn relieve((sender, _): &Ends) -> Result<(), Fault> {
        Ok(sender.send(message(PREPARED))?)
    }

    fn check(ends: &Ends, death: &Death) -> Result<(), Fault> {
        let mut allowed = vec![Vec::new()];
        if death.is_relieved && !death.is_completed {
            allowed.push(vec![PREPARED]);
        }
        expect(&drain(ends)?, &allowed)?;
        goes_on(ends)
    }
}
