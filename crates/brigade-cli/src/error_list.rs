//! The list of `--errors`: which entries failed, exactly, so that `--retry-from` can copy them again. Written here and read here;
//! what a list means for a copy is in retry.rs.
//!
//! Each record ends with a zero byte, since a name may hold any other. The first is `brigade-errors 1`. Then come `source PATH`
//! and `destination PATH`, both absolute, and `failed PATH` for each entry, relative to the source and destination that stand
//! before it; `.` is the source itself. `tr '\0' '\n' <FILE` shows it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use brigade_copy::{EntryName, PathError};

use crate::display::{Pen, Told};

const HEAD: &[u8] = b"brigade-errors 1";

/// A source, the place of its copy, and what of it failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Absolute.
    pub source: PathBuf,
    /// Absolute.
    pub destination: PathBuf,
    /// Relative to both; empty for the source itself.
    pub failed: Vec<PathBuf>,
}

/// A list that is written. It appears under its name when the run has ended, so that an interrupted run leaves the list of the
/// run before it.
pub struct ErrorList {
    pen: Pen,
    path: PathBuf,
    /// Where it is written meanwhile; none for what is no regular file, such as a pipe.
    draft: Option<PathBuf>,
    places: Vec<(PathBuf, PathBuf)>,
    current: Option<usize>,
}

impl ErrorList {
    /// Makes the file in which the list is written.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let is_replaced = fs::metadata(path).map_or(true, |there| there.is_file());
        let draft = is_replaced.then(|| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}", std::process::id()));
            PathBuf::from(name)
        });
        let file = File::create(draft.as_deref().unwrap_or(path))?;
        let pen = Pen::new(Box::new(file));
        Ok(Self { pen, path: path.to_owned(), draft, places: Vec::new(), current: None })
    }

    /// What goes where.
    pub fn start(&mut self, pairs: &[(PathBuf, PathBuf)]) {
        self.record(HEAD, b"");
        for (source, destination) in pairs {
            self.places.push((exact(source), exact(destination)));
        }
        for source_idx in 0..self.places.len() {
            self.turn_to(source_idx);
        }
    }

    /// An entry that failed.
    pub fn failed(&mut self, error: &PathError) {
        let EntryName { source_idx, path } = &error.entry;
        if self.current != Some(*source_idx) {
            self.turn_to(*source_idx);
        }
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.record(b"failed ", path.as_os_str().as_bytes());
    }

    /// Puts the list under its name.
    pub fn finish(&mut self) -> Told {
        self.pen.flush();
        if self.pen.told() == Told::Wholly
            && let Some(draft) = self.draft.take()
            && let Err(cause) = fs::rename(&draft, &self.path)
        {
            self.draft = Some(draft);
            self.pen.lose(cause);
        }
        self.pen.told()
    }

    /// What it writes with, and where losses are found.
    pub fn pen(&mut self) -> &mut Pen {
        &mut self.pen
    }

    fn turn_to(&mut self, source_idx: usize) {
        let Some((source, destination)) = self.places.get(source_idx).cloned() else { return };
        self.record(b"source ", source.as_os_str().as_bytes());
        self.record(b"destination ", destination.as_os_str().as_bytes());
        self.current = Some(source_idx);
    }

    fn record(&mut self, word: &[u8], path: &[u8]) {
        self.pen.write_by(|out| [word, path, b"\0"].iter().try_for_each(|part| out.write_all(part)));
    }
}

impl Drop for ErrorList {
    fn drop(&mut self) {
        // An unfinished list would be taken for a whole one.
        if let Some(draft) = &self.draft {
            let _ = fs::remove_file(draft);
        }
    }
}

/// Why a list cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read.
    Unread(io::Error),
    /// It is not such a list.
    Malformed,
}

/// Reads a list: every source and place in it, each once.
///
/// # Errors
/// It cannot be read, or was not written by us.
pub fn read(path: &Path) -> Result<Vec<Listed>, Unusable> {
    let bytes = fs::read(path).map_err(Unusable::Unread)?;
    parsed(&bytes).ok_or(Unusable::Malformed)
}

