//! What is told about a copy, and how.

use std::path::PathBuf;

use clap::Args;

use super::When;

/// What is told about a copy, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "output")]
pub struct OutputArguments {
    /// How progress is shown.
    #[arg(long, value_name = "WAY", default_value = "auto")]
    pub progress: ProgressWay,
    /// A line for each file.
    #[arg(short, long)]
    pub verbose: bool,
    /// Errors only.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Figures at the end.
    #[arg(long)]
    pub stats: bool,
    /// Whether errors, warnings and the bar have colours: read before everything else, in ink.rs.
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_value = "auto",
        default_missing_value = "always"
    )]
    color: When,
    /// A line for each entry and each error.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Where the entries that failed are listed.
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// Such a list, of which the entries are copied again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["delete", "delete_excluded"])]
    pub retry_from: Option<PathBuf>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum ProgressWay {
    /// A bar on a terminal, else nothing.
    Auto,
    /// A bar on a terminal, else lines.
    Bar,
    /// A line now and then.
    Plain,
    /// Events on standard output.
    Json,
    /// Nothing.
    None,
}
