//! Has another process look first at every place that is named, where there are mounts that may not answer: who asks a dead mount
//! waits for ever, and cannot even be killed. This works by path as plan.rs does. What is found there is not looked at here: see
//! identity.rs.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brigade::{Pool, Task, TaskError};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, fstatvfs, openat, statat};

use super::place;
use crate::error::Refusal;
use crate::names::Bytes;
use crate::procfs;
use crate::pulse::Pulse;
use crate::run::process::let_go_of_standard_streams;
use crate::selection::Links;

/// File systems of networks and of other processes, whose answer is somebody else's business.
const DOUBTFUL: [&str; 18] = [
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "fuse", "fuseblk", "gfs2", "gpfs", "lustre", "nfs",
    "nfs4", "ocfs2", "orangefs", "smb3", "virtiofs",
];

/// Looks at one place at most, if the process that looks is killed.
const MAX_LOOKS: u32 = 4;

/// Looks at all places that are named, in a process that can be left behind. Nothing is done, and costs nothing worth mentioning,
/// where nobody is impatient or all mounts are of kinds that answer. A link that is kept is looked at itself, so nobody looks where it
/// leads.
pub(crate) fn send_ahead<'a>(
    places: impl IntoIterator<Item = (&'a PathBuf, Links)>,
    stall_timeout: Option<Duration>,
) -> Result<(), Refusal> {
    let Some(timeout) = stall_timeout.filter(|_| is_any_mount_doubtful()) else {
        return Ok(());
    };
    let pool = Pool::new(1).map_err(|error| Refusal::Workers(error.into()))?;
    for (path, links) in places {
        let refused = |error: TaskError| Refusal::Workers(error.into());
        let named = Bytes(path.as_os_str().as_bytes().to_vec());
        let begin = || pool.apply_async((named.clone(), links != Links::Keep), look);
        let mut n_left = MAX_LOOKS;
        loop {
            n_left -= 1;
            let task = begin().map_err(|error| refused(error.into()))?;
            match wait(&pool, task, timeout, path)? {
                // Whoever killed it did not mean to refuse the copy.
                Err(TaskError::Killed { .. }) if n_left > 0 => {}
                looked => break looked.map_err(refused)?,
            }
        }
    }
    Ok(())
}

/// Waits for the look at one place, as long as something moves.
fn wait(pool: &Pool, mut task: Task<()>, timeout: Duration, path: &Path) -> Result<Result<(), TaskError>, Refusal> {
    let step = (timeout / 8).min(Duration::from_secs(1));
    let mut pulse = Pulse::default();
    loop {
        task = match task.get_timeout(step) {
            Ok(looked) => return Ok(looked),
            Err(task) => task,
        };
        let Some(pid) = task.worker_pid() else { continue };
        pulse.feel(pid, step);
        if pulse.silent_for >= timeout && pool.abandon(pid) {
            return Err(Refusal::NoAnswer { path: path.to_owned(), pid });
        }
    }
}

/// Asks for everything that is asked for later; the answers do not matter.
fn look((path, follows): (Bytes, bool)) {
    let_go_of_standard_streams();
    let path = Path::new(std::ffi::OsStr::from_bytes(&path.0));
    let above = place::or_here(path.parent().unwrap_or(path));
    for (place, follows) in [(above, true), (path, follows)] {
        let _ = statat(CWD, place, AtFlags::SYMLINK_NOFOLLOW);
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if follows {
            let _ = statat(CWD, place, AtFlags::empty());
        } else {
            flags |= OFlags::NOFOLLOW;
        }
        if let Ok(folder) = openat(CWD, place, flags, Mode::empty()) {
            let _ = fstatvfs(&folder);
            let _ = Dir::read_from(&folder).map(|mut listing| listing.next());
        }
    }
}

/// Whether a file system is mounted anywhere that may not answer. Where the kernel does not tell, none is.
pub(crate) fn is_any_mount_doubtful() -> bool {
    let mounts = procfs::read(c"/proc/self/mountinfo");
    mounts.split(|&byte| byte == b'\n').filter_map(kind_of).any(is_doubtful)
}

/// The type of the file system in a line of mountinfo: what comes after a lonely dash.
fn kind_of(line: &[u8]) -> Option<&str> {
    let mut words = line.split(|&byte| byte == b' ').skip_while(|word| *word != b"-");
    std::str::from_utf8(words.nth(1)?).ok()
}

fn is_doubtful(kind: &str) -> bool {
    DOUBTFUL.contains(&kind) || kind.starts_with("fuse.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_networks_and_of_other_processes_are_doubtful() {
        let line = b"36 35 98:0 / /mnt/a rw,noatime master:1 - fuse.sshfs host:/ rw";
        assert_eq!(kind_of(line), Some("fuse.sshfs"));
        assert_eq!(kind_of(b"36 35 98:0 / /mnt/- rw - ext4 /dev/root rw"), Some("ext4"));
        assert_eq!(kind_of(b""), None);
        for kind in ["fuse.sshfs", "fuse", "nfs4", "cifs"] {
            assert!(is_doubtful(kind), "{kind}");
        }
        for kind in ["ext4", "tmpfs", "fusectl", "proc", "btrfs"] {
            assert!(!is_doubtful(kind), "{kind}");
        }
    }
}
