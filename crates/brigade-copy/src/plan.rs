//! Finds out what would go where, and refuses what must not be begun. This works by path, as the operator typed it and with
//! the links in it, since no folder is held yet; nothing is written. The copy itself is started in run.rs.

mod identity;
mod journal;
mod opened;
mod place;
mod room;
mod scout;
mod share;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Stat};

use crate::calls::statat;
use crate::confine::{self, Confinement, Found as Confinable, Purpose};
use crate::error::{EntryName, Refusal};
use crate::names::Kind;
use crate::request::{Delete, Request, Target, TypeChange};
use crate::selection::Links;
use identity::{Entry, Found, Lineage, Lineages};
use journal::Form;
pub(crate) use journal::{Journal, Key};
pub(crate) use opened::open_mark;
use place::{Shape, Typed};
pub(crate) use room::free_blocks;
pub(crate) use scout::{is_any_mount_doubtful, send_ahead};
pub(crate) use share::{Part, Share};

/// A copy that has been checked and can be started.
///
/// # Example
/// ```
/// use brigade_copy::{Plan, Refusal, Request, Target};
///
/// let request = Request::new(vec!["/no/such/folder".into()], Target::IntoOrAs("/tmp".into()));
/// assert!(matches!(Plan::new(request), Err(Refusal::Source { .. })));
/// ```
#[derive(Debug)]
pub struct Plan {
    pub(crate) request: Request,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) share: Share,
    pub(crate) journal: Journal,
    pub(crate) confinable: Confinable,
}

/// One source and the place of its copy.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) kind: Kind,
    /// The path of the source in the transfer, as rules see it: its name, or nothing where its contents are meant.
    pub(crate) called: OsString,
    /// As the operator would write them.
    pub(crate) source: PathBuf,
    pub(crate) destination: PathBuf,
    pub(crate) source_place: Place,
    pub(crate) destination_place: Place,
}

/// How an entry is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// By this name in this folder.
    Named { folder: PathBuf, name: OsString },
    /// It is this folder, however it is called.
    Folder(PathBuf),
}

impl Plan {
    /// Checks a request. Nothing is written.
    ///
    /// # Errors
    /// The first reason why the copy must not be begun.
    pub fn new(request: Request) -> Result<Self, Refusal> {
        if request.sources.is_empty() {
            return Err(Refusal::NoSource);
        }
        let is_single = matches!(request.target, Target::Exactly(_) | Target::Beside { .. });
        if is_single && request.sources.len() > 1 {
            return Err(Refusal::SeveralSources);
        }
        let sources = request.sources.iter().map(|path| (path, request.selection.links));
        let target = request.target.named().map(|path| (path, Links::Follow));
        send_ahead(sources.chain(target), request.stall_timeout)?;
        let sources: Vec<_> =
            request.sources.iter().map(|path| Source::look(path, request.selection.links)).collect::<Result<_, _>>()?;
        let mut journal = Journal::open(&request, &sources);
        let mut pairs = places(&request, &sources, &mut journal)?;
        if request.delete != Delete::Nothing && !matches!(pairs.as_slice(), [Pair { kind: Kind::Folder, .. }]) {
            return Err(Refusal::DeleteNeedsOneFolder);
        }
        if request.selection.list.is_some() {
            let [pair @ Pair { kind: Kind::Folder, .. }] = pairs.as_mut_slice() else {
                return Err(Refusal::ListNeedsOneFolder);
            };
            if request.delete != Delete::Nothing {
                return Err(Refusal::ListWithDelete);
            }
            // Its names and rules begin in the folder, whatever that is called.
            pair.called.clear();
            pair.source_place = Place::Folder(pair.source.clone());
        }
        let mut lineages = Lineages::default();
        for (pair, source) in pairs.iter().zip(&sources) {
            check(pair, source, request.policy.type_change, &mut lineages)?;
        }
        refuse_collisions(&pairs)?;
        pairs.retain(|pair| !request.selection.excludes_source(pair.called.as_bytes(), pair.kind == Kind::Folder));
        pairs.iter().try_for_each(room::check)?;
        if request.policy.type_change == TypeChange::Allowed {
            refuse_sources_in_what_goes(&pairs, &mut lineages)?;
        }
        let confinable = confine::find(request.sandbox, purpose(&request)).map_err(Refusal::Sandbox)?;
        Ok(Self { request, pairs, share: Share::default(), journal, confinable })
    }

    /// Whether this goes on with a run that was cut off.
    pub fn goes_on(&self) -> bool {
        self.journal.resumed().is_some()
    }

