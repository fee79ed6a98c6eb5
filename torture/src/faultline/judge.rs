//! Says whether a copy into which an error was injected has come to a right end: what it reported must be true, and what it did
//! not report as failed must be right. It reads the report for programs and compares the trees; it knows nothing of calls.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Ended;
use super::scene::Scene;
use crate::treecmp::{Difference, compare};

/// How a run ended, if it was right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Everything was copied, and nothing was lost.
    Whole,
    /// Everything was copied; what the destination could not keep was counted.
    Lossy,
    /// Some entries failed, and each was named.
    Partial,
    /// Nothing was begun, or the run broke off; it said why.
    Refused,
}

/// What failed, as the report has it.
struct Failed {
    /// Below the roots of the trees.
    path: PathBuf,
    action: String,
}

/// The report of one run.
struct Report {
    failed: Vec<Failed>,
    summary: Option<Value>,
}

/// Judges a run.
///
/// # Errors
/// What was wrong about it.
pub(super) fn judge(scene: &Scene, ended: &Ended) -> Result<Verdict, String> {
    if ended.is_hung {
        return Err("it hung, or left processes behind".to_owned());
    }
    let told = String::from_utf8_lossy(&ended.output.stderr);
    if let Some(litter) = litter_in(&scene.destination) {
        return Err(format!("left behind: {}\n{told}", litter.display()));
    }
    let verdict = match ended.output.status.code() {
        Some(0) => judge_success(scene, &report_of(scene, ended)?),
        Some(1) => judge_partial(scene, &report_of(scene, ended)?, &told),
        Some(2) if !told.trim().is_empty() => Ok(Verdict::Refused),
        // The dynamic loader speaks for itself, before our first instruction.
        Some(127) if told.contains("error while loading shared libraries") => Ok(Verdict::Refused),
        // So do the C library and the allocator of the language, which know no other way.
        None if ["memory allocation of", "Fatal glibc error"].iter().any(|words| told.contains(words)) => {
            Ok(Verdict::Refused)
        }
        _ => Err(format!("it ended with {}", ended.output.status)),
    };
    verdict.map_err(|wrong| format!("{wrong}\n{told}"))
}

fn judge_success(scene: &Scene, report: &Report) -> Result<Verdict, String> {
    let summary = report.summary.as_ref().ok_or("success without a summary")?;
    if !report.failed.is_empty() || number(summary, "failed") > 0 {
        return Err("it ended with 0 although something failed".to_owned());
    }
    add_up(summary)?;
    let lost = summary["unpreserved"].as_object().ok_or("no account of what was not preserved")?;
    let is_lossy = !lost.is_empty();
    let found = differences_of(scene)?;
    let unexplained: Vec<_> = found.iter().filter(|difference| !is_counted_loss(difference, lost)).collect();
    match unexplained.first() {
        Some(_) => Err(format!("it ended with 0, but {}", listed(&unexplained))),
        None if is_lossy || !found.is_empty() => Ok(Verdict::Lossy),
        None => Ok(Verdict::Whole),
    }
}

/// Whether a difference is one that the summary counts among what could not be kept.
fn is_counted_loss(difference: &Difference, lost: &serde_json::Map<String, Value>) -> bool {
    let is_lost = |aspect: &str| lost.contains_key(aspect);
    difference.aspect.is_some_and(is_lost)
        // All attributes of an entry are compared at once.
        || (difference.aspect == Some("xattr") && (is_lost("acl") || is_lost("capabilities")))
        // An ACL says the mode of the group, too.
        || (difference.aspect == Some("mode") && is_lost("acl"))
}

fn judge_partial(scene: &Scene, report: &Report, told: &str) -> Result<Verdict, String> {
    let Some(summary) = report.summary.as_ref() else {
        return if told.trim().is_empty() {
            Err("it ended with 1 and said nothing".to_owned())
        } else {
            Ok(Verdict::Refused)
        };
    };
    if !summary["broken"].is_null() {
        return Ok(Verdict::Refused);
    }
    add_up(summary)?;
    if report.failed.is_empty() {
        // The report itself may be what failed.
        return if number(summary, "failed") == 0 && !told.trim().is_empty() {
            judge_success(scene, report)
        } else {
            Err("something failed, but it is not named".to_owned())
        };
    }
    if (report.failed.len() as u64) < number(summary, "failed") {
        return Err(format!("{} entries failed, {} are named", number(summary, "failed"), report.failed.len()));
    }
    let lost = summary["unpreserved"].as_object().cloned().unwrap_or_default();
    let found = differences_of(scene)?;
    let is_explained =
        |difference: &&Difference| report.failed.iter().any(|failed| explains(scene, failed, difference));
    let unexplained: Vec<_> =
        found.iter().filter(|difference| !is_explained(difference) && !is_counted_loss(difference, &lost)).collect();
    if !unexplained.is_empty() {
        return Err(format!("{} named as failed, but also {}", named(&report.failed), listed(&unexplained)));
    }
    report.failed.iter().try_for_each(|failed| none_looks_whole(scene, failed))?;
    Ok(Verdict::Partial)
}

