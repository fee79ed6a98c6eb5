//! Files with several names: which name is copied and which are linked to it, and when. A link waits until the first name
//! is there; if that fails the next becomes first.

use std::collections::HashMap;
use std::sync::Arc;

use super::nodes::NodeIdx;
use crate::names::Names;
use crate::task::{Identity, Place, Placing};

/// One name of a file.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) node: NodeIdx,
    pub(super) name: Names,
    pub(super) identity: Identity,
    pub(super) is_redone: bool,
    pub(super) placing: Placing,
}

/// What a name is to do.
#[derive(Debug)]
pub(super) enum Turn {
    First(Member),
    Link(Member, Arc<Place>),
    /// Nothing yet; its folder is this one.
    Wait(NodeIdx),
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Identity, Group>,
}

#[derive(Debug)]
struct Group {
    /// The first name, once it is there.
    first: Option<Arc<Place>>,
    waiting: Vec<Member>,
    /// Names that have not been met yet. They may lie outside of what is copied, so this need not reach 0.
    n_unmet: u64,
}

impl Groups {
    /// Takes note of a name that a worker has found.
    pub(super) fn meet(&mut self, member: Member, n_links: u64) -> Turn {
        let identity = member.identity;
        let Some(group) = self.groups.get_mut(&identity) else {
            let group = Group { first: None, waiting: Vec::new(), n_unmet: n_links.saturating_sub(1) };
            self.groups.insert(identity, group);
            return Turn::First(member);
        };
        group.n_unmet = group.n_unmet.saturating_sub(1);
        let Some(first) = group.first.clone() else {
            let node = member.node;
            group.waiting.push(member);
            return Turn::Wait(node);
        };
        self.forget_if_complete(identity);
        Turn::Link(member, first)
    }

    /// The first name is there: those that waited can be linked.
    pub(super) fn first_is_there(&mut self, identity: Identity, place: Place) -> Vec<Turn> {
        let Some(group) = self.groups.get_mut(&identity) else {
            return Vec::new();
        };
        let first = Arc::new(place);
        group.first = Some(Arc::clone(&first));
        let waiting = std::mem::take(&mut group.waiting);
        self.forget_if_complete(identity);
        waiting.into_iter().map(|member| Turn::Link(member, Arc::clone(&first))).collect()
    }

    /// The first name failed: the next becomes first.
    pub(super) fn first_failed(&mut self, identity: Identity) -> Option<Turn> {
        let group = self.groups.get_mut(&identity)?;
        if let Some(next) = group.waiting.pop() {
            return Some(Turn::First(next));
        }
        // Whoever comes next founds the group anew.
        self.groups.remove(&identity);
        None
    }

    /// A name could not be linked to `refused_first`: it starts a file of its own, unless another name has done so.
    pub(super) fn refused(&mut self, mut member: Member, refused_first: &Arc<Place>) -> Turn {
        let group = self.groups.entry(member.identity).or_insert_with(|| Group {
            first: Some(Arc::clone(refused_first)),
            waiting: Vec::new(),
            n_unmet: u64::MAX,
        });
        match &group.first {
            Some(first) if !Arc::ptr_eq(first, refused_first) => Turn::Link(member, Arc::clone(first)),
            Some(_) => {
                group.first = None;
                member.placing = Placing::Refused;
                Turn::First(member)
            }
            None => {
                let node = member.node;
                group.waiting.push(member);
                Turn::Wait(node)
            }
        }
    }

    /// Forgets all groups and returns those who waited.
    pub(super) fn drain_waiting(&mut self) -> Vec<Member> {
        self.groups.drain().flat_map(|(_, group)| group.waiting).collect()
    }

    fn forget_if_complete(&mut self, identity: Identity) {
        if self.groups.get(&identity).is_some_and(|group| group.n_unmet == 0 && group.waiting.is_empty()) {
            self.groups.remove(&identity);
        }
    }
}
