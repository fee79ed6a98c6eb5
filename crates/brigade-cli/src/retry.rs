//! `--retry-from`: takes a list of `--errors`, looks whether it belongs to the sources and the destination that were named, and
//! makes of it a request for exactly the entries that failed. How the list is written is in error_list.rs.

use std::path::Path;

use brigade_copy::{EntryName, Plan, Request, Target, shown};

use crate::error_list::{self, Listed, Unusable};
use crate::language::Language;
use crate::messages;
use crate::problem;

/// Makes of a request one for the entries in the list.
///
/// # Errors
/// The sentence that says why the list cannot be used.
pub fn apply(mut request: Request, path: &Path, language: Language) -> Result<Plan, String> {
    let text = shown(path).to_string();
    let listed = error_list::read(path).map_err(|unusable| match unusable {
        Unusable::Unread(cause) => messages::cannot_open_output(language, &text, &problem::reason(language, &cause)),
        Unusable::Malformed => messages::no_error_list(language, &text),
    })?;
    let other = || messages::other_error_list(language, &text);
    if let ([source], [only]) = (request.sources.as_slice(), listed.as_slice()) {
        request.target = place_of_before(&request.target, source, only).ok_or_else(other)?;
    }
    let plan = Plan::new(request).map_err(|refusal| problem::refusal(language, &refusal))?;
    let is_same = |listed: &Listed, (source, destination): (&Path, &Path)| {
        listed.source == error_list::exact(source) && listed.destination == error_list::exact(destination)
    };
    if plan.pairs().count() != listed.len() || !listed.iter().zip(plan.pairs()).all(|(one, pair)| is_same(one, pair)) {
        return Err(other());
    }
    let entries = listed
        .into_iter()
        .enumerate()
        .flat_map(|(source_idx, listed)| listed.failed.into_iter().map(move |path| EntryName { source_idx, path }));
    Ok(plan.only(entries.collect()))
}

/// The place that the first run chose for its one source: by now it may exist, and would be taken for a folder to copy into.
fn place_of_before(target: &Target, source: &Path, listed: &Listed) -> Option<Target> {
    let named = match target {
        Target::Beside { .. } => {
            let is_beside = listed.destination.parent() == error_list::exact(source).parent();
            return is_beside.then(|| Target::Exactly(listed.destination.clone()));
        }
        Target::Exactly(named) => return Some(Target::Exactly(named.clone())),
        Target::IntoOrAs(named) => named,
    };
    let inside = listed.destination.file_name().map(|name| named.join(name));
    [Some(named.clone()), inside]
        .into_iter()
        .flatten()
        .find(|place| error_list::exact(place) == listed.destination)
        .map(Target::Exactly)
}
