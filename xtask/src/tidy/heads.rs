//! The rules on what the heads of files say: the page on shared memory shows their diagrams and tables as they are, the
//! offsets and states in them are constants of the file, and the map of the code has a row for each file.
//! What else a file must look like is in rust.rs.

use super::constants;
use super::source::{Source, has_word};
use super::{Finding, TextFile};

/// The page that shows every diagram and table.
pub(super) const PAGE: &str = "docs/shared-memory.md";
const MAP: &str = "ARCHITECTURE.md";
/// The crates whose heads stand on the page.
const SHOWN: [&str; 3] = ["crates/brigade-sys/src/", "crates/brigade/src/", "crates/brigade-copy/src/"];
/// What goes over sockets and lines is read at offsets that stand where it is read. All others lie in shared memory, and
/// their offsets have names.
const PACKETS: [&str; 2] = ["crates/brigade-sys/src/kernel/last_words.rs", "crates/brigade/src/manager/request.rs"];

fn found(path: &str, line_number: usize, rule: &'static str, message: String) -> Finding {
    Finding { path: path.to_owned(), line_number, rule, message }
}

/// All rules on heads; the page and the map are among `files`.
pub(super) fn check(files: &[TextFile], sources: &[Source]) -> Vec<Finding> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let mut findings: Vec<Finding> = sources.iter().flat_map(|source| check_constants(source, sources)).collect();
    if let Some(page) = text_of(PAGE) {
        findings.extend(check_page(page, sources));
    }
    if let Some(map) = text_of(MAP) {
        findings.extend(check_map(map, sources));
    }
    findings
}

/// Reports each head with diagrams or tables that the page shows otherwise, or not at all.
fn check_page(page: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line_number, path) in sections(page) {
        if !sources.iter().any(|source| source.path == path && is_shown(source)) {
            let message = format!("{path} has neither a diagram nor a table in its head, or is not there");
            findings.push(found(PAGE, line_number, "shown heads", message));
        }
    }
    for source in sources.iter().filter(|source| is_shown(source)) {
        let Some((line_number, _)) = sections(page).find(|(_, path)| *path == source.path) else {
            let message = format!("it lacks the section {} … {}", begin(&source.path), end(&source.path));
            findings.push(found(PAGE, 1, "shown heads", message));
            continue;
        };
        if section(page, &source.path) != Some(shown(source).as_str()) {
            let message = format!("{} says something else: `cargo xtask tidy --write` copies it", source.path);
            findings.push(found(PAGE, line_number, "shown heads", message));
        }
    }
    findings
}

/// The page with each section as the head of its file has it.
pub(super) fn with_heads(page: &str, sources: &[Source]) -> String {
    let mut page = page.to_owned();
    for source in sources.iter().filter(|source| is_shown(source)) {
        if let Some(old) = section(&page, &source.path) {
            let (before, after) = (begin(&source.path), end(&source.path));
            let whole = format!("{before}\n{old}\n{after}");
            page = page.replace(&whole, &format!("{before}\n{}\n{after}", shown(source)));
        }
    }
    page
}

fn begin(path: &str) -> String {
    format!("<!-- begin {path} -->")
}

fn end(path: &str) -> String {
    format!("<!-- end {path} -->")
}

/// The sections of the page: where each begins, and whose it is.
fn sections(page: &str) -> impl Iterator<Item = (usize, &str)> {
    page.lines()
        .enumerate()
        .filter_map(|(idx, line)| Some((idx + 1, line.strip_prefix("<!-- begin ")?.strip_suffix(" -->")?)))
}

/// What stands between the two marks of a file.
fn section<'a>(page: &'a str, path: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("{}\n", begin(path)))?;
    rest.split_once(&format!("\n{}", end(path))).map(|(section, _)| section)
}

fn is_shown(source: &Source) -> bool {
    SHOWN.iter().any(|folder| source.path.starts_with(folder)) && !blocks(source).is_empty()
}

