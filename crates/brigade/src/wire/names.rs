//! Names of fields and variants: written out once per message, numbers after that.
//! Which names belong together is not known here; a struct says itself where its fields end.
//!
//! | first byte | meaning |
//! |---|---|
//! | `DEFINE` | length and bytes follow; this name gets the next number |
//! | 1 ..= 253 | name number 0 ..= 252 |
//! | `FAR` | four bytes with the number follow |
//! | `END` | no more fields |

use std::collections::BTreeMap;

use super::shape::Shape;

/// A name that was not written before.
pub(super) const DEFINE: u8 = 0;
/// A name whose number does not fit into one byte.
pub(super) const FAR: u8 = 254;
/// Stands where another field's name could.
pub(super) const END: u8 = 255;

/// Names found by looking at each: most messages have no more, and need no memory for them.
const N_NEAR: usize = 8;

/// Names in the order in which they were defined.
pub(super) struct Names<'a> {
    near: [&'a str; N_NEAR],
    far: Vec<&'a str>,
    count: usize,
}

impl<'a> Names<'a> {
    pub(super) fn new() -> Self {
        Self { near: [""; N_NEAR], far: Vec::new(), count: 0 }
    }

    pub(super) fn push(&mut self, name: &'a str) {
        match self.near.get_mut(self.count) {
            Some(slot) => *slot = name,
            None => self.far.push(name),
        }
        self.count += 1;
    }

    #[inline]
    pub(super) fn get(&self, name_idx: usize) -> Option<&'a str> {
        if name_idx >= self.count {
            return None;
        }
        match self.near.get(name_idx) {
            Some(name) => Some(name),
            None => self.far.get(name_idx - N_NEAR).copied(),
        }
    }
}

/// The writer's side: finds the number of a name by where the name lies in the program's image.
///
/// A name that lies at two places gets two numbers, which is right as well.
pub(super) struct NamesWritten {
    names: Names<'static>,
    far: BTreeMap<(usize, usize), usize>,
    /// The number after the last one used: fields mostly follow each other as they did the first time.
    guess_idx: usize,
    shape: Shape,
}

impl NamesWritten {
    pub(super) fn new() -> Self {
        Self { names: Names::new(), far: BTreeMap::new(), guess_idx: 0, shape: Shape::default() }
    }

    /// The name's number, or `None` if it is new and has now got the next one.
    pub(super) fn number_or_define(&mut self, name: &'static str) -> Option<usize> {
        let known = self.find(name);
        if known.is_none() {
            if self.names.count >= N_NEAR {
                self.far.insert(place(name), self.names.count);
            }
            self.names.push(name);
            self.shape.add(place(name).0 as u64);
        }
        self.guess_idx = known.map_or(self.names.count, |name_idx| name_idx + 1);
        known
    }

    /// The names that were written, in whichever order.
    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    fn find(&self, name: &'static str) -> Option<usize> {
        let wanted = place(name);
        if self.names.get(self.guess_idx).is_some_and(|guess| place(guess) == wanted) {
            return Some(self.guess_idx);
        }
        let n_near = self.names.count.min(N_NEAR);
        let near = self.names.near[..n_near].iter().position(|near| place(near) == wanted);
        near.or_else(|| if self.far.is_empty() { None } else { self.far.get(&wanted).copied() })
    }
}

fn place(name: &str) -> (usize, usize) {
    (name.as_ptr().addr(), name.len())
}
