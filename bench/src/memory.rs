//! The bench of memory: the largest sum of PSS over all processes of the command, sampled while it copies very many entries.
//! Places and the document are made elsewhere; here are the trees, the sampling and the table.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use torture::facts;
use torture::processes;

use crate::place::{self, FROM, FileSystem, Place, TO};
use crate::race::Means;
use crate::statistics::grouped;
use crate::tree::{self, Survey};
use crate::{BenchError, document, interrupt, machine};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Trees.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "folders,files,one-folder,hard-links")]
    pub trees: Vec<Shape>,
    /// Entries of each tree, instead of 80 000 folders, 1 000 000 files, 200 000 hard links.
    #[arg(long, value_name = "N")]
    pub entries: Option<u64>,
    /// The command to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    pub brigade: Option<PathBuf>,
    /// Prints the table only, and leaves docs/measurements.md as it is.
    #[arg(long)]
    pub dry: bool,
}

/// What a tree consists of. Its files are empty: what is measured does not depend on their bytes, and a million must fit into
/// memory twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Shape {
    /// Empty folders side by side.
    Folders,
    /// Files in folders of a thousand.
    Files,
    /// Files in one folder.
    OneFolder,
    /// Pairs of names of one file, each pair in two folders of a thousand names.
    HardLinks,
}

const DOCUMENT: &str = "docs/measurements.md";
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// What may be used, whatever the number of entries.
const MOST_BYTES: u64 = 64 << 20;
/// What may be used for each name of a file that has several.
const MOST_BYTES_PER_HARD_LINK: u64 = 64;
/// The runs over each tree; the last finds everything at the destination.
const RUNS: [(&str, &str); 4] = [
    ("no progress", "--progress=none"),
    ("totals", "--progress=plain"),
    ("JSON", "--progress=json"),
    ("everything there", "--progress=none"),
];

impl Shape {
    /// As it stands in the table.
    fn words(self) -> &'static str {
        match self {
            Self::Folders => "empty folders",
            Self::Files => "files, 1 000 a folder",
            Self::OneFolder => "files in one folder",
            Self::HardLinks => "names of files that have two",
        }
    }

    fn n_entries(self) -> u64 {
        match self {
            Self::Folders => 80_000,
            Self::Files | Self::OneFolder => 1_000_000,
            Self::HardLinks => 200_000,
        }
    }

    /// The bound that the contract sets.
    fn most_bytes(self, n_entries: u64) -> u64 {
        match self {
            Self::HardLinks => MOST_BYTES + MOST_BYTES_PER_HARD_LINK * n_entries,
            Self::Folders | Self::Files | Self::OneFolder => MOST_BYTES,
        }
    }

    fn make(self, root: &Path, n_entries: u64) -> Result<(), BenchError> {
        fs::create_dir(root)?;
        (0..n_entries).try_for_each(|idx| {
            interrupt::check()?;
            self.make_entry(root, idx)
        })
    }

    fn make_entry(self, root: &Path, idx: u64) -> Result<(), BenchError> {
        let name = idx.to_string();
        match self {
            Self::Folders => fs::create_dir(root.join(name))?,
            Self::OneFolder => make_file(&root.join(name))?,
            Self::Files => make_file(&folder(root, idx, "files")?.join(name))?,
            // The second name of each file is elsewhere.
            Self::HardLinks if idx.is_multiple_of(2) => make_file(&folder(root, idx / 2, "first")?.join(name))?,
            Self::HardLinks => {
                let first = folder(root, idx / 2, "first")?.join((idx - 1).to_string());
                fs::hard_link(first, folder(root, idx / 2, "second")?.join(name))?;
            }
        }
        Ok(())
    }
}

fn make_file(path: &Path) -> std::io::Result<()> {
    File::create_new(path).map(drop)
}

/// The folder for the file of this number, a new one for each thousand.
fn folder(root: &Path, file_idx: u64, name: &str) -> std::io::Result<PathBuf> {
    let folder = root.join(format!("{name} {}", file_idx / 1000));
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(folder),
    }
}

/// Measures, prints the table and writes it down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    place::enter_mount_namespace()?;
    interrupt::install()?;
    let rows = rows(request.brigade.as_deref(), &request.trees, request.entries)?;
    let section = section(&rows)?;
    println!("{section}");
    if !request.dry {
        document::write_section(Path::new(DOCUMENT), "memory", &section)?;
    }
    Ok(())
}

/// All trees; fewer entries where figures are to say nothing.
pub(crate) fn measure(means: &Means) -> Result<Vec<Row>, BenchError> {
    let mut all = Vec::new();
    for shape in Shape::value_variants() {
        let n_entries = shape.n_entries() / u64::from(means.scale);
        all.extend(rows(means.brigade.as_deref(), &[*shape], Some(n_entries))?);
    }
    Ok(all)
}

fn rows(brigade: Option<&Path>, shapes: &[Shape], n_entries: Option<u64>) -> Result<Vec<Row>, BenchError> {
    let brigade = match brigade {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()?.with_file_name("brigade"),
    };
    shapes.iter().map(|shape| row(*shape, n_entries.unwrap_or_else(|| shape.n_entries()), &brigade)).collect()
}

/// One tree, and the peak of each run over it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    shape: Shape,
    n_entries: u64,
    peaks: Vec<u64>,
}