fn shown(source: &Source) -> String {
    let texts: Vec<String> = blocks(source).into_iter().map(|block| block.lines.join("\n")).collect();
    texts.join("\n\n")
}

#[derive(Debug, Eq, PartialEq)]
enum Kind {
    Diagram,
    Table,
}

/// A diagram or a table of a head.
#[derive(Debug)]
struct Block<'a> {
    kind: Kind,
    /// Of the file.
    first_line_number: usize,
    lines: Vec<&'a str>,
}

/// The byte diagrams (blocks of `text`) and the tables in the head of a file, in order.
fn blocks(source: &Source) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open: Option<Kind> = None;
    for (line_number, line) in source.head_lines() {
        let is_row = line.starts_with('|');
        let begins = match open {
            None if is_row => Some(Kind::Table),
            None if line == "```text" => Some(Kind::Diagram),
            Some(Kind::Table) if !is_row => {
                open = None;
                continue;
            }
            _ => None,
        };
        if let Some(kind) = begins {
            blocks.push(Block { kind, first_line_number: line_number, lines: vec![line] });
            open = Some(if is_row { Kind::Table } else { Kind::Diagram });
        } else if open.is_some() {
            blocks.last_mut().expect("one was pushed when it was opened").lines.push(line);
            if line == "```" {
                open = None;
            }
        }
    }
    blocks
}

/// Reports each offset of a diagram and each state of a table that is no constant of the file. The constant of an offset
/// may be in another file, if the line names it: `1Gi the log (log.rs)`.
fn check_constants(source: &Source, sources: &[Source]) -> Vec<Finding> {
    if !is_shown(source) {
        return Vec::new();
    }
    let mut numbers = constants::numbers(&source.product_code);
    if PACKETS.contains(&source.path.as_str()) {
        numbers.extend(constants::literals(&source.product_code));
    }
    let has = |offset: u64, line: &str| {
        let is_there = |other: &&Source| line.contains(&format!("({})", other.file_name())) && other.is_near(source);
        numbers.contains(&offset)
            || sources.iter().filter(is_there).any(|other| constants::numbers(&other.product_code).contains(&offset))
    };
    let mut findings = Vec::new();
    for block in blocks(source) {
        for (idx, line) in block.lines.iter().enumerate() {
            let mut report = |message: String| {
                findings.push(found(&source.path, block.first_line_number + idx, "head constants", message));
            };
            match block.kind {
                Kind::Diagram => {
                    for offset in offsets(line).filter(|offset| *offset != 0 && !has(*offset, line)) {
                        report(format!("no constant of this file is {offset}, where the diagram has something"));
                    }
                }
                Kind::Table => {
                    for name in names(line).filter(|name| !is_defined(name, &source.product_code)) {
                        report(format!("`{name}` stands in the table and not in the code of this file"));
                    }
                }
            }
        }
    }
    findings
}

/// The offsets in a line of a diagram: the one that it begins with, and those after a `·` (`· 24 facts`, but not `· 24 bytes`).
fn offsets(line: &str) -> impl Iterator<Item = u64> {
    let mut parts = line.split(" · ");
    let first = parts.next().and_then(offset);
    first.into_iter().chain(parts.filter(|part| part.split(' ').nth(1) != Some("bytes")).filter_map(offset))
}

/// The offset that a part of a line begins with: `base + 64`, `128`, `4 Ki`, `1.5 Mi`.
fn offset(line: &str) -> Option<u64> {
    let line = line.trim_start();
    let line = match line.split_once(" + ") {
        Some((base, rest)) if base.chars().all(|character| character.is_ascii_lowercase()) => rest.trim_start(),
        _ => line,
    };
    let end = line.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(line.len());
    let (number, rest) = line.split_at(end);
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let unit = [("Ki", 10), ("Mi", 20), ("Gi", 30)].iter().find(|(unit, _)| rest.starts_with(unit));
    let number: f64 = number.parse().ok()?;
    Some((number * f64::from(1_u32 << unit.map_or(0, |(_, shift)| *shift))) as u64)
}

