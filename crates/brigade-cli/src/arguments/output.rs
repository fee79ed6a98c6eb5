//! What is told about a copy, and how.

use clap::Args;

/// What is told about a copy, and how.
#[derive(Args, Debug)]
#[command(next_help_heading = "output")]
pub struct OutputArguments {
    /// How progress is shown.
    #[arg(
        long,
        value_enum,
        value_name = "WAY",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub progress: ProgressWay,
    /// A line for each file.
    #[arg(short, long)]
    pub verbose: bool,
    /// Errors only.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
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
