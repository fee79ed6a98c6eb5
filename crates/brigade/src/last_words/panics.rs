//! Panics in a child: heard by a hook before they unwind or abort, told to the parent, and caught where a task panics.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;

use brigade_sys::kernel::last_words::walk;

use super::PanicReport;
use super::backtrace::Backtrace;

thread_local! {
    /// What the last panic of this thread said, for who catches it.
    static LAST_PANIC: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What the runtime says when it aborts because of the panic before: that one is to be told.
const FOLLOWS_ANOTHER: [&str; 2] = ["panic in a destructor during cleanup", "panic in a function that cannot unwind"];

/// Installs the hook that tells of each panic before it unwinds, or aborts.
pub(crate) fn report(tell: impl Fn(&PanicReport) + Send + Sync + 'static) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let report = PanicReport::capture(info);
        // A thread that ends may have given its own variables up already.
        let is_first = LAST_PANIC.try_with(|last| last.borrow().is_none()).unwrap_or(true);
        if is_first || !FOLLOWS_ANOTHER.contains(&report.message.as_str()) {
            tell(&report);
            let _ = LAST_PANIC.try_with(|last| last.replace(Some(report)));
        }
        if !IS_QUIET.try_with(Cell::get).unwrap_or(false) {
            print(info);
        }
    }));
}

/// Runs `work`; a panic in it is not printed but returned.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, PanicReport> {
    // A catching call can be made from inside another one.
    let was_quiet = IS_QUIET.replace(true);
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(was_quiet);
    outcome.map_err(|payload| report_of(&*payload))
}

/// The report of a panic that was caught on this thread.
pub(crate) fn report_of(payload: &(dyn Any + Send)) -> PanicReport {
    let plain = PanicReport { message: text_of(payload), location: None, thread: None, backtrace: None };
    // The hook stores each panic before it unwinds, but `resume_unwind` passes it by, and the user may have replaced it: then
    // what is stored is of an earlier one.
    LAST_PANIC.take().filter(|last| last.message == plain.message).unwrap_or(plain)
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic with a value that is no text").to_owned()
}

impl PanicReport {
    fn capture(info: &std::panic::PanicHookInfo<'_>) -> Self {
        let frames = walk();
        let is_main = rustix::thread::gettid() == rustix::process::getpid();
        let thread = std::thread::current().name().map(str::to_owned);
        Self {
            message: text_of(info.payload()),
            location: info.location().map(ToString::to_string),
            // A child is taken over before std has named the main thread.
            thread: thread.or_else(|| is_main.then(|| "main".to_owned())),
            backtrace: (!frames.addresses.is_empty()).then(|| Box::new(Backtrace::new(&frames))),
        }
    }
}
