//! The events of `brigade verify` that a copy does not have: a difference, and the verdict as the summary.

use std::path::Path;

use brigade_copy::{Aspect, PathError, Verdict};
use serde::Serialize;

use super::{Destination, Json, Line, Named, Pair, Source};

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum VerifyLine<'a> {
    Different {
        #[serde(flatten)]
        path: Named<'a>,
        aspects: Vec<&'static str>,
    },
    Summary(Account<'a>),
}

#[derive(Serialize)]
struct Account<'a> {
    found: u64,
    same: u64,
    different: u64,
    failed: u64,
    bytes: u64,
    seconds: f64,
    workers: usize,
    lost_workers: u64,
    sandbox: &'static str,
    interrupted: bool,
    broken: Option<&'a str>,
}

impl Json {
    /// The first event of a comparison: what is compared.
    pub fn start_verify(&mut self, source: &Path, destination: &Path) {
        let entries = vec![Pair { source: Source::of(source), destination: Destination::of(destination) }];
        self.write(&Line::Start { version: env!("CARGO_PKG_VERSION"), entries, sandbox: None });
        self.say_verifying();
        self.pen.flush();
    }

    /// Two entries differ; the path is relative to both.
    pub fn different(&mut self, path: &Path, aspects: &[Aspect]) {
        let aspects = aspects.iter().map(|aspect| word(*aspect)).collect();
        self.write(&VerifyLine::Different { path: Named::of(path), aspects });
    }

    /// An entry could not be compared.
    pub fn failed(&mut self, error: &PathError) {
        self.write(&super::error_line(error));
    }

    /// A worker is gone.
    pub fn worker_lost(&mut self, pid: u32, signal: Option<i32>) {
        self.write(&Line::Worker { pid, state: "lost", signal, path: None });
    }

    /// A worker is stuck and given up.
    pub fn worker_stalled(&mut self, pid: u32, path: &Path) {
        self.write(&Line::Worker { pid, state: "stalled", signal: None, path: Some(Named::of(path)) });
    }

    /// The last event.
    pub fn verdict(&mut self, verdict: &Verdict) {
        self.write(&VerifyLine::Summary(Account {
            found: verdict.n_found,
            same: verdict.n_same,
            different: verdict.n_different,
            failed: verdict.n_failed,
            bytes: verdict.bytes,
            seconds: verdict.elapsed.as_secs_f64(),
            workers: verdict.n_workers,
            lost_workers: verdict.n_lost_workers,
            sandbox: verdict.sandbox.word(),
            interrupted: verdict.interrupted,
            broken: verdict.broken.as_deref(),
        }));
        self.pen.flush();
    }
}

fn word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::OnlyAtSource => "only_at_source",
        Aspect::OnlyAtDestination => "only_at_destination",
        Aspect::Type => "type",
        Aspect::Contents => "contents",
        Aspect::Target => "target",
        Aspect::Device => "device",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Time => "time",
        Aspect::Attributes => "attributes",
        Aspect::Acls => "acls",
        Aspect::Capabilities => "capabilities",
        Aspect::HardLinks => "hard_links",
    }
}
