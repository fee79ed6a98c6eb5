//! What /proc tells of a process: its state, and what it uses.

use std::time::Duration;

/// Processor time in clock ticks.
pub(crate) type Ticks = u64;

/// State and processor time of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Look {
    pub(crate) letter: u8,
    pub(crate) ticks: Ticks,
    n_threads: u64,
}

/// What a process uses, over all its threads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    /// Processor time so far, in user and kernel mode.
    pub cpu_time: Duration,
    /// Memory that is resident now.
    pub resident_bytes: u64,
    /// Threads.
    pub n_threads: u64,
    /// Open descriptors.
    pub n_open_files: u64,
}

/// Looks at a process; `None` if there is none of that number.
pub(crate) fn look(pid: u32) -> Option<Look> {
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) letter …`: the name may contain anything, so fields are counted from the last parenthesis.
fn parse_stat(stat: &[u8]) -> Option<Look> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(stat.get(after_name..)?).ok()?.split_ascii_whitespace().collect();
    let number = |idx: usize| fields.get(idx)?.parse::<u64>().ok();
    let letter = *fields.first()?.as_bytes().first()?;
    Some(Look { letter, ticks: number(11)? + number(12)?, n_threads: number(17)? })
}

/// What a process uses; `None` if there is none of that number.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let look = look(pid)?;
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let n_resident_pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Some(Usage {
        cpu_time: Duration::from_millis(look.ticks * 1000 / ticks_per_second),
        resident_bytes: n_resident_pages * rustix::param::page_size() as u64,
        n_threads: look.n_threads,
        n_open_files: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = b"12 (a) R) 1 2) S 1 12 12 0 -1 4194304 1 2 3 4 50 7 0 0 20 0 3 0 100 1 1 1\n";
        assert_eq!(parse_stat(stat), Some(Look { letter: b'S', ticks: 57, n_threads: 3 }));
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.n_threads >= 1 && usage.resident_bytes > 0 && usage.n_open_files >= 1);
    }
}