    /// The same copy, but of these entries only. What is below them is copied with them, and the folders above them get their
    /// metadata again, which must be there already.
    pub fn only(self, entries: Vec<EntryName>) -> Self {
        // A run of some entries says nothing about the others.
        Self { share: Share::of(entries), journal: Journal::default(), ..self }
    }

    /// How strictly the workers will be confined.
    pub fn sandbox(&self) -> Confinement {
        self.confinable.level()
    }

    /// Source and destination of every top-level entry.
    pub fn pairs(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.pairs.iter().map(|pair| (pair.source.as_path(), pair.destination.as_path()))
    }
}

fn purpose(request: &Request) -> Purpose {
    match request.selection.links {
        Links::Keep | Links::FollowSources => Purpose::Copying,
        Links::Follow => Purpose::CopyingWhatLinksPointTo,
    }
}

/// What stands at a path, and how it is reached. A trailing slash or `/.` asks for what a link points to.
pub(crate) fn found_at(path: &Path) -> std::io::Result<(Kind, Place)> {
    let typed = Typed::new(path);
    let found = if typed.follows { identity::follow(path) } else { identity::look(path) };
    match found? {
        Found::Entry(entry) => {
            let source = Source { typed, entry };
            Ok((source.entry.kind, source.place()))
        }
        Found::Nothing(cause) => Err(cause),
    }
}

/// A source as it was typed and as it was found.
struct Source {
    typed: Typed,
    entry: Entry,
}

impl Source {
    fn look(path: &Path, links: Links) -> Result<Self, Refusal> {
        let mut typed = Typed::new(path);
        // A trailing slash or `/.` asks for what a link points to, as everywhere.
        typed.follows |= links != Links::Keep && is_link(path);
        let found = if typed.follows { identity::follow(path) } else { identity::look(path) };
        let refuse = |cause| Refusal::Source { path: path.to_owned(), cause };
        match found.map_err(refuse)? {
            Found::Entry(entry) => Ok(Self { typed, entry }),
            Found::Nothing(cause) => Err(refuse(cause)),
        }
    }

    fn called(&self) -> OsString {
        match &self.typed.shape {
            Shape::Named { name, .. } => name.clone(),
            Shape::Contents => OsString::new(),
        }
    }

    /// The folder that it is in, and its name there.
    fn resolved_name(&self) -> Result<(PathBuf, OsString), Refusal> {
        if let Shape::Named { folder, name } = &self.typed.shape
            && !self.typed.follows
        {
            return Ok((folder.clone(), name.clone()));
        }
        let refuse = |cause| Refusal::Source { path: self.typed.path.clone(), cause };
        let resolved = self.typed.path.canonicalize().map_err(refuse)?;
        match (resolved.parent(), resolved.file_name()) {
            (Some(folder), Some(name)) => Ok((folder.to_owned(), name.to_owned())),
            _ => Err(Refusal::RootBeside),
        }
    }

    fn resolved(&self) -> Option<Place> {
        let path = self.typed.path.canonicalize().ok()?;
        Some(Place::Named { folder: path.parent()?.to_owned(), name: path.file_name()?.to_owned() })
    }

    fn place(&self) -> Place {
        match &self.typed.shape {
            Shape::Named { folder, name } if !self.typed.follows => {
                Place::Named { folder: folder.clone(), name: name.clone() }
            }
            _ if self.entry.kind == Kind::Folder => Place::Folder(self.typed.path.clone()),
            // Links were followed to a file. It is opened by its own name, since workers open no link.
            Shape::Named { folder, name } => {
                self.resolved().unwrap_or_else(|| Place::Named { folder: folder.clone(), name: name.clone() })
            }
            Shape::Contents => Place::Folder(self.typed.path.clone()),
        }
    }
}

fn is_link(path: &Path) -> bool {
    matches!(identity::look(path), Ok(Found::Entry(entry)) if entry.kind == Kind::Symlink)
}

/// Where each source goes. What a run that was cut off has made is no folder to copy into.
fn places(request: &Request, sources: &[Source], journal: &mut Journal) -> Result<Vec<Pair>, Refusal> {
    let types = request.policy.type_change;
    let (pairs, form) = match &request.target {
        Target::IntoOrAs(destination) => (into_or_as(sources, destination, types, journal)?, Form::IntoOrAs),
        Target::Exactly(destination) => (vec![exactly(&sources[0], destination, types)?], Form::Exactly),
        Target::Beside { suffix, other_suffixes } => {
            let suffixes = std::iter::once(suffix).chain(other_suffixes);
            (vec![beside(&sources[0], suffixes, journal)?], Form::Beside)
        }
    };
    journal.choose(&pairs, form);
    Ok(pairs)
}