/// The names of states in a row: words in backticks that begin with a capital letter. Single letters, paths and values
/// of a word are none.
fn names(row: &str) -> impl Iterator<Item = &str> {
    let quoted = row.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    quoted.filter(|word| {
        let is_name = word.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        word.len() > 1 && is_name && word.starts_with(|first: char| first.is_ascii_uppercase())
    })
}

fn is_defined(name: &str, code: &str) -> bool {
    let is_constant = !name.contains(|character: char| character.is_ascii_lowercase());
    let declaration = format!("const {name}:");
    if is_constant { code.contains(&declaration) } else { code.lines().any(|line| has_word(line, name)) }
}

/// Reports each source file of the products without a row in the map, each row that is not the first sentence of its
/// file, and each row of no file.
fn check_map(map: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rows = map_rows(map);
    for source in sources {
        let Some((name, path)) = in_package(source) else { continue };
        let sentence = source.first_sentence();
        match rows.iter().find(|row| row.package == name && row.path == path) {
            None => {
                let message = format!("it lacks, under {name}: | `{path}` | {sentence} |");
                findings.push(found(MAP, 1, "map", message));
            }
            Some(row) if row.sentence != sentence => {
                let message = format!("the file {path} begins with: {sentence}");
                findings.push(found(MAP, row.line_number, "map", message));
            }
            Some(_) => {}
        }
    }
    let is_known = |row: &&Row<'_>| sources.iter().filter_map(in_package).any(|(name, _)| name == row.package);
    for row in rows.iter().filter(is_known) {
        if !sources.iter().filter_map(in_package).any(|place| place == (row.package, row.path)) {
            let message = format!("{} has no source file {}", row.package, row.path);
            findings.push(found(MAP, row.line_number, "map", message));
        }
    }
    findings
}

/// The package that a source file belongs to, and its path in there. Programs to compare with are no packages of ours.
fn in_package(source: &Source) -> Option<(&str, &str)> {
    let path = source.path.strip_prefix("crates/").unwrap_or(&source.path);
    path.split_once("/src/").filter(|(package, _)| !package.contains('/'))
}

#[derive(Debug)]
struct Row<'a> {
    line_number: usize,
    /// The heading above it.
    package: &'a str,
    path: &'a str,
    sentence: &'a str,
}

