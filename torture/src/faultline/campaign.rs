//! Injects one error after another into a copy of a tree with every kind of entry: first it records which calls such a copy
//! makes, then it lets each of them fail with each error, and looks whether what the command then says and does is true. How
//! calls are answered is in faultline.rs, what is right in judge.rs and table.rs.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::judge::{Verdict, judge};
use super::scene::{Before, Scene};
use super::table::{ERRORS, Expected, Tree, expected, is_possible};
use super::{Act, Answer, Asked, Ended, Place, Role, Rule, When, calls, run};
use crate::random::Random;

/// No copy of the small tree takes as long, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(40);

/// What a campaign does.
#[derive(Clone, Debug)]
pub struct Options {
    /// The command `brigade`.
    pub program: PathBuf,
    /// Chooses the errors.
    pub seed: u64,
    /// How many errors are injected.
    pub n_points: usize,
    /// Only calls of this name.
    pub only: Option<String>,
}

/// One error that was injected.
#[derive(Clone, Debug)]
pub struct Injection {
    before: Before,
    role: Role,
    call: &'static str,
    tree: Tree,
    /// Which of the calls of this process, name and tree.
    nth: u64,
    errno: (&'static str, Errno),
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, role, call, tree, nth, errno } = self;
        write!(f, "{role:?} {call} {tree:?} {nth}: {} (before: {before:?})", errno.0)
    }
}

/// What became of a campaign.
#[derive(Debug, Default)]
pub struct Report {
    /// Errors that were injected.
    pub n_injected: usize,
    /// Errors whose call was not made in that run, as the processes did not take the same turns.
    pub n_missed: usize,
    /// How many runs ended how.
    pub verdicts: BTreeMap<String, usize>,
    /// What was wrong.
    pub findings: Vec<(Injection, String)>,
}

/// A kind of call, and how often it is made.
type Recorded = BTreeMap<(Before, Role, Tree, &'static str), u64>;

/// Runs a campaign in an existing folder, telling `heard` of each finding and now and then of the progress.
///
/// # Errors
/// What setting the scene or starting the command says.
pub fn campaign(options: &Options, folder: &Path, mut heard: impl FnMut(&str)) -> io::Result<Report> {
    let scenes = [Scene::new(folder, Before::Nothing)?, Scene::new(folder, Before::Others)?];
    let mut recorded = Recorded::new();
    for (scene, before) in scenes.iter().zip([Before::Nothing, Before::Others]) {
        record(options, scene, before, &mut recorded)?;
    }
    if let Some(only) = &options.only {
        recorded.retain(|(.., call), _| call == only);
    }
    for ((before, role, tree, call), n_made) in &recorded {
        heard(&format!("{before:?} {role:?} {tree:?}: {call} {n_made} times"));
    }
    let mut report = Report::default();
    let mut random = Random::new(options.seed);
    for injection in chosen(&recorded, options.n_points, &mut random) {
        let scene = &scenes[usize::from(injection.before == Before::Others)];
        let ended = inject(options, scene, &injection)?;
        if ended.n_done == [0] {
            report.n_missed += 1;
        } else {
            report.n_injected += 1;
        }
        match checked(scene, &injection, &ended) {
            Ok(verdict) => *report.verdicts.entry(format!("{verdict:?}")).or_default() += 1,
            Err(wrong) => {
                heard(&format!("WRONG {injection}: {wrong}"));
                report.findings.push((injection, wrong));
            }
        }
        if (report.n_injected + report.n_missed).is_multiple_of(250) {
            heard(&format!("{} injected, {} wrong", report.n_injected, report.findings.len()));
        }
    }
    Ok(report)
}

/// The error of this name, if it is one of those that a campaign injects.
#[must_use]
pub fn error_named(name: &str) -> Option<Errno> {
    ERRORS.iter().find(|(known, _)| *known == name).map(|(_, errno)| *errno)
}

/// The command on a scene, with one worker: so that its calls come in the same order each time.
fn command_for(options: &Options, scene: &Scene) -> Command {
    let mut command = Command::new(&options.program);
    command.args(["copy", "-T", "-j1", "--progress=json"]).arg(&scene.source).arg(&scene.destination);
    command
}

fn record(options: &Options, scene: &Scene, before: Before, recorded: &mut Recorded) -> io::Result<()> {
    let seen = Arc::new(Mutex::new(Recorded::new()));
    let (noted, roots) = (Arc::clone(&seen), scene.outside());
    let note = move |asked: &Asked| {
        let path = asked.path();
        let is_below = |root: &PathBuf| path.as_ref().is_some_and(|path| path.starts_with(root));
        let tree = match roots.iter().position(is_below) {
            Some(0) => Tree::Source,
            Some(1) => Tree::Destination,
            None => Tree::Neither,
            Some(_) => return Answer::GoOn,
        };
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted.entry((before, asked.role, tree, asked.name())).or_default() += 1;
        Answer::GoOn
    };
    scene.reset()?;
    let every = Rule::of_each(calls::ALL.iter().map(|call| call.name), Act::Hook(Box::new(note)));
    let ended = run(command_for(options, scene), vec![every], LIMIT)?;
    match judge(scene, &ended) {
        Ok(Verdict::Whole) => {}
        other => return Err(io::Error::other(format!("without any error the copy is not right: {other:?}"))),
    }
    recorded.append(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}

/// Each call with each error before any comes again, at another of its occurrences.
fn chosen(recorded: &Recorded, n_points: usize, random: &mut Random) -> Vec<Injection> {
    let each = recorded.iter().flat_map(|kind| ERRORS.iter().map(move |errno| (kind, *errno)));
    let kinds: Vec<_> = each.filter(|(((_, _, tree, call), _), errno)| is_possible(call, *tree, errno.1)).collect();
    let mut injections = Vec::with_capacity(n_points);
    while injections.len() < n_points && !kinds.is_empty() {
        let mut round: Vec<_> = kinds
            .iter()
            .map(|&((&(before, role, tree, call), &n_made), errno)| Injection {
                before,
                role,
                call,
                tree,
                nth: 1 + random.below(n_made),
                errno,
            })
            .collect();
        while !round.is_empty() && injections.len() < n_points {
            injections.push(round.swap_remove(random.below(round.len() as u64) as usize));
        }
    }
    injections
}

fn inject(options: &Options, scene: &Scene, injection: &Injection) -> io::Result<Ended> {
    scene.reset()?;
    let place = match injection.tree {
        Tree::Source => Place::Below(scene.source.clone()),
        Tree::Destination => Place::Below(scene.destination.clone()),
        Tree::Neither => Place::Outside(scene.outside()),
    };
    let rule = Rule::of(injection.call, Act::Fail(injection.errno.1));
    let rule = rule.by(injection.role).on(place).when(When::Nth(injection.nth));
    run(command_for(options, scene), vec![rule], LIMIT)
}

fn checked(scene: &Scene, injection: &Injection, ended: &Ended) -> Result<Verdict, String> {
    let verdict = judge(scene, ended)?;
    let is_met = ended.n_done != [0];
    if !is_met || injection.role != Role::Worker || injection.tree == Tree::Neither {
        return Ok(verdict);
    }
    let is_right = match expected(injection.call, injection.tree, injection.errno.1) {
        Expected::Whole => verdict == Verdict::Whole,
        Expected::Success => matches!(verdict, Verdict::Whole | Verdict::Lossy),
        Expected::Partial => verdict == Verdict::Partial,
        Expected::Truth => true,
    };
    if is_right { Ok(verdict) } else { Err(format!("it came to {verdict:?}")) }
}
