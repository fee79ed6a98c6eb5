//! Copies of trees that somebody else changes to lead the copier astray, or watches to see more than he may.

use std::path::PathBuf;
use std::time::Duration;

use torture::flipper::{Copier, Moments, Options, Outcome, campaign};
use torture::mounts::{Scratch, need_root};
use torture::random::Random;

fn flip(copier: Copier, moments: Moments, duration: Duration) -> Outcome {
    let seed = Random::fresh_seed();
    eprintln!("BRIGADE_SEED={seed}");
    let scratch = Scratch::in_memory();
    campaign(&Options { copier, moments, duration, seed }, &scratch.path(".")).unwrap()
}

#[test]
fn swaps_on_both_sides_lead_no_worker_out_of_the_trees() {
    need_root();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_brigade"));
    for moments in [Moments::Any, Moments::BeforeCalls] {
        let outcome = flip(Copier::Brigade(program.clone()), moments, Duration::from_secs(4));
        assert!(outcome.faults.is_empty(), "{moments:?}: {outcome:#?}");
        assert!(outcome.n_swaps.values().filter(|&&n| n > 0).count() >= 8, "{moments:?}: {outcome:#?}");
    }
}

/// What the judge of the test above is worth.
#[test]
fn the_same_swaps_lead_cp_out_of_the_trees() {
    need_root();
    for moments in [Moments::Any, Moments::BeforeCalls] {
        let outcome = flip(Copier::Cp, moments, Duration::from_secs(2));
        assert!(outcome.n_rounds_with_leaks > 0, "{moments:?}: {outcome:#?}");
    }
}
