//! Every interleaving of those who use flags, permits, gates, waiters and rounds, with a death before each access.

use std::sync::Arc;
use std::time::Instant;

use loom::thread;

use super::atomics::Ordering;
use super::bytes::SharedBytes;
use super::census::Census;
use super::flag::Flag;
use super::gate::Gate;
use super::lock::{Acquired, Owner};
use super::model::Model;
use super::mortal::{Grave, Mortal};
use super::permits::{Hold, Permits};
use super::reentrant::Reentrant;
use super::rounds::{Arrival, Break, Rounds};
use super::waiters::Waiters;

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    // Deaths come at every access besides, so three switches against the running thread's will are many.
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// One process of a model, and which others have died.
#[derive(Clone)]
struct Person {
    number: u32,
    graves: Vec<(u32, Arc<Grave>)>,
}

impl Person {
    fn new(number: u32) -> Self {
        Self { number, graves: Vec::new() }
    }

    fn who_knows(number: u32, dying: &[(u32, &Arc<Grave>)]) -> Self {
        Self { number, graves: dying.iter().map(|&(number, grave)| (number, Arc::clone(grave))).collect() }
    }
}

impl Census for Person {
    fn me(&self) -> Owner {
        Owner::new(self.number)
    }
    fn place(&self) -> usize {
        self.number as usize
    }
    fn is_dead(&self, owner: Owner) -> bool {
        self.graves.iter().any(|(number, grave)| *number == owner.number() && grave.is_filled())
    }
}

const DYING: u32 = 1;
const LIVING: u32 = 2;

/// Runs `work` in a thread that dies before its access number `n_accesses`, and `meanwhile` beside it. Then the dead one is known to
/// be dead to the person that `meanwhile` was given.
fn with_a_death(
    new_memory: fn() -> Model,
    n_accesses: u32,
    work: fn(&Mortal, &Person),
    meanwhile: impl Fn(&Arc<Model>, &Person),
) -> (Arc<Model>, Person) {
    let (memory, grave) = (Arc::new(new_memory()), Grave::new());
    let mortal = Mortal::new(Arc::clone(&memory), new_memory(), n_accesses, Arc::clone(&grave));
    let dying = thread::spawn(move || {
        work(&mortal, &Person::new(DYING));
        drop(mortal);
    });
    let living = Person::who_knows(LIVING, &[(DYING, &grave)]);
    meanwhile(&memory, &living);
    dying.join().unwrap();
    (memory, living)
}

mod flag {
    use super::*;

    const FLAG: Flag = Flag::at(0);
    const DATA: usize = 4;

    #[test]
    fn a_waiter_goes_on_and_sees_what_was_done_before() {
        model(|| {
            let memory = Arc::new(Model::new(8, &[]));
            let setting = Arc::clone(&memory);
            let setter = thread::spawn(move || {
                setting.word32(DATA).store(1, Ordering::Relaxed);
                FLAG.set(&setting);
            });
            assert!(FLAG.wait(&memory, None));
            assert_eq!(memory.word32(DATA).load(Ordering::Relaxed), 1);
            setter.join().unwrap();
        });
    }

    #[test]
    fn who_clears_a_flag_that_was_set_already_sees_what_it_was_set_for_or_finds_it_set_again() {
        model(|| {
            let memory = Arc::new(Model::new(8, &[]));
            FLAG.set(&memory);
            let setting = Arc::clone(&memory);
            let setter = thread::spawn(move || {
                setting.word32(DATA).store(1, Ordering::Relaxed);
                FLAG.set(&setting);
            });
            FLAG.clear(&memory);
            let seen = memory.word32(DATA).load(Ordering::Relaxed);
            setter.join().unwrap();
            assert!(seen == 1 || FLAG.is_set(&memory));
        });
    }
}

mod permits {
    use super::*;

    const PERMITS: Permits = Permits::new(0, 2);

    fn memory() -> Model {
        let memory = Model::new(128, &[8, 64, 72, 80, 88]);
        PERMITS.initialize(&memory, 2);
        memory
    }

    #[test]
    fn no_more_are_taken_than_there_are() {
        model(|| {
            let memory = Arc::new(memory());
            assert!(PERMITS.try_take(&memory, &Person::new(3), None).is_some());
            let takers: Vec<_> = [1, 2]
                .into_iter()
                .map(|number| {
                    let memory = Arc::clone(&memory);
                    thread::spawn(move || PERMITS.try_take(&memory, &Person::new(number), None).is_some())
                })
                .collect();
            let n_taken = takers.into_iter().filter_map(|taker| taker.join().ok()).filter(|&taken| taken).count();
            assert_eq!(n_taken, 1);
        });
    }