/// As `cp` decides: into a folder that is there, else as this path itself.
fn into_or_as(
    sources: &[Source],
    destination: &Path,
    types: TypeChange,
    journal: &mut Journal,
) -> Result<Vec<Pair>, Refusal> {
    let refuse = |cause| Refusal::Destination { path: destination.to_owned(), cause };
    let there = identity::follow(destination).map_err(refuse)?;
    let is_folder = matches!(&there, Found::Entry(entry) if entry.kind == Kind::Folder)
        && !(sources.len() == 1 && journal.has_unfinished(&Place::Folder(destination.to_owned()), Form::IntoOrAs));
    if !is_folder && sources.len() > 1 {
        return Err(Refusal::NotAFolder { destination: destination.to_owned() });
    }
    sources
        .iter()
        .map(|source| match &source.typed.shape {
            Shape::Named { name, .. } if is_folder => Ok(Pair {
                kind: source.entry.kind,
                called: source.called(),
                source: source.typed.path.clone(),
                destination: destination.join(name),
                source_place: source.place(),
                destination_place: Place::Named { folder: destination.to_owned(), name: name.clone() },
            }),
            _ => exactly(source, destination, types),
        })
        .collect()
}

fn exactly(source: &Source, destination: &Path, types: TypeChange) -> Result<Pair, Refusal> {
    let typed = Typed::new(destination);
    let refuse = |cause| Refusal::Destination { path: destination.to_owned(), cause };
    let there = identity::follow(destination).map_err(refuse)?;
    let is_folder = matches!(&there, Found::Entry(entry) if entry.kind == Kind::Folder);
    let gives_way = types == TypeChange::Allowed && source.entry.kind != Kind::Folder && !typed.follows;
    let destination_place = match (typed.shape, there) {
        (Shape::Named { folder, name }, _) if is_folder && gives_way => Place::Named { folder, name },
        _ if is_folder => Place::Folder(destination.to_owned()),
        (Shape::Contents, Found::Nothing(cause)) => return Err(refuse(cause)),
        // `cp file new/` asks for a folder that is not there.
        (_, Found::Nothing(cause)) if typed.follows && source.entry.kind != Kind::Folder => {
            return Err(refuse(cause));
        }
        (Shape::Contents, Found::Entry(_)) => return Err(refuse(rustix::io::Errno::NOTDIR.into())),
        (Shape::Named { folder, name }, _) => Place::Named { folder, name },
    };
    Ok(Pair {
        kind: source.entry.kind,
        called: source.called(),
        source: source.typed.path.clone(),
        destination: typed.path,
        source_place: source.place(),
        destination_place,
    })
}

/// Beside the source, under its resolved name with the first suffix, numbered from 2 if that is taken; or where a run that was cut
/// off has begun, with any of the suffixes.
fn beside<'a>(
    source: &Source,
    suffixes: impl Iterator<Item = &'a String>,
    journal: &mut Journal,
) -> Result<Pair, Refusal> {
    let (folder, name) = source.resolved_name()?;
    let pair = |copy: OsString| Pair {
        kind: source.entry.kind,
        called: source.called(),
        source: source.typed.path.clone(),
        destination: folder.join(&copy),
        source_place: source.place(),
        destination_place: Place::Named { folder: folder.clone(), name: copy },
    };
    let mut free = None;
    for suffix in suffixes {
        for n_copies in 1_u64.. {
            let mut copy = name.clone();
            copy.push(suffix);
            if n_copies > 1 {
                copy.push(format!("_{n_copies}"));
            }
            let pair = pair(copy);
            let refuse = |cause| Refusal::Destination { path: pair.destination.clone(), cause };
            if matches!(identity::look(&pair.destination).map_err(refuse)?, Found::Nothing(_)) {
                free.get_or_insert(pair);
                break;
            }
            if is_perhaps_begun(source, &pair.destination)
                && journal.has_unfinished(&pair.destination_place, Form::Beside)
            {
                return Ok(pair);
            }
        }
    }
    free.ok_or(Refusal::RootBeside)
}

/// Whether what is at the place of a copy may be a part of that. Somebody else's file is not: it would be replaced.
fn is_perhaps_begun(source: &Source, copy: &Path) -> bool {
    let look = |path: &Path, flags| statat(CWD, path, flags);
    let original =
        look(&source.typed.path, if source.typed.follows { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW });
    let (Ok(source), Ok(copy)) = (original, look(copy, AtFlags::SYMLINK_NOFOLLOW)) else { return false };
    let kind = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
    let is_unfinished = copy.st_mode & 0o7777 == 0o600 || copy.st_size == source.st_size;
    kind(&source) == kind(&copy) && (kind(&copy) == FileType::Directory || is_unfinished)
}

