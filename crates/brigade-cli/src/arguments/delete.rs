//! What the destination loses.

use clap::Args;

/// What the destination loses.
#[derive(Args, Debug)]
#[command(next_help_heading = "policy")]
pub struct DeleteArguments {
    /// What the source does not have.
    #[arg(long, conflicts_with = "no_clobber")]
    pub delete: bool,
    /// Likewise, and what is excluded.
    #[arg(long, conflicts_with = "no_clobber")]
    pub delete_excluded: bool,
}

impl DeleteArguments {
    /// What the engine is to remove.
    pub fn wanted(&self) -> brigade_copy::Delete {
        match (self.delete, self.delete_excluded) {
            (_, true) => brigade_copy::Delete::ExtraAndExcluded,
            (true, false) => brigade_copy::Delete::Extra,
            (false, false) => brigade_copy::Delete::Nothing,
        }
    }
}
