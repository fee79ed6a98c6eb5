//! Whether a run that was cut off is gone on with.

use std::path::PathBuf;

/// Whether a run that was cut off is gone on with, and remembered in case that this one is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Resume {
    /// Neither is looked for one, nor is this run remembered.
    #[default]
    Never,
    /// By records in this folder, which belongs to this user alone and is made when it is needed.
    Recorded(PathBuf),
}
