//! The two functions that the pool calls in a worker process, and what that process is given.

use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};

use brigade::Descriptor;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::confine::Walls;
use crate::crew::Board;
use crate::names::Bytes;
use crate::task::{CopyAnswer, CopyTask};
use crate::worker::{Facts, Root, Worker};

/// What a worker process is given when it starts.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct WorkerStart {
    pub(super) facts: Facts,
    pub(super) roots: Vec<GivenRoot>,
    pub(super) board: Board,
    pub(super) nice: Option<i32>,
    pub(super) walls: Walls,
}

/// Two folders that correspond to each other, on their way to a worker.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct GivenRoot {
    source: Descriptor,
    destination: Descriptor,
    renamed: Option<Bytes>,
    called: Option<Bytes>,
}

impl GivenRoot {
    pub(crate) fn new(source: OwnedFd, destination: OwnedFd, renamed: Option<CString>, called: Option<Bytes>) -> Self {
        let renamed = renamed.map(|name| Bytes(name.into_bytes()));
        Self { source: source.into(), destination: destination.into(), renamed, called }
    }

    pub(crate) fn into_root(self) -> Root {
        Root {
            source: self.source.into_owned_fd(),
            destination: self.destination.into_owned_fd(),
            renamed: self.renamed.and_then(|name| CString::new(name.0).ok()).map(Into::into),
            called: self.called.map(|called| called.0),
        }
    }
}

thread_local! {
    static WORKER: std::cell::RefCell<Option<Worker>> = const { std::cell::RefCell::new(None) };
}

/// Whether workers may get this nice value. A thread has one of its own, so one tries that then ends.
pub(super) fn check_nice(nice: i32) -> std::io::Result<()> {
    let tried = std::thread::Builder::new().name("nice".to_owned()).spawn(move || set_nice(nice))?;
    tried.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
}

fn set_nice(nice: i32) -> std::io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// Runs once in each worker process.
pub(super) fn begin_worker(start: WorkerStart) {
    let_go_of_standard_streams();
    let roots = start.roots.into_iter().map(GivenRoot::into_root).collect();
    let Board { words, n_lanes } = start.board;
    let worker = Worker::new(start.facts, roots, words, n_lanes, brigade::current().pid());
    if let Some(nice) = start.nice {
        // It was tried before the first write, and what changed since is no reason to leave files behind.
        let _ = set_nice(nice);
    }
    close_in(start.walls, worker.roots());
    WORKER.set(Some(worker));
}

/// Confines this process, which must not do anything for anybody if that fails.
pub(crate) fn close_in(walls: Walls, roots: &[Root]) {
    let trees = roots.iter().map(|root| (root.source.as_fd(), root.destination.as_fd()));
    if let Err(lack) = walls.close(trees) {
        panic!("cannot be confined: {lack}: {:?}", std::error::Error::source(&lack));
    }
}

/// A worker says nothing, and may be left behind where nobody can end it: whoever reads what the command writes must not wait for
/// the end of that one too. A panic of it is told by the parent.
pub(crate) fn let_go_of_standard_streams() {
    use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(nothing) = openat(CWD, c"/dev/null", flags, Mode::empty()) {
        // None of them can fail: the numbers are free or open, and the limit on open files allows the three lowest.
        let _ = (dup2_stdin(&nothing), dup2_stdout(&nothing), dup2_stderr(&nothing));
    }
}

pub(super) fn run_task(task: CopyTask) -> CopyAnswer {
    let _ends = EndsByPanic;
    WORKER.with_borrow_mut(|worker| {
        worker.as_mut().expect("the pool runs the initializer before the first task").run(task)
    })
}

/// While it is there, a panic ends this process: what the worker knew of its place would be half of one task for the next. The
/// pool tells of the panic, and starts another worker.
pub(crate) struct EndsByPanic;

impl Drop for EndsByPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use brigade::TaskError;

    use super::*;
    use crate::crew::{Crew, Wanted};

    #[test]
    fn a_worker_that_panics_in_a_task_tells_of_it_and_does_no_other() {
        let crew = Crew::start(Wanted { at_first: 1, most: 1 }, |_| (), |()| {}).unwrap();
        let run = |is_to_panic: bool| {
            let _ends = EndsByPanic;
            assert!(!is_to_panic, "a fact that is none");
            brigade::current().pid()
        };
        let (sender, results) = channel();
        let mut outcomes = [false, true, false].map(|is_to_panic| {
            let sender = sender.clone();
            crew.submit(is_to_panic, run, move |result| sender.send(result).unwrap()).unwrap();
            results.recv_timeout(Duration::from_secs(60)).unwrap()
        });
        let Err(TaskError::Panicked(report)) = std::mem::replace(&mut outcomes[1], Ok(0)) else {
            panic!("{outcomes:?}");
        };
        assert_eq!(report.message(), "a fact that is none");
        assert_ne!(outcomes[0], outcomes[2], "the same process went on");
        assert_eq!(crew.n_lost(), Some(1));
    }
}
