//! The rules on documents: links lead somewhere, the README's commands are what `.ci/run` calls, and a page in two
//! languages has one shape and the same code. Code has rules of its own: see rust.rs.

use std::fmt;

use super::{Finding, TextFile};

/// The two commands a newcomer needs, as the README gives them.
const COMMANDS: [&str; 2] = ["cargo run --release -- copy", "cargo test --workspace"];

fn found(path: &str, line_number: usize, rule: &'static str, message: impl Into<String>) -> Finding {
    Finding { path: path.to_owned(), line_number, rule, message: message.into() }
}

/// Reports each relative link that leads to nothing. `exists` is asked for paths from the workspace's folder.
pub(super) fn check_links(path: &str, text: &str, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (line_number, line) in prose_lines(text) {
        for target in link_targets(&line) {
            let file = target.split('#').next().unwrap_or(target);
            // Pages inside of crates are read by rustdoc too, which checks links to items by itself.
            let is_item = path.starts_with("crates/") && (file.contains("::") || file.ends_with('('));
            if is_item || file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            if !resolved(folder, file).is_some_and(|file| exists(&file)) {
                findings.push(found(path, line_number, "links", format!("{target} leads to nothing")));
            }
        }
    }
    findings
}

/// Reports a README that does not give the two commands, a gate that does not call them, and READMEs of two shapes.
pub(super) fn check_readmes(english: Option<&str>, chinese: Option<&str>, gate: Option<&str>) -> Vec<Finding> {
    let (Some(english), Some(chinese), Some(gate)) = (english, chinese, gate) else {
        let files = [("README.md", english), ("README.zh-CN.md", chinese), (".ci/run", gate)];
        let missing = files.iter().filter(|(_, text)| text.is_none());
        return missing.map(|(path, _)| found(path, 1, "readme", "this file is missing")).collect();
    };
    let mut findings = Vec::new();
    for command in COMMANDS {
        for (path, text) in [("README.md", english), ("README.zh-CN.md", chinese)] {
            if !code_lines(text).any(|line| line.trim_start_matches("$ ").starts_with(command)) {
                findings.push(found(path, 1, "readme", format!("no code block gives `{command}`")));
            }
        }
        if !gate.lines().any(|line| calls(line, command)) {
            findings.push(found(".ci/run", 1, "readme", format!("it does not call the README's `{command}`")));
        }
    }
    findings
}

/// Reports each page with a Chinese twin that differs from it in sections, in the kinds of its code blocks, or in its Rust:
/// rustdoc runs the English page's only.
pub(super) fn check_languages(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for chinese in files {
        let Some(stem) = chinese.path.strip_suffix(".zh-CN.md") else {
            continue;
        };
        let path = format!("{stem}.md");
        let Some(english) = files.iter().find(|file| file.path == path) else {
            findings.push(found(&chinese.path, 1, "languages", format!("{path} is missing")));
            continue;
        };
        let mut differ = |what: &str, english: &dyn fmt::Debug, chinese_shape: &dyn fmt::Debug| {
            let message = format!("its {what} are {chinese_shape:?}, those of {path} {english:?}");
            findings.push(found(&chinese.path, 1, "languages", message));
        };
        let (english, chinese) = (english.text.as_str(), chinese.text.as_str());
        if sections(english) != sections(chinese) {
            differ("sections", &sections(english), &sections(chinese));
        }
        if blocks(english) != blocks(chinese) {
            differ("code blocks", &blocks(english), &blocks(chinese));
        }
        if let Some((english, chinese)) = rust(english).zip(rust(chinese)).find(|(english, chinese)| english != chinese)
        {
            differ("Rust lines", &english, &chinese);
        }
    }
    findings
}

/// Whether a line of the script runs the command, as itself or as words after another (`timeout 9 cargo …`).
fn calls(line: &str, command: &str) -> bool {
    let line = line.trim();
    !line.starts_with('#') && !line.starts_with("echo") && line.contains(command)
}

/// The lines outside code blocks, numbered from 1, without inline code.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, String)> {
    fenced(text)
        .filter(|(_, line, inside)| !inside && !is_fence(line))
        .map(|(line_number, line, _)| (line_number, line.split('`').step_by(2).collect::<Vec<_>>().join(" ")))
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    fenced(text).filter(|(_, line, inside)| *inside && !is_fence(line)).map(|(_, line, _)| line)
}

/// The lines of Rust blocks in order.
fn rust(text: &str) -> impl Iterator<Item = &str> {
    let mut is_rust = false;
    fenced(text).filter_map(move |(_, line, inside)| {
        if is_fence(line) {
            is_rust = inside && line.trim_start() == "```rust";
            return None;
        }
        is_rust.then_some(line)
    })
}

