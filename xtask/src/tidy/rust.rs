//! The rules on Rust files: how a file begins, how long it is, and what may stand in which crate.
//! Telling code from comments and tests is done in source.rs.

use super::Finding;
use super::manifests::CRATES_UPWARD;
use super::source::{Source, attributes, lines_with};

/// Longer files are split, or their head says why they stay whole.
const MOST_LINES: usize = 800;

const LIBRARIES: [&str; 3] = ["crates/brigade-sys/src/", "crates/brigade/src/", "crates/brigade-copy/src/"];

/// The one file outside brigade-sys that may hold unsafe code.
const UNSAFE_ENTRY: &str = "crates/brigade/src/entry.rs";

/// All rules on one file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let rules: [fn(&Source) -> Vec<Finding>; 9] = [
        head,
        length,
        unsafe_code,
        forbid_unsafe,
        allow_attributes,
        unfinished,
        printing,
        names_of_upper_crates,
        names_are_bytes,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(source)).collect();
    findings.extend(calls_by_path(source));
    findings.extend(atomics(source));
    findings
}

fn found(source: &Source, line_number: usize, rule: &'static str, message: impl Into<String>) -> Finding {
    Finding { path: source.path.clone(), line_number, rule, message: message.into() }
}

/// Reports every line of `code` that has one of `needles` as a word.
fn each(source: &Source, code: &str, needles: &[&str], rule: &'static str, message: &str) -> Vec<Finding> {
    let hits = needles.iter().flat_map(|needle| lines_with(code, needle).into_iter().map(move |line| (line, needle)));
    hits.map(|(line_number, needle)| found(source, line_number, rule, format!("`{needle}`: {message}"))).collect()
}

fn head(source: &Source) -> Vec<Finding> {
    if source.head().trim_start_matches("//!").trim().is_empty() {
        let message = "the first line (after `#!`) is `//! …` and says why this room exists";
        return vec![found(source, 1, "head", message)];
    }
    Vec::new()
}

fn length(source: &Source) -> Vec<Finding> {
    let n_lines = source.text.lines().count();
    if n_lines > MOST_LINES && !source.head().contains("stays whole") {
        let message = format!("{n_lines} lines: split it, or say in its head why it stays whole");
        return vec![found(source, MOST_LINES + 1, "length", message)];
    }
    Vec::new()
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    if source.path.starts_with("crates/brigade-sys/") || source.path == UNSAFE_ENTRY {
        return Vec::new();
    }
    each(source, &source.code, &["unsafe"], "unsafe", "it lives in brigade-sys and in brigade/src/entry.rs only")
}

fn forbid_unsafe(source: &Source) -> Vec<Finding> {
    // The last one's peer works by macros that make unsafe code.
    let exempt = ["crates/brigade-sys/", "crates/brigade/", "bench/peers/crossmist/"]
        .iter()
        .any(|part| source.path.starts_with(part));
    let root = ["/src/lib.rs", "/src/main.rs"].iter().any(|end| source.path.ends_with(end))
        || source.path.contains("/src/bin/");
    if root && !exempt && !source.code.contains("#![forbid(unsafe_code)]") {
        return vec![found(source, 1, "forbid", "the root of this crate lacks `#![forbid(unsafe_code)]`")];
    }
    Vec::new()
}

fn allow_attributes(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (start, end) in attributes(&source.code) {
        if !lines_with(&source.code[start..end], "allow(").is_empty() {
            let line_number = source.code[..start].matches('\n').count() + 1;
            findings.push(found(source, line_number, "allow", "silence a lint by `#[expect(lint, reason = \"…\")]`"));
        }
    }
    findings
}

fn unfinished(source: &Source) -> Vec<Finding> {
    each(source, &source.code, &["todo!", "dbg!", "unimplemented!"], "unfinished", "finish it")
}

fn printing(source: &Source) -> Vec<Finding> {
    if !LIBRARIES.iter().any(|part| source.path.starts_with(part)) {
        return Vec::new();
    }
    let macros = ["println!", "eprintln!", "print!", "eprint!"];
    each(source, &source.product_code, &macros, "printing", "a library does not print")
}

