//! docs/faults.md names tests that are there.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use torture::catalogue::{faults, rows, tests_in};

const LIST: &str = include_str!("../../docs/faults.md");

/// Where tests lie, and what the list calls it.
const PLACES: [(&str, &str); 5] = [
    ("copy", "crates/brigade-copy/tests"),
    ("copy", "crates/brigade-copy/src"),
    ("cli", "crates/brigade-cli/tests/command"),
    ("cli", "crates/brigade-cli/src"),
    ("torture", "torture/tests"),
];

fn tests_below(prefix: &str, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(prefix, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = format!("{prefix}/{}", path.file_stem().unwrap().to_str().unwrap());
            found.extend(tests_in(&module, &fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_fault_of_the_catalogue_is_shown_by_a_test() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut tests = BTreeSet::new();
    for (prefix, folder) in PLACES {
        tests_below(prefix, &root.join(folder), &mut tests);
    }
    let rows = rows(LIST);
    let ids: Vec<&str> = rows.iter().filter_map(|row| row.about.split(' ').next()).collect();
    let power_cuts = [3, 4, 5, 6, 8, 9, 12, 14, 15].map(|id| format!("X-{id:02}"));
    let expected = (1..=42).map(|id| format!("C-{id:02}")).chain((1..=15).map(|id| format!("F-{id:02}")));
    let expected: Vec<String> = expected.chain(power_cuts).collect();
    let (attacks, ids): (Vec<&str>, Vec<&str>) = ids.into_iter().partition(|id| id.starts_with("S-"));
    assert_eq!(ids, expected);
    assert!(attacks.len() >= 12 && attacks.is_sorted(), "{attacks:?}");
    let faults = faults(&rows, &tests);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
