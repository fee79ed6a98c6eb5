//! Which entries the options select: rules in the order in which they were typed, with those from files among them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use brigade_copy::{BadList, Choice, Depth, IgnoreFiles, Lines, Links, Mounts, NameList, Rules, Selection, shown};

use crate::arguments::{CopyArguments, WhatArguments};
use crate::exit::Exit;
use crate::language::Language;
use crate::messages;
use crate::problem;
use crate::usage;

/// The selection that the options ask for.
///
/// # Errors
/// A file cannot be read or a rule is none, which has been said.
pub fn read(arguments: &CopyArguments, language: Language) -> Result<Selection, Exit> {
    let what = &arguments.what;
    Ok(Selection {
        list: names(arguments, language)?,
        rules: rules(arguments, language)?,
        ignore_files: if what.gitignore { IgnoreFiles::Obey } else { IgnoreFiles::Disregard },
        mounts: if what.one_file_system { Mounts::LeaveEmpty } else { Mounts::Enter },
        links: links(what),
    })
}

fn links(what: &WhatArguments) -> Links {
    if what.dereference {
        Links::Follow
    } else if what.dereference_sources {
        Links::FollowSources
    } else {
        Links::Keep
    }
}

fn lines(what: &WhatArguments) -> Lines {
    if what.from0 { Lines::ZeroEnded } else { Lines::Text }
}

fn names(arguments: &CopyArguments, language: Language) -> Result<Option<NameList>, Exit> {
    let Some(file) = &arguments.what.files_from else {
        return Ok(None);
    };
    let is_stdin = |(name, value): &(String, Option<OsString>)| {
        name == "exclude-from" && value.as_deref() == Some(OsStr::new("-"))
    };
    if file.as_os_str() == "-" && arguments.given.options.iter().any(is_stdin) {
        return Err(usage::refuse(language, &messages::standard_input_twice(language)));
    }
    let depth = if arguments.habits.recursive { Depth::Whole } else { Depth::Shallow };
    let read = NameList::new(&contents(file.as_os_str(), language)?, lines(&arguments.what), depth);
    let text = |name: Vec<u8>| shown(Path::new(OsStr::from_bytes(&name))).to_string();
    read.map(Some).map_err(|bad| {
        usage::refuse_plainly(&match bad {
            BadList::Upwards(name) => messages::listed_upwards(language, &text(name)),
            BadList::ZeroByte(name) => messages::listed_zero_byte(language, &text(name)),
            BadList::Memory(cause) => {
                let sentence = messages::unreadable_list(language, &shown(file).to_string());
                format!("{sentence}: {cause}")
            }
        })
    })
}

fn rules(arguments: &CopyArguments, language: Language) -> Result<Rules, Exit> {
    let mut rules = Rules::default();
    let lines = lines(&arguments.what);
    for (name, value) in &arguments.given.options {
        let Some(value) = value else { continue };
        let added = match name.as_str() {
            "exclude" => rules.add(Choice::Exclude, value.as_bytes()),
            "include" => rules.add(Choice::Include, value.as_bytes()),
            "exclude-from" => rules.add_file(Choice::Exclude, &contents(value, language)?, lines),
            _ => Ok(()),
        };
        if added.is_err() {
            return Err(usage::refuse(language, &messages::no_pattern(language, name, &shown(value).to_string())));
        }
    }
    Ok(rules)
}

/// What is in a file; `-` is standard input.
fn contents(file: &OsStr, language: Language) -> Result<Vec<u8>, Exit> {
    let mut contents = Vec::new();
    let read =
        if file == "-" { io::stdin().lock().read_to_end(&mut contents).map(|_| contents) } else { std::fs::read(file) };
    read.map_err(|cause| {
        let sentence = messages::unreadable_list(language, &shown(file).to_string());
        usage::refuse_plainly(&format!("{sentence}: {}", problem::reason(language, &cause)))
    })
}
