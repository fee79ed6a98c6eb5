//! Files that are copied and not yet whole, gathered in groups until their bytes are on disk. A group is flushed while the next
//! is copied; then its files are made whole, and a later flush makes that durable, too. How each is done is in
//! worker/committing.rs.
//!
//! A group is *open* while files are added, and is closed when it is full or old, or when nothing else is to be done. *Closed*, it
//! waits for its flush; a file system is flushed once at a time. *Flushing* ends with its bytes on disk, and then its files are
//! committed in pieces; or without, and then they failed. *Committed* files are whole, and durable once a flush has ended that
//! began after that.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use super::Scheduler;
use super::groups::Member;
use super::nodes::NodeIdx;
use super::pieces::{Flight, Job, Piece};
use crate::error::{Action, Reason};
use crate::names::{Bytes, Names, joined};
use crate::request::{Durability, GroupLimits};
use crate::task::{
    Amiss, Arrival, Batch, Cause, Failure, Flushed, Medium, PendingFile, Placing, Scope, Sorted, Touched, Uncommitted,
};

/// So many files are flushed one by one: a flush of the whole file system waits also for what others have written.
const FEW_FILES: usize = 64;

/// Groups of a file system that are not on disk, at most: then nothing new is begun.
const MOST_GROUPS: usize = 4;

/// Files that are flushed one by one, in a piece of work.
const FLUSHED_FILES: usize = 16;

/// Files that are committed in a piece of work.
const COMMITTED_FILES: usize = 256;

/// Pieces of such work in a task, at most: a folder often has few files.
const COMMITTED_PIECES: usize = 64;

/// The groups of a run.
#[derive(Debug)]
pub(crate) struct Commits {
    durability: Durability,
    limits: GroupLimits,
    /// Each file is to be told once it is durable.
    remembers: bool,
    disks: BTreeMap<u64, Disk>,
    /// By the device of its destination, the first root there.
    roots: BTreeMap<u64, u32>,
    touched: Touched,
    /// What was committed, as long as that is little enough to be flushed one by one at the end.
    few: Vec<(u32, Bytes, Batch)>,
    n_committed: usize,
    last: Last,
    /// How often files were copied again, by root and path.
    pub(super) n_displaced: HashMap<(u32, Bytes), usize>,
    /// Some of it is not on disk, and will not be.
    has_failed: bool,
    durable: Vec<Durable>,
    /// Flushes that are to be begun.
    flushes: VecDeque<Piece>,
    /// Commits that are to be begun.
    pieces: Vec<Piece>,
    /// Of the flush at the end of the run, pieces that are not done.
    n_last: usize,
}

/// A file that is durable.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) root: u32,
    pub(crate) path: Bytes,
    pub(crate) n_bytes: u64,
}

/// How far the flush at the end of the run has got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    Due,
    Begun,
    Done,
}

/// The groups of one file system.
#[derive(Debug)]
struct Disk {
    medium: Medium,
    open: Group,
    closed: VecDeque<Group>,
    flushing: Option<Group>,
    /// A folder in it.
    place: Option<(u32, Bytes)>,
    /// Files that are whole. The first of the pair are made durable by the flush that is under way, the others by the next.
    committed: (Vec<Durable>, Vec<Durable>),
}

#[derive(Debug, Default)]
struct Group {
    since: Option<Instant>,
    batches: Vec<(NodeIdx, Batch)>,
    n_files: usize,
    n_bytes: u64,
    n_open: usize,
}

impl Commits {
    pub(crate) fn new(durability: Durability, limits: GroupLimits, remembers: bool) -> Self {
        Self {
            durability,
            limits,
            remembers,
            disks: BTreeMap::new(),
            roots: BTreeMap::new(),
            touched: Touched::default(),
            few: Vec::new(),
            n_committed: 0,
            last: Last::Due,
            n_displaced: HashMap::new(),
            has_failed: false,
            durable: Vec::new(),
            flushes: VecDeque::new(),
            pieces: Vec::new(),
            n_last: 0,
        }
    }

    /// A flush or a commit that is to be done.
    pub(super) fn put_back(&mut self, piece: Piece) {
        match piece.job {
            Job::Flush { .. } => self.flushes.push_front(piece),
            _ => self.pieces.push(piece),
        }
    }

