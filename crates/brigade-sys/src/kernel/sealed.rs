//! Memory that one process fills and that never changes after that: filled, unmapped, sealed, and then plain bytes for
//! whoever has the descriptor. Memory that goes on changing is in memory.rs.
//!
//! | state  | who can reach it                                   | left by                                                |
//! |--------|----------------------------------------------------|--------------------------------------------------------|
//! | draft  | the process that made it, through one mapping      | `Draft::seal`: unmapped first, then sealed             |
//! | sealed | every process that has a descriptor, for reading   | nobody: the seals can neither be added to nor removed  |
//!
//! The kernel refuses the seal against writing while any mapping that could write exists, and refuses every such mapping
//! after it. That is what makes `&[u8]` sound although other processes have the same memory.
#![expect(unsafe_code, reason = "mapping memory, and lending it as slices")]

use std::ffi::CStr;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::SealFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::memory;

const AGAINST_EVERY_CHANGE: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// A range of this process's address space; none for 0 bytes, which the kernel does not map.
#[derive(Debug)]
struct Range {
    start: NonNull<u8>,
    n_bytes: usize,
}

// SAFETY: a range is a place in memory; nothing in it belongs to a thread. `Draft` and `Sealed` say who may use it how.
unsafe impl Send for Range {}
// SAFETY: as above.
unsafe impl Sync for Range {}

impl Range {
    fn map(memory: BorrowedFd<'_>, n_bytes: usize, protection: ProtFlags, flags: MapFlags) -> io::Result<Self> {
        if n_bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), n_bytes });
        }
        // SAFETY:
        // - the address is chosen by the kernel, so nothing that exists is replaced;
        // - the result is kept in `Range`, whose drop is the only place that unmaps it.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), n_bytes, protection, flags, memory, 0)? };
        let start = NonNull::new(start.cast()).expect("mmap without MAP_FIXED never returns the null page");
        Ok(Self { start, n_bytes })
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        if self.n_bytes > 0 {
            // SAFETY:
            // - the range is exactly what `map` mapped, and it is unmapped once;
            // - slices of it borrow `self` or its owner, so none is left.
            let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.n_bytes) };
            debug_assert!(result.is_ok(), "munmap of our own range cannot fail");
        }
    }
}

/// Memory that is being filled. Zeroed at the start.
#[derive(Debug)]
pub struct Draft {
    memory: OwnedFd,
    range: Range,
}

impl Draft {
    /// Makes memory of `n_bytes`, wholly allocated, so that filling it cannot fail.
    ///
    /// # Errors
    /// As [`memory::create`], and what mmap(2) says.
    pub fn new(name: &CStr, n_bytes: usize) -> io::Result<Self> {
        let memory = memory::create_unsealed(name, n_bytes as u64)?;
        if n_bytes > 0 {
            memory::allocate(&memory, 0, n_bytes as u64)?;
        }
        let range = Range::map(memory.as_fd(), n_bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?;
        if n_bytes > 0 {
            // A forked process with this mapping could write, and the kernel would refuse the seal for as long as it lives.
            // SAFETY: the range is our own, mapped just above; the advice changes nothing for this process.
            unsafe { rustix::mm::madvise(range.start.as_ptr().cast(), n_bytes, Advice::LinuxDontFork)? };
        }
        Ok(Self { memory, range })
    }

    /// Unmaps the memory, and seals it against every change.
    ///
    /// # Errors
    /// What fcntl(2) says: `EBUSY` while the kernel itself still works on the memory.
    pub fn seal(self) -> io::Result<OwnedFd> {
        drop(self.range);
        rustix::fs::fcntl_add_seals(&self.memory, AGAINST_EVERY_CHANGE | SealFlags::SEAL)?;
        Ok(self.memory)
    }
}

impl Deref for Draft {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY:
        // - alive and in bounds: the range is mapped for as long as `self`, and has `n_bytes` allocated bytes;
        // - initialized: fresh memory is zeroed;
        // - nobody writes: the descriptor was given to nobody, forks do not have the mapping, and whoever writes through it
        //   here has `&mut self`.
        unsafe { std::slice::from_raw_parts(self.range.start.as_ptr(), self.range.n_bytes) }
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` is the only way to this range now.
        unsafe { std::slice::from_raw_parts_mut(self.range.start.as_ptr(), self.range.n_bytes) }
    }
}

/// Makes sealed memory that holds `parts` one after the other, written without a mapping: by one copy.
///
/// # Errors
/// As [`memory::create_sparse`], and what write(2) and fcntl(2) say.
pub fn create(name: &CStr, parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let n_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let memory = memory::create_unsealed(name, n_bytes as u64)?;
    let mut offset = 0;
    for part in parts {
        memory::write_at(&memory, offset, part)?;
        offset += part.len() as u64;
    }
    rustix::fs::fcntl_add_seals(&memory, AGAINST_EVERY_CHANGE | SealFlags::SEAL)?;
    Ok(memory)
}

/// Sealed memory in this process's address space: bytes that nobody can change.
#[derive(Debug)]
pub struct Sealed {
    memory: OwnedFd,
    range: Range,
}

impl Sealed {
    /// Maps the whole of sealed memory, which may have come from another process. Pages are read when they are first used.
    ///
    /// # Errors
    /// `InvalidData` if the memory could still change, or is none; what mmap(2) says.
    pub fn open(memory: OwnedFd) -> io::Result<Self> {
        // Regular files have no seals, and say so by EINVAL.
        let seals = rustix::fs::fcntl_get_seals(&memory).unwrap_or(SealFlags::empty());
        if !seals.contains(AGAINST_EVERY_CHANGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is not sealed"));
        }
        // After the seals were seen the size is final.
        let n_bytes = usize::try_from(rustix::fs::fstat(&memory)?.st_size).map_err(io::Error::other)?;
        // Private, since kernels before 6.7 refuse to share what is sealed; where nobody writes there is no difference.
        let range = Range::map(memory.as_fd(), n_bytes, ProtFlags::READ, MapFlags::PRIVATE)?;
        Ok(Self { memory, range })
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY:
        // - alive and in bounds: the range is mapped for as long as `self`, and the seal keeps `n_bytes` behind it;
        // - initialized: memory that was never written reads as zeros;
        // - nobody writes: the seal against writing was there before the range was mapped, and cannot be removed.
        unsafe { std::slice::from_raw_parts(self.range.start.as_ptr(), self.range.n_bytes) }
    }
}