fn names_of_upper_crates(source: &Source) -> Vec<Finding> {
    let inside = |name: &&str| source.path.starts_with(&format!("crates/{name}/"));
    let Some(rank) = CRATES_UPWARD.iter().position(inside) else {
        return Vec::new();
    };
    let upper = CRATES_UPWARD[rank + 1..].iter().map(|name| name.replace('-', "_") + "::");
    let message = "a lower crate never names an upper one";
    upper.flat_map(|name| each(source, &source.code, &[&name], "arrows", message)).collect()
}

fn names_are_bytes(source: &Source) -> Vec<Finding> {
    let crates = ["crates/brigade-copy/src/", "crates/brigade-cli/src/"];
    if !crates.iter().any(|part| source.path.starts_with(part)) {
        return Vec::new();
    }
    let lossy = ["to_string_lossy", "from_utf8_lossy", ".display()"];
    each(source, &source.product_code, &lossy, "names", "a file name becomes text by `brigade_copy::shown` only")
}

fn calls_by_path(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("crates/brigade-copy/src/") {
        return Vec::new();
    }
    let may_work_by_path = ["/plan.rs", "/plan/journal.rs"].iter().any(|path| source.path.ends_with(path));
    if may_work_by_path && source.head().contains("by path") {
        return Vec::new();
    }
    let calls = [
        "std::fs",
        "File::open",
        "File::create",
        "OpenOptions",
        "fs::read",
        "fs::write",
        "fs::copy",
        "fs::rename",
        "fs::remove_file",
        "fs::remove_dir",
        "fs::remove_dir_all",
        "fs::create_dir",
        "fs::create_dir_all",
        "fs::read_dir",
        "fs::metadata",
        "fs::symlink_metadata",
        "fs::set_permissions",
        "fs::canonicalize",
        "fs::open",
        "fs::stat",
        "fs::lstat",
        "fs::mkdir",
        "fs::chmod",
        "fs::unlink",
        "fs::symlink",
        "fs::link",
        "fs::readlink",
        ".canonicalize()",
        ".symlink_metadata()",
        ".read_dir()",
        ".try_exists()",
        ".read_link()",
    ];
    let message = "name one component relative to a held descriptor (plan.rs may work by path if its head says why it goes \"by path\")";
    each(source, &source.product_code, &calls, "by path", message)
}

