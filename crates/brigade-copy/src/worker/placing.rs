//! Puts a finished entry from its temporary name under its own, and gets out of its way what is there: by renaming it to the
//! name of a backup, or by removing it. Whether it may go there is decided in existing.rs, how a folder is removed in emptying.rs.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::committing::is_unfinished;
use super::{Flaw, Spot, Worker};
use crate::calls::{self, renameat, statat, unlinkat};
use crate::error::Action;
use crate::names::Kind;
use crate::request::Backup;
use crate::task::Prior;

/// What came of putting an entry in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Placed {
    /// It is there.
    There,
    /// Something has come between; the entry is removed.
    Taken,
    /// The order to stop came; the entry is removed.
    Stopped,
}

/// How the place of an entry was made free.
#[derive(Debug)]
pub(super) enum Way {
    /// A rename does the rest.
    Free,
    /// What was there has this name now.
    BackedUp(CString),
    /// It was not: what is there is something else by now.
    Taken,
    /// The order to stop came first.
    Stopped,
}

impl Worker {
    /// Puts an entry in the place of what is there.
    ///
    /// A worker that dies on the way leaves what was there under its own name or under that of the backup. Whoever does its
    /// task again makes no second backup: what this run has put under the name is known as its own.
    pub(super) fn put_in_place(&mut self, spot: &Spot<'_>, temporary: &CStr, prior: Prior) -> Result<Placed, Flaw> {
        let folder = &spot.here.destination;
        let placed = self.make_way(spot, prior).and_then(|way| match way {
            Way::Free => rename(folder, temporary, spot.destination_name()),
            Way::Taken => Ok(Placed::Taken),
            Way::Stopped => Ok(Placed::Stopped),
            Way::BackedUp(backup) => rename(folder, temporary, spot.destination_name()).inspect_err(|_| {
                // It is not lost under the other name; that it has its own again is a courtesy.
                let _ = rename_to_free_name(folder, &backup, spot.destination_name());
            }),
        });
        if !matches!(placed, Ok(Placed::There)) {
            let _ = unlinkat(folder, temporary, AtFlags::empty());
        }
        placed
    }

    /// Gets what is there out of the way, as far as a rename over it would not do.
    pub(super) fn make_way(&mut self, spot: &Spot<'_>, prior: Prior) -> Result<Way, Flaw> {
        match prior {
            Prior::Before(_) if self.facts.policy.backup != Backup::Never => self.back_up(spot),
            Prior::Before(Kind::Folder) => self.remove_folder(spot),
            Prior::Unfinished if is_finished(&spot.here.destination, spot.destination_name()) => Ok(Way::Taken),
            Prior::Before(_) | Prior::Ours | Prior::Unfinished | Prior::Nothing => Ok(Way::Free),
        }
    }

    /// Renames what is there to the name of a backup, which replaces an older backup of that name as in `cp`.
    fn back_up(&self, spot: &Spot<'_>) -> Result<Way, Flaw> {
        let (folder, name) = (&spot.here.destination, spot.destination_name());
        let last = spot.here.last_numbered_backup(name);
        let renamed = match self.simple_backup_name(spot, last) {
            Some(backup) => renameat(folder, name, folder, backup.as_c_str()).map(|()| backup),
            None => rename_to_next_number(folder, name, last.unwrap_or(0)).map(|(backup, number)| {
                spot.here.note_numbered_backup(name, number);
                backup
            }),
        };
        match renamed {
            Ok(backup) => Ok(Way::BackedUp(backup)),
            Err(Errno::NOENT) => Ok(Way::Free),
            Err(errno) => Err(Flaw::new(Action::BackUp, errno)),
        }
    }

    /// The name of a backup with a suffix. `None` where it is to have a number, and where the source has an entry of that
    /// name: the copy of that one, which may be there already, must not be lost to a backup.
    fn simple_backup_name(&self, spot: &Spot<'_>, last_numbered: Option<u64>) -> Option<CString> {
        let suffix = match &self.facts.policy.backup {
            Backup::Simple { suffix } => suffix,
            Backup::Existing { suffix } if last_numbered.is_none() => suffix,
            Backup::Existing { .. } | Backup::Numbered | Backup::Never => return None,
        };
        let backup = with_suffix(spot.destination_name(), suffix);
        let is_in_source = statat(&spot.here.source, backup.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
        (!is_in_source).then_some(backup)
    }
}

/// Whether something whole is where a run had left something unfinished: that run was under way, or another came between.
fn is_finished(folder: &OwnedFd, name: &CStr) -> bool {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|present| !is_unfinished(&present))
}