    #[test]
    fn a_process_that_dies_before_any_access_leaves_all_permits() {
        for n_accesses in 0..=40 {
            model(move || {
                let work = |memory: &Mortal, person: &Person| {
                    let now = Some(Instant::now());
                    if PERMITS.try_take(memory, person, now).is_some() {
                        let _ = PERMITS.keep(memory, person);
                        let _ = PERMITS.give_back(memory, person, Hold::Kept);
                    }
                };
                let (memory, living) = with_a_death(memory, n_accesses, work, |_, _| {});
                assert_eq!(PERMITS.n_available(&memory, &living), 2);
                let taken = [(); 3].map(|()| PERMITS.try_take(&memory, &living, None).is_some());
                assert_eq!(taken, [true, true, false]);
            });
        }
    }
}

mod gate {
    use super::*;

    const GATE: Gate = Gate::new(0, 4);
    const DATA: [usize; 2] = [112, 116];

    fn memory() -> Model {
        Model::new(128, &[8, 64, 72, 80, 88])
    }

    fn load(memory: &Model) -> [u32; 2] {
        DATA.map(|offset| memory.word32(offset).load(Ordering::Relaxed))
    }

    #[test]
    fn a_reader_never_sees_half_of_what_a_writer_does() {
        model(|| {
            let memory = Arc::new(memory());
            let written = Arc::clone(&memory);
            let writer = thread::spawn(move || {
                if GATE.try_write(&written, &Person::new(1)).is_some() {
                    DATA.into_iter().for_each(|offset| written.word32(offset).store(1, Ordering::Relaxed));
                    GATE.open(&written);
                }
            });
            let person = Person::new(2);
            if GATE.try_read(&memory, &person).is_some() {
                let [first, second] = load(&memory);
                assert_eq!(first, second);
                GATE.leave(&memory, &person);
            }
            writer.join().unwrap();
            assert_eq!(GATE.try_write(&memory, &person), Some(Acquired::Free));
        });
    }

    #[test]
    fn a_writer_waits_for_the_reader_inside() {
        model(|| {
            let memory = Arc::new(memory());
            let person = Person::new(2);
            assert!(GATE.try_read(&memory, &person).is_some());
            let written = Arc::clone(&memory);
            let writer = thread::spawn(move || {
                GATE.write(&written, &Person::new(1), None).expect("there is no deadline");
                DATA.into_iter().for_each(|offset| written.word32(offset).store(1, Ordering::Relaxed));
                GATE.open(&written);
            });
            assert_eq!(load(&memory), [0, 0]);
            GATE.leave(&memory, &person);
            writer.join().unwrap();
            assert_eq!(load(&memory), [1, 1]);
        });
    }

    #[test]
    fn a_reader_that_dies_before_any_access_keeps_nobody_out() {
        for n_accesses in 0..=12 {
            model(move || {
                let work = |memory: &Mortal, person: &Person| {
                    if GATE.try_read(memory, person).is_some() {
                        GATE.leave(memory, person);
                    }
                };
                let (memory, living) = with_a_death(memory, n_accesses, work, |memory, living| {
                    if GATE.try_write(memory, living).is_some() {
                        GATE.open(memory);
                    }
                });
                assert!(GATE.try_write(&memory, &living).is_some());
            });
        }
    }

    #[test]
    fn a_writer_that_dies_before_any_access_is_told_of_once_if_it_was_inside() {
        for n_accesses in 0..=30 {
            model(move || {
                let work = |memory: &Mortal, person: &Person| {
                    if GATE.try_write(memory, person).is_some() {
                        memory.word32(DATA[0]).store(1, Ordering::Relaxed);
                        memory.word32(DATA[1]).store(1, Ordering::Relaxed);
                        GATE.open(memory);
                    }
                };
                let told = std::cell::Cell::new(0);
                let look = |memory: &Arc<Model>, living: &Person| {
                    let acquired = GATE.try_read(memory, living);
                    if let Some(acquired) = acquired {
                        let was_told = acquired != Acquired::Free;
                        told.set(told.get() + u32::from(was_told));
                        let [first, second] = load(memory);
                        assert!(first == second || was_told, "half of a change, and nobody said so");
                        if was_told {
                            DATA.into_iter().for_each(|offset| memory.word32(offset).store(0, Ordering::Relaxed));
                        }
                        GATE.leave(memory, living);
                    }
                    acquired.is_some()
                };
                let (memory, living) =
                    with_a_death(memory, n_accesses, work, |memory, living| _ = look(memory, living));
                assert!(look(&memory, &living), "the dead keep nobody out");
                assert!(told.get() <= 1);
                assert_eq!(GATE.try_write(&memory, &living), Some(Acquired::Free));
            });
        }
    }
}

