//! The rules on crates of others: each that a manifest names has a row that says why, and what they bring along stays within
//! the budget; both stand in the map. Licences, versions and known weaknesses are cargo-deny's affair: see deny.toml.

use std::collections::HashSet;
use std::path::Path;
use std::{io, process};

use super::manifests::{CRATES_UPWARD, TOOLS, dependencies};
use super::{Finding, TextFile};

/// Where reasons and budget stand, below this heading.
const MAP: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Dependencies";

/// Programs to compare with have manifests of their own and are no part of the project.
const PEERS: &str = "bench/peers/";

/// How many crates of others are built for one of the four crates, itself and the others of the four left out.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) package: &'static str,
    pub(super) n_crates: usize,
}

/// Asks cargo for the trees as they are on Linux with this lock file, for use and for building, not for tests.
pub(super) fn trees(workspace: &Path) -> io::Result<Vec<Tree>> {
    let tree = |package| Ok(Tree { package, n_crates: n_crates(&printed_tree(workspace, package)?) });
    CRATES_UPWARD.into_iter().map(tree).collect()
}

fn printed_tree(workspace: &Path, package: &str) -> io::Result<String> {
    let mut command = crate::cargo();
    command.current_dir(workspace).args(["tree", "--locked", "--package", package, "--edges", "normal,build"]);
    command.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--format", "{p}"]);
    let output = command.stderr(process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{command:?}: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// One crate is printed wherever it is needed; two versions of it are two crates.
fn n_crates(printed: &str) -> usize {
    let words = |line: &'_ str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    let crates: HashSet<Vec<String>> = printed.lines().map(words).collect();
    crates.iter().filter(|words| !CRATES_UPWARD.contains(&words[0].as_str())).count()
}

/// Reports what the map says about dependencies and is not so, and what it does not say.
pub(super) fn check(files: &[TextFile], trees: &[Tree]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == MAP) else {
        return vec![found(MAP, 1, "budget", "this file is missing".to_owned())];
    };
    let mut findings = check_reasons(files, &map.text);
    findings.extend(check_budget(files, &map.text, trees));
    findings
}

fn found(path: &str, line_number: usize, rule: &'static str, message: String) -> Finding {
    Finding { path: path.to_owned(), line_number, rule, message }
}

/// A manifest names no crate without a row, and no row is left of what no manifest names.
fn check_reasons(files: &[TextFile], map: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut lacking: Vec<(usize, &str)> = rows(map, 4).map(|(line_number, cells)| (line_number, cells[0])).collect();
    let reasons: Vec<&str> = lacking.iter().map(|(_, name)| *name).collect();
    for file in files.iter().filter(|file| is_manifest(file) && !file.path.starts_with(PEERS)) {
        for dependency in dependencies(&file.text).iter().filter(|dependency| is_foreign(&dependency.package)) {
            lacking.retain(|(_, name)| *name != dependency.package);
            if !reasons.contains(&dependency.package.as_str()) {
                let message = format!("{} has no row in {MAP} that says what it is for", dependency.package);
                findings.push(found(&file.path, dependency.line_number, "reasons", message));
            }
        }
    }
    let unused = |(line_number, name)| found(MAP, line_number, "reasons", format!("no manifest names {name}"));
    findings.extend(lacking.into_iter().map(unused));
    findings
}

/// For each of the four crates: how many crates it names, and how many it brings along.
fn check_budget(files: &[TextFile], map: &str, trees: &[Tree]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Tree { package, n_crates } in trees {
        let manifest = files.iter().find(|file| file.path == format!("crates/{package}/Cargo.toml"));
        let n_named = manifest.map_or(0, |manifest| n_named(&manifest.text)).to_string();
        let is = [package, n_named.as_str(), &n_crates.to_string()].map(str::to_owned);
        let row = rows(map, 3).find(|(_, cells)| cells[0] == *package);
        if row.as_ref().is_none_or(|(_, cells)| *cells != is) {
            let line_number = row.map_or(1, |(line_number, _)| line_number);
            let message = format!("what {package} names and brings along is: | `{}` |", is.join("` | `"));
            findings.push(found(MAP, line_number, "budget", message));
        }
    }
    findings
}

/// How many crates of others a manifest names, tests left out.
fn n_named(manifest: &str) -> usize {
    let needed = dependencies(manifest).into_iter().filter(|dependency| !dependency.dev);
    let names: HashSet<String> = needed.map(|dependency| dependency.package).filter(|name| is_foreign(name)).collect();
    names.len()
}

fn is_manifest(file: &TextFile) -> bool {
    file.path.ends_with("Cargo.toml")
}

fn is_foreign(package: &str) -> bool {
    !CRATES_UPWARD.contains(&package) && !TOOLS.contains(&package)
}

/// The rows below the heading that begin with a name and have so many cells, without the marks of code.
fn rows(map: &str, n_cells: usize) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let below = map.lines().enumerate().skip_while(|(_, line)| *line != HEADING).skip(1);
    let below = below.take_while(|(_, line)| !line.starts_with("## "));
    let rows = below.filter_map(|(idx, line)| Some((idx + 1, line.strip_prefix("| `")?.strip_suffix(" |")?)));
    let cells =
        rows.map(|(number, row)| (number, row.split(" | ").map(|cell| cell.trim_matches('`')).collect::<Vec<_>>()));
    cells.filter(move |(_, cells)| cells.len() == n_cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP_TEXT: &str = "# Map\n## Dependencies\n| crate | used by | since | what for |\n|---|---|---|---|\n| `libc` | `brigade-sys` | 2015 | calls |\n\n\
        | package | named | in all |\n|---|---|---|\n| `brigade-sys` | 1 | 2 |\n## End\n| `clap` | a | b | c |\n";
    const MANIFEST: &str = "[dependencies]\nlibc = \"0.2\"\n[dev-dependencies]\ntorture = \"1\"\n";

    fn messages(map: &str, manifest: &str, printed: &str) -> Vec<String> {
        let file = |path: &str, text: &str| TextFile { path: path.to_owned(), text: text.to_owned() };
        let files = [file(MAP, map), file("crates/brigade-sys/Cargo.toml", manifest)];
        let trees = [Tree { package: "brigade-sys", n_crates: n_crates(printed) }];
        check(&files, &trees).iter().map(|finding| format!("{}:{}", finding.path, finding.line_number)).collect()
    }

    const PRINTED: &str = "brigade-sys v0.1.0 (/here)\nlibc v0.2.1\nlibc v0.2.1 (*)\nsyn v3.0.0 (proc-macro)\n";

    #[test]
    fn a_map_that_says_what_is_so_passes() {
        assert_eq!(messages(MAP_TEXT, MANIFEST, PRINTED), Vec::<String>::new());
    }

    #[test]
    fn a_dependency_without_a_reason_is_caught_and_so_is_a_reason_without_its_dependency() {
        let other = MANIFEST.replace("libc", "clap");
        assert_eq!(messages(MAP_TEXT, &other, PRINTED), ["crates/brigade-sys/Cargo.toml:2", "ARCHITECTURE.md:5"]);
    }

    #[test]
    fn a_crate_more_or_less_than_the_budget_is_caught_whoever_brought_it() {
        let more = format!("{PRINTED}syn v2.0.0 (proc-macro)\n");
        assert_eq!(messages(MAP_TEXT, MANIFEST, &more), ["ARCHITECTURE.md:9"]);
        assert_eq!(messages(MAP_TEXT, MANIFEST, "brigade-sys v0.1.0\nlibc v0.2.1\n"), ["ARCHITECTURE.md:9"]);
        let unknown = MAP_TEXT.replace("`brigade-sys` | 1", "`brigade` | 1");
        assert_eq!(messages(&unknown, MANIFEST, PRINTED), ["ARCHITECTURE.md:1"]);
    }
}
