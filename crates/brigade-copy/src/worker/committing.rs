//! Makes files whole once their bytes are on disk: until then a new file has mode 0600 and a time that no source has, or a
//! temporary name. When that is due is decided in scheduler/commits.rs, how a file is written in file.rs.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, Stat};
use rustix::io::Errno;

use super::attributes::Slate;
use super::existing::mtime_of;
use super::folders::{FILE, Pair, Reality};
use super::keeping::Refuser;
use super::metadata::timestamps;
use super::placing::{Placed, put_where_nothing_is};
use super::{Flaw, Spot, Worker};
use crate::calls::{self, fstat, fsync, kind_of_file_system, openat, statat, syncfs};
use crate::error::{Action, Reason};
use crate::facet::{Facet, Why};
use crate::names::Kind;
use crate::request::{Durability, Existing, SENTINEL};
use crate::task::{
    Amiss, Arrival, Batch, Cause, Failure, FileTimes, Flushed, Identity, Lasts, Medium, PendingFile, Scope, Step,
    Uncommitted,
};

/// File systems in memory: tmpfs, ramfs and hugetlbfs, from linux/magic.h.
const IN_MEMORY: [u64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];

/// File systems whose bytes are with a process or another host: FUSE, NFS, SMB, 9p, Ceph, AFS and Coda, likewise.
const ELSEWHERE: [u64; 9] =
    [0x6573_5546, 0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x00c3_6400, 0x5346_414f, 0x7375_7245];

pub(super) const UNFINISHED_MODE: u32 = 0o600;

/// What a file of this run is that is no longer where it was put: another copier has put its own there, say.
const DISPLACED: Flaw = Flaw { action: Action::Commit, cause: Cause::Reason(Reason::Replaced) };

/// A task ends when it has left so much to be committed, or has taken so long.
const MOST_BYTES_UNTOLD: u64 = 32 << 20;
const LONGEST_UNTOLD: Duration = Duration::from_millis(500);

/// When a new file becomes whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wholeness {
    /// As soon as it is written.
    AtOnce,
    /// As soon as it is written and flushed.
    Flushed,
    /// Later, when it is known that its bytes are on disk.
    Later(Medium),
}

/// Whether a file has the looks of one that a run did not finish.
pub(super) fn is_unfinished(present: &Stat) -> bool {
    const REGULAR: u32 = 0o100_000;
    present.st_mode == REGULAR | UNFINISHED_MODE && mtime_of(present) == SENTINEL
}

fn set_time_of_unfinished(file: BorrowedFd<'_>) -> Result<(), Flaw> {
    let times = FileTimes { access: SENTINEL, modification: SENTINEL };
    calls::futimens(file, &timestamps(times)).map_err(|errno| Flaw::new(Action::SetTimes, errno))
}

impl Worker {
    /// When a new file in this folder becomes whole.
    pub(super) fn wholeness_in(&self, here: &Pair) -> Wholeness {
        match self.facts.durability {
            Durability::Never => Wholeness::AtOnce,
            _ if medium_of(here) == Medium::Memory => Wholeness::AtOnce,
            Durability::File => Wholeness::Flushed,
            Durability::Batch | Durability::End => Wholeness::Later(medium_of(here)),
        }
    }

    /// Whether what is written in this folder is to be on a disk when the run ends.
    fn is_to_last(&self, here: &Pair) -> bool {
        self.facts.durability != Durability::Never && medium_of(here) != Medium::Memory
    }

    /// Whether a folder is where only what is flushed by itself is kept.
    pub(super) fn must_flush_by_itself(&self, here: &Pair) -> bool {
        self.facts.durability != Durability::Never && medium_of(here) == Medium::Elsewhere
    }

    /// Whether a new file can wait under its own name until it is whole, with a time that tells that it is not. Else it gets all
    /// that it is to have at once, and waits under a temporary name: where what exists is kept, since somebody else may take it
    /// for whole, where its time would not tell, and where further names of it may take the places of others.
    pub(super) fn may_wait_under_its_name(&mut self, file: &OwnedFd, device: u64, source: &Stat) -> Result<bool, Flaw> {
        let may_wait = self.facts.policy.existing != Existing::Keep
            && self.is_kept(Facet::Timestamps)
            && mtime_of(source) > SENTINEL
            && (source.st_nlink == 1 || !self.is_kept(Facet::Links));
        if !may_wait {
            return Ok(false);
        }
        if self.known_to_be_held(device, SENTINEL).is_none() && set_time_of_unfinished(file.as_fd()).is_err() {
            return Ok(false);
        }
        self.is_time_held(device, SENTINEL, || fstat(file))
    }

