//! The shape of a message: which kinds of values, names, lengths of tuples and gaps it has, but not how many or where. Two
//! values of one type with one shape take the same ways through what serde derives, so that one of them is checked for both.
//! What is checked is told in wire.rs.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A set of things that a message has, as the sum of their hashes: in whichever order they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Shape(u64);

impl Shape {
    /// Adds something that was not added before.
    #[inline]
    pub(super) const fn add(&mut self, number: u64) {
        // The finisher of SplitMix64: addresses differ in few bits.
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = self.0.wrapping_add(mixed ^ (mixed >> 31));
    }
}

/// More of them are not told apart: then every message is checked.
const MAX_MARKS: usize = 32;

/// What a message has besides names and kinds of values.
#[derive(Debug, Default)]
pub(super) struct Marks {
    found: Vec<u64>,
    overflowed: bool,
}

impl Marks {
    /// A tuple struct or tuple variant is this long: without fields that were skipped it is longer.
    pub(super) fn length_of(&mut self, name: &'static str, length: usize) {
        self.mark((name.as_ptr().addr() as u64).rotate_left(32) ^ length as u64);
    }

    /// A field was skipped.
    pub(super) fn absence_of(&mut self, name: &'static str) {
        self.mark(!(name.as_ptr().addr() as u64));
    }

    /// A flattened field is there.
    pub(super) fn key(&mut self, encoded: &[u8]) {
        let mut hasher = DefaultHasher::new();
        encoded.hash(&mut hasher);
        self.mark(hasher.finish());
    }

    #[inline]
    fn mark(&mut self, mark: u64) {
        if self.found.last() == Some(&mark) || self.found.contains(&mark) {
            return;
        }
        self.overflowed |= self.found.len() == MAX_MARKS;
        if !self.overflowed {
            self.found.push(mark);
        }
    }

    /// The whole shape; `None` if there was too much to tell it.
    pub(super) fn with(&self, names: Shape, kinds: u32) -> Option<Shape> {
        let mut shape = names;
        shape.add(u64::from(kinds) << 32);
        self.found.iter().for_each(|&mark| shape.add(mark));
        (!self.overflowed).then_some(shape)
    }
}

/// Shapes that are remembered in a thread; then all are forgotten, and checked again.
const MAX_SHAPES: usize = 1 << 14;

/// A shape of a type, for which the address of its name stands.
type Known = (usize, Shape);

fn known<T>(shape: Shape) -> Known {
    (type_name::<T>().as_ptr().addr(), shape)
}

thread_local! {
    /// What was asked for last and is known: most messages are like the one before, and looking here costs no hashing.
    static LAST: Cell<Option<Known>> = const { Cell::new(None) };
    static SEEN: RefCell<HashSet<Known>> = RefCell::default();
}

/// Whether a value of this type and shape was read back in this thread before.
#[inline]
pub(super) fn is_known<T>(shape: Option<Shape>) -> bool {
    let Some(known) = shape.map(known::<T>) else { return false };
    if LAST.get() == Some(known) {
        return true;
    }
    // At the end of a thread the set may be gone already; then it is read back once more.
    let is_known = SEEN.try_with(|seen| seen.borrow().contains(&known)).unwrap_or(false);
    if is_known {
        LAST.set(Some(known));
    }
    is_known
}

/// A value of this type and shape was read back.
pub(super) fn remember<T>(shape: Option<Shape>) {
    let Some(known) = shape.map(known::<T>) else { return };
    LAST.set(Some(known));
    let _ = SEEN.try_with(|seen| {
        let mut seen = seen.borrow_mut();
        if seen.len() >= MAX_SHAPES {
            seen.clear();
        }
        seen.insert(known)
    });
}
