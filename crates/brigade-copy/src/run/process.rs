//! The two functions that the pool calls in a worker process, and what that process is given.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use brigade::Descriptor;

use crate::lanes::Words;
use crate::names::Bytes;
use crate::task::{CopyAnswer, CopyTask};
use crate::worker::{Facts, Root, Worker};

/// What a worker process is given when it starts.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct WorkerStart {
    pub(super) facts: Facts,
    pub(super) roots: Vec<GivenRoot>,
    pub(super) words: Words,
    pub(super) n_lanes: usize,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct GivenRoot {
    source: Descriptor,
    destination: Descriptor,
    renamed: Option<Bytes>,
    called: Bytes,
}

thread_local! {
    static WORKER: std::cell::RefCell<Option<Worker>> = const { std::cell::RefCell::new(None) };
}

/// Runs once in each worker process.
pub(super) fn begin_worker(start: WorkerStart) {
    let roots = start.roots.into_iter().map(|root| Root {
        source: root.source.into_owned_fd(),
        destination: root.destination.into_owned_fd(),
        renamed: root.renamed.and_then(|name| CString::new(name.0).ok()).map(Into::into),
        called: root.called.0,
    });
    let worker = Worker::new(start.facts, roots.collect(), start.words, start.n_lanes, brigade::current().pid());
    WORKER.set(Some(worker));
}

pub(super) fn run_task(task: CopyTask) -> CopyAnswer {
    WORKER.with_borrow_mut(|worker| {
        worker.as_mut().expect("the pool runs the initializer before the first task").run(task)
    })
}

pub(super) fn give(source: OwnedFd, destination: OwnedFd, renamed: Option<CString>, called: Bytes) -> GivenRoot {
    GivenRoot {
        source: source.into(),
        destination: destination.into(),
        renamed: renamed.map(|name| Bytes(name.into_bytes())),
        called,
    }
}
