//! Where a worker is: the folder that its path names, opened in both trees or in that of the destination, and what is true of
//! the entries in it. How a chain of open folders is kept is in folders.rs.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

use super::folders::{Pair, open_folder};
use super::{Flaw, Spot, Worker};
use crate::error::{Action, Reason};
use crate::names::{append, cut};
use crate::procfs::n_descriptors;
use crate::selection;
use crate::task::Arrival;

/// Open folders of each chain that a worker keeps at most, whatever the limit on open files.
const MAX_HELD_FOLDERS: usize = 1024;

impl Worker {
    /// Goes to the folder of the current path.
    pub(super) fn enter(&mut self, root: u32) -> Result<Rc<Pair>, Flaw> {
        self.lane.entry(&self.path, b"");
        self.refuse_stuck(c"")?;
        let is_rehearsal = self.is_rehearsal();
        let opened = &self.roots[root as usize];
        self.chain.enter(root, &self.path, || {
            let source = open_root(&opened.source).map_err(|errno| Flaw::new(Action::Open, errno))?;
            if is_rehearsal {
                let destination = open_root(&opened.destination);
                return Pair::rehearsed(source, destination, opened.destination.as_fd())
                    .map_err(|errno| Flaw::new(Action::Reach, errno));
            }
            let destination = open_root(&opened.destination).map_err(|errno| Flaw::new(Action::Reach, errno))?;
            Ok(Pair::new(source, destination).with_links(self.facts.selection.links))
        })
    }

    /// Goes to a folder of the destination tree, which the source need not have.
    pub(super) fn enter_destination(&mut self, root: u32, path: &[u8]) -> Result<Rc<OwnedFd>, Flaw> {
        if self.is_stuck(root, path) {
            return Err(Flaw::new(Action::Reach, Reason::Stalled));
        }
        let opened = &self.roots[root as usize];
        self.destination_chain
            .enter(root, path, || open_root(&opened.destination).map_err(|errno| Flaw::new(Action::Reach, errno)))
    }

    pub(super) fn spot<'a>(&self, here: Rc<Pair>, name: &'a CStr, arrival: Arrival) -> Spot<'a> {
        Spot { here, name, renamed: self.renamed(self.root, &self.path), arrival }
    }

    /// What the entries of a folder are called at the destination, if not the same.
    pub(super) fn renamed(&self, root: u32, folder: &[u8]) -> Option<Rc<CStr>> {
        if folder.is_empty() { self.roots[root as usize].renamed.clone() } else { None }
    }

    /// Has the selector answer for names in the current folder, of either tree: excluded names at the destination are protected.
    /// There may be no such folder in the source.
    pub(super) fn select_here(&mut self, pair: Option<&Pair>) {
        let root = &self.roots[self.root as usize];
        self.selector.enter(selection::Place {
            root: self.root,
            root_folder: root.source.as_fd(),
            called: root.called.as_deref(),
            path: &self.path,
            folder: pair.map(|pair| pair.source.as_fd()),
        });
    }

    pub(super) fn chain_current(&mut self) -> Result<Rc<Pair>, Flaw> {
        self.chain.current()
    }

    pub(super) fn append_to_path(&mut self, name: &CStr) {
        append(&mut self.path, name.to_bytes());
    }

    pub(super) fn cut_path(&mut self) {
        cut(&mut self.path);
    }
}

/// Opens a root anew: its descriptor may be one that only marks a place, and it is shared with other workers.
pub(super) fn open_root(root: &OwnedFd) -> Result<OwnedFd, Errno> {
    match open_folder(root.as_fd(), c".") {
        // A folder that may be passed through but not read: enough where a single entry is copied from or to it.
        Err(Errno::ACCESS) => rustix::io::fcntl_dupfd_cloexec(root, 0),
        other => other,
    }
}

/// Chains of folders that can be held at a time: in both trees where the worker is, in the destination to the folder of a first
/// name or of a commit, and in a folder that gives way.
const N_CHAINS: usize = 4;

/// Descriptors besides what a worker begins with and folders on the way: the root of each chain, a folder that is entered in
/// both trees, a file in both, and one more.
const N_OTHERS: usize = N_CHAINS + 5;

/// Raises the limit as far as we may, and returns how many folders can be held open in each chain.
pub(super) fn raise_limit_on_open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let n_files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let n_files = usize::try_from(n_files.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    (n_files.saturating_sub(n_descriptors() + N_OTHERS) / N_CHAINS).clamp(1, MAX_HELD_FOLDERS)
}
