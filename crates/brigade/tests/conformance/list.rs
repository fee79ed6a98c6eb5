//! Reads list.md, and fails on a behaviour that nothing shows.

use std::collections::BTreeSet;

use torture::catalogue::{faults, rows, tests_in};

const LIST: &str = include_str!("list.md");
/// The modules of this folder, as they are written.
const MODULES: [(&str, &str); 9] = [
    ("process", include_str!("process.rs")),
    ("queue", include_str!("queue.rs")),
    ("pipe", include_str!("pipe.rs")),
    ("sync", include_str!("sync.rs")),
    ("memory", include_str!("memory.rs")),
    ("pool", include_str!("pool.rs")),
    ("manager", include_str!("manager.rs")),
    ("futures", include_str!("futures.rs")),
    ("other", include_str!("other.rs")),
];

/// Every test of this folder, as `module::test`.
fn tests() -> BTreeSet<String> {
    MODULES.iter().flat_map(|(module, text)| tests_in(module, text)).collect()
}

#[test]
fn every_behaviour_has_a_test_or_a_reason() {
    let rows = rows(LIST);
    assert!(rows.len() > 150, "only {} rows were found", rows.len());
    let faults = faults(&rows, &tests());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_test_is_on_the_list_and_checks_for_leaks() {
    let on_list: BTreeSet<String> =
        rows(LIST).iter().flat_map(|row| row.tests().unwrap_or_default()).map(str::to_owned).collect();
    let missing: Vec<String> = tests().into_iter().filter(|name| !on_list.contains(name)).collect();
    assert!(missing.is_empty(), "not on the list: {missing:?}");
    for (module, text) in MODULES {
        let n_tests = text.lines().filter(|line| line.trim() == "#[test]").count();
        let n_checked = text.matches("    checked(").count();
        assert_eq!(n_tests, n_checked, "each test of {module} runs inside of `checked`");
    }
}
