//! What a copy does to be sure of the contents, and to let others be sure of them later.

/// Whether what was written is read back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Verify {
    /// The kernel's word is taken for it.
    #[default]
    Nothing,
    /// Each file that this run writes is flushed, read again past the page cache, and compared by BLAKE3 with what was read from its
    /// source. One that is wrong is copied again; if it is wrong a second time it fails.
    Written,
}

/// Whether [`Event::Digest`](crate::Event::Digest) is wanted for each file of the copy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Digests {
    /// Nothing is hashed.
    #[default]
    NotNeeded,
    /// Of files that were copied, that were there already, and of all names of a file.
    Wanted,
}
