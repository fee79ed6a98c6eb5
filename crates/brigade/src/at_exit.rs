//! Functions to call when this process ends in good order.

use std::sync::{Mutex, PoisonError};

use brigade_sys::kernel::child::call_at_exit;

type Function = Box<dyn FnOnce() + Send>;

static FUNCTIONS: Mutex<Vec<Function>> = Mutex::new(Vec::new());

/// Calls `function` when this process ends by returning from its function or `main`, or by `exit`; the last one first.
///
/// A process that is killed calls nothing.
pub fn at_exit(function: impl FnOnce() + Send + 'static) {
    let mut functions = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    if functions.is_empty() {
        call_at_exit(run);
    }
    functions.push(Box::new(function));
}

extern "C" fn run() {
    loop {
        // The lock is not held while a function runs, so that it may register another.
        let function = FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(function) = function else { return };
        // A panic must not unwind into the C library; the hook has reported it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(function));
    }
}
