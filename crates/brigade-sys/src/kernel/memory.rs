//! Anonymous shared memory: made, sized, allocated, sealed, mapped. What lies in it is not known here: see ../shared.
#![expect(unsafe_code, reason = "mapping memory, and reaching words and bytes in it")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::thread::futex;

use crate::shared::atomics::{AtomicU32, AtomicU64};
use crate::shared::bytes::{SharedBytes, Wait};

/// Descriptors of ours start here: a host that has closed 0 to 2 may mean something by these numbers later.
pub const LOWEST_OWN_DESCRIPTOR: i32 = 3;

/// Moves a descriptor away from 0 to 2, keeping it close-on-exec.
///
/// # Errors
/// What fcntl(2) says.
pub fn move_up(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    if descriptor.as_raw_fd() >= LOWEST_OWN_DESCRIPTOR {
        return Ok(descriptor);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&descriptor, LOWEST_OWN_DESCRIPTOR)?)
}

/// Makes memory of a fixed size that can neither shrink nor grow, with nothing allocated yet.
///
/// A limit on file sizes (RLIMIT_FSIZE) applies to such memory too; to exceed it would end the process by SIGXFSZ, so it is
/// looked at first.
///
/// # Errors
/// What memfd_create(2), ftruncate(2) and fcntl(2) say; `EFBIG` for a limit on file sizes.
pub fn create_sparse(name: &CStr, n_bytes: u64) -> io::Result<OwnedFd> {
    let memory = create_unsealed(name, n_bytes)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory)
}

/// As [`create_sparse`], without the seals.
pub(super) fn create_unsealed(name: &CStr, n_bytes: u64) -> io::Result<OwnedFd> {
    if rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some_and(|limit| limit < n_bytes) {
        return Err(Errno::FBIG.into());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know NOEXEC_SEAL and refuse it.
    let memory = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    rustix::fs::ftruncate(&memory, n_bytes)?;
    move_up(memory)
}

/// Makes memory of a fixed size, wholly allocated, so that touching it cannot fail later.
///
/// # Errors
/// As [`create_sparse`], and `ENOSPC` or `ENOMEM` if there is not that much memory.
pub fn create(name: &CStr, n_bytes: u64) -> io::Result<OwnedFd> {
    let memory = create_sparse(name, n_bytes)?;
    allocate(&memory, 0, n_bytes)?;
    Ok(memory)
}

/// Allocates a range, so that touching it cannot fail later. What is there stays.
///
/// # Errors
/// `ENOSPC` or `ENOMEM` if there is not that much memory.
pub fn allocate(memory: impl AsFd, offset: u64, n_bytes: u64) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::fallocate(memory.as_fd(), FallocateFlags::empty(), offset, n_bytes))?)
}

/// Gives a range back to the system; it reads as zeros afterwards.
///
/// # Errors
/// What fallocate(2) says.
pub fn give_back(memory: impl AsFd, offset: u64, n_bytes: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::io::retry_on_intr(|| rustix::fs::fallocate(memory.as_fd(), flags, offset, n_bytes))?)
}

/// Writes all of `from`, without a mapping.
///
/// # Errors
/// `ENOSPC` or `ENOMEM` if there is not that much memory.
pub fn write_at(memory: impl AsFd, mut offset: u64, mut from: &[u8]) -> io::Result<()> {
    while !from.is_empty() {
        let n_written = rustix::io::retry_on_intr(|| rustix::io::pwrite(memory.as_fd(), from, offset))?;
        from = &from[n_written..];
        offset += n_written as u64;
    }
    Ok(())
}

/// Reads exactly as many bytes as `into` holds, without a mapping.
///
/// # Errors
/// `UnexpectedEof` past the end of the memory.
pub fn read_at(memory: impl AsFd, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        let n_read = rustix::io::retry_on_intr(|| rustix::io::pread(memory.as_fd(), &mut *into, offset))?;
        if n_read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into = &mut into[n_read..];
        offset += n_read as u64;
    }
    Ok(())
}

/// Whether every byte of a range was written. What was not takes no memory, and would where it is read to.
pub fn is_written(memory: impl AsFd, offset: u64, n_bytes: u64) -> bool {
    // The position that this sets is used by nobody.
    let hole = rustix::fs::seek(memory.as_fd(), rustix::fs::SeekFrom::Hole(offset));
    hole.is_ok_and(|hole| hole.checked_sub(offset).is_some_and(|n_written| n_written >= n_bytes))
}

