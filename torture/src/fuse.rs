//! A folder seen through a file system that misbehaves on purpose: slow, failing, silent for ever, blind to the case of names,
//! or lying about a bit. How it misbehaves is said in switches.rs; how it otherwise passes everything through, in passthrough.rs.
//!
//! Needs `/dev/fuse` and the right to mount. The file system is served by threads of this process, and goes away with the value:
//! also after a panic, and also when somebody waits in it for ever.

mod nodes;
mod passthrough;
mod served;
mod switches;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use passthrough::Passthrough;
pub(crate) use served::{Root, Served};
use switches::Switches;
pub use switches::{Fault, Operation, Options, Rule, Spelling};

/// A mounted file system. Dropping it unmounts it, whoever is in it.
#[derive(Debug)]
pub struct FaultFs {
    served: Served,
    switches: Arc<Switches>,
}

impl FaultFs {
    /// Shows `folder` at `point`, which is a folder too.
    ///
    /// # Errors
    /// What opening `/dev/fuse`, mounting, or opening `folder` says.
    pub fn mount(folder: &Path, point: &Path, options: Options) -> io::Result<Self> {
        let (folder, point) = (folder.canonicalize()?, point.canonicalize()?);
        let switches = Arc::new(Switches::new(options));
        let files = Passthrough::new(folder, Arc::clone(&switches))?;
        let served = Served::mount(files, Root::Folder, &point, options.n_threads)?;
        Ok(Self { served, switches })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        self.served.point()
    }

    /// From now on it misbehaves in this way too.
    pub fn add(&self, rule: Rule) {
        self.switches.add(rule);
    }

    /// From now on it does what it is asked to; who waits for ever gets an `EIO`.
    pub fn behave(&self) {
        self.switches.behave();
    }

    /// How often this was asked of it so far, failures included.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.switches.count(operation)
    }

    /// The threads that have asked for anything so far, by number; the kernel's own are 0.
    #[must_use]
    pub fn askers(&self) -> HashSet<u32> {
        self.switches.askers()
    }

    /// The files that it was asked to flush and has flushed, by the numbers that they have behind it.
    #[must_use]
    pub fn flushed(&self) -> HashSet<u64> {
        self.switches.flushed()
    }

    /// How many requests are waiting for an answer that will not come.
    #[must_use]
    pub fn n_hung(&self) -> usize {
        self.switches.n_hung()
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        self.served.unmount();
        // Who serves it ends only when nobody is without an answer.
        self.switches.behave();
    }
}
