//! The folders of a run that are begun and not finished, each with how many things in it are still open. Finished ones are
//! forgotten, so the memory needed follows the depth of the tree and not its size.

use crate::event::Outcome;
use crate::names::Bytes;
use crate::task::Arrival;

/// A folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NodeIdx(u32);

#[derive(Debug)]
pub(super) struct Node {
    pub(super) root: u32,
    parent: Option<NodeIdx>,
    /// Its name; for a top folder, its path below the root.
    name: Box<[u8]>,
    /// Pieces of work in it, and unfinished sub-folders.
    pub(super) n_open: u32,
    /// What it will be once it is finished. `None`: a folder that is not ours to finish.
    pub(super) outcome: Option<Outcome>,
    pub(super) arrival: Arrival,
    /// A worker has met a large file in it while another had nothing to do: what is left of it is handed out one by one.
    pub(super) has_large: bool,
}

#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Option<Node>>,
    free: Vec<NodeIdx>,
}

impl Nodes {
    pub(super) fn insert_top(&mut self, root: u32, path: Bytes, outcome: Option<Outcome>, arrival: Arrival) -> NodeIdx {
        self.put(Node { root, parent: None, name: path.0.into(), n_open: 0, outcome, arrival, has_large: false })
    }

    /// Adds a sub-folder, which keeps its parent open.
    pub(super) fn insert(
        &mut self,
        parent: NodeIdx,
        name: &Bytes,
        outcome: Option<Outcome>,
        arrival: Arrival,
    ) -> NodeIdx {
        let above = self.get_mut(parent);
        above.n_open += 1;
        let root = above.root;
        let name = name.0.as_slice().into();
        self.put(Node { root, parent: Some(parent), name, n_open: 0, outcome, arrival, has_large: false })
    }

    pub(super) fn get(&self, node: NodeIdx) -> &Node {
        self.nodes[node.0 as usize].as_ref().expect("a folder stays until it is finished, and nothing names it later")
    }

    pub(super) fn get_mut(&mut self, node: NodeIdx) -> &mut Node {
        self.nodes[node.0 as usize].as_mut().expect("a folder stays until it is finished, and nothing names it later")
    }

    /// The path of a folder below its root.
    pub(super) fn path(&self, node: NodeIdx) -> Bytes {
        let mut names = Vec::new();
        let mut next = Some(node);
        while let Some(idx) = next {
            let node = self.get(idx);
            if !node.name.is_empty() {
                names.push(&node.name[..]);
            }
            next = node.parent;
        }
        names.reverse();
        Bytes(names.join(&b'/'))
    }

    /// Closes one thing in a folder. If it was the last, returns the folder and those above it that can be finished with it.
    pub(super) fn close_one(&mut self, mut node: NodeIdx) -> Option<Vec<NodeIdx>> {
        loop {
            let closed = self.get_mut(node);
            closed.n_open -= 1;
            if closed.n_open > 0 {
                return None;
            }
            if closed.outcome.is_some() {
                break;
            }
            node = self.remove(node)?;
        }
        let mut chain = vec![node];
        let mut parent = self.get(node).parent;
        let is_last = |above: &Node| above.n_open == 1 && above.outcome.is_some();
        while let Some(above) = parent.filter(|&above| is_last(self.get(above))) {
            chain.push(above);
            parent = self.get(above).parent;
        }
        Some(chain)
    }

    /// Leaves a folder, and those above it, as they are when they are closed.
    pub(super) fn leave(&mut self, node: NodeIdx) {
        let mut next = Some(node);
        while let Some(node) = next.map(|node| self.get_mut(node)).filter(|node| node.outcome.is_some()) {
            node.outcome = None;
            next = node.parent;
        }
    }

    /// Forgets a folder and returns its parent.
    pub(super) fn remove(&mut self, node: NodeIdx) -> Option<NodeIdx> {
        let removed = self.nodes[node.0 as usize].take()?;
        self.free.push(node);
        removed.parent
    }

    fn put(&mut self, node: Node) -> NodeIdx {
        if let Some(idx) = self.free.pop() {
            self.nodes[idx.0 as usize] = Some(node);
            return idx;
        }
        self.nodes.push(Some(node));
        NodeIdx(
            u32::try_from(self.nodes.len() - 1)
                .expect("four thousand million unfinished folders do not fit into memory"),
        )
    }
}