mod waiters {
    use super::*;

    const WAITERS: Waiters = Waiters::new(0, 3);

    fn memory() -> Model {
        Model::new(128, &[8, 72, 88, 104])
    }

    #[test]
    fn a_notification_reaches_the_waiter_or_is_not_counted() {
        model(|| {
            let memory = Arc::new(memory());
            let notified = Arc::clone(&memory);
            let notifier = thread::spawn(move || WAITERS.notify(&notified, &Person::new(2), 1));
            let person = Person::new(1);
            let waiter = WAITERS.register(&memory, &person).expect("there is room");
            let is_notified = WAITERS.wait(&memory, &person, &waiter, Some(Instant::now()));
            if is_notified {
                WAITERS.consume(&memory, waiter);
            }
            assert_eq!(notifier.join().unwrap(), usize::from(is_notified));
            assert_eq!(WAITERS.n_waiting(&memory, &person), 0);
        });
    }

    #[test]
    fn two_notifiers_reach_two_waiters() {
        model(|| {
            let memory = Arc::new(memory());
            let person = Person::new(1);
            let waiters = [(); 2].map(|()| WAITERS.register(&memory, &person).expect("there is room"));
            let notified = Arc::clone(&memory);
            let notifier = thread::spawn(move || WAITERS.notify(&notified, &Person::new(2), 1));
            let n_notified = WAITERS.notify(&memory, &person, 1) + notifier.join().unwrap();
            assert_eq!(n_notified, 2);
            for waiter in waiters {
                assert!(WAITERS.wait(&memory, &person, &waiter, Some(Instant::now())));
            }
        });
    }

    #[test]
    fn a_notified_waiter_that_dies_before_any_access_passes_the_notification_on() {
        // By its first access it looks at its state, by its second it consumes.
        for n_accesses in 0..=1 {
            model(move || {
                let (memory, grave) = (Arc::new(memory()), Grave::new());
                let living = Person::who_knows(LIVING, &[(DYING, &grave)]);
                let older = WAITERS.register(&memory, &Person::new(DYING)).expect("there is room");
                let younger = WAITERS.register(&memory, &living).expect("there is room");
                assert_eq!(WAITERS.notify(&memory, &living, 1), 1);
                let mortal = Mortal::new(Arc::clone(&memory), self::memory(), n_accesses, Arc::clone(&grave));
                let dying = thread::spawn(move || {
                    WAITERS.wait(&mortal, &Person::new(DYING), &older, None);
                    WAITERS.consume(&mortal, older);
                    drop(mortal);
                });
                // Ends only if the notification comes.
                assert!(WAITERS.wait(&memory, &living, &younger, None));
                dying.join().unwrap();
            });
        }
    }

    #[test]
    fn who_passes_a_notification_on_may_die_before_any_access_too() {
        for n_accesses in 0..=30 {
            model(move || {
                let (memory, first, second) = (Arc::new(memory()), Grave::new(), Grave::new());
                WAITERS.register(&memory, &Person::new(3)).expect("there is room");
                let living = Person::who_knows(LIVING, &[(3, &first), (DYING, &second)]);
                let younger = WAITERS.register(&memory, &living).expect("there is room");
                assert_eq!(WAITERS.notify(&memory, &living, 1), 1);
                // The notified one dies.
                drop(Mortal::new(Arc::clone(&memory), self::memory(), 0, Arc::clone(&first)));
                let mortal = Mortal::new(Arc::clone(&memory), self::memory(), n_accesses, Arc::clone(&second));
                let passer = Person::who_knows(DYING, &[(3, &first)]);
                let dying = thread::spawn(move || {
                    let _ = WAITERS.register(&mortal, &passer);
                    drop(mortal);
                });
                assert!(WAITERS.wait(&memory, &living, &younger, None));
                dying.join().unwrap();
            });
        }
    }

