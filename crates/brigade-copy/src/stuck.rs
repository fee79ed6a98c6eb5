//! Places where workers got stuck: entries whose file system or device does not answer. Nobody touches them again in this run.
//! How it is noticed is in crew/stall.rs; what becomes of the work is in scheduler/deaths.rs.

use serde::{Deserialize, Serialize};

use crate::names::Bytes;

/// Entries of one folder that got stuck, after which nothing in it is tried any more: a dead mount must not be met once for each
/// of its files.
const MAX_STUCK_IN_FOLDER: usize = 8;

/// All places where workers got stuck in a run.
#[derive(Debug, Default)]
pub(crate) struct StuckPlaces(Vec<Stuck>);

/// An entry where a worker got stuck, and everything below it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stuck {
    pub(crate) root: u32,
    /// Bytes of its path below the root.
    n_path_bytes: usize,
    /// The path, or as much of its end as a lane has room for.
    pub(crate) path: Bytes,
    pub(crate) remains: Remains,
}

/// What is to be done about what the worker may have left at the destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Remains {
    /// It is to be removed.
    Remove,
    /// That, too, got stuck: they are left.
    Leave,
}

impl StuckPlaces {
    /// What a worker is told with its task.
    pub(crate) fn told(&self) -> Vec<Stuck> {
        self.0.clone()
    }

    /// From now on nobody is to touch this place. If somebody was told that before and got stuck there all the same, the folder
    /// above it is meant. `false` if there is none.
    pub(crate) fn note(&mut self, place: Stuck) -> bool {
        match self.0.iter_mut().find(|known| known.is_same_entry(&place)) {
            Some(known) if known.remains == Remains::Remove => known.remains = Remains::Leave,
            Some(_) => return place.parent().is_some_and(|parent| self.note(parent)),
            None => {
                let parent = place.parent();
                self.0.push(place);
                let is_beside = |known: &&Stuck| known.parent().is_some_and(|other| Some(other) == parent);
                if self.0.iter().filter(is_beside).count() >= MAX_STUCK_IN_FOLDER
                    && let Some(parent) = parent
                    && !self.0.contains(&parent)
                {
                    self.note(parent);
                }
            }
        }
        true
    }
}

impl Stuck {
    pub(crate) fn new(root: u32, n_path_bytes: usize, path: Vec<u8>) -> Self {
        Self { root, n_path_bytes, path: Bytes(path), remains: Remains::Remove }
    }

    /// Whether a path is the entry itself, or below it.
    pub(crate) fn holds(&self, root: u32, path: &[u8]) -> bool {
        let n_bytes = self.n_path_bytes;
        let ends_there = path.len() == n_bytes || n_bytes == 0 || path.get(n_bytes) == Some(&b'/');
        root == self.root && ends_there && path.get(..n_bytes).is_some_and(|front| front.ends_with(&self.path.0))
    }

    fn is_same_entry(&self, other: &Self) -> bool {
        (self.root, self.n_path_bytes, &self.path) == (other.root, other.n_path_bytes, &other.path)
    }

    /// The folder that it is in; `None` for a root, and where its path is not known so far.
    fn parent(&self) -> Option<Self> {
        let n_cut = self.n_path_bytes - self.path.0.len();
        if self.path.0.is_empty() {
            return None;
        }
        let n_kept = match self.path.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => slash,
            None if n_cut == 0 => 0,
            None => return None,
        };
        let path = Bytes(self.path.0[..n_kept].to_vec());
        Some(Self { root: self.root, n_path_bytes: n_cut + n_kept, path, remains: Remains::Leave })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuck(path: &str) -> Stuck {
        Stuck::new(3, path.len(), path.as_bytes().to_vec())
    }

    #[test]
    fn a_stuck_place_holds_itself_and_what_is_below() {
        let stuck_place = stuck("a/b");
        for path in ["a/b", "a/b/c", "a/b/c/d"] {
            assert!(stuck_place.holds(3, path.as_bytes()), "{path}");
            assert!(!stuck_place.holds(2, path.as_bytes()), "{path}");
        }
        for path in ["", "a", "a/bc", "x/a/b", "b"] {
            assert!(!stuck_place.holds(3, path.as_bytes()), "{path}");
        }
        assert!(stuck("").holds(3, b"anything"));
        assert!(stuck("").holds(3, b""));
    }

    #[test]
    fn a_path_that_is_too_long_for_a_lane_is_known_by_its_length_and_end() {
        let cut = Stuck::new(0, 10, b"ij/k".to_vec());
        assert!(cut.holds(0, b"abcdefij/k"));
        assert!(cut.holds(0, b"abcdefij/k/l"));
        assert!(!cut.holds(0, b"abcdeij/k"));
        assert!(cut.parent().unwrap().holds(0, b"abcdefij/x"));
    }

    #[test]
    fn whoever_climbs_ends_at_the_root() {
        let climbed: Vec<_> = std::iter::successors(Some(stuck("a/b/c")), Stuck::parent).collect();
        let paths: Vec<_> = climbed.iter().map(|place| String::from_utf8_lossy(&place.path.0)).collect();
        assert_eq!(paths, ["a/b/c", "a/b", "a", ""]);
    }
}