    /// No flush and no commit can be handed out.
    pub(super) fn is_nothing_due(&self) -> bool {
        self.flushes.is_empty() && self.pieces.is_empty()
    }

    pub(super) fn limits(&self) -> GroupLimits {
        self.limits
    }

    /// Takes note of a root, and of the file system that is copied to there.
    pub(crate) fn note_root(&mut self, root: u32, device: u64) {
        self.roots.entry(device).or_insert(root);
    }

    /// When the next group is old enough to be flushed.
    pub(crate) fn due(&self) -> Option<Instant> {
        let since = self.disks.values().filter_map(|disk| disk.open.since).min();
        since.filter(|_| self.durability == Durability::Batch).map(|since| since + self.limits.age)
    }

    /// Bytes of files that are copied and not whole.
    pub(crate) fn n_bytes(&self) -> u64 {
        self.disks.values().flat_map(Disk::groups).map(|group| group.n_bytes).sum()
    }

    pub(crate) fn take_durable(&mut self) -> Vec<Durable> {
        std::mem::take(&mut self.durable)
    }

    /// Whether everything that was copied is on disk.
    pub(crate) fn is_all_durable(&self) -> bool {
        self.durability != Durability::Never && !self.has_failed && self.last == Last::Done
    }

    /// Whether so much waits for the disk that nothing new may be begun.
    pub(super) fn is_held_up(&self) -> bool {
        self.durability == Durability::Batch && self.disks.values().any(|disk| disk.groups().count() >= MOST_GROUPS)
    }

    /// No file waits to be made whole.
    pub(super) fn are_empty(&self) -> bool {
        self.is_nothing_due() && self.disks.values().all(|disk| disk.groups().next().is_none())
    }

    pub(super) fn is_done(&self) -> bool {
        self.are_empty() && (self.last == Last::Done || self.touched.is_empty())
    }
}

impl Disk {
    fn new(medium: Medium) -> Self {
        let (open, closed) = (Group::default(), VecDeque::new());
        Self { medium, open, closed, flushing: None, place: None, committed: (Vec::new(), Vec::new()) }
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        let open = (self.open.n_files > 0).then_some(&self.open);
        open.into_iter().chain(&self.closed).chain(&self.flushing)
    }
}

impl Group {
    fn add(&mut self, node: NodeIdx, batch: Batch, now: Instant) {
        self.since.get_or_insert(now);
        self.n_files += batch.files.len();
        self.n_bytes += batch.n_bytes();
        self.batches.push((node, batch));
    }

    fn is_full(&self, limits: GroupLimits, now: Instant) -> bool {
        self.n_bytes >= limits.n_bytes
            || self.n_files >= limits.n_files as usize
            || self.since.is_some_and(|since| now.duration_since(since) >= limits.age)
    }
}

impl Scheduler {
    /// Takes note of what an answer says of files that are not whole. Their folders stay open until they are.
    pub(super) fn take_uncommitted(&mut self, node: NodeIdx, uncommitted: Uncommitted) {
        let Uncommitted { device, medium, batch, .. } = uncommitted;
        self.open_piece(node, false);
        let disk = self.commits.disks.entry(device).or_insert_with(|| Disk::new(medium));
        if disk.place.is_none() {
            disk.place = Some((self.nodes.get(node).root, self.nodes.path(node)));
        }
        disk.open.add(node, batch, Instant::now());
    }

    pub(super) fn take_touched(&mut self, touched: Touched) {
        let known = &mut self.commits.touched;
        if touched.is_much {
            known.overflow();
        }
        for (root, folder) in touched.folders {
            known.note(root, &folder.0);
        }
    }

    /// Closes the groups that are full or old.
    pub(super) fn close_full_groups(&mut self) {
        if self.commits.durability == Durability::Batch {
            let (limits, now) = (self.commits.limits, Instant::now());
            self.close_groups(|group| group.is_full(limits, now));
        }
    }

    fn close_groups(&mut self, is_due: impl Fn(&Group) -> bool) {
        let mut to_flush = Vec::new();
        for (&device, disk) in &mut self.commits.disks {
            if disk.open.n_files > 0 && is_due(&disk.open) {
                disk.closed.push_back(std::mem::take(&mut disk.open));
            }
            if disk.flushing.is_none() && !disk.closed.is_empty() {
                to_flush.push(device);
            }
        }
        for device in to_flush {
            self.flush_next(device);
        }
    }

