//! The names of `--files-from`: read once, put into order, and looked up by workers folder by folder in memory that they share.
//! What is done where nothing has such a name is decided by whoever lists the folder.

use std::cmp::Ordering;
use std::ffi::CString;

use brigade::{Blob, MemoryError};
use serde::{Deserialize, Serialize};

use super::Lines;
use crate::names::append;

/// How much of a folder is copied that a list names.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Depth {
    /// The folder itself; named with a slash behind it also what is directly in it.
    Shallow,
    /// Everything below it.
    Whole,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// A name leads upwards.
    #[error("the list has a name with '..' in it: {}", .0.escape_ascii())]
    Upwards(Vec<u8>),
    /// A name has a zero byte, which no name can have.
    #[error("the list has a name with a zero byte in it: {}", .0.escape_ascii())]
    ZeroByte(Vec<u8>),
    /// There is no memory for it.
    #[error("no memory for the list")]
    Memory(#[from] MemoryError),
}

/// Names below a source, which are all that is copied of it, with the folders above them. Where each of them stands is known
/// without reading all: they are in the order of a walk, each a letter, the path and a zero byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NameList {
    packed: Blob,
    depth: Depth,
}

/// Whether what is in a folder was asked for, too.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Mark {
    Name,
    Contents,
}

/// An entry of a folder that the list names, or that leads to such entries.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) name: CString,
    pub(crate) is_named: bool,
    /// There are names below it, so that it must be a folder.
    pub(crate) leads_on: bool,
    /// Where the next one begins in the list.
    pub(crate) next: usize,
}

impl NameList {
    /// Reads a list as rsync does: slashes before a name and `.` components mean nothing, empty lines and comments are left out,
    /// what is named twice is there once.
    ///
    /// # Errors
    /// A name that cannot be meant, or no memory.
    pub fn new(text: &[u8], lines: Lines, depth: Depth) -> Result<Self, BadList> {
        let mut entries = lines.of(text).map(entry_of).collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable_by(|(one, one_mark), (other, other_mark)| {
            order(one, other).then_with(|| other_mark.cmp(one_mark))
        });
        entries.dedup_by(|(later, _), (earlier, _)| later == earlier);
        let n_bytes = entries.iter().map(|(path, _)| path.len() + 2).sum();
        let mut packed = Blob::builder(n_bytes)?;
        let mut offset = 0;
        for (path, mark) in &entries {
            packed[offset] = if *mark == Mark::Contents { b'/' } else { b'=' };
            packed[offset + 1..][..path.len()].copy_from_slice(path);
            // The zero byte behind it is there already.
            offset += path.len() + 2;
        }
        Ok(Self { packed: packed.seal()?, depth })
    }

    pub(super) fn depth(&self) -> Depth {
        self.depth
    }

    /// Whether and how a path is named.
    pub(super) fn mark_of(&self, path: &[u8]) -> Option<Mark> {
        let start = self.first_not(0, |other| order(other, path) == Ordering::Less);
        let (found, mark, _) = self.at(start)?;
        (found == path).then_some(mark)
    }

    /// Where the entries of a folder begin in the list, if it names any.
    pub(super) fn children_of(&self, folder: &[u8]) -> Option<usize> {
        let start = self.first_not(0, |other| order(other, folder) == Ordering::Less || other == folder);
        self.child_at(folder, start).map(|_| start)
    }

    /// The entry of a folder that begins there.
    pub(super) fn child_at(&self, folder: &[u8], start: usize) -> Option<Child> {
        let (path, _, next) = self.at(start)?;
        let rest = below(path, folder)?;
        let name = rest.split(|&byte| byte == b'/').next()?;
        let is_named = name.len() == rest.len();
        let leads_here = |other: &[u8]| {
            let rest = below(other, folder).and_then(|rest| rest.strip_prefix(name));
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        };
        let end = self.first_not(next, leads_here);
        let name = CString::new(name).expect("a zero byte ends each path");
        Some(Child { name, is_named, leads_on: !is_named || end > next, next: end })
    }

    fn at(&self, start: usize) -> Option<(&[u8], Mark, usize)> {
        let (letter, rest) = self.packed.get(start..)?.split_first()?;
        let path = &rest[..rest.iter().position(|&byte| byte == 0)?];
        let mark = if *letter == b'/' { Mark::Contents } else { Mark::Name };
        Some((path, mark, start + path.len() + 2))
    }

