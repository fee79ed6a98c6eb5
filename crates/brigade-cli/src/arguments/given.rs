//! The options of a command line as they were typed, in their order, so that another command can repeat them.

use std::ffi::OsString;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Arguments that say what goes where, which a command that goes on names anew, and habits that change nothing and have no long name.
const NOT_REPEATED: [&str; 5] = ["paths", "no_target_directory", "target_directory", "usual", "links"];

/// The options as they were typed, without sources and destination.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The argument's name, and its value if it takes one.
    pub options: Vec<(String, Option<OsString>)>,
}

impl Given {
    /// What was found in the arguments of a command.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let mut found = Vec::new();
        for id in matches.ids().map(clap::Id::as_str) {
            let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
            // Groups have a name of their own here, but no values.
            let (Ok(Some(values)), Some(indices)) = (matches.try_get_raw(id), matches.indices_of(id)) else {
                continue;
            };
            if is_typed && !NOT_REPEATED.contains(&id) {
                found.extend(indices.zip(values).map(|(index, value)| (index, id, value)));
            }
        }
        found.sort_by_key(|(index, ..)| *index);
        let options = found.into_iter().map(|(_, id, value)| {
            // A flag has the value that clap made up for it.
            let value = matches.try_get_one::<bool>(id).is_err().then(|| value.to_owned());
            (id.replace('_', "-"), value)
        });
        Self { options: options.collect() }
    }
}
