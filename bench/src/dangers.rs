//! The bench of dangers: every tool that is here is tried with every case of `torture::dangers`, and the table says what became
//! of it. Nothing is timed.

use std::path::{Path, PathBuf};

use torture::dangers::{self, CASES, Case, Form, Promise, TIME_LIMIT, Tool};

use crate::{BenchError, document, interrupt, machine, place, tools};

/// What to try.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// The command to try [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub brigade: Option<PathBuf>,
    /// Where the peers from crates.io are, if not in the PATH.
    #[arg(long, value_name = "FOLDER")]
    pub peers: Option<PathBuf>,
    /// Prints the table only, and leaves docs/measurements.md as it is.
    #[arg(long)]
    pub dry: bool,
}

const DOCUMENT: &str = "docs/measurements.md";

/// Of each tool the name, the options that keep the most, what its copies are held to, and how it takes folders. Only
/// ours is held to all metadata: the others are wrong only for what the case is about.
const TOOLS: [(&str, &[&str], Promise, Form); 9] = [
    ("brigade", &["copy"], Promise::Everything, Form::Plain),
    ("cp", &["-a"], Promise::Contents, Form::Plain),
    ("rsync", &["-aHAXS"], Promise::Contents, Form::Slashes),
    ("xcp", &["-r", "--ownership"], Promise::Contents, Form::Plain),
    ("fcp", &[], Promise::Contents, Form::Plain),
    // Without -f it replaces no file, which all others do.
    ("cpz", &["-f"], Promise::Contents, Form::Plain),
    ("cpx", &["copy", "-a"], Promise::Contents, Form::Into),
    ("syq", &[], Promise::Contents, Form::Plain),
    ("rcp", &["--preserve"], Promise::Contents, Form::Plain),
];

/// A tool that is here.
struct Contender {
    tool: Tool,
    version: String,
}

/// Tries everything, prints the table and writes it down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    place::enter_mount_namespace()?;
    interrupt::install()?;
    if !rustix::process::geteuid().is_root() {
        return Err("the cases need mounts, devices and another user: run this as root".into());
    }
    let contenders = contenders(request)?;
    let mut rows = Vec::new();
    for case in &CASES {
        let row = row(case, &contenders)?;
        eprintln!("bench: {row}");
        rows.push(row);
    }
    let section = section(&contenders, &rows)?;
    println!("{section}");
    if !request.dry {
        document::write_section(Path::new(DOCUMENT), "dangers", &section)?;
    }
    Ok(())
}

fn contenders(request: &Request) -> Result<Vec<Contender>, BenchError> {
    let beside = std::env::current_exe()?.with_file_name("brigade");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for (name, options, promise, form) in TOOLS {
        let program = match name {
            "brigade" => request.brigade.clone().or_else(|| Some(beside.clone())),
            _ => request
                .peers
                .clone()
                .into_iter()
                .chain(std::env::split_paths(&path))
                .map(|folder| folder.join(name))
                .find(|program| program.is_file()),
        };
        let Some(program) = program else {
            eprintln!("bench: {name} is not installed and is left out");
            continue;
        };
        // The tools are started in other folders.
        let program = std::path::absolute(program)?;
        let version = tools::version(&program).ok_or_else(|| format!("{program:?} says no version"))?;
        found.push(Contender { tool: Tool { name, program, options, promise, form }, version });
    }
    Ok(found)
}

fn row(case: &Case, contenders: &[Contender]) -> Result<String, BenchError> {
    let mut cells = vec![case.name.to_owned()];
    for contender in contenders {
        interrupt::check()?;
        cells.push(dangers::tried(case, &contender.tool)?.words().to_owned());
    }
    Ok(format!("| {} |", cells.join(" | ")))
}

fn section(contenders: &[Contender], rows: &[String]) -> Result<String, BenchError> {
    let called = |one: &Contender| format!("`{} {}`", one.tool.name, one.tool.options.join(" ")).replace(" `", "`");
    let versions: Vec<String> = contenders.iter().map(|one| format!("{} {}", called(one), one.version)).collect();
    let missing: Vec<&str> = TOOLS
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| !contenders.iter().any(|one| one.tool.name == *name))
        .collect();
    let missing = if missing.is_empty() { String::new() } else { format!(" Not installed: {}.", missing.join(", ")) };
    let names: Vec<&str> = contenders.iter().map(|one| one.tool.name).collect();
    let lines = [
        "## Dangers: what destroys a source, hangs, or says that all is well".to_owned(),
        String::new(),
        format!("`cargo xtask bench dangers` on {}; each case in a fresh tmpfs,", machine::description()?),
        format!("{} s at most. {}.{missing}", TIME_LIMIT.as_secs(), versions.join(", ")),
        String::new(),
        format!("| case | {} |", names.join(" | ")),
        format!("|---|{}", "---|".repeat(contenders.len())),
        rows.join("\n"),
        String::new(),
"*Right*: an independent comparer finds the source's names, types, contents, link targets and device numbers in the copy; \
         brigade's is held to all metadata, too. *Refused*: an error that harmed nothing, where a copy is impossible or the source \
         changed. *Fails*: an error or a crash where a copy was possible. *Wrong, exit 0*: something is missing or other than in \
         the source, and the status says that all is well. A setuid bit must go along with the owner, or not at all. Of the file \
         that shrinks, the old and the new state are right, a mixture is not."
            .to_owned(),
    ];
    Ok(lines.join("\n") + "\n")
}
