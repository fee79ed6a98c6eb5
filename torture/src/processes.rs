//! The processes around this one, as /proc tells. Nothing is done to them here.

use std::collections::HashSet;

/// What /proc tells of one process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// The number of its parent.
    pub parent_pid: u32,
    /// The number of its process group.
    pub group: u32,
    /// Its name.
    pub name: String,
    /// Its state as a letter: R, S, D, Z, T, t.
    pub state: char,
}

impl ProcessInfo {
    /// What /proc tells; `None` if there is no such process any more.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, so it is taken from its parentheses.
        let (begin, rest) = stat.rsplit_once(") ")?;
        let (_, name) = begin.split_once(" (")?;
        let mut words = rest.split(' ');
        Some(Self {
            pid,
            name: name.to_owned(),
            state: words.next()?.chars().next()?,
            parent_pid: words.next()?.parse().ok()?,
            group: words.next()?.parse().ok()?,
        })
    }
}

/// Whether a process exists and has not ended: an orphan stays a zombie for as long as its new parent likes.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    ProcessInfo::of(pid).is_some_and(|process| !matches!(process.state, 'Z' | 'X'))
}

/// All descendants of this process, and its [`orphans`].
#[must_use]
pub fn family() -> Vec<ProcessInfo> {
    let all = all();
    let me = std::process::id();
    let mut descendants = HashSet::from([me]);
    loop {
        let n_before = descendants.len();
        let children = all.iter().filter(|process| descendants.contains(&process.parent_pid));
        let children: Vec<u32> = children.map(|process| process.pid).collect();
        descendants.extend(children);
        if descendants.len() == n_before {
            break;
        }
    }
    let orphans: HashSet<u32> = orphans().into_iter().map(|process| process.pid).collect();
    let is_ours = |process: &ProcessInfo| descendants.contains(&process.pid) || orphans.contains(&process.pid);
    all.into_iter().filter(|process| process.pid != me && is_ours(process)).collect()
}

/// What must once have been a descendant: processes of the same program and the same process group that have lost their parent.
#[must_use]
pub fn orphans() -> Vec<ProcessInfo> {
    let me = std::process::id();
    let (program, own) = (program_of(me), ProcessInfo::of(me));
    // A program that was started in the background and left alone has lost its parent too; what it started is no orphan's.
    let ancestors: Vec<u32> = std::iter::successors(Some(me), |&pid| Some(ProcessInfo::of(pid)?.parent_pid)).collect();
    let is_orphan = |process: &ProcessInfo| {
        let is_lost = process.parent_pid <= 1 && !ancestors.contains(&process.pid);
        is_lost && own.as_ref().is_some_and(|own| own.group == process.group) && program_of(process.pid) == program
    };
    all().into_iter().filter(is_orphan).collect()
}

/// The memory that all processes of a group have in use: the sum of their proportional set sizes, in which what several share
/// counts once. A process that ends meanwhile has none.
#[must_use]
pub fn group_memory_bytes(group: u32) -> u64 {
    group_bytes(group, &["Pss:"])
}

/// Likewise, without the files that are mapped, such as the program itself: what of those counts here depends on who else
/// runs it.
#[must_use]
pub fn group_data_bytes(group: u32) -> u64 {
    group_bytes(group, &["Pss_Anon:", "Pss_Shmem:"])
}

fn group_bytes(group: u32, rows: &[&str]) -> u64 {
    let members = all().into_iter().filter(|process| process.group == group);
    members.filter_map(|process| bytes_of(process.pid, rows)).sum()
}

fn bytes_of(pid: u32, rows: &[&str]) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let lines = rollup.lines().filter_map(|line| rows.iter().find_map(|row| line.strip_prefix(row)));
    let kibibytes = lines.filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>();
    Some(kibibytes << 10)
}

fn all() -> Vec<ProcessInfo> {
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(ProcessInfo::of).collect()
}

fn program_of(pid: u32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}
