//! Serves a folder as it is, request by request, except where a switch says otherwise. Which switches there are is not known here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RawMode, SeekFrom, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, Uid, XattrFlags, chmodat, chownat, linkat, mkdirat, mknodat, openat, readlinkat, renameat_with,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::nodes::{Listed, Nodes, list, unpacked_device, way_to};
use super::switches::{Fault, Operation, Spelling, Switches};

/// What is passed through, and how.
pub(super) struct Passthrough {
    nodes: Nodes,
    switches: Arc<Switches>,
    open: Mutex<HashMap<u64, Opened>>,
    next_handle: AtomicU64,
}

#[derive(Clone)]
enum Opened {
    File(Arc<OwnedFd>),
    Folder(Arc<[Listed]>),
}

/// An answer that can be an error.
trait Refusable: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refusable {
    ($($reply:ident)*) => { $(
        impl Refusable for $reply {
            fn refuse(self, errno: Errno) {
                self.error(fuser::Errno::from_i32(errno.raw_os_error()));
            }
        }
    )* };
}

refusable! {
    ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyEmpty ReplyEntry ReplyLseek ReplyOpen ReplyStatfs ReplyWrite ReplyXattr
}

/// On whose behalf an entry is made; it then belongs to them.
#[derive(Clone, Copy)]
struct Maker {
    uid: u32,
    gid: u32,
}

impl Maker {
    fn of(request: &Request) -> Self {
        Self { uid: request.uid(), gid: request.gid() }
    }
}

impl Passthrough {
    pub(super) fn new(folder: PathBuf, switches: Arc<Switches>) -> Result<Self, Errno> {
        let nodes = Nodes::new(folder, switches.options.spelling)?;
        Ok(Self { nodes, switches, open: Mutex::default(), next_handle: AtomicU64::new(1) })
    }

    /// Lets a request pass, unless a rule is against it.
    fn admit<R: Refusable>(
        &self,
        request: &Request,
        operation: Operation,
        path: impl FnOnce() -> Option<PathBuf>,
        end: u64,
        reply: R,
    ) -> Option<R> {
        self.switches.note(request.pid(), operation);
        if !self.switches.options.delay.is_zero() {
            std::thread::sleep(self.switches.options.delay);
        }
        match self.switches.fault(operation, path, end) {
            Some(Fault::Error(errno)) => reply.refuse(errno),
            Some(Fault::Hang) => self.switches.never_answer(reply),
            Some(Fault::FlipBit) | None => return Some(reply),
        }
        None
    }

    fn admit_entry<R: Refusable>(
        &self,
        request: &Request,
        operation: Operation,
        number: INodeNo,
        reply: R,
    ) -> Option<R> {
        self.admit(request, operation, || self.nodes.path(number), 0, reply)
    }

    fn admit_name<R: Refusable>(
        &self,
        request: &Request,
        operation: Operation,
        parent: INodeNo,
        name: &OsStr,
        reply: R,
    ) -> Option<R> {
        self.admit(request, operation, || Some(self.nodes.path(parent)?.join(name)), 0, reply)
    }

    /// How long the kernel may remember what it is told.
    fn memory(&self) -> Duration {
        match self.switches.options.spelling {
            Spelling::Exact => self.switches.options.memory,
            Spelling::CaseInsensitive => Duration::ZERO,
        }
    }

