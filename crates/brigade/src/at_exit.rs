//! Functions to call when this process ends in good order.

use std::sync::{Mutex, PoisonError};

use brigade_sys::kernel::child::call_at_exit;

type Function = Box<dyn FnOnce() + Send>;

/// The functions, each with the process that is meant: one that was forked from it has a copy of this list.
static FUNCTIONS: Mutex<Vec<(u32, Function)>> = Mutex::new(Vec::new());

/// Calls `function` when this process ends by returning from its function or `main`, or by `exit`; the last one first.
///
/// A process that is killed calls nothing. Nor does one that was made from this one by `fork()`.
pub fn at_exit(function: impl FnOnce() + Send + 'static) {
    let mut functions = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if functions.is_empty() {
        call_at_exit(run);
    }
    functions.push((std::process::id(), Box::new(function)));
}

extern "C" fn run() {
    loop {
        // The lock is not held while a function runs, so that it may register another.
        let function = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((pid, function)) = function else { return };
        if pid != std::process::id() {
            // Not even dropped: what it holds belongs to the other process.
            std::mem::forget(function);
            continue;
        }
        // A panic must not unwind into the C library; the hook has reported it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(function));
    }
}