    /// Begins to flush the next closed group of a file system.
    fn flush_next(&mut self, device: u64) {
        let Some(disk) = self.commits.disks.get_mut(&device) else { return };
        let Some(mut group) = disk.closed.pop_front() else { return };
        let is_whole = disk.medium == Medium::Disk && group.n_files > FEW_FILES;
        let mut jobs = Vec::new();
        if is_whole {
            let newer = std::mem::take(&mut disk.committed.1);
            disk.committed.0.extend(newer);
            if let Some(&(node, _)) = group.batches.first() {
                jobs.push((node, Job::Flush { device: Some(device), scope: Scope::FileSystem { device } }));
            }
        } else {
            for (node, batch) in std::mem::take(&mut group.batches) {
                // Its folder was kept open by the batch, and is now by the first of its parts.
                for (idx, part) in batch.cut(FLUSHED_FILES).into_iter().enumerate() {
                    if idx > 0 {
                        self.open_piece(node, false);
                    }
                    jobs.push((node, Job::Flush { device: Some(device), scope: Scope::Files(part) }));
                }
            }
        }
        group.n_open = jobs.len();
        if let Some(disk) = self.commits.disks.get_mut(&device) {
            disk.flushing = Some(group);
        }
        for (node, job) in jobs {
            if is_whole {
                self.open_piece(node, false);
            }
            self.commits.flushes.push_back(Piece { node, is_redone: false, job });
        }
    }

    /// A flush that is to be begun, alone, since it may take long.
    pub(super) fn next_flush(&mut self) -> Option<Flight> {
        let piece = self.commits.flushes.pop_front()?;
        Some(Flight { pieces: vec![piece], n_deaths: 0, budget: super::VISIT })
    }

    /// Files to be made whole, as many as a worker does in some milliseconds.
    pub(super) fn next_commit(&mut self) -> Option<Flight> {
        let n_pieces = self.commits.pieces.len();
        let n_kept = n_pieces.saturating_sub(self.hands.portion(n_pieces, 1, COMMITTED_PIECES));
        let pieces = self.commits.pieces.split_off(n_kept);
        (!pieces.is_empty()).then_some(Flight { pieces, n_deaths: 0, budget: super::VISIT })
    }

    /// What makes files whole when nothing else is to be done: the groups that are still open, and in the end everything that
    /// was touched.
    pub(super) fn begin_last_flushes(&mut self) {
        self.close_groups(|_| true);
        let is_over = self.is_idle() && self.commits.are_empty() && !self.removal.is_due();
        if !is_over || self.commits.last != Last::Due || self.commits.touched.is_empty() {
            return;
        }
        self.commits.last = Last::Begun;
        let touched = std::mem::take(&mut self.commits.touched.folders);
        let mut few = std::mem::take(&mut self.commits.few);
        let mut jobs: Vec<(u32, Bytes, Scope)> = Vec::new();
        if self.commits.touched.is_much || self.commits.n_committed > FEW_FILES {
            // Folders, links and empty files may be on file systems of roots that no group was on.
            let of_roots = self.commits.roots.iter().map(|(&device, &root)| (device, (root, Bytes::default())));
            let disks = self.commits.disks.iter().filter(|(_, disk)| disk.medium == Medium::Disk);
            let of_disks = disks.filter_map(|(&device, disk)| Some((device, disk.place.clone()?)));
            let places: BTreeMap<u64, (u32, Bytes)> = of_disks.chain(of_roots).collect();
            jobs.extend(
                places.into_iter().map(|(device, (root, folder))| (root, folder, Scope::FileSystem { device })),
            );
        } else {
            for (root, folder) in touched {
                let at = few.iter().position(|(other, path, _)| *other == root && *path == folder);
                let batch = at.map(|at| few.swap_remove(at).2).unwrap_or_default();
                jobs.push((root, folder, Scope::Files(batch)));
            }
            jobs.extend(few.into_iter().map(|(root, folder, batch)| (root, folder, Scope::Files(batch))));
        }
        self.commits.touched.is_much = true;
        for (root, folder, scope) in jobs {
            let node = self.nodes.insert_top(root, folder, None, Arrival::Merged);
            self.open_piece(node, false);
            self.commits.n_last += 1;
            let job = Job::Flush { device: None, scope };
            self.commits.flushes.push_back(Piece { node, is_redone: false, job });
        }
    }

