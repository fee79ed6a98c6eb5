//! `brigade copy` from its arguments to its exit status: plans, starts, watches, ends. What is shown is in display/.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use brigade_copy::{Delete, Event, Plan, Resume, Running, Summary, shown};
use rustix::termios::isatty;

use crate::arguments::{CopyArguments, ProgressWay};
use crate::asking::{Asking, Questions};
use crate::display::{Display, Outputs, Told};
use crate::exit::Exit;
use crate::language::Language;
use crate::manifest::Manifest;
use crate::messages;
use crate::problem;
use crate::records;
use crate::resume;
use crate::retry;
use crate::signals::{self, Caught, Wish, Wishes};
use crate::usage;
use crate::wishes::{self, Place};

/// How often the display is painted and signals are looked at.
pub const TICK: Duration = Duration::from_millis(100);

/// Likewise, while a question waits for an answer: whoever types does not wait for the next one.
const ASKING_TICK: Duration = Duration::from_millis(20);

/// Copies, and says how it ended. After a signal it does not return.
pub fn run(arguments: &CopyArguments, language: Language) -> ExitCode {
    match checked(arguments, language) {
        Ok((plan, place)) => carried_out(plan, place, arguments, language),
        Err(exit) => exit.into(),
    }
}

/// Everything that can be refused, and has been told if it was.
fn checked(arguments: &CopyArguments, language: Language) -> Result<(Plan, Place), Exit> {
    let wishes = wishes::read(arguments, language)?;
    let plan = match &arguments.output.retry_from {
        Some(list) => retry::apply(wishes.request, list, language),
        None => Plan::new(wishes.request).map_err(|refusal| problem::refusal(language, &refusal)),
    };
    plan.map(|plan| (plan, wishes.place)).map_err(|sentence| usage::refuse_plainly(&sentence))
}

fn carried_out(plan: Plan, place: Place, arguments: &CopyArguments, language: Language) -> ExitCode {
    let pairs: Vec<(PathBuf, PathBuf)> =
        plan.pairs().map(|(source, destination)| (source.to_path_buf(), destination.to_path_buf())).collect();
    let made = pairs.first().filter(|_| place != Place::Named).map(|(_, destination)| destination.as_path());
    let caught = match signals::catch() {
        Ok(caught) => caught,
        Err(cause) => {
            let sentence = messages::refused_signals(language);
            let reason = problem::reason(language, &cause);
            return usage::refuse_plainly(&format!("{sentence}: {reason}")).into();
        }
    };
    if place == Place::BesideAsked
        && let Some(path) = made
    {
        say(&messages::making(language, &shown(path).to_string()));
    }
    tell_of_records(&plan, arguments, language);
    let outputs = match Outputs::open(arguments, language) {
        Ok(outputs) => outputs,
        Err(sentence) => return usage::refuse_plainly(&sentence).into(),
    };
    if let Some((source, destination)) = pairs.first().filter(|_| arguments.delete.wanted() != Delete::Nothing)
        && !arguments.output.quiet
    {
        say(&messages::deleting_from(language, &shown(destination).to_string(), &shown(source).to_string()));
    }
    let manifest = match manifest_of(arguments, &pairs, language) {
        Ok(manifest) => Arc::new(Mutex::new(manifest)),
        Err(exit) => return exit.into(),
    };
    let mut display = Display::new(language, outputs);
    display.start(&pairs, plan.sandbox());
    let display = Arc::new(Mutex::new(display));
    let sink = Arc::clone(&display);
    let taker = Arc::clone(&manifest);
    let questions = Questions::default();
    let unasked = Arc::clone(&questions);
    let take = move |event: Event| {
        if let (Event::Digest { destination, hash }, Some(manifest)) = (&event, &mut *lock(&taker)) {
            manifest.take(destination, hash);
        }
        match event {
            Event::Question(question) => lock(&unasked).push_back(question),
            event => lock(&sink).event(&event),
        }
    };
    let running = match plan.start(take) {
        Ok(running) => running,
        Err(refusal) => return usage::refuse_plainly(&problem::refusal(language, &refusal)).into(),
    };
    let summary = watched(&running, &caught, &display, Asking::new(language, questions));
    // The workers are gone before anything is said about the end, and the run is forgotten after that.
    let _closed = running.close();
    let end = End { arguments, pairs: &pairs, made };
    let manifest = lock(&manifest).take();
    end.told(&summary, &caught, &mut lock(&display), manifest)
}

/// Says that this goes on with a copy that was cut off, to whoever sits there and looks or asks for more than errors.
fn tell_of_records(plan: &Plan, arguments: &CopyArguments, language: Language) {
    let output = &arguments.output;
    if output.verbose && !arguments.safety.no_resume && records::kept() == Resume::Never {
        say(&messages::nowhere_to_record(language));
    }
    if plan.goes_on()
        && !output.quiet
        && (output.verbose || isatty(io::stderr()))
        && let Some((_, destination)) = plan.pairs().next()
    {
        say(&messages::going_on(language, &shown(destination).to_string()));
    }
}

