//! What a process has of the system before and after: processes, descriptors, mappings, threads, names. A test that takes a
//! [`Guard`] fails if anything is left behind. What is inside of shared objects is not looked at, only how much memory they take.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long what was let go of may take to be gone.
const GRACE: Duration = Duration::from_secs(1);
/// Shared memory that tables may have grown by.
const GROWTH_BYTES: u64 = 256 << 10;

/// What a process gets at the first need and keeps, and how many of it there are at most.
const KEPT: [(&str, usize); 9] = [
    ("thread brigade", 1),
    ("thread brigade-keeper", 1),
    ("descriptor /memfd:brigade (deleted)", 1),
    ("descriptor /memfd:brigade-alive (deleted)", 1),
    ("descriptor anon_inode:[eventfd]", 1),
    ("descriptor anon_inode:[eventpoll]", 2),
    ("mapping /memfd:brigade (deleted)", 1),
    ("descriptor /dev/urandom", 1),
    ("descriptor anon_inode:[pidfd]", 1),
];

/// Takes the inventory when made, and again when dropped; panics with the difference if something was left behind.
///
/// The inventory is that of the whole process, so tests with a guard run one after another; others beside them in the same
/// program must leave it as it is.
#[must_use]
pub struct Guard {
    before: Inventory,
    is_checked: Cell<bool>,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Guard {
    /// Takes the inventory.
    #[expect(clippy::new_without_default, reason = "a guard is made for what it does")]
    pub fn new() -> Self {
        // A test that failed under its guard has told so itself.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { before: Inventory::take(), is_checked: Cell::new(false), _turn: turn }
    }

    /// What is left behind now, once it has had a second to go. Dropping the guard then says nothing more.
    ///
    /// # Errors
    /// [`Leaks`] tells what.
    pub fn check(&self) -> Result<(), Leaks> {
        self.is_checked.set(true);
        self.check_within(GRACE)
    }

    fn check_within(&self, grace: Duration) -> Result<(), Leaks> {
        let start = Instant::now();
        loop {
            let leaks = Inventory::take().since(&self.before);
            if leaks.0.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= grace {
                return Err(leaks);
            }
            // What /proc shows is told to nobody.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_checked.get() || std::thread::panicking() {
            return;
        }
        if let Err(leaks) = self.check() {
            panic!("{leaks}");
        }
    }
}

/// What was left behind, one line each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaks(Vec<String>);

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left behind:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for Leaks {}

/// What there is: each thing by what it is, and the names of those that are it.
#[derive(Debug)]
struct Inventory {
    things: BTreeMap<String, BTreeSet<String>>,
    shared_bytes: u64,
}

impl Inventory {
    fn take() -> Self {
        let mut inventory = Self { things: BTreeMap::new(), shared_bytes: 0 };
        inventory.processes();
        inventory.descriptors();
        inventory.mappings();
        inventory.threads();
        inventory.names();
        inventory
    }

    fn add(&mut self, thing: impl Into<String>, name: impl Into<String>) {
        self.things.entry(thing.into()).or_default().insert(name.into());
    }

    /// Descendants, and orphans: processes of this program and this process group that have lost their parent.
    fn processes(&mut self) {
        for process in crate::processes::family() {
            self.add(format!("process {} ({})", process.name, process.state), process.pid.to_string());
        }
    }

    fn descriptors(&mut self) {
        for number in entries("/proc/self/fd") {
            let path = Path::new("/proc/self/fd").join(&number);
            // The one through which the folder is being listed is gone by now.
            let Ok(target) = std::fs::read_link(&path) else { continue };
            let target = target.to_string_lossy().into_owned();
            if target.starts_with("/memfd:brigade ") {
                self.shared_bytes += std::fs::metadata(&path).map_or(0, |metadata| metadata.blocks() * 512);
            }
            // Sockets and pipes carry a number of their own.
            let kind = target.split(":[").next().filter(|kind| !kind.starts_with("anon_inode")).unwrap_or(&target);
            self.add(format!("descriptor {kind}"), number);
        }
    }

    fn mappings(&mut self) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        for line in maps.lines() {
            if let Some((range, name)) = line.split_once(' ').filter(|(_, rest)| rest.contains("/memfd:")) {
                let name = &name[name.find("/memfd:").unwrap_or(0)..];
                self.add(format!("mapping {name}"), range);
            }
        }
    }

    fn threads(&mut self) {
        for number in entries("/proc/self/task") {
            if let Ok(name) = std::fs::read_to_string(format!("/proc/self/task/{number}/comm")) {
                self.add(format!("thread {}", name.trim_end()), number);
            }
        }
    }

    /// Names in places that all programs share: there only those count that say whose they are, for other programs run too, and
    /// other tests of ours.
    fn names(&mut self) {
        let family: BTreeSet<u32> = crate::processes::family().iter().map(|process| process.pid).collect();
        let is_ours = |pid: u32| pid == std::process::id() || family.contains(&pid);
        let temporary = std::env::temp_dir();
        for folder in [Path::new("/dev/shm"), temporary.as_path()] {
            let names = entries(folder).into_iter().filter(|name| name.contains("brigade"));
            for name in names.filter(|name| owner_of(name).is_none_or(is_ours)) {
                self.add(format!("entry in {}", folder.display()), name);
            }
        }
        let own = std::process::id().to_string();
        for table in ["shm", "sem", "msg"] {
            let rows = std::fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
            for row in rows.lines().filter(|row| row.split_whitespace().any(|word| word == own)) {
                self.add(format!("System V {table}"), row);
            }
        }
    }

    fn since(&self, before: &Self) -> Leaks {
        let none = BTreeSet::new();
        let mut lines = Vec::new();
        for (thing, names) in &self.things {
            let earlier = before.things.get(thing).unwrap_or(&none);
            let n_kept = KEPT.iter().find(|(kept, _)| kept == thing).map_or(0, |(_, n_kept)| *n_kept);
            // Numbers are used again and ranges move, so what counts is how many there are.
            let n_allowed = earlier.len().max(n_kept);
            if names.len() > n_allowed {
                let new: Vec<&str> = names.difference(earlier).map(String::as_str).collect();
                lines.push(format!(
                    "{thing}: {} where there were {} (new: {})",
                    names.len(),
                    earlier.len(),
                    new.join(", ")
                ));
            }
        }
        if self.shared_bytes > before.shared_bytes + GROWTH_BYTES {
            lines.push(format!("shared memory: {} bytes where there were {}", self.shared_bytes, before.shared_bytes));
        }
        Leaks(lines)
    }
}

/// The process that a name says it belongs to, as the scratch folders of tests do.
fn owner_of(name: &str) -> Option<u32> {
    name.split('-').find_map(|word| word.parse().ok())
}

fn entries(folder: impl AsRef<Path>) -> Vec<String> {
    let listed = std::fs::read_dir(folder).into_iter().flatten();
    listed.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_memory_and_growth_are_told() {
        let of = |things: &[(&str, &str)], shared_bytes| {
            let things = things.iter().map(|&(thing, name)| (thing.to_owned(), BTreeSet::from([name.to_owned()])));
            Inventory { things: things.collect(), shared_bytes }
        };
        let (none, mapping) = (of(&[], 0), of(&[("mapping /memfd:x", "1-2")], 0));
        assert_eq!(mapping.since(&none).0.len(), 1);
        assert!(mapping.since(&mapping).0.is_empty() && none.since(&mapping).0.is_empty());
        assert!(of(&[("thread brigade", "1")], 1000).since(&none).0.is_empty());
        assert_eq!(of(&[], 1 << 20).since(&none).0.len(), 1);
    }
}
