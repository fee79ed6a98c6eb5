//! A worker process that compares: walks two trees at the same time, by held descriptors and one component at a time, and writes to
//! neither. How two entries are compared is in examiner/entry.rs.

mod entry;

use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::contents::new_buffer;
use super::entry::n_bytes_of;
use super::folders::{Chain, Pair, list, open_folder};
use super::unread::Unread;
use super::worth::{LEAST_TO_SHARE, is_large};
use super::{Flaw, LISTING_BYTES, Root, open_root, raise_limit_on_open_files};
use crate::calls::{fstat, statat, syncfs};
use crate::compare::{Aspect, Aspects, CompareAnswer, CompareItem, CompareTask, Side, UnreadEntry};
use crate::error::{Action, Reason};
use crate::lanes::{OwnLane, Words};
use crate::names::{Bytes, Kind, Names, append, cut, joined};
use crate::stuck::Stuck;

/// Names that a worker reads from folders before it answers.
const MOST_LISTED: u64 = 8192;

/// The state of one worker process.
pub(crate) struct Examiner {
    root: Root,
    lane: OwnLane,
    chain: Chain<Pair>,
    wants_sizes: bool,
    source_bytes: Vec<u8>,
    destination_bytes: Vec<u8>,
    listing_buffer: Vec<u8>,

    // The task that is being worked on.
    answer: CompareAnswer,
    /// Entries that may be compared; none in a walk that only lists.
    n_entries: u64,
    path: Vec<u8>,
    /// Places that are not to be touched.
    stuck: Vec<Stuck>,
    frames: Vec<Frame>,
    /// Entries that were found in this task and not begun.
    n_left: usize,
    /// The task ended before a large file of the current folder.
    has_large: bool,
    is_task_over: bool,
}

/// A folder that is being visited.
struct Frame {
    /// Empty for the folder that the item names.
    name: CString,
    files: Unread,
    folders: Unread,
}

/// What cannot be compared, and where.
struct Trouble {
    side: Side,
    flaw: Flaw,
}

impl Trouble {
    fn at_source(action: Action, errno: Errno) -> Self {
        Self { side: Side::Source, flaw: Flaw::new(action, errno) }
    }

    fn at_destination(action: Action, errno: Errno) -> Self {
        Self { side: Side::Destination, flaw: Flaw::new(action, errno) }
    }
}

/// Opening a pair that a chain had closed: which of the two could not be opened is told by the action.
impl From<Flaw> for Trouble {
    fn from(flaw: Flaw) -> Self {
        let side = if flaw.action == Action::Reach { Side::Destination } else { Side::Source };
        Self { side, flaw: Flaw { action: Action::Open, ..flaw } }
    }
}