/// Puts an entry where nothing is, and replaces nothing.
pub(super) fn put_where_nothing_is(folder: &OwnedFd, temporary: &CStr, name: &CStr) -> Result<Placed, Flaw> {
    match rename_to_free_name(folder, temporary, name) {
        Ok(()) => Ok(Placed::There),
        Err(errno) => {
            let _ = unlinkat(folder, temporary, AtFlags::empty());
            if errno == Errno::EXIST { Ok(Placed::Taken) } else { Err(Flaw::new(Action::Rename, errno)) }
        }
    }
}

/// The highest numbers of backups in a folder, by the names that they are backups of.
#[derive(Debug, Default)]
pub(super) struct NumberedBackups {
    highest: HashMap<Vec<u8>, u64>,
}

impl NumberedBackups {
    /// What is in a folder. One that cannot be read is taken for one without: a number that is taken is found out.
    pub(super) fn in_folder(folder: &OwnedFd) -> Self {
        let mut backups = Self::default();
        if let Ok(entries) = Dir::read_from(folder) {
            for entry in entries.flatten() {
                if let Some((name, number)) = split_numbered(entry.file_name().to_bytes()) {
                    backups.note(name, number);
                }
            }
        }
        backups
    }

    pub(super) fn last(&self, name: &CStr) -> Option<u64> {
        self.highest.get(name.to_bytes()).copied()
    }

    pub(super) fn note(&mut self, name: &[u8], number: u64) {
        let highest = self.highest.entry(name.to_vec()).or_default();
        *highest = number.max(*highest);
    }
}

/// Takes `NAME.~N~` apart.
pub(super) fn split_numbered(backup: &[u8]) -> Option<(&[u8], u64)> {
    let rest = backup.strip_suffix(b"~")?;
    let tilde = rest.iter().rposition(|&byte| byte == b'~')?;
    let (name, digits) = (rest[..tilde].strip_suffix(b".")?, &rest[tilde + 1..]);
    let is_number = digits.first().is_some_and(|&first| first != b'0') && digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number && !name.is_empty())?.parse().ok()?;
    Some((name, number))
}

/// Two copiers may look for the next number at the same time, so what counts is which one is free when it is taken.
fn rename_to_next_number(folder: &OwnedFd, name: &CStr, last: u64) -> Result<(CString, u64), Errno> {
    let mut number = last;
    loop {
        number = number.checked_add(1).ok_or(Errno::OVERFLOW)?;
        let backup = with_suffix(name, format!(".~{number}~").as_bytes());
        match rename_to_free_name(folder, name, &backup) {
            Err(Errno::EXIST) => {}
            renamed => return renamed.map(|()| (backup, number)),
        }
    }
}

fn with_suffix(name: &CStr, suffix: &[u8]) -> CString {
    CString::new([name.to_bytes(), suffix].concat())
        .expect("a name and a suffix that was an argument hold no zero byte")
}

fn rename(folder: &OwnedFd, from: &CStr, to: &CStr) -> Result<Placed, Flaw> {
    renameat(folder, from, folder, to).map(|()| Placed::There).map_err(|errno| Flaw::new(Action::Rename, errno))
}

/// Renames within a folder; `EXIST` if the new name is taken.
fn rename_to_free_name(folder: &OwnedFd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    match calls::rename_to_free_name(folder, from, folder, to) {
        // Some file systems do not know the flag. Then a look must do.
        Err(Errno::INVAL | Errno::NOSYS) => match statat(folder, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(folder, from, folder, to),
            Err(errno) => Err(errno),
        },
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_backup_is_told_by_its_name() {
        for (name, wanted) in [
            ("a.~1~", Some(("a", 1))),
            ("a.~1~.~12~", Some(("a.~1~", 12))),
            ("a~", None),
            ("a.~~", None),
            ("a.~01~", None),
            ("a.~1", None),
            ("a~1~", None),
            (".~1~", None),
            ("a.~99999999999999999999999~", None),
        ] {
            let wanted = wanted.map(|(name, number): (&str, u64)| (name.as_bytes(), number));
            assert_eq!(split_numbered(name.as_bytes()), wanted, "{name}");
        }
    }
}