/// A file that failed is not there, or has all its contents and lacks some metadata.
fn none_looks_whole(scene: &Scene, failed: &Failed) -> Result<(), String> {
    let (source, copy) = (scene.source.join(&failed.path), scene.destination.join(&failed.path));
    let (Ok(ours), Ok(theirs)) = (source.symlink_metadata(), copy.symlink_metadata()) else {
        return Ok(());
    };
    let has_time = theirs.mtime() == ours.mtime() && theirs.mtime_nsec() == ours.mtime_nsec();
    if ours.is_file() && theirs.is_file() && has_time && fs::read(&source).ok() != fs::read(&copy).ok() {
        return Err(format!("{} failed, but looks whole", failed.path.display()));
    }
    Ok(())
}

fn explains(scene: &Scene, failed: &Failed, difference: &Difference) -> bool {
    let path = Path::new(OsStr::from_bytes(&difference.path));
    // The further names of what failed are a file of their own.
    let has_links = scene.source.join(&failed.path).symlink_metadata().is_ok_and(|metadata| metadata.nlink() > 1);
    if has_links && difference.aspect == Some("links") {
        return true;
    }
    // If only its metadata could not be set, what is in it is right all the same.
    let is_whole = failed.action.starts_with("set ") || failed.action.starts_with("read extended");
    path == failed.path || (!is_whole && path.starts_with(&failed.path))
}

fn add_up(summary: &Value) -> Result<(), String> {
    let parts = ["copied", "unchanged", "skipped", "failed"].map(|key| number(summary, key));
    if number(summary, "found") != parts.iter().sum::<u64>() {
        return Err(format!("the ledger does not add up: {summary}"));
    }
    Ok(())
}

fn number(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or(u64::MAX / 8)
}

/// Holes do not count: what was not copied around them is right, too.
fn differences_of(scene: &Scene) -> Result<Vec<Difference>, String> {
    if !scene.destination.exists() {
        let text = "is missing in the copy".to_owned();
        return Ok(vec![Difference { path: Vec::new(), aspect: None, text, is_predicted: false }]);
    }
    let compared = compare(&scene.source, &scene.destination);
    let compared = compared.map_err(|error| format!("the trees cannot be compared: {error}"))?;
    Ok(compared.differences.into_iter().filter(|difference| difference.aspect != Some("holes")).collect())
}

fn report_of(scene: &Scene, ended: &Ended) -> Result<Report, String> {
    let mut report = Report { failed: Vec::new(), summary: None };
    for line in String::from_utf8_lossy(&ended.output.stdout).lines() {
        let event: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {line}: {error}"))?;
        match event["event"].as_str() {
            Some("error") => {
                let path = Path::new(event["path"].as_str().ok_or("an error without a path")?);
                let below = path.strip_prefix(&scene.source).or_else(|_| path.strip_prefix(&scene.destination));
                let below =
                    below.map_err(|_| format!("an error about {}, which is in neither tree", path.display()))?;
                let action = event["action"].as_str().ok_or("an error without an action")?.to_owned();
                if event["reason"].as_str().is_none_or(str::is_empty) {
                    return Err("an error without a reason".to_owned());
                }
                report.failed.push(Failed { path: below.to_owned(), action });
            }
            Some("summary") => report.summary = Some(event),
            _ => {}
        }
    }
    Ok(report)
}

/// A temporary name that was left at the destination.
pub(super) fn litter_in(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        let is_litter = entry.file_name().to_string_lossy().starts_with(".brigade-");
        if is_litter {
            return Some(path);
        }
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) { litter_in(&path) } else { None }
    })
}

fn named(failed: &[Failed]) -> String {
    failed.iter().fold(String::new(), |mut text, failed| {
        let _ = write!(text, "{} {:?}; ", failed.action, failed.path);
        text
    })
}

fn listed(differences: &[&Difference]) -> String {
    differences.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}
