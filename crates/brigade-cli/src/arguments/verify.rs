//! The arguments of `brigade verify`. What changes how a copy is made has no meaning here, so they are its own.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::output::ProgressWay;
use super::safety::duration;
use super::speed::worker_count;

/// The arguments of `brigade verify`.
#[derive(Args, Debug)]
#[command(args_override_self = true)]
pub struct VerifyArguments {
    /// Source and destination.
    #[arg(value_name = "PATH", hide = true)]
    pub paths: Vec<PathBuf>,
    /// Worker processes.
    #[arg(short = 'j', long, value_name = "N", value_parser = worker_count, help_heading = "speed")]
    pub workers: Option<NonZeroUsize>,
    /// How long a worker may wait for one and the same thing; zero is for ever.
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "safety")]
    pub stall_timeout: Option<Duration>,
    /// How progress is shown.
    #[arg(long, value_name = "WAY", default_value = "auto", help_heading = "output")]
    pub progress: ProgressWay,
    /// Differences and errors only.
    #[arg(id = "quiet_verify", short = 'q', long = "quiet", help_heading = "output")]
    pub quiet: bool,
}
