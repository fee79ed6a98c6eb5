//! A worker process: takes a task, works through its items and answers with what became of them. It knows two descriptors
//! for each root and never uses a name of more than one component. What is to be done when is the scheduler's business.

mod attributes;
mod books;
mod committing;
mod contents;
mod emptying;
mod entry;
mod examiner;
mod existing;
mod file;
mod folders;
mod follow;
mod keeping;
mod listed;
mod litter;
mod metadata;
mod parts;
mod placing;
mod positions;
mod rehearsing;
mod removal;
mod standing;
mod stuck;
mod unread;
mod verify;
mod visit;
mod whereabouts;
mod worth;

use std::ffi::CStr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use rustix::io::Errno;

use crate::error::Action;
use crate::event::{EntryKind, Ground, Outcome};
use crate::lanes::{OwnLane, Words};
use crate::names::Kind;
use crate::pace::Pace;
use crate::plan::Key;
use crate::request::{Delete, Durability, EmptySource, Fidelity, GroupLimits, Policy};
use crate::selection::{Selection, Selector};
use crate::stuck::Stuck;
use crate::task::{Arrival, Budget, Cause, CopyAnswer, CopyTask, Identity, Item, Joined, Place, Placing, Work};
pub(crate) use attributes::{Bearer, remove_inherited_acl};
pub(crate) use committing::is_elsewhere;
use contents::{Offload, Spared};
pub(crate) use examiner::Examiner;
pub(crate) use file::N_TRIES;
use file::Sharing;
pub(crate) use folders::FOLDER;
use folders::{Chain, Pair};
use keeping::Keeping;
pub(crate) use litter::is_free;
use metadata::Clock;
use parts::Parts;
use removal::Clearing;
pub(crate) use removal::entry_kind;
pub(crate) use verify::Checks;
use verify::Tap;
use visit::Frame;
use whereabouts::{open_root, raise_limit_on_open_files};

/// Bytes of the buffer for listings: room for about two thousand names in a call.
const LISTING_BYTES: usize = 64 << 10;

/// What all workers of a run know.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Facts {
    /// Makes temporary names that nobody else can guess.
    pub(crate) secret: [u64; 2],
    /// A moment before the first write, in seconds and nanoseconds of the clock that stamps files.
    pub(crate) started: (i64, i64),
    /// Likewise of the run that was cut off and that this one goes on with.
    pub(crate) resumed: Option<(i64, i64)>,
    /// What runs that were killed have left is removed: none other is at work.
    pub(crate) removes_litter: bool,
    /// The folders that are copied to, so that a copy never descends into itself.
    pub(crate) destinations: Vec<Identity>,
    /// The size of each file is wanted while it is listed.
    pub(crate) wants_sizes: bool,
    /// Each entry that is done is to be in the answer.
    pub(crate) wants_entries: bool,
    /// The clock is to be looked at before and after each entry.
    pub(crate) wants_times: bool,
    /// What becomes of what is there already.
    pub(crate) policy: Policy,
    pub(crate) selection: Selection,
    pub(crate) bytes_per_second: Option<NonZeroU64>,
    pub(crate) delete: Delete,
    pub(crate) empty_source: EmptySource,
    pub(crate) fidelity: Fidelity,
    pub(crate) checks: Checks,
    pub(crate) durability: Durability,
    pub(crate) group_limits: GroupLimits,
    /// Of the run and of that which it goes on with, if it is remembered.
    pub(crate) key: Option<Key>,
}

/// Two folders that correspond to each other.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) source: OwnedFd,
    pub(crate) destination: OwnedFd,
    /// The name at the destination of the one entry that is copied from here, if it differs.
    pub(crate) renamed: Option<Rc<CStr>>,
    /// The path in the transfer of the source folder, if that is itself a source; else it holds the sources.
    pub(crate) called: Option<Vec<u8>>,
}

/// The state of one worker process.
pub(crate) struct Worker {
    facts: Facts,
    roots: Vec<Root>,
    lane: OwnLane,
    pace: Pace,
    /// Folders that a chain may hold open.
    max_held: usize,
    chain: Chain<Pair>,
    /// In the destination tree only: to the folder of a link's first name, or of what is removed.
    destination_chain: Chain<OwnedFd>,
    offloads: Vec<Offload>,
    clocks: Vec<Clock>,
    /// The user this process acts for, and the bits that his new files never get.
    user: u32,
    umask: u32,
    buffer: Vec<u8>,
    /// Of the file that is being copied, what did not have to be written.
    spared: Spared,
    /// Of a large file that is being copied, how far it is on disk.
    parts: Option<Parts>,
    listing_buffer: Vec<u8>,
    selector: Selector,
    tap: Tap,

