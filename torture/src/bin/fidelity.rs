//! Copies trees from each file system to each, and judges every copy: a large tree with everything once for each pair, or any
//! number of small random trees. What a verdict is made of is in the library's fidelity.rs.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use torture::arguments::Arguments;
use torture::fidelity::{KINDS, N_SOURCES, copy_and_judge, mount_kind};
use torture::mounts::{Mount, Scratch, need_root};
use torture::random::Random;
use torture::treegen::{Extremes, Size, grow};

const USAGE: &str = "usage: fidelity --program BRIGADE [--seed N] [--trees N]
  without --trees: one large tree from each file system to each; with it: so many small ones";

fn main() -> ExitCode {
    let mut arguments = Arguments::of_program(USAGE);
    let program = arguments.text("--program").map(PathBuf::from);
    let seed = arguments.number("--seed").unwrap_or_else(Random::fresh_seed);
    let n_trees = arguments.number("--trees");
    arguments.finish();
    let Some(program) = program.and_then(|program| program.canonicalize().ok()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    need_root();
    println!("seed {seed}");
    let scratch = Scratch::new();
    let mounts: Vec<Mount> = KINDS.iter().map(|kind| mount_kind(&scratch, kind)).collect();
    let places: Vec<&Path> = mounts.iter().map(Mount::at).collect();
    let n_bad = match n_trees {
        None => large(&program, &places, seed),
        Some(n_trees) => small(&program, &places, seed, n_trees),
    };
    if n_bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tree with everything, from each to each.
fn large(program: &Path, places: &[&Path], seed: u64) -> usize {
    let size = Size { n_folders: 40, n_entries: 400, extremes: Extremes::Grown };
    let mut n_bad = 0;
    for from in 0..N_SOURCES {
        let source = places[from].join("source");
        grow(&source, seed, size).expect("the tree grows on every file system");
        for (to, place) in places.iter().enumerate() {
            n_bad += usize::from(!is_good(program, &source, &place.join("copy"), (from, to), seed));
        }
        remove(&source);
    }
    n_bad
}

fn small(program: &Path, places: &[&Path], seed: u64, n_trees: u64) -> usize {
    let size = Size { n_folders: 8, n_entries: 40, extremes: Extremes::Left };
    let mut n_bad = 0;
    for tree_idx in 0..n_trees {
        let pair_idx = tree_idx as usize % (N_SOURCES * places.len());
        let (from, to) = (pair_idx / places.len(), pair_idx % places.len());
        let source = places[from].join("source");
        grow(&source, seed + tree_idx, size).expect("the tree grows on every file system");
        n_bad += usize::from(!is_good(program, &source, &places[to].join("copy"), (from, to), seed + tree_idx));
        remove(&source);
    }
    println!("{n_trees} trees, {n_bad} of them copied wrongly");
    n_bad
}

fn is_good(program: &Path, source: &Path, copy: &Path, (from, to): (usize, usize), seed: u64) -> bool {
    let verdict = copy_and_judge(program, source, copy).expect("both trees can be read");
    let state = if verdict.faults.is_empty() { "good" } else { "WRONG" };
    let (from, to) = (KINDS[from], KINDS[to]);
    println!(
        "seed {seed}, {from} to {to}: {} entries, {} limits foreseen and told, {state}",
        verdict.n_found, verdict.n_foreseen
    );
    for fault in &verdict.faults {
        println!("  {fault}");
    }
    remove(copy);
    verdict.faults.is_empty()
}

/// Goes down without long paths, as the trees were made.
fn remove(tree: &Path) {
    std::fs::remove_dir_all(tree).expect("what was made can be removed");
}
