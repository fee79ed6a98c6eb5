//! What the arguments say about what is at the destination already, and the environment about backups, as for `cp`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use brigade_copy::{Backup, Existing, Newer, Policy, Sameness, TypeChange, Writing, shown};
use rustix::termios::isatty;

use crate::arguments::PolicyArguments;
use crate::exit::Exit;
use crate::language::Language;
use crate::messages;
use crate::usage;

/// The words for kinds of backups; `cp` takes what begins one of them and no other.
const CONTROLS: [(&str, Control); 8] = [
    ("none", Control::None),
    ("off", Control::None),
    ("simple", Control::Simple),
    ("never", Control::Simple),
    ("existing", Control::Existing),
    ("nil", Control::Existing),
    ("numbered", Control::Numbered),
    ("t", Control::Numbered),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Control {
    None,
    Simple,
    Existing,
    Numbered,
}

/// The policy that was asked for.
///
/// # Errors
/// It contradicts itself, or nobody could be asked; that has been said.
pub fn of(arguments: &PolicyArguments, language: Language) -> Result<Policy, Exit> {
    let refused = |sentence: String| usage::refuse(language, &sentence);
    let has_backup = arguments.backup.is_some() || arguments.suffix.is_some();
    if arguments.no_clobber && has_backup {
        let option = if arguments.backup.is_some() { "--backup" } else { "--suffix" };
        return Err(refused(messages::not_together(language, option, "--no-clobber")));
    }
    let is_asked = arguments.interactive && !arguments.dry_run;
    if is_asked && !(isatty(io::stdin()) && isatty(io::stderr())) {
        return Err(refused(messages::nobody_to_ask_about_files(language)));
    }
    let environment = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let backup = match has_backup {
        true => backup(arguments, environment, language).map_err(refused)?,
        false => Backup::Never,
    };
    Ok(Policy {
        existing: match (arguments.no_clobber, arguments.interactive) {
            (true, _) => Existing::Keep,
            (_, true) => Existing::Ask,
            _ => Existing::Replace,
        },
        newer: if arguments.update { Newer::Keep } else { Newer::Replace },
        sameness: match (arguments.checksum, arguments.ignore_times) {
            (true, _) => Sameness::Contents,
            (_, true) => Sameness::Never,
            _ => Sameness::SizeAndTime,
        },
        type_change: if arguments.force { TypeChange::Allowed } else { TypeChange::Refused },
        backup,
        writing: if arguments.dry_run { Writing::Rehearsed } else { Writing::Real },
    })
}

/// The kind of backup; the error is the sentence that says what is wrong.
fn backup(
    arguments: &PolicyArguments,
    environment: impl Fn(&str) -> Option<OsString>,
    language: Language,
) -> Result<Backup, String> {
    let typed = arguments.backup.as_deref().filter(|control| !control.is_empty());
    let control = match (typed, environment("VERSION_CONTROL")) {
        (Some(word), _) => control(word).ok_or_else(|| bad_control(language, word))?,
        (None, Some(word)) => {
            control(&word).ok_or_else(|| messages::bad_version_control(language, &shown(&word).to_string()))?
        }
        (None, None) => Control::Existing,
    };
    let suffix = match (&arguments.suffix, environment("SIMPLE_BACKUP_SUFFIX")) {
        (Some(suffix), _) if !is_suffix(suffix) => {
            return Err(messages::bad_suffix(language, &shown(suffix).to_string()));
        }
        (Some(suffix), _) => suffix.clone(),
        (None, Some(suffix)) if is_suffix(&suffix) => suffix,
        _ => "~".into(),
    };
    let suffix = suffix.as_bytes().to_vec();
    Ok(match control {
        Control::None => Backup::Never,
        Control::Simple => Backup::Simple { suffix },
        Control::Existing => Backup::Existing { suffix },
        Control::Numbered => Backup::Numbered,
    })
}

fn bad_control(language: Language, word: &OsStr) -> String {
    let sentence = messages::bad_value(language, "--backup", &shown(word).to_string());
    let values: Vec<&str> = CONTROLS.iter().map(|(name, _)| *name).collect();
    let hint = messages::possible_values(language, &values.join(", "));
    format!("{sentence}{}{hint}", messages::semicolon(language))
}

/// What a word, or its beginning, means; nothing where it could mean several things.
fn control(word: &OsStr) -> Option<Control> {
    let word = word.to_str()?;
    if let Some((_, control)) = CONTROLS.iter().find(|(name, _)| *name == word) {
        return Some(*control);
    }
    let mut meant = CONTROLS.iter().filter(|(name, _)| name.starts_with(word)).map(|(_, control)| *control);
    let first = meant.next()?;
    meant.all(|other| other == first).then_some(first)
}

fn is_suffix(suffix: &OsStr) -> bool {
    !suffix.is_empty() && !suffix.as_bytes().contains(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_backup_may_be_abbreviated_as_for_cp() {
        for (word, wanted) in [
            ("t", Some(Control::Numbered)),
            ("num", Some(Control::Numbered)),
            ("never", Some(Control::Simple)),
            ("nev", Some(Control::Simple)),
            ("nil", Some(Control::Existing)),
            ("o", Some(Control::None)),
            ("n", None),
            ("numberedx", None),
        ] {
            assert_eq!(control(OsStr::new(word)), wanted, "{word}");
        }
    }
}
