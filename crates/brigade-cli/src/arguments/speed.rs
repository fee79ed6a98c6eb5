//! How much of the machine a copy takes.

use std::num::NonZeroUsize;

use clap::Args;

/// More worker processes than this are taken for a typing error.
pub const MOST_WORKERS: usize = 1024;

/// How much of the machine a copy takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "speed")]
pub struct SpeedArguments {
    /// Worker processes.
    #[arg(short = 'j', long, value_name = "N", value_parser = worker_count)]
    pub workers: Option<NonZeroUsize>,
}

/// The sentence for a number that does not fit is chosen in usage.rs, so the error needs no words of its own.
pub(super) fn worker_count(text: &str) -> Result<NonZeroUsize, &'static str> {
    let count = text.parse().map_err(|_| "not a whole number")?;
    NonZeroUsize::new(count).filter(|count| count.get() <= MOST_WORKERS).ok_or("out of range")
}
