//! What lies outside of the trees: whether it was read, written or altered, and whether anything of it came in.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::scene::Scene;

/// What nobody may do to what lies outside. Second names of victims are made and removed by the swaps, which is no matter.
const EVENTS: WatchFlags = WatchFlags::OPEN
    .union(WatchFlags::ACCESS)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE);

/// A watch over all folders outside, and what everything there looked like.
pub(super) struct Outside {
    watch: OwnedFd,
    folders: Vec<(i32, PathBuf)>,
    looks: Vec<Look>,
}

/// What can be seen of one entry.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Look {
    path: PathBuf,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    contents: Option<Vec<u8>>,
    attributes: Vec<u8>,
}

impl Look {
    fn at(path: PathBuf) -> io::Result<Self> {
        let found = fs::symlink_metadata(&path)?;
        let contents = found.is_file().then(|| fs::read(&path)).transpose()?;
        let mut attributes = Vec::with_capacity(1 << 10);
        match rustix::fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut attributes)) {
            Ok(_) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(Self {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            modified: (found.mtime(), found.mtime_nsec()),
            path,
            contents,
            attributes,
        })
    }
}

impl Outside {
    pub(super) fn watch(scene: &Scene) -> io::Result<Self> {
        let looks = looks(scene)?;
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let folders = looks.iter().filter(|look| look.contents.is_none());
        let folders = folders
            .map(|look| Ok((inotify::add_watch(&watch, &look.path, EVENTS)?, look.path.clone())))
            .collect::<io::Result<_>>()?;
        Ok(Self { watch, folders, looks })
    }

    /// What came in, and what was done outside since the last time.
    pub(super) fn leaks(&mut self, scene: &Scene) -> io::Result<Vec<String>> {
        let mut leaks = self.events(&scene.outside())?;
        for folder in scene.inside() {
            leaks.extend(self.secrets_in(&folder, scene)?);
        }
        let now = looks(scene)?;
        let altered = self.looks.iter().filter(|look| !now.contains(look));
        let below = |look: &Look| look.path.strip_prefix(scene.outside()).unwrap_or(&look.path).display().to_string();
        leaks.extend(altered.map(|look| format!("altered: {}", below(look))));
        leaks.extend((now.len() > self.looks.len()).then(|| "something was made outside".to_owned()));
        // What was altered is told once. Looking has been seen, too.
        self.looks = now;
        self.events(&scene.outside())?;
        Ok(leaks)
    }

    fn events(&self, outside: &Path) -> io::Result<Vec<String>> {
        let mut seen = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 1 << 14];
        let mut reader = inotify::Reader::new(&self.watch, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let folder = self.folders.iter().find(|(number, _)| *number == event.wd());
                    let folder = folder.and_then(|(_, folder)| folder.strip_prefix(outside).ok());
                    let folder = folder.map_or_else(String::new, |folder| folder.display().to_string());
                    let side = folder.split('/').next().unwrap_or_default().to_owned();
                    seen.push(format!("{side}: {:?}", event.events() - ReadFlags::ISDIR));
                }
                Err(Errno::AGAIN) => return Ok(seen),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn secrets_in(&self, folder: &Path, scene: &Scene) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut waiting = vec![folder.to_owned()];
        while let Some(path) = waiting.pop() {
            let kind = fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() {
                let inside = fs::read_dir(&path)?.map(|entry| Ok(entry?.path()));
                waiting.extend(inside.collect::<io::Result<Vec<_>>>()?);
            } else if kind.is_file() {
                let contents = fs::read(&path)?;
                let canary = scene.canary.as_bytes();
                if contents.windows(canary.len()).any(|part| part == canary) {
                    found.push("a secret is in the destination".to_owned());
                }
            }
        }
        Ok(found)
    }
}

fn looks(scene: &Scene) -> io::Result<Vec<Look>> {
    scene.all_outside()?.into_iter().map(Look::at).collect()
}
