//! Signals that end a copy: the first asks for a clean end, a later one ends at once, and in the end the command dies of the
//! signal itself, so that the shell knows. What a clean end is, is not decided here: see copy.rs.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Signals this soon after the first are the same wish: `timeout` sends to the process and then to its whole group.
const SAME_WISH: Duration = Duration::from_millis(300);

/// What has been received so far.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The first signal, 0 before it.
    first: Arc<AtomicI32>,
}

impl Caught {
    /// The signal that asked for the end, if one did.
    pub fn signal(&self) -> Option<i32> {
        Some(self.first.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

/// What is to be done about a wish to end, once each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// Ask for the clean end.
    Stop,
    /// Say that it takes its time, and that a further signal would not wait for it.
    Tell,
}

/// The way from a signal to the end.
#[derive(Debug)]
pub struct Wishes<'a> {
    caught: &'a Caught,
    stopped_at: Option<Instant>,
    is_told: bool,
}

impl<'a> Wishes<'a> {
    /// Nothing has been done about what is caught.
    pub fn new(caught: &'a Caught) -> Self {
        Self { caught, stopped_at: None, is_told: false }
    }

    /// Whether the end was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// What is to be done now, to be asked again and again.
    pub fn next(&mut self) -> Option<Wish> {
        match self.stopped_at {
            None if self.caught.signal().is_some() => {
                self.stopped_at = Some(Instant::now());
                Some(Wish::Stop)
            }
            Some(at) if !self.is_told && at.elapsed() >= SAME_WISH => {
                self.is_told = true;
                Some(Wish::Tell)
            }
            _ => None,
        }
    }
}

/// Catches SIGINT and SIGTERM from here on, and SIGHUP unless it is ignored (`nohup` must keep working).
///
/// SIGINT is caught also where it is ignored: a shell script starts `brigade … &` that way, and its `kill -INT` is meant.
///
/// # Errors
/// The kernel refused a handler or the thread.
pub fn catch() -> io::Result<Caught> {
    let mut wanted = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    let caught = Caught { first: Arc::new(AtomicI32::new(0)) };
    let first = Arc::clone(&caught.first);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut first_at: Option<Instant> = None;
        for signal in signals.forever() {
            match first_at {
                None => {
                    first_at = Some(Instant::now());
                    first.store(signal, Ordering::SeqCst);
                }
                Some(at) if at.elapsed() < SAME_WISH => {}
                Some(_) => drop(die_of(signal)),
            }
        }
    })?;
    Ok(caught)
}

/// Ends this process by the signal's own default action. What it returns is for the case that the kernel does not do so.
pub fn die_of(signal: i32) -> ExitCode {
    // The error can only be an unknown signal, and it is one of the three above.
    let _ = emulate_default_handler(signal);
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

/// Whether whoever started us ignores a signal. Told by /proc, since asking sigaction(2) takes unsafe code.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|hexadecimal| u64::from_str_radix(hexadecimal.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
