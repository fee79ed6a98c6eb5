//! What becomes of what is at the destination already.

use std::ffi::OsString;

use clap::Args;

/// What becomes of what is at the destination already.
#[derive(Args, Debug)]
#[command(next_help_heading = "policy")]
pub struct PolicyArguments {
    /// What exists stays.
    #[arg(short = 'n', long, overrides_with = "interactive")]
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
    /// Types may change.
    #[arg(short = 'f', long)]
    pub force: bool,
    /// The user is asked.
    #[arg(short = 'i', long, overrides_with = "no_clobber")]
    pub interactive: bool,
    /// What gives way is kept under another name.
    #[arg(
        short = 'b',
        long,
        value_name = "CONTROL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub backup: Option<OsString>,
    /// What is appended to that name.
    #[arg(short = 'S', long, value_name = "SUFFIX")]
    pub suffix: Option<OsString>,
    /// Nothing is written.
    #[arg(long)]
    pub dry_run: bool,
}