/// All reasons against one pair.
fn check(pair: &Pair, source: &Source, types: TypeChange, lineages: &mut Lineages) -> Result<(), Refusal> {
    let refuse = |cause| Refusal::Destination { path: pair.destination.clone(), cause };
    let (above, there) = match &pair.destination_place {
        Place::Named { folder, name } => {
            let folder = place::or_here(folder);
            let lineage =
                lineages.of(folder).map_err(|cause| Refusal::Destination { path: folder.to_owned(), cause })?;
            (lineage, identity::look(&folder.join(name)).map_err(refuse)?)
        }
        Place::Folder(folder) => (lineages.of(folder).map_err(refuse)?, identity::follow(folder).map_err(refuse)?),
    };
    if let Found::Entry(there) = &there {
        refuse_the_same(pair, source, there)?;
        refuse_mismatch(pair, there, types)?;
    }
    if source.entry.kind == Kind::Folder {
        refuse_nesting(pair, source, lineages, &above, &there)?;
    }
    Ok(())
}

fn refuse_the_same(pair: &Pair, source: &Source, there: &Entry) -> Result<(), Refusal> {
    // Copying a link over what it points to would lose the file, and copying a file over a link to it is a mistake. Two links
    // to the same file are two entries.
    let is_same = source.entry.identity == there.identity
        || identity::target_of(&pair.source) == Some(there.identity)
        || identity::target_of(&pair.destination) == Some(source.entry.identity);
    if is_same {
        return Err(Refusal::SameEntry { source_path: pair.source.clone(), destination: pair.destination.clone() });
    }
    Ok(())
}

fn refuse_mismatch(pair: &Pair, there: &Entry, types: TypeChange) -> Result<(), Refusal> {
    let (what, there) = match (pair.kind == Kind::Folder, there.kind == Kind::Folder) {
        (true, false) => ("a folder", "not a folder"),
        (false, true) if types == TypeChange::Allowed && matches!(pair.destination_place, Place::Named { .. }) => {
            return Ok(());
        }
        (false, true) => ("a file", "a folder"),
        _ => return Ok(()),
    };
    Err(Refusal::TypeMismatch { destination: pair.destination.clone(), what, there })
}

/// A folder that gives way to a file takes with it what is in it, so no source may be there.
fn refuse_sources_in_what_goes(pairs: &[Pair], lineages: &mut Lineages) -> Result<(), Refusal> {
    for pair in pairs {
        let there = identity::look(&pair.destination)
            .map_err(|cause| Refusal::Destination { path: pair.destination.clone(), cause })?;
        let Found::Entry(there) = there else { continue };
        for other in pairs {
            let folder = match &other.source_place {
                Place::Named { folder, .. } => place::or_here(folder),
                Place::Folder(folder) => folder,
            };
            let lineage = lineages.of(folder).map_err(|cause| Refusal::Source { path: other.source.clone(), cause })?;
            if there.kind == Kind::Folder && lineage.contains(there.identity) && pair.kind != Kind::Folder {
                return Err(Refusal::InsideDestination {
                    source_path: other.source.clone(),
                    destination: pair.destination.clone(),
                });
            }
        }
    }
    Ok(())
}

fn refuse_nesting(
    pair: &Pair,
    source: &Source,
    lineages: &mut Lineages,
    above: &Lineage,
    there: &Found,
) -> Result<(), Refusal> {
    let refuse = |cause| Refusal::Source { path: pair.source.clone(), cause };
    let lineage = lineages.of(&pair.source).map_err(refuse)?;
    if above.contains(source.entry.identity) || above.is_below(&lineage) {
        return Err(Refusal::InsideSource { source_path: pair.source.clone(), destination: pair.destination.clone() });
    }
    let Found::Entry(there) = there else {
        return Ok(());
    };
    let destination = lineages
        .of(&pair.destination)
        .map_err(|cause| Refusal::Destination { path: pair.destination.clone(), cause })?;
    if lineage.contains(there.identity) || lineage.is_below(&destination) {
        return Err(Refusal::InsideDestination {
            source_path: pair.source.clone(),
            destination: pair.destination.clone(),
        });
    }
    Ok(())
}

fn refuse_collisions(pairs: &[Pair]) -> Result<(), Refusal> {
    let mut places = std::collections::HashSet::new();
    for pair in pairs {
        if !places.insert(&pair.destination) {
            return Err(Refusal::Collision { destination: pair.destination.clone() });
        }
    }
    Ok(())
}