    /// Sees to it that nobody else can read a file before it has its own mode.
    pub(super) fn hide_from_others(&self, file: BorrowedFd<'_>, present_mode: u32) -> Result<(), Flaw> {
        if present_mode == UNFINISHED_MODE {
            return Ok(());
        }
        calls::fchmod(file, Mode::from_raw_mode(UNFINISHED_MODE)).map_err(|errno| Flaw::new(Action::SetMode, errno))
    }

    /// Gives a file the time of one that is not finished, after making sure of what becomes of its own.
    pub(super) fn mark_unfinished(
        &mut self,
        file: BorrowedFd<'_>,
        device: u64,
        wanted: FileTimes,
        refuser: Refuser,
    ) -> Result<(), Flaw> {
        match self.known_to_be_held(device, wanted.modification) {
            Some(true) => self.keeping.had.insert(Facet::Timestamps),
            Some(false) => self.keeping.lose(Facet::Timestamps, Why::Unsupported),
            None => self.set_times(file, device, wanted, refuser)?,
        }
        set_time_of_unfinished(file)
    }

    /// Has the parent see to it that a file becomes whole.
    pub(super) fn leave_to_commit(&mut self, spot: &Spot<'_>, pending: Pending, source: &Stat) {
        let Pending { device, medium, inode, n_bytes, mode, step } = pending;
        let folder = self.report_here();
        let batches = &mut self.answer.uncommitted;
        if batches.last().is_none_or(|last| last.folder != folder || last.device != device) {
            batches.push(Uncommitted { folder, device, medium, batch: Batch::default() });
        }
        if let Some(last) = batches.last_mut() {
            last.batch.names.push(Kind::File, spot.name);
            last.batch.files.push(PendingFile {
                inode,
                mode,
                times: FileTimes::of(source),
                n_bytes,
                step,
                shared: (source.st_nlink > 1).then(|| Identity::of(source)),
                is_failed: false,
                hash: None,
            });
        }
        self.has_left_to_commit = true;
        // The parent is told before it is much: only then can it be flushed.
        self.bytes_to_commit += n_bytes;
        self.is_task_over |= self.bytes_to_commit >= MOST_BYTES_UNTOLD || self.task_began.elapsed() >= LONGEST_UNTOLD;
    }

    pub(super) fn last_left_to_commit(&mut self) -> Option<&mut PendingFile> {
        let last = self.answer.uncommitted.last_mut().and_then(|last| last.batch.files.last_mut());
        last.filter(|_| self.has_left_to_commit)
    }

    /// The file that was copied last is in the books as one that failed, though it is there.
    pub(super) fn note_failed(&mut self) {
        if let Some(file) = self.last_left_to_commit() {
            file.is_failed = true;
        }
    }

    /// No other name is to be linked to the file that was copied last.
    pub(super) fn forget_shared(&mut self) {
        if let Some(file) = self.last_left_to_commit() {
            file.shared = None;
        }
    }

    pub(super) fn run_commit(&mut self, batch: &Batch, arrival: Arrival) {
        self.begin_unit();
        let path = self.path.clone();
        let folder = self.enter_destination(self.root, &path);
        // A backup must not take the name of something in the source, so for what replaces something that is looked at.
        let replaces = batch.files.iter().any(|file| matches!(file.step, Step::Replace(_)));
        let pair = replaces.then(|| self.enter(self.root));
        let mut amiss = Amiss::default();
        for (idx, ((_, name), file)) in (0..).zip(batch.names.iter().zip(&batch.files)) {
            self.begin_entry(name);
            let committed = match (&folder, &pair, file.step) {
                (Err(flaw), _, _) | (_, Some(Err(flaw)), Step::Replace(_)) => Err(*flaw),
                (Ok(_), Some(Ok(pair)), Step::Replace(prior)) => {
                    let spot = self.spot(Rc::clone(pair), name, arrival);
                    let temporary = self.temporary_name(spot.destination_name());
                    match whereabouts(&pair.destination, &temporary, spot.destination_name(), file, arrival) {
                        Ok(Waiting::Aside) => self.put_in_place(&spot, &temporary, prior),
                        Ok(Waiting::NoMore) => Ok(Placed::There),
                        Err(flaw) => Err(flaw),
                    }
                }
                (Ok(folder), _, _) => self.commit(folder, name, file, arrival),
            };
            let committed = committed.and_then(|placed| match placed {
                Placed::There => self.settle().map(drop),
                Placed::Taken if arrival == Arrival::Fresh => Err(Flaw::new(Action::Replace, Reason::NameTaken)),
                Placed::Taken => Err(DISPLACED),
                Placed::Stopped => Err(Flaw::new(Action::Rename, Errno::CANCELED)),
            });
            if let Err(flaw) = committed {
                self.note_amiss(&mut amiss, idx, name, flaw);
            }
        }
        self.answer.committed.push(amiss);
    }

