//! What workers are at, as the kernel tells it of some of them at each look, so that the summary can say what limited a run.
//! When to look is decided in run.rs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::event::Limit;
use crate::lanes::Lanes;
use crate::procfs;

/// `O_TMPFILE` without the bit that says that a folder is opened.
const NAMELESS: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

/// So many workers are looked at each time: the next ones in turn.
const LOOKED_AT: usize = 8;

/// How often workers were found at what.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    n_seen: [AtomicU64; Limit::ALL.len()],
    turn: AtomicUsize,
}

impl Waits {
    /// Looks at some of those that have a task. That may take a while: the kernel is asked about each.
    pub(crate) fn look(&self, lanes: &Lanes) {
        let pids: Vec<u32> = lanes.signs().map(|(pid, _)| pid).collect();
        let turn = self.turn.fetch_add(LOOKED_AT, Ordering::Relaxed);
        for idx in 0..pids.len().min(LOOKED_AT) {
            let pid = pids[turn.wrapping_add(idx) % pids.len()];
            let told = |name| String::from_utf8(procfs::of_process(pid, name)).unwrap_or_default();
            if let Some(limit) = limit(&told(c"syscall"), &told(c"wchan")) {
                self.n_seen[limit as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What workers were at most often.
    pub(crate) fn most(&self) -> Option<Limit> {
        let n_seen = |limit: Limit| self.n_seen[limit as usize].load(Ordering::Relaxed);
        let most = Limit::ALL.into_iter().max_by_key(|&limit| n_seen(limit))?;
        (n_seen(most) > 0).then_some(most)
    }
}

/// What a worker is at: `call` is the number of the system call that it waits in and its arguments, `place` the function of the
/// kernel that waits. `None`: it cannot be said.
fn limit(call: &str, place: &str) -> Option<Limit> {
    let mut words = call.split_whitespace();
    let number = words.next()?;
    if number == "running" {
        return Some(Limit::Processor);
    }
    let flags = words.nth(2).and_then(|word| i32::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    let limit = match number.parse().ok()? {
        libc::SYS_syncfs | libc::SYS_fsync | libc::SYS_fdatasync => Limit::Disk,
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_getdents64 | libc::SYS_readlinkat => Limit::Source,
        // Both sides are looked at, but more often the source.
        libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_fstat => Limit::Source,
        libc::SYS_openat if flags? & (libc::O_CREAT | NAMELESS) == 0 => Limit::Source,
        libc::SYS_openat
        | libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_mkdirat
        | libc::SYS_mknodat
        | libc::SYS_symlinkat
        | libc::SYS_linkat
        | libc::SYS_renameat2
        | libc::SYS_unlinkat
        | libc::SYS_fchmod
        | libc::SYS_fchown
        | libc::SYS_utimensat
        | libc::SYS_fsetxattr
        | libc::SYS_ftruncate
        | libc::SYS_fallocate
        | libc::SYS_close => Limit::Destination,
        _ => return None,
    };
    // Who makes something in a folder has it alone.
    let is_for_folder = limit == Limit::Destination && place.starts_with("rwsem_down_write");
    Some(if is_for_folder { Limit::DestinationFolder } else { limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_waits_for_is_told_by_its_call() {
        let openat = |flags: i32| format!("{} 0x5 0x7ffd {flags:#x} 0x180 0x0 0x0 0x7ffd 0x7f11", libc::SYS_openat);
        assert_eq!(limit("running\n", "0"), Some(Limit::Processor));
        assert_eq!(limit(&openat(libc::O_RDONLY | libc::O_NOFOLLOW), "request_wait_answer"), Some(Limit::Source));
        assert_eq!(limit(&openat(libc::O_DIRECTORY | libc::O_PATH), "request_wait_answer"), Some(Limit::Source));
        assert_eq!(limit(&openat(libc::O_TMPFILE | libc::O_RDWR), "request_wait_answer"), Some(Limit::Destination));
        assert_eq!(limit(&openat(libc::O_CREAT | libc::O_EXCL), "request_wait_answer"), Some(Limit::Destination));
        assert_eq!(limit(&openat(libc::O_CREAT), "rwsem_down_write_slowpath"), Some(Limit::DestinationFolder));
        assert_eq!(limit(&format!("{} 0x5 0x0", libc::SYS_syncfs), "0"), Some(Limit::Disk));
        // Somebody who waits for work, for a page, or is gone.
        for nothing in [format!("{} 0x1 0x80", libc::SYS_futex), "-1 0x7ffd 0x7f11".to_owned(), String::new()] {
            assert_eq!(limit(&nothing, "0"), None);
        }
    }

    #[test]
    fn what_was_seen_most_often_is_told() {
        let waits = Waits::default();
        assert_eq!(waits.most(), None);
        waits.n_seen[Limit::Disk as usize].store(2, Ordering::Relaxed);
        waits.n_seen[Limit::Source as usize].store(3, Ordering::Relaxed);
        assert_eq!(waits.most(), Some(Limit::Source));
    }
}
