//! What workers and parent tell each other without messages, in shared words: a lane for each worker with what it is doing,
//! the order to stop, and the wish for work. What is made of it for a display is decided in run.rs.
//!
//! ```text
//! words:
//!  0  the order to stop: all workers are to end what they do
//!  8  how many workers wish for work
//! 16  when the next byte may move, where bytes per second are limited: nanoseconds of the monotonic clock
//! 24  lanes of 512 words, so that no two share a cache line
//! ```
//!
//! | word of a lane | meaning | written by |
//! |---|---|---|
//! | `PID` | the worker that has this lane, 0 = free | its worker from 0 to its pid; the parent back to 0 when that process is gone |
//! | `STATE` | `IDLE`, `LISTING`, `COPYING`, `VERIFYING`, `REMOVING`, `FLUSHING` | its worker; the parent when it frees the lane |
//! | `TASK` | the task that the counts below belong to, 0 = none | likewise |
//! | `FOUND` `DONE` `BYTES` | counts within that task | its worker |
//! | `SEQUENCE` | odd while the path is being written | its worker |
//! | `PATH_BYTES`, `PATH`… | the length of the path of the current entry, and its end | its worker; the parent sets the length to 0 when it frees the lane |
//! | `ROOT` | the root that the path is below | its worker |

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::event::{Lane, LaneState};
use crate::names::append;
use crate::stuck::Stuck;

/// The shared words.
pub(crate) type Words = brigade::SharedSlice<u64>;

const STOP: usize = 0;
const WANTED: usize = 8;
/// See pace.rs.
pub(crate) const PACE: usize = 16;
/// The first lane. It and all that follow begin on cache lines of their own.
const LANES: usize = 24;

const PID: usize = 0;
const STATE: usize = 1;
const TASK: usize = 2;
const FOUND: usize = 3;
const DONE: usize = 4;
const BYTES: usize = 5;
const SEQUENCE: usize = 6;
const PATH_BYTES: usize = 7;
const ROOT: usize = 8;
const PATH: usize = 9;
/// Words per lane: a page, so that nearly every path is there wholly. What is not written takes no memory.
const LANE_WORDS: usize = 512;
const PATH_WORDS: usize = LANE_WORDS - PATH;
/// How much of a path there is room for.
const MAX_PATH_BYTES: usize = PATH_WORDS * 8;

const IDLE: u64 = 0;
const LISTING: u64 = 1;
const COPYING: u64 = 2;
const VERIFYING: u64 = 3;
const REMOVING: u64 = 4;
const FLUSHING: u64 = 5;

/// How many words are needed for `n_lanes`.
pub(crate) fn n_words(n_lanes: usize) -> usize {
    LANES + n_lanes * LANE_WORDS
}

/// The parent's side.
#[derive(Clone)]
pub(crate) struct Lanes {
    words: Words,
    n_lanes: usize,
}

/// What workers have done of tasks that they are working on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct LiveCounts {
    pub(crate) n_found: u64,
    pub(crate) n_done: u64,
    pub(crate) n_bytes: u64,
}

/// What a worker that is at work has shown last. As long as this stays the same, it may be stuck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sign {
    pub(crate) task_id: u64,
    state: u64,
    counts: [u64; 3],
    sequence: u64,
}

impl Sign {
    /// Whether it waits for a disk to take what is in memory.
    pub(crate) fn is_flushing(&self) -> bool {
        self.state == FLUSHING
    }
}

impl Lanes {
    pub(crate) fn new(words: Words, n_lanes: usize) -> Self {
        Self { words, n_lanes }
    }

    /// Orders all workers to stop.
    pub(crate) fn stop(&self) {
        self.words.store(STOP, 1);
    }

    /// Asks that this many workers give back work that they have not begun.
    pub(crate) fn want(&self, n_workers: usize) {
        let wanted = n_workers as u64;
        if self.words.load(WANTED) != wanted {
            self.words.store(WANTED, wanted);
        }
    }

    /// Frees the lanes of processes that are gone.
    pub(crate) fn keep_only(&self, is_alive: impl Fn(u32) -> bool) {
        for lane_idx in 0..self.n_lanes {
            let base = lane_base(lane_idx);
            let pid = self.words.load(base + PID);
            if pid != 0 && !is_alive(pid as u32) {
                self.words.store(base + TASK, 0);
                self.words.store(base + STATE, IDLE);
                self.words.store(base + PATH_BYTES, 0);
                let _ = self.words.compare_exchange(base + PID, pid, 0);
            }
        }
    }

    /// Adds up what workers have done of tasks that are still with them.
    pub(crate) fn live_counts(&self, is_in_flight: impl Fn(u64) -> bool) -> LiveCounts {
        let mut sum = LiveCounts::default();
        for base in (0..self.n_lanes).map(lane_base) {
            if is_in_flight(self.words.load(base + TASK)) {
                sum.n_found += self.words.load(base + FOUND);
                sum.n_done += self.words.load(base + DONE);
                sum.n_bytes += self.words.load(base + BYTES);
            }
        }
        sum
    }

