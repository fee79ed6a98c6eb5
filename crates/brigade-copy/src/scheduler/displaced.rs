//! Files that somebody else has displaced before they were whole: another copier puts its own in their places, say. They are
//! copied again as if they were met for the first time, so what is there now is treated as the request says.

use super::Scheduler;
use super::groups::Member;
use super::nodes::NodeIdx;
use super::pieces::Job;
use crate::error::{Action, Reason};
use crate::names::{Names, joined};
use crate::task::{Arrival, Batch, Cause, Placing, Step};
use crate::worker::N_TRIES;

impl Scheduler {
    /// Has files of a folder copied again that are no longer where they were put. Their folder is open.
    pub(super) fn copy_again(&mut self, node: NodeIdx, displaced: &Batch) {
        let (root, folder) = (self.nodes.get(node).root, self.nodes.path(node));
        for ((kind, name), file) in displaced.names.iter().zip(&displaced.files) {
            let path = joined(&folder.0, name);
            let n_times = self.commits.n_displaced.entry((root, path.clone())).or_default();
            *n_times += 1;
            if *n_times >= N_TRIES || file.is_failed {
                if !file.is_failed {
                    self.tell_failure(node, path, Action::Commit, Cause::Reason(Reason::Replaced));
                }
                self.revoke(file);
                file.shared.into_iter().for_each(|identity| self.first_failed(identity));
                continue;
            }
            if file.step != Step::Appear {
                // Whatever else is there may be another's, too.
                self.nodes.get_mut(node).arrival = Arrival::Merged;
            }
            self.counts.take_back(file.n_bytes);
            let name = Names::one(kind, name);
            let job = match file.shared {
                Some(identity) => Job::First(Member { node, name, identity, is_redone: false, placing: Placing::Met }),
                None => Job::Files(name),
            };
            self.push(node, false, job);
        }
    }
}
