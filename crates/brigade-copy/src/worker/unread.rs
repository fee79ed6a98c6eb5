//! Names that wait for their turn. What is done with them is decided by whoever holds them.

use std::ffi::{CStr, CString};

use crate::names::{Kind, Names};

/// Names of which some have been begun.
#[derive(Default)]
pub(super) struct Unread {
    names: Names,
    offset: usize,
    n_begun: usize,
}

impl Unread {
    pub(super) fn new(names: Names) -> Self {
        Self { names, offset: 0, n_begun: 0 }
    }

    /// The next one, and where the one after it begins.
    pub(super) fn next(&self) -> Option<(Kind, &CStr, usize)> {
        self.names.at(self.offset)
    }

    pub(super) fn n_left(&self) -> usize {
        self.names.len() - self.n_begun
    }

    pub(super) fn advance(&mut self, next: usize) {
        self.offset = next;
        self.n_begun += 1;
    }

    /// Takes the next one.
    pub(super) fn take_next(&mut self) -> Option<(Kind, CString)> {
        let (kind, name, next) = self.names.at(self.offset)?;
        let name = name.to_owned();
        self.advance(next);
        Some((kind, name))
    }

    pub(super) fn take_rest(&mut self) -> Names {
        let unread = std::mem::take(self);
        unread.names.rest_from(unread.offset, unread.n_begun)
    }
}
