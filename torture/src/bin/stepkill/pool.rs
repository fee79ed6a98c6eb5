//! Deaths of a pool's worker, from the end of one task to the beginning of the next: the result is put, the next task taken.
//!
//! What must hold: each task has one result or one definite error, the one that was not begun runs once, and the pool goes on.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use brigade::{Pool, Retry, SharedSlice, Task, TaskError};
use torture::stepkill;

use crate::campaign::{Death, Fault, Scenario, Target};

/// The runs of each round's two tasks.
type Runs = SharedSlice<u64>;
const MOST_ROUNDS: usize = 4096;
type Outcome = Result<u64, TaskError>;

struct Play {
    pool: Pool,
    tasks: Option<(Task<u64>, Task<u64>)>,
}

/// What only the parent has: pools do not travel.
static PLAY: Mutex<Option<Play>> = Mutex::new(None);

fn play() -> MutexGuard<'static, Option<Play>> {
    PLAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first run ends in the window's first instruction. A second one, after a death, is nobody's victim.
fn first((runs, round): (Runs, u64)) -> u64 {
    if runs.fetch_add(round as usize * 2, 1) == 0 {
        stepkill::mark_begin();
    }
    round
}

/// Begins where the window ends, if the worker is still the one that is stepped.
fn second((runs, round, worker): (Runs, u64, u32)) -> u64 {
    if runs.fetch_add(round as usize * 2 + 1, 1) == 0 && std::process::id() == worker {
        stepkill::mark_end();
    }
    round + 1
}

fn set_up(retry: Retry) -> Result<Runs, Fault> {
    let pool = Pool::builder().workers(1).retry(retry).restart_limit(u32::MAX, std::time::Duration::from_secs(60));
    *play() = Some(Play { pool: pool.build()?, tasks: None });
    Ok(SharedSlice::new(MOST_ROUNDS * 2)?)
}

fn launch(runs: &Runs, round: u64) -> Result<Target, Fault> {
    let mut play = play();
    let Play { pool, tasks } = play.as_mut().ok_or("there is no pool")?;
    let worker = pool.apply((), |()| std::process::id())?;
    let one = pool.apply_async((runs.clone(), round), first)?;
    let other = pool.apply_async((runs.clone(), round, worker), second)?;
    *tasks = Some((one, other));
    Ok(Target::Worker(worker))
}

fn outcomes() -> Result<(Outcome, Outcome), Fault> {
    let mut play = play();
    let Play { pool, tasks } = play.as_mut().ok_or("there is no pool")?;
    let (one, other) = tasks.take().ok_or("there are no tasks")?;
    let outcomes = (one.get(), other.get());
    if pool.apply(20, |number: u64| number + 1)? == 21 { Ok(outcomes) } else { Err("another result came".into()) }
}

/// How often each of the two was run. The books are closed once both have ended.
fn n_runs(runs: &Runs, round: u64) -> [u64; 2] {
    [runs.load(round as usize * 2), runs.load(round as usize * 2 + 1)]
}

/// At most one of the two was running in the worker, and that one has an error; the other has its result from one run.
fn check_once(runs: &Runs, death: &Death) -> Result<(), Fault> {
    let outcomes = outcomes()?;
    let n_runs = n_runs(runs, death.round);
    let is_good = match (&outcomes, n_runs) {
        ((Ok(one), Err(TaskError::Killed { .. })), [1, 0 | 1]) => *one == death.round,
        ((Err(TaskError::Killed { .. }), Ok(other)), [1, 1]) => *other == death.round + 1 && !death.is_completed,
        ((Ok(one), Ok(other)), [1, 1]) => (*one, *other) == (death.round, death.round + 1) && !death.is_completed,
        _ => false,
    };
    if is_good { Ok(()) } else { Err(format!("{outcomes:?} after {n_runs:?} runs").into()) }
}

/// Both have their results, and only one of them was run again.
fn check_again(runs: &Runs, death: &Death) -> Result<(), Fault> {
    let outcomes = outcomes()?;
    let n_runs = n_runs(runs, death.round);
    let is_good = matches!(outcomes, (Ok(one), Ok(other)) if (one, other) == (death.round, death.round + 1));
    if is_good && matches!(n_runs, [1, 1] | [1, 2] | [2, 1]) {
        return Ok(());
    }
    Err(format!("{outcomes:?} after {n_runs:?} runs").into())
}

macro_rules! pools {
    ($name:ident, $called:literal, $retry:expr, $check:ident) => {
        impl Scenario for $name {
            const NAME: &'static str = $called;
            const IS_PRIVATE: bool = true;
            type Shared = Runs;
            type Ready<'a> = ();

            fn set_up() -> Result<Runs, Fault> {
                set_up($retry)
            }

            fn tear_down() {
                drop(play().take());
            }

            fn launch(runs: &Runs, round: u64) -> Result<Target, Fault> {
                launch(runs, round)
            }

            // The window lies in the pool's own code, between two tasks.
            fn arrive(_runs: &Runs, _round: u64) -> Result<(), Fault> {
                Err("the victim is a worker".into())
            }

            fn act(_runs: &Runs, (): ()) -> Result<(), Fault> {
                Err("the victim is a worker".into())
            }

            fn check(runs: &Runs, death: &Death) -> Result<(), Fault> {
                $check(runs, death)
            }
        }
    };
}

/// Each task runs at most once.
pub struct ResultAndTask;
pools!(ResultAndTask, "pool: put result, take task", Retry::Never, check_once);

/// Tasks are run again.
pub struct ResultAndTaskAgain;
const TWICE: Retry = Retry::OnWorkerDeath { attempts: NonZeroU32::MAX };
pools!(ResultAndTaskAgain, "pool: the same with retry", TWICE, check_again);
