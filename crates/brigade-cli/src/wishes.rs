//! What the arguments mean for the engine: sources and the place of the copy, asked for where none is named. The engine's own
//! checks are not repeated here.

mod policy;

use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use brigade_copy::{
    DEFAULT_STALL_TIMEOUT, Digests, EmptySource, GroupLimits, Report, Request, Resume, Target, Times, Verify, Writing,
    shown,
};

use crate::arguments::CopyArguments;
use crate::ask;
use crate::display::Way;
use crate::exit::Exit;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::records;
use crate::selected;
use crate::usage;

/// A copy as the user wants it.
pub struct Wishes {
    /// For the engine.
    pub request: Request,
    /// Where the place of the copy comes from.
    pub place: Place,
}

/// Where the place of the copy comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The user named it.
    Named,
    /// It is made beside the source.
    Beside,
    /// Likewise, and the user was asked for the source.
    BesideAsked,
}

/// Reads the wishes; asks for the folder where there is none and somebody to ask.
///
/// # Errors
/// The arguments do not fit together, which has been said.
pub fn read(arguments: &CopyArguments, language: Language) -> Result<Wishes, Exit> {
    if let Some((one, other)) = arguments.fidelity.contradiction() {
        return Err(usage::refuse(language, &messages::not_together(language, one, other)));
    }
    let (sources, target, place) = sources_and_target(arguments, language)?;
    let way = Way::chosen(arguments);
    let policy = policy::of(&arguments.policy, language)?;
    // What would be done is told of each entry; that is what it is asked for.
    let report = if policy.writing == Writing::Rehearsed { Report::EveryEntry } else { way.report(arguments) };
    let request = Request {
        workers: arguments.speed.workers,
        report,
        totals: way.totals(),
        times: if arguments.output.stats { Times::Wanted } else { Times::NotNeeded },
        bytes_per_second: arguments.speed.bwlimit.and_then(NonZeroU64::new),
        nice: arguments.speed.nice,
        delete: arguments.delete.wanted(),
        empty_source: if arguments.policy.force { EmptySource::RemovesAll } else { EmptySource::RemovesNothing },
        fidelity: arguments.fidelity.read(&arguments.given),
        stall_timeout: stall_timeout(arguments.safety.stall_timeout),
        verify: if arguments.safety.verify { Verify::Written } else { Verify::Nothing },
        durability: arguments.safety.sync.into(),
        group_limits: group_limits(),
        digests: if arguments.safety.manifest.is_some() { Digests::Wanted } else { Digests::NotNeeded },
        sandbox: arguments.safety.sandbox.0,
        selection: selected::read(arguments, language)?,
        policy,
        resume: if arguments.safety.no_resume { Resume::Never } else { records::kept() },
        ..Request::new(sources, target)
    };
    Ok(Wishes { request, place })
}

/// Tests make groups small, so that a small tree has many.
fn group_limits() -> GroupLimits {
    fn wanted<T: FromStr>(name: &str) -> Option<T> {
        std::env::var(name).ok().and_then(|text| text.parse().ok())
    }
    let limits = GroupLimits::default();
    GroupLimits {
        n_files: wanted("__BRIGADE_GROUP_FILES").unwrap_or(limits.n_files),
        n_bytes: wanted("__BRIGADE_GROUP_BYTES").unwrap_or(limits.n_bytes),
        ..limits
    }
}

/// Zero is for ever.
pub fn stall_timeout(wanted: Option<Duration>) -> Option<Duration> {
    Some(wanted.unwrap_or(DEFAULT_STALL_TIMEOUT)).filter(|timeout| !timeout.is_zero())
}

fn sources_and_target(arguments: &CopyArguments, language: Language) -> Result<(Vec<PathBuf>, Target, Place), Exit> {
    let paths = arguments.paths.as_slice();
    if let Some(folder) = &arguments.what.target_directory {
        into_folder(paths, folder, language)
    } else if arguments.what.no_target_directory {
        exactly(paths, language)
    } else {
        match paths {
            [] => Ok((vec![asked(language)?], beside(language), Place::BesideAsked)),
            [source] => Ok((vec![source.clone()], beside(language), Place::Beside)),
            [sources @ .., destination] => Ok((sources.to_vec(), Target::IntoOrAs(destination.clone()), Place::Named)),
        }
    }
}

fn beside(language: Language) -> Target {
    let [suffix, other_suffixes @ ..] = language.copy_suffixes().map(str::to_owned);
    Target::Beside { suffix, other_suffixes: other_suffixes.to_vec() }
}

/// `-t DIR SOURCE...`. The engine would take a folder that is missing for the name of the copy, so it is looked at first.
fn into_folder(sources: &[PathBuf], folder: &Path, language: Language) -> Result<(Vec<PathBuf>, Target, Place), Exit> {
    if sources.is_empty() {
        return Err(usage::refuse(language, &messages::missing_source(language)));
    }
    let text = shown(folder).to_string();
    let sentence = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => {
            let target = Target::IntoOrAs(folder.to_path_buf());
            return Ok((sources.to_vec(), target, Place::Named));
        }
        Ok(_) => messages::not_a_folder(language, &text),
        Err(cause) => {
            let sentence = messages::refused_destination(language, &text);
            format!("{sentence}: {}", problem::reason(language, &cause))
        }
    };
    Err(usage::refuse_plainly(&sentence))
}

/// `-T SOURCE DESTINATION`.
fn exactly(paths: &[PathBuf], language: Language) -> Result<(Vec<PathBuf>, Target, Place), Exit> {
    let sentence = match paths {
        [source, destination] => {
            let target = Target::Exactly(destination.clone());
            return Ok((vec![source.clone()], target, Place::Named));
        }
        [] => messages::missing_source(language),
        [source] => messages::missing_destination_after(language, &shown(source).to_string()),
        [_, _, extra, ..] => messages::extra_operand(language, &shown(extra).to_string()),
    };
    Err(usage::refuse(language, &sentence))
}

/// The folder that the user names when asked.
fn asked(language: Language) -> Result<PathBuf, Exit> {
    if !rustix::termios::isatty(io::stdin()) {
        return Err(usage::refuse(language, &messages::nobody_to_ask(language)));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let answer = ask::folder(language, home.as_deref(), &mut io::stdin().lock(), &mut io::stderr());
    // A terminal that cannot be read is as good as one where nobody answers.
    answer.ok().flatten().ok_or(Exit::Refused)
}
