//! Reads list.md, and fails on a behaviour that nothing shows.

use std::collections::BTreeSet;

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
    let names_in = |(module, text): &(&str, &str)| {
        let lines: Vec<&str> = text.lines().collect();
        let is_test = |pair: &&[&str]| pair[0].trim() == "#[test]";
        let name = |pair: &[&str]| {
            let name = pair[1].trim().strip_prefix("fn ").and_then(|line| line.split_once('('));
            format!("{module}::{}", name.expect("a function follows #[test]").0)
        };
        lines.windows(2).filter(is_test).map(name).collect::<Vec<_>>()
    };
    MODULES.iter().flat_map(names_in).collect()
}

/// The rows of all tables: what they are about, and their last cell.
fn rows(list: &str) -> Vec<(String, String)> {
    let is_head = |cell: &str| cell == "here" || cell.starts_with("---");
    list.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let (last, others) = cells.split_last()?;
            (!is_head(last)).then(|| (others.join(": "), (*last).to_owned()))
        })
        .collect()
}

/// The tests that a cell names; none if it gives a reason instead; what is wrong with it otherwise.
fn named_tests(cell: &str) -> Result<Vec<&str>, String> {
    if let Some(reason) = cell.strip_prefix("not here: ") {
        return if reason.len() > 10 { Ok(Vec::new()) } else { Err("it gives no reason".to_owned()) };
    }
    let names: Vec<&str> = cell.split(", ").map(|name| name.trim_matches('`')).collect();
    if names.iter().all(|name| name.contains("::")) { Ok(names) } else { Err(format!("{cell:?} names no test")) }
}

#[test]
fn every_behaviour_has_a_test_or_a_reason() {
    let tests = tests();
    let rows = rows(LIST);
    assert!(rows.len() > 150, "only {} rows were found", rows.len());
    let mut faults = Vec::new();
    for (about, cell) in &rows {
        match named_tests(cell) {
            Ok(names) => faults.extend(
                names.iter().filter(|name| !tests.contains(**name)).map(|name| format!("{about}: there is no {name}")),
            ),
            Err(fault) => faults.push(format!("{about}: {fault}")),
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_test_is_on_the_list_and_checks_for_leaks() {
    let on_list: BTreeSet<String> =
        rows(LIST).iter().flat_map(|(_, cell)| named_tests(cell).unwrap_or_default()).map(str::to_owned).collect();
    let missing: Vec<String> = tests().into_iter().filter(|name| !on_list.contains(name)).collect();
    assert!(missing.is_empty(), "not on the list: {missing:?}");
    for (module, text) in MODULES {
        let n_tests = text.lines().filter(|line| line.trim() == "#[test]").count();
        let n_checked = text.matches("    checked(").count();
        assert_eq!(n_tests, n_checked, "each test of {module} runs inside of `checked`");
    }
}

#[test]
fn a_row_without_test_or_reason_is_found() {
    let rows = rows("| a | b | here |\n|---|---|---|\n| x.y | does | `queue::z` |\n| x.y | does | not here: no |\n");
    assert_eq!(rows.len(), 2);
    assert_eq!(named_tests(&rows[0].1), Ok(vec!["queue::z"]));
    assert!(named_tests(&rows[1].1).is_err());
    assert!(named_tests("–").is_err());
}
