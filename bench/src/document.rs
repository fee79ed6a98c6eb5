//! Writes a table into docs/measurements.md: each bench owns what stands between its two markers, and nothing else.

use std::path::Path;
use std::{fs, io};

const INTRODUCTION: &str = "# Measurements

Every table is written by `cargo xtask bench`, which prints the same; the command that made it stands above it. All tools
of a table ran in turn in one run, each into a fresh destination, and every copy was checked. Ratios hold on the machine
that is named, and only there.
";

/// Replaces the section called `key`, or appends it. A missing document is begun.
pub fn write_section(document: &Path, key: &str, section: &str) -> io::Result<()> {
    fs::write(document, with_section(&read(document)?, key, section))
}

/// The whole document; a missing one has its introduction.
pub fn read(document: &Path) -> io::Result<String> {
    match fs::read_to_string(document) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(INTRODUCTION.to_owned()),
        outcome => outcome,
    }
}

/// The section called `key` as it stands there, with its markers.
pub fn section<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let [begin, end] = markers(key);
    let start = text.find(&begin)?;
    let length = text[start..].find(&end)? + end.len();
    Some(&text[start..start + length])
}

fn markers(key: &str) -> [String; 2] {
    [format!("<!-- begin {key} -->"), format!("<!-- end {key} -->")]
}

fn with_section(text: &str, key: &str, section: &str) -> String {
    let [begin, end] = markers(key);
    let block = format!("{begin}\n{}\n{end}", section.trim_end());
    match self::section(text, key) {
        Some(old) => text.replacen(old, &block, 1),
        None => format!("{}\n\n{block}\n", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_appended_then_replaced_and_others_stay() {
        let first = with_section("# M\n\nwords\n", "copy A", "old\n");
        let both = with_section(&first, "copy B", "b\n");
        let replaced = with_section(&both, "copy A", "new\nlines\n");
        assert_eq!(
            replaced,
            "# M\n\nwords\n\n<!-- begin copy A -->\nnew\nlines\n<!-- end copy A -->\n\n<!-- begin copy B -->\nb\n<!-- end copy B -->\n"
        );
    }

    #[test]
    fn a_missing_document_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.md");
        write_section(&path, "k", "table").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Measurements") && text.contains("table"));
    }
}
