//! Copies a tree while entries on both sides are swapped, and looks whether anything outside of the trees was read or written.
//! The trees are in scene.rs, the swapping at any time in swaps.rs and just before a call in calls.rs, and what is watched and
//! compared in outside.rs.

mod calls;
mod outside;
mod scene;
mod swaps;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::facts;
use crate::random::Random;
use outside::Outside;
use scene::{Fifos, Scene, Swapped, Tops};
use swaps::Swaps;

/// A copy of so small a tree that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Threads that swap: with more the copy would get no processor.
const N_THREADS: usize = 3;

/// Who copies.
#[derive(Clone, Debug)]
pub enum Copier {
    /// The command under test.
    Brigade(PathBuf),
    /// GNU cp, which is known to leave the trees.
    Cp,
}

/// When entries are swapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moments {
    /// Whenever it happens.
    Any,
    /// Just before calls of the copier on them, so that each gap between a look and what follows from it is met.
    BeforeCalls,
}

/// What ends a campaign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Until {
    /// The time.
    Over,
    /// The first copy that read or wrote outside of the trees, which is all that a control has to show.
    FirstLeak,
}

/// A campaign.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who copies.
    pub copier: Copier,
    /// When entries are swapped.
    pub moments: Moments,
    /// For how long at most.
    pub duration: Duration,
    /// When it is over before that.
    pub until: Until,
    /// What is swapped when.
    pub seed: u64,
}

/// What came of a campaign.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Copies that were made.
    pub n_rounds: u64,
    /// Of these, copies that read or wrote outside of the trees.
    pub n_rounds_with_leaks: u64,
    /// Swaps that were made, of each kind.
    pub n_swaps: BTreeMap<&'static str, u64>,
    /// How often copies ended with each status.
    pub n_statuses: BTreeMap<i32, u64>,
    /// What was wrong, by kind, and how often.
    pub faults: BTreeMap<String, u64>,
}

/// Options of `brigade copy`, one line for each round in turn.
const WAYS: [&[&str]; 10] = [
    &["-j2"],
    &["-j4", "--ignore-times"],
    &["-j1"],
    &["-j2", "--delete"],
    &["-j3", "--backup=numbered", "--ignore-times"],
    &["-j2", "--checksum"],
    &["-j2", "--force", "--ignore-times"],
    &["-j2", "--verify"],
    &["-j2", "--update"],
    &["-j2", "--no-clobber", "--no-preserve=mode"],
];

/// Copies until it is over, in a folder that the caller made.
///
/// # Errors
/// What setting the scene says.
pub fn campaign(options: &Options, folder: &Path) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut random = Random::new(options.seed);
    let scene = Scene::new(folder, random.number())?;
    let mut outside = Outside::watch(&scene)?;
    let fifos = if matches!(options.copier, Copier::Cp) { Fifos::Left } else { Fifos::Swapped };
    let began = Instant::now();
    while began.elapsed() < options.duration && !(options.until == Until::FirstLeak && outcome.n_rounds_with_leaks > 0)
    {
        let way = WAYS[(outcome.n_rounds % WAYS.len() as u64) as usize];
        let tops = if outcome.n_rounds % 4 == 3 { Tops::Swapped } else { Tops::Left };
        scene.reset()?;
        let swapped = scene.swapped(tops, fifos)?;
        let command = command(options, way, &scene);
        let (n_swaps, status, said) = match options.moments {
            Moments::Any => meanwhile(command, swapped, random.number())?,
            Moments::BeforeCalls => calls::swapped_before_calls(command, swapped, &scene, random.number())?,
        };
        for (kind, n) in n_swaps {
            *outcome.n_swaps.entry(kind).or_default() += n;
        }
        outcome.n_rounds += 1;
        *outcome.n_statuses.entry(status.unwrap_or(-1)).or_default() += 1;
        let mut leaks = outside.leaks(&scene)?;
        leaks.sort();
        leaks.dedup();
        outcome.n_rounds_with_leaks += u64::from(!leaks.is_empty());
        let is_usual = matches!(status, Some(0..=2)) && !said.contains("panicked") && !said.contains("broke off");
        let unusual = (!is_usual).then(|| format!("{way:?} ended with {status:?}: {said}"));
        for fault in leaks.into_iter().chain(unusual.filter(|_| matches!(options.copier, Copier::Brigade(_)))) {
            *outcome.faults.entry(fault).or_default() += 1;
        }
    }
    Ok(outcome)
}

/// How often each kind was swapped, the status of the copier, and what it said.
type Ended = (BTreeMap<&'static str, u64>, Option<i32>, String);

fn meanwhile(mut command: Command, swapped: Vec<Swapped>, seed: u64) -> io::Result<Ended> {
    let swaps = Swaps::begin(swapped, seed, N_THREADS);
    let ended = command.stderr(Stdio::piped()).spawn().and_then(end_of);
    let n_swaps = swaps.end();
    ended.map(|(status, said)| (n_swaps, status, said))
}

fn command(options: &Options, way: &[&str], scene: &Scene) -> Command {
    let mut command = match &options.copier {
        Copier::Cp => Command::new("cp"),
        Copier::Brigade(program) => Command::new(program),
    };
    match &options.copier {
        Copier::Cp => command.arg("-a"),
        Copier::Brigade(_) => command.args(["copy", "--progress=none"]).args(way),
    };
    command
        .env("XDG_STATE_HOME", scene.state())
        .arg(scene.source())
        .arg(scene.into())
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The status and what was said. What hangs is killed, and has none.
fn end_of(mut child: std::process::Child) -> io::Result<(Option<i32>, String)> {
    let mut stderr = child.stderr.take().ok_or_else(|| io::Error::other("stderr is not piped"))?;
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = io::Read::read_to_end(&mut stderr, &mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let status = facts::end_of(&mut child, LIMIT)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let said = reader.join().unwrap_or_default();
    Ok((status.and_then(|status| status.code()), said))
}
