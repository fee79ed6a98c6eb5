//! Every interleaving of those who wait for several things at once and those who tell them, with a death before each access.

use std::sync::Arc;

use loom::thread;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::event::{Event, Wake};
use super::model::Model;
use super::mortal::{Grave, Mortal};
use super::watch::Watchers;

/// What the watchers wait for.
const CONDITION: usize = 16;
/// On which nobody sleeps here, but its fence is the one that tellers rely on.
const ITEMS: Event = Event::at(20);
const WATCHERS: Watchers = Watchers::at(0, 8, 64);
const DOORBELLS: [Event; 2] = [Event::at(24), Event::at(28)];

fn memory() -> Model {
    Model::new(32, &[8])
}

fn is_so<M: SharedBytes>(memory: &M) -> bool {
    memory.word32(CONDITION).load(Ordering::Relaxed) != 0
}

/// Sleeps without a deadline: a ring that is lost is a deadlock, which the model reports.
fn wait<M: SharedBytes>(memory: &M, watcher: usize) {
    loop {
        let ticket = DOORBELLS[watcher].announce(memory);
        WATCHERS.register(memory, watcher);
        if is_so(memory) {
            return;
        }
        DOORBELLS[watcher].sleep(memory, ticket, None);
    }
}

fn tell<M: SharedBytes>(memory: &M) {
    memory.word32(CONDITION).store(1, Ordering::Relaxed);
    ITEMS.notify(memory, Wake::One);
    if WATCHERS.is_watched(memory) {
        WATCHERS.take(memory, |watcher| DOORBELLS[watcher].notify(memory, Wake::All));
    }
}

#[test]
fn a_watcher_sees_the_change_or_is_rung() {
    loom::model(|| {
        let memory = Arc::new(memory());
        let told = Arc::clone(&memory);
        let teller = thread::spawn(move || tell(&told));
        wait(&memory, 0);
        teller.join().unwrap();
    });
}

#[test]
fn two_tellers_do_not_lose_a_watcher_between_them() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let memory = Arc::new(memory());
        let tellers: Vec<_> = (0..2)
            .map(|_| {
                let told = Arc::clone(&memory);
                thread::spawn(move || tell(&told))
            })
            .collect();
        wait(&memory, 0);
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

#[test]
fn one_teller_rings_all_watchers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let memory = Arc::new(memory());
        let (told, waited) = (Arc::clone(&memory), Arc::clone(&memory));
        let teller = thread::spawn(move || tell(&told));
        let other = thread::spawn(move || wait(&waited, 1));
        wait(&memory, 0);
        teller.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_teller_that_dies_before_any_access_spoils_no_later_wait() {
    // Condition, event, flag, and of `take` flag, two of the bits, doorbell (2) and the wake: nine accesses.
    for n_accesses in 0..=10 {
        loom::model(move || {
            let memory = Arc::new(memory());
            WATCHERS.register(&memory, 0);
            let grave = Grave::new();
            let mortal = Mortal::new(Arc::clone(&memory), self::memory(), n_accesses, grave);
            let dying = thread::spawn(move || tell(&mortal));
            // The watcher has given up meanwhile, as it does every 100 ms, and comes back.
            DOORBELLS[0].announce(&memory);
            WATCHERS.register(&memory, 0);
            dying.join().unwrap();
            let told = Arc::clone(&memory);
            memory.word32(CONDITION).store(0, Ordering::Relaxed);
            let teller = thread::spawn(move || tell(&told));
            wait(&memory, 0);
            teller.join().unwrap();
        });
    }
}

#[test]
fn a_watcher_that_dies_before_any_access_takes_no_ring_from_others() {
    for n_accesses in 0..=5 {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let memory = Arc::new(memory());
            let mortal = Mortal::new(Arc::clone(&memory), self::memory(), n_accesses, Grave::new());
            let dying = thread::spawn(move || {
                DOORBELLS[1].announce(&mortal);
                WATCHERS.register(&mortal, 1);
            });
            let told = Arc::clone(&memory);
            let teller = thread::spawn(move || tell(&told));
            wait(&memory, 0);
            teller.join().unwrap();
            dying.join().unwrap();
        });
    }
}
