//! Lists of behaviours in Markdown tables whose last cell names the tests that show them, or says why there is none. The
//! lists themselves lie with the tests and in docs/.

use std::collections::BTreeSet;

/// What begins a cell that gives a reason instead of a test.
const REASON: &str = "not here: ";

/// A row of a list: what it is about, and its last cell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// All cells but the last, joined.
    pub about: String,
    /// The names of tests, or a reason.
    pub shown_by: String,
}

/// The rows of all tables in a list.
pub fn rows(list: &str) -> Vec<Row> {
    let is_head = |cell: &str| cell == "here" || cell.starts_with("---");
    list.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let (last, others) = cells.split_last()?;
            (!is_head(last)).then(|| Row { about: others.join(": "), shown_by: (*last).to_owned() })
        })
        .collect()
}

impl Row {
    /// The tests that are named; none if a reason is given instead.
    ///
    /// # Errors
    /// What is wrong with the cell.
    pub fn tests(&self) -> Result<Vec<&str>, String> {
        if let Some(reason) = self.shown_by.strip_prefix(REASON) {
            return if reason.len() > 10 { Ok(Vec::new()) } else { Err(format!("{}: it gives no reason", self.about)) };
        }
        let names: Vec<&str> = self.shown_by.split(", ").map(|name| name.trim_matches('`')).collect();
        let is_name = |name: &&str| name.contains("::") && !name.contains(' ');
        if names.iter().all(is_name) {
            Ok(names)
        } else {
            Err(format!("{}: {:?} names no test", self.about, self.shown_by))
        }
    }
}

/// What is wrong with a list, one line each: rows with neither test nor reason, and tests that are not among `tests`.
pub fn faults(rows: &[Row], tests: &BTreeSet<String>) -> Vec<String> {
    let of_row = |row: &Row| match row.tests() {
        Ok(names) => {
            let missing = names.into_iter().filter(|name| !tests.contains(*name));
            missing.map(|name| format!("{}: there is no {name}", row.about)).collect()
        }
        Err(fault) => vec![fault],
    };
    rows.iter().flat_map(of_row).collect()
}

/// The tests in the text of a Rust file, each with `prefix::` before its name.
pub fn tests_in(prefix: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |&(_, line): &(usize, &&str)| *line == "#[test]";
    let name_after = |(idx, _): (usize, &&str)| {
        let function = lines[idx..].iter().find_map(|line| line.strip_prefix("fn "))?;
        function.split_once('(').map(|(name, _)| format!("{prefix}::{name}"))
    };
    lines.iter().enumerate().filter(is_test).filter_map(name_after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_test_or_reason_is_found() {
        let list = "| a | b | here |\n|---|---|---|\n| x | y | `queue::z` |\n| x | y | not here: no |\n| x | y | – |\n";
        let rows = rows(list);
        assert_eq!(rows[0].tests(), Ok(vec!["queue::z"]));
        assert_eq!((rows.len(), faults(&rows, &BTreeSet::from(["queue::z".to_owned()])).len()), (3, 2));
        assert_eq!(faults(&rows, &BTreeSet::new()).len(), 3);
    }

    #[test]
    fn tests_are_found_below_their_attributes() {
        let text = "#[test]\nfn one() {}\nfn none() {}\n    #[test]\n    #[should_panic]\n    fn two() {}\n";
        assert_eq!(tests_in("m", text), ["m::one", "m::two"]);
    }
}