    /// Takes what came of a flush: its files are made whole, or failed.
    pub(super) fn take_flushed(&mut self, node: NodeIdx, device: Option<u64>, scope: Scope, flushed: Flushed) {
        match (device, scope) {
            (None, scope) => self.take_last_flushed(node, &scope, flushed),
            (Some(device), Scope::Files(batch)) => {
                self.end_flush(device);
                match flushed {
                    Flushed::Done => self.push_commit(node, device, batch),
                    Flushed::Failed(cause) => self.fail_batch(node, batch, cause),
                    Flushed::Except(amiss) => {
                        let Sorted { kept, failed, displaced } = batch.sorted(&amiss);
                        self.copy_again(node, &displaced);
                        self.open_piece(node, false);
                        self.push_commit(node, device, kept);
                        self.discard(node, &failed);
                    }
                }
            }
            (Some(device), Scope::FileSystem { .. }) => {
                let batches = self.end_flush(device);
                match flushed {
                    Flushed::Failed(cause) => self.fail_disk(device, batches, cause),
                    Flushed::Done | Flushed::Except(_) => {
                        if let Some(disk) = self.commits.disks.get_mut(&device) {
                            self.commits.durable.append(&mut disk.committed.0);
                        }
                        for (node, batch) in batches {
                            self.push_commit(node, device, batch);
                        }
                    }
                }
                self.close_piece(node, false);
            }
        }
        self.close_groups(|_| false);
    }

    /// A piece of the flush of a group is done. If it was the last, the next group may be flushed.
    fn end_flush(&mut self, device: u64) -> Vec<(NodeIdx, Batch)> {
        let Some(disk) = self.commits.disks.get_mut(&device) else { return Vec::new() };
        let Some(group) = &mut disk.flushing else { return Vec::new() };
        group.n_open -= 1;
        let batches = std::mem::take(&mut group.batches);
        if group.n_open == 0 {
            disk.flushing = None;
        }
        batches
    }

    fn take_last_flushed(&mut self, node: NodeIdx, scope: &Scope, flushed: Flushed) {
        self.commits.n_last -= 1;
        match flushed {
            Flushed::Done => {}
            Flushed::Failed(cause) => {
                self.commits.has_failed = true;
                self.counts.n_unflushed += 1;
                self.tell_failure(node, self.nodes.path(node), Action::Flush, cause);
            }
            // What was whole and has been displaced since is its new owner's concern.
            Flushed::Except(amiss) => {
                if let Scope::Files(batch) = scope {
                    amiss
                        .failed
                        .iter()
                        .filter_map(|&idx| batch.files.get(idx as usize))
                        .for_each(|file| self.revoke(file));
                }
            }
        }
        if self.commits.n_last == 0 {
            self.commits.last = Last::Done;
            if !self.commits.has_failed {
                for disk in self.commits.disks.values_mut() {
                    self.commits.durable.append(&mut disk.committed.0);
                    self.commits.durable.append(&mut disk.committed.1);
                }
            }
        }
        self.close_piece(node, false);
    }

    /// Has files made whole whose bytes are on disk. Their folder was kept open for it.
    fn push_commit(&mut self, node: NodeIdx, device: u64, batch: Batch) {
        let parts = batch.cut(COMMITTED_FILES);
        if parts.is_empty() {
            return self.close_piece(node, false);
        }
        for (idx, part) in parts.into_iter().enumerate() {
            if idx > 0 {
                self.open_piece(node, false);
            }
            self.put_back(Piece { node, is_redone: false, job: Job::Commit { device, batch: part } });
        }
    }

