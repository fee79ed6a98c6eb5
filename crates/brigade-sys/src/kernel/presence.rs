//! Says that somebody is at work in a folder, and asks whether somebody else is: by read locks on it, which end with the descriptor.
//!
//! These are locks of the *open file description*, so two users of a folder in one process see each other. Nobody can have a
//! folder open for writing, so nobody can have a write lock on it, and a read lock is never refused and never waited for. Asking
//! takes no lock, so those who ask do not get into each other's way.

use std::io;
use std::os::fd::BorrowedFd;

use super::liveness::{call, record};

/// Shows to others that somebody is at work in this folder, for as long as this open file description lasts. Never waits.
///
/// # Errors
/// `ENOLCK`, `EINVAL` where there are no such locks; `EBADF` if it is not open for reading.
pub fn show(folder: BorrowedFd<'_>) -> io::Result<()> {
    call(folder, libc::F_OFD_SETLK, &mut record(libc::F_RDLCK, 0))
}

/// Whether somebody shows, by another open file description, to be at work in this folder. Never waits.
///
/// # Errors
/// `EINVAL` where there are no such locks, `EBADF`.
pub fn is_shown_by_others(folder: BorrowedFd<'_>) -> io::Result<bool> {
    let mut record = record(libc::F_WRLCK, 0);
    call(folder, libc::F_OFD_GETLK, &mut record)?;
    Ok(libc::c_int::from(record.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn who_is_in_a_folder_is_seen_by_others_until_the_descriptor_is_closed() {
        let folder = std::env::temp_dir().join(format!("brigade-presence-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let open = || File::open(&folder).unwrap();
        let (first, second, third) = (open(), open(), open());
        show(first.as_fd()).unwrap();
        assert!(!is_shown_by_others(first.as_fd()).unwrap());
        assert!(is_shown_by_others(third.as_fd()).unwrap());
        show(second.as_fd()).unwrap();
        assert!(is_shown_by_others(first.as_fd()).unwrap());
        drop(second);
        assert!(!is_shown_by_others(first.as_fd()).unwrap());
        drop(first);
        assert!(!is_shown_by_others(third.as_fd()).unwrap());
        std::fs::remove_dir(&folder).unwrap();
    }
}