    // The task that is being worked on.
    answer: CopyAnswer,
    budget: Budget,
    /// What is not to be touched.
    stuck: Vec<Stuck>,
    item_idx: u32,
    root: u32,
    /// The folder where we are, relative to the root.
    path: Vec<u8>,
    frames: Vec<Frame>,
    clearings: Vec<Clearing>,
    n_copied: u64,
    n_listed: u64,
    /// Weight of what was found in this task and not begun, and of the units of its items that were not.
    n_left: usize,
    n_items_left: usize,
    /// Files that were found by a walk and are in the answer.
    n_given: usize,
    is_task_over: bool,
    /// Of the entry at hand.
    keeping: Keeping,
    /// Why the entry that is being worked on gets the outcome that it will get.
    why: Option<Ground>,
    /// It may replace what is there: that was asked for, or nothing was there when that was looked at.
    is_agreed: bool,
    /// Its ACL is not to hold before it has its mode.
    is_acl_veiled: bool,
    /// The destination gives names to files that were made without.
    makes_unnamed: bool,
    /// It is copied and left to be committed.
    has_left_to_commit: bool,
    /// Of the task, what is left to be committed, and when it began.
    bytes_to_commit: u64,
    task_began: Instant,
}

/// Where one entry is read and where it is to be.
struct Spot<'a> {
    here: Rc<Pair>,
    name: &'a CStr,
    /// Its name at the destination, if that is another.
    renamed: Option<Rc<CStr>>,
    arrival: Arrival,
}

impl Spot<'_> {
    fn destination_name(&self) -> &CStr {
        self.renamed.as_deref().unwrap_or(self.name)
    }
}

/// What became of one entry that did not fail.
enum Done {
    Entry {
        kind: EntryKind,
        outcome: Outcome,
        n_bytes: u64,
    },
    /// It has several names, and which of them is copied is not decided here.
    Shared {
        identity: Identity,
        n_links: u64,
    },
    /// Something is in its place, and somebody must be asked whether it gives way.
    Asked {
        n_bytes: u64,
    },
    /// The order to stop came while it was copied; nothing of it is left.
    Stopped,
}

/// What was attempted and why it failed. The path is known to whoever called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Flaw {
    action: Action,
    cause: Cause,
}

impl Flaw {
    fn new(action: Action, cause: impl Into<Cause>) -> Self {
        Self { action, cause: cause.into() }
    }
}

impl Worker {
    /// Makes this process ready for tasks: new files get exactly the mode we give them, and all descriptors we may have.
    pub(crate) fn new(facts: Facts, roots: Vec<Root>, words: Words, n_lanes: usize, pid: u32) -> Self {
        let umask = rustix::process::umask(rustix::fs::Mode::empty());
        let max_held = raise_limit_on_open_files();
        let tap = Tap::new(facts.checks);
        let mut lane = OwnLane::new(words.clone(), n_lanes, pid);
        // What is read back counts for the second half of a file.
        lane.set_passes(1 + u64::from(facts.checks.verifies));
        Self {
            selector: Selector::new(facts.selection.clone()),
            pace: Pace::new(words.clone(), facts.bytes_per_second),
            facts,
            roots,
            lane,
            max_held,
            chain: Chain::new(max_held),
            destination_chain: Chain::new(max_held),
            offloads: Vec::new(),
            clocks: Vec::new(),
            user: rustix::process::geteuid().as_raw(),
            umask: umask.as_raw_mode(),
            keeping: Keeping::default(),
            buffer: contents::new_buffer(),
            spared: Spared::default(),
            parts: None,
            listing_buffer: Vec::with_capacity(LISTING_BYTES),
            tap,
            answer: CopyAnswer::default(),
            budget: Budget { n_copied: 0, n_listed: 0 },
            stuck: Vec::new(),
            item_idx: 0,
            root: 0,
            path: Vec::new(),
            frames: Vec::new(),
            clearings: Vec::new(),
            n_copied: 0,
            n_listed: 0,
            n_left: 0,
            n_items_left: 0,
            n_given: 0,
            is_task_over: false,
            why: None,
            is_agreed: false,
            is_acl_veiled: false,
            makes_unnamed: true,
            has_left_to_commit: false,
            bytes_to_commit: 0,
            task_began: Instant::now(),
        }
    }