    /// Takes what came of making files whole.
    pub(super) fn take_committed(&mut self, node: NodeIdx, device: u64, batch: Batch, amiss: &Amiss) {
        let Sorted { kept, failed, displaced } = batch.sorted(amiss);
        self.copy_again(node, &displaced);
        for file in &failed.files {
            self.revoke(file);
        }
        let (root, folder) = (self.nodes.get(node).root, self.nodes.path(node));
        self.commits.n_committed += kept.files.len();
        for ((kind, name), file) in kept.names.iter().zip(&kept.files) {
            if self.commits.remembers {
                let durable = Durable { root, path: joined(&folder.0, name), n_bytes: file.n_bytes };
                match self.commits.disks.get_mut(&device) {
                    Some(disk) if disk.medium == Medium::Disk => disk.committed.1.push(durable),
                    _ => self.commits.durable.push(durable),
                }
            }
            if let Some(identity) = file.shared {
                let name = Names::one(kind, name);
                self.first_is_there(&Member { node, name, identity, is_redone: false, placing: Placing::Met });
            }
        }
        for identity in failed.files.iter().filter_map(|file| file.shared) {
            self.first_failed(identity);
        }
        if self.commits.n_committed <= FEW_FILES {
            self.commits.few.push((root, folder, kept));
        } else {
            self.commits.few = Vec::new();
        }
        self.close_piece(node, false);
    }

    /// Nothing that a file system has taken in this run and not made durable is known to be there.
    fn fail_disk(&mut self, device: u64, mut batches: Vec<(NodeIdx, Batch)>, cause: Cause) {
        if let Some(disk) = self.commits.disks.get_mut(&device) {
            let groups = std::iter::once(std::mem::take(&mut disk.open)).chain(disk.closed.drain(..));
            batches.extend(groups.flat_map(|group| group.batches));
            if !(disk.committed.0.is_empty() && disk.committed.1.is_empty()) {
                self.counts.n_unflushed += 1;
            }
            disk.committed = (Vec::new(), Vec::new());
        }
        for (node, batch) in batches {
            self.fail_batch(node, batch, cause);
        }
    }

    fn fail_batch(&mut self, node: NodeIdx, batch: Batch, cause: Cause) {
        let folder = self.nodes.path(node);
        for (_, name) in batch.names.iter() {
            self.tell_failure(node, joined(&folder.0, name), Action::Flush, cause);
        }
        self.discard(node, &batch);
    }

    /// Takes files out of the books whose failure is told, and has their remains removed.
    fn discard(&mut self, node: NodeIdx, batch: &Batch) {
        for file in &batch.files {
            self.revoke(file);
        }
        if !batch.names.is_empty() {
            self.push(node, true, Job::Sweep(batch.names.clone()));
        }
        for identity in batch.files.iter().filter_map(|file| file.shared) {
            self.first_failed(identity);
        }
        self.close_piece(node, false);
    }

    /// Takes what was never made whole out of the books of a run that is cut short.
    pub(crate) fn forget_uncommitted(&mut self) {
        let disks = std::mem::take(&mut self.commits.disks).into_values();
        let groups = disks.flat_map(|disk| std::iter::once(disk.open).chain(disk.closed).chain(disk.flushing));
        let of_groups = groups.flat_map(|group| group.batches).map(|(_, batch)| batch);
        let flights = self.flights.drain().flat_map(|(_, flight)| flight.pieces).chain(self.commits.flushes.drain(..));
        let of_pieces = flights.chain(self.commits.pieces.drain(..)).filter_map(|piece| match piece.job {
            Job::Flush { device: Some(_), scope: Scope::Files(batch) } | Job::Commit { batch, .. } => Some(batch),
            _ => None,
        });
        for file in of_groups.chain(of_pieces).flat_map(|batch| batch.files).filter(|file| !file.is_failed) {
            self.counts.revoke(file.n_bytes);
            self.counts.n_failed -= 1;
        }
    }

    pub(super) fn revoke(&mut self, file: &PendingFile) {
        self.commits.has_failed = true;
        if !file.is_failed {
            self.counts.revoke(file.n_bytes);
        }
    }

    /// Workers died over a commit.
    pub(super) fn give_up_commit(&mut self, node: NodeIdx, batch: Batch) {
        self.fail_batch(node, batch, Cause::Reason(Reason::WorkersDied));
    }

    pub(super) fn tell_failure(&mut self, node: NodeIdx, path: Bytes, action: Action, cause: Cause) {
        let root = self.nodes.get(node).root;
        self.failures.push(Failure { root, path, action, cause });
    }
}