fn atomics(source: &Source) -> Vec<Finding> {
    let folder = "crates/brigade-sys/src/shared/";
    if !source.path.starts_with(folder) || source.path == format!("{folder}atomics.rs") {
        return Vec::new();
    }
    let origins = ["core::sync::atomic", "std::sync::atomic", "loom::sync::atomic"];
    let message = "take atomics from `brigade_sys::shared::atomics`, so that loom can take their place";
    each(source, &source.product_code, &origins, "atomics", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: &str = "crates/brigade-copy/src/walk.rs";

    /// The rules that a file breaks, with the lines.
    fn broken(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        check(&Source::new(path, text)).iter().map(|finding| (finding.rule, finding.line_number)).collect()
    }

    #[test]
    fn a_good_file_passes() {
        let text = "//! Why.\n#![forbid(unsafe_code)]\n#[expect(dead_code, reason = \"x\")]\nfn a() { b(\"todo!\"); } // unsafe\n";
        assert_eq!(broken("crates/brigade-copy/src/lib.rs", text), []);
        assert_eq!(broken("bench/src/bin/floor.rs", text), []);
    }

    #[test]
    fn a_file_begins_with_its_reason() {
        assert_eq!(broken(COPY, "fn a() {}\n"), [("head", 1)]);
        assert_eq!(broken(COPY, "//!\nfn a() {}\n"), [("head", 1)]);
        assert_eq!(broken(COPY, "// Why.\nfn a() {}\n"), [("head", 1)]);
        assert_eq!(broken(COPY, "#![expect(unused, reason = \"r\")]\n//! Why.\n"), []);
    }

    #[test]
    fn a_long_file_is_split_or_says_why_not() {
        let lines = "\n".repeat(MOST_LINES);
        assert_eq!(broken(COPY, &format!("//! Why.\n{lines}")), [("length", 801)]);
        assert_eq!(broken(COPY, &format!("//! Why. It stays whole: a table.\n{lines}")), []);
        assert_eq!(broken(COPY, &format!("//! Why.{lines}")), []);
    }

    #[test]
    fn unsafe_lives_in_its_place_only() {
        let text = "//! Why.\nfn a() { unsafe { b() } }\n#[unsafe(no_mangle)]\nfn c() {}\n";
        assert_eq!(broken(COPY, text), [("unsafe", 2), ("unsafe", 3)]);
        assert_eq!(broken("crates/brigade/src/pool.rs", text).len(), 2);
        assert_eq!(broken("crates/brigade/src/entry.rs", text), []);
        assert_eq!(broken("crates/brigade-sys/src/kernel/futex.rs", text), []);
    }

    #[test]
    fn every_other_crate_forbids_unsafe() {
        for path in ["crates/brigade-copy/src/lib.rs", "crates/brigade-cli/src/main.rs", "bench/src/bin/floor.rs"] {
            assert_eq!(broken(path, "//! Why. #![forbid(unsafe_code)]\n"), [("forbid", 1)], "{path}");
        }
        assert_eq!(broken("crates/brigade/src/lib.rs", "//! Why.\n"), []);
    }

    #[test]
    fn lints_are_not_silenced_by_allow() {
        let text = "//! Why.\n#[allow(dead_code)]\nfn a() { b.allow(c); }\n#[cfg_attr(x,\n  allow(y))]\nfn d() {}\n";
        assert_eq!(broken(COPY, text), [("allow", 2), ("allow", 4)]);
    }

    #[test]
    fn nothing_is_left_unfinished() {
        let text = "//! Why.\nfn a() { todo!() }\nfn b() { dbg!(1); unimplemented!() }\n";
        assert_eq!(broken("xtask/src/a.rs", text), [("unfinished", 2), ("unfinished", 3), ("unfinished", 3)]);
    }

    #[test]
    fn libraries_do_not_print() {
        let text = "//! Why.\nfn a() { println!(); }\n#[cfg(test)]\nmod tests { fn b() { println!(); } }\n";
        assert_eq!(broken(COPY, text), [("printing", 2)]);
        assert_eq!(broken("crates/brigade/src/pool.rs", "//! Why.\nfn a() { eprint!(); }\n"), [("printing", 2)]);
        assert_eq!(broken("crates/brigade-cli/src/a.rs", text), []);
        assert_eq!(broken("crates/brigade/examples/pool.rs", text), []);
    }

    #[test]
    fn a_lower_crate_does_not_name_an_upper_one() {
        let text = "//! Why.\nuse brigade_copy::Request;\nuse brigade::Pool;\n";
        assert_eq!(broken("crates/brigade-sys/src/a.rs", text), [("arrows", 3), ("arrows", 2)]);
        assert_eq!(broken("crates/brigade/src/a.rs", text), [("arrows", 2)]);
        assert_eq!(broken("crates/brigade-cli/src/a.rs", text), []);
    }

    #[test]
    fn names_become_text_in_one_way_only() {
        let text = "//! Why.\nfn a() { p.to_string_lossy(); p.display(); }\n#[cfg(test)]\nmod tests { fn b() { p.display(); } }\n";
        assert_eq!(broken(COPY, text), [("names", 2), ("names", 2)]);
        assert_eq!(broken("crates/brigade-cli/src/a.rs", text), [("names", 2), ("names", 2)]);
        assert_eq!(broken("xtask/src/a.rs", text), []);
    }

    #[test]
    fn the_engine_does_not_go_by_path() {
        let text = "//! Why.\nfn a() { std::fs::read(p); }\nfn b() { rustix::fs::openat(d, n); }\nfn c() { rustix::fs::open(p); }\n";
        assert_eq!(broken(COPY, text), [("by path", 2), ("by path", 2), ("by path", 4)]);
        assert_eq!(broken("crates/brigade-copy/src/plan.rs", text).len(), 3);
        let reasoned = text.replace("Why.", "Goes by path, since nothing is held yet.");
        assert_eq!(broken("crates/brigade-copy/src/plan.rs", &reasoned), []);
        assert_eq!(broken("crates/brigade-cli/src/a.rs", text), []);
    }

    #[test]
    fn shared_structures_take_atomics_from_one_place() {
        let text = "//! Why.\nuse std::sync::atomic::AtomicU32;\n";
        assert_eq!(broken("crates/brigade-sys/src/shared/ring.rs", text), [("atomics", 2)]);
        assert_eq!(broken("crates/brigade-sys/src/shared/atomics.rs", text), []);
        assert_eq!(broken("crates/brigade-sys/src/kernel/spawn.rs", text), []);
    }
}
