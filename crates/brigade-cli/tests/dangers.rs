//! What destroys sources, hangs or lies with other copiers: each case is tried with this command, and must end well.

use std::path::PathBuf;

use torture::dangers::{self, CASES, Form, Outcome, Promise, Tool};

#[test]
fn no_danger_harms_a_source_hangs_or_gives_a_wrong_copy() {
    let brigade = Tool {
        name: "brigade",
        program: PathBuf::from(env!("CARGO_BIN_EXE_brigade")),
        options: &["copy"],
        promise: Promise::Everything,
        form: Form::Plain,
    };
    let bad: Vec<(&str, Outcome)> = CASES
        .iter()
        .map(|case| (case.name, dangers::tried(case, &brigade).unwrap()))
        .filter(|(_, outcome)| !outcome.is_good())
        .collect();
    assert_eq!(bad, []);
}
