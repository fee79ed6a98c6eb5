//! `cargo xtask tidy`: the rules of the house that no compiler checks, each named with file and line where it is broken.
//! Reading Rust is done in source.rs; the rules themselves stand in manifests.rs, dependencies.rs, rust.rs, heads.rs and documents.rs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fmt, fs, io};

mod constants;
mod dependencies;
mod documents;
mod heads;
mod manifests;
mod rust;
mod source;

use source::Source;

/// One place where a rule is broken.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Finding {
    path: String,
    line_number: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line_number, rule, message } = self;
        write!(f, "{path}:{line_number}: {rule}: {message}")
    }
}

/// A file of the workspace, by its path from the workspace's folder.
#[derive(Clone, Debug)]
struct TextFile {
    path: String,
    text: String,
}

/// Checks the workspace and prints what is broken.
pub fn run(workspace: &Path) -> ExitCode {
    let read = read_texts(workspace).and_then(|files| Ok((files, dependencies::trees(workspace)?)));
    let (files, trees) = match read {
        Ok(read) => read,
        Err(error) => {
            eprintln!("tidy: cannot read the workspace: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut findings = check(&files, &|path| workspace.join(path).exists());
    findings.extend(dependencies::check(&files, &trees));
    for finding in &findings {
        eprintln!("{finding}");
    }
    eprintln!("tidy: {} files, {} findings", files.len(), findings.len());
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes the page on shared memory anew, with the diagrams and tables that stand in the heads of files now.
pub fn write(workspace: &Path) -> ExitCode {
    let written = read_texts(workspace).and_then(|files| {
        let page = fs::read_to_string(workspace.join(heads::PAGE))?;
        fs::write(workspace.join(heads::PAGE), heads::with_heads(&page, &sources(&files)))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidy: cannot write {}: {error}", heads::PAGE);
            ExitCode::FAILURE
        }
    }
}

fn check(files: &[TextFile], exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let sources = sources(files);
    let mut findings: Vec<Finding> = sources.iter().flat_map(rust::check).collect();
    findings.extend(heads::check(files, &sources));
    findings.extend(documents::check_languages(files));
    for file in files {
        if file.path.ends_with("Cargo.toml") {
            findings.extend(manifests::check(&file.path, &file.text));
        } else if file.path.ends_with(".md") {
            findings.extend(documents::check_links(&file.path, &file.text, exists));
        }
    }
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    findings.extend(documents::check_readmes(text_of("README.md"), text_of("README.zh-CN.md"), text_of(".ci/run")));
    findings
}

/// The Rust files, each knowing whether some other one declares it for tests only.
fn sources(files: &[TextFile]) -> Vec<Source> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let mut sources: Vec<Source> = rust.map(|file| Source::new(&file.path, &file.text)).collect();
    let test_modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        if test_modules.iter().any(|path| source.is_in_module(path)) {
            source.take_for_tests();
        }
    }
    sources
}

/// Every file a rule looks at, sorted; build folders and hidden ones (but `.ci`) are left out.
fn read_texts(workspace: &Path) -> io::Result<Vec<TextFile>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(workspace.join(&folder))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = folder.join(&name);
            if entry.file_type()?.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci";
                if !hidden && !name.starts_with("target") {
                    folders.push(path);
                }
            } else if is_checked(&name) || path == Path::new(".ci/run") {
                let text = fs::read_to_string(entry.path())?;
                let path = path.into_os_string().into_string().expect("made of names that are text");
                files.push(TextFile { path, text });
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn is_checked(name: &str) -> bool {
    name.ends_with(".rs") || name.ends_with(".md") || name == "Cargo.toml"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_declared_for_tests_is_no_product_code() {
        let file = |path: &str, text: &str| TextFile { path: path.to_owned(), text: text.to_owned() };
        let prints = "//! Why.\nfn a() { println!(); }\n";
        let files = [
            file("crates/brigade/src/lib.rs", "//! Why.\n#[cfg(test)]\nmod helper;\nmod product;\n"),
            file("crates/brigade/src/helper.rs", prints),
            file("crates/brigade/src/product.rs", prints),
        ];
        let findings = check(&files, &|_| true);
        let printing = findings.iter().filter(|finding| finding.rule == "printing");
        let paths: Vec<&str> = printing.map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["crates/brigade/src/product.rs"]);
    }

    #[test]
    fn the_workspace_is_tidy() {
        let workspace = crate::workspace();
        let files = read_texts(&workspace).unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy.rs"), "the walk found itself");
        let mut findings = check(&files, &|path| workspace.join(path).exists());
        findings.extend(dependencies::check(&files, &dependencies::trees(&workspace).unwrap()));
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "\n{}", lines.join("\n"));
    }
}
