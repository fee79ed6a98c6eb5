//! Entries that are copied without a walk that finds them, since they were named: each becomes a piece of work, and the folders
//! above it are only finished, when everything below them is done.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::Scheduler;
use super::nodes::NodeIdx;
use super::pieces::Job;
use crate::event::Outcome;
use crate::names::{Bytes, Kind, Names};
use crate::task::Arrival;

impl Scheduler {
    /// Adds entries below a folder. They are sorted, and none is below another; a path has a name at least.
    pub(super) fn sow(&mut self, top: NodeIdx, below: &[PathBuf]) {
        // The folders from the top to where the last entry is.
        let mut chain: Vec<(&[u8], NodeIdx)> = Vec::new();
        for path in below {
            let mut parts: Vec<&[u8]> = path.iter().map(|part| part.as_bytes()).collect();
            let name = parts.pop().unwrap_or_default();
            let n_common = chain.iter().zip(&parts).take_while(|((known, _), part)| known == *part).count();
            chain.truncate(n_common);
            for part in &parts[n_common..] {
                let above = chain.last().map_or(top, |(_, node)| *node);
                let (name, outcome) = (Bytes(part.to_vec()), Some(Outcome::Unchanged));
                let node = self.nodes.insert(above, &name, outcome, Arrival::Merged);
                self.counts.n_found += 1;
                chain.push((part, node));
            }
            let node = chain.last().map_or(top, |(_, node)| *node);
            let name = CString::new(name).expect("a path that was read from records without zero bytes has none");
            self.counts.n_found += 1;
            self.push(node, false, Job::Folders(Names::one(Kind::Unknown, &name)));
        }
    }
}