/// The size of memory that was received from another process, if it is sealed against change of size.
///
/// # Errors
/// `InvalidData` if it is not sealed: touching it could end this process.
pub fn sealed_size(memory: impl AsFd) -> io::Result<u64> {
    let seals = rustix::fs::fcntl_get_seals(memory.as_fd())?;
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is not sealed"));
    }
    Ok(rustix::fs::fstat(memory.as_fd())?.st_size as u64)
}

/// A range of shared memory in this process's address space.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    n_bytes: usize,
}

// SAFETY: the bytes are reached through atomics and raw copies only, which may come from any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method hands out a reference to plain bytes.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `n_bytes` from `offset`, a multiple of the page size. The memory must be sealed against shrinking.
    ///
    /// # Errors
    /// What mmap(2) says; `InvalidData` if the memory is not sealed or too small.
    pub fn new(memory: BorrowedFd<'_>, offset: u64, n_bytes: usize) -> io::Result<Self> {
        if sealed_size(memory)? < offset + n_bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is too small"));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY:
        // - the address is chosen by the kernel, so nothing that exists is replaced;
        // - the result is kept in `Mapping`, whose drop is the only place that unmaps it.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), n_bytes, protection, MapFlags::SHARED, memory, offset)? };
        let start = NonNull::new(start.cast()).expect("mmap without MAP_FIXED never returns the null page");
        Ok(Self { start, n_bytes })
    }

    /// The size of the range.
    #[must_use]
    pub const fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    #[inline]
    fn check(&self, offset: usize, n_bytes: usize, alignment: usize) -> NonNull<u8> {
        assert!(
            offset.checked_add(n_bytes).is_some_and(|end| end <= self.n_bytes),
            "offset {offset} lies outside of the mapping"
        );
        assert!(offset.is_multiple_of(alignment), "offset {offset} is not aligned");
        // SAFETY: `offset` is at most `n_bytes`, so the result lies in the mapping or one past its end.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY:
        // - the range is exactly what `new` mapped, and it is unmapped once;
        // - references handed out by `word32` and `word64` borrow `self`, so none is left.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.n_bytes) };
        debug_assert!(result.is_ok(), "munmap of our own range cannot fail");
    }
}

impl SharedBytes for Mapping {
    #[inline]
    fn word32(&self, offset: usize) -> &AtomicU32 {
        let at = self.check(offset, 4, 4);
        // SAFETY:
        // - in bounds and aligned: checked just above; the mapping itself starts at a page boundary;
        // - alive: the reference borrows `self`, which keeps the range mapped, and the seal keeps pages behind it;
        // - not torn: every process reaches words through atomics only (and a broken one can write any value, which an
        //   atomic tolerates).
        unsafe { AtomicU32::from_ptr(at.as_ptr().cast()) }
    }

    #[inline]
    fn word64(&self, offset: usize) -> &AtomicU64 {
        let at = self.check(offset, 8, 8);
        // SAFETY: as in `word32`.
        unsafe { AtomicU64::from_ptr(at.as_ptr().cast()) }
    }

    #[inline]
    fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.check(offset, into.len(), 1);
        // SAFETY:
        // - both ranges have `into.len()` bytes: the first was checked above, the second is a slice;
        // - they do not overlap: `into` is ordinary memory of this process;
        // - the commit protocol of the structure says that nobody writes these bytes now; where a broken process does all
        //   the same, the copy holds garbage, which every reader checks.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), into.as_mut_ptr(), into.len()) };
    }

    #[inline]
    fn write(&self, offset: usize, from: &[u8]) {
        let to = self.check(offset, from.len(), 1);
        // SAFETY: as in `read`, with the direction turned round.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), from.len()) };
    }

    fn futex_wait(&self, offset: usize, expected: u32, timeout: Option<Duration>) -> Wait {
        let timeout = timeout.map(|timeout| futex::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        match futex::wait(self.word32(offset), futex::Flags::empty(), expected, timeout.as_ref()) {
            Err(Errno::AGAIN) => Wait::ValueChanged,
            Err(Errno::TIMEDOUT) => Wait::TimedOut,
            // EINTR: the caller looks at the word again in any case.
            _ => Wait::Woken,
        }
    }

    fn futex_wake(&self, offset: usize, n_sleepers: u32) {
        let woken = futex::wake(self.word32(offset), futex::Flags::empty(), n_sleepers);
        debug_assert!(woken.is_ok(), "waking a mapped word cannot fail");
    }
}
