//! Entries that are told to be durable when the run ends, packed: there may be millions, each with a path.

use crate::event::EntryKind;

/// A piece of memory is so large, so that growing copies nothing.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes before each path: the root, the kind, the bytes of content, the length of the path.
const HEAD_BYTES: usize = 4 + 1 + 8 + 4;

const KINDS: [EntryKind; 5] =
    [EntryKind::File, EntryKind::Directory, EntryKind::Symlink, EntryKind::HardLink, EntryKind::Special];

/// The entries, in the order in which they were done.
#[derive(Debug, Default)]
pub(super) struct Undurable {
    pieces: Vec<Vec<u8>>,
}

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry<'a> {
    pub(super) root: u32,
    pub(super) kind: EntryKind,
    pub(super) n_bytes: u64,
    pub(super) path: &'a [u8],
}

impl Undurable {
    pub(super) fn push(&mut self, entry: Entry<'_>) {
        let n_wanted = HEAD_BYTES + entry.path.len();
        if self.pieces.last().is_none_or(|piece| piece.capacity() - piece.len() < n_wanted) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES.max(n_wanted)));
        }
        let Some(piece) = self.pieces.last_mut() else { return };
        let kind = KINDS.iter().position(|kind| *kind == entry.kind).unwrap_or_default() as u8;
        piece.extend_from_slice(&entry.root.to_le_bytes());
        piece.push(kind);
        piece.extend_from_slice(&entry.n_bytes.to_le_bytes());
        piece.extend_from_slice(&(entry.path.len() as u32).to_le_bytes());
        piece.extend_from_slice(entry.path);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.pieces.iter().flat_map(|piece| {
            let mut rest = piece.as_slice();
            std::iter::from_fn(move || {
                let (root, after) = rest.split_first_chunk()?;
                let (&kind, after) = after.split_first()?;
                let (n_bytes, after) = after.split_first_chunk()?;
                let (n_path, after) = after.split_first_chunk()?;
                let (path, after) = after.split_at_checked(u32::from_le_bytes(*n_path) as usize)?;
                rest = after;
                let (root, n_bytes) = (u32::from_le_bytes(*root), u64::from_le_bytes(*n_bytes));
                Some(Entry { root, kind: *KINDS.get(usize::from(kind))?, n_bytes, path })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_as_they_went_in_whatever_their_size() {
        let paths: Vec<Vec<u8>> =
            [0, 1, 300, PIECE_BYTES, PIECE_BYTES + 1, 2].iter().map(|&n_bytes| vec![b'x'; n_bytes]).collect();
        let entry = |(idx, path): (usize, &'static [u8])| Entry {
            root: idx as u32,
            kind: KINDS[idx % KINDS.len()],
            n_bytes: u64::MAX - idx as u64,
            path,
        };
        let paths: &'static [Vec<u8>] = paths.leak();
        let entries: Vec<_> = paths.iter().map(Vec::as_slice).enumerate().map(entry).collect();
        let mut undurable = Undurable::default();
        entries.iter().for_each(|entry| undurable.push(*entry));
        assert_eq!(undurable.iter().collect::<Vec<_>>(), entries);
    }
}
