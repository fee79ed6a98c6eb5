//! Threads that swap entries of the trees with others, until they are told to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::scene::Swapped;
use crate::random::Random;

/// After so many swaps a thread looks whether a decoy is gone.
const N_BETWEEN_REPAIRS: u64 = 16;

/// The longest wait between two swaps, in turns of a loop: some tens of microseconds.
const MOST_TURNS: u64 = 1 << 14;

pub(super) struct Swaps {
    must_end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<BTreeMap<&'static str, u64>>>,
}

impl Swaps {
    pub(super) fn begin(swapped: Vec<Swapped>, seed: u64, n_threads: usize) -> Self {
        let must_end = Arc::new(AtomicBool::new(false));
        let swapped = Arc::new(swapped);
        let threads = (0..n_threads)
            .map(|idx| {
                let (must_end, swapped) = (Arc::clone(&must_end), Arc::clone(&swapped));
                std::thread::spawn(move || swap(&swapped, &must_end, Random::new(seed.wrapping_add(idx as u64))))
            })
            .collect();
        Self { must_end, threads }
    }

    /// How many swaps were made, of each kind.
    pub(super) fn end(self) -> BTreeMap<&'static str, u64> {
        self.must_end.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for made in self.threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()) {
            *all.entry(made.0).or_default() += made.1;
        }
        all
    }
}

fn swap(all: &[Swapped], must_end: &AtomicBool, mut random: Random) -> BTreeMap<&'static str, u64> {
    let mut n_made = BTreeMap::new();
    let mut n_tried: u64 = 0;
    while !must_end.load(Ordering::Relaxed) && !all.is_empty() {
        let swapped = &all[random.below(all.len() as u64) as usize];
        n_tried += 1;
        if n_tried.is_multiple_of(N_BETWEEN_REPAIRS) {
            // Two threads may repair the same, and the copier may be faster: then it is repaired the next time.
            let _ = swapped.repair();
        }
        if swapped.swap().is_ok() {
            *n_made.entry(swapped.kind).or_default() += 1;
        }
        for _ in 0..random.any_magnitude(MOST_TURNS) {
            std::hint::spin_loop();
        }
    }
    n_made
}
