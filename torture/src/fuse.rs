//! A folder seen through a file system that misbehaves on purpose: slow, failing, silent for ever, blind to the case of names,
//! or lying about a bit. How it misbehaves is said in switches.rs; how it otherwise passes everything through, in passthrough.rs.
//!
//! Needs `/dev/fuse` and the right to mount. The file system is served by threads of this process, and goes away with the value:
//! also after a panic, and also when somebody waits in it for ever.

mod nodes;
mod passthrough;
mod switches;

use std::collections::HashSet;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use passthrough::Passthrough;
use switches::Switches;
pub use switches::{Fault, Operation, Options, Rule, Spelling};

/// A mounted file system. Dropping it unmounts it, whoever is in it.
#[derive(Debug)]
pub struct FaultFs {
    point: PathBuf,
    switches: Arc<Switches>,
    server: Option<JoinHandle<io::Result<()>>>,
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
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let data =
            format!("fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.as_raw_fd());
        let data = CString::new(data).expect("it is made of words and digits");
        mount("faultfs", &point, "fuse.faultfs", MountFlags::empty(), data.as_c_str())?;
        // From here on whatever fails unmounts it.
        let mut mounted = Self { point, switches, server: None };
        let mut config = fuser::Config::default();
        config.n_threads = Some(options.n_threads);
        let session = fuser::Session::from_fd(files, OwnedFd::from(device), fuser::SessionACL::All, config)?;
        mounted.server = Some(std::thread::Builder::new().name("faultfs".to_owned()).spawn(move || session.run())?);
        Ok(mounted)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
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

    /// How many requests are waiting for an answer that will not come.
    #[must_use]
    pub fn n_hung(&self) -> usize {
        self.switches.n_hung()
    }
}

impl Drop for FaultFs {
    fn drop(&mut self) {
        // Force ends all that wait in it, with an error, also those that only a kill could have ended; but it leaves the mount
        // there if somebody holds a file of it open.
        if unmount(&self.point, UnmountFlags::FORCE) == Err(Errno::BUSY) {
            let _ = unmount(&self.point, UnmountFlags::DETACH);
        }
        self.switches.behave();
        let _ = self.server.take().map(JoinHandle::join);
    }
}