    /// The last sign of each worker that is at work, with its process.
    pub(crate) fn signs(&self) -> impl Iterator<Item = (u32, Sign)> {
        (0..self.n_lanes).map(lane_base).filter_map(|base| {
            let word = |idx: usize| self.words.load(base + idx);
            let (pid, state) = (word(PID), word(STATE));
            let counts = [word(FOUND), word(DONE), word(BYTES)];
            let sign = Sign { task_id: word(TASK), state, counts, sequence: word(SEQUENCE) };
            (pid != 0 && state != IDLE).then_some((pid as u32, sign))
        })
    }

    /// Where a worker is. To be asked of one that does not move.
    pub(crate) fn whereabouts(&self, pid: u32) -> Option<Stuck> {
        let of_pid = |base: &usize| self.words.load(base + PID) == u64::from(pid);
        let base = (0..self.n_lanes).map(lane_base).find(of_pid)?;
        let n_bytes = self.words.load(base + PATH_BYTES);
        let path = self.read_path(base).into_os_string().into_encoded_bytes();
        Some(Stuck::new(self.words.load(base + ROOT) as u32, n_bytes as usize, path))
    }

    pub(crate) fn snapshot(&self) -> Vec<Lane> {
        (0..self.n_lanes).filter_map(|lane_idx| self.read(lane_base(lane_idx))).collect()
    }

    fn read(&self, base: usize) -> Option<Lane> {
        let pid = self.words.load(base + PID);
        if pid == 0 {
            return None;
        }
        let state = match self.words.load(base + STATE) {
            LISTING => LaneState::Listing,
            COPYING => LaneState::Copying,
            VERIFYING => LaneState::Verifying,
            REMOVING => LaneState::Removing,
            FLUSHING => LaneState::Flushing,
            _ => LaneState::Idle,
        };
        Some(Lane { pid: pid as u32, state, path: self.read_path(base) })
    }

    /// The path, or an empty one if the worker keeps changing it: the next look will see it.
    fn read_path(&self, base: usize) -> PathBuf {
        for _ in 0..8 {
            let before = self.words.load(base + SEQUENCE);
            let n_bytes = (self.words.load(base + PATH_BYTES) as usize).min(MAX_PATH_BYTES);
            let mut bytes = Vec::with_capacity(n_bytes.next_multiple_of(8));
            for word_idx in 0..n_bytes.div_ceil(8) {
                bytes.extend_from_slice(&self.words.load(base + PATH + word_idx).to_le_bytes());
            }
            if before.is_multiple_of(2) && self.words.load(base + SEQUENCE) == before {
                bytes.truncate(n_bytes);
                return PathBuf::from(OsStr::from_bytes(&bytes));
            }
        }
        PathBuf::new()
    }
}

fn lane_base(lane_idx: usize) -> usize {
    LANES + lane_idx * LANE_WORDS
}

/// The worker's side.
pub(crate) struct OwnLane {
    words: Words,
    n_lanes: usize,
    pid: u32,
    /// None: every lane is taken, since the parent has not yet noticed that a predecessor died. The work goes on unseen.
    base: Option<usize>,
    live: LiveCounts,
    sequence: u64,
    /// The path that was written last, up to a multiple of eight bytes.
    path: Vec<u8>,
    /// How often the bytes of a file pass by before it is done.
    n_passes: u64,
}

impl OwnLane {
    pub(crate) fn new(words: Words, n_lanes: usize, pid: u32) -> Self {
        let mut lane = Self {
            words,
            n_lanes,
            pid,
            base: None,
            live: LiveCounts::default(),
            sequence: 0,
            path: Vec::new(),
            n_passes: 1,
        };
        lane.claim();
        lane
    }

    pub(crate) fn begin_task(&mut self, task_id: u64) {
        if self.base.is_none() {
            self.claim();
        }
        self.live = LiveCounts::default();
        let Some(base) = self.base else { return };
        // The task's number comes last: until then the old one stands, which the parent knows to be answered.
        self.words.store(base + FOUND, 0);
        self.words.store(base + DONE, 0);
        self.words.store(base + BYTES, 0);
        self.words.store(base + TASK, task_id);
        self.words.store(base + STATE, COPYING);
    }

    pub(crate) fn end_task(&mut self) {
        self.store(STATE, IDLE);
    }

    pub(crate) fn listing(&mut self) {
        self.store(STATE, LISTING);
    }

    /// Shows that what is there is only read.
    pub(crate) fn verifying(&mut self) {
        self.store(STATE, VERIFYING);
    }

    pub(crate) fn removing(&mut self) {
        self.store(STATE, REMOVING);
    }

    /// Shows that it waits for a disk.
    pub(crate) fn flushing(&mut self) {
        self.store(STATE, FLUSHING);
    }

    /// Shows that it copies.
    pub(crate) fn copying(&mut self) {
        self.store(STATE, COPYING);
    }

    /// Lets each byte of a file that is being worked on count for a part only, since it is counted so often.
    pub(crate) fn set_passes(&mut self, n_passes: u64) {
        self.n_passes = n_passes;
    }