    /// Makes an entry, gives it to whom it was made for, and tells the kernel of it.
    fn make(
        &self,
        (parent, name): (INodeNo, &OsStr),
        maker: Maker,
        mode: Option<u32>,
        make: impl FnOnce(&OwnedFd, &OsStr) -> Result<(), Errno>,
    ) -> Result<fuser::FileAttr, Errno> {
        let folder = self.nodes.mark(parent)?;
        let name = self.nodes.spelt(parent, name)?;
        make(&folder, &name)?;
        if (maker.uid, maker.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(maker.uid), Gid::from_raw(maker.gid));
            chownat(&folder, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if let Some(mode) = mode {
            // The umask of this process had a say.
            chmodat(&folder, &name, Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
        }
        self.nodes.tell(parent, &name)
    }

    fn answer_entry(&self, made: Result<fuser::FileAttr, Errno>, reply: ReplyEntry) {
        match made {
            Ok(attributes) => reply.entry(&self.memory(), &attributes, Generation(0)),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn remember(&self, opened: Opened) -> FileHandle {
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.open().insert(handle, opened);
        FileHandle(handle)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, handle: FileHandle) -> Result<Arc<OwnedFd>, Errno> {
        match self.open().get(&handle.0) {
            Some(Opened::File(file)) => Ok(Arc::clone(file)),
            _ => Err(Errno::BADF),
        }
    }

    fn open_file(&self, number: INodeNo, flags: i32) -> Result<FileHandle, Errno> {
        let flags = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::ACCMODE;
        let file = openat(CWD, way_to(&*self.nodes.mark(number)?), flags | OFlags::CLOEXEC, Mode::empty())?;
        Ok(self.remember(Opened::File(Arc::new(file))))
    }

    fn set(&self, number: INodeNo, wanted: &Wanted) -> Result<fuser::FileAttr, Errno> {
        let mark = self.nodes.mark(number)?;
        if wanted.uid.is_some() || wanted.gid.is_some() {
            let (uid, gid) = (wanted.uid.map(Uid::from_raw), wanted.gid.map(Gid::from_raw));
            chownat(&*mark, c"", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = wanted.mode {
            chmodat(CWD, way_to(&mark), Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
        }
        if let Some(n_bytes) = wanted.n_bytes {
            let file = openat(CWD, way_to(&mark), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::fs::ftruncate(&file, n_bytes)?;
        }
        if wanted.accessed.is_some() || wanted.modified.is_some() {
            let times =
                Timestamps { last_access: time_of(wanted.accessed), last_modification: time_of(wanted.modified) };
            utimensat(&*mark, c"", &times, AtFlags::EMPTY_PATH)?;
        }
        self.nodes.attributes(number)
    }
}

/// What is to be set of an entry.
struct Wanted {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    n_bytes: Option<u64>,
    accessed: Option<TimeOrNow>,
    modified: Option<TimeOrNow>,
}

fn time_of(time: Option<TimeOrNow>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(TimeOrNow::SpecificTime(time)) => exact_time(time),
    }
}

fn exact_time(time: SystemTime) -> Timespec {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec { tv_sec: after.as_secs() as i64, tv_nsec: i64::from(after.subsec_nanos()) },
        // fuser takes the nanoseconds away from a time before 1970 where the kernel adds them: this is what the kernel said.
        Err(before) => {
            let before = before.duration();
            Timespec { tv_sec: -(before.as_secs() as i64), tv_nsec: i64::from(before.subsec_nanos()) }
        }
    }
}

fn answer_empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.refuse(errno),
    }
}

/// Answers with a value, or with its size if that was asked for.
fn answer_value(n_wanted: u32, read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>, reply: ReplyXattr) {
    let mut buffer = vec![0; n_wanted as usize];
    match read(&mut buffer) {
        Ok(n_bytes) if n_wanted == 0 => reply.size(n_bytes as u32),
        Ok(n_bytes) => reply.data(&buffer[..n_bytes]),
        Err(errno) => reply.refuse(errno),
    }
}

// Each request is admitted, done, and answered.
impl Filesystem for Passthrough {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(reply) = self.admit_name(request, Operation::Lookup, parent, name, reply) else { return };
        let found = self.nodes.spelt(parent, name).and_then(|name| self.nodes.tell(parent, &name));
        self.answer_entry(found, reply);
    }

    fn forget(&self, _: &Request, number: INodeNo, n_told: u64) {
        self.nodes.forget(number, n_told);
    }

    fn getattr(&self, request: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let Some(reply) = self.admit_entry(request, Operation::Getattr, number, reply) else { return };
        match self.nodes.attributes(number) {
            Ok(attributes) => reply.attr(&self.memory(), &attributes),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        n_bytes: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let Some(reply) = self.admit_entry(request, Operation::Setattr, number, reply) else { return };
        match self.set(number, &Wanted { mode, uid, gid, n_bytes, accessed, modified }) {
            Ok(attributes) => reply.attr(&self.memory(), &attributes),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn readlink(&self, request: &Request, number: INodeNo, reply: ReplyData) {
        let Some(reply) = self.admit_entry(request, Operation::Readlink, number, reply) else { return };
        match self.nodes.mark(number).and_then(|mark| readlinkat(&*mark, c"", Vec::new())) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let Some(reply) = self.admit_name(request, Operation::Mknod, parent, name, reply) else { return };
        let kind = FileType::from_raw_mode(mode as RawMode);
        let made = self.make((parent, name), Maker::of(request), Some(mode), |folder, name| {
            mknodat(folder, name, kind, Mode::from_raw_mode(mode & 0o7777), unpacked_device(device))
        });
        self.answer_entry(made, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let Some(reply) = self.admit_name(request, Operation::Mkdir, parent, name, reply) else { return };
        let made = self.make((parent, name), Maker::of(request), Some(mode), |folder, name| {
            mkdirat(folder, name, Mode::from_raw_mode(mode & 0o7777))
        });
        self.answer_entry(made, reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(reply) = self.admit_name(request, Operation::Unlink, parent, name, reply) else { return };
        let done = self
            .nodes
            .spelt(parent, name)
            .and_then(|name| unlinkat(&*self.nodes.mark(parent)?, name, AtFlags::empty()));
        answer_empty(done, reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(reply) = self.admit_name(request, Operation::Rmdir, parent, name, reply) else { return };
        let done = self
            .nodes
            .spelt(parent, name)
            .and_then(|name| unlinkat(&*self.nodes.mark(parent)?, name, AtFlags::REMOVEDIR));
        answer_empty(done, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let Some(reply) = self.admit_name(request, Operation::Symlink, parent, name, reply) else { return };
        let made = self.make((parent, name), Maker::of(request), None, |folder, name| symlinkat(target, folder, name));
        self.answer_entry(made, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(reply) = self.admit_name(request, Operation::Rename, new_parent, new_name, reply) else { return };
        let rename = || {
            let (name, new_name) = (self.nodes.spelt(parent, name)?, self.nodes.spelt(new_parent, new_name)?);
            let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
            renameat_with(&*self.nodes.mark(parent)?, name, &*self.nodes.mark(new_parent)?, new_name, flags)
        };
        answer_empty(rename(), reply);
    }

    fn link(&self, request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(reply) = self.admit_name(request, Operation::Link, parent, name, reply) else { return };
        let link = || {
            let (mark, name) = (self.nodes.mark(number)?, self.nodes.spelt(parent, name)?);
            linkat(&*mark, c"", &*self.nodes.mark(parent)?, &name, AtFlags::EMPTY_PATH)?;
            self.nodes.tell(parent, &name)
        };
        self.answer_entry(link(), reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let Some(reply) = self.admit_name(request, Operation::Create, parent, name, reply) else { return };
        let made = self.make((parent, name), Maker::of(request), Some(mode), |folder, name| {
            let exclusively = OFlags::from_bits_retain(flags.cast_unsigned()) & OFlags::EXCL;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | exclusively;
            openat(folder, name, flags, Mode::from_raw_mode(mode & 0o7777)).map(drop)
        });
        match made.and_then(|attributes| Ok((attributes, self.open_file(attributes.ino, flags)?))) {
            Ok((attributes, handle)) => {
                reply.created(&self.memory(), &attributes, Generation(0), handle, FopenFlags::empty());
            }
            Err(errno) => reply.refuse(errno),
        }
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let Some(reply) = self.admit_entry(request, Operation::Open, number, reply) else { return };
        match self.open_file(number, flags.0) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn read(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        n_wanted: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let path = || self.nodes.path(number);
        let end = offset + u64::from(n_wanted);
        let Some(reply) = self.admit(request, Operation::Read, path, end, reply) else { return };
        let mut buffer = vec![0; n_wanted as usize];
        match self.file(handle).and_then(|file| read_whole(&file, &mut buffer, offset)) {
            Ok(n_read) => {
                self.switches.flip(Operation::Read, path, offset, &mut buffer[..n_read]);
                reply.data(&buffer[..n_read]);
            }
            Err(errno) => reply.refuse(errno),
        }
    }

    fn write(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let path = || self.nodes.path(number);
        let Some(reply) = self.admit(request, Operation::Write, path, offset + data.len() as u64, reply) else {
            return;
        };
        let mut bytes = data.to_vec();
        self.switches.flip(Operation::Write, path, offset, &mut bytes);
        match self.file(handle).and_then(|file| rustix::io::pwrite(&*file, &bytes, offset)) {
            Ok(n_written) => reply.written(n_written as u32),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn flush(&self, request: &Request, number: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let Some(reply) = self.admit_entry(request, Operation::Flush, number, reply) else { return };
        reply.ok();
    }

    fn release(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let Some(reply) = self.admit_entry(request, Operation::Release, number, reply) else { return };
        self.open().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, request: &Request, number: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let Some(reply) = self.admit_entry(request, Operation::Fsync, number, reply) else { return };
        let flushed = self.file(handle).and_then(|file| rustix::fs::fsync(&*file));
        if flushed.is_ok() {
            self.switches.note_flushed(number.0);
        }
        answer_empty(flushed, reply);
    }

    fn fallocate(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        n_bytes: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(reply) = self.admit_entry(request, Operation::Fallocate, number, reply) else { return };
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        answer_empty(self.file(handle).and_then(|file| rustix::fs::fallocate(&*file, flags, offset, n_bytes)), reply);
    }

    fn lseek(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Some(reply) = self.admit_entry(request, Operation::Lseek, number, reply) else { return };
        // The kernel asks for these two only.
        let to = if whence == 3 { SeekFrom::Data(offset as u64) } else { SeekFrom::Hole(offset as u64) };
        match self.file(handle).and_then(|file| rustix::fs::seek(&*file, to)) {
            Ok(place) => reply.offset(place as i64),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn opendir(&self, request: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let Some(reply) = self.admit_entry(request, Operation::Opendir, number, reply) else { return };
        match self.nodes.mark(number).and_then(|mark| list(&mark)) {
            Ok(listed) => reply.opened(self.remember(Opened::Folder(listed.into())), FopenFlags::empty()),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn readdir(&self, request: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let Some(Opened::Folder(listed)) = self.open().get(&handle.0).cloned() else {
            return reply.refuse(Errno::BADF);
        };
        // As many as fit, up to the one that a rule is about.
        let mut end = offset;
        for (entry, next) in listed.iter().zip(1_u64..).skip(offset as usize) {
            let is_struck = self.switches.fault(Operation::Readdir, || self.nodes.path(number), next).is_some();
            if (is_struck && next > offset + 1) || reply.add(entry.number, next, entry.kind, &entry.name) {
                break;
            }
            end = next;
        }
        let Some(reply) = self.admit(request, Operation::Readdir, || self.nodes.path(number), end, reply) else {
            return;
        };
        reply.ok();
    }

    fn releasedir(&self, request: &Request, number: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        let Some(reply) = self.admit_entry(request, Operation::Releasedir, number, reply) else { return };
        self.open().remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, request: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let Some(reply) = self.admit_entry(request, Operation::Fsyncdir, number, reply) else { return };
        let flushed = self.nodes.mark(number).and_then(|mark| rustix::fs::fsync(super::nodes::open_folder(&mark)?));
        if flushed.is_ok() {
            self.switches.note_flushed(number.0);
        }
        answer_empty(flushed, reply);
    }

    fn statfs(&self, request: &Request, number: INodeNo, reply: ReplyStatfs) {
        let Some(reply) = self.admit_entry(request, Operation::Statfs, number, reply) else { return };
        match self.nodes.mark(number).and_then(|mark| rustix::fs::fstatvfs(mark.as_fd())) {
            Ok(facts) => reply.statfs(
                facts.f_blocks,
                facts.f_bfree,
                facts.f_bavail,
                facts.f_files,
                facts.f_ffree,
                facts.f_bsize as u32,
                facts.f_namemax as u32,
                facts.f_frsize as u32,
            ),
            Err(errno) => reply.refuse(errno),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let Some(reply) = self.admit_entry(request, Operation::Setxattr, number, reply) else { return };
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        answer_empty(
            self.nodes.mark(number).and_then(|mark| rustix::fs::setxattr(way_to(&mark), name, value, flags)),
            reply,
        );
    }

    fn getxattr(&self, request: &Request, number: INodeNo, name: &OsStr, n_wanted: u32, reply: ReplyXattr) {
        let Some(reply) = self.admit_entry(request, Operation::Getxattr, number, reply) else { return };
        let read = |buffer: &mut [u8]| rustix::fs::getxattr(way_to(&*self.nodes.mark(number)?), name, buffer);
        answer_value(n_wanted, read, reply);
    }

    fn listxattr(&self, request: &Request, number: INodeNo, n_wanted: u32, reply: ReplyXattr) {
        let Some(reply) = self.admit_entry(request, Operation::Listxattr, number, reply) else { return };
        let read = |buffer: &mut [u8]| rustix::fs::listxattr(way_to(&*self.nodes.mark(number)?), buffer);
        answer_value(n_wanted, read, reply);
    }

    fn removexattr(&self, request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let Some(reply) = self.admit_entry(request, Operation::Removexattr, number, reply) else { return };
        answer_empty(self.nodes.mark(number).and_then(|mark| rustix::fs::removexattr(way_to(&mark), name)), reply);
    }
}

fn read_whole(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match rustix::io::pread(file, &mut buffer[n_read..], offset + n_read as u64)? {
            0 => break,
            n_more => n_read += n_more,
        }
    }
    Ok(n_read)
}
