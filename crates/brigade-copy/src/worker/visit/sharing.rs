//! What a visit gives back to the parent: what was found and not begun, and what the parent has to decide. When that is due is
//! decided here, too.

use std::ffi::CStr;

use super::super::Worker;
use super::super::worth::LEAST_TO_SHARE;
use crate::names::{Bytes, Kind, Names};
use crate::selection::Links;
use crate::task::{Asked, FolderRef, Identity, Leftover, OpenFolder, SharedFile};

impl Worker {
    /// Reports a file with several names; its folder cannot be finished before the parent has decided about it.
    pub(in crate::worker) fn share(&mut self, kind: Kind, name: &CStr, identity: Identity, n_links: u64) {
        let folder = self.report_here();
        // Links that were followed are names, too, and nobody has counted those.
        let n_links = if self.facts.selection.links == Links::Follow { u64::MAX } else { n_links };
        self.answer.shared.push(SharedFile { folder, name: Names::one(kind, name), identity, n_links });
    }

    /// Reports an entry that somebody must be asked about, likewise.
    pub(in crate::worker) fn ask(&mut self, kind: Kind, name: &CStr, n_bytes: u64) {
        let folder = self.report_here();
        let why = self.why.take();
        self.answer.asked.push(Asked { folder, name: Names::one(kind, name), why, n_bytes });
    }

    /// Enters the current folder into the answer as one that is not finished.
    pub(in crate::worker) fn report_here(&mut self) -> FolderRef {
        match self.frames.len() {
            0 => FolderRef::Item(self.item_idx),
            n_frames => self.report(n_frames - 1),
        }
    }

    /// Enters a folder, after its ancestors, into the answer as one that is not finished.
    fn report(&mut self, frame_idx: usize) -> FolderRef {
        // Not recursive, since folders may be nested deeper than a stack is.
        let n_reported = self.frames[..=frame_idx].iter().rposition(|frame| frame.reported.is_some());
        let mut parent = n_reported.and_then(|idx| self.frames[idx].reported).unwrap_or(FolderRef::Item(self.item_idx));
        for frame in &mut self.frames[n_reported.map_or(0, |idx| idx + 1)..=frame_idx] {
            let folder = FolderRef::New(self.answer.folders.len() as u32);
            self.answer.folders.push(OpenFolder {
                parent,
                name: Bytes(frame.name.as_bytes().to_vec()),
                outcome: frame.outcome,
                arrival: frame.arrival,
            });
            frame.reported = Some(folder);
            parent = folder;
        }
        parent
    }

    /// A walk copies nothing: the files of a folder go to whoever copies.
    pub(super) fn give_files_back(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if frame.files.n_left() == 0 {
            return;
        }
        let files = frame.files.take_rest();
        let rest = frame.rest.take();
        self.n_left -= files.len().min(self.n_left);
        self.n_given += files.len();
        let folder = self.report(self.frames.len() - 1);
        self.answer.leftovers.push(Leftover { folder, folders: Names::default(), files, rest });
    }

    /// Reports everything that has been found and not begun, and leaves all folders.
    pub(super) fn give_back(&mut self) {
        for frame_idx in 0..self.frames.len() {
            let frame = &mut self.frames[frame_idx];
            let (files, folders, rest) = (frame.files.take_rest(), frame.folders.take_rest(), frame.rest.take());
            if !files.is_empty() || !folders.is_empty() || rest.is_some() {
                let folder = self.report(frame_idx);
                self.answer.leftovers.push(Leftover { folder, folders, files, rest });
            }
        }
        while let Some(frame) = self.frames.pop() {
            if !frame.name.is_empty() {
                self.chain.pop();
                self.cut_path();
            }
        }
        self.n_left = 0;
    }

    /// Whether nothing new may be begun in this task. Once it is, it stays so.
    pub(in crate::worker) fn is_over(&mut self) -> bool {
        if !self.is_task_over {
            self.is_task_over = self.lane.must_stop()
                || (self.budget.n_copied > 0 && self.n_copied >= u64::from(self.budget.n_copied))
                || self.n_listed >= u64::from(self.budget.n_listed)
                || (self.lane.is_work_wanted() && self.has_enough_to_share() && self.lane.take_wish());
        }
        self.is_task_over
    }

    fn has_enough_to_share(&self) -> bool {
        self.n_left_in_all() >= LEAST_TO_SHARE
    }

    /// Names that this task has not begun, those included that are given back already.
    pub(in crate::worker) fn n_left_in_all(&self) -> usize {
        self.n_left + self.n_items_left + self.n_given
    }
}
