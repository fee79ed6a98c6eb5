//! Every change of the items with a death before each access of the one who makes it, beside a process that lives.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::shared::model::Model;
use crate::shared::mortal::{Grave, Mortal};

const SLOT_BYTES: usize = 32;
const N_SLOTS_HERE: u64 = 3;
const TABLE: Leases = Leases::at(0, 64, SLOT_BYTES, N_SLOTS_HERE);
const LIVING: Owner = Owner::new(1);
const DYING: Owner = Owner::new(2);
const LONG_DEAD: Owner = Owner::new(3);

fn model() -> Model {
    let slots = (0..N_SLOTS_HERE as usize).flat_map(|slot| (0..4).map(move |word| 64 + slot * SLOT_BYTES + word * 8));
    Model::new(64 + N_SLOTS_HERE as usize * SLOT_BYTES, &(1..8).map(|word| word * 8).chain(slots).collect::<Vec<_>>())
}

struct People {
    me: Owner,
    grave: Option<Arc<Grave>>,
}

impl Census for People {
    fn me(&self) -> Owner {
        self.me
    }
    fn place(&self) -> usize {
        self.me.number() as usize
    }
    fn is_dead(&self, owner: Owner) -> bool {
        owner == LONG_DEAD || owner == DYING && self.grave.as_ref().is_some_and(|grave| grave.is_filled())
    }
}

fn living(grave: &Arc<Grave>) -> People {
    People { me: LIVING, grave: Some(Arc::clone(grave)) }
}

fn content_word(slot: u64) -> usize {
    TABLE.content_of(slot)
}

fn put<M: SharedBytes>(locked: &Locked<'_, M>, number: u64) {
    // The dead find no slots in their afterlife.
    let Ok(Some(slot)) = locked.free_slot() else {
        return;
    };
    locked.memory.word64(content_word(slot)).store(number, Ordering::Relaxed);
    locked.put(slot);
}

/// A table with these items in it, put in this order.
fn table_with(numbers: &[u64]) -> Arc<Model> {
    let memory = Arc::new(model());
    let locked = TABLE.try_lock(&memory, &People { me: LIVING, grave: None }).expect("nobody else is there");
    locked.grow(N_SLOTS_HERE);
    numbers.iter().for_each(|&number| put(&locked, number));
    drop(locked);
    memory
}

/// Checks that the index says what the slots say.
fn assert_sound<M: SharedBytes>(locked: &Locked<'_, M>) {
    let states: Vec<u64> = (0..locked.n_slots()).map(|slot| locked.state(slot) & STATE_MASK).collect();
    let n_in = |wanted| states.iter().filter(|&&state| state == wanted).count() as u64;
    assert_eq!(locked.counts(), Counts { n_queued: n_in(QUEUED), n_leased: n_in(LEASED) });
    let walk = |from| {
        let mut slots = Vec::new();
        let mut at = locked.header(from);
        while let Some(slot) = locked.listed(at).expect("sound") {
            slots.push(slot);
            assert!(slots.len() <= states.len(), "a circle");
            at = locked.get(slot, NEXT);
        }
        slots
    };
    let (queued, free) = (walk(FIRST), walk(FREE_LIST));
    assert!(queued.iter().all(|&slot| states[slot as usize] == QUEUED));
    assert!(queued.is_sorted_by_key(|&slot| locked.get(slot, SEQ)));
    assert_eq!(queued.last().map_or(0, |slot| slot + 1), locked.header(LAST));
    assert!(free.iter().all(|&slot| states[slot as usize] == FREE));
    assert_eq!((queued.len() as u64, free.len() as u64), (n_in(QUEUED), n_in(FREE)));
}

/// Takes back what the dead had and hands out everything, in order: each item's number and attempt.
fn drain<M: SharedBytes>(locked: &Locked<'_, M>, census: &People) -> Vec<(u64, u32)> {
    locked.take_from_the_dead(census);
    assert_sound(locked);
    let mut numbers = Vec::new();
    while let Some(leased) = locked.lease(census.me()).expect("sound") {
        numbers.push((locked.memory.word64(content_word(leased.slot)).load(Ordering::Relaxed), leased.attempt));
        assert!(locked.finish(leased, census.me()));
        assert_sound(locked);
    }
    numbers
}

