//! A disk that remembers in which order it was written to and flushed, so that it can be shown as it was at any moment, or as it
//! would be if a power cut had taken some of what was not flushed yet. It is a file served by this process, for a loop device.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo, LockOwner, OpenFlags, ReplyAttr,
    ReplyData, ReplyEmpty, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::fuse::{Root, Served};
use crate::random::Random;

/// Requests that are served at the same time: the kernel keeps that many in flight for one loop device, and more would not help.
const N_THREADS: usize = 4;

/// What happened to the disk.
#[derive(Debug)]
enum Entry {
    Write { offset: u64, bytes: Box<[u8]> },
    Flush,
}

/// Everything that happened to the disk so far, in order.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Entry>>);

impl Log {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present moment: how many entries there are.
    pub(super) fn moment(&self) -> usize {
        self.entries().len()
    }

    /// The moments just after the flushes that came after `start`.
    pub(super) fn flushes_after(&self, start: usize) -> Vec<usize> {
        let entries = self.entries();
        (start..entries.len()).filter(|&idx| matches!(entries[idx], Entry::Flush)).map(|idx| idx + 1).collect()
    }

    /// Gives `image`, which is as the disk was at `from`, what is sure to be on it at `to`: all writes up to the last flush
    /// before. Returns the moment of that flush, or `from`.
    pub(super) fn make_durable(&self, image: &File, from: usize, to: usize) -> io::Result<usize> {
        let entries = self.entries();
        let is_flush = |idx: &usize| matches!(entries[*idx], Entry::Flush);
        let Some(flush) = (from..to).rev().find(is_flush) else { return Ok(from) };
        for entry in &entries[from..flush] {
            if let Entry::Write { offset, bytes } = entry {
                image.write_all_at(bytes, *offset)?;
            }
        }
        Ok(flush + 1)
    }

    /// Gives `image` what may or may not be there: of the writes from `from` to `to`, what `fate` leaves of them.
    pub(super) fn gamble(
        &self,
        image: &File,
        (from, to): (usize, usize),
        fate: Fate,
        tear: u64,
        random: &mut Random,
    ) -> io::Result<()> {
        let entries = self.entries();
        let pending = entries[from..to].iter().filter_map(|entry| match entry {
            Entry::Write { offset, bytes } => Some((*offset, &**bytes)),
            Entry::Flush => None,
        });
        let mut pending: Vec<(u64, &[u8])> = pending.collect();
        match fate {
            Fate::AllThere => {}
            Fate::AllLost => pending.clear(),
            Fate::SomeThere => pending.retain(|_| random.below(2) == 0),
            Fate::Torn => {
                pending.retain(|_| random.below(4) != 0);
                for (_, bytes) in &mut pending {
                    let n_pieces = bytes.len() as u64 / tear;
                    if random.below(3) == 0 && n_pieces > 1 {
                        *bytes = &bytes[..(random.below(n_pieces) * tear) as usize];
                    }
                }
            }
            Fate::Reordered => {
                for idx in (1..pending.len()).rev() {
                    pending.swap(idx, random.below(idx as u64 + 1) as usize);
                }
                pending.truncate(pending.len() / 2);
            }
        }
        pending.into_iter().try_for_each(|(offset, bytes)| image.write_all_at(bytes, offset))
    }
}

/// What becomes of the writes that no flush came after.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    AllThere,
    AllLost,
    /// Each is there or not.
    SomeThere,
    /// Some are lost, and of some only a first part is there.
    Torn,
    /// They were done in another order, and only the first half of them.
    Reordered,
}

impl Fate {
    pub(super) const ALL: [Self; 5] = [Self::AllThere, Self::AllLost, Self::SomeThere, Self::Torn, Self::Reordered];
}

/// The disk, at its place.
#[derive(Debug)]
pub(super) struct Disk {
    served: Served,
    log: Arc<Log>,
}

impl Disk {
    /// Shows `image` at `point`, which is a file too, as a disk that takes `delay` for a flush.
    pub(super) fn mount(image: File, point: &Path, delay: Duration) -> io::Result<Self> {
        let log = Arc::new(Log::default());
        let n_bytes = image.metadata()?.len();
        let files = Recorded { image, n_bytes, log: Arc::clone(&log), delay };
        Ok(Self { served: Served::mount(files, Root::File, point, N_THREADS)?, log })
    }