/// What is wanted of them all.
pub(crate) const WANTED: &str = "all processes together: ≤ 64 MiB, and 64 bytes for each name of a file with several";

/// The greatest peak, and whether each is within its bound.
pub(crate) fn judge(rows: &[Row]) -> (String, bool) {
    let greatest = rows.iter().flat_map(|row| &row.peaks).max().copied().unwrap_or_default();
    (format!("{} MiB at most", mebibytes(greatest)), rows.iter().all(Row::is_within))
}

impl Row {
    fn is_within(&self) -> bool {
        self.peaks.iter().all(|peak| *peak <= self.shape.most_bytes(self.n_entries))
    }
}

fn row(shape: Shape, n_entries: u64, brigade: &Path) -> Result<Row, BenchError> {
    let place = Place::make(FileSystem::Tmpfs, None)?;
    let [source, copy] = [FROM, TO].map(|side| place.folder().join(side).join("tree"));
    eprintln!("bench: making {} {}", grouped(n_entries), shape.words());
    shape.make(&source, n_entries)?;
    let expected = tree::survey(&source)?;
    let mut peaks = Vec::new();
    for (run_idx, (words, progress)) in RUNS.into_iter().enumerate() {
        let mut command = Command::new(brigade);
        command.args(["copy", progress, "-T"]).args([&source, &copy]);
        let peak = peak_of(&mut command)?;
        eprintln!("bench: {}, {words}: {}", shape.words(), mebibytes(peak));
        check(&copy, &expected)?;
        // The last run needs the copy of the one before.
        if run_idx + 2 < RUNS.len() {
            fs::remove_dir_all(&copy)?;
        }
        peaks.push(peak);
    }
    Ok(Row { shape, n_entries, peaks })
}

fn check(copy: &Path, expected: &Survey) -> Result<(), BenchError> {
    let found = tree::survey(copy)?;
    if found == *expected { Ok(()) } else { Err(format!("the copy has {found:?} instead of {expected:?}").into()) }
}

/// The largest sum that was seen while the program ran.
fn peak_of(command: &mut Command) -> Result<u64, BenchError> {
    interrupt::check()?;
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    interrupt::set_running(Some(child.id()));
    let outcome = sampled(&mut child);
    interrupt::set_running(None);
    interrupt::check()?;
    outcome
}

fn sampled(child: &mut Child) -> Result<u64, BenchError> {
    let mut peak = 0;
    loop {
        peak = peak.max(processes::group_memory_bytes(child.id()));
        match facts::end_of(child, SAMPLE_EVERY)? {
            None => {}
            Some(status) if status.success() => return Ok(peak),
            Some(status) => return Err(format!("brigade ended with {status}").into()),
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// The section of a document.
pub(crate) fn section(rows: &[Row]) -> Result<String, BenchError> {
    let names: Vec<String> =
        rows.iter().filter_map(|row| Some(row.shape.to_possible_value()?.get_name().to_owned())).collect();
    let mut text = format!(
        "## The memory of a copy\n\n\
         The largest sum of PSS (`/proc/PID/smaps_rollup`) over all processes of the command, sampled every {} ms, in MiB; on \
         tmpfs, with the default width. `cargo xtask bench memory --trees {}`\non {}.\n\n|",
        SAMPLE_EVERY.as_millis(),
        names.join(","),
        machine::description()?
    );
    for (words, _) in RUNS {
        text += &format!(" | {words}");
    }
    text += " | at most |\n|---|";
    text += &"---|".repeat(RUNS.len() + 1);
    for row in rows {
        text += &format!("\n| {} {}", grouped(row.n_entries), row.shape.words());
        for peak in &row.peaks {
            text += &format!(" | {}", mebibytes(*peak));
        }
        text += &format!(" | {} |", mebibytes(row.shape.most_bytes(row.n_entries)));
    }
    let verdict = if judge(rows).1 { "reached" } else { "**not reached**" };
    text += &format!(
        "\n\nWanted: {WANTED}; {verdict}.\n\
         *Everything there*: the same command again, over the copy that the run before it made. *Totals* and *JSON* list ahead \
         of the copying,\nby about 16 MiB of names."
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_has_as_many_entries_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        for shape in Shape::value_variants() {
            let root = folder.path().join(shape.words());
            shape.make(&root, 2002).unwrap();
            let survey = tree::survey(&root).unwrap();
            let n_entries = if *shape == Shape::Folders { survey.n_folders - 1 } else { survey.n_files };
            assert_eq!(n_entries, 2002, "{shape:?}");
        }
    }

    #[test]
    fn a_programs_memory_is_seen_as_long_as_it_runs() {
        let peak = peak_of(Command::new("sh").args(["-c", "sleep 0.2 & wait"])).unwrap();
        assert!((1 << 16..1 << 27).contains(&peak), "{peak}");
        assert!(peak_of(Command::new("sh").args(["-c", "exit 3"])).is_err());
    }

    #[test]
    fn only_names_of_files_with_several_raise_the_bound() {
        assert_eq!(Shape::Files.most_bytes(1_000_000), 64 << 20);
        assert_eq!(Shape::HardLinks.most_bytes(200_000), (64 << 20) + 12_800_000);
    }
}