    /// A file that is no longer in its place is copied again, and nothing is said of it; any other flaw is told.
    fn note_amiss(&mut self, amiss: &mut Amiss, idx: u32, name: &CStr, flaw: Flaw) {
        if flaw == DISPLACED {
            amiss.displaced.push(idx);
        } else {
            self.report_failure(name, flaw);
            amiss.failed.push(idx);
        }
    }

    /// Says what failed of an entry that is in the books already.
    fn report_failure(&mut self, name: &CStr, Flaw { action, cause }: Flaw) {
        let path = self.path_of(name);
        self.answer.failures.push(Failure { root: self.root, path, action, cause });
    }

    /// Makes a file whole that replaces nothing.
    fn commit(&mut self, folder: &OwnedFd, name: &CStr, file: &PendingFile, arrival: Arrival) -> Result<Placed, Flaw> {
        let renamed = self.renamed(self.root, &self.path);
        let own = renamed.as_deref().unwrap_or(name);
        if file.step == Step::Stay {
            return self.finish_own(folder, own, file, arrival).map(|()| Placed::There);
        }
        let temporary = self.temporary_name(own);
        match whereabouts(folder, &temporary, own, file, arrival)? {
            Waiting::Aside => put_where_nothing_is(folder, &temporary, own),
            Waiting::NoMore => Ok(Placed::There),
        }
    }

    /// Gives a file that has its name its mode and its times.
    fn finish_own(&mut self, folder: &OwnedFd, name: &CStr, file: &PendingFile, arrival: Arrival) -> Result<(), Flaw> {
        let (opened, present) = match open_own(folder, name, file) {
            Ok(opened) => opened,
            // Its own mode may keep this user from opening it.
            Err(_) if arrival == Arrival::Redone && is_whole(folder, name, file) => return Ok(()),
            Err(flaw) => return Err(flaw),
        };
        let refuser = Refuser { slate: Slate::Clean, uid: present.st_uid };
        if let Some(mode) = file.mode.filter(|&mode| present.st_mode & 0o7777 != mode) {
            self.set_mode(opened.as_fd(), mode, refuser)?;
        }
        // Whether the file system holds this time was found out, and told, when the file was copied.
        match calls::futimens(opened.as_fd(), &timestamps(file.times)) {
            Ok(()) => Ok(()),
            Err(errno) => self.refused(Facet::Timestamps, Action::SetTimes, errno, refuser),
        }
    }

    pub(super) fn run_flush(&mut self, scope: &Scope) {
        self.begin_unit();
        self.lane.flushing();
        let flushed = match scope {
            Scope::FileSystem { device } => match self.flush_file_system(*device) {
                Ok(()) => Flushed::Done,
                Err(flaw) => Flushed::Failed(flaw.cause),
            },
            Scope::Files(batch) => self.flush_files(batch),
        };
        self.answer.flushed.push(flushed);
    }

    /// Flushes the file system of the current root, or that of the current folder if it is another. What went wrong with any
    /// write since the run began is told only to a descriptor that is as old: that of the root.
    fn flush_file_system(&mut self, device: u64) -> Result<(), Flaw> {
        let flaw = |errno| Flaw::new(Action::Flush, errno);
        let root = &self.roots[self.root as usize].destination;
        if fstat(root).is_ok_and(|stat| stat.st_dev == device) {
            match syncfs(root) {
                // A folder that may be passed through but not read is held by a mark of its place.
                Err(Errno::BADF) => {}
                flushed => return flushed.map_err(flaw),
            }
        }
        let path = self.path.clone();
        let folder = self.enter_destination(self.root, &path)?;
        syncfs(&*folder).map_err(flaw)
    }

    /// Flushes files of the current folder, and the folder.
    fn flush_files(&mut self, batch: &Batch) -> Flushed {
        let path = self.path.clone();
        let folder = match self.enter_destination(self.root, &path) {
            Ok(folder) => folder,
            Err(flaw) => return Flushed::Failed(flaw.cause),
        };
        let renamed = self.renamed(self.root, &path);
        let mut amiss = Amiss::default();
        for (idx, ((_, name), file)) in (0..).zip(batch.names.iter().zip(&batch.files)) {
            self.lane.entry(&path, name.to_bytes());
            self.lane.flushing();
            let destination = renamed.as_deref().unwrap_or(name);
            let under = |name: &CStr| match open_own(&folder, name, file) {
                Ok((file, _)) => flush(&file),
                // Its own mode keeps this user from opening it.
                Err(flaw) if flaw.cause == Errno::ACCESS.into() => {
                    syncfs(&folder).map_err(|errno| Flaw::new(Action::Flush, errno))
                }
                Err(flaw) => Err(flaw),
            };
            // Before it is committed it may have a temporary name, after that it has not.
            let flushed = match file.step {
                Step::Stay => under(destination),
                Step::Appear | Step::Replace(_) => match under(&self.temporary_name(destination)) {
                    Err(DISPLACED) => under(destination),
                    flushed => flushed,
                },
            };
            if let Err(flaw) = flushed {
                self.note_amiss(&mut amiss, idx, name, flaw);
            }
        }
        if let Err(flaw) = flush(&folder) {
            return Flushed::Failed(flaw.cause);
        }
        if amiss.is_empty() { Flushed::Done } else { Flushed::Except(amiss) }
    }

