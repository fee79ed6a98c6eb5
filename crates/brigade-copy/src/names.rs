//! Names on their way between processes: many short byte strings in one allocation, each with what the listing said it is.
//! What is done with a name is decided elsewhere.

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// What an entry is, as far as it decides how it is copied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    Special,
    /// Nobody has listed it: whoever gets it looks.
    Unknown,
}

impl Kind {
    pub(crate) fn of(file_type: rustix::fs::FileType) -> Self {
        match file_type {
            rustix::fs::FileType::RegularFile => Self::File,
            rustix::fs::FileType::Directory => Self::Folder,
            rustix::fs::FileType::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }

    fn letter(self) -> u8 {
        match self {
            Self::File => b'f',
            Self::Folder => b'd',
            Self::Symlink => b'l',
            Self::Special => b's',
            Self::Unknown => b'?',
        }
    }

    fn of_letter(letter: u8) -> Self {
        match letter {
            b'f' => Self::File,
            b'd' => Self::Folder,
            b'l' => Self::Symlink,
            b'?' => Self::Unknown,
            _ => Self::Special,
        }
    }
}

/// A byte string that crosses as one piece of memory.
#[derive(Clone, Default, Eq, PartialEq, Hash)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            // Formats without a byte string of their own write one as a sequence.
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(1 << 16));
                while let Some(byte) = sequence.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Whole)
    }
}

/// A name in the form in which it is given to the kernel.
pub(crate) fn name_of(name: &OsStr) -> CString {
    CString::new(name.as_bytes()).expect("the kernel found an entry of this name, and would not with a zero byte")
}

/// The path of an entry of a folder, or with an empty name of the folder.
pub(crate) fn joined(folder: &[u8], name: &CStr) -> Bytes {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.count_bytes());
    path.extend_from_slice(folder);
    append(&mut path, name.to_bytes());
    Bytes(path)
}

/// Goes on with a path to an entry of the folder that it leads to.
pub(crate) fn append(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Goes back from an entry to its folder.
pub(crate) fn cut(path: &mut Vec<u8>) {
    let n_kept = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.truncate(n_kept);
}

/// Names of entries of one folder. Each is stored as a letter for its kind, its bytes, and a zero byte.
#[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Names {
    n_names: u32,
    packed: Bytes,
}

impl Names {
    pub(crate) fn one(kind: Kind, name: &CStr) -> Self {
        let mut names = Self::default();
        names.push(kind, name);
        names
    }

    pub(crate) fn push(&mut self, kind: Kind, name: &CStr) {
        self.packed.0.push(kind.letter());
        self.packed.0.extend_from_slice(name.to_bytes_with_nul());
        self.n_names += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.n_names as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n_names == 0
    }

    pub(crate) fn n_bytes(&self) -> usize {
        self.packed.0.len()
    }

    /// The name that begins at `offset`, and where the next one begins. An offset is 0 or came from here.
    pub(crate) fn at(&self, offset: usize) -> Option<(Kind, &CStr, usize)> {
        let (&letter, rest) = self.packed.0.get(offset..)?.split_first()?;
        let name = CStr::from_bytes_until_nul(rest).ok()?;
        Some((Kind::of_letter(letter), name, offset + 1 + name.to_bytes_with_nul().len()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kind, &CStr)> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            let (kind, name, next) = self.at(offset)?;
            offset = next;
            Some((kind, name))
        })
    }

    /// Keeps the first `n_kept` names and returns the others.
    pub(crate) fn split_off(&mut self, n_kept: usize) -> Self {
        let mut offset = 0;
        for _ in 0..n_kept {
            match self.at(offset) {
                Some((_, _, next)) => offset = next,
                None => break,
            }
        }
        let n_kept = self.n_names.min(u32::try_from(n_kept).unwrap_or(u32::MAX));
        let rest = Self { n_names: self.n_names - n_kept, packed: Bytes(self.packed.0.split_off(offset)) };
        self.n_names = n_kept;
        rest
    }

    /// Takes the last `n_taken` names off, or all if there are fewer. What is left is not looked at, however much it is.
    pub(crate) fn take_last(&mut self, n_taken: usize) -> Self {
        let n_taken = n_taken.min(self.len());
        let mut offset = self.packed.0.len();
        for _ in 0..n_taken {
            // Each name ends with a zero byte, so the one before it is the end of its predecessor.
            let before = &self.packed.0[..offset.saturating_sub(1)];
            offset = before.iter().rposition(|&byte| byte == 0).map_or(0, |zero| zero + 1);
        }
        let taken = Self { n_names: n_taken as u32, packed: Bytes(self.packed.0.split_off(offset)) };
        self.n_names -= taken.n_names;
        taken
    }

    /// Drops everything before `offset`, of which `n_names` names.
    pub(crate) fn rest_from(&self, offset: usize, n_names: usize) -> Self {
        Self {
            n_names: self.n_names.saturating_sub(u32::try_from(n_names).unwrap_or(u32::MAX)),
            packed: Bytes(self.packed.0.get(offset..).unwrap_or_default().to_vec()),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Names {
        let mut names = Names::default();
        names.push(Kind::File, c"a");
        names.push(Kind::Symlink, c"new\nline");
        names.push(Kind::Folder, c"\xff");
        names
    }

    #[test]
    fn names_come_out_as_they_went_in() {
        let names = three();
        assert_eq!(names.len(), 3);
        assert_eq!(
            names.iter().collect::<Vec<_>>(),
            [(Kind::File, c"a"), (Kind::Symlink, c"new\nline"), (Kind::Folder, c"\xff")]
        );
    }

    #[test]
    fn splitting_loses_no_name() {
        for n_kept in 0..5 {
            let mut first = three();
            let rest = first.split_off(n_kept);
            assert_eq!(first.len(), n_kept.min(3));
            let all: Vec<_> = first.iter().chain(rest.iter()).map(|(_, name)| name.to_owned()).collect();
            assert_eq!(all, three().iter().map(|(_, name)| name.to_owned()).collect::<Vec<_>>());
            assert_eq!(first.len() + rest.len(), 3);
            let mut all = three();
            let last = all.take_last(3 - n_kept.min(3));
            assert_eq!((all.packed, last.packed), (first.packed, rest.packed));
        }
    }
}
