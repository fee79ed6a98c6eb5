//! What is copied, and where it goes.

use std::ffi::OsString;
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
    // These three are read in the order in which they were typed, from the options as given.
    #[arg(long, value_name = "GLOB", conflicts_with = "no_clobber")]
    exclude: Vec<OsString>,
    #[arg(long, value_name = "GLOB", conflicts_with = "no_clobber")]
    include: Vec<OsString>,
    #[arg(long, value_name = "FILE", conflicts_with = "no_clobber")]
    exclude_from: Vec<PathBuf>,
    /// The names that are copied.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["delete", "delete_excluded", "gitignore", "no_clobber", "retry_from"]
    )]
    pub files_from: Option<PathBuf>,
    /// The lines of files with lists end with zero bytes.
    #[arg(short = '0', long)]
    pub from0: bool,
    /// What git ignores is left out.
    #[arg(long)]
    pub gitignore: bool,
    /// Other file systems are not entered.
    #[arg(short = 'x', long)]
    pub one_file_system: bool,
    /// Links are followed.
    #[arg(
        short = 'L',
        long,
        overrides_with_all = ["dereference_sources", "no_dereference"],
        conflicts_with_all = ["delete", "delete_excluded"]
    )]
    pub dereference: bool,
    /// Links that are sources are followed.
    #[arg(short = 'H', long, overrides_with_all = ["dereference", "no_dereference"])]
    pub dereference_sources: bool,
    #[arg(short = 'P', long, overrides_with_all = ["dereference", "dereference_sources"])]
    no_dereference: bool,
}
