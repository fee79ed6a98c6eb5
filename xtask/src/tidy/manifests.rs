//! The rule on arrows between crates: `brigade-cli → brigade-copy → brigade → brigade-sys`, as the manifests draw them.
//! The same rule for names inside sources stands in rust.rs.

use super::Finding;

/// The crates from the lowest to the highest; each may name only those before it.
pub(super) const CRATES_UPWARD: [&str; 4] = ["brigade-sys", "brigade", "brigade-copy", "brigade-cli"];

/// Packages that serve development only and no product may need.
pub(super) const TOOLS: [&str; 3] = ["bench", "torture", "xtask"];

/// Reports each dependency of one of the four crates that points the wrong way.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let Some(rank) = CRATES_UPWARD.iter().position(|name| path == format!("crates/{name}/Cargo.toml")) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for dependency in dependencies(text) {
        let upward = CRATES_UPWARD[rank..].contains(&dependency.package.as_str());
        let tool = !dependency.dev && TOOLS.contains(&dependency.package.as_str());
        if upward || tool {
            findings.push(Finding {
                path: path.to_owned(),
                line_number: dependency.line_number,
                rule: "arrows",
                message: format!(
                    "{} may not depend on {}: the way is brigade-cli → brigade-copy → brigade → brigade-sys",
                    CRATES_UPWARD[rank], dependency.package
                ),
            });
        }
    }
    findings
}

pub(super) struct Dependency {
    pub(super) package: String,
    pub(super) dev: bool,
    pub(super) line_number: usize,
}

/// The dependencies of all tables, `[target.'cfg(…)'.dependencies]` and `[dependencies.NAME]` included.
pub(super) fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    let mut dev = None;
    let mut in_table_of_one = false;
    for (idx, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            dev = None;
            in_table_of_one = false;
            for kind in ["dev-dependencies", "build-dependencies", "dependencies"] {
                let Some(at) = header.find(kind).filter(|_| dev.is_none()) else {
                    continue;
                };
                dev = Some(kind == "dev-dependencies");
                if let Some(name) = header[at + kind.len()..].strip_prefix('.') {
                    in_table_of_one = true;
                    found.push(Dependency { package: unquoted(name), dev: dev == Some(true), line_number: idx + 1 });
                }
            }
        } else if let Some(dev) = dev.filter(|_| line.contains('=') && !line.starts_with('#')) {
            let key = unquoted(line.split(['.', '=', ' ']).next().unwrap_or(line));
            if in_table_of_one && key != "package" {
                continue;
            }
            let package = renamed(line, in_table_of_one).unwrap_or(key);
            found.push(Dependency { package, dev, line_number: idx + 1 });
        }
    }
    found
}

/// The value of `package = "…"`, inside braces or as a line of its own.
fn renamed(line: &str, whole_line: bool) -> Option<String> {
    let at = line.find("package").filter(|at| whole_line || line[..*at].contains('{'))?;
    Some(line[at..].split('"').nth(1)?.to_owned())
}

fn unquoted(name: &str) -> String {
    name.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        check(path, text).iter().map(|finding| finding.line_number).collect()
    }

    #[test]
    fn an_upward_dependency_is_caught_in_every_form() {
        for (path, text) in [
            ("crates/brigade-sys/Cargo.toml", "[dependencies]\nbrigade.workspace = true\n"),
            ("crates/brigade/Cargo.toml", "[dependencies]\nbrigade-copy = { path = \"../brigade-copy\" }\n"),
            ("crates/brigade/Cargo.toml", "[dev-dependencies]\n\"brigade-cli\" = \"1\"\n"),
            ("crates/brigade/Cargo.toml", "[dependencies]\nother = { package = \"brigade-copy\", version = \"1\" }\n"),
            (
                "crates/brigade-copy/Cargo.toml",
                "[package]\n[target.'cfg(unix)'.dependencies.brigade-cli]\npath = \"x\"\n",
            ),
            ("crates/brigade-copy/Cargo.toml", "[dependencies]\ntorture.workspace = true\n"),
        ] {
            assert_eq!(lines_found(path, text), [2], "{text}");
        }
        let renamed = "[dependencies.other]\nversion = \"1\"\npackage = \"brigade-cli\"\n";
        assert_eq!(lines_found("crates/brigade-copy/Cargo.toml", renamed), [3]);
    }

    #[test]
    fn downward_dependencies_and_development_tools_pass() {
        let text = "[package]\nname = \"brigade-copy\"\n[dependencies]\nbrigade.workspace = true\n[dev-dependencies]\ntorture.workspace = true\n[[bin]]\nname = \"brigade-cli\"\n";
        assert!(lines_found("crates/brigade-copy/Cargo.toml", text).is_empty());
        assert!(lines_found("bench/Cargo.toml", "[dependencies]\nbrigade-cli = \"1\"\n").is_empty());
    }
}
