//! The rules of `--include`, `--exclude` and `--exclude-from`: read and matched as rsync does, to the letter. What a path is
//! relative to is the caller's to know.

use serde::{Deserialize, Serialize};

use super::wildcards::{Compared, Dialect, compare};
use crate::names::Bytes;

/// What a rule says about the entries that it matches.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Choice {
    /// They are copied.
    Include,
    /// They are left out, and so is everything below them.
    Exclude,
}

/// How the lines of a file end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lines {
    /// With a line feed, a carriage return, or both.
    Text,
    /// With a zero byte.
    ZeroEnded,
}

impl Lines {
    /// The lines that hold something and are no comments.
    pub(super) fn of(self, contents: &[u8]) -> impl Iterator<Item = &[u8]> {
        let is_end = move |byte: &u8| match self {
            Self::Text => matches!(byte, b'\n' | b'\r'),
            Self::ZeroEnded => *byte == 0,
        };
        contents.split(is_end).filter(|line| !matches!(line.first(), None | Some(b'#' | b';')))
    }
}

/// A rule that says nothing about what it is for: a sign without a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a rule has no pattern")]
pub struct NoPattern;

/// Rules in their order: the first that matches an entry decides about it, and what none matches is copied.
///
/// # Example
/// ```
/// use brigade_copy::{Choice, Rules};
///
/// let mut rules = Rules::default();
/// rules.add(Choice::Include, b"keep.o")?;
/// rules.add(Choice::Exclude, b"*.o")?;
/// assert!(!rules.is_empty());
/// # Ok::<(), brigade_copy::NoPattern>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rule {
    choice: Choice,
    /// Without the slashes at its ends.
    pattern: Bytes,
    is_for_folders: bool,
    has_wildcards: bool,
    extent: Extent,
}

/// What of a path a pattern is compared with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Extent {
    /// The last component.
    Name,
    /// The whole path.
    Path(Ends),
    /// The whole path, or what follows one of its slashes.
    AnyTail(Ends),
    /// So many components at the end.
    Components(usize),
}

/// The slashes that are thought to stand around a path.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Ends {
    /// Before it, where the pattern begins with `**`, so that `**/name` matches at the top, too.
    leads: bool,
    /// Behind that of a folder, where the pattern ends with `***`, so that `name/***` matches the folder, too.
    trails: bool,
}

impl Rules {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds a rule as an option gives it. `+ PATTERN` and `- PATTERN` say themselves what they do, `!` forgets all rules so
    /// far, an empty text adds nothing.
    ///
    /// # Errors
    /// A sign without a pattern.
    pub fn add(&mut self, choice: Choice, text: &[u8]) -> Result<(), NoPattern> {
        let (choice, pattern) = match text {
            [] => return Ok(()),
            b"!" => {
                self.rules.clear();
                return Ok(());
            }
            [b'+', b' ', pattern @ ..] => (Choice::Include, pattern),
            [b'-', b' ', pattern @ ..] => (Choice::Exclude, pattern),
            pattern => (choice, pattern),
        };
        if pattern.is_empty() {
            return Err(NoPattern);
        }
        self.rules.push(Rule::new(choice, pattern));
        Ok(())
    }

    /// Adds the rules in a file, one a line. Empty lines and those that begin with `#` or `;` are left out.
    ///
    /// # Errors
    /// A sign without a pattern; the rules before it have been added.
    pub fn add_file(&mut self, choice: Choice, contents: &[u8], lines: Lines) -> Result<(), NoPattern> {
        lines.of(contents).try_for_each(|line| self.add(choice, line))
    }

    /// What is said about an entry, if anything.
    pub(super) fn decide(&self, path: Framed<'_>, is_folder: bool) -> Option<Choice> {
        self.rules.iter().find(|rule| rule.matches(path, is_folder)).map(|rule| rule.choice)
    }
}

/// A path relative to the root of the transfer, between two slashes: `/photos/2024/`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framed<'a> {
    framed: &'a [u8],
    /// Where the last component begins.
    name_start: usize,
}

impl<'a> Framed<'a> {
    /// `framed` begins and ends with a slash, and its last component begins at `name_start`.
    pub(super) fn new(framed: &'a [u8], name_start: usize) -> Self {
        Self { framed, name_start }
    }

    /// The path below the folder whose own path has so many bytes, with both slashes.
    pub(super) fn below(self, n_bytes: usize) -> &'a [u8] {
        &self.framed[n_bytes..self.framed.len() - 1]
    }

    fn path(self) -> &'a [u8] {
        self.below(1)
    }

    pub(super) fn name(self) -> &'a [u8] {
        self.below(self.name_start)
    }

    fn with(self, ends: Ends, is_folder: bool) -> &'a [u8] {
        let start = usize::from(!ends.leads);
        let n_cut = usize::from(!(ends.trails && is_folder));
        &self.framed[start..self.framed.len() - n_cut]
    }

    /// The last components, if there are as many.
    fn last_components(self, n_components: usize) -> Option<&'a [u8]> {
        let path = self.path();
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(idx, _)| idx + 1);
        slashes.chain([0]).nth(n_components - 1).map(|start| &path[start..])
    }
}

impl Rule {
    fn new(choice: Choice, text: &[u8]) -> Self {
        let (text, is_for_folders) = match text {
            [shorter @ .., b'/'] if !shorter.is_empty() => (shorter, true),
            _ => (text, false),
        };
        let n_slashes = text.iter().filter(|&&byte| byte == b'/').count();
        let (pattern, is_anchored) = text.strip_prefix(b"/").map_or((text, false), |rest| (rest, true));
        let is_wide = text.windows(2).any(|pair| pair == b"**");
        let ends = Ends { leads: text.starts_with(b"**"), trails: text.ends_with(b"***") };
        let extent = if n_slashes == 0 && !is_wide {
            Extent::Name
        } else if is_anchored || ends.leads {
            Extent::Path(ends)
        } else if is_wide {
            Extent::AnyTail(ends)
        } else {
            Extent::Components(n_slashes + 1)
        };
        // Without a wildcard a backslash is a backslash.
        let has_wildcards = text.iter().any(|byte| b"*[?".contains(byte));
        Self { choice, pattern: Bytes(pattern.to_vec()), is_for_folders, has_wildcards, extent }
    }

    fn matches(&self, path: Framed<'_>, is_folder: bool) -> bool {
        if self.is_for_folders && !is_folder {
            return false;
        }
        match self.extent {
            Extent::Name => self.is_like(path.name()),
            Extent::Path(ends) => self.is_like(path.with(ends, is_folder)),
            Extent::AnyTail(ends) => self.is_like_a_tail_of(path.with(ends, is_folder)),
            Extent::Components(n_components) => {
                path.last_components(n_components).is_some_and(|components| self.is_like(components))
            }
        }
    }

    fn is_like(&self, text: &[u8]) -> bool {
        if self.has_wildcards { self.compare(text) == Compared::Matches } else { self.pattern.0 == text }
    }

    fn is_like_a_tail_of(&self, text: &[u8]) -> bool {
        let slashes = text.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(idx, _)| idx + 1);
        let compared = std::iter::once(0).chain(slashes).map(|start| self.compare(&text[start..]));
        // Where a part was too short, shorter ones are too.
        compared.take_while(|compared| *compared != Compared::TooShort).any(|compared| compared == Compared::Matches)
    }

    fn compare(&self, text: &[u8]) -> Compared {
        compare(Dialect::Rsync, &self.pattern.0, text)
    }
}