    /// The first entry from `low` on, which begins there, of which something is not true that is true of all before it.
    fn first_not(&self, mut low: usize, is_true: impl Fn(&[u8]) -> bool) -> usize {
        let mut high = self.packed.len();
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.packed[low..middle].iter().rposition(|&byte| byte == 0);
            let start = before.map_or(low, |zero| low + zero + 1);
            match self.at(start) {
                Some((path, _, next)) if is_true(path) => low = next,
                _ => high = start,
            }
        }
        low
    }
}

/// A line without what means nothing in it.
fn entry_of(line: &[u8]) -> Result<(Vec<u8>, Mark), BadList> {
    if line.contains(&0) {
        return Err(BadList::ZeroByte(line.to_vec()));
    }
    let mut path = Vec::with_capacity(line.len());
    for component in line.split(|&byte| byte == b'/').filter(|component| !matches!(*component, b"" | b".")) {
        if component == b".." {
            return Err(BadList::Upwards(line.to_vec()));
        }
        append(&mut path, component);
    }
    let is_open = path.is_empty() || line.ends_with(b"/") || line.ends_with(b"/.");
    Ok((path, if is_open { Mark::Contents } else { Mark::Name }))
}

/// The order of a walk: what is in a folder follows the folder, before anything that only begins like it.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    one.iter().map(rank).cmp(other.iter().map(rank))
}

/// The path of something below a folder, from there.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    let rest = if folder.is_empty() { path } else { path.strip_prefix(folder)?.strip_prefix(b"/")? };
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &[u8]) -> NameList {
        NameList::new(text, Lines::Text, Depth::Shallow).unwrap()
    }

    fn children(list: &NameList, folder: &[u8]) -> Vec<(Vec<u8>, bool)> {
        let mut start = list.children_of(folder).unwrap_or(usize::MAX);
        std::iter::from_fn(|| {
            let child = list.child_at(folder, start)?;
            start = child.next;
            Some((child.name.into_bytes(), child.leads_on))
        })
        .collect()
    }

    #[test]
    fn the_names_of_a_folder_are_found_wherever_they_stood() {
        let list = list(b"a.b\n/a/x/y\n./a/./x\n\n# note\n; note\r\na//z/\na\nab/c\na/z\n");
        let found = children(&list, b"");
        let expected = [(b"a".to_vec(), true), (b"a.b".to_vec(), false), (b"ab".to_vec(), true)];
        assert_eq!(found, expected);
        assert_eq!(children(&list, b"a"), [(b"x".to_vec(), true), (b"z".to_vec(), false)]);
        assert_eq!(children(&list, b"ab"), [(b"c".to_vec(), false)]);
        assert_eq!(children(&list, b"a.b"), []);
        assert_eq!(children(&list, b"a/x/y"), []);
        assert_eq!(list.mark_of(b"a/z"), Some(Mark::Contents));
        assert_eq!(list.mark_of(b"a"), Some(Mark::Name));
        assert_eq!(list.mark_of(b"ab"), None);
        assert_eq!(list.mark_of(b""), None);
    }

    #[test]
    fn an_empty_list_names_nothing() {
        let list = list(b"# nothing\n\n");
        assert_eq!(children(&list, b""), []);
        assert_eq!(list.mark_of(b""), None);
    }

    #[test]
    fn the_source_itself_can_be_named_and_nothing_above_it() {
        for line in [".", "./", "/", "/./."] {
            assert_eq!(list(line.as_bytes()).mark_of(b""), Some(Mark::Contents));
        }
        for line in ["..", "a/../b", "a/..", "../a"] {
            let read = NameList::new(line.as_bytes(), Lines::Text, Depth::Whole);
            assert!(matches!(read, Err(BadList::Upwards(_))), "{line}");
        }
        assert!(matches!(NameList::new(b"a\0b", Lines::Text, Depth::Whole), Err(BadList::ZeroByte(_))));
        assert_eq!(children(&list(b"..a\nb/..."), b""), [(b"..a".to_vec(), false), (b"b".to_vec(), true)]);
    }
}
