//! Ctrl-C during a bench: ends the program that is being timed and lets the bench clean up behind itself.
//! What there is to clean up is known to place.rs.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process group of the program that runs now, 0 for none.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Someone wants the bench to end.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// From now on a signal ends what runs, and [`check`] says so.
pub fn install() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            end_running();
        }
    });
    Ok(())
}

/// An error once the bench was asked to end.
pub fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
}

/// Names the process group that a signal is to end; `None` when it has ended.
pub fn set_running(group: Option<u32>) {
    RUNNING.store(group.map_or(0, |group| group.cast_signed()), Ordering::SeqCst);
    // The signal may have come between the start of the program and this line.
    if check().is_err() {
        end_running();
    }
}

fn end_running() {
    if let Some(group) = Pid::from_raw(RUNNING.load(Ordering::SeqCst)) {
        // It may have ended by itself, which is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