fn fenced(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut inside = false;
    text.lines().enumerate().map(move |(idx, line)| {
        if is_fence(line) {
            inside = !inside;
        }
        (idx + 1, line, inside)
    })
}

fn is_fence(line: &str) -> bool {
    line.trim_start().starts_with("```")
}

/// The level of each heading in order.
fn sections(text: &str) -> Vec<usize> {
    let headings = prose_lines(text).map(|(_, line)| line).filter(|line| line.starts_with('#'));
    headings.map(|line| line.chars().take_while(|character| *character == '#').count()).collect()
}

/// The language of each code block in order.
fn blocks(text: &str) -> Vec<&str> {
    let opening = fenced(text).filter(|(_, line, inside)| *inside && is_fence(line));
    opening.map(|(_, line, _)| line.trim_start().trim_start_matches('`')).collect()
}

/// What stands in `](…)` and in `[name]: …`.
fn link_targets(line: &str) -> Vec<&str> {
    let mut targets: Vec<&str> = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(|target| target.trim_matches(['<', '>']))
        .collect();
    let definition = line.split_once("]: ").filter(|(name, _)| name.starts_with('['));
    targets.extend(definition.and_then(|(_, target)| target.split_whitespace().next()));
    targets
}

/// The path from the workspace's folder; none if it leaves it.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str =
        "# Brigade\n```sh\ncargo run --release -- copy SOURCE DESTINATION\ncargo test --workspace\n```\n## More\n";
    const GATE: &str = "set -eu\ncargo run --release -- copy \"$d/a\" \"$d/b\"\ncargo test --workspace\n";

    #[test]
    fn a_link_to_nothing_is_caught() {
        let exists = |path: &str| ["docs/copying.md", "README.md", "docs"].contains(&path);
        let text = "[a](copying.md#x) [b](../README.md) [c](https://x.y/z) [d](#here) [e](..)\n[f](gone.md)\n`[g](gone.md)`\n```\n[h](gone.md)\n```\n[i]: ../gone.md\n[j](../../README.md) [k](.)\n";
        let lines: Vec<usize> = check_links("docs/shared.md", text, &|path| path.is_empty() || exists(path))
            .iter()
            .map(|f| f.line_number)
            .collect();
        assert_eq!(lines, [2, 7, 8]);
    }

    #[test]
    fn readmes_of_one_shape_with_called_commands_pass() {
        assert_eq!(check_readmes(Some(README), Some(README), Some(GATE)), []);
    }

    #[test]
    fn a_command_that_the_gate_does_not_call_is_caught() {
        let gate = GATE.replace("cargo test --workspace", "# cargo test --workspace");
        assert_eq!(check_readmes(Some(README), Some(README), Some(&gate))[0].path, ".ci/run");
    }

    #[test]
    fn a_readme_without_a_command_is_caught() {
        let readme = README.replace("cargo test --workspace\n", "cargo test\n");
        assert_eq!(check_readmes(Some(&readme), Some(README), Some(GATE))[0].path, "README.md");
        assert_eq!(check_readmes(Some(README), Some(&readme), Some(GATE))[0].path, "README.zh-CN.md");
    }

    fn check_twins(english: &str, chinese: &str) -> Vec<Finding> {
        let file = |path: &str, text: &str| TextFile { path: path.to_owned(), text: text.to_owned() };
        check_languages(&[file("docs/a.md", english), file("docs/a.zh-CN.md", chinese)])
    }

    #[test]
    fn pages_of_one_shape_with_the_same_rust_pass() {
        let rust = "# A\n```text\none\n```\n```rust\nfn a() {}\n```\n";
        assert_eq!(check_twins(rust, &rust.replace("one", "\u{4e00}")), []);
    }

    #[test]
    fn pages_of_two_shapes_are_caught() {
        assert_eq!(check_twins(README, &format!("{README}### Even more\n")).len(), 1);
        assert_eq!(check_twins(README, &format!("{README}```rust\n# fn main() {{}}\n```\n")).len(), 1);
    }

    #[test]
    fn rust_that_differs_between_languages_is_caught() {
        let page = "# A\n```rust\nlet n = 1;\n```\n";
        assert_eq!(check_twins(page, &page.replace('1', "2")).len(), 1);
    }

    #[test]
    fn a_page_without_its_english_twin_is_caught() {
        let file = TextFile { path: "docs/a.zh-CN.md".to_owned(), text: String::new() };
        assert_eq!(check_languages(&[file]).len(), 1);
    }

    #[test]
    fn a_missing_file_is_named() {
        assert_eq!(check_readmes(Some(README), None, Some(GATE))[0].path, "README.zh-CN.md");
    }
}