    #[test]
    fn a_waiter_that_dies_before_any_access_leaves_its_place() {
        for n_accesses in 0..=20 {
            model(move || {
                let work = |memory: &Mortal, person: &Person| {
                    if let Some(waiter) = WAITERS.register(memory, person)
                        && WAITERS.wait(memory, person, &waiter, Some(Instant::now()))
                    {
                        WAITERS.consume(memory, waiter);
                    }
                };
                let (memory, living) = with_a_death(memory, n_accesses, work, |_, _| {});
                assert_eq!(WAITERS.n_waiting(&memory, &living), 0);
                assert_eq!(WAITERS.notify(&memory, &living, 1), 0);
                for _ in 0..3 {
                    assert!(WAITERS.register(&memory, &living).is_some());
                }
                assert!(WAITERS.register(&memory, &living).is_none());
            });
        }
    }
}

mod rounds {
    use super::*;

    const ROUNDS: Rounds = Rounds::at(0);

    fn memory() -> Model {
        let memory = Model::new(128, &[8, 16, 64, 72, 80, 88, 96, 104, 112]);
        ROUNDS.initialize(&memory, 2, None);
        memory
    }

    fn pass<M: SharedBytes>(memory: &M, person: &Person) -> Option<Result<u64, Break>> {
        match ROUNDS.arrive(memory, person, Some(Instant::now()))? {
            Arrival::Waits { round, idx } => ROUNDS.outcome(memory, round).map(|outcome| outcome.map(|()| idx)),
            Arrival::Last { round, idx } => Some(ROUNDS.finish(memory, person, round).map(|()| idx)),
            Arrival::Later { .. } => None,
            Arrival::Broken(why) => Some(Err(why)),
        }
    }

    #[test]
    fn both_parties_pass_and_one_of_them_is_the_last() {
        model(|| {
            let memory = Arc::new(memory());
            let arriving = Arc::clone(&memory);
            let arrive = |memory: &Model, number| match ROUNDS.arrive(memory, &Person::new(number), None) {
                Some(Arrival::Last { round, idx }) => {
                    ROUNDS.finish(memory, &Person::new(number), round).expect("nothing broke it");
                    idx
                }
                Some(Arrival::Waits { idx, .. }) => idx,
                other => panic!("{other:?}"),
            };
            let other = thread::spawn(move || arrive(&arriving, 1));
            let own = arrive(&memory, 2);
            assert_eq!(own + other.join().unwrap(), 1);
            assert_eq!(ROUNDS.outcome(&memory, 0), Some(Ok(())));
            assert_eq!(ROUNDS.n_waiting(&memory), 0);
        });
    }

    #[test]
    fn a_party_that_dies_before_any_access_leaves_a_round_that_is_over_or_can_be_broken() {
        for n_accesses in 0..=40 {
            model(move || {
                let work = |memory: &Mortal, person: &Person| _ = pass(memory, person);
                let (memory, living) =
                    with_a_death(memory, n_accesses, work, |memory, living| _ = pass(memory, living));
                // As the reaper tells it.
                memory.word32(super::super::rounds::DEATHS).store(1, Ordering::Release);
                ROUNDS.break_off(&memory, &living, Some(0), Break::PartyDied);
                let outcome = ROUNDS.outcome(&memory, 0).expect("nobody waits for the dead");
                assert!(outcome == Ok(()) || outcome == Err(Break::PartyDied));
                assert_eq!(ROUNDS.broken(&memory, &living), Some(Break::PartyDied));
                ROUNDS.reset(&memory, &living);
                assert_eq!(ROUNDS.broken(&memory, &living), None);
                assert_eq!(ROUNDS.n_waiting(&memory), 0);
            });
        }
    }
}

mod reentrant {
    use super::*;

    const LOCK: Reentrant = Reentrant::at(0);

    #[test]
    fn a_holder_that_dies_before_any_access_leaves_a_lock_that_is_taken_once() {
        for n_accesses in 0..=20 {
            model(move || {
                let work = |memory: &Mortal, person: &Person| {
                    if LOCK.try_lock(memory, person, 7).is_some() {
                        if LOCK.try_lock(memory, person, 7).is_some() {
                            LOCK.unlock(memory);
                        }
                        LOCK.unlock(memory);
                    }
                };
                let new_memory = || Model::new(64, &[8, 16]);
                let (memory, living) = with_a_death(new_memory, n_accesses, work, |_, _| {});
                // The same thread number in another process is another thread.
                assert_eq!(LOCK.depth(&memory, &living, 7), 0);
                assert!(LOCK.try_lock(&memory, &living, 7).is_some());
                assert_eq!(LOCK.depth(&memory, &living, 7), 1);
                assert!(LOCK.try_lock(&memory, &living, 8).is_none());
                LOCK.unlock(&memory);
                assert_eq!(LOCK.try_lock(&memory, &living, 8), Some(Acquired::Free));
            });
        }
    }
}