/// The rows for files: those of tables below a heading of the third level.
fn map_rows(map: &str) -> Vec<Row<'_>> {
    let mut package = "";
    let mut rows = Vec::new();
    for (idx, line) in map.lines().enumerate() {
        if line.starts_with('#') {
            package = line.strip_prefix("### ").unwrap_or("");
        }
        let row = line.strip_prefix("| `").and_then(|line| line.strip_suffix(" |")?.split_once("` | "));
        if let Some((path, sentence)) = row.filter(|_| !package.is_empty()) {
            rows.push(Row { line_number: idx + 1, package, path, sentence });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: &str = "//! A ring. It turns.\n//!\n//! ```text\n//! base +  0  tail\n//! base + 64  head\n//! record: 9\n//! ```\n//!\n\
        //! | value | left by |\n//! |---|---|\n//! | `FREE` | `Busy`, `W`, `a::B` |\n\n\
        const HEAD: usize = 32 << 1;\nconst FREE: u32 = 0;\nenum State { Busy }\n";
    const PATH: &str = "crates/brigade/src/ring.rs";

    fn ring(text: &str) -> Source {
        Source::new(PATH, text)
    }

    fn page(section: &str) -> String {
        format!("# M\n\n{}\n{section}\n{}\n", begin(PATH), end(PATH))
    }

    const SHOWN_RING: &str = "```text\nbase +  0  tail\nbase + 64  head\nrecord: 9\n```\n\n| value | left by |\n|---|---|\n| `FREE` | `Busy`, `W`, `a::B` |";

    #[test]
    fn a_page_that_shows_the_head_as_it_is_passes() {
        assert_eq!(check_page(&page(SHOWN_RING), &[ring(RING)]), []);
    }

    #[test]
    fn a_page_that_shows_something_else_is_caught_and_can_be_written_anew() {
        let old = page(&SHOWN_RING.replace("64", "48"));
        assert_eq!(check_page(&old, &[ring(RING)])[0].line_number, 3);
        assert_eq!(with_heads(&old, &[ring(RING)]), page(SHOWN_RING));
    }

    #[test]
    fn a_head_that_the_page_does_not_show_is_caught() {
        assert_eq!(check_page("# M\n", &[ring(RING)]).len(), 1);
        assert_eq!(check_page("# M\n", &[ring("//! A ring.\n")]), []);
    }

    #[test]
    fn a_section_of_no_file_is_caught() {
        assert_eq!(check_page(&page(""), &[]).len(), 1);
    }

    #[test]
    fn an_offset_that_is_no_constant_is_caught() {
        assert_eq!(check_constants(&ring(RING), &[]), []);
        let moved = ring(&RING.replace("32 << 1", "32 << 2"));
        assert_eq!(check_constants(&moved, &[])[0].line_number, 5);
    }

    #[test]
    fn the_constant_of_an_offset_may_be_in_a_file_that_its_line_names() {
        let moved = RING.replace("32 << 1", "32 << 2").replace("head\n", "head (log.rs)\n");
        let log = Source::new("crates/brigade/src/ring/log.rs", "//! A log.\nconst START: u64 = 64;\n");
        assert_eq!(check_constants(&ring(&moved), &[log]), []);
        let far = Source::new("crates/brigade/src/other/log.rs", "//! A log.\nconst START: u64 = 64;\n");
        assert_eq!(check_constants(&ring(&moved), &[far]).len(), 1);
    }

    #[test]
    fn a_state_that_the_code_does_not_know_is_caught() {
        let renamed = RING.replace("const FREE", "const EMPTY").replace("State { Busy }", "State { Idle }");
        let lines: Vec<usize> =
            check_constants(&ring(&renamed), &[]).iter().map(|finding| finding.line_number).collect();
        assert_eq!(lines, [11, 11]);
    }

    #[test]
    fn offsets_are_read_with_their_units() {
        let lines = [
            "base + 64  rows",
            "   128  value",
            " 4 Ki participants",
            "1.5 Mi: bells",
            "32Gi log",
            "record: 5",
            "bits 2–31",
        ];
        let offsets: Vec<Option<u64>> = lines.iter().map(|line| offset(line)).collect();
        assert_eq!(offsets, [Some(64), Some(128), Some(4096), Some(3 << 19), Some(32 << 30), None, None]);
        let several: Vec<u64> =
            super::offsets("   0  size u64 · 8 capacity u64 · 208 bytes · 1..8 zero · 16 facts").collect();
        assert_eq!(several, [0, 8, 16]);
    }

    #[test]
    fn the_map_has_a_row_for_each_file_with_its_first_sentence() {
        let map = |row: &str| format!("### brigade\n\n| file | why |\n|---|---|\n{row}\n");
        assert_eq!(check_map(&map("| `ring.rs` | A ring. |"), &[ring(RING)]), []);
        assert_eq!(check_map(&map("| `ring.rs` | A wheel. |"), &[ring(RING)])[0].line_number, 5);
        assert_eq!(check_map(&map(""), &[ring(RING)]).len(), 1);
        assert_eq!(check_map(&map("| `gone.rs` | Nothing. |\n| `ring.rs` | A ring. |"), &[ring(RING)]).len(), 1);
        let tool = Source::new("brigade/src/ring.rs", RING);
        assert_eq!(check_map(&map(""), &[tool]).len(), 1, "a package beside those in crates");
        let peer = Source::new("bench/peers/src/ring.rs", RING);
        assert_eq!(check_map(&map(""), &[peer]), []);
    }
}
