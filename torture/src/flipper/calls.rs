//! Swaps entries just before the copier makes a call on them, so that whatever was looked at is something else when it is
//! used. How calls are stopped is in faultline.rs.

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use super::scene::{Scene, Swapped};
use super::{Ended, LIMIT};
use crate::faultline::{Act, Answer, Asked, Rule, run};
use crate::random::Random;

/// Calls that name an entry, or that do something to one that was opened.
const CALLS: [&str; 25] = [
    "openat",
    "newfstatat",
    "statx",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "linkat",
    "renameat",
    "renameat2",
    "unlinkat",
    "readlinkat",
    "fchownat",
    "utimensat",
    "fchmodat",
    "fchmodat2",
    "llistxattr",
    "lgetxattr",
    "lsetxattr",
    "lremovexattr",
    "listxattr",
    "getxattr",
    "setxattr",
    "removexattr",
    "fchmod",
    "fchown",
];

/// One call in so many on an entry itself is preceded by a swap, and on what is below it. Of the latter there are many more.
const ONE_IN: u64 = 2;
const ONE_IN_BELOW: u64 = 20;

/// Runs the copier. Before its calls, what they are about is swapped, or a folder above that.
pub(super) fn swapped_before_calls(
    command: Command,
    swapped: Vec<Swapped>,
    scene: &Scene,
    seed: u64,
) -> io::Result<Ended> {
    let n_swaps = Arc::new(Mutex::new(BTreeMap::new()));
    let counts = Arc::clone(&n_swaps);
    let mut random = Random::new(seed);
    let hook = move |asked: &Asked| {
        let Some(path) = asked.path() else { return Answer::GoOn };
        for swapped in swapped.iter().filter(|swapped| swapped.is_on_the_way_to(&path)) {
            let one_in = if swapped.is_at(&path) { ONE_IN } else { ONE_IN_BELOW };
            if random.below(one_in) != 0 {
                continue;
            }
            // The copier may have removed either of the two.
            let _ = swapped.repair();
            if swapped.swap().is_ok() {
                *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(swapped.kind).or_default() += 1;
            }
        }
        Answer::GoOn
    };
    let rule = Rule::of_each(CALLS, Act::Hook(Box::new(hook))).below(scene.folder());
    let ended = run(command, vec![rule], LIMIT)?;
    let said = String::from_utf8_lossy(&ended.output.stderr).into_owned();
    let status = ended.output.status.code().filter(|_| !ended.is_hung);
    let n_swaps = std::mem::take(&mut *n_swaps.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((n_swaps, status, said))
}