impl Examiner {
    pub(crate) fn new(root: Root, words: Words, n_lanes: usize, pid: u32, wants_sizes: bool) -> Self {
        Self {
            root,
            lane: OwnLane::new(words, n_lanes, pid),
            chain: Chain::new(raise_limit_on_open_files()),
            wants_sizes,
            source_bytes: new_buffer(),
            destination_bytes: new_buffer(),
            listing_buffer: Vec::with_capacity(LISTING_BYTES),
            answer: CompareAnswer::default(),
            n_entries: 0,
            path: Vec::new(),
            stuck: Vec::new(),
            frames: Vec::new(),
            n_left: 0,
            has_large: false,
            is_task_over: false,
        }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn run(&mut self, task: CompareTask) -> CompareAnswer {
        self.lane.begin_task(task.id);
        self.lane.verifying();
        self.n_entries = u64::from(task.n_entries);
        self.n_left = task.items.iter().map(CompareItem::n_units).sum();
        self.is_task_over = false;
        self.stuck = task.stuck;
        for item in task.items {
            if self.is_over() {
                self.answer.leftovers.push(item);
            } else {
                self.run_item(item);
            }
        }
        self.lane.end_task();
        std::mem::take(&mut self.answer)
    }

    fn run_item(&mut self, item: CompareItem) {
        self.path = item.folder.0;
        self.lane.entry(&self.path, b"");
        let pair = match self.refuse_stuck(c"").and_then(|()| self.enter()) {
            Ok(pair) => pair,
            Err(trouble) => {
                for (_, name) in item.files.iter().chain(item.folders.iter()) {
                    self.fail(name, &trouble);
                }
                if item.is_whole {
                    self.fail(c"", &trouble);
                }
                return;
            }
        };
        let mut frame =
            Frame { name: CString::default(), files: Unread::new(item.files), folders: Unread::new(item.folders) };
        if item.is_whole || self.root.renamed.is_some() {
            // The first task, while there is no other. What waits to be written is written now: then what the cache holds can be
            // dropped, and what the disk has is read.
            self.ask(Side::Destination);
            let _ = syncfs(&pair.destination);
        }
        if item.is_whole {
            self.compare_folders(c"", &pair);
            self.list(&pair, &mut frame);
        }
        self.frames.push(frame);
        self.run_frames();
    }

    /// Refuses to touch an entry of the current folder, or with an empty name the folder itself, if it is in a place where
    /// another worker got stuck.
    fn refuse_stuck(&self, name: &CStr) -> Result<(), Trouble> {
        // Nearly always there is none, and then no path is put together.
        if self.stuck.is_empty() {
            return Ok(());
        }
        let path = joined(&self.path, name).0;
        match self.stuck.iter().find(|place| place.holds(place.root, &path)) {
            None => Ok(()),
            Some(place) => {
                let flaw = Flaw::new(Action::Compare, Reason::Stalled);
                Err(Trouble { side: Side::of_root(place.root), flaw })
            }
        }
    }

    /// Shows which of the two trees is asked next, so that it can be named if no answer comes.
    fn ask(&mut self, side: Side) {
        self.lane.root(side.root());
    }

    fn enter(&mut self) -> Result<Rc<Pair>, Trouble> {
        self.ask(Side::Source);
        let root = &self.root;
        let pair = self.chain.enter(0, &self.path, || {
            let source = open_root(&root.source).map_err(|errno| Flaw::new(Action::Open, errno))?;
            let destination = open_root(&root.destination).map_err(|errno| Flaw::new(Action::Reach, errno))?;
            Ok(Pair::new(source, destination))
        });
        pair.map_err(Trouble::from)
    }

    fn run_frames(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            if frame.files.n_left() > 0 {
                if self.is_over() {
                    break;
                }
                self.compare_files();
            } else if let Some((name, next)) = frame.folders.next().map(|(_, name, next)| (name.to_owned(), next)) {
                if self.is_over() {
                    break;
                }
                if let Some(frame) = self.frames.last_mut() {
                    frame.folders.advance(next);
                }
                self.n_left = self.n_left.saturating_sub(1);
                self.descend(&name);
            } else {
                self.ascend();
            }
        }
        self.give_back();
    }

    /// Compares files of the current folder until they or the task end.
    fn compare_files(&mut self) {
        let pair = self.chain.current().map_err(Trouble::from);
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let mut files = std::mem::take(&mut frame.files);
        while let Some((kind, name, next)) = files.next() {
            if self.is_over() {
                break;
            }
            match &pair {
                Ok(pair) if self.is_for_another(pair, kind, name) => break,
                Ok(pair) => self.compare_and_book(pair, name),
                Err(trouble) => self.fail(name, trouble),
            }
            self.n_left = self.n_left.saturating_sub(1);
            files.advance(next);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.files = files;
        }
    }

    /// Whether it is better not to begin with a large file while others have nothing to do, and to give it back with what else is left.
    fn is_for_another(&mut self, pair: &Pair, kind: Kind, name: &CStr) -> bool {
        let is_asked = kind == Kind::File && self.n_left > 1 && self.lane.is_work_wanted();
        if !is_asked || self.refuse_stuck(name).is_err() {
            return false;
        }
        self.ask(Side::Source);
        self.lane.entry(&self.path, name.to_bytes());
        self.is_task_over = is_large(&pair.source, name) && self.lane.take_wish();
        self.has_large = self.is_task_over;
        self.is_task_over
    }

    /// Compares a sub-folder and goes into it, unless it is in one of the trees only.
    fn descend(&mut self, name: &CStr) {
        self.lane.entry(&self.path, name.to_bytes());
        match self.open_both(name) {
            Ok(Ok(pair)) => {
                self.compare_folders(name, &pair);
                append(&mut self.path, name.to_bytes());
                let mut frame = Frame { name: name.to_owned(), files: Unread::default(), folders: Unread::default() };
                self.list(&pair, &mut frame);
                self.chain.push(name, pair);
                self.frames.push(frame);
            }
            Ok(Err(aspect)) => self.differ(name, Aspects::of(aspect)),
            Err(trouble) => self.fail(name, &trouble),
        }
    }

