//! What becomes of what is at the destination already.

use clap::Args;

/// What becomes of what is at the destination already.
#[derive(Args, Debug)]
#[command(next_help_heading = "policy")]
pub struct PolicyArguments {
    /// What exists stays.
    #[arg(short = 'n', long)]
    pub no_clobber: bool,
    /// What is newer than its source stays.
    #[arg(short = 'u', long)]
    pub update: bool,
    /// Files are compared by their contents.
    #[arg(short = 'c', long)]
    pub checksum: bool,
    /// All files are copied.
    #[arg(long, conflicts_with = "checksum")]
    pub ignore_times: bool,
}