    pub(crate) fn roots(&self) -> &[Root] {
        &self.roots
    }

    pub(crate) fn run(&mut self, task: CopyTask) -> CopyAnswer {
        self.lane.begin_task(task.id);
        self.budget = task.budget;
        self.stuck = task.stuck;
        self.n_copied = 0;
        self.n_listed = 0;
        self.n_left = 0;
        self.n_given = 0;
        self.bytes_to_commit = 0;
        self.task_began = Instant::now();
        self.n_items_left = task.items.iter().map(|item| item.work.n_units()).sum();
        self.is_task_over = false;
        for (item_idx, item) in task.items.into_iter().enumerate() {
            self.item_idx = item_idx as u32;
            if !self.run_item(item) {
                break;
            }
        }
        self.lane.end_task();
        std::mem::take(&mut self.answer)
    }

    /// Returns whether all units of the item were begun.
    fn run_item(&mut self, item: Item) -> bool {
        // What is there becomes whole also after the order to stop.
        if !matches!(item.work, Work::Finish(_) | Work::Flush(_) | Work::Commit(_)) && self.is_over() {
            return false;
        }
        self.root = item.root;
        self.path = item.folder.0;
        self.lane.root(item.root);
        // For what is copied already the source is not needed any more.
        match &item.work {
            Work::Flush(scope) => {
                self.run_flush(scope);
                return true;
            }
            Work::Commit(batch) => {
                self.run_commit(batch, item.arrival);
                return true;
            }
            _ => {}
        }
        let entered = self.enter(item.root);
        // A worker that only rehearsed has left nothing behind when it died.
        let arrival = if self.is_rehearsal() { Arrival::Merged } else { item.arrival };
        self.is_agreed = matches!(item.work, Work::Agreed(_) | Work::First { .. } | Work::Link { .. });
        match item.work {
            Work::List { from } => {
                self.begin_unit();
                self.visit_root(entered, from, arrival);
                true
            }
            Work::Folders(names) => self.each(&names, |worker, kind, name| {
                worker.run_folder(kind, name, &entered, arrival);
            }),
            Work::Files(names) => self.each(&names, |worker, kind, name| {
                worker.run_file(kind, name, &entered, arrival, Sharing::Report);
            }),
            Work::Agreed(names) => self.each(&names, |worker, kind, name| match (kind, &entered) {
                (Kind::Folder, Ok(_)) => worker.visit(name, arrival),
                _ => drop(worker.run_file(kind, name, &entered, arrival, Sharing::Report)),
            }),
            Work::First { name, place, identity } => self.each(&name, |worker, kind, name| {
                let joined = worker.run_file(kind, name, &entered, arrival, Sharing::Copy(place));
                // Asked afterwards: what was copied is what the name meant then.
                let is_apart = joined == Joined::Done && !worker.is_name_of(name, &entered, identity);
                let joined = match (is_apart, worker.has_left_to_commit) {
                    (true, _) => {
                        worker.forget_shared();
                        Joined::Apart
                    }
                    (false, true) => Joined::Later,
                    (false, false) => joined,
                };
                worker.answer.joined.push(joined);
            }),
            Work::Link { name, first, identity } => self.each(&name, |worker, kind, name| {
                let joined = if worker.is_name_of(name, &entered, identity) {
                    worker.run_link(kind, name, &first, &entered, arrival)
                } else {
                    worker.run_file(kind, name, &entered, arrival, Sharing::Copy(Placing::Met))
                };
                worker.answer.joined.push(joined);
            }),
            Work::Finish(outcomes) => {
                self.begin_unit();
                self.run_finish(entered, &outcomes);
                true
            }
            Work::Sweep(names) => self.each(&names, |worker, _, name| {
                worker.run_sweep(name, &entered, arrival);
            }),
            Work::Remove(chore) => {
                self.run_chore(chore, entered);
                true
            }
            // Done above.
            Work::Flush(_) | Work::Commit(_) => true,
        }
    }

