//! The WHEN of options: of `--color`, `--reflink` and `--sparse`. What it means there is said where they are.

use clap::ValueEnum;

/// When something is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum When {
    /// Where it fits.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}