    /// Opens a folder in both trees; or says why there are no two folders.
    fn open_both(&mut self, name: &CStr) -> Result<Result<Pair, Aspect>, Trouble> {
        self.refuse_stuck(name)?;
        let here = self.chain.current().map_err(Trouble::from)?;
        self.ask(Side::Source);
        let source = open_folder(here.source.as_fd(), name);
        self.ask(Side::Destination);
        let destination = open_folder(here.destination.as_fd(), name);
        match (source, destination) {
            (Ok(source), Ok(destination)) => Ok(Ok(Pair::new(source, destination))),
            (Ok(_), Err(Errno::NOENT)) => Ok(Err(Aspect::OnlyAtSource)),
            (Ok(_), Err(Errno::NOTDIR | Errno::LOOP)) => Ok(Err(Aspect::Type)),
            (Ok(_), Err(errno)) => Err(Trouble::at_destination(Action::Open, errno)),
            (Err(Errno::NOTDIR | Errno::LOOP), _) => {
                let flaw = Flaw::new(Action::Open, Reason::ChangedInComparison);
                Err(Trouble { side: Side::Source, flaw })
            }
            (Err(errno), _) => Err(Trouble::at_source(Action::Open, errno)),
        }
    }

    /// Reads the names in a folder of both trees. What only the destination has is told here; the rest is compared later.
    fn list(&mut self, pair: &Pair, frame: &mut Frame) {
        let mut listing = std::mem::take(&mut self.listing_buffer);
        let read = self.list_both(pair, &mut listing, frame);
        self.listing_buffer = listing;
        if let Err(trouble) = read {
            // The folder has been counted as the same or different. What is in it, nobody knows: one more that cannot be compared.
            self.found(1);
            self.book_failure(Bytes(self.path.clone()), &trouble);
        }
    }

    fn list_both(&mut self, pair: &Pair, listing: &mut Vec<u8>, frame: &mut Frame) -> Result<(), Trouble> {
        self.ask(Side::Source);
        let (mut files, mut folders) = (Names::default(), Names::default());
        let mut bytes_found = 0;
        list(&pair.source, listing, |kind, name| {
            if kind == Kind::File && self.wants_sizes {
                let stat = statat(&pair.source, name, AtFlags::SYMLINK_NOFOLLOW);
                bytes_found += stat.as_ref().map_or(0, n_bytes_of);
            }
            if kind == Kind::Folder { folders.push(kind, name) } else { files.push(kind, name) }
        })
        .map_err(|errno| Trouble::at_source(Action::List, errno))?;
        let n_at_source = files.len() + folders.len();
        self.answer.counts.bytes_found += bytes_found;
        self.n_left += n_at_source;
        self.found(n_at_source as u64);
        self.ask(Side::Destination);
        let extra = only_at_destination(pair, listing, &files, &folders);
        frame.files = Unread::new(files);
        frame.folders = Unread::new(folders);
        for name in &extra.map_err(|errno| Trouble::at_destination(Action::List, errno))? {
            self.found(1);
            self.differ(name, Aspects::of(Aspect::OnlyAtDestination));
        }
        if self.n_entries == 0 {
            self.give_files_back(frame);
        }
        Ok(())
    }

    /// A walk compares no files: they go to whoever compares.
    fn give_files_back(&mut self, frame: &mut Frame) {
        let files = frame.files.take_rest();
        if !files.is_empty() {
            self.answer.leftovers.push(CompareItem { files, ..CompareItem::none_in(Bytes(self.path.clone())) });
        }
    }

    /// Leaves the current folder.
    fn ascend(&mut self) {
        if let Some(frame) = self.frames.pop()
            && !frame.name.is_empty()
        {
            self.chain.pop();
            cut(&mut self.path);
        }
    }

    /// Answers with everything that has been found and not begun, and leaves all folders.
    fn give_back(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            let (files, folders) = (frame.files.take_rest(), frame.folders.take_rest());
            if !files.is_empty() || !folders.is_empty() {
                let folder = Bytes(self.path.clone());
                let has_large = std::mem::take(&mut self.has_large);
                self.answer.leftovers.push(CompareItem { folder, files, folders, is_whole: false, has_large });
            }
            self.ascend();
        }
    }

    /// Whether nothing new may be begun in this task. Once it is, it stays so.
    fn is_over(&mut self) -> bool {
        if !self.is_task_over {
            self.is_task_over = self.lane.must_stop()
                || self.answer.counts.n_found >= MOST_LISTED
                || (self.n_entries > 0 && self.answer.counts.n_done() >= self.n_entries)
                || (self.lane.is_work_wanted() && self.n_left >= LEAST_TO_SHARE && self.lane.take_wish());
        }
        self.is_task_over
    }
}