    pub(crate) fn found(&mut self, n_found: u64) {
        self.live.n_found += n_found;
        self.store(FOUND, self.live.n_found);
        self.store(STATE, COPYING);
    }

    /// Shows the root below which paths are from now on.
    pub(crate) fn root(&mut self, root: u32) {
        self.store(ROOT, u64::from(root));
    }

    /// Shows the entry that is being worked on; without a name, the folder itself.
    pub(crate) fn entry(&mut self, folder: &[u8], name: &[u8]) {
        let Some(base) = self.base else { return };
        self.path.clear();
        self.path.extend_from_slice(folder);
        append(&mut self.path, name);
        let n_bytes = self.path.len();
        let n_cut = n_bytes.saturating_sub(MAX_PATH_BYTES);
        self.path.resize(n_cut + (n_bytes - n_cut).next_multiple_of(8), 0);
        self.sequence += 1;
        self.words.store(base + SEQUENCE, self.sequence);
        self.words.store(base + PATH_BYTES, n_bytes as u64);
        for (word_idx, word) in self.path[n_cut..].chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().expect("chunks have eight bytes"));
            self.words.store(base + PATH + word_idx, word);
        }
        self.sequence += 1;
        self.words.store(base + SEQUENCE, self.sequence);
    }

    pub(crate) fn add_bytes(&mut self, n_bytes: u64) {
        self.live.n_bytes += n_bytes / self.n_passes;
        self.store(BYTES, self.live.n_bytes);
    }

    /// Sets the counts to what is certain, once an entry is done.
    pub(crate) fn done(&mut self, n_done: u64, n_bytes: u64) {
        self.live.n_done = n_done;
        self.live.n_bytes = n_bytes;
        self.store(DONE, n_done);
        self.store(BYTES, n_bytes);
    }

    pub(crate) fn must_stop(&self) -> bool {
        self.words.load(STOP) != 0
    }

    pub(crate) fn is_work_wanted(&self) -> bool {
        self.words.load(WANTED) != 0
    }

    /// Takes one of the wishes for work. Whoever gets one answers early, the others go on.
    pub(crate) fn take_wish(&self) -> bool {
        let wanted = self.words.load(WANTED);
        wanted != 0 && self.words.compare_exchange(WANTED, wanted, wanted - 1).is_ok()
    }

    /// Shows a value in this worker's lane, if it has one.
    fn store(&self, place: usize, value: u64) {
        if let Some(base) = self.base {
            self.words.store(base + place, value);
        }
    }

    fn claim(&mut self) {
        self.base = (0..self.n_lanes)
            .map(lane_base)
            .find(|base| self.words.compare_exchange(base + PID, 0, u64::from(self.pid)).is_ok());
        if let Some(base) = self.base {
            // An odd number stays behind if the last owner died while it wrote a path.
            self.sequence = self.words.load(base + SEQUENCE).next_multiple_of(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(n_lanes: usize) -> Lanes {
        Lanes::new(Words::new(n_words(n_lanes)).unwrap(), n_lanes)
    }

    #[test]
    fn a_path_is_shown_from_its_end() {
        let lanes = lanes(2);
        let mut lane = OwnLane::new(lanes.words.clone(), 2, 7);
        let room = MAX_PATH_BYTES;
        for (folder, name, expected) in [
            (&b""[..], &b"x"[..], b"x".to_vec()),
            (b"a/b", b"x", b"a/b/x".to_vec()),
            (b"a/b", b"", b"a/b".to_vec()),
            (b"", b"", Vec::new()),
            (&vec![b'f'; room], &[b'n'; 10], [&vec![b'f'; room - 11][..], b"/", &[b'n'; 10]].concat()),
            (&vec![b'f'; room - 11], &[b'n'; 10], [&vec![b'f'; room - 11][..], b"/", &[b'n'; 10]].concat()),
        ] {
            lane.entry(folder, name);
            let shown = lanes.snapshot();
            assert_eq!(shown.len(), 1);
            assert_eq!(shown[0].path.as_os_str().as_bytes(), expected);
        }
    }

    #[test]
    fn a_dead_workers_lane_is_claimed_by_its_successor() {
        let lanes = lanes(1);
        let _dead = OwnLane::new(lanes.words.clone(), 1, 7);
        let mut successor = OwnLane::new(lanes.words.clone(), 1, 8);
        successor.begin_task(1);
        assert_eq!(lanes.snapshot()[0].pid, 7);
        lanes.keep_only(|pid| pid != 7);
        assert!(lanes.snapshot().is_empty());
        successor.begin_task(2);
        assert_eq!(lanes.snapshot()[0].pid, 8);
        assert_eq!(lanes.signs().next().unwrap().1.task_id, 2);
    }

    #[test]
    fn a_wish_for_work_is_taken_as_often_as_it_was_made() {
        let lanes = lanes(3);
        lanes.want(2);
        let own: Vec<_> = (1..=3).map(|pid| OwnLane::new(lanes.words.clone(), 3, pid)).collect();
        assert_eq!(own.iter().filter(|lane| lane.take_wish()).count(), 2);
    }
}
