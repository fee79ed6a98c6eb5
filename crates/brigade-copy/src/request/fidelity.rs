//! How faithful a copy is to be: what is kept, what becomes of a loss, and how contents are laid out. What each word means
//! for a file is the workers' business.

use crate::facet::Facets;

/// How faithful a copy is to be.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Fidelity {
    /// What is kept.
    pub preserve: Facets,
    /// The mode of new entries where modes are not kept.
    pub new_mode: NewMode,
    /// What becomes of an entry that lost something.
    pub on_loss: OnLoss,
    /// Whether contents are shared with the source.
    pub reflink: Reflink,
    /// What becomes of holes.
    pub sparse: Sparse,
}

impl Default for Fidelity {
    fn default() -> Self {
        Self {
            preserve: Facets::ALL,
            new_mode: NewMode::OfSource,
            on_loss: OnLoss::Count,
            reflink: Reflink::Auto,
            sparse: Sparse::Auto,
        }
    }
}

/// The mode of new entries where modes are not kept. The umask is taken off either.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum NewMode {
    /// That of the source without setuid, setgid and sticky bits, as `cp` without `-p` does.
    OfSource,
    /// 0666, and 0777 for folders, as `cp --no-preserve=mode` does.
    Plain,
}

/// What becomes of an entry that is copied and lost something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum OnLoss {
    /// It is counted.
    Count,
    /// It fails (`--strict`).
    Fail,
}

/// Whether a copy shares its contents with the source until one of them is written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Reflink {
    /// Where the file system can.
    Auto,
    /// Or else the file fails.
    Always,
    /// Never, so that the copy takes room of its own.
    Never,
}

/// What becomes of holes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Sparse {
    /// Holes of the source are holes of the copy.
    Auto,
    /// Blocks of zeros become holes as well.
    Always,
    /// Holes are written out.
    Never,
}