// The books.
impl Examiner {
    fn found(&mut self, n_found: u64) {
        self.answer.counts.n_found += n_found;
        self.lane.found(n_found);
        self.lane.verifying();
    }

    fn same(&mut self) {
        self.answer.counts.n_same += 1;
        self.show_counts();
    }

    fn differ(&mut self, name: &CStr, aspects: Aspects) {
        let path = self.path_of(name);
        self.answer.differences.push((path, aspects));
        self.answer.counts.n_different += 1;
        self.show_counts();
    }

    fn fail(&mut self, name: &CStr, trouble: &Trouble) {
        let path = self.path_of(name);
        self.book_failure(path, trouble);
    }

    fn book_failure(&mut self, path: Bytes, trouble: &Trouble) {
        let Flaw { action, cause } = trouble.flaw;
        self.answer.failures.push(UnreadEntry { path, side: trouble.side, action, cause });
        self.answer.counts.n_failed += 1;
        self.show_counts();
    }

    fn show_counts(&mut self) {
        let counts = &self.answer.counts;
        self.lane.done(counts.n_done(), counts.bytes_done);
    }

    /// The path below both trees; that of the entries that were named is empty.
    fn path_of(&self, name: &CStr) -> Bytes {
        if self.root.renamed.is_some() { Bytes::default() } else { joined(&self.path, name) }
    }

    fn compare_and_book(&mut self, pair: &Pair, name: &CStr) {
        self.lane.entry(&self.path, name.to_bytes());
        let renamed = self.root.renamed.clone();
        let compared =
            self.refuse_stuck(name).and_then(|()| self.compare_entries(pair, name, renamed.as_deref().unwrap_or(name)));
        match compared {
            Ok(Some(compared)) => {
                self.answer.counts.bytes_done += compared.n_bytes;
                self.answer.counts.bytes_compared += compared.n_bytes;
                if let Some((source, destination)) = compared.links {
                    let is_different = !compared.aspects.is_empty();
                    let path = self.path_of(name);
                    self.answer.links.push(crate::compare::LinkSeen { path, source, destination, is_different });
                }
                if compared.aspects.is_empty() { self.same() } else { self.differ(name, compared.aspects) }
            }
            Ok(None) => self.is_task_over = true,
            Err(trouble) => self.fail(name, &trouble),
        }
    }

    fn compare_folders(&mut self, name: &CStr, pair: &Pair) {
        match self.aspects_of_folders(pair) {
            Ok(aspects) if aspects.is_empty() => self.same(),
            Ok(aspects) => self.differ(name, aspects),
            Err(trouble) => self.fail(name, &trouble),
        }
    }

    fn aspects_of_folders(&mut self, pair: &Pair) -> Result<Aspects, Trouble> {
        self.ask(Side::Source);
        let source = fstat(&pair.source).map_err(|errno| Trouble::at_source(Action::Stat, errno))?;
        self.ask(Side::Destination);
        let destination = fstat(&pair.destination).map_err(|errno| Trouble::at_destination(Action::Stat, errno))?;
        let mut aspects = entry::of_stats(&source, &destination);
        self.note_attributes(
            &mut aspects,
            &super::Bearer::open(&pair.source),
            &super::Bearer::open(&pair.destination),
        )?;
        Ok(aspects)
    }
}

/// The names that the source does not have.
fn only_at_destination(
    pair: &Pair,
    listing: &mut Vec<u8>,
    files: &Names,
    folders: &Names,
) -> Result<Vec<CString>, Errno> {
    let mut known: Vec<&[u8]> = files.iter().chain(folders.iter()).map(|(_, name)| name.to_bytes()).collect();
    known.sort_unstable();
    let mut extra = Vec::new();
    list(&pair.destination, listing, |_, name| {
        if known.binary_search(&name.to_bytes()).is_err() {
            extra.push(name.to_owned());
        }
    })?;
    Ok(extra)
}