/// Runs `work` in a process that dies before each of its accesses in turn, while another changes something too, and hands what is
/// left to `check`, with what `work` returned if it was not cut short.
fn with_deaths<R: Send + 'static>(
    prepare: fn() -> Arc<Model>,
    work: fn(&Mortal) -> R,
    check: fn(Vec<(u64, u32)>, Option<R>),
) {
    for n_accesses in 0..1000 {
        let n_cut = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = Arc::clone(&n_cut);
        loom::model(move || {
            let memory = prepare();
            let grave = Grave::new();
            let mortal = Mortal::new(Arc::clone(&memory), model(), n_accesses, Arc::clone(&grave));
            let dying = thread::spawn(move || {
                let result = work(&mortal);
                mortal.has_survived().then_some(result)
            });
            let census = living(&grave);
            // Meanwhile: whenever the lock can be had, what it protects is whole.
            if let Some(locked) = TABLE.try_lock(&memory, &census) {
                locked.take_from_the_dead(&census);
                assert_sound(&locked);
            }
            let result = dying.join().unwrap();
            let locked = TABLE.try_lock(&memory, &census).expect("the dead keep no lock");
            counted.fetch_add(u32::from(result.is_none()), Ordering::Relaxed);
            check(drain(&locked, &census), result);
        });
        if n_cut.load(Ordering::Relaxed) == 0 {
            return;
        }
    }
    panic!("1000 accesses are not enough for the whole of it");
}

fn dying() -> People {
    People { me: DYING, grave: None }
}

#[test]
fn a_put_cut_by_death_is_wholly_in_or_wholly_out() {
    with_deaths(
        || table_with(&[7]),
        |mortal| TABLE.try_lock(mortal, &dying()).map(|locked| put(&locked, 8)).is_some(),
        |left, result| match result {
            Some(true) => assert_eq!(left, [(7, 1), (8, 1)]),
            Some(false) => assert_eq!(left, [(7, 1)]),
            None => assert!(left == [(7, 1)] || left == [(7, 1), (8, 1)], "{left:?}"),
        },
    );
}

#[test]
fn what_the_dead_had_comes_back_to_the_front_and_nothing_is_lost() {
    with_deaths(
        || table_with(&[7, 8]),
        |mortal| {
            let leased = TABLE.try_lock(mortal, &dying()).map(|locked| locked.lease(DYING));
            matches!(leased, Some(Ok(Some(_))))
        },
        |left, result| match result {
            // It lives, and has the first item.
            Some(true) => assert_eq!(left, [(8, 1)]),
            Some(false) => assert_eq!(left, [(7, 1), (8, 1)]),
            None => assert!(left == [(7, 1), (8, 1)] || left == [(7, 2), (8, 1)], "{left:?}"),
        },
    );
}

#[test]
fn an_item_is_done_or_comes_back_but_never_both() {
    with_deaths(
        || table_with(&[7, 8]),
        |mortal| {
            let leased = TABLE.try_lock(mortal, &dying())?.lease(DYING).ok()??;
            Some(TABLE.try_lock(mortal, &dying())?.finish(leased, DYING))
        },
        |left, result| match result {
            Some(Some(true)) => assert_eq!(left, [(8, 1)]),
            Some(Some(false)) => panic!("an item was taken from the living"),
            // It could not get the lock at one of the two moments.
            Some(None) => assert!(left == [(8, 1)] || left == [(7, 1), (8, 1)], "{left:?}"),
            None => assert!(left == [(8, 1)] || left == [(7, 1), (8, 1)] || left == [(7, 2), (8, 1)], "{left:?}"),
        },
    );
}

#[test]
fn an_item_that_is_given_back_keeps_its_place() {
    with_deaths(
        || table_with(&[7, 8]),
        |mortal| {
            let leased = TABLE.try_lock(mortal, &dying())?.lease(DYING).ok()??;
            Some(TABLE.try_lock(mortal, &dying())?.give_back(leased, DYING))
        },
        |left, result| match result {
            Some(Some(is_back)) => assert_eq!((left, is_back), (vec![(7, 2), (8, 1)], true)),
            Some(None) => assert!(left == [(8, 1)] || left == [(7, 1), (8, 1)], "{left:?}"),
            None => assert!(left == [(7, 1), (8, 1)] || left == [(7, 2), (8, 1)], "{left:?}"),
        },
    );
}

#[test]
fn a_repair_cut_by_death_is_done_again() {
    with_deaths(
        || {
            // Somebody died long ago in the middle of a change: the index is garbage, the slots are right.
            let memory = table_with(&[7, 8]);
            for at in [N_OPEN, FIRST, LAST, FREE_LIST] {
                memory.word64(at).store(99, Ordering::Relaxed);
            }
            memory.word32(0).store(LONG_DEAD.number(), Ordering::Relaxed);
            memory
        },
        |mortal| TABLE.try_lock(mortal, &dying()).map(|locked| locked.take_from_the_dead(&dying())),
        |left, _| assert_eq!(left, [(7, 1), (8, 1)]),
    );
}