    pub(super) fn point(&self) -> &Path {
        self.served.point()
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

/// The one file of this file system, which is its root.
struct Recorded {
    image: File,
    n_bytes: u64,
    log: Arc<Log>,
    delay: Duration,
}

impl Recorded {
    fn attributes(&self) -> FileAttr {
        FileAttr {
            ino: INodeNo::ROOT,
            size: self.n_bytes,
            blocks: self.n_bytes / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

/// How long the kernel may believe what it was told of the file: nothing of it changes.
const MEMORY: Duration = Duration::from_secs(3600);

impl Filesystem for Recorded {
    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&MEMORY, &self.attributes());
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&MEMORY, &self.attributes());
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No cache of the kernel's, so that each write comes when it is made.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        n_wanted: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = self.n_bytes.saturating_sub(offset).min(u64::from(n_wanted));
        let mut buffer = vec![0; left as usize];
        match self.image.read_exact_at(&mut buffer, offset) {
            Ok(()) => reply.data(&buffer),
            Err(_) => reply.error(fuser::Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // Under the lock, so that writes to one place are in the log in the order in which they were done.
        let mut entries = self.log.entries();
        match self.image.write_all_at(data, offset) {
            Ok(()) => {
                entries.push(Entry::Write { offset, bytes: data.into() });
                drop(entries);
                reply.written(data.len() as u32);
            }
            Err(_) => reply.error(fuser::Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // What comes while it takes its time may be lost: it was not there when the flush was asked for.
        self.log.entries().push(Entry::Flush);
        std::thread::sleep(self.delay);
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of so many bytes after this log, cut at its end.
    fn rebuilt(entries: Vec<Entry>, fate: Fate) -> Vec<u8> {
        let log = Log(Mutex::new(entries));
        let image = tempfile::tempfile().unwrap();
        image.set_len(8).unwrap();
        let from = log.make_durable(&image, 0, log.moment()).unwrap();
        log.gamble(&image, (from, log.moment()), fate, 1, &mut Random::new(7)).unwrap();
        let mut bytes = vec![0; 8];
        image.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn write(offset: u64, bytes: &[u8]) -> Entry {
        Entry::Write { offset, bytes: bytes.into() }
    }

    #[test]
    fn what_was_flushed_is_there_and_what_was_not_may_be() {
        let entries = || vec![write(0, b"aaaa"), write(2, b"bb"), Entry::Flush, write(3, b"cc"), write(6, b"d")];
        for fate in Fate::ALL {
            let there = rebuilt(entries(), fate);
            assert_eq!(&there[..3], b"aab", "{fate:?}");
            assert!([b'b', b'c'].contains(&there[3]) && [0, b'd'].contains(&there[6]), "{fate:?}: {there:?}");
        }
        assert_eq!(rebuilt(entries(), Fate::AllThere), b"aabcc\0d\0");
        assert_eq!(rebuilt(entries(), Fate::AllLost), b"aabb\0\0\0\0");
    }

    #[test]
    fn a_write_can_be_torn_and_writes_to_one_place_can_change_places() {
        let is_seen = |fate, is_it: fn(&[u8]) -> bool| {
            (0..100).any(|seed| {
                let log = Log(Mutex::new(vec![write(0, b"abcd"), write(0, b"efgh")]));
                let image = tempfile::tempfile().unwrap();
                image.set_len(8).unwrap();
                log.gamble(&image, (0, 2), fate, 1, &mut Random::new(seed)).unwrap();
                let mut bytes = [0; 4];
                image.read_exact_at(&mut bytes, 0).unwrap();
                is_it(&bytes)
            })
        };
        assert!(is_seen(Fate::Torn, |bytes| bytes == b"efcd"));
        assert!(is_seen(Fate::Reordered, |bytes| bytes == b"efgh"));
        assert!(!is_seen(Fate::SomeThere, |bytes| bytes == b"efcd"));
    }
}
