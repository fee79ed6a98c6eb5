//! What is copied, and where it goes.

use std::path::PathBuf;

use clap::Args;

/// What is copied, and where it goes.
#[derive(Args, Debug)]
#[command(next_help_heading = "what")]
pub struct WhatArguments {
    /// The destination is meant itself.
    #[arg(short = 'T', long, conflicts_with = "target_directory")]
    pub no_target_directory: bool,
    /// The folder to copy into.
    #[arg(short = 't', long, value_name = "DIR")]
    pub target_directory: Option<PathBuf>,
}