    /// Notes that something was made or altered in the current folder, so that it is flushed at the end. Says when it will last.
    pub(super) fn touch_here(&mut self) -> Lasts {
        if self.facts.durability != Durability::Never
            && let Ok(here) = self.chain.current()
            && here.reality == Reality::Real
            && self.is_to_last(&here)
        {
            self.answer.touched.note(self.root, &self.path);
            return if self.has_left_to_commit { Lasts::OnceCommitted } else { Lasts::AtLast };
        }
        Lasts::Unknown
    }

    /// Notes that a file was altered that stays what it is.
    pub(super) fn touch_file(&mut self, here: &Pair) {
        if self.is_to_last(here) {
            self.answer.touched.overflow();
        }
    }
}

/// Flushes one file or folder. What cannot be flushed, as on some file systems a folder, has nothing to be flushed.
pub(super) fn flush(file: &OwnedFd) -> Result<(), Flaw> {
    match fsync(file) {
        Ok(()) | Err(Errno::INVAL | Errno::BADF) => Ok(()),
        Err(errno) => Err(Flaw::new(Action::Flush, errno)),
    }
}

/// Whether what is at a place is with a process or another host, which may not answer.
pub(crate) fn is_elsewhere(mark: &OwnedFd) -> bool {
    kind_of_file_system(mark).map_or(true, |kind| ELSEWHERE.contains(&kind))
}

/// Where the bytes in a folder are, asked once.
fn medium_of(here: &Pair) -> Medium {
    if let Some(medium) = here.medium.get() {
        return medium;
    }
    let medium = match kind_of_file_system(&here.destination) {
        Ok(kind) if IN_MEMORY.contains(&kind) => Medium::Memory,
        Ok(kind) if !ELSEWHERE.contains(&kind) => Medium::Disk,
        _ => Medium::Elsewhere,
    };
    here.medium.set(Some(medium));
    medium
}

/// Opens a file that this run has made and closed, and makes sure that it is the same.
fn open_own(folder: &OwnedFd, name: &CStr, file: &PendingFile) -> Result<(OwnedFd, Stat), Flaw> {
    let opened = openat(folder, name, FILE, Mode::empty()).map_err(|errno| {
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => DISPLACED,
            // What has taken its place need not be a file, or ours to open.
            Ok(there) if there.st_ino != file.inode => DISPLACED,
            _ => Flaw::new(Action::Commit, errno),
        }
    })?;
    let present = fstat(&opened).map_err(|errno| Flaw::new(Action::Commit, errno))?;
    if present.st_ino == file.inode { Ok((opened, present)) } else { Err(DISPLACED) }
}

/// Whether a worker that died had made this file whole.
fn is_whole(folder: &OwnedFd, name: &CStr, file: &PendingFile) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|present| present.st_ino == file.inode && mtime_of(&present) == file.times.modification)
}

/// Where a file is that is whole and was put under a temporary name.
enum Waiting {
    Aside,
    /// A worker has given it its name, and died.
    NoMore,
}

fn whereabouts(
    folder: &OwnedFd,
    temporary: &CStr,
    name: &CStr,
    file: &PendingFile,
    arrival: Arrival,
) -> Result<Waiting, Flaw> {
    let is_at = |name| statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|present| present.st_ino == file.inode);
    match is_at(temporary) {
        Ok(true) => Ok(Waiting::Aside),
        _ if arrival == Arrival::Redone && is_at(name) == Ok(true) => Ok(Waiting::NoMore),
        Ok(false) | Err(Errno::NOENT) => Err(DISPLACED),
        Err(errno) => Err(Flaw::new(Action::Commit, errno)),
    }
}

/// A file that is copied and not whole, or not under its name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) device: u64,
    pub(super) medium: Medium,
    pub(super) inode: u64,
    pub(super) n_bytes: u64,
    /// The mode that it is to get.
    pub(super) mode: Option<u32>,
    pub(super) step: Step,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_what_is_unfinished_is_the_documented_time() {
        // Days from 1902-01-01 to 1970-01-01: 68 years with 17 leap days.
        assert_eq!(SENTINEL, (-(68 * 365 + 17) * 86_400, 123_456_789));
    }
}
