//! Deaths within `put`, `get` and `close` of a queue, through its ring and through its log, with and without waiting.
//!
//! What must hold: a put cut by death is wholly in or wholly out; an item is taken by one or by none, and everybody else goes on.
#![forbid(unsafe_code)]

use brigade::Queue;

use crate::campaign::{Death, Fault, Scenario};

/// An item: its number, and text that follows from it.
pub type Item = (u64, String);
type Items = Queue<Item>;

const SMALL_BYTES: usize = 20;
/// More than half of a ring, so that it goes through the log, and what follows it too.
const LARGE_BYTES: usize = 9000;
/// The numbers of items that the survivors put.
const PREPARED: u64 = 1 << 32;

/// The item of this number and size.
pub fn item(number: u64, n_bytes: usize) -> Item {
    (number, (0..n_bytes as u64).map(|idx| char::from(b' ' + ((idx + number) % 90) as u8)).collect())
}

fn small(number: u64) -> Item {
    item(number, SMALL_BYTES)
}

/// Empties the queue: the numbers of the items, each of which must be whole.
fn drain(queue: &Items) -> Result<Vec<u64>, Fault> {
    let mut numbers = Vec::new();
    loop {
        match queue.try_get() {
            Ok((number, bytes)) if item(number, bytes.len()).1 == bytes => numbers.push(number),
            Ok((number, bytes)) => return Err(format!("item {number} is torn: {} bytes", bytes.len()).into()),
            Err(brigade::TryGetError::Empty) => return Ok(numbers),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A queue that works: what is put comes out.
fn goes_on(queue: &Items) -> Result<(), Fault> {
    for n_bytes in [SMALL_BYTES, LARGE_BYTES] {
        queue.put(item(PREPARED, n_bytes))?;
        if queue.get()? != item(PREPARED, n_bytes) {
            return Err("what was put did not come out".into());
        }
    }
    if queue.is_empty() { Ok(()) } else { Err(format!("an empty queue says it holds {}", queue.len()).into()) }
}

/// What was found must be one of what may be.
pub fn expect(found: &[u64], allowed: &[Vec<u64>]) -> Result<(), Fault> {
    if allowed.iter().any(|numbers| numbers == found) {
        Ok(())
    } else {
        Err(format!("found {found:?}, where {allowed:?} may be").into())
    }
}

/// Any put that finds room.
fn check_put(queue: &Items, death: &Death) -> Result<(), Fault> {
    let found = drain(queue)?;
    let mut allowed = vec![vec![PREPARED, death.round]];
    if !death.is_completed {
        allowed.push(vec![PREPARED]);
    }
    expect(&found, &allowed)?;
    goes_on(queue)
}

/// Any get that finds something.
fn check_get(queue: &Items, death: &Death) -> Result<(), Fault> {
    let found = drain(queue)?;
    let mut allowed = vec![vec![PREPARED + 1]];
    if !death.is_completed {
        allowed.push(vec![PREPARED, PREPARED + 1]);
    }
    expect(&found, &allowed)?;
    goes_on(queue)
}

fn take(queue: &Items) -> Result<(), Fault> {
    if queue.get()? == small(PREPARED) { Ok(()) } else { Err("another item came out".into()) }
}

/// Makes the next items go through the log: it is not empty then, and nothing overtakes.
fn put_and_take_large(queue: &Items, then: impl Fn() -> Result<(), Fault>) -> Result<(), Fault> {
    queue.put(item(PREPARED, LARGE_BYTES))?;
    then()?;
    if queue.get()? == item(PREPARED, LARGE_BYTES) { Ok(()) } else { Err("another item came out".into()) }
}

/// One put and one get, so that memory that only the first call touches is there.
fn warm_up() -> Result<(), Fault> {
    goes_on(&Items::bounded(8)?)
}

/// A put that finds room in the ring.
pub struct PutInRing;

impl Scenario for PutInRing {
    const NAME: &'static str = "queue: put, ring";
    type Shared = Items;
    type Ready<'a> = Item;

    fn set_up() -> Result<Items, Fault> {
        Ok(Items::bounded(8)?)
    }

    fn prepare(queue: &Items, _round: u64) -> Result<(), Fault> {
        Ok(queue.put(small(PREPARED))?)
    }

    fn arrive(_queue: &Items, round: u64) -> Result<Item, Fault> {
        warm_up()?;
        Ok(small(round))
    }

    fn act(queue: &Items, item: Item) -> Result<(), Fault> {
        Ok(queue.put(item)?)
    }

    fn check(queue: &Items, death: &Death) -> Result<(), Fault> {
        check_put(queue, death)
    }
}

/// A put that goes through the log.
pub struct PutInLog;

impl Scenario for PutInLog {
    const NAME: &'static str = "queue: put, log";
    type Shared = Items;
    type Ready<'a> = Item;

    fn set_up() -> Result<Items, Fault> {
        Ok(Items::bounded(8)?)
    }

    fn prepare(queue: &Items, _round: u64) -> Result<(), Fault> {
        put_and_take_large(queue, || Ok(queue.put(small(PREPARED))?))
    }

    fn arrive(_queue: &Items, round: u64) -> Result<Item, Fault> {
        warm_up()?;
        Ok(small(round))
    }

    fn act(queue: &Items, item: Item) -> Result<(), Fault> {
        Ok(queue.put(item)?)
    }

    fn check(queue: &Items, death: &Death) -> Result<(), Fault> {
        check_put(queue, death)
    }
}

/// A get that finds an item in the ring.
pub struct GetFromRing;

impl Scenario for GetFromRing {
    const NAME: &'static str = "queue: get, ring";
    type Shared = Items;
    type Ready<'a> = ();

    fn set_up() -> Result<Items, Fault> {
        Ok(Items::bounded(8)?)
    }

    fn prepare(queue: &Items, _round: u64) -> Result<(), Fault> {
        queue.put(small(PREPARED))?;
        Ok(queue.put(small(PREPARED + 1))?)
    }

    fn arrive(_queue: &Items, _round: u64) -> Result<(), Fault> {
        warm_up()
    }

    fn act(queue: &Items, (): ()) -> Result<(), Fault> {
        take(queue)
    }

    fn check(queue: &Items, death: &Death) -> Result<(), Fault> {
        check_get(queue, death)
    }
}

/// A get that finds an item in the log.
pub struct GetFromLog;

impl Scenario for GetFromLog {
    const NAME: &'static str = "queue: get, log";
    type Shared = Items;
    type Ready<'a> = ();

    fn set_up() -> Result<Items, Fault> {
        Ok(Items::bounded(8)?)
    }

    fn prepare(queue: &Items, _round: u64) -> Result<(), Fault> {
        put_and_take_large(queue, || {
            queue.put(small(PREPARED))?;
            Ok(queue.put(small(PREPARED + 1))?)
        })
    }

    fn arrive(_queue: &Items, _round: u64) -> Result<(), Fault> {
        warm_up()
    }

    fn act(queue: &Items, (): ()) -> Result<(), Fault> {
        take(queue)
    }

    fn check(queue: &Items, death: &Death) -> Result<(), Fault> {
        check_get(queue, death)
    }
}

/// A put that finds no room, sleeps, and is woken by a get.
pub struct PutBlocked;

impl Scenario for PutBlocked {
    const NAME: &'static str = "queue: put, sleep and wake";
    const SLEEPS: bool = true;
    type Shared = Items;
    type Ready<'a> = Item;

    fn set_up() -> Result<Items, Fault> {
        Ok(Items::bounded(2)?)
    }

    fn prepare(queue: &Items, _round: u64) -> Result<(), Fault> {
        queue.put(small(PREPARED))?;
        Ok(queue.put(small(PREPARED + 1))?)
    }

    fn arrive(_queue: &Items, round: u64) -> Result<Item, Fault> {
        warm_up()?;
        Ok(small(round))
    }

    fn act(queue: &Items, item: Item) -> Result<(), Fault> {
        Ok(queue.put(item)?)
    }

    fn relieve(queue: &Items) -> Result<(), Fault> {
        take(queue)
    }

    fn check(queue: &Items, death: &Death) -> Result<(), Fault> {
        let found = drain(queue)?;
        let (with, without) = (vec![PREPARED + 1, death.round], vec![PREPARED + 1]);
        let allowed = match (death.is_completed, death.is_relieved) {
            (true, _) => vec![with],
            (false, true) => vec![with, without],
            (false, false) => vec![vec![PREPARED, PREPARED + 1]],
        };
        expect(&found, &allowed)?;
        goes_on(queue)
    }
}

/// A get that finds nothing, sleeps, and is woken by a put.
pub struct GetBlocked;

impl Scenario for GetBlocked {
    const NAME: &'static str = "queue: get, sleep and wake";
    const SLEEPS: bool = true;
    type Shared = Items;
    type Ready<'a> = ();

    fn set_up() -> Result<Items, Fault> {
        Ok(Items::bounded(2)?)
    }

    fn arrive(_queue: &Items, _round: u64) -> Result<(), Fault> {
        warm_up()
    }

    fn act(queue: &Items, (): ()) -> Result<(), Fault> {
        take(queue)
    }

    fn relieve(queue: &Items) -> Result<(), Fault> {
        Ok(queue.put(small(PREPARED))?)
    }

    fn check(queue: &Items, death: &Death) -> Result<(), Fault> {
        let found = drain(queue)?;
        let mut allowed = vec![Vec::new()];
        if death.is_relieved && !death.is_completed {
            allowed.push(vec![PREPARED]);
        }
        expect(&found, &allowed)?;
        goes_on(queue)
    }
}

/// Closing a queue, a new one for each victim: for the victim and for whoever looks then.
pub struct Close;

impl Scenario for Close {
    const NAME: &'static str = "queue: close";
    type Shared = [Queue<Items>; 2];
    type Ready<'a> = Items;

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok([Queue::bounded(1)?, Queue::bounded(1)?])
    }

    fn prepare([to_victim, to_survivor]: &Self::Shared, _round: u64) -> Result<(), Fault> {
        let queue = Items::bounded(4)?;
        queue.put(small(PREPARED))?;
        to_victim.put(queue.clone())?;
        Ok(to_survivor.put(queue)?)
    }

    fn arrive([to_victim, _]: &Self::Shared, _round: u64) -> Result<Items, Fault> {
        Items::bounded(1)?.close();
        Ok(to_victim.get()?)
    }

    fn act(_shared: &Self::Shared, queue: Items) -> Result<(), Fault> {
        queue.close();
        Ok(())
    }

    /// Closed or not, what was put before comes out; and if not, the next one closes it.
    fn check([_, to_survivor]: &Self::Shared, death: &Death) -> Result<(), Fault> {
        let queue = to_survivor.get()?;
        match queue.try_put(small(PREPARED + 1)) {
            Err(error) if error.is_closed() => expect(&drain_closed(&queue)?, &[vec![PREPARED]]),
            Ok(()) if !death.is_completed => {
                queue.close();
                expect(&drain_closed(&queue)?, &[vec![PREPARED, PREPARED + 1]])
            }
            other => Err(format!("a put into it gives {other:?}").into()),
        }
    }
}

/// The numbers of the items in a closed queue.
fn drain_closed(queue: &Items) -> Result<Vec<u64>, Fault> {
    let items = queue.iter();
    let mut numbers = Vec::new();
    for item in items {
        if item != small(item.0) {
            return Err(format!("item {} is torn", item.0).into());
        }
        numbers.push(item.0);
    }
    Ok(numbers)
}
