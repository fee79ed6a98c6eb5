//! Whether the kernel killed something of our control group for lack of memory: a hint beside a SIGKILL.

use std::path::PathBuf;

/// Counts kills for lack of memory in the control group of this process.
#[derive(Debug)]
pub(crate) struct Counter {
    file: Option<PathBuf>,
    n_kills: u64,
}

impl Counter {
    pub(crate) fn new() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = files(&groups).into_iter().find(|file| file.exists());
        let mut counter = Self { file, n_kills: 0 };
        counter.n_kills = counter.read();
        counter
    }

    /// Whether there was a kill since the last call.
    pub(crate) fn has_grown(&mut self) -> bool {
        let n_kills = self.read();
        n_kills > std::mem::replace(&mut self.n_kills, n_kills)
    }

    fn read(&self) -> u64 {
        let text = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        n_kills_in(&text)
    }
}

fn n_kills_in(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// Where the counter may be, from the contents of /proc/self/cgroup: `hierarchy:controllers:/path`.
fn files(groups: &str) -> Vec<PathBuf> {
    let parts = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    });
    parts
        .filter_map(|(controllers, path)| {
            if controllers.is_empty() {
                Some(format!("/sys/fs/cgroup{path}/memory.events").into())
            } else if controllers.split(',').any(|controller| controller == "memory") {
                Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control").into())
            } else {
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_control_groups_are_found() {
        let found = files("5:memory,cpu:/a\n1:name=systemd:/b\n0::/c d\n");
        assert_eq!(
            found,
            [PathBuf::from("/sys/fs/cgroup/memory/a/memory.oom_control"), "/sys/fs/cgroup/c d/memory.events".into()]
        );
    }

    #[test]
    fn kills_are_told_from_other_lines() {
        assert_eq!(n_kills_in("low 0\noom 3\noom_kill 2\noom_group_kill 9\n"), 2);
        assert_eq!(n_kills_in(""), 0);
    }
}