    /// Does something with each name until the task is over. Returns whether all were begun.
    fn each(&mut self, names: &crate::names::Names, mut act: impl FnMut(&mut Self, Kind, &CStr)) -> bool {
        for (kind, name) in names.iter() {
            if self.is_over() || self.is_for_another(kind, name) {
                return false;
            }
            self.begin_unit();
            act(self, kind, name);
        }
        true
    }

    fn begin_unit(&mut self) {
        self.answer.n_reached += 1;
        self.n_items_left = self.n_items_left.saturating_sub(1);
    }

    /// Visits a folder. An entry that was named without being listed is looked at, and may be anything.
    fn run_folder(&mut self, kind: Kind, name: &CStr, entered: &Result<Rc<Pair>, Flaw>, arrival: Arrival) {
        let looked_at = entered.clone().and_then(|pair| match kind {
            Kind::Unknown => self.kind_of_named(&pair, name),
            kind => Ok(kind),
        });
        match looked_at {
            Ok(Kind::Folder) => self.visit(name, arrival),
            Ok(kind) => drop(self.run_file(kind, name, entered, arrival, Sharing::Report)),
            Err(flaw) => self.book_unread(name, flaw),
        }
    }

    fn run_file(
        &mut self,
        kind: Kind,
        name: &CStr,
        entered: &Result<Rc<Pair>, Flaw>,
        arrival: Arrival,
        sharing: Sharing,
    ) -> Joined {
        self.n_copied += 1;
        match entered {
            Ok(pair) => {
                let spot = self.spot(Rc::clone(pair), name, arrival);
                self.copy_and_book(kind, &spot, sharing)
            }
            Err(flaw) => {
                self.book_failure(name, *flaw);
                Joined::Failed
            }
        }
    }

    fn run_link(
        &mut self,
        kind: Kind,
        name: &CStr,
        first: &Place,
        entered: &Result<Rc<Pair>, Flaw>,
        arrival: Arrival,
    ) -> Joined {
        self.begin_entry(name);
        let linked = entered.clone().and_then(|pair| {
            self.refuse_stuck(name)?;
            if self.is_rehearsal() {
                let spot = self.spot(pair, name, arrival);
                let done = self.rehearse_link(kind, &spot, first)?;
                return Ok(Some((spot, done)));
            }
            let first_folder = self.enter_destination(first.root, &first.folder.0)?;
            let (_, first_name, _) = first.name.at(0).ok_or(Flaw::new(Action::CreateHardLink, Errno::INVAL))?;
            let renamed = self.renamed(first.root, &first.folder.0);
            let spot = self.spot(pair, name, arrival);
            let done = self.link(kind, &spot, &first_folder, renamed.as_deref().unwrap_or(first_name))?;
            Ok(done.map(|done| (spot, done)))
        });
        match linked {
            Ok(Some((spot, done))) => match self.note_digest(&spot, &done) {
                Ok(()) => self.book(name, done),
                Err(flaw) => {
                    self.book_failure(name, flaw);
                    Joined::Failed
                }
            },
            Ok(None) => Joined::Refused,
            Err(flaw) => {
                self.book_failure(name, flaw);
                Joined::Failed
            }
        }
    }

    fn run_sweep(&mut self, name: &CStr, entered: &Result<Rc<Pair>, Flaw>, arrival: Arrival) {
        if let Ok(pair) = entered
            && !self.is_rehearsal()
        {
            self.lane.entry(&self.path, name.to_bytes());
            let spot = self.spot(Rc::clone(pair), name, arrival);
            self.sweep(&spot);
        }
    }

    fn run_finish(&mut self, entered: Result<Rc<Pair>, Flaw>, outcomes: &[Outcome]) {
        let mut here = entered;
        for (idx, &outcome) in outcomes.iter().enumerate() {
            if idx > 0 {
                self.chain.pop();
                self.cut_path();
                // After a failure the chain is not trusted, and we go from the root again.
                here = if here.is_ok() { self.chain_current() } else { self.enter(self.root) };
            }
            match &here {
                Ok(pair) => self.finish(pair, None, outcome),
                Err(flaw) => self.finish_failed(*flaw, outcome),
            }
        }
    }
}
