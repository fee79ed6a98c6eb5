//! The bench of the command: one line-up of tools on whatever sets and file systems are asked for. The racing is in race.rs; the
//! races that show what the design wants are listed in goals.rs.

use std::path::Path;

use crate::place;
use crate::race::{self, Course, Means, table};
use crate::{BenchError, document, interrupt};

pub use crate::data::DataSet;
pub use crate::place::FileSystem;
pub use crate::tools::LineUp;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct Request {
    /// Data sets.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, default_value = "A,B,C,I")]
    pub sets: Vec<DataSet>,
    /// File systems.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tmpfs,ext4")]
    pub on: Vec<FileSystem>,
    /// Who copies with which options.
    #[arg(long, value_enum, default_value = "copy")]
    pub line_up: LineUp,
    /// Timed rounds, after one that warms up; the ten files of I get ten times as many.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Drops what the kernel remembers of files before each copy; only root can.
    #[arg(long)]
    pub cold: bool,
    /// With what.
    #[command(flatten)]
    pub means: Means,
    /// Prints the tables only, and leaves docs/measurements.md as it is.
    #[arg(long)]
    pub dry: bool,
}

const DOCUMENT: &str = "docs/measurements.md";

/// Measures, prints the tables and writes them down.
pub fn run(request: &Request) -> Result<(), BenchError> {
    place::enter_mount_namespace()?;
    interrupt::install()?;
    let ballast = request.means.ballast(request.on.iter().copied())?;
    for on in &request.on {
        for set in &request.sets {
            let line_up = request.line_up;
            let course = Course { line_up, set: *set, on: *on, is_cold: request.cold, n_rounds: request.rounds };
            let race = race::run(course, &request.means, ballast.as_ref())?;
            let cold = if request.cold { " --cold" } else { "" };
            let command = format!(
                "cargo xtask bench copy --line-up {} --sets {} --on {} --rounds {} --repeats {}{cold}",
                line_up.name(),
                set.letter(),
                on.name(),
                request.rounds,
                request.means.repeats
            );
            let section = table::section(&race, &command, None);
            println!("{section}");
            if !request.dry {
                document::write_section(Path::new(DOCUMENT), &table::key(&race), &section)?;
            }
        }
    }
    Ok(())
}
