//! The rules of `.gitignore` files, read through folders that are held and matched as git does, to the letter. The crate `ignore` was not taken: its patterns are texts, while names and the lines of
//! these files are bytes, and it knows no named classes.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::rules::{Choice, Framed};
use super::wildcards::{Compared, Dialect, compare};
use super::{Links, Place};
use crate::calls::{fstat, openat, patiently};

/// Git reads no larger file.
const MAX_BYTES: i64 = 100 << 20;

/// What marks a pattern that is more than a plain text.
const SPECIAL: &[u8] = b"*?[\\";

/// The files of a folder and of those above it, as far as they are copied.
#[derive(Debug, Default)]
pub(super) struct IgnoreStack {
    root: Option<u32>,
    /// The path of the folder, between two slashes.
    path: Vec<u8>,
    /// Bytes of the path of each file's folder, and the file; deepest last.
    files: Vec<(usize, IgnoreFile)>,
}

/// The patterns of one file, in its order: the last that matches decides.
#[derive(Debug, Default)]
struct IgnoreFile {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    choice: Choice,
    /// Without the slashes at its ends.
    text: Vec<u8>,
    is_for_folders: bool,
    /// Compared with names, wherever they are; else with paths relative to the folder of the file.
    is_for_names: bool,
    /// Bytes before the first special one. They are compared by themselves, so stars behind them stand at the beginning.
    n_plain: usize,
}

impl IgnoreStack {
    /// Goes to a folder whose path is given between slashes. Only files that were not read for the last folder are read.
    pub(super) fn enter(&mut self, place: Place<'_>, path: &[u8], links: Links) {
        if self.root.replace(place.root) != Some(place.root) {
            self.path.clear();
        }
        let n_common = self.path.iter().zip(path).take_while(|(before, now)| before == now).count();
        self.files.retain(|(n_bytes, _)| *n_bytes <= n_common);
        self.path.clear();
        self.path.extend_from_slice(path);
        let n_root_bytes = path.len() - place.path.len() - usize::from(!place.path.is_empty());
        // What is ignored in the folder that holds the sources does not matter.
        let n_least = n_root_bytes + usize::from(place.called.is_none());
        let n_read = self.files.last().map_or(0, |(n_bytes, _)| *n_bytes);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(idx, _)| idx + 1);
        for n_bytes in ends.filter(|&n_bytes| n_bytes >= n_least && n_bytes > n_read) {
            let file = if n_bytes == path.len() {
                place.folder.map_or_else(IgnoreFile::default, IgnoreFile::in_folder)
            } else {
                open_below(place.root_folder, &path[n_root_bytes..n_bytes], links)
                    .map_or_else(|_| IgnoreFile::default(), |folder| IgnoreFile::in_folder(folder.as_fd()))
            };
            self.files.push((n_bytes, file));
        }
    }

    /// What is said about an entry of the folder, if anything. Deeper files have the last word.
    pub(super) fn decide(&self, path: Framed<'_>, is_folder: bool) -> Option<Choice> {
        self.files.iter().rev().find_map(|(n_bytes, file)| file.decide(path.below(*n_bytes), path.name(), is_folder))
    }
}

/// Opens a folder by its path below another, one component at a time.
fn open_below(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<OwnedFd, Errno> {
    let kept = if links == Links::Follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | kept;
    let mut folder = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
    for component in path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
        folder = openat(&folder, component, flags, Mode::empty())?;
    }
    Ok(folder)
}

impl IgnoreFile {
    /// The file in a folder. Where there is none, or none that git would read, no patterns. One that cannot be read is told
    /// when it is itself copied.
    fn in_folder(folder: BorrowedFd<'_>) -> Self {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(folder, c".gitignore", flags, Mode::empty())
            .and_then(|file| read(&file))
            .map_or_else(|_| Self::default(), |contents| Self::parse(&contents))
    }

    fn parse(contents: &[u8]) -> Self {
        let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
        let lines = contents.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
        let patterns = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter_map(Pattern::parse);
        Self { patterns: patterns.collect() }
    }

    /// What is said about an entry, if anything; `path` is relative to the folder of the file.
    fn decide(&self, path: &[u8], name: &[u8], is_folder: bool) -> Option<Choice> {
        let mut latest_first = self.patterns.iter().rev();
        latest_first.find(|pattern| pattern.matches(path, name, is_folder)).map(|pattern| pattern.choice)
    }
}

impl Pattern {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = without_trailing_spaces(line);
        let (line, choice) = line.strip_prefix(b"!").map_or((line, Choice::Exclude), |rest| (rest, Choice::Include));
        let (line, is_for_folders) = line.strip_suffix(b"/").map_or((line, false), |rest| (rest, true));
        let is_for_names = !line.contains(&b'/');
        let text = line.strip_prefix(b"/").unwrap_or(line).to_vec();
        let n_plain = text.iter().position(|byte| SPECIAL.contains(byte)).unwrap_or(text.len());
        (!text.is_empty()).then_some(Self { choice, text, is_for_folders, is_for_names, n_plain })
    }

    fn matches(&self, path: &[u8], name: &[u8], is_folder: bool) -> bool {
        if self.is_for_folders && !is_folder {
            return false;
        }
        if self.is_for_names {
            return self.is_like(&self.text, name);
        }
        let (plain, rest) = self.text.split_at(self.n_plain);
        path.strip_prefix(plain).is_some_and(|path| self.is_like(rest, path))
    }

    fn is_like(&self, pattern: &[u8], text: &[u8]) -> bool {
        if self.n_plain == self.text.len() {
            return pattern == text;
        }
        compare(Dialect::Git, pattern, text) == Compared::Matches
    }
}

fn read(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let stat = fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size > MAX_BYTES {
        return Err(Errno::FBIG);
    }
    // One byte more than there is, so that the end is seen.
    let mut contents = Vec::with_capacity(stat.st_size as usize + 1);
    while contents.len() < contents.capacity() {
        if patiently(|| rustix::io::read(file, spare_capacity(&mut contents)))? == 0 {
            break;
        }
    }
    Ok(contents)
}

/// Spaces at the end count only behind a backslash.
fn without_trailing_spaces(line: &[u8]) -> &[u8] {
    let mut n_kept = 0;
    let mut idx = 0;
    while idx < line.len() {
        match line[idx] {
            b' ' => {}
            b'\\' => {
                idx += 1;
                n_kept = idx + 1;
            }
            _ => n_kept = idx + 1,
        }
        idx += 1;
    }
    &line[..n_kept.min(line.len())]
}
