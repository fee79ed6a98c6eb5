//! What a path means as it was typed: an entry with a name in a folder, or the contents of a folder. Looks at the text only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A path as it was typed.
#[derive(Debug)]
pub(super) struct Typed {
    /// Without trailing slashes.
    pub(super) path: PathBuf,
    pub(super) shape: Shape,
    /// It ends with a slash, `.` or `..`: a link at its end is followed.
    pub(super) follows: bool,
}

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// The entry of this name.
    Named { folder: PathBuf, name: OsString },
    /// What is in the folder: `SOURCE/.`, `.`, `..`, `/`.
    Contents,
}

impl Typed {
    pub(super) fn new(path: &Path) -> Self {
        let typed = path.as_os_str().as_bytes();
        let n_kept = typed.iter().rposition(|&byte| byte != b'/').map_or(typed.len().min(1), |last| last + 1);
        let trimmed = &typed[..n_kept];
        let name_start = trimmed.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (folder, name) = trimmed.split_at(name_start);
        let shape = match name {
            b"" | b"." | b".." => Shape::Contents,
            _ => Shape::Named {
                folder: PathBuf::from(OsStr::from_bytes(folder)),
                name: OsStr::from_bytes(name).to_owned(),
            },
        };
        let follows = shape == Shape::Contents || n_kept < typed.len();
        Self { path: PathBuf::from(OsStr::from_bytes(trimmed)), shape, follows }
    }
}

/// The folder of a path without a slash is where we are.
pub(super) fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_name_in_a_folder_or_the_contents_of_one() {
        for (typed, path, name, follows) in [
            ("photos", "photos", Some(("", "photos")), false),
            ("photos/", "photos", Some(("", "photos")), true),
            ("a/photos//", "a/photos", Some(("a/", "photos")), true),
            ("/photos", "/photos", Some(("/", "photos")), false),
            ("photos/.", "photos/.", None, true),
            (".", ".", None, true),
            ("a/..", "a/..", None, true),
            ("../", "..", None, true),
            ("/", "/", None, true),
            ("//", "/", None, true),
            ("", "", None, true),
        ] {
            let read = Typed::new(Path::new(typed));
            assert_eq!(read.path.as_os_str(), path, "{typed}");
            assert_eq!(read.follows, follows, "{typed}");
            let expected = match name {
                Some((folder, name)) => Shape::Named { folder: folder.into(), name: name.into() },
                None => Shape::Contents,
            };
            assert_eq!(read.shape, expected, "{typed}");
        }
    }
}
