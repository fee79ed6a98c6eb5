//! Structures that are wrong in the ways that others have been: here the campaign must fail. Nothing of this is in the product.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use brigade::SharedSlice;

use crate::campaign::{Death, Fault, Scenario};

const PATIENCE: Duration = Duration::from_millis(300);

fn comes_to_be(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// A lock that is taken or free, and forgets who took it.
pub struct NaiveLock;

impl Scenario for NaiveLock {
    const NAME: &'static str = "red: a lock without an owner";
    type Shared = SharedSlice<u64>;
    type Ready<'a> = u64;

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok(SharedSlice::new(1)?)
    }

    fn arrive(_words: &Self::Shared, round: u64) -> Result<u64, Fault> {
        Ok(round)
    }

    fn act(words: &Self::Shared, _round: u64) -> Result<(), Fault> {
        while words.compare_exchange(0, 0, 1).is_err() {}
        words.store(0, 0);
        Ok(())
    }

    fn check(words: &Self::Shared, _death: &Death) -> Result<(), Fault> {
        if !comes_to_be(|| words.compare_exchange(0, 0, 1).is_ok()) {
            return Err("the lock is held by the dead".into());
        }
        words.store(0, 0);
        Ok(())
    }
}

/// A queue in which a producer claims a place first and fills it then: a death in between leaves a hole.
pub struct ClaimThenPublish;

/// Places claimed so far.
const TAIL: usize = 0;
/// Items taken so far.
const HEAD: usize = 1;
const PLACES: usize = 2;
const N_PLACES: u64 = 1024;

fn place(number: u64) -> usize {
    PLACES + (number % N_PLACES) as usize
}

fn publish(words: &SharedSlice<u64>, value: u64) {
    let claimed = words.fetch_add(TAIL, 1);
    words.store(place(claimed), value);
}

impl Scenario for ClaimThenPublish {
    const NAME: &'static str = "red: claim, then publish";
    type Shared = SharedSlice<u64>;
    type Ready<'a> = u64;

    fn set_up() -> Result<Self::Shared, Fault> {
        Ok(SharedSlice::new(PLACES + N_PLACES as usize)?)
    }

    fn arrive(_words: &Self::Shared, round: u64) -> Result<u64, Fault> {
        Ok(round)
    }

    fn act(words: &Self::Shared, round: u64) -> Result<(), Fault> {
        publish(words, round + 1);
        Ok(())
    }

    fn check(words: &Self::Shared, _death: &Death) -> Result<(), Fault> {
        publish(words, 1 << 32);
        while words.load(HEAD) < words.load(TAIL) {
            let next = place(words.load(HEAD));
            if !comes_to_be(|| words.load(next) != 0) {
                return Err("a place was claimed by the dead, and all behind it wait".into());
            }
            words.store(next, 0);
            words.fetch_add(HEAD, 1);
        }
        Ok(())
    }
}