fn parsed(bytes: &[u8]) -> Option<Vec<Listed>> {
    let mut records = bytes.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    if records.next()? != HEAD {
        return None;
    }
    let mut all: Vec<Listed> = Vec::new();
    let mut current = None;
    while let Some(record) = records.next() {
        if let Some(source) = record.strip_prefix(b"source ") {
            let destination = records.next()?.strip_prefix(b"destination ")?;
            let [source, destination] = [source, destination].map(|path| PathBuf::from(OsStr::from_bytes(path)));
            let known = all.iter().position(|listed| listed.source == source && listed.destination == destination);
            current = Some(known.unwrap_or_else(|| {
                all.push(Listed { source, destination, failed: Vec::new() });
                all.len() - 1
            }));
        } else {
            let path = entry(record.strip_prefix(b"failed ")?)?;
            all.get_mut(current?)?.failed.push(path);
        }
    }
    Some(all)
}

/// A path that leads to somewhere below its source.
fn entry(path: &[u8]) -> Option<PathBuf> {
    if path == b"." {
        return Some(PathBuf::new());
    }
    let path = Path::new(OsStr::from_bytes(path));
    let is_below = path.components().all(|component| matches!(component, Component::Normal(_)));
    (is_below && path.components().next().is_some()).then(|| path.components().collect())
}

/// The one spelling of a place that does not change while its last component is made: its folder's, with all links followed.
pub fn exact(path: &Path) -> PathBuf {
    let resolved = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let (folder, name): (&Path, Option<OsString>) = match (path.parent(), path.file_name()) {
        // `.`, `..` and `x/.` have no name of their own.
        (Some(folder), Some(name)) if !ends_with_dot(path) => (folder, Some(name.to_owned())),
        _ => (path, None),
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = resolved(folder).unwrap_or_else(|_| folder.to_owned());
    name.map_or(folder.clone(), |name| folder.join(name))
}

fn ends_with_dot(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source_idx: usize, path: &[u8]) -> PathError {
        PathError {
            action: brigade_copy::Action::Open,
            path: "shown".into(),
            cause: io::Error::from_raw_os_error(13),
            entry: EntryName { source_idx, path: OsStr::from_bytes(path).into() },
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        fs::write(&file, "the list of the run before").unwrap();
        let places = ["a", "b"].map(|name| (folder.path().join(name), folder.path().join("to").join(name)));
        fs::create_dir(folder.path().join("to")).unwrap();
        let mut list = ErrorList::create(&file).unwrap();
        list.start(&places);
        for (source_idx, path) in [(0, &b"x\n\xff/y"[..]), (1, b""), (0, b"failed z")] {
            list.failed(&error(source_idx, path));
        }
        assert_eq!(fs::read(&file).unwrap(), b"the list of the run before");
        assert_eq!(list.finish(), Told::Wholly);
        let listed = read(&file).unwrap();
        let failed = [vec![OsStr::from_bytes(b"x\n\xff/y").into(), "failed z".into()], vec![PathBuf::new()]];
        for (idx, (source, destination)) in places.iter().enumerate() {
            let expected =
                Listed { source: exact(source), destination: exact(destination), failed: failed[idx].clone() };
            assert_eq!(listed[idx], expected);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing but the list and the folder is left");
    }

    #[test]
    fn a_list_that_is_given_up_leaves_the_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        fs::write(&file, "before").unwrap();
        drop(ErrorList::create(&file).unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_list_and_what_leads_elsewhere_is_not_read() {
        let of = |text: &str| parsed(text.replace('|', "\0").as_bytes());
        assert!(of("brigade-errors 1|source /a|destination /b|failed x/y|").is_some());
        assert!(of("brigade-errors 1|").is_some_and(|all| all.is_empty()));
        for text in [
            "",
            "x|",
            "brigade-errors 2|",
            "brigade-errors 1|failed x|",
            "brigade-errors 1|source /a|failed x|",
            "brigade-errors 1|source /a|destination /b|failed ../x|",
            "brigade-errors 1|source /a|destination /b|failed /x|",
            "brigade-errors 1|source /a|destination /b|failed x",
            "brigade-errors 1|source /a|destination /b|failed |",
            "brigade-errors 1|source /a|destination /b|other x|",
        ] {
            assert!(of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_place_is_spelt_in_one_way() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        fs::create_dir(real.join("d")).unwrap();
        std::os::unix::fs::symlink("d", real.join("link")).unwrap();
        assert_eq!(exact(&real.join("link/x")), real.join("d/x"));
        assert_eq!(exact(&real.join("link")), real.join("link"));
        assert_eq!(exact(&real.join("d/../d/new")), real.join("d/new"));
        assert_eq!(exact(&real.join("link/.")), real.join("d"));
    }
}
