//! `brigade verify` from its arguments to its exit status: looks, starts, watches, judges. What is shown is in display/verify.rs.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use brigade_copy::{CompareRequest, Comparing, Comparison, Verdict, shown};

use crate::arguments::VerifyArguments;
use crate::copy::{TICK, soon};
use crate::display::{Detail, Told, VerifyDisplay, Way};
use crate::exit::Exit;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::signals::{self, Caught, Wish, Wishes};
use crate::usage;
use crate::wishes::stall_timeout;

/// Compares, and says what came of it. After a signal it does not return.
pub fn run(arguments: &VerifyArguments, language: Language) -> ExitCode {
    carried_out(arguments, language).unwrap_or_else(ExitCode::from)
}

fn carried_out(arguments: &VerifyArguments, language: Language) -> Result<ExitCode, Exit> {
    let detail = if arguments.quiet { Detail::Errors } else { Detail::Summary };
    let way = Way::of(arguments.progress, detail);
    let request = request(arguments, way, language)?;
    let (source, destination) = (request.source.clone(), request.destination.clone());
    let refuse = |refusal| usage::refuse_plainly(&problem::refusal(language, &refusal));
    let comparison = Comparison::new(request).map_err(refuse)?;
    let caught = signals::catch().map_err(|cause| {
        let reason = problem::reason(language, &cause);
        usage::refuse_plainly(&format!("{}: {reason}", messages::refused_signals(language)))
    })?;
    let within = comparison.copy_within();
    let display = VerifyDisplay::new(language, way, detail, &source, &destination);
    let display = Arc::new(Mutex::new(display));
    let sink = Arc::clone(&display);
    let comparing = comparison
        .start(move |event| sink.lock().unwrap_or_else(PoisonError::into_inner).event(&event))
        .map_err(refuse)?;
    let verdict = watched(&comparing, &caught, &display);
    // The workers are gone before anything is said about the end.
    drop(comparing);
    let within = within.filter(|_| verdict.n_different > 0);
    let told = display.lock().unwrap_or_else(PoisonError::into_inner).end(&verdict, within.as_deref());
    match caught.signal() {
        // A signal that came when all was done changes nothing.
        Some(signal) if verdict.interrupted => Ok(signals::die_of(signal)),
        _ => Ok(status(&verdict, told).into()),
    }
}

fn request(arguments: &VerifyArguments, way: Way, language: Language) -> Result<CompareRequest, Exit> {
    let sentence = match arguments.paths.as_slice() {
        [source, destination] => {
            return Ok(CompareRequest {
                source: source.clone(),
                destination: destination.clone(),
                workers: arguments.workers,
                totals: way.totals(),
                stall_timeout: stall_timeout(arguments.stall_timeout),
            });
        }
        [] => messages::missing_source(language),
        [source] => messages::missing_destination_after(language, &shown(source).to_string()),
        [_, _, extra, ..] => messages::verify_extra_operand(language, &shown(extra).to_string()),
    };
    Err(usage::refuse_for("brigade verify", language, &sentence))
}

/// Waits for the end, showing what happens and passing on a wish to stop.
fn watched(comparing: &Comparing, caught: &Caught, display: &Mutex<VerifyDisplay>) -> Verdict {
    let mut wishes = Wishes::new(caught);
    loop {
        if let Some(verdict) = comparing.wait_timeout(TICK) {
            return verdict;
        }
        let wish = wishes.next();
        if wish == Some(Wish::Stop) {
            comparing.stop();
        }
        if let Some(mut display) = soon(display) {
            if wish == Some(Wish::Tell) {
                display.stopping();
            }
            display.tick(|| comparing.progress());
        }
    }
}

/// What could not be compared may differ or not, so it comes first.
fn status(verdict: &Verdict, told: Told) -> Exit {
    let is_complete = verdict.n_failed == 0 && !verdict.interrupted && verdict.broken.is_none();
    match (is_complete && told == Told::Wholly, verdict.n_different) {
        (false, _) => Exit::Refused,
        (true, 0) => Exit::Done,
        (true, _) => Exit::Incomplete,
    }
}
