//! What a thread may do: who it is, and how it is confined. Threads of one process can differ in it, and a new process has the
//! rights of the thread that makes it.
#![expect(unsafe_code, reason = "user and group numbers of one thread")]

/// Who a thread is, and how it is confined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rights {
    /// Real, effective and saved user and group.
    ids: [libc::uid_t; 6],
    groups: Vec<u32>,
    /// Effective, permitted, inheritable.
    capabilities: [u64; 3],
    has_no_new_privileges: bool,
    n_filters: u64,
}

impl Rights {
    /// Those of the calling thread.
    #[must_use]
    pub fn current() -> Self {
        let mut ids = [0; 6];
        let [user, effective_user, saved_user, group, effective_group, saved_group] = &mut ids;
        // SAFETY: three pointers that are valid for writing a number each.
        unsafe { libc::getresuid(user, effective_user, saved_user) };
        // SAFETY: as above.
        unsafe { libc::getresgid(group, effective_group, saved_group) };
        let capabilities = rustix::thread::capabilities(None)
            .map_or([0; 3], |sets| [sets.effective.bits(), sets.permitted.bits(), sets.inheritable.bits()]);
        Self {
            ids,
            groups: rustix::process::getgroups()
                .map_or_else(|_| Vec::new(), |groups| groups.into_iter().map(rustix::process::Gid::as_raw).collect()),
            capabilities,
            has_no_new_privileges: rustix::thread::no_new_privs().unwrap_or(false),
            n_filters: n_filters(),
        }
    }

    /// Whether a thread with these rights is somebody else than one with `other`, or may do less.
    #[must_use]
    pub fn are_narrower_than(&self, other: &Self) -> bool {
        (self.ids, &self.groups, self.capabilities) != (other.ids, &other.groups, other.capabilities)
            || (self.has_no_new_privileges && !other.has_no_new_privileges)
            || self.n_filters > other.n_filters
    }
}

/// How many seccomp filters the calling thread has.
fn n_filters() -> u64 {
    use rustix::thread::SecureComputingMode;
    if matches!(rustix::thread::secure_computing_mode(), Ok(SecureComputingMode::Disabled) | Err(_)) {
        return 0;
    }
    // The kernel counts them since 5.9; where it cannot be asked, one filter is as good as several.
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")?.trim().parse().ok());
    count.unwrap_or(1)
}
