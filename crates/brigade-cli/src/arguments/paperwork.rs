//! The arguments of `brigade completions`.

use clap::Args;

/// The arguments of `brigade completions`.
#[derive(Args, Debug)]
#[command(next_help_heading = "operands")]
pub struct CompletionsArguments {
    /// The shell that is to complete.
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}
