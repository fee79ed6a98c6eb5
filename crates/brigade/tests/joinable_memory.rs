//! What a joinable queue takes up and gives back. A program of its own: the memory that is counted is that of all its tests.

use brigade::JoinableQueue;

/// How much shared memory the session of this process has.
fn n_session_bytes() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("there is /proc").filter_map(Result::ok);
    let is_session = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:brigade (deleted)"))
    };
    let mut sessions = descriptors.map(|entry| entry.path()).filter(is_session);
    let session = sessions.next().expect("a queue was made");
    std::fs::metadata(session).expect("it is open").blocks() * 512
}

#[test]
fn large_values_give_their_memory_back_once_they_are_done() {
    const N_BYTES: usize = 16 << 20;
    let queue = JoinableQueue::bounded(4).unwrap();
    let before = n_session_bytes();
    for round in 0..20 {
        queue.put(round.to_string().repeat(N_BYTES / 2)).unwrap();
        let lease = queue.get().unwrap();
        assert!(n_session_bytes() >= before + N_BYTES as u64 / 2);
        drop(lease);
        assert!(queue.get().unwrap().done().starts_with(&round.to_string()));
    }
    // Twenty times as much went through.
    assert!(n_session_bytes() < before + 2 * N_BYTES as u64, "{} more than {before}", n_session_bytes() - before);
}