/// The manifest that is wanted, or nothing.
fn manifest_of(
    arguments: &CopyArguments,
    pairs: &[(PathBuf, PathBuf)],
    language: Language,
) -> Result<Option<Manifest>, Exit> {
    let Some(file) = &arguments.safety.manifest else {
        return Ok(None);
    };
    if file == Path::new("-") && arguments.output.progress == ProgressWay::Json {
        return Err(usage::refuse(language, &messages::manifest_and_json(language)));
    }
    let named = match (&arguments.what.target_directory, arguments.paths.as_slice()) {
        (Some(folder), _) => Some(folder.as_path()),
        (None, [_, .., destination]) => Some(destination.as_path()),
        _ => None,
    };
    Manifest::begin(file, pairs, named, language).map(Some)
}

/// Waits for the end, showing what happens and passing on a wish to stop.
fn watched(running: &Running, caught: &Caught, display: &Mutex<Display>, mut asking: Asking) -> Summary {
    let mut wishes = Wishes::new(caught);
    loop {
        let tick = if asking.is_open() { ASKING_TICK } else { TICK };
        if let Some(summary) = running.wait_timeout(tick) {
            return summary;
        }
        let wish = wishes.next();
        if wish == Some(Wish::Stop) {
            running.stop();
        }
        if !wishes.is_stopping() {
            ask(running, display, &mut asking);
        }
        if let Some(mut display) = soon(display) {
            if wish == Some(Wish::Tell) {
                display.stopping();
            }
            display.tick(|| running.progress());
        }
    }
}

/// Takes an answer that has been typed, and shows the next question.
fn ask(running: &Running, display: &Mutex<Display>, asking: &mut Asking) {
    let reply = |question, answer| running.answer(question, answer);
    let is_answered = asking.look(reply);
    let next = asking.next(reply);
    if is_answered || next.is_some() {
        lock(display).ask(next.as_deref());
    }
}

/// The display, unless an event is being written to somebody who does not read: a wish to stop must be seen even then.
pub fn soon<D>(display: &Mutex<D>) -> Option<MutexGuard<'_, D>> {
    const PATIENCE: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match display.try_lock() {
            Ok(display) => return Some(display),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => return None,
        }
    }
}

/// What the end of a run is told with.
struct End<'a> {
    arguments: &'a CopyArguments,
    pairs: &'a [(PathBuf, PathBuf)],
    made: Option<&'a Path>,
}

impl End<'_> {
    fn told(&self, summary: &Summary, caught: &Caught, display: &mut Display, manifest: Option<Manifest>) -> ExitCode {
        let is_cut_short = summary.interrupted || summary.broken.is_some();
        let go_on = summary.is_cut_off().then(|| resume::command(self.arguments, self.pairs)).flatten();
        let told = display.end(summary, self.made, go_on.as_deref());
        match caught.signal() {
            // A signal that came when all was done changes nothing.
            Some(signal) if summary.interrupted => signals::die_of(signal),
            _ => {
                // A copy that was cut short has no manifest: one that lacks files would look like the whole.
                let (said, listed) =
                    manifest.filter(|_| !is_cut_short).map_or((Vec::new(), Exit::Done), Manifest::finish);
                said.iter().for_each(|line| say(line));
                if listed == Exit::Done { status(summary, told).into() } else { listed.into() }
            }
        }
    }
}

fn status(summary: &Summary, told: Told) -> Exit {
    let is_left = summary.n_unflushed > 0 || summary.n_undeleted > 0 || summary.removal_ceased.is_some();
    let is_whole = summary.n_failed == 0 && !is_left && summary.broken.is_none() && !summary.interrupted;
    if is_whole && told == Told::Wholly { Exit::Done } else { Exit::Incomplete }
}

fn say(line: &str) {
    // Nothing is left to be done about a standard error that takes no text.
    let _ = writeln!(io::stderr(), "{line}");
}

/// A panic of another thread while it held the display leaves at worst a line half told.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_whether_everything_was_copied_and_told() {
        let whole = Summary::default();
        let failed = Summary { n_failed: 1, ..Summary::default() };
        let broken = Summary { broken: Some("the pool ended".into()), ..Summary::default() };
        assert_eq!(status(&whole, Told::Wholly), Exit::Done);
        assert_eq!(status(&whole, Told::InPart), Exit::Incomplete);
        assert_eq!(status(&failed, Told::Wholly), Exit::Incomplete);
        assert_eq!(status(&broken, Told::Wholly), Exit::Incomplete);
    }
}
