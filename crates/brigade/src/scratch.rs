//! One buffer for each thread, used over and over for encoded values: most are small, and memory for each would cost more than
//! they do.

use std::cell::Cell;

/// A larger buffer is not kept.
const MAX_KEPT_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The buffer of this thread, with whatever is in it; an empty one if it is in use.
pub(crate) fn take() -> Vec<u8> {
    // At the end of a thread it may be gone already.
    BUFFER.try_with(Cell::take).unwrap_or_default()
}

/// Gives a buffer back for the next user.
pub(crate) fn give_back(buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_KEPT_BYTES {
        let _ = BUFFER.try_with(|place| place.set(buffer));
    }
}
