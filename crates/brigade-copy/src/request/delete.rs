//! Whether the destination loses what the source does not have.

/// What of the destination is removed once everything is copied. It takes exactly one source, which is a folder.
///
/// Nothing is removed if some of the source could not be read, if the source has no entries at all, or if the run was cut short.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Delete {
    /// Nothing.
    #[default]
    Nothing,
    /// What the source does not have. What is excluded is protected, with everything below it.
    Extra,
    /// Likewise, and what is excluded as well.
    ExtraAndExcluded,
}

/// What [`Delete`] makes of a source that has no entries at all, as one that is not mounted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum EmptySource {
    /// Nothing is removed, and that is said.
    #[default]
    RemovesNothing,
    /// Everything is removed.
    RemovesAll,
}
