//! A file system of this process at its place, for as long as the value lives. What it does with requests is not known here.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// What the root of a file system is, and so what it can be mounted on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Root {
    Folder,
    File,
}

/// A mount and the threads that serve it.
#[derive(Debug)]
pub(crate) struct Served {
    point: PathBuf,
    is_mounted: bool,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Served {
    pub(crate) fn mount(files: impl fuser::Filesystem, root: Root, point: &Path, n_threads: usize) -> io::Result<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let (mode, options) = match root {
            Root::Folder => ("40000", "default_permissions,allow_other"),
            Root::File => ("100000", "allow_other"),
        };
        let data = format!("fd={},rootmode={mode},user_id=0,group_id=0,{options}", device.as_raw_fd());
        let data = CString::new(data).expect("it is made of words and digits");
        mount("faultfs", point, "fuse.faultfs", MountFlags::empty(), data.as_c_str())?;
        // From here on whatever fails unmounts it.
        let mut served = Self { point: point.to_owned(), is_mounted: true, server: None };
        let mut config = fuser::Config::default();
        config.n_threads = Some(n_threads);
        let session = fuser::Session::from_fd(files, OwnedFd::from(device), fuser::SessionACL::All, config)?;
        served.server = Some(std::thread::Builder::new().name("faultfs".to_owned()).spawn(move || session.run())?);
        Ok(served)
    }

    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    /// Takes it away from its place. Whoever waits in it, also one whom only a kill could end, gets an error.
    pub(crate) fn unmount(&mut self) {
        if !std::mem::take(&mut self.is_mounted) {
            return;
        }
        // Force leaves the mount there if somebody holds a file of it open.
        if unmount(&self.point, UnmountFlags::FORCE) == Err(Errno::BUSY) {
            let _ = unmount(&self.point, UnmountFlags::DETACH);
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.unmount();
        let _ = self.server.take().map(JoinHandle::join);
    }
}
